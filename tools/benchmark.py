#!/usr/bin/env python
"""Time training steps on synthetic images, or data pipelines: a JSON line each.

docs/performance.md says what the numbers mean.
"""

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope

import mmvitssl.compat  # noqa: F401  (before any config is read)
from benchmark import Bench, StepBench, load_config, measure
from benchmark.data import (
    measure_pipelines,
    own_pipeline,
    peer_pipeline,
    pipeline_line,
    write_photographs,
)
from benchmark.hooks import measure_hooks
from benchmark.peers import PeerBench
from benchmark.plain import PlainBench
from benchmark.supervised import SupervisedBench
from mmvitssl.allocator import keep_freed_memory
from mmvitssl.datasets.images import list_images
from mmvitssl.engine import launch
from mmvitssl.engine.config_files import read_config

PHOTOGRAPHS = 32
# of a method: what it sets in the model
ADDITIONS: dict[str, dict[str, bool]] = {
    "checkpointing": {"model.encoder.gradient_checkpointing": True},
    "packed": {"model.packed": True},
}
PEERS: dict[str, type[Bench]] = {
    "mmpretrain": PeerBench,
    "plain": PlainBench,
    "timm": SupervisedBench,
}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--method", nargs="+",
        help="as configs are called: mae, repre-mocov3, repre-mocov3:literal (an ablation), "
        "lomar@448 (of an image size), mae+checkpointing (of gradients), dino+packed (its crops "
        "as one sequence)",
    )  # fmt: skip
    what.add_argument("--data", metavar="CONFIG", help="time this config's data pipeline")
    parser.add_argument("--arch", default="ViT-B/16", help="or ViT-S/16, ViT-L/16, Swin-T")
    parser.add_argument("--image-size", type=int, help="the config's by default")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--amp", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument(
        "--compile", nargs="?", const="both", choices=("both", "ours"),
        help="compile the encoders, a peer's too unless 'ours' is said",
    )  # fmt: skip
    parser.add_argument("--repeat", type=int, default=5, help="timed steps, or batches, of each")
    parser.add_argument("--against", metavar="METHOD", help="print ratios over this one too")
    parser.add_argument(
        "--peer",
        choices=PEERS,
        help="and its ratios over ours; 'plain' is LoMaR as published, 'timm' a supervised ViT",
    )
    parser.add_argument("--images", metavar="FOLDER", help="of --data; else photographs are made")
    parser.add_argument(
        "--hooks", action="store_true",
        help="time the hooks that watch features beside the steps: their share of the time",
    )  # fmt: skip
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    if args.repeat < 1 or args.batch_size < 1:
        parser.error("--repeat and --batch-size must be at least 1")
    if args.peer and args.against:
        parser.error("--peer compares with ours, --against ours among themselves: choose one")
    if args.peer in ("plain", "timm") and args.data:
        parser.error(f"--peer {args.peer} has training steps, no data pipeline")
    if args.hooks and (args.data or args.peer or args.against):
        parser.error("--hooks goes with --method alone")
    if args.images and not args.data:
        parser.error("--images belongs to --data")
    return args


def prepare(config: Config) -> Config:
    init_default_scope(launch.prepare_scope(config))
    return config


def config_of(name: str, args: argparse.Namespace) -> tuple[str, Config]:
    """The method and the config of METHOD[@SIZE][+ADDITION].

    Raises:
        ValueError: no image size, or another addition.
    """
    rest, plus, addition = name.partition("+")
    method, _, size = rest.partition("@")
    if size and not size.isdecimal():
        raise ValueError(f"--method {name}: '@' is followed by an image size in pixels.")
    if plus and addition not in ADDITIONS:
        raise ValueError(f"--method {name}: '+' is followed by {' or '.join(ADDITIONS)}.")
    config = prepare(load_config(method, args.arch, int(size) if size else args.image_size))
    config.merge_from_dict(ADDITIONS.get(addition, {}))
    return method, config


def bench_of(kind: type[Bench], name: str, args: argparse.Namespace) -> Bench:
    compiled = bool(args.compile) if kind is StepBench else args.compile == "both"
    with launch.building():
        method, config = config_of(name, args)
        bench = kind(method, config, args.batch_size, args.device, args.amp, compiled)
        bench.name = bench.name.replace(method, name)
        return bench


def steps(args: argparse.Namespace) -> None:
    """Methods share a run, and so memory, only where they are compared."""
    methods = list(dict.fromkeys(args.method))
    if args.against:
        names = [args.against, *(name for name in methods if name != args.against)]
        benches = [bench_of(StepBench, name, args) for name in names]
        first, *others = measure(benches, args.repeat, args.amp)
        print(first.line(), *(other.line(first) for other in others), sep="\n", flush=True)
        return
    for name in methods:
        benches = [bench_of(StepBench, name, args)]
        if args.peer:
            benches.append(bench_of(PEERS[args.peer], name, args))
        ours, *peers = measure(benches, args.repeat, args.amp)
        print(ours.line(), *(peer.line(ours) for peer in peers), sep="\n", flush=True)
        del benches


@contextmanager
def files(folder: str | None) -> Iterator[list[str]]:
    if folder is not None:
        yield list_images(folder)
        return
    with tempfile.TemporaryDirectory() as made:
        write_photographs(Path(made), PHOTOGRAPHS)
        yield list_images(made)


def data(args: argparse.Namespace) -> None:
    with launch.building():
        config = prepare(read_config(args.data))
        benches = [own_pipeline(config)]
        if args.peer:
            benches.append(peer_pipeline(Path(args.data).name.split("_")[0]))
    with files(args.images) as paths:
        ours, *peers = measure_pipelines(benches, paths, args.batch_size, args.repeat)
    print(pipeline_line(benches[0].name, ours, args.batch_size))
    for bench, stages in zip(benches[1:], peers, strict=True):
        print(pipeline_line(bench.name, stages, args.batch_size, against=ours))


def hooks(args: argparse.Namespace) -> None:
    for name in dict.fromkeys(args.method):
        with launch.building():
            method, config = config_of(name, args)
            bench = StepBench(method, config, args.batch_size, args.device, args.amp)
        print(measure_hooks(bench, config, args.repeat).line(), flush=True)
        del bench


def main() -> None:
    args = parse_args()
    if args.device == "cpu":
        keep_freed_memory()  # as training does; of all that are compared
    MMLogger.get_instance("benchmark", log_level="ERROR")  # its lines go to stdout, as ours
    program = data if args.data else hooks if args.hooks else steps
    program(args)


if __name__ == "__main__":
    launch.run_or_explain(main)
