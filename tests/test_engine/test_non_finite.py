"""NaN and infinity: steps are skipped, trainings stop, checkpoints stay good."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.runner import Runner
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.multiprocessing import start_processes
from torch.utils.data import DataLoader

import mmvitssl.engine  # noqa: F401  (registers hooks and wrappers)
from mmvitssl.checkpoint import CheckpointError, load_file
from mmvitssl.engine.dump import own_model, plain, replay
from mmvitssl.engine.errors import UserError
from mmvitssl.engine.guards import set_guards
from mmvitssl.engine.hooks import FiniteCheckpointHook, NonFiniteError, NonFiniteHook
from mmvitssl.engine.optim import LARS, AutocastOptimWrapper
from mmvitssl.engine.optim.guard import StepGuard
from mmvitssl.engine.wrappers import CPUDistributedDataParallel
from mmvitssl.registry import OPTIM_WRAPPERS
from tests.test_models.test_distributed import free_port

WRAPPERS = ["mmvitssl.AutocastOptimWrapper", "OptimWrapper", "mmvitssl.ScaledOnCPU"]


@OPTIM_WRAPPERS.register_module()
class ScaledOnCPU(AmpOptimWrapper):
    """MMEngine's wrapper with a gradient scaler, which it refuses without a GPU; no autocast."""

    def __init__(self, scale: float = 2.0**10, stays: bool = False, **settings: Any) -> None:
        OptimWrapper.__init__(self, **settings)
        self.loss_scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        self._scale_update_param = scale if stays else None
        self.cast_dtype = None

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        with OptimWrapper.optim_context(self, model):
            yield


class Line(BaseModel):
    """A batch norm and two linear layers; a sample of NaN makes the loss NaN."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.norm = nn.BatchNorm1d(3)
        self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 1)

    def forward(
        self, inputs: Tensor, samples: Any = None, mode: str = "loss"
    ) -> dict[str, Tensor] | list[dict[str, float]]:
        out = self.second(self.first(self.norm(inputs)))
        if mode == "predict":
            return [{"value": float(out.mean())}]
        return {"loss_a": out.square().mean(), "loss_b": out.abs().mean(), "share": out.mean()}


class Data:
    """Samples, some of which are NaN, with file names."""

    def __init__(self, bad: tuple[int, ...], size: int = 16) -> None:
        generator = torch.Generator().manual_seed(1)
        self.values = torch.randn(size, 3, generator=generator)
        self.values[list(bad)] = math.nan
        self.paths = [f"photo-{i}.png" for i in range(size)]

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"inputs": self.values[index], "samples": {"index": index}}


def train(
    folder: Path, bad: tuple[int, ...] = (), wrapper: str = WRAPPERS[0], model: Any = None,
    hook: dict[str, Any] | None = None, **settings: Any,
) -> Runner:  # fmt: skip
    """Eight iterations of two samples each."""
    precision = dict(precision="fp32") if wrapper == WRAPPERS[0] else {}
    runner = Runner(
        model or Line(),
        str(folder),
        train_dataloader=DataLoader(Data(bad), batch_size=2),
        train_cfg=settings.pop("loop", dict(by_epoch=False, max_iters=8)),
        optim_wrapper=dict(
            type=wrapper, **precision, optimizer=dict(type="AdamW", lr=0.01),
            **settings.pop("wrapper_settings", {}),
        ),
        default_hooks=dict(
            logger=dict(type="LoggerHook", interval=4),
            checkpoint=settings.pop("checkpoint", None)
            or dict(type="mmvitssl.FiniteCheckpointHook", by_epoch=False, interval=2,
                    max_keep_ckpts=1),
            finite=dict(type="mmvitssl.NonFiniteHook", **(hook or {})),
            runtime_info=dict(type="mmvitssl.DeferredLogsHook"),
        ),
        log_processor=dict(by_epoch=False),
        experiment_name=f"{folder.name}-{id(settings)}",
        log_level="WARNING",
        **settings,
    )  # fmt: skip
    runner.train()
    return runner


@pytest.fixture
def warned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Warnings of MMEngine's logger, which hands nothing on."""
    said: list[str] = []
    monkeypatch.setattr(logging.Logger, "warning", lambda self, text, *_, **__: said.append(text))
    return said


