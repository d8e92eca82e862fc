"""Learning-rate schedules end where the training ends.

``train_cfg.max_epochs`` (or ``max_iters``) is the only place that says how long a training is. The
last scheduler of a config has no ``end``; a warm-up that would take half of a short training is
shortened, and one of a single step left out; milestones of a step schedule keep their place
relative to the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.runner import Runner

from mmvitssl.config_tree import kind_of
from mmvitssl.config_tree import parts as config_parts
from mmvitssl.engine.errors import UserError

# these reach their last value at their `end`
DECAYS = ("CosineAnnealing", "Poly")
# a warm-up that takes half of the training or more takes this part of it instead
WARM_UP = 0.1
FEW_EPOCHS = 10  # a decay in steps of an epoch would end far from its last value
WARM_UPS = ("Linear", "Constant")
STEPS = ("begin", "end", "T_max")


def _kind(scheduler: dict[str, Any]) -> str:
    """``CosineAnnealingLR`` -> ``CosineAnnealing``, with any prefix of a scope removed."""
    name = kind_of(scheduler)
    for suffix in ("ParamScheduler", "LR", "Momentum"):
        name = name.removesuffix(suffix)
    return name


def _sequences(config: Config) -> list[tuple[str, list[Any]]]:
    """The lists of schedulers, one per optimizer, with their names in the config."""
    schedulers = config.get("param_scheduler")
    if isinstance(schedulers, dict):
        if "type" not in schedulers:
            return [
                (f"param_scheduler.{name}", value if isinstance(value, list) else [value])
                for name, value in schedulers.items()
            ]
        schedulers = [schedulers]
    return [("param_scheduler", list(schedulers))] if schedulers else []


def training_length(config: Config) -> tuple[int | None, bool]:
    """How long the config trains, and whether that counts epochs (else iterations).

    None stands for a length that is missing or no number, which checks of the config refuse.
    """
    loop = config.get("train_cfg") or {}
    by_epoch = loop.get("by_epoch", "Epoch" in str(loop.get("type", "")) or "max_epochs" in loop)
    length = loop.get("max_epochs" if by_epoch else "max_iters")
    return (length if isinstance(length, int) else None), bool(by_epoch)


def release_ends(config: Config) -> None:
    """Remove ends that are the config's own length, in place, so that they follow another one."""
    length, by_epoch = training_length(config)
    for _, schedulers in _sequences(config):
        for scheduler in schedulers[-1:]:
            stated = isinstance(scheduler, dict) and scheduler.get("by_epoch", True) == by_epoch
            if not stated or _kind(scheduler) not in DECAYS or scheduler.get("end") != length:
                continue
            if scheduler.get("T_max") == scheduler.pop("end") - scheduler.get("begin", 0):
                del scheduler["T_max"]


def resolve_schedules(config: Config) -> list[str]:
    """Fill in where schedules end, in place, from the length of the training.

    Returns:
        What was changed of that which the config states, one line each.

    Raises:
        UserError: a stated ``end`` or ``T_max`` contradicts the length of the training, milestones
            lie beyond it, or a schedule counts epochs where the training counts iterations.
    """
    length, by_epoch = training_length(config)
    notes: list[str] = []
    if length is None:
        return notes
    for name, schedulers in _sequences(config):
        if not all(isinstance(scheduler, dict) for scheduler in schedulers):
            continue
        for number, scheduler in enumerate(schedulers):
            label = f"{name}.{number} ({scheduler.get('type')})"
            counts_epochs = scheduler.get("by_epoch", True)
            if counts_epochs and not by_epoch:
                _check_epochs_of_iterations(scheduler, label)
            elif counts_epochs == by_epoch:
                last = number == len(schedulers) - 1
                notes += _resolve_end(scheduler, length, last, label, by_epoch)
        if by_epoch and length < FEW_EPOCHS and schedulers[-1].get("convert_to_iter_based"):
            for scheduler in schedulers[:-1]:  # a warm-up would wait for whole epochs
                if scheduler.get("by_epoch", True) and _kind(scheduler) in WARM_UPS:
                    scheduler["convert_to_iter_based"] = True
        notes += _shorten(schedulers, length, by_epoch)
        for number, scheduler in enumerate(schedulers):
            _check_period(scheduler, f"{name}.{number} ({scheduler.get('type')})")
    return notes + _shorten_parts(config)


