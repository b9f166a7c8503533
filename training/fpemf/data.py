"""Data of FPEMF: contexts with candidates, their feedback, and both in tokens."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

from ...core.claim import claim, compare
from ...core.errors import ConfigError
from ...core.files import write_whole
from ...core.tasks import run_sync
from ...environments.corpus.seen import Seen, digests_of, write_seen
from ...environments.corpus.splits import scenario_groups
from ...environments.episodes.rating import RATINGS_NAME, iter_ratings
from ...environments.runs.settings import EngineSettings
from ...policies.base import Policy, close_policy, open_policy
from ...policies.registry import make_policy
from ..candidates.batch import CandidateBatch
from ..candidates.feedback import (
    DIMENSIONS,
    Key,
    Labeller,
    Marks,
    PolicyLabeller,
    find_rule,
    helpful_rates,
    labels_of,
    marks_of,
    rate_candidates,
)
from ..candidates.losses import MISSING
from ..candidates.rows import (
    CANDIDATES_NAME,
    CandidateLog,
    CandidateSet,
    Lineage,
    candidate_name,
    iter_candidates,
)
from ..candidates.sources import beam_candidates, known_tokens, sampled_candidates
from ..loop.base_model import Base
from ..loop.distributed import is_first
from ..loop.loop import on_gpu
from ..rows.advice import advice_for
from ..rows.build import BadRow, Row, build_rows, refuse_bad
from ..rows.encode import RowEncoder, encode_rows
from ..rows.left_out import left_out_line, left_out_of
from ..rows.sources import DataSource, draw, load_episodes, source_of
from ..rows.spool import Ordered, Spool
from .settings import FpemfSettings, JudgedCandidateSettings

HELPFUL_NAME = "helpful.json"
"""Helpful rates by dimension (FPEMF Table 4)."""
PROGRESS_SECONDS = 10.0
"""Seconds between two lines about a stage's progress."""


# Candidates


def candidate_sets(
    settings: JudgedCandidateSettings, base: Base, console: Console
) -> tuple[Sequence[CandidateSet], tuple[DataSource, ...], tuple[BadRow, ...]]:
    """The contexts with their candidates: read, or made in `out/candidates`; and turns without."""
    if settings.candidates is not None:
        path = Path(settings.candidates)
        contexts = in_order(iter_candidates(path))
        file = path / CANDIDATES_NAME if path.is_dir() else path
        return contexts, (source_of(path, [file], len(contexts)),), ()
    rows, sources, bad = context_rows(settings, base)
    folder = Path(settings.out or ".") / "candidates"
    lineage = _lineage(settings, base)
    identity = {
        "lineage": lineage.model_dump(),
        "rows": hashlib.sha256(repr(rows).encode()).hexdigest(),
    }
    compare(folder, identity)  # before anything is written there
    with CandidateLog(folder) as log:
        claim(folder, identity)  # under the log's lock
        done = len(log.finished & {row.id for row in rows})
        left_out = left_out_line(left_out_of(bad))
        at_hand = f"candidates: {done} of {len(rows)} contexts at hand in {folder}"
        console.print(f"{at_hand}; {left_out}", soft_wrap=True)
        if settings.source == "beams":
            base.model.to("cuda" if on_gpu(settings) else "cpu")
            beam_candidates(
                base,
                rows,
                log,
                lineage,
                batch_size=settings.search_batch,
                on_done=progress_lines(console, "candidates", done, len(rows)),
            )
        else:
            on_done = progress_lines(console, "candidates", done, len(rows))
            run_sync(_sample(_policy(settings.sampler), rows, log, lineage, settings, on_done))
    return in_order(iter_candidates(folder)), sources, bad


def record_seen(settings: JudgedCandidateSettings, contexts: Sequence[CandidateSet]) -> Seen:
    """The dialogues that the contexts are of, written beside the candidates."""
    asked = {context.episode for context in contexts}
    seen = Seen(train=digests_of(load_episodes(settings.data)[0], asked))
    if is_first():
        write_seen(Path(settings.out or ".") / "candidates", seen)
    return seen