def weights(path: Path) -> dict[str, Tensor]:
    return torch.load(path, weights_only=False)["state_dict"]


def test_the_norm_of_gradients_is_logged_without_clipping_too(tmp_path: Path) -> None:
    norms = []
    for name, clip in (("free", None), ("clipped", dict(max_norm=1e9))):
        train(tmp_path / name, wrapper_settings=dict(clip_grad=clip))
        (log,) = (tmp_path / name).glob("*/vis_data/scalars.json")
        norms.append([json.loads(line)["grad_norm"] for line in log.read_text().splitlines()])
    assert len(norms[0]) == 2 and norms[0] == pytest.approx(norms[1])


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("clip", [None, dict(max_norm=0.5)])
def test_a_bad_step_changes_nothing(
    wrapper: str, clip: Any, tmp_path: Path, warned: list[str]
) -> None:
    """Sample 5 is NaN: step 3 is as if it had not been, for weights, Adam's states and buffers."""
    settings = dict(wrapper=wrapper, wrapper_settings=dict(clip_grad=clip))
    runner = train(tmp_path / "bad", bad=(5,), **settings)
    model: Any = runner.model
    expected = Line()
    optimizer = torch.optim.AdamW(expected.parameters(), lr=0.01)
    for step in (0, 1, 3, 4, 5, 6, 7):
        losses: Any = expected(Data(()).values[2 * step : 2 * step + 2])
        optimizer.zero_grad()
        (losses["loss_a"] + losses["loss_b"]).backward()
        if clip:
            nn.utils.clip_grad_norm_(expected.parameters(), 0.5)
        optimizer.step()
    for name, value in expected.state_dict().items():
        if "num_batches" not in name:
            assert torch.equal(model.state_dict()[name], value), name
    (warning,) = [text for text in warned if "skipped" in text]
    assert "Step 3 was skipped" in warning and "photo-4.png, photo-5.png" in warning
    assert "loss_a = nan, loss_b = nan" in warning


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_training_that_stays_bad_ends_with_a_report(wrapper: str, tmp_path: Path) -> None:
    with pytest.raises(NonFiniteError) as caught:
        train(tmp_path, bad=(6, 8, 10), wrapper=wrapper)
    text = str(caught.value)
    for part in (
        "stopped at step 6", "3 steps in a row", "loss_a = nan", "photo-10.png", "photo-11.png",
        "First parameter with a non-finite gradient: ", "module with a non-finite output: norm",
    ):  # fmt: skip
        assert part in text
    # what was written last is the state of step 4, and it is good
    (kept,) = tmp_path.glob("iter_*.pth")
    assert kept.name == "iter_4.pth"
    assert all(value.isfinite().all() for value in weights(kept).values())


class Half(Line):
    """Its losses are finite, and one gradient is not."""

    def forward(self, inputs: Tensor, samples: Any = None, mode: str = "loss") -> Any:
        out = self.second(self.first(self.norm(inputs)).detach())
        broken = (self.first.weight.sum() * 0).sqrt()  # value 0, gradient 0 * inf
        return {"loss_a": out.square().mean() + broken}


@pytest.mark.parametrize("clip", [None, dict(max_norm=1.0)])
@pytest.mark.parametrize(
    ("wrapper", "step"),
    [(WRAPPERS[0], 3), (dict(scale=4.0), 5), (dict(scale=4.0, stays=True), 3)],
)
def test_the_first_of_the_parameters_is_named(
    wrapper: Any, step: int, clip: Any, tmp_path: Path
) -> None:
    """Clipping would spread NaN to all of them; they are looked at before.

    A gradient scaler takes NaN for an overflow, and halves its scale; from 1 on it is none.
    """
    message = rf"stopped at step {step}: .*The losses are finite\. First .*first.weight \(1 of 3\)"
    scaled = wrapper if isinstance(wrapper, dict) else {}
    with pytest.raises(NonFiniteError, match=message):
        train(
            tmp_path, model=Half(), wrapper=WRAPPERS[2] if scaled else wrapper,
            wrapper_settings=dict(clip_grad=clip, **scaled),
        )  # fmt: skip
    dump = load_file(next(tmp_path.glob("*.dump")))["meta"]
    assert (dump["precision"], dump["scale"]) == (
        ("fp32", 1.0) if not scaled else ("fp16", 4.0 if scaled.get("stays") else 0.125)
    )


