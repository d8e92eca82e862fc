"""browse, report, config, summary, models, --track and TensorBoard's tags."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import model_index
import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from mmvitssl import extras
from mmvitssl.apis.recipes import CONFIGS, list_recipes
from mmvitssl.checkpoint.published import PUBLISHED
from mmvitssl.visualization.tracking import GroupedTensorboardBackend, grouped, track
from tests.test_cli.test_commands import Call, call  # noqa: F401
from tests.test_cli.test_pretrain import make_images
from tests.test_tools.programs import ROOT, write_config


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return make_images(tmp_path / "images", 6, ())


def test_views_and_masks_are_drawn(call: Call, images: Path, tmp_path: Path) -> None:  # noqa: F811
    out = tmp_path / "sheets"
    words = ("--images", images, "--number", 3, "--out", out)
    small = ("model.encoder.arch.base=tiny", "model.tasks.masked.neck.in_channels=192",
             "model.tasks.masked.neck.depth=1")  # fmt: skip
    recipe = "mae_vit-small_64xb64-cosine-800e_in1k"
    status, text = call("browse", recipe, *words, "--cfg-options", *small)
    assert status == 0, text
    assert {path.name for path in out.iterdir()} == {"views_224x224.png", "masked.png"}
    views = np.asarray(Image.open(out / "views_224x224.png"))
    assert views.shape[1] == 224 and views.shape[0] > 3 * 224 and views.std() > 0
    masked = np.asarray(Image.open(out / "masked.png"))
    assert masked.shape[1] > 3 * 224  # original, masked, reconstruction
    first = views.tobytes()
    assert call("browse", recipe, *words, "--views-only")[0] == 0
    assert np.asarray(Image.open(out / "views_224x224.png")).tobytes() == first
    assert call("browse", recipe, *words, "--views-only", "--epoch", 1)[0] == 0
    assert np.asarray(Image.open(out / "views_224x224.png")).tobytes() != first
    status, text = call("browse", "tokenizers/dvae_8xb32-50e_in1k", "--number", 0)
    assert status == 2 and "--number 0" in text


def test_a_config_says_where_values_come_from(call: Call) -> None:  # noqa: F811
    name = "mae/mae_vit-small_64xb64-cosine-800e_in1k"
    status, text = call("config", name, "--cfg-options", "train_cfg.max_epochs=7")
    assert status == 0
    said = {line.split(":")[0][2:]: line for line in text.splitlines() if line.startswith("# ")}
    assert "max_epochs" in said["the command line"]
    assert "arch.base" in said[f"configs/{name}.py"]
    # the line that a place names says the value
    for line in text.splitlines():
        found = re.match(r"# (configs/\S+\.py): .*encoder\.position \((\d+)\)", line)
        if found:
            assert "position=" in (ROOT / found[1]).read_text().splitlines()[int(found[2]) - 1]
            break
    else:
        pytest.fail("nothing says where encoder.position comes from")
    assert "# " not in call("config", name, "--no-origins")[1]


def test_a_summary_has_costs_by_task(call: Call) -> None:  # noqa: F811
    small = ("model.encoder.arch.base=tiny", "model.tasks.masked.neck.in_channels=192")
    status, text = call("summary", "mae_vit-small_64xb64-cosine-800e_in1k", "--cfg-options", *small)
    assert status == 0, text
    rows = {line.split()[0]: line.split() for line in text.splitlines()}
    # 49 of 196 patches and the class token: a quarter of the forward pass of a whole image
    encoder = float(rows["encoder"][7])
    whole = float(re.search(r"encoder: ([\d.]+) GFLOPs", text)[1])  # type: ignore[index]
    assert encoder == pytest.approx(whole / 4, rel=0.1)
    assert float(rows["tasks.masked"][7]) > encoder  # the decoder sees all patches
    total = sum(float(rows[part][7]) for part in ("encoder", "tasks.masked"))
    assert float(rows["all"][7]) == pytest.approx(total, abs=0.02)
    step = float(re.search(r"step: ([\d.]+) GFLOPs", text)[1])  # type: ignore[index]
    assert step == pytest.approx(3 * total, rel=0.05)  # backward is twice forward


def run_folder(path: Path, losses: list[float], rate: float) -> Path:
    logs = path / "20260101_000000" / "vis_data"
    logs.mkdir(parents=True)
    lines = [json.dumps({"loss": loss, "lr": rate, "iter": i, "step": i})
             for i, loss in enumerate(losses, 1)]  # fmt: skip
    (logs / "scalars.json").write_text("\n".join(lines))
    optimizer = dict(type="AdamW", lr=rate)
    Config(dict(optim_wrapper=dict(optimizer=optimizer), work_dir=str(path))).dump(path / "c.py")
    return path


def test_runs_are_compared(call: Call, tmp_path: Path) -> None:  # noqa: F811
    runs = [run_folder(tmp_path / "a", [3.0, 2.0], 0.1), run_folder(tmp_path / "b", [3.0], 0.2)]
    out = tmp_path / "report.json"
    status, text = call("report", *runs, "--out", out)
    assert status == 0 and "loss" in text and "optim_wrapper.optimizer.lr: 0.1 (a), 0.2 (b)" in text
    content = json.loads(out.read_text())
    assert content["last"]["loss"] == {"a": 2.0, "b": 3.0}
    assert content["settings"] == {"optim_wrapper.optimizer.lr": {"a": "0.1", "b": "0.2"}}
    assert call("report", *runs, "--out", tmp_path / "r.html")[0] == 0
    page = (tmp_path / "r.html").read_text()
    assert "<html" in page and "loss" in page
    status, text = call("report", tmp_path)
    assert status == 2 and "has a training run there" in text


def test_published_and_own_numbers_are_listed(call: Call) -> None:  # noqa: F811
    _, text = call("models", "dino_vit-small_8xb128-cosine-800e")
    assert "published: Linear probe, ImageNet-1k, Top 1 Accuracy 77.0" in text
    assert "ours, " in call("models", "study/cifar10/mae")[1]
    _, text = call("models", "--weights", "mae")
    assert PUBLISHED["mae-vit-base"].url in text and "CC-BY-NC-4.0" in text


def test_metafiles_are_what_the_configs_say() -> None:
    for path, text in model_index.files().items():
        assert path.read_text() == text, f"{path.name} is old: run {model_index.COMMAND}"


def test_every_config_has_a_name_of_its_own() -> None:
    """``mim train mmvitssl NAME`` looks for one file of the name."""
    names = [path.name for path in CONFIGS.rglob("*.py") if "_base_" not in path.parts]
    assert len(set(names)) == len(names) and len(names) >= len(list_recipes())


def test_tags_are_grouped(tmp_path: Path) -> None:
    names = {
        "loss": "loss/total", "loss_contrastive": "loss/contrastive", "lr": "schedule/lr",
        "data_time": "machine/data_time", "grad_norm": "gradients/grad_norm",
        "decode.loss_ce": "loss/decode.loss_ce", "accuracy/top1": "accuracy/top1",
        "raw_contrastive": "metric/raw_contrastive",
    }  # fmt: skip
    assert {name: grouped(name) for name in names} == names
    backend = GroupedTensorboardBackend(str(tmp_path))
    backend.add_scalars({"loss": 1.5, "lr": 0.1, "step": 3})
    backend.close()
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert sorted(events.Tags()["scalars"]) == ["loss/total", "schedule/lr"]
    (point,) = events.Scalars("loss/total")
    assert (point.step, point.value) == (3, 1.5)


def test_trackers_are_added_or_their_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = Config(dict(work_dir=str(tmp_path / "run")))
    monkeypatch.setattr(extras.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(extras.MissingExtraError, match=r"pip install 'mmvitssl\[wandb\]'"):
        track(config, "wandb")
    assert "visualizer" not in config
    monkeypatch.setattr(extras.importlib.util, "find_spec", lambda name: object())
    track(config, "mlflow")
    kinds = [backend["type"] for backend in config.visualizer.vis_backends]
    assert kinds == ["LocalVisBackend", "mmvitssl.PicturesMLflowBackend"]


def test_mlflow_gets_the_losses(images: Path, tmp_path: Path, monkeypatch: Any) -> None:
    mlflow = pytest.importorskip("mlflow")
    from mmvitssl.engine import training

    store = f"sqlite:///{tmp_path}/track.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    config = write_config(tmp_path, images, epochs=1)
    words = [str(config), "--work-dir", str(tmp_path / "run"), "--track", "mlflow"]
    training.train(training.parser(None).parse_args(words))
    mlflow.set_tracking_uri(store)
    (run,) = mlflow.search_runs(experiment_names=["mmvitssl"], output_format="list")
    assert run.data.metrics["loss"] > 0
