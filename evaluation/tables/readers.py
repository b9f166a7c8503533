"""What other commands left in their folders, as readings: replies, abilities, corpora, pairs.

Nothing is measured here that the folders do not hold; a folder that is not there, or is not
finished, is absent with its reason.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...agents.conditions import StrategyCondition
from ...core.claim import CONFIG_NAME
from ...core.errors import DataError
from ...core.files import read_json, read_toml
from ...environments.corpus.seen import Overlap
from ..analyses.analyse_files import ANALYSIS_NAME
from ..analyses.replies import analyse_replies
from ..harness.run import AVERAGE, HARNESS_NAME
from ..replies.places import last_replies
from ..replies.reply import REPLIES_NAME, SCORES_NAME, EvaluatedReply, Setting
from .reading import Absent, Reading

ALIASES = {"meteor": "meteor-exact-stem"}
"""What stands in a column where its own metric was not counted, with its convention said."""
SAMPLING = ("temperature", "top_p", "top_k", "repetition_penalty", "max_tokens")
SUMMARY_NAME = "summary.json"
OPENINGS = 5


def read_evaluation(place: Path, setting: str) -> Reading | Absent:
    """One context of a folder of `warmline evaluate`.

    Args:
        setting: reference or generated.

    Raises:
        DataError: a file that cannot be read.
    """
    if (gone := missing(place, SCORES_NAME, unfinished=REPLIES_NAME)) is not None:
        return gone
    results = read_json(place / SCORES_NAME)
    found = next((r for r in results if r["setting"] == setting), None)
    if found is None:
        there = ", ".join(r["setting"] for r in results)
        return Absent(f"{place} was evaluated in {there} context, not in {setting} context")
    scores = {score["metric"]: score for score in found["scores"]}
    for name, other in ALIASES.items():
        if name not in scores and other in scores:
            scores[name] = scores[other]
    replies = [r for r in last_replies(place) if r.setting is Setting(setting)]
    return Reading(
        values={name: score["value"] for name, score in scores.items()},
        reasons={n: "undefined for these replies" for n, s in scores.items() if s["value"] is None},
        undefined=_undefined(found),
        conventions={name: score["convention"] for name, score in scores.items()},
        facts=_evaluation_facts(place, found),
        measured=_measured(found),
        flags=(*_flags(found), *_limited(place)),
        contexts=digest(f"{r.episode}#{r.turn}\n{r.reference}" for r in replies),
        model=_config(place).get("model"),
    )


def missing(place: Path, name: str, *, unfinished: str = "") -> Absent | None:
    """Why a place does not hold a file; None if it does."""
    if (place / name).is_file():
        return None
    if not place.exists():
        return Absent(f"{place} is not there")
    if unfinished and (place / unfinished).exists():
        return Absent(f"{place} is not finished")
    return Absent(f"{place} holds no {name}")


def digest(items: Iterable[str]) -> str | None:
    """Of a set of places, whatever their order; None of none."""
    each = sorted(
        hashlib.sha256(item.encode("utf-8", "surrogatepass")).hexdigest() for item in items
    )
    return hashlib.sha256("".join(each).encode()).hexdigest() if each else None


def _config(place: Path) -> dict[str, Any]:
    file = place / CONFIG_NAME
    return read_toml(file) if file.is_file() else {}


def _evaluation_facts(place: Path, result: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that decide the replies and their scores, as they were recorded.

    `config.toml` leaves out what is as the command's default.
    """
    config = _config(place)
    identity = config.get("identity", {})
    supporter, counselor = identity.get("supporter", {}), identity.get("counselor", "none")
    facts: dict[str, Any] = {"preset": result["preset"]}
    if result.get("condition") is not None:
        facts["strategy"] = str(result["condition"])
    if identity:
        drawn = supporter.get("sampling", {})
        facts |= {name: drawn.get(name) for name in SAMPLING}
        facts |= {n: identity[n] for n in ("history_window", "max_sentences") if n in identity}
        facts["counselor"] = counselor if isinstance(counselor, str) else counselor.get("policy")
        facts["template"] = config.get("template")
        facts["definitions"] = config.get("definitions", False)
    return facts


