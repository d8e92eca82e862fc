"""Schedules end with the training, for every shipped config and any length of training."""

from __future__ import annotations

import copy
import functools
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import PARAM_SCHEDULERS

from mmvitssl.compat import as_written
from mmvitssl.engine.config_files import read_config
from mmvitssl.engine.errors import UserError
from mmvitssl.engine.schedules import fit_schedules, resolve_schedules, training_length

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
EVERY = [
    path
    for path in sorted(CONFIGS.rglob("*.py"))
    if "_base_" not in path.parts and not path.name.startswith("knn_")
]
# those that state a length or a schedule; the others inherit both
LENGTHS = re.compile(r"max_epochs|max_iters|LR'")
STATED = [path for path in EVERY if LENGTHS.search(path.read_text())]
EPOCH = 7  # iterations


def rates(schedulers: Any, length: int, by_epoch: bool, epoch: int = EPOCH) -> list[float]:
    """The rate of each iteration of a training, and the one after the last; it starts from 1."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    built = [
        PARAM_SCHEDULERS.build(
            dict(scheduler), default_args=dict(optimizer=optimizer, epoch_length=epoch)
        )
        for scheduler in schedulers
    ]
    optimizer.step()
    found = [optimizer.param_groups[0]["lr"]]
    for number in range(1, length * (epoch if by_epoch else 1) + 1):
        for scheduler in built:
            if not scheduler.by_epoch or number % epoch == 0:
                scheduler.step()
        found.append(optimizer.param_groups[0]["lr"])
    return found


@functools.cache
def distinct(paths: tuple[Path, ...]) -> list[tuple[Path, Config]]:
    """One config of each distinct schedule."""
    found: dict[str, tuple[Path, Config]] = {}
    for path in paths:
        with as_written():
            config = Config.fromfile(path)
        key = repr((config.train_cfg, config.param_scheduler))
        found.setdefault(key, (path, config))
    return list(found.values())


def published_end(schedulers: Any) -> float:
    """Of a training of any length whose rate starts from 1."""
    last = schedulers[-1]
    if "milestones" in last:
        return last.gamma ** len(last.milestones)
    return last.get("eta_min", last.get("eta_min_ratio", 0.0))


@pytest.mark.parametrize(
    "paths", [tuple(STATED[::3]), pytest.param(tuple(EVERY), marks=pytest.mark.long)],
    ids=["some", "all"],
)  # fmt: skip
@pytest.mark.parametrize("length", [1, 3, 100])
def test_the_last_rate_is_the_published_one_for_any_length(
    length: int, paths: tuple[Path, ...]
) -> None:
    assert len(distinct(paths)) > 10
    for path, config in distinct(paths):
        stated = dict(train_cfg=config.train_cfg, param_scheduler=config.param_scheduler)
        mine = Config(copy.deepcopy(stated))
        by_epoch = training_length(mine)[1]
        mine.train_cfg["max_epochs" if by_epoch else "max_iters"] = length
        resolve_schedules(mine)
        epoch = 200 if by_epoch and length < 100 else EPOCH
        total = length * (epoch if by_epoch else 1)
        schedulers, _ = fit_schedules(mine.param_scheduler, epoch, total)
        last = schedulers[-1]
        whole = last.get("by_epoch") and not last.get("convert_to_iter_based")
        steps = (last["end"] - last.get("begin", 0)) * (epoch if by_epoch and not whole else 1)
        if not last.get("by_epoch"):
            steps = last["end"] - last.get("begin", 0)
        if steps < 3:  # nothing to see
            continue
        found = rates(schedulers, length, by_epoch, epoch)
        # MMEngine's schedules stand one step before their end when the training is over
        near = 2 / steps if "Poly" in last.type else 6 / steps**2
        near *= 4 if last.get("lag") else 1  # two steps before
        assert found[-1] == pytest.approx(published_end(config.param_scheduler), abs=near), path
        assert max(found) == pytest.approx(1.0, abs=0.12), path


def config(schedulers: list[dict[str, Any]], **loop: Any) -> Config:
    return Config(dict(train_cfg=loop, param_scheduler=schedulers))


def cosine(**settings: Any) -> dict[str, Any]:
    return dict(type="CosineAnnealingLR", by_epoch=True, convert_to_iter_based=True, **settings)


def test_a_recipe_at_a_third_of_its_length(tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    base = CONFIGS / "repre/repre-mocov3_vit-small_32xb128-cosine-300e_in1k.py"
    mine.write_text(f"_base_ = '{base}'\ntrain_cfg = dict(max_epochs=100)\n")
    notes: list[str] = []
    read = read_config(str(mine), None, notes)
    assert [(s.begin, s.end) for s in read.param_scheduler] == [(0, 40), (40, 100)] and not notes
    read = read_config(str(mine), {"train_cfg.max_epochs": 60}, notes)
    assert [(s.begin, s.end) for s in read.param_scheduler] == [(0, 6), (6, 60)]
    assert notes == [
        "A warm-up of 40 epochs would take half or more of the 60 of the training: it takes 6."
    ]


@pytest.mark.parametrize("length", [2, 3, 6])
def test_a_warm_up_in_epochs_rises_per_iteration_in_a_short_training(length: int) -> None:
    """DeiT's warm-up of whole epochs would leave the first one at next to nothing."""
    path = CONFIGS / "supervised/supervised_vit-small_8xb128-cosine-300e_in1k.py"
    read = read_config(str(path), {"train_cfg.max_epochs": length})
    schedulers, _ = fit_schedules(read.param_scheduler, EPOCH * 10, length * EPOCH * 10)
    found = rates(schedulers, length, True, EPOCH * 10)
    assert max(found[: EPOCH * 10]) > 0.8 and found[0] < 0.01 and found[-1] < 0.01


