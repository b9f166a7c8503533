"""`best_of`: the candidates, the ranking, and what happens when some of it fails."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmline.core.errors import AuthenticationFailed, ConfigError, EngineTimeout
from warmline.core.seeds import salted_seed
from warmline.policies.base import Capabilities, Reply, Request, Sampling, Usage
from warmline.policies.wrappers import BestOf
from warmline.policies.wrappers.ranking import ByRubric, read_grade

from .wrapping import ASK, CHOOSE, Bare, Engine, Scoring

pytestmark = pytest.mark.timeout(30)
SEEDS = [5, *(salted_seed(5, "best_of", n) for n in (1, 2, 3))]


def texts(*lines: str) -> Any:
    """An answer function: the nth candidate's text is the nth line."""
    return lambda request: lines[SEEDS.index(request.seed)]


def length(request: Request, reply: Reply) -> float:
    return len(reply.text)


async def test_candidates_are_asked_at_once_with_seeds_of_their_own() -> None:
    engine = Engine()
    policy = BestOf(engine, n=4, scorer=length)
    first, again = [await policy.respond(ASK) for _ in range(2)]
    assert [r.seed for r in engine.asked[:4]] == SEEDS
    assert engine.asked[0] == ASK
    assert {dataclasses.replace(r, seed=5) for r in engine.asked[:4]} == {ASK}
    assert engine.most_in_flight == 4
    assert dataclasses.replace(first, latency=0) == dataclasses.replace(again, latency=0)


async def test_the_highest_score_wins_and_all_is_told() -> None:
    engine = Engine(texts("a", "ccc", "bb", "a"))
    reply = await BestOf(engine, n=4, scorer=length).respond(ASK)
    assert reply.text == "ccc"
    assert reply.policy == "best_of(engine)"
    assert reply.usage == Usage(400, 80, 40)
    assert reply.attempts == 4
    assert reply.notes == {
        "best_of": {
            "chosen": 1,
            "texts": {"0": "a", "1": "ccc", "2": "bb", "3": "a"},
            "scores": {"0": 1.0, "1": 3.0, "2": 2.0, "3": 1.0},
        }
    }
    json.dumps(reply.notes)


@given(st.lists(st.sampled_from([None, math.nan, 1.0, 2.0, -3.0]), min_size=1, max_size=4))
def test_ties_go_to_the_earliest_and_missing_is_not_zero(scores: list[float | None]) -> None:
    engine = Engine(texts("t0", "t1", "t2", "t3"))
    policy = BestOf(engine, n=len(scores), scorer=lambda q, reply: scores[int(reply.text[1])])
    reply = asyncio.run(policy.respond(ASK))
    known = [(s, -n) for n, s in enumerate(scores) if s is not None and not math.isnan(s)]
    expected = -max(known)[1] if known else 0
    if len(scores) == 1:
        expected = 0
    assert reply.text == f"t{expected}"


async def test_equal_texts_are_scored_once_and_one_candidate_not_at_all() -> None:
    scored: list[str] = []

    async def scorer(request: Request, reply: Reply) -> float:
        scored.append(reply.text)
        return 1.0

    await BestOf(Engine(texts("a", "b", "a", "a")), scorer=scorer).respond(ASK)
    assert sorted(scored) == ["a", "b"]
    await BestOf(Engine(texts("a")), n=1, scorer=scorer).respond(ASK)
    assert len(scored) == 2


async def test_constrained_answers_are_passed_on() -> None:
    engine = Engine()
    policy = BestOf(engine, scorer=length)
    for request in (CHOOSE, dataclasses.replace(ASK, schema={"type": "object"})):
        reply = await policy.respond(request)
        assert (reply.policy, reply.notes) == ("engine", None)
    assert len(engine.asked) == 2


async def test_failed_candidates_are_missing_and_named() -> None:
    def answer(request: Request) -> str | Exception:
        return EngineTimeout("slow") if request.seed == 5 else f"seed {request.seed}"

    reply = await BestOf(Engine(answer), n=3, scorer=length).respond(ASK)
    assert reply.text.startswith("seed")
    assert reply.notes is not None
    assert reply.notes["best_of"]["failed"] == {"0": "EngineTimeout: slow"}
    assert set(reply.notes["best_of"]["scores"]) == {"1", "2"}
    assert reply.attempts == 3


