"""Finished folders for the tests of tables, made by the functions behind the commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from warmline import ScriptedPolicy
from warmline.environments.episodes.rating import Rating
from warmline.evaluation import evaluate

from ..corpora import write_log
from ..recorded import recorded

REPLIES = ("I hear how hard Monday was.", "You miss the ovens and the smell of bread.")


def corpus(folder: Path, count: int = 4) -> Path:
    """Recorded conversations, alike but for their names."""
    return write_log(folder, [recorded(f"talk{n}") for n in range(count)])


def evaluated(place: Path, talks: Path, *, seed: int = 0, **fields: Any) -> Path:
    """What `warmline evaluate` leaves of a policy that draws one of two replies by its seed."""
    policy = ScriptedPolicy(lambda request: REPLIES[(request.seed or 0) % 2])
    given = {"preset": "self-evolution", "resamples": 0, "seed": seed} | fields
    evaluate(talks, policy=policy, out=str(place), **given)
    return place


def rating(episode: str, dimension: str, value: float | None, **fields: Any) -> Rating:
    """One judgement of a reply."""
    usual: dict[str, Any] = {
        "utterance": 1,
        "rater": "judge-x",
        "kind": "judge",
        "rubric": "response 1 (abcdef01)",
    }
    return Rating(episode=episode, dimension=dimension, value=value, **(usual | fields))


def write_ratings(file: Path, ratings: list[Rating]) -> Path:
    """A file of ratings."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(r.to_json() + "\n" for r in ratings), "utf-8")
    return file


def checkpoint(folder: Path, kind: str, **settings: Any) -> Path:
    """A checkpoint's record, as trainers write it, without weights."""
    folder.mkdir(parents=True, exist_ok=True)
    record = {"version": 1, "kind": kind, "base": "x", "settings": settings}
    (folder / "checkpoint.json").write_text(json.dumps(record), "utf-8")
    return folder