def _undefined(result: Mapping[str, Any]) -> dict[str, str]:
    """What a strategy condition leaves without a meaning."""
    condition = result.get("condition")
    if condition == StrategyCondition.SELF:
        return {
            "perplexity": "under self: recorded replies do not begin with a choice of the model",
            "strategy-accuracy": "no reply begins with a strategy",
        }
    if condition in (StrategyCondition.HIDDEN, StrategyCondition.LISTED):
        return {"strategy-accuracy": f"under {condition} nobody chooses a strategy"}
    if condition == StrategyCondition.ORACLE:
        return {"strategy-accuracy": "under oracle the label is given"}
    return {}


def _limited(place: Path) -> Iterable[str]:
    limit = _config(place).get("limit")
    if limit is not None:
        yield f"only the first {limit} conversations"


def _measured(result: Mapping[str, Any]) -> str:
    parts = [result["corpus"]] if result.get("corpus") else []
    if result.get("dialogues") is not None:
        parts.append(f"{result['dialogues']} dialogues")
    failed = f" ({result['failed']} failed)" if result.get("failed") else ""
    return ", ".join([*parts, f"{result['replies']} replies{failed}"])


def _flags(result: Mapping[str, Any]) -> Iterable[str]:
    if result.get("condition") == StrategyCondition.ORACLE:
        yield "AN UPPER BOUND: prompts named the reply's own label"
    flags = (Overlap(**each).flag(role) for role, each in result.get("seen", {}).items())
    yield from filter(None, flags)
    if result.get("unlike"):
        yield str(result["unlike"])


# How replies begin


def read_openings(place: Path, setting: str) -> Reading | Absent:
    """The most frequent first words of an evaluation's replies (Self-Evolution Fig. 6).

    Raises:
        DataError: a file that cannot be read.
    """
    if (gone := missing(place, REPLIES_NAME)) is not None:
        return gone
    named = "x" if setting == Setting.REFERENCE else "x, generated"
    found = {each.name: each for each in analyse_replies([("x", place)])}
    if named not in found:
        return Absent(f"{place} has no reply in {setting} context")
    own = found[named]
    phrases = list(own.openings.phrases.items())[:OPENINGS]
    distinct = own.distinct_openings
    return Reading(
        values={
            "different, %": None if distinct is None else 100 * distinct,
            "words": own.words.mean,
            **{str(n): 100 * share for n, (_, share) in enumerate(phrases, 1)},
        },
        texts={str(n): f"{text} ({100 * x:.1f})" for n, (text, x) in enumerate(phrases, 1)},
        measured=f"{own.replies} replies"
        + (f", {own.missing} without a text" if own.missing else ""),
        contexts=digest(f"{r.episode}#{r.turn}" for r in _replies(place, setting)),
    )


def _replies(place: Path, setting: str) -> list[EvaluatedReply]:
    return [r for r in last_replies(place) if r.setting is Setting(setting)]


# General ability


def read_ability(place: Path) -> Reading | Absent:
    """A folder of `warmline harness`.

    Raises:
        DataError: a file that cannot be read.
    """
    if (gone := missing(place, HARNESS_NAME)) is not None:
        return gone
    record = read_json(place / HARNESS_NAME)
    values = {score["task"]: score["value"] for score in record["scores"]}
    average = record.get(AVERAGE)
    reasons = {AVERAGE: "not all five tasks have a score"} if average is None else {}
    limit = record["settings"].get("limit")
    return Reading(
        values=values | {AVERAGE: average},
        reasons=reasons,
        conventions={s["task"]: s["metric"] for s in record["scores"]},
        facts={"limit": limit, "chat": record["settings"].get("chat")},
        measured=f"lm-eval {record['lm_eval']}",
        flags=(f"only {limit} samples a task",) if limit else (),
        model=record.get("model"),
    )


# Corpora


