"""Third-party behaviour is adjusted whichever package is imported first."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

LOAD = """
import torch
{imports}
class Harmful:
    def __reduce__(self):
        return print, ("code of the file ran",)
torch.save(dict(state_dict=Harmful()), {path!r})
try:
    load_checkpoint(torch.nn.Linear(1, 1), {path!r})
except Exception as error:
    print(type(error).__name__)
"""
IMPORTS = ("import mmvitssl", "from mmengine.runner import load_checkpoint")


@pytest.mark.parametrize("imports", [IMPORTS, IMPORTS[::-1]], ids=["before", "after"])
def test_mmengine_runs_no_code_of_a_checkpoint(imports: tuple[str, ...], tmp_path: Path) -> None:
    code = LOAD.format(imports="\n".join(imports), path=str(tmp_path / "harmful.pth"))
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "CheckpointError" and "file ran" not in done.stdout