def test_steps_that_a_scaler_skips_because_of_its_scale_are_not_counted(
    tmp_path: Path, warned: list[str]
) -> None:
    """The scale is found within the training, as it would be in the first steps of one."""

    class Loud(Line):
        def forward(self, inputs: Tensor, samples: Any = None, mode: str = "loss") -> Any:
            return {name: 16 * value for name, value in super().forward(inputs).items()}

    settings = dict(wrapper_settings=dict(scale=2.0**127), model=Loud())
    runner = train(tmp_path, wrapper=WRAPPERS[2], hook=dict(in_a_row=1, share=0.0), **settings)
    scaler: Any = runner.optim_wrapper.loss_scaler
    assert 2.0**119 < scaler.get_scale() < 2.0**127
    assert not [text for text in warned if "skipped" in text]
    model: Any = runner.model
    assert not torch.equal(model.first.weight, Line().first.weight)
    assert "step" not in vars(scaler)  # the scaler is as it was


def test_more_than_a_share_of_bad_steps_ends_the_training(tmp_path: Path) -> None:
    with pytest.raises(NonFiniteError, match="not finite in 3 of 5 steps"):
        train(tmp_path / "a", bad=(0, 4, 8), hook=dict(in_a_row=2, share=0.0))
    train(tmp_path / "b", bad=(0, 4, 8), hook=dict(in_a_row=2, share=0.5))


def test_a_training_does_not_end_in_a_bad_step(tmp_path: Path) -> None:
    with pytest.raises(NonFiniteError, match="step 8: losses .* in the last step"):
        train(tmp_path, bad=(15,))


def test_accumulated_gradients_are_dropped_together(tmp_path: Path) -> None:
    settings = dict(wrapper_settings=dict(accumulative_counts=2))
    model: Any = train(tmp_path, bad=(0,), hook=dict(share=0.5), **settings).model
    assert all(value.isfinite().all() for value in model.state_dict().values())
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_weights_are_looked_at_before_the_first_step_and_before_each_file(tmp_path: Path) -> None:
    broken = Line()
    broken.first.bias.data[1] = math.inf
    with pytest.raises(NonFiniteError, match="Before the first step, 1 weights .* first.bias"):
        train(tmp_path / "a", model=broken)

    class Decays(Line):
        """A weight that becomes NaN behind the guard's back."""

        def train_step(self, *args: Any, **kwargs: Any) -> Any:
            out = super().train_step(*args, **kwargs)
            self.steps = getattr(self, "steps", 0) + 1
            if self.steps == 6:
                self.second.bias.data[:] = math.nan
            return out

    with pytest.raises(NonFiniteError, match=r"At step 6, before .* second.bias"):
        train(tmp_path / "b", model=Decays())
    (kept,) = (tmp_path / "b").glob("iter_*.pth")
    assert kept.name == "iter_4.pth"  # neither overwritten nor removed
    assert all(value.isfinite().all() for value in weights(kept).values())


def test_the_best_checkpoint_is_never_one_of_nan(tmp_path: Path, warned: list[str]) -> None:
    hook = FiniteCheckpointHook(save_best="score", rule="greater", by_epoch=False)
    model = Line()
    runner = Runner(model, str(tmp_path), log_level="WARNING", experiment_name="best")
    runner.optim_wrapper = AutocastOptimWrapper(
        precision="fp32", optimizer=torch.optim.SGD(model.parameters(), lr=0.1)
    )
    runner._hooks = [hook]
    hook.before_train(runner)
    runner.message_hub.update_info("best_score", 0.5)
    for value in (math.nan, math.inf, -math.inf, 0.4):
        hook._save_best_checkpoint(runner, {"score": value, "other": 1.0})
        assert runner.message_hub.get_info("best_score") == 0.5
    assert sum("best checkpoint stays" in text for text in warned) == 3
    assert not list(tmp_path.glob("best*"))


