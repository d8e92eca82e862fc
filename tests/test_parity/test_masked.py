"""Official outputs, the formulas written out, and our models agree, at several sizes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mmvitssl.checkpoint import CheckpointError
from mmvitssl.checkpoint.formats import FORMATS
from mmvitssl.models.masking import BlockMasking, WindowMasking
from mmvitssl.registry import MODELS
from parity import Fixture, compare_file
from parity.masked import CONFIGS
from tests.test_parity.references import REFERENCES

RECORDED = Path(__file__).resolve().parents[1] / "data/parity"
SIZES: dict[str, list[dict[str, Any]]] = {
    "mae": [
        dict(img_size=24, patch_size=4, embed_dim=24, depth=2, num_heads=3, decoder_embed_dim=40,
             decoder_depth=1, decoder_num_heads=5, mask_ratio=0.6),
    ],
    "lomar": [
        dict(img_size=36, patch_size=4, embed_dim=32, depth=2, num_heads=2, window_size=7,
             num_window=3, mask_ratio=0.7),
        dict(img_size=20, patch_size=5, embed_dim=24, depth=1, num_heads=3, window_size=4,
             num_window=1, mask_ratio=0.5),
    ],
    "cae": [
        dict(img_size=24, patch_size=4, vocab=33, embed_dim=24, depth=2, num_heads=3,
             decoder_embed_dim=40, regressor_depth=1, decoder_depth=3, decoder_num_heads=5,
             layer_scale=0.1, align_weight=1.5),
        dict(img_size=48, patch_size=8, vocab=20, embed_dim=32, depth=1, num_heads=4,
             decoder_embed_dim=32, regressor_depth=3, decoder_depth=1, decoder_num_heads=2,
             layer_scale=1e-5, align_weight=2.0),
    ],
}  # fmt: skip
CASES = [(method, sizes) for method, several in SIZES.items() for sizes in several]


def inputs(method: str, meta: dict[str, Any], generator: torch.Generator) -> dict[str, Tensor]:
    """Random images, masks and ids of a fixture."""
    side = meta["img_size"] // meta["patch_size"]
    number = side * side
    image = torch.randn(2, 3, meta["img_size"], meta["img_size"], generator=generator)
    if method == "mae":
        shuffle = torch.rand(2, number, generator=generator).argsort(1)
        keep = int(number * (1 - meta["mask_ratio"]))
        mask = torch.ones(2, number).scatter_(1, shuffle[:, :keep], 0.0)
        return {"image": image, "mask": mask, "ids_restore": shuffle.argsort(1)}
    if method == "lomar":
        masking = WindowMasking(meta["window_size"], meta["num_window"], meta["mask_ratio"])
        plan = masking((side, side), 2, generator)
        assert plan.tokens is not None and plan.masked is not None and plan.image_index is not None
        return {"image": image, "patch_indices": plan.tokens, "masked": plan.masked,
                "image_of_row": plan.image_index}  # fmt: skip
    plan = BlockMasking(number // 2, exact=True, min_block=4)((side, side), 2, generator)
    assert plan.masked is not None
    tokens = torch.randint(meta["vocab"], (2, number), generator=generator)
    return {"image": image, "mask": plan.masked, "tokens": tokens}


def record(method: str, sizes: dict[str, Any], path: Path) -> Path:
    """A fixture of other sizes, whose outputs come from the formulas in float64."""
    torch.manual_seed(1)
    meta = {"method": method, **sizes}
    arrays = inputs(method, meta, torch.Generator().manual_seed(2))
    model = MODELS.build(CONFIGS[method](Fixture(path, meta, {}, arrays)))
    for name, parameter in model.named_parameters():
        if "pos_embed" not in name:
            torch.nn.init.normal_(parameter, std=0.2)
    state = FORMATS[method].export_state(model.state_dict(), {}, meta["img_size"])
    double = {k: v.double() if v.is_floating_point() else v for k, v in arrays.items()}
    outputs = REFERENCES[method]({k: v.double() for k, v in state.items()}, double, meta)
    content = {f"state/{key}": value.numpy() for key, value in state.items()}
    content |= {key: value.numpy() for key, value in arrays.items()}
    content |= {key: value.float().numpy() for key, value in outputs.items()}
    np.savez(path, meta=np.array(json.dumps(meta)), **content)
    return path


@pytest.mark.parametrize("method", ["mae", "lomar", "cae"])
def test_recorded_outputs_of_the_official_code(method: str) -> None:
    agreement = compare_file(RECORDED / f"{method}.npz")
    assert agreement.ok, agreement
    assert len(agreement.errors) >= 2
    for name, error in agreement.errors.items():
        assert error <= 2e-5 * agreement.magnitudes[name]


@pytest.mark.parametrize("method", ["mae", "lomar", "cae"])
def test_the_formulas_give_the_recorded_outputs(method: str) -> None:
    fixture = Fixture.load(RECORDED / f"{method}.npz")
    state = {key: value.double() for key, value in fixture.state.items()}
    arrays = {k: v.double() if v.is_floating_point() else v for k, v in fixture.arrays.items()}
    for name, value in REFERENCES[method](state, arrays, fixture.meta).items():
        assert torch.allclose(value, arrays[name], atol=2e-5), name


@pytest.mark.parametrize(("method", "sizes"), CASES)
def test_other_sizes_agree_with_the_formulas(
    method: str, sizes: dict[str, Any], tmp_path: Path
) -> None:
    agreement = compare_file(record(method, sizes, tmp_path / "other.npz"))
    assert agreement.ok, agreement


@pytest.mark.parametrize("method", ["mae", "lomar", "cae"])
def test_a_changed_weight_is_noticed(method: str, tmp_path: Path) -> None:
    with np.load(RECORDED / f"{method}.npz") as content:
        arrays = {name: content[name] for name in content.files}
    key = next(name for name in arrays if name.endswith("blocks.1.mlp.fc1.weight"))
    arrays[key] = arrays[key] * 1.01
    np.savez(tmp_path / "changed.npz", **arrays)
    agreement = compare_file(tmp_path / "changed.npz")
    assert not agreement.ok and agreement.line().endswith("FAIL")


def test_not_a_number_is_no_agreement(tmp_path: Path) -> None:
    with np.load(RECORDED / "mae.npz") as content:
        arrays = {name: content[name] for name in content.files}
    arrays["pred"] = np.full_like(arrays["pred"], np.nan)
    np.savez(tmp_path / "nan.npz", **arrays)
    assert not compare_file(tmp_path / "nan.npz").ok


def test_damaged_fixtures_are_named(tmp_path: Path) -> None:
    with np.load(RECORDED / "mae.npz") as content:
        arrays = {name: content[name] for name in content.files}
    cases = {
        "no_pred": ({k: v for k, v in arrays.items() if k != "pred"}, "no array 'pred'"),
        "no_meta": ({k: v for k, v in arrays.items() if k != "meta"}, "no entry 'meta'"),
        "no_key": ({k: v for k, v in arrays.items() if k != "state/norm.bias"}, "norm.bias"),
        "method": ({**arrays, "meta": np.array('{"method": "vae"}')}, "method 'vae'"),
        "more": ({**arrays, "state/extra": np.zeros(1)}, "extra"),
        "size": ({**arrays, "meta": np.array('{"method": "mae"}')}, "has no"),
    }
    for name, (content, message) in cases.items():
        np.savez(tmp_path / f"{name}.npz", **content)
        with pytest.raises(CheckpointError, match=message):
            compare_file(tmp_path / f"{name}.npz")
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(CheckpointError, match="no .npz file"):
        compare_file(tmp_path / "text.npz")
    with pytest.raises(FileNotFoundError, match="no parity fixture"):
        compare_file(tmp_path / "none.npz")
