"""The tables of an analysis in markdown, published figures in the next columns.

A published figure stands only where its paper gives it; a missing value is a dash.
"""

from __future__ import annotations

from collections.abc import Callable

from ...agents.roles import Strategy
from ...core.published import published_rows, published_sizes, published_strategy_shares
from ...core.tables import DASH, markdown_table, number
from .analysis import Analysis, Comparison, CorpusAnalysis
from .separation import Separation
from .similarity import Similarity

Of = Callable[[CorpusAnalysis], str]


def tables(analysis: Analysis) -> str:
    """The whole page."""
    parts = [
        "# Corpus analysis",
        _about(analysis),
        _sizes(analysis),
        _strategies(analysis),
        _progress(analysis),
        _distinct_strategies(analysis),
        _similarity(analysis),
        _by_strategy(analysis),
        _by_type(analysis),
        _distinct(analysis),
        _openings(analysis),
        _ends(analysis),
        *(_comparison(comparison) for comparison in analysis.comparisons),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _names(analysis: Analysis) -> list[str]:
    return [corpus.name for corpus in analysis.corpora]


def _rows(analysis: Analysis, *rows: tuple[str, Of]) -> list[list[str]]:
    return [[label, *(of(corpus) for corpus in analysis.corpora)] for label, of in rows]


def _about(analysis: Analysis) -> str:
    lines = []
    for corpus in analysis.corpora:
        whole = "all" if corpus.sampled == corpus.dialogues else "a seeded sample"
        lines.append(
            f"* **{corpus.name}**: {corpus.dialogues:,} dialogues; counts are over all of them,"
            f" comparisons over {corpus.sampled:,} ({whole}). Left out: {corpus.failed} that ended"
            f" in an error, {corpus.empty} without an utterance."
        )
    return "\n".join([*lines, f"* Seed {analysis.seed}. Brackets are 95 % bootstrap intervals."])


def _sizes(analysis: Analysis) -> str:
    ours: list[tuple[str, Of]] = [
        ("dialogues", lambda c: number(c.dialogues, 0)),
        ("utterances", lambda c: number(c.utterances, 0)),
        ("utterances a dialogue", lambda c: number(c.utterances_each.mean)),
        ("words an utterance", lambda c: number(c.words_mean)),
        ("words a seeker utterance", lambda c: number(c.seeker_words.mean)),
        ("words a supporter utterance", lambda c: number(c.supporter_words.mean)),
        ("median utterances a dialogue", lambda c: _short(c.utterances_each.median)),
        ("dialogues with crisis language", lambda c: number(c.crisis, 0)),
    ]
    rows, published = _rows(analysis, *ours), published_sizes()
    for row in rows:
        digits = 0 if row[0] in ("dialogues", "utterances") else 2
        row += [number(figures.get(row[0]), digits) for figures in published.values()]
    head = ["", *_names(analysis), *(f"{name}, published" for name in published)]
    note = "Words are separated by white space. Published: FPEMF Table 2, SweetieChat Table 1."
    return f"## Size and length\n\n{markdown_table(head, rows)}\n\n{note}"


def _strategies(analysis: Analysis) -> str:
    if not any(any(c.strategy_shares.values()) for c in analysis.corpora):
        return ""
    rows = _rows(
        analysis,
        *(
            (s.value, lambda c, s=s: number(c.strategy_shares[s.value], scale=100))
            for s in Strategy
        ),
    )
    published = published_strategy_shares()
    for row in rows:
        row += [number(shares[row[0]]) for shares in published.values()]
    rows += [
        [*row, *[DASH] * len(published)]
        for row in _rows(analysis, ("turns without a label", lambda c: number(c.unlabelled, 0)))
    ]
    head = ["per cent", *_names(analysis), *(f"{name}, published" for name in published)]
    note = (
        "Shares of all labels of supporter utterances as the corpus holds them; an utterance with"
        " several labels counts for each, and of utterances that were merged equal labels count"
        " once (`import --stats` prints the shares before merging beside these). Published:"
        " SweetieChat Table 2, of ESConv before merging."
    )
    return f"## Strategies\n\n{markdown_table(head, rows)}\n\n{note}"


def _progress(analysis: Analysis) -> str:
    parts = []
    for corpus in analysis.corpora:
        if any(corpus.strategy_shares.values()):
            rows = [
                [s.value, *(number(sixth[s.value], 1, scale=100) for sixth in corpus.progress)]
                for s in Strategy
            ]
            head = [corpus.name, *(f"{n}/6" for n in range(1, len(corpus.progress) + 1))]
            parts.append(markdown_table(head, rows))
    if not parts:
        return ""
    return "\n\n".join(["## Strategies over six equal parts of the dialogue (per cent)", *parts])


def _distinct_strategies(analysis: Analysis) -> str:
    if not any(c.distinct_strategies for c in analysis.corpora):
        return ""
    rows = _rows(
        analysis,
        *(
            (str(n), lambda c, n=n: number(c.distinct_strategies.get(n, 0.0), 1, scale=100))
            for n in range(1, len(Strategy) + 1)
        ),
    )
    head = ["distinct strategies", *_names(analysis)]
    return (
        f"## Distinct strategies a dialogue (per cent of dialogues)\n\n{markdown_table(head, rows)}"
    )


def _short(value: float | None) -> str:
    return number(value, 1).removesuffix(".0")


def _interval(value: float | None, low: float | None, high: float | None) -> str:
    return number(value, 3) + (f" [{low:.3f}, {high:.3f}]" if None not in (low, high) else "")


def _cosine(found: Similarity) -> str:
    return _interval(found.mean, found.low, found.high)


def _similarity(analysis: Analysis) -> str:
    ours: list[tuple[str, Of]] = [
        ("between dialogues", lambda c: _cosine(c.similarity)),
        ("10 %, 50 %, 90 %", lambda c: _spread(c.similarity)),
        ("inside one problem type", lambda c: _cosine(c.similarity_in_type)),
        ("10 %, 50 %, 90 %", lambda c: _spread(c.similarity_in_type)),
        (
            "dialogue and its scenario",
            lambda c: _interval(c.adherence.own, c.adherence.low, c.adherence.high),
        ),
        ("dialogue and another's scenario", lambda c: number(c.adherence.other, 3)),
    ]
    head = ["TF-IDF cosine", *_names(analysis)]
    note = (
        "Each corpus with its own idf. Means are over all pairs of distinct dialogues; quantiles"
        " over up to 200,000 pairs."
    )
    return f"## Similarity\n\n{markdown_table(head, _rows(analysis, *ours))}\n\n{note}"


def _spread(found: Similarity) -> str:
    return ", ".join(number(value, 3) for value in (found.p10, found.median, found.p90))


def _by_strategy(analysis: Analysis) -> str:
    rows = [
        [corpus.name, name, number(found.documents, 0), _cosine(found)]
        for corpus in analysis.corpora
        for name, found in corpus.similarity_by_strategy.items()
    ]
    if not rows:
        return ""
    head = ["corpus", "strategy (most frequent)", "replies", "mean cosine of two replies"]
    return f"## Supporter replies under one strategy\n\n{markdown_table(head, rows)}"


def _by_type(analysis: Analysis) -> str:
    names = list(dict.fromkeys(n for c in analysis.corpora for n in c.similarity_by_type))
    if not names:
        return ""
    rows = _rows(
        analysis,
        *((n, lambda c, n=n: number(c.similarity_by_type.get(n), 3)) for n in names),
    )
    head = ["problem type", *_names(analysis)]
    return f"## Similarity inside each problem type\n\n{markdown_table(head, rows)}"


def _distinct(analysis: Analysis) -> str:
    rows = _rows(
        analysis,
        *((f"Distinct-{n}", lambda c, n=n: number(c.diversity.distinct[n])) for n in (1, 2, 3)),
        ("dialogues", lambda c: number(c.diversity.dialogues, 0)),
        ("tokens", lambda c: number(c.diversity.tokens, 0)),
    )
    published = published_rows("SweetieChat Table 6")
    for order, row in enumerate(rows, 1):
        row += [number(figures.get(f"distinct-{order}")) for figures in published.values()]
    rows[3][-len(published) :] = ["1,300"] * len(published)
    head = ["per cent", *_names(analysis), *(f"{name}, published" for name in published)]
    note = (
        f"Tokens here: {analysis.tokenizer}; published: LLaMA-3's (SweetieChat Table 6). Distinct falls as"
        " the text grows: compare columns of equal numbers of dialogues and one tokenizer only."
    )
    return f"## Distinct over sampled dialogues\n\n{markdown_table(head, rows)}\n\n{note}"


def _openings(analysis: Analysis) -> str:
    columns = [list(c.openings.phrases.items()) for c in analysis.corpora]
    rows_needed = max(map(len, columns))
    if not rows_needed:
        return ""
    rows = [
        [
            str(place + 1),
            *(
                f"{column[place][0]} ({100 * column[place][1]:.1f})" if place < len(column) else ""
                for column in columns
            ),
        ]
        for place in range(rows_needed)
    ]
    head = ["", *_names(analysis)]
    return f"## How supporters begin (per cent of replies)\n\n{markdown_table(head, rows)}"


def _ends(analysis: Analysis) -> str:
    stops = list(dict.fromkeys(name for c in analysis.corpora for name in c.stops))
    repairs = list(dict.fromkeys(name for c in analysis.corpora for name in c.repairs))
    rows = _rows(
        analysis,
        *(
            (f"ended by {n}", lambda c, n=n: number(c.stops.get(n, 0) / c.dialogues, 1, scale=100))
            for n in stops
        ),
        *(
            (f"{n}, of 100 utterances", lambda c, n=n: number(c.repairs.get(n, 0.0)))
            for n in repairs
        ),
    )
    return f"## Ends and caps\n\n{markdown_table(['per cent', *_names(analysis)], rows)}"


def _delta(found: Separation) -> str:
    if found.delta is None:
        return DASH
    ends = "" if found.low is None else f" [{found.low:+.2f}, {found.high:+.2f}]"
    return f"{found.delta:+.2f}{ends}"


def _comparison(comparison: Comparison) -> str:
    rows = [
        [
            each.measure,
            number(each.mean_a, 3),
            number(each.mean_b, 3),
            _delta(each),
            each.size or DASH,
            DASH if each.p is None else f"{each.p:.2g}",
            "yes" if each.separates else "no",
            f"{each.missing_a} / {each.missing_b}",
        ]
        for each in comparison.separation
    ]
    head = ["measure", comparison.a, comparison.b, "Cliff's delta", "effect", "p (Holm)"]
    head += ["separates", "missing"]
    lines = [
        f"## {comparison.a} against {comparison.b}",
        comparison.verdict,
        f"Similarity with a common idf: {number(comparison.similarity, 3)} across,"
        f" {number(comparison.inside_a, 3)} inside {comparison.a},"
        f" {number(comparison.inside_b, 3)} inside {comparison.b}.",
        markdown_table(head, rows),
    ]
    return "\n\n".join(lines)
