"""Probes and fine-tuning by the programs, on images of two kinds, from a pretraining checkpoint."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from mmvitssl.engine import training
from mmvitssl.engine.launch import UserError
from mmvitssl.models.backbones import ViT
from tests.test_tools import programs
from tests.test_tools.programs import ROOT, logged, run, value

PROBE = ROOT / "configs/probe"
CONFIGS = {
    "linear-mae": "linear-mae_vit-base_32xb512-cosine-90e_in1k",
    "linear-dino": "linear-dino_vit-small_8xb128-cosine-100e_in1k",
    "linear-moby": "linear-moby_vit-small_8xb64-cosine-100e_in1k",
    "linear-beit": "linear-beit_vit-base_8xb128-cosine-100e_in1k",
    "linear-few": "linear-mae_vit-base_10pct-8xb128-cosine-90e_in1k",
    "linear-cached": "linear-cached-mae_vit-base_32xb512-cosine-90e_in1k",
    "attentive": "attentive-mae_vit-base_32xb256-cosine-90e_in1k",
    "finetune-mae": "finetune-mae_vit-base_32xb32-cosine-100e_in1k",
    "finetune-cae": "finetune-cae_vit-base_32xb128-cosine-100e_in1k",
    "finetune-mocov3": "finetune-mocov3_vit-base_8xb128-cosine-150e_in1k",
}
ARCH = dict(embed_dim=32, depth=4, num_heads=2)
SIZE, BATCH, EPOCHS = 32, 8, 6
# the running statistics of batch norm need steps, and there are two an epoch with few labels
LONG = {"linear-mae": 12, "linear-cached": 12, "linear-few": 24}


def write_images(root: Path, number: int, seed: int) -> None:
    """Stripes, lying and reddish or standing and bluish, over noise."""
    rng = np.random.default_rng(seed)
    waves = np.sin(np.arange(SIZE) * 1.2) * 60
    kinds = {"lying": (waves[:, None], (40, 0, -40)), "standing": (waves[None], (-40, 0, 40))}
    for name, (stripes, tint) in kinds.items():
        (root / name).mkdir(parents=True)
        for index in range(number):
            noise = rng.normal(0, 15, (SIZE, SIZE, 3)) + tint
            pixels = 127 + np.broadcast_to(stripes, (SIZE, SIZE))[..., None] + noise
            image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
            image.save(root / name / f"{index}.png")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("stripes")
    write_images(root / "train", 16, seed=0)
    write_images(root / "val", 7, seed=1)
    return root


def fixed_pipeline() -> list[dict[str, Any]]:
    views = [dict(transforms=[dict(type="Resize", size=(SIZE, SIZE))])]
    return [dict(type="LoadImage"), dict(type="MultiView", views=views), dict(type="PackViews")]


def shrink_pipeline(pipeline: Any) -> None:
    for step in pipeline:
        for entry in step.get("views", ()):
            for transform in entry["transforms"]:
                if "size" in transform:
                    transform["size"] = (SIZE, SIZE) if transform["type"] == "Resize" else SIZE
                if transform["type"] == "RandomResizedCrop":
                    transform["scale"] = (0.5, 1.0)


def small(name: str, data: Path, folder: Path, **options: Any) -> tuple[Path, Path]:
    """A full-size config made small, and a checkpoint of the encoder that it describes."""
    config = Config.fromfile(PROBE / f"{CONFIGS[name]}.py")
    encoder = config.model.encoder
    encoder.update(arch=ARCH, image_size=SIZE, patch_size=8)
    config.model.head.num_classes = 2
    if config.model.head.type == "AttentiveHead":
        config.model.head.num_heads = 2
    if config.model.head.type == "BlockwiseLinearHead":
        config.model.head.num_blocks = ARCH["depth"]
    for part in ("train", "val", "test"):
        loader = config[f"{part}_dataloader"]
        loader.update(batch_size=BATCH, num_workers=0, persistent_workers=False)
        dataset = loader.dataset
        while "dataset" in dataset:
            dataset = dataset.dataset
        dataset.root = str(data / ("train" if part == "train" else "val"))
        shrink_pipeline(dataset.pipeline)
    epochs = LONG.get(name, EPOCHS)
    config.train_cfg.update(max_epochs=epochs, val_interval=epochs)
    config.param_scheduler = [
        dict(type="CosineAnnealingLR", by_epoch=True, convert_to_iter_based=True)
    ]
    config.optim_wrapper.update(type="OptimWrapper")
    config.merge_from_dict(
        {"default_hooks.logger.interval": 1, "default_hooks.checkpoint.interval": epochs,
         "log_processor.window_size": 1, **options}
    )  # fmt: skip
    for hook in config.custom_hooks:
        if hook.type == "FeatureCacheHook":
            hook.workers = 0
    config.dump(folder / "config.py")
    return folder / "config.py", pretrained(encoder, folder)


def pretrained(encoder: Any, folder: Path) -> Path:
    """What a pretraining would leave: online and target encoder; mocov3's scale lets blocks act."""
    settings = {k: v for k, v in encoder.to_dict().items() if k not in ("type", "drop_path")}
    if settings.get("relative_position") == "block_bias":
        settings.update(relative_position=None, new_relative=False)
    state = {}
    for prefix in ("encoder.", "target.modules_by_name.encoder."):
        torch.manual_seed(5)
        model = ViT(**{**settings, "initialisation": "mocov3"})
        state.update({prefix + key: tensor for key, tensor in model.state_dict().items()})
    torch.save({"state_dict": state}, folder / "pretrained.pth")
    return folder / "pretrained.pth"


