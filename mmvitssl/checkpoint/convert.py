"""Checkpoint files from and to other code bases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from mmvitssl.checkpoint.description import Description, build_encoder, describe, fitted
from mmvitssl.checkpoint.durable import save
from mmvitssl.checkpoint.entries import check_finite, some, state_dict_of, unwrap
from mmvitssl.checkpoint.facts import facts_of
from mmvitssl.checkpoint.formats import FORMATS, Format, recognise
from mmvitssl.checkpoint.formats.masked import encoder_only
from mmvitssl.checkpoint.named import PARTS
from mmvitssl.checkpoint.onnx_model import check_installed, image_size_of, write_onnx
from mmvitssl.checkpoint.own import write_own
from mmvitssl.checkpoint.own_types import bytes_of
from mmvitssl.checkpoint.plausible import check_scale
from mmvitssl.checkpoint.safe import OWN_METADATA, CheckpointError, load_file
from mmvitssl.checkpoint.self_described import describe_file
from mmvitssl.checkpoint.strict import check_keys, rename_task
from mmvitssl.checkpoint.timm_model import TOLERANCE, as_timm, greatest_difference
from mmvitssl.models.backbones.contract import backbone_in
from mmvitssl.models.backbones.lora import merge_updates
from mmvitssl.writing import whole, write_bytes

State = dict[str, Tensor]
OWN_FORMATS = ("onnx", "safetensors")  # beside those of other code bases


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


def _beside(outside: list[str]) -> list[str]:
    """What lies beside a wrapped encoder."""
    return [f"beside the encoder: {some(outside)}"] if outside else []


def inspect_file(path: str | Path) -> list[str]:
    """What a checkpoint holds, in lines."""
    path = Path(path)
    content = load_file(path)
    bare = unwrap(state_dict_of(content, path), lambda state: recognise(state) is not None)
    state = bare.state
    found = recognise(state)
    words = f"{found.name} ({found.words})" if found else "this package's, or unknown"
    total = sum(tensor.numel() for tensor in state.values())
    types = sorted({str(tensor.dtype).removeprefix("torch.") for tensor in state.values()})
    others = [str(key) for key, value in content.items() if not isinstance(value, Tensor)]
    lines = [
        f"{path}: format {words}",
        f"{len(state)} tensors, {total:,} values, {', '.join(types)}",
        *_groups(state),
        *bare.words(),
        *_beside(bare.outside),
    ]
    patch = next((v for k, v in state.items() if k.endswith("patch_embed.proj.weight")), None)
    if patch is not None:
        lines.append(f"patches of {patch.shape[-1]} pixels, width {patch.shape[0]}")
    if others:
        lines.append(f"entries of the file: {', '.join(others)}")
    return [*lines, *_described(content, path)]


def _described(content: Mapping[str, Any], path: Path) -> list[str]:
    """How the encoder is built, where the file says so."""
    try:
        description = describe(content, path)
    except CheckpointError as error:
        return [str(error)]
    if description is None:
        return []
    words = ", ".join(f"{key}={value!r}" for key, value in description.encoder.items())
    return [f"encoder: {words}"]


def _own(content: Mapping[str, Any]) -> bool:
    """Whether a file is one that ``--format safetensors`` wrote."""
    return content.get("meta", {}).get("written_by") == OWN_METADATA


def _import_own(content: dict[str, Any], state: State, path: Path, out: Path) -> list[str]:
    """A safetensors file of this package as a torch file, bit for bit."""
    save(content, out)
    return [f"{path}: this package's", f"used {len(state)} tensors", f"wrote {out}"]


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
    if name is None and _own(content):
        return _import_own(content, state, path, out)
    bare = unwrap(state, lambda state: name is not None or recognise(state) is not None)
    source = _format(name, bare.state, path)
    imported = source.import_state(bare.state)
    check_finite(imported.state, path)
    check_scale(imported.state, path, "encoder.")
    meta: dict[str, Any] = {"imported_from": source.name, "file": path.name}
    encoder = {k[8:]: v for k, v in imported.state.items() if k.startswith("encoder.")}
    heads = facts_of(content, path, source, encoder).heads
    if heads is not None and len(heads) == 1:
        meta["heads"] = heads[0]
    carried = {
        "format": source.name,
        "tensors": imported.carried,
        "prefixes": list(imported.prefixes),
    }
    save({"meta": meta, "state_dict": imported.state, "carried": carried}, out)
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
    return [*lines, *bare.words(), *_beside(bare.outside), f"wrote {out}"]


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
    image_size: int | tuple[int, int] | None = None,
    config: str | Path | None = None,
) -> list[str]:
    """Write a checkpoint of this package in an outside format; says what was done in lines.

    Args:
        path: a checkpoint of this package.
        out: the file to write; ``.safetensors``, or a torch file (``onnx``: ``.onnx``).
        name: of the format; 'safetensors' is this package's own, 'onnx' runs elsewhere, and
            'timm' is the architecture of timm that has the same features.
        only_encoder: leave out what serves pretraining alone.
        finetune: apply the format's conventions for fine-tuning (fc_norm, a bias table a block).
        source: 'online' or 'target' encoder.
        image_size: pixels, or (height, width): of pretraining, for tables that have to be made
            (None: 224); of the images, for ONNX (None: what the encoder was built for).
        config: a config file that describes the encoder; None: what the checkpoint says.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is none of this package, the format has no name for a tensor, or
            what was written does not give the encoder's features.
    """
    path, out = Path(path), Path(out)
    content = load_file(path)
    state = state_dict_of(content, path)
    if recognise(state) is not None:
        raise CheckpointError(f"{path} is no checkpoint of this package: import it first.")
    state = _chosen(state, source)
    check_finite(state, path)
    description = describe(content, path, config)
    if name in OWN_FORMATS:
        if finetune:
            raise CheckpointError(f"The format '{name}' has no conventions for fine-tuning.")
        if name == "onnx":
            return _export_onnx(state, path, out, description, source, image_size)
        kept = encoder_only(state) if only_encoder else state
        return write_own(kept, out, description, source, content.get("carried"))
    state, _ = merge_updates(state)
    side = image_size if isinstance(image_size, int) else (image_size or (224,))[0]
    target = _format(name, state, path)
    state = _task_of_format(state, target, description)
    if name == "timm" and not finetune:
        kept = encoder_only(state) if only_encoder else state
        size = (image_size, image_size) if isinstance(image_size, int) else image_size
        return _export_timm(kept, path, out, description, size)
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
        theirs = target.export_state(state, carried, side, whole, prefixes)
    except CheckpointError as error:
        raise CheckpointError(f"{error} {_fitting(state)}") from error
    _write(theirs, out, target)
    return [f"wrote {len(theirs)} tensors for {target.words} to {out}"]


def _task_of_format(state: State, target: Format, description: Description | None) -> State:
    """The format's name for the only task of its type, by the config in the checkpoint."""
    if target.task is None or description is None:
        return state
    name, kind = target.task
    names = [own for own, type_ in description.tasks.items() if type_ == kind]
    return rename_task(state, names[0], name) if len(names) == 1 else state


