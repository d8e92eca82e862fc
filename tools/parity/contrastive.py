"""MoCo v3, DINO and MoBY: our config-built models with official weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from parity.build import ConfigOf, build, shipped_config, start
from parity.fixture import Fixture


def mocov3_config(fixture: Fixture) -> Any:
    """MoCo v3 at the fixture's sizes."""
    temperature = fixture.size("T")
    return shipped_config(
        fixture,
        "mocov3/mocov3_vit-small_32xb128-cosine-300e_in1k.py",
        tasks__contrastive__projector__hidden_channels=fixture.size("mlp_dim"),
        tasks__contrastive__projector__out_channels=fixture.size("dim"),
        tasks__contrastive__predictor__hidden_channels=fixture.size("mlp_dim"),
        tasks__contrastive__head__temperature=temperature,
        tasks__contrastive__head__scale=2 * temperature,
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


def dino_config(fixture: Fixture) -> Any:
    """DINO at the fixture's sizes; those of the head come from the weights' shapes."""
    views = len(fixture["global_crops"])
    place = "tasks__distillation__"
    projector = dict(
        prototypes=fixture.size("out_dim"),
        hidden_channels=fixture.state["student.head.mlp.0.weight"].shape[0],
        bottleneck=fixture.state["student.head.last_layer.weight_v"].shape[1],
        num_layers=sum(
            k.startswith("student.head.mlp.") and k.endswith("weight") for k in fixture.state
        ),
    )
    head = dict(
        student_temperature=fixture.size("student_temp"),
        teacher_temperature=fixture.size("teacher_temp"),
        warmup_temperature=fixture.size("warmup_teacher_temp"),
        warmup_epochs=fixture.size("warmup_teacher_temp_epochs"),
        center_momentum=fixture.size("center_momentum"),
    )
    return shipped_config(
        fixture,
        "dino/dino_vit-small_8xb128-cosine-100e_in1k.py",
        **{
            place + "global_views": tuple(range(views)),
            place + "local_views": tuple(range(views, _views(fixture))),
        },
        **{f"{place}projector__{key}": value for key, value in projector.items()},
        **{f"{place}head__{key}": value for key, value in head.items()},
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


def moby_config(fixture: Fixture) -> Any:
    """MoBY on a Swin Transformer at the fixture's sizes."""
    out, length = fixture["queue1_after"].shape
    return shipped_config(
        fixture,
        "moby/moby_swin-tiny_8xb64-cosine-300e_in1k.py",
        encoder__window_size=fixture.size("window_size"),
        encoder__drop_path=0.0,
        tasks__contrastive__projector__hidden_channels=fixture.size("mlp_dim"),
        tasks__contrastive__projector__out_channels=out,
        tasks__contrastive__predictor__hidden_channels=fixture.size("mlp_dim"),
        tasks__contrastive__head__size=length,
        tasks__contrastive__head__temperature=fixture.size("temperature"),
    )


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
