"""Encoders for programs of other people: timm's own models, safetensors, ONNX, mmdet and mmseg."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import pytest
import timm
import torch
from mmengine.config import Config
from safetensors import safe_open
from torch import Tensor, nn

from mmvitssl.checkpoint import CheckpointError, load_encoder, load_file, onnx_model
from mmvitssl.checkpoint.convert import export_file, import_file, inspect_file
from mmvitssl.checkpoint.description import read_config_text
from mmvitssl.checkpoint.self_described import rebuild_encoder
from mmvitssl.models.backbones import SwinTransformer, ViT
from mmvitssl.registry import MODELS
from tests.builders import repre_config
from tests.test_checkpoint.test_formats import assert_same, official, randomised
from tests.test_checkpoint.test_loading import save

ARCH = dict(embed_dim=48, depth=2, num_heads=4)
SWIN = dict(
    type="SwinTransformer",
    arch=dict(embed_dim=16, depths=(2, 2), num_heads=(2, 4)),
    image_size=(64, 96),
    window_size=4,
)
BEIT = dict(position="none", relative_position="shared_bias", qkv_bias="qv", layer_scale=0.1)
# settings of an encoder, and beginning of the name of timm's model
VITS: dict[str, tuple[dict[str, Any], str]] = {
    "plain": (dict(), "vit_"),
    "not-square": (dict(image_size=(32, 64)), "vit_"),
    "sincos": (dict(position="sincos_column_first"), "vit_"),
    "cae": (dict(position="sincos_row_first", qkv_bias="qv", layer_scale=0.1), "vit_"),
    "without-biases": (dict(qkv_bias="none", mlp_ratio=2.0), "vit_"),
    "without-positions": (dict(position="none"), "vit_"),
    "tokens": (dict(prefix_tokens=("rotation", "jigsaw"), image_size=(32, 48)), "vit_"),
    "beit": (BEIT, "beit_"),
    "beit-not-square": (dict(BEIT, image_size=(32, 64)), "beit_"),
    "cae-finetuned": (
        dict(BEIT, relative_position="block_bias", position="sincos_row_first"),
        "beit_",
    ),
    "simmim": (dict(position="learned", relative_position="shared_bias"), "beit_"),
    "beit-without-biases": (dict(BEIT, qkv_bias="none", layer_scale=None), "beit_"),
    "four-channels": (dict(in_channels=4), "vit_"),
    "windows": (dict(BEIT, relative_grid=3), "beit_"),
}


def settings(**changes: Any) -> dict[str, Any]:
    return dict(dict(type="ViT", arch=ARCH, image_size=32, patch_size=8), **changes)


def trained(encoder: dict[str, Any], folder: Path, **parts: Any) -> tuple[Any, Path]:
    """An encoder with random weights, and a checkpoint of it with its config as MMEngine's."""
    model = randomised(MODELS.build(encoder))
    state = {f"encoder.{key}": value for key, value in model.state_dict().items()}
    text = Config(dict(model=dict(type="Pretrainer", encoder=encoder, **parts))).pretty_text
    content = {"meta": {"cfg": text}, "state_dict": state}
    return model, save(folder / "trained.pth", content)


def created(lines: list[str]) -> nn.Module:
    """timm's model by the line of Python that the export ends with."""
    assert lines[-1].startswith("timm.create_model(")
    model: nn.Module = eval(lines[-1], {"timm": timm})
    return model.eval()


@torch.no_grad()
def assert_features(encoder: Any, theirs: Any, size: tuple[int, int]) -> None:
    images = torch.randn(2, encoder.in_channels, *size)
    encoded = encoder.eval()(images)
    expected = theirs.forward_features(images)
    ours = encoded.patches if encoded.tokens is None else encoded.tokens
    assert ours.std() > 0.05
    torch.testing.assert_close(ours, expected.reshape(ours.shape), rtol=1e-4, atol=1e-4)


# timm


@pytest.mark.parametrize("case", VITS)
def test_timm_creates_the_model_with_our_features(case: str, tmp_path: Path) -> None:
    changes, name = VITS[case]
    encoder, path = trained(settings(**changes), tmp_path)
    lines = export_file(path, tmp_path / "timm.pth", "timm")
    assert lines[-1].startswith(f"timm.create_model('{name}")
    assert any("greatest difference from timm's features" in line for line in lines)
    size = changes.get("image_size", (32, 32))
    assert_features(encoder, created(lines), size)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_swin_becomes_timms(suffix: str, tmp_path: Path) -> None:
    channels = 1 if suffix == ".pth" else 3
    encoder, path = trained({**SWIN, "in_channels": channels}, tmp_path)
    lines = export_file(path, tmp_path / f"swin{suffix}", "timm")
    assert lines[-1].startswith("timm.create_model('swin_tiny_patch4_window7_224'")
    assert_features(encoder, created(lines), (64, 96))


