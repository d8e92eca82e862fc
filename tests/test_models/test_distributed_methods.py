"""Every method over two gloo processes against one process with the whole batch.

All methods run in one spawn. A process wraps the model in DistributedDataParallel as training does
and takes two SGD steps through ``train_step``, with the hooks that move the target and average the
log. What cannot be the same is named at the test that says what holds instead.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist
from mmengine.dist import broadcast
from mmengine.model.wrappers import MMFullyShardedDataParallel
from mmengine.optim import OptimWrapper
from mmengine.registry import DefaultScope
from torch import Tensor, nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.distributed.fsdp import FullStateDictConfig, StateDictType
from torch.multiprocessing import spawn

from mmvitssl.engine.hooks import MomentumUpdateHook, ReduceLogsHook
from mmvitssl.engine.optim import AutocastOptimWrapper
from mmvitssl.engine.sharding import unit_policy
from mmvitssl.engine.wrappers import CPUDistributedDataParallel
from mmvitssl.models.algorithms import Pretrainer
from mmvitssl.registry import MODELS
from tests.test_models.test_distributed import WORLD, free_port

BATCH = 4  # of a process; one process has WORLD times as many
STEPS = 2
SIZE = 32

DEPTH = dict(drop_path=0.4)
VIT = dict(
    type="ViT",
    arch=dict(embed_dim=32, depth=2, num_heads=2),
    image_size=SIZE,
    patch_size=8,
    **DEPTH,
    position="sincos_row_first",
    initialisation="mocov3",  # timm's makes blocks of this width do nearly nothing
)
MOCO_VIT = {**VIT, "freeze_patch_embed": True}
SWIN = dict(
    type="SwinTransformer",
    arch=dict(embed_dim=16, depths=(1, 1, 1, 1), num_heads=(1, 2, 4, 8)),
    image_size=SIZE,
    window_size=2,
    **DEPTH,
)
BEFORE = dict(momentum=0.9, end=1.0, schedule="cosine", when="before_forward")
AFTER = {**BEFORE, "when": "after_step"}
# the last iteration of an accumulated step is further on than the only one of a whole step
CONSTANT = {**AFTER, "schedule": "constant"}


def mlp(inputs: int, layers: int = 2, **settings: Any) -> dict[str, Any]:
    return dict(
        type="ProjectionMLP", in_channels=inputs, hidden_channels=48, out_channels=16,
        num_layers=layers, **settings,
    )  # fmt: skip


def pretrainer(
    encoder: dict[str, Any], task: dict[str, Any], target: dict[str, Any] | None = None
) -> dict[str, Any]:
    name = "distillation" if task["type"] == "SelfDistillation" else "task"
    return dict(type="Pretrainer", encoder=encoder, tasks={name: task}, target=target)


def mocov3(encoder: dict[str, Any], width: int) -> dict[str, Any]:
    head = dict(type="InfoNCE", temperature=0.2, scale=0.4)
    task = dict(type="Contrastive", projector=mlp(width, 3), predictor=mlp(16), head=head)
    return pretrainer(encoder, task, BEFORE)


def moby(encoder: dict[str, Any], width: int) -> dict[str, Any]:
    settings = dict(bias=True, last_norm=False)
    task = dict(
        type="Contrastive",
        projector=mlp(width, **settings),
        predictor=mlp(16, **settings),
        head=dict(type="QueueInfoNCE", channels=16, size=24, queues=2),
    )
    return pretrainer(encoder, task, {**BEFORE, "drop_path": 0.0})  # as published


def byol(norm: bool) -> dict[str, Any]:
    settings = dict(bias=True, last_bias=False, last_norm=False, norm=norm)
    task = dict(
        type="Contrastive",
        projector=mlp(32, **settings),
        predictor=mlp(16, **settings),
        head=dict(type="CosineLoss"),
    )
    return pretrainer(MOCO_VIT, task, AFTER if norm else CONSTANT)


def repre() -> dict[str, Any]:
    config = mocov3(MOCO_VIT, 32)
    config["tasks"]["reconstruction"] = dict(
        type="Reconstruction",
        levels=(0, 1),
        neck=dict(
            type="MultiHierarchyFusion", in_channels=32, levels=2, width=16, patch_size=8
        ),
        head=dict(type="PixelLoss"),
    )  # fmt: skip
    config["balancer"] = dict(
        type="UncertaintyWeights",
        likelihoods=dict(task="classification", reconstruction="laplace"),
    )
    return config


MOCOV2 = dict(
    type="Contrastive",
    pairs=((0, 1),),
    projector=mlp(32, bias=True, norm=False, last_norm=False),
    head=dict(type="QueueInfoNCE", channels=16, size=24, queues=1, first_view=1),
)
SIMCLR = dict(
    type="Contrastive",
    keys="online",
    projector=mlp(32, 3, last_affine=True),
    head=dict(type="NTXent"),
)
SIMSIAM = dict(
    type="Contrastive",
    keys="detached",
    projector=mlp(32, 3),
    predictor=mlp(16, last_bias=True, last_norm=False),
    head=dict(type="CosineLoss", scale=0.5, offset=0.5),
)
DINO = dict(
    type="SelfDistillation",
    local_views=(2, 3),
    projector=dict(
        type="PrototypeMLP", in_channels=32, prototypes=24, hidden_channels=48, bottleneck=16
    ),
    head=dict(type="DINOLoss", prototypes=24),
)
L2 = dict(type="PixelLoss", distance="l2")
PIXELS = dict(type="PixelTarget", patch_size=8)
DECODER = dict(
    type="MAEDecoder", in_channels=32, out_channels=192, width=16, depth=1, num_heads=2, grid=4
)
MAE = dict(
    type="MaskedModeling",
    masking=dict(type="RandomMasking", ratio=0.75),
    neck=DECODER,
    target=PIXELS,
    head=L2,
)
LOMAR = dict(
    type="MaskedModeling",
    masking=dict(type="WindowMasking", window=3, views=2, ratio=0.6),
    neck=dict(type="TokenPredictor", in_channels=32, out_channels=192),
    target=PIXELS,
    head=L2,
)
SIMMIM = dict(
    type="MaskedModeling",
    masking=dict(type="RandomMasking", ratio=0.6, mode="replace", unit=2),
    neck=dict(type="TokenPredictor", in_channels=32, out_channels=192),
    target=PIXELS,
    head=L2,
)
SMALL = dict(width=32, depth=2, num_heads=2, **DEPTH)
CAE = dict(
    type="ContextAutoencoding",
    masking=dict(type="BlockMasking", num_masked=8, exact=True, mode="drop", min_block=2),
    regressor=dict(type="ContextRegressor", **SMALL),
    decoder=dict(type="ContextDecoder", out_channels=192, **SMALL),
    target={**PIXELS, "normalise": False},
    head=L2,
)
IBOT = dict(
    distillation={
        **DINO, "masked_by": "masked", "projector": {**DINO["projector"], "fixed_lengths": False}
    },
    masked=dict(
        type="MaskedModeling",
        views=(0, 1),
        average="images",
        masking=dict(type="MixedRatioMasking", ratios=(0.3,), variances=(0.2,)),
        neck=dict(type="PatchProjector", projector="distillation"),
        target=dict(type="PrototypeTarget", prototypes=24),
        head=dict(type="DistributionLoss"),
    ),
)  # fmt: skip
# contexts that are not cut to the smallest of a batch, which is another in each process
IJEPA = dict(
    type="MaskedModeling",
    masking=dict(type="MultiBlockMasking", min_keep=0, overlap=True),
    neck=dict(type="BlockPredictor", in_channels=32, width=16, depth=1, num_heads=2),
    target=dict(type="FeatureTarget"),
    head=dict(type="LatentLoss"),
)
PATCHES = dict(
    rotation=dict(type="Rotation", in_channels=32, views=(0, 1), token="rotation"),
    jigsaw=dict(type="Jigsaw", in_channels=32, patches=4, cells=16, position="slot"),
    paint=dict(type="Inpainting", in_channels=32, patches=3, patch_size=8, part=0.5,
               modes=("noise", "blur", "grey")),
    relative=dict(type="RelativePosition", in_channels=32),
)  # fmt: skip
METHODS = {
    "mocov3": mocov3(MOCO_VIT, 32),
    "mocov3-swin": mocov3({**SWIN, "freeze_patch_embed": True}, 128),
    "mocov2": pretrainer(MOCO_VIT, MOCOV2, {**BEFORE, "schedule": "constant"}),
    "simclr": pretrainer(MOCO_VIT, SIMCLR),
    "simclr-swin": pretrainer(SWIN, {**SIMCLR, "projector": mlp(128, 3, last_affine=True)}),
    "byol": byol(norm=True),
    "byol-plain": byol(norm=False),
    "simsiam": pretrainer(MOCO_VIT, SIMSIAM),
    "dino": pretrainer(
        {**VIT, "position": "learned", "interpolate_offset": 0.1}, DINO, {**AFTER, "drop_path": 0.0}
    ),
    "moby": moby({**VIT, "position": "learned"}, 32),
    "moby-swin": moby(SWIN, 128),
    "repre": repre(),
    "mae": pretrainer(VIT, MAE),
    "lomar": pretrainer(
        {**VIT, "position": "none", "mask_token": True, "relative_position": "irpe"}, LOMAR
    ),
    "simmim": pretrainer({**VIT, "mask_token": True}, SIMMIM),
    "cae": pretrainer({**VIT, "qkv_bias": "qv", "layer_scale": 0.1}, CAE),
    "ibot": dict(
        type="Pretrainer", encoder={**VIT, "mask_token": True}, tasks=IBOT, target=AFTER,
        packed=True,
    ),
    "ijepa": pretrainer({**VIT, "class_token": False}, IJEPA, CONSTANT),
    "patches": dict(
        type="Pretrainer", encoder={**MOCO_VIT, "prefix_tokens": ("rotation",)}, tasks=PATCHES
    ),
}  # fmt: skip
MASKED = ("mae", "lomar", "simmim", "cae")
# a loss that is a mean over samples, each by itself: no batch norm, negatives, queue or centre
SAMPLE_WISE = ("byol-plain", *MASKED)
# metrics that are no means over samples: a deviation, and means over all masked patches
OF_BATCH = ("target_deviation", "masked_agreement", "masked_teacher_entropy",
            "masked_teacher_entropy_share")  # fmt: skip
# without a momentum target or learned weights of losses, which FSDP cannot cut as it must
SHARDED = ("simclr", "simclr-swin", "simsiam", *MASKED)


def make_batch(step: int, part: slice) -> dict[str, Any]:
    """Some images of a step: two large views and two small ones, uint8, as collated.

    Four colours each, so that features differ: batch norm would blow up the noise of equal ones.
    """
    generator = torch.Generator().manual_seed(step)
    views = []
    for half in (SIZE // 2, SIZE // 2, SIZE // 4, SIZE // 4):
        colours = torch.randint(256, (WORLD * BATCH, 3, 2, 2), generator=generator)
        pixels = colours.repeat_interleave(half, 2).repeat_interleave(half, 3)
        noise = torch.randint(-20, 20, pixels.shape, generator=generator)
        views.append((pixels + noise).clamp(0, 255).to(torch.uint8))
    index = torch.arange(WORLD * BATCH)[part]
    samples = {"index": index + step * WORLD * BATCH, "epoch": torch.zeros_like(index)}
    return {"views": [view[part] for view in views], "samples": samples}


def build(name: str, seed: int = 0) -> Pretrainer:
    torch.manual_seed(seed)
    with DefaultScope.overwrite_default_scope("mmvitssl"):
        model = MODELS.build(METHODS[name])
    for parameter in model.parameters():
        # zeros would hide what multiplies them, and a norm of next to nothing blows up noise
        if parameter.requires_grad and parameter.abs().max() < 1e-3:
            nn.init.normal_(parameter, std=0.2)
    return model


def wrap(model: Pretrainer, how: str) -> Any:
    """The model in copies (DDP, of a static graph if told) or shards (FSDP) on all processes."""
    for tensor in model.state_dict().values():
        broadcast(tensor)  # as MMEngine does before training, so that seeds may differ
    if how in ("copies", "static"):
        return CPUDistributedDataParallel(
            model, broadcast_buffers=False, gradient_as_bucket_view=True,
            static_graph=how == "static",
        )  # fmt: skip
    network = MMFullyShardedDataParallel(
        model, auto_wrap_policy=unit_policy(model), device_id=torch.device("cpu")
    )
    whole = FullStateDictConfig(offload_to_cpu=False, rank0_only=False)
    network.set_state_dict_type(network, StateDictType.FULL_STATE_DICT, whole)
    return network


def train(
    name: str,
    parts: list[slice],
    how: str = "alone",
    seed: int = 0,
    precision: str = "fp32",
) -> dict[str, Any]:
    """Logs and the state after two SGD steps, each over the gradients of ``parts`` of a batch."""
    model = build(name, seed)
    network = model if how == "alone" else wrap(model, how)
    reduced: list[int] = []  # elements of each bucket of gradients that was sent
    if how in ("copies", "static"):
        network.register_comm_hook(reduced, counted_reduction)
    sgd = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.05, momentum=0.9)
    wrapper = OptimWrapper(sgd)
    if len(parts) > 1:
        wrapper = AutocastOptimWrapper(
            optimizer=sgd, precision=precision, accumulative_counts=len(parts)
        )
        wrapper.initialize_count_status(network, 0, STEPS * len(parts))
    total = 2 * STEPS * len(parts)  # half of a training: momenta on their way
    runner: Any = SimpleNamespace(model=network, optim_wrapper=wrapper, max_iters=total, iter=0)
    momentum, reduce = MomentumUpdateHook(), ReduceLogsHook()
    momentum.before_train(runner)
    logs, moved = [], []
    for step in range(STEPS):
        for part in parts:
            before = [parameter.detach().clone() for parameter in model.encoder.parameters()]
            momentum.before_train_iter(runner, runner.iter)
            outputs = network.train_step(make_batch(step, part), wrapper)
            reduce.after_train_iter(runner, runner.iter, outputs=outputs)
            momentum.after_train_iter(runner, runner.iter)
            logs.append({key: torch.as_tensor(value) for key, value in outputs.items()})
            pairs = zip(before, model.encoder.parameters(), strict=True)
            moved.append(any(not torch.equal(old, new) for old, new in pairs))
            runner.iter += 1
    state = network_state(network)
    return {"logs": logs, "state": state, "moved": moved, "reduced": sum(reduced)}


def counted_reduction(reduced, bucket):  # type: ignore[no-untyped-def]  # torch wants no strings
    reduced.append(bucket.buffer().numel())
    return allreduce_hook(None, bucket)


def network_state(network: Any) -> dict[str, Tensor]:
    if isinstance(network, CPUDistributedDataParallel):
        network = network.module
    return network.state_dict()


def halves(part: slice) -> list[slice]:
    middle = (part.start + part.stop) // 2
    return [slice(part.start, middle), slice(middle, part.stop)]


def worker(rank: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=WORLD
    )
    part = slice(rank * BATCH, (rank + 1) * BATCH)
    results: dict[str, Any] = {name: train(name, [part], "copies", seed=rank) for name in METHODS}
    for name in METHODS:
        results[f"{name} static"] = train(name, [part], "static", seed=rank)
    for name in SAMPLE_WISE:
        results[f"{name} accumulated"] = train(name, halves(part), "copies")
    for name in SHARDED:
        results[f"{name} sharded"] = train(name, [part], "shards", seed=rank)
    torch.save(results, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()
    gc.collect()  # wrapped models keep gloo's threads, which may abort the exit of a process


@pytest.fixture(scope="module")
def double(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of the two processes made of all methods."""
    folder = tmp_path_factory.mktemp("double")
    spawn(worker, (free_port(), str(folder)), nprocs=WORLD)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(WORLD)]


