# %% [markdown]
# # 3 · Building and analysing a corpus
#
# New scenarios, profiles and conversations from the embedded model, cleaned, and looked at beside the 450 dialogues that ship. Both were written by language models; the shipped ones by a much larger one. The papers build theirs the same way with a model of that kind.

# %%
from pathlib import Path

from IPython.display import SVG, display
from shared import shipped, sized, write_log

from warmline.environments.corpus import build, clean_run
from warmline.evaluation import analyse_files

report = build(
    policy="embedded",
    out="corpora/new",
    episodes=sized(3, 1),
    rounds=1,
    max_turns=sized(8, 2),
    min_turns=sized(4, 2),
    seed=3,
    problem_types=("Job Crisis", "Academic Pressure"),
)
print(report.conversations, report.left_out)

# %% [markdown]
# Coverage: what was planned, what came, and which holes cleaning left.

# %%
report.holes or "no holes"

# %% [markdown]
# Cleaning deletes nothing. It writes tags beside the log: which filter found what, and whether that is a reason to leave a dialogue out. `clean_run` may be run again at any time.

# %%
cleaned = clean_run("corpora/new")
print(f"kept {cleaned.kept}")
for line in Path("corpora/new/tags.jsonl").read_text().splitlines()[:3]:
    print(line[:160])

# %% [markdown]
# ## Beside the dialogues that ship

# %%
seeds = write_log("corpora/shipped", shipped(sized(120, 8)))
found = analyse_files(
    [("new", "corpora/new"), ("shipped", seeds)], out="analyses/first", limit=sized(100, 20)
)
for name in found.figures[: sized(4, 2)]:
    display(SVG(f"analyses/first/figures/{name}.svg"))

# %% [markdown]
# The numbers behind the figures, with published ones beside them, are in `analyses/first/tables.md`:

# %%
print("\n".join(found.page.splitlines()[:24]))

# %% [markdown]
# A handful of dialogues shows how the tables are read, and nothing about the model: brackets are wide, and lengths follow the limit of eight utterances. With sixty (`episodes=60`) they say what a small model's corpus lacks beside a large one's. That is what the analysis is for: to see it before anything is trained on it.
#
# **Now change this.** Which share of the shipped dialogues' replies ask (`Question`) in the first sixth of a conversation, and which in the last? `found.analysis` has it.
