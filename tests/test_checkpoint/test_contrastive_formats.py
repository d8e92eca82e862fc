"""Checkpoints of MoCo v3, DINO, MoBY and Swin: every key, both ways, and equal features."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from timm.models.swin_transformer import SwinTransformer as TimmSwin
from torch import Tensor, nn

from mmvitssl.checkpoint import CheckpointError, load_encoder, load_file
from mmvitssl.checkpoint.convert import export_file, import_file, inspect_file
from mmvitssl.checkpoint.formats import FORMATS, recognise
from mmvitssl.checkpoint.formats.contrastive import COUNTERS
from mmvitssl.models.algorithms import Pretrainer
from mmvitssl.models.backbones import SwinTransformer, ViT
from mmvitssl.registry import MODELS
from parity import Fixture
from parity.contrastive import CONFIGS
from tests.test_checkpoint import test_formats, test_layouts
from tests.test_checkpoint.test_formats import (
    DATA,
    HEADS,
    INDEX,
    State,
    assert_equal_features,
    assert_same,
    assert_shapes,
    official,
    randomised,
    timm_vit,
    vit,
)
from tests.test_checkpoint.test_loading import save

ARCH = dict(embed_dim=16, depths=(2, 2, 2), num_heads=(2, 4, 8))
MOBY_ARCH = dict(embed_dim=24, depths=(2, 2), num_heads=(2, 4))


# checkpoints of other code bases


def fixture(method: str) -> Fixture:
    return Fixture.load(DATA / f"parity/{method}.npz")


def dino() -> State:
    """The recorded student and teacher, and the centre, which official files have beside them."""
    return {**official("dino"), "dino_loss.center": fixture("dino")["center_before"]}


def behind(prefix: str, state: State, wrapper: str = "module.") -> State:
    """A distributed wrapper's name in the keys that begin with ``prefix``."""
    return {
        prefix + wrapper + key[len(prefix) :] if key.startswith(prefix) else key: tensor
        for key, tensor in state.items()
    }


def part(state: State, prefix: str) -> State:
    """The tensors under a prefix, without it."""
    return {key[len(prefix) :]: x for key, x in state.items() if key.startswith(prefix)}


def moby_on_deit() -> State:
    """MoBY's heads and queues around DINO's plain encoders."""
    vits = official("dino")
    encoders = {"encoder.": "student.backbone.", "encoder_k.": "teacher.backbone."}
    heads = {k: x for k, x in official("moby").items() if not k.startswith(tuple(encoders))}
    for ours, theirs in encoders.items():
        heads.update({ours + key: x for key, x in part(vits, theirs).items()})
    return heads


def official_swin() -> State:
    """MoBY's encoder by itself with a classifier: what microsoft/Swin-Transformer saves."""
    state = part(official("moby"), "encoder.")
    return {**state, "head.weight": torch.randn(10, 48), "head.bias": torch.randn(10)}


def timm_swin() -> TimmSwin:
    model = TimmSwin(img_size=64, patch_size=4, window_size=4, num_classes=10, **ARCH)
    return randomised(model)


def mmdet_backbone() -> nn.Module:
    from mmdet.models.backbones import SwinTransformer as MMDetSwin

    model = MMDetSwin(
        embed_dims=16, patch_size=4, window_size=4, depths=(2, 2, 2), num_heads=(2, 4, 8),
        strides=(4, 2, 2), out_indices=(0, 1, 2),
    )  # fmt: skip
    model.eval()  # which returns nothing
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.2)
    return model


def mmpretrain_swin() -> State:
    """mmpretrain's keys are those of mmdet's class with a norm behind the last stage alone."""
    from mmdet.models.backbones import SwinTransformer as MMDetSwin

    model = MMDetSwin(
        embed_dims=8, patch_size=4, window_size=4, depths=(1, 1, 1, 1), num_heads=(1, 2, 2, 4),
        out_indices=(3,),
    )  # fmt: skip
    state = {f"backbone.{key}": x for key, x in model.state_dict().items()}
    return {**state, "head.fc.weight": torch.randn(5, 64), "head.fc.bias": torch.randn(5)}


def mmdet_swin() -> State:
    return {f"backbone.{key}": x for key, x in mmdet_backbone().state_dict().items()}


