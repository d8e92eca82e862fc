"""Pictures of what a decoder reads: maps over the image, one row per image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from mmvitssl.visualization.attention import painted
from mmvitssl.visualization.decoder_attention import DecoderMaps
from mmvitssl.visualization.sheets import captioned
from mmvitssl.writing import whole

SHOWN = 4  # blocks, where the user names none
MARK = (1.0, 0.55, 0.0)


def chosen_layers(names: Sequence[str], blocks: Sequence[int] | None) -> list[str]:
    """The layers to draw: those with some indices, or four of them evenly up to the last.

    Raises:
        ValueError: there is no such layer.
    """
    if blocks is None:
        number = min(SHOWN, len(names))
        return [names[(i + 1) * len(names) // number - 1] for i in range(number)]
    wrong = [block for block in blocks if not -len(names) <= block < len(names)]
    if wrong:
        raise ValueError(
            f"Layer {wrong[0]} does not exist: there are {len(names)}, 0 {names[0]} to "
            f"{len(names) - 1} {names[-1]}."
        )
    return [names[block] for block in blocks]


def _marked(picture: Tensor, patches: Tensor, grid: tuple[int, int]) -> Tensor:
    """Outline one patch of each picture."""
    picture = picture.clone()
    height, width = picture.shape[2] // grid[0], picture.shape[3] // grid[1]
    colour = torch.tensor(MARK)[:, None, None]
    line = max(1, min(height, width) // 6)
    for image, (row, column) in enumerate(patches.tolist()):
        cell = picture[image, :, row * height : (row + 1) * height,
                       column * width : (column + 1) * width]  # fmt: skip
        inner = cell[:, line:-line, line:-line].clone()
        cell[:] = colour
        cell[:, line:-line, line:-line] = inner
    return picture


def _coloured(
    picture: Tensor, maps: Tensor, patches: Tensor, grid: tuple[int, int]
) -> Tensor:
    """(B, 3, H, W) the maps over grey pictures, each scaled to its greatest value elsewhere."""
    drawn = []
    for image, values, (row, column) in zip(picture, maps, patches.tolist(), strict=True):
        scale = values.nan_to_num()
        others = scale.clone()
        if tuple(scale.shape) == grid:
            others[row, column] = 0  # the patch itself would outshine what it reads
        top = others.max() if others.max() > 0 else scale.max()
        drawn.append(painted(image, (scale / top.clamp(min=1e-12)).clamp(max=1)))
    return torch.stack(drawn)


def draw_decoder_maps(
    maps: DecoderMaps, out: str | Path, blocks: Sequence[int] | None = None,
    log: Callable[[str], None] | None = None,
) -> Path:
    """Write a sheet: what the encoder sees, and what some layers read, one row per image.

    Args:
        maps: of one task.
        out: the PNG to write.
        blocks: indices of the layers to draw; None: four, evenly up to the last.
        log: takes one line that names the predicted patches.

    Raises:
        ValueError: there is no such layer.
    """
    names = chosen_layers(list(maps.maps), blocks)
    first = next(iter(maps.maps.values()))
    grid = (first.shape[1], first.shape[2])
    columns = {"predicted patch": _marked(maps.picture, maps.patches, grid)}
    for name in names:
        values = maps.maps[name]
        coloured = _coloured(maps.picture, values, maps.patches, grid)
        columns[name] = _marked(coloured, maps.patches, grid)
    if log is not None:
        places = ", ".join(f"{row},{column}" for row, column in maps.patches.tolist())
        log(f"predicted patches (row,column): {places}")
    path = Path(out)
    with whole(path) as part:
        captioned(columns, rows=len(maps.picture)).save(part)
    return path
