"""Normalisation of a recorded dialogue, as named steps whose every change is counted.

Always: who speaks, white space, empty turns, labels. What comes after is the recipe: `raw` nothing
more, `merged` one turn for consecutive utterances of one speaker, `sweetiechat` what the papers did
to ESConv for the row of FPEMF Table 2 and SweetieChat Table 1 (found by trial, exact to the last
digit).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from ....agents.roles import Role, Strategy
from ....core.errors import ConfigError, did_you_mean
from ....core.outside.text import printable
from .importers.base import Recorded, Turn
from .importers.mappings import INSTRUCTORS, role_of, strategy_of

MIN_TURNS = 8
"""Dialogues with fewer turns left are dropped by the step `min_turns`."""
MAX_COUNTED_WORDS = 200
"""Different words of a source that are counted apart, so that counts stay small on any file."""
OTHER_WORDS = "(others)"


@dataclass(frozen=True, slots=True)
class Line:
    """One utterance under normalisation.

    Attributes:
        raw: as the source has it; of merged utterances, joined by line breaks.
        labels: each strategy once, in order.
        notes: the source's other fields, its own label included where that is worded otherwise.
        repairs: what was done between raw and text, by name.
    """

    role: Role
    text: str
    raw: str
    labels: tuple[Strategy, ...] = ()
    notes: tuple[tuple[str, str], ...] = ()
    repairs: tuple[str, ...] = ()


@dataclass(slots=True)
class StepCount:
    """What one step did, over all dialogues.

    Attributes:
        dialogues: touched at all.
        changed: turns given another form.
        dropped: turns that are no turns of their own any more.
        emptied: dialogues dropped as a whole.
    """

    dialogues: int = 0
    changed: int = 0
    dropped: int = 0
    emptied: int = 0

    def add(self, *, changed: int = 0, dropped: int = 0, emptied: bool = False) -> None:
        """Count one dialogue; nothing if nothing was done to it."""
        self.dialogues += bool(changed or dropped or emptied)
        self.changed += changed
        self.dropped += dropped
        self.emptied += emptied


@dataclass(slots=True)
class Tally:
    """Counts of a normalisation.

    Attributes:
        steps: by name, in the order of the steps.
        speakers: turns by the source's word for the speaker.
        strategies: labelled supporter utterances, before any merging, by strategy.
        unmapped_labels: labels that name none of the eight strategies, in the source's words.
    """

    steps: dict[str, StepCount] = field(default_factory=dict)
    speakers: Counter[str] = field(default_factory=Counter)
    strategies: Counter[str] = field(default_factory=Counter)
    unmapped_labels: Counter[str] = field(default_factory=Counter)

    def step(self, name: str) -> StepCount:
        """The counts of a step."""
        return self.steps.setdefault(name, StepCount())


def count_word(counter: Counter[str], word: str) -> None:
    """Count a label of a source, of at most `MAX_COUNTED_WORDS` different ones."""
    known = word in counter or len(counter) < MAX_COUNTED_WORDS
    counter[word if known else OTHER_WORDS] += 1


# the steps of recipes: lines in, lines out


def merge(lines: list[Line]) -> list[Line]:
    """One line for consecutive utterances of one speaker, their texts joined by a space."""
    return [_joined(list(run)) for _, run in groupby(lines, key=lambda line: line.role)]


def _joined(run: list[Line]) -> Line:
    if len(run) == 1:
        return run[0]
    return Line(
        run[0].role,
        " ".join(line.text for line in run),
        "\n".join(line.raw for line in run),
        tuple(dict.fromkeys(label for line in run for label in line.labels)),
        tuple(note for line in run for note in line.notes),
        (*dict.fromkeys(repair for line in run for repair in line.repairs), "merge"),
    )


def leading_supporter(lines: list[Line]) -> list[Line]:
    """The dialogue begins with the seeker: a supporter's greeting before that is dropped."""
    first = next((n for n, line in enumerate(lines) if line.role is Role.SEEKER), len(lines))
    return lines[first:]


def trailing_seeker(lines: list[Line]) -> list[Line]:
    """The dialogue ends with the supporter: later utterances of the seeker are dropped."""
    kept = len(lines)
    while kept and lines[kept - 1].role is Role.SEEKER:
        kept -= 1
    return lines[:kept]


def min_turns(lines: list[Line]) -> list[Line]:
    """A dialogue of fewer than `MIN_TURNS` turns is dropped."""
    return lines if len(lines) >= MIN_TURNS else []


