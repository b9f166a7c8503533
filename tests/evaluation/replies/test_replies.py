"""Both settings: what the policy sees, what is kept, and what a second start asks for."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from warmline import ScriptedPolicy, Strategy, StrategyCounselor, Supporter
from warmline.core.errors import (
    AuthenticationFailed,
    ConfigError,
    ContentRefused,
    DataError,
    EngineTimeout,
    RunError,
)
from warmline.evaluation.replies.generate import EARLIER_FAILED, ReplyMaker, generate_replies
from warmline.evaluation.replies.reply import (
    REPLIES_NAME,
    EvaluatedReply,
    Setting,
    evaluated_turns,
    iter_replies,
    recorded_turns,
)
from warmline.policies.base import BasePolicy, Reply, Request
from warmline.policies.registry import wrap_policy

from ..recorded import recorded

REFERENCE, GENERATED = Setting.REFERENCE, Setting.GENERATED


def by_turn(request: Any) -> str:
    return f"Reply to {request.messages[-1].content.split()[-1]}"


def maker(script: Any = by_turn, **changes: Any) -> ReplyMaker:
    return ReplyMaker(Supporter(ScriptedPolicy(script)), **changes)


async def replies(made: ReplyMaker, **options: Any) -> list[Any]:
    return await generate_replies([recorded()], made, **options)


def test_turns_join_consecutive_utterances_and_skip_the_greeting() -> None:
    turns = recorded_turns(recorded())
    assert [turn.text for turn in turns][4] == "You miss the smell. You could bake at home."
    assert turns[4].labels == (Strategy.REFLECTION, Strategy.SUGGESTION)
    assert evaluated_turns(turns) == [2, 4]


async def test_reference_context_is_the_human_history() -> None:
    made = maker()
    first, second = await replies(made)
    assert (first.text, second.text) == ("Reply to job.", "Reply to ovens.")
    assert (first.reference, second.turn) == ("What happened on Monday?", 4)
    seen = [m.content for m in made.supporter.policy.requests[1].messages]
    assert "What happened on Monday?" in seen
    assert "Reply to job." not in seen
    assert "You miss the smell. You could bake at home." not in seen


async def test_generated_context_keeps_the_models_own_replies_and_replays_the_seeker() -> None:
    made = maker()
    await replies(made, settings=[GENERATED])
    seen = [m.content for m in made.supporter.policy.requests[1].messages]
    assert "Reply to job." in seen
    assert "What happened on Monday?" not in seen
    assert "They sold the ovens." in seen[-1]
    assert "Hello there." in seen  # the greeting before the seeker's first words stays


async def test_the_window_and_the_cap_hold() -> None:
    made = maker(["One.", "Two.", "Three.", "Four."], history_window=1)
    made = ReplyMaker(
        Supporter(ScriptedPolicy(lambda _: "One is. Two is. Three is.")),
        history_window=1,
        max_sentences=2,
    )
    _, second = await replies(made)
    assert second.text == "One is. Two is."
    assert second.raw == "One is. Two is. Three is."
    seen = [m.content for m in made.supporter.policy.requests[1].messages]
    assert "I lost my job." not in " ".join(seen)


async def test_a_counselor_advises_each_reply() -> None:
    counselor = StrategyCounselor(ScriptedPolicy(lambda _: "Information"))
    made = maker(counselor=counselor)
    first, _ = await replies(made)
    assert first.strategy is Strategy.INFORMATION
    assert first.labels == (Strategy.QUESTION,)
    asked = made.supporter.policy.requests[0].messages[-1].content
    assert "Information" in asked
    first, _ = await replies(maker(counselor=StrategyCounselor(ScriptedPolicy(lambda _: "Hm"))))
    assert first.strategy is None
    assert first.text is not None


async def test_a_counselor_that_refuses_gives_no_advice_and_loses_no_reply() -> None:
    def refuses(request: Any) -> str:
        raise ContentRefused("flagged")

    for setting in (REFERENCE, GENERATED):
        made = maker(counselor=StrategyCounselor(ScriptedPolicy(refuses)))
        found = await replies(made, settings=[setting])
        assert [(r.strategy, r.error) for r in found] == [(None, None)] * 2
        assert all(r.text for r in found)


async def test_thinking_and_notes_of_the_policy_are_kept() -> None:
    class Thinks(BasePolicy):
        async def respond(self, request: Request) -> Reply:
            return Reply("Fine.", thinking="It hurts.", notes={"openai": {"not_sent": ["seed"]}})

    first, _ = await replies(ReplyMaker(Supporter(Thinks())))
    again = EvaluatedReply.model_validate_json(first.to_json())
    assert (again.text, again.thinking) == ("Fine.", "It hurts.")
    assert again.notes == {"openai": {"not_sent": ["seed"]}}


async def test_a_failure_is_kept_and_ends_only_what_depends_on_it() -> None:
    def fails_first(request: Any) -> str:
        if "job" in request.messages[-1].content:
            raise EngineTimeout("no answer in 5 s")
        return "Fine."

    reference = await replies(maker(fails_first), settings=[REFERENCE])
    assert [(r.text, r.error) for r in reference] == [
        (None, "EngineTimeout: no answer in 5 s"),
        ("Fine.", None),
    ]
    generated = await replies(maker(fails_first), settings=[GENERATED])
    assert [r.error for r in generated] == ["EngineTimeout: no answer in 5 s", EARLIER_FAILED]


async def test_an_error_that_all_would_meet_stops_the_run() -> None:
    def refused(request: Any) -> str:
        raise AuthenticationFailed("wrong key")

    with pytest.raises(AuthenticationFailed):
        await replies(maker(refused))


async def test_silence_is_missing() -> None:
    first, _ = await replies(maker(lambda _: "N/A"))
    assert (first.text, first.closes, first.error) == (None, True, None)


@pytest.mark.parametrize("setting", list(Setting))
async def test_a_second_start_asks_only_for_what_is_missing(
    tmp_path: Path, setting: Setting
) -> None:
    whole = await replies(maker(), settings=[setting], out=tmp_path)
    log = tmp_path / REPLIES_NAME
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(lines[0] + lines[1][:20])  # killed while writing the second
    made = maker()
    again = await replies(made, settings=[setting], out=tmp_path)
    assert [r.model_copy(update={"usage": None}) for r in again] == [
        r.model_copy(update={"usage": None}) for r in whole
    ]
    assert len(made.supporter.policy.requests) == 1
    assert len(list(iter_replies(tmp_path))) == 2
    idle = maker()
    await replies(idle, settings=[setting], out=tmp_path)
    assert not idle.supporter.policy.requests


async def test_failed_replies_are_asked_for_again_on_request(tmp_path: Path) -> None:
    down = True

    def sometimes(request: Any) -> str:
        if down:
            raise EngineTimeout("slow")
        return by_turn(request)

    await replies(maker(sometimes), settings=[GENERATED], out=tmp_path)
    down = False
    kept = await replies(maker(sometimes), settings=[GENERATED], out=tmp_path)
    assert {r.text for r in kept} == {None}
    mended = await replies(maker(sometimes), settings=[GENERATED], out=tmp_path, retry_failed=True)
    assert [r.text for r in mended] == ["Reply to job.", "Reply to ovens."]
    after = {r.key: r.text for r in iter_replies(tmp_path)}
    assert None not in after.values()  # the later line counts


async def test_other_settings_or_another_corpus_are_refused(tmp_path: Path) -> None:
    await replies(maker(), out=tmp_path)
    with pytest.raises(RunError, match="history_window: 6 -> 2"):
        await replies(maker(history_window=2), out=tmp_path)
    changed = recorded().model_copy(
        update={"utterances": (*recorded().utterances[:2], *recorded().utterances[3:])}
    )
    with pytest.raises(RunError, match="has another text than when its reply was recorded"):
        await generate_replies([changed], maker(), out=tmp_path)


async def test_order_and_concurrency_change_nothing() -> None:
    corpus = [recorded(f"talk-{number}") for number in range(7)]

    async def slow(request: Any) -> str:
        await asyncio.sleep(0.001 * (request.seed % 5))
        return f"Seed {request.seed}."

    alone = await generate_replies(corpus, maker(slow), settings=list(Setting), concurrency=1)
    together = await generate_replies(corpus, maker(slow), settings=list(Setting), concurrency=9)
    assert alone == together
    assert len({reply.seed for reply in alone}) == 14  # the settings share seeds


async def test_questions_are_in_flight_together() -> None:
    flying = most = 0

    async def watched(request: Any) -> str:
        nonlocal flying, most
        flying += 1
        most = max(most, flying)
        await asyncio.sleep(0.01)
        flying -= 1
        return "Fine."

    await generate_replies([recorded(str(n)) for n in range(4)], maker(watched), concurrency=3)
    assert most == 3


async def test_a_cache_serves_the_second_evaluation(tmp_path: Path) -> None:
    inner = ScriptedPolicy(by_turn)
    cached = wrap_policy(inner, {"name": "cache", "path": str(tmp_path / "store")})
    first = await generate_replies([recorded()], ReplyMaker(Supporter(cached)))
    second = await generate_replies([recorded()], ReplyMaker(Supporter(cached)))
    assert [r.text for r in first] == [r.text for r in second]
    assert all(reply.cached for reply in second)
    assert len(inner.requests) == 2


async def test_what_cannot_be_evaluated_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="more than once: bakery"):
        await generate_replies([recorded(), recorded()], maker())
    silent = recorded().model_copy(update={"utterances": recorded().utterances[:2]})
    with pytest.raises(ConfigError, match="none of 1 conversations has a supporter turn"):
        await generate_replies([silent], maker())
    with pytest.raises(ConfigError, match="concurrency"):
        await replies(maker(), concurrency=0)
    with pytest.raises(DataError, match="no replies there"):
        list(iter_replies(tmp_path))
    (tmp_path / REPLIES_NAME).write_text(
        '{"episode": "x", "turn": 1, "setting": "reference", "reference": "y", "texts": "z"}\n'
    )
    with pytest.raises(DataError, match=r"line 1.*did you mean 'text'"):
        list(iter_replies(tmp_path))
