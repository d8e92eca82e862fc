"""The only pretraining algorithm: tasks over shared encoder passes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.model import BaseModel
from torch import Tensor, nn

from mmvitssl.checkpoint import load_encoder
from mmvitssl.checkpoint.named import has_target
from mmvitssl.checkpoint.strict import LoadReport
from mmvitssl.distributed import each_alone
from mmvitssl.models.algorithms.step import PretrainStep
from mmvitssl.models.backbones.contract import BackboneSpec, check_backbone
from mmvitssl.models.balancers.gradients import Trunk, gradient_cosines
from mmvitssl.models.balancers.pareto import ParetoWeights
from mmvitssl.models.corruption import harmonise
from mmvitssl.models.data_preprocessor import build_preprocessor
from mmvitssl.models.display import displayed
from mmvitssl.models.precision import full_precision
from mmvitssl.models.sizes import build_part
from mmvitssl.models.stochastic_depth import number_layers, rows_drawn, sample_depths
from mmvitssl.models.targets.momentum import as_config
from mmvitssl.models.targets.tokens import HasFrozenFiles
from mmvitssl.models.tasks.base import PretextTask, TaskResult
from mmvitssl.randomness import all_seeded, batch_seed
from mmvitssl.registry import MODELS
from mmvitssl.structures import View


def _build_task(config: Mapping[str, Any], name: str, spec: BackboneSpec) -> nn.Module:
    """Build a pretext task, which may ask for ``backbone`` (the spec) or for sizes by name."""
    task: nn.Module = build_part(
        config,
        f"tasks.{name}",
        backbone=spec,
        in_channels=spec.embed_dim,
        patch_size=spec.patch_size,
        image_channels=spec.in_channels,
        cells=spec.grid[0] * spec.grid[1],
    )
    return task


@MODELS.register_module()
class Pretrainer(BaseModel):
    """Run any set of pretext tasks over one encoder.

    A method is a choice of tasks, target and balancer in a config; nothing here knows one.

    Args:
        encoder: config of the encoder.
        tasks: config of each task, by a name of your choice; the log and the balancer use it.
            Sizes that follow from the encoder (widths, patch, grid, levels) are filled in.
        target: config of the momentum branch (:class:`MomentumTarget` without ``online``); None:
            the target branch is the online one without gradient.
        balancer: config of the weights of the losses; by default all 1.
        data_preprocessor: config; by default ImageNet normalisation.
        seed: of all that is drawn inside a step: masks, corruption, stochastic depth, dropout.
        frozen: beginnings of names of the encoder's parameters that are not trained, such as
            ``('patch_embed.', 'blocks.0.')``: partial training from published weights.
        packed: whether crops of several sizes, masked or not, go through the encoder as one
            sequence with block-diagonal attention (DINOv2's code does so); features are the same.
            Encoders that are compiled or sharded by blocks, or have relative positions, run them
            one after the other.

    Raises:
        ValueError: tasks that do not fit the encoder, the balancer or each other.
    """

    def __init__(
        self,
        encoder: dict[str, Any],
        tasks: Mapping[str, dict[str, Any]],
        target: dict[str, Any] | None = None,
        balancer: dict[str, Any] | None = None,
        data_preprocessor: dict[str, Any] | None = None,
        seed: int = 0,
        frozen: Sequence[str] = (),
        packed: bool = False,
    ) -> None:
        super().__init__(data_preprocessor=build_preprocessor(data_preprocessor))
        if not tasks:
            raise ValueError("Pretrainer.tasks is empty: name at least one pretext task.")
        if seed < 0:
            raise ValueError(f"Pretrainer.seed={seed} must not be negative.")
        self.seed, self.packed = seed, packed
        self.iteration = 0  # of the training; StepSeedHook sets it
        self.update_after_forward: float | None = None  # the progress, where that is due
        self.watch_gradients = False  # set by GradientCosineHook
        self.observers: list[Callable[[dict[str, TaskResult]], None]] = []
        self.encoder = check_backbone(MODELS.build(encoder))
        freeze(self.get_submodule("encoder"), frozen)
        self.tasks = nn.ModuleDict(
            {name: _build_task(task, name, self.encoder.spec) for name, task in tasks.items()}
        )
        for name, task in self.tasks.items():
            if not isinstance(task, PretextTask):
                raise TypeError(
                    f"tasks.{name} is a {type(task).__name__}, which is no pretext task: let it "
                    f"inherit mmvitssl.models.tasks.PretextTask."
                )
        self.balancer = MODELS.build(balancer or dict(type="FixedWeights"))
        self.balancer.check(list(self.tasks))
        self.trunk = Trunk(self.encoder)
        if isinstance(self.balancer, ParetoWeights):
            self.trunk.check("ParetoWeights")
        for _, task in self.named_tasks():
            task.connect(dict(self.named_tasks()))
        for _, task in self.named_tasks():
            task.check(self.encoder, has_target=target is not None)
        self.target = None
        if target is not None:
            self.target = MODELS.build({**as_config(target), "online": self.momentum_modules()})
        self.depth_layers = number_layers(self)

    def named_tasks(self) -> list[tuple[str, PretextTask]]:
        """Tasks in the order of the config."""
        return [(name, task) for name, task in self.tasks.items() if isinstance(task, PretextTask)]

    def momentum_modules(self) -> dict[str, nn.Module]:
        """What the momentum target follows: the encoder and modules of the tasks."""
        modules = {"encoder": self.get_submodule("encoder")}
        for name, task in self.named_tasks():
            for part, module in task.momentum_modules().items():
                modules[f"{name}_{part}"] = module
        return modules

    def load_pretrained(
        self,
        path: str | Path,
        source: str | None = None,
        log: Callable[[str], None] | None = None,
        anew: bool = False,
    ) -> LoadReport:
        """Start the encoder, and the momentum encoder, from given weights.

        Without a ``source`` the two branches go on from where they were: the encoder takes the
        file's online encoder, and the momentum encoder the file's own (MoCo v3's
        ``momentum_encoder``, DINO's ``teacher``, MoBY's ``encoder_k``). With a ``source``, or where
        the file has one encoder only, both start from the same weights, bit for bit.

        Args:
            path: see :func:`~mmvitssl.checkpoint.load_encoder`.
            source: 'online', 'target' or 'ema'; None: see above.
            log: where the reports go.
            anew: begin a pretraining from these weights: both branches start from the same
                encoder, by default the one that the method's authors evaluate, and tokens that
                serve pretraining alone keep their initial values where the file lacks them.

        Returns:
            the report of the online encoder.

        Raises:
            FileNotFoundError: there is no such file.
            CheckpointError: it does not fit.
        """
        log = log or (lambda text: print_log(text, logger="current"))
        how = dict(log=log, preprocessor=self.data_preprocessor)
        usual = source if anew else source or "online"
        encoder = self.get_submodule("encoder")
        report = load_encoder(encoder, path, usual, **how, fresh_tokens=anew)
        if self.target is None:
            return report
        if source is None and not anew and has_target(path):
            load_encoder(self.target["encoder"], path, "target", **how)
            log("The momentum encoder starts from the file's own momentum encoder.")
        else:
            self.target["encoder"].load_state_dict(self.encoder.state_dict())
            log("The momentum encoder starts equal to the encoder.")
        return report

    def update_target(self, progress: float) -> float | None:
        """Move the momentum target; returns the momentum, None without a target.

        Args:
            progress: fraction of the training that is done, in [0, 1].
        """
        if self.target is None:
            return None
        return self.target.update(self.momentum_modules(), progress)

    def load_frozen(self) -> None:
        """Read the files of frozen parts (tokenizers) now, so that a missing one is found early.

        Raises:
            CheckpointError: a file is missing or does not fit.
        """
        for module in self.modules():
            if module is not self and isinstance(module, HasFrozenFiles):
                module.load_frozen()

    def start(self, views: Sequence[View], samples: dict[str, Any]) -> PretrainStep:
        """A step in which nothing has run yet."""
        names = {task: name for name, task in self.tasks.items()}
        pairs = [pair for _, task in self.named_tasks() for pair in task.paired_views()]
        layers = self.depth_layers if self.training else 0
        return PretrainStep(
            views, samples, self.encoder, self.target, names, self.seed, pairs,
            self.iteration, self.packed, layers,
        )  # fmt: skip

    def prepare_views(self, step: PretrainStep) -> None:
        """Whole-view transformations first, then every task alters patches of its own.

        Raises:
            ValueError: a task changed a view and not the views that are paired with it.
        """
        tasks = self.named_tasks()
        with full_precision(step.device):
            for name, task in tasks:
                before = list(step.views)
                task.transform_views(step)
                _check_pairs(name, step, before)
            harmonise(step, tasks, self)

    def begin(self, views: Sequence[View], samples: dict[str, Any]) -> PretrainStep:
        """A step whose requested encoder passes have run."""
        step = self.start(views, samples)
        self.prepare_views(step)
        step.prepare(request for _, task in self.named_tasks() for request in task.requests(step))
        return step

    def ask(self, step: PretrainStep) -> dict[str, TaskResult]:
        """Results of all tasks by name."""
        return {name: task.loss(step) for name, task in self.named_tasks()}

    def forward(
        self, views: Sequence[View], samples: dict[str, Any], mode: str = "loss"
    ) -> dict[str, Tensor] | list[dict[str, Any]] | dict[str, dict[str, Tensor]]:
        """Run one batch.

        Args:
            views: from the data preprocessor, (B, C, H_v, W_v) each.
            samples: what the collate function kept of the samples.
            mode: 'loss' gives ``loss_<task>`` (weighted, summed by MMEngine into the total),
                ``raw_<task>``, ``weight_<task>`` and the tasks' metrics; 'predict' gives a list
                with one dict of raw losses and metrics of this batch, for evaluation; 'pictures'
                returns each task's pictures as RGB. Only 'loss' talks to other processes: in
                evaluation, negatives are those of the process's own batch.

        Raises:
            ValueError: an unknown mode.
        """
        if mode == "loss":
            device = views[0].images.device
            depths = sample_depths(self.seed, samples, self.depth_layers, device)
            # dropout of users' modules draws from the global generators
            with all_seeded(batch_seed(self.seed, samples), device), rows_drawn(depths):
                step = self.begin(views, samples)
                results = self.ask(step)
                if self.update_after_forward is not None:
                    self.update_target(self.update_after_forward)
                    self.update_after_forward = None
                self.iteration += 1
                return self._log(results, step.levels)
        if mode == "predict":
            with each_alone():
                step = self.begin(views, samples)
                scalars = _scalars(self.ask(step), step.batch_size)
            return [{**scalars, "index": [int(i) for i in samples["index"]]}]
        if mode == "pictures":
            with each_alone():
                step = self.begin(views, samples)
                drawn = {name: task.pictures(step) for name, task in self.named_tasks()}
            return {
                name: {caption: displayed(picture) for caption, picture in pictures.items()}
                for name, pictures in drawn.items()
            }
        raise ValueError(f"Pretrainer.forward knows 'loss', 'predict', 'pictures', not '{mode}'.")

    def _log(self, results: dict[str, TaskResult], levels: Sequence[Tensor]) -> dict[str, Tensor]:
        for observer in self.observers:
            observer(results)
        losses = {name: result.loss for name, result in results.items()}
        watched = self.watch_gradients and torch.is_grad_enabled()
        logs = gradient_cosines(losses, self.trunk, levels) if watched else {}
        balanced = self.balancer(losses, self.trunk, levels)
        for name, result in results.items():
            logs[f"loss_{name}"] = balanced[name].term
            logs[f"raw_{name}"] = result.loss.detach()
            logs[f"weight_{name}"] = balanced[name].weight
            logs.update({f"{name}_{key}": value for key, value in result.metrics.items()})
        return logs


def freeze(encoder: nn.Module, fronts: Sequence[str]) -> None:
    """Leave some parameters of an encoder untrained.

    Raises:
        ValueError: nothing has a name that begins so.
    """
    names = dict(encoder.named_parameters())
    for front in fronts:
        found = [parameter for name, parameter in names.items() if name.startswith(front)]
        if not found:
            raise ValueError(
                f"Pretrainer.frozen: no parameter of the encoder begins with '{front}'; there are "
                f"{sorted({name.split('.')[0] for name in names})}."
            )
        for parameter in found:
            parameter.requires_grad_(False)


def _check_pairs(name: str, step: PretrainStep, before: Sequence[View]) -> None:
    changed = {i for i, view in enumerate(before) if step.views[i] is not view}
    for view in sorted(changed):
        left = [other for other in step.paired_with(view) if other not in changed]
        if left:
            raise ValueError(
                f"Task '{name}' transforms view {view} and not view {left[0]}, which another task "
                f"takes for the same picture: use step.transform(view, function) in "
                f"transform_views."
            )


def _scalars(results: dict[str, TaskResult], batch_size: int) -> dict[str, Any]:
    values: dict[str, Any] = {"batch_size": batch_size}
    for name, result in results.items():
        values[f"raw_{name}"] = float(result.loss.detach())
        values.update({f"{name}_{key}": float(value) for key, value in result.metrics.items()})
    return values


@torch.compiler.set_stance("force_eager")
@torch.no_grad()
def draw_pictures(model: Pretrainer, data: dict[str, Any]) -> dict[str, dict[str, Tensor]]:
    """Each task's pictures for a collated batch, in eval mode; the mode is restored.

    A compiled encoder runs uncompiled: another mode and batch size would compile it again.
    """
    training = model.training
    model.eval()
    pictures = model(**model.data_preprocessor(data, False), mode="pictures")
    model.train(training)
    assert isinstance(pictures, dict)
    return pictures  # type: ignore[return-value]
