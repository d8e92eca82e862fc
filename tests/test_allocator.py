"""Freed memory stays in a process that trains on a CPU."""

import json
import os
import subprocess
import sys

import pytest

PAGES = 16384  # of a tensor of 64 MiB, above the sizes that glibc keeps by itself
SCRIPT = """
import json, resource, sys, torch
from mmvitssl.allocator import keep_freed_memory

made = sys.argv[1] == "keep" and keep_freed_memory()
torch.set_num_threads(1)
x = torch.ones(16384, 1024)
for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        x + 1
print(json.dumps([made, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before]))
"""


def page_faults(what: str, **environment: str) -> tuple[bool, int]:
    """Whether the setting was made, and pages that the kernel had to give for ten additions."""
    others = ("GLIBC_TUNABLES", "LD_PRELOAD")
    clean = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_") and k not in others}
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, what],
        env={**clean, **environment}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    made, count = json.loads(run.stdout)
    return made, count


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_freed_memory_is_used_again_unless_the_user_chose_settings() -> None:
    assert page_faults("default")[1] > 5 * PAGES
    made, kept = page_faults("keep")
    assert made and kept < 3 * PAGES  # the heap may grow once
    made, chosen = page_faults("keep", MALLOC_ARENA_MAX="2")
    assert not made and chosen > 5 * PAGES
