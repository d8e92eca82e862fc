"""MoCo v3, DINO and MoBY: our config-built models with official weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from parity.build import ConfigOf, build, start, vit_config
from parity.fixture import Fixture


def mocov3_config(fixture: Fixture) -> dict[str, Any]:
    """MoCo v3 of the fixture's sizes."""
    width, hidden, out = (fixture.size(name) for name in ("embed_dim", "mlp_dim", "dim"))
    temperature = fixture.size("T")
    mlp = dict(type="ProjectionMLP", hidden_channels=hidden, out_channels=out)
    task = dict(
        type="Contrastive",
        projector=dict(**mlp, in_channels=width, num_layers=3),
        predictor=dict(**mlp, in_channels=out, num_layers=2),
        head=dict(type="InfoNCE", temperature=temperature, scale=2 * temperature),
    )
    return dict(
        type="Pretrainer",
        encoder=vit_config(fixture, position="sincos_row_first"),
        target=dict(momentum=0.99),
        tasks=dict(contrastive=task),
    )


def compare_mocov3(fixture: Fixture) -> dict[str, Tensor]:
    """Queries, keys and the symmetric loss, with the batch's own statistics."""
    model = build(fixture, mocov3_config).train()
    task = model.tasks["contrastive"]
    step = start(model, [fixture["view1"], fixture["view2"]])
    online, keys = task.embeddings(step)
    queries = {view: task.predictor(online[view]) for view in (0, 1)}
    loss = task.loss(step).loss
    return {"q1": queries[0], "q2": queries[1], "k1": keys[0], "k2": keys[1], "loss": loss}


def dino_config(fixture: Fixture) -> dict[str, Any]:
    """DINO of the fixture's sizes; those of the head come from the weights' shapes."""
    mlp = fixture.state["student.head.mlp.0.weight"]
    directions = fixture.state["student.head.last_layer.weight_v"]
    layers = sum(k.startswith("student.head.mlp.") and k.endswith("weight") for k in fixture.state)
    prototypes = fixture.size("out_dim")
    task = dict(
        type="SelfDistillation",
        global_views=tuple(range(len(fixture["global_crops"]))),
        local_views=tuple(range(len(fixture["global_crops"]), _views(fixture))),
        projector=dict(
            type="PrototypeMLP",
            in_channels=fixture.size("embed_dim"),
            prototypes=prototypes,
            hidden_channels=mlp.shape[0],
            bottleneck=directions.shape[1],
            num_layers=layers,
        ),
        head=dict(
            type="DINOLoss",
            prototypes=prototypes,
            student_temperature=fixture.size("student_temp"),
            teacher_temperature=fixture.size("teacher_temp"),
            warmup_temperature=fixture.size("warmup_teacher_temp"),
            warmup_epochs=fixture.size("warmup_teacher_temp_epochs"),
            center_momentum=fixture.size("center_momentum"),
        ),
    )
    return dict(
        type="Pretrainer",
        encoder=vit_config(fixture, position="learned", interpolate_offset=0.1),
        target=dict(momentum=0.996, when="after_step"),
        tasks=dict(distillation=task),
    )


def _views(fixture: Fixture) -> int:
    return len(fixture["global_crops"]) + len(fixture["local_crops"])


def compare_dino(fixture: Fixture) -> dict[str, Tensor]:
    """Outputs on all crops, the loss, and the centre after its update."""
    model = build(fixture, dino_config, {"dino_loss.center": fixture["center_before"]})
    task = model.tasks["distillation"]
    crops = [*fixture["global_crops"], *fixture["local_crops"]]
    step = start(model, crops, epoch=fixture.size("epoch"))
    teacher, student = task.teacher(step), task.student(step)
    loss = task.loss(step).loss
    task.head.update(teacher)
    return {
        "teacher_out": torch.cat(list(teacher.values())),
        "student_out": torch.cat(list(student.values())),
        "loss": loss,
        "center_after": task.head.center,
    }


def moby_config(fixture: Fixture) -> dict[str, Any]:
    """MoBY on a Swin Transformer of the fixture's sizes."""
    depths = fixture.size("depths")
    width = fixture.size("embed_dim") * 2 ** (len(depths) - 1)
    out, length = fixture["queue1_after"].shape
    mlp = dict(
        type="ProjectionMLP",
        hidden_channels=fixture.size("mlp_dim"),
        out_channels=out,
        num_layers=2,
        bias=True,
        last_norm=False,
    )
    task = dict(
        type="Contrastive",
        projector=dict(**mlp, in_channels=width),
        predictor=dict(**mlp, in_channels=out),
        head=dict(
            type="QueueInfoNCE",
            channels=out,
            size=length,
            temperature=fixture.size("temperature"),
            queues=2,
        ),
    )
    arch = dict(
        embed_dim=fixture.size("embed_dim"), depths=depths, num_heads=fixture.size("num_heads")
    )
    encoder = dict(
        type="SwinTransformer",
        arch=arch,
        image_size=fixture.size("img_size"),
        window_size=fixture.size("window_size"),
    )
    target = dict(momentum=0.99, drop_path=0.0)
    return dict(type="Pretrainer", encoder=encoder, target=target, tasks=dict(contrastive=task))


def compare_moby(fixture: Fixture) -> dict[str, Tensor]:
    """Features of every stage, the loss, and the queues after their update."""
    model = build(fixture, moby_config).train()
    task = model.tasks["contrastive"]
    step = start(model, [fixture["view1"], fixture["view2"]])
    levels = tuple(range(len(fixture.size("depths"))))
    encoded = step.encode(0, levels=levels)
    stages = {
        f"stage{level}": encoded.hierarchy[level].flatten(2).transpose(1, 2) for level in levels
    }
    loss = task.loss(step).loss
    return {
        "feature1": encoded.cls,
        **stages,
        "loss": loss,
        "queue1_after": task.head.queue_0,
        "queue2_after": task.head.queue_1,
        "queue_ptr_after": task.head.pointer,
    }


CONFIGS: dict[str, ConfigOf] = {
    "mocov3": mocov3_config,
    "dino": dino_config,
    "moby": moby_config,
}