def _encoder(state: State, description: Description, path: Path) -> nn.Module:
    """The encoder that a description and a state are of."""
    own = {k.removeprefix("encoder."): v for k, v in state.items() if k.startswith("encoder.")}
    fitting = replace(description, encoder=fitted(description.encoder, state))
    encoder = build_encoder(fitting, path, bytes_of(state))
    check_keys(encoder.state_dict(), own, path, "an encoder")
    encoder.load_state_dict(own, strict=True)
    return encoder


def _export_onnx(
    state: State,
    path: Path,
    out: Path,
    description: Description | None,
    source: str,
    image_size: int | tuple[int, int] | None,
) -> list[str]:
    check_installed()
    description = description or describe_file(path)
    size = (image_size, image_size) if isinstance(image_size, int) else image_size
    said = {"encoder": description.encoder, "source": source}
    encoder = _encoder(state, description, path)
    report = write_onnx(encoder, out, size, said)
    channels = backbone_in(encoder).spec.in_channels
    return [
        f"images: (any number, {channels}, {report.size[0]}, {report.size[1]}) float32, normalised",
        "outputs: cls (number, channels) and patches (number, patches, channels), behind the norm",
        f"greatest difference from torch under onnxruntime: {report.error:.1e} (greatest value "
        f"{report.magnitude:.1e})",
        f"wrote the {source} encoder to {out}",
    ]


def _export_timm(
    state: State,
    path: Path,
    out: Path,
    description: Description | None,
    size: tuple[int, int] | None,
) -> list[str]:
    told = (None, "cls") if description is None else (description.encoder, description.readout)
    try:
        model = as_timm(state, told[0], size, told[1])
    except CheckpointError as error:
        raise CheckpointError(f"{error} {_fitting(state)}") from error
    try:
        theirs = None if "img_size" in model.unknown else model.build()
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:
        raise CheckpointError(
            f"timm's {model.name} does not take the weights: {error}. Use --encoder-only, or "
            f"--format safetensors or onnx."
        ) from error
    lines = [f"note: {note}" for note in model.notes]
    if description is None or "encoder.norm.weight" not in state:
        why = "the checkpoint does not say its config: --config" if description is None else (
            "the final norm is not in the file")  # fmt: skip
        lines.append(f"not compared with timm ({why})")
        for name in model.unknown:
            lines.append(f"not known: add {name}= to the line below where it is not timm's default")
    else:
        lines.append(_compared(model.name, theirs, _encoder(state, description, path)))
    _write(model.state, out, FORMATS["timm"])
    return [*lines, f"wrote {len(model.state)} tensors to {out}; read them with", model.call(out)]


def _compared(name: str, theirs: Any, encoder: nn.Module) -> str:
    """The words for how far timm's features are from ours; too far is an error."""
    difference = greatest_difference(encoder, theirs, image_size_of(encoder))
    if not difference <= TOLERANCE:
        raise CheckpointError(
            f"The features of timm's {name} differ from the encoder's by {difference:.1e} of the "
            f"greatest one; nothing was written. Use --format safetensors or onnx."
        )
    return f"greatest difference from timm's features: {difference:.1e} of the greatest one"


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
    found += [f"--format {name}" for name in OWN_FORMATS]
    return f"What could hold it: {', '.join(found)}."


def _write(state: State, out: Path, target: Format) -> None:
    if out.suffix == ".safetensors":
        tensors = {key: tensor.contiguous() for key, tensor in state.items()}
        with whole(out) as part:
            save_file(tensors, str(part), {"format": "pt"})
        return
    content: dict[str, Any] = dict(state)
    if target.wrapper is not None:
        content = {target.wrapper: state}
    elif target.nested:
        content = {}
        for key, tensor in state.items():
            entry, _, name = key.partition(".")
            content.setdefault(entry, {})[name] = tensor
    write_bytes(out, lambda file: torch.save(content, file))
