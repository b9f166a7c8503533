"""Where candidates come from: diverse beams of a model at hand, or samples of any policy.

Both write each context as it is done and resume where they were stopped. An engine that shares
prefixes computes a prompt once for all its samples, as n-best of one request would.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ...core.errors import RunError
from ...core.seeds import sample_seed
from ...core.tasks import for_each
from ...policies.asking import ask_policy
from ...policies.base import Policy, Request, Sampling
from ..beam_search.search import diverse_beam_search
from ..loop.base_model import Base
from ..rows.build import Row
from ..rows.encode import RowEncoder
from .batch import padded_prompts
from .rows import Candidate, CandidateLog, CandidateSet, Lineage

TRIES = 4
"""Samples drawn for each one wanted, before a context is left with fewer different ones."""

OnDone = Callable[[int], None]
"""Called with the number of contexts that were just finished."""


def beam_candidates(
    base: Base,
    rows: Sequence[Row],
    log: CandidateLog,
    lineage: Lineage,
    *,
    batch_size: int,
    on_done: OnDone = lambda count: None,
) -> None:
    """Search replies for all rows that are not in the log yet.

    Args:
        base: the model, on the device to use.
        lineage: its `settings` are those of `diverse_beam_search`.
        batch_size: contexts at once; those of about one length come together.
    """
    encoder = RowEncoder(base.tokenizer, base.model.config, base.model.generation_config)

    def tokens(row: Row) -> Sequence[int]:
        return encoder.writer.write_without_thinking(Request(messages=row.prompt)).tokens

    waiting = [
        (len(tokens(row)), row.id, place)
        for place, row in enumerate(rows)
        if row.id not in log.finished
    ]
    waiting.sort(reverse=True)
    stops = sorted(encoder.writer.stop_tokens)
    for start in range(0, len(waiting), batch_size):
        some = [rows[place] for _, _, place in waiting[start : start + batch_size]]
        found = _searched(base, [tokens(row) for row in some], lineage.settings, stops)
        for row, candidates in zip(some, found, strict=True):
            log.append(CandidateSet.of(row, candidates, lineage))
        on_done(len(some))


def _searched(
    base: Base, prompts: Sequence[Sequence[int]], settings: Mapping[str, Any], stops: Sequence[int]
) -> list[tuple[Candidate, ...]]:
    ids, mask = padded_prompts(
        prompts,
        pad=base.pad,
        encoder=bool(base.model.config.is_encoder_decoder),
    )
    ids, mask = ids.to(base.model.device), mask.to(base.model.device)
    output = diverse_beam_search(base.model, ids, mask, eos_token_id=stops, **settings)
    return [
        tuple(
            Candidate(
                text=base.tokenizer.decode(tokens[:length], skip_special_tokens=True).strip(),
                token_ids=tuple(tokens[:length]),
                score=round(score, 6),
            )
            for tokens, length, score in zip(sequences, lengths, scores, strict=True)
        )
        for sequences, lengths, scores in zip(
            output.sequences.tolist(), output.lengths.tolist(), output.scores.tolist(), strict=True
        )
    ]


async def sampled_candidates(
    policy: Policy,
    rows: Iterable[Row],
    log: CandidateLog,
    lineage: Lineage,
    *,
    number: int,
    sampling: Sampling,
    concurrency: int,
    on_done: OnDone = lambda count: None,
) -> None:
    """Draw `number` different replies for all rows that are not in the log yet.

    A context whose samples repeat themselves is left with fewer after `TRIES` times as many.

    Raises:
        PolicyError: the policy failed; what is finished is in the log.
        RunError: a context has no reply at all.
    """

    async def draw(row: Row) -> None:
        found: dict[str, Candidate] = {}
        for attempt in range(TRIES):
            first = attempt * number
            seeds = [
                sample_seed(lineage.seed, row.id, first + n) for n in range(number - len(found))
            ]
            texts = await asyncio.gather(*(_said(policy, row, sampling, s) for s in seeds))
            found |= {text: Candidate(text=text) for text in texts if text and text not in found}
        if not found:
            raise RunError(f"no reply was drawn for '{row.id}'")
        log.append(CandidateSet.of(row, tuple(found.values()), lineage))
        on_done(1)

    await for_each((row for row in rows if row.id not in log.finished), draw, concurrency)


async def _said(policy: Policy, row: Row, sampling: Sampling, seed: int) -> str:
    request = Request(
        messages=row.prompt, role="supporter", sampling=sampling, seed=seed, session=row.id
    )
    return (await ask_policy(policy, request)).text.strip()


def reply_tokens(encoder: RowEncoder, context: CandidateSet, text: str) -> list[int]:
    """A reply's token ids after its prompt, end token included."""
    encoded = encoder.encode(context.row(text))
    return [label for label in encoded.labels if label >= 0]


def known_tokens(
    tokenizer: Any, encoder: RowEncoder, context: CandidateSet, candidate: Candidate
) -> list[int]:
    """A candidate's tokens as they were written, if this tokenizer reads them as its text."""
    tokens = list(candidate.token_ids)
    if tokens and tokenizer.decode(tokens, skip_special_tokens=True).strip() == candidate.text:
        return tokens
    return reply_tokens(encoder, context, candidate.text)
