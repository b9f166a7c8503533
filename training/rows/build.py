"""Episodes into training rows, in the shapes that TRL reads. Pure; knows no tokenizer and no model.

A row's prompt is what the supporter is shown when it is seated: rendered by the same agent and
template from an observation, which holds nothing private to the seeker, or (`as_asked`) the very
messages of the logged call. Its target is what was said, never how it came about: no raw reply, no
notes of a wrapper, and what the model thought only if the setting `thinking` asks for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from ...agents.base import GO_ON
from ...agents.conditions import StrategyCondition as _Condition
from ...agents.observations import SupporterBrief, Turn
from ...agents.roles import Role, Strategy
from ...agents.supporter import Supporter
from ...core.errors import ConfigError
from ...environments.corpus.splits import scenario_root
from ...environments.dialogue.view import latest, supporter_view, turns_of
from ...environments.episodes.episode import Episode, Utterance
from ...environments.scenarios.seed_pool import CasePool
from ...policies.base import Message
from ...policies.scripted import ScriptedPolicy
from .advice import NO_ADVICE, Advice, advice_for, asks_counselor
from .settings import (
    BadRows,
    TurnRowSettings,
)
from .spool import Spool
from .turns import turn_id

Fault = Literal[
    "empty_reply",
    "unknown_label",
    "no_advice",
    "no_supporter_turn",
    "no_seeker_turn",
    "no_scenario",
    "cut_short",
    "too_long",
    "identical",
    "not_judged",
]

NAMED = 8
"""Bad rows that a message names."""


@dataclass(frozen=True, slots=True)
class Row:
    """One example.

    Attributes:
        id: `episode#turn`, where turn counts utterances from 0; `episode` for a whole conversation;
            of another seat than the supporter's with `/seat` behind.
        group: rows of one group must not be split; the scenario's id.
        messages: the whole chat, system message first.
        trained: indices of the messages that are learned; all are by the assistant.
        strategy: of the (last) trained message, where known.
        thinking: learned before the last trained message, in the marks of the model that is trained.
        tree: rows of one tree have it in common: episode and seat; empty for a row that stands alone.
    """

    id: str
    group: str
    messages: tuple[Message, ...]
    trained: tuple[int, ...]
    strategy: Strategy | None = None
    thinking: str = field(default="", repr=False)  # digests of rows are taken from their repr
    tree: str = field(default="", repr=False)

    @property
    def prompt(self) -> tuple[Message, ...]:
        """What stands before the last trained message."""
        return self.messages[: self.trained[-1]]

    @property
    def reply(self) -> str:
        """The last trained message."""
        return self.messages[self.trained[-1]].content

    def as_trl(self) -> dict[str, Any]:
        """TRL's conversational shapes: prompt and completion, or messages for several replies."""
        plain = [{"role": m.role, "content": m.content} for m in self.messages]
        if self.thinking:
            plain[self.trained[-1]]["reasoning_content"] = self.thinking
        if self.trained == (len(plain) - 1,):
            return {"prompt": plain[:-1], "completion": plain[-1:]}
        return {"messages": plain}


