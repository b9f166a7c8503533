# %% [markdown]
# # 7 · Comparing two supporters honestly
#
# Two supporters, one of which only says more. The judge is a script that likes long answers, as many language models do. A plain win rate falls for it. Here is how to see that: the same seekers and seeds for both, intervals with the scenario as the unit, the judge asked in both orders, and length held equal.

# %%
import json
import random
from pathlib import Path

import pandas as pd
from shared import curve, sized

import warmline
from warmline.evaluation import (
    SelfPlaySettings,
    dialogues_needed,
    length_controlled,
    paired_test,
    self_play,
)

ASKS = ["What happened then?", "How was that for you?", "Who knows about it?", "What did you do?"]
MORE = " I am listening to all of it." + " There is no hurry here at all."


def seeker(request: warmline.Request) -> str:
    return f"It goes on and on, and I am {'very ' * (request.seed % 4)}tired."


def answers(extra: float):
    def script(request: warmline.Request) -> str:
        dice = random.Random(request.seed)
        return dice.choice(ASKS) + (MORE if dice.random() < extra else "")

    return warmline.ScriptedPolicy(script)


# %% [markdown]
# The judge compares two conversations by their length, with some noise, and says `tie` where they are nearly as long. It knows nothing else.


# %%
def likes_length(request: warmline.Request) -> str:
    dice = random.Random(request.seed)
    if "better" not in request.schema["properties"]:
        return json.dumps({"explanation": "so it seems", "score": dice.randint(2, 4)})
    first, _, second = request.messages[-1].content.partition("<second>")
    longer = (len(first) - len(second)) / 60 + dice.gauss(0, 1)
    better = "tie" if abs(longer) < 0.5 else "first" if longer > 0 else "second"
    return json.dumps({"explanation": "it says more", "better": better})


rest = warmline.ScriptedPolicy(seeker)
result = await self_play(
    SelfPlaySettings(
        episodes=sized(40, 8),
        seeds=(0,),
        max_turns=8,
        case_dialogues=0,
        out="plays/ab",
        pairwise=True,
    ),
    a=answers(0.7),
    b=answers(0.3),
    judge_policy=warmline.ScriptedPolicy(likes_length),
    seats={
        warmline.agents.Role.SEEKER: rest,
        warmline.agents.Role.COUNSELOR: warmline.ScriptedPolicy(counselor=["Others"]),
        warmline.agents.Role.JUDGER: warmline.ScriptedPolicy(judger=["NO"]),
    },
)

# %% [markdown]
# ## What needs no judge, and the judge's scores
#
# Each line is a paired difference: A and B met the same person with the same seed. `p` is corrected for the number of lines (Holm).

# %%
pd.DataFrame(
    [
        {
            "measure": o.measure,
            "A": o.a.value,
            "B": o.b.value,
            "A − B": o.paired.difference,
            "p (Holm)": o.p_holm,
        }
        for o in result.outcomes
    ]
).round(2)

# %% [markdown]
# ## The win rate, and the same at equal length

# %%
wins = result.wins[0]
print(
    f"A wins {wins.rate:.0%} of {wins.n} pairs, 95 % from {wins.interval.low:.0%} to {wins.interval.high:.0%}"
)

a, b = (warmline.read_episodes(f"plays/ab/{side}/seed-0") for side in "ab")
words = [
    sum(len(u.text.split()) for u in x.utterances) - sum(len(u.text.split()) for u in y.utterances)
    for x, y in zip(a, b, strict=True)
]
ratings = [
    json.loads(x) for x in Path("plays/ab/comparisons-seed-0.jsonl").read_text().splitlines()
]
verdicts = pd.DataFrame(ratings).query("dimension == @wins.dimension").groupby("episode")["value"]
# 1 for A, -1 for B; what the two orders disagree on is a tie
agreed = verdicts.agg(lambda both: both.iloc[0] if both.nunique() == 1 else 0.0)
won = [(agreed[episode.id] + 1) / 2 for episode in a]
held = length_controlled(won, words, groups=[e.id for e in a])
print(
    f"A wins {held.plain:.2f}; at equal length {held.rate:.2f}, from {held.low:.2f} to {held.high:.2f}"
)

# %% [markdown]
# The judge knew nothing but lengths, and the plain rate makes A the better supporter. At equal length the interval holds one half: these data do not say so. Report both, and never the first alone.
#
# ## How many conversations are enough?

# %%
print(f"words: {paired_test(words, [0] * len(words))}")
sd = pd.Series(won).std() or 0.5
sizes = [0.05, 0.1, 0.15, 0.2, 0.3]
curve(
    "Dialogues to find a true difference (80 % power)",
    "difference",
    "dialogues",
    paired=(sizes, [dialogues_needed(d, sd) for d in sizes]),
    unpaired=(sizes, [dialogues_needed(d, sd, paired=False) for d in sizes]),
)

# %% [markdown]
# **Now change this.** Give both sides the same supporter (and `out` another name). How often should a test with p < 0.05 find a difference that is not there? Count it over a hundred draws.
