"""Mixed precision, compiling, recomputation and scaled rates: once for each family of models."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from yapf.yapflib import yapf_api

from demo import make_demo_data
from mmvitssl.engine import launch
from tests.test_tools import programs
from tests.test_transfer.small_detectors import COCO, small_detector
from tests.test_transfer.small_segmentors import TRANSFER, small_segmentor

SEGMENTORS = {
    "upernet": TRANSFER / "ade20k/upernet_vit-small_8xb2-160k_ade20k-512x512.py",
    "setr": TRANSFER / "cityscapes/setr-pup_vit-small_8xb1-40k_cityscapes-768x768.py",
}
DETECTORS = {
    "mask-rcnn": COCO / "mask-rcnn_vit-small_16xb2-1x_coco.py",
    "cascade": COCO / "cascade-mask-rcnn_vitdet-base_64xb1-100e_coco-1024px.py",
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("switches") / "data"
    make_demo_data(out, train=2, val=1, seed=0, image_size=64, cityscapes=True)
    return out


@pytest.mark.slow
@pytest.mark.parametrize("name", [*DETECTORS, *SEGMENTORS])
def test_all_switches(
    name: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(yapf_api, "FormatCode", lambda text, **_: (text, False))
    if name in DETECTORS:
        config = small_detector(DETECTORS[name], data)
    else:
        config = small_segmentor(SEGMENTORS[name], data)
    base = config.auto_scale_lr.base_batch_size
    config.dump(tmp_path / "config.py")
    output = programs.train(
        tmp_path / "config.py", "--work-dir", tmp_path / "run", "--amp", "bf16",
        "--compile", "eager", "--auto-scale-lr", "--cfg-options",
        "model.backbone.encoder.gradient_checkpointing=True",
    ).stdout  # fmt: skip
    losses = [line["loss"] for line in programs.logged(tmp_path / "run") if "loss" in line]
    assert np.isfinite(losses).all() and losses
    pattern = r"learning rate (\S+), stated for (\d+) images per step, is scaled to (\S+)"
    scaled = re.search(pattern, output)
    assert scaled is not None and int(scaled[2]) == base
    assert float(scaled[3]) == pytest.approx(float(scaled[1]) * 2 / base, rel=1e-5)
    programs.test(
        tmp_path / "config.py", tmp_path / "run/last.pth", "--work-dir", tmp_path / "test",
        "--show-dir", tmp_path / "show", "--cfg-options", "test_cfg.fp16=True",
    )  # fmt: skip
    assert len(list((tmp_path / "show").rglob("*.*"))) == 1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_boxes_do_not_move_under_mixed_precision(dtype: torch.dtype) -> None:
    """mmdet alone casts RoIs to the maps' type: in bfloat16 1,001.7 becomes 1,000."""
    launch.prepare_scope(Config(dict(default_scope="mmdet")))
    from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
    from mmdet.models.task_modules.coders import DeltaXYWHBBoxCoder

    layer = dict(type="RoIAlign", output_size=7, sampling_ratio=2)
    extract = SingleRoIExtractor(layer, out_channels=2, featmap_strides=[4, 8])
    # maps that say where they are: x and y in pixels, in a type that holds them exactly
    maps = []
    for stride in (4, 8):
        x = torch.arange(1024 // stride, dtype=torch.float32)
        maps.append(torch.stack(torch.meshgrid(x, x, indexing="xy"))[None].to(dtype))
    rois = torch.tensor([[0, 801.3, 701.9, 1001.7, 903.3], [0, 3.3, 5.1, 251.7, 249.9]])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = extract(tuple(maps), rois)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, extract(tuple(m.float() for m in maps), rois))
    coder = DeltaXYWHBBoxCoder()
    deltas = torch.tensor([[0.5, -0.25, 0.125, 0.0]] * 2)  # exact in either type
    expected = coder.decode(rois[:, 1:], deltas)
    assert expected.dtype == torch.float32
    assert torch.equal(coder.decode(rois[:, 1:], deltas.to(dtype)), expected)


def test_equal_scores_of_low_precision_do_not_reach_nms() -> None:
    launch.prepare_scope(Config(dict(default_scope="mmdet")))
    from mmcv.ops import batched_nms

    boxes = torch.tensor([[1001.7, 1001.7, 1100.0, 1100.0], [10.0, 10.0, 90.0, 90.0]])
    scores = torch.tensor([0.5, 0.75], dtype=torch.bfloat16)
    kept, order = batched_nms(boxes, scores, torch.zeros(2), dict(type="nms", iou_threshold=0.5))
    assert order.tolist() == [1, 0]
    assert torch.equal(kept[:, :4], boxes[order])
