"""The dialogue loop: order, limits, ends, records, seeds."""

from __future__ import annotations

import asyncio
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import warmline
from warmline.agents import Role, Strategy
from warmline.core.errors import AuthenticationFailed, ConfigError, EngineUnavailable
from warmline.core.seeds import call_seed
from warmline.environments import Spoken, StopReason
from warmline.environments.dialogue import conversation
from warmline.policies.base import Capabilities
from warmline.policies.safety import crisis_kinds
from warmline.policies.text.sentences import count_sentences

from ..helpers import scenario, scenarios, talk


def environment(policy: object = None, **changes: object) -> warmline.SupportEnvironment:
    policy = policy or talk()
    seats = {"seeker": policy, "counselor": policy, "supporter": policy, "judger": policy}
    return warmline.SupportEnvironment(**{**seats, **changes})  # type: ignore[arg-type]


async def test_one_exchange_is_seeker_counselor_supporter_judger() -> None:
    episode = await environment(max_turns=4).run(scenario(), seed=1)
    assert [call.role for call in episode.calls] == [
        "seeker",
        "counselor",
        "supporter",
        "judger",
    ] * 2
    assert [u.role for u in episode.utterances] == [Role.SEEKER, Role.SUPPORTER] * 2
    assert [u.strategy for u in episode.utterances] == [
        None,
        Strategy.QUESTION,
        None,
        Strategy.REFLECTION,
    ]
    assert [(v.after, v.end) for v in episode.verdicts] == [(2, False), (4, False)]


@pytest.mark.parametrize("limit", [1, 2, 3, 7])
async def test_the_turn_limit_counts_both_speakers(limit: int) -> None:
    episode = await environment(max_turns=limit).run(scenario(), seed=1)
    assert len(episode.utterances) == limit
    assert episode.stop is StopReason.TURN_LIMIT
    assert episode.truncated


async def test_counselor_and_judger_are_optional() -> None:
    episode = await environment(counselor=None, judger=None, max_turns=4).run(scenario(), seed=1)
    assert {call.role for call in episode.calls} == {"seeker", "supporter"}
    assert all(u.strategy is None for u in episode.utterances)
    assert episode.verdicts == ()


async def test_the_judger_ends_the_conversation() -> None:
    episode = await environment(talk(judger=["NO", "YES"])).run(scenario(), seed=1)
    assert episode.stop is StopReason.JUDGER
    assert len(episode.utterances) == 4
    assert not episode.truncated


async def test_a_verdict_at_the_limit_counts_as_the_end_not_as_the_limit() -> None:
    episode = await environment(talk(judger=["YES"]), max_turns=2).run(scenario(), seed=1)
    assert episode.stop is StopReason.JUDGER


async def test_min_turns_keeps_the_judger_unasked() -> None:
    episode = await environment(talk(judger=["YES"]), min_turns=6).run(scenario(), seed=1)
    assert len(episode.utterances) == 6
    assert len(episode.verdicts) == 1


async def test_an_unreadable_verdict_is_missing_and_the_talk_goes_on() -> None:
    policy = talk(judger=["perhaps", "YES"])
    episode = await environment(policy).run(scenario(), seed=1)
    assert [v.end for v in episode.verdicts] == [None, True]


async def test_an_unreadable_strategy_is_missing() -> None:
    episode = await environment(talk(counselor=["be nice"]), max_turns=2).run(scenario(), seed=1)
    assert episode.utterances[1].strategy is None


@pytest.mark.parametrize("closing", ["N/A", " n/a. ", '"N/A"'])
async def test_the_supporter_closes_without_an_utterance(closing: str) -> None:
    policy = talk(supporter=["Tell me more.", closing])
    episode = await environment(policy).run(scenario(), seed=1)
    assert episode.stop is StopReason.SUPPORTER_CLOSED
    assert [u.text for u in episode.utterances][-1] == "It was the only bakery in town."


