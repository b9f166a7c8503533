# %% [markdown]
# # 1 · A first conversation
#
# Two conversations on the model that comes with Warmline, and what the record holds. The model has 135 million parameters: it shows the machinery, not the quality. Everything here is generated text for research, no advice, and no stand-in for help from people.

# %%
from shared import sized

import warmline

episodes = warmline.simulate(
    policy="embedded",
    episodes=sized(2, 1),
    max_turns=sized(8, 2),
    min_turns=sized(4, 2),
    seed=7,
    problem_types=("Academic Pressure", "Job Crisis"),
    out="runs/n1",
)
episodes[0]

# %% [markdown]
# A run shows itself too: how the conversations ended, and each of them folded. One strategy has one colour everywhere.

# %%
episodes

# %% [markdown]
# Every utterance keeps what the model wrote (`raw`) beside what the others heard (`text`), and why they differ.

# %%
warmline.to_frame("runs/n1")[["role", "strategy", "text", "repairs"]].head(6)

# %% [markdown]
# Every model call keeps its exact messages. The scenario is the seeker's alone, so the supporter's prompt has no word of it:

# %%
episode = episodes[0]
call = next(call for call in episode.calls if call.role == "supporter")
prompt = "\n".join(message.content for message in episode.call_messages(call))
assert episode.scenario.situation not in prompt
print(prompt[:400])

# %% [markdown]
# What it cost, by role:

# %%
calls = warmline.to_frame("runs/n1", per="call")
calls.groupby("role")[["prompt_tokens", "completion_tokens"]].sum()

# %% [markdown]
# The same call again plays nothing twice: what is finished is read from the folder.

# %%
again = warmline.simulate(
    policy="embedded",
    episodes=sized(2, 1),
    max_turns=sized(8, 2),
    min_turns=sized(4, 2),
    seed=7,
    problem_types=("Academic Pressure", "Job Crisis"),
    out="runs/n1",
)
[one.id for one in again] == [one.id for one in episodes]

# %% [markdown]
# **Now change this.** Leave the counselor's chair empty (`counselor=False`), in a folder of its own (`out="runs/n1-alone"`: a folder takes no other settings than those it was begun with). What is the strategy of each reply then, and who was asked fewer times?
