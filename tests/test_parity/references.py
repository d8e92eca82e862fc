"""The formulas written out on official state dicts: slow, in float64, without our modules."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

State = dict[str, Tensor]


def norm(state: State, name: str, x: Tensor) -> Tensor:
    mean = x.mean(-1, keepdim=True)
    variance = ((x - mean) ** 2).mean(-1, keepdim=True)
    return (x - mean) / (variance + 1e-6).sqrt() * state[name + ".weight"] + state[name + ".bias"]


def linear(state: State, name: str, x: Tensor) -> Tensor:
    return x @ state[name + ".weight"].T + state[name + ".bias"]


def gelu(x: Tensor) -> Tensor:
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def mlp(state: State, name: str, x: Tensor) -> Tensor:
    return linear(state, name + ".fc2", gelu(linear(state, name + ".fc1", x)))


def heads_of(x: Tensor, heads: int) -> Tensor:
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int, extra: Any = None) -> Tensor:
    q, k, v = (heads_of(x, heads) for x in (q, k, v))
    logits = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    if extra is not None:
        logits = logits + extra(q)
    return (logits.softmax(-1) @ v).transpose(1, 2).flatten(2)


def self_attention(
    state: State, name: str, x: Tensor, heads: int, qv: bool, extra: Any = None
) -> Tensor:
    bias = state.get(name + ".qkv.bias")
    if qv:
        q_bias, v_bias = state[name + ".q_bias"], state[name + ".v_bias"]
        bias = torch.cat([q_bias, torch.zeros_like(q_bias), v_bias])
    q, k, v = (x @ state[name + ".qkv.weight"].T + bias).chunk(3, dim=-1)
    return linear(state, name + ".proj", attend(q, k, v, heads, extra))


def block(
    state: State, name: str, x: Tensor, heads: int, qv: bool = False, extra: Any = None
) -> Tensor:
    one = state.get(name + ".gamma_1", torch.ones(()))
    two = state.get(name + ".gamma_2", torch.ones(()))
    normed = norm(state, name + ".norm1", x)
    x = x + one * self_attention(state, name + ".attn", normed, heads, qv, extra)
    return x + two * mlp(state, name + ".mlp", norm(state, name + ".norm2", x))


def patches(state: State, name: str, image: Tensor, patch: int) -> Tensor:
    weight = state[name + ".weight"].flatten(1)
    columns = F.unfold(image, patch, stride=patch).transpose(1, 2)
    return columns @ weight.T + state[name + ".bias"]


def target(image: Tensor, patch: int, normalise: bool) -> Tensor:
    """(B, N, P * P * 3): row, column, channel."""
    cells = F.unfold(image, patch, stride=patch).transpose(1, 2)
    values = cells.unflatten(-1, (3, patch * patch)).transpose(-1, -2).flatten(2)
    if not normalise:
        return values
    return (values - values.mean(-1, keepdim=True)) / (values.var(-1, keepdim=True) + 1e-6).sqrt()


def mae(state: State, arrays: dict[str, Tensor], meta: dict[str, Any]) -> dict[str, Tensor]:
    image, mask = arrays["image"], arrays["mask"].bool()
    tokens = patches(state, "patch_embed.proj", image, meta["patch_size"])
    tokens = tokens + state["pos_embed"][:, 1:]
    order = arrays["ids_restore"].argsort(dim=1)
    keep = int((~mask[0]).sum())
    rows = []
    for i in range(len(image)):
        cls = state["cls_token"][0] + state["pos_embed"][0, :1]
        x = torch.cat([cls, tokens[i, order[i, :keep]]])[None]
        for layer in range(meta["depth"]):
            x = block(state, f"blocks.{layer}", x, meta["num_heads"])
        rows.append(norm(state, "norm", x)[0])
    latent = torch.stack(rows)
    embedded = linear(state, "decoder_embed", latent)
    full = state["mask_token"].repeat(len(image), mask.shape[1], 1)
    for i in range(len(image)):
        full[i, order[i, :keep]] = embedded[i, 1:]
    x = torch.cat([embedded[:, :1], full], dim=1) + state["decoder_pos_embed"]
    for layer in range(meta["decoder_depth"]):
        x = block(state, f"decoder_blocks.{layer}", x, meta["decoder_num_heads"])
    pred = linear(state, "decoder_pred", norm(state, "decoder_norm", x))[:, 1:]
    losses = {}
    for name, normalise in (("loss_norm_pix", True), ("loss_raw_pix", False)):
        error = ((pred - target(image, meta["patch_size"], normalise)) ** 2).mean(-1)
        losses[name] = (error * mask).sum() / mask.sum()
    return {"latent": latent, "pred": pred, **losses}


def _bucket(query: tuple[int, int], key: tuple[int, int]) -> int:
    near = (0, 1, 2, 2)
    parts = []
    for axis in (0, 1):
        offset = query[axis] - key[axis]
        size = near[abs(offset)] if abs(offset) < 4 else 3
        parts.append((size if offset >= 0 else -size) + 3)
    return parts[0] * 7 + parts[1]


def lomar(state: State, arrays: dict[str, Tensor], meta: dict[str, Any]) -> dict[str, Tensor]:
    image, chosen, masked = arrays["image"], arrays["patch_indices"], arrays["masked"]
    side, window = meta["img_size"] // meta["patch_size"], meta["window_size"]
    every = patches(state, "patch_embed.proj", image, meta["patch_size"])
    truth = target(image, meta["patch_size"], True)
    places = [(i // window, i % window) for i in range(window * window)]
    index = torch.full((len(places) + 1,) * 2, 49)
    for i, query in enumerate(places):
        for j, key in enumerate(places):
            index[i + 1, j + 1] = _bucket(query, key)
    preds, errors = [], []
    assert int(chosen.max()) < side * side
    for row, number in enumerate(arrays["image_of_row"].tolist()):
        x = every[number, chosen[row]].clone()
        x[masked[row]] = state["mask_token"][0, 0]
        x = torch.cat([state["cls_token"][0], x])[None]
        for layer in range(meta["depth"]):
            table = state[f"blocks.{layer}.attn.rpe_k.lookup_table_weight"][0]

            def extra(q: Tensor, table: Tensor = table) -> Tensor:
                vectors = table[:, index]  # d, L, L
                return torch.einsum("bhid,dij->bhij", q, vectors)

            x = block(state, f"blocks.{layer}", x, meta["num_heads"], extra=extra)
        pred = linear(state, "encoder_pred", norm(state, "norm", x))[0, 1:]
        preds.append(pred)
        errors.append(((pred - truth[number, chosen[row]]) ** 2).mean(-1)[masked[row]])
    return {"pred": torch.stack(preds), "loss": torch.cat(errors).mean()}


def _sincos(side: int, width: int) -> Tensor:
    table = torch.zeros(side * side, width, dtype=torch.float64)
    quarter = width // 4
    for place in range(side * side):
        for half, coordinate in enumerate((place // side, place % side)):
            for i in range(quarter):
                angle = coordinate / 10000 ** (i / quarter)
                table[place, half * 2 * quarter + i] = math.sin(angle)
                table[place, half * 2 * quarter + quarter + i] = math.cos(angle)
    return table


def cae(state: State, arrays: dict[str, Tensor], meta: dict[str, Any]) -> dict[str, Tensor]:
    image, mask = arrays["image"], arrays["mask"]
    inner, heads = meta["decoder_embed_dim"], meta["decoder_num_heads"]
    every = patches(state, "encoder.patch_embed.proj", image, meta["patch_size"])
    position = _sincos(meta["img_size"] // meta["patch_size"], inner)

    def encode(i: int, which: Tensor) -> Tensor:
        table = state["encoder.pos_embed"][0]
        x = every[i, which] + table[1:][which]
        x = torch.cat([state["encoder.cls_token"][0] + table[:1], x])[None]
        for layer in range(meta["depth"]):
            x = block(state, f"encoder.blocks.{layer}", x, meta["num_heads"], qv=True)
        x = norm(state, "encoder.norm", x)[:, 1:]
        if "encoder_to_decoder.weight" in state:
            x = linear(state, "encoder_to_decoder", x)
            x = norm(state, "encoder_to_decoder_norm", x)
        return x

    outputs: dict[str, list[Tensor]] = {"logits": [], "latent_pred": [], "latent_target": []}
    for i in range(len(image)):
        visible, aligned = encode(i, ~mask[i]), encode(i, mask[i])
        here, there = position[mask[i]], position[~mask[i]]
        x = state["mask_token"].expand(1, len(here), -1)
        for layer in range(meta["regressor_depth"]):
            name = f"pretext_neck.regressor_blocks.{layer}"
            context = torch.cat([visible, x], dim=1)
            where = torch.cat([there, here])
            q = norm(state, name + ".norm1_q", x + here) @ state[name + ".cross_attn.q.weight"].T
            k = norm(state, name + ".norm1_k", context + where)
            v = norm(state, name + ".norm1_v", context) @ state[name + ".cross_attn.v.weight"].T
            q, v = q + state[name + ".cross_attn.q_bias"], v + state[name + ".cross_attn.v_bias"]
            attended = attend(q, k @ state[name + ".cross_attn.k.weight"].T, v, heads)
            attended = linear(state, name + ".cross_attn.proj", attended)
            x = norm(state, name + ".norm2_cross", x + state[name + ".gamma_1_cross"] * attended)
            x = x + state[name + ".gamma_2_cross"] * mlp(state, name + ".mlp_cross", x)
        latent = norm(state, "pretext_neck.norm", x)
        x = latent + here
        for layer in range(meta["decoder_depth"]):
            x = block(state, f"pretext_neck.decoder_blocks.{layer}", x, heads, qv=True)
        outputs["logits"].append(
            linear(state, "pretext_neck.head", norm(state, "pretext_neck.norm2", x))[0]
        )
        outputs["latent_pred"].append(latent[0])
        outputs["latent_target"].append(aligned[0])
    logits = torch.cat(outputs["logits"])
    pred, aim = (torch.stack(outputs[name]) for name in ("latent_pred", "latent_target"))
    log_p = logits.log_softmax(-1)
    token = -log_p.gather(1, arrays["tokens"][mask][:, None]).mean()
    align = ((pred - aim) ** 2).mean()
    return {
        "logits": logits, "latent_pred": pred, "latent_target": aim, "loss_token": token,
        "loss_align": align, "loss": token + meta["align_weight"] * align,
    }  # fmt: skip


REFERENCES = {"mae": mae, "lomar": lomar, "cae": cae}
