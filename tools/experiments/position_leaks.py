#!/usr/bin/env python
"""What position embeddings give away of the pretext tasks, by short trainings on one CPU core.

Every task is trained alone, by default from several seeds, on crops of photographs (colour and
inpainting) or of upright faces (the others), and on confetti: patches of one colour each, drawn
independently and of one brightness, so that nothing in a picture tells of neighbours, places,
hidden colours or orientation. A task that beats chance on confetti is answered from something else
than pixels. Evaluation is on parts of the photographs that no training crop touched, on other
pictures of faces, and on new confetti.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import skimage.data
import torch
import torch.nn.functional as F
from mmengine.registry import init_default_scope
from torch import Tensor

import mmvitssl.models.registered  # noqa: F401  (registers them)
from mmvitssl.models.algorithms import Pretrainer
from mmvitssl.models.algorithms.step import PretrainStep
from mmvitssl.models.corruption.fills import LUMA
from mmvitssl.models.corruption.harmonise import take
from mmvitssl.models.targets.lab import rgb_to_lab
from mmvitssl.registry import MODELS

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from demo.photographs import read_photograph
from mmvitssl.structures import View

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket", "china", "flower")
SHARE = 0.7  # of a photograph's width, from the left, is for training; of the faces, the first
FACES = 100  # of scikit-image's excerpt of Labeled Faces in the Wild, 25 x 25 pixels each
WIDTH = 64  # channels of the encoder
MEAN, STD = 0.45, 0.25
IMAGES = ("pictures", "confetti")
HEADER = ("case", "task", "the encoder is told", "measure", "chance", *IMAGES)


@dataclass(frozen=True)
class Case:
    """A task and what its encoder is told of positions.

    Attributes:
        told: in words.
        task: config.
        chance: accuracy of one who sees no pixel and no position, or knows only which patches
            changed places; None: the score is an error as a share of that of the best constant.
        encoder: what differs from the encoder of all.
        faces: whether the pictures are faces, of 24 pixels, or photographs, of 48.
        patch: side of a patch.
        steps: of training.
        batch: images a step.
        lr: greatest learning rate.
    """

    told: str
    task: dict[str, Any]
    chance: float | None
    encoder: dict[str, Any] = field(default_factory=dict)
    faces: bool = True
    patch: int = 8
    steps: int = 200
    batch: int = 32
    lr: float = 2e-3

    @property
    def side(self) -> int:
        """Of the images, in pixels."""
        return 24 if self.faces else 48


def task(kind: str, **settings: Any) -> dict[str, Any]:
    return dict(type=kind, in_channels=WIDTH, **settings)


def jigsaw(position: str) -> dict[str, Any]:
    return task("Jigsaw", patches=4, cells=9, hidden=64, position=position)


POSITIONS, HIDDEN = "positions", dict(unknown_position=True)
NONE: dict[str, Any] = dict(position="none")
PLACE = task("RelativePosition", pairs=1)
TURN = task("Rotation", token="cls")
COLOUR = task("Colorization", patches=6, hidden=64)
PAINT = task("Inpainting", patches=9, patch_size=8)
CASES = {
    "place": Case(POSITIONS, PLACE, 1 / 8, patch=6),
    "place-hidden": Case(
        "not around anchors", {**PLACE, "hide_position": True}, 1 / 8, HIDDEN, patch=6
    ),
    "jigsaw-origin": Case("where it comes from", jigsaw("origin"), 1 / 4),
    "jigsaw-slot": Case("where it lies now", jigsaw("slot"), 1 / 4),
    "jigsaw-hidden": Case("not of moved ones", jigsaw("hidden"), 1 / 4, HIDDEN),
    "rotation": Case(POSITIONS, TURN, 1 / 4, patch=6),
    "rotation-none": Case("nothing", TURN, 1 / 4, NONE, patch=6),
    "colour": Case(POSITIONS, COLOUR, None, faces=False),
    "colour-none": Case("nothing", COLOUR, None, NONE, faces=False),
    "paint": Case(POSITIONS, PAINT, None, faces=False),
    "paint-none": Case("nothing", PAINT, None, NONE, faces=False),
}


def crop(picture: Tensor, least: int, most: int, side: int, generator: torch.Generator) -> Tensor:
    """(3, H, W) -> (3, side, side): a random square of ``least`` to ``most`` pixels, resized."""
    most = min(most, *picture.shape[1:])
    size = int(torch.randint(least, most + 1, (1,), generator=generator))
    top, left = (
        int(torch.randint(length - size + 1, (1,), generator=generator))
        for length in picture.shape[1:]
    )
    square = picture[None, :, top : top + size, left : left + size]
    return F.interpolate(square, (side, side), mode="bilinear", antialias=True)[0]


def photographs(number: int, side: int, generator: torch.Generator, held_out: bool) -> Tensor:
    """(number, 3, side, side) in [0, 1]: squares of the left or, held out, the right parts."""
    parts = []
    for name in PHOTOGRAPHS:
        picture = torch.from_numpy(read_photograph(name).copy()).permute(2, 0, 1).float() / 255
        border = int(picture.shape[2] * SHARE)
        parts.append(picture[:, :, border:] if held_out else picture[:, :, :border])
    cut = [crop(parts[i % len(parts)], 64, 140, side, generator) for i in range(number)]
    return torch.stack(cut)


def faces(number: int, side: int, generator: torch.Generator, held_out: bool) -> Tensor:
    """(number, 3, side, side) in [0, 1]: upright grey faces, half of them as in a mirror."""
    border = int(FACES * SHARE)
    grey = torch.from_numpy(skimage.data.lfw_subset()[:FACES]).float()
    grey = (grey[border:] if held_out else grey[:border])[:, None].expand(-1, 3, -1, -1)
    cut = torch.stack([crop(grey[i % len(grey)], 21, 25, side, generator) for i in range(number)])
    mirror = torch.rand(number, 1, 1, 1, generator=generator) < 0.5
    return torch.where(mirror, cut.flip(3), cut)


def confetti(number: int, side: int, patch: int, generator: torch.Generator) -> Tensor:
    """(number, 3, side, side): patches of one colour each, all of luma one half."""
    cells = side // patch
    colours = 0.25 + 0.5 * torch.rand(number, 3, cells, cells, generator=generator)
    luma = (colours * torch.tensor(LUMA)[:, None, None]).sum(dim=1, keepdim=True)
    colours = colours - luma + 0.5
    return colours.repeat_interleave(patch, 2).repeat_interleave(patch, 3)


def pictures(kind: str, case: Case, number: int, seed: int, held_out: bool) -> Tensor:
    """Images to train on, or to examine with."""
    generator = torch.Generator().manual_seed(2 * seed + held_out)
    if kind == "confetti":
        return confetti(number, case.side, case.patch, generator)
    return (faces if case.faces else photographs)(number, case.side, generator, held_out)


def batch_of(images: Tensor, index: Tensor, epoch: int) -> tuple[list[View], dict[str, Tensor]]:
    """Views and samples as the Pretrainer takes them."""
    pixels = images[index]
    view = View(pixels, (pixels - MEAN) / STD, torch.full((3,), MEAN), torch.full((3,), STD))
    return [view], {"index": index, "epoch": torch.full_like(index, epoch)}


def build(case: Case, seed: int) -> Pretrainer:
    torch.manual_seed(seed)
    encoder = dict(
        type="ViT",
        arch=dict(embed_dim=WIDTH, depth=3, num_heads=4),
        image_size=case.side,
        patch_size=case.patch,
        position="sincos_row_first",
        initialisation="mocov3",
    )
    encoder.update(case.encoder)
    return MODELS.build(dict(type="Pretrainer", encoder=encoder, tasks=dict(task=case.task)))


def fit(case: Case, images: Tensor, seed: int = 0) -> Pretrainer:
    """Train the task alone on the images."""
    model, generator = build(case, seed), torch.Generator().manual_seed(seed)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=case.lr, weight_decay=0.05, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, case.lr, total_steps=case.steps, pct_start=0.15
    )
    for number in range(case.steps):
        index = torch.randint(len(images), (case.batch,), generator=generator)
        logs: Any = model(*batch_of(images, index, number), mode="loss")
        optimizer.zero_grad()
        logs["loss_task"].backward()
        optimizer.step()
        schedule.step()
    return model.eval()


def truth(model: Pretrainer, step: PretrainStep) -> Tensor:
    """(T, D) what a task that predicts numbers should say: mean ab, or normalised pixels."""
    predictor: Any = model.tasks["task"]
    given = step.given(predictor, 0)
    if hasattr(predictor, "predicts"):
        return rgb_to_lab(predictor.pixels(step, 0, given))[..., 1:].mean(dim=(2, 3)).flatten(0, 1)
    return take(step.view(0).images, step.patch_size, given.singles).reshape(-1, 3)


def constant_error(values: Tensor, colour: bool) -> float:
    """Error of the best answer (but for little) that is always the same."""
    if colour:
        return (values - values.mean(dim=0)).norm(dim=1).mean().item()
    return (values - values.median(dim=0).values).abs().mean().item()


@torch.no_grad()
def examine(model: Pretrainer, images: Tensor) -> dict[str, float]:
    """Metrics of a trained task; 'score' is the accuracy, or the error as a share of a constant's.

    Args:
        model: as :func:`fit` returns it.
        images: (n, 3, H, W), not those of the training.
    """
    sums: dict[str, float] = {}
    values: list[Tensor] = []
    for index in torch.arange(len(images)).split(128):
        step = model.begin(*batch_of(images, index, 10**6))
        for name, value in model.ask(step)["task"].metrics.items():
            sums[name] = sums.get(name, 0.0) + float(value) * len(index) / len(images)
        if "accuracy" not in sums:
            values.append(truth(model, step))
    if "accuracy" in sums:
        return {**sums, "score": sums["accuracy"]}
    colour = "ab_error" in sums
    constant = constant_error(torch.cat(values), colour)
    error = sums["ab_error" if colour else "error"]
    return {**sums, "constant_error": constant, "score": error / constant}


def score(case: Case, kind: str, seed: int, train: int = 2000, test: int = 512) -> float:
    """Train and examine once."""
    model = fit(case, pictures(kind, case, train, seed, held_out=False), seed)
    return examine(model, pictures(kind, case, test, seed, held_out=True))["score"]


def row(name: str, case: Case, scores: dict[str, list[float]]) -> list[str]:
    """A line of the table."""
    kind = case.task["type"]
    measure = "error / constant's" if case.chance is None else "accuracy"
    chance = "1.00" if case.chance is None else f"{case.chance:.3f}"
    cells = []
    for values in scores.values():
        spread = f" ± {stdev(values):.3f}" if len(values) > 1 else ""
        cells.append(f"{mean(values):.3f}{spread}")
    return [name, kind, case.told, measure, chance, *cells]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each case")
    parser.add_argument("--steps", type=int, help="of every training; by default each case's own")
    parser.add_argument("--images", type=int, default=2000, help="crops to train on")
    parser.add_argument("--test-images", type=int, default=512, help="to examine with")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="write all scores")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    init_default_scope("mmvitssl")
    torch.set_num_threads(args.threads)
    start, results = time.process_time(), {}
    print("| " + " | ".join(HEADER) + " |\n" + "| --- " * len(HEADER) + "|")
    for name in args.cases:
        case = CASES[name]
        if args.steps:
            case = replace(case, steps=args.steps)
        results[name] = {
            kind: [
                score(case, kind, seed, args.images, args.test_images) for seed in range(args.seeds)
            ]
            for kind in IMAGES
        }
        print("| " + " | ".join(row(name, case, results[name])) + " |", flush=True)
        if args.out:
            args.out.write_text(json.dumps(results, indent=2))
    seconds = time.process_time() - start
    print(f"Mean ± deviation over {args.seeds} seeds; {seconds:.0f} s of a CPU core.")


if __name__ == "__main__":
    main()
