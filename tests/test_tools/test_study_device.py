"""Studies with images on the device: the same views, whatever makes them."""

from __future__ import annotations

import importlib.util
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from PIL import Image
from scipy import stats

from mmvitssl.datasets import SampleKey, collate_views
from mmvitssl.datasets.transforms import ColorJitter, RandomFlip, RandomResizedCrop
from mmvitssl.engine import launch
from mmvitssl.registry import DATASETS, MODELS
from tests.marks import some
from tests.test_tools import programs
from tests.test_tools.programs import ROOT
from tests.test_tools.test_study import STUDY, TOOL, arguments, pretrainings, records, write_images

sys.path.insert(0, str(ROOT / "tools" / "experiments"))
from studying import plan
from studying.evaluation import transfer_config
from studying.pretraining import iteration_seconds, pretraining_config
from studying.resident import resident

NUMBER = 256


def write_ramps(path: Path, side: int = 32) -> None:
    """Packed images in which red grows to the right and green downwards; blue differs by image."""
    ramp = np.linspace(20, 235, side).round().astype(np.uint8)
    files = []
    for blue in np.random.default_rng(0).integers(30, 226, NUMBER):
        pixels = np.empty((side, side, 3), np.uint8)
        pixels[..., 0], pixels[..., 1], pixels[..., 2] = ramp[None], ramp[:, None], blue
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "JPEG", quality=98, subsampling=0)
        files.append(np.frombuffer(stream.getvalue(), np.uint8))
    offset = np.cumsum([0, *map(len, files)])
    np.savez(path, jpeg=np.concatenate(files), offset=offset,
             label=np.arange(NUMBER, dtype=np.uint8) % 10,
             classes=np.array([str(i) for i in range(10)]))  # fmt: skip


def config_of(study: str, name: str, data: Path) -> Config:
    grid = plan.read_study(ROOT / "tools" / "experiments" / "studies" / f"{study}.py")
    return pretraining_config(grid, grid.find(name), 0, data)


def views_of(config: Config, number: int) -> tuple[list[torch.Tensor], dict[str, Any]]:
    """What the model of a config gets of its first images, in [0, 255], and the batch."""
    init_default_scope(launch.prepare_scope(config))
    dataset: Any = DATASETS.build(config.train_dataloader.dataset)
    keys = [SampleKey(index, epoch=1, seed=7) for index in range(number)]
    whole = hasattr(dataset, "__getitems__")
    batch = collate_views(dataset.__getitems__(keys) if whole else [dataset[key] for key in keys])
    preprocessor: Any = MODELS.build(config.model.data_preprocessor)
    views = preprocessor(batch, training=True)["views"]
    return [view.pixels * 255 for view in views], batch


def measures(view: torch.Tensor) -> dict[str, np.ndarray]:
    """By image: means and deviations of channels, and how far it is from grey."""
    pixels = view.double().numpy()
    values = {f"mean {c}": pixels[:, c].mean((1, 2)) for c in range(3)}
    values |= {f"deviation {c}": pixels[:, c].std((1, 2)) for c in range(3)}
    return values | {"colour": pixels.std(1).mean((1, 2))}


def check_geometry(view: torch.Tensor, crop: RandomResizedCrop, flip: float) -> None:
    """Parts and mirror images of ramps whose colours were not changed."""
    red, green = view[:, 0].mean(1), view[:, 1].mean(2)  # (B, w) and (B, h)
    width = (red[:, -1] - red[:, 0]).abs() / 215 * 31 / 32
    height = (green[:, -1] - green[:, 0]).abs() / 215 * 31 / 32
    # a pixel is lost at each side, more or less
    area = ((width + 1 / 32) * (height + 1 / 32)).numpy()
    assert crop.scale[0] - 0.07 < area.min() < crop.scale[0] + 0.07
    assert area.max() < crop.scale[1] + 0.07 and np.quantile(area, 0.9) > 0.7 * crop.scale[1]
    mirrored = (red[:, 0] > red[:, -1]).double().mean().item()
    assert abs(mirrored - flip) < 4 * (flip * (1 - flip) / NUMBER) ** 0.5
    assert (green[:, 0] < green[:, -1]).all()


def check_views(config: Config, data: Path) -> None:
    """Views of the rewritten config are those of the config, but for the numbers drawn."""
    write_ramps(data / "cifar10_train.npz")
    expected, _ = views_of(config, NUMBER)
    got, batch = views_of(resident(config), NUMBER)
    assert [view.shape for view in got] == [view.shape for view in expected]
    assert torch.equal(batch["samples"]["index"], torch.arange(NUMBER))
    noise = np.random.default_rng(0)
    for one, other in zip(got, expected, strict=True):
        assert not torch.equal(one, other) and torch.equal(one.round(), one.round().clamp(0, 255))
        ours, theirs = measures(one), measures(other)
        for name, values in theirs.items():
            blur = noise.normal(scale=values.std() / 20 + 1e-3, size=(2, len(values)))
            p = stats.ks_2samp(ours[name] + blur[0], values + blur[1]).pvalue
            assert p > 1e-4, name
    pipelines = MODELS.build(resident(config).model.data_preprocessor).augment.pipelines
    for view, transforms in zip(got, pipelines, strict=True):
        crop = next(t for t in transforms if isinstance(t, RandomResizedCrop))
        flip = next(t for t in transforms if isinstance(t, RandomFlip))
        if not any(isinstance(t, ColorJitter) for t in transforms):
            check_geometry(view, crop, flip.p)


