"""How models begin their replies to one corpus, side by side with its people (Self-Evolution Fig. 6).

What is analysed are the replies of `evaluate`: a column for each evaluation and context, and one
for the people's replies in the places of the first column.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...core.errors import ConfigError
from ...core.files import write_whole
from ...core.tables import DASH, markdown_table, number
from ..replies.places import GENERATED, candidate_of, holds_replies, last_replies
from ..replies.reply import EvaluatedReply
from .profile import Lengths, lengths
from .text import OPENINGS_SHOWN, Openings, openings_of

PEOPLE = "people"
JSON_NAME = "replies-analysis.json"
TABLES_NAME = "tables.md"

Named = tuple[str | None, str | Path]


@dataclass(frozen=True, slots=True)
class ReplyAnalysis:
    """The replies of one model in one context, or of the corpus's people.

    Attributes:
        replies, missing: places with a text and without.
        words: words of a reply, by white space.
        openings: the most frequent first words.
        distinct_openings: different first words, as a share of the replies; None without any.
    """

    name: str
    replies: int
    missing: int
    words: Lengths
    openings: Openings
    distinct_openings: float | None


def all_replies(corpora: Sequence[Named]) -> bool:
    """Whether paths hold replies of `evaluate`, and not conversations.

    Raises:
        ConfigError: some hold the one and some the other.
    """
    held = [holds_replies(path) for _, path in corpora]
    if any(held) and not all(held):
        other = corpora[held.index(False)][1]
        raise ConfigError(
            f"some paths hold replies of `evaluate`, {other} holds conversations",
            hint="analyse them apart",
        )
    return bool(held) and all(held)


def analyse_replies(evaluations: Sequence[Named]) -> list[ReplyAnalysis]:
    """Read and count.

    Raises:
        ConfigError: two columns of one name.
        DataError: a file that cannot be read.
    """
    columns: dict[str, list[EvaluatedReply]] = {}
    for given, place in evaluations:
        path = Path(place)
        name = given or (path if path.is_dir() else path.parent).name
        by_context: dict[str, list[EvaluatedReply]] = {}
        for reply in last_replies(path):
            by_context.setdefault(candidate_of(reply), []).append(reply)
        for context, replies in by_context.items():
            column = f"{name}, {GENERATED}" if context else name
            if column in columns:
                raise ConfigError(
                    f"two columns have one name: {column}", hint="name them with NAME=PATH"
                )
            columns[column] = replies
    if not columns:
        raise ConfigError("there is no reply to analyse", hint="`warmline evaluate` writes them")
    people = [reply.reference for reply in next(iter(columns.values()))]
    found = [_of(name, [r.text for r in replies]) for name, replies in columns.items()]
    return [*found, _of(PEOPLE, people)]


def _of(name: str, texts: Sequence[str | None]) -> ReplyAnalysis:
    said = [text for text in texts if text]
    every = openings_of(said, max_phrases=len(said))
    shown = dict(list(every.phrases.items())[:OPENINGS_SHOWN])
    return ReplyAnalysis(
        name,
        len(said),
        len(texts) - len(said),
        lengths(Counter(len(text.split()) for text in said)),
        Openings(every.replies, shown),
        len(every.phrases) / every.replies if every.replies else None,
    )


def page(found: Sequence[ReplyAnalysis]) -> str:
    """The tables in Markdown."""
    names = [each.name for each in found]
    counts = [
        ["replies", *(number(each.replies, 0) for each in found)],
        ["without a text", *(number(each.missing, 0) for each in found)],
        ["words a reply", *(number(each.words.mean) for each in found)],
        ["different openings, %", *(number(e.distinct_openings, 1, scale=100) for e in found)],
    ]
    columns = [list(each.openings.phrases.items()) for each in found]
    rows = [
        [
            str(place + 1),
            *(
                f"{column[place][0]} ({100 * column[place][1]:.1f})"
                if place < len(column)
                else DASH
                for column in columns
            ),
        ]
        for place in range(max(map(len, columns)))
    ]
    return (
        "\n\n".join(
            [
                "# Replies",
                markdown_table(["", *names], counts),
                "## How they begin (per cent of replies)",
                markdown_table(["", *names], rows, numbers=False),
                f"The first three words. {PEOPLE.capitalize()}: the corpus's own replies in the places"
                " of the first column. Different openings fall as replies grow in number: compare"
                " columns of equal numbers only.",
            ]
        )
        + "\n"
    )


def write_replies(found: Sequence[ReplyAnalysis], record: Any, out: str | Path) -> None:
    """Write the analysis and its tables.

    Raises:
        RunError: the disk refuses.
    """
    text = json.dumps(record, ensure_ascii=False, indent=2) + "\n"
    write_whole(Path(out) / JSON_NAME, text)
    write_whole(Path(out) / TABLES_NAME, page(found))