def converted_swin() -> State:
    """As mmseg's converter makes it from official weights: with the norm, without level norms."""
    state = {k: x for k, x in mmdet_swin().items() if not k.startswith("backbone.norm")}
    return {**state, "backbone.norm.weight": torch.randn(64), "backbone.norm.bias": torch.randn(64)}


BUFFERS = (INDEX, "attn_mask")
LEVEL_NORMS = tuple(f"backbone.norm{i}.{name}" for i in range(3) for name in ("weight", "bias"))
# name: (format, the checkpoint, ends of the names of all that is carried)
CASES: dict[str, tuple[str, Callable[[], State], tuple[str, ...]]] = {
    "mocov3": ("mocov3", lambda: official("mocov3"), ()),
    "mocov3-wrapped": ("mocov3", lambda: behind("", official("mocov3")), ()),
    "dino": ("dino", dino, ()),
    "dino-wrapped": ("dino", lambda: behind("student.", dino()), ()),
    "dino-both-wrapped": ("dino", lambda: behind("teacher.", behind("student.", dino())), ()),
    "moby": ("moby", lambda: official("moby"), BUFFERS),
    "moby-deit": ("moby", moby_on_deit, ()),
    "swin": ("swin", official_swin, BUFFERS),
    "timm-swin": ("timm-swin", lambda: timm_swin().state_dict(), ()),
    "mmpretrain-swin": ("mmpretrain-swin", mmpretrain_swin, (INDEX,)),
    "mmdet-swin": ("mmdet-swin", mmdet_swin, (INDEX, *LEVEL_NORMS)),
    "mmdet-swin-converted": ("mmdet-swin", converted_swin, (INDEX,)),
}
METHODS = ("mocov3", "dino", "moby")
# in test_latent_formats.py
LATENT = {"ibot", "dinov2-training", "ijepa", "timm-pooled", "dinov3", "timm-dinov3",
          "transformers-dinov3"}
cases = pytest.mark.parametrize("case", CASES)
methods = pytest.mark.parametrize("method", METHODS)


def file_of(name: str, state: State) -> dict[str, Any]:
    """The content of a file of a format, as its program lays it out."""
    if FORMATS[name].nested:
        return {entry: part(state, entry + ".") for entry in FORMATS[name].nested}
    wrapper = FORMATS[name].wrapper
    return dict(state) if wrapper is None else {wrapper: state}


def state_of(name: str, content: dict[str, Any]) -> State:
    """The inverse of :func:`file_of`, for what the package wrote."""
    if FORMATS[name].nested:
        return {f"{entry}.{key}": x for entry, some in content.items() for key, x in some.items()}
    wrapper = FORMATS[name].wrapper
    return content if wrapper is None else content[wrapper]


def pretrainer(method: str) -> Pretrainer:
    """Our model of the recorded sizes, built from a config."""
    return MODELS.build(CONFIGS[method](fixture(method)))


def swin(**settings: Any) -> SwinTransformer:
    return SwinTransformer(**{"arch": ARCH, "window_size": 4, "image_size": 64, **settings}).eval()


# every key, both ways


def test_every_format_has_a_case() -> None:
    tested = {case[0] for case in (*CASES.values(), *test_formats.CASES.values())}
    assert tested | set(test_layouts.CASES) | LATENT == set(FORMATS)


@cases
def test_the_format_is_recognised_by_its_keys(case: str) -> None:
    found = recognise(CASES[case][1]())
    assert found is not None and found.name == CASES[case][0]


@cases
def test_every_tensor_is_used_or_carried_with_a_reason(case: str) -> None:
    name, make, endings = CASES[case]
    state = make()
    imported = FORMATS[name].import_state(state)
    carried = {key: x for key, x in state.items() if endings and key.endswith(endings)}
    assert_same(imported.carried, carried)
    assert imported.reasons.keys() == carried.keys() and all(imported.reasons.values())
    fresh = FORMATS[name].fresh
    used = {key: x for key, x in imported.state.items() if key not in fresh}
    assert set(imported.state) - set(used) == set(fresh)
    rest = {key: x for key, x in state.items() if key not in carried}
    # as they are, but for the order of the channels in mmdet's patch merging
    assert len(used) == len(rest)
    moved = {id(x) for x in used.values()} ^ {id(x) for x in rest.values()}
    merging = [id(x) for state in (used, rest) for k, x in state.items() if ".downsample." in k]
    assert moved <= (set(merging) if name in ("mmdet-swin", "mmpretrain-swin") else set())


