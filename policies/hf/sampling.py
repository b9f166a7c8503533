"""The next token of every row, each under its own settings and from its own seed.

Nothing computed for a row depends on the other rows. The settings apply in the order of
transformers' `generate`: repetition penalty, temperature, top-k, top-p, min-p.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .answers import Answer

_NUCLEUS = 1024
"""Number of most likely tokens searched first for the nucleus: sorting all is much slower."""


def next_tokens(logits: torch.Tensor, answers: Sequence[Answer]) -> list[int]:
    """Draw one token for each answer.

    Args:
        logits: `(rows, vocabulary)`, float32, as the model gave them, all defined.
        answers: one a row.
    """
    scores = _constrained(_penalized(logits, answers), answers)
    tokens = scores.argmax(dim=-1)
    drawing = [row for row, answer in enumerate(answers) if answer.sampling.temperature]
    if drawing:
        index = torch.tensor(drawing, device=logits.device)
        tokens[index] = _draw(scores[index], [answers[row] for row in drawing])
    chosen: list[int] = tokens.tolist()
    for token, answer in zip(chosen, answers, strict=True):
        if answer.seen is not None:
            answer.seen[token] = True
    return chosen


def undefined_rows(logits: torch.Tensor) -> list[int]:
    """The rows of `(rows, vocabulary)` whose logits are NaN or infinite."""
    defined = torch.isfinite(logits.amax(dim=-1))
    return [] if bool(defined.all()) else (~defined).nonzero()[:, 0].tolist()


def logprobs_of(
    logits: torch.Tensor, tokens: Sequence[int], answers: Sequence[Answer]
) -> list[float | None]:
    """Log-probabilities (nats) of the tokens in the model's own distribution, where wanted."""
    rows = [row for row, answer in enumerate(answers) if answer.wants_logprobs]
    found: list[float | None] = [None] * len(answers)
    if rows:
        index = torch.tensor(rows, device=logits.device)
        wanted = torch.tensor([tokens[row] for row in rows], device=logits.device)
        values = logits[index].log_softmax(dim=-1).gather(1, wanted[:, None])[:, 0].tolist()
        for row, value in zip(rows, values, strict=True):
            found[row] = value
    return found


def _penalized(logits: torch.Tensor, answers: Sequence[Answer]) -> torch.Tensor:
    rows = [row for row, a in enumerate(answers) if (a.sampling.repetition_penalty or 1.0) != 1.0]
    if not rows:
        return logits
    for row in rows:
        answer = answers[row]
        if answer.seen is None:
            answer.seen = torch.zeros(logits.shape[-1], dtype=torch.bool, device=logits.device)
            known = torch.tensor([*answer.prompt, *answer.tokens], device=logits.device)
            answer.seen[known.long()] = True
    index = torch.tensor(rows, device=logits.device)
    seen = torch.stack([answers[row].seen for row in rows])
    penalty = _column([answers[row].sampling.repetition_penalty or 1.0 for row in rows], logits)
    raw = logits[index]
    scores = logits.clone()
    scores[index] = torch.where(seen, torch.where(raw < 0, raw * penalty, raw / penalty), raw)
    return scores


def _constrained(scores: torch.Tensor, answers: Sequence[Answer]) -> torch.Tensor:
    rows = [row for row, answer in enumerate(answers) if answer.constraint is not None]
    if not rows:
        return scores
    scores = scores.clone()
    for row in rows:
        constraint = answers[row].constraint
        assert constraint is not None
        packed = torch.frombuffer(bytearray(constraint.allowed()), dtype=torch.uint8)
        bits = (packed[:, None] >> torch.arange(8, dtype=torch.uint8)) & 1
        allowed = torch.zeros(scores.shape[-1], dtype=torch.bool)
        known = bits.flatten()[: scores.shape[-1]].bool()
        allowed[: len(known)] = known
        scores[row].masked_fill_(~allowed.to(scores.device), -torch.inf)
    return scores


def _draw(scores: torch.Tensor, answers: Sequence[Answer]) -> torch.Tensor:
    """One token a row by inverting the distribution function, in the order of the vocabulary.

    Unlike drawing among sorted tokens, this is hardly moved by the last digits of a probability.
    """
    scores = scores / _column([answer.sampling.temperature or 1.0 for answer in answers], scores)
    scores = scores.masked_fill(scores < _cutoff(scores, answers), -torch.inf)
    mass = scores.double().softmax(dim=-1).cumsum(dim=-1)
    draws = torch.tensor([[answer.draw()] for answer in answers], dtype=torch.float64)
    reached = draws.to(scores.device) * mass[:, -1:]
    return torch.searchsorted(mass, reached, right=True)[:, 0].clamp(max=scores.shape[-1] - 1)


def _cutoff(scores: torch.Tensor, answers: Sequence[Answer]) -> torch.Tensor:
    """The least score that each row keeps, `(rows, 1)`."""
    cut = torch.full_like(scores[:, :1], -torch.inf)
    vocabulary = scores.shape[-1]
    top_k = [min(answer.sampling.top_k or vocabulary, vocabulary) for answer in answers]
    if (rows := _below(top_k, vocabulary)) is not None:
        best = scores[rows].topk(max(top_k[row] for row in rows.tolist())).values
        last = torch.tensor([top_k[row] - 1 for row in rows.tolist()], device=scores.device)
        cut[rows] = best.gather(1, last[:, None])
    top_p = [answer.sampling.top_p or 1.0 for answer in answers]
    if (rows := _below(top_p, 1.0)) is not None:
        kept = scores[rows].masked_fill(scores[rows] < cut[rows], -torch.inf)
        cut[rows] = _nucleus(kept, _column([top_p[row] for row in rows.tolist()], scores))
    min_p = [answer.sampling.min_p or 0.0 for answer in answers]
    if any(min_p):
        floor = scores.amax(dim=-1, keepdim=True) + _column(min_p, scores).log()
        cut = torch.maximum(cut, floor)
    return cut


def _nucleus(scores: torch.Tensor, top_p: torch.Tensor) -> torch.Tensor:
    """The least score in the smallest set of tokens of mass `top_p`; both `(rows, 1)`."""
    probabilities = scores.softmax(dim=-1)
    best, order = probabilities.topk(min(_NUCLEUS, scores.shape[-1]))
    short = best.sum(dim=-1, keepdim=True) < top_p
    cut = _last_within(scores, best, order, top_p)
    if bool(short.any()):
        rows = short[:, 0].nonzero()[:, 0]
        best, order = probabilities[rows].sort(dim=-1, descending=True)
        cut[rows] = _last_within(scores[rows], best, order, top_p[rows])
    return cut


def _last_within(
    scores: torch.Tensor, best: torch.Tensor, order: torch.Tensor, top_p: torch.Tensor
) -> torch.Tensor:
    above = best.cumsum(dim=-1) - best  # the mass of the more likely tokens
    last = (above < top_p).sum(dim=-1, keepdim=True) - 1
    return scores.gather(1, order.gather(1, last.clamp(min=0)))


def _below(values: Sequence[float], limit: float) -> torch.Tensor | None:
    rows = [row for row, value in enumerate(values) if value < limit]
    return torch.tensor(rows) if rows else None


def _column(values: Sequence[float], like: torch.Tensor) -> torch.Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device)[:, None]