def in_order(contexts: Iterable[CandidateSet]) -> Sequence[CandidateSet]:
    """By episode and utterance, whatever the order in which they were finished.

    Beyond a thousand they lie in a file, see `Spool`.
    """
    kept, keys = Spool[CandidateSet](), []
    for context in contexts:
        kept.append(context)
        keys.append((context.episode, context.utterance or 0, context.id))
    return Ordered(kept, sorted(range(len(kept)), key=keys.__getitem__))


def context_rows(
    settings: JudgedCandidateSettings, base: Base
) -> tuple[list[Row], tuple[DataSource, ...], tuple[BadRow, ...]]:
    """The rows whose prompts are answered; their group joins scenarios that tell one situation.

    Turns that give none are the third part, those that are too long for the model among them.
    """
    episodes, sources = load_episodes(settings.data)
    groups = dict(zip((e.id for e in episodes), scenario_groups(episodes), strict=True))
    built = build_rows(episodes, settings, advice_for(episodes, settings, settings.out))
    encoder = RowEncoder(base.tokenizer, base.model.config, base.model.generation_config)
    longest = min(settings.max_tokens, base.context) - settings.max_new_tokens
    _, kept, long = encode_rows(encoder, built.rows, longest)
    refuse_bad(long, settings.on_bad_row)
    if not kept:
        raise ConfigError(
            f"{len(episodes)} episodes give no context to train on",
            problems=[f"{fault}: {count}" for fault, count in built.faults.items()]
            + [f"too long: {len(long)}, such as {long[0].id}: {long[0].detail}"] * bool(long),
            hint=f"rows must leave {settings.max_new_tokens} of"
            f" {min(settings.max_tokens, base.context)} tokens for a candidate; lower"
            " history_window or max_new_tokens, or give a shorter template",
        )
    rows = [replace(row, group=groups[row.id.rpartition("#")[0]]) for row in kept]
    if settings.contexts is not None and settings.contexts < len(rows):
        rows = draw(rows, settings.contexts, settings.seed)
    return rows, sources, (*built.bad, *long)


async def _sample(
    policy: Policy,
    rows: list[Row],
    log: CandidateLog,
    lineage: Lineage,
    settings: JudgedCandidateSettings,
    on_done: Callable[[int], None],
) -> None:
    try:
        await open_policy(policy)
        await sampled_candidates(
            policy,
            rows,
            log,
            lineage,
            number=settings.num_candidates,
            sampling=settings.sampler.sampling(),
            concurrency=settings.concurrency,
            on_done=on_done,
        )
    finally:
        await close_policy(policy)


def progress_lines(console: Console, what: str, done: int, total: int) -> Callable[[int], None]:
    """A function that counts what is done and says so, at most every `PROGRESS_SECONDS` seconds."""
    last = time.monotonic()

    def on_done(count: int) -> None:
        nonlocal done, last
        done += count
        if time.monotonic() - last > PROGRESS_SECONDS:
            last = time.monotonic()
            console.print(f"{what}: {done} of {total} contexts")

    return on_done


def _lineage(settings: JudgedCandidateSettings, base: Base) -> Lineage:
    if settings.source == "beams":
        return Lineage(
            source="beams", model=settings.model, identity=base.identity, settings=settings.search()
        )
    sampler = settings.sampler
    drawn = {"num_candidates": settings.num_candidates, **sampler.sampling().as_dict()}
    name = ":".join(filter(None, (sampler.policy, sampler.model)))
    return Lineage(source="sampling", model=name, settings=drawn, seed=settings.seed)


def _policy(settings: EngineSettings) -> Policy:
    return make_policy(settings.policy or "", **settings.policy_options())


# Feedback


