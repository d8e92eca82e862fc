"""The demo's report: what happened, in curves, pictures and a table."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from PIL import Image

from demo.job import INITIALISATIONS, PRETRAIN_CONFIG, TRANSFERS, DemoJob, Transfer
from demo.outcome import chance, claims, results_table
from demo.photographs import PHOTOGRAPHS
from demo.steps import Step, StepRunner
from mmvitssl.visualization.curves import curve, latest_scalars, plot_curves
from mmvitssl.visualization.report import Report

PICTURES = 4
LOSSES = {"mask-rcnn": "loss", "upernet": "loss"}


def side_by_side(pictures: Sequence[Path]) -> bytes:
    """Join pictures of one image, each truth | prediction: truth | prediction | prediction ...

    Returns:
        a PNG.
    """
    parts: list[Image.Image] = []
    for path in pictures:
        with Image.open(path) as opened:
            drawn = opened.convert("RGB")
        half = drawn.width // 2
        if not parts:
            parts.append(drawn.crop((0, 0, half, drawn.height)))
        parts.append(drawn.crop((half, 0, 2 * half, drawn.height)))
    joined = Image.new("RGB", (sum(part.width for part in parts), parts[0].height))
    left = 0
    for part in parts:
        joined.paste(part, (left, 0))
        left += part.width
    stream = BytesIO()
    joined.save(stream, "PNG")
    return stream.getvalue()


def _comparison(report: Report, job: DemoJob) -> None:
    for transfer in TRANSFERS:
        drawn = [_drawn(job.folder(transfer, init) / "pictures") for init in INITIALISATIONS]
        for pictures in zip(*drawn, strict=True):
            caption = f"{transfer.title}: truth | from pretrained | from random weights."
            report.picture(side_by_side(pictures), caption, 500)


def _pretraining(report: Report, job: DemoJob, batch: int) -> None:
    folder = job.work_dir / "pretrain"
    scalars = latest_scalars(folder)
    report.section(
        "Pretraining without labels",
        "RePre on SimCLR with a small ViT: each image is seen in two augmented views. The "
        "contrastive loss asks which other view of the batch belongs to the same image; the "
        "reconstruction branch paints the first view from the features of four depths.",
    )
    report.picture(
        plot_curves(
            {"contrastive loss (raw)": curve(scalars, "raw_contrastive")},
            "Contrast of two views",
            "loss",
            {"chance": chance(batch)},
        ),
        "SimCLR's loss over the batch; the dashed line is its value at chance.",
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
        "The same config, data and seed from the pretrained encoder and from random weights.",
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


def write_report(
    jobs: Sequence[DemoJob], runner: StepRunner, steps: list[Step], batch: int
) -> Path:
    """Write ``report.html``.

    Args:
        jobs: whose steps have all run, one per seed; the first's are drawn.
        runner: that ran them.
        steps: as they were run.
        batch: images in a pretraining batch, for the value at chance.
    """
    job, sizes = jobs[0], jobs[0].sizes
    report = Report("From photographs to detection and segmentation")
    report.text(
        f"A Vision Transformer is pretrained on {sizes.pretrain} images without labels "
        f"({PRETRAIN_CONFIG}), and its checkpoint goes as it is into UperNet and Mask R-CNN, which "
        f"have {sizes.train} labelled scenes to learn from. Classes differ in shape and texture, "
        f"not in colour. Below: the same training from random weights beside it."
    )
    report.section("Pretrained and random weights")
    _comparison(report, job)
    report.table(*results_table(jobs))
    seeds = "one seed" if len(jobs) == 1 else f"mean and standard error of {len(jobs)} seeds"
    report.text(
        f"AP in [0, 1]; mIoU and accuracy in per cent; {seeds}; {sizes.val} scenes to evaluate on. "
        f"docs/results/demo.md says how split and recipe were chosen, and by what numbers."
    )
    report.table(
        ["what the demo is to show", "measured", ""],
        [[words, value, "yes" if holds else "NO"] for words, value, holds in claims(jobs, batch)],
    )
    _pretraining(report, job, batch)
    for transfer in TRANSFERS:
        _transfer(report, job, transfer)
    _origins(report, runner, steps)
    return report.write(job.work_dir / "report.html")
