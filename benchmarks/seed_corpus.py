"""The figures of docs/seed-corpus.md: the dialogues that ship, beside ESConv where you have it.

Both corpora are imported (ESConv with consecutive utterances merged, since ours alternate), cleaned
with the default filters and analysed as `warmline clean` and `warmline analyze` do. Nothing of
ESConv but these figures is shown. Needs the extras `data` and `eval`.

    python benchmarks/seed_corpus.py [--esconv ESConv.json]
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from warmline.agents import Role, Strategy
from warmline.core.published import published_strategy_shares
from warmline.core.tables import markdown_table, number
from warmline.environments.corpus import (
    CleaningReport,
    Import,
    SeedImport,
    clean_run,
    import_corpus,
)
from warmline.environments.corpus.tags import Severity
from warmline.evaluation.analyses.analysis import CorpusAnalysis, analyse_corpus
from warmline.evaluation.analyses.corpus import Corpus, Dialogue, read_corpus
from warmline.evaluation.analyses.similarity import Similarity
from warmline.evaluation.analyses.text import diversity, openings_of, words

FILTERS = ("role", "leaks", "sentence_cap", "repetition", "persona", "near_duplicates")
Of = Callable[["Measured"], str]


@dataclass(frozen=True)
class Measured:
    """One corpus with all that is said of it."""

    corpus: Corpus
    found: CorpusAnalysis
    cleaning: CleaningReport

    @property
    def tokens(self) -> int:
        """Of all dialogues together."""
        return sum(len(words(dialogue.text)) for dialogue in self.corpus.sample)


def measured(importing: Import | SeedImport, folder: Path) -> Measured:
    """Import, clean and analyse."""
    import_corpus(importing, folder)
    cleaning = clean_run(folder)
    corpus = read_corpus(folder)
    return Measured(corpus, analyse_corpus(corpus), cleaning)


def part_of(sample: Sequence[Dialogue], tokens: int) -> list[Dialogue]:
    """Dialogues from the sample's head, of at most so many tokens together."""
    taken = []
    for dialogue in sample:
        tokens -= len(words(dialogue.text))
        if tokens < 0:
            break
        taken.append(dialogue)
    return taken


def opening(corpus: Corpus, role: Role) -> str:
    """The most frequent first three words of a role's utterances, as a share alone."""
    said = (turn.text for dialogue in corpus.sample for turn in dialogue.of(role))
    return percent(max(openings_of(said).phrases.values()))


def percent(share: float | None) -> str:
    return number(share, 2, scale=100)


def with_interval(found: Similarity) -> str:
    return f"{number(found.mean, 3)} [{number(found.low, 3)}, {number(found.high, 3)}]"


def hits(name: str) -> Of:
    """Dialogues that a filter would drop, trim and flag."""

    def of(one: Measured) -> str:
        counts = dict.fromkeys(Severity, 0)
        for reason in one.cleaning.reasons:
            if reason.filter == name:
                counts[reason.severity] += reason.episodes
        return " / ".join(
            str(counts[severity]) for severity in (Severity.DROP, Severity.TRIM, Severity.FLAG)
        )

    return of


def general(tokens: int) -> list[tuple[str, Of]]:
    """Rows of the first table; Distinct is over the same number of tokens in each corpus."""
    cut: dict[str, list[Dialogue]] = {}

    def of(one: Measured) -> list[Dialogue]:
        return cut.setdefault(one.found.name, part_of(one.corpus.sample, tokens))

    def distinct(n: int) -> Of:
        return lambda one: number(diversity(of(one), dialogues=len(of(one))).distinct[n])

    return [
        ("dialogues", lambda one: number(one.found.dialogues, 0)),
        ("utterances", lambda one: number(one.found.utterances, 0)),
        ("utterances a dialogue, mean", lambda one: number(one.found.utterances_each.mean)),
        ("words a seeker utterance", lambda one: number(one.found.seeker_words.mean)),
        ("words a supporter utterance", lambda one: number(one.found.supporter_words.mean)),
        (f"dialogues of at most {tokens:,} tokens", lambda one: number(len(of(one)), 0)),
        *((f"Distinct-{n} of these, %", distinct(n)) for n in (1, 2, 3)),
        ("TF-IDF similarity of two dialogues", lambda one: with_interval(one.found.similarity)),
        ("inside one problem type", lambda one: with_interval(one.found.similarity_in_type)),
        ("dialogue and its scenario", lambda one: number(one.found.adherence.own, 3)),
        ("dialogue and another's scenario", lambda one: number(one.found.adherence.other, 3)),
        (
            "dialogues with more than five strategies, %",
            lambda one: percent(
                sum(v for k, v in one.found.distinct_strategies.items() if int(k) > 5)
            ),
        ),
        ("most frequent opening, seeker, %", lambda one: opening(one.corpus, Role.SEEKER)),
        ("most frequent opening, supporter, %", lambda one: opening(one.corpus, Role.SUPPORTER)),
        ("dialogues with crisis language", lambda one: number(one.found.crisis, 0)),
        *((f"`{name}`: dialogues dropped / trimmed / flagged", hits(name)) for name in FILTERS),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--esconv", type=Path, metavar="FILE", help="ESConv.json, plain or .gz")
    given = parser.parse_args()
    importing: dict[str, Import | SeedImport] = {"seeds": SeedImport()}
    if given.esconv is not None:
        importing["ESConv"] = Import(given.esconv, "esconv", recipe="merged")
    with tempfile.TemporaryDirectory() as place:
        all_of = {name: measured(each, Path(place, name)) for name, each in importing.items()}
    rows = general(min(one.tokens for one in all_of.values()))
    print(markdown_table(["", *all_of], [[n, *map(of, all_of.values())] for n, of in rows]))
    published = published_strategy_shares()
    print()
    print(
        markdown_table(
            ["strategy, % of labels", *all_of, *(f"{name}, published" for name in published)],
            [
                [
                    strategy.value,
                    *(
                        percent(one.found.strategy_shares[strategy.value])
                        for one in all_of.values()
                    ),
                    *(number(shares[strategy.value]) for shares in published.values()),
                ]
                for strategy in Strategy
            ],
        )
    )
    for name, one in all_of.items():
        print()
        print(
            markdown_table(
                [f"{name}, % of each sixth", *range(1, len(one.found.progress) + 1)],
                [
                    [s.value, *(percent(sixth[s.value]) for sixth in one.found.progress)]
                    for s in Strategy
                ],
            )
        )


if __name__ == "__main__":
    main()
