"""Features of a frozen teacher as the target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import timm
import torch
import torch.nn.functional as F
from timm.data import resolve_model_data_config
from torch import Tensor, nn

from mmvitssl.arguments import check_no_weights
from mmvitssl.checkpoint import CheckpointError, load_encoder, load_file
from mmvitssl.models.backbones.contract import check_backbone
from mmvitssl.models.precision import full_precision
from mmvitssl.models.targets.base import Target
from mmvitssl.models.targets.latent import normalised, patch_features
from mmvitssl.registry import MODELS
from mmvitssl.structures import MaskedPatches

if TYPE_CHECKING:
    from mmvitssl.models.algorithms.step import PretrainStep


class TimmTeacher(nn.Module):
    """Teacher that is a timm model with patch tokens: DINOv2, DINOv3, CLIP, SigLIP, EVA-02, ...

    Args:
        name: of the model in timm.
        kwargs: for ``timm.create_model``.

    Raises:
        ValueError: timm has no such model, or it returns no intermediate features.
    """

    def __init__(self, name: str, **kwargs: Any) -> None:
        super().__init__()
        if not timm.is_model(name):
            raise ValueError(f"FrozenTarget.teacher: timm has no model '{name}'.")
        check_no_weights("FrozenTarget.teacher", kwargs)
        self.name, self.how = name, dict(num_classes=0, dynamic_img_size=True) | kwargs
        self.model = timm.create_model(name, pretrained=False, **self.how)
        if not hasattr(self.model, "forward_intermediates"):
            raise ValueError(f"FrozenTarget.teacher: timm's '{name}' gives no patch features.")
        data = resolve_model_data_config(self.model)
        self.mean, self.std = tuple(data["mean"]), tuple(data["std"])
        self.embed_dim = int(self.model.num_features)
        side = self.model.feature_info[-1]["reduction"]
        self.patch_size, self.depth = int(side), len(self.model.feature_info)

    def load(self, path: str) -> None:
        """Read timm's own weights of the model.

        Raises:
            CheckpointError: they do not fit.
        """
        load_file(path)  # names a missing, damaged or unsafe file
        try:
            model = timm.create_model(
                self.name, pretrained=True, pretrained_cfg_overlay=dict(file=str(path)), **self.how
            )
        except RuntimeError as error:
            raise CheckpointError(f"{path} does not fit timm's '{self.name}': {error}") from error
        self.model.load_state_dict(model.state_dict())

    def patches(self, images: Tensor, levels: tuple[int, ...], normalise: bool) -> Tensor:
        """(B, N, C) features; see :func:`patch_features`."""
        chosen = levels or (self.depth - 1,)
        maps = self.model.forward_intermediates(
            images, indices=list(chosen), norm=not levels, output_fmt="NCHW",
            intermediates_only=True)  # fmt: skip
        features = [one.flatten(2).transpose(1, 2) for one in maps]
        features = [normalised(one) if normalise else one.float() for one in features]
        return torch.stack(features).mean(dim=0)


class OwnTeacher(nn.Module):
    """Teacher that is an encoder of this package.

    Args:
        config: of the encoder.
    """

    mean = std = None

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.model: Any = check_backbone(MODELS.build(dict(config)))
        spec = self.model.spec
        self.embed_dim, self.depth, self.patch_size = spec.embed_dim, spec.depth, spec.stride

    def load(self, path: str) -> None:
        """Read any checkpoint that fits; see :func:`~mmvitssl.checkpoint.load_encoder`."""
        load_encoder(self.model, path)

    def patches(self, images: Tensor, levels: tuple[int, ...], normalise: bool) -> Tensor:
        """(B, N, C) features; see :func:`patch_features`."""
        return patch_features(self.model(images, None, levels), levels, normalise)


@MODELS.register_module()
class FrozenTarget(Target):
    """Features of a frozen teacher at the masked patches (feature distillation, MVP, dBOT).

    The teacher is no part of the model's state: its file is read before training starts. It sees
    the view at the size that gives it the encoder's grid of patches, normalised as it was trained.

    Args:
        teacher: name of a timm model, ``dict(type='timm', name=..., ...)``, or config of an encoder
            of this package.
        checkpoint: its file; None: random weights, dBOT's first stage.
        levels: blocks whose outputs are averaged; none: features after the final norm.
        normalise: layer norm over channels without weights.

    Raises:
        ValueError: an unknown teacher.
    """

    def __init__(
        self,
        teacher: str | Mapping[str, Any],
        checkpoint: str | None = None,
        levels: Sequence[int] = (),
        normalise: bool = True,
    ) -> None:
        super().__init__()
        config = dict(type="timm", name=teacher) if isinstance(teacher, str) else dict(teacher)
        if config.get("type") == "timm":
            config.pop("type")
            model: Any = TimmTeacher(**config)
        else:
            model = OwnTeacher(config)
        self._teacher = [model.eval().requires_grad_(False)]  # hidden from state_dict and DDP
        self.checkpoint, self.levels = checkpoint, tuple(levels)
        self.normalise, self.loaded = normalise, checkpoint is None
        if any(not 0 <= level < model.depth for level in self.levels):
            raise ValueError(
                f"FrozenTarget.levels={self.levels}, but the teacher has blocks "
                f"0..{model.depth - 1}."
            )
        self.out_channels = model.embed_dim

    def load_frozen(self) -> None:
        """Read the teacher's file.

        Raises:
            CheckpointError: it does not fit.
        """
        if not self.loaded:
            self._teacher[0].load(self.checkpoint)
            self.loaded = True

    @torch.no_grad()
    def features(self, step: PretrainStep, view: int) -> Tensor:
        """(B, N, C) of all patches of a view, computed once a step."""
        self.load_frozen()
        seen, grid = step.view(view), step.grid_of(view)
        teacher = self._teacher[0].to(step.device)
        images = seen.images
        if teacher.mean is not None:
            mean, std = (images.new_tensor(v)[:, None, None] for v in (teacher.mean, teacher.std))
            images = (seen.pixels - mean) / std
        size = grid[0] * teacher.patch_size, grid[1] * teacher.patch_size
        if size != seen.size:
            images = F.interpolate(images, size, mode="bicubic", antialias=True)
        with full_precision(images.device):
            return teacher.patches(images, self.levels, self.normalise)

    @torch.no_grad()
    def forward(self, step: PretrainStep, view: int, masked: MaskedPatches) -> Tensor:
        """(T, C) float32."""
        features = step.once(self, f"features {view}", lambda: self.features(step, view))
        return features[masked.image, masked.patch]
