"""Probe and fine-tuning configs at full size: they build, and their numbers are published ones."""

from __future__ import annotations

import math
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmvitssl.engine.config_files import read_config
from mmvitssl.models.algorithms import ImageClassifier
from mmvitssl.registry import MODELS, PARAM_SCHEDULERS

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
PROBE = CONFIGS / "probe"
# nearest neighbours train nothing
NAMES = sorted(path.stem for path in PROBE.glob("*_in1k*.py") if "knn" not in path.stem)

# trained parameters; of the attentive probe the published number less a norm that nothing reads
TRAINED = {
    "linear-mae_vit-base_32xb512-cosine-90e_in1k": 769_000,
    "linear-mae_vit-large_32xb512-cosine-90e_in1k": 1_025_000,
    "linear-dino_vit-small_8xb128-cosine-100e_in1k": 1536 * 1000 + 1000,
    "linear-dino_vit-base_8xb128-cosine-100e_in1k": 1536 * 1000 + 1000,
    "linear-moby_vit-small_8xb64-cosine-100e_in1k": 385_000,
    "attentive-cae_vit-base_32xb256-cosine-90e_in1k": 3_137_512 - 2 * 768,
    "attentive-cae_vit-large_32xb256-cosine-90e_in1k": 5_231_592 - 2 * 1024,
    "finetune-mae_vit-base_32xb32-cosine-100e_in1k": 86_567_656,
    "finetune-mae_vit-large_32xb32-cosine-50e_in1k": 304_326_632,
    "finetune-beit_vit-base_32xb32-cosine-100e_in1k": 86_530_984,
    "finetune-beit_vit-large_32xb32-cosine-50e_in1k": 304_430_568,
    "finetune-cae_vit-base_32xb128-cosine-100e_in1k": 86_530_984,
    "finetune-cae_vit-large_32xb128-cosine-50e_in1k": 304_430_568,
    "finetune-lomar_vit-base_32xb32-cosine-100e_in1k": 86_454_760,
}
# method of the probe -> a config that pretrains what it reads
PRETRAINING = {
    "mae_vit-base": "mae/mae_vit-base_64xb64-cosine-800e_in1k",
    "mae_vit-huge-p14": "mae/mae_vit-huge-p14_64xb64-cosine-800e_in1k",
    "lomar_vit-base-p8": "lomar/lomar_vit-base-p8_4xb256-cosine-400e_in1k",
    "simmim_swin-base": "simmim/simmim_swin-base_16xb128-cosine-100e_in1k-192px",
    "byol_vit-small": "byol/byol_vit-small_32xb128-cosine-300e_in1k",
    "simsiam_vit-small": "simsiam/simsiam_vit-small_32xb128-cosine-300e_in1k",
    "mocov2_vit-small": "mocov2/mocov2_vit-small_8xb128-cosine-300e_in1k",
    "mae_vit-small": "mae/mae_vit-small_64xb64-cosine-800e_in1k",
    "mae_vit-large": "mae/mae_vit-large_64xb64-cosine-800e_in1k",
    "cae_vit-base": "cae/cae_vit-base_32xb64-cosine-300e_in1k",
    "cae_vit-small": "cae/cae_vit-small_32xb64-cosine-300e_in1k",
    "cae_vit-large": "cae/cae_vit-large_32xb64-cosine-1600e_in1k",
    "beit_vit-base": "beit/beit_vit-base_8xb256-cosine-300e_in1k",
    "beit_vit-large": "beit/beit_vit-large_8xb256-cosine-800e_in1k",
    "simmim_vit-base": "simmim/simmim_vit-base_16xb128-step-800e_in1k",
    "lomar_vit-base": "lomar/lomar_vit-base_4xb256-cosine-400e_in1k",
    "mocov3_vit-base": "mocov3/mocov3_vit-base_32xb128-cosine-300e_in1k",
    "mocov3_vit-small": "mocov3/mocov3_vit-small_32xb128-cosine-300e_in1k",
    "mocov3_swin-tiny": "mocov3/mocov3_swin-tiny_32xb128-cosine-300e_in1k",
    "dino_vit-base": "dino/dino_vit-base_8xb128-cosine-800e_in1k",
    "dino_vit-small": "dino/dino_vit-small_8xb128-cosine-100e_in1k",
    "dino_swin-tiny": "dino/dino_swin-tiny_8xb128-cosine-100e_in1k",
    "moby_vit-small": "moby/moby_vit-small_8xb64-cosine-300e_in1k",
    "mtssl_vit-small": "mtssl/mtssl_vit-small_32xb128-cosine-300e_in1k",
    "sit_vit-base": "mtssl/sit_vit-base_4xb72-cosine-501e_in1k",
    "moby_swin-tiny": "moby/moby_swin-tiny_8xb64-cosine-300e_in1k",
}
IDENTITY = ("arch", "patch_size", "qkv_bias", "layer_scale", "position", "relative_position",
            "interpolate_offset", "window_size")  # fmt: skip


