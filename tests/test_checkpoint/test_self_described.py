"""Files of every format and method as models, without a word on how they are built."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image
from torch import nn

from mmvitssl import apis
from mmvitssl.checkpoint import CheckpointError, load_encoder
from mmvitssl.checkpoint.formats import FORMATS
from mmvitssl.checkpoint.self_described import describe_file, rebuild_encoder
from mmvitssl.models.backbones import SwinTransformer, ViT
from mmvitssl.registry import MODELS
from tests.test_checkpoint import test_contrastive_formats, test_formats
from tests.test_checkpoint.test_loading import save

WIDTH, SIZE, PATCH = 128, 64, 16
# of one head per 64 channels, which every format either says, shows or is published with
SIZES: dict[str, Any] = dict(
    arch=dict(embed_dim=WIDTH, depth=2, num_heads=2), image_size=SIZE, patch_size=PATCH
)
BEIT = dict(position="none", qkv_bias="qv", layer_scale=0.1)
PIXELS = 3 * PATCH**2
ENCODERS: dict[str, Callable[[], nn.Module]] = {
    "mae": lambda: ViT(**SIZES, position="sincos_column_first"),
    "lomar": lambda: ViT(**SIZES, position="none", relative_position="irpe", mask_token=True),
    "beit": lambda: ViT(**SIZES, relative_position="shared_bias", mask_token=True, **BEIT),
    "cae": lambda: ViT(
        **SIZES, position="sincos_row_first", qkv_bias="qv", layer_scale=0.1, mask_token=False
    ),
    "mocov3": lambda: ViT(**SIZES, position="sincos_row_first"),
    "dino": lambda: ViT(**SIZES),
    "dinov2": lambda: ViT(
        **SIZES,
        layer_scale=1e-5,
        mask_token=True,
        prefix_tokens=("register_0", "register_1"),
        interpolate_antialias=True,
    ),
    "gated": lambda: ViT(
        **SIZES, layer_scale=1e-5, mask_token=True, mlp="swiglu", interpolate_offset=0.1
    ),
    "dinov3": lambda: ViT(
        **SIZES,
        position="none",
        relative_position="rope",
        norm_eps=1e-5,
        layer_scale=1e-5,
        prefix_tokens=[f"register_{i}" for i in range(4)],
        qkv_bias="qv",
    ),
    "pooled": lambda: ViT(**SIZES, class_token=False, position="sincos_column_first"),
    "hub": lambda: ViT(**SIZES, norm_eps=1e-12),
    "swin": lambda: SwinTransformer(
        arch=dict(embed_dim=32, depths=(2, 2), num_heads=(1, 2)), window_size=7
    ),
}
# format: (encoder, names of the decoder or head that the format is recognised by)
CASES = {
    "timm": ("dino", ()),
    "mae": ("mae", ("mae",)),
    "mmpretrain-mae": ("mae", ("mae",)),
    "transformers-vitmae": ("hub", ("mae",)),
    "transformers-vit": ("hub", ()),
    "lomar": ("lomar", ("predictor",)),
    "beit": ("beit", ()),
    "simmim": ("beit", ("predictor",)),
    "dinov2": ("dinov2", ()),
    "transformers-dinov2": ("gated", ()),
    "dinov3": ("dinov3", ()),
    "timm-dinov3": ("dinov3", ()),
    "transformers-dinov3": ("dinov3", ()),
    "timm-pooled": ("pooled", ()),
    "swin": ("swin", ()),
    "timm-swin": ("swin", ()),
    "mocov3": ("mocov3", ()),
    "dino": ("dino", ()),
    "cae": ("cae", ()),
    "mmpretrain-beit": ("beit", ()),
    "mmpretrain-swin": ("swin", ()),
}


def randomised(module: Any) -> Any:
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if "pos_embed" not in name:
                parameter.normal_(std=0.05)
        if getattr(module, "position", None) == "learned":
            module.pos_embed.normal_(std=0.05)
    return module.eval()


def official(name: str, path: Path) -> nn.Module:
    """Write a file of a format; the encoder that is in it."""
    kind, extra = CASES[name]
    encoder = randomised(ENCODERS[kind]())
    state = {f"encoder.{key}": value for key, value in encoder.state_dict().items()}
    if extra:
        neck: dict[str, Any] = dict(type="TokenPredictor", in_channels=WIDTH, out_channels=PIXELS)
        if extra == ("mae",):
            grid = SIZE // PATCH
            neck.update(type="MAEDecoder", width=64, depth=1, num_heads=16, grid=grid)
        decoder = randomised(MODELS.build(neck))
        state |= {f"tasks.masked.neck.{key}": v for key, v in decoder.state_dict().items()}
    theirs = FORMATS[name].export_state(state, None, SIZE, whole=bool(extra))
    wrapper = FORMATS[name].wrapper
    save(path, {wrapper: theirs} if wrapper else theirs)
    return encoder


@pytest.mark.parametrize("name", CASES)
def test_official_files_are_models_as_they_are(name: str, tmp_path: Path) -> None:
    path = tmp_path / "file.pth"
    encoder = official(name, path)
    described = describe_file(path)
    loaded, _ = rebuild_encoder(path, log=lambda line: None)
    image = torch.rand(2, 3, SIZE, SIZE)
    torch.testing.assert_close(loaded(image).cls, encoder(image).cls)
    torch.testing.assert_close(loaded(image).patches, encoder(image).patches)
    if CASES[name][0] in ("dinov2", "gated", "dinov3"):  # whose authors resize by a rule
        wide = torch.rand(2, 3, SIZE, SIZE + 2 * PATCH)
        torch.testing.assert_close(loaded(wide).patches, encoder(wide).patches)
    assert described.normalisation is not None
    # the model is the same when it is built from the description alone, as detectors build it
    again = MODELS.build(described.encoder)
    load_encoder(again, path, log=lambda line: None)
    torch.testing.assert_close(again.eval()(image).cls, encoder(image).cls)


def widened(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Random tensors for two heads of 64 channels, whose number is that of published models."""
    small = test_formats.WIDTH
    widths = {factor * small: factor * WIDTH for factor in (1, 3, 4)}
    return {key: torch.randn([widths.get(size, size) for size in tensor.shape])
            for key, tensor in state.items()}  # fmt: skip


