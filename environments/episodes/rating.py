"""The rating: one rater, one subject, one dimension, one value or none, one explanation.

Judger, LLM judge, scorer and people all write it; training and evaluation meet in `ratings.jsonl`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from ...core.errors import DataError
from ...core.jsonl import complete_lines, refuse_log
from ...core.outside.secrets import hide_secrets
from ...core.outside.text import clean_text
from ...core.record import PlainData, Record, Text, problems_of

RATING_VERSION: Literal[1] = 1
RATINGS_NAME = "ratings.jsonl"
GOLD = "gold"
"""`Rating.candidate` of the reply that was said, where it is rated beside a model's candidates."""
CANDIDATE = "candidate"
"""How the names of a model's candidates begin: `candidate0` is the best of them."""


class Rating(Record):
    """One judgement.

    Attributes:
        episode: id of the episode that was judged.
        utterance: index of the utterance judged; None for the whole conversation.
        candidate: which of several texts for that utterance (a beam, "chosen", "A"); empty for the
            one that was said.
        rater: who judged: a policy's name, or a person's pseudonym.
        kind: what sort of rater.
        dimension: what was judged, such as `empathy`; for a comparison, of A against B.
        value: on the rubric's scale; None where the answer could not be read or was not given.
        explanation: the rater's reason.
        rubric: name and version of the rubric that defines the values.
        sample: number of the answer, where a rater is asked several times.
        notes: further data of this kind of rater (order shown, raw answer), as plain data.
    """

    version: Literal[1] = RATING_VERSION
    episode: Text
    utterance: int | None = None
    candidate: str = ""
    rater: Text
    kind: Literal["judge", "scorer", "human", "rule"]
    dimension: Text
    value: Annotated[float, Field(allow_inf_nan=False)] | None = None
    explanation: str = ""
    rubric: str = ""
    sample: int = 0
    notes: PlainData | None = None

    def to_json(self) -> str:
        """One line of `ratings.jsonl`."""
        return json.dumps(
            self.model_dump(mode="json", exclude_none=True),
            ensure_ascii=False,
            separators=(",", ":"),
        )


def append_ratings(path: str | Path, ratings: Iterable[Rating]) -> None:
    """Append to a file of ratings, in one write; makes the file if it is not there.

    Raises:
        RunError: it is an episode log.
    """
    path = Path(path)
    refuse_log(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(rating.to_json() + "\n" for rating in ratings)
    with path.open("ab") as file:
        file.write(hide_secrets(clean_text(lines)).encode())


def iter_ratings(path: str | Path) -> Iterator[Rating]:
    """Stream the ratings of a file, or of a run's folder; a torn last line is left out.

    Raises:
        DataError: no such file, or a line that is not a rating; names file, line and field.
    """
    path = Path(path)
    if path.is_dir():
        path /= RATINGS_NAME
    if not path.is_file():
        raise DataError("no ratings there", file=path, hint="one JSON object a line is expected")
    for number, line in complete_lines(path):
        try:
            yield Rating.model_validate_json(line)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise DataError(
                "; ".join(problems_of(error, Rating)[:3]),
                file=path,
                line=number,
                field=".".join(map(str, first["loc"])) or None,
                hint="a rating has the fields " + ", ".join(Rating.model_fields),
            ) from None


@dataclass(slots=True)
class RatedValues:
    """Values of ratings and the episodes they are about, without the ratings themselves."""

    values: list[float | None] = field(default_factory=list)
    episodes: list[str] = field(default_factory=list)

    def add(self, rating: Rating) -> None:
        """Take in one rating."""
        self.values.append(rating.value)
        self.episodes.append(sys.intern(rating.episode))

    @property
    def missing(self) -> int:
        """Ratings without a value."""
        return self.values.count(None)
