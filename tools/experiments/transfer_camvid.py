#!/usr/bin/env python
"""Pretrain methods on CamVid, fine-tune each in segmentation and detection, and test.

Every result is one line of a JSON-lines file; what the file holds already is not repeated. Each
step is the one that a user would make: ``tools/train.py`` with ``--pretrained``, ``tools/test.py``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "configs" / "transfer" / "camvid"
# what of the encoder differs from the ViT of the transfer configs
ENCODERS: dict[str, dict[str, str]] = {
    "random": {},
    "mocov3": {},
    "repre-mocov3": {},
    "mae": {},
    "lomar": {"position": "none", "relative_position": "irpe"},
    "cae": {"qkv_bias": "qv", "layer_scale": "0.1"},
    "mtssl": {},
}
HEADS = {
    "upernet": ("upernet_vit-tiny-6_camvid.py", ("mIoU", "aAcc")),
    "setr": ("setr-naive_vit-tiny-6_camvid.py", ("mIoU", "aAcc")),
    "mask-rcnn": (
        "mask-rcnn_vit-tiny-6_camvid-regions.py",
        ("coco/bbox_mAP", "coco/bbox_mAP_50", "coco/segm_mAP", "coco/segm_mAP_50"),
    ),
}


def parse_args(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-root", default="data/camvid/", help="the CamVid folder")
    parser.add_argument("--methods", nargs="+", choices=ENCODERS, default=[*ENCODERS])
    parser.add_argument("--heads", nargs="+", choices=HEADS, default=[*HEADS])
    parser.add_argument("--seeds", nargs="+", type=int, default=(0,), help="of the fine-tuning")
    parser.add_argument("--work-dir", default="work_dirs/transfer_camvid")
    parser.add_argument("--out", default="work_dirs/transfer_camvid/results.jsonl")
    parser.add_argument("--cfg-options", nargs="+", default=[], help="of all fine-tunings")
    parser.add_argument("--pretrain-options", nargs="+", default=[], help="of all pretrainings")
    parser.add_argument("--table", action="store_true", help="print --out as tables, train none")
    return parser.parse_args(arguments)


def call(*command: str | Path) -> None:
    """Run a program of this repository; its output goes on.

    Raises:
        CalledProcessError: it failed.
    """
    subprocess.run([sys.executable, *(str(part) for part in command)], cwd=ROOT, check=True)


def pretrain(args: argparse.Namespace, method: str) -> Path:
    """The checkpoint of a method, trained unless it is there."""
    folder = Path(args.work_dir).absolute() / f"pretrain_{method}"
    if not (folder / "last.pth").exists():
        (config,) = (CONFIGS / "pretrain").glob(f"{method}_vit-*.py")
        root = Path(args.data_root).absolute() / "images" / "train"
        call(
            "tools/train.py", config, "--work-dir", folder, "--cfg-options",
            f"train_dataloader.dataset.root={root}", *args.pretrain_options,
        )  # fmt: skip
    return folder / "last.pth"


def data_options(head: str, root: Path) -> list[str]:
    """Where the data of a config lie."""
    options = [f"{part}_dataloader.dataset.data_root={root}/" for part in ("train", "test")]
    if head == "mask-rcnn":
        options.append(f"test_evaluator.ann_file={root}/annotations/regions_test.json")
    return options


def transfer(args: argparse.Namespace, method: str, head: str, seed: int) -> dict[str, float]:
    """Fine-tune and test; the metrics that ``tools/test.py`` writes."""
    config, metrics = CONFIGS / HEADS[head][0], HEADS[head][1]
    folder = Path(args.work_dir).absolute() / f"{head}_{method}_{seed}"
    encoder = [f"model.backbone.encoder.{key}={value}" for key, value in ENCODERS[method].items()]
    options = [
        *data_options(head, Path(args.data_root).absolute()), *encoder,
        f"randomness.seed={seed}", *args.cfg_options,
    ]  # fmt: skip
    start = [] if method == "random" else ["--pretrained", pretrain(args, method)]
    call("tools/train.py", config, "--work-dir", folder, *start, "--cfg-options", *options)
    out = folder / "test.json"
    call(
        "tools/test.py", config, folder / "last.pth", "--work-dir", folder, "--out", out,
        "--cfg-options", *options,
    )  # fmt: skip
    values = json.loads(out.read_text())
    return {name: values[name] for name in metrics}


def table(lines: Sequence[dict[str, Any]]) -> str:
    """Markdown: mean by method and head, with the least and greatest of the seeds."""
    text = []
    for head in dict.fromkeys(line["head"] for line in lines):
        names = HEADS[head][1]
        text += [f"| {head} | seeds | {' | '.join(names)} |", "| --- " * (len(names) + 2) + "|"]
        here = [line for line in lines if line["head"] == head]
        for method in dict.fromkeys(line["method"] for line in here):
            rows = [line for line in here if line["method"] == method]
            cells = []
            for name in names:
                values = [row[name] for row in rows]
                spread = f" ({min(values):.3g} to {max(values):.3g})" if len(values) > 1 else ""
                cells.append(f"{sum(values) / len(values):.3g}{spread}")
            text.append(f"| {method} | {len(rows)} | {' | '.join(cells)} |")
        text.append("")
    return "\n".join(text)


def main(arguments: Sequence[str] | None = None) -> None:
    args = parse_args(arguments)
    out = Path(args.out)
    lines = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
    if args.table:
        print(table(lines))
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    done = {(line["head"], line["method"], line["seed"]) for line in lines}
    for seed in args.seeds:
        for head in args.heads:
            for method in args.methods:
                if (head, method, seed) in done:
                    continue
                start = time.perf_counter()
                line = {"head": head, "method": method, "seed": seed}
                line |= transfer(args, method, head, seed)
                line["seconds"] = round(time.perf_counter() - start)
                with out.open("a") as file:
                    file.write(json.dumps(line) + "\n")
                print(line, flush=True)


if __name__ == "__main__":
    main()
