"""What an environment enforces."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from ...core.record import Record
from ...policies.base import MAX_REPLY_CHARS

HISTORY_WINDOW = 6
"""Utterances shown to the speaking roles (SweetieChat Fig. 12)."""
SHORT_WINDOW = 2
"""The same beside the short prompt, for models of few positions."""


class Limits(Record):
    """What the environment enforces; the defaults are the papers' where they give one."""

    panel: ClassVar[str] = "Limits"

    max_turns: Annotated[int, Field(ge=1)] = Field(
        20, description="utterances of seeker and supporter together"
    )
    max_sentences: Annotated[int, Field(ge=1)] = Field(
        3, description="sentences kept of each utterance (FPEMF §3.2, SweetieChat §4.1)"
    )
    history_window: Annotated[int, Field(ge=1)] = Field(
        HISTORY_WINDOW, description="utterances shown to the speaking roles (SweetieChat Fig. 12)"
    )
    case_dialogues: Annotated[int, Field(ge=0)] = Field(
        3, description="examples shown to the supporter (FPEMF §3.1.3)"
    )
    min_turns: Annotated[int, Field(ge=0)] = Field(
        0, description="the judger is not asked before this many utterances"
    )
    token_budget: Annotated[int, Field(ge=1)] | None = Field(
        None, description="tokens of prompts and answers after which an episode ends"
    )
    max_reply_chars: Annotated[int, Field(ge=1)] = Field(
        MAX_REPLY_CHARS, description="characters of a reply beyond which the episode fails"
    )
    trim_greetings: bool = Field(
        True, description="cut greetings after a speaker's first utterance"
    )
    stop_on_farewell: bool = Field(
        True, description="end when both have said goodbye, one after the other"
    )

    @model_validator(mode="after")
    def _min_below_max(self) -> Self:
        least, most = (
            Limits.model_fields[name].default if (given := getattr(self, name)) is None else given
            for name in ("min_turns", "max_turns")
        )
        if least > most:
            raise ValueError(
                f"min_turns {least} is above max_turns {most}: the judger would never be asked"
            )
        return self
