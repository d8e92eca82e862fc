"""ImageClassifier, its heads, batch augmentation and LARS, each against what it should be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.optim import OptimWrapper, build_optim_wrapper
from timm.layers import DropPath
from torch import Tensor, nn

from mmvitssl.checkpoint import CheckpointError, load_encoder
from mmvitssl.checkpoint.convert import import_file
from mmvitssl.checkpoint.strict import load_strict
from mmvitssl.engine.optim import LARS
from mmvitssl.evaluation import ClassAccuracy
from mmvitssl.models.algorithms import BatchAugment, ImageClassifier
from mmvitssl.models.heads import AttentiveHead, NormalisedLinearHead
from mmvitssl.registry import MODELS
from tests.builders import ENCODER, build_repre, make_samples, make_views

CLASSES = 6
READOUTS = {"cls": 32, "mean": 32, "cls+mean": 64, "cls-last4": 128}
LINEAR = dict(type="LinearHead", num_classes=CLASSES)
ATTENTIVE = dict(type="AttentiveHead", num_classes=CLASSES, num_heads=2)
LEARNED = {**ENCODER, "position": "learned", "freeze_patch_embed": False}


def build(**changes: Any) -> ImageClassifier:
    return MODELS.build({"type": "ImageClassifier", "encoder": LEARNED, "head": LINEAR, **changes})


def batch(number: int = 4) -> dict[str, Any]:
    samples = {**make_samples(number), "label": torch.arange(number) % CLASSES}
    samples["path"] = [f"{i}.png" for i in range(number)]
    return {"views": make_views(1, number), "samples": samples}


def optimizer(model: ImageClassifier, **settings: Any) -> OptimWrapper:
    return build_optim_wrapper(
        model,
        dict(
            constructor="LayerDecayOptimWrapperConstructor",
            optimizer=dict(type="SGD", lr=0.5, momentum=0.9),
            paramwise_cfg=settings or dict(decay_rate=1.0),
        ),
    )


def step(model: ImageClassifier, wrapper: OptimWrapper) -> dict[str, Tensor]:
    losses = model(**batch())
    wrapper.update_params(losses["loss"])
    return losses


@pytest.mark.parametrize("head", [LINEAR, ATTENTIVE, {**LINEAR, "type": "NormalisedLinearHead"}],
                         ids=lambda head: head["type"])  # fmt: skip
def test_a_frozen_encoder_stays_bit_for_bit(head: dict[str, Any]) -> None:
    model = build(encoder={**LEARNED, "drop_path": 0.5}, head=head, frozen=True)
    before = {name: value.clone() for name, value in model.encoder.state_dict().items()}
    heads = {name: value.clone() for name, value in model.head.named_parameters()}
    wrapper = optimizer(model)
    owned = {id(p) for group in wrapper.optimizer.param_groups for p in group["params"]}
    assert owned == {id(p) for p in model.head.parameters()}
    model.train()
    assert model.head.training and not any(part.training for part in model.encoder.modules())
    for _ in range(3):
        step(model, wrapper)
    model(**batch())["loss"].backward()
    assert all(parameter.grad is not None for parameter in model.head.parameters())
    assert all(parameter.grad is None for parameter in model.encoder.parameters())
    assert all(torch.equal(before[k], v) for k, v in model.encoder.state_dict().items())
    assert any(not torch.equal(heads[k], v) for k, v in model.head.named_parameters())
    # stochastic depth is off: the same features twice, and those of an encoder without it
    images = batch()["views"][0].images
    assert torch.equal(model.features(images), model.features(images))


def test_a_trained_encoder_learns_in_train_mode() -> None:
    model = build(encoder={**LEARNED, "drop_path": 0.5}).train()
    assert any(isinstance(part, DropPath) and part.training for part in model.encoder.modules())
    model(**batch())["loss"].backward()
    without = [name for name, p in model.named_parameters() if p.grad is None]
    assert without == []


@pytest.mark.parametrize("readout", READOUTS)
def test_readouts_have_their_width(readout: str) -> None:
    model = build(readout=readout).eval()
    images = batch(2)["views"][0].images
    assert model.features(images).shape == (2, READOUTS[readout])
    assert model.head.in_features == READOUTS[readout]
    encoded = model.encoder(images)
    parts = {"cls": encoded.cls, "mean": encoded.patches.mean(1)}
    parts["cls+mean"] = torch.cat([parts["cls"], parts["mean"]], 1)
    if readout in parts:
        torch.testing.assert_close(model.features(images), parts[readout])
    else:
        torch.testing.assert_close(model.features(images)[:, -32:], encoded.cls)


BLOCKWISE = dict(type="BlockwiseLinearHead", num_classes=CLASSES, num_blocks=4)


def test_classifiers_behind_every_block_are_apart() -> None:
    """The last one reads raw outputs of the last block; each has the loss of it alone."""
    torch.manual_seed(0)
    model = build(readout="blocks", head=BLOCKWISE, frozen=True)
    data, labels = batch(), batch()["samples"]["label"]
    images = data["views"][0].images
    features = model.features(images)
    assert features.shape == (4, 4, 64) and not torch.equal(features[:, 0], features[:, 1])
    with torch.no_grad():
        encoded = model.encoder(images, levels=(3,))
    mean = encoded.hierarchy[3].mean(dim=1)
    torch.testing.assert_close(features[:, -1], torch.cat([encoded.level_cls[3], mean], dim=1))
    out = model(**data)
    out["loss"].backward()
    right = []
    for i, linear in enumerate(model.head.linears):
        alone = nn.Linear(64, CLASSES)
        alone.load_state_dict(linear.state_dict())
        logits = alone(features[:, i])
        F.cross_entropy(logits, labels).backward()
        torch.testing.assert_close(linear.weight.grad, alone.weight.grad)
        right.append(100 * float((logits.argmax(1) == labels).float().mean()))
    assert float(out["top1"]) == max(right)
    predicted = model(**data, mode="predict")
    assert predicted[0]["scores"].shape == (4, CLASSES)
    metric = ClassAccuracy()
    metric.process({}, predicted)
    found = metric.compute_metrics(metric.results)
    assert [found[f"top1_block{i}"] for i in range(4)] == right and found["top1"] == max(right)
    assert found["top5"] == max(found[f"top5_block{i}"] for i in range(4))


def test_loss_is_cross_entropy_of_the_head() -> None:
    model = build(label_smoothing=0.1).eval()
    data = batch()
    logits = F.linear(
        model.encoder(data["views"][0].images).cls, model.head.weight, model.head.bias
    )
    labels = data["samples"]["label"]
    log = logits.double().log_softmax(1)
    expected = -(0.9 * log.gather(1, labels[:, None])[:, 0] + 0.1 * log.mean(1)).mean()
    out = model(**data)
    torch.testing.assert_close(out["loss"].double(), expected, rtol=1e-5, atol=1e-6)
    assert float(out["top1"]) == 100 * float((logits.argmax(1) == labels).float().mean())
    torch.testing.assert_close(model(**data, mode="tensor"), logits)
    predicted = model(**data, mode="predict")
    torch.testing.assert_close(torch.stack([row["scores"] for row in predicted]), logits)
    assert [row["path"] for row in predicted] == data["samples"]["path"]
    with pytest.raises(ValueError, match="'loss', 'predict', 'tensor'"):
        model(**data, mode="los")
    del data["samples"]["label"]
    with pytest.raises(ValueError, match="needs labels: use LabelledFolder"):
        model(**data)


def test_pooled_norm_is_maes_fine_tuning() -> None:
    """Mean of the patches before the final norm, a norm of its own, the head; no other norm."""
    model = build(readout="mean", pooled_norm="fresh").eval()
    names = set(model.state_dict())
    assert {"fc_norm.weight", "fc_norm.bias", "head.weight", "head.bias"} <= names
    assert not any(name.startswith("encoder.norm.") for name in names)
    data = batch()
    whole = MODELS.build(LEARNED).eval()
    whole.load_state_dict(model.encoder.state_dict(), strict=False)
    raw = whole(data["views"][0].images, levels=(3,)).hierarchy[3]
    torch.nn.init.normal_(model.fc_norm.weight)
    pooled = F.layer_norm(raw.mean(1), (32,), model.fc_norm.weight, model.fc_norm.bias, 1e-6)
    torch.testing.assert_close(model(**data, mode="tensor"), model.head(pooled))


def save(path: Path, state: dict[str, Tensor]) -> Path:
    torch.save({"state_dict": state}, path)
    return path


def test_pretraining_checkpoints_load_strictly(tmp_path: Path) -> None:
    pretrainer = build_repre(encoder=LEARNED)
    torch.nn.init.normal_(pretrainer.encoder.norm.weight)
    for parameter in pretrainer.target["encoder"].parameters():
        parameter.data.add_(1)
    path = save(tmp_path / "run.pth", pretrainer.state_dict())
    theirs = pretrainer.encoder.state_dict()

    plain, target = build(), build(source="target")
    plain.load_pretrained(path)
    assert all(torch.equal(plain.encoder.state_dict()[k], v) for k, v in theirs.items())
    target.load_pretrained(path)
    assert torch.equal(target.encoder.cls_token, pretrainer.target["encoder"].cls_token)

    fresh = build(readout="mean", pooled_norm="fresh")
    report = fresh.load_pretrained(path)
    assert sorted(report.not_needed) == ["norm.bias", "norm.weight"]
    assert torch.equal(fresh.fc_norm.weight, torch.ones(32))
    reused = build(readout="mean", pooled_norm="pretrained")
    reused.load_pretrained(path)
    assert torch.equal(reused.fc_norm.weight, pretrainer.encoder.norm.weight)
    for model in (fresh, reused):
        assert isinstance(model.encoder.norm, nn.Identity)
        own = model.encoder.state_dict()
        assert set(own) == {key for key in theirs if not key.startswith("norm.")}
        assert all(torch.equal(theirs[key], value) for key, value in own.items())

    del theirs["blocks.2.mlp.fc1.weight"]
    broken = save(tmp_path / "broken.pth", theirs)
    for model in (plain, fresh, reused):
        with pytest.raises(CheckpointError, match="blocks.2.mlp.fc1.weight"):
            model.load_pretrained(broken)
    assert isinstance(reused.encoder.norm, nn.Identity)  # also after an error
    # a file of mean pooling has no norm to take
    bare = {k: v for k, v in pretrainer.encoder.state_dict().items() if "norm." not in k[:5]}
    with pytest.raises(CheckpointError, match="norm.weight"):
        reused.load_pretrained(save(tmp_path / "bare.pth", bare))
    fresh.load_pretrained(tmp_path / "bare.pth")


def test_imported_fine_tuned_models_load_whole(tmp_path: Path) -> None:
    """An official fine-tuned MAE: timm's names, ``fc_norm``, ``head``, no ``norm``."""
    from timm.models.vision_transformer import VisionTransformer

    theirs = VisionTransformer(
        img_size=(32, 48), patch_size=8, embed_dim=32, depth=4, num_heads=2,
        num_classes=CLASSES, global_pool="avg", fc_norm=True, norm_layer=nn.LayerNorm,
    ).eval()  # fmt: skip
    torch.nn.init.normal_(theirs.fc_norm.weight)
    state = theirs.state_dict()
    torch.save({"model": state}, tmp_path / "official.pth")
    import_file(tmp_path / "official.pth", tmp_path / "ours.pth")
    model = build(encoder={**LEARNED, "norm_eps": 1e-5}, readout="mean", pooled_norm="fresh").eval()
    load_strict(model, tmp_path / "ours.pth")
    data = batch()
    torch.testing.assert_close(
        model(**data, mode="tensor"), theirs(data["views"][0].images), rtol=1e-4, atol=1e-5
    )


