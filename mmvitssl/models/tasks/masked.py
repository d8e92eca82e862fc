"""Masked modeling: predict what a masker hid."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from mmvitssl.models.algorithms.step import ONLINE, EncodeRequest, PretrainStep
from mmvitssl.models.backbones.contract import Backbone, BackboneSpec
from mmvitssl.models.masking import FeatureMasking, Masking
from mmvitssl.models.sizes import build_part
from mmvitssl.models.tasks.base import PretextTask, TaskResult, check_views
from mmvitssl.models.tasks.pictures import masked_picture, reconstruction_pictures
from mmvitssl.registry import MODELS
from mmvitssl.structures import Encoded, MaskedPatches, TokenPlan

SEES = ("clean", "altered")


def draw_masks(
    task: PretextTask, step: PretrainStep, masking: Masking | FeatureMasking, view: int
) -> tuple[TokenPlan, MaskedPatches]:
    """The plan of this step and its masked patches on the device, drawn once."""

    def draw() -> tuple[TokenPlan, MaskedPatches]:
        if isinstance(masking, FeatureMasking):
            plan = masking.plan_from(step.encode_target(view), step.generator(task))
        else:
            grid = step.grid_of(view)
            plan = masking(grid, step.view(view).batch_size, step.generator(task))
        return plan.to(step.device), MaskedPatches.of(plan).to(step.device)

    return step.once(task, "masks", draw)


def trial_plan(masking: Masking | FeatureMasking, encoder: Backbone) -> TokenPlan | None:
    """A plan for images of the backbone's size, to see what a masker does; None: it cannot."""
    if not encoder.spec.can_mask:
        return None
    generator = torch.Generator().manual_seed(0)
    if not isinstance(masking, FeatureMasking):
        return masking(encoder.spec.grid, 2, generator)
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
    """Whether a masked pass asks for clean pixels.

    Raises:
        ValueError: neither 'clean' nor 'altered'.
    """
    if sees not in SEES:
        raise ValueError(f"{type(task).__name__}.sees='{sees}' is unknown; use one of {SEES}.")
    return sees == "clean"


def target_pairs(view: int, target: object) -> list[tuple[int, int]]:
    """The masked view and the one that its target is computed from (``target.view``)."""
    other = getattr(target, "view", view)
    return [] if other == view else [(view, other)]


def build_target(task: PretextTask, target: dict[str, Any], backbone: BackboneSpec) -> Any:
    """The target of a masked task, for the backbone's patches and images."""
    return build_part(
        target,
        f"{type(task).__name__}.target",
        patch_size=backbone.patch_size,
        channels=backbone.in_channels,
    )


@MODELS.register_module()
class MaskedModeling(PretextTask):
    """Predict pixels or ids of masked patches: MAE, SimMIM, BEiT, LoMaR and what lies between.

    Args:
        masking: config of a masker.
        neck: config of a module ``(encoded, masked) -> (T, D)``: a decoder or a predictor; its
            widths and grid follow from the backbone and the target.
        target: config of :class:`PixelTarget` or :class:`TokenTarget`.
        head: config of a loss on (T, D) predictions.
        backbone: its spec; the Pretrainer fills it in.
        view: the view that is masked.
        sees: pixels of the visible patches where patch-level tasks alter patches of this view:
            'clean' (as each method alone), or 'altered' (denoising too). Targets are clean.

    Raises:
        ValueError: an unknown ``sees``.
    """

    def __init__(
        self,
        masking: dict[str, Any],
        neck: dict[str, Any],
        target: dict[str, Any],
        head: dict[str, Any],
        backbone: BackboneSpec,
        view: int = 0,
        sees: str = "clean",
    ) -> None:
        super().__init__()
        check_views(self, (view,), least=1)
        self.view, self.clean = view, check_sees(self, sees)
        self.masking = MODELS.build(masking)
        self.target = build_target(self, target, backbone)
        self.neck = build_part(
            neck,
            "MaskedModeling.neck",
            "the encoder or the target",
            in_channels=backbone.embed_dim,
            out_channels=self.target.out_channels,
            grid=backbone.grid,
        )
        self.head = MODELS.build(head)

    def check(self, encoder: Backbone, has_target: bool) -> None:
        """See the base class: a backbone that can obey the masker's plans."""
        check_plan(self, trial_plan(self.masking, encoder), encoder)

    def paired_views(self) -> list[tuple[int, int]]:
        return target_pairs(self.view, self.target)

    def masks(self, step: PretrainStep) -> tuple[TokenPlan, MaskedPatches]:
        """Plan and masked patches of this step."""
        return draw_masks(self, step, self.masking, self.view)

    def requests(self, step: PretrainStep) -> list[EncodeRequest]:
        self.target.check(step, self.view, step.grid_of(self.view))
        return [EncodeRequest(self.view, ONLINE, self.masks(step)[0], clean=self.clean)]

    def predict(self, step: PretrainStep) -> Tensor:
        """(T, D), an entry a masked patch."""
        plan, masked = self.masks(step)
        return self.neck(step.encode(self.view, plan, clean=self.clean), masked)

    def loss(self, step: PretrainStep) -> TaskResult:
        prediction = self.predict(step)
        target = self.target(step, self.view, self.masks(step)[1])
        loss = self.head(prediction, target)
        return TaskResult(loss, self.head.metrics(prediction.detach(), target))

    @torch.no_grad()
    def pictures(self, step: PretrainStep) -> dict[str, Tensor]:
        """Original, what the encoder sees, and the reconstruction."""
        plan, masked = self.masks(step)
        original = step.view(self.view).pixels
        prediction = self.predict(step)
        return {
            "original": original,
            "masked": masked_picture(original, plan, masked, step.grid_of(self.view)),
            **reconstruction_pictures(self.target, prediction, step, self.view, masked, plan),
        }
