"""FSDP on real processes: a training in shards is the training of whole copies."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import CheckpointHook
from mmengine.runner import EpochBasedTrainLoop
from torch import distributed as dist

from demo import make_demo_data
from mmvitssl.checkpoint import load_file
from mmvitssl.engine import checks, launch
from mmvitssl.engine.config_files import read_config
from mmvitssl.engine.hooks import TaskPicturesHook
from mmvitssl.engine.sharding import ShardedStrategy
from tests.builders import build_repre
from tests.test_tools import programs, test_masked_pretraining
from tests.test_tools.programs import ROOT, logged

CONFIG = "mae/mae_vit-large_fsdp-64xb64-cosine-800e_in1k.py"
# the dimensions of MAE's decoder, as in the other tests of masked methods
SMALLER = test_masked_pretraining.METHODS["mae"][2]
BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen real scenes over photographs."""
    out = tmp_path_factory.mktemp("data") / "demo"
    make_demo_data(out, train=16, val=2, seed=0, image_size=64)
    return out / "images" / "train"


def write_config(folder: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The config of ViT-L in shards, made small: two epochs of two iterations."""
    methods = test_masked_pretraining.METHODS
    monkeypatch.setitem(methods, "sharded", (CONFIG, 48, SMALLER))
    path = test_masked_pretraining.write_config(folder, "sharded", data)
    config = Config.fromfile(path)
    config.custom_hooks = [dict(type="ReduceLogsHook")]
    config.train_dataloader.batch_size = 4
    config.train_cfg.max_epochs = 2
    config.default_hooks.checkpoint.interval = 1
    config.dump(path)
    return path


def train(config: Path, work_dir: Path, *options: str, ok: bool = True) -> str:
    return programs.run(
        ROOT / "tools/dist_train.sh", config, "2", "--work-dir", work_dir, *options, ok=ok,
        PATH=f"{BIN}:/usr/bin:/bin",
    ).stdout  # fmt: skip


@pytest.mark.long
def test_shards_train_as_copies_do_and_are_taken_up_again(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes with FSDP against two with DDP, in float32."""
    sharded = write_config(tmp_path, data, monkeypatch)
    precision = ("--cfg-options", "optim_wrapper.precision=fp32")
    train(sharded, tmp_path / "shards", *precision)
    plain = Config.fromfile(sharded)
    assert plain.pop("runner_type") == "FlexibleRunner"
    assert plain.pop("strategy").type == "mmvitssl.ShardedStrategy"
    plain.dump(tmp_path / "plain.py")
    train(tmp_path / "plain.py", tmp_path / "copies", *precision)

    losses = [[line["loss"] for line in logged(tmp_path / run)] for run in ("shards", "copies")]
    assert len(losses[0]) == 4 and losses[0][-1] < losses[0][0]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    shards, copies = (load_file(tmp_path / run / "last.pth") for run in ("shards", "copies"))
    assert_same(shards["state_dict"], copies["state_dict"])
    # FSDP names parameters where others number them; weights are decayed, norms and biases not
    groups = [state["optimizer"]["param_groups"] for state in (shards, copies)]
    assert "encoder.blocks.0.attn.qkv.weight" in groups[0][0]["params"]
    assert "encoder.blocks.0.attn.qkv.weight" in shards["optimizer"]["state"]
    for mine, theirs in zip(*groups, strict=True):
        assert mine["weight_decay"] == theirs["weight_decay"]
        assert len(mine["params"]) == len(theirs["params"])
    # one process tests what two trained
    last = tmp_path / "shards/last.pth"
    done = programs.test(sharded, last, "--work-dir", tmp_path / "test")
    assert programs.value(done.stdout, "pretext/raw_masked") < losses[0][0]

    (tmp_path / "again").mkdir()
    shutil.copy(tmp_path / "shards/epoch_1.pth", tmp_path / "again")
    (tmp_path / "again/last_checkpoint").write_text(str(tmp_path / "again/epoch_1.pth"))
    train(sharded, tmp_path / "again", "--resume", "auto", *precision)
    assert [line["loss"] for line in logged(tmp_path / "again")] == pytest.approx(losses[0][2:])
    assert_same(load_file(tmp_path / "again/last.pth")["state_dict"], shards["state_dict"])


@pytest.mark.long
def test_a_killed_training_in_shards_ends_bit_equal(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both processes are killed in the middle of the second epoch, with stochastic depth.

    What is logged and saved after it is that of a training without interruption, bit for bit, and
    the samples of the rest of the epoch are read once.
    """
    config = Config.fromfile(write_config(tmp_path, data, monkeypatch))
    config.model.encoder.drop_path = 0.5
    config.default_hooks.checkpoint.update(by_epoch=False, interval=1)
    config.custom_imports = dict(imports=["tests.test_tools.troubles"])
    config.train_dataloader.dataset.update(type="NotedFolder", note=str(tmp_path / "read.txt"))
    config.dump(tmp_path / "uncut.py")
    kill = dict(type="SignalAt", iteration=4, name="SIGKILL")
    config.custom_hooks = [*config.custom_hooks, kill]
    config.dump(tmp_path / "killed.py")
    train(tmp_path / "uncut.py", tmp_path / "uncut")
    output = train(tmp_path / "killed.py", tmp_path / "run", ok=False)
    assert load_file(tmp_path / "run/last.pth")["meta"]["iter"] == 3, output[-3000:]
    (tmp_path / "read.txt").unlink()
    train(tmp_path / "uncut.py", tmp_path / "run", "--resume")
    rest = (tmp_path / "read.txt").read_text().splitlines()
    rest = [line for line in rest if line != "0 0"]  # which is looked at before training
    assert len(rest) == len(set(rest)) == 8 and all(line.startswith("1 ") for line in rest)
    mine, theirs = ([line["loss"] for line in logged(tmp_path / run)] for run in ("run", "uncut"))
    assert mine == theirs[3:] and len(mine) == 1
    ours, whole = (load_file(tmp_path / name / "last.pth") for name in ("run", "uncut"))
    assert ours["meta"]["iter"] == whole["meta"]["iter"] == 4
    states = [(one["state_dict"], one["optimizer"]["state"]) for one in (ours, whole)]
    torch.testing.assert_close(states[0], states[1], rtol=0, atol=0)
    assert ours["optimizer"]["param_groups"] == whole["optimizer"]["param_groups"]


@pytest.mark.long
def test_checkpoints_by_time_in_shards_wait_for_the_step_that_gradients_are_for(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the two passes of a step, with a checkpoint wanted after each of them."""
    config = Config.fromfile(write_config(tmp_path, data, monkeypatch))
    config.default_hooks.checkpoint.update(minutes=1e-9)
    config.custom_imports = dict(imports=["tests.test_tools.troubles"])
    config.train_dataloader.batch_size = 2  # four iterations per epoch, two steps
    config.optim_wrapper.accumulative_counts = 2
    config.dump(tmp_path / "uncut.py")
    config.custom_hooks = [*config.custom_hooks, dict(type="SignalAt", iteration=6, name="SIGKILL")]
    config.dump(tmp_path / "killed.py")
    train(tmp_path / "uncut.py", tmp_path / "uncut")
    train(tmp_path / "killed.py", tmp_path / "run", ok=False)
    found = {path.name for path in (tmp_path / "run").glob("[ei]*.pth")}
    assert found == {"iter_2.pth", "iter_4.pth", "epoch_1.pth"}
    train(tmp_path / "uncut.py", tmp_path / "run", "--resume")
    ours, whole = (load_file(tmp_path / name / "last.pth") for name in ("run", "uncut"))
    states = [(one["state_dict"], one["optimizer"]["state"]) for one in (ours, whole)]
    torch.testing.assert_close(states[0], states[1], rtol=0, atol=0)

    config.default_hooks.checkpoint.update(by_epoch=False, interval=3)
    config.dump(tmp_path / "between.py")
    output = train(tmp_path / "between.py", tmp_path / "between", ok=False)
    assert "error: " in output and "a checkpoint every 3 iterations" in output


def assert_same(state: dict[str, Any], expected: dict[str, Any]) -> None:
    assert state.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(state[key], value, rtol=1e-4, atol=1e-5, msg=key)


def runner(**changes: Any) -> Any:
    """As much of a runner as the check looks at."""
    config = dict(
        model=build_repre(target=None, balancer=None),
        optim_wrapper=dict(optimizer=dict(type="AdamW")),
        hooks=[],
        strategy=ShardedStrategy.__new__(ShardedStrategy),
    )
    return SimpleNamespace(**{**config, **changes})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (lambda: dict(model=build_repre(balancer=None)), "a momentum target"),
        (lambda: dict(model=build_repre(target=None)), "learned weights of losses"),
        (lambda: dict(optim_wrapper=dict(optimizer={}, clip_grad=dict(max_norm=3))), "clip_grad"),
        (lambda: dict(optim_wrapper=dict(optimizer=dict(type="LARS"))), "LARS"),
        (lambda: dict(hooks=[TaskPicturesHook()]), "TaskPicturesHook"),
    ],
)
def test_what_shards_would_get_wrong_is_refused(
    changes: Any, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(launch.UserError, match="start it with tools/dist_train.sh"):
        checks.check_sharding(runner())
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    checks.check_sharding(runner())
    checks.check_sharding(SimpleNamespace(strategy=None, **changes()))
    with pytest.raises(launch.UserError, match=f"does not work with .*{words}"):
        checks.check_sharding(runner(**changes()))


@pytest.mark.parametrize(
    ("hook", "words"),
    [
        (dict(interval=1), r"every 3 iterations \(default_hooks.checkpoint.interval\) .*the 2 of"),
        (dict(interval=4, by_epoch=False), ""),
        (dict(interval=2, save_best="loss"), r"every 3 iterations \(train_cfg.val_interval"),
        (dict(interval=2), ""),
    ],
)
def test_no_checkpoint_of_shards_falls_inside_a_step(
    hook: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two iterations per step and three per epoch, each of which is validated."""
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    loop: Any = EpochBasedTrainLoop.__new__(EpochBasedTrainLoop)
    loop.dataloader, loop.val_interval = range(3), 1
    wrapper = dict(optimizer=dict(type="AdamW"), accumulative_counts=2)
    made = runner(
        optim_wrapper=wrapper, hooks=[CheckpointHook(**hook)], train_loop=loop, val_loop=object()
    )
    if words:
        with pytest.raises(launch.UserError, match=words):
            checks.check_sharding(made)
    else:
        checks.check_sharding(made)


@pytest.mark.parametrize("name", [CONFIG, CONFIG.replace("vit-large", "vit-huge-p14")])
def test_the_configs_differ_by_their_strategy_only(name: str) -> None:
    sharded = read_config(str(ROOT / "configs" / name))
    plain = read_config(str(ROOT / "configs" / name.replace("_fsdp-", "_")))
    assert sharded.pop("runner_type") == "FlexibleRunner"
    assert sharded.pop("strategy") == dict(type="mmvitssl.ShardedStrategy")
    assert sharded.to_dict() == plain.to_dict()
