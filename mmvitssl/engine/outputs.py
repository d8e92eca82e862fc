"""Logs, events and pictures of a training: what cannot be written is lost, the training is not."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial, wraps
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.runner import Runner
from mmengine.visualization import LocalVisBackend, TensorboardVisBackend
from PIL import Image

from mmvitssl.writing import WriteError, reason, whole

AGAIN = 60.0  # seconds until a backend that failed is asked again
METHODS = ("add_config", "add_graph", "add_image", "add_scalar", "add_scalars", "close")
WORDS = {"Local": "The log of the losses", "GroupedTensorboard": "The log of TensorBoard"}
GOES_ON = "The training goes on without it, and its checkpoints are not concerned."


def append_line(path: Path, text: str) -> None:
    """Add a line to a file, or nothing where there is no room for all of it.

    Raises:
        OSError: it cannot be written; the file is as it was.
    """
    data = f"{text}\n".encode()
    with open(path, "ab", buffering=0) as file:
        size = file.tell()
        try:
            while data:
                data = data[file.write(data) :]
        except OSError:
            with suppress(OSError):  # of what is no regular file; why it failed is the first error
                file.truncate(size)
            raise


@contextmanager
def tolerated(runner: Runner, path: Path) -> Iterator[None]:
    """Warn in place of ending where a file beside the training cannot be written."""
    try:
        yield
    except OSError as error:
        words = error if isinstance(error, WriteError) else WriteError(path, error)
        runner.logger.warning(f"{words} {GOES_ON}")


class Trouble:
    """What to say of an output that fails, once until it works again.

    Args:
        what: its name, for people.
        where: its file or folder.
        say: takes the sentence.
    """

    def __init__(self, what: str, where: str, say: Callable[[str], object]) -> None:
        self.what, self.where, self.say = what, where, say
        self.since: float | None = None

    @property
    def rests(self) -> bool:
        """Whether it failed a short time ago."""
        return self.since is not None and time.monotonic() - self.since < AGAIN

    def failed(self, error: BaseException) -> None:
        """Say it, unless the last attempt failed too."""
        first, self.since = self.since is None, time.monotonic()
        if first:
            place = Path(self.where)
            why = (
                reason(place, error) if isinstance(error, OSError)
                else f"{type(error).__name__}: {error}"
            )  # fmt: skip
            self.say(f"{self.what} ({place}) cannot be written: {why}. {GOES_ON}")

    def worked(self) -> None:
        """Let the next failure be said again."""
        self.since = None


def _tolerant(
    backend: Any, method: str, trouble: Trouble, errors: tuple[type[Exception], ...]
) -> None:
    """Let a method of a backend warn where it would raise."""
    original = getattr(backend, method)

    @wraps(original)
    def attempt(*args: Any, **kwargs: Any) -> Any:
        if trouble.rests and method != "close":
            return None
        try:
            result = original(*args, **kwargs)
        except errors as error:
            trouble.failed(error)
            if isinstance(backend, TensorboardVisBackend):
                backend._env_initialized = False  # its writer fails for good: the next is a new one
            return None
        trouble.worked()
        return result

    setattr(backend, method, attempt)


class _WholeFiles:
    """How :class:`LocalVisBackend` writes: whole pictures and lines, and errors that are raised."""

    def __init__(self, backend: LocalVisBackend) -> None:
        self.backend: Any = backend
        self.dump: Any = backend._dump
        self.backend.add_image, self.backend._dump = self.add_image, self.add_line

    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs: Any) -> None:
        """See :class:`LocalVisBackend`, which does not say when there is no room."""
        folder = Path(self.backend.experiment._img_save_dir)
        with whole(folder / f"{name}_{step}.png") as part:
            Image.fromarray(image).save(part)

    def add_line(self, values: dict[str, Any], path: str, kind: str) -> None:
        """See :class:`LocalVisBackend`, which may write half a line."""
        from mmengine.fileio import dump

        append_line(Path(path), dump(values, file_format=kind))


def _quiet_threads() -> None:
    """Leave out the traceback of TensorBoard's thread, whose error its next call raises again."""
    before = threading.excepthook
    if getattr(before, "quiet", False):
        return

    def report(args: Any) -> None:
        of_events = type(args.thread).__name__ == "_AsyncWriterThread"
        if not (of_events and isinstance(args.exc_value, OSError)):
            before(args)

    report.quiet = True  # type: ignore[attr-defined]
    threading.excepthook = report


def keep_going(runner: Runner) -> None:
    """Let a training warn where its log, events, pictures or trackers cannot be written.

    Each is said once, and tried again after a minute. Trackers may fail in any way, such as by a
    lost connection.
    """
    for backend in runner.visualizer._vis_backends.values():
        ours = isinstance(backend, LocalVisBackend | TensorboardVisBackend)
        if isinstance(backend, LocalVisBackend):
            _WholeFiles(backend)
        name = type(backend).__name__.removesuffix("VisBackend").removesuffix("Backend")
        what = WORDS.get(name, f"The log of {name}")
        trouble = Trouble(what, str(backend._save_dir), runner.logger.warning)
        for method in METHODS:
            _tolerant(backend, method, trouble, (OSError,) if ours else (Exception,))


def say_once(logger: logging.Logger) -> None:
    """Let the handlers of a logger say in one sentence that they cannot write."""
    _quiet_threads()
    for handler in logger.handlers:
        place = getattr(handler, "baseFilename", "standard output")
        trouble = Trouble("The log", place, logger.warning)
        handler.handleError = partial(_failed, trouble)  # type: ignore[method-assign]


def _failed(trouble: Trouble, record: logging.LogRecord) -> None:
    error = sys.exc_info()[1]
    if error is not None:
        trouble.failed(error)
