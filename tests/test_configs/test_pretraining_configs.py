"""Full-size pretraining configs: they build, and their numbers are the published ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper

from mmvitssl.engine.optim import AutocastOptimWrapper
from mmvitssl.registry import MODELS
from tests.test_configs.test_contrastive_configs import PARTS_OF_REPRE

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
MOCOV3 = "mocov3/mocov3_vit-{}_32xb128-cosine-300e_in1k.py"
REPRE = "repre/repre-mocov3_vit-{}_32xb128-cosine-300e_in1k.py"
# base + momentum + predictor, and what is trained (patch projection and positions are not)
COUNTS = {"small": (84_266_752, 42_815_104), "base": (215_678_464, 108_150_016)}
DECODER = {"small": 1.62e6, "base": 1.82e6}


def counts(path: str) -> tuple[int, int]:
    with torch.device("meta"):
        model = MODELS.build(Config.fromfile(CONFIGS / path).model)
    every = sum(p.numel() for p in model.parameters())
    return every, sum(p.numel() for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("size", COUNTS)
def test_mocov3_has_the_published_number_of_parameters(size: str) -> None:
    every, trained = counts(MOCOV3.format(size))
    assert (every, trained) == COUNTS[size]


@pytest.mark.parametrize("size", COUNTS)
def test_repre_adds_the_light_decoder_and_two_weights(size: str) -> None:
    added = counts(REPRE.format(size))[1] - counts(MOCOV3.format(size))[1]
    assert added - 2 == pytest.approx(DECODER[size], rel=0.01)


@pytest.mark.parametrize("size", COUNTS)
def test_repre_is_mocov3_and_a_branch(size: str) -> None:
    base = Config.fromfile(CONFIGS / MOCOV3.format(size)).to_dict()
    repre = Config.fromfile(CONFIGS / REPRE.format(size)).to_dict()
    assert repre["model"]["tasks"].pop("reconstruction")["views"] == (0,)
    assert repre["model"].pop("balancer")["type"] == "UncertaintyWeights"
    assert repre["optim_wrapper"].pop("paramwise_cfg") == {
        "custom_keys": {"balancer": {"lr_mult": 5.0, "decay_mult": 0.0}}
    }
    assert {key: value for key, value in repre.items() if key not in PARTS_OF_REPRE} == base


def test_published_hyperparameters_of_mocov3() -> None:
    config = Config.fromfile(CONFIGS / MOCOV3.format("small"))
    encoder, contrast = config.model.encoder, config.model.tasks.contrastive
    assert encoder.arch == {"base": "small", "num_heads": 12} and encoder.freeze_patch_embed
    assert (contrast.head.temperature, contrast.head.scale) == (0.2, 0.4)
    assert config.model.target.momentum == 0.99
    optimizer = config.optim_wrapper.optimizer
    assert optimizer.lr == pytest.approx(1.5e-4 * 4096 / 256) and optimizer.weight_decay == 0.1
    assert 32 * config.train_dataloader.batch_size == config.auto_scale_lr.base_batch_size == 4096
    multi_view = config.train_dataloader.dataset.pipeline[1]
    first, second = (view.transforms for view in multi_view.views)
    blur = [[t.p for t in view if t.type == "GaussianBlur"] for view in (first, second)]
    solarize = [[t.p for t in view if t.type == "Solarize"] for view in (first, second)]
    assert blur == [[1.0], [0.1]] and solarize == [[], [0.2]]
    assert all(view[0].scale == (0.08, 1.0) and view[-1].type == "RandomFlip"
               for view in (first, second))  # fmt: skip


def test_weights_of_the_losses_are_not_decayed() -> None:
    config = Config.fromfile(CONFIGS / REPRE.format("small"))
    model = MODELS.build(config.model)
    wrapper = build_optim_wrapper(model, config.optim_wrapper)
    assert isinstance(wrapper, AutocastOptimWrapper)
    names = {id(p): name for name, p in model.named_parameters()}
    decays = {
        names[id(p)]: (group["lr"], group["weight_decay"])
        for group in wrapper.optimizer.param_groups
        for p in group["params"]
    }
    assert decays["balancer.log_variance.contrastive"] == (pytest.approx(5 * 2.4e-3), 0.0)
    assert decays["encoder.blocks.0.norm1.bias"] == (pytest.approx(2.4e-3), 0.1)  # all decayed
    assert not any(name.startswith("target.") for name in decays)


def test_configs_can_be_inherited_by_package_name(tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text(
        "_base_ = 'mmvitssl::repre/repre-mocov3_vit-small_32xb128-cosine-300e_in1k.py'\n"
        "train_dataloader = dict(dataset=dict(root='images'))\n"
    )
    config = Config.fromfile(mine)
    assert config.model.tasks.reconstruction.type == "Reconstruction"
    assert config.train_dataloader.dataset.root == "images"


@pytest.mark.parametrize("name", ["no_such_package::a/b.py", "mmseg::no/such.py"])
def test_unknown_packages_and_files_are_errors(tmp_path: Path, name: str) -> None:
    (tmp_path / "mine.py").write_text(f"_base_ = '{name}'\n")
    with pytest.raises((AssertionError, FileNotFoundError, ImportError)):
        Config.fromfile(tmp_path / "mine.py")
