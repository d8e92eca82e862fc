"""Check the installation, the machine and a config's data; each fault comes with its mend."""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, DictAction

from mmvitssl.apis.machine import cores, cpu_flags, host_memory, shared_memory
from mmvitssl.apis.plan import BYTES_PER_WORKER
from mmvitssl.apis.recipes import config_path
from mmvitssl.apis.sources import look
from mmvitssl.datasets.files import BrokenImageError
from mmvitssl.engine.config_files import read_config
from mmvitssl.engine.dataset_tree import config_leaves
from mmvitssl.engine.launch import UserError, check_data

PARTS = ("train_dataloader", "val_dataloader", "test_dataloader")
NO_IMAGES = (".json", ".npz")  # annotations, and packed images, which their data set checks
OK, NOTE, WRONG = "ok", "note", "WRONG"
GIB = 2**30
LEAST_DISK, LEAST_SHARED = 5 * GIB, 1 * GIB
# import name, distributions that have it, extra of ours; required first
PACKAGES = (
    ("torchvision", ("torchvision",), None),
    ("timm", ("timm",), None),
    ("mmengine", ("onedl-mmengine", "mmengine"), None),
    ("mmcv", ("onedl-mmcv", "mmcv"), "transfer"),
    ("mmdet", ("onedl-mmdetection", "mmdet"), "transfer"),
    ("mmseg", ("onedl-mmsegmentation", "mmsegmentation"), "transfer"),
)


@dataclass(frozen=True)
class Finding:
    """What was looked at.

    Attributes:
        state: 'ok', 'note' (works, could be better) or 'WRONG'.
        what: was looked at, and what was found.
        mend: what to do; empty where nothing is to be done.
    """

    state: str
    what: str
    mend: str = ""


def check_python() -> Iterator[Finding]:
    """The interpreter's version."""
    found = ".".join(map(str, sys.version_info[:3]))
    fits = (3, 10) <= sys.version_info[:2] <= (3, 13)
    mend = "" if fits else "use Python 3.10 to 3.13: python3.12 -m venv VENV"
    yield Finding(OK if fits else WRONG, f"Python {found}", mend)


def _version(distributions: tuple[str, ...]) -> str:
    for name in distributions:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "of unknown version"


def check_packages() -> Iterator[Finding]:
    """torch, and what stands on it."""
    yield Finding(OK, f"torch {torch.__version__}")
    for name, distributions, extra in PACKAGES:
        if importlib.util.find_spec(name) is None:
            if extra is None:
                yield Finding(WRONG, f"{name} is not installed", f"pip install {name}")
            else:
                yield Finding(NOTE, f"{name} is not installed: detection and segmentation need it",
                              f"pip install 'mmvitssl[{extra}]'")  # fmt: skip
            continue
        yield Finding(OK, f"{name} {_version(distributions)}")
    yield from _check_torchvision()
    if importlib.util.find_spec("mmcv") is not None:
        yield from _check_mmcv()


def _check_torchvision() -> Iterator[Finding]:
    """torchvision must be built for this torch, which its compiled operators show."""
    try:
        from torchvision.ops import nms

        nms(torch.tensor([[0.0, 0, 1, 1]]), torch.ones(1), 0.5)
    except (RuntimeError, ImportError, AttributeError) as error:
        yield Finding(
            WRONG, f"torchvision's operators do not run ({str(error).splitlines()[0]})",
            "install both together: pip install --force-reinstall torch torchvision",
        )  # fmt: skip


def _check_mmcv() -> Iterator[Finding]:
    """Whether mmcv's operators are compiled, or torchvision's stand in."""
    compiled = any((Path(_folder("mmcv"))).glob("_ext.*.so"))
    yield Finding(
        OK, "mmcv's operators: " + ("compiled" if compiled else "torchvision's stand in for them")
    )


def _folder(package: str) -> str:
    spec = importlib.util.find_spec(package)
    return str(Path(spec.origin).parent) if spec is not None and spec.origin else "."


