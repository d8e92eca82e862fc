"""Files of weights that a user names: by path, name or address; what is wrong with the name."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

from mmvitssl.checkpoint.download import download, find_published
from mmvitssl.checkpoint.errors import CheckpointError
from mmvitssl.checkpoint.published import PUBLISHED

ADDRESS = re.compile(r"[A-Za-z][\w+.-]*://")
HUB = re.compile(r"(timm/|hf[-_]hub:|local-dir:)")


def check_weights_file(path: str | Path, option: str = "") -> Path:
    """The path of a file of weights; published ones are downloaded.

    Args:
        path: what the user wrote: a path, a name of
            :data:`~mmvitssl.checkpoint.published.PUBLISHED`, or an address.
        option: the option or config key that they wrote it in, for messages; may be empty.

    Raises:
        CheckpointError: it is an address of another kind than http, the name of a model that is
            not known here, or a folder; or the download failed.
        FileNotFoundError: there is no such file.
    """
    text = str(path)
    said = f"{option} {text}".strip()
    if not Path(text).expanduser().exists():
        published = find_published(text)
        if published is not None:
            try:
                return download(published)
            except CheckpointError as error:
                raise CheckpointError(f"{option}: {error}" if option else str(error)) from error
    if ADDRESS.match(text):
        raise CheckpointError(
            f"{said} is an address that is not read here (http and https are): download the file "
            f"first and name the local file."
        )
    file = Path(text).expanduser()
    if file.is_file():
        return file
    if file.is_dir():
        inside = sorted(
            entry.name
            for entry in file.iterdir()
            if entry.suffix in (".pth", ".pt", ".bin", ".safetensors")
        )
        raise CheckpointError(
            f"{said} is a folder: name a file in it"
            + (f", such as {file / inside[0]}." if inside else "; it holds no weights.")
        )
    if HUB.match(text) or _timm_model(text):
        name = re.sub(HUB, "", text).split("/")[-1]
        raise CheckpointError(
            f"{said} is the name of a model, not a file: save its weights first, with "
            f"python -c \"import timm, torch; torch.save(timm.create_model('{name}', "
            f"pretrained=True).state_dict(), '{name.split('.')[0]}.pth')\", and name that file."
        )
    where = f"There is no checkpoint at {file.absolute()}.{_near(file)}{_near_name(text)}"
    raise FileNotFoundError(f"{option}: {where}" if option else where)


def _timm_model(name: str) -> bool:
    import timm

    return "/" not in name and timm.is_model(name.split(".")[0])


def _near_name(text: str) -> str:
    """Published weights of a like name, in words."""
    near = difflib.get_close_matches(text, PUBLISHED, n=3, cutoff=0.6) if "/" not in text else []
    return f" Published weights of a like name: {', '.join(near)}." if near else ""


def _near(file: Path) -> str:
    """Files of a like name in the same folder, in words."""
    if not file.parent.is_dir():
        return f" There is no folder {file.parent.absolute()}."
    names = [entry.name for entry in file.parent.iterdir() if entry.is_file()]
    near = difflib.get_close_matches(file.name, names, n=3, cutoff=0.7)
    return f" Did you mean {', '.join(near)}?" if near else ""
