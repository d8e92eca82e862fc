"""Official outputs of iBOT, DINOv2 and I-JEPA, and options of theirs that the recorded have not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mmvitssl.checkpoint.formats import FORMATS, recognise
from mmvitssl.registry import MODELS
from parity import Fixture, compare_file
from parity.build import FORMAT_NAMES
from parity.compare import COMPARISONS
from parity.latent import CONFIGS

RECORDED = Path(__file__).resolve().parents[1] / "data/parity"
METHODS = ["ibot", "dinov2", "ijepa"]
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "ibot": [
        dict(img_size=32, embed_dim=24, num_heads=2, shared_head=False, shared_head_teacher=False,
             patch_out_dim=20, init_values=0.1, norm_last_layer=True, pred_shape="rand",
             head_nlayers=1, epoch=12),
    ],
    "dinov2": [
        dict(img_size=32, embed_dim=24, num_heads=3, num_register_tokens=0, ffn_layer="swiglu",
             separate_head=True, centering="sinkhorn_knopp", interpolate_antialias=False,
             interpolate_offset=0.1, block_chunks=2, koleo_loss_weight=0.0),
    ],
    "ijepa": [
        dict(img_size=80, embed_dim=32, num_heads=4, pred_emb_dim=16, num_enc_masks=2,
             num_pred_masks=3, allow_overlap=True),
    ],
}  # fmt: skip
CASES = [(method, options) for method, several in OPTIONS.items() for options in several]


@pytest.mark.parametrize("method", METHODS)
def test_recorded_outputs_of_the_official_code(method: str) -> None:
    agreement = compare_file(RECORDED / f"{method}.npz")
    assert agreement.ok, agreement
    assert {"loss"} < set(agreement.errors) and len(agreement.errors) >= 8
    for name, error in agreement.errors.items():
        assert error <= 2e-5 * agreement.magnitudes[name]


def arrays_of(fixture: Fixture, meta: dict[str, Any]) -> dict[str, Tensor]:
    """Recorded images at another size, and masks of other options."""
    side, grid = meta["img_size"], meta["img_size"] // meta["patch_size"]
    arrays = {k: v for k, v in fixture.arrays.items() if "crops" in k or k.startswith("center")}
    generator = torch.Generator().manual_seed(0)
    if meta["method"] == "ijepa":
        arrays = {"image": torch.randn(2, 3, side, side, generator=generator)}
        masking = MODELS.build(CONFIGS["ijepa"](Fixture(Path(), meta, {}, {}))["tasks"]["masked"]
                               ["masking"])  # fmt: skip
        plan = masking((grid, grid), 2, generator)
        arrays["masks_enc"] = plan.tokens.unflatten(0, (-1, 2))
        arrays["masks_pred"] = plan.dropped[:2].unflatten(1, (plan.blocks, -1)).transpose(0, 1)
        return arrays
    arrays["global_crops"] = torch.randn(2, 4, 3, side, side, generator=generator)
    arrays["local_crops"] = torch.randn(1, 4, 3, side // 2, side // 2, generator=generator)
    arrays["other_size_image"] = torch.randn(2, 3, side + 16, side, generator=generator)
    arrays["masks"] = torch.rand(2, 4, grid, grid, generator=generator) < 0.3
    if meta["method"] == "dinov2":
        arrays["masks"] = arrays["masks"].flatten(0, 1).flatten(1)
        arrays |= {
            "center_before": torch.randn(1, 48),
            "patch_center_before": torch.zeros(1, 1, 48),
        }
        arrays["last2_clstoken"] = torch.zeros(2, 2, meta["embed_dim"])
    else:
        arrays["center2_before"] = torch.randn(1, 1, meta["patch_out_dim"])
    return arrays


def heads_of(fixture: Fixture, meta: dict[str, Any]) -> dict[str, Tensor]:
    """Shapes of the heads, which the options are read from."""
    width, state = meta["embed_dim"], {}
    fronts = {"ibot": ["head"], "dinov2": ["dino_head", "ibot_head"]}.get(meta["method"], [])
    for network in ("student", "teacher"):
        for head in fronts:
            front = f"{network}.{head}."
            single = meta.get("head_nlayers", 3) == 1
            names = [""] if single else [".0", ".2", ".4"]
            for name in names:
                rows = 32 if name in ("", ".4") else 64
                state[f"{front}mlp{name}.weight"] = torch.zeros(rows, width if name != ".2" else 64)
            sizes = {"last_layer": 48}
            if meta["method"] == "ibot":
                sizes["last_layer2"] = meta["patch_out_dim"]
            for layer, number in sizes.items():
                state[f"{front}{layer}.weight_v"] = torch.zeros(number, 32)
    return state


@pytest.mark.parametrize(("method", "options"), CASES)
def test_other_sizes_and_options_are_read_from_the_file(
    method: str, options: dict[str, Any], tmp_path: Path
) -> None:
    """A file of ours in the official layout, chunks and separate heads too, agrees with itself."""
    recorded = Fixture.load(RECORDED / f"{method}.npz")
    meta = {**recorded.meta, **options}
    arrays = arrays_of(recorded, meta)
    made = Fixture(tmp_path / "made.npz", meta, heads_of(recorded, meta), arrays)
    torch.manual_seed(0)
    model = MODELS.build(CONFIGS[method](made))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    table = model.encoder.pos_embed
    if method == "ijepa":
        table.data[:, :1] = 0
        model.target["encoder"].pos_embed.data[:, :1] = 0
    format = FORMATS[FORMAT_NAMES.get(method, method)]
    state = format.export_state(model.state_dict(), {}, meta["img_size"])
    assert recognise(state) is format
    if meta.get("block_chunks"):
        state = {k.replace("blocks.1.", "blocks.1.1.").replace("blocks.0.", "blocks.0.0."): v
                 for k, v in state.items()}  # fmt: skip
        assert recognise(state) is format
    filled = Fixture(made.path, meta, state, arrays)
    outputs = COMPARISONS[method](filled)
    content = {f"state/{key}": value.numpy() for key, value in state.items()}
    content |= {key: value.numpy() for key, value in {**arrays, **outputs}.items()}
    np.savez(made.path, meta=np.array(json.dumps(meta)), **content)
    agreement = compare_file(made.path)
    assert agreement.ok and agreement.errors.keys() == outputs.keys()
    assert all(bool(torch.isfinite(value).all()) for value in outputs.values())
    if method == "dinov2":
        _check_balance(outputs, arrays, meta)


def _check_balance(
    outputs: dict[str, Tensor], arrays: dict[str, Tensor], meta: dict[str, Any]
) -> None:
    """Sinkhorn-Knopp written out in float64: prototypes are used equally, samples sum to 1."""
    for logits, found in (("teacher_cls", "teacher_cls_probs"),
                          ("teacher_patch", "teacher_patch_probs")):  # fmt: skip
        q = (outputs[logits].double() / meta["teacher_temp"]).exp()
        q = q / q.sum()
        for _ in range(3):
            q = q / q.sum(dim=0) / q.shape[1]
            q = q / q.sum(dim=1, keepdim=True) / q.shape[0]
        torch.testing.assert_close(outputs[found].double(), q * len(q), atol=1e-5, rtol=1e-4)
    assert torch.equal(outputs["center_after"], arrays["center_before"])  # it is not used


def test_a_changed_weight_is_noticed(tmp_path: Path) -> None:
    for method in METHODS:
        with np.load(RECORDED / f"{method}.npz") as content:
            arrays = {name: content[name] for name in content.files}
        key = next(name for name in arrays if name.endswith("blocks.1.mlp.fc1.weight"))
        arrays[key] = arrays[key] * 1.01
        np.savez(tmp_path / "changed.npz", **arrays)
        assert not compare_file(tmp_path / "changed.npz").ok, method


def test_gated_mlps_are_silu_of_the_first_half_times_the_second() -> None:
    block = MODELS.build(
        dict(type="ViT", arch=dict(embed_dim=48, depth=1, num_heads=2), image_size=16, mlp="swiglu")
    ).blocks[0]
    assert block.mlp.fc2.weight.shape == (48, 128)  # (int(4 * 48 * 2 / 3) + 7) // 8 * 8
    x = torch.randn(2, 5, 48)
    gate, value = F.linear(x, block.mlp.fc1.weight, block.mlp.fc1.bias).chunk(2, dim=-1)
    expected = F.linear(F.silu(gate) * value, block.mlp.fc2.weight, block.mlp.fc2.bias)
    torch.testing.assert_close(block.mlp(x), expected)
