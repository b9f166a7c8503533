"""The scorer of the four dimensions of FPEMF §4.1: one adapter with a head for each.

Sources are split, pairs are made on each side separately, and heads are trained of which each
learns only from the pairs that say something about its dimension.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console

from ...core.errors import ConfigError, did_you_mean
from ...core.files import write_whole
from ...core.outside.console import make_console
from ...core.settings import expect_settings
from ...environments.corpus.seen import Seen, seen_of, text_digest
from ...environments.episodes.episode import Episode
from ...policies.base import Message
from ...policies.heads.scorer import ANSWERS, FAILS, HOLDS
from ..candidates.feedback import DIMENSIONS, all_hold
from ..heads.data import HeadRow, split_sides
from ..heads.metrics import Quality, measure
from ..heads.train import HeadData, keep, train_heads
from ..loop.checkpoint import Checkpoint
from ..loop.distributed import refuse_alone
from ..loop.results import TrainingResult, result_of
from ..loop.resume import folder_of, trained_in
from ..rows.build import BadRow, refuse_bad
from ..rows.encode import IGNORED
from ..rows.sources import DataSource, source_of
from ..rows.spool import Spool
from .data import Pair, coherence_pairs, empathy_pairs, real_replies, strategy_pairs, topic_pairs
from .settings import ScorerSettings

REPORT_NAME = "report.json"
FROM_DIALOGUES = ("coherence", "topic")

Sides = tuple[Sequence[Pair], Sequence[Pair], Sequence[Pair]]
"""Pairs for training, validation and test."""


@dataclass(frozen=True, slots=True)
class ScorerData:
    """Pairs by dimension, and what could not be used."""

    pairs: Mapping[str, Sides]
    bad: tuple[BadRow, ...]
    sources: tuple[DataSource, ...]
    seen: Seen

    @property
    def dimensions(self) -> tuple[str, ...]:
        """Those with training pairs of both kinds."""
        return tuple(self.pairs)


def train_scorer(settings: ScorerSettings, *, console: Console | None = None) -> TrainingResult:
    """Train, resume or find finished; a checkpoint for each run, or each run and dimension.

    Raises:
        ConfigError, DataError, RunError: no data, bad rows that are refused, another training in
            the folder.
        Stopped: Ctrl-C; the same call resumes.
    """
    expect_settings(settings, ScorerSettings, "train_scorer")
    refuse_alone(settings)
    console = console or make_console(quiet=True)
    data = read_data(settings)
    made = []
    for seed in range(settings.seed, settings.seed + settings.runs):
        top = folder_of(settings, "scorer", seed)
        for folder, dimensions in folders(top, data.dimensions, settings):
            train = partial(_train_one, settings, data, dimensions, folder, seed, console)
            found = trained_in(folder, settings, seed, data.sources, console, train)
            made.append((folder, found))
    return result_of(Path(settings.out or "."), made)


def folders(
    top: Path, dimensions: Sequence[str], settings: ScorerSettings
) -> list[tuple[Path, tuple[str, ...]]]:
    """Where a run's adapters go, and what each judges."""
    if settings.adapters == "one":
        return [(top, tuple(dimensions))]
    return [(top / name, (name,)) for name in dimensions]


# Data


def read_data(settings: ScorerSettings) -> ScorerData:
    """The pairs of every dimension that has data, split by source.

    Raises:
        ConfigError: an unknown dimension, one without data, or bad rows that are refused.
    """
    wanted = _wanted(settings)
    pairs: dict[str, Sides] = {}
    bad: list[BadRow] = []
    sources: list[DataSource] = []
    seen = Seen()
    tables = (
        ("empathy", settings.empathy, empathy_pairs, settings.empathy_pairs),
        ("strategy", settings.strategy, strategy_pairs, settings.strategy_pairs),
    )
    for name, path, read, most in tables:
        if path is None or name not in wanted:
            continue
        found, faulty = read(path)
        bad += faulty
        files = sorted(Path(path).glob("*.csv*")) if Path(path).is_dir() else [Path(path)]
        sources.append(source_of(path, files, len(found)))
        pairs[name] = split_pairs(found, most, settings)
        train, validation, _ = pairs[name]
        seen |= Seen(train=_digests(train), validation=_digests(validation))
    if set(FROM_DIALOGUES) & set(wanted):
        sides, more = split_sides(settings)
        sources += more
        seen |= seen_of(sides[0], sides[1])
        for name in FROM_DIALOGUES:
            if name in wanted:
                pairs[name] = dialogue_pairs(name, sides, settings)
    refuse_bad(bad, settings.on_bad_row)
    _refuse_one_sided(pairs)
    ordered = {name: pairs[name] for name in DIMENSIONS if name in pairs}
    return ScorerData(ordered, tuple(bad), tuple(sources), seen)


