"""Settings of rows, which training, preference pairs and `warmline preview` share."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self, TypeVar

from pydantic import BeforeValidator, Field, model_validator

from ...agents.conditions import StrategyCondition, read_condition
from ...core.record import Record

Positive = Annotated[int, Field(ge=1)]

S = TypeVar("S", bound=Record)

BadRows = Literal["skip", "refuse"]


class TurnRowSettings(Record):
    """How supporter turns become rows, one row each."""

    panel: ClassVar[str] = "Rows"

    history_window: Positive | None = Field(
        None, description="latest utterances shown before a turn; default 6"
    )
    strategy: Annotated[StrategyCondition, BeforeValidator(read_condition)] = Field(
        StrategyCondition.LISTED,
        description="what the prompt tells of strategies: hidden (nothing), listed (all eight),"
        " self (the model writes its choice first), advised (the counselor's choice) or oracle (the"
        " reply's own label, an upper bound)",
    )
    counselor: str | None = Field(
        None,
        description="with advised: who is asked about recorded dialogues; folder of a trained"
        " counselor, or a policy by name or import string",
    )
    counselor_model: str | None = Field(None, description="model of that policy, if it takes one")
    label: Literal["first", "last"] = Field(
        "first", description="which of several strategies of one turn counts: first or last"
    )
    definitions: bool = Field(False, description="system prompt defines the eight strategies")
    template: str | None = Field(
        None, description="supporter's prompt template; default by strategy and definitions"
    )
    max_sentences: Positive = Field(3, description="sentence limit that the prompt states")
    case_dialogues: Annotated[int, Field(ge=0)] = Field(
        0, description="case dialogues of the seed pool in the prompt"
    )
    as_asked: bool = Field(
        False, description="use the prompts of simulated episodes exactly as they were logged"
    )
    max_tokens: Positive = Field(
        1024, description="maximum length of a row, prompt and reply together"
    )
    on_bad_row: BadRows = Field("skip", description="skip or refuse rows that cannot be used")

    @property
    def whole_conversations(self) -> bool:
        """Whether a row is a whole conversation; else it is one turn."""
        return False

    @model_validator(mode="after")
    def _rows_agree(self) -> Self:
        return refuse(self, row_conflicts(self))


class RowSettings(TurnRowSettings):
    """How episodes become rows, one for each turn or for each conversation."""

    panel: ClassVar[str] = "Rows"

    per: Literal["turn", "conversation"] = Field(
        "turn", description="a row for each supporter turn, or for each conversation: turn"
        " or conversation"
    )  # fmt: skip
    thinking: bool | None = Field(
        None, description="the model also learns what the supporter thought first, where logged"
    )

    @property
    def whole_conversations(self) -> bool:
        """Whether a row is a whole conversation; else it is one turn."""
        return self.per == "conversation"


def refuse(settings: S, problems: list[str]) -> S:
    """The settings if there are no problems; else raises pydantic's kind of error with all of them.

    Raises:
        ValueError: the problems, separated by semicolons.
    """
    if problems:
        raise ValueError("; ".join(problems))
    return settings


def row_conflicts(settings: TurnRowSettings) -> list[str]:
    """Settings of rows that contradict one another, one line each."""
    if settings.whole_conversations and settings.history_window is not None:
        return ["history_window is for rows of turns; a conversation is shown whole"]
    if settings.whole_conversations and isinstance(settings, RowSettings) and settings.thinking:
        return ["thinking is for rows of turns; templates leave it out of earlier turns"]
    if settings.counselor is not None and settings.strategy is not StrategyCondition.ADVISED:
        return [f"strategy {settings.strategy} asks no counselor; with one it is advised"]
    if settings.counselor_model is not None and settings.counselor is None:
        return ["counselor_model: no counselor is named"]
    if not settings.as_asked:
        return []
    fields = type(settings).model_fields
    fixed = ("per", "history_window", "strategy", "definitions", "template", "case_dialogues")
    return [
        f"as_asked uses prompts as they were logged, so {name} cannot be changed"
        for name in fixed
        if name in fields and getattr(settings, name) != fields[name].default
    ]
