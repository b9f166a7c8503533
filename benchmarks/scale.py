"""Commands over runs of growing size: seconds and peak memory, and how both grow.

    python benchmarks/scale.py [--sizes 2000 20000] [--large] [--turns 8] [--work simulate resume ...] [--json]

Runs are made through our own code with a scripted policy. Each piece of work is a process of its own,
so its peak memory is its own. Ten times the episodes should take ten times as long at most, and
hardly more memory; what answers about one episode, and a resume, should not take longer at all. With
`--large` also 200,000 episodes: about 3.3 GB of log and twenty minutes.

Pieces of work are in `WORK`: a function of a run's folder and its number of episodes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import warmline
from warmline.environments import Resumed
from warmline.environments.episodes.derived import derived_path

GIVEN = {"turns": 8}
GOAL_RESUME = 10.0
"""Seconds to the first event at 200,000 finished episodes."""
LARGE = 200_000
FIRST_EVENT = "first event after"


def _command(*arguments: object) -> None:
    """Run a command of ours in this process."""
    from warmline.cli import app

    try:
        app([str(argument) for argument in arguments])
    except SystemExit as done:
        if done.code:
            raise


def _play(folder: Path, episodes: int) -> None:
    _command(
        "simulate", "--policy", "scripted", "--options", "record=false", "--episodes", episodes,
        "--max-turns", GIVEN["turns"], "--concurrency", 100, "--out", folder, "--quiet",
    )  # fmt: skip


def _resume(folder: Path, episodes: int) -> None:
    """The same call again on the finished run."""
    started = time.perf_counter()

    def observe(event: object) -> None:
        assert isinstance(event, Resumed), "all episodes are finished"
        print(f"{FIRST_EVENT} {time.perf_counter() - started:.2f} s", flush=True)

    warmline.simulate(
        policy="scripted", options={"record": False}, episodes=episodes, max_turns=GIVEN["turns"],
        concurrency=100, out=folder, observe=observe, progress=False,
    )  # fmt: skip


def _resume_anew(folder: Path, episodes: int) -> None:
    """The same without what is kept beside the log, as after a kill."""
    for kind in ("index", "totals"):
        derived_path(folder / "episodes.jsonl", kind).unlink(missing_ok=True)
    _resume(folder, episodes)


def _one(folder: Path, episodes: int) -> None:
    _command("show", folder, "--id", warmline.read_episodes(folder).ids[-1])


def _judge(folder: Path, episodes: int) -> None:
    from warmline.evaluation.judging.judge_run import judge_run
    from warmline.evaluation.judging.settings import JudgeSettings

    policy = warmline.ScriptedPolicy(['{"reason": "fine", "score": 4}'], record=False)
    settings = JudgeSettings(rubric="dialogue", dimensions=("helpfulness",), concurrency=100)
    asyncio.run(judge_run(folder, settings, policy=policy))


def _rows(folder: Path, episodes: int) -> None:
    from warmline.training.rows.build import build_rows
    from warmline.training.rows.settings import RowSettings
    from warmline.training.rows.sources import load_episodes, split_episodes

    read, _ = load_episodes([folder])
    sides = [build_rows(side, RowSettings()).rows for side in split_episodes(read, 0.1, 0)]
    print(" and ".join(str(len(rows)) for rows in sides), "rows")


def _export(folder: Path, episodes: int) -> None:
    _command("export", folder, "--out", folder / "export", "--force")


WORK: dict[str, Callable[[Path, int], None]] = {
    "simulate": _play,
    "resume": _resume,
    "resume-anew": _resume_anew,
    "show": lambda folder, _: _command("show", folder, "--limit", 1),
    "show-id": _one,
    "clean": lambda folder, _: _command("clean", folder),
    "export": _export,
    "analyze": lambda folder, _: _command("analyze", folder, "--out", folder / "analysis"),
    "judge": _judge,
    "report": lambda folder, _: _command("report", folder),
    "rows": _rows,
}


class Measured(dict[str, object]):
    """One piece of work at one size: `seconds`, `megabytes`, and `first_event` of a resume."""


def measure(work: str, folder: Path, episodes: int) -> Measured:
    """Do the work in a process of its own."""
    command = [sys.executable, __file__, "--child", work, str(folder), str(episodes)]
    command += ["--turns", str(GIVEN["turns"])]
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as output:
        child = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - started
        output.seek(0)
        said = output.read()
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"{work} failed at {episodes} episodes:\n{said[-3000:]}")
    found = Measured(seconds=round(seconds, 1), megabytes=used.ru_maxrss // 1024)
    if FIRST_EVENT in said:
        found["first_event"] = float(said.partition(FIRST_EVENT)[2].split()[0])
    return found


def _line(work: str, size: int, now: Measured, before: Measured | None) -> str:
    line = f"{work:12} {size:8,}  {now['seconds']:8} s  {now['megabytes']:6} MB"
    if before is not None:
        ratios = [float(str(now[k])) / float(str(before[k])) for k in ("seconds", "megabytes")]
        line += f"  x{ratios[0]:.1f} time, x{ratios[1]:.2f} memory"
    if "first_event" in now:
        line += f"  first event {now['first_event']} s"
    return line


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[2_000, 20_000])
    parser.add_argument("--large", action="store_true", help=f"also {LARGE:,} episodes")
    parser.add_argument("--turns", type=int, default=GIVEN["turns"], help="utterances, at most")
    parser.add_argument("--work", nargs="+", choices=list(WORK), default=list(WORK))
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    GIVEN["turns"] = given.turns
    if given.child:
        work, folder, episodes = given.child
        WORK[work](Path(folder), int(episodes))
        return
    sizes = sorted({*given.sizes, *([LARGE] if given.large else [])})
    results: dict[str, dict[int, Measured]] = {work: {} for work in given.work}
    if "simulate" not in given.work:
        raise SystemExit("the other work needs the run that `simulate` makes")
    for number, size in enumerate(sizes):
        folder = Path(tempfile.mkdtemp(prefix="warmline-scale-"))
        try:
            for work in given.work:
                results[work][size] = measure(work, folder / "run", size)
                before = results[work].get(sizes[number - 1]) if number else None
                if not given.json:
                    print(_line(work, size, results[work][size], before), flush=True)
        finally:
            shutil.rmtree(folder)
    if given.json:
        print(json.dumps(results))
    elif LARGE in sizes and "resume-anew" in given.work:
        _tell_goal(results["resume-anew"])


def _tell_goal(resumes: Mapping[int, Measured]) -> None:
    found = resumes[LARGE]["first_event"]
    print(f"a resume of {LARGE:,} without its index: {found} s (goal: below {GOAL_RESUME:.0f})")


if __name__ == "__main__":
    main()
