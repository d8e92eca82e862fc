"""Latent targets, the masks of their methods, and their training with other tasks."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor

from mmvitssl.engine.optim.autocast import clip_parts
from mmvitssl.models.algorithms import Pretrainer
from mmvitssl.models.heads import LatentLoss
from mmvitssl.models.heads.distribution import sinkhorn_knopp
from mmvitssl.models.masking import MixedRatioMasking, MultiBlockMasking, StratifiedMasking
from mmvitssl.registry import MODELS
from mmvitssl.structures import MaskedPatches, TokenPlan
from tests.builders import make_samples, make_views

ARCH = dict(embed_dim=32, depth=3, num_heads=2)
ENCODER = dict(type="ViT", arch=ARCH, image_size=32, patch_size=8, mask_token=True)
TARGET = dict(momentum=0.9, when="after_step")
PROJECTOR = dict(
    type="PrototypeMLP", in_channels=32, prototypes=24, hidden_channels=32, bottleneck=16,
    fixed_lengths=False,
)  # fmt: skip
RECONSTRUCTION = dict(
    type="Reconstruction", levels=(0, 1, 2),
    neck=dict(type="MultiHierarchyFusion", in_channels=32, levels=3, width=16, patch_size=8),
    head=dict(type="PixelLoss"),
)  # fmt: skip
MASKING = dict(type="StratifiedMasking", share=0.5, ratio=(0.2, 0.5))


def patches(target: dict[str, Any], **changes: Any) -> dict[str, Any]:
    task = dict(
        type="MaskedModeling", masking=MASKING, target=target,
        neck=dict(type="TokenPredictor", in_channels=32, out_channels=32),
        head=dict(type="LatentLoss"),
    )  # fmt: skip
    return {**task, **changes}


def self_distillation(centering: str = "softmax", **more: Any) -> dict[str, Any]:
    """iBOT or DINOv2 on two large views and a small one."""
    teacher = dict(prototypes=24, centering=centering)
    distillation = dict(
        type="SelfDistillation", local_views=(2,), masked_by="masked", projector=PROJECTOR,
        head=dict(type="DINOLoss", **teacher),
    )  # fmt: skip
    masked = patches(
        dict(type="PrototypeTarget", **teacher), views=(0, 1), average="images",
        neck=dict(type="PatchProjector", projector="distillation"),
        head=dict(type="DistributionLoss"),
    )  # fmt: skip
    return dict(distillation=distillation, masked=masked, **more)


def build(tasks: dict[str, Any], encoder: dict[str, Any] | None = None, **more: Any) -> Pretrainer:
    torch.manual_seed(0)
    config = dict(type="Pretrainer", encoder=encoder or ENCODER, tasks=tasks, target=TARGET)
    return MODELS.build({**config, **more})


def views(local: bool = True) -> list[Any]:
    torch.manual_seed(1)
    return make_views(2, size=(32, 32)) + (make_views(1, size=(16, 16)) if local else [])


COMBINATIONS: dict[str, Any] = {
    "ibot and repre": (self_distillation(reconstruction=RECONSTRUCTION), ENCODER),
    "dinov2, koleo and rotation": (
        self_distillation(
            "sinkhorn_knopp",
            koleo=dict(type="KoLeo", masked_by="masked"),
            rotation=dict(type="Rotation", in_channels=32, views=(0,), token="rotation"),
        ),
        {**ENCODER, "prefix_tokens": ["register_1", "rotation"], "layer_scale": 0.1,
         "mlp": "swiglu", "initialisation": "dinov2"},
    ),
    "latents of lomar's windows": (
        dict(
            masked=patches(
                dict(type="FeatureTarget", top=2),
                masking=dict(type="WindowMasking", window=3, views=2, ratio=0.7),
            ),
            reconstruction=RECONSTRUCTION,
        ),
        {**ENCODER, "position": "none", "relative_position": "irpe"},
    ),
    "i-jepa": (
        dict(
            masked=patches(
                dict(type="FeatureTarget"),
                masking=dict(type="MultiBlockMasking", min_keep=0),
                neck=dict(type="BlockPredictor", in_channels=32, width=16, depth=1, num_heads=2),
            )
        ),
        {**ENCODER, "class_token": False, "position": "sincos_column_first", "mask_token": False},
    ),
    "data2vec and repre": (
        dict(masked=patches(dict(type="FeatureTarget", top=2)), reconstruction=RECONSTRUCTION),
        ENCODER,
    ),
    "gradients of lomar's windows": (
        dict(
            masked=patches(
                dict(type="HOGTarget"),
                masking=dict(type="WindowMasking", window=3, views=2, ratio=0.6),
                head=dict(type="PixelLoss"),
                neck=dict(type="TokenPredictor", in_channels=32, out_channels=108),
            )
        ),
        ENCODER,
    ),
    "ibot and patch tasks": (
        self_distillation(
            place=dict(type="RelativePosition", in_channels=32, pairs=1),
            paint=dict(type="Inpainting", in_channels=32, patches=2, patch_size=8,
                       modes=("noise",)),
        ),
        ENCODER,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", COMBINATIONS)
def test_combinations_train(name: str) -> None:
    """With a teacher that stays, the losses fall; all that is trained gets gradients."""
    tasks, encoder = copy.deepcopy(COMBINATIONS[name])
    for task, part in (("distillation", "head"), ("masked", "target")):
        if tasks.get(task, {}).get(part, {}).get("prototypes"):
            tasks[task][part]["center_momentum"] = 1.0
    model = build(tasks, encoder).train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=2e-3)
    batch, losses = views(), []
    for step in range(25):
        logs = model(batch, make_samples(), mode="loss")
        loss = sum(value for key, value in logs.items() if key.startswith("loss_"))
        optimizer.zero_grad()
        loss.backward()
        if not step:
            names = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
            assert not names
        optimizer.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-3:]) < 0.97 * sum(losses[:3]), losses


def test_shared_and_separate_heads() -> None:
    """Shared: one projector in the state; a last layer of its own; a projector of its own."""
    shared = build(self_distillation())
    assert not [key for key in shared.state_dict() if key.startswith("tasks.masked.neck")]
    tasks = self_distillation()
    tasks["distillation"]["projector"] = {**PROJECTOR, "patch_prototypes": 10}
    tasks["masked"]["target"]["prototypes"] = 10
    last = build(tasks)
    assert last.tasks["masked"].neck.out_channels == 10
    tasks = self_distillation()
    tasks["masked"]["neck"]["projector"] = {**PROJECTOR, "prototypes": 12}
    tasks["masked"]["target"]["prototypes"] = 12
    own = build(tasks)
    assert own.target["masked_projector"].out_channels == 12
    for model in (last, own):
        assert float(model(views(), make_samples(), mode="loss")["loss_masked"]) > 0


def test_a_students_class_token_comes_from_the_masked_pass() -> None:
    """No pass runs without masks on the global views, and none is masked in the local one."""
    model = build(self_distillation(koleo=dict(type="KoLeo", masked_by="masked")))
    passes: list[tuple[int, bool]] = []
    model.encoder.register_forward_pre_hook(
        lambda module, args: passes.append((len(args[0]), args[1] is not None))
    )
    model(views(), make_samples(), mode="loss")
    assert sorted(passes) == [(4, False), (4, True), (4, True)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"masked_by": "nothing"}, "masked_by='nothing' names no other task; there are"),
        ({"masked_by": "distillation"}, "names no other task"),
    ],
)
def test_tasks_that_are_not_there_are_named(change: dict[str, str], message: str) -> None:
    tasks = self_distillation()
    tasks["distillation"].update(change)
    with pytest.raises(ValueError, match=message):
        build(tasks)


def test_windows_have_no_class_token_of_the_whole_image() -> None:
    tasks = self_distillation()
    tasks["masked"]["masking"] = dict(type="WindowMasking", window=2, views=2, ratio=0.5)
    with pytest.raises(ValueError, match="masked_by='masked': WindowMasking encodes windows"):
        build(tasks)


def test_a_prototype_target_needs_a_projector() -> None:
    with pytest.raises(ValueError, match="PrototypeTarget needs a PatchProjector"):
        build(dict(masked=patches(dict(type="PrototypeTarget", prototypes=32))))


def test_feature_targets_are_the_formulas() -> None:
    """The last two blocks' outputs, each normalised, averaged; and the final features."""
    model = build(dict(masked=patches(dict(type="FeatureTarget", top=2)))).eval()
    task = model.tasks["masked"]
    step = model.begin(views(), make_samples())
    masked = task.masks(step)[1]
    encoded = model.target["encoder"](step.view(0).images, None, (1, 2))
    levels = [F.layer_norm(encoded.hierarchy[i], (32,)) for i in (1, 2)]
    expected = torch.stack(levels).mean(0)[masked.image, masked.patch]
    torch.testing.assert_close(task.target(step, 0, masked), expected)
    task.target.levels = ()
    last = F.layer_norm(encoded.patches, (32,))[masked.image, masked.patch]
    torch.testing.assert_close(task.target(step, 0, masked), last)


