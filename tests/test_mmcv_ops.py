"""mmcv's operators made of torchvision's, against results of mmcv's compiled ones."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import mmcv
import numpy as np
import pytest
import torch
from torch import Tensor

import mmvitssl  # noqa: F401  (before anything imports mmcv's operators)
from mmvitssl import compat, mmcv_ops

ROOT = Path(__file__).resolve().parents[1]
RECORDED = {  # by tools/record_mmcv_ops.py, with the compiled operators of onedl-mmcv 2.3.6
    name: torch.from_numpy(value)
    for name, value in np.load(ROOT / "tests" / "data" / "mmcv_ops.npz").items()
}
MAPS, ROIS, GRADIENT = (RECORDED[f"roi_align/{name}"] for name in ("maps", "rois", "gradient"))


def recorded(operator: str, last: str = "") -> list[str]:
    """Names of the recorded results: operator and options."""
    ends = ("boxes", "scores", "maps", "rois", "gradient")
    names = [name for name in RECORDED if name.startswith(operator + "/") and name.endswith(last)]
    return [name for name in names if not (name.count("/") == 1 and name.endswith(ends))]


@pytest.mark.parametrize("name", recorded("nms"))
def test_nms_keeps_the_boxes_that_the_compiled_one_keeps(name: str) -> None:
    _, threshold, offset = name.split("/")
    boxes, scores = RECORDED["nms/boxes"], RECORDED["nms/scores"]
    kept = mmcv_ops.nms(boxes, scores, float(threshold), int(offset))
    assert kept.tolist() == RECORDED[name].tolist()


@pytest.mark.parametrize("name", recorded("softnms", "/kept"))
def test_softnms_equals_the_compiled_one_among_equal_scores_too(name: str) -> None:
    _, method, min_score, offset, _ = name.split("/")
    boxes, scores = RECORDED["softnms/boxes"], RECORDED["softnms/scores"]
    dets = torch.empty(len(boxes), 5)
    kept = mmcv_ops.softnms(
        boxes, scores, dets, 0.3, 0.5, float(min_score), int(method), int(offset)
    )
    assert kept.tolist() == RECORDED[name].tolist()
    expected = RECORDED[name.replace("/kept", "/dets")]
    torch.testing.assert_close(dets[: len(kept)], expected, atol=6e-8, rtol=0)


def roi_align(maps: Tensor, rois: Tensor, ratio: int, aligned: bool) -> tuple[Tensor, Tensor]:
    """Output and gradient of the maps, through mmcv's autograd function."""
    from mmcv.ops.roi_align import RoIAlignFunction

    leaf = maps.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    output = RoIAlignFunction.apply(leaf, rois, (3, 2), 0.25, ratio, "avg", aligned)
    output.backward(GRADIENT.to(output.dtype))
    return output.detach(), leaf.grad


@pytest.fixture
def through_mmcv(monkeypatch: pytest.MonkeyPatch) -> None:
    """mmcv's RoIAlign calls the stand-in, whatever this environment has."""
    module = import_module("mmcv.ops.roi_align")  # a function has the same name
    monkeypatch.setattr(module, "ext_module", mmcv_ops)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", recorded("roi_align", "/output"))
def test_roi_align_equals_the_compiled_one(
    name: str, layout: torch.memory_format, through_mmcv: None
) -> None:
    _, kind, ratio, aligned, _ = name.split("/")
    dtype = getattr(torch, kind)
    maps = MAPS.to(dtype).contiguous(memory_format=layout)
    output, gradient = roi_align(maps, ROIS.to(dtype), int(ratio), aligned == "True")
    exact = dict(atol=1e-6, rtol=1e-6) if dtype == torch.float32 else dict(atol=1e-14, rtol=1e-13)
    torch.testing.assert_close(output, RECORDED[name], **exact)
    expected = RECORDED[name.replace("/output", "/gradient")]
    torch.testing.assert_close(gradient, expected, **exact)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype, through_mmcv: None) -> None:
    low, rois = MAPS.to(dtype), ROIS.float()
    with torch.autocast("cpu", torch.bfloat16):
        output, gradient = roi_align(low, rois, 2, True)
    exact, _ = roi_align(low.float(), rois, 2, True)
    assert output.dtype == gradient.dtype == dtype
    assert output.equal(exact.to(dtype))

    boxes, scores = RECORDED["nms/boxes"], RECORDED["nms/scores"].to(dtype)
    kept = mmcv_ops.nms(boxes.to(dtype), scores, 0.5)
    assert kept.tolist() == mmcv_ops.nms(boxes.to(dtype).float(), scores.float(), 0.5).tolist()


