"""Replies that share their prompt: the same numbers and gradients as separate passes."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from warmline.core.errors import ConfigError
from warmline.training.candidates import batch as candidate_batch
from warmline.training.candidates.batch import CandidateBatch, candidate_log_probs
from warmline.training.candidates.losses import contrastive_loss, dpo_loss, sequence_scores

from ..golden_models import CAUSAL, EOS, PAD, SEQ2SEQ, build

PROMPTS = [[5, 9, 11, 30, 7, 8], [40, 6], [12, 13, 14, 15]]
REPLIES = [
    [[20, 21, 22, EOS], [23, EOS], [EOS]],
    [[20, 21, EOS], [20, 21, EOS]],
    [[30, 31, 32, 33, EOS], [34, 35, 36, EOS], [37, 38, 39, 40, 41]],
]
LABELS = torch.tensor([[1, 0, 0], [0, 1, -1], [1, 1, 0]])
KINDS = (*CAUSAL, *SEQ2SEQ)


def batch_for(kind: str) -> CandidateBatch:
    return CandidateBatch.padded(PROMPTS, REPLIES, pad=PAD, encoder=kind in SEQ2SEQ)


def separate(model: Any, kind: str) -> list[list[torch.Tensor]]:
    """Token log-probabilities of every reply by a pass of its own, without any padding."""
    found = []
    for prompt, replies in zip(PROMPTS, REPLIES, strict=True):
        found.append([])
        for reply in replies:
            if kind in CAUSAL:
                logits = model(torch.tensor([prompt + reply])).logits[0, len(prompt) - 1 : -1]
            else:
                start = model.config.decoder_start_token_id
                logits = model(
                    input_ids=torch.tensor([prompt]),
                    decoder_input_ids=torch.tensor([[start, *reply[:-1]]]),
                ).logits[0]
            log_probs = logits.log_softmax(-1).gather(1, torch.tensor(reply)[:, None])[:, 0]
            found[-1].append(log_probs)
    return found


def loss_of(scores: torch.Tensor, gold: torch.Tensor) -> torch.Tensor:
    """A loss that moves with every reply's score."""
    return contrastive_loss(scores, LABELS, 0.5) - gold.mean() + scores.pow(2).sum() / 100


def gradients(model: Any) -> dict[str, torch.Tensor]:
    return {
        name: weights.grad.clone()
        for name, weights in model.named_parameters()
        if weights.grad is not None
    }


def test_padding_by_hand() -> None:
    batch = CandidateBatch.padded([[5, 6], [7]], [[[1, 2]], [[3], [4]]], pad=0, encoder=False)
    assert batch.prompt_ids.tolist() == [[5, 6], [0, 7]]
    assert batch.prompt_mask.tolist() == [[1, 1], [0, 1]]
    assert batch.reply_ids.tolist() == [[[1, 2], [0, 0]], [[3, 0], [4, 0]]]
    assert batch.reply_mask.tolist() == [[[1, 1], [0, 0]], [[1, 0], [1, 0]]]
    encoder = CandidateBatch.padded([[5, 6], [7]], [[[1]], [[3]]], pad=0, encoder=True)
    assert encoder.prompt_ids.tolist() == [[5, 6], [7, 0]]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", ["cache", "tree"])
def test_numbers_and_gradients_are_those_of_separate_passes(kind: str, form: Any) -> None:
    expected_model, model = build(kind), build(kind)
    alone = separate(expected_model, kind)
    rows = [[row.mean() for row in some] for some in alone]
    padded = [[*some, *[torch.zeros(())] * (3 - len(some))] for some in rows]
    scores = torch.stack([torch.stack(some) for some in padded])
    loss_of(scores, torch.stack([some[0].sum() for some in alone])).backward()

    found = candidate_log_probs(model, batch_for(kind), form=form)
    for row, some in enumerate(alone):
        for number, one in enumerate(some):
            tokens = found.tokens[row, number]
            assert torch.allclose(tokens[: len(one)], one, atol=1e-4)
            assert not tokens[len(one) :].any()
            assert found.sums[row, number].item() == pytest.approx(one.sum().item(), abs=1e-4)
            assert found.mask[row, number].sum() == len(one)
    assert found.sums[1, 2] == 0
    loss_of(sequence_scores(found.tokens, found.mask, 1.0), found.sums[:, 0]).backward()

    expected, own = gradients(expected_model), gradients(model)
    assert expected.keys() == own.keys()
    for name, gradient in expected.items():
        assert torch.allclose(own[name], gradient, atol=1e-4, rtol=1e-4), name


