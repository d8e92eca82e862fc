"""Files that are no images, or damaged, or far too large: named, and counted by max_broken."""

from __future__ import annotations

import os
import struct
import zipfile
from functools import partial
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch.distributed as dist
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.multiprocessing import start_processes
from torch.utils.data import DataLoader

from mmvitssl.datasets import ImageArchive, ImageFolder, ImageList, LabelledFolder, files
from mmvitssl.datasets.decode import EncodedImage
from mmvitssl.datasets.files import BrokenImageError, list_images
from mmvitssl.engine.hooks import BrokenBudgetHook
from tests.test_models.test_distributed import free_port

PIPELINE: list[dict[str, Any]] = [
    dict(type="LoadImage"),
    dict(type="MultiView", views=[dict(transforms=[dict(type="Resize", size=(8, 8))])]),
    dict(type="PackViews"),
]


def write_image(path: Path, side: int = 20) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(side).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def bomb(path: Path) -> None:
    Image.new("1", (14000, 13000)).save(path)


def truncated(path: Path) -> None:
    path.write_bytes(write_image(path).read_bytes()[:-200])


def sparse(path: Path) -> None:
    write_image(path)
    os.truncate(path, files.MAX_BYTES + 1)


def bands(path: Path) -> None:
    """A TIFF that says 13,000 x 13,000 pixels of 60 bands, and has none of them."""
    tags = {256: 13000, 257: 13000, 258: 16, 259: 1, 262: 1, 273: 8, 277: 60, 278: 13000, 279: 0}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    path.write_bytes(struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + b"\0\0\0\0")


