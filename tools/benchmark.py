#!/usr/bin/env python
"""Time the full training step of methods side by side, on synthetic images: a JSON line each."""

import argparse

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

import mmvitssl.compat  # noqa: F401  (before any config is read)
from mmvitssl.benchmark import StepBench, find_config, measure
from mmvitssl.benchmark.step import resize_config
from mmvitssl.engine import launch


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--method", nargs="+", required=True,
        help="as configs are called: mae, repre-mocov3, repre-mocov3:literal (an ablation)",
    )  # fmt: skip
    parser.add_argument("--arch", default="ViT-B/16")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--amp", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--compile", action="store_true", help="compile the encoders")
    parser.add_argument("--repeat", type=int, default=5, help="timed steps of each")
    parser.add_argument("--against", metavar="METHOD", help="print ratios over this one too")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    names = list(dict.fromkeys([*([args.against] if args.against else []), *args.method]))
    benches = []
    with launch.building():
        for name in names:
            config = Config.fromfile(find_config(name, args.arch))
            init_default_scope(launch.prepare_scope(config))
            resize_config(config, args.image_size)
            bench = StepBench(
                name, config, args.batch_size, args.device, args.amp, args.compile
            )
            benches.append(bench)
    results = {result.name: result for result in measure(benches, args.repeat, args.amp)}
    for name in names:
        against = results.get(args.against) if name != args.against else None
        print(results[name].line(against), flush=True)


if __name__ == "__main__":
    launch.run_or_explain(main)
