"""How many threads compute: as many as there are idle cores."""

from __future__ import annotations

import os
import sys
import time
from functools import cache
from pathlib import Path

_CPU_TIMES = Path("/proc/stat")
_LOOK_SECONDS = 0.3
_BOTH = 2


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


def spare_cores() -> int:
    """Cores for the computation: those that are idle now but one, at least one.

    An engine's threads wait for each other many times a token, at full load. With a core less than
    threads they all wait for the one that is not running: on two cores, two threads of llama.cpp
    beside one busy process took 19 s for what they do alone in 6 and one thread always does in 10.
    So one core is left to Python and to others.
    """
    return max(1, usable_cores() - max(1, _busy_cores()))


def llama_threads() -> int:
    """Threads of llama.cpp: `OMP_NUM_THREADS` where it is set, else `spare_cores`, but two where
    there are two cores and both are idle: leaving one of two would take half of the machine.

    Two are no burden to others as long as they do not spin while they wait (`benchmarks/threads.py`).
    Where that can no longer be arranged, one core is left.
    """
    told = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if told.isdecimal() and int(told) > 0:  # the OpenMP library passes over anything else, too
        return int(told)
    if usable_cores() == _BOTH and not _busy_cores() and _waits_without_spinning():
        return _BOTH
    return spare_cores()


def _waits_without_spinning() -> bool:
    """Have OpenMP's threads sleep while they wait, unless the user has said otherwise.

    The library reads that once, when it is loaded: by llama.cpp or, in the same process, by torch.
    """
    spins, policy = os.environ.get("GOMP_SPINCOUNT"), os.environ.get("OMP_WAIT_POLICY")
    if spins is None and policy is None and not {"torch", "xllamacpp"} & sys.modules.keys():
        os.environ["GOMP_SPINCOUNT"] = spins = "0"
    return spins == "0" or (spins is None and (policy or "").lower() == "passive")


@cache
def _busy_cores() -> int:
    """Cores that somebody keeps busy now; looked at once."""
    if not _CPU_TIMES.is_file():
        return 0
    before = _busy_seconds()
    time.sleep(_LOOK_SECONDS)
    return round((_busy_seconds() - before) / _LOOK_SECONDS)


def _busy_seconds() -> float:
    """Seconds that all cores together have worked since the machine started."""
    user, nice, system, _, _, irq, softirq, *_ = map(
        int, _CPU_TIMES.read_text().split("\n", 1)[0].split()[1:]
    )
    ticks: int = os.sysconf("SC_CLK_TCK")
    return (user + nice + system + irq + softirq) / ticks