def packed() -> list[tuple[str, str]]:
    """Runs of studies that read packed images, one for each recipe with its options."""
    return [pair for pair in pretrainings() if pair[0] != "camvid"]


@pytest.mark.parametrize(
    "pair", some(packed(), lambda pair: pair[1] in ("mae", "dino")), ids="-".join
)
def test_every_run_has_the_views_of_its_pipeline(pair: tuple[str, str], tmp_path: Path) -> None:
    config = config_of(*pair, tmp_path)
    before = config.pretty_text
    check_views(config, tmp_path)
    assert config.pretty_text == before
    changed = resident(config)
    assert changed.train_dataloader.dataset.type == "ResidentImages"
    assert not changed.train_dataloader.num_workers
    model: Any = MODELS.build(changed.model).train()
    _, batch = views_of(changed, 8)
    loss, _ = model.parse_losses(model(**model.data_preprocessor(batch, True), mode="loss"))
    loss.backward()
    assert torch.isfinite(loss)


def test_fine_tuning_keeps_its_subset_on_the_device(tmp_path: Path) -> None:
    write_ramps(tmp_path / "cifar10_train.npz")
    grid = plan.read_study(ROOT / "tools" / "experiments" / "studies" / "learning.py")
    settings = grid.finetune["finetune_10pct"]
    config = transfer_config(grid, grid.find("mae"), 0, tmp_path, settings)
    changed = resident(config)
    (view,), batch = views_of(changed, 20)
    dataset: Any = DATASETS.build(config.train_dataloader.dataset)
    assert len(view) == 20 and batch["samples"]["label"].tolist() == dataset.labels[:20].tolist()
    assert changed.test_dataloader == config.test_dataloader


def test_what_cannot_move_is_named(tmp_path: Path) -> None:
    config = config_of("learning", "mae", tmp_path)
    views = config.train_dataloader.dataset.pipeline[1].views
    views[0].transforms.append(dict(type="RandAugment", size=32))
    with pytest.raises(plan.UserError, match="RandAugment does not run on the device"):
        resident(config)
    config.train_dataloader.dataset.pipeline.insert(1, dict(type="Resize", size=32))
    with pytest.raises(plan.UserError, match="need the pipeline"):
        resident(config)
    photographs = config_of("camvid", "mae", tmp_path)
    assert resident(photographs).pretty_text == photographs.pretty_text


def test_a_gpu_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "study.py").write_text(STUDY.replace("STEPS", "1"))
    command = [sys.executable, TOOL, *arguments(tmp_path, "work"), "--device", "cuda"]
    done = programs.run(*command, ok=False, CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 2 and "torch finds no GPU here; use --device cpu." in done.stdout


class Finished:
    """A run that ends the second time it is looked at."""

    returncode, looks = 0, 0

    def poll(self) -> int | None:
        self.looks += 1
        return None if self.looks == 1 else 0

    def terminate(self) -> None:
        raise AssertionError


def test_runs_are_shared_out_to_the_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("experiments_study", TOOL)
    assert spec is not None and spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert tool.devices("cpu") == [""] and tool.devices(None) == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    assert tool.devices("cuda") == ["2", "5"]
    started: list[str] = []
    monkeypatch.setattr(
        tool, "start", lambda args, name, seed, gpu: started.append(gpu) or Finished()
    )
    (tmp_path / "study.py").write_text(STUDY.replace("STEPS", "1"))
    command = [*arguments(tmp_path, "w"), "--jobs", "4", "--seeds", "0", "1", "2"]
    monkeypatch.setattr(sys, "argv", ["study.py", *command])
    assert tool.run_all(tool.parse_args()) == 0
    assert started[:4] == ["2", "5", "2", "5"] and len(started) == 6


def test_seconds_of_iterations_do_not_count_what_was_repeated(tmp_path: Path) -> None:
    lines = {"1": {50: 0.1, 100: 0.2, 150: 9.0}, "2": {150: 0.4, 160: 1.0}}
    for name, times in lines.items():
        place = tmp_path / name / "vis_data"
        place.mkdir(parents=True)
        texts = [json.dumps({"step": step, "time": value}) for step, value in times.items()]
        (place / "scalars.json").write_text("\n".join(texts))
    # 50, 50, 50 and 10 iterations, and 5 after the last line
    assert iteration_seconds(tmp_path, 165) == pytest.approx(5 + 10 + 20 + 10 + 5)
    assert iteration_seconds(tmp_path / "none", 165) == 0.0


@pytest.mark.slow
def test_a_study_runs_with_its_images_on_the_device(tmp_path: Path) -> None:
    write_images(tmp_path / "images.npz")
    text = STUDY.replace("STEPS", "4")
    (tmp_path / "study.py").write_text(text[: text.index("finetune =")])
    options = [*arguments(tmp_path, "work"), "--only", "mae", "--device", "cpu", "--resident"]
    programs.run(sys.executable, TOOL, *options)
    record = records(tmp_path, "work")["mae_0"]
    committed = next((ROOT / "docs" / "results" / "runs" / "learning").glob("mae_*.json"))
    schema = json.loads(committed.read_text())
    assert record.keys() >= schema.keys() and record["resident"] is True
    compute = record["compute"]
    assert isinstance(compute, dict) and compute.keys() == schema["compute"].keys()
    machine = record["machine"]
    assert isinstance(machine, dict) and machine.keys() >= schema["machine"].keys()
    assert (machine["device"], machine["jobs"]) == ("cpu", 1)
    saved = Config.fromfile(tmp_path / "work" / "study" / "mae_0" / "run.py")
    assert saved.train_dataloader.dataset.type == "ResidentImages"