@pytest.mark.parametrize("kind", ["llama", "t5"])
def test_gradient_checkpointing_gives_the_same(kind: str) -> None:
    plain, sparing = build(kind), build(kind).train()
    for module in sparing.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        elif isinstance(getattr(module, "dropout", None), float):
            module.dropout = 0.0
    sparing.gradient_checkpointing_enable({"use_reentrant": False})
    candidate_log_probs(plain, batch_for(kind)).sums.sum().backward()
    candidate_log_probs(sparing, batch_for(kind)).sums.sum().backward()
    expected, own = gradients(plain), gradients(sparing)
    assert expected.keys() == own.keys()
    assert all(torch.allclose(own[n], g, atol=1e-3, rtol=1e-3) for n, g in expected.items())
    with pytest.raises(ConfigError, match="keeps no cache"):
        candidate_log_probs(sparing, batch_for(kind), form="cache")


def test_replies_of_one_token() -> None:
    for kind in KINDS:
        batch = CandidateBatch.padded(PROMPTS, [[[20], [21]]] * 3, pad=PAD, encoder=kind in SEQ2SEQ)
        model = build(kind)
        cached = candidate_log_probs(model, batch, form="cache")
        assert torch.allclose(cached.sums, candidate_log_probs(model, batch, form="tree").sums)
        assert cached.tokens.shape == (3, 2, 1)


def test_two_replies_serve_dpo() -> None:
    """Chosen and rejected as K = 2; reference log-probabilities are those of another model."""
    replies = [some[:2] for some in REPLIES]
    batch = CandidateBatch.padded(PROMPTS, replies, pad=PAD, encoder=False)
    policy = candidate_log_probs(build("llama"), batch).sums
    reference = candidate_log_probs(build("llama", eos_bias=1.0), batch).sums
    loss = dpo_loss(policy[:, 0], policy[:, 1], reference[:, 0], reference[:, 1])
    margins = (policy - reference).diff(dim=1)[:, 0]  # rejected over chosen
    assert loss.item() == pytest.approx(
        torch.nn.functional.softplus(0.1 * margins).mean().item(), abs=1e-6
    )


def test_a_window_is_refused_where_the_form_cannot_hold_it() -> None:
    from transformers import MistralConfig, MistralForCausalLM

    torch.manual_seed(0)
    model = MistralForCausalLM(
        MistralConfig(
            vocab_size=48, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=2, sliding_window=6, pad_token_id=PAD,
            initializer_range=0.4,
        )
    ).eval()  # fmt: skip
    batch = batch_for("llama")
    with pytest.raises(ConfigError, match="longer than the model's window of 6"):
        candidate_log_probs(model, batch, form="tree")
    found = candidate_log_probs(model, batch, form="cache")
    alone = separate(model, "llama")
    assert torch.allclose(found.tokens[0, 0, :4], alone[0][0], atol=1e-4)
    assert torch.allclose(found.tokens[2, 0], alone[2][0], atol=1e-4)


@pytest.mark.parametrize(
    ("most", "length", "taken"), [(512, 4, "tree"), (1, 4, "cache"), (512, 40, "cache")]
)
def test_short_replies_share_a_row_where_the_model_can(
    most: int, length: int, taken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too many tokens, or prompts longer than a sliding window, go behind the prompt's cache."""
    model = build("llama").eval()
    if length > 4:
        model.config.sliding_window = 16
    batch = CandidateBatch.padded(
        [list(range(3, 3 + length))], [[[5, EOS], [6, 7, EOS]]], pad=PAD, encoder=False
    )
    used: list[str] = []
    for form in ("tree", "cache"):
        name = {"tree": "_tree", "cache": "_cached"}[form]
        real = getattr(candidate_batch, name)

        def noted(*given: Any, form: str = form, real: Any = real) -> Any:
            used.append(form)
            return real(*given)

        monkeypatch.setattr(candidate_batch, name, noted)
    monkeypatch.setattr(candidate_batch, "TREE_TOKENS", most)
    candidate_log_probs(model, batch)
    assert used == [taken]


def test_a_batch_without_replies_is_refused() -> None:
    with pytest.raises(ConfigError, match="and a reply"):
        CandidateBatch.padded([[1]], [[]], pad=0, encoder=False)