@cache
def config(name: str) -> Config:
    return read_config(str(PROBE / f"{name}.py"))


def method_of(name: str) -> str:
    kind, backbone = name.split("_")[:2]
    return f"{kind.split('-')[-1]}_{backbone}"


def batch_of(name: str) -> int:
    processes, images = re.search(r"(\d+)xb(\d+)", name).groups()  # type: ignore[union-attr]
    return int(processes) * int(images)


@pytest.mark.parametrize("name", NAMES)
def test_it_builds_as_its_name_says(name: str) -> None:
    settings = config(name)
    with torch.device("meta"):
        model = MODELS.build(settings.model)
    assert isinstance(model, ImageClassifier)
    assert model.frozen == (not name.startswith("finetune"))
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert trained == TRAINED.get(name, trained)
    if model.frozen:
        assert trained == sum(p.numel() for p in model.head.parameters())
    epochs = re.search(r"-(\d+)e_in1k", name)[1]  # type: ignore[index]
    assert settings.train_cfg.max_epochs == int(epochs)
    assert settings.param_scheduler[-1].end == int(epochs)
    assert settings.auto_scale_lr.base_batch_size == batch_of(name)
    images = int(re.search(r"xb(\d+)", name)[1])  # type: ignore[index]
    assert settings.train_dataloader.batch_size == images
    assert settings.test_dataloader.sampler.round_up is False
    assert settings.val_evaluator.type == "ClassAccuracy" and settings.val_cfg == {}


def view_sizes(pipeline: list[Any]) -> set[int]:
    (views,) = (step["views"] for step in pipeline if step["type"] == "MultiView")
    return {step["size"] for view in views for step in view["transforms"] if "size" in step}


def innermost(dataset: Any) -> Any:
    while "dataset" in dataset:
        dataset = dataset["dataset"]
    return dataset


@pytest.mark.parametrize("name", NAMES)
def test_images_have_the_size_of_the_encoder(name: str) -> None:
    settings = config(name)
    size = settings.model.encoder.image_size
    stated = re.search(r"-(\d+)px$", name)
    assert size == (int(stated[1]) if stated else 224)
    for part in ("train_dataloader", "val_dataloader", "test_dataloader"):
        pipeline = innermost(settings[part].dataset).pipeline
        last = pipeline[1]["views"][0]["transforms"][-1]
        assert size in view_sizes(pipeline)
        if part != "train_dataloader":
            assert (last.type, last.size) == ("CenterCrop", size)


@pytest.mark.parametrize("name", NAMES)
def test_the_encoder_is_the_one_that_was_pretrained(name: str) -> None:
    """What a checkpoint cannot tell by its shapes: heads, positions, scales."""
    theirs = Config.fromfile(CONFIGS / f"{PRETRAINING[method_of(name)]}.py").model.encoder
    mine = config(name).model.encoder
    for key in IDENTITY:
        if name.startswith("finetune") and key in ("position", "relative_position"):
            continue  # MAE's positions become learned, BEiT's table one a block
        if key == "layer_scale" and key in theirs:
            assert mine[key] == theirs[key]
        elif key == "window_size" and name.endswith("100e_in1k"):
            continue  # SimMIM's Swin at another size than it was pretrained at
        elif key != "layer_scale":
            assert mine.get(key) == theirs.get(key) or key == "interpolate_offset", key
    assert not mine.get("mask_token") and not mine.get("freeze_patch_embed")


