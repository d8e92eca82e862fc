"""Files of weights that a user names: what is wrong with the name, before anything is built."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

from mmvitssl.checkpoint.errors import CheckpointError

ADDRESS = re.compile(r"[A-Za-z][\w+.-]*://")
HUB = re.compile(r"(timm/|hf[-_]hub:|local-dir:)")


def check_weights_file(path: str | Path, option: str = "") -> Path:
    """The path of a file of weights.

    Args:
        path: what the user wrote.
        option: the option or config key that they wrote it in, for messages; may be empty.

    Raises:
        CheckpointError: it is an address, the name of a model, or a folder.
        FileNotFoundError: there is no such file.
    """
    text = str(path)
    said = f"{option} {text}".strip()
    if ADDRESS.match(text):
        raise CheckpointError(
            f"{said} is an address, and nothing is downloaded here: download the file "
            f"first (such as with curl -LO {text}) and name the local file."
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
    where = f"There is no checkpoint at {file.absolute()}.{_near(file)}"
    raise FileNotFoundError(f"{option}: {where}" if option else where)


def _timm_model(name: str) -> bool:
    import timm

    return "/" not in name and timm.is_model(name.split(".")[0])


def _near(file: Path) -> str:
    """Files of a like name in the same folder, in words."""
    if not file.parent.is_dir():
        return f" There is no folder {file.parent.absolute()}."
    names = [entry.name for entry in file.parent.iterdir() if entry.is_file()]
    near = difflib.get_close_matches(file.name, names, n=3, cutoff=0.7)
    return f" Did you mean {', '.join(near)}?" if near else ""
