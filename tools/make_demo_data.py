#!/usr/bin/env python
"""Make the demo data: labelled scenes over photographs, and close-ups to pretrain on."""

from __future__ import annotations

import argparse
import sys

from demo import CLASSES, make_demo_data


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", help="folder to write")
    parser.add_argument("--train", type=int, default=240, help="scenes to train on")
    parser.add_argument("--val", type=int, default=60, help="scenes to evaluate on")
    parser.add_argument("--pretrain", type=int, default=330, help="close-ups, no labels")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--image-size", type=int, default=224, help="side of a scene in pixels")
    parser.add_argument(
        "--cityscapes", action="store_true", help="write the scenes in Cityscapes' layout, too"
    )
    args = parser.parse_args()
    try:
        make_demo_data(
            args.out, args.train, args.val, args.seed, args.image_size, args.pretrain,
            quiet=False, cityscapes=args.cityscapes,
        )  # fmt: skip
    except (ValueError, FileExistsError) as error:
        sys.exit(f"error: {error}")
    print(
        f"{args.out}: {args.train} + {args.val} scenes of {', '.join(CLASSES)}; "
        f"{args.pretrain} close-ups without labels"
    )


if __name__ == "__main__":
    main()
