"""Checkpoint files: checksums, damage, what stays; loops that begin within an epoch."""

from __future__ import annotations

import os
import random
import resource
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import InfiniteSampler
from mmengine.evaluator import BaseMetric
from torch.utils.data import DataLoader

import mmvitssl.engine  # noqa: F401  (registers hooks and loops)
from mmvitssl.checkpoint import CheckpointError, load_file, sums
from mmvitssl.checkpoint.durable import (
    SaveError,
    checkpoints_in,
    newest_good,
    point_to_last,
    save,
)
from mmvitssl.checkpoint.own import write_own
from mmvitssl.datasets.sampler import EpochSampler, SampleKey
from mmvitssl.engine import stopping
from mmvitssl.engine.errors import UserError
from mmvitssl.engine.folder_lock import lock_folder
from mmvitssl.engine.guards import set_guards
from mmvitssl.engine.hooks import FiniteCheckpointHook
from mmvitssl.engine.loops import ExactEpochLoop, _SkippingIterator, skipping
from mmvitssl.engine.watchdog import Limits
from mmvitssl.models.tokenizers import DiscreteVAE
from mmvitssl.models.tokenizers.file import load_tokenizer, save_tokenizer
from tests.test_engine.test_non_finite import Data, train


def content(iteration: int) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(iteration)
    return {
        "meta": {"iter": iteration, "epoch": 1},
        "state_dict": {
            "weight": torch.randn(30, 20, generator=generator),
            "half": torch.randn(7, generator=generator).bfloat16(),
            "empty": torch.zeros(0, 3),
            "count": torch.tensor(iteration),
        },
        "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"lr": 0.1}]},
    }


