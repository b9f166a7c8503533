"""Candidate replies: for each context its prompt, the gold reply, and K others with lineage.

They are made once (`sources.py`), judged (`feedback.py`) and learned from (`fpemf/train.py`);
the three meet in `candidates.jsonl` and `ratings.jsonl`, or, while several jobs make parts of them, in
files of each part. Knows no model.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from pydantic import Field, ValidationError

from ...core.errors import DataError
from ...core.jsonl import LineLog, complete_lines
from ...core.record import Record, Text, problems_of
from ...core.shards.division import file_of, part_files
from ...environments.episodes.rating import CANDIDATE
from ...policies.base import ChatRole, Message
from ..rows.build import Row

CANDIDATES_NAME = "candidates.jsonl"
CANDIDATES_VERSION: Literal[1] = 1


class PromptMessage(Record):
    """One message of a prompt; `said` as in `Message`."""

    role: ChatRole
    content: str
    said: str | None = None

    @classmethod
    def of(cls, message: Message) -> PromptMessage:
        """As it is stored."""
        return cls(role=message.role, content=message.content, said=message.said)

    def message(self) -> Message:
        """As a policy takes it."""
        return Message(self.role, self.content, self.said)


class Candidate(Record):
    """One reply.

    Attributes:
        text: as a reader sees it, without special tokens.
        token_ids: as the model wrote it, end token included; empty where the source gives none.
        score: the source's own measure, nats; None where it has none.
    """

    text: str
    token_ids: tuple[int, ...] = ()
    score: float | None = None


class Lineage(Record):
    """Where candidates come from.

    Attributes:
        source: how they were drawn.
        model: the model or policy, as it was named.
        identity: hashes of its weights, where known.
        settings: of the search or the sampling.
        seed: of the sampling; a search has none.
    """

    source: Literal["beams", "sampling"]
    model: str
    identity: dict[str, Any] = Field(default_factory=dict)
    settings: dict[str, Any] = Field(default_factory=dict)
    seed: int | None = None


class CandidateSet(Record):
    """One context with its replies.

    Attributes:
        id: of the row it was made from, `episode#turn`.
        group: contexts of one group must not be split.
        prompt: what the supporter is asked.
        gold: what was said.
        candidates: different replies, best first by their source's measure.
    """

    version: Literal[1] = CANDIDATES_VERSION
    id: Text
    group: str
    prompt: tuple[PromptMessage, ...]
    gold: Text
    candidates: tuple[Candidate, ...]
    lineage: Lineage

    @classmethod
    def of(cls, row: Row, candidates: tuple[Candidate, ...], lineage: Lineage) -> Self:
        """The set of one training row."""
        return cls(
            id=row.id,
            group=row.group,
            prompt=tuple(map(PromptMessage.of, row.prompt)),
            gold=row.reply,
            candidates=candidates,
            lineage=lineage,
        )

    @property
    def episode(self) -> str:
        """Id of the episode that the context is from."""
        return self.id.rpartition("#")[0] or self.id

    @property
    def utterance(self) -> int | None:
        """Index of the utterance that the gold reply is."""
        number = self.id.rpartition("#")[2]
        return int(number) if number.isdigit() else None

    @property
    def messages(self) -> tuple[Message, ...]:
        """The prompt as a policy takes it."""
        return tuple(m.message() for m in self.prompt)

    def row(self, reply: str) -> Row:
        """A training row that ends in `reply`."""
        messages = (*self.messages, Message("assistant", reply))
        return Row(self.id, self.group, messages, (len(messages) - 1,))

    def to_json(self) -> str:
        """One line of `candidates.jsonl`."""
        plain = self.model_dump(mode="json", exclude_none=True)
        return json.dumps(plain, ensure_ascii=False, separators=(",", ":"))


def candidate_name(number: int) -> str:
    """What `Rating.candidate` calls one of them, which count from 0."""
    return f"{CANDIDATE}{number}"


class CandidateLog:
    """An open `candidates.jsonl`, for appending; safe against being killed. A context manager.

    The whole file takes in what finished parts hold and it does not; a part only looks.

    Args:
        part: one part, as 3/8, which writes a file of its own so that several may run at once.

    Attributes:
        finished: ids of the contexts already in it or in a part.

    Raises:
        RunError: another process is writing it or one of the parts, or the disk refuses.
        DataError: a line is not a candidate set.
    """

    def __init__(self, folder: str | Path, part: str | None = None) -> None:
        whole = Path(folder) / CANDIDATES_NAME
        self.path = file_of(whole, part)
        self.finished: set[str] = set()
        self._whole, self._part = whole, part
        self._log = LineLog(self.path)
        self._held = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self._log)
            self.finished = {found.id for found in iter_candidates(self.path)}
            for file in part_files(self._whole):
                if self._part is None:
                    stack.enter_context(LineLog(file))
                    self._take_in(file)
                elif file != self.path:
                    self.finished |= {found.id for found in iter_candidates(file)}
            if self._part is not None and self._whole.is_file():
                self.finished |= {found.id for found in iter_candidates(self._whole)}
            self._held = stack.pop_all()
        return self

    def _take_in(self, file: Path) -> None:
        for found in iter_candidates(file):
            if found.id not in self.finished:
                self.append(found)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._held.__exit__(kind, error, trace)

    def append(self, made: CandidateSet) -> None:
        """Write one set.

        Raises:
            RunError: the disk is full or fails.
        """
        self._log.write_line(made.to_json(), f"candidates of '{made.id}'")
        self.finished.add(made.id)


def iter_candidates(path: str | Path) -> Iterator[CandidateSet]:
    """Stream the candidate sets of a folder or a file; a torn last line is left out.

    Raises:
        DataError: no such file, or a line that is not a candidate set; names file, line and field.
    """
    file = Path(path)
    if file.is_dir():
        file /= CANDIDATES_NAME
    if not file.is_file():
        raise DataError(
            "no candidates there", file=file, hint="`warmline train fpemf DATA` makes them"
        )
    for number, line in complete_lines(file):
        try:
            yield CandidateSet.model_validate_json(line)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise DataError(
                "; ".join(problems_of(error, CandidateSet)[:3]),
                file=file,
                line=number,
                field=".".join(map(str, first["loc"])) or None,
            ) from None
