"""Where the class token, or an attentive probe, looks: maps, and masks that keep most of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from mmvitssl.datasets.multiview import LoadImage, to_tensor
from mmvitssl.datasets.transforms import CenterCrop, Resize, extent
from mmvitssl.evaluation.features import evaluating
from mmvitssl.models.algorithms.classifier import ImageClassifier
from mmvitssl.models.backbones.contract import Backbone, backbone_in
from mmvitssl.models.display import displayed
from mmvitssl.models.heads.classification import AttentiveHead
from mmvitssl.structures import Encoded
from mmvitssl.writing import whole

THRESHOLDS = (0.4, 0.6, 0.8)
COLOUR = "inferno"
VEIL = (70, 80, 120)  # over patches that a mask leaves out
CELL = 1.45  # inches of a picture in a sheet


def check_encoder(encoder: nn.Module) -> Backbone:
    """Refuse encoders whose attention is not of one class token over all patches.

    Raises:
        ValueError: the message says why.
    """
    backbone = backbone_in(encoder)
    if not backbone.spec.has_attention or not backbone.spec.has_class_token:
        lacks = "returns no attention" if backbone.spec.has_class_token else "has no class token"
        raise ValueError(
            f"{type(encoder).__name__} {lacks}: there is no map of one token over the "
            f"image. Pictures of attention need a ViT."
        )
    return backbone


def check_block(encoder: nn.Module, block: int) -> int:
    """The zero-based block; -1 is the last.

    Raises:
        ValueError: there is no such block.
    """
    depth = backbone_in(encoder).spec.depth
    if not -depth <= block < depth:
        raise ValueError(f"Block {block} does not exist: the encoder has blocks 0..{depth - 1}.")
    return block % depth


@torch.no_grad()
def block_attention(encoder: nn.Module, images: Tensor, block: int = -1) -> Tensor:
    """Attention of all tokens of a block.

    Args:
        encoder: a ViT.
        images: (B, 3, H, W), normalised.
        block: zero-based; -1 is the last.

    Returns:
        (B, heads, L, L), rows sum to 1; the class token is the first, patches are the last.

    Raises:
        ValueError: a backbone without attention maps, or no such block.
    """
    check_encoder(encoder)
    block = check_block(encoder, block)
    with evaluating(encoder):
        encoded: Encoded = encoder(images, attention=(block,))
    return encoded.attention[block]


def class_attention(encoder: nn.Module, images: Tensor, block: int = -1) -> Tensor:
    """(B, heads, rows, columns) attention of the class token over the patches.

    The rest of its attention, to itself and other tokens before the patches, is left out.
    """
    weights = block_attention(encoder, images, block)[:, :, 0]
    return _on_grid(weights, encoder, images)


@torch.no_grad()
def probe_attention(classifier: ImageClassifier, images: Tensor) -> Tensor:
    """(B, heads, rows, columns) attention of an attentive probe's query over the patches.

    Args:
        classifier: an ``ImageClassifier`` with an ``AttentiveHead``.
        images: (B, 3, H, W), normalised.

    Raises:
        ValueError: its head does not attend.
    """
    if not isinstance(classifier.head, AttentiveHead):
        raise ValueError(
            f"{type(classifier.head).__name__} does not attend: only an AttentiveHead has a map."
        )
    classifier.eval()
    return _on_grid(
        classifier.head.weights(classifier.features(images)), classifier.encoder, images
    )


def _on_grid(weights: Tensor, encoder: nn.Module, images: Tensor) -> Tensor:
    grid = backbone_in(encoder).grid_of((images.shape[-2], images.shape[-1]))
    return weights[..., -grid[0] * grid[1] :].unflatten(-1, grid)


def kept_mass(attention: Tensor, share: float) -> Tensor:
    """The fewest patches whose attention sums to a share (DINO, figure 1).

    Args:
        attention: (..., rows, columns), not negative.
        share: of the sum over the patches, in (0, 1].

    Returns:
        bool of the same shape.

    Raises:
        ValueError: a share outside (0, 1].
    """
    if not 0 < share <= 1:
        raise ValueError(f"A share of attention lies in (0, 1], not {share}.")
    flat = attention.flatten(-2).double()
    values, order = flat.sort(dim=-1, descending=True)
    before = values.cumsum(dim=-1) - values
    # a patch is kept as long as those before it have not reached the share
    kept = before < share * flat.sum(dim=-1, keepdim=True) * (1 - 1e-12)
    return torch.zeros_like(kept).scatter(-1, order, kept).view(attention.shape)


def load_image(path: str | Path, side: int, patch: int, load: LoadImage | None = None) -> Tensor:
    """An image at its aspect ratio: (C, H, W) uint8, the patch divides H and W.

    Args:
        path: the file.
        side: pixels of the shorter side, before what the patch leaves over is cut off evenly.
        patch: side of a patch in pixels.
        load: decodes the image; None: to RGB.

    Raises:
        BrokenImageError: the file cannot be decoded; the message names it.
        ValueError: the side is smaller than a patch.
    """
    if side < patch:
        raise ValueError(f"A shorter side of {side} pixels has no patch of {patch}: raise --size.")
    image = (load or LoadImage())({"path": str(path)})["image"]
    width, height = extent(image)
    scale, rng = side / min(height, width), np.random.default_rng()
    size = [max(round(height * scale), side), max(round(width * scale), side)]
    resized = Resize(size, "bicubic")(image, rng)
    return to_tensor(CenterCrop([length - length % patch for length in size])(resized, rng))


@matplotlib.rc_context({"text.parse_math": False})  # names hold no formulas
def draw_attention(
    pixels: Tensor,
    attention: Tensor,
    out: Path,
    title: str,
    thresholds: Sequence[float] = THRESHOLDS,
) -> Path:
    """Write a sheet of one image: the image, the mean over heads and every head.

    The first row has the maps over the image, the others what keeps a share of the attention.

    Args:
        pixels: (C, H, W) uint8.
        attention: (heads, rows, columns).
        out: the PNG to write.
        title: above the sheet.
        thresholds: shares of attention to keep.
    """
    picture = displayed(pixels[None])[0].permute(1, 2, 0).numpy()
    maps = [attention.mean(dim=0), *attention]
    names = ["mean of heads", *(f"head {i}" for i in range(len(attention)))]
    rows, columns = 1 + len(thresholds), 1 + len(maps)
    height = CELL * picture.shape[0] / picture.shape[1]
    from matplotlib import pyplot as plt  # slow to import, and trainings draw no curves

    figure, axes = plt.subplots(
        rows, columns, squeeze=False, dpi=110, layout="constrained",
        figsize=(CELL * columns + 0.5, height * rows + 0.75),
    )  # fmt: skip
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)  # type: ignore[union-attr,call-arg]
    figure.suptitle(title, fontsize=9)
    for axis in axes.flat:
        axis.axis("off")
    axes[0, 0].imshow(picture)
    axes[0, 0].set_title("image", fontsize=8)
    for row, share in enumerate(thresholds, start=1):
        axes[row, 0].text(
            0.98, 0.5, f"patches with\n{share:.0%} of it", ha="right", va="center", fontsize=8,
            transform=axes[row, 0].transAxes,
        )  # fmt: skip
    for column, (name, weights) in enumerate(zip(names, maps, strict=True), start=1):
        axes[0, column].imshow(overlay(picture, weights))
        axes[0, column].set_title(name, fontsize=8)
        for row, share in enumerate(thresholds, start=1):
            axes[row, column].imshow(_masked(picture, kept_mass(weights, share)))
    with whole(out) as part:
        figure.savefig(part)
    plt.close(figure)
    return out


def _enlarged(values: np.ndarray, like: np.ndarray, how: Image.Resampling) -> np.ndarray:
    return np.asarray(Image.fromarray(values).resize((like.shape[1], like.shape[0]), how))


def attention_pictures(encoder: nn.Module, pixels: Tensor, images: Tensor) -> dict[str, Tensor]:
    """The class token's attention in the last block, mean over heads, over each image.

    Args:
        encoder: a ViT with a class token.
        pixels: (B, C, H, W) in [0, 1].
        images: the same, normalised.

    Returns:
        (B, 3, H, W) pictures by caption: 'image' and 'attention'.

    Raises:
        ValueError: a backbone without attention maps or class token.
    """
    maps = class_attention(encoder, images).mean(dim=1)
    pictures = displayed(pixels).float().clamp(0, 1).cpu()
    drawn = [painted(picture, weights) for picture, weights in zip(pictures, maps, strict=True)]
    return {"image": pictures, "attention": torch.stack(drawn)}


def painted(picture: Tensor, weights: Tensor) -> Tensor:
    """(3, H, W) in [0, 1] :func:`overlay` of a (3, H, W) picture in [0, 1]."""
    coloured = overlay(255 * picture.permute(1, 2, 0).numpy(), weights)
    return torch.from_numpy(coloured).float().permute(2, 0, 1)


def overlay(picture: np.ndarray, weights: Tensor) -> np.ndarray:
    """Colours of (rows, columns) weights, from the least to the most, over the grey image.

    Args:
        picture: (H, W, 3) in 0 to 255.
        weights: (rows, columns).

    Returns:
        (H, W, 3) float in [0, 1].
    """
    above = weights - weights.min()
    values = (above / above.max().clamp(min=1e-12)).float().cpu().numpy()
    smooth = _enlarged(values, picture, Image.Resampling.BICUBIC).clip(0, 1)
    colours = matplotlib.colormaps[COLOUR](smooth)[..., :3]
    grey = np.repeat(picture.mean(axis=2, keepdims=True) / 255, 3, axis=2)
    return 0.35 * grey + 0.65 * colours


def _masked(picture: np.ndarray, kept: Tensor) -> np.ndarray:
    """The kept patches as they are, the others under a colour that is neither dark nor light."""
    mask = _enlarged(kept.numpy().astype(np.uint8), picture, Image.Resampling.NEAREST)[..., None]
    veiled = 0.15 * picture + 0.85 * np.array(VEIL)
    return np.where(mask > 0, picture, veiled.astype(np.uint8))