def test_no_flipped_bit_or_cut_is_read_as_something_else(tmp_path: Path) -> None:
    path = tmp_path / "iter_1.pth"
    save(content(1), path)
    whole, expected = path.read_bytes(), load_file(path)
    assert "checksums" not in expected["meta"]
    rng = random.Random(0)
    refused = 0
    for number in range(400):
        damaged = bytearray(whole)
        if number % 6 == 0:
            del damaged[rng.randrange(len(whole)) :]
        else:
            damaged[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        try:
            got = load_file(path)
        except CheckpointError as error:
            refused += 1
            assert str(path) in str(error)
            continue
        assert got["meta"] == expected["meta"]  # padding between the records
        for part in ("state_dict", "optimizer"):
            torch.testing.assert_close(got[part], expected[part], rtol=0, atol=0)
    assert refused > 200


@pytest.mark.parametrize("change", ["value", "name", "missing", "added", "shape", "type"])
def test_a_file_whose_tensors_were_changed_is_refused(tmp_path: Path, change: str) -> None:
    path = tmp_path / "iter_1.pth"
    save(content(1), path)
    changed = torch.load(path, weights_only=True)
    state = changed["state_dict"]
    if change == "value":
        state["half"][3] += 1
    elif change == "name":
        state["weights"] = state.pop("weight")
    elif change == "missing":
        del state["half"]
    elif change == "added":
        state["more"] = torch.zeros(1)
    elif change == "shape":
        state["weight"] = state["weight"].reshape(20, 30)
    else:
        state["count"] = state["count"].int()
    torch.save(changed, path)
    with pytest.raises(CheckpointError, match="the checksums of .* differ"):
        load_file(path)


def test_files_of_a_later_version_are_refused_and_no_older_one_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(content(1), tmp_path / "iter_1.pth")
    with monkeypatch.context() as later:
        later.setattr(sums, "FORMAT", 2)
        save(content(2), tmp_path / "iter_2.pth")
        write_own(content(2)["state_dict"], tmp_path / "x.safetensors", None)
        tokenizer = DiscreteVAE(vocabulary=8, hidden=8, codes=4, blocks=1)
        save_tokenizer(tokenizer, tmp_path / "t.safetensors")
    words = "newer mmvitssl: its format is 2, and this version reads formats up to 1"
    for read, name in (
        (load_file, "iter_2.pth"), (load_file, "x.safetensors"), (load_tokenizer, "t.safetensors"),
    ):  # fmt: skip
        with pytest.raises(CheckpointError, match=words):
            read(tmp_path / name)
    point_to_last(tmp_path, tmp_path / "iter_2.pth")
    for _ in range(2):  # also where nothing points to it
        with pytest.raises(CheckpointError, match=words):
            newest_good(tmp_path)
        (tmp_path / "last_checkpoint").unlink(missing_ok=True)


def test_a_part_may_be_left_out(tmp_path: Path) -> None:
    path = tmp_path / "iter_1.pth"
    save(content(1), path)
    smaller = torch.load(path, weights_only=True)
    del smaller["optimizer"]
    torch.save(smaller, path)
    assert set(load_file(path)) == {"meta", "state_dict"}


def test_the_newest_good_one_is_found_wherever_the_folder_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    assert newest_good(folder) is None
    for name, iteration in (("epoch_2", 20), ("epoch_10", 100), ("iter_105", 105)):
        save(content(iteration), folder / f"{name}.pth")
    save(content(300), folder / "best_score_epoch_30.pth")
    assert newest_good(folder) == str(folder / "iter_105.pth")  # by what is in it
    for damaged in (b"", b"iter_", b"\xff\x00.pth", b"a" * 5000, b".", b"iter_105.pth\0"):
        (folder / "last_checkpoint").write_bytes(damaged)
        assert newest_good(folder) == str(folder / "iter_105.pth")
    point_to_last(folder, folder / "epoch_2.pth")
    moved = folder.rename(tmp_path / "moved")
    assert newest_good(moved) == str(moved / "epoch_2.pth")
    assert load_file(moved / "last.pth")["meta"]["iter"] == 20
    (moved / "last_checkpoint").write_text("/of/another/machine/epoch_10.pth")  # MMEngine's way
    assert newest_good(moved) == str(moved / "epoch_10.pth")
    raw = bytearray((moved / "epoch_10.pth").read_bytes())
    raw[len(raw) // 2] ^= 1
    (moved / "epoch_10.pth").write_bytes(raw)
    (moved / "iter_105.pth").write_bytes(raw[:200])
    assert newest_good(moved) == str(moved / "epoch_2.pth")
    said = capsys.readouterr().err
    assert "epoch_10.pth is" in said and "iter_105.pth is" in said and "Going on from" in said
    assert [path.stem for path in checkpoints_in(moved)] == ["epoch_2", "epoch_10", "iter_105"]


def test_a_write_that_fails_leaves_the_file_that_was_there(tmp_path: Path) -> None:
    path = tmp_path / "iter_1.pth"
    save(content(1), path)
    before, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(SaveError, match="disk is full.*older ones are as they were"):
            save(content(2), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["iter_1.pth"]


def test_checkpoints_by_time_in_an_epoch_and_what_stays(tmp_path: Path) -> None:
    for keep, expected in ((1, {"iter_8.pth"}), (-1, {"iter_7.pth", "iter_8.pth"})):
        folder = tmp_path / str(keep)
        checkpoint = dict(
            type="mmvitssl.FiniteCheckpointHook", interval=-1, save_last=False, minutes=1e-9,
            max_keep_ckpts=keep,
        )  # fmt: skip
        train(
            folder,
            loop=dict(type="mmvitssl.ExactEpochLoop", max_epochs=1),
            checkpoint=checkpoint,
        )
        # the last iteration leaves it to the end of the epoch
        names = {path.name for path in folder.glob("iter_*.pth")}
        assert names == {f"iter_{int(n[5]) - 1}.pth" for n in expected}
        assert load_file(folder / "last.pth")["meta"]["position"]["batches"] == 7


class SignalInValidation(BaseMetric):
    """A signal comes with the first batch."""

    def process(self, data_batch: Any, data_samples: Any) -> None:
        stopping._received.append("SIGUSR1")

    def compute_metrics(self, results: Any) -> dict[str, float]:
        return {}


@pytest.mark.parametrize(("interval", "averaged"), [(1, False), (-1, False), (-1, True)])
def test_a_signal_in_validation_saves_what_was_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interval: int, averaged: bool
) -> None:
    monkeypatch.setattr(stopping, "_received", [])
    checkpoint = dict(
        type="mmvitssl.FiniteCheckpointHook", interval=interval, save_last=False, minutes=0
    )
    with pytest.raises(stopping.Preempted, match="SIGUSR1 after iteration 8; saved"):
        train(
            tmp_path, loop=dict(type="mmvitssl.ExactEpochLoop", max_epochs=3),
            checkpoint=checkpoint, val_dataloader=DataLoader(Data(()), batch_size=2),
            val_cfg=dict(), val_evaluator=[SignalInValidation()],
            custom_hooks=[dict(type="EMAHook", momentum=0.5)] if averaged else [],
        )  # fmt: skip
    name = "epoch_1.pth" if interval == 1 else "iter_8.pth"
    assert [path.name for path in tmp_path.glob("[!l]*.pth")] == [name]
    meta = load_file(tmp_path / "last.pth")["meta"]
    assert (meta["epoch"], meta["iter"], meta["position"]["batches"]) == (1, 8, 0)
    if averaged:  # the weights that are trained are saved as such, not the averaged ones
        stopping._received.clear()
        whole = train(tmp_path / "whole", loop=dict(type="mmvitssl.ExactEpochLoop", max_epochs=1))
        saved = load_file(tmp_path / "last.pth")["ema_state_dict"]
        trained = {f"module.{key}": value for key, value in whole.model.state_dict().items()}
        torch.testing.assert_close({key: saved[key] for key in trained}, trained)


def test_a_work_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for folder in (tmp_path / "file", tmp_path / "file/run", Path("/proc/run")):
        with pytest.raises(UserError, match=f"{folder} cannot be written to .*--work-dir"):
            lock_folder(folder)


@pytest.mark.parametrize("number", stopping.SIGNALS)
def test_a_signal_before_the_first_iteration_asks_for_a_requeue(number: int) -> None:
    child = os.fork()
    if not child:
        with stopping.nothing_to_save():
            os.kill(os.getpid(), number)
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == stopping.PREEMPTED


def test_older_ones_go_after_the_newer_one_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mmvitssl.checkpoint import durable

    written = durable.save
    seen: list[list[str]] = []

    def look(what: dict[str, Any], path: Any) -> None:
        seen.append(sorted(p.name for p in tmp_path.glob("iter_*.pth")))
        written(what, path)

    monkeypatch.setattr(durable, "save", look)
    train(tmp_path)  # interval 2, max_keep_ckpts 1
    assert seen == [[], ["iter_2.pth"], ["iter_4.pth"], ["iter_6.pth"]]
    assert [path.name for path in tmp_path.glob("iter_*.pth")] == ["iter_8.pth"]


class Numbers:
    """Ten samples; what is read is noted."""

    def __init__(self) -> None:
        self.read: list[Any] = []

    def __len__(self) -> int:
        return 10

    def __getitem__(self, key: Any) -> int:
        self.read.append(key)
        return key.index if isinstance(key, SampleKey) else key


@pytest.mark.parametrize("kind", ["endless", "epochs", "mmengine"])
@pytest.mark.parametrize("done", [0, 2, 5, 12])
def test_iterations_go_on_without_reading_what_was_done(
    kind: str, done: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # MMEngine's between epochs

    def iterator() -> tuple[Any, Numbers]:
        data: Any = Numbers()
        sampler: Any = InfiniteSampler(data, seed=0)
        if kind != "mmengine":
            sampler = EpochSampler(data, seed=0, infinite=kind == "endless")
        loader = DataLoader(data, batch_size=4, sampler=sampler, drop_last=True)
        return _SkippingIterator(SimpleNamespace(hooks=[], seed=0), loader), data

    whole, rest = iterator()[0], iterator()
    expected = [next(whole).tolist() for _ in range(done + 4)][done:]
    rest[0].skip_iter(done)
    assert [next(rest[0]).tolist() for _ in range(4)] == expected
    assert len(rest[1].read) == 16


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_begins_after_some_batches(workers: int) -> None:
    data: Any = Numbers()
    loader = DataLoader(data, batch_size=3, num_workers=workers, shuffle=False)
    skipping(loader, 0).skip = 2
    assert [batch.tolist() for batch in loader] == [[6, 7, 8], [9]]
    assert next(iter(loader)).tolist() == [0, 1, 2]  # the next epoch is whole
    assert len(loader) == 4 and loader.batch_sampler.batch_size == 3


def test_a_changed_batch_keeps_the_images_that_were_seen() -> None:
    loop = object.__new__(ExactEpochLoop)
    loop.dataloader = DataLoader(Numbers(), batch_size=2)  # type: ignore[arg-type]
    loop.start_at(batches=2, batch_size=3)
    assert loop.first_batch == 3
    loop.start_at(batches=9, batch_size=2)
    assert loop.first_batch == 5  # the epoch is over, and its end is still to come


def test_every_training_gets_the_loops_and_the_watchdog() -> None:
    config = Config(dict(train_cfg=dict(by_epoch=False, max_iters=3)))
    set_guards(config)
    assert config.train_cfg == dict(type="mmvitssl.ExactIterLoop", max_iters=3)
    assert config.default_hooks.watchdog.type == "mmvitssl.WatchdogHook"
    hooks = dict(watchdog=dict(type="WatchdogHook", least=9))
    loop = dict(type="EpochBasedTrainLoop", max_epochs=3)
    config = Config(dict(train_cfg=loop, default_hooks=hooks))
    set_guards(config)
    assert config.train_cfg.type == "mmvitssl.ExactEpochLoop"
    assert config.default_hooks.watchdog == dict(type="WatchdogHook", least=9)
    with pytest.raises(ValueError, match="least=0 must be positive"):
        Limits(least=0)
    with pytest.raises(ValueError, match="minutes=-1"):
        FiniteCheckpointHook(minutes=-1)