@cases
@pytest.mark.parametrize("kind", [torch.float32, torch.float16])
def test_export_of_an_import_is_the_same_bit_for_bit(case: str, kind: torch.dtype) -> None:
    name, make, _ = CASES[case]
    state = {key: x.to(kind) if x.is_floating_point() else x for key, x in make().items()}
    imported = FORMATS[name].import_state(state)
    again = FORMATS[name].export_state(imported.state, imported.carried, prefixes=imported.prefixes)
    assert_same(again, state)


@cases
def test_files_make_the_same_round_trip(case: str, tmp_path: Path) -> None:
    name, make, _ = CASES[case]
    state = make()
    content = file_of(name, state)
    import_file(save(tmp_path / "official.pth", content), tmp_path / "ours.pth")
    assert recognise(load_file(tmp_path / "ours.pth")["state_dict"]) is None
    export_file(tmp_path / "ours.pth", tmp_path / "again.pth", name)
    again = load_file(tmp_path / "again.pth")
    assert set(again) == set(content)
    assert_same(state_of(name, again), state)


@cases
def test_an_unknown_key_is_named(case: str) -> None:
    name, make, _ = CASES[case]
    state = {**make(), "surprise.weight": torch.ones(1)}
    with pytest.raises(CheckpointError, match=f"'{name}'.* 1 of its keys: .*surprise.weight"):
        FORMATS[name].import_state(state)


@pytest.mark.parametrize("case", [c for c in CASES if CASES[c][0] in METHODS and "deit" not in c])
def test_what_is_used_is_a_whole_model_of_this_package(case: str) -> None:
    name, make, _ = CASES[case]
    model = pretrainer(name)
    state = FORMATS[name].import_state(make()).state
    assert set(COUNTERS) <= set(state)
    model.load_state_dict(state, strict=True)


@methods
def test_checkpoints_of_this_package_are_of_no_outside_format(method: str) -> None:
    state = pretrainer(method).state_dict()
    assert recognise(state) is None
    assert recognise({f"backbone.{key}": x for key, x in state.items()}) is None


# files as the official programs write them


def dino_file(state: State) -> dict[str, Any]:
    """With what DINO keeps beside the weights."""
    parameter = nn.Parameter(torch.ones(3))
    optimizer = torch.optim.AdamW([parameter])
    parameter.sum().backward()
    optimizer.step()
    return {
        "student": part(state, "student."),
        "teacher": part(state, "teacher."),
        "optimizer": optimizer.state_dict(),
        "epoch": 100,
        "args": argparse.Namespace(arch="vit_small", global_crops_scale=(0.4, 1.0)),
        "dino_loss": part(state, "dino_loss."),
        "fp16_scaler": {"scale": 65536.0, "growth_factor": 2.0},
    }


def test_dinos_file_is_read_in_its_parts_and_the_rest_is_named(tmp_path: Path) -> None:
    state = behind("student.", dino())
    path = save(tmp_path / "checkpoint.pth", dino_file(state))
    lines = import_file(path, tmp_path / "ours.pth")
    assert f"used {len(state)} tensors" in lines
    assert "not weights, left out: optimizer, epoch, args, fp16_scaler" in lines
    assert any("format dino" in line for line in inspect_file(path))
    export_file(tmp_path / "ours.pth", tmp_path / "again.pth", "dino")
    again = load_file(tmp_path / "again.pth")
    assert set(again) == {"student", "teacher", "dino_loss"}
    assert all(key.startswith("module.") for key in again["student"])
    assert not any(key.startswith("module.") for key in again["teacher"])
    assert_same(state_of("dino", again), state)


def test_dinos_backbone_alone_is_timms(tmp_path: Path) -> None:
    state = part(dino(), "teacher.backbone.")
    found = recognise(state)
    assert found is not None and found.name == "timm"
    encoder = vit()
    load_encoder(encoder, save(tmp_path / "dino_backbone.pth", state))
    assert_same(encoder.state_dict(), state)


