"""A recipe made to fit a plan, and the config file that says so."""

from __future__ import annotations

import ast
import pprint
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmvitssl.apis.plan import Choice, Plan, power_of_two
from mmvitssl.config_tree import kind_of, parts
from mmvitssl.engine.config_files import RUNNER_KEYS
from mmvitssl.engine.errors import UserError

CHECKPOINTS, STEPS = 5, 200  # of a training, and steps that are worth one
LINES = 50  # of the log, at least
QUEUE = 4096  # keys, where a recipe does not say
# by name of a choice: where it stands in the config, for the comment above that part
PLACES = {
    "image size": "model",
    "batch": "train_dataloader",
    "workers": "train_dataloader",
    "epochs": "train_cfg",
    "warm-up": "param_scheduler",
    "learning rate": "optim_wrapper",
    "precision": "optim_wrapper",
}


def new_folder(out: str | Path) -> Path:
    """Return the folder of a run that is to start.

    Raises:
        UserError: it holds the checkpoints of another run.
    """
    out = Path(out)
    if any(out.glob("*.pth")):
        raise UserError(
            f"{out.absolute()} holds the checkpoints of another run: choose another folder with "
            f"--out, or remove it."
        )
    return out


def fit(config: Config, plan: Plan, dataset: dict[str, Any], images: int) -> None:
    """Apply a plan to a recipe, in place.

    Args:
        config: of the recipe, at its image size.
        plan: see :func:`~mmvitssl.apis.plan.make_plan`.
        dataset: config of the data set.
        images: in it.
    """
    loader = config.train_dataloader
    loader.dataset = dataset
    loader.batch_size, loader.num_workers = plan.batch_size, plan.workers
    loader.persistent_workers = plan.workers > 0
    wrapper = config.optim_wrapper
    rate = wrapper.optimizer.lr
    wrapper.optimizer.lr = plan.learning_rate
    wrapper.pop("accumulative_counts", None)
    wrapper.type, wrapper.precision = "AutocastOptimWrapper", "bf16" if plan.bf16 else "fp32"
    for key in ("dtype", "loss_scale"):
        wrapper.pop(key, None)
    config.train_cfg.max_epochs = plan.epochs
    config.param_scheduler = _schedule(config, plan, plan.learning_rate / rate)
    step = plan.batch_size * plan.devices
    # a schedule and a rate that are already those of this batch
    config.auto_scale_lr = dict(base_batch_size=step, enable=False)
    for queue in [p for _, p in parts(config.model.tasks) if kind_of(p).endswith("QueueInfoNCE")]:
        # keys of the same images would fill a queue that is longer than the data set
        size = min(queue.get("size", QUEUE), power_of_two(images))
        queue["size"] = max(size // step * step, step)
    hooks = config.default_hooks
    hooks.checkpoint.update(
        interval=min(max(-(-plan.epochs // CHECKPOINTS), STEPS // (images // step)), plan.epochs),
        max_keep_ckpts=2,
        save_last=True,
    )
    hooks.logger.interval = max(min(images // step * plan.epochs // LINES, 50), 1)
    for hook in config.get("custom_hooks") or []:
        if hook.type == "FreezeHook":
            hook.epochs = min(hook.get("epochs", 1), plan.epochs - 1)
    config.custom_hooks = [
        hook
        for hook in config.get("custom_hooks") or []
        if hook.type != "FreezeHook" or hook.epochs > 0
    ]


def _schedule(config: Config, plan: Plan, factor: float) -> list[dict[str, Any]]:
    """The recipe's warm-up and what follows it, over the plan's epochs."""
    rising = [s for s in config.param_scheduler if str(s.type).endswith("LinearLR")]
    falling = [s for s in config.param_scheduler if not str(s.type).endswith("LinearLR")]
    schedule: list[dict[str, Any]] = []
    if plan.warm_up and rising:
        schedule.append({**rising[0], "begin": 0, "end": plan.warm_up})
    last: dict[str, Any] = dict(type="CosineAnnealingLR", eta_min=0.0)
    if falling and "Cosine" in str(falling[-1].type):  # steps (SimMIM) do not fit short trainings
        last = dict(falling[-1])
    last.pop("T_max", None)
    last["eta_min"] = float(last.get("eta_min", 0.0)) * factor
    end = dict(by_epoch=True, begin=plan.warm_up, end=plan.epochs, convert_to_iter_based=True)
    return [*schedule, {**last, **end}]


def assignment(key: str, value: Any) -> str:
    """A line of Python, or several, that sets a variable of a config."""
    start = f"{key} = "
    text = pprint.pformat(value, width=100 - len(start), sort_dicts=False)
    return start + text.replace("\n", "\n" + " " * len(start))


def config_text(config: Config, choices: Sequence[Choice], header: Sequence[str]) -> str:
    """A config that stands alone, as Python, with the reason of each choice above its part."""
    lines = [f"# {line}" for line in header]
    for key, value in config.to_dict().items():
        if key not in RUNNER_KEYS or value is None:
            continue
        lines.append("")
        for choice in choices:
            if PLACES.get(choice.name) == key:
                lines.append(f"# {choice.name}: {choice.value} ({choice.reason})")
        lines.append(assignment(key, value))
    text = "\n".join(lines) + "\n"
    names = {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}
    numbers = [f"{name} = float('{name}')\n" for name in ("inf", "nan") if name in names]
    return "".join(numbers) + text


