"""The page's tables and figures: our numbers, how sure they are, and the published ones beside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ...agents.roles import Strategy
from ...core.published import published_strategy_shares
from ...environments.corpus.statistics import comparison
from ...environments.episodes.rating import RatedValues
from ..analyses.profile import INTERVALS, lengths, shares
from ..statistics.uncertainty import estimate_mean, estimate_share
from .charts import bars, histogram, stacked
from .data import RunView

STRATEGY_CLASSES = tuple(f"strategy-{number}" for number in range(len(Strategy)))


@dataclass(frozen=True, slots=True)
class Table:
    """One table: headings, rows of ready texts, and a figure and a note where they help.

    Attributes:
        figure: SVG of ours, safe as it is.
        note: how the numbers were made.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    figure: str = ""
    note: str = ""


def tables(runs: Sequence[RunView]) -> list[Table]:
    """Everything that the page shows in numbers."""
    made = [overview(runs), sizes(runs), strategies(runs), *progress(runs), ends(runs)]
    made += [ratings(runs)] if any(run.rated for run in runs) else []
    return [*made, *dialogue_lengths(runs), usage(runs)]


def overview(runs: Sequence[RunView]) -> Table:
    """What was played, and what went wrong."""
    rows = [
        ("Conversations", *(_count(run.conversations) for run in runs)),
        ("of these failed", *(_count(run.counts.failed) for run in runs)),
        ("Problem types", *(_count(len(run.counts.problem_types)) for run in runs)),
        ("Utterances", *(_count(run.counts.utterances) for run in runs)),
        ("Conversations with crisis language", *(_count(run.counts.crisis) for run in runs)),
        ("Supporter turns without a strategy", *(_count(run.counts.unlabelled) for run in runs)),
        ("Verdicts that could not be read", *(_count(run.summary["unreadable_verdicts"]) for run in runs)),
        ("Ratings", *(_count(sum(len(v.values) for v in run.rated.values())) for run in runs)),
        ("of these unreadable", *(_count(sum(v.missing for v in run.rated.values())) for run in runs)),
        ("of these for conversations not here", *(_count(run.unmatched) for run in runs)),
    ]  # fmt: skip
    return Table("Overview", ("", *(run.name for run in runs)), tuple(rows))


def sizes(runs: Sequence[RunView]) -> Table:
    """Sizes and lengths beside the published corpora (FPEMF Table 2, SweetieChat Table 1)."""
    each = [comparison(run.statistics, run.name) for run in runs]
    published = tuple(each[0][0][2:])
    rows = tuple(
        (lines[0][0], *(line[1] for line in lines), *lines[0][2:])
        for lines in zip(*(table[1:] for table in each), strict=True)
    )
    return Table(
        "Sizes and lengths",
        ("", *(run.name for run in runs), *published),
        rows,
        note="Words are what white space separates. Failed conversations are left out.",
    )


def strategies(runs: Sequence[RunView]) -> Table:
    """Shares of the eight strategies among all labels of supporter turns."""
    series: dict[str, list[float | None]] = {
        run.name: [_percent(share) for share in shares(run.counts.strategies).values()]
        for run in runs
    }
    for corpus, published in published_strategy_shares().items():
        series[f"{corpus} (published)"] = [published[s.value] for s in Strategy]
    names = [s.value for s in Strategy]
    rows = zip(names, *([_one(v) for v in values] for values in series.values()), strict=True)
    return Table(
        "Strategies",
        ("per cent of labels", *series),
        tuple(rows),
        figure=bars("Share of each strategy, per cent", names, series),
        note="Labels as the log holds them: where an import merged utterances, equal labels count"
        " once. Published: SweetieChat Table 2, of ESConv before merging.",
    )


