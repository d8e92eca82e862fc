"""One iteration as the tasks see it: views, and features that are computed once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from mmvitssl.models.backbones.contract import Backbone, Packs
from mmvitssl.models.corruption.allocate import Assigned
from mmvitssl.models.stochastic_depth import rows_drawn
from mmvitssl.models.targets.momentum import MomentumTarget
from mmvitssl.randomness import SampleDraws, batch_seed
from mmvitssl.structures import Encoded, TokenPlan, View

ONLINE, TARGET = "online", "target"
CLEAN = "clean"  # the online encoder on views without the patches that tasks altered
T = TypeVar("T")
Pass = tuple[str, int, TokenPlan | None]  # branch, view and plan; plans are compared by identity
# views of a pass, its plan, and the levels that are read
Run = tuple[list[Pass], "TokenPlan | None", list[int]]


@dataclass(frozen=True, eq=False)
class EncodeRequest:
    """An encoder pass that a task will read.

    Attributes:
        view: index of the view.
        branch: 'online' or 'target'.
        plan: tokens that enter; passes without a plan over views of one size share a batch.
        levels: blocks whose outputs are wanted.
        clean: whether the online encoder sees the view without what patch-level tasks alter in it
            (pixels and hidden positions). The target branch always does.
    """

    view: int
    branch: str = ONLINE
    plan: TokenPlan | None = None
    levels: tuple[int, ...] = ()
    clean: bool = False


class PretrainStep:
    """Views of one iteration and the memoised encoder passes over them.

    Requests are collected from all tasks first, so that each distinct pass runs once and views of
    one size share a batch; what was not requested runs when it is asked for.

    Args:
        views: the views of the batch.
        samples: what the collate function kept of the samples.
        encoder: the online encoder.
        target: the momentum branch; None: the target branch is the online one without gradient.
        task_names: name of each task, under which the target keeps its modules.
        seed: seed of all generators.
        pairs: views that show the same crop, two by two; see :meth:`transform`.
        iteration: of the training, zero-based.
        packed: whether the online passes run as one sequence where the encoder can.
        layers: of stochastic depth in all modules.
    """

    def __init__(
        self,
        views: Sequence[View],
        samples: dict[str, Any],
        encoder: Backbone,
        target: MomentumTarget | None = None,
        task_names: dict[nn.Module, str] | None = None,
        seed: int = 0,
        pairs: Iterable[tuple[int, int]] = (),
        iteration: int = 0,
        packed: bool = False,
        layers: int = 0,
    ) -> None:
        self.layers = layers
        self.views = list(views)
        self._pairs = tuple(pairs)
        self.samples = samples
        self.iteration, self.packed = iteration, packed
        self.target = target
        self._encoder = encoder
        self._task_names = task_names or {}
        self._seed = seed
        self._generators: dict[tuple[nn.Module, str], torch.Generator] = {}
        self._draws: dict[tuple[nn.Module, str, str], SampleDraws] = {}
        self._kept: dict[tuple[nn.Module, str], Any] = {}
        self._cache: dict[Pass, Encoded] = {}
        self._plans: dict[TokenPlan, int] = {}  # in the order of their first passes
        self.assigned: dict[tuple[str, int], Assigned] = {}
        self.levels: list[Tensor] = []  # of the online encoder's blocks, that tasks read

    @property
    def device(self) -> torch.device:
        return self.views[0].images.device

    @property
    def batch_size(self) -> int:
        return self.views[0].batch_size

    def generator(self, task: nn.Module, device: str | torch.device = "cpu") -> torch.Generator:
        """Randomness of a task in this step, a function of (seed, rank, samples, task) only.

        The same batch in the same epoch draws the same numbers after a resume, and tasks do not
        disturb each other's. What is drawn per sample should come from :meth:`draws`.
        """
        key = (task, str(device))
        if key not in self._generators:
            name = self._task_names.get(task, type(task).__name__)
            seed = batch_seed(self._seed, self.samples, name)
            self._generators[key] = torch.Generator(device).manual_seed(seed)
        return self._generators[key]

    def draws(
        self, task: nn.Module, name: str = "", device: str | torch.device = "cpu"
    ) -> SampleDraws:
        """Randomness of a task per sample, a function of (seed, epoch, sample, task, name) only.

        It does not depend on the batch that a sample is in, nor on the rank.

        Args:
            task: that draws.
            name: of what is drawn, where the number of draws may differ between batches.
            device: of the numbers.
        """
        key = (task, name, str(device))
        if key not in self._draws:
            owner = self._task_names.get(task, type(task).__name__)
            self._draws[key] = self._sample_draws(f"{owner} {name}", device)
        return self._draws[key]

    def _sample_draws(self, name: str, device: str | torch.device) -> SampleDraws:
        return SampleDraws.of(self._seed, self.samples, name, device, self.iteration)

    def _depths(self, keys: list[Pass], plan: TokenPlan | None) -> Tensor | None:
        """(layers, R) in [0, 1), what the rows of a pass draw for stochastic depth."""
        if not self.layers:
            return None
        number = 0 if plan is None else self._plans.setdefault(plan, len(self._plans) + 1)
        parts = []
        for branch, view, _ in keys:
            drawn = self._sample_draws(f"depth {branch} {view} {number}", self.device)
            if plan is not None and plan.image_index is not None:
                drawn = drawn.rows(plan.image_index)
            parts.append(drawn.uniform(len(drawn.keys), self.layers))
        return torch.cat(parts).t()

    def once(self, task: nn.Module, name: str, make: Callable[[], T]) -> T:
        """The value that ``make`` gave when this task first asked for ``name`` in this step."""
        key = (task, name)
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]

    @property
    def patch_size(self) -> int:
        """Side of a patch in pixels."""
        return self._encoder.spec.patch_size

    def given(self, task: nn.Module, view: int) -> Assigned:
        """The patches of a view that a task was given."""
        return self.assigned[self._task_names[task], view]

    def view(self, index: int) -> View:
        """The view, or an error that says how many there are."""
        if not 0 <= index < len(self.views):
            raise IndexError(
                f"A task reads view {index}, but the pipeline makes {len(self.views)}: add views "
                f"to MultiView or change the task's views."
            )
        return self.views[index]

    def grid_of(self, index: int) -> tuple[int, int]:
        """Rows and columns of patches of a view."""
        return self._encoder.grid_of(self.view(index).size)

    def paired_with(self, view: int) -> tuple[int, ...]:
        """The view and all views that show the same crop, directly or through others, ascending."""
        group, size = {view}, 0
        while len(group) > size:
            size = len(group)
            group |= {other for pair in self._pairs if group & set(pair) for other in pair}
        return tuple(sorted(group))

    def transform(self, view: int, function: Callable[[Tensor], Tensor]) -> None:
        """Change a whole view, and every view that is paired with it, in the same way.

        Args:
            view: index of the view.
            function: (B, 3, H, W) -> (B, 3, H, W), for pixels and normalised pixels of any size.
        """
        for index in self.paired_with(view):
            old = self.view(index)
            pixels, images = function(old.pixels), function(old.images)
            self.views[index] = replace(old, pixels=pixels, images=images)

    def prepare(self, requests: Iterable[EncodeRequest]) -> None:
        """Run all distinct passes, views of one size and branch in one batch."""
        levels: dict[Pass, set[int]] = defaultdict(set)
        for request in requests:
            levels[self._key(request)] |= set(request.levels)
        groups: dict[Any, list[Pass]] = defaultdict(list)
        for branch, index, plan in levels:
            size = self.view(index).size
            shared = (branch, size, None) if plan is None else (branch, index, plan)
            groups[shared].append((branch, index, plan))
        runs = [
            (keys, keys[0][2], sorted(set().union(*(levels[key] for key in keys))))
            for keys in groups.values()
        ]
        together = [run for run in runs if self._may_pack(run[0], run[1])]
        if len(together) > 1:
            self._run_packed(together)
        for run in runs:
            if len(together) < 2 or run not in together:
                self._run(*run)

    def encode(
        self,
        view: int,
        plan: TokenPlan | None = None,
        levels: Sequence[int] = (),
        clean: bool = False,
    ) -> Encoded:
        """Features of a view by the online encoder; see :class:`EncodeRequest`."""
        return self._lookup(EncodeRequest(view, ONLINE, plan, tuple(levels), clean))

    def encode_target(
        self, view: int, plan: TokenPlan | None = None, levels: Sequence[int] = ()
    ) -> Encoded:
        """Features of a view by the target encoder, without gradient."""
        return self._lookup(EncodeRequest(view, TARGET, plan, tuple(levels)))

    @property
    def epoch(self) -> int:
        """Of the training, zero-based."""
        return int(self.samples["epoch"][0])  # on the CPU: samples do not travel

    def target_module(self, task: nn.Module, part: str) -> nn.Module:
        """The target's copy of a module of a task, or the online one without a momentum target."""
        if self.target is None:
            return getattr(task, part)
        return self.target[f"{self._task_names[task]}_{part}"]

    def _key(self, request: EncodeRequest) -> Pass:
        branch = request.branch
        if branch == ONLINE and request.clean and self.view(request.view).altered:
            branch = CLEAN
        return branch, request.view, request.plan

    def _lookup(self, request: EncodeRequest) -> Encoded:
        key = self._key(request)
        found = self._cache.get(key)
        if found is None or not set(request.levels) <= set(found.hierarchy):
            self.prepare([request])
        return self._cache[key]

    def _may_pack(self, keys: list[Pass], plan: TokenPlan | None) -> bool:
        """Whether a pass may run with others as one sequence."""
        encoder = self._encoder
        unplaced = any(self.view(index).unplaced is not None for _, index, _ in keys)
        return (
            self.packed
            and keys[0][0] != TARGET
            and not unplaced
            and (isinstance(encoder, Packs) and encoder.can_pack(plan))
        )

    def _run_packed(self, runs: list[Run]) -> None:
        batches = [self._batches(keys) for keys, _, _ in runs]
        passes = [(torch.cat(images), plan, levels)
                  for images, (_, plan, levels) in zip(batches, runs, strict=True)]  # fmt: skip
        encoder = self._encoder
        assert isinstance(encoder, Packs)
        depths = [self._depths(keys, plan) for keys, plan, _ in runs]
        drawn = [depth for depth in depths if depth is not None]
        with rows_drawn(torch.cat(drawn, dim=1) if drawn else None):
            outputs = encoder.forward_packed(passes)
        for images, (keys, _, _), encoded in zip(batches, runs, outputs, strict=True):
            self._keep(keys, images, encoded)

    def _batches(self, keys: list[Pass]) -> list[Tensor]:
        """The images of each view of a pass, as its branch sees them."""
        views = [self.view(index) for _, index, _ in keys]
        return [view.seen if keys[0][0] == ONLINE else view.images for view in views]

    def _run(self, keys: list[Pass], plan: TokenPlan | None, levels: Sequence[int]) -> None:
        branch = keys[0][0]
        views = [self.view(index) for _, index, _ in keys]
        batches = self._batches(keys)
        images = batches[0] if len(batches) == 1 else torch.cat(batches)
        unplaced = self._unplaced(views) if branch == ONLINE else None
        with rows_drawn(self._depths(keys, plan)):
            encoded = self._forward(branch, images, plan, levels, unplaced)
        self._keep(keys, batches, encoded)

    def _keep(self, keys: list[Pass], batches: list[Tensor], encoded: Encoded) -> None:
        """Store the features of a pass, view by view."""
        if keys[0][0] != TARGET:
            self.levels += encoded.hierarchy.values()
        if len(keys) == 1:
            self._cache[keys[0]] = encoded
            return
        start = 0
        for key, batch in zip(keys, batches, strict=True):
            self._cache[key] = encoded.rows(start, start + batch.shape[0])
            start += batch.shape[0]

    def _unplaced(self, views: Sequence[View]) -> Tensor | None:
        """(R, N) patches of the views that have no position; None if all have one."""
        if all(view.unplaced is None for view in views):
            return None
        grid = self._encoder.grid_of(views[0].size)
        none = torch.zeros(grid[0] * grid[1], dtype=torch.bool, device=self.device)
        return torch.cat([
            none.expand(view.batch_size, -1) if view.unplaced is None else view.unplaced
            for view in views
        ])  # fmt: skip

    def _forward(
        self,
        branch: str,
        images: Tensor,
        plan: TokenPlan | None,
        levels: Sequence[int],
        unplaced: Tensor | None = None,
    ) -> Encoded:
        if branch != TARGET:
            # without such patches encoders need not know of them
            more = () if unplaced is None else (unplaced,)
            return self._encoder(images, plan, tuple(levels), *more)
        with torch.no_grad():
            encoder = self._encoder if self.target is None else self.target["encoder"]
            return encoder(images, plan, tuple(levels))
