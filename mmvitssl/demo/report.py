"""The demo's report: what happened, in curves, pictures and a table."""

from __future__ import annotations

import math
from pathlib import Path

from mmvitssl.demo.job import INITIALISATIONS, PRETRAIN_CONFIG, TRANSFERS, DemoJob, Transfer
from mmvitssl.demo.photographs import PHOTOGRAPHS
from mmvitssl.demo.steps import Step, StepRunner
from mmvitssl.visualization.curves import curve, latest_scalars, plot_curves
from mmvitssl.visualization.report import Report

LEAST_RECONSTRUCTION = 0.6
PICTURES = 4
LOSSES = {"mask-rcnn": "loss", "upernet": "loss"}


def chance(batch: int, scale: float = 0.4) -> float:
    """MoCo v3's loss when all keys are equally likely: two directions of scale x log(batch)."""
    return 2 * scale * math.log(batch)


def claims(job: DemoJob, batch: int) -> list[tuple[str, str, bool]]:
    """What the demo is to show: words, measured value, whether it holds."""
    held_out = job.held_out()
    relative = held_out["pretext/reconstruction_relative_error"]
    scalars = latest_scalars(job.work_dir / "pretrain")
    contrast = curve(scalars, "raw_contrastive")[1][-1]
    rows = [
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
    least = {"mask-rcnn": ("coco/bbox_mAP_50", 0.1), "upernet": ("mIoU", 20.0)}
    for transfer in TRANSFERS:
        name, bound = least[transfer.name]
        value = job.metrics(transfer, "pretrained")[name]
        rows.append(
            (
                f"{transfer.title} from the pretrained weights: {transfer.metrics[name]} above "
                f"{bound:g}",
                f"{value:.3g}",
                value > bound,
            )
        )
    return rows


def results_table(job: DemoJob) -> tuple[list[str], list[list[str]]]:
    """Header and rows: a metric a row, an initialisation a column."""
    rows = []
    for transfer in TRANSFERS:
        for key, caption in transfer.metrics.items():
            values = [job.metrics(transfer, init)[key] for init in INITIALISATIONS]
            rows.append([f"{transfer.title}, {caption}", *(f"{value:.3g}" for value in values)])
    return ["", *INITIALISATIONS], rows


def _pretraining(report: Report, job: DemoJob, batch: int) -> None:
    folder = job.work_dir / "pretrain"
    scalars = latest_scalars(folder)
    report.section(
        "Pretraining without labels",
        "RePre on MoCo v3 with a ViT-Ti: each image is seen in two augmented views. The "
        "contrastive loss asks which keys of the batch belong to the same image; the "
        "reconstruction branch "
        "paints the first view from the features of four depths. Two learned weights balance them.",
    )
    report.picture(
        plot_curves(
            {"contrastive loss (raw)": curve(scalars, "raw_contrastive")},
            "Contrast of two views",
            "loss",
            {"chance": chance(batch)},
        ),
        "MoCo v3's loss over the batch; the dashed line is its value at chance.",
        440,
    )
    report.picture(
        plot_curves(
            {
                "reconstruction": curve(scalars, "reconstruction_error"),
                "mean colour of each image": curve(scalars, "reconstruction_mean_colour_error"),
            },
            "Reconstruction of the first view",
            "mean absolute error",
        ),
        "Mean absolute error over all pixels in [0, 1], beside the error of predicting each "
        "image's mean colour.",
        440,
    )
    report.picture(
        plot_curves(
            {
                "contrastive": curve(scalars, "weight_contrastive"),
                "reconstruction": curve(scalars, "weight_reconstruction"),
            },
            "Learned weights",
            "weight",
        ),
        "The factors that the uncertainty weighting puts on the two losses.",
        440,
    )
    pictures = sorted(
        folder.glob("*/vis_data/vis_image/reconstruction_*.png"),
        key=lambda path: int(path.stem.rsplit("_", 1)[1]),
    )
    report.section("Reconstructions", "Left: the augmented view. Right: what the decoder paints.")
    for path, when in ((pictures[0], "before training"), (pictures[-1], "after training")):
        report.picture(path, f"Training images, {when}: original | reconstruction.", 300)
    held_out = folder / "pictures" / "reconstruction_0.png"
    report.picture(held_out, "Held-out scenes, after training: original | reconstruction.", 300)


def _drawn(folder: Path) -> list[Path]:
    """Pictures of tools/test.py --show-dir, by the name of the image."""
    found = [path for kind in ("jpg", "png") for path in folder.rglob(f"*.{kind}")]
    return sorted(found, key=lambda path: path.name)[:PICTURES]


def _transfer(report: Report, job: DemoJob, transfer: Transfer) -> None:
    report.section(
        transfer.title,
        "The same config, data and seed from the pretrained encoder and from random weights. In "
        "each picture the left half is the truth and the right half the prediction.",
    )
    curves = {
        init: curve(latest_scalars(job.folder(transfer, init)), LOSSES[transfer.name])
        for init in INITIALISATIONS
    }
    report.picture(
        plot_curves(curves, f"{transfer.title}: training loss", "loss"),
        "Total training loss from both initialisations.",
        440,
    )
    for init in INITIALISATIONS:
        report.text(f"From {init} weights:")
        for path in _drawn(job.folder(transfer, init) / "pictures"):
            report.picture(path, f"{transfer.title}, {init} weights: truth | prediction.", 440)


def _origins(report: Report, runner: StepRunner, steps: list[Step]) -> None:
    report.section("Commands", "All of this was made by these commands, from the repository root.")
    lines = []
    for step in steps:
        lines += [f"# {step.title} ({runner.seconds(step):.0f} s)", step.shell(), ""]
    report.code(lines)
    report.section("Photographs", "The photographs come with the pip packages named.")
    report.table(
        ["photograph", "package", "by", "licence"],
        [[p.name, p.package, p.author, p.licence] for p in PHOTOGRAPHS],
    )


def write_report(job: DemoJob, runner: StepRunner, steps: list[Step], batch: int) -> Path:
    """Write ``report.html``.

    Args:
        job: whose steps have all run.
        runner: that ran them.
        steps: as they were run.
        batch: images in a pretraining batch, for the value at chance.
    """
    report = Report("From photographs to detection and segmentation")
    report.text(
        f"A Vision Transformer is pretrained without labels ({PRETRAIN_CONFIG}), and its "
        f"checkpoint goes as it is into Mask R-CNN and UperNet. Everything is small enough for two "
        f"CPU cores, so the numbers show that the path works, not how good the methods are: one "
        f"seed, {job.sizes.train} training scenes, {job.sizes.val} to evaluate on."
    )
    report.section("Results")
    header, rows = results_table(job)
    report.table(header, rows)
    report.text(
        "AP in [0, 1]; mIoU and accuracy in per cent; one seed. A few hundred steps of pretraining "
        "are far from what helps, and differences of this size are no evidence for or against it."
    )
    report.table(
        ["what the demo is to show", "measured", ""],
        [[words, value, "yes" if holds else "NO"] for words, value, holds in claims(job, batch)],
    )
    _pretraining(report, job, batch)
    for transfer in TRANSFERS:
        _transfer(report, job, transfer)
    _origins(report, runner, steps)
    return report.write(job.work_dir / "report.html")
