"""What turns a view turns every view that is paired with it; masked tasks see clean pixels."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from mmvitssl.models.algorithms import Pretrainer
from mmvitssl.models.algorithms.step import EncodeRequest, PretrainStep
from mmvitssl.models.targets.patches import take_patches
from mmvitssl.models.tasks.base import PretextTask, TaskResult
from mmvitssl.models.tasks.rotation import turn
from mmvitssl.models.tokenizers import DalleTokenizer, save_tokenizer
from mmvitssl.registry import MODELS
from mmvitssl.structures import View
from tests.builders import RECONSTRUCTION, make_samples
from tests.test_models.test_masked_tasks import CAE, ENCODER, LOMAR, MAE, change

PATCH, GRID, STRIDE = 16, 4, 8  # a view of 64 pixels, and one of 32 for the tokenizer
VIT = {**ENCODER, "image_size": 64, "patch_size": PATCH, "mask_token": True,
       "relative_position": "irpe", "prefix_tokens": ("rotation",)}  # fmt: skip
ROTATION = dict(type="Rotation", in_channels=32)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> tuple[DalleTokenizer, str]:
    torch.manual_seed(0)
    made = DalleTokenizer(vocabulary=64, hidden=8, blocks=1, decoder=False)
    for parameter in made.parameters():
        parameter.data *= 3.0  # so that ids vary
    path = save_tokenizer(made, tmp_path_factory.mktemp("tokenizer") / "t.safetensors")
    return made, str(path)


def token_task(method: str, path: str) -> dict[str, Any]:
    target = dict(type="TokenTarget", checkpoint=path, vocabulary=64)
    head = dict(type="TokenLoss")
    if method == "cae":
        masking = dict(num_masked=8, min_block=4)
        made = change(CAE, masking=masking, decoder=dict(out_channels=64))
    else:
        masking = dict(type="BlockMasking", num_masked=6, min_block=4)
        if method == "lomar":
            masking = dict(type="WindowMasking", window=3, views=2, ratio=0.6)
        neck = dict(type="TokenPredictor", in_channels=32, out_channels=64)
        made = {**LOMAR, "masking": masking, "neck": neck}
    return {**made, "target": target, "head": head}


def build(**tasks: Any) -> Pretrainer:
    torch.manual_seed(0)
    return MODELS.build(dict(type="Pretrainer", encoder=VIT, tasks=tasks)).eval()


def crops(batch: int = 12) -> list[View]:
    """A crop of 64 pixels and the same of 32, as ``same_as`` makes them, and another crop."""
    torch.manual_seed(3)
    small, other = torch.rand(batch, 3, 32, 32), torch.rand(batch, 3, 64, 64)
    large = small.repeat_interleave(2, 2).repeat_interleave(2, 3)
    mean, std = torch.full((3,), 0.5), torch.full((3,), 0.25)
    return [View(v, (v - 0.5) / 0.25, mean, std) for v in (large, small, other)]


@pytest.mark.parametrize("turned", [(0,), (0, 1), (1,), (2, 0)])
@pytest.mark.parametrize("method", ["beit", "cae", "lomar"])
def test_ids_are_those_of_the_turned_view(
    method: str, turned: tuple[int, ...], tokenizer: tuple[DalleTokenizer, str]
) -> None:
    official, path = tokenizer
    model = build(rotation={**ROTATION, "views": turned}, masked=token_task(method, path))
    views = crops()
    step = model.begin(views, make_samples(12))
    rotation: Any = model.tasks["rotation"]
    quarters = rotation.labels(step, turned[-1])
    assert len(set(quarters.tolist())) == 4
    small = turn(views[1].pixels, quarters)
    assert torch.equal(step.view(0).pixels, turn(views[0].pixels, quarters))
    assert torch.equal(step.view(1).pixels, small)
    # one picture at two sizes: the turned crop is the turned small view enlarged
    assert torch.equal(step.view(0).pixels[..., ::2, ::2], small)
    task: Any = model.tasks["masked"]
    _, masked = task.masks(step)
    expected = official.tokenize(small).flatten(1)[masked.image, masked.patch]
    assert torch.equal(task.target(step, 0, masked), expected)
    unturned = official.tokenize(views[1].pixels).flatten(1)[masked.image, masked.patch]
    assert (unturned != expected).float().mean() > 0.3  # the test can tell
    for view in turned:
        assert torch.equal(rotation.labels(step, view), quarters) or view == 2
    if 2 not in turned:
        assert step.view(2) is views[2]
    assert all(loss.isfinite() for name, loss in
               model(views, make_samples(12), mode="loss").items() if "loss" in name)  # fmt: skip


MAE64 = change(MAE, neck=dict(out_channels=768, grid=(4, 4)), target=dict(patch_size=PATCH))
SIMMIM = {**LOMAR, "masking": dict(type="RandomMasking", ratio=0.6, mode="replace"),
          "neck": {**LOMAR["neck"], "out_channels": 768},
          "target": dict(type="PixelTarget", patch_size=PATCH, normalise=False)}  # fmt: skip


@pytest.mark.parametrize("method", ["mae", "simmim", "repre"])
def test_pixels_are_those_of_the_turned_view(method: str) -> None:
    repre = {**RECONSTRUCTION, "neck": {**RECONSTRUCTION["neck"], "patch_size": PATCH}}
    task = dict(mae=MAE64, simmim=SIMMIM, repre=repre)[method]
    model, views = build(task=task, rotation=ROTATION), crops()
    step = model.begin(views, make_samples(12))
    turned = turn(views[0].images, model.tasks["rotation"].labels(step, 0))  # type: ignore[operator]
    assert torch.equal(step.view(0).images, turned)
    if method != "repre":
        made: Any = model.tasks["task"]
        _, masked = made.masks(step)
        truth = take_patches(turned, PATCH, masked)
        if method == "mae":
            mean, variance = truth.mean(1, keepdim=True), truth.var(1, keepdim=True)
            truth = (truth - mean) / (variance + 1e-6).sqrt()
        assert torch.equal(made.target(step, 0, masked), truth)


@MODELS.register_module()
class Flips(PretextTask):
    """Test task: flips a view itself, and forgets those that are paired with it."""

    def transform_views(self, step: PretrainStep) -> None:
        view = step.view(0)
        step.views[0] = View(view.pixels.flip(3), view.images.flip(3), view.mean, view.std)

    def requests(self, step: PretrainStep) -> list[EncodeRequest]:
        return [EncodeRequest(0)]

    def loss(self, step: PretrainStep) -> TaskResult:
        return TaskResult(step.encode(0).cls.mean())


def test_a_task_that_forgets_a_paired_view_is_refused(
    tokenizer: tuple[DalleTokenizer, str],
) -> None:
    model = build(flips=dict(type="Flips"), masked=token_task("beit", tokenizer[1]))
    with pytest.raises(ValueError, match="'flips' transforms view 0 and not view 1.*transform"):
        model(crops(), make_samples(12), mode="loss")
    build(flips=dict(type="Flips"))(crops(), make_samples(12), mode="loss")


@pytest.mark.parametrize("sees", ["clean", "altered"])
@pytest.mark.parametrize("method", ["mae", "cae"])
def test_masked_tasks_see_what_they_ask_for(method: str, sees: str) -> None:
    cae = change(CAE, masking=dict(num_masked=8, min_block=4), decoder=dict(out_channels=768),
                 target=dict(patch_size=PATCH))  # fmt: skip
    masked = {"mae": MAE64, "cae": cae}[method]
    paint = dict(type="Inpainting", in_channels=32, patches=10, patch_size=PATCH)
    place = dict(type="RelativePosition", in_channels=32, pairs=1)
    views, samples = crops(), make_samples(12)
    beside = build(masked={**masked, "sees": sees}, paint=paint, place=place)
    alone = build(masked=masked)
    alone.load_state_dict(beside.state_dict(), strict=False)
    expected = alone(views, samples, mode="loss")["raw_masked"]
    loss = beside(views, samples, mode="loss")["raw_masked"]
    assert torch.equal(loss, expected) == (sees == "clean")
    with pytest.raises(ValueError, match="sees='dirty' is unknown"):
        build(masked={**masked, "sees": "dirty"})