def test_layer_decay_reaches_encoder_norm_and_head() -> None:
    rate = 0.5
    model = build(readout="mean", pooled_norm="fresh")
    wrapper = optimizer(model, decay_rate=rate, no_decay=("cls_token", "pos_embed"))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    rates = {
        names[id(p)]: group["lr"] / 0.5
        for group in wrapper.optimizer.param_groups
        for p in group["params"]
    }
    assert set(rates) == set(names.values())
    for name in ("fc_norm.weight", "fc_norm.bias", "head.weight", "head.bias"):
        assert rates[name] == 1.0
    for block in range(4):
        assert rates[f"encoder.blocks.{block}.attn.qkv.weight"] == rate ** (4 - block)
    for name in ("cls_token", "pos_embed", "patch_embed.proj.weight"):
        assert rates[f"encoder.{name}"] == rate**5
    with_norm = optimizer(build(), decay_rate=rate)
    assert max(group["lr"] for group in with_norm.optimizer.param_groups) == 0.5


def test_attentive_head_is_caes() -> None:
    head = AttentiveHead(8, CLASSES, num_heads=2).double().eval()
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter)
    head.norm.running_mean.normal_()
    head.norm.running_var.uniform_(0.5, 2)
    tokens = torch.randn(3, 5, 8, dtype=torch.float64)
    attention = head.cross_attn

    def split(x: Tensor) -> Tensor:
        return x.view(*x.shape[:-1], 2, 4).transpose(1, 2)

    q = split(head.norm_q(head.query_token) @ attention.q.weight.T + attention.q_bias)
    k = split(head.norm_k(tokens) @ attention.k.weight.T)
    v = split(head.norm_v(tokens) @ attention.v.weight.T + attention.v_bias)
    weights = (q @ k.transpose(-1, -2) / 2.0).softmax(-1)
    out = attention.proj((weights @ v).transpose(1, 2).reshape(3, 8))
    out = (out - head.norm.running_mean) / (head.norm.running_var + 1e-5).sqrt()
    expected = out @ head.linear.weight.T + head.linear.bias
    torch.testing.assert_close(head(tokens), expected)


