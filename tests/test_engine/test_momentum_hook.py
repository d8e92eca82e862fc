"""When the momentum target moves, and that something moves it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from mmvitssl.engine import checks
from mmvitssl.engine.hooks import MomentumUpdateHook
from mmvitssl.engine.launch import UserError
from tests.builders import build_repre

ITERATIONS = 8


def progress_of_updates(when: str, accumulation: int) -> list[tuple[str, int]]:
    """At which side of which iteration the target moved."""
    model = build_repre(target=dict(momentum=0.99, when=when))
    runner: Any = SimpleNamespace(
        model=model,
        optim_wrapper=SimpleNamespace(_accumulative_counts=accumulation),
        max_iters=ITERATIONS,
        iter=0,
    )
    hook, moved = MomentumUpdateHook(), []
    hook.before_train(runner)
    for iteration in range(ITERATIONS):
        runner.iter = iteration
        for side, call in (("before", hook.before_train_iter), ("after", hook.after_train_iter)):
            seen = int(model.target.updates)
            call(runner, iteration)
            if int(model.target.updates) > seen:
                moved.append((side, iteration))
                expected = model.target.momentum_at(iteration / ITERATIONS)
                assert model.target.last_momentum.item() == pytest.approx(expected)
    return moved


def test_before_the_forward_of_each_optimizer_step() -> None:
    assert progress_of_updates("before_forward", 1) == [("before", i) for i in range(8)]
    assert progress_of_updates("before_forward", 4) == [("before", 0), ("before", 4)]


def test_after_each_optimizer_step() -> None:
    assert progress_of_updates("after_step", 1) == [("after", i) for i in range(8)]
    assert progress_of_updates("after_step", 4) == [("after", 3), ("after", 7)]


def test_a_target_that_nothing_moves_is_refused() -> None:
    still: Any = SimpleNamespace(model=build_repre(), hooks=[])
    with pytest.raises(UserError, match="add dict\\(type='MomentumUpdateHook'\\)"):
        checks.check_target(still)
    checks.check_target(SimpleNamespace(model=build_repre(), hooks=[MomentumUpdateHook()]))
    checks.check_target(SimpleNamespace(model=build_repre(target=None), hooks=[]))
