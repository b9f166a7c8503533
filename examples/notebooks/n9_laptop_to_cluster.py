# %% [markdown]
# # 9 · From a laptop to a cluster
#
# One run, played by one process, by several, and against several servers: the same words each time. Seeds derive from the run's seed, the scenario and the number of the call, so who plays what changes nothing. Scripts speak here; the machinery is the real one.

# %%
from pathlib import Path

import pandas as pd
from shared import sized

import warmline
from warmline.environments.serving import serving

settings = {
    "policy": "scripted",
    "episodes": sized(60, 10),
    "max_turns": 10,
    "case_dialogues": 0,
    "seed": 5,
}
one = warmline.simulate(**settings, out="runs/one")
len(one)

# %% [markdown]
# ## Two processes
#
# Each worker has an event loop, engines and a log of its own, and takes small leases of scenarios.

# %%
two = warmline.run_sharded(settings, out="runs/two", workers=2)
print(sorted(path.name for path in Path("runs/two").glob("episodes*.jsonl")))
same = {e.id: e.content() for e in one} == {e.id: e.content() for e in two}
assert same
same

# %% [markdown]
# ## Stopped in the middle
#
# Any stop is a normal stop. A run of 4 is grown to more by the same call, and what was there is kept.

# %%
grown = warmline.simulate(**{**settings, "episodes": 4}, out="runs/grown")
before = {e.id: e.content() for e in grown}
after = {e.id: e.content() for e in warmline.simulate(**settings, out="runs/grown")}
assert before.items() <= after.items()
len(before), len(after)

# %% [markdown]
# ## Two servers of one model
#
# Several addresses make one policy: conversations stay on the server that has their prefix cached, and a request whose server dies is answered by the other.


# %%
def listener() -> warmline.ScriptedPolicy:
    return warmline.ScriptedPolicy(lambda request: f"I hear you ({request.seed % 7}).")


with serving(listener(), name="m") as a, serving(listener(), name="m") as b:
    pooled = warmline.simulate(
        **{**settings, "episodes": 6},
        supporter={"policy": "openai", "model": "m", "base_url": (a, b)},
        out="runs/pooled",
    )
where = [
    call.notes["openai"]["endpoint"] for e in pooled for call in e.calls if call.role == "supporter"
]
pd.Series(where).map({a: "server a", b: "server b"}).value_counts()

# %% [markdown]
# ## A cluster
#
# The same settings on Ray or Slurm, with the same log and resume. Place and number of workers are no part of a run's identity, so a run begun here can be finished there:
#
# ```
# warmline simulate --config run.toml --out runs/big --workers 64 --on ray
# warmline simulate --config run.toml --out runs/big --workers 64 --on slurm --slurm.gpus 1
# warmline status runs/big
# warmline compact runs/big
# ```
#
# **Now change this.** Finish `runs/two` with three workers and twice the episodes. Is any conversation played twice?