WHOLE = slice(0, WORLD * BATCH)


@pytest.fixture(scope="module")
def single() -> Iterator[dict[str, dict[str, Any]]]:
    """What one process made of them, filled when asked for."""
    yield {}


def alone(single: dict[str, dict[str, Any]], name: str) -> dict[str, Any]:
    if name not in single:
        single[name] = train(name, [WHOLE])
    return single[name]


def assert_same_state(name: str, state: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Each tensor within a thousandth of its largest change, and what cancels out within noise."""
    start = build(name).state_dict()
    assert state.keys() == expected.keys() == start.keys()
    for key, value in expected.items():
        change = float((value - start[key]).abs().max())
        difference = float((state[key] - value).abs().max())
        assert difference <= 5e-6 + 1e-3 * change, (key, difference, change)


def movement(name: str, state: dict[str, Tensor]) -> float:
    """Largest change of a trained parameter."""
    pairs = [(p, state[key]) for key, p in build(name).named_parameters() if p.requires_grad]
    return max(float((old.detach() - new).abs().max()) for old, new in pairs)


@pytest.mark.parametrize("name", METHODS)
def test_losses_of_two_processes_are_those_of_one(
    name: str, double: list[dict[str, Any]], single: dict[str, dict[str, Any]]
) -> None:
    """All that is logged, averaged over processes; masks and stochastic depth are of each sample.

    Losses of masked methods are means over masked patches, so processes must mask as many: BEiT's
    number varies, and the mean of its means is not that of the whole.
    """
    expected = alone(single, name)["logs"]
    assert len(expected) == STEPS
    for result in double:
        for mine, theirs in zip(result[name]["logs"], expected, strict=True):
            assert mine.keys() == theirs.keys()
            for key, value in theirs.items():
                if key.endswith(OF_BATCH):
                    continue
                torch.testing.assert_close(
                    mine[key].float(), value.float(), rtol=1e-4, atol=1e-5,
                    msg=lambda text, key=key: f"{key}: {text}",
                )  # fmt: skip


@pytest.mark.parametrize("name", METHODS)
def test_weights_of_two_processes_are_those_of_one(
    name: str, double: list[dict[str, Any]], single: dict[str, dict[str, Any]]
) -> None:
    """Weights, target, running statistics, queues and centres after two steps.

    Processes started from different seeds and took the first one's state. With
    find_unused_parameters=False, the second step would have failed had a parameter of the first
    been without gradient.
    """
    expected = alone(single, name)["state"]
    for result in double:
        assert_same_state(name, result[name]["state"], expected)
    first, second = (result[name]["state"] for result in double)
    for key, value in first.items():
        assert torch.equal(value, second[key]), key
    assert movement(name, expected) > 3e-3


@pytest.mark.parametrize("name", METHODS)
def test_static_graphs_train_alike(name: str, double: list[dict[str, Any]]) -> None:
    """``model_wrapper_cfg=dict(static_graph=True)`` changes no bit, and each gradient goes once."""
    trained = [p.numel() for p in build(name).parameters() if p.requires_grad]
    for result in double:
        assert result[name]["reduced"] == STEPS * sum(trained)
        for key, value in result[name]["state"].items():
            assert torch.equal(value, result[f"{name} static"]["state"][key]), key


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("mocov2", ["tasks.task.head.queue_0"]),
        ("moby", ["tasks.task.head.queue_0", "tasks.task.head.queue_1"]),
        ("moby-swin", ["tasks.task.head.queue_0", "tasks.task.head.queue_1"]),
        ("dino", ["tasks.distillation.head.center"]),
    ],
)
def test_queues_and_centres_hold_the_keys_of_all_processes(
    name: str, keys: list[str], double: list[dict[str, Any]], single: dict[str, dict[str, Any]]
) -> None:
    """They changed, and are the same everywhere, in the order of the whole batch: rank by rank."""
    start, expected = build(name).state_dict(), alone(single, name)["state"]
    for key in keys:
        changed = (start[key] != expected[key]).any(dim=0)
        # two steps of 8 keys into a queue of 24; all prototypes
        assert int(changed.sum()) == (24 if name == "dino" else STEPS * WORLD * BATCH)
        for result in double:
            assert torch.equal(result[name]["state"][key], double[0][name]["state"][key])
            torch.testing.assert_close(result[name]["state"][key], expected[key], rtol=0, atol=1e-4)
        if name != "dino":
            assert double[0][name]["state"]["tasks.task.head.pointer"] == STEPS * WORLD * BATCH


@pytest.mark.parametrize("name", SHARDED)
def test_shards_train_as_one_process_does(
    name: str, double: list[dict[str, Any]], single: dict[str, dict[str, Any]]
) -> None:
    """FSDP with a unit a block, as ShardedStrategy cuts a model; whole states are compared."""
    for result in double:
        assert_same_state(name, result[f"{name} sharded"]["state"], alone(single, name)["state"])


@pytest.mark.parametrize("name", METHODS)
def test_every_trained_parameter_gets_a_gradient(name: str) -> None:
    """And one that is not zero, but for biases, some of which a later norm takes out again."""
    model = build(name)
    outputs = model(**model.data_preprocessor(make_batch(0, WHOLE)), mode="loss")
    sum(value for key, value in outputs.items() if key.startswith("loss")).backward()
    trained = {key: p for key, p in model.named_parameters() if p.requires_grad}
    assert trained and all(p.grad is not None for p in trained.values())
    silent = [key for key, p in trained.items() if "bias" not in key and not p.grad.any()]
    assert not silent
    frozen = [p for p in model.parameters() if not p.requires_grad]
    assert all(p.grad is None for p in frozen)


@pytest.mark.parametrize("name", SAMPLE_WISE)
def test_accumulated_gradients_are_those_of_the_double_batch(
    name: str, double: list[dict[str, Any]], single: dict[str, dict[str, Any]]
) -> None:
    """In one process and in two, where the loss is a mean over samples."""
    expected = alone(single, name)["state"]
    accumulated = train(name, halves(WHOLE))
    assert accumulated["moved"] == [False, True, False, True]
    assert_same_state(name, accumulated["state"], expected)
    for result in double:
        assert result[f"{name} accumulated"]["moved"] == [False, True, False, True]
        # processes talk once an optimizer step
        assert result[f"{name} accumulated"]["reduced"] == result[name]["reduced"] > 0
        assert_same_state(name, result[f"{name} accumulated"]["state"], expected)


@pytest.mark.parametrize("name", [name for name in METHODS if name not in SAMPLE_WISE])
def test_accumulation_runs_where_the_loss_is_of_the_batch(name: str) -> None:
    """Batch norm, negatives, queues and centres see half a batch at a time: other weights.

    In bfloat16. The target moves once an optimizer step, queues and centres every iteration.
    """
    result = train(name, halves(WHOLE), precision="bf16")
    assert result["moved"] == [False, True, False, True]
    assert all(value.isfinite().all() for logs in result["logs"] for value in logs.values())
    assert all(value.isfinite().all() for value in result["state"].values())
    if "target.updates" in result["state"]:
        assert result["state"]["target.updates"] == STEPS
    if "tasks.task.head.pointer" in result["state"]:
        assert result["state"]["tasks.task.head.pointer"] == STEPS * WORLD * BATCH