@dataclass(frozen=True, slots=True)
class BadRow:
    """An episode or turn that gives no row."""

    id: str
    fault: Fault
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of some episodes, and what could not be used."""

    rows: Sequence[Row]
    bad: tuple[BadRow, ...] = ()

    @property
    def faults(self) -> dict[str, int]:
        """How many bad rows there are of each kind."""
        return dict(Counter(bad.fault for bad in self.bad).most_common())


def build_rows(
    episodes: Iterable[Episode],
    settings: TurnRowSettings,
    advice: Advice = NO_ADVICE,
    among: Collection[str] | None = None,
) -> Rows:
    """The rows of all episodes, in order; beyond a thousand they lie in a file, see `Spool`.

    Args:
        advice: of a counselor that was asked about recorded dialogues, see `advice.py`.
        among: turns by id; the others are left aside.

    Raises:
        ConfigError: a template that cannot be used; or there are bad rows and the settings refuse
            them.
    """
    rows: Spool[Row] = Spool()
    bad: list[BadRow] = []
    for episode in episodes:
        good, faulty = rows_of(episode, settings, advice, among)
        rows.extend(good)
        bad += faulty
    refuse_bad(bad, settings.on_bad_row)
    return Rows(rows, tuple(bad))


def refuse_bad(bad: Sequence[BadRow], on_bad_row: BadRows) -> None:
    """Raise if bad rows are to be refused and there are any.

    Raises:
        ConfigError: names the first of them.
    """
    if on_bad_row == "skip" or not bad:
        return
    raise ConfigError(
        f"{len(bad)} rows cannot be used",
        problems=[f"{b.id}: {b.fault.replace('_', ' ')} {b.detail}".rstrip() for b in bad[:NAMED]]
        + ([f"and {len(bad) - NAMED} more"] if len(bad) > NAMED else []),
        hint="mend the data, or on_bad_row = 'skip' leaves them out",
    )


def advised_rows(
    rows: Sequence[Row],
    episodes: Iterable[Episode],
    settings: TurnRowSettings,
    folder: str | Path | None,
) -> Sequence[Row]:
    """Rows of turns that were chosen before the counselor was asked, with its advice in them.

    It is asked about these turns alone; without one the rows are as they are.

    Args:
        episodes: that the rows are of.
        folder: of `advice.jsonl`.
    """
    if not asks_counselor(settings):
        return rows
    names = {row.id for row in rows}
    talks = {name.rpartition("#")[0] for name in names}
    own = Spool(episode for episode in episodes if episode.id in talks)
    advice = advice_for(own, settings, folder, among=names)
    made = build_rows(own, settings, advice, names).rows
    places = {row.id: place for place, row in enumerate(made)}
    return Spool(replace(made[places[row.id]], group=row.group) for row in rows)


def rows_of(
    episode: Episode,
    settings: TurnRowSettings,
    advice: Advice = NO_ADVICE,
    among: Collection[str] | None = None,
) -> tuple[list[Row], list[BadRow]]:
    """The rows of one episode, and its bad rows."""
    spoken = [n for n, u in enumerate(episode.utterances) if u.role is Role.SUPPORTER]
    if not spoken:
        return [], [BadRow(episode.id, "no_supporter_turn")]
    if among is not None:
        spoken = [n for n in spoken if turn_id(episode, n) in among]
    bad = [fault for n in spoken if (fault := _fault(episode, n, settings, advice))]
    faulty = {fault.id for fault in bad}
    good = [n for n in spoken if turn_id(episode, n) not in faulty]
    if not settings.whole_conversations:
        return [_turn_row(episode, n, settings, advice) for n in good], bad
    return ([_conversation_row(episode, good, settings, advice)] if good else []), bad


def group_of(episode: Episode) -> str:
    """The scenario's id without the number of the conversation about it."""
    return scenario_root(episode.scenario.id)


def strategy_of(utterance: Utterance, label: Literal["first", "last"] = "first") -> Strategy | None:
    """The strategy of a supporter's turn; where a source gives several, in order, one of them."""
    if utterance.labels:
        return utterance.labels[0 if label == "first" else -1]
    return utterance.strategy


def history_of(episode: Episode, turn: int, window: int | None = None) -> tuple[Turn, ...]:
    """What was said before utterance `turn`, at most the latest `window` utterances."""
    return latest(turns_of(episode.utterances[:turn]), window)


def _fault(episode: Episode, turn: int, settings: TurnRowSettings, advice: Advice) -> BadRow | None:
    utterance = episode.utterances[turn]
    if not utterance.text.strip():
        return BadRow(turn_id(episode, turn), "empty_reply")
    if settings.as_asked or settings.strategy in (_Condition.HIDDEN, _Condition.LISTED):
        return None
    if settings.strategy is _Condition.ADVISED:
        asked = utterance.call is not None or history_of(episode, turn) in advice
        return None if asked else BadRow(turn_id(episode, turn), "no_advice", "name a counselor")
    if strategy_of(utterance, settings.label) is not None:
        return None
    return BadRow(turn_id(episode, turn), "unknown_label", "no known strategy")


def _turn_row(episode: Episode, turn: int, settings: TurnRowSettings, advice: Advice) -> Row:
    utterance = episode.utterances[turn]
    strategy = strategy_of(utterance, settings.label)
    logged = _as_asked(episode, utterance) if settings.as_asked else None
    prompt = logged or _rendered(episode, turn, strategy, settings, advice)
    return Row(
        turn_id(episode, turn),
        group_of(episode),
        (*prompt, Message("assistant", _target(utterance.text, strategy, settings))),
        (len(prompt),),
        strategy,
        thinking_of(episode, utterance.call) if getattr(settings, "thinking", None) else "",
        tree_of(episode, Role.SUPPORTER),
    )


def thinking_of(episode: Episode, call: int | None) -> str:
    """What a model thought in a call; empty where there is none."""
    return "" if call is None else episode.calls[call].thinking or ""