def test_mobys_config_beside_the_weights_is_read_as_a_plain_dict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = type("CfgNode", (dict,), {"__module__": "yacs.config"})
    package, module = ModuleType("yacs"), ModuleType("yacs.config")
    module.CfgNode = node  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "yacs", package)
    monkeypatch.setitem(sys.modules, "yacs.config", module)
    config = node(TRAIN=node(EPOCHS=300, CLIP_GRAD=5.0))
    config.__dict__.update({"__immutable__": True, "__deprecated_keys__": set()})
    content = {"model": official("moby"), "epoch": 299, "config": config}
    path = save(tmp_path / "ckpt_epoch_299.pth", content)
    monkeypatch.undo()
    assert "yacs" not in sys.modules
    assert load_file(path)["config"]["TRAIN"]["CLIP_GRAD"] == 5.0
    lines = import_file(path, tmp_path / "ours.pth")
    assert "not weights, left out: epoch, config" in lines


# both encoders


VITS = {
    "mocov3": {"online": "module.base_encoder.", "target": "module.momentum_encoder."},
    "dino": {"online": "student.module.backbone.", "target": "teacher.backbone."},
}
FILES: dict[str, Callable[[], dict[str, Any]]] = {
    "mocov3": lambda: {"state_dict": behind("", official("mocov3")), "epoch": 300, "arch": "vit"},
    "dino": lambda: dino_file(behind("student.", dino())),
    "moby": lambda: {"model": official("moby"), "epoch": 299},
}


@pytest.mark.parametrize("source", ["online", "target"])
@pytest.mark.parametrize("method", VITS)
def test_the_plain_encoders_of_official_files_give_timms_features(
    method: str, source: str, tmp_path: Path
) -> None:
    content = FILES[method]()
    every = {"mocov3": behind("", official("mocov3")), "dino": behind("student.", dino())}[method]
    weights = part(every, VITS[method][source])
    weights = {key: x for key, x in weights.items() if not key.startswith("head.")}
    theirs = timm_vit(num_classes=0)
    theirs.load_state_dict(weights)
    encoder = vit(position="sincos_row_first" if method == "mocov3" else "learned")
    report = load_encoder(encoder, save(tmp_path / "official.pth", content), source)
    assert_same(encoder.state_dict(), weights)
    assert_equal_features(encoder, theirs)
    assert report.left_out and FORMATS[method].words in report.source


def test_mobys_encoders_are_taken_out_and_give_the_recorded_features(tmp_path: Path) -> None:
    path, recorded = save(tmp_path / "moby.pth", FILES["moby"]()), fixture("moby")
    encoders = {}
    for source, prefix in (("online", "encoder."), ("target", "encoder_k.")):
        encoder = swin(arch=MOBY_ARCH)
        load_encoder(encoder, path, source)
        key = "layers.0.blocks.1.mlp.fc1.weight"
        assert torch.equal(encoder.state_dict()[key], recorded.state[prefix + key])
        mine, theirs = "layers.1.downsample.norm.weight", "layers.0.downsample.norm.weight"
        assert torch.equal(encoder.state_dict()[mine], recorded.state[prefix + theirs])
        encoders[source] = encoder
    with torch.no_grad():
        encoded = encoders["online"](recorded["view1"], levels=(0, 1))
        other = encoders["target"](recorded["view1"])
    assert_recorded_features(encoded, recorded)
    assert not torch.allclose(other.cls, encoded.cls, atol=1e-3)


def assert_recorded_features(encoded: Any, recorded: Fixture) -> None:
    torch.testing.assert_close(encoded.cls, recorded["feature1"], rtol=1e-4, atol=1e-5)
    for level in (0, 1):
        tokens = encoded.hierarchy[level].flatten(2).transpose(1, 2)
        torch.testing.assert_close(tokens, recorded[f"stage{level}"], rtol=1e-4, atol=2e-5)


# what was trained here


def trained_here(method: str, folder: Path) -> tuple[Pretrainer, Path]:
    model: Pretrainer = randomised(pretrainer(method))
    return model, save(folder / "trained.pth", {"state_dict": model.state_dict()})


