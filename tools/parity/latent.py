"""iBOT, DINOv2 and I-JEPA: our config-built models with official weights and masks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mmvitssl.models.masking import GivenMasking
from mmvitssl.structures import MaskedPatches, TokenPlan
from parity.build import ConfigOf, build, shipped_config, start
from parity.fixture import Fixture


def _under(place: str, **values: Any) -> dict[str, Any]:
    """Options of one part of a model, for :func:`shipped_config`."""
    return {f"{place}__{key}": value for key, value in values.items()}


def _encoder(fixture: Fixture, **more: Any) -> dict[str, Any]:
    """Options of the encoder that all three methods have."""
    return _under(
        "encoder",
        mlp_ratio=fixture.size("mlp_ratio"),
        norm_eps=fixture.size("norm_eps"),
        qkv_bias="qkv" if fixture.size("qkv_bias") else "none",
        **more,
    )


def _projector(fixture: Fixture, head: str) -> dict[str, Any]:
    """Sizes of a head, of its weights."""
    first = fixture.state.get(f"{head}.mlp.0.weight", fixture.state.get(f"{head}.mlp.weight"))
    layers = [k for k in fixture.state if k.startswith(f"{head}.mlp.") and k.endswith("weight")]
    directions = fixture.state[f"{head}.last_layer.weight_v"]
    assert first is not None
    return dict(
        prototypes=len(directions),
        hidden_channels=len(first),
        bottleneck=directions.shape[1],
        num_layers=len(layers),
    )


def _crops(fixture: Fixture) -> tuple[list[Tensor], tuple[int, ...], tuple[int, ...]]:
    """All crops, and the numbers of global and local ones."""
    large, small = fixture["global_crops"], fixture.arrays.get("local_crops", torch.zeros(0))
    views = tuple(range(len(large) + len(small)))
    return [*large, *small], views[: len(large)], views[len(large) :]


def _own_patch_layer(fixture: Fixture) -> bool:
    """Whether classes and patches have different last layers in either network."""
    pairs = [(fixture.state[f"{n}.head.last_layer.weight_v"],
              fixture.state[f"{n}.head.last_layer2.weight_v"])
             for n in ("student", "teacher")]  # fmt: skip
    return not all(a.shape == b.shape and torch.equal(a, b) for a, b in pairs)


def ibot_config(fixture: Fixture) -> Any:
    """iBOT of the fixture's sizes and options."""
    _, large, small = _crops(fixture)
    patch_prototypes = None
    if _own_patch_layer(fixture):
        patch_prototypes = len(fixture.state["student.head.last_layer2.weight_v"])
    warmup = dict(warmup_epochs=fixture.size("warmup_teacher_temp_epochs"))
    distillation, masked = "tasks__distillation", "tasks__masked"
    weights = dict(distillation=fixture.size("lambda1"), masked=fixture.size("lambda2"))
    return shipped_config(
        fixture,
        "ibot/ibot_vit-small_16xb64-cosine-800e_in1k.py",
        **_encoder(fixture, layer_scale=fixture.size("init_values") or None),
        **_under(distillation, global_views=large, local_views=small),
        **_under(
            f"{distillation}__projector",
            **_projector(fixture, "student.head"),
            fixed_lengths=fixture.size("norm_last_layer"),
            patch_prototypes=patch_prototypes,
            activation=fixture.meta.get("act_in_head", "gelu"),
        ),
        **_under(
            f"{distillation}__head",
            student_temperature=fixture.size("student_temp"),
            teacher_temperature=fixture.size("teacher_temp"),
            warmup_temperature=fixture.size("warmup_teacher_temp"),
            center_momentum=fixture.size("center_momentum"),
            **warmup,
        ),
        **_under(
            f"{masked}__masking",
            ratios=fixture.size("pred_ratio"),
            variances=fixture.size("pred_ratio_var"),
            shape={"block": "block", "rand": "random"}[fixture.size("pred_shape")],
        ),
        **_under(
            f"{masked}__target",
            teacher_temperature=fixture.size("teacher_patch_temp"),
            warmup_temperature=fixture.size("warmup_teacher_patch_temp"),
            warmup_start=fixture.size("pred_start_epoch"),
            center_momentum=fixture.size("center_momentum2"),
            **warmup,
        ),
        tasks__masked__views=large,
        tasks__masked__head__student_temperature=fixture.size("student_temp"),
        balancer=dict(type="FixedWeights", weights=weights),
    )


