"""A real Slurm on this machine: munged, slurmctld and slurmd, without cgroups, in a folder of its own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

DAEMONS = ("munged", "slurmctld", "slurmd")
PACKAGES = "slurmctld slurmd slurm-client munge"
START_WAIT = 30.0

CONFIGURATION = """
ClusterName=here
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CryptoType=crypto/munge
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=1,sched_interval=1,bf_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
MpiDefault=none
JobRequeue=1
KillWait=10
ReturnToService=2
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """Why no Slurm can be started here; empty if it can."""
    paths = f"{os.environ.get('PATH', '')}:/usr/sbin"
    absent = [name for name in (*DAEMONS, "sbatch") if shutil.which(name, path=paths) is None]
    if absent:
        return f"no {', '.join(absent)}: apt-get install {PACKAGES}"
    if os.geteuid() != 0:
        return "slurmd has to be started by root"
    return ""


def _free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports


@contextmanager
def slurm() -> Iterator[Path]:
    """A Slurm with one node of four cores; its configuration file.

    Raises:
        RuntimeError: it does not come up; says what its daemons told.
    """
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    folder.chmod(0o755)
    for name in ("munge", "state", "spool"):
        (folder / name).mkdir()
    file = folder / "slurm.conf"
    host = socket.gethostname()
    file.write_text(CONFIGURATION.format(host=host, folder=folder, ports=_free_ports(2)))
    key = folder / "munge" / "key"
    key.write_bytes(os.urandom(1024))
    for path in (folder / "munge", key):
        shutil.chown(path, "munge", "munge")
    (folder / "munge").chmod(0o711)
    key.chmod(0o400)
    environment = {**os.environ, "SLURM_CONF": str(file), "PATH": os.environ["PATH"] + ":/usr/sbin"}
    munge = [
        f"--{name}={folder}/munge/{name}"
        for name in ("socket", "pid-file", "log-file", "seed-file")
    ]
    started = [
        subprocess.Popen(
            ["munged", "--foreground", f"--key-file={key}", *munge],
            user="munge", group="munge", env=environment, stderr=subprocess.DEVNULL,
        )
    ]  # fmt: skip
    try:
        time.sleep(1)
        for name in ("slurmctld", "slurmd"):
            started.append(
                subprocess.Popen(
                    [name, "-D"], env=environment, stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            )  # fmt: skip
        _await_idle(environment, folder)
        yield file
    finally:
        for process in reversed(started):
            process.terminate()
        for process in started:
            process.wait(20)
        shutil.rmtree(folder, ignore_errors=True)


def _await_idle(environment: dict[str, str], folder: Path) -> None:
    until = time.monotonic() + START_WAIT
    while time.monotonic() < until:
        asked = subprocess.run(
            ["sinfo", "--noheader", "--format=%T"], env=environment, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        if asked.stdout.strip() == "idle":
            return
        time.sleep(0.5)
    told = "".join(p.read_text()[-500:] for p in folder.glob("slurm*.log"))
    raise RuntimeError(f"Slurm does not come up: {told}")


def running() -> Iterator[Path]:
    """A fixture's Slurm: its configuration file; the test is skipped, with the reason, without one."""
    if reason := missing():
        pytest.skip(reason)
    try:
        with slurm() as file:
            yield file
    except RuntimeError as error:
        pytest.skip(str(error))
