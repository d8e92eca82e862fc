"""Train one run of a study by tools/train.py, from wherever it was interrupted."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import save_checkpoint
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from mmvitssl.checkpoint import load_file
from mmvitssl.datasets.collate import collate_views
from mmvitssl.datasets.sampler import SampleKey
from mmvitssl.engine import launch
from mmvitssl.engine.config_files import read_config
from mmvitssl.registry import DATASETS, MODELS

from .plan import ROOT, Run, Study
from .resident import resident

WARMUP = 20  # one in so many iterations
SAVES = 16  # checkpoints during a training, of which one is kept


def data_options(files: Mapping[str, str], data: Path) -> dict[str, str]:
    """Config options that let keys point to files under the data folder."""
    return {key: str(data / name) for key, name in files.items()}


def pretraining_config(study: Study, run: Run, seed: int, data: Path) -> Config:
    """The config of a run before its number of iterations is known."""
    options = {**run.options, **data_options(study.files, data)}
    config = read_config(str(ROOT / run.config), options)
    config.randomness = dict(seed=seed)
    config.model.seed = seed
    return config


def set_iterations(config: Config, iterations: int) -> None:
    """Let training, warm-up and checkpoints follow the number of optimizer steps."""
    config.train_cfg.max_iters = iterations
    warmup = max(iterations // WARMUP, 1)
    config.param_scheduler[0].end = config.param_scheduler[1].begin = warmup
    config.param_scheduler[1].end = iterations
    config.default_hooks.checkpoint.interval = max(iterations // SAVES, 1)


def train_tokenizer(study: Study, config: str, data: Path, folder: Path) -> Path:
    """The file of a discrete VAE, trained on the study's images unless it is there.

    Its seed is 0 for all runs. What it costs is no part of a run's budget.
    """
    path = folder / f"{Path(config).stem}.safetensors"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    options = [f"{key}={value}" for key, value in data_options(study.files, data).items()]
    command: list[str | Path] = [sys.executable, ROOT / "tools/train_dvae.py", ROOT / config]
    command += ["--work-dir", folder, "--out", path, "--resume", "--cfg-options", *options]
    measured(command, folder / "train.log")
    return path


def step_flops(config: Config) -> int:
    """Operations of one training step, forward and backward; a multiply-add is two."""
    init_default_scope(launch.prepare_scope(config))
    dataset: Any = DATASETS.build(config.train_dataloader.dataset)
    size = config.train_dataloader.batch_size
    batch = collate_views([dataset[SampleKey(i % len(dataset))] for i in range(size)])
    model: Any = MODELS.build(config.model).train()
    data = model.data_preprocessor(batch, True)
    # torch counts attention's products where it is written as products
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        loss, _ = model.parse_losses(model(**data, mode="loss"))
        loss.backward()
    return int(counter.get_total_flops())


def save_untrained(config: Config, seed: int, path: Path) -> None:
    """The checkpoint of a run that trains nothing."""
    init_default_scope(launch.prepare_scope(config))
    torch.manual_seed(seed)
    model: Any = MODELS.build(config.model)
    meta = {"cfg": config.pretty_text, "iter": 0}
    save_checkpoint({"state_dict": model.state_dict(), "meta": meta}, str(path))


def measured(command: Sequence[str | Path], log: Path) -> tuple[float, float]:
    """Run a program of the project; its wall-clock and processor seconds.

    Raises:
        RuntimeError: it failed; the end of its output is in the message.
    """
    start = time.monotonic()
    with log.open("ab") as stream:
        child = subprocess.Popen(
            [str(part) for part in command], cwd=ROOT, stdout=stream, stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        try:
            _, status, usage = os.wait4(child.pid, 0)
        except BaseException:
            child.kill()  # a study that is stopped leaves no training behind
            child.wait()
            raise
    if status:
        tail = log.read_text(errors="replace").strip().splitlines()[-15:]
        raise RuntimeError(f"{command[1]} failed (status {status}); see {log}:\n" + "\n".join(tail))
    return time.monotonic() - start, usage.ru_utime + usage.ru_stime


def _last_iteration(folder: Path) -> int:
    """How far a training came."""
    link = folder / "last.pth"
    if not link.exists():
        return -1
    return int(load_file(link)["meta"]["iter"])


def logged(folder: Path) -> Iterator[dict[str, Any]]:
    """What a training logged, of all times that it was started."""
    for file in sorted(folder.glob("*/vis_data/scalars.json")):
        yield from map(json.loads, file.read_text().splitlines())


def gradient_cosines(folder: Path) -> dict[str, float]:
    """Mean over the training of what GradientCosineHook logged, by pair of tasks; empty: nothing.

    Iterations where a task had no gradient count for no pair of it.
    """
    values: dict[str, dict[int, float]] = {}
    for line in logged(folder):
        for name, value in line.items():
            if name.startswith("cosine_") and math.isfinite(value):
                step = int(line.get("step", line.get("iter", 0)))
                values.setdefault(name.removeprefix("cosine_"), {})[step] = value
    return {name: round(fmean(found.values()), 4) for name, found in values.items()}


def iteration_seconds(folder: Path, iterations: int) -> float:
    """Wall-clock time of the iterations alone, without the start of programs and decoding.

    The log has the mean time of the iterations since its last line; those after the last line count
    as those before it, and what was repeated counts once.
    """
    times: dict[int, float] = {0: 0.0}
    for line in logged(folder):
        if "time" in line:
            times[int(line.get("step", line.get("iter", 0)))] = float(line["time"])
    steps = sorted(times)
    values = [times[step] for step in steps[1:]] + [times[steps[-1]]]
    ends = [*steps[1:], iterations]
    return sum((end - begin) * value for begin, end, value in zip(steps, ends, values, strict=True))


def loss_curve(folder: Path, points: int = 20) -> list[list[float]]:
    """[iteration, loss] at evenly spaced places of what the training logged."""
    values: dict[int, float] = {}
    for line in logged(folder):
        if "loss" in line:
            values[int(line.get("step", line.get("iter", 0)))] = round(float(line["loss"]), 5)
    steps = sorted(values)
    chosen = (
        {steps[round(k * (len(steps) - 1) / max(points - 1, 1))] for k in range(points)}
        if steps
        else set()
    )
    return [[step, values[step]] for step in sorted(chosen)]


def start_of(study: Study, run: str, seed: int, data: Path, work: Path) -> Path:
    """The checkpoint of another run, which is trained if it is not there."""
    folder = work / f"{run}_{seed}"
    pretrain(study, study.find(run), seed, data, folder)
    return folder / "last.pth"


def pretrain(study: Study, run: Run, seed: int, data: Path, folder: Path) -> dict[str, Any]:
    """Train, or finish what was interrupted; what it cost.

    Returns:
        ``iterations``, ``images``, ``flops_per_step``, ``flops``, ``seconds`` (of the program; on a
        GPU, of its iterations), ``processor_seconds``, ``curve``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = pretraining_config(study, run, seed, data)
    if run.iterations == 0:
        if not (folder / "last.pth").exists():
            save_untrained(config, seed, folder / "last.pth")
        return {"iterations": 0, "images": 0, "flops_per_step": 0, "flops": 0, "seconds": 0.0,
                "processor_seconds": 0.0, "curve": []}  # fmt: skip
    if run.tokenizer:
        file = train_tokenizer(study, run.tokenizer["config"], data, folder.parent / "tokenizer")
        config.merge_from_dict({run.tokenizer["key"]: str(file)})
    flops = step_flops(config)
    iterations = run.iterations or max(round((run.flops or study.flops) / flops), 1)
    set_iterations(config, iterations)
    config.experiment_name = f"{study.name}-{run.name}-{seed}"
    path = folder / "run.py"
    (resident(config) if study.resident else config).dump(path)
    cost_file = folder / "cost.json"
    cost = json.loads(cost_file.read_text()) if cost_file.exists() else [0.0, 0.0]
    if _last_iteration(folder) < iterations:
        command: list[str | Path] = [
            sys.executable,
            ROOT / "tools/train.py",
            path,
            "--work-dir",
            folder,
            "--resume",
        ]
        if study.precision != "fp32":
            command += ["--amp", study.precision]
        if run.start is not None:
            command += ["--init", start_of(study, run.start, seed, data, folder.parent)]
        spent = measured(command, folder / "train.log")
        cost = [cost[0] + spent[0], cost[1] + spent[1]]
        cost_file.write_text(json.dumps(cost))
    on_gpu = torch.cuda.is_available()
    return {
        "iterations": iterations,
        "images": iterations * config.train_dataloader.batch_size,
        "flops_per_step": flops,
        "flops": flops * iterations,
        "seconds": round(iteration_seconds(folder, iterations) if on_gpu else cost[0], 1),
        "processor_seconds": round(cost[1], 1),
        "curve": loss_curve(folder),
    }
