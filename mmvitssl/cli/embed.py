"""Write one vector per image: .npz (names, features), .csv or .parquet (a row per image)."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mmvitssl.apis.embedding import Embeddings, load
from mmvitssl.checkpoint import CheckpointError
from mmvitssl.engine.launch import UserError, building
from mmvitssl.extras import require
from mmvitssl.writing import whole


def write_npz(found: Embeddings, out: Path) -> None:
    """Arrays ``names`` (N) and ``features`` (N, C)."""
    np.savez(out, names=np.array(found.names), features=found.values)


def write_csv(found: Embeddings, out: Path) -> None:
    """A row per image: ``name, f0, f1, ...``."""
    with out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["name", *(f"f{number}" for number in range(found.values.shape[1]))])
        for name, values in zip(found.names, found.values, strict=True):
            writer.writerow([name, *(f"{value:.8g}" for value in values)])


def write_parquet(found: Embeddings, out: Path) -> None:
    """Columns ``name`` and ``features`` (a list of float32)."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    features = pa.FixedSizeListArray.from_arrays(
        pa.array(found.values.ravel()), found.values.shape[1]
    )
    parquet.write_table(pa.table({"name": found.names, "features": features}), out)


WRITERS: dict[str, Callable[[Embeddings, Path], None]] = {
    ".npz": write_npz,
    ".csv": write_csv,
    ".parquet": write_parquet,
}


def options() -> argparse.ArgumentParser:
    """Options of ``mmvitssl embed``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", help="folder, zip or tar file, list of paths, or an image")
    parser.add_argument("--from", dest="checkpoint", metavar="CKPT", required=True)
    parser.add_argument("--out", required=True, metavar="FILE", help=".npz, .csv or .parquet")
    parser.add_argument("--config", help="describes the encoder where the checkpoint does not")
    parser.add_argument("--readout", default="cls", help="cls, mean, cls+mean, cls-last4 ...")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--workers", type=int, default=0, help="processes that read images")
    parser.add_argument("--device", help="by default the GPU, if there is one")
    return parser


def main() -> None:
    """Embed as the command line says."""
    args = options().parse_args()
    out = Path(args.out)
    if out.suffix not in WRITERS:
        raise UserError(f"--out {out} must end in {', '.join(WRITERS)}.")
    if out.suffix == ".parquet":
        require(f"--out {out}", "parquet", "pyarrow")
    with building():
        try:
            model = load(args.checkpoint, args.config, args.device, args.readout)
        except CheckpointError as error:
            raise CheckpointError(f"--from {args.checkpoint}: {error}") from error
        found = model.embed(args.images, args.batch_size, args.workers)
    for name, why in found.broken.items():
        print(f"left out: {name}: {why}", file=sys.stderr)
    with whole(out) as part:
        WRITERS[out.suffix](found, part)
    print(f"wrote {len(found.names)} vectors of {found.values.shape[1]} numbers to {out}")
    if found.broken:
        print(f"{len(found.broken)} images could not be read (listed above)")
