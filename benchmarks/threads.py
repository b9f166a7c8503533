"""One and two threads of the embedded engine: alone, beside a busy process, and two at once.

Seconds for the same conversations, each time in a process of its own, with OpenMP's waiting threads
as they are by default (they spin) and with `GOMP_SPINCOUNT=0`. Every row is a ratio to one thread
under the same circumstances. `policies/models/cores.py` rests on it.

    python benchmarks/threads.py [--episodes 2]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

PLAY = """
import json, sys, time
import warmline

policy = {"policy": "embedded", "options": {"threads": int(sys.argv[1])}}
began = time.perf_counter()
warmline.simulate(**policy, episodes=int(sys.argv[2]), max_turns=6, seed=7)
print(json.dumps(time.perf_counter() - began))
"""


def start(threads: int, episodes: int, *, spinning: bool) -> subprocess.Popen[str]:
    left_out = ("GOMP_SPINCOUNT", "OMP_NUM_THREADS", "OMP_WAIT_POLICY")
    environment = {k: v for k, v in os.environ.items() if k not in left_out}
    return subprocess.Popen(
        [sys.executable, "-c", PLAY, str(threads), str(episodes)],
        env=environment | ({} if spinning else {"GOMP_SPINCOUNT": "0"}),
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def seconds(threads: int, episodes: int, *, spinning: bool, at_once: int = 1) -> float:
    """Of the slowest of the processes."""
    running = [start(threads, episodes, spinning=spinning) for _ in range(at_once)]
    said = [process.communicate()[0] for process in running]
    return max(float(json.loads(text)) for text in said)


@contextmanager
def busy_process() -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--episodes", type=int, default=2)
    episodes = parser.parse_args().episodes
    seconds(1, 1, spinning=False)  # weights fetched, files in memory

    def rows(what: str, at_once: int = 1) -> None:
        one = seconds(1, episodes, spinning=False, at_once=at_once)
        for spinning in (False, True):
            two = seconds(2, episodes, spinning=spinning, at_once=at_once)
            how = "spinning" if spinning else "not spinning"
            print(f"{what:22} 1 thread {one:5.1f} s   2 threads, {how:12} {two:5.1f} s"
                  f"   ratio {two / one:4.2f}", flush=True)  # fmt: skip

    rows("alone")
    with busy_process():
        rows("beside a busy process")
    rows("two processes at once", at_once=2)


if __name__ == "__main__":
    main()