def check_devices() -> Iterator[Finding]:
    """GPUs, and whether torch can use them; the CPU's bfloat16."""
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(number)
            free, total = torch.cuda.mem_get_info(number)
            busy, room = free < total / 2, f"{free / GIB:.0f} of {total / GIB:.0f} GiB free"
            text = f"GPU {number}: {properties.name}, {room}"
            yield Finding(NOTE if busy else OK, text, "another program uses it" if busy else "")
        return
    if Path("/proc/driver/nvidia/version").is_file() or shutil.which("nvidia-smi"):
        yield Finding(
            WRONG, f"there is an NVIDIA driver, but torch {torch.__version__} sees no GPU",
            "nvidia-smi must list the GPU; torch must be built for a CUDA that is no newer than "
            "the driver's (https://pytorch.org/get-started/locally); containers need --gpus all",
        )  # fmt: skip
        return
    flags = [flag for flag in ("amx_bf16", "avx512_bf16") if flag in cpu_flags()]
    how = f"bfloat16 by {flags[0]}" if flags else "no bfloat16"
    yield Finding(NOTE, f"no GPU: the CPU trains, {cores()} core(s), {how}",
                  "a GPU is many times as fast")  # fmt: skip


def check_memory() -> Iterator[Finding]:
    """Main memory, shared memory and disk."""
    yield Finding(OK, f"{host_memory() / GIB:.0f} GiB of main memory")
    shared = shared_memory()
    if shared is not None:
        few = shared < LEAST_SHARED
        workers = shared // BYTES_PER_WORKER
        yield Finding(
            NOTE if few else OK, f"{shared / GIB:.1f} GiB of shared memory (/dev/shm)",
            f"enough for about {workers} workers that read images: docker run --shm-size=8g, or "
            f"train_dataloader.num_workers=0" if few else "",
        )  # fmt: skip
    for name, folder in (("this folder", "."), ("temporary files", tempfile.gettempdir())):
        free = shutil.disk_usage(folder).free
        few = free < LEAST_DISK
        yield Finding(NOTE if few else OK, f"{free / GIB:.0f} GiB of disk free for {name}",
                      "a checkpoint of ViT-B takes 1 to 2 GiB" if few else "")  # fmt: skip


def check_config(path: str, changes: dict[str, Any] | None) -> Iterator[Finding]:
    """A config, and the data that it reads."""
    try:
        config = read_config(config_path(path), changes)
    except UserError as error:
        yield Finding(WRONG, f"config {path}", str(error))
        return
    yield Finding(OK, f"config {path}")
    try:
        check_data(config, tuple(part for part in PARTS if config.get(part)))
    except UserError as error:
        yield Finding(WRONG, "data", str(error))
    fields: dict[str, list[str]] = {}  # by path: several loaders may read the same images
    for field, path in _sources(config):
        fields.setdefault(path, []).append(field)
    for path, names in fields.items():
        yield _images(names, path)


def _sources(config: Config) -> Iterator[tuple[str, str]]:
    """Keys of the config that name folders, archives or lists of images, and what they name."""
    for part in PARTS:
        dataset = (config.get(part) or {}).get("dataset")
        for field, leaf in config_leaves(dataset, f"{part}.dataset"):
            for key in ("root", "file", "ann_file") if "data_prefix" not in leaf else ():
                named = leaf.get(key) or ()
                for one in [named] if isinstance(named, str) else named:
                    if not one.endswith(NO_IMAGES):
                        yield f"{field}.{key}", one


def _images(fields: list[str], path: str) -> Finding:
    """The images that data sets read."""
    field = ", ".join(fields)
    try:
        source = look(path, most_headers=2000, most_decoded=50)
    except (FileNotFoundError, BrokenImageError, ValueError) as error:
        options = " ".join(f"{name}=YOUR_IMAGES" for name in fields)
        return Finding(WRONG, f"{field} = {path}", f"{error} (--cfg-options {options})")
    mend = f"remove or mend them: {', '.join(source.broken)}" if source.broken else ""
    return Finding(WRONG if source.broken else OK, f"{field}: " + "; ".join(source.lines()), mend)


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    check_python, check_packages, check_devices, check_memory,
)  # fmt: skip


def main() -> None:
    """Print what is found; exit status 1 if something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", nargs="?", help="look at this config and its data too")
    parser.add_argument("--cfg-options", nargs="+", action=DictAction, metavar="KEY=VALUE")
    args = parser.parse_args()
    wrong = 0
    findings = [finding for check in CHECKS for finding in check()]
    if args.config is not None:
        findings += check_config(args.config, args.cfg_options)
    for finding in findings:
        print(f"{finding.state:<6} {finding.what}")
        if finding.mend:
            print(f"       -> {finding.mend}")
        wrong += finding.state == WRONG
    print(f"{wrong} thing(s) to mend" if wrong else "nothing is wrong")
    sys.exit(1 if wrong else 0)