@pytest.mark.parametrize(("dim", "published"), [(768, 3_137_512), (1024, 5_231_592)])
def test_attentive_head_has_caes_parameters(dim: int, published: int) -> None:
    """The official count holds a layer norm that nothing reads: 2 * dim parameters."""
    with torch.device("meta"):
        head = AttentiveHead(dim, 1000, num_heads=dim // 64)
    assert sum(parameter.numel() for parameter in head.parameters()) + 2 * dim == published


def test_attentive_head_sees_every_token_and_trains_whole() -> None:
    model = build(head=ATTENTIVE, frozen=True).train()
    data = batch()
    images = data["views"][0].images
    assert model.features(images).shape == (4, 1 + 4 * 6, 32)
    wrapper = optimizer(model)
    step(model, wrapper)  # the query starts at zero, and its projection learns from then on
    model(**data)["loss"].backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.head.parameters())
    tokens = model.features(images).requires_grad_(True)
    model.eval()
    model.head(tokens)[0].sum().backward()
    assert (tokens.grad[0].abs().sum(-1) > 0).all() and not tokens.grad[1:].any()


def test_normalised_head_undoes_scale_and_shift_of_channels() -> None:
    head = NormalisedLinearHead(5, CLASSES).double()
    features = torch.randn(8, 5, dtype=torch.float64)
    scale, shift = torch.tensor([1e3, 1.0, 10.0, 5.0, 2.0]), torch.arange(5)
    torch.testing.assert_close(head(features), head(features * scale + shift), rtol=1e-4, atol=1e-6)
    assert set(head.state_dict()) >= {"0.running_mean", "0.running_var", "1.weight", "1.bias"}


