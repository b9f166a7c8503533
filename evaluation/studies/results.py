"""What comes out of a study: ratings, talks, preference pairs and raters as files, and the numbers.

Only finished tasks count: not those that were left, timed out or discarded. Talks and choices enter
preference pairs only of who agreed to that use.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from ...agents.roles import Role
from ...core.files import write_whole
from ...core.record import Record
from ...environments.episodes.episode import Episode, StopReason
from ...environments.episodes.log import LOG_NAME
from ...environments.episodes.rating import RATINGS_NAME, Rating
from .database import StudyDatabase
from .exchange import ended
from .items import rubric_of
from .participants import Participants
from .quality import Quality
from .settings import StudySettings
from .tasks import Tasks

PREFERENCES_NAME = "preferences.jsonl"
RATERS_NAME = "raters.jsonl"


class Written(Record):
    """What was written, and what was not.

    Attributes:
        ratings, episodes, preferences: numbers of records.
        not_counted: tasks by status that are in none of them.
        not_shared: choices that no preference pair was made of: not agreed to, or a tie.
    """

    ratings: int
    episodes: int
    preferences: int
    not_counted: dict[str, int]
    not_shared: dict[str, int]


class Choice(Record):
    """One choice between two, as the numbers need it.

    Attributes:
        unit: what is independent: the talk, or the item.
        item: what several people compared; a talk's turn is compared by one.
        a, b: names of what was compared.
        value: 1 for a, -1 for b, 0 for a tie.
        length: words of a's text less words of b's.
    """

    dimension: str
    unit: str
    item: str
    rater: str
    a: str
    b: str
    value: float
    first: str
    length: float


def write_results(study: StudyDatabase, settings: StudySettings) -> Written:
    """Write ratings, episodes, preference pairs and the raters' reports into the study's folder, anew.

    Raises:
        RunError: the disk refuses.
    """
    folder = settings.folder
    ratings = list(ratings_of(study, settings))
    episodes = list(episodes_of(study, settings))
    told: Counter[str] = Counter()
    pairs = list(preferences_of(study, settings, told))
    write_whole(folder / RATINGS_NAME, "".join(each.to_json() + "\n" for each in ratings))
    if settings.live:
        lines = "".join(each.to_json() + "\n" for each in episodes)
        write_whole(folder / LOG_NAME, lines, holds_episodes=True)
    if settings.kind == "pairwise":
        lines = "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in pairs)
        write_whole(folder / PREFERENCES_NAME, lines)
    raters = Quality(study, settings, Tasks(study, settings)).report(Participants(study))
    lines = "".join(each.model_dump_json() + "\n" for each in raters)
    write_whole(folder / RATERS_NAME, lines)
    statuses = study.rows(
        "SELECT status, COUNT(*) AS n FROM tasks WHERE status != 'done' GROUP BY status"
    )
    return Written(
        ratings=len(ratings),
        episodes=len(episodes),
        preferences=len(pairs),
        not_counted={row["status"]: row["n"] for row in statuses},
        not_shared=dict(told),
    )


_ANSWERS = (
    "SELECT a.*, t.item, t.gold, t.assigned, p.name, p.share, i.payload FROM answers a"
    " JOIN tasks t ON t.id = a.task JOIN participants p ON p.id = t.participant"
    " JOIN items i ON i.id = t.item WHERE t.status = 'done' ORDER BY a.number"
)


def ratings_of(study: StudyDatabase, settings: StudySettings) -> Iterator[Rating]:
    """Every counted answer as a rating of kind `human`, with the rubric's id that judges use."""
    rubric = rubric_of(settings)
    for row in study.rows(_ANSWERS):
        payload = json.loads(row["payload"])
        notes: dict[str, Any] = {"task": row["task"], "item": row["item"]}
        if row["first"]:
            notes["first"] = row["first"]
        if row["gold"]:
            notes["gold"] = True
        if models := payload.get("models"):
            notes["models"] = models
        if ticked := json.loads(row["notes"]).get("tags"):
            notes["tags"] = ticked
        yield Rating(
            episode=row["task"] if settings.live else payload["episode"],
            utterance=2 * row["turn"] + 1 if row["turn"] >= 0 else payload.get("utterance"),
            candidate=_candidate(settings, payload) if row["first"] else "",
            rater=row["name"],
            kind="human",
            dimension=row["dimension"],
            value=row["value"],
            explanation=row["explanation"],
            rubric=rubric.id_of(row["dimension"]) if rubric else "",
            notes=notes,
        )


def _candidate(settings: StudySettings, payload: dict[str, Any]) -> str:
    names = payload["models"] if settings.live else payload["names"]
    return " against ".join(names)


