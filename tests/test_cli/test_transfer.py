"""``mmvitssl transfer`` and ``probe``: data as found, encoders that describe themselves."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from PIL import Image

from demo import make_demo_data
from mmvitssl import apis
from mmvitssl.apis import dense_transfer as transfers
from mmvitssl.apis.dense_config import TASKS, dense_config
from mmvitssl.apis.dense_data import find_coco, find_masks
from mmvitssl.apis.dense_transfer import choose
from mmvitssl.apis.machine import Machine
from mmvitssl.apis.probing import KINDS
from mmvitssl.checkpoint import load_encoder
from mmvitssl.checkpoint.description import Description
from mmvitssl.checkpoint.self_described import describe_file
from mmvitssl.engine.launch import UserError, prepare_scope, set_devices
from mmvitssl.models.backbones import ViT
from mmvitssl.registry import MODELS
from tests.marks import some
from tests.test_checkpoint import test_self_described as files
from tests.test_checkpoint.test_self_described import CASES, official
from tests.test_cli.test_pretrain import make_images

GPU = Machine("cuda", 1, "H100", 80 * 2**30, 16, 2**33, "the GPU has it")
CPU = Machine("cpu", 1, "CPU", 2**34, 2, 2**33, "")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("scenes") / "data"
    make_demo_data(out, train=4, val=2, seed=0, image_size=96)
    return out


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("encoder") / "vit.pth"
    model = ViT(arch=dict(embed_dim=64, depth=4, num_heads=1), image_size=64)
    torch.save(model.state_dict(), path)
    return path


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", some(CASES, lambda name: name in ("lomar", "mmpretrain-swin")))
def test_every_format_goes_into_detector_and_segmentor(
    task: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of four blocks or stages, for four levels."""
    arch = dict(embed_dim=128, depth=4, num_heads=2)
    monkeypatch.setitem(files.SIZES, "arch", arch)
    stages = dict(embed_dim=32, depths=(1, 1, 1, 1), num_heads=(1, 2, 4, 8))
    swin = files.SwinTransformer
    monkeypatch.setitem(files.ENCODERS, "swin", lambda: swin(arch=stages, window_size=7))
    expected = official(name, tmp_path / "file.pth")
    config, _ = dense_config(task, describe_file(tmp_path / "file.pth"))
    scope = prepare_scope(config)
    config.optim_wrapper.type = "OptimWrapper"
    set_devices(config, "none")
    with DefaultScope.overwrite_default_scope(scope):
        backbone: Any = MODELS.build(config.model.backbone).eval()
    load_encoder(backbone, tmp_path / "file.pth", log=lambda line: None)
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        found = backbone(image)[-1]
        last = expected.forward_levels(image, [3])[3]
    if last.ndim == 3:
        last = last.transpose(1, 2).unflatten(2, (4, 4))
    if name.endswith("swin"):
        assert found.shape == last.shape
    else:
        # the detector's table of positions is larger than the file's and is resized back
        torch.testing.assert_close(found, last, rtol=0.2, atol=0.2 * float(last.abs().max()))


