"""Turns for the counselor: the dialogue so far, and the supporter's next strategies. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from ...agents.counselor import StrategyCounselor
from ...agents.observations import Turn
from ...agents.roles import STRATEGY_LABELS, Role, Strategy
from ...environments.dialogue.view import counselor_view
from ...environments.episodes.episode import Episode, Utterance
from ...policies.base import Message
from ...policies.scripted import ScriptedPolicy
from ..rows.build import BadRow, group_of, history_of
from ..rows.spool import Spool
from ..rows.turns import turn_id

HEADS = {"strategy": STRATEGY_LABELS}


@dataclass(frozen=True, slots=True)
class CounselorTurn:
    """One supporter turn to advise on.

    Attributes:
        id: `episode#turn`.
        group: the scenario's id.
        episode: whose turns may be packed together.
        history: all that was said before.
        messages: as the seated counselor asks its policy.
        strategies: of the turn, the first one first.
        previous: strategy of the supporter's turn before; None for the first.
        exchange: number of the turn among the supporter's, from 0.
    """

    id: str
    group: str
    episode: str
    history: tuple[Turn, ...]
    messages: tuple[Message, ...]
    strategies: tuple[Strategy, ...]
    previous: Strategy | None
    exchange: int

    @property
    def gold(self) -> tuple[int, ...]:
        """Indices of the strategies, in the order of the labels."""
        return tuple(_PLACE[strategy] for strategy in self.strategies)


_PLACE = {strategy: n for n, strategy in enumerate(Strategy)}


def counselor_turns(episodes: Iterable[Episode]) -> tuple[Spool[CounselorTurn], list[BadRow]]:
    """The labelled supporter turns of all episodes, in order, and what could not be used."""
    turns: Spool[CounselorTurn] = Spool()
    bad: list[BadRow] = []
    for episode in episodes:
        good, faulty = turns_of(episode)
        turns.extend(good)
        bad += faulty
    return turns, bad


def turns_of(episode: Episode) -> tuple[list[CounselorTurn], list[BadRow]]:
    """The labelled supporter turns of one episode, and its bad rows."""
    turns: list[CounselorTurn] = []
    bad: list[BadRow] = []
    previous: Strategy | None = None
    exchange = 0
    for n, utterance in enumerate(episode.utterances):
        if utterance.role is not Role.SUPPORTER:
            continue
        name, strategies = turn_id(episode, n), strategies_of(utterance)
        if not utterance.text.strip():
            bad.append(BadRow(name, "empty_reply"))
        elif not strategies:
            bad.append(BadRow(name, "unknown_label", "no known strategy"))
        else:
            history = history_of(episode, n)
            turns.append(
                CounselorTurn(
                    name, group_of(episode), episode.id, history, asked(history),
                    strategies, previous, exchange,
                )
            )  # fmt: skip
        previous = strategies[0] if strategies else None
        exchange += 1
    if not exchange:
        bad.append(BadRow(episode.id, "no_supporter_turn"))
    return turns, bad


def strategies_of(utterance: Utterance) -> tuple[Strategy, ...]:
    """All strategies of a turn, in order, each once."""
    return tuple(dict.fromkeys(utterance.strategies))


def asked(history: tuple[Turn, ...]) -> tuple[Message, ...]:
    """What the seated counselor asks its policy after this history."""
    return _counselor().request(counselor_view(history)).messages


@lru_cache(maxsize=1)
def _counselor() -> StrategyCounselor:
    """The agent that renders prompts; its policy is never asked."""
    return StrategyCounselor(ScriptedPolicy(record=False))
