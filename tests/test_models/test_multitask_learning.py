"""Each pretext task is learnable, and from pixels: without its cue it stays at chance.

Short trainings of one task alone, by the functions of tools/experiments/position_leaks.py. Tasks
are learned on faces or on crops of photographs, and examined on pictures of other faces or on parts
of the photographs that no training crop touched. Without the cue they see confetti (patches of one
colour each, independent, of one brightness), or pictures turned beforehand.

Bounds: hits of a model that knows nothing are binomial, as labels are drawn independently of all
that it sees; ``bound`` is passed once in ten thousand trainings. One patch of a permutation of m is
not independent of the others: the hits of any fixed answers in it have a variance of at most 1,
that of m - 1 independent ones (m is 4, the chance 1/4), and so it counts as m - 1.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from scipy.stats import binom
from torch import Tensor

from mmvitssl.models.corruption import fills
from mmvitssl.models.corruption.harmonise import take
from tests.marks import some
from tools.experiments.position_leaks import (
    CASES,
    COLOUR,
    PAINT,
    Case,
    batch_of,
    build,
    examine,
    fit,
    pictures,
    task,
)

TRAIN, TEST = 1500, 512
RARE = 1e-4
COLOUR_CASES = {
    predicts: replace(
        CASES["colour"], steps=100, task={**COLOUR, "predicts": predicts, "patch_size": 8}
    )
    for predicts in ("mean", "pixels", "bins")
}
RESTORE = task("Inpainting", patches=4, patch_size=6)
PAINT_CASES = {
    mode: Case("positions", {**RESTORE, "modes": (mode,)}, None, patch=6, steps=250, lr=4e-3)
    for mode in ("mask", "noise", "other", "blur")
}
# faces have no colour that could be lost
PAINT_CASES["grey"] = replace(CASES["paint"], steps=100, task={**PAINT, "modes": ("grey",)})


@cache
def shown(kind: str, faces: bool, patch: int, held_out: bool) -> Tensor:
    case = Case("", {}, None, faces=faces, patch=patch)
    return pictures(kind, case, TEST if held_out else TRAIN, seed=0, held_out=held_out)


def result(case: Case, kind: str) -> dict[str, float]:
    """Metrics on held-out pictures after a short training."""
    torch.set_num_threads(1)
    model = fit(case, shown(kind, case.faces, case.patch, held_out=False))
    return examine(model, shown(kind, case.faces, case.patch, held_out=True))


def bound(chance: float, hits_of_an_image: int = 1) -> float:
    """The accuracy that is exceeded with a probability of RARE by one who knows nothing."""
    number = TEST * hits_of_an_image
    return float(binom.isf(RARE, number, chance)) / number


def independent(name: str) -> int:
    return 3 if name.startswith("jigsaw") else 1


def test_the_bound_is_that_of_guessing() -> None:
    guesses = torch.rand(4000, TEST, generator=torch.Generator().manual_seed(0)) < 1 / 8
    shares = guesses.float().mean(dim=1)
    assert int((shares > bound(1 / 8)).sum()) <= 3 and shares.max() > 0.8 * bound(1 / 8)
    orders = torch.rand(4000, TEST, 4).argsort(dim=2)
    for answers in (torch.arange(4), torch.zeros(4, dtype=torch.long)):
        right = (orders == answers).float().mean(dim=(1, 2))
        assert int((right > bound(1 / 4, 3)).sum()) <= 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("place", 0.9),
        pytest.param("place-hidden", 0.22, marks=pytest.mark.long),
        pytest.param("jigsaw-origin", 0.9, marks=pytest.mark.long),
        ("jigsaw-slot", 0.5),
        pytest.param("jigsaw-hidden", 0.5, marks=pytest.mark.long),
        ("rotation", 0.6),
    ],
)
def test_classes_are_learned(name: str, least: float) -> None:
    """On other people's pictures; all far above what guessing reaches."""
    chance = CASES[name].chance
    assert chance is not None and least > bound(chance, independent(name))
    assert result(CASES[name], "pictures")["accuracy"] > least


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    some(
        ["place-hidden", "jigsaw-slot", "jigsaw-hidden", "rotation"],
        lambda name: name in ("jigsaw-slot", "rotation"),
    ),
)
def test_without_a_cue_classes_stay_at_chance(name: str) -> None:
    case = CASES[name]
    assert case.chance is not None
    assert result(case, "confetti")["accuracy"] <= bound(case.chance, independent(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["place", "jigsaw-origin"])
def test_positions_alone_give_the_answer_away(name: str) -> None:
    """What the tests above would have seen, had positions reached the asked patches."""
    case = replace(CASES[name], steps=120)
    assert result(case, "confetti")["accuracy"] > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("size", some([(24, 24), (24, 36)], lambda size: size == (24, 36)), ids=str)
def test_rotation_is_not_told_from_how_views_are_turned(size: tuple[int, int]) -> None:
    """Faces that were turned at random before: the class is then independent of the picture."""
    case = CASES["rotation"]
    generator = torch.Generator().manual_seed(3)
    prepared = []
    for held_out in (False, True):
        faces = shown("pictures", True, case.patch, held_out)
        quarters = torch.randint(4, (len(faces),), generator=generator)
        turned = torch.stack([face.rot90(int(k), dims=(1, 2)) for face, k in
                              zip(faces, quarters, strict=True)])  # fmt: skip
        margin = (size[1] - 24) // 2
        prepared.append(torch.nn.functional.pad(turned, (margin, margin, 0, 0), mode="reflect"))
    encoder = dict(image_size=size)
    model = fit(replace(case, encoder=encoder), prepared[0])
    assert examine(model, prepared[1])["accuracy"] <= bound(1 / 4)


@pytest.mark.slow
@pytest.mark.parametrize("predicts", some(COLOUR_CASES, lambda name: name == "bins"))
def test_colours_are_learned(predicts: str) -> None:
    """Errors in ab, well below those of the mean colour of the held-out patches, and of grey."""
    metrics = result(COLOUR_CASES[predicts], "pictures")
    assert metrics["ab_error"] < 0.6 * metrics["constant_error"]
    assert metrics["ab_error"] < 0.6 * metrics["grey_ab_error"]


@pytest.mark.slow
@pytest.mark.parametrize("predicts", some(COLOUR_CASES, lambda name: name == "mean"))
def test_without_a_cue_colours_are_not_known(predicts: str) -> None:
    """Other patches and the brightness tell nothing: no answer is better than the mean colour.

    An answer that is independent of the colours errs by at least as much as the best constant, but
    for chance: the error of the mean of 512 x 6 patches is below 1 % (their errors deviate by half
    of their mean at most, and 3072 of them by 0.9 % of it; four deviations are 4 %).
    """
    assert result(COLOUR_CASES[predicts], "confetti")["score"] > 0.96


@torch.no_grad()
def errors_of_simple_answers(case: Case) -> dict[str, float]:
    """L1 of the patch as it is seen, and of the mean colour of what is visible of its image."""
    model = build(case, seed=0).eval()
    step = model.begin(*batch_of(shown("pictures", case.faces, case.patch, held_out=True),
                                 torch.arange(TEST), 10**6))  # fmt: skip
    places, view = step.given(model.tasks["task"], 0).singles, step.view(0)
    truth, seen = (take(image, case.patch, places) for image in (view.images, view.seen))
    number = (case.side // case.patch) ** 2
    every = take(view.images, case.patch, torch.arange(number).expand(TEST, -1)).mean(dim=(2, 3))
    visible = torch.ones(TEST, number).scatter(1, places, 0.0)[..., None]
    mean = (every * visible).sum(1) / visible.sum(1)
    return {
        "as seen": (truth - seen).abs().mean().item(),
        "mean colour": (truth - mean[:, None, None, None]).abs().mean().item(),
    }


def test_every_corruption_is_restored() -> None:
    assert set(PAINT_CASES) == set(fills.MODES)


@pytest.mark.slow
@pytest.mark.parametrize("mode", some(PAINT_CASES, lambda mode: mode == "mask"))
def test_patches_are_restored(mode: str) -> None:
    """Better than what is seen of them, and than the mean colour of the rest of the picture."""
    error = result(PAINT_CASES[mode], "pictures")["error"]
    simple = errors_of_simple_answers(PAINT_CASES[mode])
    assert error < 0.9 * min(simple.values())


@pytest.mark.slow
@pytest.mark.parametrize("mode", some(["mask", "noise", "other"], lambda mode: mode == "mask"))
def test_without_a_cue_patches_are_not_known(mode: str) -> None:
    """What replaces a patch does not give it away: no better than a constant, as for colours.

    Four deviations of the mean error of 512 x 4 patches of one colour each are 4.2 %.
    """
    assert result(PAINT_CASES[mode], "confetti")["score"] > 0.958


def test_confetti_tells_nothing_but_colours() -> None:
    """One colour a patch, one brightness, uncorrelated neighbours, in the range of pixels."""
    images = shown("confetti", False, 8, held_out=False)
    assert images.min() >= 0 and images.max() <= 1
    grey: Any = fills.grey(images.permute(0, 2, 3, 1)[None])
    assert torch.allclose(grey, torch.full_like(grey, 0.5), atol=1e-5)
    cells = images[:, :, ::8, ::8]
    assert torch.equal(cells.repeat_interleave(8, 2).repeat_interleave(8, 3), images)
    flat = cells.flatten(2) - cells.mean(dim=(0, 2, 3), keepdim=True).flatten(2)
    pairs = (flat[:, :, :-1] * flat[:, :, 1:]).mean() / flat.square().mean()
    assert abs(pairs) < 0.02
