"""Being told to stop: signals, what all processes agree on, and the exit status of a requeue."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist

from mmvitssl.distributed import world_size

PREEMPTED = 75  # EX_TEMPFAIL of sysexits.h: to be tried again
SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
GO_ON, SAVE, STOP = 0, 1, 2
_received: list[str] = []


class Preempted(Exception):
    """The training received a request to stop, and has saved its state."""

    @property
    def status(self) -> int:
        """75; 0 for processes other than the first of a Slurm step.

        ``srun --kill-on-bad-exit`` kills what is left of a step as soon as one process has failed,
        and then says 137 in place of 75.
        """
        return PREEMPTED if int(os.environ.get("SLURM_PROCID", "0")) == 0 else 0

    def let_others_end(self) -> None:
        """Wait, as the first of several processes of a Slurm step: it is to end last."""
        if int(os.environ.get("SLURM_NTASKS", "1")) > 1 and self.status == PREEMPTED:
            time.sleep(5)


def received() -> str | None:
    """The name of the first signal to stop; None: there was none."""
    return _received[0] if _received else None


def _note(number: int, frame: Any) -> None:
    _received.append(signal.Signals(number).name)


@contextmanager
def listening() -> Iterator[None]:
    """Note SIGTERM and SIGUSR1 in place of ending, in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _received.clear()
    before = {number: signal.signal(number, _note) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def nothing_to_save() -> Iterator[None]:
    """End at once on SIGTERM and SIGUSR1, with the status of a requeue: nothing was trained yet."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: Any) -> None:
        name = signal.Signals(number).name
        os.write(
            2, f"Stopped by {name} before the first iteration; go on with --resume.\n".encode()
        )
        os._exit(Preempted().status)

    before = {number: signal.signal(number, end) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Agreement:
    """What the processes of a training agree on, without the device and without waiting for it.

    All processes must make the same calls.
    """

    _made = 0  # agreements of this process, which have names of their own

    def __init__(self) -> None:
        Agreement._made += 1
        self._stop = f"mmvitssl/stop/{Agreement._made}"  # set in the store by who wishes to stop
        self._group = dist.new_group(backend="gloo") if world_size() > 1 else None
        self._pending: tuple[Any, torch.Tensor] | None = None

    def later(self, wish: int) -> int:
        """The greatest wish of all processes at the call before this one.

        Of a single process, this wish. The numbers travel while the next step is computed.
        """
        if self._group is None:
            return wish
        agreed = self._finish()
        number = torch.tensor(wish)
        work = dist.all_reduce(number, op=dist.ReduceOp.MAX, group=self._group, async_op=True)
        self._pending = (work, number)
        return agreed

    def _finish(self) -> int:
        pending, self._pending = self._pending, None
        if pending is None:
            return GO_ON
        pending[0].wait()
        return int(pending[1])

    def any(self, flag: bool) -> bool:
        """Whether it is true in some process; waits for all."""
        if self._group is None:
            return flag
        number = torch.tensor(int(flag))
        dist.all_reduce(number, op=dist.ReduceOp.MAX, group=self._group)
        return bool(number)

    def ends_validation(self, wish: bool, last: bool, together: bool) -> bool:
        """Whether all processes stop now, in the middle of a validation; asked after each batch.

        A process that wishes to stop says so in the store that the processes met in, where the
        others see it after their next batch. Each then waits for all, as it does after its last
        batch, before the metrics are gathered.

        Args:
            wish: of this process.
            last: whether it was the last batch of this process.
            together: whether the passes of a batch already wait for all processes (FSDP).
        """
        if self._group is None or together:
            return self.any(wish)
        store = dist.distributed_c10d._get_default_store()
        if wish:
            store.set(self._stop, "1")
        wish = wish or store.check([self._stop])
        return self.any(wish) if wish or last else False

    def close(self) -> None:
        """Wait for what is on its way."""
        self._finish()