async def test_the_supporter_closes_after_last_words() -> None:
    policy = talk(supporter=["Write to me any time. N/A"])
    episode = await environment(policy).run(scenario(), seed=1)
    assert episode.stop is StopReason.SUPPORTER_CLOSED
    assert episode.utterances[-1].text == "Write to me any time."
    assert episode.utterances[-1].raw == "Write to me any time. N/A"


async def test_the_seeker_cannot_close_by_control_text() -> None:
    policy = talk(seeker=["Fine, thanks. N/A"])
    episode = await environment(policy, max_turns=4).run(scenario(), seed=1)
    assert episode.stop is StopReason.TURN_LIMIT
    assert "N/A" not in episode.utterances[0].text


async def test_two_farewells_end_the_conversation() -> None:
    policy = talk(seeker=["I feel better. Bye!"], supporter=["I am glad. Take care!"])
    episode = await environment(policy).run(scenario(), seed=1)
    assert episode.stop is StopReason.FAREWELL
    assert len(episode.utterances) == 2
    goes_on = await environment(policy, stop_on_farewell=False, max_turns=4).run(scenario(), seed=1)
    assert goes_on.stop is StopReason.TURN_LIMIT


async def test_one_farewell_alone_does_not_end_it() -> None:
    policy = talk(seeker=["I have to go now. Bye!"])
    episode = await environment(policy, max_turns=4).run(scenario(), seed=1)
    assert episode.stop is StopReason.TURN_LIMIT


async def test_the_sentence_cap_cuts_the_text_and_keeps_the_raw() -> None:
    raw = "One. Two! Three? Four. Five."
    policy = talk(supporter=[raw])
    episode = await environment(policy, max_turns=2).run(scenario(), seed=1)
    said = episode.utterances[1]
    assert (said.text, said.raw) == ("One. Two! Three?", raw)
    assert said.repairs == ("sentence_cap",)
    shorter = await environment(policy, max_turns=2, max_sentences=1).run(scenario(), seed=1)
    assert shorter.utterances[1].text == "One."


async def test_what_was_cut_is_never_heard_by_anyone() -> None:
    policy = talk(seeker=["One. Two. Three. Hidden fourth."])
    episode = await environment(policy, max_turns=4).run(scenario(), seed=1)
    assert not any("Hidden fourth" in message.content for message in episode.messages)


@settings(max_examples=60, deadline=None)
@given(st.text(min_size=1, max_size=400))
def test_no_utterance_ever_exceeds_the_cap(text: str) -> None:
    policy = warmline.ScriptedPolicy(lambda request: text)
    episode = asyncio.run(
        environment(policy, counselor=None, judger=None, max_turns=4).run(scenario(), seed=1)
    )
    assert all(count_sentences(u.text) <= 3 for u in episode.utterances)


async def test_later_greetings_are_trimmed() -> None:
    policy = talk(supporter=["Hello! What happened?", "Hi there, how did that feel?"])
    episode = await environment(policy, max_turns=4).run(scenario(), seed=1)
    assert episode.utterances[1].text == "Hello! What happened?"
    assert episode.utterances[3].text == "How did that feel?"
    assert episode.utterances[3].repairs == ("greeting",)
    kept = await environment(policy, max_turns=4, trim_greetings=False).run(scenario(), seed=1)
    assert kept.utterances[3].text == "Hi there, how did that feel?"


async def test_speakers_see_the_window_and_advisers_the_whole_dialogue() -> None:
    policy = warmline.ScriptedPolicy(lambda r: f"Line {r.observation.turn} by {r.role}.")
    episode = await environment(policy, max_turns=12, history_window=4).run(scenario(), seed=1)
    last = {call.role: episode.call_messages(call) for call in episode.calls}
    seen = "\n".join(m.content for m in last["supporter"][1:])
    assert "Line 5 by seeker." in seen
    assert "Line 4 by seeker." in seen
    assert "Line 3 by seeker." not in seen
    for adviser in ("counselor", "judger"):
        assert last[adviser][1].content == "Line 0 by seeker."
        assert len(last[adviser]) >= 12


