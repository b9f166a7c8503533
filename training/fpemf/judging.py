"""Feedback on the candidates of FPEMF: ratings at hand, or made by the judge of the settings."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from ...core.claim import FreshFolder
from ...core.errors import ConfigError
from ...core.files import write_whole
from ...core.tasks import run_sync
from ...environments.corpus.seen import Seen, overlap_of, seen_by
from ...environments.episodes.rating import RATINGS_NAME, iter_ratings
from ...policies.base import Policy, close_policy, open_policy
from ...policies.models.sources import find_source
from ...policies.registry import make_policy
from ..candidates.feedback import (
    DIMENSIONS,
    Key,
    Labeller,
    Marks,
    PolicyLabeller,
    find_rule,
    helpful_rates,
    marks_of,
    rate_candidates,
)
from ..candidates.rows import CandidateSet
from ..loop.base_model import base_name
from ..rows.sources import DataSource, source_of
from .contexts import part_in, progress_lines
from .settings import JudgedCandidateSettings

HELPFUL_NAME = "helpful.json"
"""Helpful rates by dimension (FPEMF Table 4)."""
SEEN_KEY = "seen"
"""In that file: what the model had learned from, where it is not held out."""


def feedback_on(
    settings: JudgedCandidateSettings,
    contexts: Sequence[CandidateSet],
    labeller: Labeller | None,
    console: Console,
    seen: Seen,
) -> tuple[Mapping[Key, Marks], tuple[DataSource, ...]]:
    """What the ratings say of the candidates; ratings are made first where a judge is named.

    Args:
        seen: the dialogues that the contexts are of. Where the model learned from some of them, the
            rates say so.
    """
    files = [Path(name) for name in settings.ratings]
    if labeller is not None or settings.judge.policy is not None:
        files.append(rate(settings, contexts, labeller, console))
    ratings = (rating for file in files for rating in iter_ratings(file))
    marks = marks_of(ratings, threshold=settings.threshold, dimensions=settings.dimensions)
    rule = find_rule(settings.rule)
    table = helpful_rates(contexts, marks, rule)
    known = seen_by(find_source(base_name(settings.model), merge=True).folders)
    flag = overlap_of(seen, known).flag("model")
    if settings.out is not None:
        plain: dict[str, Any] = {
            form: {k: asdict(v) for k, v in row.items()} for form, row in table.items()
        }
        plain |= {SEEN_KEY: flag} if flag else {}
        write_whole(Path(settings.out) / HELPFUL_NAME, json.dumps(plain, indent=2) + "\n")
    for form, shares in table.items():
        rates = ", ".join(
            f"{name} {share.value:.1%}" for name, share in shares.items() if share.value is not None
        )
        console.print(f"helpful, {form}: {rates or 'not judged'}")
    if flag:
        console.print(flag, soft_wrap=True)
    counted = [source_of(f, [f], sum(1 for _ in iter_ratings(f))) for f in files]
    return marks, tuple(counted)


def rate(
    settings: JudgedCandidateSettings,
    contexts: Sequence[CandidateSet],
    labeller: Labeller | None,
    console: Console,
) -> Path:
    """Have the candidates judged that are not yet; the file of all ratings.

    One part (`settings.part`) writes a file of its own, which the whole takes in.
    """
    file = Path(settings.out or ".") / "candidates" / RATINGS_NAME
    on_done = progress_lines(console, "feedback", 0, len(contexts))
    with FreshFolder(file.parent).unless_begun({"ratings*.jsonl"}):
        run_sync(_rate(settings, contexts, labeller, file, on_done))
    return file


async def _rate(
    settings: JudgedCandidateSettings,
    contexts: Sequence[CandidateSet],
    labeller: Labeller | None,
    file: Path,
    on_done: Callable[[int], None],
) -> None:
    if labeller is not None:
        await _rate_with(settings, contexts, labeller, file, "labeller", on_done)
        return
    policy = make_policy(settings.judge.policy or "", **settings.judge.policy_options())
    name = ":".join(filter(None, (settings.judge.policy, settings.judge.model)))
    try:
        await open_policy(policy)
        judge = policy if isinstance(policy, Labeller) else _asking(policy, settings)
        await _rate_with(settings, contexts, judge, file, name, on_done)
    finally:
        await close_policy(policy)


async def _rate_with(
    settings: JudgedCandidateSettings,
    contexts: Sequence[CandidateSet],
    labeller: Labeller,
    file: Path,
    name: str,
    on_done: Callable[[int], None],
) -> None:
    await rate_candidates(
        contexts,
        labeller,
        file,
        rater=name,
        concurrency=settings.concurrency,
        on_done=on_done,
        part=part_in(settings),
    )


def _asking(policy: Policy, settings: JudgedCandidateSettings) -> PolicyLabeller:
    """A labeller that puts our questions to a policy, which knows none of its own."""
    names = settings.dimensions or tuple(DIMENSIONS)
    if unknown := [name for name in names if name not in DIMENSIONS]:
        raise ConfigError(
            f"no question for dimension {unknown[0]!r}; known: {', '.join(DIMENSIONS)}",
            hint="give ratings with that dimension, or a judge that knows it",
        )
    return PolicyLabeller(policy, {name: DIMENSIONS[name] for name in names})
