"""Every size stands once: what depends on it follows; what contradicts is an error with both."""

from __future__ import annotations

import ast
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine import registry as root
from mmengine.registry import DefaultScope, init_default_scope
from PIL import Image

from mmvitssl.engine import training
from mmvitssl.engine.config_files import read_config
from mmvitssl.engine.errors import UserError
from mmvitssl.engine.launch import prepare_scope
from mmvitssl.engine.optim.selectors import check_selectors
from mmvitssl.models.sizes import resolve_levels
from mmvitssl.models.tokenizers.file import save_tokenizer
from mmvitssl.registry import MODELS
from tests.marks import some
from tests.test_tools.programs import logged

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
# a config for each method and kind of probe
METHODS = (
    "mae/mae_vit-base_64xb64-cosine-800e_in1k",
    "mae/mae_vit-huge-p14_64xb64-cosine-800e_in1k",
    "lomar/lomar_vit-base_4xb256-cosine-400e_in1k",
    "lomar/lomar-beit_vit-base_8xb256-cosine-300e_in1k",
    "beit/beit_vit-base_8xb256-cosine-300e_in1k",
    "cae/cae_vit-base_32xb64-cosine-300e_in1k",
    "cae/cae_vit-large-decoder768_32xb64-cosine-1600e_in1k",
    "cae/cae_vit-base_rgb-32xb64-cosine-300e_in1k",
    "simmim/simmim_vit-base_16xb128-step-800e_in1k",
    "mocov2/mocov2_vit-small_8xb128-cosine-300e_in1k",
    "moby/moby_vit-small_8xb64-cosine-300e_in1k",
    "moby/moby_swin-tiny_8xb64-cosine-100e_in1k",
    "mocov3/mocov3_vit-base_32xb128-cosine-300e_in1k",
    "mocov3/fast/mocov3_vit-small_device-augment-32xb128-cosine-300e_in1k",
    "simclr/simclr_vit-small_lars-32xb128-cosine-300e_in1k",
    "byol/byol_vit-small_32xb128-cosine-300e_in1k",
    "simsiam/simsiam_vit-small_32xb128-cosine-300e_in1k",
    "dino/dino_vit-small_8xb128-cosine-100e_in1k",
    "dino/dino_swin-tiny_8xb128-cosine-300e_in1k",
    "repre/repre-mocov3_vit-base_32xb128-cosine-300e_in1k",
    "repre/repre-mocov3_swin-tiny_32xb128-cosine-300e_in1k",
    "repre/ablations/repre-mocov3_swin-tiny_single-32xb128-cosine-300e_in1k",
    "mtssl/mtssl-all_vit-small_32xb128-cosine-300e_in1k",
    "mtssl/sit_vit-base_4xb72-cosine-501e_in1k",
    "ibot/ibot_vit-small_16xb64-cosine-800e_in1k",
    "ibot/ibot_vit-small_separate-heads-16xb64-cosine-800e_in1k",
    "ibot/repre-ibot_vit-small_16xb64-cosine-800e_in1k",
    "ijepa/ijepa_vit-large_16xb128-cosine-600e_in1k",
    "data2vec/data2vec_vit-base_16xb128-cosine-800e_in1k",
    "dbot/dbot_vit-base_64xb64-cosine-800e_in1k",
    "maskfeat/maskfeat_vit-base_16xb128-cosine-300e_in1k",
    "probe/linear-mae_vit-base_32xb512-cosine-90e_in1k",
    "probe/linear-beit_vit-base_8xb128-cosine-100e_in1k",
    "probe/attentive-cae_vit-base_32xb256-cosine-90e_in1k",
    "probe/finetune-mae_vit-base_32xb32-cosine-100e_in1k-384px",
)
QUICK = ("simmim/", "mtssl/sit", "probe/attentive")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve images, and as many in a folder for each of two classes."""
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for part in ("all", "labelled/train/a", "labelled/train/b", "labelled/val/a", "labelled/val/b"):
        (folder / part).mkdir(parents=True)
        for number in range(12 if part == "all" else 6):
            pixels = rng.integers(0, 256, (80, 90, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / part / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.safetensors"
    config = dict(type="DiscreteVAE", vocabulary=32, hidden=8, codes=8, blocks=1, stride=8)
    save_tokenizer(MODELS.build(config), path)
    return path


def _small(config: Any, tokenizer: Path) -> Iterator[str]:
    """Options that make what no shorthand names small and fast."""
    yield from ("train_dataloader.num_workers=0", "train_dataloader.persistent_workers=False")
    yield "default_hooks.logger.interval=1"
    for name, task in config.model.get("tasks", {}).items():
        place = f"model.tasks.{name}"
        if task.get("target", {}).get("type") == "TokenTarget":
            yield f"{place}.target.checkpoint={tokenizer}"
            yield f"{place}.target.vocabulary=32"
        for part in ("projector", "predictor"):
            if "hidden_channels" in (task.get(part) or {}):
                yield f"{place}.{part}.hidden_channels=32"
        if "prototypes" in task.get("projector", {}):
            yield f"{place}.projector.prototypes=32"
        if "patch_prototypes" in task.get("projector", {}):
            yield f"{place}.projector.patch_prototypes=24"
        if (task.get("masking") or {}).get("type") == "MultiBlockMasking":
            yield f"{place}.masking.min_keep=4"
        if task.get("head", {}).get("type") == "QueueInfoNCE":
            yield f"{place}.head.size=100"  # which the batch does not divide
    if "accumulative_counts" in config.optim_wrapper:
        yield "optim_wrapper.accumulative_counts=1"


@pytest.mark.slow
@pytest.mark.parametrize("name", some(METHODS, lambda name: name.startswith(QUICK)))
def test_every_method_follows_the_shorthands(
    name: str, images: Path, tokenizer: Path, tmp_path: Path
) -> None:
    """Another arch, patch, image size, length and batch than the recipe's; the user's images."""
    path = str(CONFIGS / f"{name}.py")
    probe = name.startswith("probe")
    arguments = [
        path, "--arch", "tiny", "--patch-size", "8", "--image-size", "64", "--epochs", "2",
        "--batch-size", "6", "--data", str(images / ("labelled" if probe else "all")),
        "--work-dir", str(tmp_path), "--cfg-options", *_small(read_config(path), tokenizer),
        f"experiment_name=sizes-{name.replace('/', '-')}",
    ]  # fmt: skip
    with DefaultScope.overwrite_default_scope(None):
        runner = training.train(training.parser(None).parse_args(arguments))
    losses = [line["loss"] for line in logged(tmp_path) if "loss" in line]
    assert runner.iter == 4 and len(losses) == 4 and np.isfinite(losses).all()
    encoder = runner.model.encoder
    assert encoder.patch_size == 8 and encoder.embed_dim in (192, 768)
    views = runner.train_dataloader.dataset[0]["views"]
    assert tuple(views[0].shape[-2:]) == (64, 64)
    base = read_config(path).auto_scale_lr.base_batch_size
    rate = read_config(path).optim_wrapper.optimizer.lr * 6 / base
    assert max(g["initial_lr"] for g in runner.optim_wrapper.param_groups) >= rate * 0.999
    logging.shutdown()


MAE = "mae/mae_vit-base_64xb64-cosine-800e_in1k"
BEIT = "beit/beit_vit-base_8xb256-cosine-300e_in1k"
FORBIDDEN = {"cells", "grid", "T_max", "num_blocks", "num_masked"}


def _calls(tree: ast.AST, keys: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], ast.Call]]:
    """Every ``dict(...)`` with the keys that lead to it."""
    if isinstance(tree, ast.Call):
        yield keys, tree
    for child in ast.iter_child_nodes(tree):
        inner = keys
        if isinstance(child, ast.keyword) and child.arg:
            inner = (*keys, child.arg)
        elif isinstance(child, ast.Assign) and isinstance(child.targets[0], ast.Name):
            inner = (*keys, child.targets[0].id)
        yield from _calls(child, inner)


def _literal(node: ast.AST) -> bool:
    """Whether a value holds a number (a share of the depth is none)."""
    numbers = [n.value for n in ast.walk(node) if isinstance(n, ast.Constant)]
    return any(isinstance(number, int) and not isinstance(number, bool) for number in numbers)


def _faults(path: Path) -> Iterator[str]:
    for keys, call in _calls(ast.parse(path.read_text())):
        values = {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
        kind = values.get("type")
        named = kind.value if isinstance(kind, ast.Constant) else ""
        where = ".".join(keys)
        for key in FORBIDDEN & values.keys():
            yield f"{where}.{key}"
        if "encoder" not in keys and "patch_size" in values:
            yield f"{where}.patch_size"
        own = "tasks" in keys or "neck" in keys or "decode_head" in keys or "auxiliary_head" in keys
        if own and "in_channels" in values and _literal(values["in_channels"]):
            if named != "SETRMLAHead" and named != "FCNHead":  # of the neck's maps
                yield f"{where}.in_channels"
        if isinstance(values.get("levels"), ast.Tuple) and not any(
            isinstance(n, (ast.Div, ast.Mult)) for n in ast.walk(values["levels"])
        ):
            yield f"{where}.levels"
        if named in ("RandomResizedCrop", "CenterCrop", "RandAugment") and "size" in values:
            if _literal(values["size"]) and "dvae" not in path.name:  # it has no encoder
                yield f"{where}.size"
        if named in ("CosineAnnealingLR", "PolyLR") and "end" in values:
            yield f"{where}.end"


@pytest.mark.parametrize("folder", sorted({p.parent for p in CONFIGS.rglob("*.py")}), ids=str)
def test_no_width_level_or_schedule_end_is_a_literal(folder: Path) -> None:
    faults = {path.name: list(_faults(path)) for path in sorted(folder.glob("*.py"))}
    assert not {name: found for name, found in faults.items() if found}


def inherit(folder: Path, base: str, text: str) -> str:
    path = folder / "mine.py"
    path.write_text(f"_base_ = '{CONFIGS / base}.py'\n{text}\n")
    return str(path)


def sizes_of(config: Any) -> list[Any]:
    """Sizes of the crops of each view of the training pipeline."""
    found = [step for step in config.train_dataloader.dataset.pipeline if "views" in step]
    return [t.size for entry in found[0].views for t in entry.transforms if "size" in t]


@pytest.mark.parametrize(
    ("base", "options", "sizes"),
    [
        ("dino/dino_vit-small_8xb128-cosine-100e_in1k", {}, [224, 224, 96]),
        ("dino/dino_vit-small_8xb128-cosine-100e_in1k", {"image_size": 112}, [112, 112, 48]),
        ("dinov2/dinov2-reg4_vit-large-p14_96xb32-cosine-625k_in22k", {}, [224, 224, 98]),
        ("beit/beit_vit-base_8xb256-cosine-300e_in1k", {}, [224, 112]),
        ("beit/beit_vit-base_8xb256-cosine-300e_in1k", {"patch_size": 8}, [224, 224]),
        ("mae/mae_vit-base_64xb64-cosine-800e_in1k", {"image_size": (64, 96)}, [[64, 96]]),
    ],
)
def test_crops_follow_the_encoder(base: str, options: Any, sizes: Any, tmp_path: Path) -> None:
    changes = {f"model.encoder.{key}": value for key, value in options.items()}
    assert sizes_of(read_config(str(CONFIGS / f"{base}.py"), changes)) == sizes
    inside = ", ".join(f"{key}={value}" for key, value in options.items())
    config = read_config(inherit(tmp_path, base, f"model = dict(encoder=dict({inside}))"))
    assert sizes_of(config) == sizes
    config.dump(tmp_path / "saved.py")  # states the sizes, which still follow
    again = read_config(str(tmp_path / "saved.py"), {"model.encoder.image_size": 448})
    assert sizes_of(again)[0] == 448
    stated = config.train_dataloader.dataset.pipeline[1].views[0].transforms
    next(t for t in stated if "size" in t).size = 65
    config.dump(tmp_path / "saved.py")
    with pytest.raises(UserError, match=r"size=65, but model.encoder.image_size="):
        read_config(str(tmp_path / "saved.py"))


@pytest.mark.parametrize(
    ("base", "option", "value", "words"),
    [
        (MAE, "masked.neck.in_channels", 100, ("100", "768")),
        (MAE, "masked.neck.grid", 7, ("=7", "(14, 14)")),
        (MAE, "masked.target.patch_size", 8, ("=8", "16")),
        (BEIT, "masked.neck.out_channels", 9, ("9", "8192")),
        ("cae/cae_vit-base_32xb64-cosine-300e_in1k", "context.decoder.width", 64, ("64", "768")),
        ("mocov3/mocov3_vit-base_32xb128-cosine-300e_in1k", "contrastive.predictor.in_channels", 7,
         ("7", "256")),
        ("dino/dino_vit-small_8xb128-cosine-100e_in1k", "distillation.head.prototypes", 7,
         ("7", "65536")),
        ("repre/repre-mocov3_vit-base_32xb128-cosine-300e_in1k", "reconstruction.neck.in_channels",
         (1, 2, 3, 4), ("(1, 2, 3, 4)", "768")),
        ("repre/repre-mocov3_vit-base_32xb128-cosine-300e_in1k", "reconstruction.levels", (2, 13),
         ("(2, 13)", "0..11")),
        ("ibot/ibot_vit-small_16xb64-cosine-800e_in1k", "masked.target.prototypes", 7,
         ("7", "8192")),
        ("data2vec/data2vec_vit-base_16xb128-cosine-800e_in1k", "masked.target.top", 13,
         ("13", "12 blocks")),
        ("ijepa/ijepa_vit-base_16xb128-cosine-600e_in1k", "masked.neck.in_channels", 7,
         ("7", "768")),
        ("mtssl/mtssl-all_vit-small_32xb128-cosine-300e_in1k", "rotation.in_channels", 5,
         ("tasks.rotation.in_channels=5", "384")),
        ("mtssl/mtssl-all_vit-small_32xb128-cosine-300e_in1k", "jigsaw.cells", 5, ("5", "196")),
    ],
)  # fmt: skip
def test_a_stated_size_that_contradicts_is_an_error_with_both(
    base: str, option: str, value: Any, words: tuple[str, ...]
) -> None:
    config = read_config(str(CONFIGS / f"{base}.py"), {f"model.tasks.{option}": value})
    with torch.device("meta"), pytest.raises(ValueError) as error:
        MODELS.build(config.model)
    assert all(word in str(error.value) for word in words), error.value


def test_stated_sizes_that_agree_are_accepted() -> None:
    path = str(CONFIGS / "mtssl/mtssl-all_vit-small_32xb128-cosine-300e_in1k.py")
    options = {"rotation.in_channels": 384, "jigsaw.cells": 196, "paint.patch_size": 16}
    config = read_config(path, {f"model.tasks.{key}": value for key, value in options.items()})
    with torch.device("meta"):
        assert MODELS.build(config.model).tasks["jigsaw"].head[-1].out_features == 196


@pytest.mark.parametrize(
    ("levels", "depth", "found"),
    [
        (4, 12, (2, 5, 8, 11)), (4, 24, (5, 11, 17, 23)), (4, 4, (0, 1, 2, 3)), (1, 12, (11,)),
        (3, 13, (3, 7, 11)), ((1 / 3, 1 / 2, 2 / 3, 1.0), 12, (3, 5, 7, 11)),
        ((1 / 3, 1 / 2, 2 / 3, 1.0), 24, (7, 11, 15, 23)), ((2, 5), 12, (2, 5)),
        ((10 / 24, 15 / 24, 20 / 24, 1.0), 12, (4, 7, 9, 11)), ((0.01, 1.0), 12, (0, 11)),
    ],
)  # fmt: skip
def test_levels(levels: Any, depth: int, found: tuple[int, ...]) -> None:
    assert resolve_levels("levels", levels, depth) == found


@pytest.mark.parametrize("levels", [0, 13, (), (5, 2), (2, 2), (12,), (-1, 3), (0.5, 0.51)])
def test_levels_that_do_not_exist(levels: Any) -> None:
    with pytest.raises(ValueError, match="levels"):
        resolve_levels("levels", levels, 12)


@pytest.mark.parametrize(
    ("base", "short", "message"),
    [
        ("transfer/ade20k/upernet_vit-base_8xb2-160k_ade20k-512x512", {"image_size": 64},
         "--image-size does not apply to .*segmentor"),
        ("transfer/coco/mask-rcnn_vit-base_16xb2-1x_coco", {"patch_size": 8},
         "--patch-size does not apply to .*strides"),
        ("transfer/ade20k/upernet_vit-base_8xb2-160k_ade20k-512x512", {"epochs": 2},
         r"counts iterations \(max_iters=160000\).*train_cfg.max_iters"),
        ("tokenizers/dvae_8xb32-50e_in1k", {"arch": "tiny"}, "has no encoder"),
        ("mae/mae_vit-base_64xb64-cosine-800e_in1k", {"epochs": 0}, "--epochs 0 must be 1 or more"),
        ("mae/mae_vit-base_64xb64-cosine-800e_in1k", {"data": "/nowhere"}, "no such folder"),
    ],
)  # fmt: skip
def test_shorthands_that_do_not_apply(base: str, short: dict[str, Any], message: str) -> None:
    pytest.importorskip("mmdet")
    with pytest.raises(UserError, match=message):
        read_config(str(CONFIGS / f"{base}.py"), short=short)


def test_a_shorthand_and_an_option_that_contradict() -> None:
    path = str(CONFIGS / "mae/mae_vit-base_64xb64-cosine-800e_in1k.py")
    with pytest.raises(UserError, match=r"--epochs 3 and --cfg-options .*max_epochs=4"):
        read_config(path, {"train_cfg.max_epochs": 4}, short={"epochs": 3})


@pytest.mark.parametrize(
    ("base", "arch", "width"),
    [
        ("ade20k/upernet_vit-base_8xb2-160k_ade20k-512x512", "tiny", 192),
        ("coco/mask-rcnn_vitdet-base_32xb2-25e_coco-1024px", "large", 1024),
        ("cityscapes/setr-pup_vit-base_8xb1-40k_cityscapes-768x768", "huge", 1280),
    ],
)
def test_necks_and_heads_of_detectors_follow_the_arch(base: str, arch: str, width: int) -> None:
    pytest.importorskip("mmdet")
    path = str(CONFIGS / "transfer" / f"{base}.py")
    model = read_config(path, short={"arch": arch}).model
    if "upernet" in base:
        assert model.neck.in_channels == width and model.decode_head.channels == width
        assert model.decode_head.in_channels == [width] * 4
    elif "vitdet" in base:
        assert model.neck.in_channels == width
    else:
        assert [head.in_channels for head in model.auxiliary_head] == [width] * 4
    key = "model.neck.in_channels" if "neck" in model else "model.decode_head.in_channels"
    with pytest.raises(UserError, match=f"{key}=100, but model.backbone gives {width}"):
        read_config(path, {key: 100}, short={"arch": arch})


def test_masks_follow_the_grid() -> None:
    blocks = MODELS.build(dict(type="BlockMasking", ratio=0.5, exact=True, mode="drop"))
    windows = MODELS.build(dict(type="WindowMasking", window=7, views=2, ratio=0.8))
    squares = MODELS.build(dict(type="RandomMasking", ratio=0.6, mode="replace", unit=2))
    generator = torch.Generator().manual_seed(0)
    for grid, masked in (((14, 14), 98), ((8, 8), 32), ((4, 6), 12)):
        assert blocks(grid, 2, generator).dropped.shape == (2, masked)
        plan = windows(grid, 2, generator)
        side = (min(7, grid[0]), min(7, grid[1]))
        assert plan.window == side and plan.tokens.shape == (4, side[0] * side[1])
    plan = squares((7, 5), 3, generator)
    assert plan.masked.shape == (3, 35) and plan.masked.any() and not plan.masked.all()


def test_optimizer_groups_are_one_per_setting_with_the_same_rates() -> None:
    from mmengine.optim import DefaultOptimWrapperConstructor, build_optim_wrapper

    path = str(CONFIGS / "repre/repre-mocov3_vit-small_32xb128-cosine-300e_in1k.py")
    config = read_config(path, {"model.encoder.arch": dict(base="tiny", depth=2, num_heads=3),
                                "model.tasks.reconstruction.levels": 2})  # fmt: skip
    model = MODELS.build(config.model)
    settings = config.optim_wrapper.to_dict()
    with DefaultScope.overwrite_default_scope("mmvitssl"):
        ours = build_optim_wrapper(model, dict(settings)).optimizer.param_groups
        paramwise = settings.pop("paramwise_cfg")
        theirs = DefaultOptimWrapperConstructor(settings, paramwise)(model).optimizer.param_groups

    def rates(groups: Any) -> dict[int, tuple[float, float]]:
        return {id(p): (g["lr"], g["weight_decay"]) for g in groups for p in g["params"]}

    assert rates(ours) == rates(theirs)
    assert len(ours) == len(set(rates(theirs).values())) < len(theirs)


def test_an_architecture_as_a_dict_takes_the_place_of_a_name() -> None:
    arch = dict(embed_dim=24, depths=(2, 2), num_heads=(2, 4))
    path = CONFIGS / "moby/moby_swin-tiny_8xb64-cosine-300e_in1k.py"
    assert read_config(str(path), {"model.encoder.arch": arch}).model.encoder.arch == arch


def test_a_list_and_an_entry_of_it_are_set_at_once() -> None:
    path = CONFIGS / "mae/mae_vit-base_64xb64-cosine-800e_in1k.py"
    steps = [dict(type="LoadImage"), dict(type="MultiView", views=[]), dict(type="PackViews")]
    key = "train_dataloader.dataset.pipeline"
    config = read_config(str(path), {f"{key}.0.channels": 1, key: steps})
    assert config.train_dataloader.dataset.pipeline[0] == dict(type="LoadImage", channels=1)


CHOOSING = [path for path in sorted(CONFIGS.rglob("*.py")) if "_base_" not in path.parts]


@pytest.mark.long
@pytest.mark.parametrize("folder", sorted({path.parent for path in CHOOSING}), ids=str)
def test_rates_and_decays_are_of_parameters_that_there_are(folder: Path) -> None:
    """No key of ``custom_keys`` or ``no_decay`` in the configs of a folder matches nothing."""
    for path in folder.glob("*.py"):
        config = read_config(str(path))
        paramwise = (config.get("optim_wrapper") or {}).get("paramwise_cfg") or {}
        if not paramwise.get("custom_keys") and not paramwise.get("no_decay"):
            continue
        init_default_scope(prepare_scope(config))
        with torch.device("meta"):
            check_selectors(config, root.MODELS.build(config.model))
