"""What the demo's runs came to: the comparison of both initialisations, and what it is to show."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from demo.job import INITIALISATIONS, TRANSFERS, DemoJob, Transfer
from mmvitssl.visualization.curves import curve, latest_scalars

LEAST_RECONSTRUCTION = 0.6
# the metric that a transfer's initialisations are compared by
DECIDING = {"mask-rcnn": "coco/bbox_mAP", "upernet": "mIoU"}


def chance(batch: int) -> float:
    """SimCLR's loss if all others of both views are equally likely, in both directions."""
    return 2 * math.log(2 * batch - 1)


def standard_error(values: Sequence[float]) -> float:
    """Standard error of the mean of two or more values."""
    return statistics.stdev(values) / math.sqrt(len(values))


def _measured(values: Sequence[float]) -> str:
    """A value of one run, or mean and standard error of several."""
    mean = statistics.fmean(values)
    return f"{mean:#.3g}" if len(values) < 2 else f"{mean:#.3g} ± {standard_error(values):#.2g}"


def results_table(jobs: Sequence[DemoJob]) -> tuple[list[str], list[list[str]]]:
    """Header and rows: a metric per row, an initialisation per column, and their difference."""
    rows = []
    for transfer in TRANSFERS:
        for key, caption in transfer.metrics.items():
            columns = [
                [job.metrics(transfer, init)[key] for job in jobs] for init in INITIALISATIONS
            ]
            columns.append(differences(jobs, transfer, key))
            rows.append([f"{transfer.title}, {caption}", *map(_measured, columns)])
    return ["", *INITIALISATIONS, "difference"], rows


def differences(jobs: Sequence[DemoJob], transfer: Transfer, key: str) -> list[float]:
    """A metric from the pretrained less from random weights, one value per seed."""
    pretrained, random = INITIALISATIONS
    return [
        job.metrics(transfer, pretrained)[key] - job.metrics(transfer, random)[key] for job in jobs
    ]


def gains(jobs: Sequence[DemoJob]) -> list[tuple[str, str, bool]]:
    """Whether pretraining helps each transfer; with several seeds, by 2 standard errors."""
    rows = []
    for transfer in TRANSFERS:
        key = DECIDING[transfer.name]
        gained = differences(jobs, transfer, key)
        several = len(jobs) > 1
        least = 2 * standard_error(gained) if several else 0.0
        bound = f" by 2 standard errors over {len(jobs)} seeds" if several else " (one seed)"
        words = (
            f"{transfer.title}: more {transfer.metrics[key]} from pretrained than random weights"
        )
        rows.append((words + bound, _measured(gained), statistics.fmean(gained) > least))
    return rows


def claims(jobs: Sequence[DemoJob], batch: int) -> list[tuple[str, str, bool]]:
    """What the demo is to show: words, measured value, whether it holds.

    Args:
        jobs: one per seed; pretraining is judged by the first.
        batch: images in a pretraining batch, for the value at chance.
    """
    relative = jobs[0].held_out()["pretext/reconstruction_relative_error"]
    contrast = curve(latest_scalars(jobs[0].work_dir / "pretrain"), "raw_contrastive")[1][-1]
    return [
        *gains(jobs),
        (
            f"reconstruction error on held-out scenes at most {LEAST_RECONSTRUCTION} of that of "
            f"the mean colour",
            f"{relative:.2f}",
            relative <= LEAST_RECONSTRUCTION,
        ),
        (
            f"contrastive loss at the end below chance ({chance(batch):.2f} for {batch} images)",
            f"{contrast:.2f}",
            contrast < chance(batch),
        ),
    ]
