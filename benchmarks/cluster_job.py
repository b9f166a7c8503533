"""`ray job submit` with `warmline simulate --on ray` as its entry point, on a head started here.

python benchmarks/cluster_job.py        # needs ray[default]; a minute
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import warmline

EPISODES = 20
WAIT = 300.0
"""Seconds for the job."""
ADDRESS = "http://127.0.0.1:8265"


def ray(*words: str) -> None:
    """A command of Ray's own, of this environment."""
    subprocess.run([sys.executable, "-m", "ray.scripts.scripts", *words], check=True)


def submit(folder: Path) -> str:
    """Submit the job and wait for it; how it ended."""
    from ray.job_submission import JobSubmissionClient

    words = [
        sys.executable,
        "-m",
        "warmline.cli",
        "simulate",
        "--policy",
        "scripted",
        "--on",
        "ray",
    ]
    words += ["--workers", "2", "--episodes", str(EPISODES), "--out", str(folder)]
    client = JobSubmissionClient(ADDRESS)
    job = client.submit_job(entrypoint=shlex.join(words))
    until = time.monotonic() + WAIT
    while not (status := client.get_job_status(job)).is_terminal():
        assert time.monotonic() < until, "the job did not end"
        time.sleep(1)
    if status != "SUCCEEDED":
        print(client.get_job_logs(job))
    return str(status.value)


def main() -> None:
    """Start a head, submit, check."""
    ray("start", "--head", "--num-cpus", "3", "--include-dashboard", "true")
    try:
        with tempfile.TemporaryDirectory() as folder:
            began = time.monotonic()
            print(f"job {submit(Path(folder) / 'run')} after {time.monotonic() - began:.0f} s")
            played = warmline.read_episodes(Path(folder) / "run")
            print(f"{len(played)} of {EPISODES} episodes")
    finally:
        ray("stop")


if __name__ == "__main__":
    main()
