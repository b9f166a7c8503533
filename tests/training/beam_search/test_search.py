"""Properties of diverse beam search, on tiny models."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from warmline.core.errors import ConfigError
from warmline.training import diverse_beam_search
from warmline.training.beam_search.controls import Controls, controlled
from warmline.training.beam_search.step import Extension, Group, Rules, group_sizes

from ..golden_models import CAUSAL, EOS, PAD, SEQ2SEQ, build, prompts
from .test_golden import spoken

MODELS = {kind: build(kind, eos_bias=4.0) for kind in (*CAUSAL, *SEQ2SEQ)}
KINDS = sorted(MODELS)
USUAL: dict[str, Any] = {
    "num_beams": 6,
    "num_groups": 6,
    "diversity_penalty": 1.0,
    "max_new_tokens": 8,
}
RULES = Rules(
    max_new_tokens=8, length_penalty=1.0, early_stopping=False, eos=(EOS,), as_transformers=False,
    pad=PAD,
)  # fmt: skip


def log_prob_of(kind: str, prompt: list[int], reply: list[int]) -> float:
    """Log-probability of a reply by one plain forward pass, nats."""
    model, ids = MODELS[kind], torch.tensor([prompt])
    with torch.no_grad():
        if kind in CAUSAL:
            logits = model(torch.tensor([prompt + reply])).logits[0, len(prompt) - 1 : -1]
        else:
            start = model.config.decoder_start_token_id
            decoder = torch.tensor([[start, *reply[:-1]]])
            logits = model(input_ids=ids, decoder_input_ids=decoder).logits[0]
    steps = logits.log_softmax(-1).gather(1, torch.tensor(reply)[:, None])
    return float(steps.sum())


def unpadded(kind: str, row: int) -> list[int]:
    ids, mask = prompts(kind)
    return [int(token) for token in ids[row][mask[row].bool()]]


@pytest.mark.parametrize("kind", KINDS)
def test_one_beam_is_greedy(kind: str) -> None:
    model = MODELS[kind]
    found = diverse_beam_search(
        model, *prompts(kind), **USUAL | {"num_beams": 1, "num_groups": 1}, pad_token_id=PAD
    )
    for row in range(3):
        prompt = torch.tensor([unpadded(kind, row)])
        greedy = model.generate(prompt, do_sample=False, max_new_tokens=8)[0].tolist()
        assert spoken(found, row) == [greedy[prompt.shape[1] if kind in CAUSAL else 1 :]]


@pytest.mark.parametrize("kind", KINDS)
def test_one_group_is_beam_search(kind: str) -> None:
    """Against what transformers still has built in."""
    settings: dict[str, Any] = {"num_beams": 5, "max_new_tokens": 8, "length_penalty": 0.7}
    found = diverse_beam_search(
        MODELS[kind], *prompts(kind), num_groups=1, diversity_penalty=1.0, **settings
    )
    ids, mask = prompts(kind)
    known = MODELS[kind].generate(
        ids, attention_mask=mask, num_return_sequences=5, do_sample=False, **settings
    )
    known = known[:, ids.shape[1] if kind in CAUSAL else 1 :].view(3, 5, -1)
    for row in range(3):
        for reply, other in zip(spoken(found, row), known[row].tolist(), strict=True):
            assert reply == other[: len(reply)]
            assert set(other[len(reply) :]) <= {PAD, EOS}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("groups", [1, 2, 4, 6])
def test_scores_are_log_probabilities_and_replies_differ(kind: str, groups: int) -> None:
    search = USUAL | {"num_groups": groups, "length_penalty": 0.5}
    found = diverse_beam_search(MODELS[kind], *prompts(kind), **search)
    sequences, scores = found
    assert sequences.shape[:2] == scores.shape == (3, 6)
    for row in range(3):
        replies = spoken(found, row)
        assert len({tuple(reply) for reply in replies}) == 6
        for reply, score in zip(replies, scores[row].tolist(), strict=True):
            own = log_prob_of(kind, unpadded(kind, row), reply)
            assert score == pytest.approx(own / len(reply) ** 0.5, abs=1e-4)
            assert EOS not in reply[:-1]
            assert reply[-1] == EOS or len(reply) == 8


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("controls", [{}, {"repetition_penalty": 1.3, "no_repeat_ngram_size": 2}])
def test_a_context_gives_the_same_alone_and_in_a_batch(kind: str, controls: Any) -> None:
    """So does one with more padding in front: padding changes nothing."""
    together = diverse_beam_search(MODELS[kind], *prompts(kind), **USUAL, **controls)
    for row in range(3):
        alone = diverse_beam_search(
            MODELS[kind], torch.tensor([unpadded(kind, row)]), **USUAL, **controls
        )
        assert spoken(alone, 0) == spoken(together, row)
        assert torch.allclose(alone.scores[0], together.scores[row], atol=1e-5)


def test_a_penalty_makes_first_tokens_differ() -> None:
    """Groups of one agree on every token without a penalty, and on no first token with a huge one."""
    model, (ids, mask) = MODELS["llama"], prompts("llama")
    no_penalty: Any = {"diversity_penalty": 0.0, "compat": "transformers"}
    alike = diverse_beam_search(model, ids, mask, **USUAL | no_penalty)
    assert all(len({tuple(r) for r in spoken(alike, row)}) == 1 for row in range(3))
    apart = diverse_beam_search(model, ids, mask, **USUAL | {"diversity_penalty": 100.0})
    assert all(len({reply[0] for reply in spoken(apart, row)}) == 6 for row in range(3))


def test_equal_candidates_are_filled_up_from_a_plain_search() -> None:
    """Without a penalty all six groups agree, and there is nothing spare to take."""
    found = diverse_beam_search(
        MODELS["llama"], *prompts("llama"), **USUAL | {"diversity_penalty": 0.0}
    )
    plain = diverse_beam_search(MODELS["llama"], *prompts("llama"), **USUAL | {"num_groups": 1})
    for row in range(3):
        assert len({tuple(reply) for reply in spoken(found, row)}) == 6
        rest = [r for r in spoken(plain, row) if r != spoken(found, row)[0]]
        assert spoken(found, row)[1:] == rest[:5]


def test_too_few_different_replies_is_an_error() -> None:
    """One token can be one of 48."""
    with pytest.raises(ConfigError, match=r"has only 48 different replies of at most\s+1 token"):
        diverse_beam_search(
            MODELS["llama"],
            *prompts("llama"),
            **USUAL | {"num_beams": 50, "num_groups": 1, "max_new_tokens": 1},
        )


def test_the_controls_hold() -> None:
    search = USUAL | {"min_new_tokens": 5, "no_repeat_ngram_size": 1}
    found = diverse_beam_search(MODELS["t5"], *prompts("t5"), **search)
    for row in range(3):
        for reply in spoken(found, row):
            assert len(reply) > 5
            assert len(set(reply)) == len(reply)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_beams": 0}, "num_beams is 0"),
        ({"num_groups": 7}, "num_groups is 7; 1 to num_beams"),
        ({"diversity_penalty": -1.0}, "diversity_penalty is -1"),
        ({"max_new_tokens": 0}, "max_new_tokens is 0"),
        ({"compat": "fairseq"}, "compat is 'fairseq'"),
        ({"early_stopping": "soon"}, "early_stopping is 'soon'"),
    ],
)
def test_impossible_settings_are_named(change: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        diverse_beam_search(MODELS["llama"], *prompts("llama"), **USUAL | change)


def test_prompts_padded_on_the_wrong_side_are_refused() -> None:
    ids, mask = prompts("t5")
    with pytest.raises(ConfigError, match="padded on the right"):
        diverse_beam_search(MODELS["llama"], ids, mask, **USUAL)


def test_the_model_is_left_as_it_was() -> None:
    model = build("llama").train()
    diverse_beam_search(model, *prompts("llama"), **USUAL)
    assert model.training
    assert all(weights.grad is None for weights in model.parameters())


@given(
    beams=st.integers(1, 9),
    data=st.data(),
    penalty=st.floats(0, 5),
    length_penalty=st.floats(-1, 2),
    early=st.sampled_from([True, False, "never"]),
)
@settings(max_examples=25, deadline=None)
def test_any_setting_gives_that_many_different_replies(
    beams: int, data: Any, penalty: float, length_penalty: float, early: Any
) -> None:
    groups = data.draw(st.integers(1, beams))
    found = diverse_beam_search(
        MODELS["gpt2"],
        *prompts("gpt2"),
        num_beams=beams,
        num_groups=groups,
        diversity_penalty=penalty,
        max_new_tokens=4,
        length_penalty=length_penalty,
        early_stopping=early,
    )
    for row in range(3):
        assert len({tuple(reply) for reply in spoken(found, row)}) == beams


@given(ids=st.lists(st.integers(0, 5), min_size=1, max_size=12), size=st.integers(1, 4))
def test_the_controls_are_those_of_transformers(ids: list[int], size: int) -> None:
    from transformers import NoRepeatNGramLogitsProcessor, RepetitionPenaltyLogitsProcessor

    history = torch.tensor([ids, ids[::-1]])
    scores = torch.randn(2, 6, generator=torch.Generator().manual_seed(len(ids))) - 1
    expected = RepetitionPenaltyLogitsProcessor(1.4)(history, scores.clone())
    expected = NoRepeatNGramLogitsProcessor(size)(history, expected)
    found = controlled(
        scores.clone(),
        Controls(1.4, size),
        history=history,
        is_token=torch.ones_like(history, dtype=torch.bool),
        generated=3,
        eos=(EOS,),
    )
    assert torch.equal(found, expected)


def test_uneven_groups() -> None:
    """Ten beams in four groups: 3 + 3 + 2 + 2."""
    assert group_sizes(10, 4) == [3, 3, 2, 2]


def test_an_end_token_just_chosen_counts_for_later_groups() -> None:
    """The best way to go on is the end, so the group is done and its open beam counts no more.

    Rank of the hypothesis: -1 over length 1. Under the old rules only the open token 7 counts.
    """
    ways = [Extension(0, EOS, -1.0, -1.0), Extension(0, 7, -2.0, -2.0)]
    group = Group(1)
    assert group.advance(ways, RULES) == [EOS]
    assert group.done
    assert [(h.tokens, h.content, h.rank) for h in group.kept] == [((EOS,), (), -1.0)]
    old = Rules(8, 1.0, False, (EOS,), True, PAD)
    assert Group(1).advance(ways, old) == [7]


def test_a_worse_hypothesis_goes_to_the_spare_ones() -> None:
    """Size 2: ends of sum -1 and -3 are kept; at length 2, -1.5 ranks -0.75 and drives out -3."""
    group = Group(2)
    first = [
        Extension(0, EOS, -1.0, -1.0), Extension(1, EOS, -3.0, -3.0), Extension(0, 5, -0.5, -0.5),
        Extension(0, 6, -4.0, -4.0),
    ]  # fmt: skip
    never = Rules(8, 1.0, "never", (EOS,), False, PAD)
    group.advance(first, never)
    assert not group.done
    group.advance([Extension(0, EOS, -1.5, -1.5), Extension(0, 8, -9.0, -9.0),
                   Extension(1, 8, -9.5, -9.5)], never)  # fmt: skip
    assert sorted(h.rank for h in group.kept) == [-1.0, -0.75]
    assert [h.rank for h in group.spare] == [-3.0]
    assert [beam.tokens for beam in group.beams] == [(5, 8), (6, 8)]
