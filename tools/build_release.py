#!/usr/bin/env python
"""Build wheel and source distribution of a release, and check both.

The tag, ``mmvitssl.__version__`` and the first section of CHANGELOG.md must agree.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


class ReleaseError(ValueError):
    """The release is not consistent."""


def version() -> str:
    """The version that the package states."""
    text = (ROOT / "mmvitssl/__init__.py").read_text(encoding="utf-8")
    match = re.search(r'^__version__ = "([^"]+)"', text, re.MULTILINE)
    if match is None:
        raise ReleaseError("mmvitssl/__init__.py states no __version__.")
    return match[1]


def check_consistent(tag: str | None) -> None:
    """Compare tag, package, changelog and citation.

    Raises:
        ReleaseError: they name different versions.
    """
    stated = version()
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    section = re.search(r"^## (\S+)", changelog, re.MULTILINE)
    citation = re.search(r"^version: (\S+)", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    found = {
        "CHANGELOG.md": section and section[1],
        "CITATION.cff": citation and citation[1],
        **({"the tag": tag.removeprefix("v")} if tag else {}),
    }
    for place, name in found.items():
        if name != stated:
            raise ReleaseError(f"mmvitssl.__version__ is {stated}, but {place} says {name}.")


def build(out: Path) -> None:
    """Build both distributions in an environment of their own, and check them with twine."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder) / "bin" / "python"
        install = [python, "-m", "pip", "install", "--quiet", "build", "twine", "setuptools>=80"]
        subprocess.run(install, check=True)
        shutil.rmtree(out, ignore_errors=True)
        subprocess.run([python, "-m", "build", "--outdir", out, ROOT], check=True)
        files = sorted(out.iterdir())
        subprocess.run([python, "-m", "twine", "check", "--strict", *files], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tag", help="of the release, such as v0.1.0")
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    parser.add_argument("--check-only", action="store_true", help="compare versions, build nothing")
    args = parser.parse_args()
    try:
        check_consistent(args.tag)
    except ReleaseError as error:
        sys.exit(f"error: {error}")
    if not args.check_only:
        build(args.out.resolve())


if __name__ == "__main__":
    main()
