"""Pictures of what a detector or segmentor predicts, while it is tested."""

from __future__ import annotations

import inspect
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmvitssl.compat import drawing_in_every_process
from mmvitssl.engine.dataset_tree import built_leaves
from mmvitssl.registry import HOOKS
from mmvitssl.writing import whole


def picture_names(paths: Sequence[str], folders: Sequence[str], suffix: str | None) -> list[str]:
    """Names for pictures, relative, as images lie below their folders; no two images share one.

    Args:
        paths: of the images.
        folders: that hold them.
        suffix: of the pictures; None keeps the images'.
    """
    absolute = [os.path.abspath(path) for path in paths]
    roots = sorted({os.path.abspath(folder) for folder in folders})
    root = os.path.commonpath(roots) if roots else ""
    if not root or any(not PurePath(path).is_relative_to(root) for path in absolute):
        root = os.path.commonpath([os.path.dirname(path) for path in absolute])
    names = [PurePath(os.path.relpath(path, root)) for path in absolute]
    if suffix is None:
        return [str(name) for name in names]
    short = [str(name.with_suffix(suffix)) for name in names]
    images = dict(zip(absolute, short, strict=True))
    taken = Counter(images.values())  # a.jpg and a.png keep their whole names
    return [
        name if taken[name] == 1 else f"{full}{suffix}"
        for name, full in zip(short, names, strict=True)
    ]


@HOOKS.register_module()
class PredictionPicturesHook(Hook):
    """Draw truth and prediction of every tested image, in every process.

    Each picture lies below ``folder`` as its image lies below the data set's folder. mmdet's and
    mmseg's own hooks draw in the first process only, and name pictures by the file name alone.

    Args:
        folder: where the pictures go.
        score_thr: detections below it are not drawn.
        suffix: of the pictures; None keeps the images'.
    """

    def __init__(self, folder: str, score_thr: float = 0.3, suffix: str | None = None) -> None:
        self.folder = Path(folder)
        self.score_thr = score_thr
        self.suffix = suffix
        self._names: dict[str, str] = {}

    def before_test(self, runner: Runner) -> None:
        """Name the pictures of all images: each process finds the same names."""
        dataset = runner.test_loop.dataloader.dataset
        leaves = [leaf for _, leaf in built_leaves(dataset, "")]
        paths = [leaf.get_data_info(i)["img_path"] for leaf in leaves for i in range(len(leaf))]
        prefixes = [getattr(leaf, "data_prefix", None) or {} for leaf in leaves]
        folders = [str(p.get("img_path") or p.get("img") or "") for p in prefixes]
        names = picture_names(paths, [folder for folder in folders if folder], self.suffix)
        self._names = dict(zip(paths, names, strict=True))

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Sequence[Any] | None = None,
    ) -> None:
        """Draw a batch."""
        for sample in outputs or ():
            self._draw(runner, sample)

    def _draw(self, runner: Runner, sample: Any) -> None:
        visualizer: Any = runner.visualizer
        name = self._names[sample.img_path]
        draw = visualizer.add_datasample
        threshold = "pred_score_thr" in inspect.signature(draw).parameters
        with drawing_in_every_process(), whole(self.folder / name) as part:
            visualizer.dataset_meta = runner.test_loop.dataloader.dataset.metainfo
            draw(
                name, _image(sample), data_sample=sample, out_file=str(part),
                **(dict(pred_score_thr=self.score_thr) if threshold else {}),
            )  # fmt: skip


def _image(sample: Any) -> Any:
    """(H, W, 3) uint8 RGB of a tested image, turned by EXIF if the pipeline turned it."""
    import mmcv  # of the extra `transfer`, without which this package pretrains

    content = Path(sample.img_path).read_bytes()
    image = mmcv.imfrombytes(content, channel_order="rgb")
    if image.shape[:2] != tuple(sample.ori_shape):
        image = mmcv.imfrombytes(content, flag="color_ignore_orientation")[..., ::-1]
    return image
