"""What raters left, as readings: helpful rates, scores, agreement with people, wins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import pvariance
from typing import Any

from ...core.claim import CONFIG_NAME
from ...core.errors import ConfigError
from ...core.files import read_json, read_toml
from ...core.jsonl import complete_objects
from ...environments.episodes.log import iter_episodes
from ...environments.episodes.rating import RATINGS_NAME, Rating, iter_ratings
from ..judging.asking import shown_first
from ..judging.calibration import calibrate, lengths_of
from ..judging.helpful import ALL, DIMENSIONS
from ..judging.human_ratings import read_ratings
from ..judging.judge_run import mean_scores
from ..judging.pairwise import pair_verdicts, win_rates
from ..judging.rubric import rubric_id
from ..replies.places import holds_replies, reply_lengths
from ..statistics.length_control import length_controlled
from .readers import digest, missing
from .reading import Absent, Reading

HELPFUL_NAME = "helpful.json"
CHECKPOINT_NAME = "checkpoint.json"
CANDIDATES = "candidates"
PEOPLE, OVERALL = "people", "overall"
TOO_FEW = "too few conversations for an interval"
TASK = ("source", "num_beams", "num_groups", "diversity_penalty", "max_new_tokens")


def read_helpful(place: Path, form: str) -> Reading | Absent:
    """Helpful rates of a folder of `warmline candidates` or `train fpemf` (FPEMF Table 4).

    Args:
        form: `single`, the first candidate of each context, or `beams`, all of them.

    Raises:
        DataError: a file that cannot be read.
    """
    if (gone := missing(place, HELPFUL_NAME, unfinished=CANDIDATES)) is not None:
        return gone
    record = read_json(place / HELPFUL_NAME)
    shares = record[form]
    folder = place / CANDIDATES
    lineage, rater = _lineage(folder), _rater(folder / RATINGS_NAME)
    counts = {share["counted"] + share["missing"] for share in shares.values()}
    lost = max((share["missing"] for share in shares.values()), default=0)
    made = (place / CHECKPOINT_NAME).is_file()
    return Reading(
        values={n: None if s["value"] is None else 100 * s["value"] for n, s in shares.items()},
        reasons={
            n: "no candidate was judged on it" for n, s in shares.items() if s["value"] is None
        },
        facts=_search(lineage) | ({"judge": rater} if rater else {}),
        measured=f"{max(counts, default=0)} replies, judged by {rater or 'a rater that is not recorded'}"
        + (f"; of up to {lost} no judgement" if lost else ""),
        flags=tuple(_helpful_flags(shares, made=made, seen=record.get("seen"))),
        contexts=_contexts(folder),
        model=lineage.get("model"),
    )


def _helpful_flags(shares: Mapping[str, Any], *, made: bool, seen: Any) -> Iterable[str]:
    judged = [name for name in shares if name != ALL]
    if judged and set(judged) != set(DIMENSIONS):
        yield f"helpful is what holds on {' and '.join(judged)} alone"
    if made:
        yield "the candidates are of the model before this training"
    if seen:
        yield str(seen)


def _lineage(folder: Path) -> dict[str, Any]:
    file = folder / CONFIG_NAME
    found = read_toml(file).get("identity", {}).get("lineage", {}) if file.is_file() else {}
    return dict(found)


def _search(lineage: Mapping[str, Any]) -> dict[str, Any]:
    known = {**lineage.get("settings", {}), "source": lineage.get("source")}
    return {name: known[name] for name in TASK if known.get(name) is not None}


def _rater(file: Path) -> str | None:
    first = next(iter(iter_ratings(file)), None) if file.is_file() else None
    return None if first is None else first.rater


def _contexts(folder: Path) -> str | None:
    file = folder / "candidates.jsonl"
    if not file.is_file():
        return None
    return digest(f"{row.get('id')}\n{row.get('gold')}" for _, row in complete_objects(file))


# Scores


def read_scores(place: Path) -> Reading | Absent:
    """Means of one judge, or of people, by dimension (Self-Evolution Table 7, SweetieChat Table 5).

    Raises:
        DataError: a file that cannot be read.
        ConfigError: ratings of several judges or rubrics, which no mean can mix.
    """
    if not place.exists():
        return Absent(f"{place} is not there")
    ratings = [r for r in read_ratings(place) if shown_first(r) is None]
    if not ratings:
        return Absent(f"{place} holds no rating of single texts")
    _one_judge(place, ratings)
    scores = mean_scores(ratings)
    subjects = {(r.episode, r.utterance, r.candidate) for r in ratings}
    return Reading(
        values={score.dimension: score.mean for score in scores},
        reasons={s.dimension: "no readable verdict" for s in scores if s.mean is None},
        facts=_judge_facts(ratings, len(subjects)),
        measured=f"{len(subjects)} subjects, by {_raters(ratings)}{_unreadable(ratings)}",
        contexts=digest(f"{e}#{u}#{c}" for e, u, c in subjects),
    )


def read_variance(place: Path) -> Reading | Absent:
    """Variance of the scores, of the population, by dimension (SweetieChat Table 5).

    Raises:
        DataError, ConfigError: see `read_scores`.
    """
    found = read_scores(place)
    if isinstance(found, Absent):
        return found
    values: dict[str, list[float]] = {}
    for rating in read_ratings(place):
        if shown_first(rating) is None and rating.value is not None:
            values.setdefault(rating.dimension, []).append(rating.value)
    return Reading(
        values={name: pvariance(each) for name, each in values.items()},
        facts=found.facts,
        measured=found.measured,
        contexts=found.contexts,
    )


def _one_judge(place: Path, ratings: Sequence[Rating]) -> None:
    """Refuse ratings that are not of one judge and rubric; people may be several."""
    judged = {(r.rater, rubric_id(r.rubric)) for r in ratings if r.kind != "human"}
    kinds = {r.kind == "human" for r in ratings}
    if len(judged) > 1 or len(kinds) > 1:
        raise ConfigError(
            f"{place} holds ratings of several: "
            + "; ".join(f"{who} with {what or 'no rubric'}" for who, what in sorted(judged)[:4])
            + ("; people" if True in kinds else ""),
            hint="give each judge and rubric a file of its own (judge --out FILE)",
        )


def _judge_facts(ratings: Sequence[Rating], subjects: int) -> dict[str, Any]:
    names = {rubric_id(r.rubric).partition(" ")[0] for r in ratings}
    return {
        "judge": _raters(ratings),
        "rubric": next(iter(names)) if len(names) == 1 else None,
        "contexts": subjects,
    }


def _raters(ratings: Sequence[Rating]) -> str:
    people = {r.rater for r in ratings if r.kind == "human"}
    if people == {PEOPLE}:
        return "people"
    if people:
        return f"{len(people)} people" if len(people) > 1 else "a person"
    return next(iter({r.rater for r in ratings}))


def _unreadable(ratings: Sequence[Rating]) -> str:
    lost = sum(r.value is None for r in ratings)
    return f"; {lost} verdicts unreadable" if lost else ""


# Agreement with people


def read_agreement(place: Path, people: Sequence[str]) -> Reading | Absent:
    """Pearson correlation of a judge or scorer with people, per cent (Self-Evolution Table 7).

    Args:
        people: files of people's ratings.

    Raises:
        DataError, ConfigError: a file that cannot be read, or ratings of several judges.
    """
    if not place.exists():
        return Absent(f"{place} is not there")
    gone = [file for file in people if not Path(file).exists()]
    if gone or not people:
        named = f"{gone[0]} is not there" if gone else "no people's ratings are named"
        return Absent(f"people's ratings: {named}", people=True)
    judged = [r for r in read_ratings(place) if r.kind != "human"]
    theirs = [r for file in people for r in read_ratings(file) if r.kind == "human"]
    found = calibrate(judged, theirs)
    values: dict[str, float | None] = {}
    for each in found:
        for name, figure in (
            ("", each.pearson),
            (", rank", each.spearman),
            (", kappa", each.kappa),
        ):
            values[each.dimension + name] = None if figure.value is None else 100 * figure.value
    both = Counter({each.dimension: each.n for each in found})
    return Reading(
        values=values,
        reasons={
            n: "one of them gave every subject the same" for n, v in values.items() if v is None
        },
        facts=_judge_facts(judged, max(both.values(), default=0)) if judged else {},
        measured=f"{max(both.values(), default=0)} subjects rated by both, {_raters(theirs)}"
        if theirs
        else "no ratings of people",
        flags=tuple(f"{each.dimension}: {told}" for each in found for told in each.advice),
    )


# Wins


def read_wins(place: Path) -> Reading | Absent:
    """Win rates of a file of comparisons, by dimension; a cell shows wins, ties and losses.

    Raises:
        DataError, ConfigError: a file that cannot be read, or comparisons of several.
    """
    if not place.exists():
        return Absent(f"{place} is not there")
    compared = comparisons_of(read_ratings(place))
    if not compared:
        return Absent(f"{place} holds no comparison")
    rates = win_rates(compared)
    bias = [each.dimension for each in rates if each.position_bias]
    pairs = max(each.n for each in rates)
    return Reading(
        values={r.dimension: None if r.rate is None else 100 * r.rate for r in rates},
        texts={
            r.dimension: " / ".join(f"{100 * n / r.n:.0f}" for n in (r.wins, r.ties, r.losses))
            for r in rates
            if r.n
        },
        reasons={r.dimension: "no readable verdict" for r in rates if r.rate is None},
        facts=_judge_facts(compared, pairs),
        measured=f"{pairs} pairs, by {_raters(compared)}: {compared[0].candidate or 'A against B'}",
        flags=(f"position bias on {', '.join(bias)}",) if bias else (),
    )


def comparisons_of(ratings: Iterable[Rating]) -> list[Rating]:
    """The comparisons among ratings; each person's choice counts as one sample of one rater."""
    found: list[Rating] = []
    votes: Counter[tuple[str, int | None, str]] = Counter()
    for rating in ratings:
        counted = rating
        if rating.kind == "human":
            place = (rating.episode, rating.utterance, rating.dimension)
            counted = rating.model_copy(update={"rater": PEOPLE, "sample": votes[place]})
            votes[place] += 1
        if shown_first(rating) is not None:
            found.append(counted)
    return found


