"""Checksums of what a checkpoint holds, written with it and compared when it is read."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

SUMS = "checksums"  # in the meta of a checkpoint
SEAL = "checksum"  # of the metadata of a safetensors file
FORMAT, FORMAT_KEY = 1, "mmvitssl_format"  # raised when older versions would misread a file
SHOWN = 3
SPARE = 2**26  # bytes that a file may unpack to beside twice its own


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
    """Put format and the checksum of every tensor into ``meta``; called right before writing."""
    sums = {name: checksum(tensor) for name, tensor in tensors_of(content)}
    content.setdefault("meta", {}).update({SUMS: sums, FORMAT_KEY: FORMAT})


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


def unreadable_format(said: Any) -> str:
    """Why what a file says of itself cannot be read by this version; empty: it can.

    Files of before the format was written have none, and files of other programs neither.
    """
    number = said.get(FORMAT_KEY, FORMAT) if isinstance(said, Mapping) else FORMAT
    if isinstance(number, int) and 1 <= number <= FORMAT:
        return ""
    return (
        f"was written by a newer mmvitssl: its format is {number!r}, and this version reads "
        f"formats up to {FORMAT}. Install a newer one (pip install -U mmvitssl)"
    )


def seal(content: Mapping[str, Any], tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata of a safetensors file with the checksums of its tensors and of itself.

    Args:
        content: the metadata, of plain values.
        tensors: what is written beside it, as :func:`broken_seals` will find it.
    """
    sums = {name: checksum(tensor) for name, tensor in tensors_of(tensors)}
    sealed = {**content, FORMAT_KEY: FORMAT, SUMS: sums}
    return {**sealed, SEAL: _sum_of(sealed)}


def broken_seals(content: dict[str, Any], tensors: Mapping[str, Any]) -> list[str]:
    """What differs from its checksum in a file with sealed metadata; the sums are taken out.

    Files of earlier versions have none, and nothing differs.
    """
    said, sums = content.pop(SEAL, None), content.get(SUMS)
    names = ["the metadata"] if said is not None and said != _sum_of(content) else []
    content.pop(SUMS, None)
    content.pop(FORMAT_KEY, None)
    if said is None and sums is None:
        return []
    found = {name: checksum(tensor) for name, tensor in tensors_of(tensors)}
    expected = sums if isinstance(sums, dict) else {}
    every = [*expected, *(name for name in found if name not in expected)]
    return names + [name for name in every if found.get(name) != expected.get(name)]


def _sum_of(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def some_of(names: list[str]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def damaged_records(path: Path, tensors: bool = False) -> list[str]:
    """Records of a file of ``torch.save`` that differ from their CRC-32.

    torch does not look at it. Records beside tensors hold names, shapes and all that is no tensor.

    Args:
        path: of the file.
        tensors: whether the values of tensors are compared too.
    """
    if not zipfile.is_zipfile(path):
        return []
    damaged = []
    with zipfile.ZipFile(path) as archive:
        records = archive.infolist()
        if len({record.CRC for record in records}) == 1:
            return []  # written without
        for record in records:
            if "/data/" in record.filename and not tensors:
                continue
            try:
                archive.read(record)
            except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError):
                damaged.append(record.filename)
    return damaged


def unpacked_bytes(path: Path) -> int:
    """Bytes of all records of a file of ``torch.save``, which are not compressed; 0 for others."""
    if not zipfile.is_zipfile(path):
        return 0
    with zipfile.ZipFile(path) as archive:
        return sum(record.file_size for record in archive.infolist())


def damage_of_file(path: Path, tensors: bool = False) -> str:
    """What in a file of ``torch.save`` was changed since; empty: nothing.

    Args:
        path: of the file.
        tensors: whether the values of tensors are compared too.
    """
    try:
        size = unpacked_bytes(path)
        if size > 2 * path.stat().st_size + SPARE:
            return f"it would unpack to {size / 1e9:.1f} GB, a decompression bomb"
        records = damaged_records(path, tensors)
    except (zipfile.BadZipFile, ValueError, EOFError, OSError) as error:
        return f"its table of contents cannot be read ({error})"
    return f"{some_of(records)} differs from its CRC-32" if records else ""


def damage_of_tensors(path: Path, content: dict[str, Any]) -> str:
    """Which tensors of a checkpoint were changed since it was written; empty: none.

    Files of other programs have no checksums; their tensors are compared with the CRC-32 of the
    container.
    """
    meta = content.get("meta")
    if not isinstance(meta, dict) or SUMS not in meta:
        return damage_of_file(path, tensors=True)
    names = take_sums(content)
    return f"the checksums of {some_of(names)} differ" if names else ""
