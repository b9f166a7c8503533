"""Which processes train together, and where they are started."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from ...core.claim import MAY_CHANGE
from ...core.record import Record
from ...environments.shards.settings import SlurmSettings, refuse_other_places


class LaunchSettings(Record):
    """How many processes train together. A step's loss and gradients do not depend on it."""

    panel: ClassVar[str] = "Processes"
    shown_last: ClassVar[bool] = True

    processes: Annotated[int, Field(ge=1), MAY_CHANGE] | None = Field(
        None,
        description="processes on each node that train together, one a GPU (torchrun); default: this"
        " one alone, on Slurm one for each GPU",
    )
    nodes: Annotated[int, Field(ge=1), MAY_CHANGE] = Field(1, description="with --on slurm")
    on: Annotated[Literal["local", "slurm"] | None, MAY_CHANGE] = Field(
        None, description="where: local (this machine; the default) or slurm (a job is submitted)"
    )
    slurm: Annotated[SlurmSettings, MAY_CHANGE] = Field(
        SlurmSettings(), title="Processes on Slurm, of each node"
    )

    @model_validator(mode="after")
    def _nodes_are_of_slurm(self) -> Self:
        if self.nodes > 1 and self.on != "slurm":
            raise ValueError("nodes: more than one are started by Slurm; add --on slurm")
        return self

    def refuse_idle(self, given: Mapping[str, Any]) -> None:
        """Settings of Slurm are refused where nothing is started there."""
        refuse_other_places(self, given)
        super().refuse_idle(given)

    @property
    def launched(self) -> bool:
        """Whether processes are to be started."""
        return self.processes is not None or self.on is not None

    @property
    def each(self) -> int:
        """Processes on each node."""
        return self.processes or (self.slurm.gpus if self.on == "slurm" else 0) or 1

    def parameters(self) -> dict[str, Any]:
        """What submitit is asked for."""
        given = self.slurm.parameters()
        given.pop("array_parallelism")
        return given | {"nodes": self.nodes, "ntasks_per_node": 1}