def test_a_saved_config_follows_another_length_by_option(tmp_path: Path) -> None:
    """It states the ends that were filled in; an end of its own is no contradiction."""
    saved = tmp_path / "saved.py"
    read_config(str(CONFIGS / "mae/mae_vit-base_64xb64-cosine-800e_in1k.py")).dump(saved)
    last = read_config(str(saved), {"train_cfg.max_epochs": 100}).param_scheduler[-1]
    assert (last.begin, last.end) == (40, 100)
    with pytest.raises(UserError, match="ends at 90, and train_cfg.max_epochs is 100"):
        read_config(str(saved), {"train_cfg.max_epochs": 100, "param_scheduler.1.end": 90})


def test_a_stated_end_that_contradicts_is_an_error_with_both_values() -> None:
    with pytest.raises(UserError, match=r"param_scheduler\.0 .*ends at 300, .*max_epochs is 100"):
        resolve_schedules(config([cosine(end=300)], max_epochs=100))
    with pytest.raises(UserError, match="T_max=260, and runs from 40 to 100: leave T_max out"):
        warm = dict(type="LinearLR", begin=0, end=40)
        resolve_schedules(config([warm, cosine(begin=40, T_max=260)], max_epochs=100))
    with pytest.raises(UserError, match="counts epochs, and the training counts iterations"):
        resolve_schedules(config([cosine()], type="IterBasedTrainLoop", max_iters=100))
    with pytest.raises(UserError, match=r"milestones \[9\], and the training ends after 8 epochs"):
        resolve_schedules(config([dict(type="MultiStepLR", milestones=[9])], max_epochs=8))


def test_milestones_keep_their_place() -> None:
    steps = dict(type="MultiStepLR", by_epoch=True, begin=0, end=12, milestones=[9, 11], gamma=0.1)
    longer = config([dict(steps)], max_epochs=24)
    (note,) = resolve_schedules(longer)
    assert longer.param_scheduler[0].milestones == [18, 22] and "made for 12 epochs" in note
    short = config([dict(steps)], max_epochs=1)
    resolve_schedules(short)
    (fitted,), _ = fit_schedules(short.param_scheduler, epoch_length=120, iterations=120)
    assert fitted.milestones == [90, 110] and not fitted.by_epoch
    values = rates([fitted], 1, True, epoch=120)
    assert [values[89], values[91], values[-1]] == pytest.approx([1, 0.1, 0.01])


def test_a_warm_up_in_iterations_fits_the_data() -> None:
    warm = dict(type="LinearLR", start_factor=0.001, by_epoch=False, begin=0, end=500)
    steps = dict(type="MultiStepLR", by_epoch=True, begin=0, end=12, milestones=[9, 11])
    schedulers, notes = fit_schedules([warm, steps], epoch_length=20, iterations=240)
    assert schedulers[0].end == 24 and "500 iterations" in notes[0]
    schedulers, notes = fit_schedules([warm, steps], epoch_length=1000, iterations=12000)
    assert schedulers[0].end == 500 and not notes


@pytest.mark.parametrize("scope", ["", "mmvitssl."])
@pytest.mark.parametrize("inclusive", [True, False])
def test_a_warm_up_of_one_step_is_left_out(scope: str, inclusive: bool) -> None:
    more = dict(inclusive=inclusive) if scope else {}
    schedulers: list[dict[str, Any]] = [
        dict(type=f"{scope}LinearLR", start_factor=0.0 if scope else 1e-4, by_epoch=True, begin=0,
             end=1, convert_to_iter_based=True, **more),
        {**cosine(eta_min=0.0, begin=1), "type": f"{scope}CosineAnnealingLR"},
    ]  # fmt: skip
    mine = config(schedulers, by_epoch=True, max_epochs=2)
    resolve_schedules(mine)
    fitted, notes = fit_schedules(mine.param_scheduler, epoch_length=5, iterations=10)
    found = rates(fitted, 2, True, epoch=5)
    assert any("single step" in note for note in notes) and found[0] == pytest.approx(1.0)
    assert found == sorted(found, reverse=True) and found[-1] < 0.05


@pytest.mark.parametrize("scope", ["", "mmvitssl."])
def test_a_decay_in_epochs_steps_in_iterations_where_they_are_few(scope: str) -> None:
    mine = config([dict(type=f"{scope}CosineAnnealingLR", eta_min=0.0, by_epoch=True)],
                  by_epoch=True, max_epochs=3)  # fmt: skip
    assert "steps in every iteration" in resolve_schedules(mine)[0]
    found = rates(mine.param_scheduler, 3, True, epoch=20)
    assert len(set(found)) > 50 and found[-1] < 0.01


def test_the_teachers_warm_up_is_shortened_with_the_training() -> None:
    head, target = dict(type="DINOLoss"), dict(type="PrototypeTarget")
    for key, by_epoch, length, short in (("warmup_epochs", True, 40, 4.0),
                                         ("warmup_iters", False, 50, 5)):  # fmt: skip
        mine = config([], by_epoch=by_epoch,
                      **{"max_epochs" if by_epoch else "max_iters": length})  # fmt: skip
        mine.model = dict(a=dict(head, **{key: 30}), b=dict(target, **{key: 30}))
        assert len(resolve_schedules(mine)) == 2
        assert mine.model.a[key] == mine.model.b[key] == short