@pytest.mark.parametrize("distance", ["smooth_l1", "l1", "l2", "cosine"])
def test_latent_losses_are_the_formulas(distance: str) -> None:
    prediction, target = torch.randn(5, 8), 3 * torch.randn(5, 8)
    error = prediction - target
    values = {
        "l1": error.abs().mean(1),
        "l2": (error**2).mean(1),
        "smooth_l1": torch.where(error.abs() < 2, error**2 / 4, error.abs() - 1).mean(1),
        "cosine": 1 - (prediction * target).sum(1) / prediction.norm(dim=1) / target.norm(dim=1),
    }[distance]
    head = LatentLoss(distance, beta=2.0)
    torch.testing.assert_close(head(prediction, target), values.mean())
    weights = torch.rand(5)
    torch.testing.assert_close(head(prediction, target, weights), (values * weights).sum())


def test_images_without_masks_count_in_the_mean_over_images() -> None:
    plan = TokenPlan(masked=torch.tensor([[True, True, False], [False] * 3, [False, True, False]]))
    masked = MaskedPatches.of(plan)
    weights = masked.image_weights(3)
    torch.testing.assert_close(weights, torch.tensor([1 / 6, 1 / 6, 1 / 3]))


def test_sinkhorn_knopp_uses_prototypes_equally() -> None:
    logits = F.normalize(torch.randn(64, 16), dim=1)
    logits[:, 0] += 0.5  # one prototype that all like
    found = sinkhorn_knopp(logits, 0.1, iterations=50)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(64))
    torch.testing.assert_close(found.sum(dim=0), torch.full((16,), 4.0), atol=1e-2, rtol=1e-2)