@methods
def test_a_model_trained_here_becomes_a_whole_official_checkpoint(
    method: str, tmp_path: Path
) -> None:
    model, path = trained_here(method, tmp_path)
    export_file(path, tmp_path / "theirs.pth", method)
    state = state_of(method, load_file(tmp_path / "theirs.pth"))
    expected = {
        "mocov3": lambda: behind("", official("mocov3")),  # its programs look for module.
        "dino": lambda: behind("student.", dino()),
        "moby": lambda: {k: x for k, x in official("moby").items() if not k.endswith("attn_mask")},
    }[method]()
    assert_shapes(state, expected)
    if method == "moby":  # the buffers are made as officially
        for key in (key for key in expected if key.endswith(INDEX)):
            assert torch.equal(state[key], expected[key])
    back = FORMATS[method].import_state(state).state
    assert_same({**back, **{key: model.state_dict()[key] for key in COUNTERS}}, model.state_dict())


@pytest.mark.parametrize(("method", "name"), [("mocov3", "mocov3"), ("mocov3", "timm"),
                                              ("dino", "dino"), ("dino", "timm"),
                                              ("moby", "swin"), ("moby", "timm-swin")])  # fmt: skip
@pytest.mark.parametrize("source", ["online", "target"])
def test_an_exported_encoder_alone_is_read_again(
    method: str, name: str, source: str, tmp_path: Path
) -> None:
    model, path = trained_here(method, tmp_path)
    export_file(path, tmp_path / "encoder.pth", name, only_encoder=True, source=source)
    encoder = pretrainer(method).encoder
    load_encoder(encoder, tmp_path / "encoder.pth")
    wanted = model.encoder if source == "online" else model.target["encoder"]
    assert_same(encoder.state_dict(), wanted.state_dict())


def test_a_detectors_swin_reads_what_was_trained_here(tmp_path: Path) -> None:
    model, path = trained_here("moby", tmp_path)
    out = tmp_path / "backbone.pth"
    export_file(path, out, "mmdet-swin", only_encoder=True)
    from mmdet.models.backbones import SwinTransformer as MMDetSwin

    theirs = MMDetSwin(
        embed_dims=24, patch_size=4, window_size=4, depths=(2, 2), num_heads=(2, 4),
        strides=(4, 2), out_indices=(0, 1),
        init_cfg=ConfigDict(type="Pretrained", checkpoint=str(out)),
    )  # fmt: skip
    theirs.init_weights()
    theirs.eval()
    assert_equal_maps(model.encoder, theirs, (0, 1))


# Swin Transformers


@torch.no_grad()
def assert_equal_maps(ours: SwinTransformer, theirs: Any, levels: tuple[int, ...]) -> None:
    """Maps of mmdet's backbone, which norms each level, at a size that windows do not divide."""
    images = torch.randn(2, 3, 72, 100)
    maps = ours.eval().forward_levels(images, levels)
    for level, expected in zip(levels, theirs(images), strict=True):
        norm = getattr(theirs, f"norm{level}")
        features = maps[level].permute(0, 2, 3, 1)
        normed = F.layer_norm(features, features.shape[-1:], norm.weight, norm.bias)
        torch.testing.assert_close(normed.permute(0, 3, 1, 2), expected, rtol=1e-4, atol=5e-5)


def test_an_official_swin_gives_the_recorded_features(tmp_path: Path) -> None:
    encoder, recorded = swin(arch=MOBY_ARCH), fixture("moby")
    path = save(tmp_path / "swin.pth", {"model": official_swin()})
    report = load_encoder(encoder, path)
    assert report.left_out == ["head.weight", "head.bias"]
    with torch.no_grad():
        assert_recorded_features(encoder(recorded["view1"], levels=(0, 1)), recorded)


def test_a_timm_swin_gives_timms_features(tmp_path: Path) -> None:
    theirs, encoder = timm_swin(), swin()
    load_encoder(encoder, save(tmp_path / "swin.pth", theirs.state_dict()))
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected, maps = theirs.forward_intermediates(images)
        encoded = encoder(images, levels=(0, 1, 2))
    torch.testing.assert_close(encoded.patches, expected.flatten(1, 2), rtol=1e-4, atol=2e-5)
    for level, feature in enumerate(maps):
        torch.testing.assert_close(encoded.hierarchy[level], feature, rtol=1e-4, atol=2e-5)


