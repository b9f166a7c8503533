"""Trees: the rows of a conversation computed together have the loss and gradients of rows apart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from warmline.core.errors import ConfigError
from warmline.training.loop import tree_attention
from warmline.training.loop.row_trainer import token_loss
from warmline.training.rows.collate import Collator
from warmline.training.rows.encode import IGNORED, Encoded, RowEncoder, encode_rows
from warmline.training.rows.room import Room
from warmline.training.rows.seats import build_seat_rows
from warmline.training.rows.settings import SeatRowSettings
from warmline.training.rows.trees import depths, grow, grow_trees, refuse_misfits, visible

from ...policies.tiny_models import save_causal, save_seq2seq
from ..building import TEMPLATE, episode, varied

SEATS = SeatRowSettings(
    seats=("supporter", "seeker", "counselor", "judger"),
    per="tree",
    strategy="oracle",
    template=TEMPLATE,
    max_tokens=4096,
)


def row(prompt: list[int], reply: list[int]) -> Encoded:
    return Encoded(prompt + reply, [IGNORED] * len(prompt) + reply)


def paths(tree: Encoded) -> list[tuple[list[int], list[int]]]:
    """Prompt and reply of every row in a tree, read back along the parents."""
    assert tree.parents is not None
    found = []
    for place, label in enumerate(tree.labels):
        after = place + 1
        if label == IGNORED or (after < tree.tokens and tree.labels[after] != IGNORED):
            continue
        reply, here = [], place
        while tree.labels[here] != IGNORED:
            reply.append(tree.input_ids[here])
            assert tree.parents[here] == here - 1  # a learned token is predicted by its neighbour
            here -= 1
        prompt = []
        while here >= 0:
            prompt.append(tree.input_ids[here])
            here = tree.parents[here]
        found.append((prompt[::-1], reply[::-1]))
    return found


def test_a_shared_beginning_stands_once() -> None:
    """System 1 2, then a turn 3 that is answered by 4 5, then a turn 6 answered by 7."""
    tree = grow([row([1, 2, 3, 9], [4, 5]), row([1, 2, 3, 9, 4, 5, 6, 9], [7])])
    assert tree.input_ids == [1, 2, 3, 9, 4, 5, 6, 9, 7]
    assert tree.labels == [IGNORED] * 4 + [4, 5] + [IGNORED] * 2 + [7]
    assert tree.parents == [-1, 0, 1, 2, 3, 4, 5, 6, 7]
    # a note 8 before the reply: the reply stands once as it is learned and once as it was heard
    noted = grow([row([1, 3, 8, 9], [4]), row([1, 3, 9, 4, 6, 8, 9], [7])])
    assert noted.input_ids == [1, 3, 8, 9, 4, 9, 4, 6, 8, 9, 7]
    assert noted.parents == [-1, 0, 1, 2, 3, 1, 5, 6, 7, 8, 9]
    assert depths(noted.parents) == [0, 1, 2, 3, 4, 2, 3, 4, 5, 6, 7]
    assert visible(noted.parents, 12)[6].nonzero().flatten().tolist() == [0, 1, 5, 6]
    assert visible(noted.parents, 12)[11].nonzero().flatten().tolist() == [11]


tokens = st.lists(st.integers(1, 3), min_size=1, max_size=6)


@given(st.lists(st.tuples(tokens, tokens), min_size=1, max_size=8))
@settings(max_examples=200, deadline=None)
def test_every_row_can_be_read_back(rows: list[tuple[list[int], list[int]]]) -> None:
    """Also where replies end in prompts, prompts repeat, or one row is another's beginning."""
    # an end token of its own ends each reply, as in `RowEncoder`
    made = [(prompt, [*reply, 0]) for prompt, reply in rows]
    tree = grow(row(prompt, reply) for prompt, reply in made)
    assert sorted(paths(tree)) == sorted(made)


@pytest.fixture(scope="module", params=["sdpa", "blocks"])
def tiny(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Any, RowEncoder]]:
    """A tiny Llama with PyTorch's fused attention, and with ours in blocks of a few places."""
    folder = save_causal(tmp_path_factory.mktemp("tree") / "model")
    model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="sdpa")
    model.config.max_position_embeddings = 4096
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "blocks":
            patch.setattr(tree_attention, "BLOCK", 48)
            tree_attention.use_tree_attention(model)
            assert model.config._attn_implementation == tree_attention.NAME
        yield model.eval(), RowEncoder(tokenizer, model.config, model.generation_config)


def summed(model: Any, batches: list[list[Encoded]]) -> tuple[float, list[torch.Tensor]]:
    """The loss over all batches, and its gradients."""
    collate = Collator(
        3, frozenset({"input_ids", "attention_mask", "position_ids", "logits_to_keep"})
    )
    model.zero_grad()
    total = 0.0
    for rows in batches:
        batch = collate(rows)
        labels = batch.pop("labels")
        loss = token_loss(model(**batch).logits, labels, shifted=True)
        loss.backward()
        total += float(loss)
    return total, [p.grad.clone() for p in model.parameters() if p.grad is not None]


def test_loss_and_gradients_are_those_of_the_rows(tiny: tuple[Any, RowEncoder]) -> None:
    model, encoder = tiny
    talks = [*varied(2), episode(situation="They closed the shop.")]
    encoded, rows, bad = encode_rows(encoder, build_seat_rows(talks, SEATS).rows, Room(4096, 4096))
    trees, lasts = grow_trees(encoded, rows)
    assert not bad
    assert len(trees) == len(talks) * 4
    assert [last.tree for last in lasts] == list(dict.fromkeys(r.tree for r in rows))
    assert sum(tree.learned for tree in trees) == sum(each.learned for each in encoded)
    assert sum(t.tokens for t in trees) < 0.8 * sum(e.tokens for e in encoded)
    apart, gradients = summed(model, [[each] for each in encoded])
    # in batches with padding, and beside a row that is no tree
    mixed = [*trees[:-1], *encoded[-3:]]
    for batch in ([[each] for each in trees], [list(trees)[:5], list(trees)[5:]], [mixed]):
        together, others = summed(model, batch)
        assert together == pytest.approx(apart, rel=1e-5)
        for one, other in zip(gradients, others, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_a_window_shares_only_what_is_the_same(tiny: tuple[Any, RowEncoder]) -> None:
    model, encoder = tiny
    windowed = SEATS.model_copy(update={"history_window": 2})
    encoded, rows, _ = encode_rows(
        encoder, build_seat_rows(varied(1), windowed).rows, Room(4096, 4096)
    )
    trees, _ = grow_trees(encoded, rows)
    assert summed(model, [list(trees)])[0] == pytest.approx(
        summed(model, [[each] for each in encoded])[0], rel=1e-5
    )


@pytest.mark.parametrize("kind", ["mistral", "gemma3", "blenderbot", "t5"])
def test_models_that_cannot_are_refused(kind: str, tmp_path: Path) -> None:
    from transformers import AutoConfig

    save = save_seq2seq if kind in ("blenderbot", "t5") else save_causal
    config = AutoConfig.from_pretrained(save(tmp_path, kind=kind))
    with pytest.raises(ConfigError, match="needs full attention in every layer"):
        refuse_misfits(config, ("attention_mask", "position_ids"), "this one")


def test_a_model_without_positions_is_refused(tiny: tuple[Any, RowEncoder]) -> None:
    refuse_misfits(tiny[0].config, ("attention_mask", "position_ids"), "this one")
    with pytest.raises(ConfigError, match="needs full attention"):
        refuse_misfits(tiny[0].config, ("attention_mask",), "this one")
