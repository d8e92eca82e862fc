"""Studies: interrupted at any moment, recorded once, tables from the records alone."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import mmengine.registry
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope
from PIL import Image

from mmvitssl.engine import launch
from mmvitssl.models.tokenizers import save_tokenizer
from mmvitssl.registry import MODELS
from tests.marks import some
from tests.test_tools import programs
from tests.test_tools.programs import ENVIRONMENT, ROOT

sys.path.insert(0, str(ROOT / "tools" / "experiments"))
from studying import plan, report, statistics
from studying.evaluation import transfer_config
from studying.pretraining import pretraining_config, set_iterations, step_flops
from studying.run import is_done

TOOL = ROOT / "tools" / "experiments" / "study.py"
STUDIES = sorted((ROOT / "tools" / "experiments" / "studies").glob("*.py"))

STUDY = """
question = 'Is it resumed?'
page = 'page.md'
baseline = 'random'
seeds = (0, )
flops = 1e9
precision = 'fp32'
files = {'train_dataloader.dataset.file': 'images.npz'}
small = {
    'model.encoder.arch.embed_dim': 16, 'model.encoder.arch.depth': 2,
    'model.encoder.arch.num_heads': 2,
    'model.tasks.masked.neck.width': 16, 'model.tasks.masked.neck.depth': 1,
    'model.tasks.masked.neck.num_heads': 2, 'train_dataloader.batch_size': 8,
}
mae = dict(config='configs/study/cifar10/mae_vit-p4_cifar10.py', options=small)
runs = {'random': dict(mae, iterations=0), 'mae': dict(mae, iterations=STEPS)}
del mae, small
pipeline = [
    dict(type='LoadImage'), dict(type='MultiView', views=[dict(transforms=[])]),
    dict(type='PackViews')]
images = dict(type='PackedImages', file='images.npz', pipeline=pipeline)
probe = dict(
    readouts=('mean', ), neighbours=(5, ), bank=dict(images, stride=2),
    queries=dict(images, stride=3))
