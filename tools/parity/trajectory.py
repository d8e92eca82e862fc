"""Trainings of the official codes, repeated step by step by our shipped configs.

Each method's own config, made small by options of the config, is trained by our optimizer
constructor, schedules, clipping, hooks and loop on the recorded batches, masks and crops.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from mmvitssl.checkpoint.formats import FORMATS, Imported
from mmvitssl.checkpoint.safe import CheckpointError
from mmvitssl.checkpoint.strict import check_keys
from mmvitssl.engine import guards, launch
from mmvitssl.models.targets import Target
from mmvitssl.structures import MaskedPatches, TokenPlan, View
from parity.fixture import Fixture
from parity.options import OPTIONS, Options

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
FILE, TENSOR, RELATIVE, MOMENTS = 5e-5, 5e-4, 1e-4, 5e-4  # limits, see Trajectory
SCHEDULE, UNMOVED = 1e-9, 1e-6
NEVER = 1e-5  # of its length, below which a tensor counts as one that does not move
State = Mapping[str, Tensor]


@dataclass(frozen=True)
class Trajectory:
    """How far our training is from a recorded one.

    Attributes:
        method: its name.
        file: length of the difference of all final tensors over that of the official movement.
        tensor: the same of the worst single tensor.
        loss: greatest relative difference of a step's loss.
        problems: everything outside its limit, one line each.
    """

    method: str
    file: float
    tensor: float
    loss: float
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether everything is inside its limit."""
        return not self.problems

    def line(self) -> str:
        """One line for people and programs, and one for each problem."""
        words = (
            f"{self.method} trajectory file_err={self.file:.3e} tensor_err={self.tensor:.3e} "
            f"loss_err={self.loss:.3e} {'OK' if self.ok else 'FAIL'}"
        )
        return "\n  ".join([words, *self.problems])


