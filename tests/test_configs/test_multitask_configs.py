"""Multi-task configs: they build, they are short, and each says what its name says."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
from mmengine.config import Config

from tests.test_configs.reading import CONFIGS, built

FOLDER = CONFIGS / "mtssl"
STEM = "_vit-small_32xb128-cosine-300e_in1k.py"
TASKS = ("contrast", "rotation", "colour", "place", "jigsaw", "paint")
ALL = sorted(path.name for path in FOLDER.glob("*.py"))


@pytest.mark.parametrize("name", ALL)
def test_every_config_builds_and_inherits(name: str) -> None:
    model = built(f"mtssl/{name}")
    wants = "contrast" in model.tasks or "cluster" in model.tasks
    assert (model.target is not None) == (wants and "sit" not in name)
    lines = (FOLDER / name).read_text().splitlines()
    assert lines[0].startswith("# ") and len(lines) < 60
    wanted = [task.patch_need(0, (14, 14)) for _, task in model.named_tasks()]
    assert sum(need.total for need in wanted if need is not None) <= 196


def test_every_task_and_every_pair_has_a_config() -> None:
    for tasks in [(task,) for task in TASKS] + list(combinations(TASKS, 2)):
        model = built(f"mtssl/mtssl-{'-'.join(tasks)}{STEM}")
        assert list(model.tasks) == list(tasks)
        tokens = [task for task in ("contrast", "rotation") if task in tasks]
        assert sorted(model.encoder.prefix_tokens) == sorted(tokens)
    assert list(built(f"mtssl/mtssl-all{STEM}").tasks) == list(TASKS)
    assert list(built(f"mtssl/mtssl{STEM}").tasks) == list(TASKS[:4])


def test_other_methods_join() -> None:
    assert "reconstruction" in built(f"mtssl/mtssl-repre{STEM}").tasks
    lomar = built(f"mtssl/mtssl-lomar{STEM}")
    assert "windows" in lomar.tasks and lomar.encoder.mask_token is not None


def test_sit_is_a_config() -> None:
    (name,) = (name for name in ALL if name.startswith("sit"))
    model, config = built(f"mtssl/{name}"), Config.fromfile(FOLDER / name)
    assert list(model.tasks) == ["contrast", "rotation", "paint"]
    assert set(model.encoder.prefix_tokens) == {"rotation"}  # the class token is the other one
    paint: Any = model.tasks["paint"]
    # the first code's blocks, in its order
    assert paint.on == "all" and paint.modes == ("grey", "blur", "noise", "other") and paint.blocks
    head: Any = model.tasks["contrast"].head
    assert (head.temperature, head.scale, head.local) == (0.5, 0.5, True)
    assert model.tasks["contrast"].keys == "online" and model.tasks["contrast"].token == "cls"
    assert config.train_dataloader.sampler.repeats == 3
    assert config.optim_wrapper.optimizer.lr == pytest.approx(5e-4 * 288 / 512, rel=0.01)
    assert config.model.balancer.initial == 1.0
