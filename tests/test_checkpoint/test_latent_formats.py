"""Checkpoints of iBOT, DINOv2 and I-JEPA: bit for bit both ways, features equal to timm's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor

from mmvitssl.checkpoint import CheckpointError, load_encoder, load_file
from mmvitssl.checkpoint.convert import export_file, import_file
from mmvitssl.checkpoint.formats import FORMATS, recognise
from mmvitssl.models.backbones import ViT
from mmvitssl.registry import MODELS
from parity.latent import CONFIGS
from tests.test_checkpoint.test_contrastive_formats import behind, file_of, fixture, part, state_of
from tests.test_checkpoint.test_formats import assert_same, official, randomised
from tests.test_checkpoint.test_layouts import hugging_face
from tests.test_checkpoint.test_loading import save

State = dict[str, Tensor]
WRAPPED = {"ibot": ("student.", "teacher."), "ijepa": ("encoder.", "predictor.", "target_encoder.")}
CASES = {"ibot": "ibot", "dinov2-training": "dinov2", "ijepa": "ijepa"}
SIZES: dict[str, Any] = dict(img_size=32, patch_size=8, embed_dim=48, depth=2, num_heads=4)


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_files_make_the_same_round_trip(name: str, wrapped: bool, tmp_path: Path) -> None:
    state = official(CASES[name])
    for front in WRAPPED.get(name, ()) if wrapped else ():
        state = behind(front, state)
    found = recognise(state)
    assert found is not None and found.name == name
    import_file(save(tmp_path / "official.pth", file_of(name, state)), tmp_path / "ours.pth")
    export_file(tmp_path / "ours.pth", tmp_path / "again.pth", name)
    assert_same(state_of(name, load_file(tmp_path / "again.pth")), state)
    model = MODELS.build(CONFIGS[CASES[name]](fixture(CASES[name])))
    model.load_state_dict(found.import_state(state).state, strict=True)
    assert recognise(model.state_dict()) is None
    with pytest.raises(CheckpointError, match=f"'{name}'.* 1 of its keys: .*surprise"):
        found.import_state({**state, "surprise.weight": torch.ones(1)})


@pytest.mark.parametrize("name", CASES)
def test_the_encoder_that_the_authors_evaluate_is_taken(name: str, tmp_path: Path) -> None:
    """The teacher of iBOT and DINOv2, I-JEPA's target encoder; the other one when asked for."""
    state = official(CASES[name])
    path = save(tmp_path / "official.pth", file_of(name, state))
    model = MODELS.build(CONFIGS[CASES[name]](fixture(CASES[name])))
    fronts = {"ijepa": ("target_encoder.", "encoder.")}
    for source, front in zip(
        (None, "online"), fronts.get(name, ("teacher.backbone.", "student.backbone.")), strict=True
    ):
        load_encoder(model.encoder, path, source)
        weight = model.encoder.blocks[1].mlp.fc1.weight
        assert torch.equal(weight, state[f"{front}blocks.1.mlp.fc1.weight"])


def timm_dinov2(name: str, **settings: Any) -> tuple[Any, State]:
    """timm's model and its weights under the official names."""
    model = randomised(timm.create_model(name, **{**SIZES, **settings}))
    state = {**model.state_dict(), "mask_token": torch.randn(1, 48)}
    return model, state


@pytest.mark.parametrize("layout", ["flat", "chunked", "teacher"])
def test_gated_dinov2_in_chunks_has_timms_features(layout: str, tmp_path: Path) -> None:
    theirs, state = timm_dinov2("vit_giant_patch14_dinov2")
    for key in list(state):
        for old, new in (("mlp.fc1", "mlp.w12"), ("mlp.fc2", "mlp.w3")):
            if old in key:
                state[key.replace(old, new)] = state.pop(key)
    flat = dict(state)
    if layout != "flat":
        state = {k.replace("blocks.0.", "blocks.0.0.").replace("blocks.1.", "blocks.1.1."): v
                 for k, v in state.items()}  # fmt: skip
    content: dict[str, Any] = state
    if layout == "teacher":  # as the official training saves it for evaluation
        head = {"dino_head.last_layer.weight_v": torch.ones(3, 2)}
        content = {"teacher": {**{f"backbone.{k}": v for k, v in state.items()}, **head}}
    encoder = ViT(
        arch=dict(embed_dim=48, depth=2, num_heads=4), image_size=32, patch_size=8, layer_scale=1.0,
        mlp="swiglu", mask_token=True,
    ).eval()  # fmt: skip
    path = save(tmp_path / "dinov2.pth", content)
    load_encoder(encoder, path)
    images = torch.randn(2, 3, 32, 32)
    expected = theirs.eval().forward_features(images)
    torch.testing.assert_close(encoder(images).tokens, expected, rtol=1e-4, atol=1e-4)
    if layout == "chunked":
        import_file(path, tmp_path / "ours.pth")
        export_file(tmp_path / "ours.pth", tmp_path / "flat.pth", "dinov2")
        assert_same(load_file(tmp_path / "flat.pth"), flat)  # chunks are for sharded training


