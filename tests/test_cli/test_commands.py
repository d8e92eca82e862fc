"""The other commands of the program."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from mmengine.config import Config

from mmvitssl import cli
from mmvitssl.apis.recipes import find_recipe
from mmvitssl.cli import doctor
from tests.test_cli.test_apis import checkpoint, images  # noqa: F401
from tests.test_tools.programs import write_config

Call = Callable[..., tuple[int, str]]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run the program in this process: its exit status and all that it printed."""

    def run(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["mmvitssl", *map(str, arguments)])
        try:
            cli.main()
            status = 0
        except SystemExit as ended:
            status = int(ended.code or 0)
        output = capsys.readouterr()
        return status, output.out + output.err

    return run


def test_help_lists_every_command_and_a_wrong_one_has_a_hint(call: Call) -> None:
    status, text = call("--help")
    assert status == 0 and all(f"  {name} " in text for name in cli.COMMANDS)
    assert call()[0] == 2
    status, text = call("pretrian")
    assert status == 2 and "did you mean pretrain" in text
    for name in cli.COMMANDS:
        status, text = call(name, "--help")
        assert status == 0 and f"usage: mmvitssl {name}" in text


def test_config_prints_python_that_says_the_same(call: Call, tmp_path: Path) -> None:
    recipe = find_recipe("mae", "vit-small")
    status, text = call("config", recipe.stem, "--cfg-options", "train_cfg.max_epochs=7")
    assert status == 0
    (tmp_path / "printed.py").write_text(text)
    printed, read = Config.fromfile(tmp_path / "printed.py"), Config.fromfile(recipe)
    assert printed.train_cfg.max_epochs == 7 and printed.model == read.model
    status, text = call("config", "no/such")
    assert status == 2 and "There is no config" in text


def test_models_are_listed_with_what_is_published(call: Call) -> None:
    status, text = call("models", "repre-mocov3_vit-small")
    assert status == 0 and "linear top-1 73.2" in text
    status, text = call("models", "nothing-like-it")
    assert status == 2 and "nothing-like-it" in text


def test_summary_counts_parameters_and_flops(call: Call) -> None:
    status, text = call("summary", find_recipe("mae", "vit-base"), "--no-step")
    assert status == 0
    assert "85." in text and "tasks.masked" in text
    assert "encoder: 35." in text or "encoder: 33." in text  # GFLOPs: 2 x 17.6 G multiply-adds


def test_knn_of_a_labelled_folder(
    call: Call, checkpoint: Path, images: Path, tmp_path: Path  # noqa: F811
) -> None:  # fmt: skip
    out = tmp_path / "knn.json"
    status, text = call("knn", images, "--from", checkpoint, "--out", out)
    assert status == 0 and "2 classes; 4 images to compare with, 2 queries" in text
    assert "knn_4" in out.read_text()
    for name in ("train", "val"):
        shutil.copytree(images, tmp_path / "split" / name)
    status, text = call("knn", tmp_path / "split", "--from", checkpoint)
    assert status == 0 and "2 classes; 6 images to compare with, 6 queries" in text
    assert "knn_1" in text and "100.0" in text  # the same images
    renamed = next((tmp_path / "split/val").iterdir())
    renamed.rename(renamed.with_name("other"))
    status, text = call("knn", tmp_path / "split", "--from", checkpoint)
    assert status == 2 and "has classes that train lacks: other" in text
    flat = tmp_path / "flat"
    flat.mkdir()
    shutil.copy(next(images.rglob("*.jpg")), flat)
    status, text = call("knn", flat, "--from", checkpoint)
    assert status == 2 and "has no class folders" in text
    assert call("knn", images)[0] == 2  # no checkpoint


def test_doctor_finds_what_is_wrong_with_data_and_says_the_mend(
    call: Call, images: Path, tmp_path: Path  # noqa: F811
) -> None:  # fmt: skip
    good = write_config(tmp_path, images)
    status, text = call("doctor", good)
    assert status == 0 and "nothing is wrong" in text
    assert "test_dataloader.dataset.root: 6 images" in text
    for key in ("Python", "torch ", "torchvision", "memory", "disk"):
        assert key in text
    status, text = call("doctor", write_config(tmp_path, tmp_path / "nowhere"))
    assert (
        status == 1 and "WRONG" in text and "--cfg-options train_dataloader.dataset.root=" in text
    )
    broken = tmp_path / "broken"
    shutil.copytree(images, broken)
    (broken / "cat" / "0.jpg").write_bytes(b"no image")
    status, text = call("doctor", write_config(tmp_path, broken))
    assert status == 1 and "0.jpg" in text and "1 thing(s) to mend" in text
    status, text = call("doctor", "no/such.py")
    assert status == 1 and "There is no config file" in text


def test_doctor_knows_the_faults_of_machines(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr(doctor, "shared_memory", lambda: 64 * 2**20)
    monkeypatch.setattr(doctor.sys, "version_info", (3, 9, 1))
    monkeypatch.setattr(
        doctor.importlib.util, "find_spec",
        lambda name: None if name in ("timm", "mmdet", "mmcv") else object(),
    )  # fmt: skip
    status, text = call("doctor")
    assert status == 1
    assert "Python 3.9.1" in text and "--shm-size" in text
    assert "pip install timm" in text and "pip install 'mmvitssl[transfer]'" in text
    assert "2 thing(s) to mend" in text
