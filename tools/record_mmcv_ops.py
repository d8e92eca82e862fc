#!/usr/bin/env python3
"""Record what mmcv's compiled operators return on small inputs, for tests/test_mmcv_ops.py.

Needs a compiled mmcv (`make setup MMCV=compiled`); inputs and results go into one .npz file.
"""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

OUT = Path(__file__).resolve().parents[1] / "tests" / "data" / "mmcv_ops.npz"
POOLED = (3, 2)


def boxes_and_scores(number: int, decimals: int) -> tuple[Tensor, Tensor]:
    """(N, 4) boxes of which many overlap, (N,) scores; few decimals make equal scores."""
    generator = torch.Generator().manual_seed(number)
    corner = torch.rand(number, 2, generator=generator) * 40
    size = torch.rand(number, 2, generator=generator) * 30 + 1
    scores = torch.rand(number, generator=generator)
    return torch.cat([corner, corner + size], dim=1), scores.round(decimals=decimals)


def record_nms(ops: Any) -> dict[str, Tensor]:
    boxes, scores = boxes_and_scores(50, 4)
    found = {"nms/boxes": boxes, "nms/scores": scores}
    for threshold in (0.2, 0.5, 0.7):
        for offset in (0, 1):
            kept = ops.nms(boxes, scores, iou_threshold=threshold, offset=offset)
            found[f"nms/{threshold}/{offset}"] = kept
    return found


def record_softnms(ops: Any) -> dict[str, Tensor]:
    boxes, scores = boxes_and_scores(40, 1)
    found = {"softnms/boxes": boxes, "softnms/scores": scores}
    for method in range(3):
        for min_score in (0.001, 0.25):
            for offset in (0, 1):
                dets = torch.zeros(len(boxes), 5)
                kept = ops.softnms(
                    boxes, scores, dets, iou_threshold=0.3, sigma=0.5, min_score=min_score,
                    method=method, offset=offset,
                )  # fmt: skip
                name = f"softnms/{method}/{min_score}/{offset}"
                found |= {f"{name}/kept": kept, f"{name}/dets": dets[: len(kept)]}
    return found


def record_roi_align(ops: Any) -> dict[str, Tensor]:
    """RoIs inside, across the border, outside, empty and of both images."""
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(2, 3, 7, 9, generator=generator, dtype=torch.float64)
    rois = torch.tensor(
        [[0, 3.3, 2.1, 25.7, 20.2], [1, -9.5, -4, 12, 18.5], [1, 30, 20, 60, 50],
         [0, 80, 80, 90, 95], [0, 11.2, 9.1, 11.2, 9.1], [1, 0, 0, 36, 28]],
        dtype=torch.float64,
    )  # fmt: skip
    gradient = torch.randn(len(rois), 3, *POOLED, generator=generator, dtype=torch.float64)
    found = {"roi_align/maps": maps, "roi_align/rois": rois, "roi_align/gradient": gradient}
    for dtype in (torch.float32, torch.float64):
        for ratio in (0, 2):
            for aligned in (True, False):
                options = (*POOLED, 0.25, ratio, 1, aligned)
                output = torch.zeros(len(rois), 3, *POOLED, dtype=dtype)
                unused = torch.zeros(0, dtype=dtype)
                there = maps.to(dtype), rois.to(dtype), output, unused, unused
                ops.roi_align_forward(*there, *options)
                returned = torch.zeros_like(maps, dtype=dtype)
                back = gradient.to(dtype), rois.to(dtype), unused, unused, returned
                ops.roi_align_backward(*back, *options)
                name = f"roi_align/{str(dtype)[6:]}/{ratio}/{aligned}"
                found |= {f"{name}/output": output, f"{name}/gradient": returned}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--module", default="mmcv._ext", help="the module of the operators")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    ops = importlib.import_module(args.module)
    if not str(ops.__file__).endswith(".so"):
        parser.error(f"{args.module} is {ops.__file__}, which is not compiled.")
    found = record_nms(ops) | record_softnms(ops) | record_roi_align(ops)
    np.savez_compressed(args.out, **{name: value.numpy() for name, value in found.items()})
    print(f"{len(found)} arrays in {args.out}, {args.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
