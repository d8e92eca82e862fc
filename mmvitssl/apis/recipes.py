"""The shipped configs by method and architecture, made to fit another width or image size."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from mmengine.config import Config

import mmvitssl
from mmvitssl.engine.config_files import read_config

# the wheel has the configs here; in a checkout it is a link to configs/
CONFIGS = Path(mmvitssl.__file__).resolve().parent / ".mim" / "configs"
ARCHS = ("vit-tiny", "vit-small", "vit-base", "vit-large", "vit-huge", "swin-tiny")
# where configs lie whose folder is not named like their method
FOLDERS = {"repre": "repre", "lomar-beit": "lomar", "mtssl": "mtssl", "sit": "mtssl"}
# folders whose configs do not pretrain
OTHERS = ("_base_", "demo", "probe", "study", "tokenizers", "transfer")
ALIASES = {"repre": "repre-mocov3", "moco": "mocov3"}


@dataclass(frozen=True)
class Recipe:
    """A shipped config.

    Attributes:
        name: path below ``configs/``; ``mmvitssl train`` takes it.
        method: as ``--method`` takes it.
        arch: of the encoder, such as ``vit-small``.
        summary: first line of the config, with published numbers where there are any.
        path: of the file.
        results: published and own numbers, one line each, as metafile.yml has them.
    """

    name: str
    method: str
    arch: str
    summary: str
    path: Path
    results: tuple[str, ...] = ()


@lru_cache
def _results(folder: str) -> dict[str, tuple[str, ...]]:
    """Lines of results by path of the config, of a folder of configs."""
    file = CONFIGS / folder / "metafile.yml"
    if not file.is_file():
        return {}
    models = yaml.safe_load(file.read_text(encoding="utf-8"))["Models"]
    return {
        model["Config"].removeprefix("configs/"): tuple(
            f"{one['Source']}: {one['Task']}, {one['Dataset']}, {metric} {value}"
            for one in model.get("Results", ())
            for metric, value in one["Metrics"].items()
        )
        for model in models
    }


def list_recipes(pattern: str = "") -> list[Recipe]:
    """List shipped pretraining, probing and transfer configs whose name contains ``pattern``."""
    recipes = []
    for path in sorted(CONFIGS.glob("*/**/*.py")):
        name = path.relative_to(CONFIGS)
        if "_base_" in name.parts or pattern.lower() not in str(name).lower():
            continue
        method, _, rest = path.stem.partition("_")
        results = _results(name.parts[0]).get(str(name), ())
        arch = rest.split("_")[0]
        recipes.append(Recipe(str(name), method, arch, _summary(path), path, results))
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
    """Find the config of a method and an architecture with the fewest epochs.

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
    """Load the config of a method for an architecture and an image size.

    A plain ViT without a config of its own is the config of ViT-S or ViT-B with another ``arch``.

    Returns:
        The config and the file that it comes from.

    Raises:
        ValueError: there is no such config, or the patch does not divide the size.
    """
    path, options = _nearest(method, arch)
    if image_size is not None:
        patch = read_config(str(path)).model.encoder.get("patch_size", 16)
        if image_size % patch or image_size < patch:
            raise ValueError(
                f"--image-size {image_size} cannot be cut into patches of {patch} pixels: use "
                f"{max(image_size - image_size % patch, patch)}."
            )
        options["model.encoder.image_size"] = image_size
    return read_config(str(path), options), path


def _nearest(method: str, arch: str) -> tuple[Path, dict[str, Any]]:
    """The config of an architecture, or of another ViT and the option that changes it."""
    try:
        return find_recipe(method, arch), {}
    except ValueError:
        if not arch.startswith("vit-") or arch not in ARCHS:
            raise
    order = ("vit-small", "vit-base") if arch == "vit-tiny" else ("vit-base", "vit-small")
    for other in order:
        try:
            path = find_recipe(method, other)
        except ValueError:
            continue
        return path, {"model.encoder.arch": arch.removeprefix("vit-")}
    return find_recipe(method, arch), {}  # raises, in words


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


def config_path(name: str) -> str:
    """Return the file of a config: a path, or the name of a shipped one.

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
