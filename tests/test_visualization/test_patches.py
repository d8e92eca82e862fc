"""Pictures of patch features, on features whose structure is known."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mmvitssl.cli import visualize
from mmvitssl.registry import MODELS
from mmvitssl.visualization.patches import (
    cluster_patches,
    draw_patch_embedding,
    draw_patches,
    likeness,
    patch_features,
    patch_labels,
    principal_colours,
    read_mask,
)


def halves() -> torch.Tensor:
    """(2, 4, 6, 16) features: the left half of each image points elsewhere than the right."""
    features = 0.05 * torch.randn(2, 4, 6, 16, generator=torch.Generator().manual_seed(0))
    features[:, :, :3, 0] += 3
    features[:, :, 3:, 1] += 5
    return features


def test_components_clusters_and_likeness_tell_two_kinds_apart(tmp_path: Path) -> None:
    features = halves()
    first = principal_colours(features)[:, 0]
    left, right = first[:, :, :3], first[:, :, 3:]
    assert (left.max() < 0.2 and right.min() > 0.8) or (left.min() > 0.8 and right.max() < 0.2)
    found = cluster_patches(features, 2)
    assert torch.equal(found[:, :, :3], found[:1, :1, :1].expand(2, 4, 3))
    assert (found[:, :, 3:] == 1 - found[0, 0, 0]).all()
    similar = likeness(features, 1, 5)
    assert similar[:, :, 3:].min() > 0.95 > 0.2 > similar[:, :, :3].max()
    path = draw_patches(torch.rand(2, 3, 32, 48), features, tmp_path / "a" / "sheet.png", 2)
    assert Image.open(path).size[0] == 4 * 48 + 3 * 4


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no patch 4,0: the grid has rows 0..3"):
        likeness(halves(), 4, 0)
    with pytest.raises(ValueError, match="2 to the number of patches, 48; not 49"):
        cluster_patches(halves(), 49)


SMALL = dict(embed_dim=24, depth=2, num_heads=3)
STAGES = dict(embed_dim=12, depths=(1, 1, 1, 1), num_heads=(1, 2, 3, 6))
# backbone, (height, width), expected grid
GRIDS: dict[str, tuple[dict[str, Any], tuple[int, int], tuple[int, int]]] = {
    "vit": (dict(type="ViT", arch=SMALL, image_size=64, patch_size=8), (40, 72), (5, 9)),
    "registers": (
        dict(type="ViT", arch=SMALL, image_size=64, patch_size=8,
             prefix_tokens=("register_0", "register_1")), (72, 40), (9, 5),
    ),
    "rotary": (
        dict(type="ViT", arch=SMALL, image_size=64, patch_size=8, position="none",
             relative_position="rope", prefix_tokens=("register_0",)), (24, 64), (3, 8),
    ),
    "no-class-token": (
        dict(type="ViT", arch=SMALL, image_size=64, patch_size=8, class_token=False),
        (16, 24), (2, 3),
    ),
    "swin": (dict(type="SwinTransformer", arch=STAGES, window_size=4), (64, 64), (2, 2)),
    "swin-odd": (dict(type="SwinTransformer", arch=STAGES, window_size=4), (75, 130), (3, 5)),
    "timm-stages": (
        dict(type="TimmBackbone", model="convnext_atto",
             model_args=dict(depths=(1, 1, 1, 1), dims=(8, 16, 24, 32))), (96, 160), (3, 5),
    ),
    "timm-vit": (
        dict(type="TimmBackbone", model="vit_tiny_patch16_224", image_size=64,
             model_args=dict(depth=1)), (64, 64), (4, 4),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", GRIDS)
def test_features_of_patches_have_the_grid_of_the_image(name: str) -> None:
    settings, size, grid = GRIDS[name]
    encoder = MODELS.build(settings)
    features = patch_features(encoder, torch.rand(2, 3, *size))
    assert features.shape == (2, *grid, encoder.spec.embed_dim)


def test_a_patch_has_the_class_of_most_of_its_pixels() -> None:
    mask = torch.zeros(8, 8, dtype=torch.long)
    mask[:4, :4] = 2
    mask[:4, 4:] = 255  # ignored
    mask[4:, :3] = 1
    labels = patch_labels(mask, (2, 2))
    assert labels.tolist() == [[2, -1], [1, 0]]
    assert patch_labels(mask, (2, 2), least=0.8).tolist() == [[2, -1], [-1, 0]]


def test_patches_are_mapped_by_class(tmp_path: Path) -> None:
    features, labels = halves().flatten(0, 2), torch.arange(48) % 6 // 3
    labels[:5] = -1
    path = draw_patch_embedding(features, labels, tmp_path / "map.png", "t", ("a", "b"))
    assert Image.open(path).size[0] > 300
    with pytest.raises(ValueError, match="Fewer than three patches"):
        draw_patch_embedding(features, labels * 0 - 1, tmp_path / "x.png", "t")


def test_masks_are_read_as_classes(tmp_path: Path) -> None:
    values = np.array([[0, 1], [7, 255]], np.uint8)
    Image.fromarray(values).save(tmp_path / "mask.png")
    assert read_mask(tmp_path / "mask.png", 4, (4, 4))[::2, ::2].tolist() == values.tolist()
    wide = np.repeat(np.arange(8, dtype=np.uint8)[None], 4, axis=0)
    Image.fromarray(wide).save(tmp_path / "wide.png")  # the middle of the longer side
    assert read_mask(tmp_path / "wide.png", 4, (2, 4))[0].tolist() == [2, 3, 4, 5]
    Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(tmp_path / "rgb.png")
    with pytest.raises(ValueError, match="a mask has one channel"):
        read_mask(tmp_path / "rgb.png", 2, (2, 2))


def test_the_program_draws_both_from_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arch = dict(embed_dim=24, depth=2, num_heads=3)
    encoder = dict(type="ViT", arch=arch, image_size=32, patch_size=8)
    state = {f"encoder.{key}": value for key, value in MODELS.build(encoder).state_dict().items()}
    settings = f"model = dict(type='Pretrainer', encoder={encoder!r})"
    torch.save({"state_dict": state, "meta": {"cfg": settings}}, tmp_path / "tiny.pth")
    rng = np.random.default_rng(0)
    for folder, shape in (("images", (40, 60, 3)), ("masks", (40, 60))):
        (tmp_path / folder).mkdir()
        for number in range(2):
            pixels = rng.integers(0, 3 if folder == "masks" else 256, shape, dtype=np.uint8)
            pixels[:, :30] = number
            Image.fromarray(pixels).save(tmp_path / folder / f"{number}.png")
    images = sorted(map(str, (tmp_path / "images").iterdir()))
    sheet, drawn = tmp_path / "sheet.png", tmp_path / "map.png"
    for arguments in (
        ["patches", str(tmp_path / "tiny.pth"), *images, "--clusters", "3", "--out", str(sheet)],
        ["patch-embedding", str(tmp_path / "tiny.pth"), str(tmp_path / "images"),
         str(tmp_path / "masks"), "--out", str(drawn)],
    ):  # fmt: skip
        monkeypatch.setattr(sys, "argv", ["visualize", *arguments])
        visualize.main()
    assert Image.open(sheet).size[0] == 4 * 32 + 3 * 4 and drawn.is_file()
