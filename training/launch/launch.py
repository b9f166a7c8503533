"""Start the processes of a training: `torchrun` here, or a job of Slurm with one on each node.

Every process is an ordinary `warmline train … --config FILE` that finds the others by the variables
of torchrun. The settings lie beside the result, so the same command resumes and anyone can see what
was started.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import tomli_w

from ...core.errors import ConfigError, Interrupted, MissingExtra, RunError
from ...core.files import write_whole
from ...core.shards.on_slurm import active_job
from ...core.tasks import SIGNAL_EXIT, ending_signals
from .settings import LaunchSettings

CONFIG_NAME = "launch.toml"
"""The training's settings, as its processes read them."""
JOB_NAME = "launch.json"
"""Slurm's job."""
LOGS = "slurm"
"""What the job printed, by task."""
STARTED = (CONFIG_NAME, "training.json", "training.lock", f"{LOGS}/*")
"""Patterns of what a start may have written before its processes have begun."""
_TORCHRUN = (sys.executable, "-m", "torch.distributed.run")
_PORTS = (20_000, 20_000)  # first, and how many; a job takes the one that follows from its id


def launched_here(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process is one of several that were started to train together."""
    return "WORLD_SIZE" in environment


def write_config(folder: Path, settings: Mapping[str, Any]) -> Path:
    """Write the settings for the processes; returns the file.

    Args:
        folder: the checkpoint's.
        settings: those that were given, as plain data.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / CONFIG_NAME
    write_whole(file, tomli_w.dumps(dict(settings)))
    return file


def words_of(kind: str, config: Path, launch: LaunchSettings) -> list[str]:
    """The command that starts the processes of one machine.

    Args:
        kind: the trainer, such as `sft`.
        config: settings, see `write_config`.
    """
    return [*_torchrun(("--standalone",), launch.each), *_training(kind, config)]


def run_here(kind: str, config: Path, launch: LaunchSettings) -> None:
    """Train with several processes on this machine, to the end.

    They are in a session of their own: Ctrl-C, SIGTERM and SIGHUP come to this process alone, and
    from it to each of them, once. They end with this process, however it ends; see `held`.

    Raises:
        RunError: one of them failed.
        Interrupted: a signal came; they have saved their state, or had none yet.
    """
    held = [sys.executable, "-m", "warmline.training.launch.held"]
    words = [*held, *words_of(kind, config, launch)[len(_TORCHRUN) :]]
    came: list[int] = []
    process = subprocess.Popen(words, stdin=subprocess.PIPE, start_new_session=True)  # noqa: S603
    assert process.stdin is not None
    leash = process.stdin.fileno()

    def tell(number: int) -> None:
        came.append(number)
        with suppress(BrokenPipeError):  # they have ended
            os.write(leash, bytes([number]))

    with process.stdin, _signals(tell):
        code = process.wait()
    if code and came:
        stopped = Interrupted(
            f"stopped by {signal.Signals(came[0]).name}",
            hint="the same command resumes from the last save",
        )
        stopped.exit_code = SIGNAL_EXIT + came[0]
        raise stopped
    if code:
        raise RunError(
            f"the processes of the training ended with {code}; what failed stands above",
            hint="the same command resumes from the last save",
        )


@contextmanager
def _signals(tell: Callable[[int], None]) -> Iterator[None]:
    """Hand on what would end this process, where this is the thread that signals reach."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {
        number: signal.signal(number, lambda came, frame: tell(came)) for number in ending_signals()
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class NodeTask:
    """What submitit calls on each node: torchrun, which meets the other nodes at the first one.

    Args:
        kind, config: see `words_of`.
        launch: how many nodes and processes.
    """

    def __init__(self, kind: str, config: Path, launch: LaunchSettings) -> None:
        self._kind, self._config, self._launch = kind, config.absolute(), launch

    def __call__(self) -> None:
        """Train to the end.

        Raises:
            RunError: it failed.
        """
        from submitit import JobEnvironment

        here = JobEnvironment()
        first, many = _PORTS
        meeting = (
            f"--nnodes={self._launch.nodes}",
            f"--node-rank={here.node}",
            f"--master-addr={here.hostnames[0]}",
            f"--master-port={first + int(here.job_id.partition('_')[0]) % many}",
        )
        words = [*_torchrun(meeting, self._launch.each), *_training(self._kind, self._config)]
        process = subprocess.Popen(words)  # noqa: S603
        before = signal.getsignal(signal.SIGUSR2)  # submitit's: it has the job requeued

        def at_limit(number: int, frame: Any) -> None:
            process.terminate()
            process.wait()
            if callable(before):
                before(number, frame)

        signal.signal(signal.SIGUSR2, at_limit)
        if code := process.wait():
            raise RunError(f"the processes of node {here.node} ended with {code}")

    def checkpoint(self) -> Any:
        """What submitit starts when the job is requeued: the same, which resumes."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def shown(kind: str, folder: Path, launch: LaunchSettings) -> str:
    """What would be started, as text: the command, or Slurm's script and each node's command.

    Args:
        kind: the trainer, such as `sft`.
        folder: the checkpoint's.

    Raises:
        MissingExtra: `--on slurm` without submitit.
    """
    config = folder / CONFIG_NAME
    written = f"# {config} will hold the settings"
    if launch.on != "slurm":
        return f"{shlex.join(words_of(kind, config, launch))}\n{written}"
    meeting = (f"--nnodes={launch.nodes}", "--node-rank=...", "--master-addr=...")
    words = [*_torchrun(meeting, launch.each), *_training(kind, config.absolute())]
    return f"{script(folder.absolute(), launch)}\n# on each node: {shlex.join(words)}\n{written}"


def script(folder: Path, launch: LaunchSettings) -> str:
    """The script for sbatch, as it would be submitted.

    Raises:
        MissingExtra: submitit is not installed.
    """
    _need_submitit()
    from submitit.slurm.slurm import _make_sbatch_string

    command = f"{sys.executable} -u -m submitit.core._submit {folder / LOGS}"
    return str(_make_sbatch_string(command=command, folder=folder / LOGS, **launch.parameters()))


def submit(kind: str, config: Path, launch: LaunchSettings) -> str:
    """Submit the job; returns its id.

    Raises:
        MissingExtra: submitit is not installed.
        RunError: a job trains into this folder already, or Slurm refuses.
    """
    _need_submitit()
    from submitit.core.utils import FailedJobError
    from submitit.slurm.slurm import SlurmExecutor

    folder = config.parent
    refuse_active(folder)
    try:
        executor = SlurmExecutor(folder.absolute() / LOGS, max_num_timeout=launch.slurm.requeues)
        executor.update_parameters(**launch.parameters())
        job = executor.submit(NodeTask(kind, config, launch)).job_id
    except (RuntimeError, FailedJobError, OSError, ValueError) as error:
        raise RunError(
            f"Slurm takes no job: {error}",
            hint="this must be a machine from which `sbatch` works; --dry-run shows the script",
        ) from error
    write_whole(folder / JOB_NAME, f'{{"job": "{job}"}}\n')
    return str(job)


def refuse_active(folder: Path) -> None:
    """Refuse to train into a folder into which a job of Slurm trains.

    Raises:
        RunError: one does.
    """
    if job := active_job(folder / JOB_NAME):
        raise RunError(
            f"Slurm's job {job} trains into {folder}",
            hint=f"{folder / LOGS} has what it prints; `scancel {job}` ends it",
        )


def out_of(settings: Any, kind: str) -> Path:
    """The checkpoint's folder.

    Raises:
        ConfigError: none is named: each process would take another.
    """
    if settings.out is None:
        raise ConfigError(
            f"several processes need one folder for what train {kind} makes", hint="name it: --out"
        )
    return Path(settings.out)


def _training(kind: str, config: Path) -> Sequence[str]:
    return "-m", "warmline.cli", "train", kind, "--config", str(config)


def _torchrun(meeting: Sequence[str], processes: int) -> Sequence[str]:
    return (*_TORCHRUN, *meeting, f"--nproc-per-node={processes}")


def _need_submitit() -> None:
    try:
        import submitit  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtra("--on slurm", extra="slurm") from error
