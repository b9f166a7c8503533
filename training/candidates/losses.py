"""Losses as pure functions: ranking (FPEMF eq. 6–9) and preference (Self-Evolution eq. 6).

Shapes are `(batch, candidates)` for one number a candidate and `(batch, candidates, time)` for one
a token; log-probabilities in nats. How the printed equations were read: FPEMF eq. 7 has its margin
inside the bracket that the label difference multiplies, and ours stands outside unless asked for as
printed (see `contrastive_loss`); Self-Evolution eq. 6 lost a minus sign, so Rafailov et al. 2023
(https://arxiv.org/abs/2305.18290) is followed.
"""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor
from torch.nn.functional import cross_entropy, logsigmoid

from ..loop.settings import Nll

Reduction = Literal["paper", "literal", "muffin"]
REDUCTIONS = get_args(Reduction)
MISSING = -1
"""Label of a candidate that is not there, or was not judged."""


def sequence_scores(log_probs: Tensor, mask: Tensor, alpha: float) -> Tensor:
    """P of each sequence (FPEMF eq. 6): summed log-probabilities over its length to the power α.

    Args:
        log_probs: `(…, time)`, of each token, the end token included.
        mask: `(…, time)`, 1 at tokens of the sequence, 0 at padding.
        alpha: 1 is the mean a token, 0 the sum.

    Returns:
        `(…)`; 0 for a sequence of no tokens, which must be left out of `contrastive_loss`.
    """
    kept = mask.bool()
    sums = log_probs.masked_fill(~kept, 0.0).sum(dim=-1)
    return sums / kept.sum(dim=-1).clamp(min=1).to(sums.dtype) ** alpha


def contrastive_loss(
    scores: Tensor, labels: Tensor, margin: float = 0.01, reduction: Reduction = "paper"
) -> Tensor:
    """Hinge over pairs of candidates with different labels (FPEMF eq. 7).

    In print λ stands inside the bracket that the label difference multiplies,
    `max(0, −(l_i − l_j)(P_i − P_j + λ))` over ordered pairs, so pairs with equal labels add 0, and
    with Δ the P of the helpful reply minus that of the unhelpful one, the two orders of any other
    pair add `max(0, λ − Δ) + max(0, −Δ − λ)`. By default the reading of the published ancestor
    (Muffin) is followed, in which λ stands outside: such a pair adds `max(0, λ − Δ)`, once. In a
    context without such pairs the loss is 0, with gradient 0.

    Args:
        scores: `(batch, K)`, P of each candidate.
        labels: `(batch, K)`, 1 helpful, 0 unhelpful, `MISSING` leaves the candidate out.
        margin: λ.
        reduction: "paper" divides a context's sum over unordered pairs by its number of labelled
            candidates (K where none is missing) and takes the mean over all contexts; "literal"
            does what is printed: the sum over ordered pairs by 2K, K as before; "muffin"
            (Wang et al., Findings of ACL 2024) takes the mean over all differing pairs of a
            context, then over contexts.

    Returns:
        A scalar.

    Raises:
        ValueError: shapes differ, or an unknown reduction.
    """
    if scores.shape != labels.shape or scores.dim() != 2:
        raise ValueError(
            f"scores {tuple(scores.shape)} and labels {tuple(labels.shape)}: (batch, K)"
        )
    if reduction not in REDUCTIONS:
        raise ValueError(f"no reduction '{reduction}'; known: {', '.join(REDUCTIONS)}")
    there = labels != MISSING
    # unlabelled scores may be anything, -inf too; replaced first, so that no NaN enters a gradient
    safe = scores.masked_fill(~there, 0.0)
    signs = (labels[:, :, None] - labels[:, None, :]).to(scores.dtype)
    gaps = safe[:, :, None] - safe[:, None, :]
    differ = (signs != 0) & there[:, :, None] & there[:, None, :]
    pairs = differ.triu(diagonal=1)
    if reduction == "literal":
        pairs = differ  # in both orders
        hinge = (-signs * (gaps + margin)).clamp(min=0)
    else:
        hinge = (margin - signs * gaps).clamp(min=0)
    hinge = hinge.masked_fill(~pairs, 0.0)
    counted = pairs.sum(dim=(1, 2)) if reduction == "muffin" else there.sum(dim=1)
    orders = 2 if reduction == "literal" else 1
    return (hinge.sum(dim=(1, 2)) / (orders * counted.clamp(min=1))).mean()


def nll_loss(log_probs: Tensor, mask: Tensor, nll: Nll = "token_mean") -> Tensor:
    """Negative log-likelihood of replies (FPEMF eq. 8, Self-Evolution eq. 7).

    A reply of one token at −1 nat and one of three at −2: "token_mean" is (1 + 6) / 4 = 1.75,
    "reply_mean" (1 + 2) / 2 = 1.5, "sum" (1 + 6) / 2 = 3.5.

    Args:
        log_probs, mask: `(batch, time)`, as in `sequence_scores`.
        nll: "token_mean" is the mean over all tokens, "reply_mean" (FPEMF) over the tokens of each
            reply and then over replies, "sum" (Self-Evolution) the mean over replies of their sums.

    Returns:
        A scalar; 0 where there is no token at all.

    Raises:
        ValueError: an unknown kind of mean.
    """
    kept = mask.bool()
    sums, tokens = -log_probs.masked_fill(~kept, 0.0).sum(dim=-1), kept.sum(dim=-1)
    if nll == "token_mean":
        return sums.sum() / tokens.sum().clamp(min=1)
    if nll not in ("reply_mean", "sum"):
        raise ValueError(f"no NLL '{nll}'; known: token_mean, reply_mean, sum")
    each = sums / tokens.clamp(min=1) if nll == "reply_mean" else sums
    return each.sum() / max(len(each), 1)


def fpemf_loss(unlikelihood: Tensor, generation: Tensor, beta_ul: float, beta_gen: float) -> Tensor:
    """The sum that is trained (FPEMF eq. 9): β_ul times ranking plus β_gen times NLL."""
    return beta_ul * unlikelihood + beta_gen * generation


def dpo_loss(
    policy_chosen_logps: Tensor,
    policy_rejected_logps: Tensor,
    reference_chosen_logps: Tensor,
    reference_rejected_logps: Tensor,
    beta: float = 0.1,
) -> Tensor:
    """Direct preference optimisation, mean over pairs.

    `−log σ(β[(log π(y_w) − log π_ref(y_w)) − (log π(y_l) − log π_ref(y_l))])`

    Args:
        policy_chosen_logps, policy_rejected_logps: `(batch,)`, sums of token log-probabilities.
        reference_chosen_logps, reference_rejected_logps: the same under the reference, detached.
        beta: how dear it is to leave the reference.

    Returns:
        A scalar.
    """
    chosen = policy_chosen_logps - reference_chosen_logps
    rejected = policy_rejected_logps - reference_rejected_logps
    return -logsigmoid(beta * (chosen - rejected)).mean()


def token_log_probs(logits: Tensor, tokens: Tensor) -> Tensor:
    """Log-probability of each token under the logits that predict it, in float32.

    Args:
        logits: `(…, time, vocabulary)`.
        tokens: `(…, time)`.

    Returns:
        `(…, time)`.
    """
    rows = logits.reshape(-1, logits.shape[-1]).float()
    return -cross_entropy(rows, tokens.reshape(-1), reduction="none").view(tokens.shape)
