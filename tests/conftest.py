"""What all tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from mmengine.registry import DefaultScope


@pytest.fixture(autouse=True)
def mmvitssl_scope() -> Iterator[None]:
    """Names in configs are looked up in mmvitssl, and random numbers start from one seed."""
    with DefaultScope.overwrite_default_scope("mmvitssl"):
        torch.manual_seed(0)
        yield


@pytest.fixture(autouse=True, scope="session")
def configs_without_yapf() -> Iterator[None]:
    """MMEngine formats each config that a test saves, which takes seconds and changes no value."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("yapf.yapflib.yapf_api.FormatCode", lambda text, **_: (text, False))
        yield


GPU_TESTS = Path(__file__).parent / "test_gpu"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """``-m gpu`` collects tests/test_gpu only.

    Time on a GPU is short, and other tests import packages that a machine may lack.
    """
    if config.getoption("markexpr") != "gpu":
        return None
    related = collection_path in GPU_TESTS.parents or collection_path.is_relative_to(GPU_TESTS)
    return None if related else True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files with slow tests first, so that processes that share the files out end together."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Refuse the mark elsewhere, where ``-m gpu`` would not find it."""
    if item.get_closest_marker("gpu") and not item.path.is_relative_to(GPU_TESTS):
        raise pytest.UsageError(f"{item.nodeid}: tests with the mark 'gpu' belong to {GPU_TESTS}.")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many of the documentation's blocks ran, and why others did not."""
    reports = terminalreporter.stats
    ran = {
        outcome: [r for r in reports.get(outcome, ()) if "::test_block_runs[" in r.nodeid]
        for outcome in ("passed", "failed")
    }
    if not any(ran.values()):
        return
    from tests.test_docs.blocks import summary

    terminalreporter.section("code blocks of README.md and docs/")
    terminalreporter.line(summary(GPU_TESTS.parents[1], len(ran["passed"]), len(ran["failed"])))