STEPS: dict[str, Callable[[list[Line]], list[Line]]] = {
    "merge": merge,
    "leading_supporter": leading_supporter,
    "trailing_seeker": trailing_seeker,
    "min_turns": min_turns,
}
RECIPES: dict[str, tuple[str, ...]] = {
    "raw": (),
    "merged": ("merge",),
    "sweetiechat": ("merge", "leading_supporter", "trailing_seeker", "min_turns"),
}


def one_line(text: str) -> str:
    """What a source tells of a seeker: one line, its control characters as symbols."""
    return printable(" ".join(text.split()))


def find_recipe(recipe: str) -> tuple[str, ...]:
    """The steps of a recipe, by its name or as step names joined by commas.

    Raises:
        ConfigError: no such recipe or step.
    """
    if recipe in RECIPES:
        return RECIPES[recipe]
    steps = tuple(step.strip() for step in recipe.split(","))
    unknown = [step for step in steps if step not in STEPS]
    if unknown:
        known = [*RECIPES, *STEPS]
        raise ConfigError(
            f"no recipe '{recipe}'; recipes: {', '.join(RECIPES)}; steps: {', '.join(STEPS)}",
            hint=did_you_mean(unknown[0], known) or "such as --recipe merge,trailing_seeker",
        )
    return steps


def normalise(
    recorded: Recorded, steps: Iterable[str], tally: Tally, *, source: str
) -> tuple[list[Line], list[tuple[str, str]]]:
    """The dialogue's lines after the steps, and the faults found in its turns.

    Args:
        recorded: from an importer.
        steps: of a recipe; see `find_recipe`.
        tally: counted into.
        source: whose words the labels are.

    Returns:
        lines: none if nothing is left.
        faults: place and message of turns that had to be left out.
    """
    plain, faults = _lines(recorded.turns, tally, source)
    if not plain:
        tally.step("empty_turns").add(emptied=True)
        return [], faults
    for name in steps:
        after = STEPS[name](plain)
        dropped = len(plain) - len(after)
        tally.step(name).add(dropped=dropped, emptied=not after)
        plain = after
        if not plain:
            break
    return plain, faults


def _lines(
    turns: tuple[Turn, ...], tally: Tally, source: str
) -> tuple[list[Line], list[tuple[str, str]]]:
    """Role, white space and labels; instructions and broken turns are left out."""
    lines: list[Line] = []
    faults: list[tuple[str, str]] = []
    instructions = unknown = empty = changed = relabelled = 0
    for number, turn in enumerate(turns, 1):
        count_word(tally.speakers, turn.speaker)
        text = " ".join((turn.text or "").split())
        if (role := role_of(turn.speaker)) is None:
            if turn.speaker.strip().lower() in INSTRUCTORS:
                instructions += 1
            else:
                unknown += 1
                faults.append((f"turn {number}", f"nobody known speaks: '{turn.speaker}'"))
        elif turn.text is None or not text:
            empty += 1
            faults.append((f"turn {number}", f"the {role} says nothing"))
        else:
            repairs = () if text == turn.text else ("whitespace",)
            changed += bool(repairs)
            labels, own_words = _strategies(turn, role, tally, source)
            relabelled += len(own_words)
            lines.append(Line(role, text, turn.text, labels, turn.notes + own_words, repairs))
    tally.step("instructions").add(dropped=instructions)
    tally.step("unknown_speakers").add(dropped=unknown)
    tally.step("empty_turns").add(dropped=empty)
    tally.step("whitespace").add(changed=changed)
    tally.step("labels").add(changed=relabelled)
    return lines, faults


def _strategies(
    turn: Turn, role: Role, tally: Tally, source: str
) -> tuple[tuple[Strategy, ...], tuple[tuple[str, str], ...]]:
    """A supporter's strategies, and as notes the labels worded otherwise than ours.

    A seeker has no strategy: its label is a note only.
    """
    found: list[Strategy] = []
    own_words: list[tuple[str, str]] = []
    for word in turn.labels:
        strategy = strategy_of(source, word) if role is Role.SUPPORTER else None
        if strategy is not None:
            found.append(strategy)
            tally.strategies[strategy.value] += 1
        elif role is Role.SUPPORTER:
            count_word(tally.unmapped_labels, word)
        if strategy is None or strategy.value.casefold() != word.strip().casefold():
            own_words.append(("strategy", word))
    return tuple(dict.fromkeys(found)), tuple(own_words)


def notes_of(lines: list[Line]) -> dict[str, dict[str, Any]]:
    """The sources' notes by the index of the line, as plain data, where there are any."""
    notes: dict[str, dict[str, Any]] = {}
    for index, line in enumerate(lines):
        for name, value in line.notes:
            notes.setdefault(str(index), {}).setdefault(name, []).append(value)
    return notes
