"""Weights by name or address: downloaded once, compared with their SHA-256, kept in a cache."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import shutil
import sys
import urllib.error
import urllib.request
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from filelock import FileLock

from mmvitssl.checkpoint.errors import CheckpointError
from mmvitssl.checkpoint.published import PUBLISHED, Published
from mmvitssl.writing import write_text

CACHE = "MMVITSSL_CACHE"  # environment variable: the folder for downloads
TIMEOUT = 30  # seconds without a byte
CHUNK = 2**20
DIGITS = re.compile(r"[0-9a-f]{8,64}")
IN_NAME = re.compile(r"-([0-9a-f]{8})\.[a-z]+$")  # as torch.hub and OpenMMLab name their files
LARGE_FILE = "X-Linked-Etag"  # SHA-256, of Hugging Face's large files


def cache_folder() -> Path:
    """Where downloads are kept: ``$MMVITSSL_CACHE``, else in the user's folder of caches."""
    stated = os.environ.get(CACHE)
    if stated:
        return Path(stated).expanduser()
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(home).expanduser() / "mmvitssl"


def find_published(text: str) -> Published | None:
    """What a name or an address stands for; None: it is neither.

    ``#sha256=DIGITS`` after either says which file is meant, by eight or more digits.

    Raises:
        CheckpointError: digits that are none.
    """
    plain, mark, digits = text.partition("#sha256=")
    if mark and not DIGITS.fullmatch(digits.lower()):
        raise CheckpointError(f"{text}: #sha256= needs 8 to 64 hexadecimal digits.")
    found = PUBLISHED.get(plain)
    if found is None:
        if urlsplit(plain).scheme not in ("http", "https"):
            return None
        name = PurePosixPath(urlsplit(plain).path).name
        in_name = IN_NAME.search(name)
        found = Published(name or "weights", plain, "", "", in_name[1] if in_name else "")
    if mark:
        found = Published(found.name, found.url, found.licence, found.format, digits.lower())
    return found


def download(wanted: Published) -> Path:
    """The file of published weights, from the cache or from its address.

    The cache keeps a JSON file beside each with address, licence, size and SHA-256.

    Raises:
        CheckpointError: no network, half a file, or another SHA-256; nothing is kept then.
    """
    address = hashlib.sha256(wanted.url.encode()).hexdigest()[:8]
    name = PurePosixPath(urlsplit(wanted.url).path).name or "weights.pth"
    file = cache_folder() / address / name
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(
            f"The cache {cache_folder()} cannot be written ({error.strerror}): name another folder "
            f"with the environment variable {CACHE}."
        ) from error
    record = file.with_name(file.name + ".json")
    with FileLock(str(file) + ".lock"):  # of several processes one downloads
        if file.is_file() and record.is_file():
            known = json.loads(record.read_text(encoding="utf-8"))
            if _sum_of(file) == known["sha256"]:
                _compare(wanted, file, f"the cached {file}")
                return file
        known = _fetch(wanted, file)
        write_text(record, json.dumps(known, indent=1))
    licence = f"licence {wanted.licence}" if wanted.licence else "see its address for the licence"
    print(f"Downloaded {wanted.url} to {file} ({known['size'] / 1e6:.1f} MB, {licence}).\n"
          f"SHA-256 {known['sha256']} ({known['compared']}).", file=sys.stderr)  # fmt: skip
    return file


@lru_cache
def _digest(path: str, size: int, changed: int, kind: str) -> str:
    """Sum of a file; computed once per process and state of the file."""
    digest = hashlib.new(kind, usedforsecurity=kind != "md5")
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _sum_of(file: Path, kind: str = "sha256") -> str:
    stat = file.stat()
    return _digest(str(file), stat.st_size, stat.st_mtime_ns, kind)


def _compare(wanted: Published, file: Path, what: str) -> None:
    """Raise CheckpointError unless the sums of a file begin with the expected digits."""
    for kind, name in (("sha256", "SHA-256"), ("md5", "MD5 sum")):
        expected = getattr(wanted, kind)
        found = _sum_of(file, kind) if expected else ""
        if not found.startswith(expected):
            raise CheckpointError(
                f"{what} has the {name} {found}, and {expected} is expected: it is another file "
                f"than {wanted.name}. Nothing of it is used."
            )


def _fetch(wanted: Published, file: Path) -> dict[str, Any]:
    """Download into a file, which is there as a whole or not at all; what is known of it."""
    part = file.with_name(f"{file.name}.part")
    try:
        with _open(wanted.url) as answer, part.open("wb") as target:
            size = answer.headers.get("Content-Length")
            announced = (answer.headers.get(LARGE_FILE) or "").strip('"')
            shutil.copyfileobj(answer, target, CHUNK)
            written = target.tell()
        if size is not None and written != int(size):
            raise CheckpointError(
                f"{wanted.url} ended after {written} of {size} bytes: run the command again."
            )
        digest = _sum_of(part)
        _compare(wanted, part, wanted.url)
        if DIGITS.fullmatch(announced) and digest != announced:
            raise CheckpointError(
                f"{wanted.url} has the SHA-256 {digest}, and its server announced {announced}: run "
                f"the command again."
            )
        os.replace(part, file)
    except (OSError, http.client.HTTPException) as error:
        raise CheckpointError(
            f"{wanted.url} cannot be downloaded ({_reason(error)}). Without a network, copy the "
            f"file here from elsewhere (curl -LO {wanted.url}) and name the local file."
        ) from error
    finally:
        part.unlink(missing_ok=True)
    compared = (
        f"as expected, by {len(wanted.sha256)} digits" if wanted.sha256
        else f"MD5 as its authors publish, by {len(wanted.md5)} digits" if wanted.md5
        else "as its server announced" if announced
        else f"its authors publish none; {wanted.url}#sha256={digest} takes this file alone"
    )  # fmt: skip
    return dict(url=wanted.url, licence=wanted.licence, size=written, sha256=digest,
                compared=compared)  # fmt: skip


def _open(url: str) -> Any:
    request = urllib.request.Request(url, headers={"User-Agent": "mmvitssl"})
    return urllib.request.urlopen(request, timeout=TIMEOUT)


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"{error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        return str(error.reason)
    return str(error) or type(error).__name__