def read_lengths(place: Path, ours: str, against: str) -> Reading | Absent:
    """A win rate at equal length, beside the plain one, on the dimension `overall` if it is there.

    Args:
        place: file of comparisons.
        ours, against: what was compared, for the lengths: evaluations or runs.

    Raises:
        DataError, ConfigError: a file that cannot be read, or comparisons of several.
    """
    for each in (place, Path(ours), Path(against)):
        if not str(each) or not each.exists():
            return Absent(f"{each} is not there")
    compared = comparisons_of(read_ratings(place))
    if not compared:
        return Absent(f"{place} holds no comparison")
    names = {r.dimension for r in compared}
    name = OVERALL if OVERALL in names else compared[0].dimension
    own = [r for r in compared if r.dimension == name]
    verdicts = {k: v for k, v in pair_verdicts(own).items() if v is not None}
    one, other = _lengths(ours), _lengths(against)
    known = [k for k in verdicts if k[:2] in one and k[:2] in other]
    found = length_controlled(
        [(verdicts[k] + 1) / 2 for k in known],
        [one[k[:2]] - other[k[:2]] for k in known],
        groups=[k[0] for k in known],
    )
    lost = len(verdicts) - len(known)
    return Reading(
        values={
            "win rate": _percent(found.plain),
            "at equal length": _percent(found.rate),
            "low": _percent(found.low),
            "high": _percent(found.high),
            "words longer": found.longer,
            "of length": found.slope,
        },
        reasons=dict.fromkeys(("low", "high"), TOO_FEW) | _undecided(found.rate),
        facts=_judge_facts(own, len(known)),
        measured=f"{len(known)} pairs on {name}, by {_raters(own)}"
        + (f"; {lost} pairs without a length" if lost else ""),
    )


def _undecided(rate: float | None) -> dict[str, str]:
    told = "length alone decides every pair"
    return {} if rate is not None else dict.fromkeys(("at equal length", "low", "high"), told)


def _lengths(path: str) -> dict[tuple[str, int | None], float]:
    found = reply_lengths(path) if holds_replies(path) else lengths_of(iter_episodes(path))
    return {(episode, place): words for (episode, place, name), words in found.items() if not name}


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value
