# %% [markdown]
# # 4 · Fine-tuning a supporter, training a counselor
#
# The two trainings of SweetieChat, on a model of two layers with random weights, so that every curve here is made in seconds on two cores. It learns how letters follow, not how to help; `model="embedded"` or any larger model takes its place in the same lines.

# %%
import json
from pathlib import Path

from shared import SHORT_PROMPT, curve, shipped, sized, tiny_model, write_log

import warmline
from warmline.training import CounselorSettings, SftSettings, train_counselor, train_sft

talks = shipped(sized(90, 16))
write_log("runs/talks", talks)
model = tiny_model("models/tiny", [u.text for talk in talks for u in talk.utterances])
Path("short.jinja").write_text(SHORT_PROMPT)
cpu = {"model": str(model), "data": ("runs/talks",), "dtype": "float32", "device": "cpu"}

# %% [markdown]
# ## The supporter
#
# Rows are made from the logged conversations: what the supporter was asked, and what it said. Loss lies on the reply alone. A tenth of the *scenarios* is held back, so that no situation is on both sides.

# %%
made = train_sft(
    SftSettings(
        **cpu,
        out="runs/m0",
        template="short.jinja",
        strategy="hidden",
        lora_targets=("all-linear",),
        lora_r=16,
        learning_rate=1e-2,
        batch_size=8,
        max_steps=sized(120, 8),
        evaluate_every=sized(20, 4),
    )
)
log = [json.loads(line) for line in Path("runs/m0/training_log.jsonl").read_text().splitlines()]
held = [(entry["step"], entry["eval_loss"]) for entry in log if "eval_loss" in entry]
print(made.checkpoint.rows, f"{held[0][1]:.2f} -> {held[-1][1]:.2f} nats a token")
curve(
    "Held-out loss of the supporter",
    "step",
    "nats a token",
    held_out=([s for s, _ in held], [v for _, v in held]),
)

# %% [markdown]
# The checkpoint is a policy: its folder is its name. What it says is noise, and the sentence cap still holds.

# %%
(episode,) = warmline.simulate(
    policy="scripted",
    supporter={
        "policy": "transformers",
        "model": "runs/m0",
        "max_tokens": 24,
        "template": "short.jinja",
    },
    episodes=1,
    max_turns=2,
    case_dialogues=0,
)
print(episode.utterances[-1].text)

# %% [markdown]
# ## The counselor
#
# A head on the last state reads the dialogue and chooses one of the eight strategies. Its accuracy means nothing without those of guessing (`majority`) and of counting words (`tfidf`) on the same turns.

# %%
counselor = train_counselor(
    CounselorSettings(
        **cpu,
        out="runs/counselor",
        test_share=0.2,
        learning_rate=5e-3,
        head_learning_rate=5e-3,
        batch_size=4,
        max_steps=sized(80, 6),
        evaluate_every=sized(20, 6),
    )
)
{
    name: round(value, 3)
    for name, value in counselor.metrics.items()
    if name.endswith("accuracy") and value
}

# %% [markdown]
# A model without any knowledge of words does not beat counting them: an honest table says so.
#
# **Now change this.** Show the model the strategy of each reply it learns (`strategy="oracle"`, `out="runs/oracle"`). The result is an upper bound. How does the checkpoint say so?
