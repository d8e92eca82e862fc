"""Targets of masked patches."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mmvitssl.checkpoint import CheckpointError
from mmvitssl.models.algorithms.step import PretrainStep
from mmvitssl.models.backbones import ViT
from mmvitssl.models.masking import RandomMasking
from mmvitssl.models.targets import PixelTarget, TokenTarget
from mmvitssl.models.targets.patches import put_patches, take_patches
from mmvitssl.models.tokenizers import DiscreteVAE, save_tokenizer
from mmvitssl.structures import MaskedPatches
from tests.builders import make_samples, make_views


def encoder() -> ViT:
    return ViT(arch=dict(embed_dim=16, depth=1, num_heads=2), image_size=(32, 48), patch_size=8)


def entries(batch: int = 4, grid: tuple[int, int] = (4, 6)) -> MaskedPatches:
    return MaskedPatches.of(RandomMasking(0.5)(grid, batch, torch.Generator()))


def test_values_of_a_patch_are_row_column_channel() -> None:
    image = torch.arange(2 * 3 * 4 * 6).view(2, 3, 4, 6).float()
    one = MaskedPatches(torch.tensor([1]), torch.tensor([4]), None, 1)  # row 1, column 1
    expected = [image[1, c, 2 + r, 2 + k] for r in range(2) for k in range(2) for c in range(3)]
    assert take_patches(image, 2, one)[0].tolist() == [float(value) for value in expected]


@given(rows=st.integers(1, 4), columns=st.integers(1, 4), patch=st.integers(1, 5))
@settings(max_examples=25, deadline=None)
def test_putting_patches_back_undoes_taking_them(rows: int, columns: int, patch: int) -> None:
    images = torch.rand(2, 3, rows * patch, columns * patch)
    every = torch.arange(rows * columns).repeat(2)
    masked = MaskedPatches(torch.arange(2).repeat_interleave(rows * columns), every, None, 2)
    patches = take_patches(images, patch, masked)
    assert torch.equal(put_patches(torch.zeros_like(images), patches, patch, masked), images)


def test_nothing_outside_the_patches_changes() -> None:
    images, masked = torch.rand(4, 3, 32, 48), entries()
    changed = put_patches(images, torch.full((48, 192), 2.0), 8, masked)
    inside = changed == 2.0
    assert inside.sum() == 48 * 192 and torch.equal(changed[~inside], images[~inside])
    assert images.max() <= 1  # the original was not written to


def test_normalised_pixels_against_float64() -> None:
    view, masked = make_views(1)[0], entries()
    step = PretrainStep([view], make_samples(), encoder())
    target = PixelTarget(8)(step, 0, masked)
    raw = take_patches(view.images, 8, masked).double()
    mean = raw.sum(1, keepdim=True) / 192
    variance = ((raw - mean) ** 2).sum(1, keepdim=True) / 191
    assert torch.allclose(target.double(), (raw - mean) / (variance + 1e-6).sqrt(), atol=1e-5)
    assert torch.equal(PixelTarget(8, normalise=False)(step, 0, masked).double(), raw)


@pytest.mark.parametrize("normalise", [True, False])
def test_the_true_target_becomes_the_true_pixels(normalise: bool) -> None:
    view, masked = make_views(1)[0], entries()
    step = PretrainStep([view], make_samples(), encoder())
    target = PixelTarget(8, normalise)
    pixels = target.to_pixels(target(step, 0, masked), step, 0, masked)
    assert torch.allclose(pixels, take_patches(view.pixels, 8, masked), atol=1e-5)


def test_a_constant_patch_has_a_finite_target() -> None:
    view = make_views(1)[0]
    view.images.zero_()
    target = PixelTarget(8)(PretrainStep([view], make_samples(), encoder()), 0, entries())
    assert bool((target == 0).all())


def test_ids_are_those_of_the_tokenizer_and_computed_once(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tokenizer = DiscreteVAE(vocabulary=16, hidden=8, codes=4, blocks=1)
    path = save_tokenizer(tokenizer, tmp_path / "dvae.safetensors")
    views = make_views(1) + make_views(1, size=(32, 48))
    step = PretrainStep(views, make_samples(), encoder())
    target = TokenTarget(str(path), vocabulary=16)
    masked = entries()
    ids = target(step, 0, masked)
    every = tokenizer.tokenize(views[1].pixels).flatten(1)
    assert ids.dtype == torch.long and torch.equal(ids, every[masked.image, masked.patch])
    assert target.ids(step) is target.ids(step)
    assert not list(target.parameters()) and not target.state_dict()


def test_the_tokenizers_view_must_give_a_token_a_patch(tmp_path: Path) -> None:
    path = save_tokenizer(
        DiscreteVAE(vocabulary=16, hidden=8, codes=4, blocks=1), tmp_path / "dvae.safetensors"
    )
    views = make_views(1) + make_views(1, size=(64, 96))
    step = PretrainStep(views, make_samples(), encoder())
    with pytest.raises(ValueError, match="resize it to 32x48"):
        TokenTarget(str(path), vocabulary=16).check(step, 0, (4, 6))


def test_a_missing_tokenizer_says_how_to_get_one(tmp_path: Path) -> None:
    target = TokenTarget(str(tmp_path / "none.safetensors"))
    with pytest.raises(CheckpointError, match=r"tools/train_dvae.py[\s\S]*convert-dalle"):
        target.load_frozen()


def test_another_vocabulary_is_an_error(tmp_path: Path) -> None:
    path = save_tokenizer(
        DiscreteVAE(vocabulary=16, hidden=8, codes=4, blocks=1), tmp_path / "dvae.safetensors"
    )
    with pytest.raises(CheckpointError, match="vocabulary of 16, but the config says 32"):
        TokenTarget(str(path), vocabulary=32).load_frozen()


def test_files_that_are_no_tokenizers(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, str(tmp_path / "plain.safetensors"))
    (tmp_path / "text.safetensors").write_text("hello")
    for name, message in (("plain", "does not say"), ("text", "no safetensors file")):
        with pytest.raises(CheckpointError, match=message):
            TokenTarget(str(tmp_path / f"{name}.safetensors")).load_frozen()


def test_pixel_targets_of_another_patch_size_are_refused() -> None:
    step = PretrainStep(make_views(1), make_samples(), encoder())
    with pytest.raises(ValueError, match="use the encoder's patch_size"):
        PixelTarget(16).check(step, 0, (4, 6))
    assert isinstance(PixelTarget(8), nn.Module)
