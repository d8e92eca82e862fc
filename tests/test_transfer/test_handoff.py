"""Maps in detectors and segmentors are those of the pretraining encoder, for every method."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config, ConfigDict
from mmengine.logging import MMLogger
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from mmvitssl.checkpoint import CheckpointError
from mmvitssl.engine import launch, weights
from mmvitssl.models.backbones.architectures import architecture
from mmvitssl.models.backbones.relative import converted_table
from mmvitssl.registry import MODELS
from tests.test_tools.programs import ROOT
from tests.test_transfer.small_detectors import ARCH, COCO, SIDE, SWIN_ARCH, small_detector

CONFIGS = ROOT / "configs"
METHODS = {
    "mae": "mae/mae_vit-base_64xb64-cosine-800e",
    "simmim": "simmim/simmim_vit-base_16xb128-step-800e",
    "beit": "beit/beit_vit-base_8xb256-cosine-800e",
    "lomar": "lomar/lomar_vit-base_4xb256-cosine-400e",
    "lomar-beit": "lomar/lomar-beit_vit-base_8xb256-cosine-300e",
    "cae": "cae/cae_vit-base_32xb64-cosine-300e",
    "mocov3": "mocov3/mocov3_vit-small_32xb128-cosine-300e",
    "mocov3-swin": "mocov3/mocov3_swin-tiny_32xb128-cosine-300e",
    "mocov2": "mocov2/mocov2_vit-small_8xb128-cosine-300e",
    "simclr": "simclr/simclr_vit-small_32xb128-cosine-300e",
    "byol": "byol/byol_vit-small_32xb128-cosine-300e",
    "simsiam": "simsiam/simsiam_vit-small_32xb128-cosine-300e",
    "dino": "dino/dino_vit-small_8xb128-cosine-100e",
    "dino-swin": "dino/dino_swin-tiny_8xb128-cosine-100e",
    "moby": "moby/moby_vit-small_8xb64-cosine-300e",
    "moby-swin": "moby/moby_swin-tiny_8xb64-cosine-300e",
    "repre-mocov3": "repre/repre-mocov3_vit-small_32xb128-cosine-300e",
    "repre-dino": "repre/repre-dino_vit-small_8xb128-cosine-100e",
    "repre-moby-swin": "repre/repre-moby_swin-tiny_8xb64-cosine-300e",
    "mtssl": "mtssl/mtssl_vit-small_32xb128-cosine-300e",
    "mtssl-repre": "mtssl/mtssl-repre_vit-small_32xb128-cosine-300e",
}
PLAIN = [name for name in METHODS if "swin" not in name]
SWINS = [name for name in METHODS if "swin" in name]
TARGETS = ["mocov3", "moby", "moby-swin", "repre-mocov3", "cae"]
# what describes the pretrained encoder; the rest of its config is about how it was trained
DESCRIPTION = (
    "type", "arch", "image_size", "patch_size", "position", "relative_position", "relative_grid",
    "qkv_bias", "layer_scale", "prefix_tokens", "interpolate_offset", "window_size",
)  # fmt: skip
SMALL = dict(
    hidden_channels=16, hidden=16, num_heads=2, prototypes=8, bottleneck=8, depth=1, levels=4,
    size=16, cells=16,
)  # fmt: skip
SWIN_WIDTHS = {96: 8, 192: 16, 384: 32, 768: 64}
DETECTORS = {
    "ViT": COCO / "mask-rcnn_vit-base_16xb2-1x_coco.py",
    "SwinTransformer": COCO / "mask-rcnn_swin-tiny_8xb2-1x_coco.py",
}
WINDOWED = COCO / "mask-rcnn_vitdet-base_64xb1-100e_coco-1024px.py"


def shrink(node: Any, widths: dict[int, int]) -> Any:
    """Every number that is a width of the encoder, and those of :data:`SMALL`, made small."""
    if isinstance(node, Mapping):
        fixed = {key: SMALL[key] for key in node if key in SMALL and isinstance(node[key], int)}
        fixed |= {"levels": (0, 1, 2, 3)} if "levels" in node and "levels" not in fixed else {}
        kept = {key: node[key] for key in node if key == "out_channels"}  # pixels, ids, projections
        rest = {key: shrink(value, widths) for key, value in node.items()}
        return {**rest, **kept, **fixed}
    if isinstance(node, (list, tuple)):
        return type(node)(shrink(value, widths) for value in node)
    return widths.get(node, node) if isinstance(node, int) else node


def small_pretraining(name: str) -> ConfigDict:
    """The model of a method's full-size config, with a tiny encoder of the same kind."""
    model = Config.fromfile(CONFIGS / f"{METHODS[name]}_in1k.py").model
    encoder = model.encoder
    if encoder.type == "ViT":
        widths = {architecture(encoder.arch)["embed_dim"]: ARCH["embed_dim"]}
        encoder.update(arch=ARCH, image_size=SIDE)
    else:
        widths = SWIN_WIDTHS
        encoder.update(arch=SWIN_ARCH, image_size=SIDE, window_size=4)
    if "relative_grid" in encoder:
        encoder.relative_grid = 3
    model.tasks = ConfigDict(shrink(model.tasks.to_dict(), widths))
    return model


