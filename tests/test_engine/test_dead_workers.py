"""What is said of a data loader's process that died, however torch hears of it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from threading import Thread
from typing import Any

import pytest
from torch.utils.data import DataLoader, Dataset
from torch.utils.data._utils import signal_handling
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from mmvitssl.datasets.reading import reading_here, watch_reading
from mmvitssl.engine.hooks.watchdog import WatchdogHook, WorkerError


class Dying(Dataset):
    """The reader of the second sample ends as it opens a file."""

    def __init__(self, end: Callable[[], Any]) -> None:
        self.end = end

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> int:
        if index == 1:
            with open(__file__, "rb"):
                self.end()
        return index


@pytest.fixture
def unheard(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """torch's handler of SIGCHLD is not there: a death is seen by who waits for a batch."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    monkeypatch.setattr(signal_handling, "_SIGCHLD_handler_set", True)
    yield
    signal.signal(signal.SIGCHLD, before)


def wait(loader: DataLoader) -> None:
    """Do anything else while the readers read."""
    _iterator = iter(loader)
    time.sleep(20)


def explained(
    end: Callable[[], Any], work: Callable[[DataLoader], Any] = list
) -> tuple[Exception, str]:
    """What torch raises when a reader ends, and what the hook says."""
    hook, loader = WatchdogHook(), DataLoader(Dying(end), batch_size=1, num_workers=1)
    hook._readers = {False: watch_reading(loader)}
    with pytest.raises((RuntimeError, OSError, EOFError)) as raised:
        work(loader)
    with pytest.raises(WorkerError) as error:
        hook.explain(raised.value)
    return raised.value, str(error.value)


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_s_signal_is_named_when_torch_hears_of_it() -> None:
    error, said = explained(killed, wait)
    assert "killed by signal" in str(error)
    assert "was killed by SIGKILL" in said and __file__ in said


def test_a_worker_s_signal_is_named_when_its_batch_is_missed(unheard: None) -> None:
    error, said = explained(killed)
    assert "killed by signal" not in str(error)
    assert "was killed by SIGKILL" in said and __file__ in said


def test_a_worker_s_signal_is_named_when_the_connection_breaks(
    unheard: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def get(*_: Any, **__: Any) -> Any:
        raise ConnectionResetError(104, "Connection reset by peer")

    monkeypatch.setattr(_MultiProcessingDataLoaderIter, "_try_get_data", get)
    assert "was killed by SIGKILL" in explained(killed)[1]


def test_a_worker_s_exit_status_is_named() -> None:
    assert "ended with exit status 3" in explained(lambda: os._exit(3), wait)[1]


def test_an_error_of_the_signal_s_handler_is_understood_alone() -> None:
    said = "DataLoader worker (pid 12) is killed by signal: Bus error. It is possible that"
    with pytest.raises(WorkerError, match=r"was killed by SIGBUS: processes \[12\]"):
        WatchdogHook().explain(RuntimeError(said))


def test_other_errors_are_left_as_they_are() -> None:
    WatchdogHook().explain(RuntimeError("CUDA error: out of memory"))
    WatchdogHook().explain(OSError(28, "No space left on device"))


def test_files_of_other_threads_are_not_what_a_reader_reads() -> None:
    """The watchdog and writers of logs open files while a sample is read."""
    loader = DataLoader(Dying(int), batch_size=1)
    readers = watch_reading(loader)
    with reading_here(loader):
        with open(__file__, "rb"):
            other = Thread(target=lambda: open(os.devnull, "rb").close())
            other.start()
            other.join()
        assert [path for *_, path in readers.busy()] == [__file__]
