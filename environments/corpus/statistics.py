"""Statistics of a corpus as in the papers (FPEMF Table 2, SweetieChat Table 1), in one pass.

A word is what `str.split` gives, as the papers count; for languages written without spaces the
lengths in words mean nothing. An average over nothing is None.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from pydantic import Field

from ...agents.roles import Role, Strategy
from ...core.published import published_sizes
from ...core.record import Record
from ...core.tables import DASH, markdown_table
from ..episodes.episode import Episode

DIGITS = 4
"""Decimal places of averages."""


class CorpusStatistics(Record):
    """Sizes and lengths of a corpus.

    Attributes:
        avg_dialogue_len: utterances a dialogue.
        avg_utt_len: words an utterance; likewise by role.
        utts_per_dialogue_per_role: the seeker's; the supporter's is `supporter_per_dialogue`.
        strategies: labels of supporter utterances. Published shares are over raw utterances, so
            take them from a corpus that was not merged (or from the import's report): merging two
            utterances with one label leaves one label.
    """

    dialogues: int
    utterances: int
    avg_dialogue_len: float | None
    avg_utt_len: float | None
    seeker_utts: int
    seeker_avg_len: float | None
    supporter_utts: int
    supporter_avg_len: float | None
    utts_per_dialogue_per_role: float | None
    supporter_per_dialogue: float | None = Field(None, exclude=True)
    strategies: dict[str, int] = Field(default_factory=dict, exclude=True)

    def to_dict(self) -> dict[str, int | float | None]:
        """The sizes and lengths alone."""
        return self.model_dump(mode="json")


@dataclass(slots=True)
class StatisticsCounter:
    """Counts episodes as they pass; holds a handful of numbers, however many pass."""

    dialogues: int = 0
    utterances: Counter[Role] = field(default_factory=Counter)
    words: Counter[Role] = field(default_factory=Counter)
    strategies: Counter[Strategy] = field(default_factory=Counter)

    def add(self, episode: Episode) -> None:
        """Count one dialogue."""
        self.dialogues += 1
        for utterance in episode.utterances:
            self.utterances[utterance.role] += 1
            self.words[utterance.role] += len(utterance.text.split())
            self.strategies.update(utterance.strategies)

    def passing(self, episodes: Iterable[Episode]) -> Iterator[Episode]:
        """The same episodes, counted on their way."""
        for episode in episodes:
            self.add(episode)
            yield episode

    def result(self) -> CorpusStatistics:
        """Statistics of what was counted so far."""
        spoken, words = self.utterances, self.words
        seeker, supporter = Role.SEEKER, Role.SUPPORTER
        return CorpusStatistics(
            dialogues=self.dialogues,
            utterances=spoken.total(),
            avg_dialogue_len=_mean(spoken.total(), self.dialogues),
            avg_utt_len=_mean(words.total(), spoken.total()),
            seeker_utts=spoken[seeker],
            seeker_avg_len=_mean(words[seeker], spoken[seeker]),
            supporter_utts=spoken[supporter],
            supporter_avg_len=_mean(words[supporter], spoken[supporter]),
            utts_per_dialogue_per_role=_mean(spoken[seeker], self.dialogues),
            supporter_per_dialogue=_mean(spoken[supporter], self.dialogues),
            strategies={s.value: n for s, n in self.strategies.most_common()},
        )


def corpus_statistics(episodes: Iterable[Episode]) -> CorpusStatistics:
    """Statistics of episodes, read once, so a stream will do."""
    counter = StatisticsCounter()
    for episode in episodes:
        counter.add(episode)
    return counter.result()


def _mean(total: int, count: int) -> float | None:
    return round(total / count, DIGITS) if count else None


def strategy_shares(counts: dict[str, int]) -> dict[str, float]:
    """Each strategy's share of all labels, in per cent with two decimals, the largest first."""
    total = sum(counts.values())
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return {name: round(100 * count / total, 2) for name, count in ordered} if total else {}


ROWS = {
    "dialogues": "Dialogues",
    "utterances": "Utterances",
    "utterances a dialogue": "Utterances a dialogue",
    "words an utterance": "Words an utterance",
    "seeker utterances": "Seeker utterances",
    "seeker utterances a dialogue": "- a dialogue",
    "words a seeker utterance": "- words an utterance",
    "supporter utterances": "Supporter utterances",
    "supporter utterances a dialogue": "- a dialogue",
    "words a supporter utterance": "- words an utterance",
}
"""Headings of the rows by the names of the published figures."""


def comparison(statistics: CorpusStatistics, name: str) -> list[tuple[str, ...]]:
    """The corpus beside the published ones: a row of headings, then one row for each of `ROWS`."""
    s = statistics
    own = (
        _whole(s.dialogues),
        _whole(s.utterances),
        _two(s.avg_dialogue_len),
        _two(s.avg_utt_len),
        _whole(s.seeker_utts),
        _two(s.utts_per_dialogue_per_role),
        _two(s.seeker_avg_len),
        _whole(s.supporter_utts),
        _two(s.supporter_per_dialogue),
        _two(s.supporter_avg_len),
    )
    columns: dict[str, tuple[str, ...]] = {name: own}
    for corpus, sizes in published_sizes().items():
        columns[f"{corpus} (published)"] = tuple(_as_printed(sizes.get(row)) for row in ROWS)
    return [("", *columns), *zip(ROWS.values(), *columns.values(), strict=True)]


def _as_printed(size: float | None) -> str:
    if size is None:
        return DASH
    return _whole(size) if isinstance(size, int) else _two(size)


def comparison_markdown(statistics: CorpusStatistics, name: str) -> str:
    """The same as a Markdown table."""
    head, *rows = comparison(statistics, name)
    return markdown_table(head, rows) + "\n"


def _whole(number: int) -> str:
    return f"{number:,}"


def _two(number: float | None) -> str:
    return "none" if number is None else f"{number:.2f}"
