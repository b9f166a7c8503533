"""Settings of rows, which training, preference pairs and `warmline preview` share."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self, TypeVar

from pydantic import BeforeValidator, Field, model_validator

from ...agents.conditions import StrategyCondition, read_condition
from ...agents.roles import Role
from ...core.errors import did_you_mean
from ...core.record import Record
from ...environments.dialogue.limits import HISTORY_WINDOW, SHORT_WINDOW

Positive = Annotated[int, Field(ge=1)]

S = TypeVar("S", bound=Record)

BadRows = Literal["skip", "refuse"]


class TurnRowSettings(Record):
    """How supporter turns become rows, one row each."""

    panel: ClassVar[str] = "Rows"

    history_window: Positive | None = Field(
        None, description="latest utterances shown before a turn; default 6, or 2 with short"
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
    short: bool | None = Field(
        None, description="system prompt of about 55 tokens, for models of 128 to 512 positions"
    )
    template: str | None = Field(
        None, description="supporter's prompt template; default by strategy, definitions and short"
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

    @property
    def window(self) -> int:
        """Latest utterances shown before a turn."""
        return self.history_window or (SHORT_WINDOW if self.short else HISTORY_WINDOW)

    @model_validator(mode="after")
    def _rows_agree(self) -> Self:
        return refuse(self, row_conflicts(self))


class RowSettings(TurnRowSettings):
    """How episodes become rows, one for each turn or for each conversation."""

    panel: ClassVar[str] = "Rows"

    per: Literal["turn", "conversation", "tree"] = Field(
        "turn",
        description="a row for each turn, for each conversation, or a tree for each seat of a"
        " conversation: the rows of its turns, what they begin with in common computed once",
    )
    thinking: bool | None = Field(
        None, description="the model also learns what it thought first, where logged"
    )

    @property
    def whole_conversations(self) -> bool:
        """Whether a row is a whole conversation; else it is one turn."""
        return self.per == "conversation"


def _names(value: object) -> object:
    """Seats as a list of texts, each of which may name several."""
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, list | tuple) or not all(isinstance(each, str) for each in given):
        return value
    return tuple(name.strip() for each in given for name in each.split(",") if name.strip())


class SeatRowSettings(RowSettings):
    """The same for every role that a model is to play."""

    panel: ClassVar[str] = "Rows"

    seats: Annotated[tuple[str, ...], BeforeValidator(_names)] = Field(
        (Role.SUPPORTER.value,),
        description="roles that are learned, separated by commas: supporter, seeker, counselor,"
        " judger; counselor=0.2 takes a fifth of the conversations for it",
    )

    @property
    def seat_shares(self) -> dict[Role, float]:
        """The roles that are learned, each with its share of the conversations."""
        return {Role(name): share for name, share in map(_share, self.seats)}

    @model_validator(mode="after")
    def _seats_agree(self) -> Self:
        return refuse(self, seat_conflicts(self))


def _share(seat: str) -> tuple[str, float]:
    name, equals, share = seat.partition("=")
    return name.strip(), float(share) if equals else 1.0


def seat_conflicts(settings: SeatRowSettings) -> list[str]:
    """What is wrong with the seats, and with settings that none of them has; one line each."""
    problems = []
    for seat in settings.seats:
        name, _, share = seat.partition("=")
        if name.strip() not in tuple(Role):
            known = ", ".join(Role)
            hint = did_you_mean(name, tuple(Role))
            problems.append(
                f"seats: no role '{name}'; known: {known}" + (f"; {hint}" if hint else "")
            )
        elif "=" in seat and not _is_share(share):
            problems.append(f"seats: '{seat}': a share is above 0 and at most 1")
    if problems:
        return problems
    names = [_share(seat)[0] for seat in settings.seats]
    if not names:
        return ["seats: name at least one of " + ", ".join(Role)]
    problems += [
        f"seats: {name} is named twice" for name in dict.fromkeys(names) if names.count(name) > 1
    ]
    if settings.whole_conversations and names != [Role.SUPPORTER]:
        problems.append(
            "per conversation is for the supporter alone; turn and tree are for every seat"
        )
    if Role.SUPPORTER not in names:
        fields = type(settings).model_fields
        problems += [
            f"{name} is the supporter's, and seats leave it out"
            for name in SUPPORTERS_OWN
            if getattr(settings, name) != fields[name].default
        ]
    return problems


def _is_share(text: str) -> bool:
    try:
        return 0 < float(text) <= 1
    except ValueError:
        return False


SUPPORTERS_OWN = ("strategy", "counselor", "definitions", "short", "template", "case_dialogues")
"""Settings that change nothing but the supporter's rows."""


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
    for name in ("definitions", "case_dialogues", "template"):
        if settings.short and getattr(settings, name):
            return [f"short leaves no room for {name}; give one of them"]
    if not settings.as_asked:
        return []
    fields = type(settings).model_fields
    fixed = ("history_window", "strategy", "definitions", "short", "template", "case_dialogues")
    changed = [n for n in fixed if n in fields and getattr(settings, n) != fields[n].default]
    return [
        f"as_asked uses prompts as they were logged, so {name} cannot be changed"
        for name in ["per"] * settings.whole_conversations + changed
    ]
