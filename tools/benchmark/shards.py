"""Images per second of shards, of this package and of webdataset (`pip install webdataset`).

    python tools/benchmark/shards.py data/imagenet-shards --repeat 7

This package reads at random places. webdataset reads in order and shuffles in a buffer of 1,000.
Both return the bytes of all images in one process. The times are processor time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np
import webdataset

from mmvitssl.datasets.shards import TarReader


def ours(reader: TarReader) -> float:
    """Seconds for all images."""
    order = np.random.default_rng(0).permutation(len(reader.names))
    start = time.process_time()
    for number in order:
        reader.read(int(number))
    return time.process_time() - start


def theirs(shards: list[str], images: int) -> float:
    """Seconds for all images."""
    start = time.process_time()
    data = webdataset.WebDataset(shards, shardshuffle=len(shards), empty_check=False)
    read = sum(1 for _ in data.shuffle(1000).to_tuple("jpg;png;jpeg"))
    if read != images:
        raise SystemExit(f"error: webdataset read {read} of {images} images.")
    return time.process_time() - start


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="with *.tar and their indices")
    parser.add_argument("--repeat", type=int, default=7)
    args = parser.parse_args()
    reader, shards = TarReader(args.folder), [str(path) for path in args.folder.glob("*.tar")]
    images = len(reader.names)
    pairs = [(ours(reader), theirs(shards, images)) for _ in range(args.repeat)]
    print(json.dumps({
        "images": images,
        "ours_per_s": round(images / statistics.median(pair[0] for pair in pairs)),
        "webdataset_per_s": round(images / statistics.median(pair[1] for pair in pairs)),
        "ratio": round(statistics.median(b / a for a, b in pairs), 2),
    }))  # fmt: skip


if __name__ == "__main__":
    main()