def test_the_flags_wait_for_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []
    original = NonFiniteHook.read

    def read(self: NonFiniteHook, runner: Runner, data_batch: Any = None) -> None:
        reads.append((runner.iter + 1, len(self._held)))
        original(self, runner, data_batch)

    monkeypatch.setattr(NonFiniteHook, "read", read)
    start = NonFiniteHook.before_train

    def as_on_a_gpu(self: NonFiniteHook, runner: Runner) -> None:
        start(self, runner)
        self._interval = 4

    monkeypatch.setattr(NonFiniteHook, "before_train", as_on_a_gpu)
    train(tmp_path, bad=(5,))
    assert [read for read in reads if read[1]] == [(2, 2), (4, 2), (6, 2), (8, 2)]  # checkpoints


def test_deciding_does_not_wait_for_the_device() -> None:
    """On tensors of a GPU without numbers, asking for one raises."""
    with FakeTensorMode():
        with torch.device("cuda"):
            model = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2))
        optimizer = torch.optim.AdamW(model.parameters())
        optimizer.param_groups[0]["fused"] = True
        wrapper = AutocastOptimWrapper(precision="fp32", optimizer=optimizer)
        guard = StepGuard(model, wrapper)
        guard._save(model, (), dict(mode="loss"))
        loss = model(torch.ones(4, 3, device="cuda")).mean()
        guard._keep_losses(model, (), dict(mode="loss"), {"loss": loss})
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        guard.look(optimizer)
        losses, decision = guard.take()
        assert losses is not None and decision is not None and decision.bad.device.type == "cuda"
        guard.restore(decision.bad)
        assert hasattr(optimizer, "found_inf")
        guard.remove()


OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "AdamW": partial(torch.optim.AdamW, lr=0.1, weight_decay=0.1),
    "AdamW fused": partial(torch.optim.AdamW, lr=0.1, weight_decay=0.1, fused=True),
    "SGD": partial(torch.optim.SGD, lr=0.1, momentum=0.9, weight_decay=0.1),
    "SGD fused": partial(torch.optim.SGD, lr=0.1, momentum=0.9, weight_decay=0.1, fused=True),
    "LARS": partial(LARS, lr=0.1, weight_decay=0.1),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_skipped_step_changes_no_weight_and_no_state(name: str) -> None:
    """Momentum and weight decay do not act either, with optimizers of both kinds."""
    ends = []
    for values in ([1.0, math.nan, 2.0], [1.0, 2.0]):
        torch.manual_seed(0)
        layer = nn.Linear(2, 2)
        optimizer = OPTIMIZERS[name](layer.parameters())
        wrapper = AutocastOptimWrapper(precision="fp32", optimizer=optimizer)
        guard = StepGuard(layer, wrapper)
        for value in values:
            wrapper.update_params(layer(torch.full((1, 2), value)).square().sum())
        assert hasattr(optimizer, "found_inf") is False
        guard.remove()
        states = [v for state in optimizer.state.values() for v in state.values()]
        ends.append([*(p.detach() for p in layer.parameters()), *states])
    torch.testing.assert_close(*ends, rtol=0, atol=0)


