"""What a judge is asked, and how its answer is read. Pure: values in, values out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from ...agents.roles import Role, Strategy
from ...agents.templates import PromptTemplate
from ...core.seeds import salted_seed
from ...environments.episodes.episode import Episode
from ...environments.scenarios.scenario import UNSPECIFIED, Scenario
from ...policies.answers import read_json, schema_instruction, with_instruction
from ...policies.base import Message, Policy, Request, Sampling, capabilities_of
from ...policies.wrappers.base import honoured
from ..replies.places import PlacedReply
from .rubric import Dimension, Rubric

SAMPLING = Sampling(temperature=0.8, top_p=0.95, top_k=50, max_tokens=300)
"""Self-Evolution App. E.2; `max_tokens` is ours."""

TEMPLATE = Path(__file__).with_name("judge.jinja")

Better = Literal["first", "second", "tie"]
PAIR_TASKS = {
    "utterance": "You compare two replies of a supporter to a person in distress, both made in the"
    " same conversation.",
    "episode": "You compare two conversations between a person in distress (the seeker) and a"
    " supporter.",
}


@dataclass(frozen=True, slots=True)
class Subject:
    """What is judged.

    Attributes:
        episode: its id.
        utterance: index of the supporter utterance; None for the whole episode.
        history: what was said before it; the whole conversation for an episode.
        text: the utterance; empty for an episode.
        candidate: which of several texts for that utterance; empty for the one that was said.
        labelled: history and text with the supporter's strategies, for dimensions that show them.
        about: who the seeker was to be, likewise; empty where nothing is known.
    """

    episode: str
    utterance: int | None
    history: str
    text: str = ""
    candidate: str = ""
    labelled: tuple[str, str] = ("", "")
    about: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judge's answer as read.

    Attributes:
        value: after the caps of the faults named; None where the answer could not be read.
        score: as the judge gave it.
        faults: those named.
    """

    value: int | None
    score: int | None = None
    faults: tuple[str, ...] = ()
    explanation: str = ""


@dataclass(frozen=True, slots=True)
class PairVerdict:
    """Which of two was found better, by place shown; None where the answer could not be read."""

    better: Better | None
    explanation: str = ""


def subjects(episode: Episode, rubric: Rubric) -> Iterator[Subject]:
    """What the rubric judges of an episode: each supporter utterance that answers something, or
    the whole."""
    said, about = episode.utterances, about_seeker(episode.scenario)
    if rubric.subject == "episode":
        if said:
            labelled = (labelled_transcript(said), "")
            yield Subject(episode.id, None, transcript(said), labelled=labelled, about=about)
        return
    for index, utterance in enumerate(said):
        if utterance.role == Role.SUPPORTER and index > 0 and utterance.text:
            before = said[:index]
            yield Subject(
                episode.id,
                index,
                transcript(before),
                utterance.text,
                labelled=(
                    labelled_transcript(before),
                    with_strategies(utterance.text, utterance.strategies),
                ),
                about=about,
            )


def reply_subjects(replies: Iterable[PlacedReply]) -> Iterator[Subject]:
    """Replies of `evaluate`, each the subject of a rubric about utterances (Self-Evolution Table 7)."""
    for placed in replies:
        yield Subject(
            placed.reply.episode,
            placed.reply.turn,
            transcript(placed.history),
            placed.text,
            placed.candidate,
            labelled=(
                labelled_transcript(placed.history),
                with_strategies(placed.text, placed.strategies),
            ),
            about=about_seeker(placed.scenario),
        )


class Said(Protocol):
    """A turn of a conversation."""

    @property
    def role(self) -> Role: ...
    @property
    def text(self) -> str: ...


class Labelled(Said, Protocol):
    """A turn with its strategies."""

    @property
    def strategies(self) -> tuple[Strategy, ...]: ...


def transcript(said: Sequence[Said]) -> str:
    """What was said, a turn a line."""
    return "\n".join(f"{one.role.value.capitalize()}: {one.text}" for one in said)


def labelled_transcript(said: Sequence[Labelled]) -> str:
    """The same with the strategies of the supporter."""
    return "\n".join(
        f"{one.role.value.capitalize()}: {with_strategies(one.text, one.strategies)}"
        for one in said
    )


def with_strategies(text: str, strategies: Sequence[Strategy]) -> str:
    """`[Question] What happened?`; the text alone where no strategy is known."""
    return f"[{', '.join(s.value for s in strategies)}] {text}" if strategies else text


def about_seeker(scenario: Scenario) -> str:
    """Problem type, situation and profile, as far as they are given."""
    given = (
        ("Problem type", scenario.problem_type),
        ("Situation", scenario.situation),
        ("Profile", str(scenario.profile or "")),
    )
    return "\n".join(f"{name}: {text}" for name, text in given if text not in ("", UNSPECIFIED))


