"""Dumps of detectors and segmentors: the batch is in them, and the step can be repeated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmengine.structures import InstanceData, PixelData
from mmseg.structures import SegDataSample

from mmvitssl.engine.batch_objects import TYPE, from_plain, to_plain
from mmvitssl.engine.config_files import read_config
from mmvitssl.engine.dump import plain, replay
from tests.test_tools.programs import train
from tests.test_transfer.test_resume import LINES, detection, segmentation

BOXES = torch.tensor([[0.0, 0.0, 4.0, 4.0]])
POLYGON = [[np.array([0.0, 0.0, 4.0, 0.0, 4.0, 4.0])]]


def test_batches_of_objects_come_back() -> None:
    masks = (BitmapMasks(np.ones((1, 8, 8), np.uint8), 8, 8), PolygonMasks(POLYGON, 8, 8))
    samples: list[Any] = [
        DetDataSample(
            metainfo=dict(img_path="a.png", img_shape=(8, 8), scale_factor=(0.5, np.float64(2))),
            gt_instances=InstanceData(
                bboxes=HorizontalBoxes(BOXES), labels=torch.tensor([1]), masks=one
            ),
        )
        for one in masks
    ]
    samples.append(SegDataSample(gt_sem_seg=PixelData(data=torch.ones(1, 8, 8))))
    made = to_plain({"inputs": [torch.zeros(3, 8, 8)], "data_samples": samples})
    assert plain(made)
    found = from_plain(made)["data_samples"]
    assert [type(one) for one in found] == [type(one) for one in samples]
    assert found[0].metainfo == samples[0].metainfo and found[0].img_path == "a.png"
    for one, mask in zip(found, masks, strict=False):
        assert torch.equal(one.gt_instances.bboxes.tensor, BOXES)
        assert np.array_equal(one.gt_instances.masks.to_ndarray(), mask.to_ndarray())
    assert torch.equal(found[2].gt_sem_seg.data, samples[2].gt_sem_seg.data)


def test_nothing_else_is_built_from_a_dump() -> None:
    for name in ("Popen", "os.system", "Config", ""):
        with pytest.raises(ValueError, match="which no batch has"):
            from_plain([{TYPE: name, "metainfo": {}, "data": {"args": ["touch", "marker"]}}])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "weight"),
    [(detection, "roi_head.bbox_head.fc_cls.bias"), (segmentation, "decode_head.conv_seg.bias")],
)
def test_a_step_is_repeated_from_its_dump(make: Any, weight: str, tmp_path: Path) -> None:
    lines = LINES.replace("WORKERS", "0").replace("max_iters=5", "max_iters=3")
    lines = lines.replace("interval=1)", "interval=100)")  # a checkpoint would find it first
    poison = f"custom_hooks = [dict(type='mmvitssl.NaNAt', iteration=1, weight='{weight}')]\n"
    config = make(tmp_path, lines + poison)
    done = train(config, "--work-dir", tmp_path / "run", ok=False)
    assert done.returncode == 2 and "Training stopped at step 3" in done.stdout, done.stdout[-3000:]
    for step in (1, 2):
        assert f"Step {step} was skipped" in done.stdout
    said = done.stdout[done.stdout.index("error: ") :]
    assert "Images of the batch: " in said and str(tmp_path) in said.partition("mmvitssl replay")[0]
    assert f"Weights that are not finite: {weight}" in said
    (dump,) = (tmp_path / "run").glob("*.dump")
    said = "\n".join(replay(dump, read_config(str(config))))
    assert f"Weights that are not finite: {weight}" in said
    assert f"output of {weight.rpartition('.')[0]}" in said and "Images: " in said
    assert "Losses that are not finite: none" not in said
