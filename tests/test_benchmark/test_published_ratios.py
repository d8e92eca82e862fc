"""Ratios of operations between methods, counted on the shapes of full-size configs."""

from __future__ import annotations

import pytest
from mmengine.config import Config
from mmengine.registry import DefaultScope

from benchmark import StepBench, load_config
from benchmark.configs import CONFIGS

LOMAR_448 = "lomar_vit-base_{}4xb256-cosine-300e_in1k-448px.py"


def flops(config: Config) -> int:
    """Of a step of one image."""
    with DefaultScope.overwrite_default_scope("mmvitssl"):
        return StepBench("x", config, 1).flops().total


@pytest.mark.long
def test_lomar_against_mae_at_448() -> None:
    """Figure 4 claims 3.1: the published layout has about 1, late masks and fewer windows 3.1."""
    mae = flops(load_config("mae", "ViT-B/16", 448))
    published, six, four = (
        mae / flops(Config.fromfile(CONFIGS / "lomar" / LOMAR_448.format(name)))
        for name in ("", "6win-mask-at-8-", "4win-mask-at-4-")
    )
    assert published == pytest.approx(1.09, abs=0.02)
    assert six == pytest.approx(3.37, abs=0.03)
    assert four == pytest.approx(3.30, abs=0.03)
