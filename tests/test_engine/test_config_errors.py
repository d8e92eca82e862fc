"""Mistakes in a config: found before the first step, and named by their place."""

from __future__ import annotations

import copy
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from mmvitssl.engine import training
from mmvitssl.engine.build_errors import fits
from mmvitssl.engine.config_files import RUNNER_KEYS
from mmvitssl.engine.errors import EXPLAINED, UserError, building
from tests.test_tools.programs import write_config

VIEW = "train_dataloader.dataset.pipeline.1.views.0.transforms.0"
KEYS = "optim_wrapper.paramwise_cfg.custom_keys"
# key, value (DELETE: taken out) and what the error says; a list of keys is a way through the config
DELETE = object()
MISTAKES: list[tuple[str, Any, str]] = [
    ("model.encoder.type", "Vi", r"model\.encoder: Vi is not in the .*: did you mean 'ViT'"),
    ("model.encoder.arch.embed_dim", -1, r"embed_dim=-1 must be .* from 1 on"),
    ("model.encoder.arch.num_heads", -1, r"ViT\.arch\.num_heads=-1 must be .* from 1 on"),
    ("model.encoder.patch_size", "x", r"model\.encoder\.patch_size='x' .* a whole number"),
    ("model.encoder.pach_size", 8, r"model\.encoder: ViT has no argument 'pach_size'.*patch_size"),
    ("model.tasks.reconstruction.neck.patch_size", True, r"neck\.patch_size=True .* whole number"),
    ("model.target.momentum", 1.5, r"MomentumTarget\.momentum=1\.5 must lie in \[0, 1\]"),
    ("model.tasks.contrastive.head", DELETE, r"model\.tasks\.contrastive: .* needs 'head'"),
    ("model.tasks.contrastive.head.type", DELETE, r"contrastive\.head: a config without a type"),
    (f"{VIEW}.size", 1.5, r"pipeline\.1\.views\.0\.transforms\.0\.size=1\.5"),
    (f"{VIEW}.type", "RandomResizeCrop", "did you mean 'RandomResizedCrop'"),
    ("train_dataloader.num_workers", -1, r"num_workers=-1 must be a whole number from 0 on"),
    ("train_dataloader.batchsize", 4, r"train_dataloader sets 'batchsize'.*'batch_size'"),
    ("train_dataloader.collate_fn", DELETE, r"collate_fn makes no batch of views"),
    ("optim_wrapper.optimizer.lr", "1e-3", r"optimizer\.lr='1e-3' must be a number from 0 on"),
    ("optim_wrapper.paramwise_cgf", {}, r"optim_wrapper sets 'paramwise_cgf'.*'paramwise_cfg'"),
    ("default_hooks.checkpoint.intervall", 2, r"checkpoint sets 'intervall'.*'interval'"),
    ("default_hooks.checkpoint.max_keep_ckpts", None, r"max_keep_ckpts=None .* a whole number"),
    ("default_hooks.checkpoint.interval", 0, r"checkpoint\.interval=0 must be .* from 1 on"),
    ("default_hooks.checkpoint.save_best", "auto", r"save_best='auto' needs a validation"),
    ("default_hooks.chekpoint", {}, r"default_hooks\.chekpoint .*did you mean 'checkpoint'"),
    ("default_hooks.timer.type", "IterTimrHook", r"timer: IterTimrHook is not .*'IterTimerHook'"),
    ("env_cfg.dist_cgf", {}, r"env_cfg sets 'dist_cgf'.*'dist_cfg'"),
    ("log_processor.window_size", 0, r"log_processor\.window_size=0 must be .* from 1 on"),
    ("model.balancer.initial", float("nan"), r"model\.balancer\.initial is NaN"),
    ("train_cfg", None, "has no train_cfg"),
    ("train_cfg.max_epochs", "3", r"train_cfg\.max_epochs='3' must be a whole number from 1 on"),
    ("train_cfg.val_interval", 0, r"train_cfg\.val_interval=0 must be .* from 1 on"),
    ("auto_scale_lr.base_batch_size", 0, r"base_batch_size=0 must be a whole number from 1 on"),
    ("auto_scale_lr.base_batchsize", 64, r"auto_scale_lr sets 'base_batchsize'.*base_batch_size"),
    ("resume", "x", r"resume='x' must be True or False"),
    ("param_scheduler.0.by_epoch", "yes", r"param_scheduler\.0\.by_epoch='yes' must be True or"),
    ("param_scheduler.0.begin", -1, r"param_scheduler\.0\.begin=-1 must be .* from 0 on"),
    ("optim_wrapper.optimizer.type", "AdamWW", r"AdamWW is no optimizer: did you mean 'AdamW'"),
    ("optim_wrapper.optimizer.lr", float("inf"), r"optimizer\.lr=inf must be a number"),
    ("optim_wrapper.clip_grad", dict(max_nrm=1.0), r"clip_grad sets 'max_nrm'.*'max_norm'"),
    ("optim_wrapper.clip_grad", dict(max_norm=-1.0), r"max_norm=-1\.0 must be a number above 0"),
    ("optim_wrapper.accumulative_counts", "2", r"accumulative_counts='2' must be a whole number"),
    ("optim_wrapper.paramwise_cfg.custom_keys.balancer.lr_mul", 2, "sets 'lr_mul'.*'lr_mult'"),
    (f"{KEYS}.balancr", {}, r"custom_keys names 'balancr', and nothing is so named .*are balancer"),
    (f"{KEYS}.balancer", 5.0, r"custom_keys\.balancer=5\.0 must be a dict of lr_mult and decay"),
    ("custom_hooks.1", dict(type="FreezeHook", names=["prototype"]),
     r"custom_hooks\.1\.names names 'prototype', and nothing is so named in this Pretrainer"),
    ("model.encoder.layer_scale", -0.1, r"ViT\.layer_scale=-0\.1 must be above 0"),
    ("model.encoder.arch.num_heads", 5, r"num_heads=5 must divide embed_dim=32"),
    ("model.tasks.contrastive.head.scale", -0.4, r"head: InfoNCE\.scale=-0\.4 must be above 0"),
    ("default_hooks.checkpoint.rule", "most", r"checkpoint\.rule='most' must be 'greater' or"),
    ("default_hooks.checkpoint.out_dir", 5, r"checkpoint\.out_dir=5 must be a folder's name"),
    ("default_hooks.checkpoint.filename_tmpl", "x.pth", r"filename_tmpl='x.pth' must be a name"),
    ("train_dataloader.sampler.seed", -3, r"EpochSampler\.seed=-3 must not be negative"),
    ("train_dataloader.dataset.max_broken", -1, r"ImageFolder needs max_broken and check from 0"),
    ("model.tasks.reconstruction.neck.width", 0, r"neck\.width=0 .* from 1 on"),
    ("model.seed", -1, r"Pretrainer\.seed=-1 must not be negative"),
    ("model.encoder.drop_path", 2.0, r"drop_path=2\.0 must lie in \[0, 1\)"),
    ("model.target.drop_path", -0.1, r"drop_path=-0\.1 must lie in \[0, 1\)"),
]  # fmt: skip


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A pretraining of two steps."""
    folder = tmp_path_factory.mktemp("data")
    draw = np.random.default_rng(0)
    for number in range(8):
        pixels = draw.integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    whole = Config.fromfile(write_config(folder, folder, epochs=1)).to_dict()
    return {key: value for key, value in whole.items() if key in RUNNER_KEYS}


def run(config: dict[str, Any], folder: Path) -> str:
    """'explained' or 'trained'; an error after the first step, or of another kind, is raised."""
    path = folder / "config.py"
    lines = [f"{key} = {value!r}" for key, value in config.items()]
    # MMEngine keeps one logger for each name in a process
    path.write_text("\n".join([*lines, f"experiment_name = 'config_{folder.name}'\n"]))
    args = training.parser("").parse_args([str(path), "--work-dir", str(folder / "work")])
    try:
        with building():
            runner = training.prepare(args)
    except EXPLAINED as error:
        assert str(error).strip()
        return "explained"
    runner.train()
    return "trained"


def set_in(config: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    changed: Any = copy.deepcopy(config)
    *way, last = key.split(".")
    node = changed
    for step in way:
        node = node[int(step)] if isinstance(node, (list, tuple)) else node.setdefault(step, {})
    if value is DELETE:
        del node[last]
    else:
        node[int(last) if isinstance(node, list) else last] = value
    return changed


@pytest.mark.parametrize(
    ("key", "value", "words"),
    MISTAKES,
    ids=[f"{key}={'removed' if value is DELETE else value}" for key, value, _ in MISTAKES],
)
def test_a_mistake_is_named_by_its_place(
    config: dict[str, Any], tmp_path: Path, key: str, value: Any, words: str
) -> None:
    changed = set_in(config, key, value)
    path = tmp_path / "config.py"
    text = "\n".join(f"{name} = {part!r}" for name, part in changed.items())
    path.write_text(re.sub(r": (nan|inf)", r": float('\1')", text))
    args = training.parser("").parse_args([str(path), "--work-dir", str(tmp_path / "work")])
    with pytest.raises(UserError, match=words), building():
        training.prepare(args)
    assert not list((tmp_path / "work").glob("*.pth"))


def places(node: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in items:
        if isinstance(key, str):
            yield (*at, key)
        if isinstance(value, (dict, list, tuple)):
            yield from places(value, (*at, key))


def mutated(config: dict[str, Any], draw: random.Random) -> dict[str, Any]:
    """A key misspelt or taken out, a name cut short, or a value of another kind."""
    changed: Any = copy.deepcopy(config)
    *way, key = draw.choice(list(places(changed)))
    node = changed
    for step in way:
        node = node[step]
    kind = draw.choice(("misspelt", "out", "value", "value", "name"))
    if kind == "misspelt":
        at = draw.randrange(len(key))
        node[key[:at] + key[at] + key[at:]] = node.pop(key)
    elif kind == "out":
        del node[key]
    elif kind == "name" and isinstance(node[key], str):
        node[key] = node[key][:-1]
    else:
        node[key] = draw.choice([-1, 0, 0.5, "x", None, [], {}, True])
    return changed


@pytest.mark.slow
@pytest.mark.parametrize(
    "seeds",
    [range(12), pytest.param(range(12, 324), marks=pytest.mark.long)],
    ids=("short", "long"),
)
def test_a_config_with_any_change_trains_or_is_explained(
    config: dict[str, Any], tmp_path: Path, seeds: range
) -> None:
    outcomes = []
    for seed in seeds:
        folder = tmp_path / str(seed)
        folder.mkdir()
        try:
            outcomes.append(run(mutated(config, random.Random(seed)), folder))
        except Exception as error:
            raise AssertionError(f"seed {seed}") from error
    assert {"explained", "trained"} == set(outcomes)


def test_kinds_of_values() -> None:
    assert fits(1, float) and not fits(True, float) and not fits(float("nan"), float)
    assert fits(None, int | None) and not fits("x", int | None) and fits((1, 2), int | tuple)
    assert fits([1.0, 2], list[float]) and not fits(["a"], list[float]) and fits(object(), Any)
