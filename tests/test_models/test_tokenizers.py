"""Tokenizers: sizes, files, and that a small one learns."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from mmvitssl.checkpoint import CheckpointError
from mmvitssl.models.algorithms.step import PretrainStep
from mmvitssl.models.targets import TokenTarget
from mmvitssl.models.tokenizers import (
    DalleTokenizer,
    DiscreteVAE,
    Tokenizer,
    load_tokenizer,
    save_tokenizer,
)
from mmvitssl.models.tokenizers.dalle import Convolution, DalleDecoder, DalleEncoder
from mmvitssl.structures import View
from tests.builders import make_samples, make_views

SMALL = dict(vocabulary=24, hidden=8, codes=4, blocks=1)


def test_dalle_has_the_official_parts() -> None:
    with torch.device("meta"):
        encoder = DalleEncoder(8192, 256, 2)
        decoder = DalleDecoder(8192, 256, 2, 128)
    keys = dict(encoder.named_parameters())
    assert keys["blocks.input.w"].shape == (256, 3, 7, 7)
    assert keys["blocks.group_2.block_1.id_path.w"].shape == (512, 256, 1, 1)
    assert keys["blocks.group_4.block_2.res_path.conv_3.w"].shape == (512, 512, 3, 3)
    assert keys["blocks.output.conv.w"].shape == (8192, 2048, 1, 1)
    keys = dict(decoder.named_parameters())
    assert keys["blocks.input.w"].shape == (128, 8192, 1, 1)
    assert keys["blocks.group_1.block_1.res_path.conv_1.w"].shape == (512, 128, 1, 1)
    assert keys["blocks.group_4.block_2.res_path.conv_4.w"].shape == (256, 64, 3, 3)
    assert keys["blocks.output.conv.w"].shape == (6, 256, 1, 1)


def test_dalle_computes_what_is_published() -> None:
    torch.manual_seed(0)
    tokenizer = DalleTokenizer(vocabulary=16, hidden=8, blocks=1)
    pixels = torch.rand(2, 3, 16, 24)
    state = dict(tokenizer.encoder.named_parameters())

    def conv(name: str, x: torch.Tensor) -> torch.Tensor:
        w, b = state[f"blocks.{name}.w"], state[f"blocks.{name}.b"]
        return nn.functional.conv2d(x, w, b, padding=w.shape[-1] // 2)

    x = conv("input", 0.8 * pixels + 0.1)
    for group in range(1, 5):
        name = f"group_{group}.block_1"
        path = x
        for i in range(1, 5):
            path = conv(f"{name}.res_path.conv_{i}", path.relu())
        x = (x if group == 1 else conv(f"{name}.id_path", x)) + path / 4**2
        x = nn.functional.max_pool2d(x, 2) if group < 4 else x
    logits = conv("output.conv", x.relu())
    assert torch.equal(tokenizer.tokenize(pixels), logits.argmax(1))
    painted = tokenizer.decode(tokenizer.tokenize(pixels))
    assert painted.shape == pixels.shape and painted.min() >= 0 and painted.max() <= 1


@pytest.mark.parametrize(
    "tokenizer", [DalleTokenizer(vocabulary=16, hidden=8, blocks=1), DiscreteVAE(**SMALL)]
)
def test_files_build_themselves(tokenizer: Tokenizer, tmp_path: Path) -> None:
    assert isinstance(tokenizer, nn.Module)
    path = save_tokenizer(tokenizer, tmp_path / "deep/tokenizer.safetensors")
    loaded = load_tokenizer(path)
    assert isinstance(loaded, nn.Module) and not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    pixels = torch.rand(2, 3, 16, 24)
    ids = loaded.tokenize(pixels)
    assert ids.shape == (2, 2, 3) and ids.max() < loaded.vocabulary
    assert torch.equal(ids, tokenizer.tokenize(pixels))
    assert torch.equal(loaded.decode(ids), tokenizer.decode(ids))


def test_a_file_without_decoder_tokenizes_and_says_what_it_lacks(tmp_path: Path) -> None:
    tokenizer = DalleTokenizer(vocabulary=16, hidden=8, blocks=1, decoder=False)
    loaded = load_tokenizer(save_tokenizer(tokenizer, tmp_path / "t.safetensors"))
    ids = loaded.tokenize(torch.rand(1, 3, 8, 8))
    with pytest.raises(RuntimeError, match=r"decoder\.pkl"):
        loaded.decode(ids)


def test_missing_weights_of_a_file_are_named(tmp_path: Path) -> None:
    import json

    from safetensors.torch import save_file

    model = DiscreteVAE(**SMALL)
    path = save_tokenizer(model, tmp_path / "t.safetensors")
    state = load_file(str(path))
    del state["codebook.weight"]
    save_file(state, str(path), metadata={"mmvitssl_tokenizer": json.dumps(model.config)})
    with pytest.raises(CheckpointError, match=r"misses 1 of \d+ keys: codebook.weight"):
        load_tokenizer(path)


def noisy() -> DalleTokenizer:
    """Many ids whose logits lie close, so that rounding changes some."""
    torch.manual_seed(0)
    return DalleTokenizer(vocabulary=512, hidden=8, blocks=1, decoder=False)


def test_ids_do_not_depend_on_the_precision_of_the_training(tmp_path: Path) -> None:
    tokenizer, pixels = noisy(), torch.rand(4, 3, 64, 64)
    small = DiscreteVAE(**{**SMALL, "vocabulary": 512})
    for number, made in enumerate((tokenizer, small)):
        path = save_tokenizer(made, tmp_path / f"{number}.safetensors")
        target = TokenTarget(str(path), vocabulary=512, view=0)
        exact = made.tokenize(pixels)
        step = PretrainStep([View(pixels, pixels)], make_samples(), nn.Identity())  # type: ignore[arg-type]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(target.ids(step), exact)
            rough = made.tokenize(pixels)
        # DALL-E's convolutions keep their own precision; the other would differ, were it asked
        assert torch.equal(rough, exact) == (made is tokenizer)


def test_dalle_has_the_official_precisions() -> None:
    """``use_float16`` of dall_e.utils.Conv2d: all but the output layers, on CUDA alone."""
    tokenizer = DalleTokenizer(vocabulary=16, hidden=8, blocks=1)
    full = [name for name, module in tokenizer.named_modules()
            if isinstance(module, Convolution) and not module.half_on_cuda]  # fmt: skip
    assert full == ["encoder.blocks.output.conv", "decoder.blocks.output.conv"]


def test_sizes_that_the_stride_does_not_divide() -> None:
    with pytest.raises(ValueError, match="multiples of 8"):
        DiscreteVAE(**SMALL).tokenize(torch.rand(1, 3, 12, 16))


@pytest.mark.parametrize("settings", [dict(stride=6), dict(temperature=(1.0, 0.0))])
def test_options_that_make_no_sense(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="power of two"):
        DiscreteVAE(**{**SMALL, **settings})


def test_the_relaxation_cools_geometrically() -> None:
    model = DiscreteVAE(**SMALL, temperature=(1.0, 0.01))
    values = []
    for progress in (0.0, 0.5, 1.0, 2.0):
        model.set_progress(progress)
        values.append(model.temperature.item())
    assert values == pytest.approx([1.0, 0.1, 0.01, 0.01])
    assert "temperature" in model.state_dict()  # an interrupted run goes on where it was


def test_the_divergence_is_that_from_uniform_use() -> None:
    model = DiscreteVAE(**SMALL, kl_weight=1.0)
    for parameter in model.encoder[-1].parameters():
        nn.init.zeros_(parameter)
    logs = model(make_views(1), make_samples(), mode="loss")
    assert logs["loss_use"].item() == pytest.approx(0.0, abs=1e-5)  # all ids equally likely
    model.encoder[-1].bias.data[3] = 100.0
    logs = model(make_views(1), make_samples(), mode="loss")
    assert logs["loss_use"].item() == pytest.approx(torch.tensor(24.0).log().item(), rel=1e-3)
    assert logs["perplexity"].item() == pytest.approx(1.0)


def test_every_part_of_the_dvae_learns() -> None:
    model = DiscreteVAE(**SMALL)
    logs = model(make_views(1), make_samples(), mode="loss")
    (logs["loss_pixels"] + logs["loss_use"]).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    (scores,) = model(make_views(1), make_samples(), mode="predict")
    assert 0 < scores["reconstruction_error"] < 1
    with pytest.raises(ValueError, match="not 'tensor'"):
        model(make_views(1), make_samples(), mode="tensor")
