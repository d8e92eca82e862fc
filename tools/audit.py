#!/usr/bin/env python
"""Compare the pins of requirements/lock.txt with the advisories of a package index.

The index answers /pypi/NAME/VERSION/json with the advisories of a version (PyPI does). Where it
has no such page, the page of the project (/pypi/NAME/json) says what is newest, and the advisories
of that version: older pins are then listed as not compared.

Exit status: 0 no advisory, all pins compared; 1 an advisory; 2 the index cannot be reached; 3 no
advisory, and some pins could not be compared.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PIN = re.compile(r"([A-Za-z0-9._-]+)==([^\s;]+)")


def pins(lock: Path) -> list[tuple[str, str]]:
    """(name, version) of each pin; a name has more where versions of Python differ."""
    lines = (PIN.match(line) for line in lock.read_text().splitlines())
    return sorted({(found[1], found[2]) for found in lines if found})


def ask(url: str) -> dict[str, Any] | None:
    """The answer of an index; None: it has no such page."""
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise


def advisories(page: dict[str, Any]) -> list[str]:
    """Advisories of a page's version that were not withdrawn, a line each."""
    return [
        f"{found['id']} ({', '.join(found.get('aliases') or ()) or 'no alias'}), mended in "
        f"{', '.join(found.get('fixed_in') or ()) or 'no version'}: {found.get('summary') or ''}"
        for found in page.get("vulnerabilities") or ()
        if not found.get("withdrawn")
    ]


def compare(lock: Path, index: str) -> Iterator[tuple[str, str, list[str] | None, str]]:
    """(name, version, advisories, newest version); None for advisories: not compared."""
    for name, version in pins(lock):
        page = ask(f"{index}/pypi/{name}/{version}/json")
        newest = ask(f"{index}/pypi/{name}/json")
        latest = str(newest["info"]["version"]) if newest else "unknown"
        if page is None and latest == version:
            page = newest
        yield name, version, None if page is None else advisories(page), latest


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--lock", type=Path, default=ROOT / "requirements/lock.txt")
    parser.add_argument(
        "--index", default="https://pypi.org", help="index that has /pypi/NAME/json"
    )
    args = parser.parse_args()
    counts = dict(compared=0, bad=0, unknown=0)
    try:
        for name, version, found, latest in compare(args.lock, args.index.rstrip("/")):
            if found is None:
                counts["unknown"] += 1
                print(f"{name} {version}: not compared; the newest release is {latest}")
                continue
            counts["compared"] += 1
            counts["bad"] += bool(found)
            for line in found:
                print(f"{name} {version}: {line}")
    except (OSError, ValueError) as error:  # no connection, or no JSON
        done = counts["compared"] + counts["unknown"]
        print(
            f"error: {args.index} cannot be asked ({error}); {done} pins were looked up. Run it "
            f"where that index can be reached, or name another with --index.",
            file=sys.stderr,
        )
        return 2
    print(
        f"{counts['compared']} pins compared, {counts['bad']} of them with advisories; "
        f"{counts['unknown']} not compared: the index has no advisories of their versions."
    )
    return 1 if counts["bad"] else 3 if counts["unknown"] else 0


if __name__ == "__main__":
    sys.exit(main())
