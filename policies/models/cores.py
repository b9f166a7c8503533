"""How many threads compute: as many as there are idle cores."""

from __future__ import annotations

import os
import time
from functools import cache
from pathlib import Path

_CPU_TIMES = Path("/proc/stat")
_LOOK_SECONDS = 0.3


def set_torch_threads(asked: int | None, device: str) -> int:
    """Have torch compute with so many threads, in this thread and in those that begin later.

    Args:
        asked: None takes `spare_cores` on a CPU, but no more threads than torch has been given, and
            leaves those of `OMP_NUM_THREADS` and of other devices as they are.

    Returns:
        The number before.
    """
    import torch

    before: int = torch.get_num_threads()
    if asked is not None:
        torch.set_num_threads(asked)
    elif device == "cpu" and "OMP_NUM_THREADS" not in os.environ and before > 1:
        torch.set_num_threads(min(before, spare_cores()))
    return before


def usable_cores() -> int:
    """CPU cores that this process may use: its affinity, within its container's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quota = Path("/sys/fs/cgroup/cpu.max")
    if quota.is_file():
        allowed, period = quota.read_text().split()
        if allowed != "max":
            cores = min(cores or 1, max(1, int(allowed) // int(period)))
    return cores or 1


@cache
def spare_cores() -> int:
    """Cores for the computation: those that are idle now but one, at least one; looked at once.

    An engine's threads wait for each other many times a token, at full load. With a core less than
    threads they all wait for the one that is not running: on two cores, two threads of llama.cpp
    beside one busy process took 19 s for what they do alone in 6 and one thread always does in 10.
    So one core is left to Python and to others.
    """
    busy = 0.0
    if _CPU_TIMES.is_file():
        before = _busy_seconds()
        time.sleep(_LOOK_SECONDS)
        busy = (_busy_seconds() - before) / _LOOK_SECONDS
    return max(1, usable_cores() - max(1, round(busy)))


def _busy_seconds() -> float:
    """Seconds that all cores together have worked since the machine started."""
    user, nice, system, _, _, irq, softirq, *_ = map(
        int, _CPU_TIMES.read_text().split("\n", 1)[0].split()[1:]
    )
    ticks: int = os.sysconf("SC_CLK_TCK")
    return (user + nice + system + irq + softirq) / ticks