async def test_all_failed_or_one_fatal_is_a_failure() -> None:
    with pytest.raises(EngineTimeout):
        await BestOf(Engine(lambda r: EngineTimeout("slow")), scorer=length).respond(ASK)

    def answer(request: Request) -> str | Exception:
        return "fine" if request.seed == 5 else AuthenticationFailed("key")

    with pytest.raises(AuthenticationFailed):
        await BestOf(Engine(answer), n=2, scorer=length).respond(ASK)


async def test_a_fatal_failure_cancels_the_other_candidates() -> None:
    class Half(Engine):
        async def respond(self, request: Request) -> Reply:
            if request.seed == SEEDS[2]:
                raise AuthenticationFailed("key")
            return await super().respond(request)

    engine = Half(hold=asyncio.Event())
    with pytest.raises(AuthenticationFailed):
        await asyncio.wait_for(BestOf(engine, n=3, scorer=length).respond(ASK), 5)
    assert engine.in_flight == 0
    assert len(engine.asked) == 2


async def test_a_failing_scorer_leaves_scores_missing() -> None:
    def grade(request: Request) -> str | Exception:
        if "[The reply to grade]\nbb" in request.messages[-1].content:
            return EngineTimeout("slow")
        return "2" if "\nccc" in request.messages[-1].content else "?"

    judge = Engine(grade, name="judge")
    reply = await BestOf(Engine(texts("a", "bb", "ccc")), n=3, scorer=judge).respond(ASK)
    assert reply.text == "ccc"
    assert reply.notes is not None
    assert reply.notes["best_of"]["scores"] == {"0": None, "1": None, "2": 2.0}
    assert reply.notes["best_of"]["scorer_failed"] == {"1": "EngineTimeout: slow"}
    locked = Engine(lambda r: AuthenticationFailed("key"))
    with pytest.raises(AuthenticationFailed):
        await BestOf(Engine(), scorer=locked).respond(ASK)


async def test_nothing_readable_leaves_the_first_candidate() -> None:
    judge = Engine(lambda r: "I would rather not say.")
    assert (await BestOf(Engine(), scorer=judge).respond(ASK)).text == "seed 5"


# The rubric


@pytest.mark.parametrize(
    ("able", "bound"),
    [
        (Capabilities(choices=True, schema=True), "choices"),
        (Capabilities(choices=False, schema=True), "schema"),
        (Capabilities(choices=False, schema=False), None),
    ],
)
async def test_the_judge_is_bound_as_far_as_it_can_be(
    able: Capabilities, bound: str | None
) -> None:
    judge = Engine(lambda r: '{"score": 4}' if r.schema else "4", able=able, name="judge")
    policy = BestOf(Engine(texts("a", "b")), n=2, scorer=judge, rubric="5 is short.")
    reply = await policy.respond(ASK)
    assert reply.notes is not None
    assert reply.notes["best_of"]["scores"] == {"0": 4.0, "1": 4.0}
    assert reply.usage == Usage(400, 80, 40), "the judge's tokens too"
    assert reply.attempts == 4
    asked = judge.asked[0]
    assert {"choices": asked.choices, "schema": asked.schema}.get(bound or "choices") or not bound
    assert (asked.choices is None) == (bound != "choices")
    assert (asked.schema is None) == (bound != "schema")
    assert "5 is short." in asked.messages[0].content
    assert asked.role == "scorer"
    for part in ("My bakery closed.", "On Monday.", "[The reply to grade]\na"):
        assert part in asked.messages[1].content
    judge.check(asked)


async def test_the_judge_is_asked_for_nothing_it_cannot_do() -> None:
    judge = Engine(lambda r: "3", able=Capabilities(sampling=frozenset({"top_p"})))
    await BestOf(Engine(), scorer=judge).respond(ASK)
    assert judge.asked[0].sampling == Sampling()
    assert ByRubric(Bare()).question(ASK, Reply("x")).choices is not None


