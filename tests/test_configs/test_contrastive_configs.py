"""Full-size configs of the contrastive methods, and of RePre on them: their published numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from PIL import Image

from mmvitssl.datasets.sampler import SampleKey
from mmvitssl.engine.optim import AutocastOptimWrapper
from mmvitssl.registry import HOOKS, MODELS, PARAM_SCHEDULERS, TRANSFORMS
from tests.test_configs.reading import CONFIGS, build, built, read

METHODS = ("mocov3", "mocov2", "simclr", "byol", "simsiam", "dino", "moby")
FOLDERS = (*METHODS, "repre", "repre/ablations")
ALL = sorted(
    str(p.relative_to(CONFIGS)) for folder in FOLDERS for p in (CONFIGS / folder).glob("*.py")
)
BASES = [path for path in ALL if not path.startswith("repre/")]
REPRE = [path for path in ALL if re.fullmatch(r"repre/[^/]+", path)]
ABLATIONS = [path for path in ALL if path.startswith("repre/ablations/")]
SHARED = "_32xb128-cosine-300e_in1k.py"
MOCOV3_S = "mocov3/mocov3_vit-small" + SHARED
MOCOV2_S = "mocov2/mocov2_vit-small_8xb128-cosine-300e_in1k.py"
SIMCLR_S = "simclr/simclr_vit-small" + SHARED
BYOL_S = "byol/byol_vit-small" + SHARED
SIMSIAM_S = "simsiam/simsiam_vit-small" + SHARED
DINO_S = "dino/dino_vit-small_8xb128-cosine-100e_in1k.py"
DINO_B = "dino/dino_vit-base_8xb128-cosine-800e_in1k.py"
DINO_S800 = "dino/dino_vit-small_8xb128-cosine-800e_in1k.py"
DINO_B400 = "dino/dino_vit-base_32xb32-cosine-400e_in1k.py"  # published; RePre has 800 epochs
MOBY_S = "moby/moby_vit-small_8xb64-cosine-300e_in1k.py"
MOBY_SWIN = "moby/moby_swin-tiny_8xb64-cosine-300e_in1k.py"
REPRE_S = "repre/repre-mocov3_vit-small" + SHARED
REPRE_B = "repre/repre-mocov3_vit-base" + SHARED
REPRE_SWIN = "repre/repre-mocov3_swin-tiny" + SHARED
LARS = ("simclr/simclr_vit-small_lars-32xb128-cosine-300e_in1k.py",
        "byol/byol_vit-small_lars-32xb128-cosine-300e_in1k.py")  # fmt: skip
# the recipes of the repositories of MoCo v2 and SimSiam, which have no warm-up
SGD = ("mocov2/mocov2_vit-small_sgd-8xb32-cosine-200e_in1k.py",
       "simsiam/simsiam_vit-small_sgd-8xb64-cosine-100e_in1k.py")  # fmt: skip


def trained(path: str) -> int:
    return sum(p.numel() for p in built(path).parameters() if p.requires_grad)


def sizes(path: str) -> tuple[int, int]:
    """Processes and batch of each that the name of a config says."""
    match = re.search(r"(\d+)xb(\d+)-", path)
    assert match, path
    return int(match[1]), int(match[2])


def wrapped(model: Any, config: Config) -> AutocastOptimWrapper:
    wrapper = build_optim_wrapper(model, config.optim_wrapper)
    assert isinstance(wrapper, AutocastOptimWrapper)
    return wrapper


def test_every_method_has_configs() -> None:
    assert {path.split("/")[0] for path in BASES} == set(METHODS)
    assert len(REPRE) >= len(METHODS) and len(ABLATIONS) == 20


@pytest.mark.parametrize("path", ALL)
def test_every_config_builds_and_is_consistent(path: str) -> None:
    config, model = read(path), built(path)
    gpus, batch = sizes(path)
    real = gpus * batch * config.optim_wrapper.get("accumulative_counts", 1)
    assert real == config.auto_scale_lr.base_batch_size
    assert config.train_dataloader.batch_size == batch
    assert config.train_dataloader.drop_last
    last = config.param_scheduler[-1]
    assert last.end == config.train_cfg.max_epochs
    assert f"-{config.train_cfg.max_epochs}e_" in path
    assert path in SGD or config.param_scheduler[0].end == last.begin
    pipeline = config.train_dataloader.dataset.pipeline
    assert [part.type for part in pipeline] == ["LoadImage", "MultiView", "PackViews"]
    TRANSFORMS.build(pipeline[1])
    hooks = [hook.type for hook in config.custom_hooks]
    assert ("MomentumUpdateHook" in hooks) == (model.target is not None)
    assert {"CollapseHook", "ReduceLogsHook"} <= set(hooks)
    for hook in config.custom_hooks:
        HOOKS.build(hook)
    groups = wrapped(model, config).optimizer.param_groups
    assert {id(p) for group in groups for p in group["params"]} >= {
        id(p) for p in model.parameters() if p.requires_grad
    }


@pytest.mark.parametrize(
    ("path", "number"),
    [
        (MOCOV3_S, 42_815_104),
        ("mocov3/mocov3_vit-small_32xb128-cosine-600e_in1k.py", 42_815_104),
        ("mocov3/mocov3_vit-base" + SHARED, 108_150_016),
        ("mocov3/mocov3_vit-base_32xb128-cosine-600e_in1k.py", 108_150_016),
        # Swin-T but its frozen embedding; projector 768-4096-4096-256, predictor 256-4096-256
        ("mocov3/mocov3_swin-tiny" + SHARED, 27_519_354 - 4_896 + 20_987_904 + 2_105_344),
        (DINO_S, 43_952_256),
        # --norm_last_layer false, as the repository's command for 300 epochs
        ("dino/dino_vit-small_8xb128-cosine-300e_in1k.py", 43_952_256 + 65_536),
        (DINO_S800, 43_952_256 + 65_536),
        (DINO_B, 108_871_680),
        # the lengths of the prototypes are frozen
        ("dino/dino_swin-tiny_8xb128-cosine-100e_in1k.py", 27_519_354 + 6_295_808 + 16_777_216),
        (MOBY_SWIN, 33_835_898),
        ("moby/moby_swin-tiny_8xb64-cosine-100e_in1k.py", 33_835_898),
        (MOBY_S, 26_409_344),
    ],
)
def test_trained_parameters_are_the_published_number(path: str, number: int) -> None:
    assert trained(path) == number


@pytest.mark.parametrize("path", [DINO_S, DINO_B])
def test_free_lengths_of_dinos_prototypes_are_one_more_for_each(path: str) -> None:
    config = read(path)
    config.model.tasks.distillation.projector.fixed_lengths = False
    more = sum(p.numel() for p in build(config).parameters() if p.requires_grad)
    assert more == trained(path) + 65_536


# name: (learning rate, weight decay, batch, epochs of warm-up, least learning rate)
OPTIMIZERS: dict[str, tuple[float, float, int, int, float]] = {
    MOCOV3_S: (1.5e-4 * 4096 / 256, 0.1, 4096, 40, 0.0),
    MOCOV2_S: (5e-4 * 1024 / 256, 0.05, 1024, 10, 1e-6),  # DINO's authors
    SIMCLR_S: (2e-4 * 4096 / 256, 0.1, 4096, 40, 0.0),  # MoCo v3's authors
    BYOL_S: (1e-4 * 4096 / 256, 0.03, 4096, 40, 0.0),
    SIMSIAM_S: (1.5e-4 * 4096 / 256, 0.1, 4096, 40, 0.0),
    LARS[0]: (0.3 * 4096 / 256, 1e-6, 4096, 10, 0.0),
    LARS[1]: (0.3 * 4096 / 256, 1e-6, 4096, 10, 0.0),
    DINO_S: (5e-4 * 1024 / 256, 0.04, 1024, 10, 1e-6),
    MOBY_S: (1e-3 * 512 / 512, 0.05, 512, 5, 5e-6),
}
# beside the published weights of 800 and 400 epochs (args.txt)
ARGS = {
    "dino_vit-small_8xb128-cosine-800e_in1k.py": (5e-4 * 1024 / 256, 0.04, 1024, 10, 1e-5),
    "dino_vit-base_32xb32-cosine-400e_in1k.py": (7.5e-4 * 1024 / 256, 0.04, 1024, 10, 2e-6),
    "dino_vit-base_8xb128-cosine-800e_in1k.py": (7.5e-4 * 1024 / 256, 0.04, 1024, 10, 2e-6),
}


@pytest.mark.parametrize("path", [path for path in ALL if path not in SGD])
def test_published_optimizers(path: str) -> None:
    base = re.sub(r"^repre(/ablations)?/repre-", "", path).split("/")[-1]
    known = {name.split("/")[0]: name for name in OPTIMIZERS if name not in LARS}
    usual = OPTIMIZERS[path if path in LARS else known[base.split("_")[0]]]
    lr, decay, batch, warm_up, least = ARGS.get(base, usual)
    config = read(path)
    optimizer = config.optim_wrapper.optimizer
    assert optimizer.lr == pytest.approx(lr) and optimizer.weight_decay == decay
    if path in LARS:
        assert optimizer.type == "LARS" and optimizer.momentum == 0.9
    else:
        assert optimizer.type == "AdamW" and tuple(optimizer.betas) == (0.9, 0.999)
    assert config.auto_scale_lr.base_batch_size == batch
    first, second = config.param_scheduler
    assert (first.end, second.eta_min) == (warm_up, least)


@pytest.mark.filterwarnings("ignore:Detected call of `scheduler.step")
@pytest.mark.parametrize(
    ("path", "lr", "batch", "fixed"), [(SGD[0], 0.03, 256, 0), (SGD[1], 0.05 * 2, 512, 5)]
)
def test_the_sgd_recipes_fall_once_per_epoch_but_simsiams_predictor(
    path: str, lr: float, batch: int, fixed: int
) -> None:
    config, model = read(path), MODELS.build(small(path).model)
    assert config.auto_scale_lr.base_batch_size == batch
    wrapper = wrapped(model, config)
    (one,) = config.param_scheduler
    scheduler = PARAM_SCHEDULERS.build({**one, "optimizer": wrapper})
    epochs = config.train_cfg.max_epochs
    for epoch in range(epochs):
        expected = lr * 0.5 * (1 + math.cos(math.pi * epoch / epochs))
        kept = 0
        for group in wrapper.optimizer.param_groups:
            constant = bool(group.get("fix_lr"))
            kept += constant * len(group["params"])
            assert group["lr"] == pytest.approx(lr if constant else expected, abs=1e-12)
            assert (group["weight_decay"], group["momentum"]) == (1e-4, 0.9)
        assert kept == fixed
        scheduler.step()


def test_mocov2s_own_head_and_momentum() -> None:
    config = read(SGD[0])
    assert (config.model.target.momentum, config.model.target.schedule) == (0.999, "constant")
    task = build(config).tasks.contrastive
    linear = [tuple(x.weight.shape) for x in task.projector.layers if hasattr(x, "weight")]
    assert linear == [(384, 384), (128, 384)]
    assert (task.head.temperature, task.head.size) == (0.2, 65536)


@pytest.mark.filterwarnings("ignore:Detected call of `scheduler.step")
@pytest.mark.parametrize("path", [path for path in BASES if path not in SGD])
def test_learning_rates_rise_and_fall(path: str) -> None:
    config = read(path)
    wrapper = wrapped(torch.nn.ModuleDict({"encoder": built(path).encoder}), config)
    schedulers = []
    for one in config.param_scheduler:
        settings = {**one, "optimizer": wrapper, "epoch_length": 1}
        assert settings.pop("convert_to_iter_based")
        kind = PARAM_SCHEDULERS.get(settings.pop("type"))
        schedulers.append(kind.build_iter_from_epoch(**settings))
    rates = []
    for _ in range(config.train_cfg.max_epochs):
        rates.append(wrapper.optimizer.param_groups[0]["lr"])
        for scheduler in schedulers:
            scheduler.step()
    top, warm_up = config.optim_wrapper.optimizer.lr, config.param_scheduler[0].end
    warm_up += config.param_scheduler[0].get("lag", 0)
    assert rates[:warm_up] == sorted(rates[:warm_up])
    assert rates[warm_up:] == sorted(rates[warm_up:], reverse=True)
    assert max(rates) == pytest.approx(top, rel=0.03)
    least = config.param_scheduler[-1].eta_min
    assert rates[-1] == pytest.approx(least, abs=1e-3 * top)
    assert rates[0] == pytest.approx(5e-7 if path.startswith("moby/") else 1e-4 * top)


def encoder_of(path: str) -> Config:
    return read(path).model.encoder


def task_of(path: str) -> Config:
    return next(iter(read(path).model.tasks.values()))


def target_of(path: str) -> tuple[Any, ...] | None:
    target = read(path).model.get("target")
    if target is None:
        return None
    return target.momentum, target.get("end"), target.schedule, target.when, target.get("drop_path")


def test_published_targets() -> None:
    assert target_of(MOCOV3_S) == (0.99, 1.0, "cosine", "before_forward", None)
    assert target_of(MOCOV2_S) == (0.996, 1.0, "cosine", "before_forward", 0.0)
    assert target_of(BYOL_S) == (0.99, 1.0, "cosine", "after_step", None)
    assert target_of(DINO_S) == (0.996, 1.0, "cosine", "after_step", 0.0)
    assert target_of(MOBY_S) == (0.99, 1.0, "cosine", "before_forward", 0.0)
    assert target_of(SIMCLR_S) is None and target_of(SIMSIAM_S) is None


def test_published_losses() -> None:
    assert task_of(MOCOV3_S).head == dict(type="InfoNCE", temperature=0.2, scale=0.4)  # 2T
    mocov2, moby = task_of(MOCOV2_S), task_of(MOBY_S)
    assert mocov2.head == dict(
        type="QueueInfoNCE", size=65536, temperature=0.1, queues=1, first_view=1
    )
    assert mocov2.pairs == ((0, 1),) and "predictor" not in mocov2
    assert moby.head == dict(type="QueueInfoNCE", size=4096, temperature=0.2, queues=2)
    assert task_of(SIMCLR_S).head == dict(type="NTXent", temperature=0.1)
    assert task_of(SIMCLR_S)["keys"] == "online" and "predictor" not in task_of(SIMCLR_S)
    assert task_of(BYOL_S).head == dict(type="CosineLoss", scale=2.0, offset=2.0)
    assert task_of(SIMSIAM_S).head == dict(type="CosineLoss", scale=0.5, offset=0.5)
    assert task_of(SIMSIAM_S)["keys"] == "detached"


def test_published_projectors_and_predictors() -> None:
    def shapes(mlp: Any) -> list[tuple[int, ...]]:
        return [tuple(p.shape) for name, p in mlp.named_parameters() if p.ndim == 2]

    def biases(mlp: Any) -> list[bool]:
        return [x.bias is not None for x in mlp.layers if isinstance(x, torch.nn.Linear)]

    def affine(mlp: Any) -> list[bool]:
        return [x.affine for x in mlp.layers if isinstance(x, torch.nn.BatchNorm1d)]

    tasks = {path: next(iter(build(read(path)).tasks.values())) for path in
             (MOCOV3_S, MOCOV2_S, SIMCLR_S, BYOL_S, SIMSIAM_S, MOBY_S)}  # fmt: skip
    wide = [(4096, 384), (4096, 4096)]
    assert shapes(tasks[MOCOV3_S].projector) == [*wide, (256, 4096)]
    assert affine(tasks[MOCOV3_S].projector) == [True, True, False]
    assert biases(tasks[MOCOV3_S].projector) == [False] * 3
    assert shapes(tasks[MOCOV3_S].predictor) == [(4096, 256), (256, 4096)]
    assert shapes(tasks[MOCOV2_S].projector) == [(2048, 384), (2048, 2048), (256, 2048)]
    assert (
        affine(tasks[MOCOV2_S].projector) == [] and biases(tasks[MOCOV2_S].projector) == [True] * 3
    )
    assert shapes(tasks[SIMCLR_S].projector) == [*wide, (256, 4096)]
    assert affine(tasks[SIMCLR_S].projector) == [True] * 3
    for mlp, inputs in ((tasks[BYOL_S].projector, 384), (tasks[BYOL_S].predictor, 256)):
        assert shapes(mlp) == [(4096, inputs), (256, 4096)]
        assert biases(mlp) == [True, False] and affine(mlp) == [True]
    assert shapes(tasks[SIMSIAM_S].projector) == [(2048, 384), (2048, 2048), (2048, 2048)]
    assert affine(tasks[SIMSIAM_S].projector) == [True, True, False]
    assert shapes(tasks[SIMSIAM_S].predictor) == [(512, 2048), (2048, 512)]
    assert biases(tasks[SIMSIAM_S].predictor) == [False, True]
    for mlp, inputs in ((tasks[MOBY_S].projector, 384), (tasks[MOBY_S].predictor, 256)):
        assert shapes(mlp) == [(4096, inputs), (256, 4096)]
        assert biases(mlp) == [True, True] and affine(mlp) == [True]


@pytest.mark.parametrize("path", [path for path in BASES if "vit-" in path])
def test_published_encoders(path: str) -> None:
    encoder = encoder_of(path)
    six = path.startswith(("dino/", "moby/", "mocov2/"))
    with torch.device("meta"):
        heads = MODELS.build(encoder).blocks[0].attn.num_heads
    assert heads == (6 if six and "small" in path else 12)
    assert encoder.position == ("learned" if six else "sincos_row_first")
    assert bool(encoder.get("freeze_patch_embed")) is not six
    assert encoder.get("initialisation") == ("deit" if six else "mocov3")
    rates = {"dino": 0.1, "mocov2": 0.1, "moby": 0.2}
    assert encoder.get("drop_path", 0.0) == rates.get(path.split("/")[0], 0.0)
    assert ("interpolate_offset" in encoder) == path.startswith("dino/")


@pytest.mark.parametrize("path", [path for path in BASES if "swin-" in path])
def test_swin_encoders(path: str) -> None:
    encoder = encoder_of(path)
    assert (encoder.arch, encoder.window_size) == ("tiny", 7)
    own = path.startswith(("dino/", "moby/"))
    assert bool(encoder.get("freeze_patch_embed")) is not own
    rates = {"dino": 0.1, "moby": 0.2}
    assert encoder.get("drop_path", 0.0) == rates.get(path.split("/")[0], 0.0)


def test_published_schedules_of_dino() -> None:
    # epochs of frozen prototypes, clipping of each gradient, epochs until the last temperature
    usual, long = (1, 3.0, 0), (1, 3.0, 30)
    own = {DINO_S800: (1, None, 30), DINO_B400: (3, 0.3, 50), DINO_B: (3, 0.3, 50)}
    for path in (path for path in BASES if path.startswith("dino/")):
        config = read(path)
        hooks = {hook.type: hook for hook in config.custom_hooks}
        assert hooks["WeightDecayHook"].end == 0.4
        frozen, clip, warm_up = own.get(path, long if config.train_cfg.max_epochs > 100 else usual)
        assert hooks["FreezeHook"] == dict(
            type="FreezeHook", names=("projector.last_layer",), epochs=frozen
        )
        assert config.optim_wrapper.clip_each == clip and "clip_grad" not in config.optim_wrapper
        head = MODELS.build(config.model.tasks.distillation.head)
        assert head.student_temperature == 0.1 and head.center_momentum == 0.9
        last = 0.07 if warm_up else 0.04
        assert (head.temperature_at(0), head.temperature_at(99)) == (0.04, last)
        assert head.warmup_epochs == warm_up


def test_mobys_gradients_are_clipped_together() -> None:
    for path in (path for path in BASES if path.startswith("moby/")):
        assert read(path).optim_wrapper.clip_grad == dict(max_norm=5.0)
        assert "clip_each" not in read(path).optim_wrapper


# augmentation


def views(path: str) -> list[list[dict[str, Any]]]:
    pipeline = read(path).train_dataloader.dataset.pipeline
    return [list(view.transforms) for view in pipeline[1].views]


def jitter(view: list[dict[str, Any]]) -> tuple[float, ...]:
    one = next(t for t in view if t["type"] == "ColorJitter")
    return one["brightness"], one["contrast"], one["saturation"], one["hue"], one["p"]


def chance(view: list[dict[str, Any]], kind: str) -> float:
    return next((t["p"] for t in view if t["type"] == kind), 0.0)


@pytest.mark.parametrize(
    ("path", "crop", "colours", "blur", "solarize"),
    [
        (MOCOV3_S, (0.08, 1.0), (0.4, 0.4, 0.2, 0.1, 0.8), (1.0, 0.1), (0.0, 0.2)),
        (BYOL_S, (0.08, 1.0), (0.4, 0.4, 0.2, 0.1, 0.8), (1.0, 0.1), (0.0, 0.2)),
        (MOBY_S, (0.08, 1.0), (0.4, 0.4, 0.2, 0.1, 0.8), (1.0, 0.1), (0.0, 0.2)),
        (MOCOV2_S, (0.2, 1.0), (0.4, 0.4, 0.4, 0.1, 0.8), (0.5, 0.5), (0.0, 0.0)),
        (SIMSIAM_S, (0.2, 1.0), (0.4, 0.4, 0.4, 0.1, 0.8), (0.5, 0.5), (0.0, 0.0)),
        (SIMCLR_S, (0.08, 1.0), (0.4, 0.4, 0.4, 0.1, 0.8), (0.5, 0.5), (0.0, 0.0)),
        (LARS[0], (0.08, 1.0), (0.8, 0.8, 0.8, 0.2, 0.8), (0.5, 0.5), (0.0, 0.0)),
        (LARS[1], (0.08, 1.0), (0.4, 0.4, 0.2, 0.1, 0.8), (1.0, 0.1), (0.0, 0.2)),
    ],
)
def test_published_augmentation(
    path: str,
    crop: tuple[float, float],
    colours: tuple[float, ...],
    blur: tuple[float, float],
    solarize: tuple[float, float],
) -> None:
    both = views(path)
    assert len(both) == 2
    for view, blurred, solarized in zip(both, blur, solarize, strict=True):
        assert view[0]["type"] == "RandomResizedCrop" and view[0]["scale"] == crop
        assert view[0]["size"] == 224 and jitter(view) == colours
        assert bool(view[0].get("clip")) == (path == LARS[1])
        assert chance(view, "RandomGrayscale") == 0.2 and chance(view, "RandomFlip") == 0.5
        assert chance(view, "GaussianBlur") == blurred and chance(view, "Solarize") == solarized


def test_moby_flips_first_and_mocov3_last() -> None:
    flips_first = {MOBY_S: True, SIMCLR_S: True, LARS[1]: True, MOCOV3_S: False, MOCOV2_S: False}
    for path, first in flips_first.items():
        for view in views(path):
            assert view[1 if first else -1]["type"] == "RandomFlip"


@pytest.mark.parametrize("path", [DINO_S800, DINO_B400, DINO_B])
def test_dinos_crops_of_long_trainings(path: str) -> None:
    scales = [view[0]["scale"] for view in views(path)]
    assert scales == [(0.25, 1.0), (0.25, 1.0), (0.05, 0.25)]
    assert tuple(task_of(path).local_views) == tuple(range(2, 12))


def test_dinos_crops() -> None:
    first, second, local = views(DINO_S)
    scales = [view[0]["scale"] for view in (first, second, local)]
    assert scales == [(0.4, 1.0), (0.4, 1.0), (0.05, 0.4)]
    assert all(view[0]["interpolation"] == "bicubic" for view in (first, second, local))
    assert [chance(view, "GaussianBlur") for view in (first, second, local)] == [1.0, 0.1, 0.5]
    assert [chance(view, "Solarize") for view in (first, second, local)] == [0.0, 0.2, 0.0]
    assert all(jitter(view) == (0.4, 0.4, 0.2, 0.1, 0.8) for view in (first, second, local))
    multi_view = TRANSFORMS.build(read(DINO_S).train_dataloader.dataset.pipeline[1])
    image = Image.effect_noise((160, 120), 64).convert("RGB")
    made = multi_view({"image": image, "key": SampleKey(0, 0, 0)})["views"]
    assert [view.size for view in made] == [(224, 224)] * 2 + [(96, 96)] * 8
    assert len({view.tobytes() for view in made}) == 10
    task = task_of(DINO_S)
    assert tuple(task.global_views) == (0, 1) and tuple(task.local_views) == tuple(range(2, 10))


# who is decayed


def small(path: str) -> Config:
    """A config with a small encoder and small heads of the same kind."""
    config = read(path)
    swin = config.model.encoder.type == "SwinTransformer"
    arch = dict(embed_dim=8, depths=(2, 2), num_heads=(2, 4)) if swin else None
    config.model.encoder.arch = arch or dict(embed_dim=32, depth=2, num_heads=2)
    for task in config.model.tasks.values():
        if task.type == "SelfDistillation":
            task.projector.update(prototypes=8, hidden_channels=16, bottleneck=4)
        elif task.type == "Contrastive":
            task.projector.update(hidden_channels=16)
        elif task.type == "Reconstruction":
            task.levels, task.neck.width = 2, 8
    return config


def decays(path: str) -> dict[str, tuple[float, float]]:
    """Weight decay and learning rate of every trained parameter, on a small model."""
    config = small(path)
    model = MODELS.build(config.model)
    names = {id(p): name for name, p in model.named_parameters()}
    found = {
        names[id(p)]: (group["weight_decay"], group["lr"])
        for group in wrapped(model, config).optimizer.param_groups
        for p in group["params"]
    }
    wanted = {name for name, p in model.named_parameters() if p.requires_grad}
    assert wanted <= set(found)
    return {name: found[name] for name in wanted}


@pytest.mark.parametrize("path", [DINO_S, MOCOV2_S, MOBY_S, MOBY_SWIN, *LARS])
def test_norms_and_biases_are_not_decayed_but_tokens_and_tables_are(path: str) -> None:
    found = decays(path)
    base = read(path).optim_wrapper.optimizer.weight_decay
    model = MODELS.build(small(path).model)
    shapes = {name: p.ndim for name, p in model.named_parameters()}
    for name, (decay, _) in found.items():
        assert decay == (0.0 if shapes[name] <= 1 else base), name
    learned = [n for n in found if n.endswith(("cls_token", "pos_embed", "_bias_table"))]
    assert bool(learned) and all(found[name][0] == base for name in learned)
    kinds = {name.rsplit(".", 1)[-1] for name in learned}
    if path == MOBY_SWIN:
        assert kinds == {"relative_position_bias_table"}
    elif path in LARS:
        assert kinds == {"cls_token"}
    else:
        assert kinds == {"cls_token", "pos_embed"}
    assert ("tasks.distillation.projector.last_layer.weight_v" in found) == (path == DINO_S)
    assert not any(name.endswith("weight_g") or name.startswith("target.") for name in found)


@pytest.mark.parametrize("path", [MOCOV3_S, SIMCLR_S, BYOL_S, SIMSIAM_S])
def test_mocov3s_recipe_decays_everything(path: str) -> None:
    found = decays(path)
    assert {decay for decay, _ in found.values()} == {0.03 if path == BYOL_S else 0.1}
    assert {"encoder.cls_token", "encoder.blocks.0.norm1.bias"} <= set(found)
    assert not any("patch_embed" in name or "pos_embed" in name for name in found)


@pytest.mark.parametrize("path", [p for p in REPRE if "vit-small" in p or "swin" in p])
def test_the_weights_of_repres_losses_are_never_decayed(path: str) -> None:
    found, config = decays(path), read(path)
    weights = {name: both for name, both in found.items() if name.startswith("balancer.")}
    assert len(weights) == 2
    lr = config.optim_wrapper.optimizer.lr
    assert all(decay == 0.0 and rate == pytest.approx(5 * lr) for decay, rate in weights.values())
    rest = [rate for name, (_, rate) in found.items() if name not in weights]
    assert rest == [pytest.approx(lr)] * len(rest)
    decoder = [n for n in found if n.startswith("tasks.reconstruction.") and n.endswith("weight")]
    base = config.optim_wrapper.optimizer.weight_decay
    assert decoder and all(found[name][0] == base for name in decoder)


# RePre


# variables of repre/_base_/reconstruction.py, which recipes read
PARTS_OF_REPRE = {"reconstruction", "reconstruction_swin", "weights", "beside_contrast",
                  "beside_cosine", "beside_distillation", "scales"}  # fmt: skip


def without_repre(config: Config) -> dict[str, Any]:
    """What is left of a config of RePre without its branch and the learned weights."""
    rest = {key: value for key, value in config.to_dict().items() if key not in PARTS_OF_REPRE}
    del rest["model"]["tasks"]["reconstruction"], rest["model"]["balancer"]
    del rest["optim_wrapper"]["paramwise_cfg"]["custom_keys"]
    if not rest["optim_wrapper"]["paramwise_cfg"]:
        del rest["optim_wrapper"]["paramwise_cfg"]
    return rest


@pytest.mark.parametrize("path", REPRE)
def test_repre_on_a_method_is_that_method_and_a_branch(path: str) -> None:
    config = read(path)
    name = path.removeprefix("repre/repre-")
    base = f"{name.split('_')[0]}/{name}"
    task = config.model.tasks.reconstruction
    assert task.views == (0,) and task.head == dict(type="PixelLoss", distance="l1")
    built = build(config).tasks["reconstruction"]
    swin = "swin" in path
    assert built.levels == ((0, 1, 2, 3) if swin else (2, 5, 8, 11))
    assert built.neck.patch_size == (4 if swin else 16)
    assert not swin or built.neck.in_channels == (96, 192, 384, 768)
    assert task.neck == dict(type="MultiHierarchyFusion", width=48 if swin else 128, layers=2)
    contrast = next(iter(config.model.tasks))
    cosine = config.model.tasks[contrast].head.type == "CosineLoss"
    assert config.model.balancer == dict(
        type="UncertaintyWeights",
        likelihoods={
            contrast: "gaussian" if cosine else "classification",
            "reconstruction": "laplace",
        },
    )
    assert config.optim_wrapper.paramwise_cfg.custom_keys == {
        "balancer": dict(lr_mult=5.0, decay_mult=0.0)
    }
    assert without_repre(config) == read(base).to_dict()


def test_repre_is_there_for_every_base_of_the_shared_optimizer() -> None:
    others = (*LARS, DINO_B400, *(path for path in BASES if "_sgd-" in path))
    bases = {path.split("/")[1] for path in BASES if path not in others}
    assert {path.removeprefix("repre/repre-") for path in REPRE} == bases


DECODERS = {"vit-small": 1_624_064, "vit-base": 1_820_672, "swin-tiny": 258_576}


@pytest.mark.parametrize("path", REPRE)
def test_repre_adds_the_light_decoder_and_two_weights(path: str) -> None:
    name = path.removeprefix("repre/repre-")
    size = name.split("_")[1]
    assert trained(path) - trained(f"{name.split('_')[0]}/{name}") == DECODERS[size] + 2


@pytest.mark.parametrize(
    ("path", "layers", "millions"),
    [
        (REPRE_S, 1, 8.26),
        (REPRE_S, 2, 12.24),
        (REPRE_S, 4, 20.21),
        (REPRE_B, 1, 32.44),
        (REPRE_B, 2, 48.37),
        (REPRE_B, 4, 80.23),
        (REPRE_SWIN, 1, 5.23),
        (REPRE_SWIN, 2, 6.97),
        (REPRE_SWIN, 4, 10.46),
    ],
)
def test_the_literal_decoder_is_heavy(path: str, layers: int, millions: float) -> None:
    config = read(path)
    config.model.tasks.reconstruction.neck.update(width=None, layers=layers)
    decoder = build(config).tasks["reconstruction"].neck
    number = sum(p.numel() for p in decoder.parameters())
    assert round(number / 1e6, 2) == millions
    if layers == 2 and path != REPRE_B:
        literal = path.replace("repre/", "repre/ablations/").replace("_32xb", "_literal-32xb")
        added = trained(literal) - trained(path.replace("repre/repre-", "mocov3/"))
        assert added == number + 2


def single(config: Config) -> None:
    config.model.tasks.reconstruction.levels = 1


def changed(key: str, value: Any) -> Callable[[Config], None]:
    return lambda config: config.merge_from_dict({f"model.tasks.reconstruction.{key}": value})


def fusion(layers: int) -> Callable[[Config], None]:
    def change(config: Config) -> None:
        # the backbone's own layer
        kind = "swin" if config.model.encoder.type == "SwinTransformer" else "transformer"
        config.model.tasks.reconstruction.neck.update(fusion=kind, layers=layers)

    return change


def fixed(config: Config) -> None:
    config.model.balancer = dict(type="FixedWeights")


CHANGES: dict[str, Callable[[Config], None]] = {
    "both-views": changed("views", (0, 1)),
    "fixed": fixed,
    "layers1": changed("neck.layers", 1),
    "layers4": changed("neck.layers", 4),
    "literal": changed("neck.width", None),
    "single": single,
    "transformer1": fusion(1),
    "transformer2": fusion(2),
    "transformer4": fusion(4),
}


@pytest.mark.parametrize("path", ABLATIONS)
def test_ablations_change_what_they_say_and_nothing_else(path: str) -> None:
    pattern = r"repre/ablations/(repre-mo[a-z0-9]+_[a-z-]+)_([a-z0-9-]+)-(\d+xb.*)"
    match = re.fullmatch(pattern, path)
    assert match, path
    base = read(f"repre/{match[1]}_{match[3]}")
    before = base.to_dict()
    CHANGES[match[2]](base)
    assert base.to_dict() != before
    assert read(path).to_dict() == base.to_dict()


def test_both_backbones_have_all_ablations() -> None:
    """Of MoCo v3; of MoBY the single level alone was published (table 4)."""
    assert len(ABLATIONS) == 2 * len(CHANGES) + 2


# what would go wrong unnoticed


@pytest.mark.parametrize("path", [MOCOV3_S, DINO_S, MOBY_SWIN, REPRE_SWIN])
@pytest.mark.parametrize("where", ["encoder", "task", "head", "target", "view"])
def test_an_unknown_key_is_an_error(path: str, where: str) -> None:
    config = read(path)
    task = next(iter(config.model.tasks.values()))
    pipeline = config.train_dataloader.dataset.pipeline[1]
    parts = dict(
        encoder=config.model.encoder,
        task=task,
        head=task.head,
        target=config.model.target,
        view=pipeline.views[0].transforms[0],
    )
    parts[where].surprise = 1
    with pytest.raises(TypeError, match="surprise"):
        TRANSFORMS.build(pipeline)
        build(config)