def test_mixed_batches_are_timms_and_depend_on_the_seed_alone() -> None:
    augment = BatchAugment(CLASSES, mixup=0.8, cutmix=1.0, erasing=0.5)
    images, labels = torch.randn(8, 3, 16, 16), torch.arange(8) % CLASSES
    kept = images.clone()
    state = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    first, shares = augment(images, labels, seed=3)
    assert torch.equal(state[0], torch.random.get_rng_state())
    assert np.array_equal(state[1], np.random.get_state()[1])
    assert torch.equal(images, kept)
    torch.manual_seed(77)
    np.random.seed(5)
    again, same = augment(images, labels, seed=3)
    assert torch.equal(first, again) and torch.equal(shares, same)
    other, _ = augment(images, labels, seed=4)
    assert not torch.equal(first, other)
    torch.testing.assert_close(shares.sum(1), torch.ones(8))
    # mixup alone: the images are mixed by the shares of their labels
    mixed, shares = BatchAugment(CLASSES, mixup=1.0, cutmix=0.0, erasing=0.0)(images, labels, 1)
    share = float(shares[0, 0])
    assert 0 < share < 1
    torch.testing.assert_close(mixed, share * images + (1 - share) * images.flip(0))
    # cutmix alone: the share is that of the pixels
    cut, shares = BatchAugment(CLASSES, mixup=0.0, cutmix=1.0, erasing=0.0)(images, labels, 6)
    own = (cut == images).all(dim=1).float().mean(dim=(1, 2))
    torch.testing.assert_close(own, torch.full((8,), float(shares[0, 0])))
    erased, same_labels = BatchAugment(CLASSES, 0.0, 0.0, erasing=1.0)(images, labels, 0)
    changed = (erased != images).any(dim=1).float().mean(dim=(1, 2))
    assert torch.equal(same_labels, labels) and ((changed > 0) & (changed < 0.5)).all()


