"""The tables of an evolution in the form of Self-Evolution Tables 2 and 6, with published figures.

Pure except for the writing.

Published figures come with the scores that `warmline evaluate` wrote; none are kept here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...agents.conditions import StrategyCondition
from ...core.files import write_whole
from ...core.tables import DASH, markdown_table
from ...environments.corpus.seen import Overlap
from ...evaluation.statistics.planning import across_seeds
from ...policies.safety import DISCLAIMER

TABLE_NAME = "table.json"
PAGE_NAME = "table.md"

TABLE2 = ("bleu-2", "bleu-3", "rouge-l", "meteor", "bertscore", "distinct-2", "distinct-3")
ALIASES = {"meteor": "meteor-exact-stem"}
"""What stands in a column where its own metric was not counted; the conventions say which it is."""

TABLE6 = ("bleu-2", "bleu-3", "meteor", "distinct-2")
OURS = (
    "held_out_nll",
    "held_out_left_out",
    "reward_accuracy",
    "reward_margin",
    "validation_nll",
    "pairs",
    "chosen_refined",
    "chosen_stronger",
    "chosen_gold",
    "relevance_chosen",
    "relevance_rejected",
)

BACKBONES = ("LLaMA-3-8B", "Qwen-2-7B", "Mistral-7B-v0.3")
_TABLE_OF = {0: "Self-Evolution Table 2", 1: "Self-Evolution Table 6", 2: "Self-Evolution Table 2"}
_VARIANTS = {"gold": "HM,P", "stronger": "HL,P", "refined": "SR,P"}
_PAPER = "Self-Evolution"


def published_names(number: int, variant: str) -> list[str]:
    """The published systems that stand beside the model of a round."""
    if (table := _TABLE_OF.get(number)) is None:
        return []
    names = [f"{table}: {backbone} M{number}" for backbone in BACKBONES]
    return names + ([f"Self-Evolution Table 5: {_VARIANTS[variant]} M{number}"] if number else [])


def tables(
    states: Sequence[Mapping[str, Any]], scores: Sequence[Sequence[Mapping[str, Any]]]
) -> dict[str, Any]:
    """All figures of an evolution as plain data.

    Args:
        states: of the rounds, M⁰'s first.
        scores: for each round what `scores.json` holds; empty where nothing was evaluated.
    """
    models = []
    published: dict[str, dict[str, float]] = {}
    conventions: dict[str, str] = {}
    condition: str | None = None
    seen: list[str] = []
    for state, results in zip(states, scores, strict=True):
        models.append(
            {
                "model": f"M{state['round']}",
                "promoted": state["promoted"],
                "why": state["why"],
                "measures": dict(state["measures"]),
            }
        )
        for result in results[:1]:
            condition = result.get("condition")
            seen += [
                f"M{state['round']}: {told}"
                for role, each in result.get("seen", {}).items()
                if (told := Overlap(**each).flag(role))
            ]
            if unlike := result.get("unlike"):
                seen.append(f"M{state['round']}: {unlike}")
            conventions |= {s["metric"]: s["convention"] for s in result["scores"]}
            for name, figures in result["published"].items():
                if name.startswith(_PAPER):
                    published[name] = figures
    return {
        "models": models,
        "published": published,
        "conventions": conventions,
        "condition": condition,
        "seen": seen,
    }


def several(runs: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """The figures of evolutions that differ in the seed alone: each as mean and deviation.

    Args:
        runs: by seed what `tables` gave; published figures and conventions are those of the first.
    """
    first = next(iter(runs.values()))
    models = []
    for place, model in enumerate(first["models"]):
        own = [run["models"][place] for run in runs.values()]
        promoted = sum(bool(each["promoted"]) for each in own)
        names = dict.fromkeys(name for each in own for name in each["measures"])
        models.append(
            {
                "model": model["model"],
                "promoted": promoted == len(own),
                "why": f"promoted under {promoted} of {len(own)} seeds",
                "measures": {
                    name: _spread([each["measures"].get(name) for each in own]) for name in names
                },
            }
        )
    flags = [f"seed {seed}, {text}" for seed, run in runs.items() for text in run["seen"]]
    return {**first, "models": models, "seen": flags, "seeds": list(runs)}


def _spread(values: Sequence[float | None]) -> dict[str, float | int | None]:
    found = across_seeds(values)
    return {"mean": found.mean, "deviation": found.sd, "runs": found.n}


def page(data: Mapping[str, Any]) -> str:
    """The tables as a Markdown page; of one evolution, or of several seeds."""
    models, published = data["models"], data["published"]
    seeds = data.get("seeds", ())
    ours = [(m["model"], m["measures"]) for m in models]
    named = [(name.partition(": ")[2] + f" ({name.partition(':')[0][-7:]})", figures)
             for name, figures in published.items()]  # fmt: skip
    objective = [("ours " + n, f) for n, f in ours] + [("published " + n, f) for n, f in named]
    upper = "**An upper bound**: prompts name the label of the reply to be predicted."
    parts = [
        "# Self-evolution",
        *([upper] if data["condition"] == StrategyCondition.ORACLE else []),
        *(f"**{text}.**" for text in data["seen"]),
        *(
            [f"Mean ± sample standard deviation over the seeds {', '.join(map(str, seeds))}."]
            if seeds
            else []
        ),
        "## Rounds",
        markdown_table(
            ("model", "kept", "why"),
            [(m["model"], "yes" if m["promoted"] else "rolled back", m["why"]) for m in models],
            numbers=False,
        ),
        "## Objective evaluation (form of Self-Evolution Table 2)",
        markdown_table(
            ("model", *TABLE2),
            [(name, *(_figure(_found(figures, k)) for k in TABLE2)) for name, figures in objective],
            numbers=False,
        ),
        "Published figures are of models of 7 to 8 billion parameters on ESConv's test set, counted"
        " by a convention that the paper does not state; ours by the conventions below, on the"
        " held-out conversations. Compare directions, not heights.",
        "## Iterations (form of Self-Evolution Table 6)",
        markdown_table(
            ("model", *TABLE6),
            _iterations("ours", ours) + _published_iterations(published),
            numbers=False,
        ),
        "Behind each figure: its change against the model before, in per cent.",
        "## Held-out likelihood, rewards and pairs",
        markdown_table(
            ("measure", *(name for name, _ in ours)),
            [
                (key.replace("_", " "), *(_figure(figures.get(key)) for _, figures in ours))
                for key in OURS
                if any(_mean(figures.get(key)) is not None for _, figures in ours)
            ],
            numbers=False,
        ),
        "NLL in nats a token. Reward accuracy and margin are those of the round's own held-back"
        " pairs. Relevance is the TF-IDF cosine of a reply and what the user said. Left out are"
        " held-out replies that are faulty or too long.",
    ]
    if data["conventions"]:
        known = {*TABLE2, *ALIASES.values()}
        shown = [(name, text) for name, text in data["conventions"].items() if name in known]
        parts += [
            "## Conventions",
            markdown_table(("metric", "how it is counted"), shown, numbers=False),
        ]
    return "\n\n".join([*parts, f"> {DISCLAIMER}"]) + "\n"


def _published_iterations(published: Mapping[str, Mapping[str, float]]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for backbone in BACKBONES:
        found = {
            name.rpartition(" ")[2]: figures
            for name, figures in published.items()
            if f": {backbone} M" in name
        }
        rows += _iterations(f"published {backbone}", sorted(found.items()))
    return rows


def _iterations(
    whose: str, models: Sequence[tuple[str, Mapping[str, Figure]]]
) -> list[tuple[str, ...]]:
    rows = []
    for place, (name, figures) in enumerate(models):
        before: Mapping[str, Figure] = models[place - 1][1] if place else {}
        cells = (
            f"{_figure(_found(figures, k))}{_change(_found(before, k), _found(figures, k))}"
            for k in TABLE6
        )
        rows.append((f"{whose} {name}", *cells))
    return rows


Figure = float | Mapping[str, Any] | None
"""One value, or mean and deviation of several seeds."""


def _found(figures: Mapping[str, Figure], metric: str) -> Figure:
    value = figures.get(metric)
    return figures.get(ALIASES.get(metric, metric)) if _mean(value) is None else value


def _mean(figure: Figure) -> float | None:
    return figure.get("mean") if isinstance(figure, Mapping) else figure


def _change(old: Figure, new: Figure) -> str:
    """` (+9.99 %)`, of means; empty where one of them is missing or was 0."""
    before, now = _mean(old), _mean(new)
    if before is None or now is None or before == 0:
        return ""
    return f" ({100 * (now - before) / before:+.2f} %)"


def _figure(figure: Figure) -> str:
    if (value := _mean(figure)) is None:
        return DASH
    if isinstance(figure, Mapping) and (spread := figure["deviation"]) is not None:
        return f"{value:.4g} ± {spread:.2g}"
    return f"{value:.0f}" if float(value).is_integer() and abs(value) >= 1 else f"{value:.4g}"


def write_tables(
    out: Path,
    states: Sequence[Mapping[str, Any]],
    scores: Sequence[Sequence[Mapping[str, Any]]],
) -> None:
    """Write `table.json` and `table.md`.

    Raises:
        RunError: the disk refuses.
    """
    write_data(out, tables(states, scores))


def write_data(out: Path, data: Mapping[str, Any]) -> None:
    """Write the figures of one evolution or of several seeds as `table.json` and `table.md`."""
    write_whole(out / TABLE_NAME, json.dumps(data, indent=2, ensure_ascii=False) + "\n")
    write_whole(out / PAGE_NAME, page(data))
