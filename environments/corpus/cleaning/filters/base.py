"""What a filter is: a pure function from one episode to its findings.

```python
class NoShouting:
    name = "no_shouting"

    def examine(self, episode: Episode) -> tuple[Finding, ...]:
        loud = [i for i, u in enumerate(episode.utterances) if u.text.isupper()]
        return tuple(Finding(self.name, Severity.FLAG, "all in capitals", i) for i in loud)
```

Ours are frozen records whose fields are their settings. Only `near_duplicates` looks beyond one
episode, and keeps sketches of those before.
"""

from __future__ import annotations

from typing import ClassVar, Protocol

from .....core.record import Record
from ....episodes.episode import Episode, Utterance
from ...tags import Finding, Severity, edited


class Filter(Protocol):
    """Looks at an episode. What asks for `trim` carries the edited text in the finding."""

    name: ClassVar[str]

    def examine(self, episode: Episode) -> tuple[Finding, ...]:
        """What was found; empty if nothing. Equal episodes give equal findings."""
        ...


class RecordFilter(Record):
    """Base of our filters: settings as fields, findings under the filter's own name."""

    name: ClassVar[str]
    trims: ClassVar[bool] = False

    def examine(self, episode: Episode) -> tuple[Finding, ...]:
        """See `Filter`."""
        raise NotImplementedError(f"{type(self).__name__} must define examine()")

    def apply(self, episode: Episode) -> Episode:
        """The episode with this filter's own trims; itself if there are none."""
        return edited(episode, self.examine(episode))

    def drop(
        self, reason: str, utterance: int | None = None, value: float | str | None = None
    ) -> Finding:
        """A finding that asks to leave the episode out."""
        return Finding(self.name, Severity.DROP, reason, utterance, value)

    def flag(
        self, reason: str, utterance: int | None = None, value: float | str | None = None
    ) -> Finding:
        """A finding to know of."""
        return Finding(self.name, Severity.FLAG, reason, utterance, value)

    def trim(
        self, reason: str, utterance: int, text: str, value: float | str | None = None
    ) -> Finding:
        """A finding that puts `text` in place of an utterance; an empty one takes it out."""
        return Finding(self.name, Severity.TRIM, reason, utterance, value, text)


def trims(filter_: Filter) -> bool:
    """Whether a filter may ask for trims; those are asked first."""
    return bool(getattr(filter_, "trims", False))


def said_by(episode: Episode, role: str) -> list[tuple[int, Utterance]]:
    """Index and utterance of all that one role said."""
    return [(i, u) for i, u in enumerate(episode.utterances) if u.role == role]


def excerpt(text: str, length: int = 60) -> str:
    """The first characters of a text, on one line, for a finding's value."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1] + "…"
