"""Freed memory stays in a process that trains on a CPU."""

import json
import os
import subprocess
import sys

import pytest

SCRIPT = """
import json, resource, sys, torch
from mmvitssl.allocator import keep_freed_memory

def faults():
    x = torch.ones(4096, 1024)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        x + 1
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

torch.set_num_threads(1)
counts = []
for keep in (False, True, False):
    made = keep_freed_memory(keep)
    faults()
    counts.append(faults())
print(json.dumps([made, counts]))
"""


def page_faults(**environment: str) -> tuple[bool, list[int]]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
    clean = {k: v for k, v in clean.items() if k not in ("GLIBC_TUNABLES", "LD_PRELOAD")}
    command = [sys.executable, "-c", SCRIPT]
    run = subprocess.run(
        command, env={**clean, **environment}, capture_output=True, text=True, check=True
    )
    made, counts = json.loads(run.stdout)
    return made, counts


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_freed_memory_is_used_again() -> None:
    made, (returned, kept, again) = page_faults()
    assert made
    assert kept < 200 < 1000 < min(returned, again)  # a tensor has 4,096 pages


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_the_users_settings_stay() -> None:
    made, (first, second, third) = page_faults(MALLOC_ARENA_MAX="2")
    assert not made
    assert min(first, second, third) > 1000
