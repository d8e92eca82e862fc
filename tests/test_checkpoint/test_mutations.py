"""Damaged and altered checkpoints: refused, or loaded as what they were."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from mmvitssl.checkpoint import CheckpointError, load_encoder, load_file
from mmvitssl.checkpoint.convert import import_file
from mmvitssl.checkpoint.description import Description
from mmvitssl.checkpoint.own import write_own
from mmvitssl.checkpoint.self_described import rebuild_encoder
from mmvitssl.checkpoint.sums import add_sums
from mmvitssl.models.backbones import ViT
from mmvitssl.models.tokenizers import DiscreteVAE, load_tokenizer, save_tokenizer
from tests.test_checkpoint.mutations import (
    OF_BYTES,
    OF_CONTENT,
    UNSEEN,
    NotApplicableError,
    rewritten,
)
from tests.test_checkpoint.test_formats import timm_vit

ARCH = dict(embed_dim=64, depth=2, num_heads=4)
SETTINGS: dict[str, Any] = dict(type="ViT", arch=ARCH, image_size=16, patch_size=8)
BARE = {key: value for key, value in SETTINGS.items() if key != "type"}
SEEDS = [range(30), pytest.param(range(30, 760), marks=pytest.mark.long)]
Read = Callable[[Path], dict[str, Tensor]]


def trained() -> dict[str, Tensor]:
    """The encoder's weights as they are after some training: nothing is zero or one."""
    torch.manual_seed(0)
    state = {}
    for key, value in ViT(**BARE).state_dict().items():
        centre = 1.0 if "norm" in key and key.endswith("weight") else 0.0
        state[f"encoder.{key}"] = centre + 0.05 * torch.randn(value.shape)
    return state


def loaded(path: Path) -> dict[str, Tensor]:
    encoder = ViT(**BARE)
    load_encoder(encoder, path, log=lambda line: None)
    return encoder.state_dict()


def rebuilt(path: Path) -> dict[str, Tensor]:
    encoder: Any = rebuild_encoder(path, log=lambda line: None)[0]
    # the number of heads is in no tensor
    return {**encoder.state_dict(), "heads": torch.tensor(encoder.blocks[0].attn.num_heads)}


def imported(path: Path) -> dict[str, Tensor]:
    out = path.with_name("imported.pth")
    import_file(path, out)
    return loaded(out)


