"""Checkpoints of other code bases: every key accounted for, both ways, and the features of timm."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from timm.models.beit import Beit, gen_relative_position_index
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from mmvitssl.checkpoint import CheckpointError, load_encoder, load_file
from mmvitssl.checkpoint.convert import export_file, import_file
from mmvitssl.checkpoint.formats import FORMATS, recognise
from mmvitssl.models.algorithms import Pretrainer
from mmvitssl.models.backbones import DenseFeatures, ViT
from mmvitssl.models.backbones.relative import converted_table
from mmvitssl.registry import MODELS
from parity import Fixture
from tests.builders import build_repre
from tests.test_checkpoint.test_loading import Malicious, save

State = dict[str, Tensor]
DATA = Path(__file__).resolve().parents[1] / "data"
WIDTH, HEADS, VOCABULARY, PATCH_VALUES = 48, 4, 64, 3 * 8 * 8
TABLE = "relative_position_bias_table"
INDEX = "relative_position_index"
SIZES = dict(patch_size=8, embed_dim=WIDTH, num_heads=HEADS)


# checkpoints of other code bases


def official(method: str) -> State:
    """The weights of an official implementation, as it saved them."""
    return Fixture.load(DATA / f"parity/{method}.npz").state


def randomised(model: nn.Module) -> Any:
    """No parameter stays at the zero or one it starts from."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.2)
    return model.eval()


def timm_vit(**settings: Any) -> VisionTransformer:
    sizes = dict(img_size=32, depth=2, num_classes=10, **SIZES)
    return randomised(VisionTransformer(**{**sizes, **settings}))


def timm_beit(**settings: Any) -> Beit:
    sizes = dict(img_size=32, depth=2, init_values=0.1, use_abs_pos_emb=False, **SIZES)
    return randomised(Beit(**{**sizes, "num_classes": 10, **settings}))


def beit_encoder(**settings: Any) -> Beit:
    """With a norm behind the blocks, as in pretraining."""
    return timm_beit(num_classes=0, global_pool="", **settings)


def beit_pretraining() -> State:
    """What unilm's VisionTransformerForMaskedImageModeling saves."""
    return {
        **beit_encoder(use_shared_rel_pos_bias=True).state_dict(),
        f"rel_pos_bias.{INDEX}": gen_relative_position_index((4, 4)),
        "mask_token": torch.randn(1, 1, WIDTH),
        "lm_head.weight": torch.randn(VOCABULARY, WIDTH),
        "lm_head.bias": torch.randn(VOCABULARY),
    }


def beit_finetuned() -> State:
    """What unilm saves after fine-tuning: a table a block, their buffers, fc_norm and no norm."""
    buffer = gen_relative_position_index((4, 4))
    indices = {f"blocks.{i}.attn.{INDEX}": buffer.clone() for i in range(2)}
    return {**timm_beit(use_rel_pos_bias=True).state_dict(), **indices}


def cae_a() -> State:
    """The weights of the first official release of CAE with the names of the second."""
    renames = {
        "teacher.": "alignment_encoder.",
        "pretext_neck.regressor_blocks.": "regresser.regressor_blocks.",
        "pretext_neck.decoder_blocks.": "decoder.decoder_blocks.",
        "pretext_neck.norm2.": "decoder.norm.",
        "pretext_neck.norm.": "regresser.norm.",
        "pretext_neck.head.": "decoder.head.",
    }
    state = official("cae")
    for theirs, second in renames.items():
        state = {key.replace(theirs, second): tensor for key, tensor in state.items()}
    return {**state, "rd_pos_embed": state["encoder.pos_embed"].clone()}


def cae_a_narrow() -> State:
    """As CAE-L and CAE-S: regressor and decoder of another width than the encoder."""
    narrow = {WIDTH: 32, 3 * WIDTH: 96, 4 * WIDTH: 128}
    parts = ("regresser.", "decoder.", "mask_token", "rd_pos_embed")
    shapes = {
        key: tuple(narrow.get(n, n) if key.startswith(parts) else n for n in tensor.shape)
        for key, tensor in cae_a().items()
    }
    shapes.update({f"encoder_to_regresser_norm.{part}": (32,) for part in ("weight", "bias")})
    shapes.update({"encoder_to_regresser.weight": (32, WIDTH), "encoder_to_regresser.bias": (32,)})
    return {key: torch.randn(shape) for key, shape in shapes.items()}


