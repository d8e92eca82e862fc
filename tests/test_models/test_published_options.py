"""Options that only some published recipes need."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from mmvitssl.datasets.transforms import RandomResizedCrop
from mmvitssl.models.backbones import SwinTransformer, ViT, WindowedFeatures
from mmvitssl.models.backbones.swin_blocks import SwinBlock
from mmvitssl.models.heads.classification import NormalisedLinearHead
from mmvitssl.models.heads.contrastive import NTXent
from mmvitssl.models.masking import RandomMasking, WindowMasking
from mmvitssl.models.necks.context import ContextRegressor
from mmvitssl.models.necks.fusion import MultiHierarchyFusion
from mmvitssl.models.necks.mae_decoder import MAEDecoder
from mmvitssl.models.necks.mlp import SyncBatchNorm1d
from mmvitssl.structures import MaskedPatches

SWIN = dict(embed_dim=8, depths=(1, 1, 1, 1), num_heads=(1, 2, 2, 2))
ARCH = dict(embed_dim=16, depth=2, num_heads=2)


@pytest.mark.parametrize(("clip", "area", "full"), [(True, 0.518, 0.256), (False, 0.435, 0.007)])
def test_clipped_crops_are_larger(clip: bool, area: float, full: float) -> None:
    """Mean area and share of full height on 500 x 375 pixels, as the official code of MAE crops."""
    crop = RandomResizedCrop(224, clip=clip)
    rng = np.random.default_rng(0)
    boxes = np.array([crop.box(500, 375, rng) for _ in range(20_000)])
    top, left, height, width = boxes.T
    assert (top >= 0).all() and (top + height <= 375).all() and (left + width <= 500).all()
    assert (height * width).mean() / (500 * 375) == pytest.approx(area, abs=0.006)
    assert (height == 375).mean() == pytest.approx(full, abs=0.01)


def test_the_deit_initialisation_has_a_class_token_like_all_weights() -> None:
    torch.manual_seed(0)
    tokens = {
        kind: ViT(dict(embed_dim=512, depth=1, num_heads=1), 16, initialisation=kind,
                  prefix_tokens=("rotation",))
        for kind in ("timm", "deit")
    }  # fmt: skip
    assert tokens["timm"].cls_token.std() < 1e-5
    assert tokens["deit"].cls_token.std().item() == pytest.approx(0.02, rel=0.1)
    assert tokens["deit"].prefix_tokens["rotation"].std().item() == pytest.approx(0.02, rel=0.1)


def test_local_nt_xent_is_the_mean_over_all_embeddings() -> None:
    torch.manual_seed(0)
    first, second = torch.randn(4, 8), torch.randn(4, 8)
    head = NTXent(0.5, scale=0.5, local=True)
    loss = head(first, second)[0] + head(second, first)[0]
    every = nn.functional.normalize(torch.cat([first, second]), dim=1)
    logits = (every @ every.T / 0.5).masked_fill(torch.eye(8, dtype=torch.bool), -torch.inf)
    wanted = nn.functional.cross_entropy(logits, torch.arange(8).roll(4))
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-5)


def test_the_batch_norm_of_probes_may_be_that_of_a_device() -> None:
    norms = [NormalisedLinearHead(8, 2, per_device=each)[0] for each in (False, True)]
    assert isinstance(norms[0], SyncBatchNorm1d) and type(norms[1]) is nn.BatchNorm1d
    assert norms[1].eps == 1e-6 and not norms[1].affine


def test_swins_own_layer_fuses_levels() -> None:
    neck = MultiHierarchyFusion((8, 16), levels=2, width=16, fusion="swin", patch_size=4)
    blocks = [module for module in neck.modules() if isinstance(module, SwinBlock)]
    assert [block.shift for block in blocks] == [0, 3]
    image = neck([torch.randn(2, 8, 14, 14), torch.randn(2, 16, 7, 7)])
    assert image.shape == (2, 3, 56, 56)


def test_a_regressor_of_self_attention_sees_visible_latents() -> None:
    torch.manual_seed(0)
    regressor = ContextRegressor(16, 2, depth=2, drop_path=0.0, attention="self")
    position, masked = torch.randn(2, 5, 16), torch.randn(2, 3, 16)
    visible = torch.randn(2, 5, 16, requires_grad=True)
    predicted = regressor(visible, position, masked)
    assert predicted.shape == (2, 3, 16)
    (gradient,) = torch.autograd.grad(predicted[0].sum(), visible)
    assert gradient[0].abs().sum() > 0 and gradient[1].abs().sum() == 0
    with pytest.raises(ValueError, match="'cross' or 'self'"):
        ContextRegressor(16, 2, attention="none")


# windows whose masked patches do not enter


def test_windows_may_drop_what_they_mask() -> None:
    how = dict(window=3, views=2, ratio=0.75)
    dropping = WindowMasking(**how, mode="drop")((4, 4), 2, torch.Generator().manual_seed(0))
    replacing = WindowMasking(**how)((4, 4), 2, torch.Generator().manual_seed(0))
    assert dropping.tokens is not None and dropping.dropped is not None
    assert replacing.tokens is not None and replacing.masked is not None
    assert dropping.tokens.shape == (4, 3) and dropping.dropped.shape == (4, 6)
    dropping.validate(2, (4, 4))
    hidden = replacing.tokens[replacing.masked].view(4, 6)
    assert torch.equal(dropping.dropped.sort(dim=1).values, hidden)
    with pytest.raises(ValueError, match="mode='replace'"):
        WindowMasking(mode="drop", mask_at=1)


def test_the_decoder_of_a_window_sees_that_window_alone() -> None:
    torch.manual_seed(0)
    encoder = ViT(ARCH, 16, 4, position="sincos_column_first")
    decoder = MAEDecoder(16, 48, 4, width=16, depth=1, num_heads=2)
    plan = WindowMasking(2, views=2, ratio=0.5, mode="drop")((4, 4), 2, torch.Generator())
    images = torch.randn(2, 3, 16, 16, requires_grad=True)
    prediction = decoder(encoder(images, plan), MaskedPatches.of(plan))
    assert prediction.shape == (4 * 2, 48)
    (gradient,) = torch.autograd.grad(prediction[:2].sum(), images)
    cells = gradient[0].view(3, 4, 4, 4, 4).abs().sum(dim=(0, 2, 4)).flatten()
    assert plan.tokens is not None
    assert set(cells.nonzero().flatten().tolist()) == set(plan.tokens[0].tolist())
    assert gradient[1].abs().sum() == 0


@pytest.mark.parametrize("relative", ["irpe", "shared_bias"])
def test_relative_positions_follow_a_window_that_drops(relative: str) -> None:
    """Encoding the visible patches alone equals a plan that names just these."""
    torch.manual_seed(0)
    encoder = ViT(ARCH, 16, 4, position="none", relative_position=relative)
    for parameter in encoder.parameters():
        nn.init.normal_(parameter, std=0.2)
    plan = WindowMasking(3, views=1, ratio=0.5, mode="drop")((4, 4), 1, torch.Generator())
    alone = type(plan)(image_index=plan.image_index, tokens=plan.tokens)
    images = torch.randn(1, 3, 16, 16)
    assert torch.equal(encoder(images, plan).patches, encoder(images, alone).patches)


# SimMIM on Swin


def test_swin_hides_cells_of_the_last_stage() -> None:
    torch.manual_seed(0)
    encoder = SwinTransformer(SWIN, 64, window_size=2, mask_token=True)
    assert encoder.mask_token is not None and encoder.grid == (2, 2)
    plan = RandomMasking(0.5, mode="replace")(encoder.grid, 2, torch.Generator())
    images = torch.randn(2, 3, 64, 64)
    encoded = encoder(images, plan)
    assert encoded.patches.shape == (2, 4, 64)
    assert plan.masked is not None
    cells = plan.masked.view(2, 1, 2, 1, 2, 1).expand(-1, 3, -1, 32, -1, 32).reshape(images.shape)
    other = torch.where(cells, torch.randn_like(images), images)
    assert torch.equal(encoder(other, plan).patches, encoded.patches)
    assert not torch.equal(encoder(images).patches, encoded.patches)
    with pytest.raises(ValueError, match="mask_token=True"):
        SwinTransformer(SWIN, 64, window_size=2)(images, plan)
    with pytest.raises(ValueError, match="leaves patches out"):
        encoder(images, RandomMasking(0.5)(encoder.grid, 2, torch.Generator()))


def test_the_final_norm_and_the_scale_of_queries_in_windows() -> None:
    torch.manual_seed(0)
    how = dict(global_blocks=1, window_size=2, relative_grid=(4, 4))
    encoder = dict(type="ViT", arch=ARCH, image_size=16, patch_size=4)
    plain = WindowedFeatures(encoder, **how)
    normed = WindowedFeatures(encoder, **how, final_norm=True)
    scaled = WindowedFeatures(encoder, **how, scaled_queries=True)
    for parameter in plain.parameters():
        nn.init.normal_(parameter, std=0.3)
    for other in (normed, scaled):
        other.load_state_dict(plain.state_dict())
    images = torch.randn(1, 3, 16, 16)
    raw = plain(images)[0]
    wanted = plain.encoder.norm(raw.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    assert torch.allclose(normed(images)[0], wanted, atol=1e-6)
    for position in scaled.positions:
        for table in position.parameters():
            table.data.mul_(8**0.5)  # of heads of 8 channels
    assert torch.allclose(scaled(images)[0], raw, atol=1e-5)