def tree_of(episode: Episode, seat: Role) -> str:
    """What the rows of one seat of a conversation have in common; see `Row.tree`."""
    return f"{episode.id}/{seat}"


def _as_asked(episode: Episode, utterance: Utterance) -> tuple[Message, ...] | None:
    if utterance.call is None:
        return None
    return episode.call_messages(episode.calls[utterance.call])


def _rendered(
    episode: Episode,
    turn: int,
    strategy: Strategy | None,
    settings: TurnRowSettings,
    advice: Advice,
) -> tuple[Message, ...]:
    observation = supporter_view(
        _brief(episode, settings),
        turns_of(episode.utterances[:turn]),
        strategy=_noted(episode, turn, strategy, settings, advice),
        window=settings.window,
    )
    agent = _supporter(template_of(settings))
    return agent.request(observation, max_sentences=settings.max_sentences).messages


def _noted(
    episode: Episode,
    turn: int,
    strategy: Strategy | None,
    settings: TurnRowSettings,
    advice: Advice,
) -> Strategy | None:
    """The strategy that a note in the prompt names."""
    utterance = episode.utterances[turn]
    if settings.strategy is _Condition.ADVISED:
        if utterance.call is None:
            return advice.after(history_of(episode, turn))
        return strategy if utterance.strategy_source == "counselor" else None
    return strategy if settings.strategy is _Condition.ORACLE else None


def _conversation_row(
    episode: Episode, good: list[int], settings: TurnRowSettings, advice: Advice
) -> Row:
    """All turns in one chat; each strategy's note stands before the turn that follows it."""
    agent, brief = _supporter(template_of(settings)), _brief(episode, settings)
    messages = [agent.system(brief, settings.max_sentences)]
    trained: dict[int, Strategy | None] = {}
    heard: list[Turn] = []
    for n, utterance in enumerate(episode.utterances):
        if not utterance.text.strip():
            continue
        if utterance.role is Role.SEEKER:
            heard.append(Turn(Role.SEEKER, utterance.text))
            continue
        strategy = strategy_of(utterance, settings.label)
        shown = _noted(episode, n, strategy, settings, advice)
        if heard or len(messages) == 1:
            asked = agent.request(supporter_view(brief, heard, strategy=shown, window=None))
            messages += asked.messages[1:]
        else:  # two turns of the supporter in a row
            messages.append(Message("user", _note(agent, brief, shown) or GO_ON))
        messages.append(Message("assistant", _target(utterance.text, strategy, settings)))
        if n in good:
            trained[len(messages) - 1] = strategy
        heard = []
    last = max(trained)
    return Row(
        episode.id,
        group_of(episode),
        tuple(messages[: last + 1]),
        tuple(trained),
        trained[last],
    )


def _note(agent: Supporter, brief: SupporterBrief, strategy: Strategy | None) -> str:
    return agent.template.render(
        "note",
        problem_type=brief.problem_type,
        history=(),
        strategy=strategy.value if strategy else "",
        definition=strategy.definition if strategy else "",
    )


def _target(text: str, strategy: Strategy | None, settings: TurnRowSettings) -> str:
    if settings.strategy is _Condition.SELF and strategy is not None:
        return labelled(text, strategy)
    return text.strip()


def labelled(text: str, strategy: Strategy) -> str:
    """A reply with the strategy in front, as a supporter writes it that chooses its own."""
    return f"[{strategy.value}] {text.strip()}"


def unlabelled(row: Row) -> tuple[str, Strategy | None]:
    """A row's reply without the strategy that stands in front of it, and that strategy."""
    if row.strategy is not None and row.reply.startswith(front := labelled("", row.strategy)):
        return row.reply.removeprefix(front).lstrip(), row.strategy
    return row.reply, None


def template_of(settings: TurnRowSettings) -> str:
    """The supporter's template for these settings; the trained model is seated with it."""
    return settings.template or settings.strategy.template(
        definitions=settings.definitions, short=bool(settings.short)
    )


@lru_cache(maxsize=16)
def _supporter(template: str) -> Supporter:
    """The agent that renders prompts; its policy is never asked."""
    return Supporter(ScriptedPolicy(record=False), template=template)


@lru_cache(maxsize=1)
def _cases() -> CasePool:
    return CasePool()


def _brief(episode: Episode, settings: TurnRowSettings) -> SupporterBrief:
    kind = episode.scenario.problem_type
    if not settings.case_dialogues:
        return SupporterBrief(kind)
    cases = _cases().draw(kind, settings.case_dialogues, scenario_id=episode.scenario.id)
    return SupporterBrief(kind, cases)
