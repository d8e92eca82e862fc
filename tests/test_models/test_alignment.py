"""CAE's test of alignment (section 3.1 of its paper): all patches visible, no regressor."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from demo.photographs import read_photograph
from mmvitssl.models.algorithms import Pretrainer
from mmvitssl.registry import MODELS
from mmvitssl.structures import View

SIDE, STEPS, BATCH = 48, 150, 32


def crops(number: int, generator: torch.Generator) -> torch.Tensor:
    """(number, 3, 48, 48) random squares of photographs."""
    photographs = [
        torch.from_numpy(read_photograph(name).copy()).permute(2, 0, 1).float() / 255
        for name in ("astronaut", "chelsea", "coffee", "china", "flower")
    ]
    cut = []
    for i in range(number):
        picture = photographs[i % len(photographs)]
        side = int(torch.randint(64, 200, (1,), generator=generator))
        top, left = (
            int(torch.randint(size - side + 1, (1,), generator=generator))
            for size in picture.shape[1:]
        )
        square = picture[None, :, top : top + side, left : left + side]
        cut.append(F.interpolate(square, (SIDE, SIDE), mode="bilinear", antialias=True)[0])
    return torch.stack(cut)


def build(align_weight: float) -> Pretrainer:
    torch.manual_seed(0)
    block = dict(width=64, depth=2, num_heads=4, drop_path=0.0)
    task = dict(
        type="ContextAutoencoding",
        masking=dict(type="BlockMasking", num_masked=18, exact=True, mode="drop", min_block=4),
        regressor=dict(type="ContextRegressor", **block),
        decoder=dict(type="ContextDecoder", out_channels=192, **block),
        target=dict(type="PixelTarget", patch_size=8, normalise=False),
        head=dict(type="PixelLoss", distance="l2"),
        align_weight=align_weight,
    )
    encoder = dict(
        type="ViT", arch=dict(embed_dim=64, depth=3, num_heads=4), image_size=SIDE, patch_size=8,
        position="sincos_row_first", qkv_bias="qv", layer_scale=0.1, initialisation="cae",
    )  # fmt: skip
    return MODELS.build(dict(type="Pretrainer", encoder=encoder, tasks=dict(context=task)))


def error_without_regressor(align_weight: float, images: torch.Tensor) -> tuple[float, float]:
    """Squared errors after a short training: of the skipped regressor, and of masked patches."""
    model, generator = build(align_weight), torch.Generator().manual_seed(1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    for number in range(STEPS):
        index = torch.randint(len(images), (BATCH,), generator=generator)
        batch = images[index]
        samples = {"index": index, "epoch": torch.full_like(index, number)}
        logs: Any = model([View(batch, (batch - 0.45) / 0.25)], samples, mode="loss")
        optimizer.zero_grad()
        logs["loss_context"].backward()
        optimizer.step()
    model.eval()
    batch = images[:64]
    samples = {"index": torch.arange(64), "epoch": torch.zeros(64, dtype=torch.long)}
    step = model.begin([View(batch, (batch - 0.45) / 0.25)], samples)
    task: Any = model.tasks["context"]
    prediction, every = task.decode_visible(step)
    skipped = F.mse_loss(prediction, task.target(step, 0, every)).item()
    return skipped, task.loss(step).metrics["reconstruction"].item()


@pytest.mark.slow
def test_aligned_latents_can_skip_the_regressor_and_others_cannot() -> None:
    images = crops(600, torch.Generator().manual_seed(0))
    variance = ((images - 0.45) / 0.25).var().item()
    aligned, masked = error_without_regressor(2.0, images)
    apart, also_masked = error_without_regressor(0.0, images)
    assert masked < 0.7 * variance and also_masked < 0.7 * variance  # both have learned
    assert aligned < 0.6 * variance < apart
    assert apart > 2 * aligned
