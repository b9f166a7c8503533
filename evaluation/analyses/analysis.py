"""All analyses of one to five corpora, side by side, as one record.

The record holds numbers and short phrases only; tables and figures are made from it, so an
`analysis.json` can be drawn again without the corpora.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from ...core.errors import ConfigError
from .corpus import Corpus
from .profile import Lengths, lengths, shares
from .separation import Separation, separation, verdict
from .similarity import Adherence, Matrix, Similarity, adherence, mean_between, similarity, tfidf
from .text import Diversity, Openings, Tokenize, diversity, openings, words

MAX_CORPORA = 5
STRATEGIES_SHOWN = 4
"""Replies are compared under the most frequent strategies (SweetieChat section 4.2: four)."""
MAX_REPLIES = 20_000
"""Supporter replies of a corpus whose similarity is measured, at most."""
MIN_OF_A_TYPE = 2

WORDS_NAME = "Warmline's words, lower-case"


@dataclass(frozen=True, slots=True)
class CorpusAnalysis:
    """What was found in one corpus.

    Attributes:
        sampled: dialogues that similarity, adherence, openings and separation are computed on.
        repairs: repairs (caps hit, say) per 100 utterances.
        strategy_shares: of all labels; an utterance with two labels counts for both.
        progress: for each sixth of a dialogue, the share of each strategy.
        distinct_strategies: share of the labelled dialogues by number of distinct strategies.
        similarity: between distinct dialogues.
        similarity_in_type: between distinct dialogues of one problem type, all types pooled.
        similarity_by_type: mean for each type with two dialogues or more.
        similarity_by_strategy: between replies under one strategy, the most frequent ones.
    """

    name: str
    dialogues: int
    failed: int
    empty: int
    sampled: int
    utterances: int
    utterances_each: Lengths
    seeker_words: Lengths
    supporter_words: Lengths
    words_mean: float | None
    stops: dict[str, int]
    repairs: dict[str, float]
    crisis: int
    problem_types: dict[str, int]
    unlabelled: int
    strategy_shares: dict[str, float | None]
    progress: list[dict[str, float | None]]
    distinct_strategies: dict[int, float]
    diversity: Diversity
    openings: Openings
    similarity: Similarity
    similarity_in_type: Similarity
    similarity_by_type: dict[str, float]
    similarity_by_strategy: dict[str, Similarity]
    adherence: Adherence


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two corpora against each other.

    Attributes:
        similarity: mean cosine of a dialogue of A and one of B, with the idf of both together.
        inside_a, inside_b: mean cosine inside each, with that same idf.
        separation: on measures that need no judge.
        verdict: the sentence that says whether they separate.
    """

    a: str
    b: str
    similarity: float | None
    inside_a: float | None
    inside_b: float | None
    separation: list[Separation]
    verdict: str


@dataclass(frozen=True, slots=True)
class Analysis:
    """Everything, with the settings that decide it."""

    seed: int
    tokenizer: str
    corpora: list[CorpusAnalysis]
    comparisons: list[Comparison]


def analyse(
    corpora: Sequence[Corpus],
    *,
    seed: int = 0,
    tokenize: Tokenize = words,
    tokenizer: str = WORDS_NAME,
) -> Analysis:
    """Analyse corpora that are read.

    Args:
        corpora: one to five, with distinct names.
        seed: of drawn pairs and resamples.
        tokenize: for Distinct; the papers use LLaMA-3's tokenizer.
        tokenizer: its name.

    Raises:
        ConfigError: too many corpora, or two of one name.
        MissingExtra: scikit-learn or scipy is not installed.
    """
    names = [corpus.name for corpus in corpora]
    if not 1 <= len(corpora) <= MAX_CORPORA:
        raise ConfigError(f"one to {MAX_CORPORA} corpora can be compared, not {len(corpora)}")
    if len(set(names)) < len(names):
        raise ConfigError(
            f"two corpora have one name: {', '.join(names)}", hint="name them with NAME=PATH"
        )
    return Analysis(
        seed,
        tokenizer,
        [analyse_corpus(corpus, seed=seed, tokenize=tokenize) for corpus in corpora],
        [compare(a, b, seed=seed) for a, b in combinations(corpora, 2)],
    )