@pytest.mark.parametrize(
    ("text", "grade"),
    [
        ("3", 3), (" 5. ", 5), ('"4"', 4), ('{"score": 2}', 2), ('```json\n{"score": 2}\n```', 2),
        ("0", None), ("6", None), ("3.5", None), ("45", None), ("4/5", None), ("", None),
        ("between 2 and 3", None), ('{"score": 7}', None), ('{"score": "3"}', None),
    ],
)  # fmt: skip
def test_reading_grades(text: str, grade: float | None) -> None:
    assert read_grade(text) == grade


async def test_a_judge_by_name_is_opened_and_closed_with_the_wrapper() -> None:
    judge = Engine(lambda r: "1")
    async with BestOf(Engine(), scorer=judge):
        assert judge.opened == 1
    assert judge.closed == 1
    named = BestOf(Engine(), n=2, scorer="scripted")
    assert (await named.respond(ASK)).text.startswith("seed")
    assert named.describe()["scorer"]["policy"] == "scripted"


async def test_the_inner_policy_judges_itself_by_default() -> None:
    engine = Engine(lambda r: "5" if r.choices and "\nb" in r.messages[1].content else
                    ("1" if r.choices else texts("a", "b")(r)))  # fmt: skip
    assert (await BestOf(engine, n=2).respond(ASK)).text == "b"


# Likelihood


async def test_a_scoring_policy_ranks_by_mean_log_probability() -> None:
    # -len a word: the sum would prefer "aa", the mean prefers "b b b"
    engine, model = Engine(texts("aa", "b b b")), Scoring(name="model")
    policy = BestOf(engine, n=2, scorer=model)
    reply = await policy.respond(ASK)
    assert reply.text == "b b b"
    assert reply.notes is not None
    assert reply.notes["best_of"]["scores"] == {"0": -2.0, "1": -1.0}
    assert not model.asked
    assert policy.describe()["scorer"]["ranking"] == "likelihood"


async def test_the_prefill_is_given_and_not_scored() -> None:
    model = Scoring()
    engine = Engine(lambda r: f"I see {r.seed}", able=Capabilities(prefill=True))
    await BestOf(engine, n=2, scorer=model).respond(dataclasses.replace(ASK, prefill="I see"))
    assert sorted(model.scored) == sorted(f" {seed}" for seed in SEEDS[:2])


async def test_a_rubric_makes_a_judge_of_a_scoring_policy_too() -> None:
    settings: list[dict[str, Any]] = [{"ranking": "rubric"}, {"rubric": "5 is best"}]
    for options in settings:
        model = Scoring(lambda r: "3")
        await BestOf(Engine(), scorer=model, **options).respond(ASK)
        assert model.asked
        assert not model.scored


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "at least one candidate"),
        ({"scorer": 3}, "cannot rank by 3"),
        ({"scorer": length, "rubric": "x"}, "without ranking and rubric"),
        ({"scorer": "scripted", "ranking": "likelihood"}, "'scripted' has no score"),
        ({"scorer": "scripted", "ranking": "likelyhood"}, "did you mean 'likelihood'"),
        ({"scorer": Scoring(), "ranking": "likelihood", "rubric": "x"}, "no use for a rubric"),
        ({"scorer": "scriptd"}, "did you mean 'scripted'"),
    ],
)
def test_impossible_settings(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        BestOf(Engine(), **options)


async def test_being_cancelled_cancels_every_candidate() -> None:
    engine = Engine(hold=asyncio.Event())
    asked = asyncio.create_task(BestOf(engine, scorer=length).respond(ASK))
    while engine.in_flight < 4:
        await asyncio.sleep(0)
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    assert asked.cancelled()
    assert engine.in_flight == 0


async def test_cached_only_where_nothing_was_paid_and_usage_none_is_not_zero() -> None:
    def answer(request: Request) -> Reply:
        return Reply(str(request.seed), usage=None, cached=request.seed == 5)

    reply = await BestOf(Engine(answer), n=2, scorer=length).respond(ASK)
    assert not reply.cached
    assert reply.usage is None
    free = Engine(lambda r: Reply("x", cached=True))
    assert (await BestOf(free, n=2, scorer=length).respond(ASK)).cached
