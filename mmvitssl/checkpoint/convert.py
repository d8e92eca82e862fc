"""Checkpoint files from and to other code bases."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from mmvitssl.checkpoint.formats import FORMATS, Format, recognise
from mmvitssl.checkpoint.formats.masked import encoder_only
from mmvitssl.checkpoint.safe import CheckpointError, load_file
from mmvitssl.checkpoint.strict import PARTS, state_dict_of

State = dict[str, Tensor]


def _format(name: str | None, state: Mapping[str, Tensor], path: Path) -> Format:
    if name is not None:
        if name not in FORMATS:
            raise CheckpointError(f"--format {name} is unknown; use one of {sorted(FORMATS)}.")
        return FORMATS[name]
    found = recognise(state)
    if found is None:
        raise CheckpointError(
            f"{path} is of no format that is known here ({', '.join(sorted(FORMATS))}); its first "
            f"keys are {sorted(state)[:6]}."
        )
    return found


def _groups(state: Mapping[str, Tensor]) -> list[str]:
    counts: dict[str, list[int]] = {}
    for key, tensor in state.items():
        parts = key.split(".")
        name = ".".join(parts[:3] if parts[0] in ("tasks", "target") else parts[:1])
        entry = counts.setdefault(name, [0, 0])
        entry[0] += 1
        entry[1] += tensor.numel()
    return [f"  {name}: {n} tensors, {size:,} values" for name, (n, size) in counts.items()]


def inspect_file(path: str | Path) -> list[str]:
    """What a checkpoint holds, in lines."""
    path = Path(path)
    content = load_file(path)
    state = state_dict_of(content, path)
    found = recognise(state)
    words = f"{found.name} ({found.words})" if found else "this package's, or unknown"
    total = sum(tensor.numel() for tensor in state.values())
    types = sorted({str(tensor.dtype).removeprefix("torch.") for tensor in state.values()})
    others = [str(key) for key, value in content.items() if not isinstance(value, Tensor)]
    lines = [
        f"{path}: format {words}",
        f"{len(state)} tensors, {total:,} values, {', '.join(types)}",
        *_groups(state),
    ]
    patch = next((v for k, v in state.items() if k.endswith("patch_embed.proj.weight")), None)
    if patch is not None:
        lines.append(f"patches of {patch.shape[-1]} pixels, width {patch.shape[0]}")
    if others:
        lines.append(f"entries of the file: {', '.join(others)}")
    return lines


def import_file(path: str | Path, out: str | Path, name: str | None = None) -> list[str]:
    """Write a checkpoint of this package from an outside one; says what became of every key.

    Args:
        path: the outside checkpoint.
        out: the file to write.
        name: of its format; None: recognised by its keys.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file cannot be read safely, is of no known format, or has keys that
            the format does not know.
    """
    path, out = Path(path), Path(out)
    content = load_file(path)
    state = state_dict_of(content, path)
    source = _format(name, state, path)
    imported = source.import_state(state)
    meta = {"imported_from": source.name, "file": path.name}
    carried = {
        "format": source.name,
        "tensors": imported.carried,
        "prefixes": list(imported.prefixes),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"meta": meta, "state_dict": imported.state, "carried": carried}, out)
    used = len(imported.state) - len(source.fresh)
    lines = [f"{path}: {source.words}", f"used {used} tensors"]
    by_reason: dict[str, list[str]] = {}
    for key, reason in imported.reasons.items():
        by_reason.setdefault(reason, []).append(key)
    for reason, keys in by_reason.items():
        lines.append(f"not used, kept for export ({reason}): {', '.join(keys)}")
    held = [name for name in ("state_dict", "model") if isinstance(content.get(name), Mapping)][:1]
    others = [
        str(key)
        for key, value in content.items()
        if not isinstance(value, Tensor) and key not in (held or source.nested)
    ]
    if others:
        lines.append(f"not weights, left out: {', '.join(others)}")
    return [*lines, f"wrote {out}"]


def _chosen(state: State, source: str) -> State:
    """The state with the asked-for encoder under ``encoder.``."""
    if source == "online":
        return state
    prefix = PARTS[source]
    taken = {f"encoder.{k[len(prefix) :]}": v for k, v in state.items() if k.startswith(prefix)}
    if not taken:
        raise CheckpointError(f"The checkpoint has no {source} encoder ({prefix}*).")
    rest = {k: v for k, v in state.items() if not k.startswith(("encoder.", "target."))}
    return {**rest, **taken}


def export_file(
    path: str | Path,
    out: str | Path,
    name: str,
    only_encoder: bool = False,
    finetune: bool = False,
    source: str = "online",
    image_size: int = 224,
) -> list[str]:
    """Write a checkpoint of this package in an outside format.

    Args:
        path: a checkpoint of this package.
        out: the file to write; ``.safetensors``, or a torch file.
        name: of the format.
        only_encoder: leave out what serves pretraining alone.
        finetune: apply the format's conventions for fine-tuning (fc_norm, a bias table a block).
        source: 'online' or 'target' encoder.
        image_size: pixels of pretraining, for tables that have to be made.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is none of this package, or the format has no name for a tensor.
    """
    path, out = Path(path), Path(out)
    content = load_file(path)
    state = state_dict_of(content, path)
    target = _format(name, state, path)
    if recognise(state) is not None:
        raise CheckpointError(f"{path} is no checkpoint of this package: import it first.")
    state = _chosen(state, source)
    carried: State | None = None
    prefixes: tuple[tuple[str, str], ...] = ()
    if finetune:
        if target.finetune is None:
            raise CheckpointError(f"The format '{name}' has no conventions for fine-tuning.")
        state = target.finetune(state)
    elif only_encoder:
        state = encoder_only(state)
    elif content.get("carried", {}).get("format") == name:
        carried = content["carried"]["tensors"]
        prefixes = tuple((old, new) for old, new in content["carried"].get("prefixes", ()))
    try:
        whole = not (finetune or only_encoder)
        theirs = target.export_state(state, carried, image_size, whole, prefixes)
    except CheckpointError as error:
        raise CheckpointError(f"{error} {_fitting(state)}") from error
    _write(theirs, out, target)
    return [f"wrote {len(theirs)} tensors for {target.words} to {out}"]


def _fitting(state: State) -> str:
    """Which formats could hold a state, in words."""
    found = []
    for option, part in (("", state), (" --encoder-only", encoder_only(state))):
        for format in FORMATS.values():
            try:
                format.export_state(part, {})
            except CheckpointError:
                continue
            found.append(f"--format {format.name}{option}")
    return f"What could hold it: {', '.join(found)}." if found else "No known format could hold it."


def _write(state: State, out: Path, target: Format) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix == ".safetensors":
        save_file({key: tensor.contiguous() for key, tensor in state.items()}, str(out))
        return
    content: dict[str, Any] = dict(state)
    if target.wrapper is not None:
        content = {target.wrapper: state}
    elif target.nested:
        content = {}
        for key, tensor in state.items():
            entry, _, name = key.partition(".")
            content.setdefault(entry, {})[name] = tensor
    torch.save(content, out)