async def test_an_empty_utterance_is_asked_again_with_another_seed() -> None:
    seeds: list[int | None] = []

    def answer(request: warmline.Request) -> str:
        if request.role == "supporter":
            seeds.append(request.seed)
            return "" if len(seeds) < 3 else "I am here."
        return "Hm, well."

    episode = await environment(
        warmline.ScriptedPolicy(answer), counselor=None, judger=None, max_turns=2
    ).run(scenario(), seed=1)
    assert episode.utterances[1].text == "I am here."
    assert len(set(seeds)) == 3


async def test_silence_ends_the_episode_as_data() -> None:
    episode = await environment(talk(supporter=["  "])).run(scenario(), seed=1)
    assert episode.stop is StopReason.ERROR
    assert episode.error is not None
    assert episode.error.type == "UnreadableReply"
    assert episode.error.role == "supporter"
    assert len(episode.utterances) == 1


async def test_a_known_error_ends_that_episode_and_is_recorded() -> None:
    def answer(request: warmline.Request) -> str:
        if request.role == "supporter":
            raise EngineUnavailable("the server went away")
        return "Well."

    episode = await environment(warmline.ScriptedPolicy(answer)).run(scenario(), seed=1)
    assert episode.stop is StopReason.ERROR
    assert episode.error is not None
    assert episode.error.message == "the server went away"
    assert episode.error.retryable
    assert episode.calls[-1].error == "EngineUnavailable: the server went away"
    assert episode.calls[-1].text is None


async def test_fatal_and_unknown_errors_are_raised() -> None:
    def refuse(request: warmline.Request) -> str:
        raise AuthenticationFailed("wrong key")

    with pytest.raises(AuthenticationFailed, match="wrong key"):
        await environment(warmline.ScriptedPolicy(refuse)).run(scenario(), seed=1)

    def break_down(request: warmline.Request) -> str:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await environment(warmline.ScriptedPolicy(break_down)).run(scenario(), seed=1)


async def test_the_token_budget_ends_the_episode() -> None:
    long_talk = await environment(max_turns=20).run(scenario(), seed=1)
    half = long_talk.usage.total_tokens // 2
    episode = await environment(max_turns=20, token_budget=half).run(scenario(), seed=1)
    assert episode.stop is StopReason.TOKEN_BUDGET
    assert half <= episode.usage.total_tokens < long_talk.usage.total_tokens


async def test_a_budget_over_an_engine_without_usage_is_refused() -> None:
    class Silent:
        async def respond(self, request: warmline.Request) -> warmline.Reply:
            return warmline.Reply(text="Yes.")

    with pytest.raises(warmline.WarmlineError, match="does not report"):
        await environment(Silent(), token_budget=100).run(scenario(), seed=1)


async def test_crisis_language_is_marked() -> None:
    policy = talk(seeker=["Some nights I want to die."])
    episode = await environment(policy, max_turns=2).run(scenario(), seed=1)
    assert episode.utterances[0].crisis == ("suicide",)
    assert episode.utterances[1].crisis == ()


async def test_call_seeds_derive_from_run_seed_scenario_and_index() -> None:
    policy = talk()
    first = await environment(policy, max_turns=4).run(scenario("a"), seed=5)
    assert [call.seed for call in first.calls] == [call_seed(5, "a", i) for i in range(8)]
    asked = [request.seed for request in policy.requests]
    assert asked == [call.seed for call in first.calls]
    other = await environment(policy, max_turns=4).run(scenario("b"), seed=5)
    assert {c.seed for c in first.calls}.isdisjoint(c.seed for c in other.calls)


def test_derived_seeds_never_change() -> None:
    """Pinned: a change here would make every published seed mean something else."""
    assert [call_seed(7, "burnout-1", i) for i in range(3)] == [
        1363832947,
        1099844800,
        2005273637,
    ]


