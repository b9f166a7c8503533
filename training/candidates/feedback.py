"""Feedback on candidates: judgements a dimension become one label, helpful or not (FPEMF §4.1).

Trained scorer, judge and people all write `Rating`s with the context's episode and utterance and
the candidate's name; a `Labeller` makes them here where none are at hand. A candidate is helpful
only if all dimensions hold; other rules can be plugged in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol, runtime_checkable

from ...core.errors import ConfigError, UnreadableReply, did_you_mean
from ...core.jsonl import LineLog
from ...core.plugins import is_import_string
from ...core.shards.division import file_of, part_files
from ...core.tasks import for_each
from ...environments.episodes.rating import GOLD, Rating, iter_ratings
from ...policies.asking import ask_policy
from ...policies.base import Message, Policy, Request, Sampling
from .marks import CountedRatings, KeptMarks, KnownRatings
from .marks import Key as Key
from .marks import Marks as Marks
from .rows import CandidateSet, candidate_name

DIMENSIONS: dict[str, str] = {
    "empathy": "Does the reply show emotional warmth, an interpretation of what the seeker feels,"
    " or an exploration of it?",
    "strategy": "Is the reply free of advising without permission, confronting, directing, warning"
    " and judging?",
    "coherence": "Does the reply follow sensibly from what was said before, without contradicting"
    " it?",
    "topic": "Does the reply stay with the seeker's problem?",
}
"""The four dimensions, and the question that a judge answers with yes or no."""

ANSWERS = ("yes", "no")
RUBRIC = "fpemf-yes-no/1"

Rule = Callable[[Sequence[bool | None]], bool | None]
"""Judgements of all dimensions into one."""


def all_hold(marks: Sequence[bool | None]) -> bool | None:
    """Logical AND: one that fails decides, and without it one that is missing leaves it open."""
    if any(mark is False for mark in marks):
        return False
    return None if not marks or any(mark is None for mark in marks) else True


def any_holds(marks: Sequence[bool | None]) -> bool | None:
    """Logical OR, missing ones as in `all_hold`."""
    if any(mark is True for mark in marks):
        return True
    return None if not marks or any(mark is None for mark in marks) else False


def most_hold(marks: Sequence[bool | None]) -> bool | None:
    """More hold than fail among those that are known; None in a draw."""
    known = [mark for mark in marks if mark is not None]
    balance = sum(1 if mark else -1 for mark in known)
    return None if balance == 0 else balance > 0


RULES: dict[str, Rule] = {"all": all_hold, "any": any_holds, "most": most_hold}


def find_rule(name: str) -> Rule:
    """A rule by its name, or one's own as `module:function`.

    Raises:
        ConfigError: there is none.
    """
    if name in RULES:
        return RULES[name]
    module, _, function = name.partition(":")
    if not is_import_string(name):
        raise ConfigError(
            f"no rule '{name}'; known: {', '.join(RULES)}, or module:function",
            hint=did_you_mean(name, RULES),
        )
    try:
        rule: Rule = getattr(import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"the rule '{name}' cannot be imported: {error}") from error
    return rule


def marks_of(
    ratings: Iterable[Rating], *, threshold: float = 0.5, dimensions: Sequence[str] = ()
) -> Mapping[Key, Marks]:
    """What the ratings say of each candidate: a dimension holds if its mean reaches the threshold.

    Args:
        ratings: of any raters; later samples and other raters are averaged. Unreadable ones count
            as missing.
        threshold: on the raters' scale: 0.5 for 0 and 1, 3 or 4 for a judge's 1 to 5.
        dimensions: those that count; by default the four.
    """
    marks = KeptMarks(tuple(dimensions) or tuple(DIMENSIONS), threshold)
    for rating in ratings:
        marks.add(rating)
    return marks


def labels_of(
    context: CandidateSet, marks: Mapping[Key, Marks], rule: Rule = all_hold
) -> tuple[int, ...]:
    """A label for each candidate of a context: 1 helpful, 0 unhelpful, -1 unknown."""
    labels = []
    for number in range(len(context.candidates)):
        found = marks.get((context.episode, context.utterance, candidate_name(number)), {})
        decided = rule(list(found.values()))
        labels.append(-1 if decided is None else int(decided))
    return tuple(labels)


@dataclass(frozen=True, slots=True)
class Share:
    """A share with what it was counted on; None where nothing was."""

    value: float | None
    counted: int
    missing: int


def helpful_rates(
    contexts: Sequence[CandidateSet], marks: Mapping[Key, Marks], rule: Rule = all_hold
) -> dict[str, dict[str, Share]]:
    """Helpful rates by dimension and in all (FPEMF Table 4).

    Returns:
        `single`: of the first candidate of each context; `beams`: of all candidates; `gold`: of the
        gold replies, where they were judged.
    """
    dimensions = sorted({name for found in marks.values() for name in found})
    forms = ("single", "beams", "gold")
    shares = {form: {name: _Counted() for name in (*dimensions, "helpful")} for form in forms}
    for context in contexts:
        place = (context.episode, context.utterance)
        for form in forms:
            for name in _judged(context, form):
                found = marks.get((*place, name), {})
                for dimension in dimensions:
                    shares[form][dimension].add(found.get(dimension))
                shares[form]["helpful"].add(rule(list(found.values())))
    return {form: {n: each.share() for n, each in row.items()} for form, row in shares.items()}


def _judged(context: CandidateSet, form: str) -> list[str]:
    """Names of the replies of a context that count in a form."""
    if form == "gold":
        return [GOLD]
    count = len(context.candidates)
    return [
        candidate_name(number) for number in range(min(count, 1) if form == "single" else count)
    ]


@dataclass(slots=True)
class _Counted:
    holding: int = 0
    known: int = 0
    missing: int = 0

    def add(self, mark: bool | None) -> None:
        if mark is None:
            self.missing += 1
        else:
            self.known += 1
            self.holding += mark

    def share(self) -> Share:
        value = self.holding / self.known if self.known else None
        return Share(value, self.known, self.missing)


# Making ratings


@runtime_checkable
class Labeller(Protocol):
    """Judges a reply. A trained scorer, a judge or a rule; a policy may be one at the same time."""

    async def label(self, prompt: tuple[Message, ...], reply: str) -> Mapping[str, float | None]:
        """By dimension a value, 1 where it holds and 0 where not; None where it cannot be read."""


@dataclass(frozen=True, slots=True)
class PolicyLabeller:
    """Asks a policy one yes-or-no question a dimension.

    Attributes:
        policy: any that can choose.
        dimensions: names and questions.
    """

    policy: Policy
    dimensions: Mapping[str, str]

    async def label(self, prompt: tuple[Message, ...], reply: str) -> Mapping[str, float | None]:
        """See `Labeller`."""
        values = await asyncio.gather(
            *(self._ask(prompt, reply, question) for question in self.dimensions.values())
        )
        return dict(zip(self.dimensions, values, strict=True))

    async def _ask(self, prompt: tuple[Message, ...], reply: str, question: str) -> float | None:
        dialogue = "\n".join(
            f"{'Supporter' if m.role == 'assistant' else 'Seeker'}: {m.utterance}"
            for m in prompt
            if m.role != "system" and m.utterance
        )
        asked = (
            f"{dialogue}\n\nThe reply to judge:\nSupporter: {reply}\n\n{question} Answer yes or no."
        )
        request = Request(
            messages=(
                Message("system", "You judge replies in emotional-support conversations."),
                Message("user", asked),
            ),
            role="scorer",
            sampling=Sampling(temperature=0.0),
            seed=0,
            choices=ANSWERS,
        )
        try:
            answer = (await ask_policy(self.policy, request)).text.strip().lower()
        except UnreadableReply:
            return None
        return {"yes": 1.0, "no": 0.0}.get(answer)


async def rate_candidates(
    contexts: Iterable[CandidateSet],
    labeller: Labeller,
    file: Path,
    *,
    rater: str,
    concurrency: int = 8,
    on_done: Callable[[int], None] = lambda count: None,
    part: str | None = None,
) -> None:
    """Rate gold reply and candidates of all contexts; what the file holds already is left alone.

    Args:
        file: `ratings.jsonl`; a context's ratings are appended at once, when it is done. It takes in
            what finished parts hold and it does not.
        rater: name for the records.
        part: one part, as 3/8: it writes a file of its own beside `file`.

    Raises:
        PolicyError: the labeller failed; what is finished is in the file.
        RunError: another process is writing it or one of the parts.
    """
    with ExitStack() as stack:
        log, counts = _opened(stack, file, part, rater)

        async def rate(context: CandidateSet) -> None:
            texts = {GOLD: context.gold} | {
                candidate_name(n): c.text for n, c in enumerate(context.candidates)
            }
            found = await asyncio.gather(
                *(labeller.label(context.messages, text) for text in texts.values())
            )
            ratings = _ratings(context, dict(zip(texts, found, strict=True)), rater)
            log.write_line("\n".join(r.to_json() for r in ratings), f"ratings of '{context.id}'")
            on_done(1)

        await for_each((c for c in contexts if _is_unrated(c, counts)), rate, concurrency)


def _opened(
    stack: ExitStack, file: Path, part: str | None, rater: str
) -> tuple[LineLog, CountedRatings]:
    """The file to write, held in the stack, and how often what was rated; see `rate_candidates`."""
    log = stack.enter_context(LineLog(file_of(file, part)))
    counts, known = CountedRatings(rater), KnownRatings()
    others = [other for other in part_files(file) if other != log.path]
    for rating in iter_ratings(log.path):
        counts.add(rating)
        if others and part is None:
            known.add(rating)
    for other in others:
        if part is None:
            stack.enter_context(LineLog(other))
        for rating in iter_ratings(other):
            if part is None:
                if not known.add(rating):
                    continue
                log.write_line(rating.to_json(), f"a rating of '{rating.episode}'")
            counts.add(rating)
    if part is not None and file.is_file():
        for rating in iter_ratings(file):
            counts.add(rating)
    return log, counts


def _is_unrated(context: CandidateSet, counts: CountedRatings) -> bool:
    """Whether a reply was not rated, or less often than another (a kill in between)."""
    names = [GOLD, *map(candidate_name, range(len(context.candidates)))]
    found = {counts[(context.episode, context.utterance, name)] for name in names}
    return len(found) > 1 or 0 in found


def _ratings(
    context: CandidateSet, values: Mapping[str, Mapping[str, float | None]], rater: str
) -> list[Rating]:
    return [
        Rating(
            episode=context.episode,
            utterance=context.utterance,
            candidate=name,
            rater=rater,
            kind="scorer",
            dimension=dimension,
            value=value,
            rubric=RUBRIC,
        )
        for name, found in values.items()
        for dimension, value in found.items()
    ]
