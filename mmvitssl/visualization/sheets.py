"""Pictures side by side, with captions."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor


def side_by_side(pictures: dict[str, Tensor], rows: int, margin: int = 4) -> np.ndarray:
    """One picture of several: one row per image, one column per caption.

    Args:
        pictures: (B, 3, H, W) in [0, 1] by caption.
        rows: how many of the B to show.
        margin: white pixels between them.

    Returns:
        (rows * (H + margin) - margin, ..., 3) uint8 RGB.
    """
    columns = [picture[:rows].float().clamp(0, 1).cpu() for picture in pictures.values()]
    lines = []
    for i in range(min(rows, columns[0].shape[0])):
        cells = [column[i] for column in columns]
        gap = torch.ones(3, cells[0].shape[1], margin)
        line = torch.cat([part for cell in cells for part in (cell, gap)][:-1], dim=2)
        lines += [line, torch.ones(3, margin, line.shape[2])]
    sheet = torch.cat(lines[:-1], dim=1)
    return (sheet * 255).round().byte().permute(1, 2, 0).numpy()


def enlarged(pictures: dict[str, Tensor], least: int = 112) -> dict[str, Tensor]:
    """Pictures whose side is less than ``least``, by a whole factor, so that captions fit."""
    return {
        caption: picture
        if (factor := -(-least // picture.shape[-1])) < 2
        else picture.repeat_interleave(factor, -1).repeat_interleave(factor, -2)
        for caption, picture in pictures.items()
    }


def captioned(pictures: dict[str, Tensor], rows: int, margin: int = 4) -> Image.Image:
    """:func:`side_by_side` with the captions above the columns; long ones are broken."""
    sheet = side_by_side(pictures, rows, margin)
    width = next(iter(pictures.values())).shape[-1]
    font = ImageFont.load_default(max(10, width // 16))
    texts = [_broken(caption, width, font) for caption in pictures]
    draw = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    boxes = [draw.multiline_textbbox((0, 0), text, font=font) for text in texts]
    height = int(max(box[3] for box in boxes)) + 2 * margin
    page = Image.new("RGB", (sheet.shape[1], sheet.shape[0] + height), "white")
    page.paste(Image.fromarray(sheet), (0, height))
    draw = ImageDraw.Draw(page)
    for i, text in enumerate(texts):
        draw.multiline_text((i * (width + margin) + 2, margin), text, fill="black", font=font)
    return page


def _broken(caption: str, width: int, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> str:
    lines: list[str] = [""]
    for word in caption.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width - 4 or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return "\n".join(lines)
