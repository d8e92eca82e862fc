"""``mmvitssl pretrain`` as a real process, and everything that it says to do next."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from PIL import Image

from mmvitssl.apis.dense_config import dense_config
from mmvitssl.apis.embedding import load
from mmvitssl.apis.health import judge
from mmvitssl.checkpoint import load_encoder
from mmvitssl.checkpoint.self_described import describe_file
from mmvitssl.cli.transfer import options as transfer_options
from mmvitssl.engine.launch import prepare_scope
from mmvitssl.registry import MODELS
from tests.test_tools.programs import logged, run, train, write_config

PROGRAM = Path(__file__).with_name("program.py")
SMALL = ("--method", "mae", "--arch", "vit-tiny", "--image-size", "32")


def mmvitssl(*arguments: str | Path, ok: bool = True) -> subprocess.CompletedProcess[str]:
    return run(sys.executable, PROGRAM, *arguments, ok=ok)


def make_images(root: Path, number: int = 10, classes: tuple[str, ...] = ("cat", "dog")) -> Path:
    """Smooth images of different colours by class."""
    rng = np.random.default_rng(0)
    for index in range(number):
        folder = root / (classes[index % len(classes)] if classes else "")
        folder.mkdir(parents=True, exist_ok=True)
        coarse = rng.integers(0, 100, (6, 6, 3), dtype=np.uint8)
        coarse[..., index % 2] += 120
        Image.fromarray(coarse).resize((60, 48), Image.Resampling.BICUBIC).save(
            folder / f"{index}.jpg"
        )
    return root


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make_images(tmp_path_factory.mktemp("data") / "my images")
    (root / "cat" / "broken.jpg").write_bytes(b"no image")
    return root


@pytest.fixture(scope="module")
def done(images: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a run, and what the program printed."""
    out = tmp_path_factory.mktemp("run") / "out"
    ended = mmvitssl("pretrain", images, *SMALL, "--epochs", "5", "--out", out)
    return out, ended.stdout


def commands(text: str) -> list[list[str]]:
    lines = text.partition("Go on with")[2].splitlines()
    return [shlex.split(line)[1:] for line in lines if line.strip().startswith("mmvitssl ")]


@pytest.mark.slow
def test_one_line_pretrains_and_says_what_it_chose(images: Path, done: tuple[Path, str]) -> None:
    out, text = done
    before, after = text.split("Epoch(train)", maxsplit=1)
    assert len(before.splitlines()) <= 40
    assert "11 images in the folder" in before and "broken.jpg" in before
    for setting in ("image size", "batch", "epochs", "warm-up", "learning rate", "precision"):
        assert re.search(rf"{setting} +\S+ +\S", before), setting
    assert "requires_grad" not in text and "System environment" not in text
    assert str(out / "last.pth") in after and "Health" in after
    steps = [line["step"] for line in logged(out)]
    assert steps == [1, 2, 3, 4, 5]
    model = load(out / "last.pth")
    assert model(images / "dog" / "1.jpg").shape == (1, 192)


@pytest.mark.slow
def test_its_config_trains_to_the_same_losses(done: tuple[Path, str], tmp_path: Path) -> None:
    out, _ = done
    assert (out / "config.py").read_text().startswith("# mmvitssl pretrain")
    train(out / "config.py", "--work-dir", tmp_path / "again")
    first, second = ([line["loss"] for line in logged(run)] for run in (out, tmp_path / "again"))
    assert first == second and len(first) == 5


@pytest.mark.slow
def test_the_printed_commands_work_when_pasted(done: tuple[Path, str]) -> None:
    out, text = done
    found = {tuple(words[:2]): words for words in commands(text)}
    names = {words[0] for words in found.values()}
    assert names == {"knn", "probe", "embed", "checkpoint", "train", "transfer"}
    for words in found.values():
        if words[0] in ("embed", "checkpoint"):
            assert "wrote" in mmvitssl(*words).stdout
        if words[0] == "knn":
            assert "knn_1" in mmvitssl(*words).stdout
        if words[0] == "probe":
            assert "accuracy/top1" in mmvitssl(*words).stdout.partition("Metrics")[2]
    with np.load(out / "embeddings.npz") as content:
        assert content["features"].shape == (10, 192) and len(content["names"]) == 10
        assert np.isfinite(content["features"]).all()
    import timm
    from safetensors.torch import load_file

    model = timm.create_model("vit_tiny_patch16_224", num_classes=0, img_size=32)
    model.load_state_dict(load_file(out / "encoder.safetensors"))


