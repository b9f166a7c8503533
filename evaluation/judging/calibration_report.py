"""A judge against people, from files: what `warmline calibrate` does except printing."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...core.errors import ConfigError, did_you_mean
from ...environments.episodes.log import iter_episodes
from ...environments.episodes.rating import Rating
from ..replies.places import holds_replies, reply_lengths
from .calibration import Calibration, calibrate, lengths_of
from .human_preferences import PreferenceAgreement, compare_preferences
from .human_ratings import read_ratings
from .pairwise import WinRate, win_rates


@dataclass(frozen=True, slots=True)
class CalibrationReport:
    """How far a judge agrees with people.

    Attributes:
        dimensions: correlations, kappa and length bias by dimension.
        comparisons: the judge's win rates, which show its position bias.
        preferences: how often people chose as the judge did.
    """

    dimensions: list[Calibration]
    comparisons: list[WinRate]
    preferences: list[PreferenceAgreement]

    def as_dict(self) -> dict[str, Any]:
        """As plain data; the preferences are under `votes`."""
        return {
            "dimensions": [dataclasses.asdict(each) for each in self.dimensions],
            "comparisons": [dataclasses.asdict(each) for each in self.comparisons],
            "votes": [dataclasses.asdict(each) for each in self.preferences],
        }


def calibration_report(
    judged: str | Path,
    people: str | Path,
    *,
    episodes: str | Path | None = None,
    rater: str | None = None,
    rubric: str | None = None,
    holds: float | None = None,
    seed: int = 0,
) -> CalibrationReport:
    """Compare a judge's or a scorer's ratings with people's.

    Args:
        judged: the judge's ratings: a file, or a run's folder.
        people: people's ratings: JSONL or CSV, see `read_ratings`.
        episodes: the log or the replies that were judged, to find a bias by length.
        rater: only this judge.
        rubric: only this rubric: its name, or its whole id.
        holds: from which score on a dimension holds for people, where a scorer is compared.
        seed: seed of the intervals.

    Raises:
        DataError: a file that cannot be read.
        ConfigError: no ratings by such a judge, several judges, or no episode or dimension in
            common.
    """
    ratings = ratings_by_judge(read_ratings(judged), rater, rubric)
    by_people = read_ratings(people)
    _refuse_disjoint(ratings, by_people)
    lengths = None
    if episodes is not None:
        replies = holds_replies(episodes)
        lengths = reply_lengths(episodes) if replies else lengths_of(iter_episodes(episodes))
    report = CalibrationReport(
        calibrate(ratings, by_people, lengths=lengths, holds=holds, seed=seed),
        win_rates(ratings),
        compare_preferences(ratings, by_people),
    )
    if not report.dimensions and not report.comparisons:
        theirs = {r.dimension for r in by_people if r.kind == "human"}
        raise ConfigError(
            "the judge and the people have no dimension in common",
            hint=f"the judge rated: {', '.join(sorted({r.dimension for r in ratings}))};"
            f" people: {', '.join(sorted(theirs)) or 'nothing'}",
        )
    return report


def _refuse_disjoint(judged: list[Rating], people: list[Rating]) -> None:
    """Raises ConfigError if the judge and the people rated no episode in common."""
    ours = {r.episode for r in judged}
    theirs = {r.episode for r in people if r.kind == "human"}
    if theirs and not ours & theirs:
        raise ConfigError(
            "the judge and the people rated no episode in common",
            hint=f"the judge rated {_examples(ours)}; people rated {_examples(theirs)}",
        )


def _examples(names: set[str]) -> str:
    shown = ", ".join(sorted(names)[:3])
    return f"{len(names)} ({shown}{', ...' if len(names) > 3 else ''})" if names else "none"


def ratings_by_judge(
    ratings: list[Rating], rater: str | None = None, rubric: str | None = None
) -> list[Rating]:
    """The ratings that people did not give: of one judge and one rubric, where these are named.

    Raises:
        ConfigError: none is left.
    """
    judged = [r for r in ratings if r.kind != "human"]
    found = [
        r
        for r in judged
        if rater in (None, r.rater) and rubric in (None, r.rubric, r.rubric.partition(" ")[0])
    ]
    if not found:
        raters, rubrics = sorted({r.rater for r in judged}), sorted({r.rubric for r in judged})
        raise ConfigError(
            "no rating by a judge is left" if judged else "there is no rating by a judge",
            problems=[f"raters: {', '.join(raters)}", f"rubrics: {', '.join(rubrics)}"]
            if judged
            else (),
            hint=did_you_mean(rater or rubric or "", [*raters, *rubrics]),
        )
    return found
