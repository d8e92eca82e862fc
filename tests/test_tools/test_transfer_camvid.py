"""The experiment that compares pretrainings by fine-tuning on CamVid, on a few small pictures."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from mmengine.config import Config, DictAction
from mmengine.registry import init_default_scope
from PIL import Image

from mmvitssl.registry import MODELS
from tests.test_tools import programs
from tests.test_tools.programs import ROOT

TOOL = ROOT / "tools/experiments/transfer_camvid.py"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("transfer_camvid", TOOL)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def result(method: str, seed: int, miou: float) -> dict[str, object]:
    return {"head": "upernet", "method": method, "seed": seed, "mIoU": miou, "aAcc": 2 * miou}


def test_table_has_means_and_spread(tool: ModuleType) -> None:
    lines = [result("mae", 0, 20.0), result("mae", 1, 23.0), result("random", 0, 18.25)]
    head, rule, mae, random = tool.table(lines).splitlines()
    assert head == "| upernet | seeds | mIoU | aAcc |" and rule.count("---") == 4
    assert mae == "| mae | 2 | 21.5 (20 to 23) | 43 (40 to 46) |"
    assert random == "| random | 1 | 18.2 | 36.5 |"


def test_what_is_there_is_not_repeated(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "results.jsonl"
    out.write_text(json.dumps(result("mae", 0, 20.0)) + "\n")
    asked: list[tuple[str, str, int]] = []

    def transfer(args: object, method: str, head: str, seed: int) -> dict[str, float]:
        asked.append((method, head, seed))
        return {"mIoU": 1.0, "aAcc": 2.0}

    monkeypatch.setattr(tool, "transfer", transfer)
    arguments = ["--out", str(out), "--methods", "random", "mae", "--heads", "upernet"]
    tool.main([*arguments, "--seeds", "0", "1"])
    assert asked == [("random", "upernet", 0), ("random", "upernet", 1), ("mae", "upernet", 1)]
    tool.main([*arguments, "--seeds", "0", "1"])
    assert len(asked) == 3 and len(out.read_text().splitlines()) == 4


@pytest.mark.parametrize("method", ["mocov3", "repre-mocov3", "mae", "lomar", "cae", "mtssl"])
def test_encoders_of_both_stages_are_one(tool: ModuleType, method: str) -> None:
    """The weights of a pretrained encoder are those of the backbone."""
    init_default_scope("mmvitssl")
    (config,) = (tool.CONFIGS / "pretrain").glob(f"{method}_vit-*.py")
    pretrained = MODELS.build(Config.fromfile(config).model.encoder).state_dict()
    transfer = Config.fromfile(tool.CONFIGS / tool.HEADS["upernet"][0])
    parse = DictAction._parse_int_float_bool  # what the command line makes of a value
    encoder = {key: parse(value) for key, value in tool.ENCODERS[method].items()}
    backbone = MODELS.build({**transfer.model.backbone.encoder, **encoder})
    # of one stage only, or of another size of image: interpolated when they are loaded
    apart = ("prefix_token", "mask_token", "pos_embed")
    here, there = (
        {key: value.shape for key, value in state.items() if not key.startswith(apart)}
        for state in (pretrained, backbone.state_dict())
    )
    assert here == there


@pytest.fixture
def camvid(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for split in ("train", "test"):
        for folder in ("images", "annotations"):
            (tmp_path / folder / split).mkdir(parents=True)
        for i in range(4):
            picture = random.integers(0, 256, (60, 80, 3), dtype=np.uint8)
            labels = random.integers(0, 11, (6, 8), dtype=np.uint8).repeat(10, 0).repeat(10, 1)
            Image.fromarray(picture).save(tmp_path / f"images/{split}/{i}.jpg")
            Image.fromarray(labels).save(tmp_path / f"annotations/{split}/{i}.png")
    return tmp_path


@pytest.mark.long
def test_pretrains_transfers_and_tests(camvid: Path, tmp_path: Path) -> None:
    out = tmp_path / "results.jsonl"
    short = ("default_hooks.checkpoint.interval=1", "train_cfg.max_iters=1")
    programs.run(
        sys.executable, TOOL, "--data-root", camvid, "--methods", "cae", "--heads", "setr",
        "--work-dir", tmp_path / "runs", "--out", out,
        "--pretrain-options", *short, "train_dataloader.batch_size=2",
        "--cfg-options", *short, "train_dataloader.batch_size=2", "train_dataloader.num_workers=0",
        "train_dataloader.persistent_workers=False", "test_dataloader.num_workers=0",
    )  # fmt: skip
    (line,) = [json.loads(text) for text in out.read_text().splitlines()]
    assert (line["head"], line["method"], line["seed"]) == ("setr", "cae", 0)
    assert 0 <= line["mIoU"] <= 100 and 0 <= line["aAcc"] <= 100
    start = torch.load(tmp_path / "runs/pretrain_cae/last.pth", weights_only=False)["state_dict"]
    after = torch.load(tmp_path / "runs/setr_cae_0/last.pth", weights_only=False)["state_dict"]
    # one step of warm-up: the weights are still those of the pretraining, to its length
    name = "blocks.0.attn.proj.weight"
    moved = after[f"backbone.encoder.{name}"] - start[f"encoder.{name}"]
    assert moved.abs().max() < 1e-3 < start[f"encoder.{name}"].abs().max()