def mmpretrain(method: str, *more: str) -> State:
    """The keys of a real model of mmpretrain with random values, and buffers of some more."""
    shapes = json.loads((DATA / "mmpretrain_keys.json").read_text())[method]
    state = {key: torch.randn(shape) for key, shape in shapes.items()}
    if method == "beit":
        state[f"backbone.rel_pos_bias.{INDEX}"] = gen_relative_position_index((4, 4))
    return {**state, **{key: torch.randn(3) for key in more}}


NORMALISATION = ("data_preprocessor.mean", "data_preprocessor.std")
TOKENIZER = ("target_generator.encoder.blocks.input.w",)
# name: (format, the checkpoint, beginnings of the names of all that is carried)
CASES: dict[str, tuple[str, Callable[[], State], tuple[str, ...]]] = {
    "mae": ("mae", lambda: official("mae"), ()),
    "lomar": ("lomar", lambda: official("lomar"), ("pos_embed",)),
    "cae": ("cae", lambda: official("cae"), ("teacher.",)),
    "cae-a": ("cae-a", cae_a, ("alignment_encoder.", "rd_pos_embed")),
    "cae-a-narrow": ("cae-a", cae_a_narrow, ("alignment_encoder.", "rd_pos_embed")),
    "beit": ("beit", beit_pretraining, (f"rel_pos_bias.{INDEX}",)),
    "beit-finetuned": ("beit", beit_finetuned, tuple(f"blocks.{i}.attn.{INDEX}" for i in (0, 1))),
    "beit-timm": ("beit", lambda: timm_beit(use_rel_pos_bias=True).state_dict(), ()),
    "timm": ("timm", lambda: timm_vit().state_dict(), ()),
    "timm-pooled": ("timm", lambda: timm_vit(global_pool="avg").state_dict(), ()),
    "mmpretrain-mae": (
        "mmpretrain-mae",
        lambda: mmpretrain("mae", *NORMALISATION),
        ("data_preprocessor.",),
    ),
    "mmpretrain-beit": (
        "mmpretrain-beit",
        lambda: mmpretrain("beit", *NORMALISATION, *TOKENIZER),
        ("data_preprocessor.", "target_generator.", f"backbone.rel_pos_bias.{INDEX}"),
    ),
    "mmpretrain-cae": (
        "mmpretrain-cae",
        lambda: mmpretrain("cae", *TOKENIZER),
        ("teacher.", "target_generator."),
    ),
}
cases = pytest.mark.parametrize("case", CASES)
# parts of equal shapes, which a wrong name could exchange; whole models were compared by hand
MMPRETRAIN_PARTS = {
    "backbone.ln1.weight": "encoder.norm.weight",
    "backbone.layers.0.ln1.weight": "encoder.blocks.0.norm1.weight",
    "backbone.layers.0.ln2.weight": "encoder.blocks.0.norm2.weight",
    "backbone.layers.0.gamma_1": "encoder.blocks.0.ls1.gamma",
    "backbone.layers.0.gamma_2": "encoder.blocks.0.ls2.gamma",
    "backbone.layers.0.attn.q_bias": "encoder.blocks.0.attn.q_bias",
    "backbone.layers.0.attn.v_bias": "encoder.blocks.0.attn.v_bias",
    "neck.decoder_blocks.0.ln1.weight": "tasks.masked.neck.blocks.0.norm1.weight",
    "neck.decoder_blocks.0.ln2.weight": "tasks.masked.neck.blocks.0.norm2.weight",
    "neck.ln1.weight": "tasks.masked.neck.norm.weight",
    "neck.regressors.0.norm1_q_cross.bias": "tasks.context.regressor.blocks.0.norm1_q.bias",
    "neck.regressors.0.norm1_k_cross.bias": "tasks.context.regressor.blocks.0.norm1_k.bias",
    "neck.regressors.0.norm1_v_cross.bias": "tasks.context.regressor.blocks.0.norm1_v.bias",
    "neck.regressors.0.norm2_cross.bias": "tasks.context.regressor.blocks.0.norm2.bias",
    "neck.regressors.0.gamma_1_cross": "tasks.context.regressor.blocks.0.ls1.gamma",
    "neck.regressors.0.gamma_2_cross": "tasks.context.regressor.blocks.0.ls2.gamma",
    "neck.decoders.0.ln1.bias": "tasks.context.decoder.blocks.0.norm1.bias",
    "neck.decoders.0.ln2.bias": "tasks.context.decoder.blocks.0.norm2.bias",
    "neck.norm_regressor.weight": "tasks.context.regressor.norm.weight",
    "neck.norm_decoder.weight": "tasks.context.decoder.norm.weight",
}


