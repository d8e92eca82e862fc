"""Wrapper prefixes, and files of transformers, DINOv2 and SimMIM, against timm's features."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from mmengine.config import Config
from torch import Tensor

from mmvitssl.checkpoint import CheckpointError, load_encoder, load_file, load_strict
from mmvitssl.checkpoint.convert import export_file, import_file
from mmvitssl.checkpoint.formats import FORMATS, recognise
from mmvitssl.models.backbones import SwinTransformer, ViT
from mmvitssl.registry import MODELS
from tests.test_checkpoint.test_formats import (
    HEADS,
    WIDTH,
    assert_same,
    beit_pretraining,
    modeling,
    official,
    our_mae,
    randomised,
    timm_vit,
    vit,
)
from tests.test_checkpoint.test_loading import save

State = dict[str, Tensor]
SIZES = dict(img_size=32, patch_size=8, embed_dim=WIDTH, depth=2, num_heads=HEADS)


def hugging_face(state: State, front: str = "vit.", blocks: str = "vit.encoder.layer.") -> State:
    """timm's weights under the names of transformers' ViT."""
    names = {
        "cls_token": "embeddings.cls_token",
        "pos_embed": "embeddings.position_embeddings",
        "patch_embed.proj": "embeddings.patch_embeddings.projection",
        "norm.": "layernorm.",
    }
    inside = {
        "norm1": "layernorm_before",
        "attn.proj": "attention.output.dense",
        "norm2": "layernorm_after",
        "mlp.fc1": "intermediate.dense",
        "mlp.fc2": "output.dense",
    }
    theirs: State = {}
    for key, tensor in state.items():
        match = re.match(r"blocks\.(\d+)\.(.+)\.(weight|bias)$", key)
        if match is None:
            new = next((new + key[len(old) :] for old, new in names.items() if key.startswith(old)),
                       key.replace("head.", "classifier."))  # fmt: skip
            theirs[new if new.startswith("classifier") else front + new] = tensor
        elif match[2] == "attn.qkv":
            for part, rows in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                name = f"{blocks}{match[1]}.attention.attention.{part}.{match[3]}"
                theirs[name] = rows.clone()
        else:
            theirs[f"{blocks}{match[1]}.{inside[match[2]]}.{match[3]}"] = tensor
    return theirs


def hugging_face_mae() -> State:
    """The keys of ViTMAEForPreTraining, from an MAE of this package."""
    state = our_mae().state_dict()
    encoder = {k[8:]: v for k, v in state.items() if k.startswith("encoder.")}
    neck = {k[18:]: v for k, v in state.items() if k.startswith("tasks.masked.neck.")}
    decoder = hugging_face(
        {k: v for k, v in neck.items() if k.startswith("blocks.")}, blocks="decoder.decoder_layers."
    )
    others = {"mask_token": "mask_token", "pos_embed": "decoder_pos_embed"}
    rest = {
        "decoder." + others.get(k, "decoder_" + k): v
        for k, v in neck.items()
        if not k.startswith("blocks.")
    }
    return {**hugging_face(encoder), **decoder, **rest}


def dinov2(names: str) -> State:
    """DINOv2 with registers: timm's model under the official names or those of transformers."""
    model = randomised(timm.create_model("vit_small_patch14_reg4_dinov2", **SIZES))
    state = {**model.state_dict(), "mask_token": torch.randn(1, WIDTH)}
    zero = torch.randn(1, 1, WIDTH)
    # timm has no row for the class token, the official table has one; both are added to the token
    state["pos_embed"] = torch.cat([zero, state["pos_embed"]], dim=1)
    state["cls_token"] = state["cls_token"] - zero
    state["register_tokens"] = state.pop("reg_token")
    if names == "official":
        return state
    split = hugging_face(
        {k: v for k, v in state.items() if ".attn.qkv." in k}, "", "encoder.layer."
    )
    pairs = {
        "blocks.": "encoder.layer.",
        "ls1.gamma": "layer_scale1.lambda1",
        "ls2.gamma": "layer_scale2.lambda1",
        "attn.proj": "attention.output.dense",
        "patch_embed.proj": "embeddings.patch_embeddings.projection",
        "pos_embed": "embeddings.position_embeddings",
        "cls_token": "embeddings.cls_token",
        "mask_token": "embeddings.mask_token",
        "register_tokens": "embeddings.register_tokens",
    }
    for key, tensor in state.items():
        if ".attn.qkv." not in key:
            for old, new in pairs.items():
                key = key.replace(old, new)
            split["layernorm." + key[5:] if key.startswith("norm.") else key] = tensor
    return split


