"""How conversations show themselves in a notebook.

Styles stand on the elements and there is no script, since notebooks strip both a style sheet and
scripts from what is shared. Every text of a record is escaped (`Markup.format` escapes what it is
given), and what only the seeker knows is folded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Protocol

from markupsafe import Markup

from ...agents.colours import STRATEGY_COLOURS, ink_on
from ...agents.roles import Role, Strategy
from ...core.outside.text import printable
from ...policies.safety import CRISIS_GUIDANCE, disclaimer_for
from ..scenarios.scenario import Scenario

LONG = 2_000
"""Characters of a text beyond which the rest is folded."""

SHOWN = 10
"""Conversations of a log that are shown."""


class Said(Protocol):
    """What is shown of an utterance."""

    @property
    def role(self) -> Role: ...
    @property
    def text(self) -> str: ...
    @property
    def raw(self) -> str: ...
    @property
    def strategies(self) -> tuple[Strategy, ...]: ...
    @property
    def repairs(self) -> tuple[str, ...]: ...
    @property
    def crisis(self) -> tuple[str, ...]: ...
    @property
    def call(self) -> int | None: ...


class Called(Protocol):
    """What is shown of a call."""

    @property
    def thinking(self) -> str | None: ...


class Failed(Protocol):
    """What is shown of an error."""

    @property
    def type(self) -> str: ...
    @property
    def message(self) -> str: ...


class Conversation(Protocol):
    """What is shown of an episode."""

    @property
    def id(self) -> str: ...
    @property
    def scenario(self) -> Scenario: ...
    @property
    def stop(self) -> str: ...
    @property
    def error(self) -> Failed | None: ...
    @property
    def utterances(self) -> Sequence[Said]: ...
    @property
    def calls(self) -> Sequence[Called]: ...
    @property
    def imported(self) -> bool: ...


def conversation_html(episode: Conversation) -> str:
    """One conversation, with the disclaimer, and help lines where crisis language was found."""
    return _page(
        [Markup("<div><b>{}</b></div>").format(_facts(episode)), _body(episode)], [episode]
    )


def conversations_html(episodes: Sequence[Conversation], total: int, stops: Iterable[str]) -> str:
    """The first conversations of a log, each folded under a line that says what it is.

    Args:
        episodes: those shown.
        total: how many there are.
        stops: how each of them all ended.
    """
    ends = ", ".join(f"{stop} {count:,}" for stop, count in Counter(stops).most_common())
    count = f"{total:,} conversation{'' if total == 1 else 's'}"
    head = Markup("<div><b>{}</b>{}</div>").format(count, f" · ended: {ends}" if ends else "")
    rows = [
        _folded(
            Markup("{} {} {}").format(_facts(each), _strip(each), _crisis(_kinds(each))),
            _body(each),
        )
        for each in episodes
    ]
    if len(episodes) < total:
        rows.append(
            Markup('<div style="opacity:.75">{}</div>').format(
                f"the first {len(episodes):,} of {total:,}; the others by their number, as"
                f" episodes[{len(episodes)}], or with `warmline show`"
            )
        )
    return _page([head, *rows], episodes)


def _page(parts: Iterable[Markup], episodes: Sequence[Conversation]) -> str:
    imported = any(each.imported for each in episodes)
    generated = not all(each.imported for each in episodes)
    notes = Markup()
    if any(_kinds(each) for each in episodes):
        notes += Markup(
            '<div style="border-left:4px solid #d55e00;padding:.2em .7em;margin:.4em 0">{}</div>'
        ).format(CRISIS_GUIDANCE)
    notes += Markup('<div style="opacity:.75;font-size:90%;margin:.4em 0">{}</div>').format(
        disclaimer_for(generated=generated, imported=imported)
    )
    whole = Markup('<div style="max-width:54em;line-height:1.45">{}{}</div>')
    return str(
        whole.format(Markup().join(parts), notes)
    )  # plain: joined to a text it stays as it is


def _facts(episode: Conversation) -> Markup:
    """Problem type, id, end and length, in one line."""
    count = len(episode.utterances)
    return Markup("{} · {} · {} · {}").format(
        _bdi(episode.scenario.problem_type),
        _bdi(episode.id),
        str(episode.stop),
        f"{count} utterance{'' if count == 1 else 's'}",
    )


def _body(episode: Conversation) -> Markup:
    scenario = episode.scenario
    private = [text for text in (str(scenario.profile), scenario.situation) if text]
    parts = []
    if episode.error is not None:
        parts.append(
            Markup('<div style="border-left:4px solid #d55e00;padding:.2em .7em">{}</div>').format(
                _text(f"{episode.error.type}: {episode.error.message}")
            )
        )
    if private:
        parts.append(_folded("What only the seeker knows", Markup().join(map(_text, private))))
    parts += [_turn(said, episode.calls) for said in episode.utterances]
    return Markup().join(parts)


def _turn(said: Said, calls: Sequence[Called]) -> Markup:
    supporter = said.role == Role.SUPPORTER
    thinking = calls[said.call].thinking if said.call is not None else None
    folded = [
        _folded(title, _text(text))
        for title, text in (
            ("As the model wrote it", said.raw if said.raw.strip() != said.text.strip() else ""),
            ("What the model thought", thinking or ""),
        )
        if text
    ]
    style = (
        "background:rgba(0,114,178,.12);margin:.3em 0 .3em 1.5em"
        if supporter
        else "background:rgba(128,128,128,.12);margin:.3em 1.5em .3em 0"
    )
    return Markup(
        '<div style="{};padding:.4em .8em;border-radius:.6em"><div style="font-size:85%">{} {}</div>'
        "{}{}</div>"
    ).format(
        style,
        said.role.value.capitalize(),
        Markup(" ").join(
            [*map(_chip, said.strategies), *map(_plain_chip, said.repairs), _crisis(said.crisis)]
        ),
        _text(said.text),
        Markup().join(folded),
    )


def _chip(strategy: Strategy) -> Markup:
    colour = STRATEGY_COLOURS[strategy]
    return Markup(
        '<span style="background:{};color:{};border-radius:1em;padding:0 .6em;display:inline-block">{}</span>'
    ).format(colour, ink_on(colour), strategy.value)


def _plain_chip(name: str) -> Markup:
    return Markup(
        '<span style="border:1px solid;border-radius:1em;padding:0 .6em;display:inline-block;opacity:.75">{}</span>'
    ).format(_bdi(name))


def _crisis(kinds: Sequence[str]) -> Markup:
    if not kinds:
        return Markup()
    return Markup(
        '<span style="border:2px solid #d55e00;border-radius:1em;padding:0 .6em;display:inline-block">{}{}</span>'
    ).format("crisis language: ", _bdi(", ".join(kinds)))


def _kinds(episode: Conversation) -> tuple[str, ...]:
    """The kinds of crisis language in a conversation, each once, in the order of their first."""
    return tuple(dict.fromkeys(kind for said in episode.utterances for kind in said.crisis))


def _strip(episode: Conversation) -> Markup:
    """A coloured mark for each strategy, in order; its name is the mark's title."""
    mark = Markup(
        '<span title="{}" style="display:inline-block;width:.7em;height:.7em;background:{}"></span>'
    )
    return Markup("&#8203;").join(
        mark.format(strategy.value, STRATEGY_COLOURS[strategy])
        for said in episode.utterances
        for strategy in said.strategies
    )


def _folded(title: str | Markup, body: Markup) -> Markup:
    return Markup(
        '<details><summary style="cursor:pointer">{}</summary><div style="padding-left:1em">{}</div>'
        "</details>"
    ).format(title, body)


def _text(text: str) -> Markup:
    """A text as it was written, its lines kept; of a long one the rest is folded."""
    block = Markup('<div dir="auto" style="white-space:pre-wrap;overflow-wrap:anywhere">{}</div>')
    shown = printable(text)
    if len(shown) <= LONG:
        return block.format(shown)
    rest = _folded(f"the other {len(shown) - LONG:,} characters", block.format(shown[LONG:]))
    return block.format(shown[:LONG]) + rest


def _bdi(text: str) -> Markup:
    return Markup("<bdi>{}</bdi>").format(printable(text))