WHOLE: dict[str, Callable[[], dict[str, Any]]] = {
    "cae-a": lambda: {"model": widened(test_formats.cae_a())},
    "mmpretrain-cae": lambda: {"state_dict": widened(test_formats.CASES["mmpretrain-cae"][1]())},
    "moby": test_contrastive_formats.FILES["moby"],
}


@pytest.mark.parametrize("name", WHOLE)
def test_files_of_whole_models_are_encoders_as_they_are(name: str, tmp_path: Path) -> None:
    """In the layout that is published: several encoders, decoders, queues, tokenizers."""
    content = WHOLE[name]()
    path = save(tmp_path / "file.pth", content)
    loaded, _ = rebuild_encoder(path, log=lambda line: None)
    theirs = FORMATS[name].import_state(next(iter(content.values()))).state
    ours = loaded.state_dict()
    compared = [key for key in ours if f"encoder.{key}" in theirs and "pos_embed" not in key]
    assert len(compared) >= 20 and set(theirs) - {f"encoder.{key}" for key in ours}
    for key in compared:
        torch.testing.assert_close(ours[key], theirs[f"encoder.{key}"])
    assert describe_file(path).normalisation is not None


def test_another_rule_of_resizing_positions_is_warned_of(tmp_path: Path) -> None:
    encoder: Any = official("dinov2", tmp_path / "file.pth")
    warnings = []
    for encoder.interpolate_antialias in (True, False):
        report = load_encoder(encoder, tmp_path / "file.pth", log=lambda line: None)
        warnings.append([note for note in report.notes if "resize positions" in note])
    assert not warnings[0] and "interpolate_antialias=True, and this encoder" in warnings[1][0]


