"""Parameters, FLOPs and memory of a config's model, by part and task."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from mmengine.config import Config, DictAction
from mmengine.registry import init_default_scope
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from mmvitssl.apis.recipes import config_path
from mmvitssl.checkpoint.onnx_model import image_size_of
from mmvitssl.engine.config_files import read_config
from mmvitssl.engine.launch import UserError, building, prepare_scope
from mmvitssl.models.algorithms import Pretrainer
from mmvitssl.models.backbones.contract import find_backbone
from mmvitssl.registry import MODELS
from mmvitssl.visualization.reconstruction import view_sizes

IMAGES = 2  # of the step that is counted
ADAM, SGD = 2, 1  # values that an optimizer keeps per trained parameter
BYTES, MIB = 4, 2**20


def part_of(name: str) -> str:
    """The part of a model that a module belongs to: ``encoder``, ``tasks.NAME``, ..."""
    pieces = name.split(".")
    return ".".join(pieces[: 2 if pieces[0] == "tasks" else 1])


def parts(model: nn.Module) -> list[tuple[str, int, int]]:
    """Name, parameters and trained parameters of the parts of a model, tasks one by one."""
    total: Counter[str] = Counter()
    trained: Counter[str] = Counter()
    for name, parameter in model.named_parameters():
        total[part_of(name)] += parameter.numel()
        trained[part_of(name)] += parameter.numel() * parameter.requires_grad
    return [(name, total[name], trained[name]) for name in total]


def encoder_flops(model: nn.Module) -> tuple[float, tuple[int, int]] | None:
    """FLOPs of one forward pass of a model's encoder, and the image size; None: it has none."""
    found = find_backbone(model)
    if found is None:
        return None
    encoder = model.get_submodule(found[0])
    size = image_size_of(encoder)
    image = torch.zeros(1, found[1].spec.in_channels, *size)
    encoder.eval()
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        encoder(image)
    return float(counter.get_total_flops()), size


class _Meter:
    """FLOPs of the forward pass, and bytes kept for the backward pass, by the part that runs."""

    def __init__(self, model: nn.Module, counter: FlopCounterMode) -> None:
        self.counter, self.counted = counter, 0
        self.flops: Counter[str] = Counter()
        self.kept: Counter[str] = Counter()
        self._running = ["others"]
        # parameters are there anyway
        self._seen = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}

    def settle(self) -> None:
        """Charge what was counted since the last call to the part that ran."""
        total = self.counter.get_total_flops()
        self.flops[self._running[-1]] += total - self.counted
        self.counted = total

    def keep(self, tensor: Tensor) -> Tensor:
        """Called for every tensor that autograd keeps."""
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._seen:
            self._seen.add(storage.data_ptr())
            self.kept[self._running[-1]] += storage.nbytes()
        return tensor

    @contextmanager
    def watching(self, model: nn.Module) -> Iterator[None]:
        """Learn from hooks which part runs."""

        def enter(name: str) -> Callable[..., None]:
            def hook(module: nn.Module, inputs: Any) -> None:
                self.settle()
                self._running.append(name)

            return hook

        def leave(module: nn.Module, inputs: Any, output: Any) -> None:
            self.settle()
            self._running.pop()

        with ExitStack() as stack:
            for name, module in model.named_modules():
                if name:
                    before = module.register_forward_pre_hook(enter(part_of(name)))
                    after = module.register_forward_hook(leave, always_call=True)
                    stack.callback(before.remove)
                    stack.callback(after.remove)
            yield
            self.settle()


def step_costs(model: Pretrainer, images: int = IMAGES) -> tuple[_Meter, float]:
    """What a training step costs: forward FLOPs and kept bytes by part, and all FLOPs.

    Args:
        model: a pretraining model.
        images: in the step that is counted, in float32 and without fused attention.

    Returns:
        The counts of all images, and the FLOPs of forward and backward passes.
    """
    channels = model.encoder.spec.in_channels
    views = [torch.randint(0, 256, (images, channels, *size), dtype=torch.uint8)
             for size in view_sizes(model)]  # fmt: skip
    number = torch.arange(images)
    data = {"views": views, "samples": {"index": number, "epoch": torch.zeros_like(number)}}
    model.train()
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        meter = _Meter(model, counter)
        with (
            meter.watching(model),
            torch.autograd.graph.saved_tensors_hooks(meter.keep, lambda tensor: tensor),
        ):
            losses = model(**model.data_preprocessor(data, True), mode="loss")
        loss, _ = model.parse_losses(losses)
        loss.backward()
    return meter, float(counter.get_total_flops())


def build(path: str, changes: dict[str, Any] | None) -> tuple[nn.Module, Config]:
    """The model of a config, and the config.

    Raises:
        UserError: the config has none.
    """
    config: Config = read_config(config_path(path), changes)
    if "model" not in config:
        raise UserError(f"{path} has no model.")
    init_default_scope(prepare_scope(config))
    model: nn.Module = MODELS.build(config.model)
    return model, config


def main() -> None:
    """Print as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", help="a file, or the name of a shipped config (mmvitssl models)")
    parser.add_argument("--no-step", action="store_true", help="count no training step (seconds)")
    parser.add_argument("--cfg-options", nargs="+", action=DictAction, metavar="KEY=VALUE")
    args = parser.parse_args()
    with building():
        model, config = build(args.config, args.cfg_options)
    optimizer = str(((config.get("optim_wrapper") or {}).get("optimizer") or {}).get("type"))
    values = 1 + (SGD if "SGD" in optimizer or "LARS" in optimizer else ADAM)
    meter = None
    if isinstance(model, Pretrainer) and not args.no_step:
        model.load_frozen()
        meter, flops = step_costs(model)
    rows = parts(model)
    names = [name for name, _, _ in rows]
    counted = [] if meter is None else [*meter.flops, *meter.kept]
    new = [name for name in dict.fromkeys(counted) if name not in names]
    rows += [(name, 0, 0) for name in new if meter and (meter.flops[name] or meter.kept[name])]
    rows.append(("all", sum(row[1] for row in rows), sum(row[2] for row in rows)))
    width = max(len(name) for name, _, _ in rows)
    head = f"{'part':<{width}}  parameters     trained  weights, gradients, optimizer"
    print(head + ("  forward FLOPs  activations (per image)" if meter else ""))
    for name, total, trained in rows:
        state = BYTES * (total + values * trained) / MIB
        line = f"{name:<{width}}  {total / 1e6:8.2f} M  {trained / 1e6:8.2f} M  {state:24.0f} MiB"
        if meter is not None:
            each = [sum(counts.values()) if name == "all" else counts[name]
                    for counts in (meter.flops, meter.kept)]  # fmt: skip
            line += f"  {each[0] / IMAGES / 1e9:11.2f} G  {each[1] / IMAGES / MIB:7.1f} MiB"
        print(line)
    if meter is not None:
        print(
            f"a training step: {flops / IMAGES / 1e9:.2f} GFLOPs per image, forward and backward. "
            f"Activations are counted in float32 without fused attention; bfloat16 takes about "
            f"half."
        )
    found = encoder_flops(model)
    if found is not None:
        number, size = found
        print(f"encoder: {number / 1e9:.2f} GFLOPs per {size[0]} x {size[1]} image, forward")