def analyse_corpus(corpus: Corpus, *, seed: int = 0, tokenize: Tokenize = words) -> CorpusAnalysis:
    """Everything about one corpus."""
    counts, sample = corpus.counts, corpus.sample
    [rows] = tfidf([dialogue.text for dialogue in sample])
    types = [dialogue.problem_type or None for dialogue in sample]
    words_by_role = counts.words
    every = sum(words_by_role.values(), start=type(counts.utterances_each)())
    labelled = counts.distinct_strategies.total()
    return CorpusAnalysis(
        name=corpus.name,
        dialogues=counts.dialogues,
        failed=counts.failed,
        empty=counts.empty,
        sampled=len(sample),
        utterances=counts.utterances,
        utterances_each=lengths(counts.utterances_each),
        **{f"{role.value}_words": lengths(each) for role, each in words_by_role.items()},
        words_mean=lengths(every).mean,
        stops=dict(counts.stops.most_common()),
        repairs={k: 100 * n / counts.utterances for k, n in counts.repairs.most_common()},
        crisis=counts.crisis,
        problem_types=dict(counts.problem_types.most_common()),
        unlabelled=counts.unlabelled,
        strategy_shares=shares(counts.strategies),
        progress=[shares(interval) for interval in counts.progress],
        distinct_strategies={
            k: n / labelled for k, n in sorted(counts.distinct_strategies.items())
        },
        diversity=diversity(sample, tokenize),
        openings=openings(sample),
        similarity=similarity(rows, seed=seed),
        similarity_in_type=similarity(rows, types, seed=seed),
        similarity_by_type=_by_type(rows, types),
        similarity_by_strategy=_by_strategy(corpus, seed),
        adherence=adherence(
            [dialogue.situation for dialogue in sample],
            [dialogue.text for dialogue in sample],
            seed=seed,
        ),
    )


def compare(a: Corpus, b: Corpus, *, seed: int = 0) -> Comparison:
    """Two corpora against each other."""
    rows_a, rows_b = tfidf([d.text for d in a.sample], [d.text for d in b.sample])
    found = separation(a.sample, b.sample, seed=seed)
    return Comparison(
        a.name,
        b.name,
        mean_between(rows_a, rows_b),
        similarity(rows_a, resamples=0, pairs=1).mean,
        similarity(rows_b, resamples=0, pairs=1).mean,
        found,
        verdict(a.name, b.name, found),
    )


def _by_type(rows: Matrix, types: Sequence[str | None]) -> dict[str, float]:
    members: dict[str, list[int]] = {}
    for index, name in enumerate(types):
        if name is not None:
            members.setdefault(name, []).append(index)
    means: dict[str, float] = {}
    for name, indices in sorted(members.items(), key=lambda entry: (-len(entry[1]), entry[0])):
        if len(indices) >= MIN_OF_A_TYPE:
            mean = similarity(rows[indices], resamples=0, pairs=1).mean
            if mean is not None:
                means[name] = mean
    return means


def _by_strategy(corpus: Corpus, seed: int) -> dict[str, Similarity]:
    """Similarity of the replies whose first label is the strategy; one idf over all replies."""
    replies = [
        (turn.strategies[0], turn.text)
        for dialogue in corpus.sample
        for turn in dialogue.turns
        if turn.strategies
    ][:MAX_REPLIES]
    if not replies:
        return {}
    [rows] = tfidf([text for _, text in replies])
    ranked = [strategy for strategy, _ in corpus.counts.strategies.most_common(STRATEGIES_SHOWN)]
    found: dict[str, Similarity] = {}
    for strategy in ranked:
        chosen = [index for index, reply in enumerate(replies) if reply[0] == strategy]
        found[strategy.value] = similarity(rows[chosen], seed=seed)
    return found


def plain(record: Any) -> Any:
    """A record as plain data for JSON; numbers as keys become text."""
    from dataclasses import asdict, is_dataclass

    if is_dataclass(record) and not isinstance(record, type):
        return plain(asdict(record))
    if isinstance(record, dict):
        return {str(key): plain(value) for key, value in record.items()}
    if isinstance(record, list | tuple):
        return [plain(value) for value in record]
    return record
