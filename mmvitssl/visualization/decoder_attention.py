"""What a decoder reads to predict one masked patch (LoMaR, figure 1), as maps over the image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmvitssl.distributed import each_alone
from mmvitssl.models.algorithms.pretrainer import Pretrainer
from mmvitssl.models.algorithms.step import PretrainStep
from mmvitssl.models.backbones.blocks import Attention
from mmvitssl.models.backbones.contract import Backbone, backbone_in
from mmvitssl.models.display import displayed
from mmvitssl.models.necks.context import CrossAttention
from mmvitssl.models.necks.fusion import TransformerFusion
from mmvitssl.models.necks.latent import BlockPredictor
from mmvitssl.models.necks.mae_decoder import MAEDecoder
from mmvitssl.models.necks.tokens import tokens_to_map
from mmvitssl.models.tasks import ContextAutoencoding, MaskedModeling, Reconstruction
from mmvitssl.models.tasks.pictures import masked_picture
from mmvitssl.structures import TokenPlan

NO_PATCH = -1  # of tokens that are no patch, such as the class token


@dataclass(frozen=True)
class Layer:
    """The attention of one layer.

    Attributes:
        name: of the layer.
        weights: (R, heads, M, L), rows sum to 1.
        queries: (R, M) patch of each query; -1: none.
        keys: (R, L) patch of each key; -1: none.
        image: (R,) image of each row.
    """

    name: str
    weights: Tensor
    queries: Tensor
    keys: Tensor
    image: Tensor

    def map(self, image: int, patch: int, patches: int) -> Tensor:
        """(patches,) attention of one patch, mean over heads; NaN where a patch is no key.

        Raises:
            ValueError: the patch is no query of this image.
        """
        asked = (self.queries == patch) & (self.image == image)[:, None]
        found = asked.nonzero()
        if not len(found):
            raise ValueError(f"Patch {patch} is not predicted by {self.name}.")
        row, place = found[0].tolist()
        keys, weights = self.keys[row], self.weights[row, :, place].float().mean(dim=0)
        values = torch.full((patches,), torch.nan)
        real = keys != NO_PATCH
        values[keys[real].cpu()] = weights[real].cpu()
        return values


@dataclass(frozen=True)
class DecoderMaps:
    """What a task reads to predict one patch of each image.

    Attributes:
        picture: (B, 3, H, W) in [0, 1], what the encoder sees.
        patches: (B, 2) row and column of the predicted patch.
        maps: (B, rows, columns) by name, not negative; NaN where a patch is not read.
    """

    picture: Tensor
    patches: Tensor
    maps: dict[str, Tensor]


@contextmanager
def recorded(module: nn.Module) -> Iterator[list[Tensor]]:
    """Attention weights of a module's layers, in the order in which they run inside the block."""
    found: list[Tensor] = []

    def record(layer: Any, inputs: tuple[Any, ...]) -> None:
        # the arguments that `weights` shares with `forward`: (x, bias, index, grid); (query, key)
        found.append(layer.weights(*inputs[: 4 if isinstance(layer, Attention) else 2]))

    hooks = [
        layer.register_forward_pre_hook(record)
        for layer in module.modules()
        if isinstance(layer, (Attention, CrossAttention))
    ]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def _layers(
    name: str, weights: Sequence[Tensor], queries: Tensor, keys: Tensor, image: Tensor
) -> list[Layer]:
    return [Layer(f"{name} {i}", found, queries, keys, image) for i, found in enumerate(weights)]


def _rows(plan: TokenPlan, number: int) -> Tensor:
    """(R,) image of each row of a plan."""
    return torch.arange(number) if plan.image_index is None else plan.image_index.cpu()


def _decoder_layers(task: MaskedModeling, step: PretrainStep, plan: TokenPlan) -> list[Layer]:
    assert plan.tokens is not None and plan.dropped is not None
    with recorded(task.neck) as weights:
        task.predict(step)
    visible, dropped = plan.tokens.cpu(), plan.dropped.cpu()
    image = _rows(plan, len(visible))
    if isinstance(task.neck, MAEDecoder):
        cls = visible.new_full((len(visible), 1), NO_PATCH)
        tokens = torch.cat([cls, visible, dropped], dim=1)
        return _layers("decoder block", weights, tokens, tokens, image)
    if isinstance(task.neck, BlockPredictor):
        asked = dropped.unflatten(1, (plan.blocks, -1)).flatten(0, 1)
        context = visible.repeat_interleave(plan.blocks, dim=0)
        queries = torch.cat([torch.full_like(context, NO_PATCH), asked], dim=1)
        keys = torch.cat([context, asked], dim=1)
        image = image.repeat_interleave(plan.blocks)
        return _layers("predictor block", weights, queries, keys, image)
    return []