@pytest.mark.slow
def test_the_printed_transfers_take_the_encoder(done: tuple[Path, str]) -> None:
    """Detector and segmentor are built as printed; their data are the user's."""
    _, text = done
    transfers = [words[1:] for words in commands(text) if words[0] == "transfer"]
    assert [words[0] for words in transfers] == ["mask-rcnn", "upernet"]
    for words in transfers:
        args = transfer_options().parse_args(words)
        config, _ = dense_config(args.task, describe_file(args.checkpoint))
        scope = prepare_scope(config)
        with DefaultScope.overwrite_default_scope(scope):
            model = MODELS.build(config.model)
        load_encoder(model.backbone, args.checkpoint, log=lambda line: None)
        assert model.backbone.encoder.embed_dim == 192
        levels = model.backbone(torch.rand(1, 3, 64, 64))
        assert [level.shape[1] for level in model.neck(levels)] in ([256] * 5, [192] * 4)


@pytest.mark.slow
def test_a_run_starts_from_another_and_is_not_overwritten(
    images: Path, done: tuple[Path, str], tmp_path: Path
) -> None:
    out, _ = done
    again = mmvitssl("pretrain", images, *SMALL, "--epochs", "1", "--out", out, ok=False)
    assert again.returncode == 2 and "holds the checkpoints of another run" in again.stdout
    more = ("--epochs", "1", "--init", out / "last.pth", "--out", tmp_path / "more")
    ended = mmvitssl("pretrain", images, *SMALL, *more)
    assert "TOO SHORT TO SAY" in ended.stdout
    config = Config.fromfile(tmp_path / "more" / "config.py")
    assert config.init == str(out / "last.pth")
    state = torch.load(tmp_path / "more" / "last.pth", weights_only=False)["state_dict"]
    trained = torch.load(out / "last.pth", weights_only=False)["state_dict"]
    key = "encoder.blocks.0.attn.qkv.weight"
    assert (state[key] - trained[key]).abs().mean() < 0.1 * trained[key].abs().mean()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nowhere",), "There is nothing at"),
        (("IMAGES", "--method", "mea"), "did you mean mae"),
        (("IMAGES", "--method", "mae", "--arch", "swin-tiny"), "No config mae/mae_swin-tiny"),
        (("IMAGES", "--batch-size", "50"), "--batch-size 50 must lie between 2 and the 10"),
        (("IMAGES", "--init", "none.pth"), "There is no checkpoint"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_written(
    images: Path, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    given = [str(images) if word == "IMAGES" else word for word in arguments]
    ended = mmvitssl("pretrain", *given, "--out", tmp_path / "out", ok=False)
    assert ended.returncode == 2 and words in ended.stdout and "Traceback" not in ended.stdout
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_frozen_parameters_are_listed_in_the_log_file_alone(tmp_path: Path) -> None:
    data = make_images(tmp_path / "data", 4, ())
    ended = train(write_config(tmp_path, data, epochs=1), "--work-dir", tmp_path / "run")
    kept = next((tmp_path / "run").glob("*/*.log")).read_text()
    for detail in ("requires_grad=False", "System environment", "Hooks will be executed"):
        assert detail in kept and detail not in ended.stdout, detail
    assert len(ended.stdout.split("Epoch(train)")[0].splitlines()) <= 40


def test_health_is_judged_by_losses_and_features() -> None:
    spread = np.random.default_rng(0).normal(size=(30, 16)).astype(np.float32)
    falling = list(np.linspace(2, 1, 20))
    assert judge(falling, spread).sound
    assert "DOUBTFUL" in judge(falling[::-1], spread).sentence
    assert "not finite" in judge([*falling, float("nan")], spread).sentence
    assert "TOO SHORT" in judge(falling[:2], spread).sentence
    collapsed = np.ones_like(spread) + 1e-3 * spread
    assert "collapsed" in judge(falling, collapsed).sentence
    assert judge(falling, collapsed, contrastive=False).sound


@pytest.mark.long
def test_two_processes_train_together(images: Path, tmp_path: Path) -> None:
    """As on a machine with two GPUs, with gloo."""
    from mmvitssl.apis import pretraining
    from mmvitssl.apis.machine import Machine

    two = Machine("cpu", 2, "CPU", 2**34, 2, 2**30, "")
    many = make_images(tmp_path / "many", 130)
    prepared = pretraining.prepare(
        many, "mae", "vit-tiny", 32, 2, 8, tmp_path / "out", machine=two, say=lambda line: None
    )
    assert prepared.plan.devices == 2
    pretraining.train(prepared)
    assert (tmp_path / "out" / "last.pth").exists()
    assert json.loads(Path(next((tmp_path / "out").glob("*/vis_data/scalars.json"))).read_text()
                      .splitlines()[-1])["epoch"] == 2  # fmt: skip
