"""Guards that every training has, whatever its config leaves out."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config, ConfigDict

PLAIN_WRAPPERS = ("OptimWrapper", "mmengine.OptimWrapper")
PLAIN_CHECKPOINTS = ("CheckpointHook", "mmengine.CheckpointHook")
WATCHDOG = "mmvitssl.WatchdogHook"
PLAIN_LOOPS = {"EpochBasedTrainLoop": "mmvitssl.ExactEpochLoop",
               "IterBasedTrainLoop": "mmvitssl.ExactIterLoop"}  # fmt: skip
DESCRIPTION = "mmvitssl.DescriptionHook"
MMENGINES = ("runtime_info", "timer", "sampler_seed", "logger", "param_scheduler", "checkpoint")
HEALTH, REPORT = "mmvitssl.HealthHook", "mmvitssl.ReportHook"
PRETRAINERS = ("Pretrainer", "mmvitssl.Pretrainer")
STEP_SEED, BROKEN = "mmvitssl.StepSeedHook", "mmvitssl.BrokenBudgetHook"
GUARD, CHECKPOINTS = "mmvitssl.NonFiniteHook", "mmvitssl.FiniteCheckpointHook"


def _is(hook: Any, *names: str) -> bool:
    return isinstance(hook, dict) and str(hook.get("type", "")) in names


def set_guards(config: Config) -> None:
    """Add the guards of every training to a config, of MMDetection and MMSegmentation too.

    The plain ``OptimWrapper`` becomes ``AutocastOptimWrapper(precision='fp32')``, which computes
    the same and looks at gradients before they are clipped; ``CheckpointHook`` becomes
    :class:`FiniteCheckpointHook`; and :class:`NonFiniteHook` and :class:`WatchdogHook` are added
    unless they are there. Checkpoints get the description of their encoder
    (:class:`DescriptionHook`), and iterations a seed each (:class:`StepSeedHook`); broken images
    are counted over all processes (:class:`BrokenBudgetHook`). Pretrainings are
    looked at by :class:`HealthHook`, and every run leaves a page (:class:`ReportHook`);
    ``default_hooks.health=None`` and ``report=None`` switch them off. MMEngine's training loops
    become those that go on within an epoch.

    Args:
        config: changed in place.
    """
    wrapper = config.get("optim_wrapper")
    if isinstance(wrapper, dict) and wrapper.get("type", "OptimWrapper") in PLAIN_WRAPPERS:
        wrapper["type"], wrapper["precision"] = "mmvitssl.AutocastOptimWrapper", "fp32"
    hooks = config.setdefault("default_hooks", ConfigDict())
    hooks.setdefault("checkpoint", ConfigDict(type="CheckpointHook"))
    custom = list(config.get("custom_hooks") or [])
    for hook in [*hooks.values(), *custom]:
        if _is(hook, *PLAIN_CHECKPOINTS):
            hook["type"] = CHECKPOINTS
    if isinstance(hooks.checkpoint, dict):
        hooks.checkpoint.setdefault("type", CHECKPOINTS)
    hooks.setdefault("description", ConfigDict(type=DESCRIPTION))
    hooks.setdefault("step_seed", ConfigDict(type=STEP_SEED))
    hooks.setdefault("broken", ConfigDict(type=BROKEN))
    if not any(_is(hook, GUARD, "NonFiniteHook") for hook in [*hooks.values(), *custom]):
        hooks.setdefault("finite", ConfigDict(type=GUARD))
    if not any(_is(hook, WATCHDOG, "WatchdogHook") for hook in [*hooks.values(), *custom]):
        hooks.setdefault("watchdog", ConfigDict(type=WATCHDOG))
    hooks.setdefault("report", ConfigDict(type=REPORT))
    if _is(config.get("model"), *PRETRAINERS):
        hooks.setdefault("health", ConfigDict(type=HEALTH))
    for name in [name for name, hook in hooks.items() if hook is None and name not in MMENGINES]:
        del hooks[name]  # MMEngine knows None for its own alone
    _set_loop(config.get("train_cfg"))


def _set_loop(loop: Any) -> None:
    if not isinstance(loop, dict):
        return
    if "type" not in loop:
        by_epoch = loop.pop("by_epoch", True)
        loop["type"] = "EpochBasedTrainLoop" if by_epoch else "IterBasedTrainLoop"
    if isinstance(loop["type"], str):
        loop["type"] = PLAIN_LOOPS.get(loop["type"].removeprefix("mmengine."), loop["type"])
