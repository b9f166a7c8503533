# %% [markdown]
# # 8 · People in the loop
#
# A person in a seat, three reviewers of a corpus, and a study in the browser. Nobody sits here while the notebook runs, so lines are typed for them, and none of it is anybody's trouble. **With real people:** read `docs/studies.md` first. A study needs an ethics board, a person on call and help lines that somebody has checked.

# %%
import pandas as pd
from shared import shipped, sized, write_log

import warmline
from warmline.environments.corpus import ReviewStore
from warmline.environments.corpus.review.review import Verdict
from warmline.evaluation import fleiss_kappa

# %% [markdown]
# ## A person in the seeker's seat
#
# `human` is a policy. In a terminal it reads the keyboard; `read` is what it reads here. `/end` leaves at any time.

# %%
lines = iter(["I cannot find a room.", "", "Since March.", "", "/end", ""])
person = warmline.HumanPolicy(read=lambda _: next(lines))
(episode,) = warmline.simulate(
    policy=warmline.ScriptedPolicy(
        supporter=["How long have you been looking?", "Who helps you search?"],
        counselor=["Question"],
        judger=["NO"],
    ),
    seeker=person,
    episodes=1,
    case_dialogues=0,
    max_turns=8,
)
print(episode.stop, [u.text for u in episode.utterances])

# %% [markdown]
# ## Crisis language is answered with help, before any model sees it
#
# What the person typed is held: first come the help lines, and only `/go` sends it on. A small model never answers it at all.

# %%
lines = iter(["I want to end my life.", "", "/end", ""])
person = warmline.HumanPolicy(read=lambda _: next(lines), country="GB")
(held,) = warmline.simulate(
    policy="scripted", seeker=person, episodes=1, case_dialogues=0, max_turns=4
)
print(held.stop, [call.role for call in held.calls if call.text])  # no model was asked

# %% [markdown]
# ## Three reviewers
#
# A dialogue is kept if all three approve it. They read in orders of their own, never see what the others said, and every decision is on disk when the call returns. Three rules stand in for people.

# %%
corpus = write_log("corpora/review", shipped(sized(24, 8)))
episodes = warmline.read_episodes(corpus)
RULES = {
    "ada": lambda text: len(text) < 4000,
    "ben": lambda text: text.count("?") >= 4,
    "eva": lambda text: "sorry" not in text.lower(),
}
votes: dict[str, dict[str, str]] = {}
with ReviewStore(corpus, create=True) as store:
    store.start(required=3, seed=1)
    store.enrol(episodes)
    for name, approves in RULES.items():
        while (item := store.next_item(name)) is not None:
            kept = approves(" ".join(turn.text for turn in item.turns))
            verdict = Verdict.APPROVE if kept else Verdict.REJECT
            store.decide(
                item.id, name, verdict, version=item.version, reason="" if kept else "rule"
            )
            votes.setdefault(item.id, {})[name] = verdict.value
    progress = store.progress()
print(progress.states)
pd.DataFrame(votes).T.apply(pd.Series.value_counts)

# %% [markdown]
# Agreement beyond chance. Not above zero here: the three look for different things.

# %%
fleiss_kappa([list(each.values()) for each in votes.values()])

# %% [markdown]
# ## A study in the browser
#
# One file describes it, one command serves it: `warmline serve study.toml`. Participants talk blind with one of two models and rate it; the results are ordinary ratings and episodes, and join a judge's tables.

# %%
from pathlib import Path

from warmline.evaluation.studies.settings import load_study

Path("study.toml").write_text("""
title = "Two listening programs"
kind = "pointwise"
out = "studies/two"
country = "GB"
overlap = 2

[models.base]
policy = "embedded"

[models.tuned]
policy = "openai"
model = "tuned"
base_url = "http://localhost:8000/v1"
""")
study = load_study(Path("study.toml"))
print(study.kind, list(study.models))

# %% [markdown]
# **Now change this.** Two reviewers are enough for a first pass: `required=2`, in a folder of its own (`corpora/review-two`), since a review that was begun keeps its rules. How many dialogues are approved, and what happens to the third reviewer's queue?
