"""tools/visualize.py and tools/parity.py as real processes."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from mmvitssl.demo.photographs import read_photograph
from mmvitssl.models.tokenizers import DiscreteVAE, save_tokenizer
from mmvitssl.registry import MODELS
from tests.test_tools.programs import ROOT, run
from tests.test_tools.test_masked_pretraining import METHODS, write_config

FIXTURES = ROOT / "tests/data/parity"
TOOL = ROOT / "tools/visualize.py"


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("photographs")
    paths = [folder / f"{name}.png" for name in ("chelsea", "coffee")]
    for path in paths:
        Image.fromarray(read_photograph(path.stem)).save(path)
    return paths


def checkpoint(config: Path, out: Path) -> Path:
    model = MODELS.build(Config.fromfile(config).model)
    torch.save({"state_dict": model.state_dict()}, out)
    return out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "columns"), [("mae", 3), ("lomar", 3), ("beit", 4), ("cae", 5), ("cae-rgb", 4)]
)
def test_reconstructions_are_drawn(
    name: str, columns: int, photographs: list[Path], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    tokenizer = DiscreteVAE(vocabulary=32, hidden=8, codes=4, blocks=1)
    path = save_tokenizer(tokenizer, tmp_path / "tokenizer.safetensors")
    config = write_config(tmp_path, name, photographs[0].parent, path)
    weights = checkpoint(config, tmp_path / "model.pth")
    done = run(
        sys.executable, TOOL, "reconstruction", config, weights, *photographs,
        "--out", tmp_path / "out",
    )  # fmt: skip
    (picture,) = (tmp_path / "out").glob("*.png")
    assert f"wrote {picture}" in done.stdout
    page = np.asarray(Image.open(picture))
    size = METHODS[name][1]
    assert page.shape[1] == columns * size + (columns - 1) * 4
    assert page.shape[0] > 2 * size + 4  # two rows below the captions
    original = page[-size:, :size]
    expected = Image.open(photographs[1])
    assert abs(original.mean() - np.asarray(expected).mean()) < 40
    masked = page[-size:, size + 4 : 2 * size + 4]
    assert not np.array_equal(original, masked)


@pytest.mark.slow
def test_what_is_wrong_is_said_in_words(photographs: list[Path], tmp_path: Path) -> None:
    config = write_config(tmp_path, "mae", photographs[0].parent)
    weights = checkpoint(config, tmp_path / "model.pth")
    other = write_config(tmp_path, "lomar", photographs[0].parent)
    cases = [
        ((config, weights, tmp_path / "none.png"), "There is no image"),
        ((other, weights, photographs[0]), "does not fit this model"),
        ((config, tmp_path / "none.pth", photographs[0]), "There is no checkpoint"),
    ]
    for arguments, message in cases:
        done = run(sys.executable, TOOL, "reconstruction", *arguments, ok=False)
        assert done.returncode == 2 and message in " ".join(done.stdout.split())
        assert "Traceback" not in done.stdout
    (tmp_path / "broken.png").write_bytes(photographs[0].read_bytes()[:500])
    done = run(
        sys.executable, TOOL, "reconstruction", config, weights, tmp_path / "broken.png", ok=False
    )
    assert done.returncode == 2 and "broken.png cannot be read" in " ".join(done.stdout.split())


@pytest.mark.slow
def test_parity_prints_a_line_a_file_and_fails_if_one_does(tmp_path: Path) -> None:
    files = [FIXTURES / f"{name}.npz" for name in ("mae", "lomar", "cae")]
    done = run(sys.executable, ROOT / "tools/parity.py", *files)
    lines = done.stdout.strip().splitlines()
    assert [line.split()[0] for line in lines] == ["mae", "lomar", "cae"]
    assert all(
        line.endswith(" OK") and "max_abs_err=" in line and "loss_err=" in line for line in lines
    )
    with np.load(files[0]) as content:
        arrays = {name: content[name] for name in content.files}
    arrays["loss_norm_pix"] = arrays["loss_norm_pix"] + 1e-3
    np.savez(tmp_path / "wrong.npz", **arrays)
    done = run(sys.executable, ROOT / "tools/parity.py", files[1], tmp_path / "wrong.npz", ok=False)
    assert done.returncode == 1
    assert [line.split()[-1] for line in done.stdout.strip().splitlines()] == ["OK", "FAIL"]
    assert json.loads(str(arrays["meta"]))["method"] == "mae"
    shutil.copy(TOOL, tmp_path / "text.npz")
    done = run(sys.executable, ROOT / "tools/parity.py", tmp_path / "text.npz", ok=False)
    assert done.returncode == 2 and "no .npz file" in done.stdout
