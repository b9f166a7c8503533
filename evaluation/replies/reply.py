"""What is evaluated: the turns of a recorded conversation, and the record of a reply to one.

Consecutive utterances of one speaker count as one turn. A supporter turn before the seeker has
spoken (a greeting) answers nothing: it stays in the history and is not evaluated. How replies are
made is in `generate.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from ...agents.roles import Role, Strategy
from ...core.errors import DataError
from ...core.jsonl import complete_lines
from ...core.record import PlainData, Record, problems_of
from ...environments.episodes.episode import Episode
from ...policies.base import Usage

REPLIES_NAME = "replies.jsonl"
SCORES_NAME = "scores.json"
REPLY_VERSION: Literal[1] = 1

StrategySource = Literal["counselor", "model", "label"]
"""Who chose a strategy: the counselor, the answering model itself, or whoever labelled the corpus."""


class Setting(StrEnum):
    """Which history a reply is asked for with."""

    REFERENCE = "reference"
    GENERATED = "generated"


class EvaluatedReply(Record):
    """One reply of the policy beside the corpus's.

    Attributes:
        episode: id of the recorded conversation.
        turn: number of the turn in it, consecutive utterances of one speaker joined, from 0.
        setting: reference or generated context.
        reference: what the human supporter said.
        labels: every strategy that the corpus gives for it, in order.
        text: what the policy said, within the sentence cap; None where it failed or said nothing.
        raw: the policy's answer as it came.
        strategy: what the counselor advised, what the model wrote in front of its answer, or the
            reply's own label (an upper bound); None without one, or where it could not be read.
        strategy_by: whose choice that is; None in records of earlier versions: the counselor's.
        closes: the supporter asked to end the conversation.
        error: class and message of the failure, if one.
        sampling: how its tokens were asked to be drawn; None in records of earlier versions.
        cached: the answer came from a store.
        thinking: what the model thought before; None where it did not, or did not say.
        notes: what the policy notes of the call, such as fields that the server was not sent.
    """

    version: Literal[1] = REPLY_VERSION
    episode: str
    turn: int
    setting: Setting
    reference: str
    labels: tuple[Strategy, ...] = ()
    text: str | None = None
    raw: str | None = None
    strategy: Strategy | None = None
    strategy_by: StrategySource | None = None
    closes: bool = False
    error: str | None = None
    policy: str = ""
    seed: int | None = None
    usage: Usage | None = None
    sampling: dict[str, float | int | str] | None = None
    cached: bool = False
    thinking: str | None = None
    notes: PlainData | None = None

    @property
    def key(self) -> tuple[Setting, str, int]:
        """Which place of the corpus it fills."""
        return self.setting, self.episode, self.turn

    def to_json(self) -> str:
        """One line of `replies.jsonl`."""
        return json.dumps(
            self.model_dump(mode="json", exclude_none=True),
            ensure_ascii=False,
            separators=(",", ":"),
        )


@dataclass(frozen=True, slots=True)
class RecordedTurn:
    """Consecutive utterances of one speaker. `labels`: their strategies, in order."""

    role: Role
    text: str
    labels: tuple[Strategy, ...] = ()


def recorded_turns(episode: Episode) -> list[RecordedTurn]:
    """The turns of an episode, consecutive utterances of one speaker joined with a space."""
    turns: list[RecordedTurn] = []
    for said in episode.utterances:
        labels = said.strategies
        if turns and turns[-1].role is said.role:
            before = turns.pop()
            turns.append(
                RecordedTurn(said.role, f"{before.text} {said.text}", before.labels + labels)
            )
        else:
            turns.append(RecordedTurn(said.role, said.text, labels))
    return turns


def evaluated_turns(turns: Sequence[RecordedTurn]) -> list[int]:
    """The supporter turns that answer something: those after the seeker's first words."""
    started = next((i for i, turn in enumerate(turns) if turn.role is Role.SEEKER), len(turns))
    return [i for i, turn in enumerate(turns) if turn.role is Role.SUPPORTER and i > started]


def iter_replies(path: str | Path) -> Iterator[EvaluatedReply]:
    """The replies of a file or of an evaluation's folder; a torn last line is left out.

    Raises:
        DataError: no such file, or a line that is not a reply; names file, line and field.
    """
    path = Path(path)
    if path.is_dir():
        path /= REPLIES_NAME
    if not path.is_file():
        raise DataError("no replies there", file=path, hint="`warmline evaluate` writes them")
    for number, line in complete_lines(path):
        try:
            yield EvaluatedReply.model_validate_json(line)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise DataError(
                "; ".join(problems_of(error, EvaluatedReply)[:3]),
                file=path,
                line=number,
                field=".".join(map(str, first["loc"])) or None,
            ) from None
