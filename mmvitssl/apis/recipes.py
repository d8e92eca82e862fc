"""The shipped configs by method and architecture, made to fit another width or image size."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

import mmvitssl
from mmvitssl.models.backbones.architectures import architecture

# the wheel has the configs here; in a checkout it is a link to configs/
CONFIGS = Path(mmvitssl.__file__).resolve().parent / ".mim" / "configs"
ARCHS = ("vit-tiny", "vit-small", "vit-base", "vit-large", "vit-huge", "swin-tiny")
# where configs lie whose folder is not named like their method
FOLDERS = {"repre": "repre", "lomar-beit": "lomar", "mtssl": "mtssl", "sit": "mtssl"}
# folders whose configs do not pretrain
OTHERS = ("_base_", "demo", "probe", "study", "tokenizers", "transfer")
ALIASES = {"repre": "repre-mocov3", "moco": "mocov3"}
WIDTH_KEYS = ("in_channels", "width")


@dataclass(frozen=True)
class Recipe:
    """A shipped config.

    Attributes:
        name: path below ``configs/``; ``mmvitssl train`` takes it.
        method: as ``--method`` takes it.
        arch: of the encoder, such as ``vit-small``.
        summary: first line of the config, with published numbers where there are any.
        path: of the file.
    """

    name: str
    method: str
    arch: str
    summary: str
    path: Path


def list_recipes(pattern: str = "") -> list[Recipe]:
    """All shipped pretraining, probing and transfer configs whose name contains ``pattern``."""
    recipes = []
    for path in sorted(CONFIGS.glob("*/**/*.py")):
        name = path.relative_to(CONFIGS)
        if "_base_" in name.parts or pattern.lower() not in str(name).lower():
            continue
        method, _, rest = path.stem.partition("_")
        recipes.append(Recipe(str(name), method, rest.split("_")[0], _summary(path), path))
    return recipes


def _summary(path: Path) -> str:
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    return first.removeprefix("#").strip() if first.startswith("#") else ""


def methods() -> list[str]:
    """Names that ``--method`` takes."""
    folders = [folder for folder in CONFIGS.iterdir() if folder.name not in OTHERS]
    files = [path for folder in folders for path in folder.glob("*_in1k.py")]
    return sorted({path.name.split("_")[0] for path in files})


def known_method(name: str) -> str:
    """The method of a name that may be an alias or spelt with capitals, spaces or ``_``.

    Raises:
        ValueError: there is no such method; the message has the nearest names.
    """
    known = methods()
    plain = name.lower().replace("_", "-").replace(" ", "-")
    plain, colon, variant = plain.partition(":")
    for candidate in (plain, ALIASES.get(plain, ""), plain.replace("-v", "v")):
        if candidate in known:
            return candidate + colon + variant
    near = difflib.get_close_matches(plain, [*known, *ALIASES], n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise ValueError(f"--method {name} is unknown: {hint}Methods: {', '.join(known)}.")


def find_recipe(method: str, arch: str) -> Path:
    """The config of a method and an architecture with the fewest epochs.

    Args:
        method: as configs are named; ``repre-mocov3:literal`` is an ablation.
        arch: one of :data:`ARCHS`.

    Raises:
        ValueError: there is none.
    """
    if arch not in ARCHS:
        raise ValueError(f"--arch {arch} is unknown; use one of {', '.join(ARCHS)}.")
    name, _, variant = method.partition(":")
    folder = next((FOLDERS[key] for key in FOLDERS if name.startswith(key)), name)
    between = f"{variant}-*" if variant else "[0-9]*xb*_in1k"
    pattern = f"{name}_{arch}_{between}.py"
    found = sorted((CONFIGS / folder).rglob(pattern), key=lambda path: (len(path.name), path.name))
    if not found:
        raise ValueError(
            f"No config {folder}/{pattern} for --method {method} --arch {arch}. Methods with "
            f"configs, of one arch or another: {', '.join(methods())}."
        )
    return found[0]


def load_recipe(method: str, arch: str, image_size: int | None = None) -> tuple[Config, Path]:
    """The config of a method for an architecture and an image size.

    A plain ViT without a config of its own is the config of ViT-S or ViT-B with the encoder, and
    the channels of what reads it, changed.

    Returns:
        The config and the file that it comes from.

    Raises:
        ValueError: there is no such config, or the patch does not divide the size.
    """
    try:
        path = find_recipe(method, arch)
        config = Config.fromfile(path)
    except ValueError:
        path, config = _other_width(method, arch)
    if image_size is not None:
        resize_config(config, image_size)
    return config, path


def _other_width(method: str, arch: str) -> tuple[Path, Config]:
    """A config of another ViT, with the encoder changed."""
    if not arch.startswith("vit-") or arch not in ARCHS:
        find_recipe(method, arch)  # raises, in words
    order = ("vit-small", "vit-base") if arch == "vit-tiny" else ("vit-base", "vit-small")
    for other in order:
        try:
            path = find_recipe(method, other)
        except ValueError:
            continue
        config = Config.fromfile(path)
        set_width(config, {"base": arch.removeprefix("vit-")})
        return path, config
    return find_recipe(method, arch), Config()  # raises, in words


def _dicts(node: Any) -> Iterator[dict[str, Any]]:
    """A config's dicts, outer ones first."""
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from _dicts(value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            yield from _dicts(value)


def set_width(config: Config, arch: Mapping[str, Any]) -> None:
    """Set another architecture of a config's ViT; modules that read its tokens follow.

    Args:
        config: changed in place.
        arch: as :class:`~mmvitssl.models.ViT` takes it.
    """
    old = architecture(config.model.encoder.get("arch", "base"))
    new = architecture(arch)
    config.model.encoder.arch = dict(arch)
    for node in _dicts(config.model.tasks):
        for key in WIDTH_KEYS:
            if node.get(key) == old["embed_dim"]:
                node[key] = new["embed_dim"]
        levels = node.get("levels")
        if isinstance(levels, (list, tuple)) and old["depth"] != new["depth"]:
            # the same places: the block after a quarter, a half ... of the depth
            scale = new["depth"] / old["depth"]
            node["levels"] = [max(round((level + 1) * scale) - 1, 0) for level in levels]


def _multi_view(config: Config) -> Any:
    pipeline = config.train_dataloader.dataset.pipeline
    return next(transform for transform in pipeline if transform.type == "MultiView")


def view_sizes(config: Config) -> list[tuple[int, int]]:
    """Height and width of the views that a config's pipeline makes."""
    sizes: list[tuple[int, int]] = []
    for entry in _multi_view(config).views:
        size = [t.size for t in entry.transforms if "size" in t][-1]
        pair = (size, size) if isinstance(size, int) else (size[0], size[1])
        sizes += [pair] * entry.get("num", 1)
    return sizes


def resize_config(config: Config, image_size: int) -> None:
    """Change the image size of a config.

    Views change in proportion, to whole patches; the encoder's tables, the grids of decoders and
    the numbers of masked or asked patches follow.

    Raises:
        ValueError: the patch does not divide the size.
    """
    encoder = config.model.encoder
    old, patch = encoder.get("image_size", 224), encoder.get("patch_size", 16)
    if image_size == old:
        return
    if image_size % patch or image_size < patch:
        raise ValueError(
            f"--image-size {image_size} cannot be cut into patches of {patch} pixels: use "
            f"{max(image_size - image_size % patch, patch)}."
        )
    if encoder.type == "ViT":
        encoder.image_size = image_size
    for entry in _multi_view(config).views:
        for transform in entry.transforms:
            if "size" in transform:
                step = patch // 2 if "same_as" in entry else patch  # a tokenizer's view is halved
                transform.size = max(round(transform.size * image_size / old / step), 1) * step
    share = (image_size / old) ** 2
    for node in _dicts(config.model.tasks):
        if node.get("grid") == old // patch:
            node["grid"] = image_size // patch
        for key in ("num_masked", "patches", "cells"):
            if isinstance(node.get(key), int):
                node[key] = max(round(node[key] * share), 1)


def config_path(name: str) -> str:
    """The file of a config: a path, or the name of a shipped one.

    Names are paths below ``configs/``, with or without ``.py`` and ``mmvitssl::``, or the name of
    the file alone. What is none of these is returned as it is.
    """
    if Path(name).exists():
        return name
    plain = name.removeprefix("mmvitssl::").removeprefix("configs/").removesuffix(".py")
    if (CONFIGS / f"{plain}.py").is_file():
        return str(CONFIGS / f"{plain}.py")
    found = [path for path in CONFIGS.glob("*/**/*.py") if path.stem == plain]
    return str(found[0]) if len(found) == 1 else name
