"""Latents of the momentum encoder as the target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmvitssl.arguments import check_choice
from mmvitssl.models.backbones.contract import BackboneSpec
from mmvitssl.models.heads.distribution import TeacherDistribution
from mmvitssl.models.sizes import agreed, share_of
from mmvitssl.models.targets.base import Target
from mmvitssl.registry import MODELS
from mmvitssl.structures import Encoded, MaskedPatches

if TYPE_CHECKING:
    from mmvitssl.models.algorithms.step import PretrainStep

CENTER_OVER = ("all", "masked")


def normalised(features: Tensor) -> Tensor:
    """Normalise over channels without weights, in float32 (eps 1e-5, as in I-JEPA)."""
    return F.layer_norm(features.float(), features.shape[-1:])


def patch_features(encoded: Encoded, levels: tuple[int, ...], normalise: bool) -> Tensor:
    """Return (R, N, C) patches after the final norm, or the mean of some blocks' outputs.

    Args:
        encoded: a pass with these levels.
        levels: blocks; none: the patches after the final norm.
        normalise: normalise each patch; of several blocks, each before the mean.
    """
    chosen = [encoded.hierarchy[level] for level in levels] or [encoded.patches]
    features = [normalised(one) if normalise else one.float() for one in chosen]
    return features[0] if len(features) == 1 else torch.stack(features).mean(dim=0)


@MODELS.register_module()
class FeatureTarget(Target):
    """Features of the target branch, which sees the whole view, at the masked patches.

    Args:
        backbone: its spec; the Pretrainer fills it in.
        top: average the outputs of this many last blocks, before the final norm: a number, or a
            share of the depth (data2vec: 0.5, 6 of 12); None: the features after the final norm
            (I-JEPA, BYOL-like targets).
        normalise: layer norm over channels without weights; of several blocks, of each of them.

    Raises:
        ValueError: ``top`` below 1 or above the depth, or blocks of different widths.
    """

    def __init__(
        self, backbone: BackboneSpec, top: int | float | None = None, normalise: bool = True
    ) -> None:
        super().__init__()
        self.normalise, self.out_channels = normalise, backbone.embed_dim
        number = 0 if top is None else share_of(top, backbone.depth)
        if top is not None and not 1 <= number <= backbone.depth:
            raise ValueError(
                f"FeatureTarget.top={top} must lie between 1 and the {backbone.depth} blocks of "
                f"the encoder, or be None."
            )
        self.levels = tuple(range(backbone.depth - number, backbone.depth))
        widths = {backbone.level_channels[level] for level in self.levels}
        if len(widths) > 1:
            raise ValueError(f"FeatureTarget.top={top}: stages of {sorted(widths)} channels.")

    def reads(self) -> tuple[int, ...]:
        return self.levels

    @torch.no_grad()
    def forward(self, step: PretrainStep, view: int, masked: MaskedPatches) -> Tensor:
        """(T, C) float32."""
        encoded = step.encode_target(view, levels=self.levels)
        features = patch_features(encoded, self.levels, self.normalise)
        return features[masked.image, masked.patch]


@MODELS.register_module()
class PrototypeTarget(Target, TeacherDistribution):
    """The teacher's distributions over prototypes at the masked patches (iBOT, DINOv2).

    The task's neck is a :class:`PatchProjector`; the teacher has the momentum copy of its
    projector.

    Args:
        center_over: 'masked' (DINOv2) or 'all' (iBOT) patches move the centre.
        prototypes: K; None: those of the projector.
        kwargs: see :class:`~mmvitssl.models.heads.distribution.TeacherDistribution`.

    Raises:
        ValueError: an unknown ``center_over``.
    """

    def __init__(
        self, center_over: str = "masked", prototypes: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(prototypes or 0, **kwargs)
        check_choice("PrototypeTarget.center_over", center_over, CENTER_OVER)
        self.center_over = center_over
        self.out_channels = prototypes or 0

    def fit(self, channels: int) -> None:
        name, source = "PrototypeTarget.prototypes", "the projector"
        self.out_channels = agreed(name, self.out_channels or None, channels, source)
        self.center = torch.zeros(1, channels)

    def reads(self) -> tuple[int, ...]:
        return ()

    @torch.no_grad()
    def logits(
        self, step: PretrainStep, task: Any, masked: Mapping[int, MaskedPatches]
    ) -> tuple[Tensor, Tensor]:
        """(T, K) of the masked patches of all views, and those that the centre is made of."""
        project, chosen, every = task.teacher_projector(step).patches, [], []
        for view, patches in masked.items():
            tokens = step.encode_target(view).patches
            if self.center_over == "all":
                logits = project(tokens)
                every.append(logits.flatten(0, 1))
                chosen.append(logits[patches.image, patches.patch])
            else:
                chosen.append(project(tokens[patches.image, patches.patch]))
        joined = torch.cat(chosen)
        return joined, torch.cat(every) if every else joined

    @torch.no_grad()
    def values(self, step: PretrainStep, task: Any, masked: Mapping[int, MaskedPatches]) -> Tensor:
        logits, every = self.logits(step, task, masked)
        step.once(self, "center", lambda: every)
        return self.probabilities(logits, self.temperature_at(step.epoch, step.iteration))

    def update(self, step: PretrainStep) -> None:
        self.move_center(step.once(self, "center", lambda: self.center))