def test_a_detectors_swin_gives_mmdets_features(tmp_path: Path) -> None:
    theirs, ours = mmdet_backbone(), swin()
    state = {f"backbone.{key}": x for key, x in theirs.state_dict().items()}
    path = save(tmp_path / "detector.pth", {"state_dict": state})
    with pytest.raises(CheckpointError, match="misses 2 of .*: norm.weight, norm.bias"):
        load_encoder(ours, path)  # a detector has no norm behind its last stage
    import_file(path, tmp_path / "ours.pth")
    imported = part(load_file(tmp_path / "ours.pth")["state_dict"], "encoder.")
    found = ours.load_state_dict(imported, strict=False)
    assert found.missing_keys == ["norm.weight", "norm.bias"] and not found.unexpected_keys
    assert_equal_maps(ours, theirs, (0, 1, 2))


def test_patch_merging_is_in_another_order_there() -> None:
    state = mmdet_swin()
    imported = FORMATS["mmdet-swin"].import_state(state).state
    theirs = state["backbone.stages.0.downsample.reduction.weight"]
    ours = imported["encoder.layers.1.downsample.reduction.weight"]
    assert not torch.equal(ours, theirs)
    image = torch.arange(64.0).view(1, 16, 2, 2)
    cells = F.unfold(image, 2)[0, :, 0]  # channels, rows, columns
    corners = [image[0, :, row, column] for row, column in ((0, 0), (1, 0), (0, 1), (1, 1))]
    torch.testing.assert_close(theirs @ cells, ours @ torch.cat(corners))


def test_a_converted_swin_has_its_norm(tmp_path: Path) -> None:
    state, encoder = converted_swin(), swin()
    load_encoder(encoder, save(tmp_path / "swin.pth", {"state_dict": state}))
    assert torch.equal(encoder.norm.weight, state["backbone.norm.weight"])


def test_bias_tables_are_fitted_to_another_window_and_said_so(tmp_path: Path) -> None:
    path = save(tmp_path / "swin.pth", {"model": official_swin()})
    encoder = swin(arch=MOBY_ARCH, window_size=7)
    report = load_encoder(encoder, path)
    assert report.resized == ["4 bias tables to windows of 7 (bicubic)"]


def test_pretraining_checkpoints_and_bare_swins_of_this_package_are_read(tmp_path: Path) -> None:
    model, path = trained_here("moby", tmp_path)
    encoder = swin(arch=MOBY_ARCH)
    for source, wanted in (("online", model.encoder), ("target", model.target["encoder"])):
        load_encoder(encoder, path, source)
        assert_same(encoder.state_dict(), wanted.state_dict())
    fresh = swin(arch=MOBY_ARCH)
    load_encoder(fresh, save(tmp_path / "bare.pth", encoder.state_dict()))
    assert_same(fresh.state_dict(), encoder.state_dict())


def test_a_swin_has_no_names_in_formats_of_plain_encoders(tmp_path: Path) -> None:
    _, path = trained_here("moby", tmp_path)
    with pytest.raises(CheckpointError, match=r"no name for[\s\S]*--format swin --encoder-only"):
        export_file(path, tmp_path / "out.pth", "mae", only_encoder=True)
    with pytest.raises(CheckpointError, match="no conventions for fine-tuning"):
        export_file(path, tmp_path / "out.pth", "swin", finetune=True)
    assert not (tmp_path / "out.pth").exists()


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "mocov3.pth", FILES["mocov3"]())
    wrong = ViT(
        arch=dict(embed_dim=48, depth=3, num_heads=HEADS), image_size=32, patch_size=8
    )  # fmt: skip
    with pytest.raises(CheckpointError, match="misses 12 of .*blocks.2"):
        load_encoder(wrong, path)
    with pytest.raises(CheckpointError, match="does not fit"):
        load_encoder(swin(arch=MOBY_ARCH), path)


def test_values_are_never_changed_by_a_round_trip_through_our_model(tmp_path: Path) -> None:
    """Import, load into a model, save it and export: the same tensors again."""
    state: dict[str, Tensor] = behind("", official("mocov3"))
    import_file(save(tmp_path / "in.pth", {"state_dict": state}), tmp_path / "ours.pth")
    model = pretrainer("mocov3")
    model.load_state_dict(load_file(tmp_path / "ours.pth")["state_dict"], strict=True)
    path = save(tmp_path / "trained.pth", {"state_dict": model.state_dict()})
    export_file(path, tmp_path / "out.pth", "mocov3")
    assert_same(load_file(tmp_path / "out.pth")["state_dict"], state)