@pytest.mark.parametrize("layout", ["timm", "transformers", "official"])
def test_ijepas_encoder_alone_has_timms_features(layout: str, tmp_path: Path) -> None:
    theirs = randomised(timm.create_model("vit_huge_patch14_gap_224", num_classes=0, **SIZES))
    state = theirs.state_dict()
    if layout == "transformers":
        state = hugging_face(state, "", "encoder.layer.")
    if layout == "official":
        state = {f"module.{key}": value for key, value in state.items()}
    encoder = ViT(
        arch=dict(embed_dim=48, depth=2, num_heads=4), image_size=32, patch_size=8,
        class_token=False,
    ).eval()  # fmt: skip
    path = save(tmp_path / "ijepa.pth", state)
    load_encoder(encoder, path)
    images = torch.randn(2, 3, 32, 32)
    expected = theirs.eval().forward_features(images)
    torch.testing.assert_close(encoder(images).patches, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(encoder(images).cls, expected.mean(dim=1), rtol=1e-4, atol=1e-4)
    if layout != "official":
        name = {"timm": "timm-pooled"}.get(layout, "transformers-vit")
        found = recognise(state)
        assert found is not None and found.name == name
        imported = FORMATS[name].import_state(state)
        again = FORMATS[name].export_state(
            imported.state, imported.carried, prefixes=imported.prefixes
        )
        assert_same(again, state)
    with pytest.raises(CheckpointError, match="class_token=False"):
        load_encoder(ViT(arch=dict(embed_dim=48, depth=2, num_heads=4), image_size=32,
                         patch_size=8), path)  # fmt: skip


def test_registers_are_resized_as_published(tmp_path: Path) -> None:
    """Another image size: with antialias for files with registers, with an offset for the others.

    timm resizes with antialias whatever the file.
    """
    theirs, _ = timm_dinov2("vit_small_patch14_reg4_dinov2", dynamic_img_size=True)
    encoder = ViT(
        arch=dict(embed_dim=48, depth=2, num_heads=4), image_size=32, patch_size=8, layer_scale=1.0,
        prefix_tokens=["register_1", "register_2", "register_3", "register_4"],
        interpolate_antialias=True,
    ).eval()  # fmt: skip
    load_encoder(encoder, save(tmp_path / "timm.pth", theirs.state_dict()))
    images = torch.randn(2, 3, 24, 16)
    expected = theirs.eval().forward_features(images)
    torch.testing.assert_close(encoder(images).tokens, expected, rtol=1e-4, atol=1e-4)
    encoder.interpolate_antialias = False
    assert (encoder(images).tokens - expected).abs().max() > 1e-3
    assert part(theirs.state_dict(), "blocks.0.")  # one block at least was compared


def official_dinov3(state: dict[str, torch.Tensor], gated: bool) -> dict[str, torch.Tensor]:
    """timm's tensors of two blocks under the official names."""
    names = {"fc1_g": "w1", "fc1_x": "w2", "fc2": "w3"} if gated else {}
    state = {k.replace("gamma_", "ls") + (".gamma" if "gamma_" in k else ""): v
             for k, v in state.items()}  # fmt: skip
    for old, new in names.items():
        state = {k.replace(f"mlp.{old}.", f"mlp.{new}."): v for k, v in state.items()}
    for i in range(2):
        front = f"blocks.{i}.attn."
        query, value = state.pop(front + "q_bias"), state.pop(front + "v_bias")
        state[front + "qkv.bias"] = torch.cat([query, torch.randn(48), value])
        state[front + "qkv.bias_mask"] = torch.ones(144)
    state |= {"storage_tokens": state.pop("reg_token"), "mask_token": torch.randn(1, 48)}
    state["rope_embed.periods"] = torch.ones(3)
    return state


def transformers_dinov3(state: dict[str, torch.Tensor], gated: bool) -> dict[str, torch.Tensor]:
    """timm's tensors of two blocks under transformers' names."""
    first = ("fc1_g", "gate_proj") if gated else ("fc1", "up_proj")
    names = [
        ("blocks.", "layer."), (".attn.q_bias", ".attention.q_proj.bias"),
        (".attn.v_bias", ".attention.v_proj.bias"), (".attn.proj.", ".attention.o_proj."),
        ("gamma_1", "layer_scale1.lambda1"), ("gamma_2", "layer_scale2.lambda1"), first,
        ("fc1_x", "up_proj"), ("fc2", "down_proj"), ("cls_token", "embeddings.cls_token"),
        ("reg_token", "embeddings.register_tokens"),
        ("patch_embed.proj", "embeddings.patch_embeddings"),
    ]  # fmt: skip
    renamed = {}
    for key, tensor in state.items():
        for old, new in names:
            key = key.replace(old, new)
        renamed[key] = tensor
    for i in range(2):
        joint = renamed.pop(f"layer.{i}.attn.qkv.weight").chunk(3)
        renamed |= {f"layer.{i}.attention.{part}_proj.weight": values.clone()
                    for part, values in zip("qkv", joint, strict=True)}  # fmt: skip
    return {**renamed, "embeddings.mask_token": torch.randn(1, 1, 48)}


DINOV3_NAMES = {"timm": "timm-dinov3", "official": "dinov3", "transformers": "transformers-dinov3"}


@pytest.mark.parametrize("gated", [False, True], ids=["", "plus"])
@pytest.mark.parametrize("layout", ["timm", "timm without biases", "official", "transformers"])
def test_dinov3_has_timms_features_at_every_size(
    layout: str, gated: bool, tmp_path: Path
) -> None:
    biased = layout != "timm without biases"
    name = f"vit_small_{'plus_' * gated}patch16_dinov3" + ("_qkvb" if biased else "")
    theirs = randomised(timm.create_model(name, **SIZES))
    state = theirs.state_dict()
    if layout in ("official", "transformers"):
        make = official_dinov3 if layout == "official" else transformers_dinov3
        state = make(state, gated)
    encoder = ViT(
        arch=dict(embed_dim=48, depth=2, num_heads=4), image_size=32, patch_size=8, position="none",
        relative_position="rope", prefix_tokens=["a", "b", "c", "d"], layer_scale=1e-5,
        norm_eps=1e-5, qkv_bias="qv" if biased else "none",
        **(dict(mlp="swiglu", mlp_ratio=6.0) if gated else {}),
    ).eval()  # fmt: skip
    path = save(tmp_path / "dinov3.pth", state)
    load_encoder(encoder, path)
    for size in ((32, 32), (24, 40)):
        images = torch.randn(2, 3, *size)
        expected = theirs.eval().forward_features(images)
        torch.testing.assert_close(encoder(images).tokens, expected, rtol=1e-4, atol=1e-4)
    found = recognise(state)
    assert found is not None and found.name == DINOV3_NAMES[layout.split()[0]]
    imported = found.import_state(state)
    assert_same(found.export_state(imported.state, imported.carried), state)
    with pytest.raises(CheckpointError, match="relative_position='rope'"):
        load_encoder(ViT(arch=dict(embed_dim=48, depth=2, num_heads=4), image_size=32,
                         patch_size=8), path)  # fmt: skip


def test_dropped_patches_are_rotated_by_their_own_places() -> None:
    """Some patches alone attend as they do when the others are hidden from them."""
    from mmvitssl.structures import TokenPlan

    encoder = ViT(
        arch=dict(embed_dim=48, depth=1, num_heads=4), image_size=32, patch_size=8, position="none",
        relative_position="rope",
    ).eval()  # fmt: skip
    images, order = torch.randn(1, 3, 32, 32), torch.randperm(16)[None]
    whole = encoder(images)
    shuffled = encoder(images, TokenPlan(tokens=order))
    torch.testing.assert_close(shuffled.patches[0], whole.patches[0, order[0]])
