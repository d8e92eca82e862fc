"""One sheet with what several methods make of the same images."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmvitssl.cli import visualize
from tests.test_tools.programs import ROOT, train

CONFIG = """
_base_ = ['{root}/configs/study/cifar10/{method}_vit-p4_cifar10.py']
train_dataloader = dict(batch_size=2, num_workers=0, persistent_workers=False, dataset=dict(
    _delete_=True, type='ImageFolder', root='{data}',
    pipeline={{{{_base_.train_dataloader.dataset.pipeline}}}}))
train_cfg = dict(max_iters=1)
"""


@pytest.mark.slow
def test_methods_are_drawn_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "data").mkdir()
    for number in range(2):
        pixels = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"data/{number}.png")
    for method in ("mae", "repre-mocov3"):
        config = tmp_path / f"{method}.py"
        config.write_text(CONFIG.format(root=ROOT, method=method, data=tmp_path / "data"))
        train(config, "--work-dir", tmp_path / method)
    images = sorted(map(str, (tmp_path / "data").iterdir()))
    checkpoints = [str(tmp_path / method / "last.pth") for method in ("mae", "repre-mocov3")]
    out = tmp_path / "sheet.png"
    monkeypatch.setattr(
        sys, "argv",
        ["visualize", "compare", *images, "--checkpoints", *checkpoints, "--out", str(out)],
    )  # fmt: skip
    visualize.main()
    # original, MAE's masked image and reconstruction, RePre's reconstruction
    assert Image.open(out).size[0] == 4 * 32 + 3 * 4
