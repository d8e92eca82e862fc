#!/usr/bin/env python
"""Predict the efficiency of methods on many GPUs from counted operations and bytes: a table.

What a GPU and a network reach are assumptions, given as options and printed with the table.
"""

from __future__ import annotations

import argparse

from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from rich.console import Console
from rich.table import Table

import mmvitssl.compat  # noqa: F401  (before any config is read)
from benchmark import StepBench, load_config
from benchmark.scaling import Network, count_traffic, predict
from mmvitssl.engine import launch


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--method", nargs="+", required=True, help="as tools/benchmark.py")
    parser.add_argument("--arch", default="ViT-B/16")
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--gpus", type=int, nargs="+", default=(8, 64, 256))
    parser.add_argument("--batch-size", type=int, default=128, help="images a GPU")
    parser.add_argument("--flops", type=float, default=300e12, help="a second, of a step on a GPU")
    parser.add_argument("--inside", type=float, default=350e9, help="bytes/s and GPU in a node")
    parser.add_argument("--between", type=float, default=40e9, help="bytes/s and GPU over nodes")
    parser.add_argument("--latency", type=float, default=20e-6, help="seconds of a collective")
    parser.add_argument("--fsdp", action="store_true", help="sharded parameters instead of DDP")
    parser.add_argument("--sample", type=int, default=2, help="images of the counted step")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    MMLogger.get_instance("scaling", log_level="ERROR")
    network = Network(args.flops, args.inside, args.between, args.latency)
    table = Table("method", "Gflop/image", "gradients MB", *(
        f"{gpus} GPUs: gathered MB, collectives, efficiency" for gpus in args.gpus
    ))  # fmt: skip
    with launch.building():
        for name in args.method:
            config = load_config(name, args.arch, args.image_size)
            init_default_scope(launch.prepare_scope(config))
            bench = StepBench(name, config, args.sample, "cpu", tokenizer_width=32)
            per_image = bench.flops().total / args.sample
            cells = []
            for gpus in args.gpus:
                traffic = count_traffic(bench.model, bench.step, gpus)
                grown = traffic.for_batch(args.batch_size / args.sample)
                result = predict(per_image * args.batch_size, grown, gpus, network, args.fsdp)
                cells.append(
                    f"{grown.gathered / 1e6:.1f}, {grown.collectives}, {result.efficiency:.1%}"
                )
            table.add_row(name, f"{per_image / 1e9:.1f}", f"{traffic.gradients / 1e6:.0f}", *cells)
    console = Console()
    console.print(table)
    how = "FSDP" if args.fsdp else "DDP, fp32 gradients"
    console.print(
        f"Assumed: {how}, {args.batch_size} images a GPU, {args.flops:.3g} operations/s reached "
        f"on a GPU, rings of {args.inside:.3g} B/s and GPU in nodes of {network.node} and "
        f"{args.between:.3g} B/s over nodes, {args.latency:.3g} s a small collective (twice over "
        f"nodes), the backward pass hides the reduction of gradients but for a bucket of 25 MiB."
    )


if __name__ == "__main__":
    launch.run_or_explain(main)