del pipeline, images
finetune = {
    'finetune_50pct': dict(
        config='configs/study/cifar10/finetune_vit-p4_cifar10.py',
        files={
            'train_dataloader.dataset.dataset.file': 'images.npz',
            'test_dataloader.dataset.file': 'images.npz',
        },
        options={
            'train_dataloader.dataset.fraction': 0.5, 'train_dataloader.batch_size': 8,
            'train_cfg.max_iters': 2,
        },
        metrics=['accuracy/top1']),
}
"""


def write_images(path: Path, number: int = 60) -> None:
    """Packed images of ten classes, which differ in their mean colour."""
    random = np.random.default_rng(0)
    labels = np.arange(number) % 10
    files = []
    for label in labels:
        pixels = random.integers(0, 56, (32, 32, 3)) + 20 * label
        stream = io.BytesIO()
        Image.fromarray(pixels.astype(np.uint8)).save(stream, "JPEG")
        files.append(np.frombuffer(stream.getvalue(), np.uint8))
    offset = np.cumsum([0, *map(len, files)])
    np.savez(path, jpeg=np.concatenate(files), offset=offset, label=labels.astype(np.uint8),
             classes=np.array([str(i) for i in range(10)]))  # fmt: skip


def arguments(folder: Path, work: str) -> list[str]:
    return [str(folder / "study.py"), "--data-root", str(folder), "--work-dir",
            str(folder / work), "--results", str(folder / f"{work}-results")]  # fmt: skip


def records(folder: Path, work: str) -> dict[str, dict[str, object]]:
    files = (folder / f"{work}-results" / "study").glob("*.json")
    return {path.stem: json.loads(path.read_text()) for path in files}


@pytest.mark.slow
def test_what_is_recorded_is_not_repeated(tmp_path: Path) -> None:
    write_images(tmp_path / "images.npz")
    text = STUDY.replace("STEPS", "32")
    (tmp_path / "study.py").write_text(text[: text.index("finetune =")])
    programs.run(sys.executable, TOOL, *arguments(tmp_path, "work"), "--only", "random")
    found = records(tmp_path, "work")
    metrics = found["random_0"]["metrics"]
    assert isinstance(metrics, dict) and set(metrics) == {"knn", "linear"}
    # the mean colour tells the classes, and survives an untrained encoder
    assert metrics["linear"] > 30  # chance is 10
    (tmp_path / "images.npz").unlink()
    done = programs.run(sys.executable, TOOL, *arguments(tmp_path, "work"), "--only", "random")
    assert "0 runs to do" in done.stdout and records(tmp_path, "work") == found


@pytest.mark.long
@pytest.mark.parametrize("options", [(), ("--resident",)], ids=["pipeline", "resident"])
def test_a_killed_study_goes_on_and_ends_with_the_same_numbers(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    write_images(tmp_path / "images.npz")
    (tmp_path / "study.py").write_text(STUDY.replace("STEPS", "32"))
    options = ("--only", "mae", "--device", "cpu", *options)
    programs.run(sys.executable, TOOL, *arguments(tmp_path, "whole"), *options)
    whole = records(tmp_path, "whole")
    assert set(whole) == {"mae_0"}

    command = [sys.executable, str(TOOL), *arguments(tmp_path, "killed"), *options]
    study = subprocess.Popen(command, env=ENVIRONMENT, cwd=ROOT, start_new_session=True,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    folder = tmp_path / "killed" / "study" / "mae_0"
    while not list(folder.glob("iter_*.pth")):
        assert study.poll() is None
        time.sleep(0.05)
    os.killpg(study.pid, signal.SIGKILL)
    study.wait()
    assert not records(tmp_path, "killed")
    programs.run(sys.executable, TOOL, *arguments(tmp_path, "killed"), *options)
    resumed = records(tmp_path, "killed")["mae_0"]
    assert resumed["metrics"] == whole["mae_0"]["metrics"]
    compute = resumed["compute"]
    assert isinstance(compute, dict) and compute["flops"] == 32 * compute["flops_per_step"]


def test_a_run_is_done_when_its_file_has_all_evaluations(tmp_path: Path) -> None:
    path, record = tmp_path / "study.py", tmp_path / "random_0.json"
    path.write_text(STUDY.replace("STEPS", "1"))
    study = plan.read_study(path)
    assert not is_done(study, record)
    record.write_text(json.dumps({"metrics": {"knn": 20.0, "linear": 30.0}}))
    assert not is_done(study, record) and is_done(study.evaluated([]), record)
    record.write_text(json.dumps({"metrics": {"knn": 20.0, "finetune_50pct": 40.0}}))
    assert is_done(study, record) and is_done(study.evaluated(["finetune_50pct"]), record)
    with pytest.raises(plan.UserError, match="no fine-tuning 'finetune'; it has"):
        study.evaluated(["finetune"])


def test_unknown_keys_and_runs_are_named(tmp_path: Path) -> None:
    path = tmp_path / "study.py"
    path.write_text(STUDY.replace("STEPS", "1").replace("seeds =", "seed ="))
    with pytest.raises(plan.UserError, match="'seed'.*Did you mean 'seeds'"):
        plan.read_study(path)
    path.write_text(STUDY.replace("STEPS", "1"))
    study = plan.read_study(path)
    with pytest.raises(plan.UserError, match="no run 'dino'; it has"):
        study.select(["dino"], None)


def record(run: str, seed: int, linear: float) -> dict[str, object]:
    return {
        "run": run, "seed": seed, "commit": "0123456789", "metrics": {"linear": linear},
        "health": {"rankme": linear + seed, "alpha_req": 1 / linear},
        "gradient_cosines": {"contrast_rotation": -0.25 + 0.01 * seed},
        "machine": {"processor": "P", "torch": "T"},
        "compute": {"iterations": 10, "images": 80, "flops": 2e12, "processor_seconds": 60.0},
    }  # fmt: skip


def test_tables_and_plots_are_the_same_bytes_each_time(tmp_path: Path) -> None:
    (tmp_path / "study.py").write_text(STUDY.replace("STEPS", "1"))
    study = plan.read_study(tmp_path / "study.py")
    values = {"random": (30.0, 31.0, 32.0), "mae": (40.0, 41.0, 42.0)}
    for run, accuracies in values.items():
        for seed, accuracy in enumerate(accuracies):
            path = study.record(run, seed, tmp_path)
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(record(run, seed, accuracy)))
    page = tmp_path / "page.md"
    marks = report.BEGIN.format("study"), report.END.format("study")
    page.write_text(f"Before.\n\n{marks[0]}\n{marks[1]}\nAfter.\n")
    report.write(study, tmp_path, tmp_path)
    written = [page, tmp_path / "plots/study.svg", tmp_path / "plots/study-compute.svg"]
    first = [path.read_bytes() for path in written]
    report.write(study, tmp_path, tmp_path)
    assert first == [path.read_bytes() for path in written]
    # t(0.975, 2) = 4.303, standard errors 1 / sqrt(3) each, their difference sqrt(2 / 3)
    assert "| mae | 3 | 10 | 80 | 2 | 1 | 41.0 ± 2.5 (+12 SE) |" in first[0].decode()
    assert "| mae | contrast, rotation | 3 | -0.240 ± 0.025 |" in first[0].decode()
    assert "+1.00 for RankMe and -1.00 for alpha-ReQ" in first[0].decode()
    assert first[0].decode().startswith("Before.\n") and first[0].decode().endswith("\nAfter.\n")


def test_standard_errors_of_a_difference() -> None:
    assert statistics.standard_errors([2.0, 4.0], [1.0, 1.0]) == pytest.approx(2.0)
    assert statistics.standard_errors([2.0], [1.0, 1.0]) is None


def fine_tunings() -> list[tuple[str, str]]:
    found = {}
    for path in STUDIES:
        for name, settings in plan.read_study(path).finetune.items():
            found.setdefault(settings["config"], (path.stem, name))
    return list(found.values())


@pytest.mark.parametrize("pair", fine_tunings(), ids="-".join)
def test_every_fine_tuning_builds_around_the_pretrained_encoder(
    pair: tuple[str, str], tmp_path: Path
) -> None:
    study = plan.read_study(ROOT / "tools/experiments/studies" / f"{pair[0]}.py")
    run, settings = study.find("mae"), study.finetune[pair[1]]
    pretrained: Any = MODELS.build(pretraining_config(study, run, 0, tmp_path).model.encoder)
    config = transfer_config(study, run, 0, tmp_path, settings)
    init_default_scope(launch.prepare_scope(config))
    model: Any = mmengine.registry.MODELS.build(config.model)
    encoder = model.backbone.encoder if "backbone" in config.model else model.encoder
    assert (encoder.embed_dim, encoder.depth) == (pretrained.embed_dim, pretrained.depth)


def pretrainings() -> list[tuple[str, str]]:
    pairs = {}
    for path in STUDIES:
        for run in plan.read_study(path).runs:
            pairs.setdefault((run.config, str(sorted(run.options.items()))), (path.stem, run.name))
    return list(pairs.values())


@pytest.mark.parametrize(
    "pair",
    some(pretrainings(), lambda pair: pair[1] in ("mae", "mtssl", "cae", "four-naive")),
    ids="-".join,
)
def test_every_run_of_every_study_trains(pair: tuple[str, str], tmp_path: Path) -> None:
    """Its model is built, takes images of its data and has a gradient."""
    study, name = pair
    grid = plan.read_study(ROOT / "tools" / "experiments" / "studies" / f"{study}.py")
    config: Config = pretraining_config(grid, grid.find(name), 0, tmp_path)
    dataset = config.train_dataloader.dataset
    if dataset.type == "PackedImages":
        write_images(tmp_path / Path(dataset.file).name, 20)
    else:
        Path(dataset.root).mkdir(parents=True)
        for number in range(4):
            pixels = np.random.default_rng(number).integers(0, 256, (60, 80, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(Path(dataset.root) / f"{number}.png")
    run = grid.find(name)
    if run.tokenizer:
        tokenizer = MODELS.build(Config.fromfile(ROOT / run.tokenizer["config"]).model)
        file = save_tokenizer(tokenizer, tmp_path / "dvae.safetensors")
        config.merge_from_dict({run.tokenizer["key"]: str(file)})
    config.train_dataloader.batch_size = 4
    set_iterations(config, 40)
    assert step_flops(config) > 1e6
    assert [entry.get("end") for entry in config.param_scheduler] == [2, 40]
