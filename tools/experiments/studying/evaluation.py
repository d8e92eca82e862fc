"""What the features of a finished pretraining are worth."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmvitssl.engine import launch
from mmvitssl.engine.config_files import read_config
from mmvitssl.evaluation.probes import FeatureProbe

from .plan import ROOT, Run, Study
from .pretraining import measured, pretraining_config, set_iterations

NOT_TO_EVALUATE = ("mask_token", "freeze_patch_embed")  # settings for pretraining alone


def encoder_config(config: Config) -> dict[str, Any]:
    """The encoder of a pretraining as an evaluation builds it."""
    encoder = config.model.encoder.to_dict()
    return {key: value for key, value in encoder.items() if key not in NOT_TO_EVALUATE}


def probe_features(
    study: Study, run: Run, seed: int, data: Path, checkpoint: Path
) -> dict[str, float]:
    """Accuracies in percent of nearest neighbours and logistic regression on frozen features.

    Returns:
        ``knn`` and ``linear`` for the first readout, ``knn_READOUT`` and so on for the others.
    """
    settings = {key: value for key, value in study.probe.items() if key != "readouts"}
    pretraining = pretraining_config(study, run, seed, data)
    init_default_scope(launch.prepare_scope(pretraining))
    for part in ("bank", "queries"):
        settings[part] = {**settings[part], "file": str(data / settings[part]["file"])}
    metrics: dict[str, float] = {}
    for number, readout in enumerate(study.probe.get("readouts", ("mean",))):
        config = Config(
            dict(settings, encoder=encoder_config(pretraining), readout=readout,
                 data_preprocessor=pretraining.model.data_preprocessor)
        )  # fmt: skip
        torch.manual_seed(seed)
        features = FeatureProbe.from_config(config, study.precision, linear=True)
        features.load(str(checkpoint), log=lambda text: None)
        suffix = f"_{readout}" if number else ""
        for name, value in features.accuracies().items():
            metrics[f"{name.split('_')[0]}{suffix}"] = round(100 * value, 2)
    return metrics


def finetune(
    study: Study,
    run: Run,
    seed: int,
    data: Path,
    checkpoint: Path,
    settings: Mapping[str, Any],
    folder: Path,
) -> float:
    """Top-1 accuracy in percent after fine-tuning the whole encoder by tools/train.py."""
    pretraining = pretraining_config(study, run, seed, data)
    config = read_config(str(ROOT / settings["config"]), dict(settings.get("options", {})))
    config.model.encoder = encoder_config(pretraining)
    config.model.data_preprocessor = pretraining.model.data_preprocessor
    train = config.train_dataloader.dataset
    for dataset in (train.get("dataset", train), config.val_dataloader.dataset):
        dataset.file = str(data / Path(dataset.file).name)
    config.randomness = dict(seed=seed)
    set_iterations(config, config.train_cfg.max_iters)
    config.train_cfg.val_interval = config.train_cfg.max_iters
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "run.py"
    config.dump(path)
    if accuracy(folder) is None:
        command: list[str | Path] = [sys.executable, ROOT / "tools/train.py", path, "--work-dir", folder,
                   "--pretrained", checkpoint, "--resume"]  # fmt: skip
        if study.precision != "fp32":
            command += ["--amp", study.precision]
        measured(command, folder / "train.log")
    value = accuracy(folder)
    if value is None:
        raise RuntimeError(f"The fine-tuning in {folder} logged no accuracy.")
    return round(value, 2)


def accuracy(folder: Path) -> float | None:
    """The last top-1 accuracy that a training logged, in percent; None: it logged none."""
    found = None
    for file in sorted(folder.glob("*/vis_data/scalars.json")):
        for line in map(json.loads, file.read_text().splitlines()):
            for name, value in line.items():
                if name.endswith("top1") and "loss" not in line:
                    found = float(value)
    return found