def write_torch(folder: Path) -> Path:
    """As a training writes it."""
    content: dict[str, Any] = {
        "meta": {"epoch": 1, "mmvitssl": Description(SETTINGS).to_json()},
        "state_dict": {**trained(), "tasks.masked.head.weight": torch.randn(4, 4)},
        "optimizer": {"state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.randn(8)}}},
    }
    add_sums(content)
    path = folder / "epoch_1.pth"
    torch.save(content, path)
    return path


def write_safetensors(folder: Path) -> Path:
    path = folder / "own.safetensors"
    write_own(trained(), path, Description(SETTINGS))
    return path


def write_tokenizer(folder: Path) -> Path:
    torch.manual_seed(0)
    model = DiscreteVAE(vocabulary=8, hidden=4, codes=4, blocks=1)
    return save_tokenizer(model, folder / "tokenizer.safetensors")


def write_timm(folder: Path) -> Path:
    torch.manual_seed(0)
    model = timm_vit(embed_dim=64, num_heads=4, img_size=16, num_classes=0)
    state = dict(model.state_dict())
    for key in state:
        if "norm" in key and key.endswith("weight"):
            state[key] = state[key] + 1
    path = folder / "timm.pth"
    torch.save(state, path)
    return path


OWN: dict[str, tuple[Callable[[Path], Path], tuple[Read, ...]]] = {
    "torch": (write_torch, (loaded, rebuilt)),
    "safetensors": (write_safetensors, (loaded, rebuilt, imported)),
    "tokenizer": (write_tokenizer, (lambda path: load_tokenizer(path).state_dict(),)),
}  # type: ignore[dict-item]


def change(path: Path, draw: random.Random) -> tuple[Any, Path]:
    """Do one thing to a file; returns what was done, and the file."""
    mutate = draw.choice((*OF_CONTENT, *OF_BYTES))
    out = path.with_name(f"mutated{path.suffix}")
    if mutate in OF_BYTES:
        data = bytearray(path.read_bytes())
        mutate(data, draw)  # type: ignore[arg-type]
        out.write_bytes(data)
    elif path.suffix == ".safetensors":
        with safe_open(str(path), "pt") as file:
            metadata = file.metadata()
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        mutate(state, draw)  # type: ignore[arg-type]
        save_file({key: value.clone() for key, value in state.items()}, str(out), metadata)
    else:
        content = torch.load(path, weights_only=True)
        state = content.get("state_dict", content)
        mutate(state, draw)  # type: ignore[arg-type]
        out.write_bytes(rewritten(content))
    return mutate, out


def outcome(read: Read, path: Path, expected: dict[str, Tensor]) -> str:
    """'refused', 'the same', or 'wrong'; anything but an error of ours is not caught."""
    try:
        found = read(path)
    except CheckpointError as error:
        assert str(path) in str(error) or "imported.pth" in str(error), error
        return "refused"
    same = found.keys() == expected.keys() and all(
        torch.equal(found[key], expected[key]) for key in expected
    )
    return "the same" if same else "wrong"


def judged(path: Path, reads: tuple[Read, ...], seeds: range) -> Counter[tuple[str, str]]:
    expected = [read(path) for read in reads]
    found: Counter[tuple[str, str]] = Counter()
    for seed in seeds:
        try:
            mutate, out = change(path, random.Random(seed))
        except NotApplicableError:
            continue
        for read, what in zip(reads, expected, strict=True):
            try:
                found[mutate.__name__, outcome(read, out, what)] += 1
            except Exception as error:
                raise AssertionError(f"seed {seed}: {mutate.__name__}") from error
    return found


@pytest.mark.parametrize("kind", OWN)
@pytest.mark.parametrize("seeds", SEEDS, ids=("short", "long"))
def test_no_altered_file_of_ours_is_accepted(tmp_path: Path, kind: str, seeds: range) -> None:
    write, reads = OWN[kind]
    found = judged(write(tmp_path), reads, seeds)
    wrong = {name: number for (name, what), number in found.items() if what == "wrong"}
    assert not wrong
    # the test would notice: most things that happen to a file change what is in it
    assert sum(n for (_, what), n in found.items() if what == "refused") > len(seeds) / 2


@pytest.mark.parametrize("seeds", SEEDS, ids=("short", "long"))
def test_outside_files_are_accepted_wrong_only_where_nothing_tells(
    tmp_path: Path, seeds: range
) -> None:
    found = judged(write_timm(tmp_path), (loaded,), seeds)
    unseen = {mutate.__name__ for mutate in UNSEEN}
    assert {name for (name, what) in found if what == "wrong"} <= unseen
    # torch's container has a CRC-32 of every tensor
    assert not any((mutate.__name__, "wrong") in found for mutate in OF_BYTES)


def test_each_kind_of_damage_is_named(tmp_path: Path) -> None:
    path = write_torch(tmp_path)
    content = torch.load(path, weights_only=True)
    content["state_dict"]["encoder.norm.bias"][0] += 1e-3
    (tmp_path / "value.pth").write_bytes(rewritten(content))
    with pytest.raises(CheckpointError, match=r"of state_dict/encoder\.norm\.bias differ"):
        load_file(tmp_path / "value.pth")
    own = write_safetensors(tmp_path)
    with safe_open(str(own), "pt") as file:
        said = json.loads(file.metadata()["mmvitssl"])
        state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    said["encoder"]["arch"]["num_heads"] = 8  # gives other features from the same weights
    save_file(state, str(own), {"mmvitssl": json.dumps(said)})
    with pytest.raises(CheckpointError, match="checksums of the metadata differ"):
        rebuild_encoder(own)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.update({"norm.weight": s["norm.weight"] * 1e6}), r"norm\.weight \(.*e\+05"),
        (lambda s: s.update({"blocks.0.mlp.fc1.weight": s["blocks.0.mlp.fc1.weight"] * 0}), "0e"),
        (lambda s: s.update({"cls_token": s["cls_token"].to(torch.int64)}), "int64 in the file"),
        (
            lambda s: s.update({
                "norm.weight": s["norm.bias"], "norm.bias": s["norm.weight"]
            }), "in the place of its bias",
        ),
    ],
)  # fmt: skip
def test_weights_of_no_trained_encoder(
    tmp_path: Path, change: Callable[[dict[str, Tensor]], None], words: str
) -> None:
    state = {key.removeprefix("encoder."): value for key, value in trained().items()}
    change(state)
    torch.save(state, tmp_path / "encoder.pth")
    with pytest.raises(CheckpointError, match=words):
        loaded(tmp_path / "encoder.pth")


def test_half_precision_is_taken(tmp_path: Path) -> None:
    state = {key: value.bfloat16() for key, value in trained().items()}
    torch.save({"state_dict": state}, tmp_path / "half.pth")
    found = loaded(tmp_path / "half.pth")
    assert all(torch.equal(found[k.removeprefix("encoder.")], v.float()) for k, v in state.items())
