"""What one stage of a process has used is there for the next one, and for others."""

from __future__ import annotations

import subprocess
import sys

import pytest

USE = """
import psutil, torch
from warmline.training.loop.base_model import free_memory

process = psutil.Process()
before = process.memory_info().rss
blocks = [bytearray(100_000) for _ in range(5_000)]
kept = blocks[::500]
blocks.clear()
used = process.memory_info().rss - before
free_memory()
print(used, process.memory_info().rss - before)
"""
"""Half a gigabyte of blocks that the C library takes from its own heap, of which a few stay in use."""


@pytest.mark.skipif(sys.platform != "linux", reason="other C libraries are not asked")
def test_free_memory_goes_back_to_the_system() -> None:
    done = subprocess.run([sys.executable, "-c", USE], capture_output=True, text=True, check=True)
    used, left = map(int, done.stdout.split())
    assert used > 200e6, "the library kept what was free"
    assert left < 50e6
