"""`refine`: when a reply is rewritten, when the first stands, and what is recorded."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest

import warmline
from warmline.agents.roles import Role, Strategy
from warmline.core.errors import (
    ConfigError,
    ContentRefused,
    EngineTimeout,
    UnreadableReply,
    Unsupported,
)
from warmline.policies.base import Capabilities, Reply, Request, Sampling, Usage, describe_policy
from warmline.policies.registry import wrap_policy
from warmline.policies.wrappers import Refine
from warmline.policies.wrappers.refine import SCHEMA, read_analysis

from .wrapping import ASK, CHOOSE, Bare, Engine

pytestmark = pytest.mark.timeout(30)
FIRST = "I am sorry to hear that."
BETTER = "Monday, so quickly. What was it like?"
WORDS = Capabilities(schema=False)


def analysis(reply: str = BETTER, **changes: Any) -> dict[str, Any]:
    return {
        "profile": "a baker who lost the shop",
        "emotion": "shock",
        "personality": "brief",
        "intention": "to be heard",
        "score": 2,
        "criticism": "a stock phrase",
        "reply": reply,
        **changes,
    }


def reviewing(request: Request) -> bool:
    return "[Planned reply]" in request.messages[-1].content


def engine(*reviews: Any, first: str = FIRST, **options: Any) -> Engine:
    """Answers `first`, and reviews with one after the other."""
    left = list(reviews)

    def answer(request: Request) -> Any:
        if not reviewing(request):
            return first
        review = left.pop(0)
        return json.dumps(review) if isinstance(review, dict) else review

    return Engine(answer, **options)


async def test_a_reply_is_rewritten_after_reflection() -> None:
    inner = engine(analysis())
    reply = await Refine(inner).respond(ASK)
    assert reply.text == BETTER
    assert reply.policy == "refine(engine)"
    assert reply.usage == Usage(200, 40, 20)
    assert reply.attempts == 2
    assert reply.notes == {
        "refine": {"first": FIRST, "outcome": "rewritten", "analysis": analysis()}
    }
    json.dumps(reply.notes)
    assert inner.asked[0] == ASK


async def test_the_review_sees_the_dialogue_and_not_the_instructions() -> None:
    inner = engine(analysis())
    await Refine(inner, max_tokens=300).respond(dataclasses.replace(ASK, prefill=""))
    review = inner.asked[1]
    for said in ("My bakery closed.", "When did it close?", "On Monday.", FIRST):
        assert said in review.messages[1].content
    assert "You support." not in "".join(m.content for m in review.messages)
    assert "at most 3 sentences" in review.messages[0].content
    assert review.schema == SCHEMA
    assert review.sampling == Sampling(temperature=0.7, max_tokens=300)
    assert review.seed not in (None, ASK.seed)
    assert (review.role, review.session) == ("supporter", "e1/supporter/refine")
    assert review.max_sentences is None
    inner.check(review)


async def test_an_engine_without_schemas_is_asked_in_words() -> None:
    chatty = f"Sure! ```json\n{json.dumps(analysis())}\n``` I hope this helps."
    inner = engine(chatty, able=WORDS)
    assert (await Refine(inner).respond(ASK)).text == BETTER
    assert inner.asked[1].schema is None
    assert '"criticism"' in inner.asked[1].messages[0].content
    inner.check(inner.asked[1])
    assert Refine(Bare()).question(ASK, "x").schema is None


async def test_unreadable_reviews_are_asked_for_again_with_other_seeds() -> None:
    inner = engine("no json", UnreadableReply("gave up"), analysis())
    reply = await Refine(inner).respond(ASK)
    assert reply.text == BETTER
    assert reply.attempts == 4
    assert reply.usage == Usage(300, 60, 30), "what the engine gave up on is not known"
    assert len({request.seed for request in inner.asked}) == 4


async def test_json_is_asked_for_again_three_times_then_the_first_reply_is_kept() -> None:
    inner = engine("one", "two", "three", "four", analysis())
    reply = await Refine(inner).respond(ASK)
    assert reply.text == FIRST
    assert len(inner.asked) == 5
    assert reply.notes == {"refine": {"first": FIRST, "outcome": "unreadable", "analysis": None}}
    fourth = engine("one", "two", "three", analysis())
    assert (await Refine(fourth).respond(ASK)).text == BETTER
    short = engine("one", analysis())
    assert (await Refine(short, max_attempts=1).respond(ASK)).text == FIRST


async def test_a_refused_review_keeps_the_first_reply() -> None:
    inner = engine(ContentRefused("flagged"), analysis())
    reply = await Refine(inner).respond(ASK)
    assert (reply.text, reply.notes["refine"]["outcome"]) == (FIRST, "unreadable")
    assert len(inner.asked) == 2, "what is refused once is not asked again"


async def test_more_than_twice_as_long_is_refused() -> None:
    just, over = "x" * (2 * len(FIRST)), "x" * (2 * len(FIRST) + 1)
    assert (await Refine(engine(analysis(just))).respond(ASK)).text == just
    reply = await Refine(engine(analysis(over))).respond(ASK)
    assert reply.text == FIRST
    assert reply.notes is not None
    assert reply.notes["refine"]["outcome"] == "too_long"
    assert reply.notes["refine"]["analysis"]["reply"] == over
    assert (await Refine(engine(analysis(over)), max_length=None).respond(ASK)).text == over
    assert (await Refine(engine(analysis(just)), max_length=1.5).respond(ASK)).text == FIRST


async def test_the_opening_asked_for_is_kept() -> None:
    request = dataclasses.replace(ASK, prefill="I am")
    inner = engine(analysis("We are sorry."))
    reply = await Refine(inner).respond(request)
    assert reply.text == FIRST
    assert reply.notes is not None
    assert reply.notes["refine"]["outcome"] == "lost_opening"
    assert "begins with these words: I am" in inner.asked[1].messages[0].content
    kept = await Refine(engine(analysis("I am with you."))).respond(request)
    assert kept.text == "I am with you."


@pytest.mark.parametrize(
    "request_",
    [CHOOSE, dataclasses.replace(ASK, role="seeker"), dataclasses.replace(ASK, schema=SCHEMA),
     dataclasses.replace(CHOOSE, role="supporter")],
)  # fmt: skip
async def test_other_requests_are_passed_on(request_: Request) -> None:
    inner = engine()
    reply = await Refine(inner).respond(request_)
    assert (reply.policy, reply.notes, len(inner.asked)) == ("engine", None, 1)


async def test_roles_are_a_setting() -> None:
    seeker = dataclasses.replace(ASK, role="seeker")
    assert (await Refine(engine(analysis()), roles=["seeker"]).respond(seeker)).text == BETTER


async def test_other_failures_are_raised() -> None:
    with pytest.raises(EngineTimeout):
        await Refine(engine(EngineTimeout("slow"))).respond(ASK)


async def test_log_probabilities_of_a_rewritten_reply_are_refused() -> None:
    with pytest.raises(Unsupported, match="it rewrites its replies"):
        await Refine(engine()).respond(dataclasses.replace(ASK, logprobs=True))


@pytest.mark.parametrize(
    ("change", "readable"),
    [
        (lambda a: a, True),
        (lambda a: {**a, "score": 0}, False),
        (lambda a: {**a, "score": 6}, False),
        (lambda a: {**a, "score": "3"}, False),
        (lambda a: {**a, "reply": "  "}, False),
        (lambda a: {k: v for k, v in a.items() if k != "emotion"}, False),
        (lambda a: {**a, "emotion": {"name": "shock"}}, False),
    ],
)
def test_reading_an_analysis(change: Callable[[Any], Any], readable: bool) -> None:
    text = json.dumps(change(analysis()))
    assert (read_analysis(text) is not None) == readable
    assert (read_analysis(f"Here: {text} Done.") is not None) == readable


@pytest.mark.parametrize("text", ["", "{", "}{", "{}", "no", "{ {"])
def test_reading_rubbish(text: str) -> None:
    assert read_analysis(text) is None


async def test_the_notes_of_an_inner_wrapper_stay() -> None:
    inner = Engine(
        lambda r: json.dumps(analysis()) if reviewing(r)
        else Reply(FIRST, usage=Usage(), notes={"best_of": {"chosen": 0}})
    )  # fmt: skip
    reply = await Refine(inner).respond(ASK)
    assert reply.notes is not None
    assert set(reply.notes) == {"best_of", "refine"}


def test_impossible_settings() -> None:
    with pytest.raises(
        ConfigError, match=r"(?s)max_attempts must be.*max_length must be.*max_tokens must"
    ):
        Refine(Engine(), max_attempts=0, max_length=0.5, max_tokens=0)


async def test_in_a_conversation_only_the_supporter_is_rewritten() -> None:
    def answer(request: Request) -> str:
        if reviewing(request):
            return json.dumps(analysis("Tell me about Monday."))
        return request.choices[0] if request.choices else f"I think of {request.role} things."

    policy = Refine(warmline.ScriptedPolicy(answer))
    environment = warmline.SupportEnvironment(seeker=policy, supporter=policy, max_turns=4)
    episode = await environment.run(warmline.draw_scenarios(1, seed=1)[0], seed=1)
    assert [u.text for u in episode.utterances] == [
        "I think of seeker things.", "Tell me about Monday.",
    ] * 2  # fmt: skip
    assert [call.policy for call in episode.calls] == ["scripted", "refine(scripted)"] * 2


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("refine", "refine:max_attempts=4,max_length=2.0"),
        ("refine:tries=2", "refine:max_attempts=2"),
        ("refine:longest=1.5", "refine:max_length=1.5"),
        ({"name": "refine", "longest": None}, {"name": "refine", "max_length": None}),
    ],
)
def test_old_option_names_mean_the_same_and_identities_stay(old: Any, new: Any) -> None:
    before, after = wrap_policy(Engine(), old), wrap_policy(Engine(), new)
    assert describe_policy(before) == describe_policy(after)
    assert list(describe_policy(after)) == [
        "policy", "roles", "tries", "longest", "max_tokens", "inner"
    ]  # fmt: skip


def test_an_option_under_both_names_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"(?s)old name of max_attempts.*old name of max_length"):
        Refine(Engine(), max_attempts=2, tries=1, max_length=None, longest=1.0)


def test_notes_to_the_supporter_do_not_pass_for_the_persons_words() -> None:
    said = warmline.agents.Turn(Role.SEEKER, "I lost the shop.")
    own = warmline.agents.Turn(Role.SUPPORTER, "When?")
    brief = warmline.agents.SupporterBrief("Job Crisis")
    supporter = warmline.Supporter(engine())
    for history in ((said,), (said, own), (own, said), ()):
        seen = warmline.agents.SupporterObservation(brief, history, Strategy.QUESTION)
        asked = supporter.request(seen)
        assert "Note, not from the person" in asked.messages[-1].content
        shown = Refine(engine()).question(asked, "Why?").messages[-1].content
        words = [f"[{'Person' if t is said else 'Supporter'}]\n{t.text}" for t in history]
        assert shown.partition("[Planned reply]")[0].strip() == "\n\n".join(words)
