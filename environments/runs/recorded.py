"""The scenarios of a corpus, or of one side of it, played again: `--scenarios corpora/x:test`."""

from __future__ import annotations

import warnings
from pathlib import Path

from ...core.errors import DataError
from ..episodes.log import read_episodes
from ..episodes.sides import place_of
from ..scenarios.scenario import UNSPECIFIED, Scenario, read_scenarios


def scenarios_at(named: str | Path) -> list[Scenario]:
    """The scenarios of a JSONL file, of a corpus's folder, or of one side of a corpus.

    A dialogue without a situation or a problem type tells no scenario; those are counted in a
    warning.

    Raises:
        DataError: see `read_scenarios` and `read_episodes`; or no dialogue there tells a scenario.
    """
    place = place_of(named)
    if place.side is None and not place.path.is_dir():
        return read_scenarios(place.path)
    found: dict[str, Scenario] = {}
    untold = 0
    for episode in read_episodes(named):
        scenario = episode.scenario
        if UNSPECIFIED in (scenario.situation, scenario.problem_type):
            untold += 1
        else:
            found.setdefault(scenario.id, scenario)
    if not found:
        raise DataError("no dialogue there tells a scenario", file=named)
    if untold:
        warnings.warn(f"{named}: {untold} dialogues tell no scenario to play", stacklevel=2)
    return list(found.values())
