"""Batches and their order."""

from __future__ import annotations

import random

import torch
from hypothesis import given
from hypothesis import strategies as st

from warmline.training.rows.collate import MEGABATCH, Collator, StepSampler, padding_share
from warmline.training.rows.encode import Encoded

CAUSAL = frozenset({"input_ids", "position_ids", "attention_mask", "logits_to_keep"})
PAIRS = frozenset({"input_ids", "attention_mask", "decoder_input_ids"})


def test_a_batch_by_hand() -> None:
    """Rows of 4 and 2 tokens, padded to 4 on the right. Labels stand at places 2 and 3 of the first
    row and 1 of the second; the places before them, 0, 1 and 2, are kept."""
    batch = Collator(0, CAUSAL)(
        [Encoded([5, 6, 7, 8], [-100, -100, 7, 8]), Encoded([5, 9], [-100, 9])]
    )
    assert {k: v.tolist() for k, v in batch.items()} == {
        "input_ids": [[5, 6, 7, 8], [5, 9, 0, 0]],
        "labels": [[-100, -100, 7, 8], [-100, 9, -100, -100]],
        "logits_to_keep": [0, 1, 2],
    }


def test_arguments_that_a_model_does_not_take_are_left_out() -> None:
    batch = Collator(0, frozenset({"input_ids"}))([Encoded([5, 9], [-100, 9])])
    assert set(batch) == {"input_ids", "labels"}


def test_a_batch_for_an_encoder_decoder_by_hand() -> None:
    batch = Collator(0, PAIRS)(
        [Encoded([5, 6], [7, 2], [1, 7]), Encoded([5], [8, 9, 2], [1, 8, 9])]
    )
    assert {k: v.tolist() for k, v in batch.items()} == {
        "input_ids": [[5, 6], [5, 0]],
        "attention_mask": [[1, 1], [1, 0]],
        "decoder_input_ids": [[1, 7, 0], [1, 8, 9]],
        "labels": [[7, 2, -100], [8, 9, 2]],
    }


@given(st.lists(st.integers(1, 300), max_size=300), st.integers(1, 9), st.integers(0, 3))
def test_every_row_comes_once_an_epoch(lengths: list[int], step: int, epoch: int) -> None:
    sampler = StepSampler(lengths, step, 1)
    sampler.set_epoch(epoch)
    order = list(sampler)
    assert sorted(order) == list(range(len(lengths)))
    again = StepSampler(lengths, step, 1)
    again.set_epoch(epoch)
    assert list(again) == order


def test_epochs_and_seeds_give_other_orders() -> None:
    lengths = list(range(1, 101))
    first, other = StepSampler(lengths, 4, 1), StepSampler(lengths, 4, 2)
    order = list(first)
    assert list(other) != order
    first.set_epoch(1)
    assert list(first) != order


def test_sorting_by_length_spares_padding() -> None:
    chance = random.Random(0)
    rows = [Encoded([0] * chance.randint(20, 400), []) for _ in range(2000)]
    shuffled = padding_share(rows, chance.sample(range(2000), 2000), 8)
    ours = padding_share(rows, list(StepSampler([r.tokens for r in rows], 8, 0)), 8)
    assert shuffled > 0.35
    assert ours < 0.03
    assert MEGABATCH * 8 < 2000  # more than one stretch, so that lengths still mix


def test_padding_share_by_hand() -> None:
    """Rows of 4 and 2 places in one batch: 8 places, 2 of them padding."""
    assert padding_share([Encoded([0] * 4, []), Encoded([0] * 2, [])], [0, 1], 2) == 0.25


def test_labels_may_be_absent() -> None:
    batch = Collator(0, CAUSAL)([Encoded([5, 9], [-100, -100])])
    assert batch["logits_to_keep"].tolist() == []
    assert torch.equal(batch["labels"], torch.tensor([[-100, -100]]))
