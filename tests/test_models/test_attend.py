"""Attention in bfloat16 on a CPU."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from mmvitssl.models.backbones.blocks import attend


@pytest.mark.parametrize("masked", [False, True])
def test_bfloat16_on_a_cpu_is_float32s_attention_rounded(masked: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 3, 17, 8, generator=generator).bfloat16() for _ in range(3))
    mask = torch.randn(1, 3, 17, 17, generator=generator).bfloat16() if masked else None
    whole = None if mask is None else mask.float()
    expected = F.scaled_dot_product_attention(q.float(), k.float(), v.float(), attn_mask=whole)
    with torch.autocast("cpu", torch.bfloat16):
        found = attend(q, k, v, mask)
    assert found.dtype == torch.bfloat16 and torch.equal(found, expected.bfloat16())