def test_augmentation_is_for_training_alone_and_follows_the_samples() -> None:
    model = build(augment=dict(mixup=1.0, cutmix=0.0, erasing=0.0)).train()
    data = batch()
    out = model(**data)
    assert set(out) == {"loss"}  # mixed labels have no accuracy
    assert torch.equal(out["loss"], model(**data)["loss"])
    later = {**data, "samples": {**data["samples"], "epoch": torch.ones(4)}}
    assert not torch.equal(out["loss"], model(**later)["loss"])
    model.eval()
    predicted = torch.stack([row["scores"] for row in model(**data, mode="predict")])
    torch.testing.assert_close(predicted, model.head(model.encoder(data["views"][0].images).cls))


def test_cached_features_give_the_same_loss_and_gradient() -> None:
    model = build(head={**LINEAR, "type": "NormalisedLinearHead"}, frozen=True).train()
    data = batch()
    loss = model(**data)["loss"]
    (gradient,) = torch.autograd.grad(loss, model.head[1].weight)
    features = model.features(data["views"][0].images)
    cached = model(data["samples"], features=features)["loss"]
    (same,) = torch.autograd.grad(cached, model.head[1].weight)
    assert torch.equal(loss, cached) and torch.equal(gradient, same)


def plain_lars(weight: Tensor, grads: list[Tensor], lr: float) -> Tensor:
    """MAE's optimizer in the linear probe, in float64, for one matrix."""
    weight, buffer = weight.double().clone(), torch.zeros_like(weight, dtype=torch.float64)
    for grad in grads:
        grad = grad.double()
        buffer = 0.9 * buffer + 1e-3 * weight.norm() / grad.norm() * grad
        weight -= lr * buffer
    return weight


def test_lars_of_linear_probes_is_maes() -> None:
    layer = nn.Linear(4, 3)
    start = {name: value.detach().clone() for name, value in layer.named_parameters()}
    lars = LARS(layer.parameters(), lr=2.0, momentum=0.9, always_adapt=True)
    grads = [{n: torch.randn_like(p) for n, p in layer.named_parameters()} for _ in range(3)]
    for grad in grads:
        for name, parameter in layer.named_parameters():
            parameter.grad = grad[name].clone()
        lars.step()
    matrix = plain_lars(start["weight"], [grad["weight"] for grad in grads], 2.0)
    torch.testing.assert_close(layer.weight.double(), matrix, rtol=1e-4, atol=1e-6)
    bias, buffer = start["bias"].clone(), torch.zeros(3)
    for grad in grads:  # no trust ratio
        buffer = 0.9 * buffer + grad["bias"]
        bias -= 2.0 * buffer
    torch.testing.assert_close(layer.bias, bias, rtol=1e-4, atol=1e-6)


