"""tools/checkpoint.py as real processes, on files as other programs write them."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from mmvitssl.checkpoint import load_file
from mmvitssl.models.tokenizers import load_tokenizer
from parity import Fixture
from tests.test_tools.programs import ROOT, run

FIXTURES = ROOT / "tests/data/parity"

# DALL-E's own package in small, with the structure and the names of its pickled modules
DALL_E = {
    "__init__.py": """
import pathlib
pathlib.Path(__file__).with_name("imported").touch()
from dall_e.decoder import Decoder
from dall_e.encoder import Encoder
""",
    "utils.py": """
import math
import torch
import torch.nn as nn
import torch.nn.functional as F

class Conv2d(nn.Module):
    def __init__(self, n_in, n_out, kw):
        super().__init__()
        self.n_in, self.n_out, self.kw = n_in, n_out, kw
        self.use_float16, self.device = True, torch.device("cpu")
        w = torch.empty(n_out, n_in, kw, kw)
        self.w = nn.Parameter(w.normal_(std=1 / math.sqrt(n_in * kw**2)))
        self.b = nn.Parameter(torch.randn(n_out) / 10)

    def forward(self, x):
        return F.conv2d(x, self.w, self.b, padding=(self.kw - 1) // 2)

class Block(nn.Module):
    def __init__(self, n_in, n_out, n_layers, kernels):
        super().__init__()
        n_hid = n_out // 4
        self.post_gain = 1 / n_layers**2
        self.id_path = Conv2d(n_in, n_out, 1) if n_in != n_out else nn.Identity()
        self.res_path = nn.Sequential()
        for i, kw in enumerate(kernels):
            self.res_path.add_module(f"relu_{i + 1}", nn.ReLU())
            conv = Conv2d(n_in if i == 0 else n_hid, n_out if i == 3 else n_hid, kw)
            self.res_path.add_module(f"conv_{i + 1}", conv)

    def forward(self, x):
        return self.id_path(x) + self.post_gain * self.res_path(x)

def build(n_in, n_init, kw, factors, n_hid, n_out, block, between):
    blocks = nn.Sequential()
    blocks.add_module("input", Conv2d(n_in, n_init, kw))
    for g, factor in enumerate(factors):
        group = nn.Sequential()
        for i in range(2):
            group.add_module(f"block_{i + 1}", block(n_init, factor * n_hid, 8))
            n_init = factor * n_hid
        if g < 3:
            group.add_module(*between)
        blocks.add_module(f"group_{g + 1}", group)
    output = nn.Sequential()
    output.add_module("relu", nn.ReLU())
    output.add_module("conv", Conv2d(n_init, n_out, 1))
    blocks.add_module("output", output)
    return blocks
""",
    "encoder.py": """
import torch.nn as nn
from dall_e.utils import Block, build

class EncoderBlock(Block):
    def __init__(self, n_in, n_out, n_layers):
        super().__init__(n_in, n_out, n_layers, (3, 3, 3, 1))

class Encoder(nn.Module):
    def __init__(self, n_hid, vocab_size):
        super().__init__()
        pool = ("pool", nn.MaxPool2d(kernel_size=2))
        self.blocks = build(3, n_hid, 7, (1, 2, 4, 8), n_hid, vocab_size, EncoderBlock, pool)

    def forward(self, x):
        return self.blocks(x)
""",
    "decoder.py": """
import torch.nn as nn
from dall_e.utils import Block, build

class DecoderBlock(Block):
    def __init__(self, n_in, n_out, n_layers):
        super().__init__(n_in, n_out, n_layers, (1, 3, 3, 3))

class Decoder(nn.Module):
    def __init__(self, n_init, n_hid, vocab_size):
        super().__init__()
        up = ("upsample", nn.Upsample(scale_factor=2, mode="nearest"))
        self.blocks = build(vocab_size, n_init, 1, (8, 4, 2, 1), n_hid, 6, DecoderBlock, up)

    def forward(self, x):
        return self.blocks(x)
""",
}
# writes the pickled modules, and what they make of two pictures
PICKLE = """
import sys
import torch
import torch.nn.functional as F
from dall_e import Decoder, Encoder

folder = sys.argv[1]
torch.manual_seed(0)
encoder, decoder = Encoder(64, 512), Decoder(32, 64, 512)
pictures = F.interpolate(torch.rand(2, 3, 4, 6), scale_factor=8)  # a colour a token
with torch.no_grad():
    bias = encoder.blocks.output.conv.b  # untrained, a few ids would win everywhere
    bias -= encoder(0.8 * pictures + 0.1).mean(dim=(0, 2, 3))
    ids = encoder(0.8 * pictures + 0.1).argmax(dim=1)
    colours = decoder(F.one_hot(ids, 512).permute(0, 3, 1, 2).float())[:, :3].sigmoid()
torch.save(encoder, f"{folder}/encoder.pkl")
torch.save(decoder, f"{folder}/decoder.pkl")
again = ((colours - 0.1) / 0.8).clamp(0, 1)
torch.save({"pictures": pictures, "ids": ids, "again": again}, f"{folder}/expected.pth")
"""


def checkpoint(*arguments: str | Path, **settings: Any) -> subprocess.CompletedProcess[str]:
    return run(sys.executable, ROOT / "tools/checkpoint.py", *arguments, **settings)


def refused(*arguments: str | Path, **env: str) -> str:
    """The one paragraph in which the program ends."""
    done = checkpoint(*arguments, ok=False, **env)
    assert done.returncode == 2, done.stdout
    paragraph, hint, *rest = done.stdout[done.stdout.index("error: ") :].splitlines()
    assert "MMVITSSL_TRACEBACK" in hint and not rest and "Traceback" not in done.stdout
    return paragraph


def official_file(method: str, path: Path) -> Path:
    """A file as the official programs save it."""
    state = Fixture.load(FIXTURES / f"{method}.npz").state
    args = argparse.Namespace(model=method, lr=1e-3, output_dir="out", distributed=False)
    torch.save({"model": state, "args": args, "epoch": 1}, path)
    return path


@pytest.fixture(scope="module")
def dall_e(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with DALL-E's pickled encoder and decoder, and its package."""
    return write_dall_e(tmp_path_factory.mktemp("dalle"))


def write_dall_e(folder: Path) -> Path:
    (folder / "dall_e").mkdir()
    for name, source in DALL_E.items():
        (folder / "dall_e" / name).write_text(source)
    (folder / "pickle_modules.py").write_text(PICKLE)
    run(sys.executable, folder / "pickle_modules.py", folder, PYTHONPATH=str(folder))
    (folder / "dall_e/imported").unlink()
    return folder


def test_inspect_says_the_format_and_counts(tmp_path: Path) -> None:
    cae = official_file("cae", tmp_path / "cae.pth")
    lomar = official_file("lomar", tmp_path / "lomar.pth")
    printed = checkpoint("inspect", cae, lomar).stdout
    first, second = printed[: printed.index(f"{lomar}: ")], printed[printed.index(f"{lomar}: ") :]
    for text, path, method, words in (
        (first, cae, "cae", "lxtGH/CAE"),
        (second, lomar, "lomar", "junchen14/LoMaR"),
    ):
        state = load_file(path)["model"]
        total = sum(tensor.numel() for tensor in state.values())
        assert f"{path}: format {method} ({words}" in text
        assert f"{len(state)} tensors, {total:,} values, float32" in text
        assert "patches of 8 pixels, width 48" in text
        assert "entries of the file: model, args, epoch" in text
    taught = [tensor for key, tensor in load_file(cae)["model"].items() if "teacher." in key]
    size = sum(tensor.numel() for tensor in taught)
    assert f"  teacher: {len(taught)} tensors, {size:,} values" in first


def test_import_then_export_gives_the_official_weights_back(tmp_path: Path) -> None:
    path = official_file("lomar", tmp_path / "lomar.pth")
    ours, again = tmp_path / "new folder/ours.pth", tmp_path / "again.pth"
    state = load_file(path)["model"]
    printed = checkpoint("import", path, ours).stdout
    assert f"used {len(state) - 1} tensors" in printed
    assert "kept for export (LoMaR's code has a position table and never adds it)" in printed
    assert "not weights, left out: args, epoch" in printed
    printed = checkpoint("export", ours, again, "--format", "lomar").stdout
    assert f"wrote {len(state)} tensors" in printed
    exported = load_file(again)
    assert list(exported) == ["model"] and sorted(exported["model"]) == sorted(state)
    for key, tensor in state.items():
        assert exported["model"][key].dtype == tensor.dtype
        assert torch.equal(exported["model"][key], tensor)


def test_a_missing_file_ends_in_words(tmp_path: Path) -> None:
    path = tmp_path / "nothing.pth"
    assert refused("inspect", path) == f"error: There is no checkpoint at {path}."


def test_a_wrong_format_ends_in_words(tmp_path: Path) -> None:
    path, out = official_file("mae", tmp_path / "mae.pth"), tmp_path / "out.pth"
    error = refused("import", path, out, "--format", "lomar")
    assert "no checkpoint of the format 'lomar'" in error and "decoder_embed.weight" in error
    assert not out.exists()


def test_an_unknown_file_ends_in_words(tmp_path: Path) -> None:
    path, out = tmp_path / "resnet.pth", tmp_path / "out.pth"
    torch.save({"state_dict": {"layer1.0.conv1.weight": torch.ones(1)}}, path)
    error = refused("import", path, out)
    assert f"{path} is of no format that is known here" in error
    assert "lomar" in error and "layer1.0.conv1.weight" in error and not out.exists()


def test_dalles_pickles_run_nothing_without_trust(dall_e: Path, tmp_path: Path) -> None:
    out = tmp_path / "dalle.safetensors"
    # the package is there, so that code in the file could run
    places = f"{ROOT}:{dall_e}"
    error = refused("convert-dalle", dall_e / "encoder.pkl", out, PYTHONPATH=places)
    assert "reading them runs code" in error and "--trust" in error
    assert str(dall_e / "encoder.pkl") in error
    assert not out.exists() and not (dall_e / "dall_e/imported").exists()


def test_dalles_pickles_become_a_tokenizer(dall_e: Path, tmp_path: Path) -> None:
    out = tmp_path / "dalle.safetensors"
    decoder = ("--decoder", dall_e / "decoder.pkl")
    printed = checkpoint("convert-dalle", dall_e / "encoder.pkl", out, *decoder, "--trust").stdout
    assert f"wrote a tokenizer of 512 ids to {out}" in printed
    expected = load_file(dall_e / "expected.pth")
    assert len(expected["ids"].unique()) > 10
    tokenizer = load_tokenizer(out, vocabulary=512)
    with torch.no_grad():
        assert torch.equal(tokenizer.tokenize(expected["pictures"]), expected["ids"])
        again = tokenizer.decode(expected["ids"])
    assert again.std() > 0.01
    torch.testing.assert_close(again, expected["again"])
