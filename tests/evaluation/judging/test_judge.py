"""Single judgements: questions, answers, missing values, resume."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmline import Reply, Request, ScriptedPolicy, StopReason
from warmline.core.errors import (
    AuthenticationFailed,
    BadRequest,
    EngineTimeout,
    Interrupted,
    UnreadableReply,
)
from warmline.environments.episodes.rating import iter_ratings
from warmline.evaluation import judge, load_rubric
from warmline.evaluation.judging.judge import draw_subjects
from warmline.evaluation.judging.questions import JudgePrompts, read_verdict, subjects
from warmline.policies.base import BasePolicy, Capabilities

from ..corpora import LINES, episode

RESPONSE, DIALOGUE = load_rubric("response"), load_rubric("dialogue")
COHERENCE = RESPONSE.dimensions[0]


def answer(score: object, faults: list[str] | None = None, **more: object) -> str:
    given = {"explanation": "So it is.", "faults": faults or [], "score": score}
    return json.dumps({**given, **more})


def scores_by_words(request: Request) -> str:
    """A judge whose score is a function of the marked reply alone."""
    user = request.messages[-1].content
    reply = re.search(r"<reply_to_grade>\n(.*)\n</reply_to_grade>", user, re.S)
    return answer(1 + len(reply.group(1).split()) % 5)


# Reading


def test_a_named_fault_caps_the_score_and_both_are_kept() -> None:
    """ "unclear" allows at most 2, "ignored_clue" at most 3."""
    verdict = read_verdict(answer(5, ["ignored_clue", "unclear"]), COHERENCE, RESPONSE)
    assert (verdict.value, verdict.score) == (2, 5)
    assert verdict.faults == ("ignored_clue", "unclear")
    assert read_verdict(answer(1, ["unclear"]), COHERENCE, RESPONSE).value == 1


@pytest.mark.parametrize("text", [
    f"```json\n{answer(4)}\n```", f"My verdict: {answer(4)} That is all.", answer(4.0),
])  # fmt: skip
def test_fences_and_words_around_the_json_are_tolerated(text: str) -> None:
    assert read_verdict(text, COHERENCE, RESPONSE).value == 4


@pytest.mark.parametrize("text", [
    "", "4", "Score: 4", answer(0), answer(6), answer(3.5), answer("4"), answer(True),
    answer(None), answer(4, ["made_up"]), answer(4, extra=1), '{"score": 4}', "{" * 50,
])  # fmt: skip
def test_anything_else_is_missing_and_never_zero(text: str) -> None:
    verdict = read_verdict(text, COHERENCE, RESPONSE)
    assert (verdict.value, verdict.score) == (None, None)


@given(st.text(max_size=80) | st.builds(answer, st.integers(-9, 9)))
def test_a_value_is_on_the_scale_or_missing(text: str) -> None:
    value = read_verdict(text, COHERENCE, RESPONSE).value
    assert value is None or 1 <= value <= 5


# Asking


def test_each_reply_is_shown_with_what_came_before_it_and_no_more() -> None:
    first, second = subjects(episode(), RESPONSE)
    assert (first.utterance, second.utterance) == (1, 3)
    assert first.history == f"Seeker: {LINES[0]}"
    assert LINES[3] not in second.history
    assert second.text == LINES[3]
    [whole] = subjects(episode(), DIALOGUE)
    assert whole.utterance is None
    assert all(line in whole.history for line in LINES)


def test_rationality_sees_the_strategies_and_consistency_the_profile() -> None:
    [whole] = subjects(episode(), DIALOGUE)
    prompts = JudgePrompts(ScriptedPolicy(), DIALOGUE)
    shown = {d.name: prompts.single(whole, d, 1).messages[-1].content for d in DIALOGUE.dimensions}
    assert f"Supporter: [Question] {LINES[1]}" in shown.pop("rationality")
    about = shown.pop("consistency")
    assert "Situation: The bakery closed on Monday" in about
    assert "[Question]" not in about
    for text in shown.values():  # nobody else sees more than the words
        assert text.startswith("<conversation>\nSeeker: The bakery closed and I miss")
        assert "[Question]" not in text


def test_what_a_source_does_not_tell_is_not_shown() -> None:
    told = episode(strategies=(None,), problem_type="unspecified", situation="unspecified")
    [whole] = subjects(told, DIALOGUE)
    assert whole.about == ""
    assert whole.labelled[0] == whole.history


def test_an_engine_with_schemas_is_constrained_and_another_is_instructed() -> None:
    [subject, _] = subjects(episode(), RESPONSE)
    bound = JudgePrompts(ScriptedPolicy(), RESPONSE).single(subject, COHERENCE, 1)
    assert bound.schema["properties"]["score"]["enum"] == [1, 2, 3, 4, 5]

    class Plain(BasePolicy):
        capabilities = Capabilities(sampling=frozenset({"temperature"}))

    told = JudgePrompts(Plain(), RESPONSE).single(subject, COHERENCE, 1)
    assert told.schema is None
    assert "JSON schema" in told.messages[-1].content
    assert told.sampling.as_dict() == {"temperature": 0.8}
    assert bound.sampling.as_dict() == {
        "temperature": 0.8, "top_p": 0.95, "top_k": 50, "max_tokens": 300,
    }  # fmt: skip


def test_the_prompt_names_levels_faults_and_the_reply() -> None:
    [subject, _] = subjects(episode(), RESPONSE)
    system, user = JudgePrompts(ScriptedPolicy(), RESPONSE).single(subject, COHERENCE, 1).messages
    for level in COHERENCE.levels:
        assert level in system.content
    assert "contradiction (at most 2)" in system.content
    assert f"<reply_to_grade>\n{LINES[1]}\n</reply_to_grade>" in user.content


async def test_every_reply_dimension_and_sample_becomes_a_rating(tmp_path: Path) -> None:
    policy = ScriptedPolicy(scores_by_words)
    out = tmp_path / "ratings.jsonl"
    episodes = [episode("e1"), episode("e2"), episode("bad", stop=StopReason.ERROR)]
    tally = await judge(
        episodes, policy, RESPONSE, out=out, dimensions=("empathy", "overall"), samples=3
    )
    ratings = list(iter_ratings(out))
    assert (tally.asked, tally.resumed, len(ratings)) == (24, 0, 24)
    assert {r.episode for r in ratings} == {"e1", "e2"}
    assert {r.dimension for r in ratings} == {"empathy", "overall"}
    # "What did you like most about the bakery?" has 8 words: 1 + 8 % 5
    assert {r.value for r in ratings if r.utterance == 1} == {4}
    assert {(r.rater, r.kind, r.rubric) for r in ratings} == {("scripted", "judge", RESPONSE.id)}
    assert len({request.seed for request in policy.requests}) == 24


async def test_what_is_judged_is_not_asked_again(tmp_path: Path) -> None:
    out = tmp_path / "ratings.jsonl"
    policy = ScriptedPolicy(scores_by_words)
    await judge([episode("e1")], policy, RESPONSE, out=out, dimensions=("overall",))
    more = await judge(
        [episode("e1"), episode("e2")],
        policy,
        RESPONSE,
        out=out,
        dimensions=("overall",),
        samples=2,
    )
    assert (more.asked, more.resumed) == (6, 2)
    other = await judge(
        [episode("e1")], policy, RESPONSE, out=out, dimensions=("overall",), rater="another"
    )
    assert (other.asked, other.resumed) == (2, 0)


async def test_order_and_concurrency_change_no_question(tmp_path: Path) -> None:
    asked = []
    for number, (episodes, width) in enumerate(
        [([episode("e1"), episode("e2")], 1), ([episode("e2"), episode("e1")], 7)]
    ):
        policy = ScriptedPolicy(scores_by_words)
        await judge(episodes, policy, RESPONSE, out=tmp_path / str(number), concurrency=width)
        asked.append({(r.messages, r.seed) for r in policy.requests})
    assert asked[0] == asked[1]


async def test_a_torn_last_line_is_judged_again(tmp_path: Path) -> None:
    out = tmp_path / "ratings.jsonl"
    policy = ScriptedPolicy(scores_by_words)
    await judge([episode()], policy, RESPONSE, out=out, dimensions=("overall",))
    out.write_bytes(out.read_bytes()[:-9])
    tally = await judge([episode()], policy, RESPONSE, out=out, dimensions=("overall",))
    assert (tally.asked, tally.resumed) == (1, 1)
    assert len(list(iter_ratings(out))) == 2


class Failing(BasePolicy):
    """Fails at the first question, with the error given, and answers afterwards."""

    name = "failing"
    capabilities = Capabilities(schema=True)

    def __init__(self, error: Exception) -> None:
        self.errors = [error]

    async def respond(self, request: Request) -> Reply:
        if self.errors:
            raise self.errors.pop()
        return Reply(answer(3))


@pytest.mark.parametrize("error", [UnreadableReply("no form"), BadRequest("too odd")])
async def test_an_answer_that_will_never_come_is_a_missing_value(
    tmp_path: Path, error: Exception
) -> None:
    out = tmp_path / "ratings.jsonl"
    tally = await judge(
        [episode()], Failing(error), RESPONSE, out=out, dimensions=("overall",), concurrency=1
    )
    first, second = iter_ratings(out)
    assert (first.value, second.value) == (None, 3)
    assert first.notes == {"error": str(error)}
    assert (tally.unreadable["overall"], tally.failed) == (1, 0)


async def test_an_engine_that_is_away_leaves_the_question_for_the_next_time(
    tmp_path: Path,
) -> None:
    out = tmp_path / "ratings.jsonl"
    policy = Failing(EngineTimeout("slow"))
    tally = await judge([episode()], policy, RESPONSE, out=out, dimensions=("overall",))
    assert (tally.asked, tally.failed) == (1, 1)
    again = await judge([episode()], policy, RESPONSE, out=out, dimensions=("overall",))
    assert (again.asked, again.resumed, again.failed) == (1, 1, 0)


async def test_a_wrong_key_stops_at_once(tmp_path: Path) -> None:
    with pytest.raises(AuthenticationFailed):
        await judge(
            [episode()], Failing(AuthenticationFailed("no")), RESPONSE, out=tmp_path / "r.jsonl"
        )


async def test_an_unreadable_answer_is_kept_in_the_notes(tmp_path: Path) -> None:
    out = tmp_path / "ratings.jsonl"
    await judge([episode()], ScriptedPolicy(["Nice!"]), DIALOGUE, out=out, dimensions=("safety",))
    [rating] = iter_ratings(out)
    assert (rating.value, rating.notes) == (None, {"answer": "Nice!"})


async def test_a_stop_finishes_what_is_open_and_the_rest_comes_later(tmp_path: Path) -> None:
    out, stop = tmp_path / "ratings.jsonl", asyncio.Event()
    policy = ScriptedPolicy(scores_by_words)
    with pytest.raises(Interrupted, match="stopped"):
        await judge(
            [episode()], policy, RESPONSE, out=out, concurrency=1, stop=stop,
            observe=lambda _: stop.set(),
        )  # fmt: skip
    assert len(list(iter_ratings(out))) == 1
    tally = await judge([episode()], policy, RESPONSE, out=out)
    assert (tally.asked, tally.resumed) == (13, 1)


async def test_a_drawn_sample_is_judged_alone(tmp_path: Path) -> None:
    episodes = [episode(f"e{number}") for number in range(10)]
    drawn = draw_subjects(episodes, RESPONSE, 5, seed=1)
    assert drawn == draw_subjects(reversed(episodes), RESPONSE, 5, seed=1)
    assert drawn != draw_subjects(episodes, RESPONSE, 5, seed=2)
    out = tmp_path / "ratings.jsonl"
    await judge(
        episodes, ScriptedPolicy(scores_by_words), RESPONSE, out=out, dimensions=("overall",),
        only=drawn,
    )  # fmt: skip
    assert {(r.episode, r.utterance) for r in iter_ratings(out)} == drawn
