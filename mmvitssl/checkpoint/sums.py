"""Checksums of what a checkpoint holds, written with it and compared when it is read."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

SUMS = "checksums"  # in the meta of a checkpoint
SHOWN = 3


def tensors_of(content: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """All plain tensors in nested dicts, lists and tuples, by path: ``optimizer/state/0/step``."""
    if type(content) in (Tensor, torch.nn.Parameter):
        yield name, content.detach()
    elif isinstance(content, Mapping):
        for key, value in content.items():
            yield from tensors_of(value, f"{name}/{key}" if name else str(key))
    elif isinstance(content, (list, tuple)):
        for number, value in enumerate(content):
            yield from tensors_of(value, f"{name}/{number}")


def checksum(tensor: Tensor) -> str:
    """BLAKE2b of type, shape and values, 64 bits in hexadecimal digits."""
    digest = hashlib.blake2b(f"{tensor.dtype} {tuple(tensor.shape)}".encode(), digest_size=8)
    if tensor.numel() and tensor.layout == torch.strided:
        flat = tensor.cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def add_sums(content: dict[str, Any]) -> None:
    """Put the checksum of every tensor into ``meta``; called right before writing."""
    sums = {name: checksum(tensor) for name, tensor in tensors_of(content)}
    content.setdefault("meta", {})[SUMS] = sums


def take_sums(content: dict[str, Any]) -> list[str]:
    """Compare the tensors of a checkpoint with its checksums, which are taken out of ``meta``.

    Parts that were left out as a whole, such as the state of the optimizer, are not missed.

    Returns:
        Names of tensors that differ, are missing or were added; none for files without checksums.
    """
    meta = content.get("meta")
    sums = meta.pop(SUMS, None) if isinstance(meta, dict) else None
    if not isinstance(sums, dict):
        return []
    found = {name: tensor for name, tensor in tensors_of(content) if name.split("/")[0] != "meta"}
    expected = {n: value for n, value in sums.items() if str(n).split("/")[0] in content}
    names = [*expected, *(name for name in found if name not in expected)]
    return [
        name
        for name in names
        if name not in found or name not in expected or checksum(found[name]) != expected[name]
    ]


def damaged_records(path: Path) -> list[str]:
    """Records of a file of ``torch.save``, beside tensors, that differ from their CRC-32.

    torch does not look at it. These records hold names, shapes and all that is no tensor.
    """
    if not zipfile.is_zipfile(path):
        return []
    damaged = []
    with zipfile.ZipFile(path) as archive:
        records = archive.infolist()
        if len({record.CRC for record in records}) == 1:
            return []  # written without
        for record in records:
            if "/data/" in record.filename:
                continue
            try:
                archive.read(record)
            except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError):
                damaged.append(record.filename)
    return damaged


def damage_of_file(path: Path) -> str:
    """What in a file of ``torch.save``, beside tensors, was changed since; empty: nothing."""
    try:
        records = damaged_records(path)
    except (zipfile.BadZipFile, ValueError, EOFError, OSError) as error:
        return f"its table of contents cannot be read ({error})"
    return f"{', '.join(records)} differs from its CRC-32" if records else ""


def damage_of_tensors(content: dict[str, Any]) -> str:
    """Which tensors of a checkpoint were changed since it was written; empty: none."""
    names = take_sums(content)
    if not names:
        return ""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"the checksums of {', '.join(names[:SHOWN])}{more} differ"
