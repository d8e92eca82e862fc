"""Features of data sets, and what they are worth."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from mmvitssl.datasets import ImageFolder, PackedImages
from mmvitssl.evaluation.features import encode_features, evaluating, extract_features
from mmvitssl.evaluation.probes import FeatureProbe
from mmvitssl.models.backbones import ViT
from mmvitssl.models.data_preprocessor import build_preprocessor
from mmvitssl.registry import MODELS

PIPELINE = [
    dict(type="LoadImage"),
    dict(type="MultiView", views=[dict(transforms=[])]),
    dict(type="PackViews"),
]
ENCODER = dict(
    type="ViT",
    arch=dict(embed_dim=24, depth=5, num_heads=2),
    image_size=16,
    patch_size=8,
    position="learned",
    prefix_tokens=("contrast",),
    drop_path=0.5,
)


def pack(path: Path, number: int, seed: int = 0) -> str:
    """Images of three plain colours with noise; their classes."""
    rng = np.random.default_rng(seed)
    label = np.arange(number) % 3
    files = []
    for kind in label:
        pixels = rng.integers(0, 60, (16, 16, 3))
        pixels[..., kind] += 150
        stream = BytesIO()
        Image.fromarray(pixels.astype(np.uint8)).save(stream, "PNG")
        files.append(np.frombuffer(stream.getvalue(), dtype=np.uint8))
    offset = np.concatenate([[0], np.cumsum([len(file) for file in files])])
    np.savez(path, jpeg=np.concatenate(files), offset=offset, label=label)
    return str(path)


def build_encoder() -> ViT:
    torch.manual_seed(0)
    return ViT(**{key: value for key, value in ENCODER.items() if key != "type"})


def test_features_are_the_encoders_in_order(tmp_path: Path) -> None:
    encoder = build_encoder().train()
    data = PackedImages(pack(tmp_path / "x.npz", 7), PIPELINE)
    features = extract_features(encoder, data, build_preprocessor(None), "mean", batch_size=3)
    assert encoder.training and all(part.training for part in encoder.modules())
    views = torch.stack([data[i]["views"][0] for i in range(7)])
    images = build_preprocessor(None).normalise(views.float() / 255)
    with evaluating(encoder):
        expected = encoder(images).patches.mean(dim=1)
    torch.testing.assert_close(features.values, expected)
    assert features.labels is not None and features.labels.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert [Path(path).name for path in features.paths] == [f"x.npz#{i}" for i in range(7)]


def test_readouts() -> None:
    encoder, images = build_encoder().eval(), torch.randn(2, 3, 16, 24)
    with torch.no_grad():
        encoded = encoder(images)
        last4 = encode_features(encoder, images, "cls-last4")
        both = encode_features(encoder, images, "cls+mean")
        token = encode_features(encoder, images, "token:contrast")
    assert last4.shape == (2, 4 * 24)
    torch.testing.assert_close(last4[:, -24:], encoded.cls)
    torch.testing.assert_close(both, torch.cat([encoded.cls, encoded.patches.mean(1)], 1))
    torch.testing.assert_close(token, encoded.prefix["contrast"])
    assert not any(block._forward_hooks for block in encoder.blocks)
    shallow = build_encoder().eval()
    shallow.blocks = shallow.blocks[:2]  # the class token of block 1, after the norm
    shallow.depth = 2
    with torch.no_grad():
        torch.testing.assert_close(last4[:, :24], shallow(images).cls)


def test_modes_come_back_after_an_error() -> None:
    encoder = build_encoder().train()
    encoder.blocks[1].eval()
    with pytest.raises(RuntimeError, match="stop"), evaluating(encoder):
        assert not encoder.training and not torch.is_grad_enabled()
        raise RuntimeError("stop")
    assert encoder.training and not encoder.blocks[1].training and torch.is_grad_enabled()


def test_nothing_is_compiled_while_evaluating() -> None:
    graphs: list[object] = []

    def backend(graph: torch.fx.GraphModule, inputs: object) -> object:
        graphs.append(graph)
        return graph.forward

    encoder, images = build_encoder().eval(), torch.randn(1, 3, 32, 32)
    encoder.compile(backend=backend)
    with evaluating(encoder):
        expected = encoder(images).cls
    assert not graphs
    torch.testing.assert_close(encoder(images).cls, expected)
    assert graphs


@pytest.mark.parametrize(
    ("readout", "words"),
    [
        ("class", "use one of cls"),
        ("token:rotation", "prefix_tokens are .'contrast'"),
        ("blocks", "one vector per block"),
    ],
)
def test_unknown_readouts(readout: str, words: str, tmp_path: Path) -> None:
    data = PackedImages(pack(tmp_path / "x.npz", 3), PIPELINE)
    with pytest.raises(ValueError, match=words):
        extract_features(build_encoder(), data, build_preprocessor(None), readout)


def test_last_four_blocks_need_four(tmp_path: Path) -> None:
    encoder = MODELS.build({**ENCODER, "arch": dict(embed_dim=24, depth=3, num_heads=2)})
    data = PackedImages(pack(tmp_path / "x.npz", 3), PIPELINE)
    with pytest.raises(ValueError, match="4 or more blocks"):
        extract_features(encoder, data, build_preprocessor(None), "cls-last4")


def probe_config(tmp_path: Path, **changes: Any) -> Any:
    bank = dict(type="PackedImages", file=pack(tmp_path / "bank.npz", 30), pipeline=PIPELINE)
    queries = dict(type="PackedImages", file=pack(tmp_path / "q.npz", 12, 1), pipeline=PIPELINE)
    return Config(dict(encoder=ENCODER, bank=bank, queries=queries, neighbours=(1, 5), **changes))


def test_colours_are_told_apart_by_random_features(tmp_path: Path) -> None:
    torch.manual_seed(0)
    probe = FeatureProbe.from_config(probe_config(tmp_path, readout="mean"), linear=True)
    accuracies = probe.accuracies()
    assert set(accuracies) == {"knn_1", "knn_5", "linear"}
    assert min(accuracies.values()) > 0.9
    labels = probe.bank.labels  # type: ignore[attr-defined]
    labels[:] = np.random.default_rng(0).permutation(labels)
    assert probe.accuracies()["knn_5"] < 0.8


def test_what_is_wrong_with_a_config_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="did you mean 'neighbours'"):
        FeatureProbe.from_config(probe_config(tmp_path, neighbors=(1,)))
    settings = probe_config(tmp_path).to_dict()
    settings.pop("queries")
    with pytest.raises(ValueError, match="lacks queries"):
        FeatureProbe.from_config(settings)
    (tmp_path / "a.png").write_bytes(b"")
    Image.new("RGB", (16, 16)).save(tmp_path / "a.png")
    folder = ImageFolder(str(tmp_path), PIPELINE)
    with pytest.raises(ValueError, match="queries is a ImageFolder without labels"):
        FeatureProbe(build_encoder(), probe_data(tmp_path), folder)


def probe_data(tmp_path: Path) -> PackedImages:
    return PackedImages(pack(tmp_path / "x.npz", 3), PIPELINE)
