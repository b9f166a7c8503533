"""Diverse beam search (Vijayakumar et al. 2016, https://arxiv.org/abs/1610.02424).

Beams stand in groups. At each step the groups choose one after the other, and a token costs a group
`diversity_penalty` for each beam of an earlier group of the same context that just chose it
(Hamming diversity). Transformers had this until 4.57; `compat="transformers"` gives token for token
what its 4.51.3 gave. By default two of its rules are replaced, for ten terse candidates that
differ:

* A group that is finished no longer counts. There it counts as choosing the padding token, which
  makes ending dear for the others where padding and end token are the same.
* An end token just chosen counts like any other. There it does not, so all groups may end alike.

and equal candidates are replaced by others of the search, then by those of a plain beam search.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch

from ...core.errors import ConfigError
from .controls import Controls, controlled
from .inputs import check, ids_of, setting_of
from .model import Decoder
from .step import EarlyStopping, Extension, Group, Hypothesis, Rules, distinct, group_sizes, ranked


@dataclass(frozen=True, slots=True)
class BeamOutput:
    """What a search found; unpacks to `sequences, scores`.

    Attributes:
        sequences: `(batch, num_beams, time)`, the new tokens with their end token, right-padded;
            best first by the measure of the search.
        scores: `(batch, num_beams)`, the model's log-probability of the sequence (nats) divided by
            its length to the power `length_penalty`; under `compat` the measure of the search,
            which holds the penalties too.
        log_probs: `(batch, num_beams)`, sum of the model's log-probabilities, nats.
        lengths: `(batch, num_beams)`, tokens, end token included.
    """

    sequences: torch.Tensor
    scores: torch.Tensor
    log_probs: torch.Tensor
    lengths: torch.Tensor

    def __iter__(self) -> Iterator[torch.Tensor]:
        return iter((self.sequences, self.scores))


def diverse_beam_search(
    model: Any,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
    *,
    num_beams: int,
    num_groups: int,
    diversity_penalty: float,
    max_new_tokens: int,
    length_penalty: float = 1.0,
    early_stopping: EarlyStopping = False,
    repetition_penalty: float = 1.0,
    no_repeat_ngram_size: int = 0,
    min_new_tokens: int = 0,
    eos_token_id: int | Sequence[int] | None = None,
    pad_token_id: int | None = None,
    decoder_start_token_id: int | None = None,
    compat: Literal["transformers"] | None = None,
) -> BeamOutput:
    """`num_beams` different replies to each prompt.

    Args:
        model: a causal or sequence-to-sequence model of transformers, PEFT around it or not.
        input_ids: `(batch, time)`, prompts; left-padded for a decoder-only model.
        attention_mask: `(batch, time)`, 0 at padding; None where there is no padding.
        num_beams: candidates a prompt (K of FPEMF §4.2).
        num_groups: groups of beams; where it does not divide, the first groups are one larger.
        diversity_penalty: nats a token costs for each beam of an earlier group that chose it.
        max_new_tokens: tokens in the longest reply, its end token included.
        length_penalty: power of the length that divides a reply's log-probability.
        early_stopping: when a group is done; see `Rules`.
        repetition_penalty, no_repeat_ngram_size, min_new_tokens: see `Controls`; the prompt of a
            decoder-only model counts as said.
        eos_token_id, pad_token_id, decoder_start_token_id: taken from the model's own settings
            where not given.
        compat: "transformers" follows version 4.51.3 token for token; equal candidates stay.

    Raises:
        ConfigError: settings that do not fit each other or the prompts.
        FloatingPointError: the model gave numbers that are none.
    """
    if attention_mask is None:
        attention_mask = torch.ones_like(input_ids)
    eos = ids_of(eos_token_id if eos_token_id is not None else setting_of(model, "eos_token_id"))
    pad = pad_token_id if pad_token_id is not None else setting_of(model, "pad_token_id")
    rules = Rules(
        max_new_tokens=max_new_tokens,
        length_penalty=length_penalty,
        early_stopping=early_stopping,
        eos=eos,
        as_transformers=compat == "transformers",
        pad=pad if pad is not None else (eos[0] if eos else 0),
    )
    start = (
        decoder_start_token_id
        if decoder_start_token_id is not None
        else setting_of(model, "decoder_start_token_id")
    )
    check(model, input_ids, attention_mask, rules, num_beams, num_groups, diversity_penalty, compat)
    controls = Controls(repetition_penalty, no_repeat_ngram_size, min_new_tokens)
    search = _Search(rules, controls, diversity_penalty)
    with _in_evaluation(model):
        decoder = Decoder(model, input_ids, attention_mask, start)
        contexts = search.run(decoder, group_sizes(num_beams, num_groups))
        found = [ranked(groups) for groups in contexts]
        if compat is None:
            spare = [[h for group in groups for h in group.spare] for groups in contexts]
            found = [distinct(*pair, num_beams) for pair in zip(found, spare, strict=True)]
            short = [index for index, some in enumerate(found) if len(some) < num_beams]
            if short:
                plain = num_beams * max(1, len(eos))  # each reply may come with each end token
                decoder = Decoder(model, input_ids[short], attention_mask[short], start)
                for index, groups in zip(short, search.run(decoder, [plain]), strict=True):
                    found[index] = distinct(found[index], groups[0].kept, num_beams)
    return _output(found, num_beams, rules, input_ids.device)


class _Search:
    """One setting of the search, run over a batch."""

    def __init__(self, rules: Rules, controls: Controls, penalty: float) -> None:
        self._rules, self._controls, self._penalty = rules, controls, penalty

    def run(self, decoder: Decoder, sizes: Sequence[int]) -> list[list[Group]]:
        """The groups of every context, all beams closed."""
        contexts = [[Group(size) for size in sizes] for _ in range(decoder.rows)]
        logits = decoder.prefill()
        # one row a beam from here on
        width = sum(sizes)
        rows = [context for context in range(decoder.rows) for _ in range(width)]
        decoder.select(rows)
        logits = logits[rows]
        for generated in range(self._rules.max_new_tokens):
            before = _open(contexts)
            self._choose(logits, contexts, before, decoder, generated)
            if not (after := _open(contexts)):
                break
            if generated + 1 < self._rules.max_new_tokens:
                _follow(decoder, before, after)
                tokens = [beam.tokens[-1] for _, group in after for beam in group.beams]
                logits = decoder.step(tokens)
        for groups in contexts:
            for group in groups:
                group.finish(self._rules)
        return contexts

    def _choose(
        self,
        logits: torch.Tensor,
        contexts: list[list[Group]],
        before: list[tuple[int, Group]],
        decoder: Decoder,
        generated: int,
    ) -> None:
        """Let every open group take its step, the first group of every context first."""
        if not bool(torch.isfinite(logits.amax(dim=-1)).all()):
            raise FloatingPointError("the model computed infinite or undefined logits")
        log_probs = logits.log_softmax(dim=-1)
        first_row = _first_rows(before)
        avoid = log_probs.new_zeros(len(contexts), log_probs.shape[-1])
        for number in range(len(contexts[0])):
            due = [c for c, groups in enumerate(contexts) if id(groups[number]) in first_row]
            if due:
                groups = [contexts[c][number] for c in due]
                rows = [first_row[id(g)] + beam for g in groups for beam in range(g.size)]
                self._advance(log_probs[rows], groups, due, avoid, decoder, generated)
            if self._rules.as_transformers:
                ended = [c for c in range(len(contexts)) if c not in due]
                for context in ended:
                    avoid[context, self._rules.pad] += contexts[context][number].size

    def _advance(
        self,
        log_probs: torch.Tensor,
        groups: list[Group],
        contexts: list[int],
        avoid: torch.Tensor,
        decoder: Decoder,
        generated: int,
    ) -> None:
        """One step of the groups of one number; adds what they chose to `avoid`.

        Args:
            log_probs: `(contexts * size, vocabulary)`, of the model.
            avoid: `(all contexts, vocabulary)`, how often earlier groups chose each token.
        """
        size, vocabulary = groups[0].size, log_probs.shape[-1]
        beams = [beam for group in groups for beam in group.beams]
        per_beam = [context for context in contexts for _ in range(size)]
        scores = log_probs - self._penalty * avoid[per_beam]
        scores = self._controlled(scores, beams, per_beam, decoder, generated)
        scores += torch.tensor([beam.score for beam in beams], device=scores.device)[:, None]
        wanted = min(max(2, 1 + len(self._rules.eos)) * size, size * vocabulary)
        best = scores.view(len(groups), size * vocabulary).topk(wanted, dim=1)
        own = log_probs.reshape(len(groups), size * vocabulary).gather(1, best.indices)
        chosen: list[list[int]] = []
        table = zip(best.indices.tolist(), best.values.tolist(), own.tolist(), strict=True)
        for group, (places, totals, steps) in zip(groups, table, strict=True):
            chosen.append(
                group.advance(
                    [
                        Extension(
                            place // vocabulary,
                            place % vocabulary,
                            total,
                            group.beams[place // vocabulary].log_prob + step,
                        )
                        for place, total, step in zip(places, totals, steps, strict=True)
                    ],
                    self._rules,
                )
            )
        at = [(c, token) for c, tokens in zip(contexts, chosen, strict=True) for token in tokens]
        if at:
            index = torch.tensor(at, device=avoid.device).T
            ones = avoid.new_ones(len(at))
            avoid.index_put_((index[0], index[1]), ones, accumulate=True)

    def _controlled(
        self,
        scores: torch.Tensor,
        beams: list[Any],
        contexts: list[int],
        decoder: Decoder,
        generated: int,
    ) -> torch.Tensor:
        history = is_token = scores.new_zeros(len(beams), 0, dtype=torch.long)
        if self._controls.need_history:
            said = torch.tensor([beam.tokens for beam in beams], device=scores.device).long()
            history = torch.cat([decoder.prompt[contexts], said.view(len(beams), -1)], dim=1)
            is_token = torch.ones_like(history, dtype=torch.bool)
            if not self._rules.as_transformers:
                is_token[:, : decoder.prompt.shape[1]] = decoder.prompt_mask[contexts].bool()
        return controlled(
            scores,
            self._controls,
            history=history,
            is_token=is_token.bool(),
            generated=generated,
            eos=self._rules.eos,
        )


def _open(contexts: list[list[Group]]) -> list[tuple[int, Group]]:
    """The groups that are not done, with their context, in the order of their rows."""
    return [(c, group) for c, groups in enumerate(contexts) for group in groups if not group.done]


def _first_rows(groups: list[tuple[int, Group]]) -> dict[int, int]:
    """The row of each group's first beam, by the group's identity."""
    rows: dict[int, int] = {}
    row = 0
    for _, group in groups:
        rows[id(group)] = row
        row += group.size
    return rows


def _follow(
    decoder: Decoder, before: list[tuple[int, Group]], after: list[tuple[int, Group]]
) -> None:
    """Give every open beam the cache of the beam that it grew from, and drop the others."""
    first_row = _first_rows(before)
    rows = [first_row[id(group)] + parent for _, group in after for parent in group.parents]
    decoder.select(rows, same_context=len(before) == len(after))


def _output(
    found: list[list[Hypothesis]], num_beams: int, rules: Rules, device: torch.device
) -> BeamOutput:
    for context, some in enumerate(found):
        if len(some) < num_beams:
            raise ConfigError(
                f"prompt {context} has only {len(some)} different replies of at most"
                f" {rules.max_new_tokens} tokens, {num_beams} were asked for",
                hint="lower num_beams, raise max_new_tokens, or loosen the repetition controls",
            )
    shape = (len(found), num_beams)
    flat = [hypothesis for some in found for hypothesis in some[:num_beams]]
    longest = max(len(h.tokens) for h in flat)
    padded = [[*h.tokens, *[rules.pad] * (longest - len(h.tokens))] for h in flat]
    lengths = torch.tensor([len(h.tokens) for h in flat], device=device).view(shape)
    log_probs = torch.tensor([h.log_prob for h in flat], device=device).view(shape)
    own = [rules.normalized(h.log_prob, len(h.tokens)) for h in flat]
    scores = [h.rank for h in flat] if rules.as_transformers else own
    return BeamOutput(
        sequences=torch.tensor(padded, device=device).view(*shape, longest),
        scores=torch.tensor(scores, device=device).view(shape),
        log_probs=log_probs,
        lengths=lengths,
    )


@contextmanager
def _in_evaluation(model: Any) -> Iterator[None]:
    """Without dropout and without gradients."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)