async def test_same_seed_same_episode_in_any_order() -> None:
    def answer(request: warmline.Request) -> str:
        return request.choices[0] if request.choices else f"Words {request.seed}."

    async def lagging(request: warmline.Request) -> str:
        await asyncio.sleep((request.seed or 0) % 7 / 2000)
        return answer(request)

    plain = environment(warmline.ScriptedPolicy(answer), judger=None, max_turns=6)
    slow = environment(warmline.ScriptedPolicy(lagging), judger=None, max_turns=6)
    one = [await plain.run(s, seed=3) for s in scenarios(6)]
    many = await asyncio.gather(*(slow.run(s, seed=3) for s in reversed(scenarios(6))))
    assert [e.utterances for e in one] == [e.utterances for e in reversed(many)]


async def test_observers_hear_utterances_and_verdicts_in_order() -> None:
    events: list[Spoken] = []
    episode = await environment(max_turns=4).run(scenario(), seed=1, observe=events.append)
    heard = [event.what for event in events]
    assert [u for u in heard if u in episode.utterances] == list(episode.utterances)
    assert len(heard) == len(episode.utterances) + len(episode.verdicts)


async def test_messages_are_stored_once_and_give_back_the_exact_prompts() -> None:
    policy = talk()
    episode = await environment(policy, max_turns=6).run(scenario(), seed=1)
    assert len(set(episode.messages)) == len(episode.messages)
    assert [episode.call_messages(call) for call in episode.calls] == [
        request.messages for request in policy.requests
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_turns": 0}, "max_turns"),
        ({"max_sentences": 0}, "max_sentences"),
        ({"max_turn": 3}, "did you mean 'max_turns'"),
        ({"seeker": 3}, "seat cannot take a int"),
        ({"seeker": warmline.Supporter(talk())}, "was given a supporter"),
        ({"seeker": warmline.ScriptedPolicy}, r"the class ScriptedPolicy(.|\n)*ScriptedPolicy\(\)"),
        ({"seeker": lambda request: "hi"}, "needs arguments(.|\n)*async def respond"),
    ],
)
def test_what_cannot_be_run_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        environment(**changes)


def test_openings_need_a_policy_that_can_prefill() -> None:
    class Plain(warmline.ScriptedPolicy):
        capabilities = Capabilities(prefill=False)

    with pytest.raises(ConfigError, match="cannot pre-fill"):
        environment(supporter=warmline.Supporter(Plain(), openings=True))


def test_all_problems_are_reported_at_once() -> None:
    with pytest.raises(ConfigError) as raised:
        environment(max_turns=0, max_sentences=0, nonsense=1)
    assert len(raised.value.problems) == 3


async def test_openings_reach_the_policy_as_prefill() -> None:
    policy = talk()
    seats = {
        "seeker": warmline.Seeker(policy, openings=True),
        "supporter": warmline.Supporter(policy, openings=True),
    }
    episode = await environment(policy, **seats, max_turns=4).run(scenario(), seed=1)
    prefills = [call.prefill for call in episode.calls if call.role in seats]
    assert all(prefills)
    assert all(u.raw.startswith(p) for u, p in zip(episode.utterances, prefills, strict=True))


async def test_a_users_own_agent_takes_the_seat() -> None:
    class Terse(warmline.Supporter):
        def read(self, reply: warmline.Reply) -> warmline.agents.Say:
            return warmline.agents.Say(reply.text.split(".")[0] + ".")

    policy = talk(supporter=["Short. And more."])
    episode = await environment(policy, supporter=Terse(policy), max_turns=2).run(scenario())
    assert episode.utterances[1].text == "Short."


# Speculation


def by_seed(request: warmline.Request) -> str:
    if request.choices:
        return request.choices[(request.seed or 0) % len(request.choices)]
    return f"Words {request.seed} for the {request.role}."


