"""Reading a config file, with errors for what nothing reads."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmvitssl.engine.launch import UserError
from mmvitssl.extras import missing_extra

RUNNER_KEYS = (
    "model",
    "work_dir",
    "train_dataloader",
    "val_dataloader",
    "test_dataloader",
    "train_cfg",
    "val_cfg",
    "test_cfg",
    "auto_scale_lr",
    "optim_wrapper",
    "param_scheduler",
    "val_evaluator",
    "test_evaluator",
    "default_hooks",
    "custom_hooks",
    "data_preprocessor",
    "load_from",
    "pretrained",
    "pretrained_source",
    "resume",
    "launcher",
    "env_cfg",
    "log_processor",
    "log_level",
    "visualizer",
    "default_scope",
    "randomness",
    "experiment_name",
    "custom_imports",
    "find_unused_parameters",
    "model_wrapper_cfg",
    "sync_bn",
    "compile",
    "strategy",
    "runner_type",
)


def unformatted(config: Config) -> Config:
    """The same config, printed and saved without yapf.

    MMEngine formats a config whenever it logs or saves it: seconds, and half a minute where
    long paths make yapf try every way to break a line. Its switch does not reach ``fromfile``.
    """
    return Config(
        config.to_dict(),
        cfg_text=config.text,
        filename=config.filename,
        env_variables=config.env_variables,
        format_python_code=False,
    )


def read_config(path: str, options: dict[str, Any] | None = None) -> Config:
    """Read a config file and merge options into it.

    Raises:
        UserError: there is no such file, a top-level key that looks misspelt, or the package
            of a config that it inherits from is not installed.
    """
    if not Path(path).is_file():
        raise UserError(f"There is no config file {Path(path).absolute()}.")
    try:
        config = unformatted(Config.fromfile(path))
    except ModuleNotFoundError as error:
        absent = [name for name in ("mmdet", "mmseg") if f"{name} is not installed" in str(error)]
        if not absent:
            raise
        raise UserError(missing_extra(path, "transfer", *absent)) from error
    if options:
        config.merge_from_dict(options)
    for key in config:
        near = difflib.get_close_matches(key, RUNNER_KEYS, n=1, cutoff=0.85)
        if key not in RUNNER_KEYS and near:
            raise UserError(f"{path} sets '{key}', which nothing reads: did you mean '{near[0]}'?")
    return config
