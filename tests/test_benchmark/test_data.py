"""Throughput of data pipelines on a few photographs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from PIL import Image

import mmvitssl.datasets
from benchmark.data import (
    measure_pipelines,
    one_thread,
    own_pipeline,
    peer_pipeline,
    pipeline_line,
    write_photographs,
)
from mmvitssl.datasets import SampleKey
from mmvitssl.datasets.images import BrokenImageError, list_images
from mmvitssl.engine.config_files import read_config
from mmvitssl.engine.launch import UserError

ROOT = Path(__file__).resolve().parents[2]
MOCOV3 = ROOT / "configs/mocov3/mocov3_vit-base_32xb128-cosine-300e_in1k.py"


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("photographs")
    write_photographs(folder, 5)
    return list_images(folder)


@pytest.fixture
def config() -> Config:
    init_default_scope("mmvitssl")
    return read_config(str(MOCOV3))


def test_photographs_are_like_imagenets_files(paths: list[str], tmp_path: Path) -> None:
    assert len(paths) == 5
    for path in paths:
        with Image.open(path) as image:
            assert (image.format, image.size, image.mode) == ("JPEG", (500, 375), "RGB")
            assert len(image.convert("L").getcolors(256) or []) > 50  # no flat surface
    write_photographs(tmp_path, 5)
    again = [Path(path).read_bytes() for path in list_images(tmp_path)]
    assert again == [Path(path).read_bytes() for path in paths]


def test_stages_of_our_pipeline(config: Config, paths: list[str]) -> None:
    bench = own_pipeline(config)
    (batches,) = measure_pipelines([bench], paths, batch_size=3, repeat=2)
    assert len(batches) == 2
    for stages in batches:
        assert list(stages) == ["read", "decode", "augment", "pack", "collate"]
        assert all(seconds >= 0 for seconds in stages.values())
        assert stages["augment"] > stages["read"]


def test_what_is_timed_is_what_training_reads(config: Config, paths: list[str]) -> None:
    """The pipeline's batch equals the data set's: nothing is left out of the measurement."""
    bench = own_pipeline(config)
    batches = []
    collate, bench.collate = bench.collate, lambda samples: batches.append(collate(samples))
    bench.batch(paths[:2], epoch=0)
    loader = config.train_dataloader
    dataset = mmvitssl.registry.DATASETS.build(
        {**loader.dataset, "root": str(Path(paths[0]).parent)}
    )
    expected = collate([dataset[SampleKey(0)], dataset[SampleKey(1)]])
    assert [len(batches), len(batches[0]["views"])] == [1, 2]
    for mine, theirs in zip(batches[0]["views"], expected["views"], strict=True):
        torch.testing.assert_close(mine, theirs)


def test_numbers_of_a_line() -> None:
    ours = [{"decode": 0.5, "augment": 0.5}, {"decode": 1.0, "augment": 1.0}]
    peer = [{"read and decode": 3.0}, {"read and decode": 4.0}]
    assert json.loads(pipeline_line("ours", ours, batch_size=6)) == {
        "pipeline": "ours",
        "images_per_core_s": 4.0,
        "stages_ms_per_image": {"decode": 125.0, "augment": 125.0},
    }
    assert json.loads(pipeline_line("peer", peer, 6, against=ours))["time_ratio"] == 2.5


def test_threads_are_given_back() -> None:
    before = torch.get_num_threads()
    with pytest.raises(RuntimeError), one_thread():
        assert torch.get_num_threads() == 1
        raise RuntimeError
    assert torch.get_num_threads() == before


def test_unreadable_images_and_unknown_peers(config: Config, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"no image")
    with pytest.raises(BrokenImageError, match=r"a\.jpg"):
        own_pipeline(config).batch([str(tmp_path / "a.jpg")], 0)
    with pytest.raises(UserError, match="no pipeline of dino; there are those of mae"):
        peer_pipeline("dino")


def test_peers_pipeline_on_the_same_files(config: Config, paths: list[str]) -> None:
    pytest.importorskip("mmpretrain", reason="requirements/bench.txt is not installed")
    benches = [own_pipeline(config), peer_pipeline("mocov3")]
    seen = []
    collate = benches[1].collate
    benches[1].collate = lambda samples: seen.append(collate(samples))
    ours, theirs = measure_pipelines(benches, paths, batch_size=2, repeat=1)
    assert list(theirs[0]) == ["read and decode", "augment", "pack", "collate"]
    assert [view.shape for view in seen[0]["inputs"]] == [(2, 3, 224, 224)] * 2
    assert len(ours) == len(theirs) == 1