def _given_masks(model: Any, masks: Tensor) -> None:
    """Let the task 'masked' use the recorded masks (crops * images, patches)."""
    model.tasks["masked"].masking = GivenMasking(TokenPlan(masked=masks.bool()))


def _tokens(encoded: Any) -> Tensor:
    return torch.cat([encoded.cls[:, None], encoded.patches], dim=1)


def _gradient_norm(module: Any) -> Tensor:
    grads = [p.grad.flatten() for p in module.parameters() if p.grad is not None]
    return torch.cat(grads).norm()


def _weighted(model: Any, step: Any) -> dict[str, Tensor]:
    """Losses by task, with the balancer's weights."""
    losses = {name: result.loss for name, result in model.ask(step).items()}
    terms = model.balancer(losses, model.trunk, step.levels)
    return {name: terms[name].term for name in losses}


def _updated_centers(model: Any, step: Any, teacher: dict[int, Tensor]) -> tuple[Tensor, Tensor]:
    """Centres of class tokens and patches after this batch."""
    head, target = model.tasks["distillation"].head, model.tasks["masked"].target
    head.update(teacher)
    target.update(step)
    return head.center, target.center[None]


@torch.enable_grad()
def compare_ibot(fixture: Fixture) -> dict[str, Tensor]:
    """Tokens and logits of all crops, losses, the gradient's norm and both centres."""
    centers = {"ibot_loss.center": "center_before", "ibot_loss.center2": "center2_before"}
    model = build(fixture, ibot_config, {k: fixture[v] for k, v in centers.items()})
    crops, large, small = _crops(fixture)
    _given_masks(model, fixture["masks"].flatten(0, 1).flatten(1))
    distillation, masked = model.tasks["distillation"], model.tasks["masked"]
    step = start(model, crops, epoch=fixture.size("epoch"))
    losses = _weighted(model, step)
    total = losses["distillation"] + losses["masked"]
    total.backward()
    teacher, student = distillation.teacher(step), distillation.student(step)
    seen = {view: distillation.passes.encode(step, view) for view in (*large, *small)}
    taught = [step.encode_target(view) for view in large]
    project = masked.teacher_projector(step).patches
    outputs = {
        "teacher_tokens": torch.cat([_tokens(one) for one in taught]),
        "student_tokens": torch.cat([_tokens(seen[view]) for view in large]),
        "teacher_cls": torch.cat(list(teacher.values())),
        "teacher_patch": torch.cat([project(one.patches) for one in taught]),
        "student_cls": torch.cat([student[view] for view in large]),
        "student_patch": torch.cat([masked.projector.patches(seen[v].patches) for v in large]),
        "loss_cls": losses["distillation"],
        "loss_patch": losses["masked"],
        "loss": total,
    }
    if fixture.size("shared_head") or _own_patch_layer(fixture):
        outputs["grad_norm"] = _gradient_norm(model)
    if small:
        outputs["student_local_tokens"] = torch.cat([_tokens(seen[view]) for view in small])
        outputs["student_local_cls"] = torch.cat([student[view] for view in small])
    outputs["center_after"], outputs["center2_after"] = _updated_centers(model, step, teacher)
    outputs["other_size_tokens"] = _tokens(model.target["encoder"](fixture["other_size_image"]))
    return {name: output.detach() for name, output in outputs.items()}


