"""The settings of an export, as TOML, keywords or command-line options."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, field_validator, model_validator

from ....core.errors import did_you_mean
from ....core.record import Record
from ...dialogue.limits import HISTORY_WINDOW
from .files import Container
from .rows import RowShape

Format = Literal["messages", "prompt_completion", "sharegpt", "dialogues", "parquet", "hub"]
TRAINERS = ("trl", "llamafactory", "axolotl")
"""Tools that the documents say how to write for."""
Share = Annotated[float, Field(ge=0, le=1)]


class ExportSettings(Record):
    """How a corpus becomes a data set. `parquet` is `dialogues` in Parquet, `hub` the same ready to
    push, with the columns that were private to the seeker."""

    format: Format = Field(
        "messages",
        description="messages or prompt-completion (TRL), sharegpt, dialogues, parquet, hub",
    )
    container: Container | None = Field(
        None, description="jsonl or parquet; default parquet for parquet and hub, else jsonl"
    )
    name: str | None = Field(None, description="the data set's name; default: the folder's")
    languages: tuple[str, ...] = Field((), description="codes for the card, such as en")
    train: Share = Field(0.8, description="share of scenarios")
    validation: Share = Field(0.1, description="share of scenarios")
    test: Share = Field(0.1, description="share of scenarios")
    seed: int = Field(0, description="of the splits")
    history: Annotated[int, Field(ge=0)] | None = Field(
        None,
        description="prompt-completion: maximum number of messages in a prompt, 0 for all"
        f" (default {HISTORY_WINDOW})",
    )
    strategy: bool = Field(
        False, description="put the strategy before each supporter message, as [Question]"
    )
    ids: bool = Field(False, description="add the columns id and turn to messages and prompts")
    scenario: bool | None = Field(
        None,
        description="add the seeker's scenario and profile as columns, never inside messages"
        " (default: for hub only)",
    )
    only_reviewed: bool = Field(False, description="only what all reviewers approved")
    clean: bool = Field(True, description="follow cleaning's tags: leave out drops, make trims")
    ignore: tuple[str, ...] = Field((), description="filters whose drops are not followed")
    also_drop: tuple[str, ...] = Field((), description="filters of which any finding leaves out")
    licence: str | None = Field(
        None, description="licence that you give to what was simulated here, such as CC-BY-4.0"
    )
    accept_licences: tuple[str, ...] = Field(
        (), description="a source, or a licence, that you have read and accept; may be repeated"
    )

    @field_validator("format", mode="before")
    @classmethod
    def _spelling(cls, value: Any) -> Any:
        if not isinstance(value, str) or (named := value.replace("-", "_")) in get_args(Format):
            return value.replace("-", "_") if isinstance(value, str) else value
        known = [name.replace("_", "-") for name in get_args(Format)]
        like = did_you_mean(named.replace("_", "-"), known)
        if named.replace("_", "").casefold() in TRAINERS:
            like = "other trainers read messages: docs/exporting.md, examples/export_to_trainers.py"
        raise ValueError(f"'{value}' is none of {', '.join(known)}" + (f"; {like}" if like else ""))

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if abs(sum(self.ratios.values()) - 1) > 1e-9:
            shares = ", ".join(f"{name} {share:g}" for name, share in self.ratios.items())
            raise ValueError(f"the shares of the splits must sum to 1: {shares}")
        if self.history is not None and self.shape != "prompt_completion":
            raise ValueError(f"history belongs to prompt-completion; the format is {self.format}")
        if self.strategy and self.shape == "dialogues":
            raise ValueError(f"{self.format} has a strategy column already; leave strategy out")
        if not self.clean and (self.ignore or self.also_drop):
            raise ValueError("ignore and also-drop choose among cleaning's tags; clean is off")
        return self

    @property
    def shape(self) -> RowShape:
        """The row function."""
        return "dialogues" if self.format == "parquet" or self.format == "hub" else self.format

    @property
    def file_type(self) -> Container:
        """The container, resolved."""
        by_format: Container = "parquet" if self.format in ("parquet", "hub") else "jsonl"
        return self.container or by_format

    @property
    def private(self) -> bool:
        """Whether the seeker's private columns are in."""
        return self.format == "hub" if self.scenario is None else self.scenario

    @property
    def ratios(self) -> dict[str, float]:
        """Share of each split, in order."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    def row_options(self) -> dict[str, Any]:
        """Arguments for `rows_of`."""
        window = HISTORY_WINDOW if self.history is None else self.history or None
        return {
            "history": window,
            "strategy": self.strategy,
            "ids": self.ids,
            "scenario": self.private,
        }
