"""Every key that brings weights is followed strictly, or refused with the right way named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config

from mmvitssl.checkpoint import CheckpointError
from mmvitssl.engine.launch import UserError, prepare_scope
from mmvitssl.engine.weights import drop_weights, take_weights
from mmvitssl.models.backbones import ViT
from mmvitssl.registry import MODELS
from tests.builders import ENCODER, build_repre, repre_config
from tests.test_checkpoint.test_formats import official
from tests.test_checkpoint.test_loading import BARE, save


def config(**changes: Any) -> Config:
    backbone = dict(type="mmvitssl.DenseFeatures", encoder=dict(ENCODER), levels=(0, 3))
    made = Config(dict(model=dict(type="Detector", backbone=backbone, neck=dict(type="FPN"))))
    made.merge_from_dict(changes)
    prepare_scope(made)
    return made


@pytest.fixture
def file(tmp_path: Path) -> str:
    return str(save(tmp_path / "f.pth", ViT(**BARE).state_dict()))


def init_cfg(file: str) -> dict[str, Any]:
    return dict(type="Pretrained", checkpoint=file)


@pytest.mark.parametrize(
    "key", ["pretrained", "model.backbone.init_cfg", "model.backbone.encoder.init_cfg"]
)
def test_keys_of_the_encoder_all_mean_the_same(key: str, file: str) -> None:
    made = config(**{key: file if key == "pretrained" else init_cfg(file)})
    assert take_weights(made).encoder == file
    assert "init_cfg" not in made.model.backbone and "pretrained" not in made


def test_the_option_comes_before_the_key(file: str, tmp_path: Path) -> None:
    other = str(save(tmp_path / "other.pth", {"x": torch.ones(1)}))
    found = take_weights(config(pretrained=other, pretrained_source="target"), file, "online")
    assert (found.encoder, found.source) == (file, "online")


@pytest.mark.parametrize("option", [True, False])
def test_init_begins_anew_by_option_and_by_key(option: bool, file: str) -> None:
    found = take_weights(config(), init=file) if option else take_weights(config(init=file))
    assert (found.encoder, found.anew) == (file, True)
    assert take_weights(config(init=file), file) == take_weights(config(), file)
    with pytest.raises(UserError, match="init and pretrained name two starts"):
        take_weights(config(init=file, pretrained=file))
    with pytest.raises(UserError, match="--init and --pretrained name two starts"):
        take_weights(config(), file, init=file)


@pytest.mark.parametrize(
    "key", ["model.init_cfg", "model.pretrained", "model.backbone.pretrained", "resume_from",
            "init_cfg", "model.neck.0.init_cfg"],
)  # fmt: skip
def test_keys_that_would_be_read_loosely_or_not_at_all_are_refused(key: str, file: str) -> None:
    value: Any = init_cfg(file) if "init_cfg" in key else file
    changes = {key: value}
    if "neck" in key:
        changes = {"model.neck": [dict(type="mmvitssl.ScalePyramid", init_cfg=value)]}
    with pytest.raises(UserError, match=r"pretrained = 'FILE'|--resume"):
        take_weights(config(**changes))


@pytest.mark.parametrize("key", ["pretrained", "load_from", "model.backbone.init_cfg"])
@pytest.mark.parametrize("value", ["https://x.org/a.pth", "vit_base_patch16_224", "gone.pth"])
def test_what_is_no_file_is_found_before_anything_is_built(key: str, value: str) -> None:
    made = config(**{key: init_cfg(value) if "init_cfg" in key else value})
    with pytest.raises((CheckpointError, FileNotFoundError), match=key):
        take_weights(made)


def test_load_from_is_taken_from_mmengine_and_kept_for_resuming(file: str) -> None:
    made = config(load_from=file)
    assert take_weights(made).model == file and "load_from" not in made
    made = config(load_from=file, resume=True)
    assert take_weights(made, file).encoder is None and made.load_from == file
    with pytest.raises(UserError, match="keep one of them"):
        take_weights(config(load_from=file), file)


def test_nothing_is_loaded_over_a_tested_checkpoint(file: str) -> None:
    made = config(load_from=file, pretrained=file)
    drop_weights(made)
    assert "load_from" not in made and "pretrained" not in made


# the momentum encoder


def assert_equal(module: Any, other: Any) -> None:
    for key, tensor in other.state_dict().items():
        assert torch.equal(module.state_dict()[key], tensor), key


def filled(model: Any) -> Any:
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    return model


@pytest.mark.parametrize("source", [None, "online"])
def test_the_momentum_encoder_starts_equal_bit_for_bit(source: str | None, file: str) -> None:
    model = build_repre()
    model.load_pretrained(file, source, log=lambda text: None)
    assert_equal(model.target["encoder"], model.encoder)
    assert torch.equal(model.encoder.cls_token, torch.load(file)["cls_token"])


def test_the_momentum_encoder_takes_the_files_own(tmp_path: Path) -> None:
    before = filled(build_repre())
    path = save(tmp_path / "last.pth", {"state_dict": before.state_dict()})
    said: list[str] = []
    model = build_repre()
    model.load_pretrained(path, log=said.append)
    assert_equal(model.encoder, before.encoder)
    assert_equal(model.target["encoder"], before.target["encoder"])
    assert "own momentum encoder" in said[-1]
    model.load_pretrained(path, "target", log=said.append)
    assert_equal(model.encoder, before.target["encoder"])
    assert_equal(model.target["encoder"], before.target["encoder"])


@pytest.mark.parametrize(
    "method, online, target",
    [("mocov3", "base_encoder.", "momentum_encoder."),
     ("dino", "student.backbone.", "teacher.backbone.")],
)  # fmt: skip
def test_official_files_give_both_branches(
    method: str, online: str, target: str, tmp_path: Path
) -> None:
    state = official(method)
    path = save(tmp_path / "f.pth", state)
    projection = state[next(k for k in state if k.endswith(online + "patch_embed.proj.weight"))]
    depth = 1 + max(
        int(k.split("blocks.")[1].split(".")[0]) for k in state if online in k and "blocks." in k
    )
    rows = state[next(k for k in state if k.endswith(online + "pos_embed"))].shape[1] - 1
    encoder = dict(ENCODER, arch=dict(embed_dim=projection.shape[0], depth=depth, num_heads=4),
                   image_size=int(rows**0.5) * projection.shape[-1],
                   patch_size=projection.shape[-1])  # fmt: skip
    tasks = {"rotation": dict(type="Rotation", in_channels=projection.shape[0], token="cls")}
    model = MODELS.build(
        repre_config(encoder=encoder, tasks=tasks, balancer=None, target=dict(momentum=0.9))
    )
    model.load_pretrained(path, log=lambda text: None)
    for branch, front in ((model.encoder, online), (model.target["encoder"], target)):
        key = next(k for k in state if k.endswith(front + "blocks.0.attn.qkv.weight"))
        assert torch.equal(branch.state_dict()["blocks.0.attn.qkv.weight"], state[key])