def dinov2_config(fixture: Fixture) -> Any:
    """DINOv2 of the fixture's sizes and options."""
    _, large, small = _crops(fixture)
    teacher = dict(
        centering=fixture.size("centering").replace("centering", "softmax"),
        teacher_temperature=fixture.size("teacher_temp"),
        center_momentum=fixture.size("center_momentum"),
        warmup_iters=0,
    )
    student = dict(student_temperature=fixture.size("student_temp"))
    projector: Any = "distillation"
    if fixture.size("separate_head"):
        sizes = _projector(fixture, "student.ibot_head")
        projector = dict(type="PrototypeMLP", fixed_lengths=False, **sizes)
    registers = range(1, fixture.size("num_register_tokens") + 1)
    distillation, masked = "tasks__distillation", "tasks__masked"
    config = shipped_config(
        fixture,
        "dinov2/dinov2_vit-large_32xb64-cosine-125k_in1k.py",
        **_encoder(
            fixture,
            interpolate_offset=fixture.size("interpolate_offset"),
            interpolate_antialias=fixture.size("interpolate_antialias"),
            prefix_tokens=[f"register_{i}" for i in registers],
            layer_scale=fixture.size("layerscale") or None,
            mlp="gelu" if fixture.size("ffn_layer") == "mlp" else "swiglu",
        ),
        **_under(distillation, global_views=large, local_views=small),
        **_under(f"{distillation}__projector", **_projector(fixture, "student.dino_head")),
        **_under(f"{distillation}__head", **teacher, **student),
        **_under(
            f"{masked}__masking",
            share=fixture.size("mask_sample_probability"),
            ratio=fixture.size("mask_ratio_min_max"),
        ),
        **_under(f"{masked}__target", **teacher),
        tasks__masked__views=large,
        tasks__masked__neck=dict(_delete_=True, type="PatchProjector", projector=projector),
        tasks__masked__head__student_temperature=student["student_temperature"],
        tasks__koleo__views=large,
        balancer__weights__koleo=fixture.size("koleo_loss_weight"),
    )
    if not fixture.size("koleo_loss_weight"):
        del config.tasks["koleo"], config.balancer.weights["koleo"]
    return config


def _parts_of_dino(
    model: Any, fixture: Fixture, student: dict[int, Tensor], teacher: dict[int, Tensor]
) -> dict[str, Tensor]:
    """The loss over global pairs and over local ones, which ours is the sum of."""
    head, local = model.tasks["distillation"].head, len(student) - len(teacher)
    pairs = len(teacher) * (len(teacher) - 1) + len(teacher) * local
    large = {view: student[view] for view in teacher}
    share = (pairs - len(teacher) * local) / pairs
    losses = {"loss_dino_global": share * head(large, teacher, 0)[0]}
    if local:
        small = {view: logits for view, logits in student.items() if view not in teacher}
        losses["loss_dino_local"] = (1 - share) * head(small, teacher, 0)[0]
    return losses


@torch.enable_grad()
def compare_dinov2(fixture: Fixture) -> dict[str, Tensor]:
    """Tokens and logits of all crops, probabilities, losses, gradient and centres."""
    centers = {"dino_loss.center": "center_before",
               "ibot_patch_loss.center": "patch_center_before"}  # fmt: skip
    model = build(fixture, dinov2_config, {k: fixture[v] for k, v in centers.items()})
    crops, large, small = _crops(fixture)
    _given_masks(model, fixture["masks"])
    distillation, masked = model.tasks["distillation"], model.tasks["masked"]
    step = start(model, crops)
    losses = _weighted(model, step)
    total = torch.stack(list(losses.values())).sum()
    total.backward()
    teacher, student = distillation.teacher(step), distillation.student(step)
    seen = {view: distillation.passes.encode(step, view) for view in (*large, *small)}
    taught = [step.encode_target(view) for view in large]
    entries: dict[int, MaskedPatches] = {view: masked.masks(step, view)[1] for view in large}
    logits, _ = masked.target.logits(step, masked, entries)
    classes = torch.cat(list(teacher.values()))
    temperature = fixture.size("teacher_temp")
    outputs = {
        "teacher_clstoken": torch.cat([one.cls for one in taught]),
        "teacher_patchtokens": torch.cat([one.patches for one in taught]),
        "student_clstoken": torch.cat([seen[view].cls for view in large]),
        "student_patchtokens": torch.cat([seen[view].patches for view in large]),
        "teacher_cls": classes,
        "teacher_patch": logits,
        "student_cls": torch.cat([student[view] for view in large]),
        "student_patch": torch.cat([masked.predict(step, view) for view in large]),
        "teacher_cls_probs": distillation.head.probabilities(classes, temperature),
        "teacher_patch_probs": masked.target.probabilities(logits, temperature),
        "loss_ibot": losses["masked"],
        "loss": total,
        "grad_norm": _gradient_norm(model),
        **_parts_of_dino(model, fixture, student, teacher),
    }
    if "koleo" in losses:
        outputs["loss_koleo"] = losses["koleo"]
    registers = [list(one.prefix.values()) for one in taught]
    if registers[0]:
        outputs["teacher_regtokens"] = torch.cat([torch.stack(r, dim=1) for r in registers])
    if small:
        outputs["student_local_clstoken"] = torch.cat([seen[view].cls for view in small])
        outputs["student_local_patchtokens"] = torch.cat([seen[view].patches for view in small])
        outputs["student_local_cls"] = torch.cat([student[view] for view in small])
    center, patches = _updated_centers(model, step, teacher)
    outputs |= {"center_after": center, "patch_center_after": patches}
    outputs |= _other_size(model.target["encoder"], fixture)
    return {name: output.detach() for name, output in outputs.items()}


