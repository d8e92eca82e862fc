"""Trials of ``tools/soak.py``: what is damaged or killed, and what may come of it."""

from __future__ import annotations

import random
import resource
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from PIL import Image

from mmvitssl.checkpoint import load_file
from mmvitssl.checkpoint.durable import damage_of
from mmvitssl.datasets import ImageFolder, ImageList, LabelledFolder, PackedImages, ShardedImages
from mmvitssl.datasets.decode import EncodedImage
from mmvitssl.datasets.files import BrokenImageError
from mmvitssl.datasets.shard_index import index_of
from tests.test_checkpoint import test_mutations as checkpoints
from tests.test_checkpoint.mutations import OF_BYTES, UNSEEN, NotApplicableError, truncated
from tests.test_datasets.test_damaged_data import pack
from tests.test_datasets.test_shards import PIPELINE, write, write_images
from tests.test_engine import test_config_errors as configs
from tests.test_models.test_step_draws import CONFIGS, dropping
from tests.test_tools import forked, programs

Trial = Callable[[int], dict[str, Any]]
MEMORY = 2 << 30  # bytes that a damaged file may not make a trial ask for
MOST_PIXELS = 10**6


def fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


# images


def encoded_images() -> dict[str, bytes]:
    """One file of each kind, some with EXIF."""
    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 256, (24, 20, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    kinds: dict[str, tuple[str, dict[str, Any]]] = {
        "png": ("PNG", {"exif": exif}),
        "jpeg": ("JPEG", {"exif": exif}),
        "progressive": ("JPEG", {"progressive": True}),
        "tiff": ("TIFF", {}),
        "lzw": ("TIFF", {"compression": "tiff_lzw", "exif": exif}),
        "webp": ("WEBP", {"exif": exif}),
        "lossless": ("WEBP", {"lossless": True}),
        "bmp": ("BMP", {}),
        "gif": ("GIF", {}),
    }
    found = {}
    for name, (kind, options) in kinds.items():
        stream = BytesIO()
        Image.fromarray(pixels).save(stream, kind, **options)
        found[name] = stream.getvalue()
    stream = BytesIO()
    Image.fromarray(draw.integers(0, 2**16, (24, 20), dtype=np.uint16)).save(stream, "PNG")
    found["deep"] = stream.getvalue()
    stream = BytesIO()
    np.save(stream, pixels)
    found["npy"] = stream.getvalue()
    return found


def damage(data: bytearray, draw: random.Random) -> Callable[..., None]:
    """Do one thing to a file, to its head as often as to the rest; returns what."""
    mutate = draw.choice(OF_BYTES)
    if mutate is truncated or draw.random() < 0.5:
        mutate(data, draw)
        return mutate
    head = data[:400]
    mutate(head, draw)
    data[:400] = head
    return mutate


def images(folder: Path) -> Trial:
    """An image decodes, at every size, to what its header says, or is a named error.

    A file that ends early, and a PNG, is never accepted with other pixels. Nothing in the other
    formats tells what else may happen to them.
    """
    files = encoded_images()
    names = list(files)

    def decoded(data: bytes) -> np.ndarray:
        image = EncodedImage("damaged.x", BytesIO(data), max_pixels=MOST_PIXELS)
        for shrink in image.shrinks[1:]:
            image.decode(shrink)
        pixels: Any = image.decode()
        assert pixels.shape == (image.height, image.width, 3), pixels.shape
        assert pixels.dtype == np.uint8
        return pixels

    expected = {name: decoded(data) for name, data in files.items()}

    def trial(number: int) -> dict[str, Any]:
        limit_memory()
        draw, name = random.Random(number), names[number % len(names)]
        data = bytearray(files[name])
        mutate = damage(data, draw)
        what = f"{name} {mutate.__name__}"
        try:
            pixels = decoded(bytes(data))
        except BrokenImageError as error:
            assert "damaged.x" in str(error)
            return {"outcome": "refused", "what": what}
        if np.array_equal(pixels, expected[name]):
            return {"outcome": "same", "what": what}
        told = mutate is truncated or name in ("png", "deep")  # PNG has checksums
        return {"outcome": "wrong" if told else "other pixels", "what": what}

    return trial


# checkpoints


def checkpoint_files(folder: Path) -> Trial:
    """Of this package: refused or as it was. Of others: but for what nothing in the file tells."""
    fresh(folder)
    kinds = {
        **checkpoints.OWN,
        "outside": (checkpoints.write_timm, (checkpoints.loaded,)),
    }
    files, expected = {}, {}
    for name, (make, reads) in kinds.items():
        (folder / name).mkdir()
        files[name] = make(folder / name)
        expected[name] = [read(files[name]) for read in reads]
    unseen = {mutate.__name__ for mutate in UNSEEN}

    def trial(number: int) -> dict[str, Any]:
        limit_memory()
        name = list(kinds)[number % len(kinds)]
        draw = random.Random(f"checkpoint {number}")
        while True:
            try:
                mutate, out = checkpoints.change(files[name], draw)
                break
            except NotApplicableError:
                continue
        outcomes = [
            checkpoints.outcome(read, out, what)
            for read, what in zip(kinds[name][1], expected[name], strict=True)
        ]
        what = f"{name} {mutate.__name__}"
        worst = next((o for o in ("wrong", "the same", "refused") if o in outcomes), "wrong")
        if worst == "wrong" and name == "outside" and mutate.__name__ in unseen:
            worst = "not promised"
        return {"outcome": worst, "what": what}

    return trial


# data files


def data_files(folder: Path) -> Trial:
    """What a data set reads beside images: as it was, or an error that names the file.

    The lines of a list have no checksum: other lines are other data.
    """
    fresh(folder)
    source = ImageFolder(str(write_images(folder / "images")), PIPELINE)
    labelled = LabelledFolder(str(folder / "images"), PIPELINE)
    pack(source, fresh(folder / "npz") / "images.npz")
    write(labelled, folder / "tar", "tar")
    write(labelled, folder / "lmdb", "lmdb")
    lines = [f"{path} {label}" for path, label in zip(labelled.paths, labelled.labels, strict=True)]
    (fresh(folder / "list") / "list.txt").write_text("\n".join(lines) + "\n")

    def packed(root: Path) -> list[Any]:
        data = PackedImages(str(root / "images.npz"), PIPELINE)
        return [data.encoded(number) for number in range(len(data))]

    def sharded(root: Path) -> list[Any]:
        data = ShardedImages(str(root), PIPELINE, labelled=True)
        assert data.labels is not None
        contents: list[Any] = [bytes(data.encoded(number)) for number in range(len(data))]
        return [*contents, *data.labels.tolist(), *data.classes]

    def listed(root: Path) -> list[Any]:
        data = ImageList(str(root / "list.txt"), PIPELINE, labelled=True)
        assert data.labels is not None
        return [*data.paths, *data.labels.tolist()]

    first = index_of(min((folder / "tar").glob("*.tar"))).name
    shard = min((folder / "tar").glob("*.tar")).name
    kinds: dict[str, tuple[str, str, Callable[[Path], list[Any]]]] = {
        "lmdb": ("lmdb", "data.mdb", sharded),
        "dataset.json": ("tar", "dataset.json", sharded),
        "index": ("tar", first, sharded),
        "shard": ("tar", shard, sharded),
        "npz": ("npz", "images.npz", packed),
        "list": ("list", "list.txt", listed),
    }
    expected = {name: read(folder / root) for name, (root, _, read) in kinds.items()}

    def trial(number: int) -> dict[str, Any]:
        limit_memory()
        name = list(kinds)[number % len(kinds)]
        root, file, read = kinds[name]
        draw = random.Random(f"data {number}")
        with tempfile.TemporaryDirectory(dir=folder) as place:
            copy = Path(place) / root
            shutil.copytree(folder / root, copy)
            data = bytearray((copy / file).read_bytes())
            if name == "lmdb" and draw.random() < 0.7:  # the heads of pages, and their tables
                start = 4096 * draw.randrange(len(data) // 4096)
                data[start + draw.randrange(draw.choice([16, 64, 256]))] = draw.randrange(256)
                what = "lmdb page"
            else:
                what = f"{name} {draw_damage(data, draw)}"
            (copy / file).write_bytes(data)
            try:
                found = read(copy)
            except (BrokenImageError, FileNotFoundError, ValueError) as error:
                assert str(copy) in str(error), f"the file is not named: {error!r}"
                return {"outcome": "refused", "what": what}
        if found == expected[name]:
            return {"outcome": "same", "what": what}
        return {"outcome": "other lines" if name == "list" else "wrong", "what": what}

    return trial


def draw_damage(data: bytearray, draw: random.Random) -> str:
    mutate = draw.choice(OF_BYTES)
    mutate(data, draw)
    return mutate.__name__


# configs


def config_files(folder: Path) -> Trial:
    """A changed config trains, or is explained before the first step."""
    fresh(folder)
    draw = np.random.default_rng(0)
    for number in range(8):
        pixels = draw.integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    whole = Config.fromfile(programs.write_config(folder, folder, epochs=1)).to_dict()
    whole = {key: value for key, value in whole.items() if key not in ("views", "pipeline")}

    def trial(number: int) -> dict[str, Any]:
        with tempfile.TemporaryDirectory(dir=folder) as place:
            changed = configs.mutated(whole, random.Random(f"config {number}"))
            return {"outcome": configs.run(changed, Path(place))}

    return trial


# kills

EPOCHS, BATCHES, KILLS = 3, 4, 4
MOST = 900.0  # seconds for one start


def method_config(folder: Path, data: Path, name: str, workers: int) -> Path:
    """A training of a tiny method that writes a checkpoint after each iteration."""
    path = programs.write_config(folder, data, epochs=EPOCHS, workers=workers)
    config = Config.fromfile(path).to_dict()
    preprocessor = config["model"].get("data_preprocessor")
    config["model"] = dropping(name)
    if preprocessor:
        config["model"]["data_preprocessor"] = preprocessor
    config["optim_wrapper"].pop("paramwise_cfg")
    views = config["train_dataloader"]["dataset"]["pipeline"][1]["views"]
    small = dict(num=2, transforms=[dict(type="RandomResizedCrop", size=16)])
    config["train_dataloader"]["dataset"]["pipeline"][1]["views"] = [*views, small]
    config["default_hooks"]["checkpoint"].update(minutes=1e-4, max_keep_ckpts=2)
    if not config["model"].get("target"):
        config["custom_hooks"] = [dict(type="ReduceLogsHook")]
    for key in ("views", "pipeline", "test_dataloader", "test_evaluator", "test_cfg"):
        config.pop(key)
    Config(config).dump(path)
    return path


def start(config: Path, run: Path) -> forked.Program:
    arguments = ["tools/train.py", str(config), "--work-dir", str(run), "--resume"]
    return forked.Program(arguments, programs.ROOT, programs.ENVIRONMENT)


def wait_to_train(program: forked.Program) -> None:
    end = time.monotonic() + MOST
    while "Checkpoints will be saved" not in program.output and program.running:
        if time.monotonic() > end:
            raise TimeoutError(program.output[-2000:])
        time.sleep(0.02)


class Kills:
    """Trainings that are killed again and again end with the weights of one that was not.

    Args:
        folder: for data, configs and runs.
    """

    starts_processes = True

    def __init__(self, folder: Path) -> None:
        self.folder = fresh(folder)
        self.data = write_images(folder / "data", 4 * BATCHES)
        self.whole: dict[str, tuple[Path, float]] = {}

    def uncut(self, name: str) -> tuple[Path, float]:
        """The last checkpoint of a training that nothing happened to, and its seconds."""
        if name not in self.whole:
            folder = fresh(self.folder / "whole" / name)
            program = start(method_config(folder, self.data, name, 0), folder / "run")
            wait_to_train(program)
            begin = time.monotonic()
            done = program.wait(MOST)
            assert done.returncode == 0, done.stdout[-3000:]
            self.whole[name] = folder / "run/last.pth", time.monotonic() - begin
        return self.whole[name]

    def __call__(self, number: int) -> dict[str, Any]:
        """Kill a training at most ``KILLS`` times, and compare weights and optimizer."""
        draw, name = random.Random(f"kill {number}"), list(CONFIGS)[number % len(CONFIGS)]
        last, seconds = self.uncut(name)
        folder = fresh(self.folder / "killed")
        config = method_config(folder, self.data, name, draw.choice((0, 0, 1, 2)))
        run, killed, status = folder / "run", 0, None
        for _ in range(KILLS):
            program = start(config, run)
            if draw.random() < 0.9:  # otherwise while it starts
                wait_to_train(program)
            time.sleep(draw.uniform(0, 0.4 * seconds))
            program.kill(signal.SIGKILL)
            status = program.wait(MOST).returncode
            killed += status == -signal.SIGKILL
            assert status in (0, -signal.SIGKILL), program.output[-3000:]
            if (run / "last.pth").exists():
                assert not damage_of(run / "last.pth")
        if status != 0:
            done = start(config, run).wait(MOST)
            assert done.returncode == 0, done.stdout[-3000:]
        mine, theirs = load_file(run / "last.pth"), load_file(last)
        assert mine["meta"]["iter"] == theirs["meta"]["iter"] == EPOCHS * BATCHES
        what = {"what": name, "counts": killed}
        for part in ("state_dict", "optimizer"):
            try:
                torch.testing.assert_close(mine[part], theirs[part], rtol=0, atol=0)
            except AssertionError as error:
                return {"outcome": "wrong", **what, "error": f"{part}: {error}"[-2000:]}
        return {"outcome": "equal", **what}


# how a kind is prepared, and how many are wanted
KINDS: dict[str, tuple[Callable[[Path], Trial], int]] = {
    "images": (images, 2000),
    "checkpoints": (checkpoint_files, 2000),
    "data": (data_files, 500),
    "configs": (config_files, 200),
    "kills": (Kills, 200),
}
