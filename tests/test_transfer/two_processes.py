"""Train detectors one after the other in each of two processes: ``CONFIG WORK_DIR ENCODER ...``."""

from __future__ import annotations

import sys

import mmvitssl.compat  # noqa: F401  (before any config is read)
from mmvitssl.engine import launch, training


def main() -> None:
    runs = list(zip(*[iter(sys.argv[1:])] * 3, strict=True))
    for number, (config, work_dir, encoder) in enumerate(runs):
        sys.argv[1:] = [
            config, "--work-dir", work_dir, "--pretrained", encoder, "--launcher", "pytorch",
            "--cfg-options", "train_dataloader.batch_size=1",
            # else the second run would log to the first one's files
            f"experiment_name=run{number}", f"visualizer.name=run{number}",
        ]  # fmt: skip
        training.train(training.parse(training.parser(__doc__)))


if __name__ == "__main__":
    launch.run_or_explain(main)
