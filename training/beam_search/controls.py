"""What a search may not repeat: repetition penalty, no repeated n-grams, least length.

The same arithmetic as transformers' logits processors, over whole batches at once, and blind to
padding, so that a context gives the same alone as in a batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Controls:
    """Settings; the defaults change nothing.

    Attributes:
        repetition_penalty: scores of tokens that were there already are multiplied by it.
        no_repeat_ngram_size: no n-gram of this many tokens comes twice; 0 turns this rule off.
        min_new_tokens: no end token before this many tokens.
    """

    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    min_new_tokens: int = 0

    @property
    def need_history(self) -> bool:
        """Whether earlier tokens count at all."""
        return self.repetition_penalty != 1.0 or self.no_repeat_ngram_size > 0


def controlled(
    scores: torch.Tensor,
    controls: Controls,
    *,
    history: torch.Tensor,
    is_token: torch.Tensor,
    generated: int,
    eos: tuple[int, ...],
) -> torch.Tensor:
    """Scores under the controls; in the order of transformers' `generate`.

    Args:
        scores: `(rows, vocabulary)`, log-probabilities; changed in place.
        history: `(rows, time)`, tokens so far, the prompt of a decoder-only model among them.
        is_token: `(rows, time)`, False at padding.
        generated: tokens of the reply so far.
        eos: ids of end tokens.
    """
    if controls.repetition_penalty != 1.0:
        _penalize(scores, controls.repetition_penalty, history, is_token)
    if 0 < controls.no_repeat_ngram_size <= history.shape[1]:
        _ban_ngrams(scores, controls.no_repeat_ngram_size, history, is_token)
    if generated < controls.min_new_tokens:
        scores[:, list(eos)] = -torch.inf
    return scores


def _penalize(
    scores: torch.Tensor, penalty: float, history: torch.Tensor, is_token: torch.Tensor
) -> None:
    seen = torch.zeros_like(scores, dtype=torch.bool)
    rows, columns = is_token.nonzero(as_tuple=True)
    seen[rows, history[rows, columns]] = True
    changed = torch.where(scores < 0, scores * penalty, scores / penalty)
    torch.where(seen, changed, scores, out=scores)


def _ban_ngrams(
    scores: torch.Tensor, size: int, history: torch.Tensor, is_token: torch.Tensor
) -> None:
    ngrams = history.unfold(1, size, 1)  # (rows, windows, size)
    whole = is_token.unfold(1, size, 1).all(-1)
    start = history[:, history.shape[1] - size + 1 :]
    repeats = whole & (ngrams[:, :, :-1] == start[:, None]).all(-1)
    rows, windows = repeats.nonzero(as_tuple=True)
    scores[rows, ngrams[rows, windows, -1]] = -torch.inf