def test_koleo_is_the_formula() -> None:
    task = MODELS.build(dict(type="KoLeo"))
    features = torch.randn(6, 8, requires_grad=True)
    unit = F.normalize(features, dim=1)
    distance = (unit[:, None] - unit[None]).norm(dim=2) + 10 * torch.eye(6)
    torch.testing.assert_close(
        task.distances(features), distance.min(dim=1).values, atol=1e-5, rtol=1e-4
    )
    with pytest.raises(ValueError, match="at least two images"):
        task.distances(torch.randn(1, 8))


def masks_of(masking: Any, grid: int = 14, batch: int = 400) -> Tensor:
    plan = masking((grid, grid), batch, torch.Generator().manual_seed(0))
    return plan.masked.float().mean(dim=1)


@pytest.mark.parametrize("shape", ["block", "random"])
def test_ibots_masks_have_the_published_distribution(shape: str) -> None:
    share = masks_of(MixedRatioMasking(shape=shape), batch=2000)
    whole, rest = (share == 0).float().mean(), share[share > 0]
    assert float(whole) == pytest.approx(0.503, abs=0.04)
    assert float(rest.mean()) == pytest.approx(0.295, abs=0.015)
    assert 0.05 < float(rest.min()) < 0.12 and 0.48 < float(rest.max()) <= 0.5
    one = masks_of(MixedRatioMasking(ratios=0.3, variances=0.1, shape="random"), batch=400)
    assert round(196 * float(one.min())) >= 39 and round(196 * float(one.max())) <= 78
    assert float(one.mean()) == pytest.approx(0.3, abs=0.02)