def progress(runs: Sequence[RunView]) -> Iterable[Table]:
    """Strategies over six equal parts of the dialogue (SweetieChat section 4.3)."""
    columns = tuple(f"{number + 1}/{INTERVALS}" for number in range(INTERVALS))
    for run in runs:
        parts = [shares(part) for part in run.counts.progress]
        series = {s.value: [_percent(part[s.value]) for part in parts] for s in Strategy}
        yield Table(
            f"Strategies over the dialogue: {run.name}",
            ("per cent", *columns),
            tuple((name, *(_one(v) for v in values)) for name, values in series.items()),
            figure=stacked(
                f"Strategies over six parts of the dialogue, {run.name}",
                columns,
                series,
                STRATEGY_CLASSES,
            ),
        )


def ends(runs: Sequence[RunView]) -> Table:
    """Why conversations ended, and what had to be cut or repaired."""
    rows = []
    for key in sorted({key for run in runs for key in run.summary["stop"]}):
        rows.append((f"ended: {key}", *(_count(run.summary["stop"].get(key, 0)) for run in runs)))
    for key in sorted({key for run in runs for key in run.summary["repairs"]}):
        rows.append(
            (f"repaired: {key}", *(_count(run.summary["repairs"].get(key, 0)) for run in runs))
        )
    return Table(
        "Ends and repairs",
        ("", *(run.name for run in runs)),
        tuple(rows),
        note="Ends count attempts, failed ones included; repairs count utterances.",
    )


def ratings(runs: Sequence[RunView]) -> Table:
    """Mean of each dimension with its interval, and how many values are missing."""
    keys = sorted({key for run in runs for key in run.rated})
    rubrics = Counter((kind, dimension) for kind, dimension, _ in keys)
    rows = tuple(
        (
            f"{dimension} ({kind})" + (f", {rubric}" if rubrics[kind, dimension] > 1 else ""),
            *(
                _estimate(run.rated.get((kind, dimension, rubric)), yes_or_no=kind == "scorer")
                for run in runs
            ),
        )
        for kind, dimension, rubric in keys
    )
    return Table(
        "Ratings",
        ("dimension", *(run.name for run in runs)),
        rows,
        note="Mean with its 95 % interval, conversations as the units (Wilson's for a scorer's shares,"
        " else bootstrap); n counts readable values. A rating that could not be read is missing, not"
        " zero.",
    )


def dialogue_lengths(runs: Sequence[RunView]) -> Iterable[Table]:
    """How long the conversations are."""
    for run in runs:
        length = lengths(run.counts.utterances_each)
        yield Table(
            f"Utterances a conversation: {run.name}",
            ("mean", "10 %", "median", "90 %"),
            ((_one(length.mean), *map(_short, (length.p10, length.median, length.p90))),),
            figure=histogram(f"Utterances a conversation, {run.name}", run.counts.utterances_each),
        )


def usage(runs: Sequence[RunView]) -> Table:
    """Calls and tokens by role."""
    roles = sorted({role for run in runs for role in run.summary["usage"]})
    fields = (
        ("calls", "calls"),
        ("failed", "failed calls"),
        ("prompt_tokens", "prompt tokens"),
        ("cached_tokens", "of these from a prefix cache"),
        ("completion_tokens", "completion tokens"),
    )
    rows = tuple(
        (f"{role}: {label}", *(_count(run.summary["usage"].get(role, {}).get(key, 0)) for run in runs))
        for role in roles
        for key, label in fields
    )  # fmt: skip
    return Table("Calls and tokens", ("", *(run.name for run in runs)), rows)


def _estimate(rated: RatedValues | None, *, yes_or_no: bool) -> str:
    if rated is None:
        return "no value"
    yes_or_no = yes_or_no and set(rated.values) <= {None, 0, 1}
    estimate = estimate_share if yes_or_no else estimate_mean
    found = estimate(rated.values, groups=rated.episodes)
    missing = f", {found.missing} missing" if found.missing else ""
    if found.value is None:
        return f"no value{missing}"
    sure = f" {found.interval}" if found.interval is not None else ""
    return f"{found.value:.2f}{sure}, n={found.n}{missing}"


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _one(value: float | None) -> str:
    return "no value" if value is None else f"{value:.1f}"


def _short(value: float | None) -> str:
    return "no value" if value is None else f"{value:.1f}".removesuffix(".0")


def _count(number: int) -> str:
    return f"{number:,}"