class Pretrained:
    """A method's model with random weights everywhere, and its checkpoint; made once."""

    made: ClassVar[dict[str, Pretrained]] = {}

    @classmethod
    def of(cls, name: str, folder: Path) -> Pretrained:
        if name not in cls.made:
            cls.made[name] = cls(name, folder)
        return cls.made[name]

    def __init__(self, name: str, folder: Path) -> None:
        config = small_pretraining(name)
        torch.manual_seed(1)
        with DefaultScope.overwrite_default_scope("mmvitssl"):
            self.model: Any = MODELS.build(config)
        for parameter in self.model.parameters():
            nn.init.normal_(parameter, std=0.2)
        self.path = folder / f"{name}.pth"
        torch.save({"state_dict": self.model.state_dict()}, self.path)
        self.description = {k: config.encoder[k] for k in DESCRIPTION if k in config.encoder}

    def encoder(self, source: str = "online") -> Any:
        return (self.model.encoder if source == "online" else self.model.target["encoder"]).eval()

    def maps(self, images: Tensor, source: str = "online") -> list[Tensor]:
        encoder = self.encoder(source)
        hierarchy = encoder(images, levels=(0, 1, 2, 3)).hierarchy
        grid = images.shape[-2] // 16, images.shape[-1] // 16
        return [
            level if level.dim() == 4 else level.transpose(1, 2).unflatten(2, grid)
            for level in hierarchy.values()
        ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pretrained")


def described(pretrained: Pretrained, **changes: Any) -> dict[str, Any]:
    """The encoder of a downstream config."""
    encoder = {**pretrained.description, **changes}
    return {**encoder, "type": f"mmvitssl.{encoder['type']}"}


@cache
def detector_config(path: Path) -> ConfigDict:
    return small_detector(path).model


def detector(encoder: dict[str, Any], path: Path | None = None) -> Any:
    path = path or DETECTORS[encoder["type"].removeprefix("mmvitssl.")]
    model = deepcopy(detector_config(path))
    model.backbone.encoder = encoder
    with DefaultScope.overwrite_default_scope("mmdet"):
        return ROOT_MODELS.build(model).eval()


@cache
def segmentor_config() -> ConfigDict:
    config = Config.fromfile(CONFIGS / "transfer/_base_/upernet_vit.py")
    config.default_scope = "mmseg"
    launch.prepare_scope(config)
    return config.model


def segmentor(encoder: dict[str, Any]) -> Any:
    model = deepcopy(segmentor_config())
    swin = encoder["type"].endswith("SwinTransformer")
    channels = [8, 16, 32, 64] if swin else [32] * 4
    model.backbone.update(levels=(0, 1, 2, 3), level_norms=swin)
    model.backbone.encoder = encoder
    if swin:
        model.pop("neck")
    else:
        model.neck.in_channels = 32
    model.decode_head.update(in_channels=channels, channels=16)
    model.auxiliary_head.update(in_channels=channels[2])
    with DefaultScope.overwrite_default_scope("mmseg"):
        return ROOT_MODELS.build(model).eval()


BUILDERS = {"detector": detector, "segmentor": segmentor}


def load(model: nn.Module, pretrained: Pretrained, source: str | None = None) -> None:
    """As ``tools/train.py --pretrained`` does."""
    runner: Any = SimpleNamespace(model=model, logger=MMLogger.get_instance("handoff"))
    weights.load_pretrained(runner, str(pretrained.path), source)


@torch.no_grad()
def assert_handed_on(
    model: Any, pretrained: Pretrained, size: tuple[int, int], source: str = "online"
) -> None:
    images = torch.randn(2, 3, *size)
    expected = pretrained.maps(images, source)
    if not isinstance(model.backbone.norms[0], nn.Identity):  # fresh, of every stage
        channels_last = [level.permute(0, 2, 3, 1) for level in expected]
        normed = [F.layer_norm(level, level.shape[-1:]) for level in channels_last]
        expected = [level.permute(0, 3, 1, 2) for level in normed]
    found = model.backbone(images)
    assert len(found) == 4
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.std() > 0.1
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", BUILDERS)
@pytest.mark.parametrize("name", METHODS)
def test_maps_are_those_of_the_pretraining_encoder(name: str, kind: str, folder: Path) -> None:
    pretrained = Pretrained.of(name, folder)
    model = BUILDERS[kind](described(pretrained))
    load(model, pretrained)
    source = "target" if "dino" in name else "online"  # what the authors evaluate
    for size in ((SIDE, SIDE), (SIDE, 2 * SIDE), (5 * 16, 3 * 16)):
        assert_handed_on(model, pretrained, size, source)


@pytest.mark.parametrize("name", TARGETS)
def test_the_momentum_encoder_can_be_chosen(name: str, folder: Path) -> None:
    pretrained = Pretrained.of(name, folder)
    model = detector(described(pretrained))
    if pretrained.model.target is None:
        with pytest.raises(CheckpointError, match="no target encoder"):
            load(model, pretrained, "target")
        return
    load(model, pretrained, "target")
    assert_handed_on(model, pretrained, (SIDE, SIDE), "target")


@pytest.mark.parametrize("name", ["beit", "simmim"])
def test_a_shared_table_is_given_to_every_block(name: str, folder: Path) -> None:
    pretrained = Pretrained.of(name, folder)
    model = detector(described(pretrained, relative_position="block_bias"))
    load(model, pretrained)
    for size in ((SIDE, SIDE), (SIDE, 2 * SIDE)):
        assert_handed_on(model, pretrained, size)


@pytest.mark.parametrize("name", ["mae", "cae", "mocov3", "moby"])
def test_positions_of_larger_images_are_resized_bicubically(name: str, folder: Path) -> None:
    pretrained = Pretrained.of(name, folder)
    model = detector(described(pretrained, image_size=(2 * SIDE, 3 * SIDE)))
    load(model, pretrained)
    table = pretrained.encoder().pos_embed
    cells = table[:, 1:].unflatten(1, (4, 4)).permute(0, 3, 1, 2)
    cells = F.interpolate(cells, (8, 12), mode="bicubic", align_corners=False)
    expected = torch.cat([table[:, :1], cells.flatten(2).transpose(1, 2)], dim=1)
    torch.testing.assert_close(model.backbone.encoder.pos_embed, expected)
    # at that size the pretraining encoder resizes its own table, in the same way
    assert_handed_on(model, pretrained, (2 * SIDE, 3 * SIDE))


def test_bias_tables_of_larger_images_are_resized_geometrically(folder: Path) -> None:
    pretrained = Pretrained.of("beit", folder)
    encoder = described(pretrained, relative_position="block_bias", image_size=2 * SIDE)
    model = detector(encoder)
    load(model, pretrained)
    shared = pretrained.encoder().rel_pos_bias.relative_position_bias_table
    expected = converted_table(shared, (4, 4), (8, 8))
    for block in model.backbone.encoder.blocks:
        torch.testing.assert_close(block.attn.relative_position_bias_table, expected)


@pytest.mark.parametrize("name", PLAIN)
def test_windows_take_the_same_weights_unchanged(name: str, folder: Path) -> None:
    pretrained = Pretrained.of(name, folder)
    encoder = described(pretrained)
    if encoder.get("relative_position") == "shared_bias":
        encoder["relative_position"] = "block_bias"
    model = detector(encoder, WINDOWED)
    load(model, pretrained)
    theirs = pretrained.encoder("target" if "dino" in name else "online").state_dict()
    for key, value in model.backbone.encoder.state_dict().items():
        if "relative_position_bias_table" in key and key not in theirs:
            key = "rel_pos_bias.relative_position_bias_table"
        assert torch.equal(value, theirs[key]), key
    with torch.no_grad():
        assert model.backbone(torch.randn(1, 3, SIDE, SIDE))[0].shape == (1, 32, 4, 4)


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("beit", dict(relative_position=None), "have no place.*rel_pos_bias"),
        ("beit", dict(position="learned"), "misses 1 of .*pos_embed"),
        ("cae", dict(qkv_bias="qkv"), "misses .*qkv.bias.*have no place.*q_bias"),
        ("cae", dict(layer_scale=None), "have no place.*ls1.gamma"),
        ("lomar", dict(relative_position=None), "have no place.*rpe_k"),
        ("mocov3", dict(arch=dict(ARCH, depth=5)), "misses .*blocks.4"),
        ("mocov3", dict(arch=dict(ARCH, embed_dim=16)), r"\(1, 17, 32\) in the file"),
        ("mocov3", dict(prefix_tokens=("contrast",)), "misses 1 of .*prefix_tokens.contrast"),
        ("mocov3", dict(patch_size=8), "patch_embed.proj.weight"),
        ("moby-swin", dict(window_size=8, arch=dict(SWIN_ARCH, embed_dim=16)), "another shape"),
    ],
)
def test_what_does_not_fit_is_said_before_training(
    name: str, changes: dict[str, Any], words: str, folder: Path
) -> None:
    pretrained = Pretrained.of(name, folder)
    with pytest.raises(CheckpointError, match=words):
        load(detector(described(pretrained, **changes)), pretrained)


@pytest.mark.parametrize("name", ["mocov3", "mocov3-swin"])
def test_another_kind_of_encoder_is_said_before_training(name: str, folder: Path) -> None:
    pretrained, other = Pretrained.of(name, folder), "mocov3" if "swin" in name else "mocov3-swin"
    with pytest.raises(CheckpointError, match="does not fit this model"):
        load(detector(described(Pretrained.of(other, folder))), pretrained)
