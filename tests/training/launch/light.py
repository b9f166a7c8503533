"""A command that holds two processes as `warmline train … --processes 2` does, without a training.

Each says that it has begun, and what signal came to it. What is tested with these is the leash alone;
with real trainings it is tested beside them.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from warmline.core.errors import Interrupted, RunError
from warmline.training.launch import launch
from warmline.training.launch.held import end_with_parent
from warmline.training.launch.settings import LaunchSettings


def command(folder: str) -> int:
    """Start the two; the exit code of the command line."""
    launch._training = lambda kind, config: (__file__, folder)  # instead of `warmline train`
    try:
        launch.run_here("sft", Path(folder), LaunchSettings(processes=2))
    except Interrupted as stopped:
        print(stopped)
        return stopped.exit_code
    except RunError as error:
        print(error)
        return 2
    return 0


def wait_for_a_signal(folder: Path) -> int:
    """One of the two: as a training, it ends with its own words when it is asked to."""
    end_with_parent()
    rank = os.environ["RANK"]
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    (folder / f"begun-{rank}").touch()
    came = signal.sigwait((signal.SIGINT, signal.SIGTERM))
    (folder / f"told-{rank}").write_text(signal.Signals(came).name)
    return 128 + came


if __name__ == "__main__":
    if "RANK" in os.environ:
        sys.exit(wait_for_a_signal(Path(sys.argv[1])))
    sys.exit(command(sys.argv[1]))
