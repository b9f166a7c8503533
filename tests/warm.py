"""Processes that begin with torch and the trainers already imported, for tests that start many.

A fork server imports once what takes six seconds of CPU, and every process here is a fork of it: of
its own, killable, but without that start. Starts from nothing are tested beside it: a command in
`training/loop/test_distributed.py`, spawned stages in `training/reproduction/`. Where a system cannot
fork (Windows) each process starts from nothing too.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

PRELOADED = [
    "warmline.cli",
    "warmline.evaluation.replies.evaluate",
    "warmline.policies.hf.policy",
    "warmline.training.counselor.train",
    "warmline.training.dpo.train",
    "warmline.training.evolution.evolve",
    "warmline.training.fpemf.train",
    "warmline.training.scorer.train",
    "warmline.training.sft.train",
    "transformers.models.llama.modeling_llama",
    f"{__package__}.frozen",
]


def context() -> multiprocessing.context.BaseContext:
    """How processes are started: as forks of a warm one, where the system can."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    forking = multiprocessing.get_context("forkserver")
    forking.set_forkserver_preload(PRELOADED)
    return forking


_CONTEXT: Any = context()


class Started:
    """A process that runs one function of a module, and then ends."""

    def __init__(
        self,
        function: Callable[..., None],
        *given: Any,
        environment: Mapping[str, str] | None = None,
        output: Path | None = None,
    ) -> None:
        """Start it.

        Args:
            environment: variables beside this process's own.
            output: file for what it prints.
        """
        whole = dict(os.environ) | dict(environment or {})
        self._process = _CONTEXT.Process(target=_child, args=(function, given, whole, output))
        self._process.start()
        self.pid: int = self._process.pid or 0

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._process.exitcode

    def kill(self) -> int:
        """SIGKILL; the exit code, which is another one if it had ended before."""
        self._process.kill()
        return self.wait()

    def wait(self, timeout: float | None = None) -> int:
        """The exit code.

        Raises:
            TimeoutError: it still runs after this many seconds; it is killed.
        """
        self._process.join(timeout)
        if self._process.exitcode is None:
            self._process.kill()
            raise TimeoutError(f"still running after {timeout} seconds")
        return self._process.exitcode


def command(*words: str) -> None:
    """The command line `warmline WORDS`, in this process."""
    from warmline.cli import main

    sys.argv = ["warmline", *words]
    main()


def _child(
    function: Callable[..., None],
    given: tuple[Any, ...],
    environment: dict[str, str],
    output: Path | None,
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    if output is not None:
        target = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for stream in (1, 2):
            os.dup2(target, stream)
        sys.stdout = sys.stderr = io.TextIOWrapper(
            io.FileIO(1, "w", closefd=False), encoding="utf-8", write_through=True
        )
    function(*given)
