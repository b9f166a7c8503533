"""The commands whose folders are stored: how each was made, and what resuming it must do.

All paths are relative: the commands run in the folder that holds the records.
"""

from __future__ import annotations

from dataclasses import dataclass

ARCHIVE = "trainings.tar.xz"
"""Holds the tiny model and all that was trained on it."""

TALKING = "tests.stored.script:talking"
JUDGING = "tests.stored.script:judging"
PLAIN = "tests.stored.script:plain"

TINY = ("--strategy", "shown",
    "--model", "base", "--template", "short.jinja", "--dtype", "float32", "--device", "cpu",
    "--lora-r", "1", "--learning-rate", "0.01", "--max-steps", "2",
)  # fmt: skip
HEADS = (
    "--model", "base", "--dtype", "float32", "--device", "cpu", "--lora-r", "1", "--max-steps", "2",
    "--validation-share", "0.2", "--test-share", "0.2", "--max-tokens", "400",
)  # fmt: skip
PLAYING = ("--policy", TALKING, "--max-turns", "4", "--concurrency", "1", "--case-dialogues", "1")


@dataclass(frozen=True)
class Form:
    """One command and the folder it fills.

    Attributes:
        name: of the form, for messages.
        command: words behind `warmline`.
        out: what it writes, a folder or a file.
        left: answers of the script until the command was stopped; None for a finished one.
        rest: questions that remain for the resumed command; those of a whole one less those kept.
        journals: files in which every old line stays as it is.
        changed: further options with which the folder is refused; none where nothing is claimed.
        failing: sessions that failed when the record was made.
        interrupted: stopped by Ctrl-C after its first save, a training.
    """

    name: str
    command: tuple[str, ...]
    out: str
    left: int | None = None
    rest: int = 0
    journals: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    failing: tuple[str, ...] = ()
    interrupted: bool = False


RUNS = (
    Form(
        "run",
        ("simulate", *PLAYING, "--episodes", "3", "--seed", "7", "--quiet", "--out", "run"),
        "run",
        journals=("run/episodes.jsonl",),
        changed=("--seed", "8"),
    ),
    Form(
        "run of another supporter",
        ("simulate", *PLAYING, "--episodes", "3", "--seed", "7", "--quiet", "--out", "other",
         "--supporter.policy", PLAIN),
        "other",
        journals=("other/episodes.jsonl",),
        changed=("--max-turns", "6"),
    ),
    Form(
        "run begun",
        ("simulate", *PLAYING, "--episodes", "5", "--seed", "7", "--quiet", "--out", "run-begun"),
        "run-begun",
        left=30, rest=8,
        journals=("run-begun/episodes.jsonl",),
        changed=("--supporter.policy", PLAIN),
        failing=("sexual-orientation-3/supporter",),
    ),
    Form(
        "run with a cache",
        ("simulate", *PLAYING, "--episodes", "1", "--seed", "7", "--quiet", "--out", "run-cached",
         "--wrap", "cache:path=cache.sqlite"),
        "run-cached",
        journals=("run-cached/episodes.jsonl",),
        changed=("--seed", "8"),
    ),
    Form(
        "ratings",
        ("judge", "run", "--judge.policy", JUDGING, "--dimensions", "empathy", "--dimensions", "overall",
         "--samples", "2", "--seed", "7", "--concurrency", "1"),
        "run/ratings.jsonl",
        left=10, rest=14,
        journals=("run/ratings.jsonl",),
    ),
    Form(
        "comparisons",
        ("judge", "run", "--against", "other", "--judge.policy", JUDGING, "--dimensions", "safety",
         "--dimensions", "helpfulness", "--seed", "7", "--concurrency", "1"),
        "run/comparisons.jsonl",
        left=5, rest=7,
        journals=("run/comparisons.jsonl",),
    ),
    Form(
        "self-play",
        ("selfplay", *PLAYING, "--episodes", "2", "--a.policy", TALKING, "--b.policy", PLAIN,
         "--judge.policy", JUDGING, "--pairwise", "--out", "selfplay"),
        "selfplay",
        left=60, rest=34,  # 24 were left; the judge sees more for two dimensions now, asked again
        journals=("selfplay/a/seed-0/episodes.jsonl", "selfplay/b/seed-0/episodes.jsonl",
                  "selfplay/a/seed-0/ratings.jsonl"),
        changed=("--max-turns", "6"),
    ),
)  # fmt: skip

CORPORA = (
    Form(
        "import",
        ("import", "messages", "talks.jsonl", "--out", "talks", "--recipe", "raw",
         "--name", "stored-talks", "--licence", "CC0-1.0"),
        "talks",
    ),
    Form(
        "evaluation",
        ("evaluate", "talks", "--policy", TALKING, "--counselor.policy", JUDGING, "--limit", "3",
         "--setting", "both", "--resamples", "10", "--seed", "7", "--concurrency", "1",
         "--out", "evaluation"),
        "evaluation",
        left=21, rest=40,
        journals=("evaluation/replies.jsonl",),
        changed=("--history-window", "4"),
    ),
    Form(
        "build",
        ("build", "--policy", TALKING, "--generator.policy", TALKING, "--episodes", "4",
         "--rounds", "2", "--problem-types", "Burnout", "--problem-types", "Sleep Problems",
         "--seed", "2", "--no-clean", "--learn-truncated", "--max-turns", "4", "--case-dialogues", "1", "--concurrency", "1",
         "--quiet", "--out", "build"),
        "build",
        left=34, rest=16,
        journals=("build/scenarios.jsonl", "build/rejects.jsonl", "build/episodes.jsonl"),
        changed=("--examples", "1"),
    ),
    Form(
        "tags",
        ("clean", "run", "--filters", "length:min_utterances=2", "--judge.policy", JUDGING),
        "run/tags.jsonl",
        journals=("run/tags.jsonl",),
    ),
)  # fmt: skip

