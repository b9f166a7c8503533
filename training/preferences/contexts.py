"""Which turns are answered for preference pairs, and what their prompts are (Self-Evolution App. A).

A context is chosen before any counselor is asked (`advised` puts its advice into the prompt), so that
one part of them asks for its own advice only. Knows no tokenizer and no model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...agents.roles import Role
from ...core.errors import ConfigError
from ...environments.corpus.splits import scenario_groups
from ...environments.episodes.episode import Episode
from ..rows.advice import asks_counselor, planned_advice
from ..rows.build import BadRow, Row, advised_rows, history_of, refuse_bad, rows_of
from ..rows.sources import draw
from ..rows.spool import Ordered, Spool
from .hygiene import strict_turns, without_greetings
from .settings import PreferenceSettings


@dataclass(frozen=True, slots=True)
class Context:
    """A supporter's turn to be answered.

    Attributes:
        row: prompt, and as its reply the gold one.
        heard: what the user said in the turns shown.
    """

    row: Row
    heard: str


def contexts_of(
    episodes: Sequence[Episode], settings: PreferenceSettings, counts: Counter[str]
) -> Sequence[Context]:
    """The turns that are answered: strict form, greetings left out, a seeded sample if asked for.

    Beyond a thousand they lie in a file, see `Spool`.
    Where a counselor is to be asked, its advice is not in their prompts yet, see `advised`.

    Raises:
        ConfigError: none is left; or bad rows that the settings refuse.
    """
    strict = Spool(strict_turns(e, settings.first_speaker, counts) for e in episodes)
    advice = planned_advice(settings)
    found: Spool[Context] = Spool()
    bad: list[BadRow] = []
    for episode, group in zip(strict, scenario_groups(strict), strict=True):
        own, faulty = rows_of(episode, settings, advice)
        bad += faulty
        inner = set(_inner_turns(episode, settings))
        kept = [row for row in own if _turn(row) in inner]
        counts["greeting_turns"] += len(own) - len(kept)
        found.extend(_context(episode, replace(row, group=group)) for row in kept)
    refuse_bad(bad, settings.on_bad_row)
    counts.update(f"bad_row_{each.fault}" for each in bad)
    if not found:
        raise ConfigError(
            f"{len(episodes)} episodes give no context for preference pairs",
            problems=[f"{name}: {number}" for name, number in counts.items()],
            hint="longer conversations are needed, or lower greeting_first and greeting_last",
        )
    if settings.limit is not None and settings.limit < len(found):
        drawn = draw(range(len(found)), settings.limit, settings.seed)
        return Ordered(found, sorted(drawn, key=lambda place: found[place].row.id))
    return found


def advised(
    contexts: Sequence[Context],
    episodes: Iterable[Episode],
    settings: PreferenceSettings,
    folder: str | Path | None,
) -> Sequence[Context]:
    """The contexts with the counselor's advice in their prompts; it is asked about these alone.

    Args:
        episodes: that `contexts_of` was given.
        folder: of `advice.jsonl`; None keeps nothing.
    """
    if not asks_counselor(settings):
        return contexts
    strict = (strict_turns(e, settings.first_speaker, Counter()) for e in episodes)
    rows = advised_rows(Spool(context.row for context in contexts), strict, settings, folder)
    return Spool(replace(c, row=row) for c, row in zip(contexts, rows, strict=True))


def _inner_turns(episode: Episode, settings: PreferenceSettings) -> list[int]:
    spoken = [n for n, u in enumerate(episode.utterances) if u.role is Role.SUPPORTER]
    return without_greetings(spoken, settings.greeting_first, settings.greeting_last)


def _turn(row: Row) -> int:
    return int(row.id.rpartition("#")[2])


def _context(episode: Episode, row: Row) -> Context:
    heard = history_of(episode, _turn(row))
    return Context(row, "\n".join(t.text for t in heard if t.role is Role.SEEKER))