def train(config: Path, checkpoint: Path | None, work_dir: Path, **options: Any) -> Any:
    """Through the program's own preparation, in this process."""
    path = None if checkpoint is None else str(checkpoint)
    args = Namespace(
        config=str(config), work_dir=str(work_dir), resume=None, amp=None, compile=None,
        auto_scale_lr=False, pretrained=path, pretrained_source=None, launcher="none",
        local_rank=0,
        cfg_options={"experiment_name": str(work_dir).replace("/", "-"), **options},
    )  # fmt: skip
    return training.train(args)


def top1(work_dir: Path) -> float:
    (last,) = (line["accuracy/top1"] for line in logged(work_dir) if "accuracy/top1" in line)
    return last


RATES = {"linear-dino": 0.5, "linear-moby": 0.5, "linear-beit": 0.02, "attentive": 0.1,
         "finetune-cae": 5e-3, "finetune-mae": 2e-3, "finetune-mocov3": 2e-3}  # fmt: skip
# biases take plain steps, so the rate must suit a batch of eight; the trust ratio makes up for it
LARS = {"optim_wrapper.optimizer.lr": 0.2, "optim_wrapper.optimizer.trust_coeff": 0.05}


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_it_learns(name: str, data: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = dict(LARS)
    if name in RATES:
        options = {"optim_wrapper.optimizer.lr": RATES[name]}
    if name.startswith("finetune"):
        options["optim_wrapper.paramwise_cfg.decay_rate"] = 0.9
    if name == "linear-few":
        options["train_dataloader.dataset.fraction"] = 0.5
    config, checkpoint = small(name, data, tmp_path, **options)
    runner = train(config, checkpoint, tmp_path / "run")
    start = torch.load(checkpoint, weights_only=True)["state_dict"]
    encoder = runner.model.encoder.state_dict()
    same = [torch.equal(start[f"encoder.{key}"], v) for key, v in encoder.items()
            if f"encoder.{key}" in start]  # fmt: skip
    if runner.model.frozen:
        assert len(same) == len(encoder) and all(same)
    else:
        for key in (f"blocks.{block}.attn.qkv.weight" for block in range(4)):
            assert not torch.equal(start[f"encoder.{key}"], encoder[key])
    steps = [line for line in logged(tmp_path / "run") if "loss" in line]
    assert len(steps) == LONG.get(name, EPOCHS) * (2 if name == "linear-few" else 4)
    assert np.isfinite([line["loss"] for line in steps]).all()
    assert top1(tmp_path / "run") >= 90.0


@pytest.mark.slow
def test_a_cached_run_is_the_run_that_reads_images(data: Path, tmp_path: Path) -> None:
    """Both on fixed images: the same losses and heads, from memory, from a file, and again."""
    losses, heads, logs = {}, {}, {}
    file = tmp_path / "cache" / "train.npy"
    runs: dict[str, dict[str, Any]] = {
        "images": {"custom_hooks": [dict(type="ReduceLogsHook")]},
        "memory": {},
        "file": {"train_dataloader.dataset.file": str(file)},
        "again": {"train_dataloader.dataset.file": str(file)},
    }
    for run_name, options in runs.items():
        folder = tmp_path / run_name
        folder.mkdir()
        config, checkpoint = small("linear-cached", data, folder, **LARS, **options)
        if run_name == "images":
            plain = Config.fromfile(config)
            for part in ("train", "val"):
                loader = plain[f"{part}_dataloader"]
                loader.dataset = loader.dataset.dataset
            plain.dump(config)
        runner = train(config, checkpoint, folder / "run")
        losses[run_name] = [x["loss"] for x in logged(folder / "run") if "loss" in x]
        heads[run_name] = {k: v.clone() for k, v in runner.model.head.state_dict().items()}
        (log,) = (folder / "run").glob("*/*.log")
        logs[run_name] = log.read_text()
    for run_name in ("memory", "file", "again"):
        np.testing.assert_allclose(losses[run_name], losses["images"], rtol=1e-4)
        for key, tensor in heads["images"].items():
            torch.testing.assert_close(heads[run_name][key], tensor, rtol=1e-4, atol=1e-5)
    assert (
        "Features of 32 training images, (32,) each, computed and kept in memory"
        in (logs["memory"])
    )
    assert f"computed and kept in {file}" in logs["file"]
    assert f"found in {file}" in logs["again"]
    # another encoder: what is in the file is not taken
    other = torch.load(tmp_path / "again/pretrained.pth", weights_only=True)
    other["state_dict"]["encoder.cls_token"] += 1
    torch.save(other, tmp_path / "other.pth")
    train(tmp_path / "again/config.py", tmp_path / "other.pth", tmp_path / "again/other")
    (log,) = (tmp_path / "again/other").glob("*/*.log")
    assert f"computed and kept in {file}" in log.read_text()


@pytest.mark.long
def test_two_processes_cache_and_train_as_one(data: Path, tmp_path: Path) -> None:
    """The programs: torchrun trains on a cache that two processes fill, one process tests it."""
    cache = tmp_path / "cache.npy"
    config, checkpoint = small("attentive", data, tmp_path)
    settings = Config.fromfile(config)
    for part in ("train", "val"):
        inner = settings[f"{part}_dataloader"].dataset
        inner.pipeline = fixed_pipeline()
        settings[f"{part}_dataloader"].dataset = dict(type="CachedFeatures", dataset=inner)
    settings.train_dataloader.dataset.file = str(cache)
    settings.custom_hooks.append(dict(type="FeatureCacheHook", batch_size=5))
    settings.train_dataloader.batch_size = BATCH // 2
    settings.dump(config)
    run(
        ROOT / "tools/dist_train.sh", config, "2", "--work-dir", tmp_path / "two",
        "--pretrained", checkpoint, PATH=f"{Path(sys.executable).parent}:/usr/bin:/bin",
    )  # fmt: skip
    assert np.load(cache).shape == (32, 17, 32)
    one = dict(file=None)
    train(config, checkpoint, tmp_path / "one",
          **{"train_dataloader.dataset": {**settings.train_dataloader.dataset.to_dict(), **one},
             "train_dataloader.batch_size": BATCH})  # fmt: skip
    two, whole = ([x for x in logged(tmp_path / name) if "loss" in x] for name in ("two", "one"))
    np.testing.assert_allclose(
        [x["loss"] for x in two], [x["loss"] for x in whole], rtol=1e-3, atol=1e-4
    )
    tested = programs.test(config, tmp_path / "two/last.pth", "--work-dir", tmp_path / "test")
    assert value(tested.stdout, "accuracy/top1") == pytest.approx(top1(tmp_path / "two"), abs=1e-3)


def problem(config: Path, work_dir: Path, **options: Any) -> str:
    with pytest.raises(UserError) as error:
        train(config, None, work_dir, **options)
    return str(error.value)


def test_wrong_labels_are_said_before_training(data: Path, tmp_path: Path) -> None:
    config, _ = small("finetune-mae", data, tmp_path)
    work = tmp_path / "run"
    words = problem(config, work, **{"model.head.num_classes": 1000})
    assert "train_dataloader.dataset has 2 classes" in words
    assert "model.head.num_classes=1000" in words and "num_classes=2" in words
    words = problem(config, work, **{"train_dataloader.dataset.type": "ImageFolder"})
    assert "train_dataloader.dataset: ImageFolder has no labels" in words
    words = problem(config, work, **{"val_dataloader.dataset.type": "ImageFolder"})
    assert "val_dataloader.dataset: ImageFolder has no labels" in words
    words = problem(config, work, **{"val_dataloader.dataset.classes": ["standing"]})
    assert "without 1 that train_dataloader.dataset has (lying)" in words
    for wrong in ({"train_dataloader.batch_size": 7}, {"train_dataloader.drop_last": False}):
        assert "even batch_size" in problem(config, work, **wrong)
    settings = Config.fromfile(config)
    pipeline = fixed_pipeline()
    pipeline[1]["views"][0]["transforms"][0]["size"] = (30, 30)
    settings.val_dataloader.dataset.pipeline = pipeline
    settings.dump(tmp_path / "size.py")
    assert "val_dataloader.dataset: An image of 30x30" in problem(tmp_path / "size.py", work)


def test_what_cannot_be_cached_is_said_before_training(data: Path, tmp_path: Path) -> None:
    config, _ = small("linear-cached", data, tmp_path)
    work = tmp_path / "run"
    words = problem(config, work, custom_hooks=[dict(type="ReduceLogsHook")])
    assert "train_dataloader.dataset is CachedFeatures" in words and "FeatureCacheHook" in words
    assert "model.frozen=True" in problem(config, work, **{"model.frozen": False})
    settings = Config.fromfile(config)
    views = settings.train_dataloader.dataset.dataset.pipeline[1]["views"]
    views[0]["transforms"].append(dict(type="RandomFlip"))
    settings.dump(config)
    assert "train_dataloader.dataset: CachedFeatures.dataset augments" in problem(config, work)


@pytest.mark.slow
def test_another_number_of_classes_is_said_before_testing(data: Path, tmp_path: Path) -> None:
    config, checkpoint = small("linear-mae", data, tmp_path)
    options = ("--cfg-options", "model.head.num_classes=3", "--work-dir", tmp_path / "test")
    done = programs.test(config, checkpoint, *options, ok=False)
    assert done.returncode == 2 and "Traceback" not in done.stdout
    assert "test_dataloader.dataset has 2 classes" in done.stdout
    done = programs.test(config, checkpoint, "--show-dir", tmp_path / "pictures", ok=False)
    assert done.returncode == 2 and "a classifier draws nothing" in done.stdout
