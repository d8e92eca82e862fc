"""Masked modeling: predict what a masker hid."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmvitssl.arguments import check_choice
from mmvitssl.models.algorithms.step import ONLINE, TARGET, EncodeRequest, PretrainStep
from mmvitssl.models.backbones.contract import Backbone, BackboneSpec
from mmvitssl.models.masking import FeatureMasking, Masking
from mmvitssl.models.necks.latent import PatchProjector
from mmvitssl.models.necks.prototypes import PrototypeMLP
from mmvitssl.models.sizes import build_part
from mmvitssl.models.targets.base import Target
from mmvitssl.models.targets.latent import PrototypeTarget
from mmvitssl.models.tasks.base import PretextTask, TaskResult, check_views, other_task
from mmvitssl.models.tasks.pictures import masked_picture, reconstruction_pictures
from mmvitssl.registry import MODELS
from mmvitssl.structures import Encoded, MaskedPatches, TokenPlan

SEES = ("clean", "altered")
AVERAGES = ("patches", "images")


Masks = tuple[TokenPlan, MaskedPatches]


def draw_masks(
    task: PretextTask, step: PretrainStep, masking: Masking | FeatureMasking, *views: int
) -> list[Masks]:
    """Draw, once per step, plan and masked patches of views of one size, on the device.

    Raises:
        ValueError: the views have different grids.
    """

    def plans() -> list[TokenPlan]:
        draws = step.draws(task, "masks")
        if isinstance(masking, FeatureMasking):
            seen = [step.encode_target(view) for view in views]
            return [masking.plan_from(one, draws) for one in seen]
        grids = {step.grid_of(view) for view in views}
        if len(grids) > 1:
            raise ValueError(f"{type(task).__name__}.views={views} differ in size: {grids}.")
        batch = step.view(views[0]).batch_size
        # a row per view and image, view by view
        plan = masking(grids.pop(), batch * len(views), draws.repeated(len(views)))
        return plan.split(batch, len(views))

    def draw() -> list[Masks]:
        return [(plan.to(step.device), MaskedPatches.of(plan).to(step.device)) for plan in plans()]

    return step.once(task, "masks", draw)


def trial_plan(
    masking: Masking | FeatureMasking, encoder: Backbone, views: int = 1
) -> TokenPlan | None:
    """Return a plan for images of the backbone's size, to see what a masker does, or None."""
    if not encoder.spec.can_mask:
        return None
    generator = torch.Generator().manual_seed(0)
    with torch.device("cpu"):  # maskers draw there, wherever the model is built
        if not isinstance(masking, FeatureMasking):
            return masking(encoder.spec.grid, 2 * views, generator)
        patches = torch.randn(2, math.prod(encoder.spec.grid), encoder.spec.embed_dim)
        encoded = Encoded(patches[:, 0], {}, patches, {}, encoder.spec.grid)
        return masking.plan_from(encoded, generator)


def check_plan(task: PretextTask, plan: TokenPlan | None, encoder: Backbone) -> None:
    """Raise ValueError unless the encoder can obey the plans of a task."""
    name, encoder_name = type(task).__name__, type(encoder).__name__
    if plan is None:
        raise ValueError(
            f"{name} masks patches, and {encoder_name} cannot leave patches out or replace them: "
            f"masked tasks need a ViT, or another backbone whose spec says can_mask."
        )
    if plan.tokens is not None and not encoder.spec.has_patch_tokens:
        raise ValueError(
            f"{name}: its masker leaves patches out, and {encoder_name} needs all of them: use a "
            f"masker with mode='replace', or a ViT."
        )
    if plan.masked is not None and not encoder.spec.has_mask_token:
        raise ValueError(
            f"{name}: its masker replaces patches: build the encoder with mask_token=True."
        )
    if plan.mask_at >= encoder.spec.depth:
        raise ValueError(
            f"{name}.masking.mask_at={plan.mask_at}, but the encoder has blocks "
            f"0..{encoder.spec.depth - 1}."
        )