@pytest.mark.parametrize(
    ("name", "optimizer", "lr", "decay"),
    [
        ("linear-mae_vit-base_32xb512-cosine-90e", "LARS", 0.1 * 16384 / 256, 0.0),
        ("linear-cae_vit-large_32xb512-cosine-90e", "LARS", 6.4, 0.0),
        ("linear-beit_vit-base_8xb128-cosine-100e", "AdamW", 4e-3, 1e-4),
        ("linear-mocov3_vit-small_8xb128-cosine-90e", "SGD", 3 * 1024 / 256, 0.0),
        ("linear-dino_vit-base_8xb128-cosine-100e", "SGD", 0.001 * 1024 / 256, 0.0),
        ("linear-moby_swin-tiny_8xb64-cosine-100e", "SGD", 1.0 * 512 / 512, 0.0),
        ("linear-byol_vit-small_32xb128-cosine-80e", "SGD", 0.2 * 4096 / 256, 0.0),
        ("linear-mocov2_vit-small_8xb32-step-100e", "SGD", 30.0, 0.0),
        ("linear-simsiam_vit-small_8xb512-cosine-90e", "LARS", 0.1 * 4096 / 256, 0.0),
        ("attentive-cae_vit-base_32xb256-cosine-90e", "SGD", 0.4, 0.0),
        ("finetune-mae_vit-base_32xb32-cosine-100e", "AdamW", 5e-4 * 1024 / 256, 0.05),
        ("finetune-mae_vit-large_32xb32-cosine-50e", "AdamW", 1e-3 * 1024 / 256, 0.05),
        ("finetune-beit_vit-base_32xb32-cosine-100e", "AdamW", 4e-3, 0.05),
        ("finetune-beit_vit-large_32xb32-cosine-50e", "AdamW", 1e-3, 0.05),
        ("finetune-cae_vit-small_32xb128-cosine-200e", "AdamW", 1.6e-2, 0.05),
        ("finetune-cae_vit-base_32xb128-cosine-100e", "AdamW", 8e-3, 0.05),
        ("finetune-cae_vit-large_32xb128-cosine-50e", "AdamW", 2e-3, 0.05),
        ("finetune-lomar_vit-base_32xb32-cosine-100e", "AdamW", 5e-4 * 1024 / 256, 0.05),
        ("finetune-lomar_vit-base_paper-32xb32-cosine-100e", "AdamW", 1e-3 * 1024 / 256, 0.05),
        ("finetune-simmim_vit-base_32xb32-cosine-100e", "AdamW", 1.25e-3 * 1024 / 512, 0.05),
        ("finetune-simmim_swin-base_16xb128-cosine-100e", "AdamW", 1.25e-3 * 2048 / 512, 0.05),
        ("finetune-mocov3_vit-base_8xb128-cosine-150e", "AdamW", 5e-4 * 1024 / 512, 0.05),
    ],
)
def test_published_optimizers(name: str, optimizer: str, lr: float, decay: float) -> None:
    found = config(f"{name}_in1k").optim_wrapper.optimizer
    assert (found.type, found.get("weight_decay", 0.0)) == (optimizer, decay)
    assert found.lr == pytest.approx(lr)
    if optimizer == "LARS":
        assert found.always_adapt and found.momentum == 0.9


@pytest.mark.parametrize(
    ("name", "rate", "drop_path", "warm_up"),
    [
        ("finetune-mae_vit-base_32xb32-cosine-100e", 0.65, 0.1, 5),
        ("finetune-mae_vit-large_32xb32-cosine-50e", 0.75, 0.2, 5),
        ("finetune-beit_vit-base_32xb32-cosine-100e", 0.65, 0.1, 20),
        ("finetune-beit_vit-large_32xb32-cosine-50e", 0.75, 0.2, 5),
        ("finetune-cae_vit-small_32xb128-cosine-200e", 0.75, 0.1, 5),
        ("finetune-cae_vit-base_32xb128-cosine-100e", 0.65, 0.1, 5),
        ("finetune-cae_vit-large_32xb128-cosine-50e", 0.75, 0.2, 5),
        ("finetune-lomar_vit-base_32xb32-cosine-100e", 0.65, 0.1, 5),
    ],
)
def test_published_fine_tuning(name: str, rate: float, drop_path: float, warm_up: int) -> None:
    settings = config(f"{name}_in1k")
    paramwise = settings.optim_wrapper.paramwise_cfg
    assert (paramwise.decay_rate, settings.model.encoder.drop_path) == (rate, drop_path)
    assert paramwise.no_decay == ("cls_token", "pos_embed")
    assert settings.param_scheduler[0].end == settings.param_scheduler[1].begin == warm_up
    last = settings.optim_wrapper.optimizer.lr * settings.param_scheduler[1].eta_min_ratio
    assert last == pytest.approx(1e-6)
    augment = settings.model.augment
    assert (augment.mixup, augment.cutmix, augment.erasing) == (0.8, 1.0, 0.25)
    assert settings.model.label_smoothing == 0.1 and settings.model.head.std == 2e-5
    transforms = settings.train_dataloader.dataset.pipeline[1]["views"][0]["transforms"]
    assert transforms[-1].policy == "rand-m9-mstd0.5-inc1"
    norm = "pretrained" if "cae" in name else "fresh"
    assert (settings.model.readout, settings.model.pooled_norm) == ("mean", norm)


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("linear-dino")])
def test_dino_reads_the_teacher(name: str) -> None:
    model = config(name).model
    wanted = {"small": "cls-last4", "base": "cls+mean", "tiny": "cls"}
    assert "source" not in model  # loading takes DINO's teacher
    assert model.readout == wanted[re.search(r"-(\w+?)_8", name)[1]]  # type: ignore[index]
    scheduler = config(name).param_scheduler[0]
    assert not scheduler.get("convert_to_iter_based")  # steps of an epoch, as published


