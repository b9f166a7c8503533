"""What a study's participants work on: models to talk with, pairs of texts, dialogues."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from typing import Any

from ...core.errors import ConfigError, did_you_mean
from ...environments.episodes.log import latest_episodes, read_episodes
from ...environments.runs.recorded import scenarios_at
from ..judging.pairwise import episode_pairs
from ..judging.rubric import Dimension, Rubric, load_rubric
from ..replies.places import PlacedReply, holds_replies, place_replies
from ..replies.reply import Setting
from .reviews import tags_of_dialogue
from .settings import OVERALL, StudySettings
from .tasks import Item


def rubric_of(settings: StudySettings) -> Rubric | None:
    """The study's rubric; None where it has none.

    Raises:
        DataError: it cannot be read.
    """
    return load_rubric(settings.rubric_name) if settings.rubric_name else None


def dimensions_of(settings: StudySettings) -> tuple[Dimension, ...]:
    """What is asked, in order; of a comparison without a rubric one question.

    Raises:
        DataError: an unknown dimension.
    """
    rubric = rubric_of(settings)
    if rubric is not None:
        return rubric.only(settings.dimensions)
    if settings.kind in ("pairwise", "pairs"):
        question = "Which reply is better, all in all?"
        return (Dimension(name=OVERALL, question=question, levels=("worse", "better")),)
    return ()


def items_of(settings: StudySettings) -> list[Item]:
    """All items of a study.

    Raises:
        DataError: files that cannot be read.
        ConfigError: there is none, or a gold item is not among them.
    """
    makers = {"pairs": _pairs, "dialogues": _dialogues}
    found = list(_live(settings) if settings.live else makers[settings.kind](settings))
    if not found:
        raise ConfigError("the study has no items", hint="check its 'items' and 'scenarios'")
    known = {item.id for item in found}
    gold = {each.item for each in settings.gold}
    asked = {dimension.name for dimension in dimensions_of(settings)}
    problems = [
        f"gold item '{name}' is not among the study's {len(known)} items"
        + (f"; {hint}" if (hint := did_you_mean(name, known)) else "")
        for name in sorted(gold - known)
    ] + [
        f"gold of '{each.item}': '{each.dimension}' is not asked; asked: {', '.join(sorted(asked))}"
        for each in settings.gold
        if each.dimension not in asked
    ]
    if problems:
        raise ConfigError("the study's gold items do not fit", problems=problems)
    return [Item(each.id, each.payload, gold=each.id in gold) for each in found]


def _live(settings: StudySettings) -> Iterator[Item]:
    names = sorted(settings.models)
    groups: Iterable[Sequence[str]] = [(name,) for name in names]
    if settings.kind == "pairwise":
        groups = list(combinations(names, 2))
    scenarios: Sequence[Any] = (None,)
    if settings.scenarios:
        scenarios = list(scenarios_at(settings.scenarios))
    for scenario in scenarios:
        for group in groups:
            name = " against ".join(group)
            payload: dict[str, Any] = {"models": list(group)}
            if scenario is not None:
                name = f"{name}, {scenario.id}"
                payload["scenario"] = scenario.model_dump(mode="json")
            yield Item(name, payload)


def _pairs(settings: StudySettings) -> Iterator[Item]:
    a, b = settings.items
    names = (_heading(a, b), _heading(b, a))
    if holds_replies(a) != holds_replies(b):
        raise ConfigError(
            f"{a} and {b} are not of one kind",
            hint="give two runs over the same scenarios, or two evaluations of the same corpus",
        )
    if not holds_replies(a):
        logs = [read_episodes(path) for path in (a, b)]
        for pair in episode_pairs(*logs):
            yield Item(
                pair.episode,
                {"episode": pair.episode, "utterance": None, "history": [], "texts": [pair.a, pair.b],
                 "names": names},
            )  # fmt: skip
        return
    ours, theirs = (place_replies(path, settings.corpus).replies for path in (a, b))
    known = {p.reply.key: p for p in ours if p.reply.setting is Setting.REFERENCE}
    for other in theirs:
        one = known.get(other.reply.key)
        if one is not None:
            yield Item(
                f"{one.reply.episode}#{one.reply.turn}",
                {
                    "episode": one.reply.episode,
                    "utterance": one.reply.turn,
                    "history": _history(one),
                    "texts": [one.text, other.text],
                    "names": names,
                },
            )


def _history(placed: PlacedReply) -> list[list[str]]:
    return [[turn.role.value, turn.text] for turn in placed.history]


def _heading(path: str, other: str) -> str:
    name, beside = (each.rstrip("/").rpartition("/")[2] for each in (path, other))
    return path if name == beside else name


def _dialogues(settings: StudySettings) -> Iterator[Item]:
    for episode in latest_episodes(settings.items[0]):
        if episode.stop.failed or not episode.utterances:
            continue
        yield Item(
            episode.id,
            {
                "episode": episode.id,
                "about": [
                    episode.scenario.problem_type,
                    episode.scenario.situation,
                    str(episode.scenario.profile),
                ],
                "history": [
                    [u.role.value, u.text, u.strategy.value if u.strategy else ""]
                    for u in episode.utterances
                ],
                "crisis": sorted({kind for u in episode.utterances for kind in u.crisis}),
                "tags": tags_of_dialogue(settings, episode.id),
            },
        )
