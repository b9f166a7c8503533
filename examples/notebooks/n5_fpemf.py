# %% [markdown]
# # 5 · FPEMF step by step
#
# FPEMF teaches a supporter to prefer its helpful replies to its unhelpful ones: candidates from its own diverse beams, feedback on them, and a loss that ranks. Each step by itself, on a tiny random model; what is read is the arithmetic.

# %%
import json
from pathlib import Path

import pandas as pd
import torch
from shared import SHORT_PROMPT, curve, shipped, sized, tiny_model, write_log

from warmline.training import CandidateRunSettings, FpemfSettings, make_candidates, train_fpemf
from warmline.training.candidates.losses import contrastive_loss, sequence_scores

talks = shipped(sized(12, 4))
write_log("runs/talks", talks)
model = tiny_model("models/tiny", [u.text for talk in talks for u in talk.utterances])
Path("short.jinja").write_text(SHORT_PROMPT)
common = {
    "model": str(model),
    "data": ("runs/talks",),
    "template": "short.jinja",
    "dtype": "float32",
    "device": "cpu",
    "limit": sized(24, 6),
    "num_candidates": 6,
    "max_new_tokens": 10,
    "dimensions": ("empathy",),
    "judge": {"policy": "scripted"},
}


# %% [markdown]
# ## 1. Candidates, and 2. feedback
#
# Diverse beam search gives K replies that differ from their first word on. Whoever has a method `label` judges them. This judge is a toy with a rule that anybody can check: a candidate is helpful if it holds an `e`. In earnest a trained scorer, a language model or people sit here.


# %%
class Judge:
    async def label(self, prompt, reply):
        return {"empathy": float("e" in reply)}


contexts, rates = make_candidates(
    CandidateRunSettings(**common, out="runs/rates"), labeller=Judge()
)
first = contexts[0]
pd.DataFrame(
    {
        "candidate": [c.text for c in first.candidates],
        "log P / length": [round(c.score, 2) for c in first.candidates],
        "helpful": ["e" in c.text for c in first.candidates],
    }
)

# %% [markdown]
# Helpful rates, as in FPEMF Table 4: of the best beam, of all beams, and of what the supporter really said.

# %%
{kind: {name: rate.value for name, rate in found.items()} for kind, found in rates.items()}

# %% [markdown]
# ## 3. The ranking loss
#
# P is a reply's log-probability over its length (eq. 6). A pair of a helpful and an unhelpful reply adds `max(0, λ − Δ)`, Δ being how much better the helpful one is (eq. 7). Over Δ that is a ramp; by default λ stands outside the label's bracket, `literal` is the equation as printed.

# %%
deltas = [d / 50 for d in range(-10, 11)]
labels = torch.tensor([[1, 0]])


def ramp(reduction):
    return [
        float(contrastive_loss(torch.tensor([[d, 0.0]]), labels, 0.05, reduction)) for d in deltas
    ]


curve(
    "Ranking loss of one pair, λ = 0.05",
    "Δ = P(helpful) − P(unhelpful)",
    "loss",
    paper=(deltas, ramp("paper")),
    literal=(deltas, ramp("literal")),
    muffin=(deltas, ramp("muffin")),
)

# %%
log_probs = torch.tensor([[-1.0, -2.0, 0.0], [-1.0, -1.0, -1.0]])
mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
sequence_scores(log_probs, mask, alpha=1.0)  # (-1 - 2) / 2, and (-1 - 1 - 1) / 3

# %% [markdown]
# ## 4. Training
#
# Both losses together: rank the candidates, and keep the likelihood of the gold replies. `gap` is the mean Δ. It rises, while `nll` says what that costs.

# %%
made = train_fpemf(
    FpemfSettings(
        **common,
        out="runs/fpemf",
        lora_targets=("all-linear",),
        learning_rate=5e-3,
        margin=0.1,
        schedule="constant",
        max_steps=sized(60, 4),
        evaluate_every=sized(10, 2),
        patience=0,
    ),
    labeller=Judge(),
)
log = [json.loads(line) for line in Path("runs/fpemf/training_log.jsonl").read_text().splitlines()]
held = [entry for entry in log if "eval_gap" in entry]
steps = [entry["step"] for entry in held]
curve(
    "Held-out contexts",
    "step",
    "nats a token",
    gap=(steps, [e["eval_gap"] for e in held]),
    ranking=(steps, [e["eval_ranking"] for e in held]),
)

# %% [markdown]
# **Now change this.** A context whose candidates are all helpful teaches the ranking nothing. What does `contrastive_loss` give for it, and with what gradient?