def test_nothing_to_do_is_no_error() -> None:
    none, scores = torch.zeros(0, 4), torch.zeros(0)
    assert mmcv_ops.nms(none, scores, 0.5).shape == (0,)
    assert mmcv_ops.softnms(none, scores, torch.zeros(0, 5), 0.3, 0.5, 0.0, 1, 0).shape == (0,)


def test_other_operators_name_themselves_and_the_way_to_have_them() -> None:
    with pytest.raises(NotImplementedError, match="'deform_conv_forward' needs a compiled mmcv.*"
                       "make setup MMCV=compiled"):  # fmt: skip
        mmcv_ops.deform_conv_forward(torch.zeros(1))
    with pytest.raises(NotImplementedError, match="pool_mode='max' needs a compiled mmcv"):
        mmcv_ops.roi_align_forward(*[torch.zeros(0)] * 5, 1, 1, 1.0, 0, 0, True)


def run(code: str, *paths: Path) -> str:
    """Output of a program in another process, which finds these folders first."""
    search = os.pathsep.join(map(str, (*paths, ROOT)))
    env = {**os.environ, "PYTHONPATH": search, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture
def without_operators(tmp_path: Path) -> Path:
    """A folder with this environment's mmcv, but for its operators."""
    folder = tmp_path / "without"
    (folder / "mmcv").mkdir(parents=True)
    for path in Path(mmcv.__file__).parent.iterdir():
        if not path.name.startswith("_ext"):
            (folder / "mmcv" / path.name).symlink_to(path)
    return folder


DETECT = """
import mmvitssl, torch
from mmcv.utils.ext_loader import check_ops_exist
from mmcv.ops import DeformConv2d, batched_nms, soft_nms
import mmcv._ext
import mmdet.models
assert check_ops_exist() and mmcv._ext.__spec__.name == "mmcv._ext"
boxes = torch.tensor([[0., 0, 9, 9], [0, 0, 9, 8], [0, 0, 9, 8]])
cfg = dict(type="nms", iou_threshold=0.5)
print(batched_nms(boxes, torch.tensor([.9, .8, .7]), torch.tensor([0, 0, 1]), cfg)[1].tolist())
print(soft_nms(boxes, torch.tensor([.9, .8, .7]))[1].tolist())
try:
    DeformConv2d(1, 1, 1)(torch.zeros(1, 1, 4, 4), torch.zeros(1, 2, 4, 4))
except NotImplementedError as error:
    print(error)
"""


@pytest.mark.slow
def test_mmdet_works_without_compiled_operators(without_operators: Path) -> None:
    nms, soft, error = run(DETECT, without_operators).splitlines()
    assert nms == "[0, 2]" and soft == "[0, 1]" and "'deform_conv_forward'" in error


def test_operators_that_are_installed_are_used(tmp_path: Path) -> None:
    (tmp_path / "mmcv").mkdir()
    (tmp_path / "mmcv" / "__init__.py").touch()
    (tmp_path / "mmcv" / "_ext.py").write_text("COMPILED = True\n")
    code = "import mmvitssl, mmcv._ext; print(mmcv._ext.COMPILED)"
    assert run(code, tmp_path) == "True\n"


def test_boxes_and_maps_are_float32_in_the_extractor() -> None:
    """bfloat16 would move the corners of boxes at 1,000 pixels by up to four."""
    from mmdet.models.roi_heads import SingleRoIExtractor

    compat.keep_boxes_in_float32()
    layer = dict(type="RoIAlign", output_size=4, sampling_ratio=2)
    extractor = SingleRoIExtractor(layer, 2, [8, 16])
    generator = torch.Generator().manual_seed(0)
    feats = [torch.randn(1, 2, side, side, generator=generator).bfloat16() for side in (160, 80)]
    rois = torch.tensor([[0, 1001.3, 902.7, 1034.9, 951.2], [0, 515.1, 258.7, 1201.5, 1100.4]])
    expected = extractor([level.float() for level in feats], rois)
    with torch.autocast("cpu", torch.bfloat16):
        found = extractor(feats, rois)
    torch.testing.assert_close(found, expected, atol=0, rtol=0)
    moved = extractor([level.float() for level in feats], rois.bfloat16().float())
    assert (moved - expected).abs().max() > 0.1, "the case must tell the two apart"