def _other_size(encoder: Any, fixture: Fixture) -> dict[str, Tensor]:
    """The teacher's features of an image of another size, of its last blocks too."""
    image = fixture["other_size_image"]
    number = len(fixture["last2_clstoken"])
    levels = range(encoder.depth - number, encoder.depth)
    encoded = encoder(image, None, tuple(levels))
    blocks: list[Tensor] = []
    handles = [block.register_forward_hook(lambda m, i, out: blocks.append(encoder.norm(out)))
               for block in encoder.blocks[-number:]]  # fmt: skip
    encoder(image)
    for handle in handles:
        handle.remove()
    patches = [encoder.norm(encoded.hierarchy[level]) for level in levels]
    return {
        "other_size_clstoken": encoded.cls,
        "other_size_patchtokens": encoded.patches,
        "last2_clstoken": torch.stack([tokens[:, 0] for tokens in blocks]),
        "last2_patchtokens": torch.stack(patches),
    }


def ijepa_config(fixture: Fixture) -> Any:
    """I-JEPA of the fixture's sizes and options."""
    return shipped_config(
        fixture,
        "ijepa/ijepa_vit-base_16xb128-cosine-600e_in1k.py",
        **_encoder(fixture),
        **_under(
            "tasks__masked__masking",
            targets=fixture.size("num_pred_masks"),
            contexts=fixture.size("num_enc_masks"),
            target_scale=fixture.size("pred_mask_scale"),
            target_aspect=fixture.size("aspect_ratio"),
            context_scale=fixture.size("enc_mask_scale"),
            min_keep=fixture.size("min_keep"),
            overlap=fixture.size("allow_overlap"),
        ),
        **_under(
            "tasks__masked__neck",
            width=fixture.size("pred_emb_dim"),
            depth=fixture.size("pred_depth"),
            num_heads=fixture.size("pred_num_heads"),
            mlp_ratio=fixture.size("mlp_ratio"),
        ),
    )


def _target_rows(values: Tensor, targets: int, rows: int) -> Tensor:
    """(row, target block, patch) entries as the official code has them, target block slowest."""
    return values.view(rows, targets, -1, values.shape[-1]).transpose(0, 1).flatten(0, 1)


@torch.enable_grad()
def compare_ijepa(fixture: Fixture) -> dict[str, Tensor]:
    """Features, context, targets, predictions, the loss and the gradients' norms."""
    model = build(fixture, ijepa_config)
    masked, images = model.tasks["masked"], len(fixture["image"])
    contexts, targets = fixture["masks_enc"], fixture["masks_pred"]
    dropped = targets.transpose(0, 1).flatten(1).repeat(len(contexts), 1)
    plan = TokenPlan(
        image_index=torch.arange(images).repeat(len(contexts)),
        tokens=contexts.flatten(0, 1),
        dropped=dropped,
        blocks=len(targets),
    )
    masked.masking = GivenMasking(plan)
    step = start(model, [fixture["image"]])
    result = masked.loss(step)
    result.loss.backward()
    given, entries = masked.masks(step)
    sizes = len(targets), len(dropped)
    outputs = {
        "target_features": step.encode_target(0).patches,
        "target": _target_rows(masked.target(step, 0, entries), *sizes),
        "context": step.encode(0, given).patches,
        "prediction": _target_rows(masked.predict(step), *sizes),
        "loss": result.loss,
        "encoder_features": step.encode(0).patches,
        "grad_norm_encoder": _gradient_norm(model.encoder),
        "grad_norm_predictor": _gradient_norm(masked.neck),
    }
    return {name: output.detach() for name, output in outputs.items()}


CONFIGS: dict[str, ConfigOf] = {
    "ibot": ibot_config,
    "dinov2": dinov2_config,
    "ijepa": ijepa_config,
}
