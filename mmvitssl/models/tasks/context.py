"""Context autoencoding (CAE)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmvitssl.models.algorithms.step import ONLINE, TARGET, EncodeRequest, PretrainStep
from mmvitssl.models.backbones.contract import Backbone, BackboneSpec
from mmvitssl.models.necks.context import FixedPositions
from mmvitssl.models.sizes import agreed, build_part
from mmvitssl.models.tasks.base import PretextTask, TaskResult, check_views
from mmvitssl.models.tasks.masked import (
    build_target,
    check_plan,
    check_sees,
    draw_masks,
    target_pairs,
    trial_plan,
)
from mmvitssl.models.tasks.pictures import masked_picture, reconstruction_pictures
from mmvitssl.registry import MODELS
from mmvitssl.structures import MaskedPatches, TokenPlan

HEAD_WIDTH = 64  # channels per attention head of a regressor of another width than the backbone


@MODELS.register_module()
class ContextAutoencoding(PretextTask):
    """Predict the latents of masked patches from visible ones, then reconstruct from them alone.

    The encoder sees visible patches only. A regressor predicts what the same encoder, without
    gradient, makes of the masked patches (alignment), and a decoder reconstructs the target from
    the predictions (CAE, section 3). There is no copy of the encoder: its weights are shared, so
    that targets do not lag behind by a step as in the first official release.

    Args:
        masking: config of a masker that drops patches.
        regressor: config of :class:`ContextRegressor`; its width is the backbone's unless stated.
        decoder: config of :class:`ContextDecoder`, of the regressor's width; its depth 0 is the
            ablation without decoder.
        target: config of :class:`TokenTarget` or :class:`PixelTarget`.
        head: config of a loss on (T, D) predictions.
        backbone: its spec; the Pretrainer fills it in.
        align_weight: weight of the alignment loss (lambda, 2 in the paper); 0 is the ablation
            without alignment, in which the masked patches are not encoded at all.
        projection: config of the module between the backbone and a regressor of another width;
            None: :class:`LatentProjection` where the widths differ.
        view: the view that is masked.
        order: of the sine-cosine positions of regressor and decoder.
        sees: 'clean' or 'altered' visible patches; see :class:`MaskedModeling`.

    Raises:
        ValueError: a negative weight or an unknown ``sees``.
    """

    def __init__(
        self,
        masking: dict[str, Any],
        regressor: dict[str, Any],
        decoder: dict[str, Any],
        target: dict[str, Any],
        head: dict[str, Any],
        backbone: BackboneSpec,
        align_weight: float = 2.0,
        projection: dict[str, Any] | None = None,
        view: int = 0,
        order: str = "sincos_row_first",
        sees: str = "clean",
    ) -> None:
        super().__init__()
        check_views(self, (view,), least=1)
        if align_weight < 0:
            raise ValueError(f"ContextAutoencoding.align_weight={align_weight} is negative.")
        self.view, self.align_weight = view, align_weight
        self.clean = check_sees(self, sees)
        self.masking = MODELS.build(masking)
        owner, dim = type(self).__name__, backbone.embed_dim
        widths = (regressor.get("width"), (projection or {}).get("out_channels"), dim)
        width = next(width for width in widths if width is not None)
        heads = max(width // HEAD_WIDTH, 1)
        if width == dim and backbone.num_heads:
            heads = backbone.num_heads[-1]
        self.projection: nn.Module = nn.Identity()
        if projection is not None or width != dim:
            self.projection = build_part(
                projection or dict(type="LatentProjection"),
                f"{owner}.projection",
                "the encoder or the regressor",
                in_channels=dim,
                out_channels=width,
            )
        self.target = build_target(self, target, backbone)
        agreed(f"{owner}.decoder.width", decoder.get("width"), width, "the regressor")
        inner = dict(width=width, num_heads=regressor.get("num_heads") or heads)
        self.regressor = MODELS.build({**regressor, **inner})
        inner["num_heads"] = decoder.get("num_heads") or inner["num_heads"]
        self.decoder = build_part(
            {**decoder, **inner},
            f"{owner}.decoder",
            "the target",
            out_channels=self.target.out_channels,
        )
        self.head = MODELS.build(head)
        self.positions = FixedPositions(self.regressor.width, order)

    def check(self, encoder: Backbone, has_target: bool) -> None:
        """See the base class: the masking must drop patches."""
        plan = trial_plan(self.masking, encoder)
        if plan is not None and plan.dropped is None:
            raise ValueError(
                f"ContextAutoencoding needs {type(self.masking).__name__}(mode='drop', ...): the "
                f"encoder sees visible patches only."
            )
        check_plan(self, plan, encoder)

    def paired_views(self) -> list[tuple[int, int]]:
        return target_pairs(self.view, self.target)

    def masks(self, step: PretrainStep) -> tuple[TokenPlan, MaskedPatches]:
        """Plan and masked patches of this step."""
        return draw_masks(self, step, self.masking, self.view)[0]

    def _masked_plan(self, step: PretrainStep) -> TokenPlan:
        """The plan that encodes the masked patches."""
        plan = self.masks(step)[0]
        return step.once(self, "masked plan", lambda: TokenPlan(tokens=plan.dropped))

    def requests(self, step: PretrainStep) -> list[EncodeRequest]:
        self.target.check(step, self.view, step.grid_of(self.view))
        requests = [EncodeRequest(self.view, ONLINE, self.masks(step)[0], clean=self.clean)]
        if self.align_weight:
            requests.append(EncodeRequest(self.view, TARGET, self._masked_plan(step)))
        return requests

    def predict_latents(self, step: PretrainStep) -> Tensor:
        """(B, M, C) latents of the masked patches by the regressor."""
        plan, _ = self.masks(step)
        encoded = step.encode(self.view, plan, clean=self.clean)
        assert plan.tokens is not None and plan.dropped is not None
        return self.regressor(
            self.projection(encoded.patches),
            self.positions(plan.tokens, encoded.grid),
            self.positions(plan.dropped, encoded.grid),
        )

    @torch.no_grad()
    def target_latents(self, step: PretrainStep) -> Tensor:
        """(B, M, C) what the encoder itself makes of the masked patches."""
        return self.projection(step.encode_target(self.view, self._masked_plan(step)).patches)

    def decode(self, step: PretrainStep, latents: Tensor) -> Tensor:
        """(T, D) reconstructions, an entry a masked patch."""
        plan, _ = self.masks(step)
        assert plan.dropped is not None
        position = self.positions(plan.dropped, step.grid_of(self.view))
        return self.decoder(latents, position).flatten(0, 1)

    def loss(self, step: PretrainStep) -> TaskResult:
        latents = self.predict_latents(step)
        prediction = self.decode(step, latents)
        target = self.target(step, self.view, self.masks(step)[1])
        reconstruction = self.head(prediction, target)
        metrics = {
            "reconstruction": reconstruction.detach(),
            **self.head.metrics(prediction.detach(), target),
        }
        if not self.align_weight:
            return TaskResult(reconstruction, metrics)
        alignment = F.mse_loss(latents.float(), self.target_latents(step).float())
        metrics["alignment"] = alignment.detach()
        return TaskResult(reconstruction + self.align_weight * alignment, metrics)

    @torch.no_grad()
    def decode_visible(self, step: PretrainStep) -> tuple[Tensor, MaskedPatches]:
        """The paper's test of alignment: all patches visible, straight to the decoder.

        Returns:
            (T, D) reconstructions of all patches, and which they are.
        """
        grid = step.grid_of(self.view)
        batch = step.view(self.view).batch_size
        every = torch.arange(grid[0] * grid[1], device=step.device).expand(batch, -1)
        latents = self.projection(step.encode(self.view, clean=self.clean).patches)
        prediction = self.decoder(latents, self.positions(every, grid)).flatten(0, 1)
        return prediction, MaskedPatches.of(TokenPlan(dropped=every.cpu())).to(step.device)

    @torch.no_grad()
    def pictures(self, step: PretrainStep) -> dict[str, Tensor]:
        """Original, masked, reconstruction, and the reconstruction without regressor."""
        plan, masked = self.masks(step)
        original = step.view(self.view).pixels
        prediction = self.decode(step, self.predict_latents(step))
        visible, every = self.decode_visible(step)
        skipped = reconstruction_pictures(self.target, visible, step, self.view, every, None)
        return {
            "original": original,
            "masked": masked_picture(original, plan, masked, step.grid_of(self.view)),
            **reconstruction_pictures(self.target, prediction, step, self.view, masked, plan),
            "all visible, no regressor": list(skipped.values())[-1],
        }
