#!/usr/bin/env python
"""Train a discrete VAE on your own images and write it as a tokenizer file."""

from pathlib import Path

from mmengine.dist import get_rank

import mmvitssl.compat  # noqa: F401  (before any config is read)
from mmvitssl.engine import launch, training
from mmvitssl.models.tokenizers import DiscreteVAE, save_tokenizer


def main() -> None:
    options = training.parser(__doc__)
    options.add_argument(
        "--out", metavar="FILE", help="the tokenizer; by default WORK_DIR/tokenizer.safetensors"
    )
    args = training.parse(options)
    if args.out is not None and Path(args.out).suffix != ".safetensors":
        raise launch.UserError(f"--out {args.out} must end in .safetensors.")
    runner = training.train(args)
    model = launch.bare_model(runner)
    if not isinstance(model, DiscreteVAE):
        raise launch.UserError(f"{args.config} trains a {type(model).__name__}, no DiscreteVAE.")
    if get_rank() == 0:
        path = save_tokenizer(model, args.out or Path(runner.work_dir) / "tokenizer.safetensors")
        print(f"Wrote {path}: name it in TokenTarget(checkpoint=...), with "
              f"vocabulary={model.vocabulary}.")  # fmt: skip


if __name__ == "__main__":
    launch.run_or_explain(main)
