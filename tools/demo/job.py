"""The demo: photographs -> RePre on SimCLR -> Mask R-CNN and UperNet -> report."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

from demo.steps import Step

PRETRAIN_CONFIG = "configs/demo/repre-simclr_vit-p8_demo.py"
INITIALISATIONS = ("pretrained", "random")
IMAGE_SIZE = 96  # side of the scenes in pixels


@dataclass(frozen=True)
class Sizes:
    """How much of everything; the defaults are the demo's, tests use less.

    Attributes:
        train, val: labelled scenes, see :func:`demo.make_demo_data`.
        pretrain: close-ups without labels.
        epochs: of the pretraining; None: as the config says.
        iterations: of each transfer; None: as the configs say.
    """

    train: int = 20
    val: int = 80
    pretrain: int = 2500
    epochs: int | None = None
    iterations: int | None = None


@dataclass(frozen=True)
class Transfer:
    """A downstream task of the demo."""

    name: str
    title: str
    config: str
    train_seconds: float
    test_seconds: float
    metrics: dict[str, str] = field(default_factory=dict)


TRANSFERS = (
    Transfer(
        "mask-rcnn",
        "Mask R-CNN",
        "configs/demo/mask-rcnn_vit-p8_demo.py",
        90,
        20,
        {
            "coco/bbox_mAP": "box AP",
            "coco/bbox_mAP_50": "box AP50",
            "coco/segm_mAP": "mask AP",
            "coco/segm_mAP_50": "mask AP50",
        },
    ),
    Transfer(
        "upernet",
        "UperNet",
        "configs/demo/upernet_vit-p8_demo.py",
        50,
        20,
        {"mIoU": "mIoU", "aAcc": "pixel accuracy"},
    ),
)


class DemoJob:
    """Knows every command of the demo and where its results lie.

    Args:
        work_dir: everything goes here; relative to the repository or absolute.
        sizes: how much of everything.
        seed: of the data, the pretraining and both transfers.
    """

    def __init__(self, work_dir: Path, sizes: Sizes | None = None, seed: int = 0) -> None:
        self.work_dir = work_dir
        self.sizes = sizes or Sizes()
        self.seed = seed
        self.data = work_dir / "data"

    def _step(
        self, name: str, title: str, command: list[str], expected: float, result: Path
    ) -> Step:
        """A step whose log and title tell its seed, but for the first."""
        if self.seed:
            name, title = f"seed{self.seed}_{name}", f"{title}, seed {self.seed}"
        return Step(name, title, command, expected, result)

    def _python(self, *arguments: str | Path) -> list[str]:
        return [sys.executable, *map(str, arguments)]

    def _options(self, *options: str | None) -> list[str]:
        given = [option for option in options if option]
        return ["--cfg-options", *given] if given else []

    @property
    def _seeds(self) -> list[str]:
        return [f"randomness.seed={self.seed}"] if self.seed else []

    def folder(self, transfer: Transfer, init: str) -> Path:
        """Work folder of one transfer."""
        return self.work_dir / f"{transfer.name}_{init}"

    @property
    def pretrained(self) -> Path:
        """The checkpoint that is handed on."""
        return self.work_dir / "pretrain" / "last.pth"

    def data_step(self) -> Step:
        sizes = self.sizes
        command = self._python(
            "tools/make_demo_data.py", self.data, "--train", str(sizes.train), "--val",
            str(sizes.val), "--pretrain", str(sizes.pretrain), "--image-size",
            str(IMAGE_SIZE), "--seed", str(self.seed),
        )  # fmt: skip
        return self._step("data", "make the data", command, 30, self.data / "dataset.json")

    def pretrain_steps(self) -> list[Step]:
        root = f"train_dataloader.dataset.root={self.data}/pretrain"
        test_root = f"test_dataloader.dataset.root={self.data}/images/val"
        epochs = self.sizes.epochs
        shorter = f"train_cfg.max_epochs={epochs}" if epochs else None
        train = self._python(
            "tools/train.py", PRETRAIN_CONFIG, "--work-dir", self.work_dir / "pretrain",
            *self._options(root, *self._seeds, shorter),
        )  # fmt: skip
        out = self.work_dir / "pretrain" / "held_out.json"
        test = self._python(
            "tools/test.py", PRETRAIN_CONFIG, self.pretrained, "--work-dir",
            self.work_dir / "pretrain" / "test", "--out", out, "--show-dir",
            self.work_dir / "pretrain" / "pictures", *self._options(test_root),
        )  # fmt: skip
        return [
            self._step("pretrain", "pretrain RePre on SimCLR", train, 280, self.pretrained),
            self._step("pretrain_test", "pretext tasks on held-out scenes", test, 25, out),
        ]

    def _transfer_options(self) -> list[str]:
        data = f"{self.data}/"
        iterations = self.sizes.iterations
        return self._options(
            *self._seeds,
            f"train_dataloader.dataset.data_root={data}",
            f"test_dataloader.dataset.data_root={data}",
            f"train_cfg.max_iters={iterations}" if iterations else None,
        )

    def transfer_steps(self, transfer: Transfer, init: str) -> list[Step]:
        folder = self.folder(transfer, init)
        options = self._transfer_options()
        start = ["--pretrained", str(self.pretrained)] if init == "pretrained" else []
        train = self._python(
            "tools/train.py", transfer.config, "--work-dir", folder, *start, *options
        )
        if transfer.name == "mask-rcnn":
            options = [
                *options, f"test_evaluator.ann_file={self.data}/annotations/instances_val.json"
            ]  # fmt: skip
        checkpoint = folder / "last.pth"
        out = folder / "metrics.json"
        test = self._python(
            "tools/test.py", transfer.config, checkpoint, "--work-dir", folder / "test", "--out",
            out, "--show-dir", folder / "pictures", *options,
        )  # fmt: skip
        name = f"{transfer.name}_{init}"
        title = f"{transfer.title} from {init} weights"
        return [
            self._step(name, f"train {title}", train, transfer.train_seconds, checkpoint),
            self._step(f"{name}_test", f"test {title}", test, transfer.test_seconds, out),
        ]

    def steps(self) -> list[Step]:
        """All commands in order."""
        steps = [self.data_step(), *self.pretrain_steps()]
        for transfer in TRANSFERS:
            for init in INITIALISATIONS:
                steps += self.transfer_steps(transfer, init)
        return steps

    def metrics(self, transfer: Transfer, init: str) -> dict[str, float]:
        """What tools/test.py found."""
        return json.loads((self.folder(transfer, init) / "metrics.json").read_text())

    def held_out(self) -> dict[str, float]:
        """Pretext losses on scenes that were not trained on."""
        return json.loads((self.work_dir / "pretrain" / "held_out.json").read_text())
