"""The losses against numbers worked by hand, naive loops and gradients."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from warmline.training.candidates.batch import CandidateLogProbs
from warmline.training.candidates.losses import (
    contrastive_loss,
    dpo_loss,
    fpemf_loss,
    nll_loss,
    sequence_scores,
    token_log_probs,
)
from warmline.training.candidates.trainer import Share
from warmline.training.dpo.settings import DpoSettings
from warmline.training.dpo.train import DpoObjective
from warmline.training.fpemf.settings import FpemfSettings
from warmline.training.fpemf.train import FpemfObjective
from warmline.training.sft.settings import SftSettings


def naive(
    scores: list[list[float]], labels: list[list[int]], margin: float, reduction: str
) -> float:
    """Eq. 7 as a double loop, in print over all ordered pairs."""
    if reduction == "literal":
        return sum(map(naive_literal, scores, labels, [margin] * len(scores))) / len(scores)
    contexts = []
    for row, marks in zip(scores, labels, strict=True):
        total, pairs = 0.0, 0
        for i in range(len(row)):
            for j in range(i):
                if -1 in (marks[i], marks[j]) or marks[i] == marks[j]:
                    continue
                total += max(0.0, margin - (marks[i] - marks[j]) * (row[i] - row[j]))
                pairs += 1
        valid = sum(mark != -1 for mark in marks)
        contexts.append(total / max(1, valid if reduction == "paper" else pairs))
    return sum(contexts) / len(contexts)


def naive_literal(row: list[float], marks: list[int], margin: float) -> float:
    there = [n for n, mark in enumerate(marks) if mark != -1]
    total = 0.0
    for i in there:
        for j in there:
            if i != j:
                total += max(0.0, -(marks[i] - marks[j]) * (row[i] - row[j] + margin))
    return total / (2 * max(1, len(there)))


@pytest.mark.parametrize(
    ("gap", "expected"), [(-0.5, 0.25), (-0.05, 0.0375), (0.05, 0.0125), (0.2, 0.0)]
)
def test_the_printed_ranking_by_hand(gap: float, expected: float) -> None:
    """One helpful and one unhelpful reply, K = 2, λ = 0.1, Δ = `gap`: in print the two orders add
    max(0, λ - Δ) + max(0, -Δ - λ) over 2K.

    -0.5: (0.6 + 0.4) / 4. -0.05: 0.15 / 4. 0.05: 0.05 / 4. 0.2: nothing. A third reply with the
    label of the first adds nothing to its pair with that, but divides by 2K = 6.
    """
    scores, labels = torch.tensor([[-1.0 + gap, -1.0]]), torch.tensor([[1, 0]])
    assert contrastive_loss(scores, labels, 0.1, "literal").item() == pytest.approx(expected)
    twice = torch.tensor([[-1.0 + gap, -1.0, -1.0 + gap]])
    both = contrastive_loss(twice, torch.tensor([[1, 0, 1]]), 0.1, "literal").item()
    assert both == pytest.approx(2 * expected * 4 / 6)


def test_ranking_by_hand() -> None:
    """P = (-1, -0.5, -2), labels (1, 0, 0), λ = 0.1.

    Pair 1,2: 0.1 - (-1 + 0.5) = 0.6. Pair 1,3: 0.1 - (-1 + 2) < 0, so 0. Pair 2,3 has equal labels.
    Over K = 3: 0.2; over the two differing pairs: 0.3.
    """
    scores, labels = torch.tensor([[-1.0, -0.5, -2.0]]), torch.tensor([[1, 0, 0]])
    assert contrastive_loss(scores, labels, 0.1).item() == pytest.approx(0.2)
    assert contrastive_loss(scores, labels, 0.1, "muffin").item() == pytest.approx(0.3)


def test_a_missing_label_leaves_its_candidate_out_of_k() -> None:
    """P = (-1, -0.5), labels (1, 0) and one missing: (0.01 + 0.5) / 2 = 0.255, whatever its score."""
    for score in (-0.1, -math.inf, math.nan):
        scores = torch.tensor([[-1.0, score, -0.5]], requires_grad=True)
        loss = contrastive_loss(scores, torch.tensor([[1, -1, 0]]))
        loss.backward()
        assert loss.item() == pytest.approx(0.255)
        # d/dP of (0.01 - (P_1 - P_3)) / 2
        assert scores.grad is not None
        assert scores.grad.tolist() == [[-0.5, 0.0, 0.5]]


@pytest.mark.parametrize("labels", [[1, 1, 1], [0, 0, 0], [-1, -1, -1], [-1, 1, -1]])
@pytest.mark.parametrize("reduction", ["paper", "literal", "muffin"])
def test_without_a_differing_pair_loss_and_gradient_are_zero(
    labels: list[int], reduction: str
) -> None:
    scores = torch.tensor([[-1.0, -2.0, -3.0]], requires_grad=True)
    loss = contrastive_loss(scores, torch.tensor([labels]), reduction=reduction)  # type: ignore[arg-type]
    loss.backward()
    assert loss.item() == 0
    assert scores.grad is not None
    assert scores.grad.tolist() == [[0, 0, 0]]


def test_the_batch_mean_counts_contexts_without_pairs() -> None:
    """First context 0.255 as above, second 0: mean 0.1275."""
    scores, labels = torch.tensor([[-1.0, -0.5], [-1.0, -0.5]]), torch.tensor([[1, 0], [1, 1]])
    assert contrastive_loss(scores, labels).item() == pytest.approx(0.1275)


def test_duplicates_of_different_label_cost_the_margin() -> None:
    """Equal P, labels 1 and 0: the hinge is λ, over K = 2."""
    loss = contrastive_loss(torch.tensor([[-1.0, -1.0]]), torch.tensor([[1, 0]]), 0.01)
    assert loss.item() == pytest.approx(0.005)


@given(
    st.integers(1, 4).flatmap(
        lambda rows: st.integers(1, 7).flatmap(
            lambda k: st.tuples(
                st.lists(
                    st.lists(st.floats(-5, 0), min_size=k, max_size=k), min_size=rows, max_size=rows
                ),
                st.lists(
                    st.lists(st.integers(-1, 1), min_size=k, max_size=k),
                    min_size=rows,
                    max_size=rows,
                ),
            )
        )
    ),
    st.floats(0, 1),
    st.sampled_from(["paper", "literal", "muffin"]),
)
@settings(deadline=None)
def test_ranking_is_the_naive_double_loop(
    batch: tuple[list[list[float]], list[list[int]]], margin: float, reduction: str
) -> None:
    scores, labels = batch
    found = contrastive_loss(
        torch.tensor(scores, dtype=torch.float64),
        torch.tensor(labels),
        margin,
        reduction,  # type: ignore[arg-type]
    )
    assert found.item() == pytest.approx(naive(scores, labels, margin, reduction), abs=1e-6)


@pytest.mark.parametrize("reduction", ["paper", "literal", "muffin"])
def test_ranking_gradient(reduction: str) -> None:
    draw = torch.Generator().manual_seed(3)
    scores = torch.randn(3, 5, generator=draw, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([[1, 0, 0, 1, -1], [1, 1, 1, 1, 1], [0, 1, -1, -1, 0]])
    assert torch.autograd.gradcheck(
        lambda s: contrastive_loss(s, labels, 0.3, reduction),  # type: ignore[arg-type]
        scores,
    )


@pytest.mark.parametrize("shape", [(2, 3), (6,)])
def test_shapes_that_do_not_fit_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"\(batch, K\)"):
        contrastive_loss(torch.zeros(3, 2), torch.zeros(shape))
    with pytest.raises(ValueError, match="no reduction 'sum'"):
        contrastive_loss(torch.zeros(3, 2), torch.zeros(3, 2), reduction="sum")  # type: ignore[arg-type]


def test_sequence_scores_by_hand() -> None:
    """Tokens -1, -2, -3 and padding: sum -6; over 3 is -2; over the root of 3 is -3.4641."""
    log_probs = torch.tensor([[-1.0, -2.0, -3.0, -math.inf]])
    mask = torch.tensor([[1, 1, 1, 0]])
    assert sequence_scores(log_probs, mask, 0.0).item() == -6
    assert sequence_scores(log_probs, mask, 1.0).item() == -2
    assert sequence_scores(log_probs, mask, 0.5).item() == pytest.approx(-3.4641, abs=1e-4)


def test_a_sequence_of_no_tokens_is_zero_and_has_no_gradient() -> None:
    log_probs = torch.full((1, 2, 3), -2.0, requires_grad=True)
    mask = torch.tensor([[[1, 1, 0], [0, 0, 0]]])
    scores = sequence_scores(log_probs, mask, 1.0)
    scores.sum().backward()
    assert scores.tolist() == [[-2, 0]]
    assert log_probs.grad is not None
    assert log_probs.grad.tolist() == [[[0.5, 0.5, 0], [0, 0, 0]]]


def test_nll_and_sum_by_hand() -> None:
    """Tokens -1, -2 of one reply and -6 of another: mean 3. Sum: 2·0.2 + 0.5·3 = 1.9."""
    nll = nll_loss(torch.tensor([[-1.0, -2.0], [-6.0, -9.0]]), torch.tensor([[1, 1], [1, 0]]))
    assert nll.item() == 3
    assert fpemf_loss(torch.tensor(0.2), nll, 2.0, 0.5).item() == pytest.approx(1.9)
    assert nll_loss(torch.ones(1, 2), torch.zeros(1, 2)).item() == 0


@pytest.mark.parametrize(
    ("nll", "expected"), [("token_mean", 3.0), ("reply_mean", 3.75), ("sum", 4.5)]
)
def test_the_three_means_of_nll_by_hand(nll: Any, expected: float) -> None:
    """Tokens -1, -2 and -6: (1 + 2 + 6) / 3; (1.5 + 6) / 2; (3 + 6) / 2."""
    log_probs, mask = torch.tensor([[-1.0, -2.0], [-6.0, -9.0]]), torch.tensor([[1, 1], [1, 0]])
    assert nll_loss(log_probs, mask, nll).item() == pytest.approx(expected)
    assert nll_loss(torch.ones(1, 2), torch.zeros(1, 2), nll).item() == 0


def test_the_means_of_nll_are_the_papers_by_default() -> None:
    assert nll_loss(torch.zeros(1, 1), torch.ones(1, 1)).item() == 0
    assert FpemfSettings(judge={"policy": "scripted"}).nll == "reply_mean"  # FPEMF eq. 8
    assert DpoSettings().nll == "sum"  # Self-Evolution eq. 7
    m0 = SftSettings(preset="m0", replay="alpaca.json")
    assert m0.nll == "sum"  # eq. 2
    assert SftSettings().nll == "token_mean"
    with pytest.raises(ValueError, match="no NLL 'mean'; known: token_mean"):
        nll_loss(torch.zeros(1, 1), torch.ones(1, 1), "mean")  # type: ignore[arg-type]


def test_dpo_by_hand() -> None:
    """Chosen gained 3 nats on the reference, rejected 1: β·2 = 0.2 and -log σ(0.2) = 0.598139."""
    loss = dpo_loss(*(torch.tensor([x]) for x in (-7.0, -9.0, -10.0, -10.0)))
    assert loss.item() == pytest.approx(0.598139, abs=1e-6)
    even = dpo_loss(*(torch.tensor([x]) for x in (-7.0, -9.0, -7.0, -9.0)), beta=0.5)
    assert even.item() == pytest.approx(math.log(2))


def test_dpo_over_a_batch_is_an_independent_computation() -> None:
    draw = torch.Generator().manual_seed(5)
    logps = [-20 * torch.rand(6, generator=draw, dtype=torch.float64) for _ in range(4)]
    expected = [
        math.log1p(math.exp(-0.3 * ((a - c) - (b - d))))
        for a, b, c, d in zip(*(x.tolist() for x in logps), strict=True)
    ]
    assert dpo_loss(*logps, beta=0.3).item() == pytest.approx(sum(expected) / 6, abs=1e-9)


def test_token_log_probs_by_hand() -> None:
    """Logits (0, log 3): probabilities 1/4 and 3/4."""
    found = token_log_probs(torch.tensor([[0.0, math.log(3)]] * 2), torch.tensor([0, 1]))
    assert found.tolist() == pytest.approx([math.log(0.25), math.log(0.75)])


# Parts of a loss over many batches


def replies(draw: torch.Generator, contexts: int, count: int) -> CandidateLogProbs:
    """Log-probabilities of `count` replies of one to five tokens to each context."""
    lengths = torch.randint(1, 6, (contexts, count), generator=draw)
    mask = torch.arange(5) < lengths[..., None]
    tokens = -torch.rand(contexts, count, 5, generator=draw) * mask
    return CandidateLogProbs(tokens.sum(dim=-1), tokens, mask)


@pytest.mark.parametrize("sizes", [(7,), (3, 4), (1, 5, 1)])
@pytest.mark.parametrize("nll", ["token_mean", "reply_mean", "sum"])
def test_parts_add_up_over_batches_of_any_size(sizes: tuple[int, ...], nll: Any) -> None:
    draw = torch.Generator().manual_seed(3)
    found, reference = replies(draw, 7, 2), -5 * torch.rand(7, 2, generator=draw)
    ranked, labels = replies(draw, 7, 4), torch.randint(-1, 2, (7, 4), generator=draw)
    fpemf = FpemfSettings(judge={"policy": "scripted"}, margin=0.5, beta_ul=0.3, nll=nll)
    for objective, whole, name, rest in (
        (DpoObjective(DpoSettings(gamma=0.7, nll=nll)), found, "reference", reference),
        (FpemfObjective(fpemf), ranked, "labels", labels),
    ):
        starts = [sum(sizes[:n]) for n in range(len(sizes))]
        sums = [
            objective.loss(
                CandidateLogProbs(*(part[a : a + n] for part in whole)),
                {name: rest[a : a + n]},
                Share(),
            )[1]
            for a, n in zip(starts, sizes, strict=True)
        ]
        means = objective.means(torch.stack(sums).sum(dim=0).tolist())
        loss = objective.loss(whole, {name: rest}, Share())[0].item()
        assert means["total"] == pytest.approx(loss, rel=1e-5)
    helpful = sequence_scores(ranked.tokens, ranked.mask, 1.0)
    gap = helpful[labels == 1].mean() - helpful[labels == 0].mean()
    assert means["gap"] == pytest.approx(gap.item(), rel=1e-5)