def patched(path: Path, **options: Any) -> None:
    """Cut short, and then ended as a whole JPEG is."""
    pixels = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **options)
    content = path.read_bytes()
    path.write_bytes(content[: 3 * len(content) // 4] + b"\xff\xd9")


def loop(path: Path) -> None:
    path.symlink_to(path)


def header(path: Path) -> None:
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"\xff" * 30)


# what is made, whether its header tells, and what the message says beside the name
BROKEN: dict[str, tuple[Any, bool, str]] = {
    "bomb.png": (bomb, True, "max_pixels"),
    "empty.jpg": (lambda path: path.write_bytes(b""), True, "0 bytes"),
    "text.jpg": (lambda path: path.write_text("no image"), True, ""),
    "header.png": (header, True, ""),
    "pipe.jpg": (os.mkfifo, True, "pipe"),
    "folder.jpg": (lambda path: path.mkdir(), True, "folder"),
    "sparse.jpg": (sparse, True, "bytes are more than"),
    "bands.tif": (bands, False, "bytes are more than"),
    "program.jpg": (
        lambda path: path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"
                                      b"%%EndComments\n"),
        True, "PostScript",
    ),
    "loop.jpg": (loop, True, ""),
    "dangling.jpg": (lambda path: path.symlink_to("nowhere.jpg"), True, ""),
    "cut.jpg": (truncated, False, ""),
    "patched.jpg": (patched, False, "end before the image"),
    "progressive.jpg": (partial(patched, progressive=True), False, ""),
    "cut.png": (truncated, True, ""),
    "noise.npy": (lambda path: path.write_bytes(b"\x93NUMPY" + b"\0" * 20), True, ""),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_named_and_counted(name: str, tmp_path: Path) -> None:
    make, early, words = BROKEN[name]
    make(tmp_path / name)
    write_image(tmp_path / "z_good.png")
    kinds = (".png", ".jpg", ".npy", ".tif")
    message = rf"{name}.*{words}"
    if early:
        with pytest.raises(BrokenImageError, match=message):
            ImageFolder(str(tmp_path), PIPELINE, extensions=kinds)
    data = ImageFolder(str(tmp_path), PIPELINE, extensions=kinds, check=0)
    assert len(data) == 2
    with pytest.raises(BrokenImageError, match=message):
        data[0]
    tolerant = ImageFolder(str(tmp_path), PIPELINE, extensions=kinds, max_broken=1)
    assert tolerant[0]["sample"]["path"] == str(tmp_path / "z_good.png")
    assert tolerant.broken == [str(tmp_path / name)]
    (tmp_path / "list.txt").write_text(f"{name}\nz_good.png\n")
    if name != "dangling.jpg":  # which is a missing file of the list
        listed = ImageList(str(tmp_path / "list.txt"), PIPELINE, str(tmp_path), max_broken=1)
        assert listed[0]["sample"]["path"] == str(tmp_path / "z_good.png")


def test_members_of_zip_files_that_are_bombs_or_of_unknown_compression(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = write_image(tmp_path / "x.png").read_bytes()
    monkeypatch.setattr(files, "MAX_BYTES", 10**6)
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.png", content + b"\0" * 10**6)
        archive.writestr("good.png", content)
    data = ImageArchive(str(tmp_path / "x.zip"), PIPELINE, max_broken=1)
    assert data[0]["sample"]["path"].endswith("good.png")
    assert data.broken == [f"{tmp_path}/x.zip/bomb.png"]
    changed = bytearray((tmp_path / "x.zip").read_bytes())
    for start, place in ((b"PK\3\4", 8), (b"PK\1\2", 10)):
        changed[changed.find(start) + place] = 99
    (tmp_path / "y.zip").write_bytes(changed)
    with pytest.raises(BrokenImageError, match=r"bomb.png in .*y.zip cannot be read .*compression"):
        ImageArchive(str(tmp_path / "y.zip"), PIPELINE)


def test_huge_images_are_read_where_that_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 150)  # of this test: 300 is the limit
    path = write_image(tmp_path / "x.png")
    with pytest.raises(BrokenImageError, match=r"x.png cannot be read .*LoadImage.max_pixels"):
        EncodedImage(str(path), max_pixels=files.MAX_PIXELS // 10**9 or 300)
    for limit in (400, None):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 150)
        load = dict(type="LoadImage", max_pixels=limit)
        data = ImageFolder(str(tmp_path), [load, *PIPELINE[1:]])
        assert data[0]["sample"]["path"] == str(path)
    # a limit of its own holds although another one has raised Pillow's
    with pytest.raises(BrokenImageError, match=r"20 x 20 pixels are more than max_pixels=399"):
        EncodedImage(str(path), max_pixels=399)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP", "BMP"])
def test_damage_anywhere_is_an_image_or_a_named_error(kind: str) -> None:
    buffer = BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    options = {} if kind == "BMP" else {"exif": exif}
    pixels = np.random.default_rng(0).integers(0, 256, (24, 20, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, kind, **options)
    content = buffer.getvalue()

    @settings(max_examples=150, deadline=None)
    @given(st.integers(0, len(content) - 1), st.binary(min_size=1, max_size=6), st.booleans())
    def damage(place: int, values: bytes, cut: bool) -> None:
        start = place % min(400, len(content)) if not cut else place
        data = content[:start] + values + (b"" if cut else content[start + len(values) :])
        try:
            EncodedImage("damaged.x", BytesIO(data), max_pixels=10**6).decode()
        except BrokenImageError as error:
            assert "damaged.x" in str(error)

    damage()


def test_beyond_the_budget_all_are_named(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.png").write_bytes(b"broken")
    data = ImageFolder(str(tmp_path), PIPELINE, max_broken=2)
    with pytest.raises(BrokenImageError, match=r"3 images cannot be read, and max_broken=2: .*a.p"):
        data[0]
    with pytest.raises(BrokenImageError, match=r"None of the 3 images .*a.png.*b.png.*c.png"):
        ImageFolder(str(tmp_path), PIPELINE, max_broken=9)[1]


def test_hidden_files_and_loops_of_folders_are_left_out_and_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[str] = []
    monkeypatch.setattr(files, "print_log", lambda message, **_: logged.append(message))
    good = write_image(tmp_path / "cat" / "deep" / "1.png")
    linked = write_image(tmp_path.parent / f"{tmp_path.name}-elsewhere" / "2.png").parent
    for name in (".ipynb_checkpoints/1.png", "@eaDir/1.png/THUMB_M.jpg", ".git/x.png", "._1.png",
                 "__MACOSX/1.png"):  # fmt: skip
        write_image(tmp_path / "cat" / name)
        if "/" in name:
            write_image(tmp_path / name)
    (tmp_path / "cat" / "again").symlink_to(tmp_path)
    (tmp_path / "cat" / "linked").symlink_to(linked)
    for here, there in (("deep", "other"), ("other", "deep")):  # each leads into the other
        (tmp_path / "cat" / here).mkdir(exist_ok=True)
        (tmp_path / "cat" / here / "across").symlink_to(tmp_path / "cat" / there)
    expected = [str(good), str(tmp_path / "cat/linked/2.png"),
                str(tmp_path / "cat/other/across/1.png")]  # fmt: skip
    assert list_images(tmp_path) == expected
    assert "hidden" in logged[0] and ".git" in logged[0]
    assert "again" in logged[1] and "links" in logged[1]
    data = LabelledFolder(str(tmp_path), PIPELINE)
    assert data.classes == ["cat"] and data.paths == expected
    chosen = LabelledFolder(str(tmp_path), PIPELINE, classes=[".git"])
    assert chosen.classes == [".git"] and len(chosen) == 1
    good.unlink()
    (tmp_path / "cat" / "linked").unlink()
    with pytest.raises(FileNotFoundError, match="holds no image.*hidden files"):
        list_images(tmp_path / "cat")


@pytest.mark.parametrize("most", [2, 3])
def test_workers_share_the_budget_of_broken_files(tmp_path: Path, most: int) -> None:
    """Three broken files that three workers meet are three, not one each."""
    for index in range(12):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{index:02}.png")
    for index in (0, 4, 8):
        (tmp_path / f"{index:02}.png").write_bytes(b"no image")
    data = ImageFolder(str(tmp_path), PIPELINE, max_broken=most)
    loader = DataLoader(data, batch_size=4, num_workers=3, collate_fn=list)
    if most == 2:
        with pytest.raises(BrokenImageError, match="3 images cannot be read, and max_broken=2"):
            list(loader)
    else:
        assert sum(len(batch) for batch in loader) == 12
    assert [Path(path).name for path in data.broken] == ["00.png", "04.png", "08.png"]


def meet_two(rank: int, port: int, folder: str) -> None:
    """Each process reads two broken files of its own, two iterations, and an epoch ends."""
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    data = ImageFolder(folder, PIPELINE, max_broken=3, check=0)
    loader: Any = DataLoader(data, batch_size=2, collate_fn=list)
    runner: Any = SimpleNamespace(train_dataloader=loader, hooks=[], iter=0)
    hook = BrokenBudgetHook()
    hook.before_train(runner)
    said = []
    for batch, index in enumerate((4 * rank, 4 * rank + 2)):
        data[index]
        try:
            hook.after_train_iter(runner, batch)
        except BrokenImageError as error:
            said.append(str(error))
        runner.iter += 1
    Path(folder, f"{rank}.txt").write_text("|".join([*said, *map(os.path.basename, data.broken)]))
    dist.destroy_process_group()


def test_processes_share_the_budget_too(tmp_path: Path) -> None:
    for index in range(8):
        write_image(tmp_path / f"{index}.png")
        if not index % 2:
            (tmp_path / f"{index}.png").write_bytes(b"no image")
    start_processes(meet_two, (free_port(), str(tmp_path)), nprocs=2, start_method="fork")
    for rank in range(2):
        error, *broken = (tmp_path / f"{rank}.txt").read_text().split("|")
        assert "All processes together: 4 images cannot be read, and max_broken=3" in error
        assert broken == ["0.png", "2.png", "4.png", "6.png"]
