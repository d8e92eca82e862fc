"""Masked modeling and context autoencoding: losses, gradients, what runs and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from mmvitssl.models.algorithms import Pretrainer
from mmvitssl.models.targets.patches import take_patches
from mmvitssl.models.tokenizers import DiscreteVAE, save_tokenizer
from mmvitssl.registry import MODELS
from tests.builders import CONTRASTIVE, make_samples, make_views

ENCODER = dict(
    type="ViT",
    arch=dict(embed_dim=32, depth=4, num_heads=2),
    image_size=(32, 48),
    patch_size=8,
    position="sincos_row_first",
)
RELATIVE = {**ENCODER, "position": "none", "mask_token": True, "relative_position": "irpe"}
PIXELS = dict(type="PixelTarget", patch_size=8)
LINEAR = dict(type="TokenPredictor", in_channels=32, out_channels=192)
L2 = dict(type="PixelLoss", distance="l2")
MAE = dict(
    type="MaskedModeling",
    masking=dict(type="RandomMasking", ratio=0.75),
    neck=dict(
        type="MAEDecoder", in_channels=32, out_channels=192, width=16, depth=2, num_heads=2,
        grid=(4, 6),
    ),
    target=PIXELS,
    head=L2,
)  # fmt: skip
LOMAR = dict(
    type="MaskedModeling",
    masking=dict(type="WindowMasking", window=3, views=2, ratio=0.6),
    neck=LINEAR,
    target=PIXELS,
    head=L2,
)
CAE = dict(
    type="ContextAutoencoding",
    masking=dict(type="BlockMasking", num_masked=12, exact=True, mode="drop", min_block=4),
    regressor=dict(type="ContextRegressor", width=32, depth=2, num_heads=2),
    decoder=dict(type="ContextDecoder", width=32, out_channels=192, depth=2, num_heads=2),
    target=dict(type="PixelTarget", patch_size=8, normalise=False),
    head=L2,
)


def build(encoder: dict[str, Any], **tasks: Any) -> Pretrainer:
    torch.manual_seed(0)
    return MODELS.build(dict(type="Pretrainer", encoder=encoder, tasks=tasks))


def change(config: dict[str, Any], **parts: Any) -> dict[str, Any]:
    """A config with entries of its parts changed."""
    changed = {
        name: {**config.get(name, {}), **value} if isinstance(value, dict) else value
        for name, value in parts.items()
    }
    return {**config, **changed}


def run(model: Pretrainer, views: int = 1, **settings: Any) -> dict[str, torch.Tensor]:
    return model(make_views(views, **settings), make_samples(), mode="loss")


METHODS = {
    "mae": (ENCODER, MAE),
    "simmim": (
        {**RELATIVE, "relative_position": "shared_bias"},
        {**LOMAR, "masking": dict(type="RandomMasking", ratio=0.6, mode="replace", unit=2)},
    ),
    "lomar": (RELATIVE, LOMAR),
    "late": (RELATIVE, change(LOMAR, masking=dict(mask_at=2))),
    "cae": ({**ENCODER, "qkv_bias": "qv", "layer_scale": 0.1}, CAE),
}


@pytest.mark.parametrize("name", METHODS)
def test_every_trained_parameter_gets_a_gradient(name: str) -> None:
    encoder, task = METHODS[name]
    model = build(encoder, task=task)
    for parameter_name, parameter in model.named_parameters():
        if "table" in parameter_name:
            torch.nn.init.normal_(parameter)
    sum(v for k, v in run(model).items() if k.startswith("loss")).backward()
    # what masked modeling does not reach: the class token's own output is in no loss of CAE's
    # decoder, but it acts through attention
    for parameter_name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, parameter_name
            if "k.weight" not in parameter_name:
                assert parameter.grad.abs().sum() > 0, parameter_name


@pytest.mark.parametrize("name", METHODS)
def test_masks_repeat_with_the_samples_and_change_with_the_epoch(name: str) -> None:
    encoder, task = METHODS[name]
    model, views = build(encoder, task=task).eval(), make_views(1)
    first, again, other = (
        model(views, make_samples(epoch=epoch), mode="loss")["raw_task"] for epoch in (0, 0, 1)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)


@pytest.mark.parametrize("name", METHODS)
def test_bf16_stays_close(name: str) -> None:
    encoder, task = METHODS[name]
    model, views = build(encoder, task=task).eval(), make_views(1)
    exact = model(views, make_samples(), mode="loss")["raw_task"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = model(views, make_samples(), mode="loss")["raw_task"]
    assert rough.dtype == torch.float32
    assert rough.item() == pytest.approx(exact.item(), rel=0.05)


@pytest.mark.parametrize("name", METHODS)
def test_pictures_are_pictures(name: str) -> None:
    encoder, task = METHODS[name]
    model, views = build(encoder, task=task).eval(), make_views(1)
    pictures = model(views, make_samples(), mode="pictures")["task"]
    assert list(pictures)[:2] == ["original", "masked"]
    normalised = task["target"].get("normalise", True)
    caption = "reconstruction, true patch statistics" if normalised else "reconstruction"
    assert caption in pictures
    for picture in pictures.values():
        assert picture.shape == (4, 3, 32, 48)
        assert picture.min() >= 0 and picture.max() <= 1


def test_mae_loss_is_the_mean_over_masked_patches() -> None:
    model, views = build(ENCODER, masked=MAE).eval(), make_views(1)
    step = model.begin(views, make_samples())
    task: Any = model.tasks["masked"]
    _, masked = task.masks(step)
    truth = take_patches(views[0].images, 8, masked)
    mean, var = truth.mean(1, keepdim=True), truth.var(1, keepdim=True)
    expected = (task.predict(step) - (truth - mean) / (var + 1e-6).sqrt()).square().mean()
    assert torch.allclose(task.loss(step).loss, expected)
    assert len(masked.image) == 4 * 18


def test_what_the_encoder_drops_cannot_reach_it() -> None:
    model, views = build(ENCODER, masked=MAE).eval(), make_views(1)
    task: Any = model.tasks["masked"]
    step = model.begin(views, make_samples())
    _, masked = task.masks(step)
    pixels = views[0].images.requires_grad_()
    task.predict(model.begin(views, make_samples())).sum().backward()
    assert pixels.grad is not None
    assert take_patches(pixels.grad, 8, masked).abs().sum() == 0
    assert pixels.grad.abs().sum() > 0


def test_masked_pixels_of_windows_cannot_reach_the_prediction() -> None:
    model, views = build(RELATIVE, masked=LOMAR).eval(), make_views(1)
    task: Any = model.tasks["masked"]
    pixels = views[0].images.requires_grad_()
    step = model.begin(views, make_samples())
    plan, masked = task.masks(step)
    rows = masked.slot // 9
    prediction = task.predict(step)
    for row in range(plan.tokens.shape[0]):
        (grad,) = torch.autograd.grad(prediction[rows == row].sum(), pixels, retain_graph=True)
        seen = grad.abs().sum(1).view(4, 4, 8, 6, 8).sum((2, 4)).flatten(1) > 0
        visible = plan.tokens[row][~plan.masked[row]]
        assert set(seen.nonzero()[:, 1].tolist()) == set(visible.tolist())
        assert set(seen.nonzero()[:, 0].tolist()) == {int(plan.image_index[row])}


def test_lomar_reads_the_windows_only() -> None:
    """The work of the encoder is the same for an image four times as large."""
    counts = []
    for size in ((32, 48), (64, 96)):
        model = build(RELATIVE, masked=LOMAR)
        seen: list[int] = []
        model.encoder.blocks[0].register_forward_hook(
            lambda module, inputs, output, seen=seen: seen.append(inputs[0].numel())
        )
        run(model, size=size)
        counts.append(seen)
    assert counts[0] == counts[1]


def test_any_size_goes_through_every_method() -> None:
    for encoder, task in METHODS.values():
        assert torch.isfinite(run(build(encoder, task=task), size=(48, 32))["raw_task"])


def test_cae_encodes_visible_and_masked_patches_apart() -> None:
    model = build(*[METHODS["cae"][0]], context=CAE)
    lengths: list[tuple[int, bool]] = []
    model.encoder.blocks[0].register_forward_hook(
        lambda module, inputs, output: lengths.append((inputs[0].shape[1], output.requires_grad))
    )
    run(model)
    assert sorted(lengths) == [(13, False), (13, True)]
    lengths.clear()
    run(build_without_alignment(lengths))
    assert lengths == [(13, True)]


def build_without_alignment(lengths: list[tuple[int, bool]]) -> Pretrainer:
    model = build(METHODS["cae"][0], context={**CAE, "align_weight": 0.0})
    model.encoder.blocks[0].register_forward_hook(
        lambda module, inputs, output: lengths.append((inputs[0].shape[1], output.requires_grad))
    )
    return model


def test_cae_weighs_its_two_losses() -> None:
    views = make_views(1)
    encoder = METHODS["cae"][0]
    logs = {
        weight: build(encoder, context={**CAE, "align_weight": weight}).eval()(
            views, make_samples(), mode="loss"
        )
        for weight in (1.0, 2.0)
    }
    for weight, log in logs.items():
        expected = log["context_reconstruction"] + weight * log["context_alignment"]
        assert torch.allclose(log["raw_context"], expected)
    assert torch.equal(logs[1.0]["context_alignment"], logs[2.0]["context_alignment"])


def test_alignment_teaches_the_regressor_and_the_visible_side_only() -> None:
    model, views = build(METHODS["cae"][0], context=CAE).eval(), make_views(1)
    task: Any = model.tasks["context"]
    pixels = views[0].images.requires_grad_()
    step = model.begin(views, make_samples())
    _, masked = task.masks(step)
    target = task.target_latents(step)
    assert not target.requires_grad
    F.mse_loss(task.predict_latents(step), target).backward()
    assert pixels.grad is not None
    assert take_patches(pixels.grad, 8, masked).abs().sum() == 0
    assert all(p.grad is None for p in task.decoder.parameters())
    assert task.regressor.mask_token.grad.abs().sum() > 0


def test_targets_of_cae_are_the_encoders_own_latents_without_lag() -> None:
    model, views = build(METHODS["cae"][0], context=CAE).eval(), make_views(1)
    task: Any = model.tasks["context"]
    before = task.target_latents(model.begin(views, make_samples()))
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            parameter.add_(0.01)
    step = model.begin(views, make_samples())
    after = task.target_latents(step)
    assert not torch.allclose(before, after)
    direct = model.encoder(views[0].images, task._masked_plan(step)).patches
    assert torch.allclose(after, direct)


def test_cae_with_another_width_projects_both_sides() -> None:
    wide = change(
        CAE,
        regressor=dict(width=24),
        decoder=dict(width=24),
        projection=dict(type="LatentProjection", in_channels=32, out_channels=24),
    )
    model = build(METHODS["cae"][0], context=wide)
    step = model.begin(make_views(1), make_samples())
    task: Any = model.tasks["context"]
    assert task.predict_latents(step).shape == task.target_latents(step).shape == (4, 12, 24)
    task.loss(step).loss.backward()
    assert task.projection.linear.weight.grad.abs().sum() > 0


def test_decoding_without_regressor_covers_all_patches() -> None:
    model = build(METHODS["cae"][0], context=CAE).eval()
    step = model.begin(make_views(1), make_samples())
    task: Any = model.tasks["context"]
    prediction, every = task.decode_visible(step)
    assert prediction.shape == (4 * 24, 192)
    assert every.patch.view(4, 24).tolist() == [list(range(24))] * 4


def test_the_ablation_without_decoder_is_one_linear_layer() -> None:
    model = build(METHODS["cae"][0], context=change(CAE, decoder=dict(depth=0)))
    names = [name for name, _ in model.tasks["context"].decoder.named_parameters()]
    assert names == ["head.weight", "head.bias"]
    assert torch.isfinite(run(model)["raw_context"])


def test_any_masked_task_stands_beside_any_other() -> None:
    """A method is a config: MAE, LoMaR and MoCo v3 share an encoder."""
    contrast = {**CONTRASTIVE}
    model: Pretrainer = MODELS.build(
        dict(
            type="Pretrainer",
            encoder={**RELATIVE, "position": "sincos_row_first"},
            target=dict(momentum=0.99),
            tasks=dict(contrastive=contrast, mae=MAE, lomar=LOMAR),
        )
    )
    logs = run(model, views=2)
    assert {"loss_contrastive", "loss_mae", "loss_lomar"} <= set(logs)
    sum(v for k, v in logs.items() if k.startswith("loss")).backward()
    assert all(p.grad is not None for p in model.encoder.blocks.parameters())


def test_another_task_does_not_move_the_masks() -> None:
    views, masks = make_views(1), []
    for extra in ({}, {"other": LOMAR}):
        model = build({**RELATIVE, "position": "learned"}, **extra, mae=MAE)
        task: Any = model.tasks["mae"]
        masks.append(task.masks(model.begin(views, make_samples()))[0].tokens)
    assert torch.equal(*masks)


def test_ids_are_predicted_and_painted(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tokenizer = DiscreteVAE(vocabulary=16, hidden=8, codes=4, blocks=1)
    path = save_tokenizer(tokenizer, tmp_path / "dvae.safetensors")
    beit = {
        **LOMAR,
        "masking": dict(type="BlockMasking", num_masked=9, min_block=4),
        "neck": dict(type="TokenPredictor", in_channels=32, out_channels=16),
        "target": dict(type="TokenTarget", checkpoint=str(path), vocabulary=16),
        "head": dict(type="TokenLoss"),
    }
    model = build({**RELATIVE, "relative_position": "shared_bias"}, masked=beit).eval()
    views = make_views(2)
    step = model.begin(views, make_samples())
    task: Any = model.tasks["masked"]
    result, (_, masked) = task.loss(step), task.masks(step)
    ids = tokenizer.tokenize(views[1].pixels).flatten(1)[masked.image, masked.patch]
    logits = task.predict(step)
    assert torch.allclose(result.loss, F.cross_entropy(logits, ids))
    right = (logits.argmax(1) == ids).float().mean()
    assert result.metrics["accuracy"] == right
    pictures = task.pictures(step)
    assert list(pictures) == ["original", "masked", "true tokens", "reconstruction"]
    truth = tokenizer.decode(tokenizer.tokenize(views[1].pixels))
    assert torch.allclose(pictures["true tokens"], truth, atol=1e-5)
    assert not any(key.startswith("tasks.masked.target") for key in model.state_dict())


@pytest.mark.parametrize(
    ("encoder", "task", "message"),
    [
        (ENCODER, LOMAR, "mask_token=True"),
        (ENCODER, {**MAE, "neck": {**MAE["neck"], "in_channels": 16}}, "in_channels=16"),  # type: ignore[dict-item]
        (RELATIVE, {**LOMAR, "neck": {**LINEAR, "out_channels": 100}}, "=100, but .* gives 192"),
        (RELATIVE, change(LOMAR, target=dict(patch_size=16)), "patch_size=16, but .* gives 8"),
        (RELATIVE, change(LOMAR, masking=dict(mask_at=4)), "blocks 0..3"),
        (ENCODER, change(CAE, masking=dict(mode="replace")), "mode='drop'"),
        (ENCODER, change(CAE, regressor=dict(width=24)), "width=32, but the regressor gives 24"),
        (ENCODER, change(CAE, decoder=dict(out_channels=100)), "=100, but the target gives 192"),
        (ENCODER, {**CAE, "align_weight": -1.0}, "is negative"),
        (RELATIVE, {**LOMAR, "view": -1}, "counted from 0"),
        (RELATIVE, {**LOMAR, "neck": {**LINEAR, "layers": 0}}, "layers >= 1"),
    ],
)
def test_what_does_not_fit_is_refused_when_built(
    encoder: dict[str, Any], task: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        build(encoder, task=task)


def test_a_predictor_cannot_read_dropped_patches_nor_a_decoder_replaced_ones() -> None:
    dropped = {**LOMAR, "masking": dict(type="RandomMasking")}
    with pytest.raises(ValueError, match="mode='replace'"):
        run(build(RELATIVE, masked=dropped))
    replaced = change(MAE, masking=dict(mode="replace"))
    with pytest.raises(ValueError, match="mode='drop'"):
        run(build(RELATIVE, masked=replaced))


def test_an_mlp_head_has_layers_between() -> None:
    mlp = change(LOMAR, neck=dict(layers=2, hidden=64))
    model = build(RELATIVE, masked=mlp)
    assert [m.weight.shape for m in model.tasks["masked"].neck.layers if hasattr(m, "weight")] == [
        (64, 32),
        (192, 64),
    ]
    assert torch.isfinite(run(model)["raw_masked"])