def test_dinov2_masks_half_of_the_crops_with_stratified_ratios() -> None:
    share = masks_of(StratifiedMasking(), grid=16)
    rest = share[share > 0].sort().values
    assert len(rest) == 200 and float(rest.mean()) == pytest.approx(0.298, abs=0.01)
    bounds = torch.linspace(0.1, 0.5, 201)
    assert bool((rest <= bounds[1:] + 1e-6).all())  # never more than asked for
    assert float((rest >= bounds[:-1] - 0.02).float().mean()) > 0.95
    assert 0.35 < float((share[:200] > 0).float().mean()) < 0.65  # any view


@pytest.mark.parametrize(("grid", "batch", "context"), [(16, 128, 68), (14, 16, 61)])
def test_ijepas_blocks_have_the_published_sizes(grid: int, batch: int, context: int) -> None:
    masking, kept, sizes = MultiBlockMasking(), [], []
    for seed in range(12):
        plan = masking((grid, grid), batch, torch.Generator().manual_seed(seed))
        assert plan.tokens is not None and plan.dropped is not None and plan.blocks == 4
        blocks = plan.dropped.view(batch, 4, -1)
        row, column = blocks // grid, blocks % grid
        assert int(row.max()) < grid - 1 and int(column.max()) < grid - 1
        height = (row.amax(2) - row.amin(2) + 1).unique()
        width = (column.amax(2) - column.amin(2) + 1).unique()
        assert len(height) == len(width) == 1 and int(height * width) == blocks.shape[2]
        overlap = (plan.tokens[:, :, None] == plan.dropped[:, None]).any()
        kept.append(plan.tokens.shape[1])
        sizes.append(int(height * width))
        assert not overlap and kept[-1] > 10
    assert sum(kept) / len(kept) == pytest.approx(context, abs=0.3 * context)
    assert 0.13 * grid**2 < min(sizes) and max(sizes) < 0.22 * grid**2


def test_grids_that_are_too_small_for_blocks_say_so() -> None:
    with pytest.raises(ValueError, match="min_keep=10, but a block of this grid of"):
        MultiBlockMasking()((6, 6), 2, torch.Generator())


def test_hog_tells_edges_by_their_direction() -> None:
    """A vertical edge and a horizontal one vote in bins that are a right angle apart."""
    target = MODELS.build(dict(type="HOGTarget", cell=8, window=0, patch_size=8))
    assert target.out_channels == 3 * 9
    image = torch.zeros(1, 3, 32, 32)
    image[..., 12:] = 1
    bins = [target.histograms(one)[0, 0, :, 1, 1] for one in (image, image.transpose(2, 3))]
    winners = [int(one.argmax()) for one in bins]
    assert all(float(one.max()) > 0.9 for one in bins)
    assert abs(winners[0] - winners[1]) in (4, 5)
    model = build(
        dict(masked=patches(dict(type="HOGTarget", cell=8), head=dict(type="PixelLoss"),
                            neck=dict(type="TokenPredictor", in_channels=32, out_channels=27)))
    )  # fmt: skip
    assert torch.isfinite(model(views(), make_samples(), mode="loss")["loss_masked"])


def test_a_frozen_teacher_is_seen_in_its_own_normalisation(tmp_path: Path) -> None:
    """timm's DINOv2 with patches of 14 has a feature per patch of 8; nothing masked."""
    sizes = dict(img_size=56, embed_dim=48, depth=2, num_heads=2)
    theirs = timm.create_model("vit_small_patch14_dinov2", num_classes=0, **sizes).eval()
    torch.save(theirs.state_dict(), tmp_path / "teacher.pth")
    target = dict(type="FrozenTarget", checkpoint=str(tmp_path / "teacher.pth"), normalise=False,
                  teacher=dict(type="timm", name="vit_small_patch14_dinov2", **sizes))  # fmt: skip
    neck = dict(type="TokenPredictor", in_channels=32, out_channels=48)
    model = build(dict(masked=patches(target, masking=None, neck=neck)), target=None)
    assert not [key for key in model.state_dict() if "teacher" in key]
    step = model.begin(views(), make_samples())
    found = model.tasks["masked"].target.features(step, 0)
    mean, std = (torch.tensor(v)[:, None, None]
                 for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))  # fmt: skip
    seen = F.interpolate((step.view(0).pixels - mean) / std, (56, 56), mode="bicubic",
                         antialias=True)  # fmt: skip
    torch.testing.assert_close(found, theirs.forward_features(seen)[:, 1:], atol=1e-4, rtol=1e-4)
    model(views(), make_samples(), mode="loss")["loss_masked"].backward()
    assert model.encoder.patch_embed.proj.weight.grad is not None