def _shorten_parts(config: Config) -> list[str]:
    """Shorten what else begins a training, by the rule of a warm-up.

    These are the warm-ups of the teacher's temperature (DINO, iBOT, DINOv2) and the epochs in which
    ``FreezeHook`` keeps the prototypes.
    """
    length, by_epoch = training_length(config)
    if length is None:
        return []
    notes = []
    warm_up, unit = ("warmup_epochs", "epochs") if by_epoch else ("warmup_iters", "iterations")
    parts = [(kind, warm_up, config.get("model")) for kind in ("DINOLoss", "PrototypeTarget")]
    parts += [("FreezeHook", "epochs", config.get("custom_hooks"))] if by_epoch else []
    for kind, key, where in parts:
        for _, part in config_parts(where):
            stated = part.get(key, 1 if kind == "FreezeHook" else 0)
            if kind_of(part) == kind and stated and 2 * stated >= length:
                part[key] = WARM_UP * length if by_epoch else round(WARM_UP * length)
                notes.append(
                    f"{kind}.{key}={stated} would be half or more of the {length} {unit} of the "
                    f"training: it is {part[key]:g}."
                )
    return notes


def _check_epochs_of_iterations(scheduler: dict[str, Any], label: str) -> None:
    if scheduler.get("convert_to_iter_based") and "end" in scheduler:
        return
    raise UserError(
        f"{label} counts epochs, and the training counts iterations (max_iters): give it "
        f"by_epoch=False, and begin and end in iterations."
    )


def _resolve_end(
    scheduler: dict[str, Any], length: int, last: bool, label: str, by_epoch: bool
) -> list[str]:
    """The end of one scheduler that counts what the training counts."""
    unit = "epochs" if by_epoch else "iterations"
    key = "max_epochs" if by_epoch else "max_iters"
    if _kind(scheduler) == "MultiStep":
        return _place_milestones(scheduler, length, label, unit)
    if not last:
        return []
    if "end" not in scheduler:
        scheduler["end"] = length
    elif _kind(scheduler) in DECAYS and scheduler["end"] != length:
        raise UserError(
            f"{label} ends at {scheduler['end']}, and train_cfg.{key} is {length}: leave its "
            f"'end' out, so that the schedule ends with the training, or make both the same."
        )
    steps = by_epoch and not scheduler.get("convert_to_iter_based", False)
    if steps and _kind(scheduler) in DECAYS and length < FEW_EPOCHS:
        scheduler["convert_to_iter_based"] = True
        return [
            f"{label} steps once per epoch, which is coarse for {length}: it steps in every "
            f"iteration, so that the last rate is that of its end."
        ]
    return []


def _place_milestones(scheduler: dict[str, Any], length: int, label: str, unit: str) -> list[str]:
    """``end`` is the length that the milestones were made for: they move in proportion."""
    stated, milestones = scheduler.get("end", length), list(scheduler.get("milestones", ()))
    scheduler["end"] = length
    if stated != length:
        moved = [milestone * length / stated for milestone in milestones]
        # a milestone between two epochs needs iterations, see fit_schedules
        whole = all(value.is_integer() for value in moved) or unit == "iterations"
        if whole:  # one that is rounded to the end would never come
            moved = [max(1, min(round(value), length - 1)) for value in moved]
        scheduler["milestones"] = moved
        if not whole:
            scheduler["convert_to_iter_based"] = True
        shown = ", ".join(f"{value:g}" for value in scheduler["milestones"])
        return [
            f"{label}: its milestones {milestones} were made for {stated} {unit}; the training has "
            f"{length}, so they are {shown}."
        ]
    if any(milestone >= length for milestone in milestones):
        raise UserError(
            f"{label} has milestones {milestones}, and the training ends after {length} {unit}: "
            f"set other milestones, or its 'end' to the length that these were made for."
        )
    return []


def _shorten(schedulers: Sequence[dict[str, Any]], length: int, by_epoch: bool) -> list[str]:
    """Shorten a warm-up that takes half of the training or more, and begin later parts with it."""
    warm_up = schedulers[0]
    old, begin = warm_up.get("end"), warm_up.get("begin", 0)
    alike = warm_up.get("by_epoch", True) == by_epoch
    if len(schedulers) < 2 or not alike or begin != 0 or old is None or 2 * old < length:
        return []
    if _kind(warm_up) not in WARM_UPS:
        return []
    fractions = by_epoch and warm_up.get("convert_to_iter_based", False)
    new: float = WARM_UP * length
    new = new if fractions and new < 2 else max(1, round(new))
    if new >= length:  # one epoch or iteration in all
        new = 0
    unit = "epochs" if by_epoch else "iterations"
    for scheduler in schedulers[1:]:
        if scheduler.get("by_epoch", True) == by_epoch and scheduler.get("begin") == old:
            if scheduler.get("T_max") == scheduler.get("end", length) - old:
                scheduler["T_max"] = scheduler.get("end", length) - new
            scheduler["begin"] = new
    warm_up["end"] = new or 1
    if not new:
        warm_up["start_factor" if _kind(warm_up) == "Linear" else "factor"] = 1.0
    return [
        f"A warm-up of {old} {unit} would take half or more of the {length} of the training: it "
        f"takes {new:g}."
    ]


