"""Rows of every seat: each role learns what it is asked in a run, and what it should have answered.

Prompts are rendered by the role's own agent from its own view of the dialogue, the ones that the
dialogue loop uses; so the scenario is in the seeker's rows alone, and the supporter's label in those
of the counselor, whose answer it is.

| seat | one row for | learned |
|---|---|---|
| seeker | each of its utterances | the utterance |
| counselor | each labelled turn of the supporter | the label, as the counselor answers it |
| supporter | each of its turns (`build.py`) | the utterance |
| judger | each exchange, after the supporter's turn | NO where the talk went on, YES where it ended |

An end that a limit, an error or a person who left brought about is no verdict, and gives no row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

from ...agents.base import Agent
from ...agents.counselor import StrategyCounselor
from ...agents.judger import VERDICTS, Judger
from ...agents.observations import Observation, SeekerBrief
from ...agents.roles import Role
from ...agents.seeker import Seeker
from ...core.seeds import hashed_place
from ...environments.dialogue.view import counselor_view, judger_view, seeker_view, turns_of
from ...environments.episodes.episode import Episode, StopReason
from ...environments.scenarios.scenario import UNSPECIFIED
from ...policies.base import Message
from ...policies.scripted import ScriptedPolicy
from .advice import NO_ADVICE, Advice
from .build import (
    BadRow,
    Row,
    Rows,
    group_of,
    refuse_bad,
    rows_of,
    strategy_of,
    thinking_of,
    tree_of,
)
from .settings import SeatRowSettings
from .spool import Spool
from .turns import turn_id

AGENTS: dict[Role, type[Agent[Any, Any]]] = {
    Role.SEEKER: Seeker,
    Role.COUNSELOR: StrategyCounselor,
    Role.JUDGER: Judger,
}
"""Who renders the prompts; the supporter's has settings of its own, see `build.py`."""

Made = Row | BadRow


def build_seat_rows(
    episodes: Iterable[Episode], settings: SeatRowSettings, advice: Advice = NO_ADVICE
) -> Rows:
    """The rows of all episodes for the seats of the settings; as `build_rows`, which is the supporter's.

    Rows come episode by episode, and in each seat by seat in the order of the settings.

    Raises:
        ConfigError: see `build_rows`.
    """
    rows: Spool[Row] = Spool()
    bad: list[BadRow] = []
    for episode in episodes:
        for seat, share in settings.seat_shares.items():
            if not takes(episode, seat, share):
                continue
            good, faulty = seat_rows_of(episode, seat, settings, advice)
            rows.extend(good)
            bad += faulty
    refuse_bad(bad, settings.on_bad_row)
    return Rows(rows, tuple(bad))


def takes(episode: Episode, seat: Role, share: float) -> bool:
    """Whether a seat learns from a conversation: all about one scenario, or none, by a hash of both."""
    return share >= 1 or hashed_place(0, f"{seat}/{group_of(episode)}") < share


def seat_rows_of(
    episode: Episode, seat: Role, settings: SeatRowSettings, advice: Advice = NO_ADVICE
) -> tuple[list[Row], list[BadRow]]:
    """The rows of one episode for one seat, and its bad rows."""
    if seat is Role.SUPPORTER:
        return rows_of(episode, settings, advice)
    made = list(_MAKERS[seat](episode, settings))
    if not made:
        made = [BadRow(episode.id, f"no_{seat.value}_turn")]  # type: ignore[arg-type]
    good = [each for each in made if isinstance(each, Row)]
    return good, [each for each in made if isinstance(each, BadRow)]


def _seeker_rows(episode: Episode, settings: SeatRowSettings) -> Iterator[Made]:
    scenario = episode.scenario
    if scenario.situation == UNSPECIFIED:
        yield BadRow(episode.id, "no_scenario", "its source tells no situation")
        return
    brief = SeekerBrief(scenario.problem_type, scenario.situation, str(scenario.profile))
    said = turns_of(episode.utterances)
    for n, utterance in enumerate(episode.utterances):
        if utterance.role is not Role.SEEKER:
            continue
        if not utterance.text.strip():
            yield BadRow(f"{turn_id(episode, n)}/{Role.SEEKER}", "empty_reply")
            continue
        view = seeker_view(brief, said[:n], window=settings.window)
        yield _row(episode, n, Role.SEEKER, view, utterance.text, utterance.call, settings)


def _counselor_rows(episode: Episode, settings: SeatRowSettings) -> Iterator[Made]:
    said = turns_of(episode.utterances)
    for n, utterance in enumerate(episode.utterances):
        if utterance.role is not Role.SUPPORTER:
            continue
        label = strategy_of(utterance, settings.label)
        if label is None:
            name = f"{turn_id(episode, n)}/{Role.COUNSELOR}"
            yield BadRow(name, "unknown_label", "no known strategy")
            continue
        call = _asked_before(episode, utterance.call)
        yield _row(
            episode, n, Role.COUNSELOR, counselor_view(said[:n]), label.value, call, settings
        )


def _asked_before(episode: Episode, call: int | None) -> int | None:
    """The counselor's call that a supporter's call followed."""
    earlier = range((call or 0) - 1, -1, -1)
    return next((n for n in earlier if episode.calls[n].role == Role.COUNSELOR), None)


def _judger_rows(episode: Episode, settings: SeatRowSettings) -> Iterator[Made]:
    no, yes = VERDICTS
    said = turns_of(episode.utterances)
    calls = {verdict.after: verdict.call for verdict in episode.verdicts}
    for n, utterance in enumerate(episode.utterances):
        if utterance.role is not Role.SUPPORTER:
            continue
        last = n == len(said) - 1
        if last and (episode.truncated or episode.stop is StopReason.LEFT):
            name = f"{turn_id(episode, n)}/{Role.JUDGER}"
            yield BadRow(
                name, "cut_short", f"it ended by {episode.stop.value}, and so is no verdict"
            )
            continue
        view, verdict = judger_view(said[: n + 1]), yes if last else no
        yield _row(episode, n, Role.JUDGER, view, verdict, calls.get(n + 1), settings)


def _row(
    episode: Episode,
    turn: int,
    seat: Role,
    view: Observation,
    answer: str,
    call: int | None,
    settings: SeatRowSettings,
) -> Row:
    """One row; its prompt is rendered, or with `as_asked` that of the logged call."""
    prompt: tuple[Message, ...]
    if settings.as_asked and call is not None:
        prompt = episode.call_messages(episode.calls[call])
    else:
        prompt = _agent(seat).request(view, max_sentences=settings.max_sentences).messages
    return Row(
        f"{turn_id(episode, turn)}/{seat}",
        group_of(episode),
        (*prompt, Message("assistant", answer.strip())),
        (len(prompt),),
        thinking=thinking_of(episode, call) if settings.thinking else "",
        tree=tree_of(episode, seat),
    )


@lru_cache(maxsize=len(AGENTS))
def _agent(seat: Role) -> Agent[Any, Any]:
    """The agent that renders prompts; its policy is never asked."""
    return AGENTS[seat](ScriptedPolicy(record=False))


_MAKERS = {
    Role.SEEKER: _seeker_rows,
    Role.COUNSELOR: _counselor_rows,
    Role.JUDGER: _judger_rows,
}