@pytest.mark.parametrize("task", TASKS)
def test_models_of_timm_go_into_detector_and_segmentor(task: str) -> None:
    """A hierarchical model takes Swin's recipe, a plain one that of a ViT."""
    small = dict(depths=(1, 1, 1, 1), dims=(8, 16, 24, 32))
    stages = dict(type="TimmBackbone", model="convnext_atto", model_args=small)
    plain = dict(type="TimmBackbone", model="vit_tiny_patch16_224", model_args=dict(depth=4))
    for settings, widths, strides in (
        (stages, [8, 16, 24, 32], [4, 8, 16, 32]),
        (plain, [192] * 4, [16] * 4),
    ):
        config, recipe = dense_config(task, Description(settings))
        assert ("swin" in recipe) == (settings is stages)
        with DefaultScope.overwrite_default_scope(prepare_scope(config)):
            backbone: Any = MODELS.build(config.model.backbone).eval()
        maps = backbone(torch.rand(1, 3, 64, 64))
        assert [(level.shape[1], 64 // level.shape[2]) for level in maps] == list(
            zip(widths, strides, strict=True)
        )
        necks = config.model.get("neck") or config.model.decode_head
        neck = necks[0] if isinstance(necks, list) else necks
        assert neck.in_channels == (widths if isinstance(neck.in_channels, list) else widths[-1])


def test_coco_is_found_in_other_folders_and_split_where_it_is_whole(
    data: Path, tmp_path: Path
) -> None:
    found = find_coco(data, tmp_path / "out")
    assert found.classes == ("ball", "box", "star", "ring", "leaf")
    assert (found.train.number, found.val.number, found.largest) == (4, 2, (96, 96))
    assert found.train.images == data / "images" / "train"
    flat = tmp_path / "flat"
    shutil.copytree(data / "images" / "train", flat)
    shutil.copy(data / "annotations" / "instances_train.json", flat / "_annotations.coco.json")
    whole = find_coco(flat, tmp_path / "out")
    assert (whole.train.number, whole.val.number) == (3, 1) and "no annotations" in whole.notes[0]
    assert whole.train.images == flat
    halves = [json.loads(split.annotations.read_text()) for split in (whole.train, whole.val)]
    ids = [{note["image_id"] for note in half["annotations"]} for half in halves]
    assert not ids[0] & ids[1] and sum(len(half["images"]) for half in halves) == 4
    shutil.copy(flat / "_annotations.coco.json", flat / "other.json")
    with pytest.raises(UserError, match="several annotation files"):
        find_coco(flat, tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="COCO's form"):
        find_coco(data / "masks", tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="There is no folder"):
        find_coco(tmp_path / "none", tmp_path / "out")


def test_masks_are_found_and_their_labels_are_the_classes(data: Path, tmp_path: Path) -> None:
    found = find_masks(data, tmp_path / "out")
    assert found.suffixes == (".jpg", ".png") and found.classes[0].startswith("class_")
    named = tmp_path / "named"
    for folder in ("images", "masks"):
        shutil.copytree(data / folder / "train", named / folder)
    for mask in sorted((named / "masks").iterdir()):
        mask.rename(mask.with_name(f"{mask.stem}_mask.png"))
    labels = {int(v) for m in (named / "masks").iterdir() for v in np.unique(np.asarray(
        Image.open(m)))} - {255}  # fmt: skip
    (named / "classes.txt").write_text("\n".join(f"k{i}" for i in range(max(labels))))
    whole = find_masks(named, tmp_path / "out")
    assert whole.suffixes == (".jpg", "_mask.png") and whole.reduce_zero
    assert whole.classes[0] == "k0" and (whole.train.number, whole.val.number) == (3, 1)
    assert Path(whole.val.names).read_text().split() == ["00001"]
    (named / "classes.txt").write_text("one")
    with pytest.raises(UserError, match="has 1 names"):
        find_masks(named, tmp_path / "out")
    next((named / "masks").iterdir()).unlink()
    with pytest.raises(UserError, match="have no mask"):
        find_masks(named, tmp_path / "out")


def test_settings_follow_data_and_machine(data: Path, tmp_path: Path) -> None:
    found = find_coco(data, tmp_path)
    nothing = dict.fromkeys(("image size", "batch", "epochs"))
    on_gpu = choose(TASKS["mask-rcnn"], found, GPU, nothing)
    on_cpu = choose(TASKS["mask-rcnn"], found, CPU, nothing)
    assert on_gpu["image size"].value == 800 and on_cpu["image size"].value == 96
    assert on_gpu["epochs"].value > on_cpu["epochs"].value >= 1
    stated = {**nothing, "batch": 9}
    with pytest.raises(UserError, match="--batch-size 9 is more than the 4 images"):
        choose(TASKS["mask-rcnn"], found, CPU, stated)


@pytest.mark.slow
@pytest.mark.parametrize("task", some(TASKS, lambda task: task == "upernet"))
def test_a_detector_and_a_segmentor_train_in_one_line(
    task: str, data: Path, encoder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    lines: list[str] = []
    done = apis.transfer(task, data, encoder, out, 1, 2, 32, lines.append)
    said = "\n".join(lines)
    assert done.checkpoint.exists() and "classes: " in said and "as you said" in said
    key = "coco/bbox_mAP" if task == "mask-rcnn" else "mIoU"
    assert key in done.metrics and key in said
    config = Config.fromfile(done.config)
    assert config.pretrained == str(encoder) and config.randomness.seed == 0
    with pytest.raises(UserError, match="holds the checkpoints of another run"):
        transfers.prepare(task, data, encoder, out)
    with pytest.raises(UserError, match="no transfer to setr"):
        transfers.prepare("setr", data, encoder)


@pytest.mark.slow
@pytest.mark.parametrize("kind", some(KINDS, lambda kind: kind == "linear"))
def test_probes_tell_colours_apart(kind: str, encoder: Path, tmp_path: Path) -> None:
    images = make_images(tmp_path / "images", 20)
    done = apis.probe(images, encoder, kind, tmp_path / "out", 5, say=lambda line: None)
    assert done.metrics["accuracy/top1"] == 100.0
    split = tmp_path / "split"
    for name in ("train", "val"):
        shutil.copytree(images, split / name)
    config = apis.probing.prepare(split, encoder, kind, tmp_path / "b", say=lambda line: None)
    assert "LabelledFolder" in config.read_text()
    if kind != "linear":
        return
    (images / "cat").rename(images / "dog" / "cat")
    with pytest.raises(UserError, match="one class folder"):
        apis.probing.prepare(images, encoder, kind, tmp_path / "c", say=lambda line: None)