def _check_period(scheduler: dict[str, Any], label: str) -> None:
    period, end = scheduler.get("T_max"), scheduler.get("end")
    if _kind(scheduler) != "CosineAnnealing" or period is None or end is None:
        return
    if period != end - scheduler.get("begin", 0):
        raise UserError(
            f"{label} has T_max={period}, and runs from {scheduler.get('begin', 0)} to {end}: "
            f"leave T_max out, which is then {end - scheduler.get('begin', 0)}."
        )


def in_iterations(scheduler: dict[str, Any], epoch_length: int) -> dict[str, Any]:
    """A scheduler in epochs with fractions as one in iterations, rounded, at least one long."""
    numbers = [scheduler[key] for key in STEPS if scheduler.get(key) is not None]
    numbers += scheduler.get("milestones", [])
    converted = scheduler.get("by_epoch", True) and scheduler.get("convert_to_iter_based", False)
    if not converted or all(float(number).is_integer() for number in numbers):
        return scheduler
    changed = {**scheduler, "by_epoch": False}
    del changed["convert_to_iter_based"]
    for key in STEPS:
        if scheduler.get(key) is not None:
            least = 0 if key == "begin" and not scheduler[key] else 1
            changed[key] = max(least, round(scheduler[key] * epoch_length))
    if "milestones" in scheduler:
        changed["milestones"] = [max(1, round(m * epoch_length)) for m in scheduler["milestones"]]
    return changed


def fit_schedules(schedulers: Any, epoch_length: int, iterations: int) -> tuple[Any, list[str]]:
    """Schedulers that fit the data: the part of :func:`resolve_schedules` that needs its size.

    A warm-up in iterations is compared with the iterations of the training, and fractions of an
    epoch become iterations.

    Args:
        schedulers: configs, as of ``param_scheduler``.
        epoch_length: iterations per epoch.
        iterations: of the whole training.

    Returns:
        The schedulers, changed where needed, and what was changed.
    """
    if isinstance(schedulers, dict) and "type" not in schedulers:
        parts = {key: fit_schedules(v, epoch_length, iterations) for key, v in schedulers.items()}
        changed = {key: value for key, (value, _) in parts.items()}
        return changed, [note for _, notes in parts.values() for note in notes]
    if not isinstance(schedulers, (list, tuple)):
        return schedulers, []
    if not schedulers or not all(isinstance(scheduler, dict) for scheduler in schedulers):
        return schedulers, []
    fitted = [ConfigDict(in_iterations(dict(one), epoch_length)) for one in schedulers]
    notes = _shorten(fitted, iterations, by_epoch=False)
    return fitted, notes + _drop_single_steps(fitted, epoch_length)


def _drop_single_steps(schedulers: Sequence[dict[str, Any]], epoch_length: int) -> list[str]:
    """Let a warm-up of a single step be none: MMEngine would stay at its first rate for good."""
    notes = []
    for scheduler in schedulers:
        kind = _kind(scheduler)
        if kind not in ("Linear", "Constant") or scheduler.get("end") is None:
            continue
        key = "start_factor" if kind == "Linear" else "factor"
        steps = scheduler["end"] - scheduler.get("begin", 0)
        if scheduler.get("by_epoch", True) and scheduler.get("convert_to_iter_based", False):
            steps *= epoch_length
        if steps > 1:
            continue
        scheduler.pop("lag", None)  # a late step would undo what the others did in that epoch
        if scheduler.get(key) != 1.0:
            scheduler[key] = 1.0
            notes.append("A warm-up of a single step is left out.")
    return notes


def fit_runner(runner: Runner) -> None:
    """Fit the schedules of a runner whose training loop is built, and log what that changes."""
    if runner.param_schedulers is None:
        return
    schedulers, notes = fit_schedules(
        runner.param_schedulers, len(runner.train_dataloader), runner.max_iters
    )
    runner.param_schedulers = schedulers
    for note in notes:
        runner.logger.info(note)
