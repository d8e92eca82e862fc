"""Parameters of a config's model by part, and FLOPs of its encoder."""

from __future__ import annotations

import argparse
from typing import Any

import torch
from mmengine.config import Config, DictAction
from mmengine.registry import init_default_scope
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from mmvitssl.apis.recipes import config_path
from mmvitssl.checkpoint.onnx_model import image_size_of
from mmvitssl.engine.config_files import read_config
from mmvitssl.engine.launch import UserError, building, prepare_scope
from mmvitssl.registry import MODELS


def parts(model: nn.Module) -> list[tuple[str, int, int]]:
    """Name, parameters and trained parameters of the parts of a model, tasks one by one."""
    rows = []
    for name, module in model.named_children():
        inside = module.named_children() if name == "tasks" else [("", module)]
        for part, each in inside:
            sizes = [(p.numel(), p.requires_grad) for p in each.parameters()]
            total, trained = sum(n for n, _ in sizes), sum(n for n, learns in sizes if learns)
            rows.append((f"{name}.{part}" if part else name, total, trained))
    return rows


def encoder_flops(model: nn.Module) -> tuple[float, tuple[int, int]] | None:
    """FLOPs of one forward pass of a model's encoder, and the image size; None: it has none."""
    encoder: Any = getattr(model, "encoder", None)
    if encoder is None or not hasattr(encoder, "grid"):
        return None
    size = image_size_of(encoder)
    image = torch.zeros(1, encoder.in_channels, *size)
    encoder.eval()
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        encoder(image)
    return float(counter.get_total_flops()), size


def build(path: str, changes: dict[str, Any] | None) -> nn.Module:
    """The model of a config.

    Raises:
        UserError: the config has none.
    """
    config: Config = read_config(config_path(path), changes)
    if "model" not in config:
        raise UserError(f"{path} has no model.")
    init_default_scope(prepare_scope(config))
    model: nn.Module = MODELS.build(config.model)
    return model


def main() -> None:
    """Print as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", help="a file, or the name of a shipped config (mmvitssl models)")
    parser.add_argument("--cfg-options", nargs="+", action=DictAction, metavar="KEY=VALUE")
    args = parser.parse_args()
    with building():
        model = build(args.config, args.cfg_options)
    table = Table("part", "parameters", "trained")
    rows = parts(model)
    for name, total, trained in [*rows, ("all", sum(r[1] for r in rows), sum(r[2] for r in rows))]:
        table.add_row(name, f"{total / 1e6:.2f} M", f"{trained / 1e6:.2f} M")
    Console().print(table)
    counted = encoder_flops(model)
    if counted is not None:
        flops, size = counted
        print(f"encoder: {flops / 1e9:.2f} GFLOPs per {size[0]} x {size[1]} image, forward")
