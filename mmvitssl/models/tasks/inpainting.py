"""Inpainting of corrupted patches, and SiT's reconstruction of everything."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmvitssl.models.algorithms.step import PretrainStep
from mmvitssl.models.corruption import Assigned, Need, fills
from mmvitssl.models.corruption.blocks import MODES as BLOCK_MODES
from mmvitssl.models.corruption.blocks import distort
from mmvitssl.models.corruption.harmonise import take
from mmvitssl.models.heads.mlp import PixelHead
from mmvitssl.models.targets.patches import put_patches, take_patches
from mmvitssl.models.targets.pixels import PixelTarget
from mmvitssl.models.tasks.base import PretextTask, TaskResult
from mmvitssl.models.tasks.patchwise import OwnPatches
from mmvitssl.registry import MODELS
from mmvitssl.structures import MaskedPatches


@MODELS.register_module()
class Inpainting(OwnPatches, PretextTask):
    """Restore patches that were masked, noised, replaced, blurred or made grey.

    With all four corruptions and the loss on all patches it is SiT's reconstruction (Atito et al.,
    2021, section 3.1), aligned with the patches; with ``blocks`` it is that of SiT's first code.

    Args:
        in_channels, patch_size, image_channels: the backbone's width, patch and channels of its
            images; the Pretrainer fills them in.
        patches: per view, or (float) their share of the patches; shared out evenly between the
            modes.
        modes: of 'mask' (mean colour), 'noise', 'other' (another image's patch), 'blur', 'grey'.
        distance: 'l1', 'l2' or 'smooth_l1' on normalised pixels.
        on: 'corrupted' patches, or 'all'.
        views: the views whose patches are corrupted.
        hidden: width of a hidden layer; None: a linear layer.
        part: side of the square inside each patch that is altered, as a share of the patch's; its
            place is drawn for each patch. Below 1, with ``on='corrupted'``, the loss is on these
            pixels: part of a patch is reconstructed from the rest of it.
        blocks: whether blocks of any place and size are altered, as in SiT's first code, in place
            of patches; see :func:`~mmvitssl.models.corruption.blocks.distort`. Needs ``on='all'``;
            ``patches`` and ``part`` are not in use, and the view has no patches for other tasks.

    Raises:
        ValueError: unknown modes, fewer patches than modes, a part outside (0, 1], or blocks with
            another ``on``.
    """

    def __init__(
        self,
        in_channels: int,
        patch_size: int,
        image_channels: int = 3,
        patches: int | float = 40 / 196,
        modes: Sequence[str] = ("mask",),
        distance: str = "l1",
        on: str = "corrupted",
        views: Sequence[int] = (0,),
        hidden: int | None = None,
        part: float = 1.0,
        blocks: bool = False,
    ) -> None:
        super().__init__()
        if not 0 < part <= 1:
            raise ValueError(f"Inpainting.part={part} must lie in (0, 1].")
        if blocks and (on != "all" or set(modes) - set(BLOCK_MODES)):
            raise ValueError(
                f"Inpainting.blocks needs on='all' and modes of {BLOCK_MODES}; got on='{on}', "
                f"modes={tuple(modes)}."
            )
        self.blocks, patches = blocks, 1.0 if blocks else patches
        self.side = max(round(part * patch_size), 1)  # of the altered square, in pixels
        self.want(Need(singles=patches), views, least=len(modes))
        unknown = set(modes) - set(fills.MODES)
        few = isinstance(patches, int) and patches < len(modes)
        if unknown or not modes or few or on not in ("corrupted", "all"):
            raise ValueError(
                f"Inpainting needs modes of {fills.MODES}, a patch for each, and on='corrupted' or "
                f"'all'; got modes={tuple(modes)}, patches={patches}, on='{on}'."
            )
        self.modes, self.on = tuple(modes), on
        if "grey" in self.modes and image_channels not in (1, 3):
            raise ValueError(
                f"Inpainting.modes has 'grey', which needs RGB images, and image_channels="
                f"{image_channels}: "
                f"leave it out."
            )
        self.target = PixelTarget(patch_size, normalise=False, channels=image_channels)
        self.head = PixelHead(in_channels, self.target.out_channels, hidden, distance)

    def _fill(self, mode: str, pixels: Tensor, step: PretrainStep, view: int) -> Tensor:
        shown = step.view(view)
        generator = step.draws(self, "fills", step.device)
        if mode == "mask":
            return fills.masked(pixels, shown.mean)
        if mode == "noise":
            return fills.noise(pixels, shown.mean, shown.std, generator)
        if mode == "other":
            return fills.other(pixels, generator)
        return fills.blur(pixels) if mode == "blur" else fills.grey(pixels)

    def _altered(self, step: PretrainStep, view: int, patches: Tensor) -> Tensor:
        """(B, n, P, P, 1) bool, a square of altered pixels in each of (B, n) patches."""

        def draw() -> Tensor:
            draws = step.draws(self, f"altered {view}", step.device)
            first = draws.integers(0, step.patch_size - self.side + 1, *patches.shape, 2)
            places = torch.arange(step.patch_size, device=step.device) - first[..., None]
            inside = (places >= 0) & (places < self.side)
            return (inside[..., 0, :, None] & inside[..., 1, None, :])[..., None]

        return step.once(self, f"altered {view}", draw)

    def _of_altered(
        self, step: PretrainStep, prediction: Tensor, target: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Values (T, P * P * C) of all views -> (T, side * side * C), those of altered pixels."""
        kept = [self._altered(step, v, step.given(self, v).patches) for v in self.views]
        inside = torch.cat([one.flatten(0, 1) for one in kept]).flatten(1)
        # as many in each patch: their indices, without asking the device how many there are
        index = inside.byte().argsort(dim=1, descending=True, stable=True)[:, : self.side**2]
        index = index[..., None].expand(-1, -1, self.target.channels)
        both = (values.unflatten(1, (-1, self.target.channels)) for values in (prediction, target))
        chosen = [values.gather(1, index).flatten(1) for values in both]
        return chosen[0], chosen[1]

    def alter(self, step: PretrainStep, view: int, assigned: Assigned) -> Tensor:
        if self.blocks:
            shown = step.view(view)
            generators = step.generator(self), step.generator(self, step.device)
            images = distort(shown.images, self.modes, *generators)
            return shown.to_pixels(take(images, step.patch_size, assigned.patches))
        pixels = self.pixels(step, view, assigned)
        parts = pixels.tensor_split(len(self.modes), dim=1)
        filled = [
            self._fill(mode, part, step, view) for mode, part in zip(self.modes, parts, strict=True)
        ]
        altered = torch.cat(filled, dim=1)
        if self.side == pixels.shape[2]:
            return altered
        return torch.where(self._altered(step, view, assigned.patches), altered, pixels)

    def _predicted(self, step: PretrainStep, view: int) -> tuple[Tensor, MaskedPatches]:
        """Predictions (T, P * P * C) and which patches they are of."""
        if self.on == "all":
            tokens = step.encode(view).patches
            rows, number = tokens.shape[:2]
            every = torch.arange(number, device=tokens.device).expand(rows, -1)
        else:
            every, tokens = step.given(self, view).singles, self.tokens(step, view)
        image = torch.arange(len(every), device=every.device).repeat_interleave(every.shape[1])
        places = MaskedPatches(image, every.flatten(), None, len(every))
        return self.head(tokens).flatten(0, 1), places

    def loss(self, step: PretrainStep) -> TaskResult:
        predictions, targets = [], []
        for view in self.views:
            prediction, places = self._predicted(step, view)
            predictions.append(prediction)
            targets.append(take_patches(step.view(view).images, step.patch_size, places).float())
        prediction, target = torch.cat(predictions), torch.cat(targets)
        if self.on == "corrupted" and self.side < self.target.patch_size:
            prediction, target = self._of_altered(step, prediction, target)
        with torch.no_grad():
            error = (prediction.float() - target).abs().mean()
            values = target.unflatten(1, (-1, self.target.channels))
            baseline = (values - values.mean(dim=1, keepdim=True)).abs().mean()
        loss = self.head.loss(prediction, target)
        return TaskResult(loss, {"error": error, "mean_colour_error": baseline})

    @torch.no_grad()
    def pictures(self, step: PretrainStep) -> dict[str, Tensor]:
        """Original, what the encoder sees, and the reconstruction."""
        view = self.views[0]
        prediction, places = self._predicted(step, view)
        pixels = self.target.to_pixels(prediction, step, view, places)
        restored = put_patches(step.view(view).pixels, pixels, step.patch_size, places)
        return {**super().pictures(step), "reconstruction": restored}
