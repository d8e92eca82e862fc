"""Settings chosen from the number of images and the machine, by rule."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config

from mmvitssl.apis.machine import Machine
from mmvitssl.apis.plan import Plan, choose_image_size, choose_rate, make_plan
from mmvitssl.apis.recipes import config_path, find_recipe, known_method, load_recipe, methods
from mmvitssl.apis.written_configs import config_text, fit
from mmvitssl.registry import MODELS

GIB = 2**30
CPU = Machine("cpu", 1, "CPU", 16 * GIB, 8, 8 * GIB, "")
GPU = Machine("cuda", 1, "H100", 80 * GIB, 16, 8 * GIB, "the GPU has it")
EIGHT = Machine("cuda", 8, "H100", 80 * GIB, 96, 64 * GIB, "the GPU has it")


def planned(
    images: int, machine: Machine, method: str = "repre-mocov3", arch: str = "vit-small", **how: Any
) -> tuple[Plan, Config]:
    size = choose_image_size(how.pop("image_size", None), 400, machine)
    config, _ = load_recipe(method, arch, int(size.value))
    return make_plan(config, images, size, machine, **how), config


@pytest.mark.parametrize("machine", [CPU, GPU, EIGHT], ids=["cpu", "gpu", "8 gpus"])
@pytest.mark.parametrize("images", [10, 64, 5000, 1_000_000])
def test_every_plan_trains(images: int, machine: Machine) -> None:
    plan, config = planned(images, machine)
    step = plan.batch_size * plan.devices
    steps = images // step * plan.epochs
    assert plan.batch_size >= 2 and step <= images
    assert plan.warm_up * (images // step) >= 2 and 2 * plan.warm_up < plan.epochs
    assert steps >= 100 and plan.bf16 == (machine.device == "cuda")
    assert plan.workers <= max(images // step, 1) and plan.devices <= machine.devices
    assert all(choice.reason for choice in plan.choices)
    fit(config, plan, dict(type="ImageFolder", root="images", pipeline=[]), images)
    assert 1 <= config.default_hooks.checkpoint.interval <= plan.epochs
    last = config.param_scheduler[-1]
    assert (last.begin, last.end, config.train_cfg.max_epochs) == (
        plan.warm_up, plan.epochs, plan.epochs
    )  # fmt: skip


def test_a_million_images_on_eight_gpus_train_as_published() -> None:
    plan, config = planned(1_280_000, EIGHT)
    assert (plan.batch_size * plan.devices, plan.epochs, plan.warm_up) == (4096, 300, 40)
    assert plan.learning_rate == config.optim_wrapper.optimizer.lr == 2.4e-3
    assert plan.image_size == 224


def test_fewer_images_want_more_passes_and_a_smaller_rate() -> None:
    few, many = planned(5000, GPU)[0], planned(1_000_000, GPU)[0]
    assert few.epochs > many.epochs and few.batch_size <= many.batch_size
    assert planned(64, EIGHT)[0].devices == 1
    small = Machine("cuda", 1, "small", 8 * GIB, 4, 8 * GIB, "")
    assert planned(1_000_000, small)[0].batch_size < many.batch_size
    assert planned(5000, CPU)[0].epochs < few.epochs  # or it would take weeks


def test_the_rate_follows_the_root_of_the_batch_with_adam_and_the_batch_without() -> None:
    assert choose_rate(1.0, 4096, 1024, "AdamW").value == 0.5
    assert choose_rate(1.0, 4096, 1024, "LARS").value == 0.25


def test_little_shared_memory_means_few_workers() -> None:
    docker = Machine("cuda", 1, "GPU", 80 * GIB, 16, 64 * 2**20, "")
    plan, _ = planned(5000, docker)
    assert plan.workers == 2
    assert any("--shm-size" in choice.reason for choice in plan.choices)


def test_what_is_stated_is_taken_or_refused() -> None:
    plan, _ = planned(64, CPU, epochs=7, batch_size=4, image_size=48)
    assert (plan.epochs, plan.batch_size, plan.image_size) == (7, 4, 48)
    for how, words in (
        (dict(batch_size=65), "--batch-size 65 must lie between 2 and the 64 images"),
        (dict(batch_size=1), "--batch-size 1"),
        (dict(epochs=0), "--epochs 0"),
        (dict(image_size=50), "--image-size 50 .* use 48"),
    ):
        with pytest.raises(ValueError, match=words):
            planned(64, CPU, **how)
    with pytest.raises(ValueError, match="1 image.* too few"):
        planned(1, CPU)


def test_small_images_are_not_enlarged_much() -> None:
    assert choose_image_size(None, 32, GPU).value == 112
    assert choose_image_size(None, 150, GPU).value == 160
    assert choose_image_size(None, 400, GPU).value == 224


def test_queues_hold_whole_batches_and_no_image_twice() -> None:
    plan, config = planned(64, CPU, "mocov2", "vit-tiny")
    fit(config, plan, {}, 64)
    size = config.model.tasks.contrastive.head.size
    assert size == 64 and size % plan.batch_size == 0


@pytest.mark.parametrize("method", ["dino", "lomar", "mocov2", "mtssl", "repre-dino", "simmim"])
def test_written_configs_say_the_same_and_build(method: str, tmp_path: Path) -> None:
    """Of every kind of method; the text is plain Python that stands alone."""
    plan, config = planned(64, CPU, method, "vit-tiny")
    fit(config, plan, dict(type="ImageFolder", root="images", pipeline=[]), 64)
    path = tmp_path / "config.py"
    path.write_text(config_text(config, plan.choices, ["a test"]))
    ast.parse(path.read_text())
    again = Config.fromfile(path)
    for key in ("model", "optim_wrapper", "param_scheduler", "train_dataloader", "custom_hooks"):
        assert again[key] == config[key], key
    assert "# batch: 16 (64 images" in path.read_text()
    assert MODELS.build(again.model).encoder.embed_dim == 192


def test_methods_and_configs_are_found_by_any_of_their_names() -> None:
    assert known_method("RePre") == "repre-mocov3" and known_method("MoCo v3") == "mocov3"
    with pytest.raises(ValueError, match="did you mean dino"):
        known_method("dinno")
    path = find_recipe("mae", "vit-small")
    for name in ("mae/" + path.name, "mmvitssl::mae/" + path.name, path.stem, str(path)):
        assert Path(config_path(name)).samefile(path)
    assert config_path("no/such.py") == "no/such.py"
    assert {"mae", "repre-mocov3", "sit", "mtssl", "cae"} <= set(methods())


def test_other_depths_keep_the_places_of_levels() -> None:
    config, path = load_recipe("repre-mocov3", "vit-large")
    assert path.name.startswith("repre-mocov3_vit-base")
    with torch.device("meta"):
        model = MODELS.build(config.model)
    assert model.tasks["reconstruction"].levels == (5, 11, 17, 23)