@pytest.mark.parametrize(
    ("arch", "changes", "line"),
    [
        ("small", dict(), "'vit_small_patch16_224', num_classes=0, global_pool='token', "),
        ("tiny", BEIT, "'beit_base_patch16_224', embed_dim=192, num_heads=3, num_classes=0, "),
    ],
)
def test_a_usual_size_needs_no_sizes(
    arch: str, changes: dict[str, Any], line: str, tmp_path: Path
) -> None:
    encoder = dict(type="ViT", arch=arch, image_size=224, patch_size=16, **changes)
    state = {f"encoder.{k}": x for k, x in MODELS.build(encoder).state_dict().items()}
    path = save(tmp_path / "in.pth", {"meta": {"encoder": encoder}, "state_dict": state})
    lines = export_file(path, tmp_path / "out.pth", "timm")
    assert lines[-1].startswith(f"timm.create_model({line}")


def test_biases_of_keys_change_nothing_and_it_is_said(tmp_path: Path) -> None:
    _, path = trained(settings(relative_position="block_bias"), tmp_path)
    lines = export_file(path, tmp_path / "timm.pth", "timm")
    assert "note: biases of keys, which change no attention, are left out" in lines
    assert not [key for key in load_file(tmp_path / "timm.pth") if key.endswith("qkv.bias")]


def test_folded_biases_have_zeros_for_keys(tmp_path: Path) -> None:
    encoder, path = trained(settings(qkv_bias="qv"), tmp_path)
    lines = export_file(path, tmp_path / "timm.pth", "timm")
    assert "note: biases of queries and values became one, with zeros for keys" in lines
    bias = load_file(tmp_path / "timm.pth")["blocks.1.attn.qkv.bias"].unflatten(0, (3, -1))
    attention = encoder.blocks[1].attn
    assert torch.equal(bias[0], attention.q_bias) and torch.equal(bias[2], attention.v_bias)
    assert not bias[1].any()


def test_a_size_that_no_tensor_tells_is_asked_for(tmp_path: Path) -> None:
    encoder, path = trained(settings(image_size=(32, 48)), tmp_path)
    bare = save(tmp_path / "bare.pth", {"state_dict": load_file(path)["state_dict"]})
    lines = export_file(bare, tmp_path / "timm.pth", "timm")
    assert any("add img_size=" in line for line in lines)
    lines = export_file(bare, tmp_path / "timm.pth", "timm", image_size=(32, 48))
    assert "img_size=(32, 48)" in lines[-1] and not any("add img_size=" in line for line in lines)
    assert_features(
        encoder, created([lines[-1].replace(", num_c", ", num_heads=4, num_c")]), (32, 48)
    )