@pytest.mark.parametrize("name", ["mae", "mmpretrain-mae", "transformers-vitmae", "simmim"])
def test_official_decoders_draw(name: str, tmp_path: Path) -> None:
    official(name, tmp_path / "file.pth")
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (80, 90, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    (drawn,) = apis.reconstruct(tmp_path / "a.png", tmp_path / "file.pth", tmp_path / "out")
    assert drawn.name == "masked.png" and np.asarray(Image.open(drawn)).std() > 0


def test_files_without_a_decoder_of_pixels_say_so(tmp_path: Path) -> None:
    official("timm", tmp_path / "file.pth")
    with pytest.raises(CheckpointError, match="with its decoder.* mae, .*simmim"):
        apis.reconstruct("a.png", tmp_path / "file.pth")


def test_a_hub_folder_says_epsilon_and_normalisation(tmp_path: Path) -> None:
    official("transformers-vit", tmp_path / "file.pth")
    (tmp_path / "preprocessor_config.json").write_text(
        '{"image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.25, 0.25]}'
    )
    described = describe_file(tmp_path / "file.pth")
    assert described.normalisation == ((0.5,) * 3, (0.25,) * 3)
    assert described.encoder["norm_eps"] == 1e-12
    assert apis.load(tmp_path / "file.pth").transform.preprocessor.mean.flatten()[0] == 0.5
    (tmp_path / "preprocessor_config.json").write_text("[]")
    with pytest.raises(CheckpointError, match="preprocessor_config.json is not"):
        describe_file(tmp_path / "file.pth")


def test_what_shows_no_encoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not say how its encoder is built.*--config"):
        describe_file(save(tmp_path / "a.pth", {"state_dict": {"norm.weight": torch.ones(3)}}))
    odd = ViT(arch=dict(embed_dim=48, depth=1, num_heads=4), image_size=32, patch_size=8)
    with pytest.raises(CheckpointError, match="number of attention heads.*48 channels"):
        describe_file(save(tmp_path / "b.pth", {"state_dict": odd.state_dict()}))


def test_an_option_that_contradicts_is_an_error_with_both_values(tmp_path: Path) -> None:
    settings = dict(type="ViT", **SIZES)
    model = dict(type="Pretrainer", encoder=settings)
    state = {f"encoder.{key}": v for key, v in ViT(**SIZES).state_dict().items()}
    text = Config(dict(model=model)).pretty_text
    path = save(tmp_path / "own.pth", {"meta": {"cfg": text}, "state_dict": state})

    def config(**changes: Any) -> str:
        said = dict(model=dict(encoder={**settings, **changes}))
        said["model"]["data_preprocessor"] = dict(type="ViewPreprocessor")
        Config(said).dump(tmp_path / "config.py")
        return str(tmp_path / "config.py")

    apis.load(path, config(image_size=96, drop_path=0.1))  # says no other encoder
    wrong = dict(arch=dict(embed_dim=WIDTH, depth=2, num_heads=4), norm_eps=1e-5)
    with pytest.raises(CheckpointError, match=r"num_heads 4 \(2\), norm_eps 1e-05 \(1e-06\)"):
        apis.load(path, config(**wrong))
    with pytest.raises(CheckpointError, match=r"type SwinTransformer \(ViT\)"):
        Config(dict(encoder=dict(type="SwinTransformer"))).dump(tmp_path / "swin.py")
        apis.load(path, tmp_path / "swin.py")
    with pytest.raises(CheckpointError, match=r"--cfg-options contradicts .*qkv_bias qv \(qkv\)"):
        rebuild_encoder(path, options={"model.encoder.qkv_bias": "qv"})


def test_types_of_other_packages_are_not_built_for_pictures(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    model = dict(type="Pretrainer", tasks=dict(a=dict(type="os.system", command=f"touch {trap}")))
    text = Config(dict(model=model)).pretty_text
    path = save(tmp_path / "x.pth", {"meta": {"cfg": text}, "state_dict": {"a": torch.ones(1)}})
    with pytest.raises(CheckpointError, match=r"tasks\.a names the type 'os.system'"):
        apis.reconstruct("a.png", path)
    assert not trap.exists()
