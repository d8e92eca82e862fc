"""One run of a study, from its pretraining to its JSON file."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmvitssl.engine.launch import UserError

from . import evaluation, machine
from .plan import ROOT, Run, Study
from .pretraining import gradient_cosines, pretrain


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold the folder of a run; a process that died holds nothing.

    Raises:
        UserError: another process has it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"Another process works in {folder}: wait for it or stop it.") from None
        yield


def write_json(path: Path, content: Any) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def run_folder(study: Study, run: Run, seed: int, work: Path) -> Path:
    """Where checkpoints and logs of a run lie."""
    return (work / study.name / f"{run.name}_{seed}").absolute()


def metric_names(name: str, settings: Mapping[str, Any]) -> list[str]:
    """How the metrics of a fine-tuning are called: the first like the fine-tuning itself."""
    _, *others = settings["metrics"]
    return [name, *(f"{name} {other}" for other in others)]


def is_done(study: Study, record: Path) -> bool:
    """Whether a JSON file is there and has the metrics of all of the study's evaluations."""
    if not record.exists():
        return False
    metrics = json.loads(record.read_text())["metrics"]
    return all(name in metrics for name in (*(["knn"] if study.probe else []), *study.finetune))


def _evaluate(
    study: Study, run: Run, seed: int, data: Path, folder: Path, before: Mapping[str, float]
) -> dict[str, float]:
    """``before`` and the metrics that it lacks; those of the folder are read from there."""
    path = folder / "metrics.json"
    metrics = {**before, **(json.loads(path.read_text()) if path.exists() else {})}
    checkpoint = folder / "last.pth"
    if study.probe and "knn" not in metrics:
        metrics |= evaluation.probe_features(study, run, seed, data, checkpoint)
        write_json(path, metrics)
    for name, settings in study.finetune.items():
        if name not in metrics:
            values = evaluation.finetune(
                study, run, seed, data, checkpoint, settings, folder / name
            )
            metrics |= dict(zip(metric_names(name, settings), values, strict=True))
            write_json(path, metrics)
    return metrics


def perform(
    study: Study, run: Run, seed: int, data: Path, work: Path, results: Path, jobs: int = 1
) -> Path:
    """Pretrain, evaluate and record one run; what is done already is not repeated.

    Args:
        study, run, seed: which.
        data: folder of the data files.
        work: folder for checkpoints and logs.
        results: folder of the JSON files.
        jobs: how many runs share the machine.

    Returns:
        the JSON file.
    """
    record = study.record(run.name, seed, results)
    if is_done(study, record):
        return record
    before = json.loads(record.read_text())["metrics"] if record.exists() else {}
    folder = run_folder(study, run, seed, work)
    with only_one(folder):
        compute = pretrain(study, run, seed, data, folder)
        curve = compute.pop("curve")
        metrics = _evaluate(study, run, seed, data, folder, before)
        content = {
            "study": study.name,
            "run": run.name,
            "seed": seed,
            "config": run.config,
            "options": dict(run.options),
            "precision": study.precision,
            "commit": machine.commit(ROOT),
            "machine": {**machine.describe(), "jobs": jobs},
            "resident": study.resident,
            "compute": compute,
            "metrics": metrics,
            "curve": curve,
        }
        cosines = gradient_cosines(folder)
        if cosines:
            content["gradient_cosines"] = cosines
        if study.probe:
            content["health"] = evaluation.measure_health(
                study, run, seed, data, folder / "last.pth"
            )
        write_json(record, content)
    return record


def add_health(study: Study, data: Path, work: Path, results: Path) -> list[Path]:
    """Measure the health of runs whose JSON file lacks it, where their checkpoint is still there.

    Returns:
        the files that were completed.
    """
    completed = []
    for run, seed in study.select(None, None):
        record = study.record(run.name, seed, results)
        checkpoint = run_folder(study, run, seed, work) / "last.pth"
        if not (study.probe and record.exists() and checkpoint.exists()):
            continue
        content = json.loads(record.read_text())
        if "health" not in content:
            content["health"] = evaluation.measure_health(study, run, seed, data, checkpoint)
            write_json(record, content)
            completed.append(record)
    return completed