def feedback_on(
    settings: JudgedCandidateSettings,
    contexts: Sequence[CandidateSet],
    labeller: Labeller | None,
    console: Console,
) -> tuple[dict[Key, dict[str, bool | None]], tuple[DataSource, ...]]:
    """What the ratings say of the candidates; ratings are made first where a judge is named."""
    files = [Path(name) for name in settings.ratings]
    if labeller is not None or settings.judge.policy is not None:
        files.append(Path(settings.out or ".") / "candidates" / RATINGS_NAME)
        on_done = progress_lines(console, "feedback", 0, len(contexts))
        run_sync(_rate(settings, contexts, labeller, files[-1], on_done))
    ratings = [rating for file in files for rating in iter_ratings(file)]
    marks = marks_of(ratings, threshold=settings.threshold, dimensions=settings.dimensions)
    rule = find_rule(settings.rule)
    table = helpful_rates(contexts, marks, rule)
    if settings.out is not None:
        plain = {form: {k: asdict(v) for k, v in row.items()} for form, row in table.items()}
        write_whole(Path(settings.out) / HELPFUL_NAME, json.dumps(plain, indent=2) + "\n")
    for form, shares in table.items():
        rates = ", ".join(
            f"{name} {share.value:.1%}" for name, share in shares.items() if share.value is not None
        )
        console.print(f"helpful, {form}: {rates or 'not judged'}")
    counted = [source_of(f, [f], sum(1 for _ in iter_ratings(f))) for f in files]
    return marks, tuple(counted)


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
    policy = _policy(settings.judge)
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
        contexts, labeller, file, rater=name, concurrency=settings.concurrency, on_done=on_done
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


# Tensors


@dataclass(frozen=True, slots=True)
class RankedContext:
    """A context in tokens.

    Attributes:
        prompt: ids.
        replies: the gold reply first, then the candidates.
        labels: one a reply; the gold reply's is -1 unless it is ranked too.
    """

    prompt: list[int]
    replies: list[list[int]]
    labels: list[int]

    @property
    def tokens(self) -> int:
        """Length of the prompt and its longest reply."""
        return len(self.prompt) + max(map(len, self.replies))


def encode_context(
    base: Base,
    encoder: RowEncoder,
    context: CandidateSet,
    marks: Mapping[Key, Marks],
    settings: FpemfSettings,
) -> RankedContext:
    """Prompt, replies and labels of one context; candidates without a label are left out."""
    row = encoder.encode(context.row(context.gold))
    gold = [label for label in row.labels if label >= 0]
    prompt = row.input_ids
    if row.decoder_input_ids is None:
        prompt = prompt[: len(prompt) - len(gold)]
    replies, labels = [gold], [1 if settings.include_gold else MISSING]
    if settings.ranks:
        found = labels_of(context, marks, find_rule(settings.rule))[: settings.num_candidates]
        for candidate, label in zip(context.candidates, found, strict=False):
            if label != MISSING:
                replies.append(known_tokens(base.tokenizer, encoder, context, candidate))
                labels.append(label)
    return RankedContext(prompt, replies, labels)


def encode_contexts(
    base: Base,
    encoder: RowEncoder,
    contexts: Sequence[CandidateSet],
    marks: Mapping[Key, Marks],
    settings: FpemfSettings,
) -> tuple[Spool[RankedContext], list[BadRow]]:
    """The contexts in tokens, and those that are longer than the settings or the model allow."""
    longest = min(settings.max_tokens, base.context)
    kept: Spool[RankedContext] = Spool()
    bad: list[BadRow] = []
    for context in contexts:
        made = encode_context(base, encoder, context, marks, settings)
        if made.tokens > longest:
            bad.append(BadRow(context.id, "too_long", f"{made.tokens} tokens, at most {longest}"))
        else:
            kept.append(made)
    return kept, bad


def unjudged(
    contexts: Sequence[CandidateSet], marks: Mapping[Key, Marks], settings: FpemfSettings
) -> list[BadRow]:
    """The candidates that no rating decides: they are not ranked."""
    if not settings.ranks:
        return []
    rule = find_rule(settings.rule)
    return [
        BadRow(f"{context.id}/{candidate_name(number)}", "not_judged")
        for context in contexts
        for number, label in enumerate(labels_of(context, marks, rule)[: settings.num_candidates])
        if label == MISSING
    ]


class ContextCollator:
    """Contexts into the tensors of a `CandidateBatch`, and `labels` `(batch, replies)`."""

    def __init__(self, pad: int, *, encoder: bool) -> None:
        self._pad, self._encoder = pad, encoder

    def __call__(self, rows: Sequence[RankedContext]) -> dict[str, Tensor]:
        batch = CandidateBatch.padded(
            [row.prompt for row in rows],
            [row.replies for row in rows],
            pad=self._pad,
            encoder=self._encoder,
        )
        width = batch.reply_ids.shape[1]
        labels = [[*row.labels, *[MISSING] * (width - len(row.labels))] for row in rows]
        return batch.tensors() | {"labels": torch.tensor(labels)}