def read_corpus_analysis(place: Path, columns: Iterable[str]) -> Reading | Absent:
    """One corpus of a folder of `warmline analyze`.

    Args:
        columns: names that it may have there; a single corpus needs none.

    Raises:
        DataError: a file that cannot be read.
    """
    if (gone := missing(place, ANALYSIS_NAME)) is not None:
        return gone
    record = read_json(place / ANALYSIS_NAME)
    there = {each["name"].casefold(): each for each in record["corpora"]}
    wanted = [name.casefold() for name in columns if name]
    found = next((there[name] for name in wanted if name in there), None)
    if found is None:
        names = ", ".join(each["name"] for each in record["corpora"])
        return Absent(f"{place} has no column {' or '.join(columns)}, but {names}")
    diversity = found["diversity"]
    return Reading(
        values=_corpus_values(found),
        conventions={f"distinct-{n}": f"tokens: {record['tokenizer']}" for n in (1, 2, 3)},
        facts={"dialogues_of_distinct": diversity["dialogues"], "tokenizer": record["tokenizer"]},
        measured=f"{found['dialogues']} dialogues",
    )


def _corpus_values(found: Mapping[str, Any]) -> dict[str, float | None]:
    """Every figure of a corpus by the name that the papers' tables have for it."""
    dialogues = found["dialogues"]
    values: dict[str, float | None] = {
        "dialogues": dialogues,
        "utterances": found["utterances"],
        "utterances a dialogue": found["utterances_each"]["mean"],
        "words an utterance": found["words_mean"],
    }
    for role in ("seeker", "supporter"):
        words = found[f"{role}_words"]
        values[f"{role} utterances"] = words["n"]
        values[f"{role} utterances a dialogue"] = words["n"] / dialogues if dialogues else None
        values[f"words a {role} utterance"] = words["mean"]
    values |= {k: _per_cent(v) for k, v in found["strategy_shares"].items()}
    values |= {f"distinct-{n}": v for n, v in found["diversity"]["distinct"].items()}
    values["similarity"] = found["similarity"]["mean"]
    values["inside a type"] = found["similarity_in_type"]["mean"]
    values |= {f"similarity, {k}": v["mean"] for k, v in found["similarity_by_strategy"].items()}
    values |= {"own scenario": found["adherence"]["own"], "others": found["adherence"]["other"]}
    for number, part in enumerate(found["progress"], 1):
        values |= {f"{k}, {number}/6": _per_cent(v) for k, v in part.items()}
    distinct = {int(k): v for k, v in found["distinct_strategies"].items()}
    values |= {f"{k} strategies": _per_cent(distinct.get(k, 0.0)) for k in range(1, 9)}
    values["more than five"] = _per_cent(sum(v for k, v in distinct.items() if k > 5))
    return values


def _per_cent(value: float | None) -> float | None:
    return None if value is None else 100 * value


# Preference pairs

SPREAD = ("p10", "p25", "median", "p75", "p90")


def read_relevance(place: Path) -> Reading | Absent:
    """The summary of a folder of preference pairs (Self-Evolution Fig. 5a and 5b).

    Raises:
        DataError: a file that cannot be read.
    """
    if (gone := missing(place, SUMMARY_NAME)) is not None:
        return gone
    summary = read_json(place / SUMMARY_NAME)
    if not isinstance(summary, dict) or "relevance" not in summary:
        raise DataError("not a summary of preference pairs", file=place / SUMMARY_NAME)
    found = summary["relevance"]
    values: dict[str, float | None] = {"pairs": summary["pairs"]}
    for side in ("chosen", "rejected"):
        values[side] = found.get(side)
    values["chosen higher, %"] = _per_cent(found.get("chosen_higher"))
    texts = {}
    for side, spread in found.get("distributions", {}).items():
        values |= {f"{side} {name}": spread[name] for name in ("mean", *SPREAD)}
        texts[f"{side} by tenths, %"] = _tenths(spread["histogram"])
    before = "made before distributions were kept; the same command in a new folder keeps them"
    return Reading(
        values=values,
        texts=texts,
        reasons={} if texts else {"*": before if summary["pairs"] else "there is no pair"},
        conventions=dict.fromkeys(("chosen", "rejected", "alike mean"), str(found.get("measure"))),
        measured=f"{summary['pairs']} pairs of {summary['contexts']} contexts",
    )


def _tenths(histogram: Sequence[float]) -> str:
    """Twenty shares as ten whole per cents, from cosine 0 to 1."""
    pairs = zip(histogram[::2], histogram[1::2], strict=True)
    return " ".join(f"{100 * (low + high):.0f}" for low, high in pairs)