def worker(rank: int, port: int, folder: str) -> None:
    """Process 1 alone has a NaN, in step 2, of a loss that it sees only itself."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    model = Line()
    network = CPUDistributedDataParallel(model, broadcast_buffers=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    wrapper = AutocastOptimWrapper(precision="fp32", optimizer=optimizer)
    guard = StepGuard(network, wrapper)
    decided = []
    for step in range(3):
        values = Data((), 4).values + rank + step
        if rank == 1 and step == 1:
            values[0] = math.nan
        network.train_step({"inputs": values}, wrapper)
        decision = guard.take()[1]
        assert decision is not None
        guard.restore(decision.bad)
        decided.append(bool(decision.bad))
    torch.save({"bad": decided, "state": model.state_dict()}, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


def test_processes_skip_together(tmp_path: Path) -> None:
    start_processes(worker, (free_port(), str(tmp_path)), nprocs=2, start_method="spawn")
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert first["bad"] == second["bad"] == [False, True, False]
    for name, value in first["state"].items():
        assert value.isfinite().all()
        if "running" not in name:  # each process has statistics of its own
            assert torch.equal(value, second["state"][name])


def test_every_config_gets_the_guards() -> None:
    config = Config(dict(
        optim_wrapper=dict(type="OptimWrapper", optimizer=dict(type="SGD")),
        custom_hooks=[dict(type="CheckpointHook")],
    ))  # fmt: skip
    set_guards(config)
    assert config.optim_wrapper.type == "mmvitssl.AutocastOptimWrapper"
    assert config.default_hooks.finite.type == "mmvitssl.NonFiniteHook"
    assert config.default_hooks.checkpoint.type == "mmvitssl.FiniteCheckpointHook"
    assert config.custom_hooks[0].type == "mmvitssl.FiniteCheckpointHook"
    own = Config(dict(
        optim_wrapper=dict(type="AmpOptimWrapper"),
        default_hooks=dict(mine=dict(type="NonFiniteHook", share=0.5), checkpoint=None),
    ))  # fmt: skip
    set_guards(own)
    assert own.optim_wrapper.type == "AmpOptimWrapper" and own.default_hooks.checkpoint is None
    assert "finite" not in own.default_hooks


class PoisonAverage(Hook):
    """From the sixth iteration on, the averaged weights are no numbers."""

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        if runner.iter == 5:
            (average,) = [hook.ema_model for hook in runner.hooks if hasattr(hook, "ema_model")]
            next(average.parameters()).data.fill_(math.nan)


def test_averaged_weights_that_are_not_finite_are_never_saved(tmp_path: Path) -> None:
    with pytest.raises(NonFiniteError, match=r"EMA: module\.norm\.weight.*No checkpoint was"):
        train(tmp_path, custom_hooks=[dict(type="EMAHook"), PoisonAverage()])
    (kept,) = tmp_path.glob("iter_*.pth")
    assert kept.name == "iter_4.pth"
    assert all(value.isfinite().all() for value in weights(kept).values())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model = dict(type='os.system', command='touch marker')", "none of this package's"),
        ("model = dict(type='Pretrainer', tasks=dict(a=dict(type='subprocess.run')))", "none of"),
        ("model = dict(type='Pretrainer', encoder=dict(type='torch.nn.Linear'))", "none of"),
        ("model = dict(type='Pretrainer', target=dict(path='https://a.b/c.pth'))", "not fetched"),
        ("model = dict(type='Pretrainer', encoder=dict(type='ViT', _scope_='evil'))", "none of"),
        ("model = dict(type='Pretrainer', encoder=dict(type=['os.system']))", "none of"),
        ("import os; model = os.system('touch marker')", "--config"),
        ("encoder = dict(type='ViT')", "--config"),
    ],
)
def test_a_dump_builds_models_of_this_package_alone(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words):
        own_model(text, tmp_path / "a.dump")
    assert not Path("marker").exists()


WHOLE = dict(step=1, rank=0, seed=0, message="", precision="fp32")


@pytest.mark.parametrize(
    ("meta", "words"),
    [
        ({}, "lacks step, rank, seed, message, precision, cfg"),
        ({**WHOLE, "cfg": "model = dict(type='ViT', patch_size=0)"}, "model cannot be built"),
        ({**WHOLE, "cfg": "model = dict(type='ViT', arch='tiny')"}, "of no training"),
    ],
)  # fmt: skip
def test_a_dump_that_is_not_whole_is_explained(
    meta: dict[str, Any], words: str, tmp_path: Path
) -> None:
    content = {"meta": {"dump": 1, **meta}, "state_dict": {}, "batch": {}}
    torch.save(content, tmp_path / "a.dump")
    with pytest.raises(CheckpointError, match=words):
        replay(tmp_path / "a.dump")


def test_a_dump_holds_no_objects() -> None:
    batch = {"views": [torch.zeros(2)], "samples": {"path": ["a"], "index": torch.ones(1)}}
    assert plain(batch) and not plain({**batch, "data_samples": [object()]})