def _digests(pairs: Sequence[Pair]) -> frozenset[str]:
    """Of the pairs of a table, each as a dialogue of its own."""
    return frozenset(text_digest((*(t.text for t in p.history), p.reply)) for p in pairs)


def _wanted(settings: ScorerSettings) -> tuple[str, ...]:
    """The dimensions that are asked for, or that have data."""
    for name in settings.dimensions:
        if name not in DIMENSIONS:
            raise ConfigError(
                f"no dimension '{name}'; known: {', '.join(DIMENSIONS)}",
                hint=did_you_mean(name, DIMENSIONS),
            )
    has = {
        "empathy": settings.empathy is not None,
        "strategy": settings.strategy is not None,
        "coherence": bool(settings.data),
        "topic": bool(settings.data),
    }
    wanted = settings.dimensions or tuple(name for name, there in has.items() if there)
    lacking = [name for name in wanted if not has[name]]
    if lacking or not wanted:
        raise ConfigError(
            "no data for " + (", ".join(lacking) or "any dimension"),
            hint="DATA gives dialogues for coherence and topic, --empathy the EPITOME tables,"
            " --strategy a table of motivational-interviewing labels",
        )
    return tuple(wanted)


def _refuse_one_sided(pairs: Mapping[str, Sides]) -> None:
    problems = []
    for name, (train, _, _) in pairs.items():
        counts = Counter(pair.labels[name] for pair in train)
        if len(counts) < 2:
            shown = f"{counts[True]} helpful and {counts[False]} unhelpful pairs"
            problems.append(f"{name}: {shown}")
    if problems:
        raise ConfigError(
            "a dimension cannot be learned from one kind of pair",
            problems=problems,
            hint="give more data, several problem types, or name the dimensions to train",
        )


def split_pairs(pairs: Sequence[Pair], most: int, settings: ScorerSettings) -> Sides:
    """At most `most` pairs of a table, split by source into training, validation and test."""
    chance = random.Random(f"pairs/{settings.seed}")  # noqa: S311 - not cryptography
    drawn = chance.sample(list(pairs), min(most, len(pairs)))
    by_source: dict[str, list[Pair]] = defaultdict(list)
    for pair in drawn:
        by_source[pair.source].append(pair)
    names = sorted(by_source)
    chance.shuffle(names)
    tested = round(settings.test_share * len(names))
    held = round(settings.validation_share * (len(names) - tested))
    parts = names[:tested], names[tested : tested + held], names[tested + held :]
    test, validation, train = ([p for name in part for p in by_source[name]] for part in parts)
    return train, validation, test


def dialogue_pairs(
    name: str, sides: Sequence[Sequence[Episode]], settings: ScorerSettings
) -> Sides:
    """Pairs of coherence or topic, made on each side separately.

    The sizes are of all sides together; each has its part, by its number of replies.
    """
    replies = [real_replies(side) for side in sides]
    total = max(1, sum(map(len, replies)))
    found: list[Sequence[Pair]] = []
    for n, side in enumerate(replies):
        share, seed = len(side) / total, settings.seed * 3 + n
        if name == "coherence":
            made: Sequence[Pair] = coherence_pairs(
                side,
                coherent=round(share * settings.coherent),
                incoherent=round(share * settings.incoherent),
                altered_share=settings.altered_share,
                altered_words=settings.altered_words,
                seed=seed,
            )
        else:
            made = topic_pairs(
                side,
                on_topic=round(share * settings.on_topic),
                off_topic=round(share * settings.off_topic),
                seed=seed,
            )
        found.append(made)
    return found[0], found[1], found[2]