@pytest.mark.parametrize("name", [name for name in NAMES if "pct" in name])
def test_few_labels_are_a_share_of_the_same_data(name: str) -> None:
    dataset = config(name).train_dataloader.dataset
    whole = config("linear-mae_vit-base_32xb512-cosine-90e_in1k").train_dataloader.dataset
    assert dataset.type == "LabelSubset" and dataset.dataset.root == whole.root
    assert dataset.fraction == int(re.search(r"(\d+)pct", name)[1]) / 100  # type: ignore[index]
    assert config(name).val_dataloader.dataset.type == "LabelledFolder"


def test_cached_features_have_no_augmentation() -> None:
    settings = config("linear-cached-mae_vit-base_32xb512-cosine-90e_in1k")
    train, val = settings.train_dataloader.dataset, settings.val_dataloader.dataset
    assert train.type == val.type == "CachedFeatures"
    assert train.dataset.pipeline == val.dataset.pipeline
    assert {"type": "FeatureCacheHook", "batch_size": 256, "workers": 8} in settings.custom_hooks


def test_the_small_config_builds_and_reads_fixed_images() -> None:
    settings = config("linear-cached_vit-tiny-p4_1xb256-cosine-100e_cifar10")
    model = MODELS.build(settings.model)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 192 * 10 + 10
    for part in ("train_dataloader", "val_dataloader"):
        assert settings[part].dataset.dataset.type == "PackedImages"
        assert settings[part].dataset.dataset.pipeline[1]["views"][0]["transforms"] == []
    assert settings.model.encoder == {**settings.model.encoder, "patch_size": 4, "image_size": 32}


def rates(settings: Config, groups: list[float], iterations: int = 10) -> list[list[float]]:
    """Learning rate of each group in every step (epoch) of a schedule."""
    parameters = [dict(params=[torch.nn.Parameter(torch.zeros(1))], lr=lr) for lr in groups]
    optimizer = torch.optim.SGD(parameters)
    schedulers, by_iteration = [], False
    for one in settings.param_scheduler:
        given = {**one, "optimizer": optimizer}
        kind = PARAM_SCHEDULERS.get(given.pop("type"))
        by_iteration = given.pop("convert_to_iter_based", False)
        schedulers.append(
            kind.build_iter_from_epoch(**given, epoch_length=iterations)
            if by_iteration
            else kind(**given)
        )
    found = []
    for _ in range(settings.train_cfg.max_epochs * (iterations if by_iteration else 1)):
        found.append([group["lr"] for group in optimizer.param_groups])
        for scheduler in schedulers:
            scheduler.step()
    return found


def timm_cosine(
    step: int, top: float, start: float, least: float, warm_up: int, total: int
) -> float:
    """timm's cosine of the official codes: it counts from the first step, warm-up included."""
    if step < warm_up:
        return start + (top - start) * step / warm_up
    return least + (top - least) * (1 + math.cos(math.pi * step / total)) / 2


@pytest.mark.filterwarnings("ignore:Detected call of `scheduler.step")
@pytest.mark.parametrize(
    "name",
    [
        "probe/finetune-mocov3_vit-base_8xb128-cosine-150e",
        "probe/finetune-mocov3_vit-small_8xb128-cosine-300e",
        "probe/finetune-dino_vit-base_8xb128-cosine-300e",
        "supervised/supervised_vit-small_8xb128-cosine-300e",
        "supervised/supervised_vit-base_deit-8xb128-cosine-300e",
        "mtssl/sit_vit-base_4xb72-cosine-501e",
    ],
)
def test_deits_schedule_is_one_epoch_late(name: str) -> None:
    settings = read_config(str(CONFIGS / f"{name}_in1k.py"))
    lr, epochs = settings.optim_wrapper.optimizer.lr, settings.train_cfg.max_epochs
    assert lr == pytest.approx(5e-4 * settings.auto_scale_lr.base_batch_size / 512)
    assert settings.train_dataloader.sampler.repeats == 3
    expected = [timm_cosine(max(e - 1, 0), lr, 1e-6, 1e-5, 5, epochs) for e in range(epochs)]
    assert [one for (one,) in rates(settings, [lr])] == pytest.approx(expected, rel=1e-4)
    if name.startswith("mtssl/sit"):
        return
    assert settings.optim_wrapper.paramwise_cfg.no_decay == ("cls_token", "pos_embed")
    encoder = settings.model.encoder
    assert (encoder.position, encoder.drop_path) == ("learned", 0.1)
    assert settings.model.readout == "cls" and settings.model.head.std == 0.02