def _encoder_layers(
    task: MaskedModeling, step: PretrainStep, encoder: Backbone, plan: TokenPlan
) -> list[Layer]:
    """Blocks of an encoder in which mask tokens stand: they do what a decoder does elsewhere."""
    if not encoder.spec.has_attention:
        raise ValueError(
            f"{type(encoder).__name__} returns no attention: there is no map of what it reads to "
            f"predict a masked patch. These pictures need a ViT."
        )
    assert plan.masked is not None
    view, blocks = step.view(task.view), range(plan.mask_at, encoder.spec.depth)
    encoded = encoder(view.images, plan, attention=tuple(blocks))
    patches = plan.tokens
    if patches is None:
        grid = step.grid_of(task.view)
        patches = torch.arange(grid[0] * grid[1]).expand(view.batch_size, -1)
    patches = patches.cpu()
    masked = torch.where(plan.masked.cpu(), patches, NO_PATCH)
    prefix = encoded.attention[blocks[0]].shape[-1] - patches.shape[1]
    keys, queries = (F.pad(tokens, (prefix, 0), value=NO_PATCH) for tokens in (patches, masked))
    rows = _rows(plan, len(patches))
    return [Layer(f"encoder block {i}", encoded.attention[i], queries, keys, rows) for i in blocks]


def _context_layers(task: ContextAutoencoding, step: PretrainStep) -> list[Layer]:
    plan, _ = task.masks(step)
    assert plan.tokens is not None and plan.dropped is not None
    with recorded(task.regressor) as regressing:
        latents = task.predict_latents(step)
    with recorded(task.decoder) as decoding:
        task.decode(step, latents)
    visible, dropped = plan.tokens.cpu(), plan.dropped.cpu()
    image, both = _rows(plan, len(visible)), torch.cat([visible, dropped], dim=1)
    asked = dropped
    if task.regressor.attention == "self":
        asked = torch.cat([torch.full_like(visible, NO_PATCH), dropped], dim=1)
    return [
        *_layers("regressor block", regressing, asked, both, image),
        *_layers("decoder block", decoding, dropped, dropped, image),
    ]


def _fusion_layers(task: Reconstruction, step: PretrainStep) -> list[Layer]:
    with recorded(task.neck) as weights:
        task.predict(step, task.views[0])
    batch, rows = step.view(task.views[0]).batch_size, torch.arange(step.batch_size)
    every = torch.arange(weights[0].shape[-1]).expand(batch, -1)
    return _layers("fusion block", weights, every, every, rows)


def influence(
    neck: nn.Module, levels: Mapping[int, Tensor], patch: tuple[int, int], side: int
) -> dict[int, Tensor]:
    """How much one patch of a convolutional decoder depends on each position of each level.

    Args:
        neck: (maps from shallow to deep) -> (B, C, H, W) pixels.
        levels: (B, C_i, h_i, w_i) maps by level.
        patch: row and column of the patch, the same in all images.
        side: of the patch in pixels.

    Returns:
        (B, h_i, w_i) by level: the norm over the channels of the gradient of the sum of the
        patch's pixels, as for effective receptive fields (Luo et al., 2016).
    """
    with torch.enable_grad():
        leaves = [level.detach().requires_grad_() for level in levels.values()]
        row, column = patch[0] * side, patch[1] * side
        pixels = neck(leaves)[:, :, row : row + side, column : column + side]
        gradients = torch.autograd.grad(pixels.sum(), leaves)
    return {level: gradient.norm(dim=1)
            for level, gradient in zip(levels, gradients, strict=True)}  # fmt: skip