def head_rows(pairs: Mapping[str, Sides], dimensions: Sequence[str], side: int) -> Spool[HeadRow]:
    """Pairs of one side as rows of these heads; what no pair says of a reply is -100.

    One real reply may be an example of several dimensions, and is read once.
    """
    places: dict[bytes, int] = {}
    asked: Spool[tuple[str, tuple[Message, ...]]] = Spool()
    known: list[dict[str, bool]] = []
    for name in dimensions:
        for pair in pairs[name][side]:
            key = _digest(pair.messages)
            if key not in places:
                places[key] = len(asked)
                asked.append((f"{len(asked)}:{pair.id}", pair.messages))
                known.append({})
            known[places[key]].update(pair.labels)
    return Spool(
        HeadRow(
            row, row, messages,
            tuple(int(found[name]) if name in found else IGNORED for name in dimensions),
        )
        for (row, messages), found in zip(asked, known, strict=True)
    )  # fmt: skip


def _digest(messages: Sequence[Message]) -> bytes:
    shown = repr([(m.role, m.content) for m in messages]).encode()
    return hashlib.blake2b(shown, digest_size=16).digest()


# One adapter


def _train_one(
    settings: ScorerSettings,
    data: ScorerData,
    dimensions: tuple[str, ...],
    folder: Path,
    seed: int,
    console: Console,
) -> Checkpoint:
    heads = dict.fromkeys(dimensions, ANSWERS)
    train, validation, test = (head_rows(data.pairs, dimensions, side) for side in range(3))
    sides = HeadData(train, validation, test, data.bad, data.sources)
    trained = train_heads(settings, sides, heads, folder, seed=seed, weights=None, console=console)
    metrics = report(test, trained.probabilities, dimensions, folder)
    return keep(
        trained, kind="scorer", heads=heads, settings=settings, sources=data.sources,
        seen=data.seen,
        metrics=metrics,
    )  # fmt: skip


def report(
    test: Sequence[HeadRow],
    probabilities: Mapping[str, Sequence[float]],
    dimensions: Sequence[str],
    folder: Path,
) -> dict[str, float | None]:
    """Measure each dimension on the test pairs that have its label; writes `report.json`."""
    found: dict[str, Quality] = {}
    metrics: dict[str, float | None] = {}
    for n, name in enumerate(dimensions):
        rows = [row for row in test if row.labels[n] != IGNORED]
        own = [list(probabilities[row.id][2 * n : 2 * n + 2]) for row in rows]
        chosen = [int(p[ANSWERS.index(HOLDS)] >= p[ANSWERS.index(FAILS)]) for p in own]
        quality = measure([(row.labels[n],) for row in rows], chosen, 2, own)
        found[name] = quality
        metrics[f"{name}_accuracy"] = quality.accuracy
        metrics[f"{name}_f1"] = f1_helpful(quality)
        metrics[f"{name}_macro_f1"] = quality.macro_f1
        metrics[f"{name}_ece"] = quality.ece
        if (majority := majority_share(quality)) is not None:
            metrics[f"{name}_majority"] = majority
    record = {name: quality.as_json() for name, quality in found.items()}
    text = json.dumps({"labels": list(ANSWERS), "dimensions": record}, indent=2)
    write_whole(folder / REPORT_NAME, text + "\n")
    return metrics


def f1_helpful(quality: Quality) -> float | None:
    """F1 of `helpful`; None where there is none on either side.

    Right 3 of 4 helpful ones, and 1 unhelpful called helpful: 2·3 / (2·3 + 1 + 1) = 0.75.
    """
    (_, false_positive), (false_negative, hits) = quality.table
    either = 2 * hits + false_positive + false_negative
    return 2 * hits / either if either else None


def majority_share(quality: Quality) -> float | None:
    """Accuracy of always giving the more frequent answer."""
    return max(map(sum, quality.table)) / quality.count if quality.count else None


def helpful(probabilities: Mapping[str, float | None]) -> bool | None:
    """Whether a reply is helpful: all dimensions hold, each from a probability of 0.5 on."""
    return all_hold([None if p is None else p >= 0.5 for p in probabilities.values()])