class Recorded(IterableDataset):
    """The recorded batches, ``length`` of them per pass, one pass going on after the other."""

    def __init__(self, batches: list[list[Tensor]], length: int) -> None:
        self.batches, self.length, self.step = batches, length, 0

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for _ in range(self.length):
            views = self.batches[self.step]
            number = torch.arange(len(views[0]))
            epoch = torch.full_like(number, self.step // self.length)
            self.step += 1
            yield dict(views=views, samples={"index": number, "epoch": epoch})


class AsTheyAre(nn.Module):
    """A preprocessor for images that are normalised already."""

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        return {**data, "views": [View(image, image) for image in data["views"]]}


class GivenPlans:
    """A masker that returns one recorded plan per step."""

    def __init__(self, plans: list[TokenPlan], mode: str) -> None:
        self.plans, self.mode = iter(plans), mode

    def __call__(self, grid: tuple[int, int], batch: int, generator: torch.Generator) -> TokenPlan:
        return next(self.plans)


class GivenTokens(Target):
    """Recorded ids in place of a tokenizer's."""

    def __init__(self, tokens: Tensor) -> None:
        super().__init__()
        self.tokens = tokens

    def forward(self, step: Any, view: int, masked: MaskedPatches) -> Tensor:
        return self.tokens[step.iteration][masked.image, masked.patch]


class Finished(Exception):
    """The recorded steps are done; the schedules may be longer."""


class Recorder(Hook):
    """Keeps what each step did.

    Args:
        steps: after which the training stops.
        values: ``(model) -> state`` of the official names, for traces.
        traces: official keys to keep after each step.
    """

    priority = "LOWEST"

    def __init__(self, steps: int, values: Callable[[nn.Module], State], traces: list[str]) -> None:
        self.steps, self.values = steps, values
        self.rows: dict[str, list[Any]] = {}
        self.traces = traces

    def keep(self, name: str, value: Any) -> None:
        self.rows.setdefault(name, []).append(value)

    def before_train(self, runner: Runner) -> None:
        wrapper = runner.optim_wrapper
        model: Any = launch.bare_model(runner)
        step, update = wrapper.step, model.update_target

        def recorded_step(**kwargs: Any) -> None:
            grads = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
            self.keep("grad_norm", torch.cat(grads).norm())
            step(**kwargs)

        def recorded_update(progress: float) -> float | None:
            momentum = update(progress)
            self.keep("momentum", momentum)
            return momentum

        recorded_step._with_counter = True  # type: ignore[attr-defined]  # of the schedulers
        wrapper.step, model.update_target = recorded_step, recorded_update

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        groups = runner.optim_wrapper.optimizer.param_groups
        self.keep("lr", groups[0]["lr"])
        self.keep("weight_decay", max(group["weight_decay"] for group in groups))
        head = getattr(launch.bare_model(runner).tasks, "distillation", None)
        if head is not None:
            epoch = runner.iter // len(runner.train_dataloader)
            self.keep("teacher_temp", head.head.temperature_at(epoch, runner.iter))

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        self.keep("loss", outputs["loss"].detach())
        state = self.values(launch.bare_model(runner))
        for key in self.traces:
            self.keep(f"trace/{key}", state[key].clone())
        if runner.iter + 1 >= self.steps:
            raise Finished


def small_config(fixture: Fixture, options: Options) -> Config:
    """The shipped config of a method with the sizes and hyperparameters of a fixture."""
    config = Config.fromfile(CONFIGS / options.config)
    size = fixture.size
    per_epoch, epochs = size("steps_per_epoch"), size("epochs")
    changes = {
        "model.encoder.image_size": size("img_size"),
        "optim_wrapper.precision": "fp32",
        "optim_wrapper.accumulative_counts": 1,
        "optim_wrapper.optimizer.lr": size("lr"),
        "optim_wrapper.optimizer.weight_decay": size("weight_decay"),
        "optim_wrapper.optimizer.betas": tuple(size("betas")),
        "optim_wrapper.optimizer.eps": size("eps"),
        "train_cfg.max_epochs": epochs,
        **options.changes(fixture),
    }
    config.merge_from_dict(changes)
    warm, falling = config.param_scheduler
    length = size("warmup_epochs") * per_epoch
    length = int(length) if options.whole_warmup else length
    for scheduler in (warm, falling):
        scheduler.pop("convert_to_iter_based", None)
        scheduler.by_epoch = False
    warm.end = falling.begin = length
    warm.start_factor = fixture.meta.get("warmup_lr", 0.0) / size("lr")
    falling.end, falling.eta_min = per_epoch * epochs, fixture.meta.get("min_lr", 0.0)
    config.param_scheduler = [warm, falling] if length else [falling]
    hooks = [hook for hook in config.custom_hooks if hook.type in options.hooks]
    for hook in hooks:
        hook.update(options.hooks[hook.type](fixture))
    config.custom_hooks = [hook for hook in hooks if hook.get("epochs") != 0]
    config.default_hooks = dict(
        runtime_info=dict(type="RuntimeInfoHook"), timer=None, logger=None, checkpoint=None,
        sampler_seed=None, param_scheduler=dict(type="ParamSchedulerHook"),
    )  # fmt: skip
    config.train_dataloader = dict(batch_size=1)  # replaced by the recorded batches
    config.update(launcher="none", log_level="ERROR", visualizer=None, env_cfg=dict())
    guards._set_loop(config.train_cfg)
    return config


def _exported(fixture: Fixture, options: Options, imported: Imported, state: State) -> State:
    format = FORMATS[fixture.size("method")]
    theirs = format.export_state(state, imported.carried, prefixes=imported.prefixes)
    return {**theirs, **options.exported(state)}


def prepare(fixture: Fixture, options: Options, folder: str) -> tuple[Runner, Imported]:
    """A runner with the official weights, batches and draws."""
    config = small_config(fixture, options)
    config.work_dir, config.experiment_name = folder, Path(folder).name  # never the same twice
    launch.prepare_scope(config)
    runner = launch.build_runner(config)
    model: Any = launch.bare_model(runner)
    imported = FORMATS[fixture.size("method")].import_state(fixture.state)
    imported = options.imported(fixture, imported)
    check_keys(model.state_dict(), imported.state, fixture.path, "an official checkpoint")
    model.load_state_dict(imported.state)
    model.data_preprocessor = AsTheyAre()
    if options.plans is not None:
        task = model.tasks[options.task]
        task.masking = GivenPlans(options.plans(fixture), options.mode)
    if "step_tokens" in fixture.arrays:
        model.tasks[options.task].target = GivenTokens(fixture["step_tokens"])
    batches = Recorded(options.views(fixture), fixture.size("steps_per_epoch"))
    runner._train_dataloader = DataLoader(batches, batch_size=None)
    return runner, imported


def run(fixture: Fixture, options: Options) -> tuple[Recorder, State, dict[str, State], Imported]:
    """Train; what each step did, the final state and the optimizer's moments by official name."""
    with tempfile.TemporaryDirectory() as folder:
        runner, imported = prepare(fixture, options, folder)

        def official(model: nn.Module) -> State:
            return _exported(fixture, options, imported, model.state_dict())

        traces = [key[6:] for key in fixture.arrays if key.startswith("trace/")]
        recorder = Recorder(len(fixture["loss"]), official, traces)
        runner.register_hook(recorder, "LOWEST")
        with suppress(Finished):
            runner.train()
        model: Any = launch.bare_model(runner)
        optimizer = runner.optim_wrapper.optimizer
        moments = {}
        for part in ("exp_avg", "exp_avg_sq", "step"):
            state = {key: torch.zeros_like(value) for key, value in model.state_dict().items()}
            for name, parameter in model.named_parameters():
                value = optimizer.state.get(parameter, {}).get(part)
                if value is not None:
                    state[name] = torch.as_tensor(value).expand_as(parameter).clone()
            moments[part] = _exported(fixture, options, imported, state)
        return recorder, official(model), moments, imported


def _determined(key: str, values: Tensor, undetermined: Mapping[str, Any]) -> Tensor:
    """The entries that are compared, in float64."""
    values = values.double()
    if key not in undetermined:
        return values.flatten()
    first, last = undetermined[key]
    return torch.cat([values[:first], values[last:]]).flatten()


def _final(fixture: Fixture, state: State) -> tuple[float, float, list[str]]:
    """File error, worst tensor error, and what is outside its limit."""
    undetermined = fixture.meta.get("undetermined", {})
    finals = {k[6:]: v for k, v in fixture.arrays.items() if k.startswith("final/")}
    problems = [f"final/{key} is missing in ours" for key in finals if key not in state]
    far, way, worst = 0.0, 0.0, 0.0
    for key, final in finals.items():
        if key not in state:
            continue
        if not final.is_floating_point():
            if not torch.equal(state[key].to(final.dtype), final):
                problems.append(f"final/{key}: {state[key].tolist()}, official {final.tolist()}")
            continue
        ours, theirs, before = (
            _determined(key, values, undetermined)
            for values in (state[key], final, fixture.state[key])
        )
        moved, missed = float((theirs - before).norm()), float((ours - theirs).norm())
        if moved < NEVER * float(theirs.norm()):
            if len(ours) and float((ours - theirs).abs().max()) > UNMOVED:
                problems.append(f"final/{key} does not move officially; ours is {missed:.1e} off")
            continue
        far, way = far + missed**2, way + moved**2
        error = missed / moved if moved else 0.0
        worst = max(worst, error) if error == error else float("nan")
        if not error < TENSOR:
            problems.append(f"final/{key}: err {error:.1e}")
    file = (far / way) ** 0.5 if way else 0.0
    if not file < FILE:
        problems.append(f"all of final/: err {file:.1e}")
    return file, worst, problems


def _row_problems(fixture: Fixture, recorder: Recorder) -> tuple[float, list[str]]:
    """Worst relative loss, and the first step of each series that is outside its limit."""
    problems, losses = [], 0.0
    for name, rows in recorder.rows.items():
        if name not in fixture.arrays:
            continue
        theirs = fixture[name].double()
        ours = torch.stack([torch.as_tensor(row, dtype=torch.float64) for row in rows])
        ours = ours[: len(theirs)].view_as(theirs)
        difference = (ours - theirs).flatten(1).norm(dim=1) if ours.ndim > 1 else (
            ours - theirs).abs()  # fmt: skip
        size = theirs.flatten(1).norm(dim=1) if ours.ndim > 1 else theirs.abs()
        if name in ("loss", "grad_norm"):
            bad = ~(difference <= RELATIVE * size)
            losses = float((difference / size).max()) if name == "loss" else losses
        elif name.startswith("trace/"):
            bad = ~(difference <= TENSOR * size.clamp(min=1e-12))
        else:
            bad = ~(difference <= SCHEDULE)
        if name.startswith("trace/") and name[6:] in fixture.meta.get("undetermined", {}):
            continue
        if bool(bad.any()):
            step = int(bad.nonzero()[0, 0])
            problems.append(f"{name}: first differs at step {step}, by {difference[step]:.1e}")
    return losses, problems


def _moment_problems(fixture: Fixture, moments: Mapping[str, State]) -> list[str]:
    problems = []
    for name, theirs in fixture.arrays.items():
        if not name.startswith("adam/"):
            continue
        _, rest = name.split("/", 1)
        key, part = rest.rsplit("/", 1)
        ours = moments[part][key].double()
        if part == "step":
            if not bool((ours == float(theirs)).all()):
                problems.append(f"{name}: {float(ours.flatten()[0]):g}, official {int(theirs)}")
        elif not float((ours - theirs).norm()) <= MOMENTS * float(theirs.norm()):
            problems.append(f"{name}: differs by {float((ours - theirs).norm()):.1e}")
    return problems


def compare_trajectory(fixture: Fixture) -> Trajectory:
    """Repeat a recorded training.

    Raises:
        CheckpointError: the file is of an unknown method, or lacks something.
    """
    method = fixture.size("method")
    if method not in OPTIONS:
        raise CheckpointError(
            f"{fixture.path} is a training of '{method}'; ours exist for {sorted(OPTIONS)}."
        )
    recorder, state, moments, _ = run(fixture, OPTIONS[method])
    file, tensor, problems = _final(fixture, state)
    losses, more = _row_problems(fixture, recorder)
    problems += more + _moment_problems(fixture, moments)
    return Trajectory(method, file, tensor, losses, tuple(problems))
