"""Who plays a run: how many workers, and where."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from ...core.errors import ConfigError
from ...core.outside.places import is_url, url_of
from ...core.record import Record
from ...core.settings import read_settings
from ..runs.settings import RunSettings

Place = Literal["local", "ray", "slurm"]


class RaySettings(Record):
    """How workers are placed on a Ray cluster."""

    address: str | None = Field(
        None,
        description="of the cluster; default: one that runs on this machine, or a new one here",
    )
    cpus: Annotated[float, Field(ge=0)] = Field(1.0, description="cores of a worker")
    gpus: Annotated[float, Field(ge=0)] = Field(
        0.0, description="GPUs of a worker, all on one node; a part of one is shared"
    )
    bundles: Annotated[int, Field(ge=1)] = Field(
        1,
        description="how many times these cores and GPUs a worker takes, as a placement group that may"
        " span nodes: for an engine whose tensor parallelism does",
    )
    through_driver: bool = Field(
        False,
        description="write every log on the driver's side; done by itself for nodes that do not see"
        " the run's folder",
    )


class SlurmSettings(Record):
    """What a Slurm array of workers asks for."""

    partition: str | None = Field(None, description="of the cluster; default: Slurm's own")
    time: Annotated[int, Field(ge=1)] = Field(
        60, description="minutes after which a worker is requeued"
    )
    cpus: Annotated[int, Field(ge=1)] = Field(1, description="cores of a worker")
    gpus: Annotated[int, Field(ge=0)] = Field(0, description="GPUs of a worker")
    mem: str | None = Field(None, description="memory of a worker, such as 32GB")
    account: str | None = Field(None, description="that is charged")
    qos: str | None = Field(None, description="quality of service")
    constraint: str | None = Field(None, description="features that a node must have")
    setup: tuple[str, ...] = Field(
        (), description="lines of shell before the worker, such as module load cuda"
    )
    at_once: Annotated[int, Field(ge=1)] = Field(256, description="workers that run at once")
    notice: Annotated[int, Field(ge=10)] = Field(
        120, description="seconds before the time limit from which no conversation begins"
    )
    requeues: Annotated[int, Field(ge=0)] = Field(
        20, description="time limits that a worker may meet before it is given up"
    )

    @model_validator(mode="after")
    def _notice_fits(self) -> Self:
        if self.notice >= self.time * 60:
            raise ValueError(f"notice: {self.notice} seconds are not less than {self.time} minutes")
        return self

    def parameters(self) -> dict[str, Any]:
        """As submitit takes them."""
        given = {
            "job_name": "warmline",
            "partition": self.partition,
            "time": self.time,
            "cpus_per_task": self.cpus,
            "gpus_per_node": self.gpus or None,
            "mem": self.mem,
            "account": self.account,
            "qos": self.qos,
            "constraint": self.constraint,
            "setup": list(self.setup) or None,
            "array_parallelism": self.at_once,
            "signal_delay_s": self.notice,
        }
        more = {"requeue": True}
        return {k: v for k, v in given.items() if v is not None} | {"additional_parameters": more}


class ShardSettings(Record):
    """How many workers, and where they are started. None of it decides a word of the episodes."""

    panel: ClassVar[str] = "Workers"
    shown_last: ClassVar[bool] = True

    workers: Annotated[int, Field(ge=1)] | None = Field(
        None,
        description="processes that play the run, each with engines or connections of its own;"
        " --concurrency is then for each of them; default: this one alone",
    )
    on: Place | None = Field(
        None,
        description="where workers are started: local (this machine; the default), ray (as actors"
        " of a cluster) or slurm (as an array, which this command submits)",
    )
    ray: RaySettings = Field(RaySettings(), title="Workers on Ray")
    slurm: SlurmSettings = Field(SlurmSettings(), title="Workers on Slurm")

    def refuse_idle(self, given: Mapping[str, Any]) -> None:
        """Settings of a place where nothing is started are refused where they were given."""
        refuse_other_places(self, given)
        super().refuse_idle(given)

    @property
    def sharded(self) -> bool:
        """Whether workers play it."""
        return self.workers is not None or self.on is not None


class SimulateSettings(RunSettings, ShardSettings):
    """Settings of a run, and who plays it."""


def refuse_other_places(who: Any, given: Mapping[str, Any]) -> None:
    """Refuse settings of Ray or Slurm that were given for a start elsewhere.

    A settings file may hold them for another day, and what is the default is no wish.

    Args:
        who: the settings with `on`, where it is started.
        given: what the caller gave, tables as mappings.

    Raises:
        ConfigError: there are some.
    """
    for place in ("ray", "slurm"):
        if place == who.on or not (named := given.get(place)):
            continue
        fields = named if isinstance(named, Mapping) else named.model_fields_set
        chosen = getattr(who, place)
        usual = type(chosen)()
        idle = [name for name in fields if getattr(chosen, name) != getattr(usual, name)]
        if idle:
            words = ", ".join(f"--{place}.{name.replace('_', '-')}" for name in idle)
            raise ConfigError(
                f"{words} would change nothing: nothing is started on {place.title()}",
                hint=f"add --on {place}, or leave it out",
            )


def refuse_store(on: str | None, out: str | Path | None) -> None:
    """Refuse what cannot be played into a store.

    Raises:
        ConfigError: tasks of Slurm share a folder, and no command runs that could keep it there.
    """
    if on == "slurm" and out is not None and is_url(out):
        raise ConfigError(
            f"tasks of Slurm play into a folder that they share, not into {url_of(out)}",
            hint="--out with such a folder; copy it to the store when it is played",
        )


def load_simulate_settings(
    file: str | Path | None = None, given: Mapping[str, Any] | None = None
) -> SimulateSettings:
    """The settings of `warmline simulate`; see `read_settings`."""
    return read_settings(SimulateSettings, file, given)
