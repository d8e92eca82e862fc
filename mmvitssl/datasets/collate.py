"""Batches of views."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from mmvitssl.registry import FUNCTIONS


@FUNCTIONS.register_module()
def collate_views(samples: Sequence[dict[str, Any]] | dict[str, Any]) -> dict[str, Any]:
    """Stack samples of :class:`PackViews` or :class:`CachedFeatures`.

    A data set that makes whole batches (:class:`ResidentImages`) returns a dict, which is left.

    Returns:
        ``views``: a (B, 3, H_v, W_v) uint8 tensor a view, or ``features``: (B, ...);
        ``samples``: ``index``, ``epoch`` and ``label`` as (B,) long tensors, others as lists.

    Raises:
        ValueError: views of one number differ in size.
    """
    if isinstance(samples, dict):
        return samples
    info: dict[str, Any] = {}
    for name in samples[0]["sample"]:
        values = [sample["sample"][name] for sample in samples]
        info[name] = torch.tensor(values) if isinstance(values[0], int) else values
    if "features" in samples[0]:
        features = torch.stack([sample["features"] for sample in samples])
        return {"features": features, "samples": info}
    views = []
    for number, group in enumerate(zip(*(sample["views"] for sample in samples), strict=True)):
        sizes = {tuple(view.shape[1:]) for view in group}
        if len(sizes) > 1:
            raise ValueError(
                f"View {number} has the sizes {sorted(sizes)} in one batch: end its transforms "
                f"with a crop or resize to one size."
            )
        views.append(torch.stack(group))
    return {"views": views, "samples": info}
