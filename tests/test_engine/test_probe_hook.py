"""Online probes: what they log is right, and the training does not notice them."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mmvitssl.datasets import LabelledFolder
from mmvitssl.engine import launch
from mmvitssl.engine.config_files import read_config
from mmvitssl.engine.hooks import OnlineProbeHook
from mmvitssl.evaluation.features import extract_features
from mmvitssl.evaluation.knn import knn_accuracy, linear_accuracy
from tests.test_tools.programs import ROOT, logged, run, write_config

PIPELINE = [
    dict(type="LoadImage"),
    dict(type="MultiView", views=[dict(transforms=[dict(type="Resize", size=(32, 32))])]),
    dict(type="PackViews"),
]
METRICS = ("probe/knn_3", "probe/linear")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dark and bright noise, twelve images each."""
    root = tmp_path_factory.mktemp("noise")
    rng = np.random.default_rng(0)
    for name, mean in (("dark", 90), ("bright", 150)):
        (root / name).mkdir()
        for index in range(12):
            pixels = rng.normal(mean, 40, (40, 40, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{index}.png")
    return root


def hook(data: Path, **settings: Any) -> dict[str, Any]:
    dataset = dict(type="LabelledFolder", root=str(data), pipeline=PIPELINE)
    return dict(type="OnlineProbeHook", bank=dataset, queries=dataset, interval=2,
                neighbours=(3,), batch_size=7, **settings)  # fmt: skip


def prepared(folder: Path, data: Path, probe: dict[str, Any] | None, **options: Any) -> Any:
    config = read_config(str(write_config(folder, data, epochs=5)))
    if probe is not None:
        config.custom_hooks = [*config.custom_hooks, probe]
    config.merge_from_dict(
        {"work_dir": str(folder / "run"), "experiment_name": folder.name, "randomness.seed": 3,
         "model.encoder.drop_path": 0.3, **options}
    )  # fmt: skip
    launch.prepare_scope(config)
    launch.set_devices(config, "none")
    runner = launch.build_runner(config)
    launch.build_training(runner)
    return runner


def probes(work_dir: Path) -> list[dict[str, float]]:
    return [line for line in logged(work_dir) if METRICS[0] in line]


def states() -> tuple[Any, ...]:
    numpy = np.random.get_state()
    return random.getstate(), numpy[1].tolist(), numpy[2], torch.get_rng_state().tolist()


@pytest.fixture(scope="module")
def folders(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The same training, with stochastic depth, without and with probes."""
    root = tmp_path_factory.mktemp("runs")
    weights = {}
    for name, probe in (("without", None), ("with", hook(data, at_start=True))):
        (root / name).mkdir()
        runner = prepared(root / name, data, probe)
        runner.train()
        weights[name] = {k: v.clone() for k, v in runner.model.state_dict().items()}
    torch.save(weights, root / "weights.pth")
    yield root


def test_the_training_is_the_same_bit_for_bit(folders: Path) -> None:
    without, probed = (
        [line["loss"] for line in logged(folders / name / "run") if "loss" in line]
        for name in ("without", "with")
    )
    assert len(without) == 5 * 6 and without == probed
    weights = torch.load(folders / "weights.pth", weights_only=True)
    assert all(torch.equal(value, weights["with"][key])
               for key, value in weights["without"].items())  # fmt: skip


def test_there_is_one_at_the_start_every_interval_and_at_the_end(folders: Path) -> None:
    lines = probes(folders / "with" / "run")
    assert [line["step"] for line in lines] == [0, 12, 24, 30]
    assert all(set(METRICS) <= set(line) for line in lines)
    assert probes(folders / "without" / "run") == []


@pytest.mark.parametrize("branch", ["online", "target"])
def test_the_numbers_are_those_of_the_features(branch: str, data: Path, tmp_path: Path) -> None:
    runner = prepared(tmp_path, data, hook(data, branch=branch))
    runner.model.update_target(0.0)
    for parameter in runner.model.target["encoder"].parameters():
        parameter.data.mul_(1.5)
    probe = next(h for h in runner.hooks if isinstance(h, OnlineProbeHook))
    runner.model.train()
    modes = {name: part.training for name, part in runner.model.named_modules()}
    runner._train_loop._epoch = 4  # the last one
    before = states()
    probe.before_train(runner)
    probe.after_train_epoch(runner)
    assert states() == before
    assert {name: part.training for name, part in runner.model.named_modules()} == modes
    encoder = runner.model.encoder if branch == "online" else runner.model.target["encoder"]
    dataset = LabelledFolder(str(data), PIPELINE)
    features = extract_features(encoder, dataset, runner.model.data_preprocessor)
    pairs = (features.values, features.labels) * 2
    (line,) = probes(tmp_path / "run")
    assert line["probe/knn_3"] == pytest.approx(100 * knn_accuracy(*pairs, neighbours=(3,))[3])
    assert line["probe/linear"] == pytest.approx(100 * linear_accuracy(*pairs))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (dict(interval=0), "interval >= 1"),
        (dict(branch="teacher"), "branch 'online' or 'target'"),
        (dict(bank=dict(type="LabelledFolder", root="/nowhere", pipeline=[])), "/nowhere"),
    ],
)
def test_mistakes_are_errors_when_built(changes: dict[str, Any], words: str, data: Path) -> None:
    settings = {**hook(data), **changes}
    settings.pop("type")
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        OnlineProbeHook(**settings)


def test_mistakes_are_errors_before_the_first_step(data: Path, tmp_path: Path) -> None:
    unlabelled = dict(type="ImageFolder", root=str(data), pipeline=PIPELINE)
    cases = {
        "without labels": ({**hook(data), "queries": unlabelled}, {}),
        "readout='median'": (hook(data, readout="median"), {}),
        "has no target": (
            hook(data, branch="target"),
            {"model.target": None, "model.tasks.contrastive.keys": "online"},
        ),
    }
    for number, (words, (probe, options)) in enumerate(cases.items()):
        (tmp_path / str(number)).mkdir()
        runner = prepared(tmp_path / str(number), data, probe, **options)
        with pytest.raises(ValueError, match=words):
            runner.train()
        assert runner.iter == 0


@pytest.mark.long
def test_two_processes_probe_once(data: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path, data, epochs=2)
    config.write_text(config.read_text() + f"custom_hooks += [{hook(data, at_start=True)!r}]\n")
    run(
        ROOT / "tools/dist_train.sh", config, "2", "--work-dir", tmp_path / "run",
        PATH=f"{Path(sys.executable).parent}:/usr/bin:/bin",
    )  # fmt: skip
    lines = probes(tmp_path / "run")
    assert [line["step"] for line in lines] == [0, 6]
    assert len([line for line in logged(tmp_path / "run") if "loss" in line]) == 6