def test_accuracy_counts_places() -> None:
    metric = ClassAccuracy(topk=(1, 2, 5, 6))
    scores = torch.tensor([[0.1, 0.9, 0.0, 0.2, 0.3, 0.4], [0.5, 0.4, 0.3, 0.2, 0.1, 0.0]])
    labels = torch.tensor([5, 0])
    metric.process({}, [dict(scores=s, label=y) for s, y in zip(scores, labels, strict=True)])
    # six of six classes would always hold the right one
    assert metric.compute_metrics(metric.results) == {"top1": 50.0, "top2": 100.0, "top5": 100.0}
    ties = ClassAccuracy()
    ties.process({}, [dict(scores=torch.zeros(6), label=torch.tensor(label)) for label in range(6)])
    assert ties.compute_metrics(ties.results)["top1"] == pytest.approx(100 / 6)
    with pytest.raises(ValueError, match="topk"):
        ClassAccuracy(topk=(0,))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (dict(readout="median"), "readout='median' is unknown"),
        (dict(pooled_norm="fresh"), "needs readout='mean'"),
        (dict(readout="mean", pooled_norm="new"), "pooled_norm='new'"),
        (dict(readout="mean", pooled_norm="fresh", frozen=True), "not frozen"),
        (dict(source="teacher"), "source='teacher'"),
        (dict(readout="mean", head=ATTENTIVE), "AttentiveHead reads all tokens"),
        (dict(readout="blocks"), "LinearHead does not read"),
        (dict(head=BLOCKWISE), "readout='blocks' goes with"),
        (dict(readout="blocks", head={**BLOCKWISE, "num_blocks": 12}), "=12, but .* gives 4"),
        (dict(augment=dict(erasing=2.0)), "BatchAugment.erasing=2.0"),
        (dict(augment=dict(mixup=-1.0)), "mixup and cutmix >= 0"),
    ],
)
def test_mistakes_are_errors(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        build(**changes)


def test_odd_batches_cannot_be_mixed() -> None:
    with pytest.raises(ValueError, match="even batch_size"):
        BatchAugment(CLASSES)(torch.randn(3, 3, 8, 8), torch.arange(3), 0)


def test_a_swin_is_read_too(tmp_path: Path) -> None:
    swin = dict(
        type="SwinTransformer", image_size=32, window_size=2,
        arch=dict(embed_dim=8, depths=(1, 1), num_heads=(1, 2)),
    )  # fmt: skip
    model = build(encoder=swin, frozen=True)
    whole = MODELS.build(swin)
    load_encoder(model.encoder, save(tmp_path / "swin.pth", whole.state_dict()))
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(model.features(images), whole.eval()(images).cls)
    tokens = build(encoder=swin, head=ATTENTIVE, frozen=True).features(images)
    assert tokens.shape == (2, 16, 16)


def test_scores_that_are_not_finite_are_no_success() -> None:
    """One broken image makes the accuracy NaN; a broken block leaves those of the others."""
    good = torch.eye(4)
    for value in (float("nan"), float("inf")):
        scores = torch.stack([good, good], dim=1)  # 4 images, 2 blocks, 4 classes
        scores[2, 1] = value
        metric, single = ClassAccuracy(topk=(1,)), ClassAccuracy(topk=(1,))
        metric.process(None, [dict(scores=s, label=i) for i, s in enumerate(scores)])
        found = metric.compute_metrics(metric.results)
        assert found["top1_block0"] == found["top1"] == 100
        assert found["top1_block1"] != found["top1_block1"]
        single.process(None, [dict(scores=s, label=i) for i, s in enumerate(scores[:, 1])])
        top1 = single.compute_metrics(single.results)["top1"]
        assert top1 != top1
