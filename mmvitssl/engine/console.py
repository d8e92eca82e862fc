"""A short log on the console; the log file has everything."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from mmengine.dist import master_only
from mmengine.logging import MMLogger
from mmengine.runner import Runner

from mmvitssl.engine.outputs import say_once
from mmvitssl.writing import whole

# what MMEngine says before the first step that belongs into the file alone
FOR_THE_FILE = (
    r"\n-+\nSystem environment:",
    r"Config:\n",
    r"Hooks will be executed in the following order",
    r"Distributed training is not used, all SyncBatchNorm",
    r"paramwise_options -- ",
    r".* is skipped since its requires_grad=False",
    r".* is duplicate\. It is skipped since",
    r'"FileClient" will be deprecated',
    r'"HardDiskBackend" is the alias',
    r"Exp name: ",
)
PATTERN = re.compile("|".join(FOR_THE_FILE))


class ConsoleFilter(logging.Filter):
    """Keeps details away from a handler."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is shown."""
        return PATTERN.match(record.getMessage()) is None


def shorten(logger: MMLogger) -> None:
    """Keep details away from the console handlers of a logger; file handlers get everything."""
    for handler in logger.handlers:
        if isinstance(handler, logging.FileHandler):
            continue
        if not any(isinstance(present, ConsoleFilter) for present in handler.filters):
            handler.addFilter(ConsoleFilter())


def log_file(logger: MMLogger) -> str | None:
    """Path of the file that a logger writes; None: it writes none."""
    files = [h.baseFilename for h in logger.handlers if isinstance(h, logging.FileHandler)]
    return files[0] if files else None


def with_short_console(kind: type[Runner]) -> type[Runner]:
    """A runner that shows details in its log file only, and keeps the config that it was given."""

    def build_logger(self: Runner, *args: object, **kwargs: object) -> MMLogger:
        logger: MMLogger = kind.build_logger(self, *args, **kwargs)
        shorten(logger)
        say_once(logger)
        path = log_file(logger)
        if path is not None:
            logger.info(f"Environment, config and all details are in {path}.")
        return logger

    def dump_config(self: Runner) -> None:
        """Write the config into the work folder, unless it is the file that was read."""
        given = self.cfg.filename
        target = Path(self.work_dir) / Path(given or f"{self.timestamp}.py").name
        if given is None or not (target.exists() and target.samefile(given)):
            with whole(target) as part:
                self.cfg.dump(str(part))

    members = {"build_logger": build_logger, "dump_config": master_only(dump_config)}
    return type(kind.__name__, (kind,), members)
