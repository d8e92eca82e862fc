"""tools/visualize.py and tools/parity.py as real processes."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from demo.photographs import read_photograph
from mmvitssl.engine import launch
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


ENCODER = dict(
    type="ViT", arch=dict(embed_dim=32, depth=2, num_heads=2), image_size=32, patch_size=8
)


def encoder_checkpoint(out: Path, encoder: dict[str, Any] = ENCODER) -> Path:
    """An encoder with the config that MMEngine keeps beside the weights."""
    state = MODELS.build(encoder).state_dict()
    text = Config(dict(model=dict(type="Pretrainer", encoder=encoder))).pretty_text
    weights = {f"encoder.{key}": tensor for key, tensor in state.items()}
    torch.save({"meta": {"cfg": text}, "state_dict": weights}, out)
    return out


class Program:
    """The program in this process, whose start takes longer than most of what is tested."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
        self.monkeypatch, self.capsys = monkeypatch, capsys
        spec = importlib.util.spec_from_file_location("visualize", TOOL)
        assert spec is not None and spec.loader is not None
        self.module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.module)

    def _run(self, arguments: tuple[str | Path, ...]) -> None:
        argv = ["visualize.py", *(str(argument) for argument in arguments)]
        self.monkeypatch.setattr(sys, "argv", argv)
        launch.run_or_explain(self.module.main)

    def pictures(self, *arguments: str | Path) -> list[Path]:
        """What the program says that it wrote."""
        self._run(arguments)
        lines = self.capsys.readouterr().out.splitlines()
        files = [Path(line[6:]) for line in lines if line.startswith("wrote ")]
        assert files and all(Image.open(path).size[0] > 100 for path in files)
        return files

    def refused(self, *arguments: str | Path) -> str:
        """The words in which it ends."""
        with pytest.raises(SystemExit) as ended:
            self._run(arguments)
        assert ended.value.code == 2
        return " ".join(self.capsys.readouterr().err.split())


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Program:
    return Program(monkeypatch, capsys)


def test_attention_needs_a_checkpoint_and_images_only(
    program: Program, photographs: list[Path], tmp_path: Path
) -> None:
    weights = encoder_checkpoint(tmp_path / "last.pth")
    (tmp_path / "other").mkdir()
    again = Path(shutil.copy(photographs[0], tmp_path / "other"))
    files = program.pictures(
        "attention", weights, *photographs, again, "--out", tmp_path / "out", "--block", "0",
        "--size", "48", "--keep", "0.5",
    )  # fmt: skip
    assert [path.name for path in files] == ["chelsea_0.png", "coffee.png", "chelsea_2.png"]
    assert program.refused("attention", weights, photographs[0], "--block", "2").count(
        "blocks 0..1"
    )
    assert "in (0, 1]" in program.refused("attention", weights, photographs[0], "--keep", "60")
    bare = tmp_path / "bare.pth"
    torch.save({"state_dict": torch.load(weights)["state_dict"]}, bare)
    told = program.refused("attention", bare, photographs[0])
    assert "describe the encoder in a config of yours (--config FILE)" in told
    swin = dict(
        type="SwinTransformer", arch=dict(embed_dim=16, depths=(2,), num_heads=(2,)),
        image_size=32, window_size=4,
    )  # fmt: skip
    error = program.refused(
        "attention", encoder_checkpoint(tmp_path / "swin.pth", swin), photographs[0]
    )
    assert "SwinTransformer has no class token" in error


def test_attention_of_a_probe(program: Program, photographs: list[Path], tmp_path: Path) -> None:
    head = dict(type="AttentiveHead", num_classes=3, num_heads=2)
    for name, more in (("probe", head), ("linear", dict(type="LinearHead", num_classes=3))):
        model = dict(type="ImageClassifier", encoder=ENCODER, head=more)
        config = tmp_path / f"{name}.py"
        config.write_text(f"default_scope = 'mmvitssl'\nmodel = {model!r}\n")
        checkpoint(config, tmp_path / f"{name}.pth")
    given = [tmp_path / "probe.pth", photographs[1], "--probe"]
    program.pictures(
        "attention", *given, "--config", tmp_path / "probe.py", "--out", tmp_path / "out"
    )
    assert "--probe needs --config" in program.refused("attention", *given)
    given = [tmp_path / "linear.pth", photographs[1], "--probe"]
    error = program.refused("attention", *given, "--config", tmp_path / "linear.py")
    assert "LinearHead does not attend" in error


def test_embedding_of_a_folder_with_classes(
    program: Program, photographs: list[Path], tmp_path: Path
) -> None:
    generator = np.random.default_rng(0)
    for name, colour in (("red", (255, 0, 0)), ("blue", (0, 0, 255))):
        for i in range(8):
            (tmp_path / "data" / name).mkdir(parents=True, exist_ok=True)
            pixels = (0.5 * np.array(colour) + 127 * generator.random((32, 32, 3))).astype("uint8")
            Image.fromarray(pixels).save(tmp_path / f"data/{name}/{i}.png")
    config = tmp_path / "knn.py"
    config.write_text(f"""
encoder = {ENCODER!r}
pipeline = [
    dict(type='LoadImage'),
    dict(type='MultiView', views=[dict(transforms=[dict(type='CenterCrop', size=32)])]),
    dict(type='PackViews')]
queries = dict(type='LabelledFolder', root='{tmp_path}/data', pipeline=pipeline)
bank = dict(type='ImageFolder', root='{tmp_path}/data', pipeline=pipeline)
""")
    weights = encoder_checkpoint(tmp_path / "last.pth")
    files = program.pictures(
        "embedding", config, weights, "--data", "queries", "bank", "--images", "12",
        "--thumbnails", "--out", tmp_path / "out",
    )  # fmt: skip
    assert [path.name for path in files] == ["queries_tsne.png", "bank_tsne.png"]
    error = program.refused("embedding", config, "random", "--data", "test")
    assert f"{config} has no test" in error


def test_curves_of_two_runs(program: Program, tmp_path: Path) -> None:
    for name in ("a", "b"):
        log = tmp_path / name / "20260101_000000/vis_data/scalars.json"
        log.parent.mkdir(parents=True)
        lines = [dict(loss=1 / i, raw_masked=2.0, iter=i, step=i) for i in range(1, 5)]
        log.write_text("\n".join(map(json.dumps, lines)))
    runs = [tmp_path / "a", tmp_path / "b"]
    files = program.pictures("curves", *runs, "--smooth", "0.5", "--out", tmp_path / "out")
    assert [path.name for path in files] == ["overview.png", "loss.png", "raw_masked.png"]
    assert "No scalars.json below" in program.refused("curves", tmp_path / "c")
    assert "smoothing must lie" in program.refused("curves", *runs, "--smooth", "1")
