"""The result of paired self-play as rows for the terminal and as the Markdown page `tables.md`."""

from __future__ import annotations

from ...core.tables import DASH, markdown_table, number
from .result import SelfPlayResult

COLUMNS = ("measure", "A", "B", "A - B", "95 % interval", "p", "p Holm", "pairs", "missing")
WIN_COLUMNS = ("dimension", "A wins", "ties", "B wins", "missing", "A's rate", "95 % interval")
SHORT = {
    "words a supporter utterance": "words, supporter",
    "words a seeker utterance": "words, seeker",
}
"""Short names, with which a table fits 80 columns."""


def outcome_rows(result: SelfPlayResult) -> list[list[str]]:
    """A and B measure by measure, in `COLUMNS`; a star marks what needs no judge."""
    return [
        [
            SHORT.get(each.measure, each.measure) + ("" if each.judged else " *"),
            number(each.a.value),
            number(each.b.value),
            DASH if each.paired.difference is None else f"{each.paired.difference:+.2f}",
            str(each.paired.interval) if each.paired.interval else DASH,
            number(each.paired.p, 3),
            number(each.p_holm, 3),
            str(each.paired.n),
            str(each.paired.missing),
        ]
        for each in result.outcomes
    ]


def summary(result: SelfPlayResult) -> str:
    """What was played, and what differs beyond chance, or that nothing does."""
    apart = [o.measure for o in result.outcomes if o.p_holm is not None and o.p_holm < 0.05]
    verdict = f"A and B differ on {', '.join(apart)}" if apart else "A and B differ on no measure"
    return (
        f"{result.scenarios} scenarios, {len(result.seeds)} seed(s); failed: A"
        f" {result.failed['a']}, B {result.failed['b']}; unreadable verdicts:"
        f" {result.unreadable}. * needs no judge.\n{verdict} beyond chance (permutation test by"
        " scenario, Holm, 5 %)."
    )


def page(result: SelfPlayResult) -> str:
    """The whole result in Markdown, which `warmline report --appendix` shows."""
    parts = ["# Paired self-play", markdown_table(COLUMNS, outcome_rows(result)), summary(result)]
    if result.wins:
        rows = [
            [
                each.dimension,
                *map(str, (each.wins, each.ties, each.losses, each.missing)),
                number(each.rate),
                str(each.interval) if each.interval else DASH,
            ]
            for each in result.wins
        ]
        parts += ["## Which of two conversations is better", markdown_table(WIN_COLUMNS, rows)]
    return "\n\n".join(parts) + "\n"