def test_without_a_config_it_is_not_compared_and_the_heads_are_asked_for(tmp_path: Path) -> None:
    encoder, path = trained(settings(), tmp_path)
    state = load_file(path)["state_dict"]
    bare = save(tmp_path / "bare.pth", {"state_dict": state})
    lines = export_file(bare, tmp_path / "timm.pth", "timm")
    assert any("not compared" in line and "--config" in line for line in lines)
    assert any("num_heads=" in line for line in lines)
    config = tmp_path / "config.py"
    config.write_text(f"encoder = {settings()!r}\n")
    assert_features(
        encoder, created(export_file(bare, tmp_path / "t.pth", "timm", config=config)), (32, 32)
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(position="none", relative_position="irpe"), r"iRPE[\s\S]*--format lomar"),
        (dict(BEIT, prefix_tokens=("rotation",)), "BEiT has no extra tokens"),
        (dict(norm_eps=1e-5), "epsilon of 1e-6"),
    ],
)
def test_what_timm_has_not_is_refused(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    _, path = trained(settings(**changes), tmp_path)
    with pytest.raises(CheckpointError, match=rf"{message}[\s\S]*--format (safetensors|onnx)"):
        export_file(path, tmp_path / "timm.pth", "timm")
    assert not (tmp_path / "timm.pth").exists()


def test_weights_that_give_other_features_are_not_written(tmp_path: Path) -> None:
    _, path = trained(settings(), tmp_path)
    content = load_file(path)
    wrong = settings(arch=dict(ARCH, num_heads=2))  # told from no tensor
    content["meta"]["cfg"] = Config(dict(model=dict(encoder=wrong))).pretty_text
    config = tmp_path / "config.py"
    config.write_text(f"encoder = {settings(norm_eps=1e-6, interpolate_offset=0.0)!r}\n")
    lines = export_file(save(path, content), tmp_path / "timm.pth", "timm")
    assert "num_heads=2" in lines[-1]
    content["state_dict"]["encoder.norm.weight"] = torch.full((48,), float("nan"))
    with pytest.raises(CheckpointError, match=r"NaN or infinite: encoder.norm.weight \(48 of 48"):
        export_file(save(path, content), tmp_path / "nan.pth", "timm")
    assert not (tmp_path / "nan.pth").exists()


@pytest.mark.parametrize("case", ["cls", "mean", "fresh"])
def test_a_classifier_gives_timms_logits(case: str, tmp_path: Path) -> None:
    norm = "fresh" if case == "fresh" else None
    config = dict(
        type="ImageClassifier",
        encoder=settings(**BEIT) if norm else settings(),
        head=dict(type="LinearHead", num_classes=5),
        readout="cls" if case == "cls" else "mean",
        pooled_norm=norm,
    )
    model = randomised(MODELS.build(config))
    text = Config(dict(model=config)).pretty_text
    content = {"meta": {"cfg": text}, "state_dict": model.state_dict()}
    lines = export_file(save(tmp_path / "in.pth", content), tmp_path / "out.pth", "timm")
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        logits = model.head(model.features(images))
        torch.testing.assert_close(created(lines)(images), logits, rtol=1e-4, atol=1e-4)


def test_a_classifier_of_timm_comes_back_bit_for_bit(tmp_path: Path) -> None:
    theirs = randomised(timm.create_model(
        "vit_tiny_patch16_224", img_size=32, depth=2, num_classes=7))  # fmt: skip
    import_file(save(tmp_path / "in.pth", theirs.state_dict()), tmp_path / "ours.pth")
    export_file(tmp_path / "ours.pth", tmp_path / "out.pth", "timm")
    assert_same(load_file(tmp_path / "out.pth"), theirs.state_dict())


# safetensors


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_safetensors_come_back_bit_for_bit(kind: torch.dtype, tmp_path: Path) -> None:
    model = randomised(MODELS.build(repre_config())).to(kind)
    text = Config(dict(model=repre_config())).pretty_text
    path = save(tmp_path / "in.pth", {"meta": {"cfg": text}, "state_dict": model.state_dict()})
    export_file(path, tmp_path / "out.safetensors", "safetensors")
    lines = import_file(tmp_path / "out.safetensors", tmp_path / "again.pth")
    assert lines[-1] == f"wrote {tmp_path / 'again.pth'}"
    assert_same(load_file(tmp_path / "again.pth")["state_dict"], model.state_dict())
    fresh = MODELS.build(repre_config())
    load_encoder(fresh.encoder, tmp_path / "out.safetensors", source="target")
    expected = {key: x.float() for key, x in model.target["encoder"].state_dict().items()}
    assert_same(fresh.encoder.state_dict(), expected)


@pytest.mark.parametrize(
    "encoder", [settings(**BEIT, mask_token=True), settings(prefix_tokens=("a",)), SWIN]
)
def test_safetensors_say_how_to_build_their_encoder(
    encoder: dict[str, Any], tmp_path: Path
) -> None:
    preprocessor = dict(type="ViewPreprocessor", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    model, path = trained(encoder, tmp_path, data_preprocessor=preprocessor)
    out = tmp_path / "out.safetensors"
    export_file(path, out, "safetensors", only_encoder=True)
    again, description = rebuild_encoder(out, log=lambda line: None)
    assert description.preprocessor is not None and description.preprocessor["mean"][0] == 0.5
    images = torch.randn(1, 3, 64, 96)
    model.mask_token = None
    assert_same(again.state_dict(), model.state_dict())
    with torch.no_grad():
        assert torch.equal(again(images).patches, model(images).patches)
    printed = "\n".join(inspect_file(out))
    assert f"type='{encoder['type']}'" in printed and "arch={'" in printed
    with safe_open(out, "pt") as file:  # the metadata is for other programs too
        said = json.loads(file.metadata()["mmvitssl"])
    assert said["source"] == "online"
    assert said["encoder"]["image_size"] in (32, [64, 96])


def test_what_an_import_carried_survives_safetensors(tmp_path: Path) -> None:
    import_file(save(tmp_path / "in.pth", {"model": official("lomar")}), tmp_path / "ours.pth")
    export_file(tmp_path / "ours.pth", tmp_path / "a.safetensors", "safetensors")
    import_file(tmp_path / "a.safetensors", tmp_path / "again.pth")
    for file in ("a.safetensors", "again.pth"):
        export_file(tmp_path / file, tmp_path / "out.pth", "lomar")
        assert_same(load_file(tmp_path / "out.pth")["model"], official("lomar"))


def test_an_unknown_encoder_is_written_and_said_to_be(tmp_path: Path) -> None:
    _, path = trained(settings(), tmp_path)
    bare = save(tmp_path / "bare.pth", {"state_dict": load_file(path)["state_dict"]})
    lines = export_file(bare, tmp_path / "out.safetensors", "safetensors")
    assert "without the encoder's config" in lines[0]
    with pytest.raises(CheckpointError, match="does not say how its encoder is built.*--config"):
        rebuild_encoder(tmp_path / "out.safetensors")


def test_a_damaged_safetensors_file_is_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00{not json")
    with pytest.raises(CheckpointError, match=r"x\.safetensors is not a safetensors file"):
        load_file(tmp_path / "x.safetensors")


def test_wrong_endings_and_options_are_refused(tmp_path: Path) -> None:
    _, path = trained(settings(), tmp_path)
    with pytest.raises(CheckpointError, match=r"must end in \.safetensors"):
        export_file(path, tmp_path / "out.pth", "safetensors")
    with pytest.raises(CheckpointError, match=r"must end in \.onnx"):
        export_file(path, tmp_path / "out.pth", "onnx")
    with pytest.raises(CheckpointError, match="no conventions for fine-tuning"):
        export_file(path, tmp_path / "o.safetensors", "safetensors", finetune=True)
    with pytest.raises(FileNotFoundError, match=r"no config .*none\.py"):
        export_file(path, tmp_path / "o.pth", "timm", config=tmp_path / "none.py")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["trained.pth"]


# configs inside checkpoints


def test_a_config_is_read_without_running_it(tmp_path: Path) -> None:
    text = "model = dict(encoder=dict(type='ViT', arch={'depth': 2}, rate=-1.5, a=[1, (2,)]))\n"
    trap = f"other = open({str(tmp_path / 'ran')!r}, 'w')\n"
    expected = dict(type="ViT", arch=dict(depth=2), rate=-1.5, a=[1, (2,)])
    assert read_config_text(trap + text, ("model",)) == {"model": {"encoder": expected}}
    for line in ("x = open('ran')", "x = dict(**y)", "x = [__import__('os')]", "x = dict(", "x=y"):
        with pytest.raises(ValueError):
            read_config_text(line, ("x",))
    _, path = trained(settings(), tmp_path)
    content = load_file(path)
    content["meta"]["cfg"] = f"model = open({str(tmp_path / 'ran')!r}, 'w')"
    with pytest.raises(CheckpointError, match="not made of plain values .*--config"):
        rebuild_encoder(save(path, content))
    assert not (tmp_path / "ran").exists()


def test_mmengines_text_of_a_config_is_read_whole() -> None:
    text = Config(dict(model=repre_config(), lr=float("inf"))).pretty_text
    found = read_config_text(text, ("model", "lr"))
    assert found == Config(dict(model=repre_config(), lr=float("inf"))).to_dict()


# ONNX


SHALLOW = dict(ARCH, depth=1)


@pytest.mark.parametrize(
    "encoder",
    [
        settings(**BEIT, arch=SHALLOW, image_size=(32, 48), mask_token=True, in_channels=4),
        pytest.param(
            settings(arch=SHALLOW, position="none", relative_position="irpe"),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            {**SWIN, "arch": dict(embed_dim=16, depths=(2, 1), num_heads=(2, 4))},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_onnxruntime_gives_the_features_of_any_number_of_images(
    encoder: dict[str, Any], tmp_path: Path
) -> None:
    import onnx
    import onnxruntime

    model, path = trained(encoder, tmp_path)
    out = tmp_path / "model.onnx"
    # a Swin Transformer pads; its grid does not tell sizes that the patch does not divide
    size = (36, 50) if encoder["type"] == "SwinTransformer" else None
    lines = export_file(path, out, "onnx", image_size=size)
    assert any("greatest difference from torch under onnxruntime" in line for line in lines)
    session = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    assert given.name == "images" and isinstance(given.shape[0], str)
    images = torch.randn(5, *given.shape[1:])
    with torch.no_grad():
        encoded = model(images)
    cls, patches = session.run(["cls", "patches"], {"images": images.numpy()})
    torch.testing.assert_close(Tensor(cls), encoded.cls, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(Tensor(patches), encoded.patches, rtol=1e-4, atol=1e-4)
    said = {entry.key: entry.value for entry in onnx.load(str(out)).metadata_props}
    assert json.loads(said["mmvitssl"])["encoder"]["type"] == encoder["type"]


def test_onnx_that_is_not_installed_is_said_in_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _, path = trained(settings(), tmp_path)
    monkeypatch.setattr(onnx_model, "NEEDED", ("onnx", "no_such_runtime"))
    with pytest.raises(CheckpointError, match=r"no_such_runtime, .*mmvitssl\[export\]"):
        export_file(path, tmp_path / "out.onnx", "onnx")


def test_an_onnx_file_that_differs_is_removed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Program:
        class model:
            metadata_props: ClassVar[dict[str, str]] = {}

        def save(self, path: str) -> None:
            Path(path).write_bytes(b"x")

    monkeypatch.setattr(onnx_model, "_traced", lambda model, images: Program())
    for error in (0.1, float("nan")):
        report = onnx_model.OnnxReport((32, 32), error, 2.0)
        monkeypatch.setattr(onnx_model, "compare", lambda *given, report=report: report)
        with pytest.raises(CheckpointError, match="differ from torch's by .* nothing was written"):
            onnx_model.write_onnx(ViT(ARCH, 32, 8), tmp_path / "out.onnx")
        assert not (tmp_path / "out.onnx").exists()


def test_an_image_that_the_patch_does_not_divide_is_refused(tmp_path: Path) -> None:
    _, path = trained(settings(), tmp_path)
    with pytest.raises(ValueError, match="patches of 8: use a crop size"):
        export_file(path, tmp_path / "out.onnx", "onnx", image_size=30)


# Swin Transformers in mmdet, mmseg and mmpretrain


def test_mmpretrains_names_hold_the_whole_encoder(tmp_path: Path) -> None:
    """mmdet's class with one output has mmpretrain's keys and features."""
    from mmdet.models.backbones import SwinTransformer as Theirs

    arch = dict(embed_dim=8, depths=(1, 1, 1, 1), num_heads=(1, 2, 2, 4))
    encoder, path = trained({**SWIN, "arch": arch}, tmp_path)
    out = tmp_path / "backbone.pth"
    export_file(path, out, "mmpretrain-swin", only_encoder=True)
    theirs = Theirs(
        embed_dims=8, patch_size=4, window_size=4, depths=(1, 1, 1, 1), num_heads=(1, 2, 2, 4),
        out_indices=(3,),
    )  # fmt: skip
    state = load_file(out)["state_dict"]
    theirs.load_state_dict({key.removeprefix("backbone."): x for key, x in state.items()})
    theirs.eval()  # returns nothing
    images = torch.randn(1, 3, 128, 160)
    with torch.no_grad():
        (expected,) = theirs(images)
        patches = encoder(images).patches
    torch.testing.assert_close(patches, expected.flatten(2).mT, rtol=1e-4, atol=5e-5)
    fresh = MODELS.build({**SWIN, "arch": arch})
    load_encoder(fresh, out)
    assert_same(fresh.state_dict(), encoder.state_dict())


@pytest.mark.parametrize("library", ["mmdet", "mmseg"])
def test_detectors_and_segmentors_have_our_maps(library: str, tmp_path: Path) -> None:
    if library == "mmdet":
        from mmdet.models.backbones import SwinTransformer as Theirs
    else:
        from mmseg.models.backbones import SwinTransformer as Theirs
    encoder, path = trained(SWIN, tmp_path)
    assert isinstance(encoder, SwinTransformer)
    out = tmp_path / "backbone.pth"
    export_file(path, out, "mmdet-swin", only_encoder=True)
    theirs = Theirs(
        embed_dims=16, patch_size=4, window_size=4, depths=(2, 2), num_heads=(2, 4),
        strides=(4, 2), out_indices=(0, 1), drop_path_rate=0.0,
    )  # fmt: skip
    state = {key.removeprefix("backbone."): x for key, x in load_file(out)["state_dict"].items()}
    found = theirs.load_state_dict(state, strict=False)
    assert not found.unexpected_keys
    assert found.missing_keys == [f"norm{i}.{part}" for i in (0, 1) for part in ("weight", "bias")]
    images = torch.randn(1, 3, 72, 100)
    with torch.no_grad():
        maps = encoder.forward_levels(images, (0, 1))
        theirs.eval()  # returns nothing
        for level, expected in enumerate(theirs(images)):
            features = maps[level].permute(0, 2, 3, 1)
            normed = nn.functional.layer_norm(features, features.shape[-1:])
            torch.testing.assert_close(
                normed.permute(0, 3, 1, 2), expected, rtol=1e-4, atol=5e-5
            )  # fmt: skip