def check_sees(task: PretextTask, sees: str) -> bool:
    """Return whether a masked pass asks for clean pixels.

    Raises:
        ValueError: neither 'clean' nor 'altered'.
    """
    check_choice(f"{type(task).__name__}.sees", sees, SEES)
    return sees == "clean"


def target_pairs(view: int, target: Target) -> list[tuple[int, int]]:
    """Return the masked view, and the view of its target if that is another one."""
    return [] if target.view in (None, view) else [(view, target.view)]


def build_target(task: PretextTask, target: dict[str, Any], backbone: BackboneSpec) -> Any:
    """Build the target of a masked task, for the backbone's patches and images."""
    return build_part(
        target,
        f"{type(task).__name__}.target",
        backbone=backbone,
        patch_size=backbone.level_strides[-1],
        channels=backbone.in_channels,
    )


@MODELS.register_module()
class MaskedModeling(PretextTask):
    """Predict something of masked patches: pixels (MAE), ids (BEiT), latents (I-JEPA, iBOT).

    Args:
        masking: config of a masker; None: nothing is hidden, and all patches are predicted
            (feature distillation).
        neck: config of a module ``(encoded, masked) -> (T, D)``: a decoder or a predictor; its
            widths and grid follow from the backbone and the target.
        target: config of what is predicted: :class:`PixelTarget`, :class:`TokenTarget`,
            :class:`HOGTarget`, :class:`FeatureTarget`, :class:`PrototypeTarget`,
            :class:`FrozenTarget`.
        head: config of a loss on (T, D) predictions.
        backbone: its spec; the Pretrainer fills it in.
        view: the view that is masked.
        sees: pixels of the visible patches where patch-level tasks alter patches of this view:
            'clean' (as each method alone), or 'altered' (denoising too). Targets are clean.
        views: several views of one size that are masked, in place of ``view``.
        average: 'patches': the mean over all masked patches; 'images': over those of each image
            first, then over all images, where one without masked patches counts as 0 (iBOT).

    Raises:
        ValueError: an unknown ``sees`` or ``average``.
    """

    def __init__(
        self,
        masking: dict[str, Any] | None,
        neck: dict[str, Any],
        target: dict[str, Any],
        head: dict[str, Any],
        backbone: BackboneSpec,
        view: int = 0,
        sees: str = "clean",
        views: Sequence[int] | None = None,
        average: str = "patches",
    ) -> None:
        super().__init__()
        self.views = (view,) if views is None else tuple(views)
        check_views(self, self.views, least=1)
        check_choice("MaskedModeling.average", average, AVERAGES)
        self.average, self.clean = average, check_sees(self, sees)
        self.masking = None if masking is None else MODELS.build(masking)
        self.target = build_target(self, target, backbone)
        projects = neck.get("type") in (PatchProjector, PatchProjector.__name__)
        if isinstance(self.target, PrototypeTarget) != projects:
            raise ValueError(
                "MaskedModeling: a PrototypeTarget needs a PatchProjector as the neck, which gives "
                "the teacher its projector, and the other way round."
            )
        self.neck = build_part(
            neck,
            "MaskedModeling.neck",
            "the encoder or the target",
            in_channels=backbone.embed_dim,
            out_channels=self.target.out_channels,
            grid=backbone.grid,
        )
        self.head = MODELS.build(head)
        self._lender: tuple[PretextTask, ...] = ()  # a tuple hides it from the state

    @property
    def view(self) -> int:
        """The first masked view."""
        return self.views[0]

    @property
    def projector(self) -> Any:
        """The projector of patches, where there is one."""
        return self.neck.used if isinstance(self.neck, PatchProjector) else None

    def connect(self, tasks: Mapping[str, PretextTask]) -> None:
        if not isinstance(self.neck, PatchProjector):
            return
        if self.neck.shared is not None:
            self._borrow_projector(self.neck, tasks)
        self.target.fit(self.neck.out_channels)

    def _borrow_projector(self, neck: PatchProjector, tasks: Mapping[str, PretextTask]) -> None:
        other = other_task(self, "neck.projector", str(neck.shared), tasks)
        if not isinstance(getattr(other, "projector", None), PrototypeMLP):
            raise ValueError(
                f"MaskedModeling.neck.projector='{neck.shared}': that task has no "
                f"PrototypeMLP as its projector."
            )
        neck.borrow(other.projector)
        self._lender = (other,)

    def momentum_modules(self) -> dict[str, nn.Module]:
        own = isinstance(self.neck, PatchProjector) and self.neck.shared is None
        return {"projector": self.projector} if own else {}

    def teacher_projector(self, step: PretrainStep) -> Any:
        """The teacher's copy of the projector of patches."""
        owner = self._lender[0] if self._lender else self
        return step.target_module(owner, "projector")

    def check(self, encoder: Backbone, has_target: bool) -> None:
        """See the base class: a backbone that can obey the masker's plans."""
        if self.masking is not None:
            check_plan(self, trial_plan(self.masking, encoder, len(self.views)), encoder)

    def paired_views(self) -> list[tuple[int, int]]:
        return [pair for view in self.views for pair in target_pairs(view, self.target)]

    def masks(
        self, step: PretrainStep, view: int | None = None
    ) -> tuple[TokenPlan | None, MaskedPatches]:
        """Plan and masked patches of a view in this step; by default of the first."""
        view = self.view if view is None else view
        if self.masking is not None:
            return draw_masks(self, step, self.masking, *self.views)[self.views.index(view)]
        grid = step.grid_of(view)
        every = MaskedPatches.every(step.view(view).batch_size, grid[0] * grid[1])
        return None, every.to(step.device)

    def request(self, step: PretrainStep, view: int) -> EncodeRequest:
        """The online encoder's pass over a masked view."""
        return EncodeRequest(view, ONLINE, self.masks(step, view)[0], clean=self.clean)

    def requests(self, step: PretrainStep) -> list[EncodeRequest]:
        for view in self.views:
            self.target.check(step, view, step.grid_of(view))
        requests = [self.request(step, view) for view in self.views]
        levels = self.target.reads()
        if levels is not None:
            requests += [EncodeRequest(view, TARGET, levels=levels) for view in self.views]
        return requests

    def predict(self, step: PretrainStep, view: int | None = None) -> Tensor:
        """(T, D), an entry per masked patch of a view; by default of the first."""
        view = self.view if view is None else view
        plan, masked = self.masks(step, view)
        return self.neck(step.encode(view, plan, clean=self.clean), masked)

    def loss(self, step: PretrainStep) -> TaskResult:
        masked = {view: self.masks(step, view)[1] for view in self.views}
        prediction = torch.cat([self.predict(step, view) for view in self.views])
        target = self.target.values(step, self, masked)
        if self.average == "images":
            images = step.view(self.view).batch_size
            weights = [patches.image_weights(images) for patches in masked.values()]
            loss = self.head(prediction, target, torch.cat(weights) / len(weights))
        else:
            loss = self.head(prediction, target)
        if self.training:
            self.target.update(step)
        return TaskResult(loss, self.head.metrics(prediction.detach(), target))

    @torch.no_grad()
    def pictures(self, step: PretrainStep) -> dict[str, Tensor]:
        """Original, what the encoder sees, and the reconstruction."""
        plan, masked = self.masks(step)
        original = step.view(self.view).pixels
        prediction = self.predict(step)
        pictures = {"original": original}
        if plan is not None:
            grid = step.grid_of(self.view)
            pictures["masked"] = masked_picture(original, plan, masked, grid)
        more = reconstruction_pictures(self.target, prediction, step, self.view, masked, plan)
        return pictures | more
