"""Whether a finished pretraining looks sound, in one sentence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from mmvitssl.engine.hooks.collapse import effective_rank, relative_std
from mmvitssl.visualization.curves import read_lines

LEAST_STD, LEAST_RANK = 0.1, 2.0  # as CollapseHook's
LEAST_LINES = 5  # of the log, to compare the first with the last


@dataclass(frozen=True)
class Health:
    """Verdict on a run.

    Attributes:
        sound: whether nothing is wrong.
        sentence: for people.
    """

    sound: bool
    sentence: str


def logged_losses(work_dir: Path) -> list[float]:
    """Return the total loss at each line of the log of the last run in a work folder."""
    files = sorted(work_dir.glob("*/vis_data/scalars.json"))
    lines = read_lines(files[-1]) if files else []
    return [line["loss"] for line in lines if "loss" in line]


def judge(losses: Sequence[float], features: np.ndarray, contrastive: bool = True) -> Health:
    """Judge a run by its losses and by features of some images.

    Args:
        losses: as logged, in order.
        features: (N, C) of different images.
        contrastive: whether the method compares features of images, which can collapse; those of
            masked methods share a large mean and mean nothing by it.
    """
    if not losses or not all(math.isfinite(loss) for loss in losses):
        return Health(False, "NOT HEALTHY: the loss is not finite. Lower the learning rate in "
                      "config.py (optim_wrapper.optimizer.lr), or train in fp32.")  # fmt: skip
    part = max(len(losses) // 10, 1)
    first, last = (float(np.mean(some)) for some in (losses[:part], losses[-part:]))
    change = f"the loss went from {first:.4g} to {last:.4g}"
    if len(losses) < LEAST_LINES or len(features) < 3:
        return Health(False, f"TOO SHORT TO SAY: {change}, in {len(losses)} line(s) of the log; "
                      f"{len(features)} image(s) to look at. Train longer (--epochs).")  # fmt: skip
    values = torch.from_numpy(features)
    spread, rank = relative_std(values), effective_rank(values)
    seen = (
        f"features of {len(features)} images: spread {spread:.2f} of 1, effective rank {rank:.1f}"
    )
    if rank < LEAST_RANK or (contrastive and spread < LEAST_STD):
        return Health(False, f"NOT HEALTHY: {change}, but different images have nearly the same "
                      f"features ({seen}): the run collapsed, or was too short. Train longer "
                      f"(--epochs), with a larger batch, or a smaller learning rate.")  # fmt: skip
    if last >= first:
        return Health(False, f"DOUBTFUL: {change}, it did not fall ({seen}). Train longer "
                      f"(--epochs), or lower the learning rate.")  # fmt: skip
    return Health(True, f"Healthy: {change}; {seen}.")
