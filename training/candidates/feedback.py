"""Feedback on candidates: judgements a dimension become one label, helpful or not (FPEMF §4.1).

Trained scorer, judge and people all write `Rating`s with the context's episode and utterance and
the candidate's name; a `Labeller` makes them here where none are at hand. A candidate is helpful
only if all dimensions hold; other rules can be plugged in.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from statistics import fmean
from typing import Protocol, runtime_checkable

from ...core.errors import ConfigError, UnreadableReply, did_you_mean
from ...core.jsonl import LineLog
from ...core.tasks import for_each
from ...environments.episodes.rating import Rating, iter_ratings
from ...policies.asking import ask_policy
from ...policies.base import Message, Policy, Request, Sampling
from .rows import GOLD, CandidateSet, candidate_name

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

Marks = Mapping[str, bool | None]
"""By dimension whether it holds; None where nobody said."""
Key = tuple[str, int | None, str]
"""Episode, utterance and candidate."""
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
    module, colon, function = name.partition(":")
    if not colon:
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
) -> dict[Key, dict[str, bool | None]]:
    """What the ratings say of each candidate: a dimension holds if its mean reaches the threshold.

    Args:
        ratings: of any raters; later samples and other raters are averaged. Unreadable ones count
            as missing.
        threshold: on the raters' scale: 0.5 for 0 and 1, 3 or 4 for a judge's 1 to 5.
        dimensions: those that count; by default the four.
    """
    wanted = tuple(dimensions) or tuple(DIMENSIONS)
    values: dict[Key, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for rating in ratings:
        if rating.dimension in wanted:
            found = values[(rating.episode, rating.utterance, rating.candidate)]
            if rating.value is not None:
                found[rating.dimension].append(rating.value)
    return {
        key: {name: fmean(found[name]) >= threshold if found.get(name) else None for name in wanted}
        for key, found in values.items()
    }


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
    chosen: dict[str, list[Key]] = {"single": [], "beams": [], "gold": []}
    for context in contexts:
        place = (context.episode, context.utterance)
        names = [candidate_name(number) for number in range(len(context.candidates))]
        chosen["single"] += [(*place, name) for name in names[:1]]
        chosen["beams"] += [(*place, name) for name in names]
        chosen["gold"].append((*place, GOLD))
    dimensions = sorted({name for found in marks.values() for name in found})
    table = {}
    for form, keys in chosen.items():
        found = [marks.get(key, {}) for key in keys]
        shares = {name: _share([each.get(name) for each in found]) for name in dimensions}
        shares["helpful"] = _share([rule(list(each.values())) for each in found])
        table[form] = shares
    return table


def _share(marks: Sequence[bool | None]) -> Share:
    known = [mark for mark in marks if mark is not None]
    value = sum(known) / len(known) if known else None
    return Share(value, len(known), len(marks) - len(known))


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
) -> None:
    """Rate gold reply and candidates of all contexts; what the file holds already is left alone.

    Args:
        file: `ratings.jsonl`; a context's ratings are appended at once, when it is done.
        rater: name for the records.

    Raises:
        PolicyError: the labeller failed; what is finished is in the file.
    """
    with LineLog(file) as log:
        known = list(iter_ratings(file))

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

        open_ones = _unrated(list(contexts), known, rater)
        await for_each(open_ones, rate, concurrency)


def _unrated(
    contexts: list[CandidateSet], known: Iterable[Rating], rater: str
) -> list[CandidateSet]:
    """Contexts of which a reply was not rated, or less often than another (a kill in between)."""
    counts: Counter[Key] = Counter(
        (r.episode, r.utterance, r.candidate) for r in known if r.rater == rater
    )
    missing = []
    for context in contexts:
        names = [GOLD, *map(candidate_name, range(len(context.candidates)))]
        found = {counts[(context.episode, context.utterance, name)] for name in names}
        if len(found) > 1 or 0 in found:
            missing.append(context)
    return missing


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
