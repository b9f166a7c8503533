# %% [markdown]
# # 6 · Self-evolution
#
# A supporter learns from itself: it answers (*rejected*), reflects on the person it answered, rewrites its reply (*chosen*), and learns to prefer the second by DPO; M⁰ becomes M¹ becomes M². A script plays the supporter's words here and a model of two layers learns from them, so that two rounds take seconds. In earnest both are the same model.

# %%
import json
from pathlib import Path

import pandas as pd
from shared import SHORT_PROMPT, curve, shipped, sized, tiny_model, write_log

import warmline
from warmline.training import EvolveSettings, evolve

talks = shipped(sized(12, 5))
write_log("runs/talks", talks)
model = tiny_model("models/m0", [u.text for talk in talks for u in talk.utterances])
Path("short.jinja").write_text(SHORT_PROMPT)


# %% [markdown]
# ## The supporter answers, and reflects
#
# Asked for a reply, it gives a poor one. Asked to reflect (the request then has a JSON schema), it names the person's profile, emotion, personality and intention, scores its reply, criticises it and rewrites it.


# %%
def talking(request: warmline.Request) -> str:
    if request.schema is None:
        return f"That is bad, and it will hardly get better in {request.seed % 5} weeks."
    about = dict.fromkeys(
        ("profile", "emotion", "personality", "intention"), "worn out, and alone with it"
    )
    kinder = f"That weighs on you in {request.seed % 5} ways. What is the worst of it?"
    return json.dumps(
        about | {"score": 2, "criticism": "It judges and does not ask.", "reply": kinder}
    )


result = evolve(
    EvolveSettings(
        model=str(model),
        data=("runs/talks",),
        template="short.jinja",
        out="runs/evolve",
        rounds=2,
        dtype="float32",
        device="cpu",
        learning_rate=sized(2e-3, 1e-2),
        max_steps=sized(20, 2),
        accumulation=1,
        held_out_share=0.2,
        validation_share=0.25,
        evaluate=False,
        gate=False,
    ),
    supporter=warmline.ScriptedPolicy(talking),
)

# %% [markdown]
# ## A pair that it learned from

# %%
pair = json.loads(Path("runs/evolve/round-1/pairs/pairs.jsonl").read_text().splitlines()[0])
for side in ("rejected", "chosen"):
    print(f"{side}: {pair[side][-1]['content'] if isinstance(pair[side], list) else pair[side]}")

# %% [markdown]
# ## What the rounds measured
#
# *Reward accuracy*: on pairs held back, how often the model now finds the chosen reply likelier than before, compared with the rejected one. *NLL*: whether it still predicts what supporters really said. *Relevance*: how much of the person's words a reply takes up. `runs/evolve/table.md` has the paper's tables, published figures beside ours.

# %%
shown = ("pairs", "reward_accuracy", "held_out_nll", "relevance_rejected", "relevance_chosen")
pd.DataFrame([{name: state.measures.get(name) for name in shown} for state in result.rounds]).round(
    3
)

# %%
nll = [state.measures["held_out_nll"] for state in result.rounds]
curve("Held-out NLL by round", "round", "nats a token", nll=([0, 1, 2], nll))

# %% [markdown]
# With the gate on (the default) a round that makes the model worse at real replies, or that learned nothing, is rolled back, and the next one starts where it started. It was off here, so that both rounds are seen.
#
# **Now change this.** Turn the gate on, with no rise of the NLL allowed (`gate=True, gate_nll=0.0`), with another `out`. Is the first round promoted, and what does its state say?