@pytest.mark.filterwarnings("ignore:Detected call of `scheduler.step")
@pytest.mark.parametrize(
    ("name", "least", "warm_up", "full_at"),
    [
        ("probe/finetune-mae_vit-base_32xb32-cosine-100e", 1e-6, 5, 50),
        ("probe/finetune-lomar_vit-base_32xb32-cosine-100e", 1e-6, 5, 50),
        ("probe/linear-mae_vit-base_32xb512-cosine-90e", 0.0, 10, 100),
        ("supervised/supervised_vit-base_32xb128-cosine-300e", 0.0, 20, 200),
        # the last step of the warm-up has the full rate
        ("probe/finetune-beit_vit-base_32xb32-cosine-100e", 1e-6, 20, 199),
        ("probe/finetune-cae_vit-base_32xb128-cosine-100e", 1e-6, 5, 49),
    ],
)
def test_schedules_that_start_a_cosine_after_the_warm_up(
    name: str, least: float, warm_up: int, full_at: int
) -> None:
    settings = read_config(str(CONFIGS / f"{name}_in1k.py"))
    top, first = settings.optim_wrapper.optimizer.lr, 10 * warm_up
    found = np.array([one for (one,) in rates(settings, [top])])
    rise = top * np.arange(full_at + 1) / full_at
    angle = np.pi * np.arange(len(found) - first) / (len(found) - first)
    fall = least + (top - least) * (1 + np.cos(angle)) / 2
    # ours starts at 1e-4 of the rate and ends at the least value
    assert found[: full_at + 1] == pytest.approx(rise, abs=1.1e-4 * top)
    assert found[first:] == pytest.approx(fall, abs=1e-3 * top)


@pytest.mark.filterwarnings("ignore:Detected call of `scheduler.step")
@pytest.mark.parametrize(
    ("name", "top", "start", "least", "warm_up", "lag"),
    [
        ("linear-moby_vit-small_8xb64-cosine-100e", 1.0, 5e-7, 5e-6, 5, 1),
        ("linear-moby_swin-tiny_8xb64-cosine-100e", 1.0, 5e-7, 5e-6, 5, 1),
        # 2.5e-7 x batch / 512 at both ends
        ("finetune-simmim_vit-base_32xb32-cosine-100e", 2.5e-3, 5e-7, 5e-7, 20, 0),
        ("finetune-simmim_swin-base_16xb128-cosine-100e", 5e-3, 1e-6, 1e-6, 20, 0),
    ],
)
def test_timms_schedules(
    name: str, top: float, start: float, least: float, warm_up: int, lag: int
) -> None:
    """To 1e-3 of the top, the share of one step of these short epochs in the warm-up."""
    settings = config(f"{name}_in1k")
    found = [one for (one,) in rates(settings, [top])]
    expected = [
        timm_cosine(max(i - lag, 0), top, start, least, warm_up * 10, len(found))
        for i in range(len(found))
    ]
    assert found == pytest.approx(expected, abs=6e-3 * top)
    assert found[0] == pytest.approx(start) and found[-1] == pytest.approx(expected[-1], rel=1e-2)
    assert settings.optim_wrapper.clip_grad.max_norm == 5.0
    if name.startswith("linear-moby"):
        assert settings.model.head.std == 0.02 and settings.model.label_smoothing == 0.1
        assert settings.optim_wrapper.optimizer.nesterov


def test_simmims_fine_tuning_follows_the_epochs_of_pretraining() -> None:
    kinds = {
        "vit-base_32xb32": (0.65, 2e-5),
        "swin-base_16xb128": (0.9, 0.02),
        "swin-base_800e-16xb128": (0.8, 0.02),
    }
    for kind, (decay, std) in kinds.items():
        settings = config(f"finetune-simmim_{kind}-cosine-100e_in1k")
        assert settings.optim_wrapper.paramwise_cfg.decay_rate == decay
        assert settings.model.head.std == std and settings.model.encoder.drop_path == 0.1
