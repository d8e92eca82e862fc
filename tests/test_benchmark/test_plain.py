"""The plain layout of LoMaR is LoMaR: recorded outputs, and the same step as ours."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark import StepBench, load_config
from benchmark.plain import PlainBench, PlainLomar
from mmvitssl.engine.launch import UserError
from tests.test_benchmark.small import tiny_config

RECORDED = Path(__file__).resolve().parents[1] / "data/parity/lomar.npz"


def test_gives_the_recorded_outputs() -> None:
    arrays = np.load(RECORDED)
    meta = json.loads(str(arrays["meta"]))
    model = PlainLomar(
        meta["embed_dim"], meta["depth"], meta["num_heads"], meta["patch_size"],
        meta["window_size"],
    )  # fmt: skip
    state = {key.removeprefix("state/"): torch.from_numpy(arrays[key])
             for key in arrays.files if key.startswith("state/")}  # fmt: skip
    state.pop("pos_embed")  # frozen and unused
    model.load_state_dict(state)
    # rows of one image follow each other in the record; here row r is of image r mod B
    rows = torch.from_numpy(arrays["image_of_row"]).argsort(stable=True).view(2, -1).T.flatten()
    pred, loss = model(
        *(torch.from_numpy(arrays["image"]), torch.from_numpy(arrays["patch_indices"])[rows]),
        torch.from_numpy(arrays["masked"])[rows],
    )
    torch.testing.assert_close(pred, torch.from_numpy(arrays["pred"])[rows], rtol=1e-4, atol=1e-5)
    assert loss.item() == pytest.approx(float(arrays["loss"]), rel=1e-5)


@pytest.mark.parametrize("amp", ["fp32", "bf16"])
def test_trains_the_parameters_of_ours(amp: str) -> None:
    config = tiny_config("lomar", image_size=224)
    ours, plain = StepBench("lomar", config, 2, amp=amp), PlainBench("lomar", config, 2, amp=amp)
    assert plain.parameters == ours.parameters
    before = [parameter.detach().clone() for parameter in plain.model.parameters()]
    for _ in range(2):
        plain.step()
    after = list(plain.model.parameters())
    assert all(torch.isfinite(parameter).all() for parameter in after)
    assert not any(torch.equal(a, b) for a, b in zip(after, before, strict=True))
    # its products are those of ours, and those that predict tokens that are not masked
    assert 1 <= plain.flops().total / ours.flops().total < 1.3


def test_what_has_no_plain_layout_is_refused() -> None:
    with pytest.raises(UserError, match="not of mae"):
        PlainBench("mae", load_config("mae", "ViT-B/16"), 1)