TRAININGS = (
    Form("sft", ("train", "sft", *TINY, "talks", "--out", "sft"), "sft",
         changed=("--learning-rate", "0.5")),
    Form("counselor", ("train", "counselor", *HEADS, "talks", "--no-baselines",
                       "--out", "counselor"), "counselor", changed=("--seed", "3")),
    Form("scorer", ("train", "scorer", *HEADS, "talks", "--dimensions", "coherence",
                    "--coherent", "12", "--incoherent", "12", "--out", "scorer"),
         "scorer", changed=("--incoherent", "8")),
    Form("pairs", ("pairs", "talks", "--strategy", "shown", "--template", "short.jinja", "--model", "base",
                   "--supporter.policy", TALKING, "--concurrency", "1", "--tries", "3", "--out", "pairs"),
         "pairs", changed=("--tries", "2")),
    Form("pairs begun", ("pairs", "talks", "--strategy", "shown", "--template", "short.jinja", "--model", "base",
                         "--supporter.policy", TALKING, "--concurrency", "1",
                         "--tries", "3", "--out", "pairs-begun"),
         "pairs-begun", left=15, rest=9, journals=("pairs-begun/replies/calls.jsonl",),
         changed=("--supporter.temperature", "0.1")),
    Form("dpo", ("train", "dpo", *TINY, "--pairs", "pairs/pairs", "--nll", "token_mean", "--tries", "3", "--out", "dpo"), "dpo",
         changed=("--beta", "0.5")),
    Form("fpemf", ("train", "fpemf", *TINY, "talks", "--limit", "3",
                   "--num-candidates", "2", "--max-new-tokens", "4", "--judge.policy", JUDGING,
                   "--dimensions", "empathy", "--concurrency", "1", "--nll", "token_mean", "--out", "fpemf"),
         "fpemf", journals=("fpemf/candidates/candidates.jsonl", "fpemf/candidates/ratings.jsonl"),
         changed=("--margin", "0.5")),
    Form("fpemf begun, candidates",
         ("train", "fpemf", *TINY, "talks", "--limit", "4", "--num-candidates", "2",
          "--source", "sampling", "--sampler.policy", TALKING, "--judge.policy", JUDGING,
          "--dimensions", "empathy", "--concurrency", "1", "--nll", "token_mean", "--out", "fpemf-drawing"),
         "fpemf-drawing", left=5, rest=16, journals=("fpemf-drawing/candidates/candidates.jsonl",),
         changed=("--num-candidates", "3")),
    Form("fpemf begun, feedback",
         ("train", "fpemf", *TINY, "talks", "--limit", "4", "--num-candidates", "2",
          "--max-new-tokens", "4", "--judge.policy", JUDGING, "--dimensions", "empathy",
          "--concurrency", "1", "--nll", "token_mean", "--out", "fpemf-judging"),
         "fpemf-judging", left=7, rest=6,
         journals=("fpemf-judging/candidates/candidates.jsonl",
                   "fpemf-judging/candidates/ratings.jsonl"),
         changed=("--diversity-penalty", "0.5")),
    Form("evolve", ("evolve", *TINY, "talks", "--supporter.policy", TALKING,
                    "--concurrency", "1", "--rounds", "1", "--held-out-share", "0.2",
                    "--no-gate", "--no-evaluate", "--accumulation", "1", "--nll", "token_mean", "--tries", "3", "--out", "evolve"),
         "evolve", left=14, rest=6, journals=("evolve/round-1/replies/calls.jsonl",),
         changed=("--beta", "0.5")),
)  # fmt: skip

STOPPED = (
    Form("sft stopped", ("train", "sft", *TINY[:-1], "12", "--evaluate-every", "12", "talks",
                         "--save-minutes", "0.00001", "--out", "sft-stopped"), "sft-stopped",
         changed=("--learning-rate", "0.5"), interrupted=True),
    Form("dpo stopped", ("train", "dpo", *TINY[:-1], "12", "--evaluate-every", "12", "--pairs", "pairs/pairs", "--accumulation", "1",
                         "--save-minutes", "0.00001", "--nll", "token_mean", "--tries", "3", "--out", "dpo-stopped"), "dpo-stopped",
         journals=("dpo-stopped/reference.jsonl",), changed=("--beta", "0.5"), interrupted=True),
)  # fmt: skip

SHARES = ("--seed", "7", "--train", "0.4", "--validation", "0.3", "--test", "0.3")
EXPORTS = {
    "export": ("export", "run", "--out", "export", *SHARES),
    "export-talks": ("export", "talks", "--out", "export-talks", *SHARES, "--format", "dialogues"),
}

REPRODUCTION = Form(
    "reproduction",
    ("reproduce", "--preset", "two.toml", "--out", "reproduction"),
    "reproduction",
)