def simmim() -> State:
    """What microsoft/SimMIM saves: a prefix, and a 1 x 1 convolution before a pixel shuffle."""
    state = {f"encoder.{k}": v for k, v in beit_pretraining().items() if "lm_head" not in k}
    head = {"decoder.0.weight": torch.randn(192, WIDTH, 1, 1), "decoder.0.bias": torch.randn(192)}
    return {**state, **head}


CASES: dict[str, Callable[[], State]] = {
    "transformers-vit": lambda: hugging_face(timm_vit().state_dict()),
    "transformers-vitmae": hugging_face_mae,
    "transformers-dinov2": lambda: dinov2("transformers"),
    "dinov2": lambda: dinov2("official"),
    "simmim": simmim,
}


def write(path: Path, name: str, state: State) -> Path:
    wrapper = FORMATS[name].wrapper
    return save(path, state if wrapper is None else {wrapper: state})


@pytest.mark.parametrize("name", CASES)
def test_round_trip_is_bit_for_bit(name: str, tmp_path: Path) -> None:
    state = CASES[name]()
    found = recognise(state)
    assert found is not None and found.name == name
    import_file(write(tmp_path / "theirs.pth", name, state), tmp_path / "ours.pth")
    export_file(tmp_path / "ours.pth", tmp_path / "back.pth", name)
    back = load_file(tmp_path / "back.pth")
    assert_same(back if found.wrapper is None else back[found.wrapper], state)


