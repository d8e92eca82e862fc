"""Where scalars go: grouped tags in TensorBoard, and trackers of experiments."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.visualization.vis_backend import MLflowVisBackend, TensorboardVisBackend

from mmvitssl.extras import require
from mmvitssl.registry import VISBACKENDS

GROUPS = {
    "loss": re.compile(r"(.*\.)?loss(_.*)?$"),
    "schedule": re.compile(r"(base_)?(lr|momentum|wd|weight_decay)$|.*temperature$"),
    "machine": re.compile(r"(time|data_time|memory|eta)$"),
    "gradients": re.compile(r"grad_norm.*|conflict.*|cosine.*"),
}
TRACKERS = ("wandb", "mlflow")


def grouped(name: str) -> str:
    """The tag of a scalar: ``loss/contrastive``, ``schedule/lr``, ``machine/time``, ``metric/...``.

    Names that have a group of their own (``accuracy/top1``, ``coco/bbox_mAP``) stay.
    """
    if "/" in name:
        return name
    for group, pattern in GROUPS.items():
        if pattern.fullmatch(name):
            short = name.removeprefix("loss_") if group == "loss" else name
            return f"{group}/{'total' if short == 'loss' else short}"
    return f"metric/{name}"


@VISBACKENDS.register_module()
class GroupedTensorboardBackend(TensorboardVisBackend):
    """MMEngine's TensorBoard writer with tags in groups, which TensorBoard folds."""

    def add_scalar(self, name: str, value: Any, step: int = 0, **kwargs: Any) -> None:
        """See the base class."""
        super().add_scalar(grouped(name), value, step, **kwargs)

    def add_scalars(
        self, scalar_dict: dict[str, Any], step: int = 0, file_path: str | None = None,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        """See the base class."""
        named = {grouped(name): value for name, value in scalar_dict.items() if name != "step"}
        for name, value in named.items():
            super().add_scalar(name, value, scalar_dict.get("step", step))


@VISBACKENDS.register_module()
class PicturesMLflowBackend(MLflowVisBackend):
    """MMEngine's MLflow writer; pictures get the file names that MLflow needs."""

    def add_image(self, name: str, image: Any, step: int = 0, **kwargs: Any) -> None:
        """See the base class."""
        super().add_image(f"{name}_{step}.png", image, step, **kwargs)


def track(config: Config, tracker: str | None) -> None:
    """Send the scalars of a run to a tracker too.

    Args:
        config: changed in place.
        tracker: 'wandb' or 'mlflow'; None: none.

    Raises:
        MissingExtraError: its library is not installed.
    """
    if tracker is None:
        return
    require(f"--track {tracker}", tracker, tracker)
    name, out = Path(config.work_dir).name, Path(config.work_dir).absolute()
    if tracker == "wandb":
        backend = dict(
            type="WandbVisBackend", init_kwargs=dict(project="mmvitssl", name=name, dir=str(out))
        )
    else:
        # MLFLOW_TRACKING_URI says where; MMEngine's own default is a folder of the run, which
        # MLflow 3 refuses unless it is allowed; a database needs more than mlflow-skinny
        if "MLFLOW_TRACKING_URI" not in os.environ:
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        backend = dict(type="mmvitssl.PicturesMLflowBackend", exp_name="mmvitssl", run_name=name)
    visualizer = dict(config.get("visualizer") or dict(type="Visualizer", name="visualizer"))
    backends = visualizer.get("vis_backends") or [dict(type="LocalVisBackend")]
    config.visualizer = {**visualizer, "vis_backends": [*backends, backend]}