async def test_speculation_changes_no_word() -> None:
    policy = warmline.ScriptedPolicy(by_seed)
    plain, ahead = environment(policy), environment(policy, speculative=True)
    for s in scenarios(12):
        first, second = await plain.run(s, seed=4), await ahead.run(s, seed=4)
        assert first.content() == second.content()
    assert plain.config_hash == ahead.config_hash


async def test_the_seeker_is_asked_while_the_judger_decides() -> None:
    order: list[str] = []

    async def answer(request: warmline.Request) -> str:
        order.append(f"{request.role} asked")
        await asyncio.sleep(0.02 if request.role == "judger" else 0.001)
        order.append(f"{request.role} answered")
        return "NO" if request.role == "judger" else "Well."

    policy = warmline.ScriptedPolicy(answer)
    await environment(policy, counselor=None, max_turns=3, speculative=True).run(scenario())
    judged = order.index("judger answered")
    assert order[judged - 1] == "seeker answered"


async def test_what_was_asked_ahead_is_dropped_when_the_judger_ends_it() -> None:
    cancelled = asyncio.Event()

    async def answer(request: warmline.Request) -> str:
        if request.role == "judger":
            await asyncio.sleep(0.001)
            return "YES"
        if request.observation.turn == 1:
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                cancelled.set()
                raise
        return "Well."

    policy = warmline.ScriptedPolicy(answer)
    episode = await environment(policy, counselor=None, speculative=True).run(scenario())
    assert episode.stop is StopReason.JUDGER
    assert [call.role for call in episode.calls] == ["seeker", "supporter", "judger"]
    await asyncio.wait_for(cancelled.wait(), 1)


async def test_a_failure_ahead_counts_only_if_the_talk_goes_on() -> None:
    def failing(verdict: str) -> warmline.ScriptedPolicy:
        async def answer(request: warmline.Request) -> str:
            if request.role == "judger":
                await asyncio.sleep(0.001)
                return verdict
            if request.observation.turn == 1:
                raise EngineUnavailable("gone")
            return "Well."

        return warmline.ScriptedPolicy(answer)

    ended = await environment(failing("YES"), counselor=None, speculative=True).run(scenario())
    assert ended.stop is StopReason.JUDGER
    went_on = await environment(failing("NO"), counselor=None, speculative=True).run(scenario())
    assert went_on.stop is StopReason.ERROR
    assert [call.role for call in went_on.calls] == ["seeker", "supporter", "judger", "seeker"]


async def test_half_a_character_in_a_reply_is_replaced() -> None:
    policy = talk(seeker=["Broken \ud83d half."])
    episode = await environment(policy, max_turns=2).run(scenario(), seed=1)
    assert episode.utterances[0].text == "Broken \ufffd half."
    assert episode.to_json().encode()


@pytest.mark.parametrize("length", [10, 40_000])
async def test_crisis_language_in_a_long_utterance_is_looked_for_in_a_thread(
    length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long ones would hold up the other episodes; what is found is the same."""
    on_loop = []

    def noted(text: str) -> tuple[str, ...]:
        on_loop.append(threading.current_thread() is threading.main_thread())
        return crisis_kinds(text)

    monkeypatch.setattr(conversation, "crisis_kinds", noted)
    policy = warmline.ScriptedPolicy(["rain " * (length // 5) + "and I want to die"])
    episode = await environment(policy, counselor=None, judger=None, max_turns=2).run(scenario())
    assert [u.crisis for u in episode.utterances] == [("suicide",)] * 2
    assert on_loop == [length == 10] * 2


async def test_a_message_stands_once_in_the_record_whatever_role_it_has() -> None:
    """Equal texts of two roles are two messages; one sent again is the same one."""
    policy = warmline.ScriptedPolicy(["I see."])
    episode = await environment(policy, counselor=None, max_turns=6).run(scenario())
    assert len(set(episode.messages)) == len(episode.messages)
    assert {m.role for m in episode.messages if m.content == "I see."} == {"user", "assistant"}
    assert list(dict.fromkeys(i for call in episode.calls for i in call.messages)) == list(
        range(len(episode.messages))
    )
