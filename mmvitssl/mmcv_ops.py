"""The operators of ``mmcv._ext`` that detectors and segmentors need, made of torchvision's.

mmcv installed without a compiler has no ``mmcv._ext``; :mod:`mmvitssl.compat` then loads this file
under that name. It holds NMS, soft-NMS and RoIAlign with average pooling, on CPU and CUDA, with the
signatures of mmcv 2.x. Results equal those of the compiled operators, except that boxes of equal
score may be kept in another order by NMS. float16 and bfloat16 are computed in float32, and feature
maps may have any strides. Every other operator raises NotImplementedError when it is called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
import torch
import torchvision  # noqa: F401  (registers torch.ops.torchvision)
from torch import Tensor

INSTALL = (
    "`make setup MMCV=compiled` in a checkout, or, with a C++ compiler and torch installed, "
    "`MMCV_WITH_OPS=1 pip install --force-reinstall --no-deps --no-cache-dir --no-build-isolation "
    "onedl-mmcv`"
)
REDUCED = (torch.float16, torch.bfloat16)
NAIVE, LINEAR, GAUSSIAN = range(3)  # soft-NMS methods, numbered as in mmcv.ops.soft_nms


def __getattr__(name: str) -> Callable[..., NoReturn]:
    """Stand in for an operator that is missing; mmcv looks up all of its names at import."""
    if name.startswith("__"):
        raise AttributeError(name)

    def missing(*args: Any, **kwargs: Any) -> NoReturn:
        raise _not_compiled(f"mmcv's operator '{name}'")

    missing.__name__ = name
    return missing


def _not_compiled(operator: str) -> NotImplementedError:
    return NotImplementedError(
        f"{operator} needs a compiled mmcv, and this one has only NMS, soft-NMS and RoIAlign, "
        f"through torchvision; install it with {INSTALL}."
    )


def get_compiler_version() -> str:
    """Compiler of the operators, for reports of the environment."""
    return "none (torchvision's operators)"


def get_compiling_cuda_version() -> str:
    """CUDA version of the operators, for reports of the environment."""
    return torch.version.cuda or "not available"


def _at_least_float32(tensor: Tensor) -> Tensor:
    return tensor.detach().float() if tensor.dtype in REDUCED else tensor.detach()


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int = 0) -> Tensor:
    """Greedy non-maximum suppression.

    Args:
        boxes: (N, 4) corners x1, y1, x2, y2 in pixels.
        scores: (N,).
        iou_threshold: boxes that overlap a better one by more are dropped.
        offset: 1 if a box's width is x2 - x1 + 1, else 0.

    Returns:
        (K,) int64 indices of the kept boxes, best first.
    """
    boxes = _at_least_float32(boxes)
    if offset:
        boxes = torch.cat([boxes[:, :2], boxes[:, 2:] + offset], dim=1)
    with torch.autocast(boxes.device.type, enabled=False):
        return torch.ops.torchvision.nms(boxes, scores.detach().to(boxes.dtype), iou_threshold)


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Soft-NMS (Bodla et al., 2017): overlapping boxes get lower scores, in float32 on the CPU.

    Args:
        boxes: (N, 4) corners x1, y1, x2, y2 in pixels.
        scores: (N,).
        dets: (N, 5); its first K rows are filled with the kept boxes and their new scores.
        iou_threshold: for methods 0 and 1, the least overlap that lowers a score.
        sigma: of method 2.
        min_score: boxes whose score falls below are dropped.
        method: 0 sets scores to zero, 1 multiplies by 1 - IoU, 2 by exp(-IoU^2 / sigma).
        offset: 1 if a box's width is x2 - x1 + 1, else 0.

    Returns:
        (K,) int64 indices of the kept boxes, best first.
    """
    corners = boxes.detach().float().cpu().numpy()
    score = scores.detach().float().cpu().numpy().copy()
    order = np.arange(len(corners))  # as mmcv reorders the boxes, which decides between equals
    end, best = len(order), 0
    while best < end:
        top = best + int(score[order[best:end]].argmax())
        order[[best, top]] = order[[top, best]]
        rest = order[best + 1 : end]
        overlap = _overlap(corners[order[best]], corners[rest], offset)
        score[rest] *= _softnms_weight(overlap, method, iou_threshold, sigma)
        best += 1
        end = best + _drop(rest, score[rest] >= np.float32(min_score))
    kept = torch.from_numpy(order[:end].copy())
    dets[:end, :4] = boxes[kept].to(dets)
    dets[:end, 4] = torch.from_numpy(score[order[:end]]).to(dets)
    return kept


def _overlap(box: np.ndarray, others: np.ndarray, offset: int) -> np.ndarray:
    """(4,), (N, 4) float32 -> (N,) intersection over union."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    width, height = np.maximum(high - low + np.float32(offset), 0).T
    area = np.prod(box[2:] - box[:2] + np.float32(offset))
    areas = np.prod(others[:, 2:] - others[:, :2] + np.float32(offset), axis=1)
    intersection = width * height
    with np.errstate(invalid="ignore", divide="ignore"):  # two empty boxes
        return intersection / (area + areas - intersection)


def _softnms_weight(
    overlap: np.ndarray, method: int, iou_threshold: float, sigma: float
) -> np.ndarray:
    if method == GAUSSIAN:
        return np.exp(-(overlap * overlap) / np.float32(sigma), dtype=np.float64).astype(np.float32)
    lowered = 1 - overlap if method == LINEAR else np.zeros_like(overlap)
    return np.where(overlap >= np.float32(iou_threshold), lowered, np.float32(1))


def _drop(order: np.ndarray, keep: np.ndarray) -> int:
    """Move what is kept to the front, in place, and return its number.

    Each hole is filled with the last entry that is kept, as mmcv does.
    """
    number = int(keep.sum())
    holes, last = np.flatnonzero(~keep[:number]), np.flatnonzero(keep[number:]) + number
    order[holes] = order[last[::-1]]
    return number


def _require_average(pool_mode: int) -> None:
    if pool_mode != 1:
        raise _not_compiled("RoIAlign with pool_mode='max'")


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """RoIAlign (He et al., 2017) with average pooling.

    Args:
        input: (B, C, H, W) feature maps.
        rois: (K, 5) image index and corners x1, y1, x2, y2 in pixels of the image.
        output: (K, C, aligned_height, aligned_width), which is filled.
        argmax_y, argmax_x: unused, of maximum pooling.
        spatial_scale: size of the map by size of the image.
        sampling_ratio: samples per bin and axis; 0 for as many as fit.
        pool_mode: 1, average.
        aligned: whether coordinates are shifted by half a pixel.
    """
    _require_average(pool_mode)
    maps = _at_least_float32(input)
    with torch.autocast(maps.device.type, enabled=False):
        pooled = torch.ops.torchvision.roi_align(
            maps, rois.detach().to(maps.dtype), spatial_scale, aligned_height, aligned_width,
            sampling_ratio, aligned,
        )  # fmt: skip
    output.copy_(pooled)


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Gradient of :func:`roi_align_forward` with respect to the maps.

    Args:
        grad_output: (K, C, aligned_height, aligned_width).
        grad_input: (B, C, H, W), which is filled.
    """
    _require_average(pool_mode)
    gradient = _at_least_float32(grad_output)
    with torch.autocast(gradient.device.type, enabled=False):
        gradient = torch.ops.torchvision._roi_align_backward(
            gradient, rois.detach().to(gradient.dtype), spatial_scale, aligned_height,
            aligned_width, *grad_input.shape, sampling_ratio, aligned,
        )  # fmt: skip
    grad_input.copy_(gradient)