# models of this package


def pretrainer(task: str, encoder: dict[str, Any], depth: int, **settings: Any) -> Pretrainer:
    sizes = dict(embed_dim=WIDTH, depth=depth, num_heads=HEADS)
    encoder = {"type": "ViT", "arch": sizes, "image_size": 32, "patch_size": 8, **encoder}
    return MODELS.build(dict(type="Pretrainer", encoder=encoder, tasks={task: settings}))


def modeling(encoder: dict[str, Any], depth: int, neck: dict[str, Any], **parts: Any) -> Pretrainer:
    head = dict(type="PixelLoss", distance="l2")
    parts = dict(target=dict(type="PixelTarget", patch_size=8), head=head) | parts
    neck = dict(in_channels=WIDTH, out_channels=PATCH_VALUES) | neck
    return pretrainer("masked", encoder, depth, type="MaskedModeling", neck=neck, **parts)


def our_mae(depth: int = 3, decoder: int = 2) -> Pretrainer:
    neck = dict(type="MAEDecoder", width=32, depth=decoder, num_heads=HEADS, grid=4)
    encoder = dict(position="sincos_column_first")
    return modeling(encoder, depth, neck, masking=dict(type="RandomMasking", ratio=0.75))


def our_lomar() -> Pretrainer:
    encoder = dict(image_size=64, position="none", relative_position="irpe", mask_token=True)
    masking = dict(type="WindowMasking", window=5, views=2, ratio=0.8)
    return modeling(encoder, 3, dict(type="TokenPredictor"), masking=masking)


def our_beit(depth: int = 2) -> Pretrainer:
    return modeling(
        dict(mask_token=True, **BEIT),
        depth,
        dict(type="TokenPredictor", out_channels=VOCABULARY),
        masking=dict(type="BlockMasking", num_masked=6),
        target=dict(type="TokenTarget", vocabulary=VOCABULARY),
        head=dict(type="TokenLoss"),
    )


def our_cae(depth: int = 3, regressor: int = 2, decoder: int = 2, width: int = 48) -> Pretrainer:
    shared = dict(width=width, num_heads=HEADS)
    projection = dict(type="LatentProjection", in_channels=WIDTH, out_channels=width)
    return pretrainer(
        "context",
        dict(position="sincos_row_first", qkv_bias="qv", layer_scale=0.1),
        depth,
        type="ContextAutoencoding",
        masking=dict(type="BlockMasking", num_masked=6, exact=True, mode="drop"),
        regressor=dict(type="ContextRegressor", depth=regressor, **shared),
        decoder=dict(type="ContextDecoder", depth=decoder, out_channels=VOCABULARY, **shared),
        target=dict(type="TokenTarget", vocabulary=VOCABULARY),
        head=dict(type="TokenLoss"),
        projection=None if width == WIDTH else projection,
    )


BEIT = dict(position="none", relative_position="shared_bias", qkv_bias="qv", layer_scale=0.1)
HERE: dict[str, Callable[[], Pretrainer]] = {
    "mae": our_mae,
    "lomar": our_lomar,
    "cae": our_cae,
    "cae-a": our_cae,
    "cae-a-narrow": lambda: our_cae(width=32),
    "beit": our_beit,
    "mmpretrain-mae": lambda: our_mae(depth=1, decoder=1),
    "mmpretrain-beit": lambda: our_beit(depth=1),
    "mmpretrain-cae": lambda: our_cae(depth=1, regressor=1, decoder=1),
}


