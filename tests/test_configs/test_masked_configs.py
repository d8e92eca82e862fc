"""Full-size configs of the masked methods: they build, and their numbers are the published ones."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
import torch
from mmengine.optim import build_optim_wrapper

from mmvitssl.engine.optim import AutocastOptimWrapper
from mmvitssl.registry import MODELS, TRANSFORMS
from tests.test_configs.reading import CONFIGS, read
from tests.test_configs.reading import built as build

FOLDERS = ("mae", "simmim", "beit", "lomar", "cae", "tokenizers")
ALL = sorted(
    str(p.relative_to(CONFIGS)) for folder in FOLDERS for p in (CONFIGS / folder).glob("*.py")
)
MAE_B = "mae/mae_vit-base_64xb64-cosine-800e_in1k.py"
BEIT_B = "beit/beit_vit-base_8xb256-cosine-800e_in1k.py"
LOMAR_B = "lomar/lomar_vit-base_4xb256-cosine-400e_in1k.py"
LOMAR_BEIT = "lomar/lomar-beit_vit-base_8xb256-cosine-300e_in1k.py"
SIMMIM_B = "simmim/simmim_vit-base_16xb128-step-800e_in1k.py"
SIMMIM_SWIN100 = "simmim/simmim_swin-base_16xb128-cosine-100e_in1k-192px.py"
SIMMIM_SWIN800 = "simmim/simmim_swin-base_16xb128-step-800e_in1k-192px.py"
CAE_B = "cae/cae_vit-base_32xb64-cosine-300e_in1k.py"
TRAINED = {
    "mae/mae_vit-small_64xb64-cosine-800e_in1k.py": 47_401_728,
    MAE_B: 111_655_680,
    "mae/mae_vit-large_64xb64-cosine-800e_in1k.py": 329_239_296,
    "mae/mae_vit-huge-p14_64xb64-cosine-800e_in1k.py": 656_613_964,
    BEIT_B: 91_965_776,
    "beit/beit_vit-large_8xb256-cosine-800e_in1k.py": 311_534_016,
    "lomar/lomar_vit-small_4xb256-cosine-400e_in1k.py": 21_924_480,
    LOMAR_B: 86_277_120,
    "lomar/lomar_vit-large_4xb256-cosine-400e_in1k.py": 303_964_928,
    LOMAR_BEIT: 91_965_776 - (732 - 172) * 12,
    CAE_B: 148_681_472,
    "cae/cae_vit-large_32xb64-cosine-1600e_in1k.py": 412_320_768,
    "cae/cae_vit-large-decoder768_32xb64-cosine-1600e_in1k.py": 366_938_112,
    "cae/cae_vit-small_32xb64-cosine-300e_in1k.py": 38_955_392,
    "cae/cae_vit-small-decoder768_32xb64-cosine-300e_in1k.py": 84_916_736,
}


@pytest.mark.parametrize("path", ALL)
def test_every_config_builds_and_is_consistent(path: str) -> None:
    config, model = read(path), build(path)
    assert any(parameter.requires_grad for parameter in model.parameters())
    gpus, batch = sizes(path)
    real = gpus * batch * config.optim_wrapper.get("accumulative_counts", 1)
    assert real == config.auto_scale_lr.base_batch_size
    assert config.train_dataloader.batch_size == batch
    last = config.param_scheduler[-1]
    assert last.get("end", config.train_cfg.max_epochs) == config.train_cfg.max_epochs
    assert f"-{config.train_cfg.max_epochs}e_" in path
    pipeline = config.train_dataloader.dataset.pipeline
    assert [part.type for part in pipeline] == ["LoadImage", "MultiView", "PackViews"]
    TRANSFORMS.build(pipeline[1])


def sizes(path: str) -> tuple[int, int]:
    """Processes and batch of each that the name of a config says."""
    match = re.search(r"(\d+)xb(\d+)-", path)
    assert match, path
    return int(match[1]), int(match[2])


@pytest.mark.parametrize("path", TRAINED)
def test_trained_parameters_are_the_published_number(path: str) -> None:
    model = build(path)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == TRAINED[path]


def test_frozen_tables_of_mae() -> None:
    every = {p: sum(q.numel() for q in build(p).parameters()) for p in (MAE_B,)}
    assert every[MAE_B] == 111_907_840


@pytest.mark.parametrize(
    ("path", "lr", "decay", "betas", "batch"),
    [
        (MAE_B, 1.5e-4 * 4096 / 256, 0.05, (0.9, 0.95), 4096),
        (LOMAR_B, 1.5e-4 * 4096 / 256, 0.05, (0.9, 0.95), 4096),
        (BEIT_B, 1.5e-3, 0.05, (0.9, 0.999), 2048),
        (CAE_B, 1.5e-3, 0.05, (0.9, 0.999), 2048),
        (SIMMIM_B, 4e-4, 0.05, (0.9, 0.999), 2048),
        (SIMMIM_SWIN800, 4e-4, 0.05, (0.9, 0.999), 2048),
        (SIMMIM_SWIN100, 8e-4, 0.05, (0.9, 0.999), 2048),
    ],
)
def test_published_optimizers(
    path: str, lr: float, decay: float, betas: tuple[float, float], batch: int
) -> None:
    optimizer = read(path).optim_wrapper.optimizer
    assert optimizer.lr == pytest.approx(lr) and optimizer.weight_decay == decay
    assert tuple(optimizer.betas) == betas
    assert read(path).auto_scale_lr.base_batch_size == batch


def decays(path: str, **encoder: Any) -> dict[str, float]:
    """Weight decay of every trained parameter, on a small model of the same kind."""
    config = read(path)
    config.model.encoder.arch = dict(embed_dim=32, depth=2, num_heads=2)
    if config.model.encoder.type == "SwinTransformer":
        config.model.encoder.arch = dict(embed_dim=8, depths=(1, 1, 1, 1), num_heads=(1, 1, 1, 1))
    model = MODELS.build(config.model)
    wrapper = build_optim_wrapper(model, config.optim_wrapper)
    assert isinstance(wrapper, AutocastOptimWrapper)
    names = {id(p): name for name, p in model.named_parameters()}
    found = {
        names[id(p)]: group["weight_decay"]
        for group in wrapper.optimizer.param_groups
        for p in group["params"]
    }
    assert set(found) == {name for name, p in model.named_parameters() if p.requires_grad}
    return found


@pytest.mark.parametrize("path", [MAE_B, LOMAR_B, BEIT_B, CAE_B])
def test_who_is_decayed_as_published(path: str) -> None:
    found = decays(path)
    for name, decay in found.items():
        one_dimensional = name.endswith((".bias", "_bias", ".gamma")) or ".norm" in name
        if one_dimensional:
            assert decay == 0.0, name
    assert found["encoder.cls_token"] == (0.0 if path == BEIT_B else 0.05)
    assert found["encoder.patch_embed.proj.weight"] == 0.05
    assert not any("pos_embed" in name for name in found)  # fixed tables are not trained
    tokens = [name for name in found if name.endswith("mask_token")]
    assert tokens and all(found[name] == 0.05 for name in tokens)
    tables = [name for name in found if "table" in name]
    assert bool(tables) == (path in (LOMAR_B, BEIT_B))
    assert all(found[name] == 0.05 for name in tables)


@pytest.mark.parametrize("path", [SIMMIM_B, SIMMIM_SWIN100, SIMMIM_SWIN800])
def test_simmim_as_published(path: str) -> None:
    config, found = read(path), decays(path)
    swin = path != SIMMIM_B
    assert not any(found[name] for name in found if name.endswith((".bias", "_bias", ".gamma")))
    tables = [name for name in found if "bias_table" in name]
    assert tables and all(found[name] == 0.05 for name in tables)
    assert found["encoder.mask_token"] == (0.0 if swin else 0.05)
    assert swin or found["encoder.cls_token"] == 0.0
    assert config.optim_wrapper.clip_grad.max_norm == 5.0
    assert config.model.encoder.get("drop_path", 0.0) == (0.0 if swin else 0.1)
    warm_up, rest = config.param_scheduler
    assert (warm_up.end, warm_up.start_factor) == (10, 5e-3)
    if path == SIMMIM_SWIN100:
        assert (rest.type, rest.whole, rest.eta_min) == ("mmvitssl.CosineAnnealingLR", True, 4e-5)
    else:
        assert (rest.type, rest.milestones, rest.gamma) == ("MultiStepLR", [700], 0.1)
    side = config.model.encoder.image_size // 32  # of a masked square
    masking = MODELS.build(config.model.tasks.masked.masking)
    cells = side if swin else 2 * side
    masked = masking((cells, cells), 1, torch.Generator()).masked
    assert int(masked.sum()) == math.ceil(0.6 * side**2) * (1 if swin else 4)
    crop = views_of(path)[0].transforms[0]
    assert (crop.scale, crop.ratio, crop.interpolation) == ((0.67, 1.0), (3 / 4, 4 / 3), "bilinear")
    torch.manual_seed(0)
    layer = MODELS.build(dict(config.model.tasks.masked.neck, in_channels=768, out_channels=3072))
    bound = 768**-0.5  # PyTorch's uniform distribution
    weight = layer.layers[0].weight
    assert 0.99 * bound < weight.abs().max() <= bound and layer.layers[0].bias.abs().max() > 0


def test_lomars_two_recipes() -> None:
    paper = read("lomar/lomar_vit-base_paper-4xb256-cosine-400e_in1k.py")
    code = read(LOMAR_B)
    kinds = [[step.type for step in one.train_dataloader.dataset.pipeline[1].views[0].transforms]
             for one in (paper, code)]  # fmt: skip
    assert kinds == [["RandomResizedCrop"], ["RandomResizedCrop", "RandomFlip"]]
    assert [one.param_scheduler[0].end for one in (paper, code)] == [10, 20]
    assert paper.model == code.model and paper.optim_wrapper == code.optim_wrapper


@pytest.mark.parametrize(
    ("window", "views", "path"),
    [
        (5, 8, "lomar/lomar_vit-base_win5-4xb256-cosine-400e_in1k.py"),
        (7, 4, LOMAR_B),
        (9, 3, "lomar/lomar_vit-base_win9-4xb256-cosine-400e_in1k.py"),
        (11, 2, "lomar/lomar_vit-base_win11-4xb256-cosine-400e_in1k.py"),
        (14, 1, "lomar/lomar_vit-base_win14-4xb256-cosine-400e_in1k.py"),
    ],
)
def test_lomars_windows(window: int, views: int, path: str) -> None:
    masking = MODELS.build(read(path).model.tasks.masked.masking)
    plan = masking((14, 14), 1, torch.Generator())
    assert plan.window == (window, window) and plan.tokens.shape == (views, window**2)
    assert int(plan.masked[0].sum()) == int(0.8 * window**2)


def test_lomars_resolutions_and_patches() -> None:
    for size, views in ((384, 6), (448, 9)):
        config = read(f"lomar/lomar_vit-base_4xb256-cosine-300e_in1k-{size}px.py")
        assert config.model.tasks.masked.masking.views == views
        crop = config.train_dataloader.dataset.pipeline[1].views[0].transforms[0]
        assert crop.size == config.model.encoder.image_size == size
    small = read("lomar/lomar_vit-base-p8_4xb256-cosine-400e_in1k.py").model
    with torch.device("meta"):
        built = MODELS.build(small)
    assert built.encoder.patch_size == built.tasks["masked"].target.patch_size == 8
    assert small.tasks.masked.masking.window == 7 and small.tasks.masked.masking.views == 4


def test_lomar_in_beit_is_beit_with_another_masker() -> None:
    base = read("beit/beit_vit-base_8xb256-cosine-300e_in1k.py").to_dict()
    lomar = read(LOMAR_BEIT).to_dict()
    masking = lomar["model"]["tasks"]["masked"].pop("masking")
    assert masking == dict(type="WindowMasking", window=7, views=4, ratio=0.8)
    assert lomar["model"]["encoder"].pop("relative_grid") == 7
    base["model"]["tasks"]["masked"].pop("masking")
    assert lomar == base


def test_the_tokenizers_view_is_the_same_crop() -> None:
    first, second = read(BEIT_B).train_dataloader.dataset.pipeline[1].views
    assert second.same_as == 0
    pixels = [view.transforms[-1].pop("size") for view in (first, second)]
    kinds = [view.transforms[-1].pop("interpolation") for view in (first, second)]
    assert pixels == [224, 112] and kinds == ["bicubic", "lanczos"]
    assert first.transforms[-1].pop("of_image") == 1 and second.transforms[-1].pop("per_patch") == 8
    assert first.transforms == second.transforms
    # BEiT's jitter is before flip and crop; CAE's and LoMaR's views differ as published
    kinds = {path: [step.type for step in views_of(path)[0].transforms]
             for path in (BEIT_B, LOMAR_BEIT, CAE_B)}  # fmt: skip
    cropped = ["RandomFlip", "RandomResizedCrop"]
    assert kinds[BEIT_B] == kinds[LOMAR_BEIT] == ["ColorJitter", *cropped]
    assert kinds[CAE_B] == cropped
    jitter = views_of(BEIT_B)[1].transforms[0]
    assert jitter == dict(type="ColorJitter", brightness=0.4, contrast=0.4, saturation=0.4)


def views_of(path: str) -> Any:
    return read(path).train_dataloader.dataset.pipeline[1].views


ABLATIONS: dict[str, dict[str, Any]] = {
    "no-decoder": {"decoder.depth": 0},
    "no-alignment": {"align_weight": 0.0},
    "no-decoder-no-alignment": {"decoder.depth": 0, "align_weight": 0.0},
    "mask40": {"masking.ratio": 0.4},
    "mask60": {"masking.ratio": 0.6},
    "depth1": {"decoder.depth": 1, "regressor.depth": 1},
    "depth2": {"decoder.depth": 2, "regressor.depth": 2},
    "depth5": {"decoder.depth": 5, "regressor.depth": 5},
    "align1": {"align_weight": 1.0},
    "align1.5": {"align_weight": 1.5},
    "dvae": {"target.checkpoint": "data/tokenizers/dvae.safetensors"},
}


@pytest.mark.parametrize("name", ABLATIONS)
def test_caes_ablations_change_what_they_say_and_nothing_else(name: str) -> None:
    base = read(CAE_B)
    base.merge_from_dict(
        {f"model.tasks.context.{key}": value for key, value in ABLATIONS[name].items()}
    )
    assert read(f"cae/cae_vit-base_{name}-32xb64-cosine-300e_in1k.py").to_dict() == base.to_dict()


def test_caes_pixels() -> None:
    task = read("cae/cae_vit-base_rgb-32xb64-cosine-300e_in1k.py").model.tasks.context
    assert task.target == dict(type="PixelTarget", normalise=False)
    assert task.head.type == "PixelLoss"
    base = read(CAE_B).model.tasks.context
    assert base.masking.ratio == 0.5 and base.masking.exact and base.align_weight == 2.0
