"""What the features of a finished pretraining are worth."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import init_default_scope

from mmvitssl.engine import launch
from mmvitssl.engine.config_files import read_config
from mmvitssl.evaluation.probes import FeatureProbe
from mmvitssl.evaluation.spectrum import alpha_req, rankme

from .plan import ROOT, Run, Study
from .pretraining import data_options, measured, pretraining_config, set_iterations
from .resident import resident

NOT_TO_EVALUATE = ("mask_token", "freeze_patch_embed")  # settings for pretraining alone


def encoder_config(config: Config) -> dict[str, Any]:
    """The encoder of a pretraining as an evaluation builds it."""
    encoder = config.model.encoder.to_dict()
    return {key: value for key, value in encoder.items() if key not in NOT_TO_EVALUATE}


def readouts(study: Study) -> tuple[str, ...]:
    """What of the encoder's output a study probes, the first first."""
    return tuple(study.probe.get("readouts", ("mean",)))


def feature_probe(
    study: Study, run: Run, seed: int, data: Path, checkpoint: Path, readout: str
) -> FeatureProbe:
    """The study's probe on a checkpoint."""
    settings = {key: value for key, value in study.probe.items() if key != "readouts"}
    pretraining = pretraining_config(study, run, seed, data)
    init_default_scope(launch.prepare_scope(pretraining))
    for part in ("bank", "queries"):
        settings[part] = {**settings[part], "file": str(data / settings[part]["file"])}
    config = Config(
        dict(
            settings,
            encoder=encoder_config(pretraining),
            readout=readout,
            data_preprocessor=pretraining.model.data_preprocessor,
        )
    )
    torch.manual_seed(seed)
    probe = FeatureProbe.from_config(config, study.precision, linear=True)
    probe.load(str(checkpoint), log=lambda text: None)
    probe.encoder.to(get_device())
    return probe


def probe_features(
    study: Study, run: Run, seed: int, data: Path, checkpoint: Path
) -> dict[str, float]:
    """Accuracies in percent of nearest neighbours and logistic regression on frozen features.

    Returns:
        ``knn`` and ``linear`` for the first readout, ``knn_READOUT`` and so on for the others.
    """
    metrics: dict[str, float] = {}
    for number, readout in enumerate(readouts(study)):
        probe = feature_probe(study, run, seed, data, checkpoint, readout)
        suffix = f"_{readout}" if number else ""
        for name, value in probe.accuracies().items():
            metrics[f"{name.split('_')[0]}{suffix}"] = round(100 * value, 2)
    return metrics


def measure_health(
    study: Study, run: Run, seed: int, data: Path, checkpoint: Path
) -> dict[str, float | None]:
    """RankMe and alpha-ReQ of the queries' features, by the first readout, without labels."""
    probe = feature_probe(study, run, seed, data, checkpoint, readouts(study)[0])
    features = probe.features(probe.queries).values.cpu()
    alpha = alpha_req(features)
    return {
        "rankme": round(rankme(features), 2),
        "alpha_req": None if alpha is None else round(alpha, 3),
    }


def transfer_config(
    study: Study, run: Run, seed: int, data: Path, settings: Mapping[str, Any]
) -> Config:
    """The config of a fine-tuning, with the encoder and the normalisation of the pretraining.

    A detector's or segmentor's encoder keeps the image size of its own config.
    """
    pretraining = pretraining_config(study, run, seed, data)
    options = {**settings.get("options", {}), **data_options(settings.get("files", {}), data)}
    config = read_config(str(ROOT / settings["config"]), options)
    encoder = encoder_config(pretraining)
    if "backbone" in config.model:
        own = config.model.backbone.encoder
        kept = {"type": f"mmvitssl.{encoder['type']}", "image_size": own.image_size}
        config.model.backbone.encoder = {**encoder, **kept}  # mmseg has no encoder of ours
    else:
        config.model.encoder = encoder
        config.model.data_preprocessor = pretraining.model.data_preprocessor
    config.randomness = dict(seed=seed)
    iterations = config.train_cfg.max_iters
    set_iterations(config, iterations)
    config.train_cfg.val_interval = iterations + 1
    return config


def finetune(
    study: Study,
    run: Run,
    seed: int,
    data: Path,
    checkpoint: Path,
    settings: Mapping[str, Any],
    folder: Path,
) -> list[float]:
    """Fine-tune the whole encoder by tools/train.py and test the result by tools/test.py.

    Returns:
        the values of ``settings['metrics']``, as tools/test.py writes them.

    Raises:
        RuntimeError: a program failed, or did not write a metric.
    """
    config = transfer_config(study, run, seed, data, settings)
    folder.mkdir(parents=True, exist_ok=True)
    path, out = folder / "run.py", folder / "test.json"
    (resident(config) if study.resident else config).dump(path)
    if not out.exists():
        programs = ROOT / "tools"
        train: list[str | Path] = [sys.executable, programs / "train.py", path]
        train += ["--work-dir", folder, "--pretrained", checkpoint, "--resume"]
        if study.precision != "fp32":
            train += ["--amp", study.precision]
        if not (folder / "trained").exists():
            measured(train, folder / "train.log")
            (folder / "trained").touch()
        test: list[str | Path] = [sys.executable, programs / "test.py", path, folder / "last.pth"]
        measured([*test, "--work-dir", folder / "test", "--out", out], folder / "test.log")
    values = json.loads(out.read_text())
    missing = [name for name in settings["metrics"] if name not in values]
    if missing:
        raise RuntimeError(f"{out} lacks {missing}; it has {sorted(values)}.")
    return [round(values[name], 4) for name in settings["metrics"]]
