"""What patch-level tasks share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmvitssl.models.algorithms.step import EncodeRequest, PretrainStep
from mmvitssl.models.backbones.contract import Backbone
from mmvitssl.models.corruption import Assigned, Need
from mmvitssl.models.corruption.harmonise import take
from mmvitssl.models.tasks.base import check_views
from mmvitssl.structures import View


class OwnPatches(nn.Module):
    """Mixin of tasks that alter patches of their own, beside :class:`PretextTask` as a base.

    Call :meth:`want` in ``__init__``.
    """

    views: tuple[int, ...]
    need: Need
    _least: int

    def want(self, need: Need, views: Sequence[int], least: int = 1) -> None:
        """Say how many patches of which views this task alters.

        Args:
            need: patches of each image of each view, numbers or shares of the view's patches.
            views: the views whose patches are altered.
            least: patches or pairs, where a share of a small view would be fewer.

        Raises:
            ValueError: no patches, or views that make no sense.
        """
        self.views = tuple(views)
        check_views(self, self.views, least=1)
        if need.total <= 0 or min(need.singles, need.pairs) < 0 or need.distance < 1:
            raise ValueError(f"{type(self).__name__} needs at least one patch or pair: {need}.")
        self.need, self._least = need, least

    def check(self, encoder: Backbone, has_target: bool) -> None:
        """See the base class: an encoder that keeps patches apart."""
        if not encoder.spec.has_patch_tokens:
            raise ValueError(
                f"{type(self).__name__} needs a backbone that keeps one token per patch, such as "
                f"a ViT; the maps of {type(encoder).__name__} have strides "
                f"{encoder.spec.level_strides}."
            )

    def alters(self, view: int) -> bool:
        return view in self.views

    def patch_need(self, view: int, grid: tuple[int, int]) -> Need | None:
        return self.need.on(grid, self._least) if view in self.views else None

    def requests(self, step: PretrainStep) -> list[EncodeRequest]:
        return [EncodeRequest(view) for view in self.views]

    def pixels(self, step: PretrainStep, view: int, assigned: Assigned) -> Tensor:
        """(B, n, P, P, C) clean pixels of the patches."""
        return take(step.view(view).pixels, step.patch_size, assigned.patches)

    def tokens(self, step: PretrainStep, view: int) -> Tensor:
        """(B, n, C) what the encoder made of the patches."""
        patches, index = step.encode(view).patches, step.given(self, view).patches
        return patches.gather(1, index[..., None].expand(-1, -1, patches.shape[-1]))

    def pictures(self, step: PretrainStep) -> dict[str, Tensor]:
        """Original, and what the encoder sees after all tasks' alterations."""
        view = step.view(self.views[0])
        return {"original": view.pixels, "altered": _as_pixels(view)}


def _as_pixels(view: View) -> Tensor:
    return view.to_pixels(view.seen.permute(0, 2, 3, 1)).permute(0, 3, 1, 2).clamp(0, 1)


def all_views(task: OwnPatches, step: PretrainStep) -> tuple[Tensor, Tensor]:
    """Return tokens (T, C) and clean pixels (T, P, P, C) of all patches of all views."""
    tokens = torch.cat([task.tokens(step, view).flatten(0, 1) for view in task.views])
    pixels = [task.pixels(step, view, step.given(task, view)).flatten(0, 1) for view in task.views]
    return tokens, torch.cat(pixels)