def vit(depth: int = 2, **settings: Any) -> ViT:
    sizes = dict(embed_dim=WIDTH, depth=depth, num_heads=HEADS)
    return ViT(**{"arch": sizes, "image_size": 32, "patch_size": 8, **settings}).eval()


def dense(depth: int = 2, **settings: Any) -> DenseFeatures:
    sizes = dict(embed_dim=WIDTH, depth=depth, num_heads=HEADS)
    encoder = {"type": "ViT", "arch": sizes, "image_size": 32, "patch_size": 8, **settings}
    return DenseFeatures(encoder, levels=(0, depth - 1)).eval()


# comparisons


def identities(tensors: Iterable[Tensor]) -> list[int]:
    return sorted(id(tensor) for tensor in tensors)


def assert_same(state: State, expected: State) -> None:
    """Bit for bit, with the same keys and types."""
    assert sorted(state) == sorted(expected)
    for key, tensor in expected.items():
        assert state[key].dtype == tensor.dtype and torch.equal(state[key], tensor), key


def assert_shapes(state: State, expected: State) -> None:
    shapes = {key: tensor.shape for key, tensor in state.items()}
    assert shapes == {key: tensor.shape for key, tensor in expected.items()}


@torch.no_grad()
def assert_equal_features(encoder: ViT, theirs: nn.Module, side: int = 32) -> None:
    images = torch.randn(2, 3, side, side)
    encoded = encoder.eval()(images)
    expected = theirs.forward_features(images)
    torch.testing.assert_close(encoded.cls, expected[:, 0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(encoded.patches, expected[:, 1:], rtol=1e-4, atol=1e-5)


# every key, both ways


@cases
def test_the_format_is_recognised_by_its_keys(case: str) -> None:
    name, make, _ = CASES[case]
    found = recognise(make())
    assert found is not None and found.name == name


@pytest.mark.parametrize("name", HERE)
def test_checkpoints_of_this_package_are_of_no_outside_format(name: str) -> None:
    state = HERE[name]().state_dict()
    assert recognise(state) is None
    assert recognise({f"backbone.{key}": tensor for key, tensor in state.items()}) is None


@cases
def test_every_tensor_is_used_or_carried_with_a_reason(case: str) -> None:
    name, make, beginnings = CASES[case]
    state = make()
    imported = FORMATS[name].import_state(state)
    expected = {key: state[key] for key in state if beginnings and key.startswith(beginnings)}
    assert_same(imported.carried, expected)
    assert imported.reasons.keys() == expected.keys() and all(imported.reasons.values())
    rest = [tensor for key, tensor in state.items() if key not in expected]
    assert identities(imported.state.values()) == identities(rest)


@pytest.mark.parametrize("case", HERE)
def test_what_is_used_is_a_whole_model_of_this_package(case: str) -> None:
    imported = FORMATS[CASES[case][0]].import_state(CASES[case][1]())
    HERE[case]().load_state_dict(imported.state, strict=True)


def test_both_releases_of_cae_become_the_same_model() -> None:
    first = FORMATS["cae"].import_state(official("cae")).state
    assert_same(FORMATS["cae-a"].import_state(cae_a()).state, first)


@pytest.mark.parametrize("case", ["mmpretrain-mae", "mmpretrain-beit", "mmpretrain-cae"])
def test_mmpretrains_layers_keep_their_parts(case: str) -> None:
    name, make, _ = CASES[case]
    state = make()
    ours = FORMATS[name].import_state(state).state
    parts = {key: new for key, new in MMPRETRAIN_PARTS.items() if key in state}
    assert len(parts) > 5
    for theirs, new in parts.items():
        assert ours[new] is state[theirs], theirs


@cases
@pytest.mark.parametrize("kind", [torch.float32, torch.float16])
def test_export_of_an_import_is_the_same_bit_for_bit(case: str, kind: torch.dtype) -> None:
    name, make, _ = CASES[case]
    state = {key: x.to(kind) if x.is_floating_point() else x for key, x in make().items()}
    imported = FORMATS[name].import_state(state)
    assert_same(FORMATS[name].export_state(imported.state, imported.carried), state)


@cases
def test_files_make_the_same_round_trip(case: str, tmp_path: Path) -> None:
    name, make, _ = CASES[case]
    state, wrapper = make(), FORMATS[name].wrapper
    path = save(tmp_path / "official.pth", state if wrapper is None else {wrapper: state})
    import_file(path, tmp_path / "ours.pth")
    export_file(tmp_path / "ours.pth", tmp_path / "again.pth", name)
    again = load_file(tmp_path / "again.pth")
    assert_same(again if wrapper is None else again[wrapper], state)


@cases
def test_an_unknown_key_is_named(case: str) -> None:
    name, make, _ = CASES[case]
    state = {**make(), "surprise.weight": torch.ones(1)}
    with pytest.raises(CheckpointError, match=f"'{name}'.* 1 of its keys: surprise.weight"):
        FORMATS[name].import_state(state)


@pytest.mark.parametrize("case", ["beit", "beit-finetuned", "mmpretrain-beit"])
@pytest.mark.parametrize("kind", [torch.int64, torch.int32])
def test_another_order_of_relative_positions_is_refused(case: str, kind: torch.dtype) -> None:
    name, make, _ = CASES[case]
    state = make()
    key = next(key for key in state if key.endswith(INDEX))
    state[key] = state[key].to(kind)
    FORMATS[name].import_state(state)
    state[key] = state[key].T.contiguous()
    with pytest.raises(CheckpointError, match=key):
        FORMATS[name].import_state(state)


# what was trained here


def export_here(case: str, folder: Path, image_size: int = 32, **options: Any) -> State:
    """A model built here, in the format of a case."""
    model = randomised(HERE[case]())
    path = save(folder / "trained.pth", {"state_dict": model.state_dict()})
    name = CASES[case][0]
    export_file(path, folder / "theirs.pth", name, image_size=image_size, **options)
    return load_file(folder / "theirs.pth")[FORMATS[name].wrapper]


@pytest.mark.parametrize("case", ["mae", "beit", "cae-a", "cae-a-narrow"])
def test_a_model_trained_here_becomes_a_whole_official_checkpoint(
    case: str, tmp_path: Path
) -> None:
    state = export_here(case, tmp_path)
    assert_shapes(state, CASES[case][1]())
    found = recognise(state)
    assert found is not None and found.name == CASES[case][0]


def test_lomars_unused_positions_are_made(tmp_path: Path) -> None:
    state, theirs = export_here("lomar", tmp_path, image_size=64), official("lomar")
    assert_shapes(state, theirs)
    torch.testing.assert_close(state["pos_embed"], theirs["pos_embed"])
    larger = export_here("lomar", tmp_path, image_size=96)
    assert larger["pos_embed"].shape == (1, 1 + 12 * 12, WIDTH)


def test_beits_index_buffer_is_made(tmp_path: Path) -> None:
    state = export_here("beit", tmp_path)
    key = f"rel_pos_bias.{INDEX}"
    assert_same({key: state[key]}, {key: gen_relative_position_index((4, 4))})


def test_caes_aligning_copy_and_positions_are_made(tmp_path: Path) -> None:
    state = export_here("cae-a", tmp_path)
    parts = [key.removeprefix("encoder.") for key in state if key.startswith("encoder.")]
    assert len(parts) > 50
    for part in parts:
        assert torch.equal(state[f"alignment_encoder.{part}"], state[f"encoder.{part}"])
    torch.testing.assert_close(state["rd_pos_embed"], official("cae")["encoder.pos_embed"])
    narrow = export_here("cae-a-narrow", tmp_path)
    assert narrow["rd_pos_embed"].shape == (1, 17, 32)


def test_the_first_release_of_cae_saves_no_aligning_copy(tmp_path: Path) -> None:
    state = export_here("cae", tmp_path)
    theirs = {k: v for k, v in official("cae").items() if not k.startswith("teacher.")}
    assert_shapes(state, theirs)


def test_an_outside_checkpoint_is_imported_before_it_is_exported(tmp_path: Path) -> None:
    path = save(tmp_path / "mae.pth", {"model": official("mae")})
    with pytest.raises(CheckpointError, match="import it first"):
        export_file(path, tmp_path / "out.pth", "mae")
    assert not (tmp_path / "out.pth").exists()


def test_another_formats_model_has_no_names_there(tmp_path: Path) -> None:
    path = save(tmp_path / "mae.pth", {"state_dict": our_mae().state_dict()})
    with pytest.raises(CheckpointError, match="no name for .* tasks.masked.neck.mask_token"):
        export_file(path, tmp_path / "out.pth", "timm")
    export_file(path, tmp_path / "out.pth", "timm", only_encoder=True)
    load_encoder(vit(depth=3, position="sincos_column_first"), tmp_path / "out.pth")


# conventions of fine-tuning


@pytest.mark.parametrize("case", ["mae", "lomar"])
def test_mae_and_lomar_leave_the_norm_out(case: str, tmp_path: Path) -> None:
    state, whole = export_here(case, tmp_path, finetune=True), CASES[case][1]()
    kept = ("cls_token", "patch_embed.", "blocks.", *(["pos_embed"] if case == "mae" else []))
    assert_shapes(state, {k: v for k, v in whole.items() if k.startswith(kept)})


def test_beit_has_the_shared_table_in_every_block_and_no_norm(tmp_path: Path) -> None:
    state = export_here("beit", tmp_path, finetune=True)
    table = load_file(tmp_path / "trained.pth")["state_dict"][f"encoder.rel_pos_bias.{TABLE}"]
    theirs = {k: v for k, v in beit_finetuned().items() if not k.startswith(("fc_norm", "head"))}
    assert_shapes(state, theirs)
    for i in range(2):
        assert torch.equal(state[f"blocks.{i}.attn.{TABLE}"], table)
        assert torch.equal(state[f"blocks.{i}.attn.{INDEX}"], theirs[f"blocks.{i}.attn.{INDEX}"])


@pytest.mark.parametrize("case", ["cae", "cae-a"])
def test_the_norm_of_cae_becomes_the_norm_behind_pooling(case: str, tmp_path: Path) -> None:
    state = export_here(case, tmp_path, finetune=True)
    trained = load_file(tmp_path / "trained.pth")["state_dict"]
    for part in ("weight", "bias"):
        assert torch.equal(state[f"fc_norm.{part}"], trained[f"encoder.norm.{part}"])
    assert not any("encoder.norm." in key or key.startswith("norm.") for key in state)
    assert {key.split(".")[0] for key in state} == {"encoder", "fc_norm"}
    settings = dict(position="sincos_row_first", qkv_bias="qv", layer_scale=0.1)
    backbone, expected = dense(depth=3, **settings), vit(depth=3, **settings)
    load_encoder(expected, tmp_path / "trained.pth")
    load_encoder(backbone, tmp_path / "theirs.pth")
    images = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        maps, levels = backbone(images), expected(images, levels=(0, 2)).hierarchy
    torch.testing.assert_close(maps[1].flatten(2).transpose(1, 2), levels[2])


@pytest.mark.parametrize("case", ["mae", "lomar", "beit", "cae", "cae-a", "mmpretrain-beit"])
def test_an_exported_encoder_alone_is_read_again(case: str, tmp_path: Path) -> None:
    model, encoder = randomised(HERE[case]()), HERE[case]().encoder
    state = model.state_dict()
    model.encoder.mask_token = encoder.mask_token = None  # an encoder alone has none
    path, out = save(tmp_path / "trained.pth", {"state_dict": state}), "theirs.pth"
    export_file(path, tmp_path / out, CASES[case][0], only_encoder=True, image_size=32)
    load_encoder(encoder, tmp_path / out)
    assert_same(encoder.state_dict(), model.encoder.state_dict())


def test_the_momentum_encoder_is_exported_on_request(tmp_path: Path) -> None:
    model = randomised(build_repre())
    path = save(tmp_path / "trained.pth", {"state_dict": model.state_dict()})
    for source, encoder in (("online", model.encoder), ("target", model.target["encoder"])):
        out = tmp_path / f"{source}.safetensors"
        export_file(path, out, "timm", only_encoder=True, source=source)
        assert_same(load_file(out)["state_dict"], encoder.state_dict())
    bare = save(tmp_path / "mae.pth", {"state_dict": our_mae().state_dict()})
    with pytest.raises(CheckpointError, match="no target encoder"):
        export_file(bare, tmp_path / "out.pth", "mae", source="target")


# encoders


def test_a_timm_vit_gives_timms_features(tmp_path: Path) -> None:
    theirs = timm_vit()
    encoder = vit()
    report = load_encoder(encoder, save(tmp_path / "vit.pth", theirs.state_dict()))
    assert_equal_features(encoder, theirs)
    assert report.left_out == ["head.weight", "head.bias"]
    assert "timm" in report.source


@pytest.mark.parametrize("kind", ["shared_bias", "block_bias"])
def test_a_beit_gives_timms_features(kind: str, tmp_path: Path) -> None:
    switch = "use_shared_rel_pos_bias" if kind == "shared_bias" else "use_rel_pos_bias"
    theirs = beit_encoder(**{switch: True})
    encoder = vit(**{**BEIT, "relative_position": kind})
    load_encoder(encoder, save(tmp_path / "beit.pth", {"model": theirs.state_dict()}))
    assert_equal_features(encoder, theirs)


def test_a_shared_table_serves_every_block(tmp_path: Path) -> None:
    state = beit_pretraining()
    encoder = vit(**{**BEIT, "relative_position": "block_bias"})
    report = load_encoder(encoder, save(tmp_path / "beit.pth", {"model": state}))
    theirs = beit_encoder(use_shared_rel_pos_bias=True)
    theirs.load_state_dict({k: state[k] for k in theirs.state_dict()})
    assert_equal_features(encoder, theirs)
    assert report.not_needed == ["mask_token"]
    assert report.resized == [f"rel_pos_bias.{TABLE} -> a table for each of 2 blocks"]


@pytest.mark.parametrize("kind", ["shared_bias", "block_bias"])
def test_tables_for_another_grid_are_resized_as_published(kind: str, tmp_path: Path) -> None:
    theirs = beit_encoder(use_shared_rel_pos_bias=True)
    path = save(tmp_path / "beit.pth", {"model": theirs.state_dict()})
    encoder = vit(**{**BEIT, "relative_position": kind}, image_size=48)
    report = load_encoder(encoder, path)
    assert "4x4 -> 6x6" in report.summary()
    table = theirs.rel_pos_bias.relative_position_bias_table.detach()
    expected = converted_table(table, (4, 4), (6, 6))  # timm interpolates linearly
    tables = [v for k, v in encoder.state_dict().items() if k.endswith(TABLE)]
    assert len(tables) == (1 if kind == "shared_bias" else 2)
    for resized in tables:
        torch.testing.assert_close(resized, expected, rtol=0, atol=0)
    theirs.set_input_size(48)
    theirs.rel_pos_bias.relative_position_bias_table.data = expected
    assert_equal_features(encoder, theirs, side=48)


def test_a_finetuned_beit_without_norm_gives_maps(tmp_path: Path) -> None:
    theirs = timm_beit(use_rel_pos_bias=True)
    path = save(tmp_path / "beit.pth", {"model": theirs.state_dict()})
    backbone = dense(**{**BEIT, "relative_position": "block_bias"})
    report = load_encoder(backbone, path)
    assert "norm.weight, norm.bias, which is not used here" in report.summary()
    assert not [name for name in report.loaded if name.startswith("norm.")]
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        expected = theirs.forward_intermediates(images, [0, 1], intermediates_only=True)
        for ours, level in zip(backbone(images), expected, strict=True):
            torch.testing.assert_close(ours, level, rtol=1e-4, atol=1e-5)


def test_a_finetuned_beit_misses_the_norm_of_a_bare_encoder(tmp_path: Path) -> None:
    path = save(tmp_path / "beit.pth", {"model": beit_finetuned()})
    encoder = vit(**{**BEIT, "relative_position": "block_bias"})
    with pytest.raises(CheckpointError, match="misses 2 of .*: norm.weight, norm.bias"):
        load_encoder(encoder, path)


def test_a_file_that_lost_its_norm_is_not_taken_for_a_finetuned_one(tmp_path: Path) -> None:
    state = {key: x for key, x in vit().state_dict().items() if not key.startswith("norm.")}
    with pytest.raises(CheckpointError, match="misses 2 of .*: norm.weight, norm.bias"):
        load_encoder(dense(), save(tmp_path / "encoder.pth", state))


@pytest.mark.parametrize("case", ["cae", "cae-a", "mmpretrain-cae"])
def test_the_encoder_of_cae_is_taken_out(case: str, tmp_path: Path) -> None:
    name, make, _ = CASES[case]
    state, prefix = make(), "backbone." if case.startswith("mm") else "encoder."
    encoder = vit(
        depth=1 if case.startswith("mm") else 3,
        position="sincos_row_first",
        qkv_bias="qv",
        layer_scale=0.1,
    )
    path = save(tmp_path / "cae.pth", {FORMATS[name].wrapper: state})
    report = load_encoder(encoder, path)
    weights = sorted(float(v.double().sum()) for k, v in state.items() if k.startswith(prefix))
    assert sorted(float(v.double().sum()) for v in encoder.state_dict().values()) == weights
    assert torch.equal(encoder.blocks[0].ls2.gamma, state[_first(state, prefix, "gamma_2")])
    assert all(key.startswith("tasks.context.") for key in report.left_out) and report.left_out


def _first(state: State, prefix: str, ending: str) -> str:
    return next(key for key in state if key.startswith(prefix) and key.endswith(ending))


def test_an_official_file_with_its_command_line_is_read(tmp_path: Path) -> None:
    theirs = timm_vit()
    optimizer = torch.optim.AdamW(theirs.parameters())
    theirs.forward_features(torch.randn(1, 3, 32, 32)).sum().backward()
    optimizer.step()
    content = {
        "model": theirs.state_dict(),
        "optimizer": optimizer.state_dict(),
        "epoch": 399,
        "scaler": {"scale": 65536.0, "growth_factor": 2.0},
        "args": argparse.Namespace(lr=1e-3, window_size=(14, 14), opt_betas=None, device="cuda"),
    }
    encoder = vit()
    load_encoder(encoder, save(tmp_path / "official.pth", content))
    assert_equal_features(encoder, theirs)


def test_code_beside_official_weights_is_never_run(tmp_path: Path) -> None:
    trap = tmp_path / "ran"
    args = argparse.Namespace(lr=1e-3, hook=Malicious(trap))
    path = save(tmp_path / "official.pth", {"model": timm_vit().state_dict(), "args": args})
    with pytest.raises(CheckpointError, match="would run code"):
        load_encoder(vit(), path)
    with pytest.raises(CheckpointError, match="would run code"):
        import_file(path, tmp_path / "ours.pth")
    assert not trap.exists() and not (tmp_path / "ours.pth").exists()


@pytest.mark.parametrize("content", [b"just text\n", b"Go.", b".", b"hello", b"\x80\x02."])
def test_a_file_that_only_happens_to_begin_like_a_pickle_is_refused(
    content: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "official.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=str(path)):
        import_file(path, tmp_path / "ours.pth")


@pytest.mark.parametrize("settings", [{}, BEIT, dict(position="none", relative_position="irpe")])
def test_an_own_encoder_with_pretraining_tokens_is_read_as_before(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    source = vit(**settings, mask_token=True, prefix_tokens=("rotation",))
    path = save(tmp_path / "encoder.pth", source.state_dict())
    encoder = vit(**settings)
    report = load_encoder(encoder, path)
    assert report.not_needed == ["mask_token", "prefix_tokens.rotation"]
    assert len(report.loaded) == len(encoder.state_dict())


def test_timm_has_no_names_for_relative_positions_and_says_what_has(tmp_path: Path) -> None:
    encoder = ViT(
        arch=dict(embed_dim=32, depth=2, num_heads=2), image_size=32, patch_size=8,
        position="none", relative_position="irpe",
    )  # fmt: skip
    state = {f"encoder.{key}": value for key, value in encoder.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "ours.pth")
    with pytest.raises(CheckpointError, match=r"rpe_k[\s\S]*could hold it: --format lomar"):
        export_file(tmp_path / "ours.pth", tmp_path / "out.pth", "timm", only_encoder=True)
    assert not (tmp_path / "out.pth").exists()