def test_parts_are_clipped_by_their_own_norms() -> None:
    first, second, third = (torch.nn.Parameter(torch.zeros(4)) for _ in range(3))
    first.grad, second.grad, third.grad = torch.ones(4) * 3, torch.ones(4) * 4, torch.ones(4) * 0.1
    groups = [dict(params=[first], part="encoder"), dict(params=[second], part="encoder"),
              dict(params=[third], part="tasks.a")]  # fmt: skip
    clip_parts(groups, 1.0)
    torch.testing.assert_close(first.grad, torch.full((4,), 0.3), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(second.grad, torch.full((4,), 0.4), atol=1e-5, rtol=1e-5)
    assert torch.equal(third.grad, torch.ones(4) * 0.1)
    with pytest.raises(ValueError, match="LayerDecayOptimWrapperConstructor"):
        clip_parts([dict(params=[first])], 1.0)


def test_a_pretraining_begins_from_published_weights(tmp_path: Path) -> None:
    """Both branches are equal, what serves pretraining alone is new, some parts stay frozen."""
    plain = MODELS.build({**ENCODER, "mask_token": False})
    torch.save(plain.state_dict(), tmp_path / "weights.pth")
    model = build(self_distillation(), frozen=("patch_embed.", "blocks.0."))
    token = model.encoder.mask_token.clone()
    report = model.load_pretrained(tmp_path / "weights.pth", anew=True, log=lambda text: None)
    for key, value in plain.state_dict().items():
        assert torch.equal(model.encoder.state_dict()[key], value)
        assert torch.equal(model.target["encoder"].state_dict()[key], value)
    assert torch.equal(model.encoder.mask_token, token)
    assert any("New, as the file lacks them: mask_token" in note for note in report.notes)
    still = {n.split(".")[0] for n, p in model.encoder.named_parameters() if not p.requires_grad}
    assert still == {"patch_embed", "blocks"}
    assert model.encoder.blocks[1].mlp.fc1.weight.requires_grad
    with pytest.raises(ValueError, match="no parameter of the encoder begins with 'layers"):
        build(self_distillation(), frozen=("layers.0",))


def test_packed_crops_are_equal_to_separate_passes() -> None:
    """Masked global crops and local ones in one sequence: the same losses and gradients."""
    found = []
    for packed in (False, True):
        tasks = self_distillation(koleo=dict(type="KoLeo", masked_by="masked"),
                                  reconstruction=RECONSTRUCTION)  # fmt: skip
        model = build(copy.deepcopy(tasks), {**ENCODER, "layer_scale": 0.1}, packed=packed)
        calls: list[int] = []
        model.encoder.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        logs = model(views(), make_samples(), mode="loss")
        sum(value for key, value in logs.items() if key.startswith("loss_")).backward()
        grads = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        found.append((logs, grads, len(calls)))
    (logs, grads, calls), (packed_logs, packed_grads, packed_calls) = found
    assert (calls, packed_calls) == (4, 0)  # two masked passes, one unmasked, one of local crops
    for name, value in logs.items():
        torch.testing.assert_close(packed_logs[name], value, atol=1e-5, rtol=1e-5)
    assert grads.keys() == packed_grads.keys()
    for name, value in grads.items():
        torch.testing.assert_close(packed_grads[name], value, atol=1e-5, rtol=1e-4)