def episodes_of(study: StudyDatabase, settings: StudySettings) -> Iterator[Episode]:
    """The counted talks as episodes, with the study's own notes under `annotations.study`."""
    if not settings.live:
        return
    rows = study.rows(
        "SELECT k.*, t.item, p.name, p.share, i.payload FROM talks k JOIN tasks t ON t.id = k.task"
        " JOIN participants p ON p.id = t.participant JOIN items i ON i.id = t.item"
        " WHERE t.status = 'done' ORDER BY t.done"
    )
    for row in rows:
        votes = study.rows("SELECT * FROM answers WHERE task = ? AND turn >= 0", row["task"])
        comparisons: dict[int, dict[str, Any]] = {}
        for vote in votes:
            found = comparisons.setdefault(
                vote["turn"], {"turn": vote["turn"], "first": vote["first"], "values": {}}
            )
            found["values"][vote["dimension"]] = vote["value"]
            found |= json.loads(vote["notes"])
        notes = {
            "kind": settings.kind,
            "models": json.loads(row["payload"])["models"],
            "rater": row["name"],
            "share": bool(row["share"]),
            "failures": row["failures"],
        }
        if comparisons:
            notes["comparisons"] = list(comparisons.values())
        stop = StopReason(row["closed"] or StopReason.LEFT.value)
        yield ended(Episode.model_validate_json(row["episode"]), stop, notes)


def preferences_of(
    study: StudyDatabase, settings: StudySettings, told: Counter[str] | None = None
) -> Iterator[dict[str, Any]]:
    """Choices as preference pairs, one line each as `warmline train dpo --pairs` and TRL read them.

    The prompt is what the chosen reply's model was asked. Where several dimensions were asked the
    first decides, as it did in the talk.

    Args:
        told: counts what no row was made of.
    """
    counts = Counter() if told is None else told
    if settings.kind != "pairwise":
        return
    deciding = None
    for episode in episodes_of(study, settings):
        notes = (episode.annotations or {})["study"]
        for vote in notes.get("comparisons", ()):
            deciding = next(iter(vote["values"].values()))
            if not notes["share"]:
                counts["not agreed to"] += 1
                continue
            if not deciding:
                counts["tie"] += 1
                continue
            said = episode.utterances[2 * vote["turn"] + 1]
            if said.call is None or said.role is not Role.SUPPORTER:
                counts["no call"] += 1
                continue
            asked = episode.call_messages(episode.calls[said.call])
            chosen, rejected = vote["chosen"], "B" if vote["chosen"] == "A" else "A"
            yield {
                "version": 1,
                "id": f"{episode.id}#{vote['turn']}",
                "group": episode.id,
                "prompt": [{"role": m.role, "content": m.content} for m in asked],
                "chosen": [{"role": "assistant", "content": vote["texts"][chosen]}],
                "rejected": [{"role": "assistant", "content": vote["texts"][rejected]}],
                "origin": "person",
            }


def ticked_of(study: StudyDatabase, settings: StudySettings) -> dict[str, list[tuple[str, ...]]]:
    """The tags that were ticked, one entry a finished task, by model (or `dialogues`); gold left out."""
    found: dict[str, dict[str, tuple[str, ...]]] = defaultdict(dict)
    for row in study.rows(_ANSWERS):
        if row["first"] or row["gold"]:
            continue
        found[_subject(settings, row)][row["task"]] = tuple(
            json.loads(row["notes"]).get("tags", ())
        )
    return {name: list(tasks.values()) for name, tasks in found.items()}


def choices_of(study: StudyDatabase, settings: StudySettings) -> list[Choice]:
    """The counted choices between two, gold items left out."""
    found = []
    for row in study.rows(_ANSWERS):
        if not row["first"] or row["gold"] or row["value"] is None:
            continue
        payload, notes = json.loads(row["payload"]), json.loads(row["notes"])
        names = payload["models"] if settings.live else payload["names"]
        texts = [notes["texts"][s] for s in "AB"] if settings.live else payload["texts"]
        words = [len(text.split()) for text in texts]
        found.append(
            Choice(
                dimension=row["dimension"],
                unit=row["task"] if settings.live else row["item"],
                item=f"{row['task']}#{row['turn']}" if settings.live else row["item"],
                rater=row["name"],
                a=names[0],
                b=names[1],
                value=row["value"],
                first=row["first"],
                length=float(words[0] - words[1]),
            )
        )
    return found


def scores_of(
    study: StudyDatabase, settings: StudySettings
) -> dict[str, dict[str, list[tuple[str, str, float]]]]:
    """Values by model (or item), then dimension: unit, rater and value; gold items left out."""
    found: dict[str, dict[str, list[tuple[str, str, float]]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for row in study.rows(_ANSWERS):
        if row["first"] or row["gold"] or row["value"] is None:
            continue
        name = _subject(settings, row)
        unit = row["task"] if settings.live else row["item"]
        found[name][row["dimension"]].append((unit, row["name"], row["value"]))
    return {name: dict(each) for name, each in found.items()}


def _subject(settings: StudySettings, row: Any) -> str:
    return ", ".join(json.loads(row["payload"])["models"]) if settings.live else "dialogues"