@pytest.mark.parametrize("bare", [False, True])
def test_transformers_vit_has_timms_features(bare: bool, tmp_path: Path) -> None:
    theirs = timm_vit()
    state = hugging_face(theirs.state_dict())
    if bare:  # ViTModel has no head and no prefix
        state = {k.removeprefix("vit."): v for k, v in state.items() if "classifier" not in k}
    encoder = vit()
    load_encoder(encoder, save(tmp_path / "hf.pth", state))
    images = torch.randn(2, 3, 32, 32)
    expected = theirs.forward_features(images)
    torch.testing.assert_close(encoder(images).tokens, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("names", ["official", "transformers", "timm"])
def test_registers_get_the_places_of_prefix_tokens(names: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    state = dinov2("official")
    theirs = timm.create_model("vit_small_patch14_reg4_dinov2", **SIZES).eval()
    own = {k: v for k, v in state.items() if k != "mask_token"}
    own["cls_token"] = state["cls_token"] + state["pos_embed"][:, :1]
    own["pos_embed"] = state["pos_embed"][:, 1:]
    own["reg_token"] = own.pop("register_tokens")
    theirs.load_state_dict(own)
    torch.manual_seed(1)
    path = save(tmp_path / "f.pth", own if names == "timm" else dinov2(names))
    encoder = vit(layer_scale=1.0, prefix_tokens=("a", "b", "c", "d"))
    report = load_encoder(encoder, path)
    assert "register_1, register_2" in report.summary() and "prefix_tokens.d" in report.summary()
    images = torch.randn(2, 3, 32, 32)
    expected = theirs.forward_features(images)
    torch.testing.assert_close(encoder(images).tokens, expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(CheckpointError, match=r"4 register tokens .*prefix_tokens=\['register_1'"):
        load_encoder(vit(layer_scale=1.0), path)


def test_the_timm_export_of_prefix_tokens_is_read(tmp_path: Path) -> None:
    settings = dict(type="ViT", arch=dict(embed_dim=WIDTH, depth=2, num_heads=HEADS),
                    image_size=(32, 48), patch_size=8, prefix_tokens=["r1", "r2"])  # fmt: skip
    source = randomised(MODELS.build(settings))
    path = save(tmp_path / "own.pth", {f"encoder.{k}": v for k, v in source.state_dict().items()})
    (tmp_path / "c.py").write_text(f"encoder = {settings!r}\n")
    export_file(path, tmp_path / "timm.pth", "timm", only_encoder=True, config=tmp_path / "c.py")
    again = MODELS.build(settings)
    load_encoder(again, tmp_path / "timm.pth")
    assert_same(again.state_dict(), source.state_dict())


def test_distilled_deit_is_an_encoder_with_a_prefix_token(tmp_path: Path) -> None:
    theirs = randomised(timm.create_model("deit_tiny_distilled_patch16_224", **SIZES))
    path = save(tmp_path / "deit.pth", {"model": theirs.state_dict()})
    with pytest.raises(CheckpointError, match=r"dist_token.*prefix_tokens=\['distillation'\]"):
        load_encoder(vit(), path)
    encoder = vit(prefix_tokens=("distillation",))
    load_encoder(encoder, path)
    images = torch.randn(2, 3, 32, 32)
    expected = theirs.forward_features(images)
    torch.testing.assert_close(encoder(images).tokens, expected, rtol=1e-4, atol=1e-5)


def test_encoders_without_a_class_token_are_told_by_that_key(tmp_path: Path) -> None:
    model = timm.create_model("vit_base_patch16_siglip_224", **SIZES)
    with pytest.raises(CheckpointError, match="no class token .cls_token is missing"):
        load_encoder(vit(), save(tmp_path / "siglip.pth", model.state_dict()))


def test_simmims_head_predicts_the_same_pixels(tmp_path: Path) -> None:
    state = simmim()
    model = modeling(
        dict(mask_token=True, position="none", relative_position="shared_bias", qkv_bias="qv",
             layer_scale=0.1),
        2, dict(type="TokenPredictor"), masking=dict(type="RandomMasking", mode="replace"),
    )  # fmt: skip
    load_strict(model, save(tmp_path / "simmim.pth", {"model": state}))
    tokens = torch.randn(1, 16, WIDTH)
    maps = tokens.transpose(1, 2).unflatten(2, (4, 4))
    pixels = torch.nn.functional.conv2d(maps, state["decoder.0.weight"], state["decoder.0.bias"])
    image = torch.nn.functional.pixel_shuffle(pixels, 8)
    ours: Any = model.tasks["masked"].neck
    rows = ours.layers(tokens)[0].unflatten(1, (8, 8, 3))
    expected = (
        image.unflatten(3, (4, 8)).unflatten(2, (4, 8))[0].permute(1, 3, 2, 4, 0).flatten(0, 1)
    )
    torch.testing.assert_close(rows, expected, rtol=1e-4, atol=1e-5)


def test_simmims_swin_is_read(tmp_path: Path) -> None:
    arch = dict(embed_dim=8, depths=(1, 1), num_heads=(2, 4))
    source = SwinTransformer(arch, window_size=4)
    theirs = {
        "encoder." + k.replace("layers.1.downsample", "layers.0.downsample"): v
        for k, v in source.state_dict().items()
    }
    theirs["encoder.mask_token"] = torch.zeros(1, 1, 8)
    theirs["decoder.0.weight"] = torch.randn(192, 16, 1, 1)
    theirs["decoder.0.bias"] = torch.randn(192)
    target = SwinTransformer(arch, window_size=4)
    report = load_encoder(target, save(tmp_path / "swin.pth", {"model": theirs}))
    assert_same(target.state_dict(), source.state_dict())
    assert report.not_needed == ["mask_token"]


@pytest.mark.parametrize(
    "prefix",
    ["module.", "_orig_mod.", "module._orig_mod.", "backbone.", "model.", "model.module.backbone.",
     "net.visual.trunk."],
)  # fmt: skip
@pytest.mark.parametrize("layout", ["timm", "transformers", "own"])
def test_any_stack_of_prefixes_is_taken_off_and_said(
    prefix: str, layout: str, tmp_path: Path
) -> None:
    source = randomised(vit())
    state = source.state_dict()
    if layout == "transformers":
        state = hugging_face(state)
    elif layout == "own":
        state = {f"encoder.{k}": v for k, v in state.items()}
        if prefix.endswith("backbone."):
            pytest.skip("this package's own name of an encoder in a detector")
    wrapped = {prefix + key: tensor for key, tensor in state.items()}
    encoder = vit()
    report = load_encoder(encoder, save(tmp_path / "f.pth", {"state_dict": wrapped}))
    assert_same(encoder.state_dict(), source.state_dict())
    assert all(part in report.summary() for part in re.findall(r"\w+\.", prefix))


def test_what_lies_beside_the_wrapped_encoder_is_named(tmp_path: Path) -> None:
    source = randomised(vit())
    state = {f"model.encoder_.{k}": v for k, v in source.state_dict().items()}
    state |= {"model.criterion.queue": torch.ones(3), "blocks_seen": torch.ones(1)}
    inner = {
        k.replace("blocks.0.", "blocks.0._checkpoint_wrapped_module."): v for k, v in state.items()
    }
    encoder = vit()
    report = load_encoder(encoder, save(tmp_path / "lightning.ckpt", {"state_dict": inner}))
    assert_same(encoder.state_dict(), source.state_dict())
    assert sorted(report.left_out) == ["blocks_seen", "model.criterion.queue"]


def test_several_encoders_without_a_known_format_are_refused(tmp_path: Path) -> None:
    state = vit().state_dict()
    both = {f"{name}.{k}": v for name in ("query", "key") for k, v in state.items()}
    with pytest.raises(CheckpointError, match=r"several encoders, under key\., query\."):
        load_encoder(vit(), save(tmp_path / "f.pth", both))


@pytest.mark.parametrize(
    "raw, averaged", [("state_dict", "state_dict_ema"), ("model", "model_ema")]
)
def test_averaged_weights_are_named_and_can_be_chosen(
    raw: str, averaged: str, tmp_path: Path
) -> None:
    first, second = randomised(vit()), randomised(vit())
    path = save(tmp_path / "f.pth", {raw: first.state_dict(), averaged: second.state_dict()})
    encoder = vit()
    assert f"'{averaged}' (30 tensors)" in load_encoder(encoder, path).summary()
    assert_same(encoder.state_dict(), first.state_dict())
    assert averaged in load_encoder(encoder, path, "ema").summary()
    assert_same(encoder.state_dict(), second.state_dict())
    with pytest.raises(CheckpointError, match="no averaged weights"):
        load_encoder(encoder, save(tmp_path / "g.pth", {raw: first.state_dict()}), "ema")
    dead = {key: value * 0 for key, value in first.state_dict().items()}
    path = save(tmp_path / "h.pth", {raw: dead, averaged: second.state_dict()})
    said = load_encoder(vit(), path).summary()
    assert f"WARNING: took the averaged weights, '{averaged}'" in said
    with pytest.raises(CheckpointError, match="are not those of a trained encoder"):
        load_encoder(vit(), save(tmp_path / "i.pth", {raw: dead, averaged: dead}))


ROTARY = {
    "vit_small_patch16_dinov3_qkvb": "neither pos_embed",
    "vit_small_patch16_rope_mixed_224": r"rope\.\*",
    "vit_small_patch16_rope_ape_224": "rope_ape",
    "eva02_tiny_patch14_224": "gated",
}


@pytest.mark.parametrize("name", ROTARY)
def test_rotary_encoders_are_refused_in_words(name: str, tmp_path: Path) -> None:
    model = timm.create_model(
        name, img_size=32, patch_size=8, embed_dim=WIDTH, depth=1, num_heads=3
    )
    path = save(tmp_path / "f.pth", model.state_dict())
    with pytest.raises(CheckpointError, match=rf"rotary[\s\S]*{ROTARY[name]}|{ROTARY[name]}"):
        load_encoder(vit(depth=1, position="none"), path)


def test_absolute_positions_without_tables_stay_beit(tmp_path: Path) -> None:
    model = timm.create_model("beit_base_patch16_224", **SIZES, use_abs_pos_emb=True,
                              use_rel_pos_bias=False, num_classes=0)  # fmt: skip
    encoder = ViT(arch=dict(embed_dim=WIDTH, depth=2, num_heads=HEADS), image_size=32, patch_size=8,
                  qkv_bias="qv", layer_scale=0.1)  # fmt: skip
    state = {k: v for k, v in model.state_dict().items() if not k.startswith("fc_norm")}
    state |= {"norm.weight": torch.ones(WIDTH), "norm.bias": torch.zeros(WIDTH)}
    load_encoder(encoder, save(tmp_path / "f.pth", state))


def renamed_mae() -> tuple[dict[str, Any], Any]:
    """An MAE whose task has a name of the user's choice."""
    config = dict(
        encoder=dict(type="ViT", arch=dict(embed_dim=WIDTH, depth=3, num_heads=HEADS),
                     image_size=32, patch_size=8, position="sincos_column_first"),
        tasks=dict(mine=dict(
            type="MaskedModeling", masking=dict(type="RandomMasking", ratio=0.75),
            neck=dict(type="MAEDecoder", in_channels=WIDTH, out_channels=192, width=32, depth=2,
                      num_heads=HEADS, grid=4),
            target=dict(type="PixelTarget", patch_size=8), head=dict(type="PixelLoss"))),
    )  # fmt: skip
    return config, MODELS.build(dict(type="Pretrainer", **config))


def test_official_models_are_read_whole_by_the_type_of_their_task(tmp_path: Path) -> None:
    _, model = renamed_mae()
    state = official("mae")
    notes = load_strict(model, save(tmp_path / "mae.pth", {"model": state}))
    assert "facebookresearch/mae" in " ".join(notes)
    assert torch.equal(model.tasks["mine"].neck.embed.weight, state["decoder_embed.weight"])
    with pytest.raises(CheckpointError, match="misses"):  # resuming needs more than weights
        load_strict(model, tmp_path / "mae.pth", outside=False)


def test_a_task_is_exported_by_its_type(tmp_path: Path) -> None:
    config, model = renamed_mae()
    text = Config(dict(model=dict(type="Pretrainer", **config))).pretty_text
    path = save(tmp_path / "last.pth", {"state_dict": model.state_dict(), "meta": {"cfg": text}})
    export_file(path, tmp_path / "mae.pth", "mae", image_size=32)
    theirs = load_file(tmp_path / "mae.pth")["model"]
    assert sorted(theirs) == sorted(official("mae"))
    assert torch.equal(theirs["decoder_pred.bias"], model.tasks["mine"].neck.pred.bias)