def question_seed(seed: int, subject: Subject, salt: str, nth: int) -> int:
    """The seed of one call. It depends on the question alone, not on the order of work."""
    place = f"{subject.episode}/{subject.utterance}/{subject.candidate}/{salt}"
    made = salted_seed(seed, place, nth)
    assert made is not None
    return made


class JudgePrompts:
    """Makes the requests for one policy and one rubric.

    Args:
        policy: the judge; asked for JSON by schema where it can be bound to one, else in words.
        rubric: what it is asked.
        sampling: overrides single fields of `SAMPLING`; defaults that the policy cannot honour are
            left out.
        template: of the prompts, with the blocks of `judge.jinja`.
    """

    def __init__(
        self,
        policy: Policy,
        rubric: Rubric,
        *,
        sampling: Sampling | None = None,
        template: str | Path | None = None,
    ) -> None:
        able = capabilities_of(policy)
        self._bound = able is not None and able.schema
        self._rubric = rubric
        self._sampling = (sampling or Sampling()).over(honoured(SAMPLING, policy))
        self._template = PromptTemplate(template or TEMPLATE)

    def single(self, subject: Subject, dimension: Dimension, seed: int) -> Request:
        """For a score of one subject on one dimension."""
        low, high = self._rubric.scale
        system = self._template.render(
            "system", task=self._rubric.task, dimension=dimension, low=low, high=high
        )
        shown = (subject.history, subject.text)
        if "strategies" in dimension.shows:
            shown = subject.labelled
        user = self._template.render(
            "user", history=shown[0], reply=shown[1], dimension=dimension,
            about=subject.about if "profile" in dimension.shows else "",
        )  # fmt: skip
        return self._request(system, user, verdict_schema(dimension, self._rubric), seed)

    def pair(
        self,
        history: str,
        first: str,
        second: str,
        dimension: Dimension,
        seed: int,
        *,
        about: str = "",
    ) -> Request:
        """For the better of two texts in this order; `history` is empty where they are whole
        conversations, `about` where the dimension does not show who the seeker was to be."""
        system = self._template.render(
            "pair_system", pair_task=PAIR_TASKS[self._rubric.subject], dimension=dimension
        )
        user = self._template.render(
            "pair_user", history=history, first=first, second=second, dimension=dimension,
            about=about,
        )  # fmt: skip
        return self._request(system, user, PAIR_SCHEMA, seed)

    def _request(self, system: str, user: str, schema: dict[str, Any], seed: int) -> Request:
        messages = [Message("system", system), Message("user", user)]
        if not self._bound:
            messages = with_instruction(messages, schema_instruction(schema))
        return Request(
            messages=tuple(messages),
            role="judge",
            sampling=self._sampling,
            seed=seed,
            schema=schema if self._bound else None,
        )


PAIR_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "explanation": {"type": "string"},
        "better": {"type": "string", "enum": ["first", "second", "tie"]},
    },
    "required": ["explanation", "better"],
    "additionalProperties": False,
}


def verdict_schema(dimension: Dimension, rubric: Rubric) -> dict[str, Any]:
    """The JSON schema of a verdict. The reason comes first, so the score follows from it."""
    low, high = rubric.scale
    properties: dict[str, Any] = {"explanation": {"type": "string"}}
    if dimension.faults:
        names = [fault.name for fault in dimension.faults]
        properties["faults"] = {"type": "array", "items": {"type": "string", "enum": names}}
    properties["score"] = {"type": "integer", "enum": list(range(low, high + 1))}
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def read_verdict(text: str, dimension: Dimension, rubric: Rubric) -> Verdict:
    """The verdict in an answer: the JSON alone, in a code fence, or with words around it.

    A score outside the scale, a fraction, an unknown fault or anything that is not the JSON asked
    for is unreadable: the value is None, never 0 and never the nearest score.
    """
    found = _json_in(text, verdict_schema(dimension, rubric))
    if found is None:
        return Verdict(None)
    score, faults = int(found["score"]), tuple(dict.fromkeys(found.get("faults", ())))
    cap = dimension.cap(faults)
    value = score if cap is None else min(score, cap)
    return Verdict(value, score, faults, found["explanation"].strip())


def read_pair(text: str) -> PairVerdict:
    """The verdict in the answer to a comparison; unreadable is None, never a tie."""
    found = _json_in(text, PAIR_SCHEMA)
    if found is None:
        return PairVerdict(None)
    return PairVerdict(found["better"], found["explanation"].strip())


def _json_in(text: str, schema: dict[str, Any]) -> dict[str, Any] | None:
    fitting = read_json(text, schema)
    if fitting is None and "{" in text:
        fitting = read_json(text[text.index("{") : text.rfind("}") + 1], schema)
    return None if fitting is None else dict(fitting[1])
