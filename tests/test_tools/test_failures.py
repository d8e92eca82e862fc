"""Bad input to the programs: one clear paragraph and exit status 2, before training."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from PIL import Image

from mmvitssl.registry import MODELS
from tests.test_tools import programs
from tests.test_tools.programs import ROOT, write_config

Call = Callable[..., str]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four images of noise."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "data"
    folder.mkdir()
    for index in range(4):
        Image.fromarray(rng.integers(0, 256, (40, 56, 3), dtype=np.uint8)).save(
            folder / f"{index}.png"
        )
    return folder


@pytest.fixture
def fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Call:
    """Run a program in this process, which spares its imports; gives its error message."""

    def call(program: str, *arguments: Any) -> str:
        words = [program, *arguments, "--work-dir", tmp_path / "run"]
        # loggers of earlier runs in this process hold streams that were captured and closed
        MMLogger._instance_dict.clear()
        monkeypatch.setattr(sys, "argv", [str(word) for word in words])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(ROOT / "tools" / program), run_name="__main__")
        error = capsys.readouterr().err
        assert ended.value.code == 2, error
        assert "Traceback" not in error
        assert not list((tmp_path / "run").glob("*.pth"))
        return error[error.rindex("error: ") :]

    return call


def checkpoint(config: Path, path: Path, **encoder: Any) -> Path:
    """Untrained weights of a config's model, with a changed encoder."""
    settings = Config.fromfile(config).model
    settings.encoder.update(encoder)
    torch.save({"state_dict": MODELS.build(settings).state_dict()}, path)
    return path


def test_a_process_ends_with_status_2_and_no_traceback(tmp_path: Path) -> None:
    done = programs.train(tmp_path / "nothing.py", ok=False)
    assert done.returncode == 2
    assert f"error: There is no config file {tmp_path / 'nothing.py'}" in done.stdout
    assert "Traceback" not in done.stdout


def test_missing_and_empty_data_folders(tmp_path: Path, fail: Call) -> None:
    folder = tmp_path / "photographs"
    config = write_config(tmp_path, folder)
    assert str(folder) in fail("train.py", config)
    folder.mkdir()
    message = fail("train.py", config)
    assert str(folder) in message and "no image" in message.lower()


def test_an_unreadable_image_is_named(tmp_path: Path, data: Path, fail: Call) -> None:
    (data / "broken.jpg").write_bytes(b"this is no JPEG")
    message = fail("train.py", write_config(tmp_path, data))
    assert str(data / "broken.jpg") in message and "max_broken" in message


def test_an_image_size_that_the_patch_does_not_divide(
    tmp_path: Path, data: Path, fail: Call
) -> None:
    config = write_config(tmp_path, data)
    message = fail("train.py", config, "--cfg-options", "model.encoder.image_size=30")
    assert "30x30" in message and "patches of 8" in message
    text = config.read_text().replace("size=32, scale", "size=36, scale")
    config.write_text(text)
    message = fail("train.py", config)
    assert "View 0 of the training pipeline" in message and "36x36" in message


def test_an_image_size_that_no_crop_has(tmp_path: Path, data: Path, fail: Call) -> None:
    config = write_config(tmp_path, data)
    error = fail("train.py", config, "--cfg-options", "model.encoder.image_size=64")
    assert "64x64" in error and "they are 32x32" in error and "image_size" in error


def test_unknown_keys_of_modules_and_of_the_config(tmp_path: Path, data: Path, fail: Call) -> None:
    config = write_config(tmp_path, data)
    message = fail("train.py", config, "--cfg-options", "model.encoder.drop_paht=0.1")
    assert "ViT has no argument 'drop_paht': did you mean 'drop_path'?" in message
    message = fail("train.py", config, "--cfg-options", "optim_wrapprr.clip=1")
    assert "'optim_wrapprr', which nothing reads: did you mean 'optim_wrapper'?" in message
    message = fail("train.py", config, "--cfg-options", "train_dataloader.sampler.shufle=1")
    assert "EpochSampler has no argument 'shufle'" in message
    message = fail("train.py", config, "--cfg-options", "custom_hooks.0.type=MomentumHook")
    assert "MomentumHook is not in the mmvitssl::hook registry" in message


def test_pretrained_checkpoints_that_do_not_fit(tmp_path: Path, data: Path, fail: Call) -> None:
    config = write_config(tmp_path, data)
    wide = dict(embed_dim=32, depth=5, num_heads=2)
    other = checkpoint(config, tmp_path / "other.pth", arch=wide)
    message = fail("train.py", config, "--pretrained", other)
    assert str(other) in message and "blocks.4" in message
    junk = tmp_path / "junk.pth"
    junk.write_bytes(b"not a checkpoint")
    assert f"{junk} is not a checkpoint" in fail("train.py", config, "--pretrained", junk)
    message = fail("train.py", config, "--pretrained", tmp_path / "gone.pth")
    assert f"no checkpoint at {tmp_path / 'gone.pth'}" in message


def test_resuming_from_another_model_or_nothing(tmp_path: Path, data: Path, fail: Call) -> None:
    config = write_config(tmp_path, data)
    wide = dict(embed_dim=32, depth=5, num_heads=2)
    other = checkpoint(config, tmp_path / "other.pth", arch=wide)
    message = fail("train.py", config, "--resume", other)
    assert "does not fit this model" in message and "encoder.blocks.4" in message
    assert "no checkpoint" in fail("train.py", config, "--resume", tmp_path / "gone.pth")


def test_switches_that_this_machine_or_config_cannot_serve(
    tmp_path: Path, data: Path, fail: Call
) -> None:
    config = write_config(tmp_path, data)
    if not torch.cuda.is_available():
        assert "needs a CUDA GPU" in fail("train.py", config, "--amp", "fp16")
        assert "needs GPUs" in fail("train.py", config, "--launcher", "mpi")
    text = config.read_text()
    config.write_text(text.replace("auto_scale_lr = dict(base_batch_size=64, enable=False)", ""))
    assert "base_batch_size" in fail("train.py", config, "--auto-scale-lr")
    config.write_text(text.replace("train_dataloader", "val_dataloader"))
    assert "has no train_dataloader" in fail("train.py", config)


def test_evaluation_is_strict_about_the_checkpoint(tmp_path: Path, data: Path, fail: Call) -> None:
    config = write_config(tmp_path, data)
    path = checkpoint(config, tmp_path / "whole.pth")
    state = torch.load(path)["state_dict"]
    del state["encoder.blocks.1.norm1.weight"]
    state["encoder.head.weight"] = torch.ones(1)
    torch.save({"state_dict": state}, path)
    message = fail("test.py", config, path)
    assert "misses 1 of" in message and "encoder.blocks.1.norm1.weight" in message
    assert "no place: encoder.head.weight" in message
    assert "must end in .json" in fail("test.py", config, path, "--out", "results.txt")
    assert "no checkpoint at" in fail("test.py", config, tmp_path / "gone.pth")
