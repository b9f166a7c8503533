"""A round of generation: order, retries, rejects, resuming; with a scripted generator."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import warmline
from warmline import Request, Scenario, ScriptedPolicy
from warmline.core.errors import (
    AuthenticationFailed,
    BadRequest,
    DataError,
    EngineUnavailable,
    RunError,
)
from warmline.environments.corpus.generation.coverage import Coverage, Slot, plan
from warmline.environments.corpus.generation.iteration import GenerationRound
from warmline.environments.corpus.generation.journal import PoolJournal, Reject, read_rejects
from warmline.environments.corpus.generation.pools import Pools, pools_from, shipped_pools
from warmline.environments.corpus.generation.prompts import GenerationSettings, Prompts
from warmline.policies.base import Sampling

from ...helpers import scenario, talk
from ..building import answer, profile, scripted, situation

TYPES = ["Burnout", "Job Crisis", "Sleep Problems"]
SLOTS = plan(6, Coverage(), seed=0, types=TYPES)


async def generate(
    folder: Path,
    policy: ScriptedPolicy,
    *,
    slots: list[Slot] = SLOTS,
    pools: Pools | None = None,
    concurrency: int = 3,
    stop: asyncio.Event | None = None,
    **settings: Any,
) -> list[Scenario]:
    chosen = GenerationSettings(**settings)
    with PoolJournal(folder) as journal:
        return await GenerationRound(
            1,
            slots,
            pools or shipped_pools(),
            policy=policy,
            prompts=Prompts.of(chosen, Sampling()),
            settings=chosen,
            journal=journal,
            seed=3,
            concurrency=concurrency,
            stop=stop or asyncio.Event(),
            observe=lambda decided: None,
        ).run()


def always(text: str) -> ScriptedPolicy:
    """The same situation each time, and good profiles."""
    return ScriptedPolicy(lambda r: profile(r.seed or 0) if r.schema else text)


async def test_every_slot_gets_a_scenario_of_its_type(tmp_path: Path) -> None:
    made = await generate(tmp_path, scripted())
    assert [(s.id, s.problem_type) for s in made] == [(s.id, s.problem_type) for s in SLOTS]
    for scenario_ in made:
        assert scenario_.origin is not None
        assert scenario_.origin.depth == 1
        assert len(scenario_.origin.examples) == 3
        assert (scenario_.origin.written_by, scenario_.origin.profile_by) == (
            "scripted",
            "scripted",
        )
        assert scenario_.source == "generated: scripted"
        assert scenario_.profile.name


async def test_the_pool_is_a_scenario_file(tmp_path: Path) -> None:
    made = await generate(tmp_path, scripted())
    read = warmline.read_scenarios(tmp_path / "scenarios.jsonl")
    assert {s.id: s for s in read} == {s.id: s for s in made}
    assert warmline.simulate(scenarios=tmp_path / "scenarios.jsonl", policy=talk(), max_turns=2)


async def test_rejects_are_kept_with_their_reasons(tmp_path: Path) -> None:
    made = await generate(tmp_path, always("Too short."), attempts=2)
    assert made == []
    rejects = read_rejects(tmp_path)
    assert len(rejects) == 12
    assert {(r.stage, r.reason, r.text) for r in rejects} == {
        ("scenario", "too short", "Too short.")
    }
    assert Counter(r.attempt for r in rejects) == {1: 6, 2: 6}


async def test_each_attempt_has_its_own_seed_and_examples(tmp_path: Path) -> None:
    policy = always("Too short.")
    await generate(tmp_path, policy, attempts=3, slots=SLOTS[:1])
    assert len({r.seed for r in policy.requests}) == 3
    assert len({tuple(m.content for m in r.messages) for r in policy.requests}) > 1


async def test_only_the_first_of_near_duplicates_is_kept(tmp_path: Path) -> None:
    made = await generate(tmp_path, always(situation(1)), attempts=1, concurrency=6)
    assert [s.id for s in made] == [SLOTS[0].id]
    rejects = read_rejects(tmp_path)
    assert {r.reason for r in rejects} == {"near-duplicate"}
    assert f"1.00 to {SLOTS[0].id}" in rejects[0].detail


async def test_near_duplicates_of_the_seeds_are_refused_unless_switched_off(tmp_path: Path) -> None:
    copied = always(warmline.seed_scenarios()[0].situation)
    settings = {"attempts": 1, "fit": "off"}
    assert await generate(tmp_path / "a", copied, **settings) == []
    assert await generate(tmp_path / "b", copied, near_duplicates="minhash", **settings) == []
    assert len(await generate(tmp_path / "c", copied, near_duplicates="off", **settings)) == 6
    loose = await generate(tmp_path / "d", always(situation(1)), duplicate_threshold=1, attempts=1)
    assert len(loose) == 1


async def test_the_answers_order_does_not_matter(tmp_path: Path) -> None:
    """Two slots write the same; the one earlier in the plan is kept, however late its answer."""

    async def later(request: Request) -> str:
        first = request.session.startswith(SLOTS[0].id)
        await asyncio.sleep(0.05 if first else 0)
        return profile(request.seed or 0) if request.schema else situation(1)

    made = await generate(tmp_path, ScriptedPolicy(later), attempts=1, concurrency=6)
    assert [s.id for s in made] == [SLOTS[0].id]


@pytest.mark.parametrize("concurrency", [1, 2, 20])
async def test_concurrency_changes_nothing(tmp_path: Path, concurrency: int) -> None:
    slots = plan(20, Coverage(), seed=0, types=TYPES)
    made = await generate(tmp_path / "a", scripted(), slots=slots, concurrency=concurrency)
    assert made == await generate(tmp_path / "b", scripted(), slots=slots, concurrency=5)


async def test_no_more_than_concurrency_are_asked_at_once(tmp_path: Path) -> None:
    open_now = most = 0

    async def watched(request: Request) -> str:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        await asyncio.sleep(0.001)
        open_now -= 1
        return answer(request)

    await generate(tmp_path, ScriptedPolicy(watched), concurrency=2)
    assert most == 2


async def test_a_person_who_cannot_be_is_asked_for_again(tmp_path: Path) -> None:
    def answered(request: Request) -> str:
        if not request.schema:
            return situation(request.seed or 0)
        return profile(request.seed or 0) if (request.seed or 0) % 3 == 0 else '{"name": "Dad"}'

    made = await generate(tmp_path, ScriptedPolicy(answered), profile_attempts=9)
    assert len(made) == 6
    rejects = read_rejects(tmp_path)
    assert {r.stage for r in rejects} == {"profile"}
    assert all(r.situation for r in rejects)
    assert all(r.tried <= 9 for r in rejects)


async def test_without_a_person_the_situation_is_given_up(tmp_path: Path) -> None:
    policy = ScriptedPolicy(lambda r: "no" if r.schema else situation(r.seed or 0))
    assert await generate(tmp_path, policy, profile_attempts=2, attempts=3, slots=SLOTS[:2]) == []
    counts = Counter((r.attempt, r.tried, r.reason) for r in read_rejects(tmp_path))
    assert counts == {(a, t, "not readable"): 2 for a in (1, 2, 3) for t in (1, 2)}


async def test_planned_attributes_must_hold(tmp_path: Path) -> None:
    slots = plan(6, Coverage(attributes={"gender": {"male": 1}}), seed=0, types=TYPES)
    made = await generate(tmp_path, scripted(), slots=slots, profile_attempts=20)
    assert {s.profile.gender for s in made} == {"male"}
    assert {r.reason for r in read_rejects(tmp_path) if r.stage == "profile"} == {
        "requirement not met"
    }


async def test_drawn_profiles_ask_nothing_and_say_so(tmp_path: Path) -> None:
    policy = scripted()
    made = await generate(tmp_path, policy, profile="drawn")
    assert not any(r.schema for r in policy.requests)
    assert {s.origin.profile_by for s in made} == {"drawn"}
    assert {s.source for s in made} == {"generated: scripted; profile drawn"}


async def test_fit_can_be_asked_of_the_policy(tmp_path: Path) -> None:
    def answered(request: Request) -> str:
        if request.choices is None:
            return answer(request)
        mine = next(s for s in SLOTS if request.session.startswith(s.id)).problem_type
        wrong = next(choice for choice in request.choices if choice != mine)
        return mine if mine == "Burnout" else wrong

    made = await generate(tmp_path, ScriptedPolicy(answered), fit="ask", attempts=5)
    assert {s.problem_type for s in made} == {"Burnout"}
    reasons = Counter(r.reason for r in read_rejects(tmp_path))
    assert reasons["does not fit"] >= 10


async def test_fit_by_keywords_and_off(tmp_path: Path) -> None:
    text = (
        "On Monday I drank wine again, hid the bottle in the shed, woke with a hangover and was not"
        " sober for the meeting that my sister had begged me to come to."
    )
    slots = [s for s in SLOTS if s.problem_type == "Sleep Problems"][:1]
    assert await generate(tmp_path / "a", always(text), slots=slots, attempts=1) == []
    assert await generate(tmp_path / "b", always(text), slots=slots, attempts=1, fit="off")
    assert await generate(tmp_path / "c", always(text), slots=slots, attempts=1, fit_margin=9)


async def test_one_example_as_in_sweetiechat(tmp_path: Path) -> None:
    made = await generate(tmp_path, scripted(), examples=1)
    assert {len(s.origin.examples) for s in made} == {1}


async def test_depth_is_one_more_than_the_deepest_example(tmp_path: Path) -> None:
    first = await generate(tmp_path / "a", scripted(), slots=SLOTS[:3])
    pools = shipped_pools().grown(first, first)
    slots = [Slot(s.number + 10, s.problem_type) for s in SLOTS]
    made = await generate(tmp_path / "b", scripted(), slots=slots, pools=pools, examples=1)
    depths = {s.origin.depth for s in made}
    assert depths == {1, 2}
    deep = [s for s in made if s.origin.depth == 2]
    shown = {name for s in deep for name in (*s.origin.examples, s.origin.profile_example)}
    assert shown & {s.id for s in first}
    none = await generate(tmp_path / "c", scripted(), slots=slots, pools=pools, generated_share=0)
    assert {s.origin.depth for s in none} == {1}
    people = shipped_pools().grown(profiles=first)
    made = await generate(tmp_path / "e", scripted(), slots=slots, pools=people, generated_share=1)
    assert {s.origin.depth for s in made} == {2}, "a profile shown as an example counts too"
    flat = await generate(tmp_path / "d", scripted(), slots=slots, pools=pools, max_depth=1)
    assert {s.origin.depth for s in flat} == {1}


# Faults


async def test_one_unusable_answer_is_a_reject(tmp_path: Path) -> None:
    def answered(request: Request) -> str:
        if (request.seed or 0) % 2:
            raise BadRequest("cannot say that")
        return answer(request)

    made = await generate(tmp_path, ScriptedPolicy(answered), profile_attempts=9)
    assert made
    assert "no answer" in {r.reason for r in read_rejects(tmp_path)}


@pytest.mark.parametrize("error", [EngineUnavailable, AuthenticationFailed, ZeroDivisionError])
async def test_an_engine_that_is_gone_stops_and_rejects_nothing(
    tmp_path: Path, error: type[Exception]
) -> None:
    asked = 0

    def answered(request: Request) -> str:
        nonlocal asked
        asked += 1
        if asked > 5:
            raise error("gone")
        return situation(request.seed or 0) if not request.schema else profile(request.seed or 0)

    with pytest.raises(error):
        await generate(tmp_path, ScriptedPolicy(answered))
    assert not [r for r in read_rejects(tmp_path) if r.reason == "no answer"]
    assert len(await generate(tmp_path, scripted())) == 6


async def test_a_stopped_round_asks_nothing_new(tmp_path: Path) -> None:
    stop = asyncio.Event()

    def answered(request: Request) -> str:
        if request.session.startswith(SLOTS[2].id):
            stop.set()
        return answer(request)

    policy = ScriptedPolicy(answered)
    made = await generate(tmp_path, policy, stop=stop, concurrency=1)
    assert len(made) < 6
    assert not any(r.session.startswith(SLOTS[5].id) for r in policy.requests)


# Resuming


@pytest.mark.parametrize("seed", range(12))
async def test_a_round_taken_up_again_is_the_same(tmp_path: Path, seed: int) -> None:
    """Killed after any number of answers, any number of times, with any concurrency."""
    draw = random.Random(seed)
    slots = plan(15, Coverage(), seed=0, types=TYPES)

    def sparse(request: Request) -> str:
        """Few different situations, so that near-duplicates abound; one person in three unusable."""
        if request.schema:
            return profile(request.seed or 0) if (request.seed or 0) % 3 else "no"
        return situation((request.seed or 0) % 11)

    settings = {"attempts": 4, "profile_attempts": 2}
    whole = await generate(tmp_path / "whole", ScriptedPolicy(sparse), slots=slots, **settings)

    class Killed(BaseException):
        pass

    for _ in range(8):
        left = draw.randrange(1, 14)

        async def dying(request: Request) -> str:
            nonlocal left
            await asyncio.sleep(draw.random() / 500)
            left -= 1
            if left < 0:
                raise Killed
            return sparse(request)

        try:
            await generate(
                tmp_path / "killed",
                ScriptedPolicy(dying),
                slots=slots,
                concurrency=draw.choice([1, 3, 8]),
                **settings,
            )
        except Killed:
            continue
    again = await generate(
        tmp_path / "killed", ScriptedPolicy(sparse), slots=slots, concurrency=5, **settings
    )
    assert again == whole

    def lines(folder: str) -> list[str]:
        return sorted((tmp_path / folder / "rejects.jsonl").read_text().splitlines())

    def decided(folder: str) -> list[tuple[Any, ...]]:
        return sorted(
            (r["slot"], r["stage"], r["attempt"], r.get("tried", 0), r["reason"], r["text"])
            for r in map(json.loads, lines(folder))
        )

    assert decided("killed") == decided("whole")


async def test_a_finished_round_asks_nothing(tmp_path: Path) -> None:
    made = await generate(tmp_path, scripted())
    policy = scripted()
    assert await generate(tmp_path, policy) == made
    assert policy.requests == []


def test_the_journals_are_locked_and_torn_lines_are_cut(tmp_path: Path) -> None:
    with PoolJournal(tmp_path) as journal:
        journal.accept(scenario("a"))
        journal.refuse(
            Reject(
                slot="b", problem_type="Burnout", stage="scenario", round=1, attempt=1, reason="x"
            )
        )
        with pytest.raises(RunError, match="another process"), PoolJournal(tmp_path):
            pass
    for name in ("scenarios.jsonl", "rejects.jsonl"):
        with (tmp_path / name).open("a") as file:
            file.write('{"id": "torn')
    with PoolJournal(tmp_path) as journal:
        assert list(journal.scenarios) == ["a"]
        assert journal.is_decided("b", 1, 4)
        assert not journal.is_decided("b", 2, 4)
    assert not (tmp_path / "scenarios.jsonl").read_text().endswith("torn")


def test_a_changed_journal_is_refused_and_unlocked(tmp_path: Path) -> None:
    (tmp_path / "scenarios.jsonl").write_text('{"id": "a"}\n')
    for _ in range(2):
        with pytest.raises(DataError, match=r"scenarios\.jsonl, line 1"), PoolJournal(tmp_path):
            pass


# Pools from a corpus


def test_pools_from_a_corpus(tmp_path: Path) -> None:
    long = "On Monday my sister sold the piano and " + " ".join(["so"] * 20)
    mine = [
        scenario("a", problem_type="Burnout", situation=long, profile="Ana, 30"),
        scenario("b", problem_type="Burnout", situation="Short."),
        scenario("c", problem_type="Moon Sickness", situation=long + " too."),
        scenario("d", problem_type="Burnout", situation=long),
    ]
    warmline.simulate(scenarios=mine, policy=talk(judger=["NO", "YES"]), out=tmp_path, max_turns=12)
    pools = pools_from(tmp_path)
    assert [s.id for s in pools.scenarios if s.problem_type == "Burnout"] == ["a"]
    assert len(pools.types) == 45
    assert "Moon Sickness" not in pools.types
    assert pools.profiles == shipped_pools().profiles
    cases = [d for d in pools.dialogues if d.problem_type == "Burnout"]
    assert {d.scenario for d in cases} == {"a", "b", "d"}
    assert cases[0].turns[1].strategy is not None
    with pytest.raises(DataError, match="more than 99 words"):
        pools_from(tmp_path, min_words=99)