def _reconstruction_maps(
    task: Reconstruction, step: PretrainStep, patch: tuple[int, int] | None
) -> DecoderMaps:
    view = step.view(task.views[0])
    grid = step.grid_of(task.views[0])
    wanted = patch or (grid[0] // 2, grid[1] // 2)
    patches = torch.tensor([wanted]).expand(view.batch_size, -1)
    if any(isinstance(module, TransformerFusion) for module in task.neck.modules()):
        layers = _fusion_layers(task, step)
        maps = _maps_of(layers, patches, grid)
    else:
        encoded = step.encode(task.views[0], levels=task.levels)
        levels = {
            level: tokens_to_map(encoded.hierarchy[level], encoded.grid) for level in task.levels
        }
        side = view.size[0] // grid[0]
        found = influence(task.neck, levels, wanted, side)
        maps = {f"gradient by level {level}": values.cpu() for level, values in found.items()}
    return DecoderMaps(displayed(view.pixels), patches, maps)


def _maps_of(
    layers: Sequence[Layer], patches: Tensor, grid: tuple[int, int]
) -> dict[str, Tensor]:
    flat = (patches[:, 0] * grid[1] + patches[:, 1]).tolist()
    number = grid[0] * grid[1]
    return {
        layer.name: torch.stack(
            [layer.map(image, patch, number) for image, patch in enumerate(flat)]
        ).unflatten(1, grid)
        for layer in layers
    }


def _nearest_query(
    layer: Layer, images: int, grid: tuple[int, int], wanted: tuple[int, int]
) -> Tensor:
    """(B, 2) the predicted patch of each image that is nearest to a wanted one."""
    chosen = []
    for image in range(images):
        asked = layer.queries[layer.image == image].flatten()
        asked = asked[asked != NO_PATCH]
        if not len(asked):
            raise ValueError(f"No patch of image {image} is masked; use another --seed.")
        places = torch.stack([asked // grid[1], asked % grid[1]], dim=1)
        far = (places - torch.tensor(wanted)).pow(2).sum(dim=1)
        chosen.append(places[far.argmin()])
    return torch.stack(chosen)


def _task_maps(
    model: Pretrainer, task: nn.Module, step: PretrainStep, patch: tuple[int, int] | None
) -> DecoderMaps | None:
    """What a task reads; None: it has no decoder."""
    if isinstance(task, Reconstruction):
        return _reconstruction_maps(task, step, patch)
    if isinstance(task, ContextAutoencoding):
        (plan, masked), layers = task.masks(step), _context_layers(task, step)
    elif isinstance(task, MaskedModeling) and task.masking is not None:
        found, masked = task.masks(step)
        assert found is not None
        plan, encoder = found, backbone_in(model.get_submodule("encoder"))
        replaces = plan.masked is not None
        layers = (
            _encoder_layers(task, step, encoder, plan) if replaces
            else _decoder_layers(task, step, plan)
        )  # fmt: skip
    else:
        return None
    if not layers:
        return None
    view, grid = step.view(task.view), step.grid_of(task.view)
    wanted = patch or (grid[0] // 2, grid[1] // 2)
    patches = _nearest_query(layers[0], view.batch_size, grid, wanted)
    picture = masked_picture(view.pixels, plan, masked, grid)
    return DecoderMaps(picture.cpu(), patches, _maps_of(layers, patches, grid))


@torch.no_grad()
def decoder_maps(
    model: Pretrainer, data: Mapping[str, Any], patch: tuple[int, int] | None = None
) -> dict[str, DecoderMaps]:
    """What each task of a model reads to predict one patch of each image.

    Decoders of MAE, I-JEPA and CAE: their attention. LoMaR, SimMIM and BEiT: the attention of the
    encoder's blocks, in which their mask tokens stand. RePre: the attention of a transformer
    decoder; of a convolutional one :func:`influence`.

    Args:
        model: in eval mode.
        data: a collated batch.
        patch: row and column; masked tasks take the masked patch that is nearest to it. None: the
            middle of the image.

    Raises:
        ValueError: no task has a decoder, a patch outside the grid, or a backbone without
            attention maps.
    """
    with each_alone():
        step = model.begin(**model.data_preprocessor(dict(data), False))
        rows, columns = step.grid_of(0)
        if patch is not None and not (0 <= patch[0] < rows and 0 <= patch[1] < columns):
            raise ValueError(
                f"There is no patch {patch[0]},{patch[1]}: the grid has rows 0..{rows - 1} and "
                f"columns 0..{columns - 1}."
            )
        found = {name: _task_maps(model, task, step, patch) for name, task in model.named_tasks()}
    drawn = {name: maps for name, maps in found.items() if maps is not None}
    if not drawn:
        raise ValueError(f"No task of this model has a decoder: {', '.join(model.tasks)}.")
    return drawn
