#!/usr/bin/env python
"""Put many images into few files: tar shards in WebDataset's layout, or an LMDB.

The files are copied as they are, after each was decoded as a test. What was written is read back
and compared. If it ends early, by kill -9 too, the same command goes on where it was.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mmvitssl.datasets import ImageFolder, ImageList, LabelledFolder, PackedImages, ShardedImages
from mmvitssl.datasets.files import MAX_PIXELS, BrokenImageError
from mmvitssl.datasets.images import ImageFiles
from mmvitssl.datasets.shard_writer import ShardWriter, index_folder, verify_folder


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "source", nargs="?",
        help="a folder of images, a list of images (.txt), or packed images (.npz)",
    )  # fmt: skip
    parser.add_argument("out", nargs="?", type=Path, help="folder to write")
    parser.add_argument("--format", choices=("tar", "lmdb"), default="tar")
    parser.add_argument(
        "--shard-size", type=int, default=1000, help="images a shard (LMDB: a transaction)"
    )
    parser.add_argument(
        "--labelled", action="store_true",
        help="a folder has a sub-folder a class; a list has 'path label' lines",
    )  # fmt: skip
    parser.add_argument("--root", default="", help="folder that the paths of a list start from")
    parser.add_argument("--max-broken", type=int, default=0, help="images that may be left out")
    parser.add_argument(
        "--max-pixels", type=int, default=MAX_PIXELS, help="images with more count as broken"
    )
    parser.add_argument("--workers", type=int, default=4, help="threads that read and check")
    parser.add_argument(
        "--index", type=Path, metavar="FOLDER", help="index the shards of others, and end"
    )
    parser.add_argument(
        "--verify", type=Path, metavar="FOLDER",
        help="compare and decode every image of finished shards, and end",
    )  # fmt: skip
    args = parser.parse_args()
    modes = [args.index is not None, args.verify is not None, args.out is not None]
    if sum(modes) != 1:
        parser.error("give SOURCE and OUT, or --index FOLDER, or --verify FOLDER")
    return args


def open_source(args: argparse.Namespace) -> ImageFiles:
    path = Path(args.source)
    if path.suffix == ".npz":
        return PackedImages(str(path), [])
    if path.suffix == ".txt":
        return ImageList(str(path), [], args.root, check=0, labelled=args.labelled)
    kind = LabelledFolder if args.labelled else ImageFolder
    return kind(str(path), [], check=0)


def main() -> None:
    args = parse_args()
    try:
        if args.index is not None:
            index_folder(args.index)
        elif args.verify is not None:
            verify_folder(ShardedImages(str(args.verify), [], verify=True))
        else:
            ShardWriter(
                open_source(args), args.out, args.format, args.shard_size, args.workers,
                args.max_broken, say=lambda text: print(text, flush=True),
                max_pixels=args.max_pixels,
            ).run()  # fmt: skip
    except (ValueError, OSError, BrokenImageError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
