"""Paired self-play: the same seekers against two supporters, judged, compared, resumed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from warmline import Request, ScriptedPolicy, read_episodes
from warmline.agents.roles import Role
from warmline.core.errors import ConfigError, EngineTimeout
from warmline.environments.episodes.rating import iter_ratings
from warmline.evaluation import SelfPlaySettings, self_play
from warmline.evaluation.selfplay.result import PLAIN_MEASURES, episode_scores, outcomes

from ...environments.helpers import scenarios

WARM = "You sound tired, and it is no wonder after this week."
COLD = "Noted."


def seeker(request: Request) -> str:
    return f"I keep thinking of it, {request.seed % 97}."


def supporter(text: str) -> ScriptedPolicy:
    return ScriptedPolicy(lambda request: text)


def likes_warmth(request: Request) -> str:
    """Scores the number of warm supporter lines it sees; compares by the same."""
    user = request.messages[-1].content
    if "<first>" in user:
        first, second = user.split("<second>")
        better = "tie"
        if (WARM in first) != (WARM in second):
            better = "first" if WARM in first else "second"
        return json.dumps({"explanation": "Warmth.", "better": better})
    score = 4 if WARM in user else 2
    return json.dumps({"explanation": "Warmth.", "score": score})


def settings(tmp_path: Path, **given: object) -> SelfPlaySettings:
    counselor = {"seated": False}
    fields = {"out": str(tmp_path / "play"), "max_turns": 4, "seeds": (1, 2), **given}
    return SelfPlaySettings(counselor=counselor, judger=counselor, **fields)


def seats() -> dict[Role, ScriptedPolicy]:
    return {Role.SEEKER: ScriptedPolicy(seeker)}


async def test_both_sides_hear_the_same_seeker_and_the_better_one_is_found(
    tmp_path: Path,
) -> None:
    chosen = settings(tmp_path, pairwise=True)
    result = await self_play(
        chosen, a=supporter(WARM), b=supporter(COLD), judge_policy=ScriptedPolicy(likes_warmth),
        seats=seats(), scenarios=scenarios(8),
    )  # fmt: skip
    openings = []
    for seed in (1, 2):
        a, b = ({e.id: e for e in read_episodes(chosen.folder(side, seed))} for side in ("a", "b"))
        assert a.keys() == b.keys()
        for name in a:
            heard = [[u.text for u in e.utterances[::2]] for e in (a[name], b[name])]
            assert heard[0] == heard[1]
            assert a[name].utterances[1].text == WARM
            assert b[name].utterances[1].text == COLD
        openings.append({name: e.utterances[0].text for name, e in a.items()})
    assert openings[0].keys() == openings[1].keys()
    assert openings[0] != openings[1]
    assert (result.scenarios, result.seeds, result.failed) == (8, (1, 2), {"a": 0, "b": 0})
    found = {each.measure: each for each in result.outcomes}
    helpful = found["helpfulness"]
    assert (helpful.a.value, helpful.b.value, helpful.paired.difference) == (4, 2, 2)
    assert (helpful.paired.n, helpful.paired.groups) == (16, 8)
    assert helpful.paired.p == pytest.approx(2 / 2**8)  # all 8 signs agree, two-sided
    assert helpful.p_holm > helpful.paired.p
    assert found["words a supporter utterance"].paired.difference == 10
    assert found["utterances"].paired.difference == 0
    assert {(w.wins, w.n, w.rate) for w in result.wins} == {(16, 16, 1.0)}
    stored = json.loads((tmp_path / "play" / "selfplay.json").read_text())
    assert stored["scenarios"] == 8


async def test_the_same_call_again_asks_nobody(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    results, judges = [], []
    for _ in range(2):
        a, b, judge = supporter(WARM), supporter(COLD), ScriptedPolicy(likes_warmth)
        judges.append((a, b, judge))
        result = await self_play(
            chosen, a=a, b=b, judge_policy=judge, seats=seats(), scenarios=scenarios(3)
        )
        results.append(result)
    assert all(policy.requests for policy in judges[0])
    assert not any(policy.requests for policy in judges[1])
    assert results[0] == results[1]


async def test_equal_supporters_do_not_differ(tmp_path: Path) -> None:
    result = await self_play(
        settings(tmp_path), a=supporter(WARM), b=supporter(WARM),
        judge_policy=ScriptedPolicy(likes_warmth), seats=seats(), scenarios=scenarios(4),
    )  # fmt: skip
    assert {each.paired.difference for each in result.outcomes} == {0}
    assert {each.paired.p for each in result.outcomes} == {1.0}


async def test_a_failed_conversation_leaves_its_pair_missing(tmp_path: Path) -> None:
    def breaks(request: Request) -> str:
        if request.session.startswith("s1") or "s1/" in request.session:
            raise EngineTimeout("slow")
        return WARM

    result = await self_play(
        settings(tmp_path, seeds=(0,)), a=ScriptedPolicy(breaks), b=supporter(COLD),
        judge_policy=ScriptedPolicy(likes_warmth), seats=seats(), scenarios=scenarios(3),
    )  # fmt: skip
    assert result.failed == {"a": 1, "b": 0}
    [safety] = [each for each in result.outcomes if each.measure == "safety"]
    assert (safety.paired.n, safety.paired.missing) == (2, 1)


async def test_unreadable_verdicts_are_counted_and_missing(tmp_path: Path) -> None:
    result = await self_play(
        settings(tmp_path, seeds=(0,)), a=supporter(WARM), b=supporter(COLD),
        judge_policy=ScriptedPolicy(lambda request: "good"), seats=seats(), scenarios=scenarios(2),
    )  # fmt: skip
    assert result.unreadable == 28
    judged = [each for each in result.outcomes if each.judged]
    assert {(each.a.value, each.paired.n, each.paired.missing) for each in judged} == {(None, 0, 2)}


async def test_the_response_rubric_averages_over_an_episode(tmp_path: Path) -> None:
    chosen = settings(tmp_path, seeds=(0,), rubric="response", samples=2)

    def judge(request: Request) -> str:
        score = 5 if request.messages[-1].content.count("Seeker:") == 1 else 2
        return json.dumps({"explanation": "", "faults": [], "score": score})

    result = await self_play(
        chosen, a=supporter(WARM), b=supporter(COLD), judge_policy=ScriptedPolicy(judge),
        seats=seats(), scenarios=scenarios(2),
    )  # fmt: skip
    assert result.outcomes[0].a.value == 3.5
    ratings = list(iter_ratings(chosen.folder("a", 0)))
    assert len(ratings) == 2 * 2 * 7 * 2
    assert episode_scores(ratings)["s0"]["empathy"] == 3.5


def test_outcomes_take_what_is_not_there_as_missing() -> None:
    found = outcomes({("s", 0): {"x": 4.0}, ("t", 0): {}}, {("s", 0): {"x": 3.0}}, ["x"])
    assert [each.measure for each in found] == ["x", *PLAIN_MEASURES]
    assert (found[0].paired.difference, found[0].paired.n, found[0].paired.missing) == (1, 1, 1)
    assert found[1].paired.p is None


@pytest.mark.parametrize(("given", "message"), [
    ({"supporter": {"policy": "scripted"}}, "leave supporter out"),
    ({"seed": 3}, "give seeds, not seed"),
    ({"seeds": (1, 1)}, "a seed occurs twice"),
    ({"out": None}, "out is needed"),
])  # fmt: skip
def test_settings_that_mean_nothing_here_are_refused(
    tmp_path: Path, given: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        settings(tmp_path, **given)


async def test_two_equal_sides_and_a_missing_judge_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the same supporter"):
        await self_play(settings(tmp_path))
    with pytest.raises(ConfigError, match="no judge is named"):
        await self_play(settings(tmp_path), a=supporter(WARM))


async def test_workers_play_the_same_conversations(tmp_path: Path) -> None:
    results = []
    for name, workers in (("one", None), ("two", 2)):
        chosen = settings(tmp_path / name, seeds=(1,), workers=workers)
        result = await self_play(
            chosen, a=supporter(WARM), b=supporter(COLD), scenarios=scenarios(4), seats=seats(),
            judge_policy=ScriptedPolicy(likes_warmth),
        )  # fmt: skip
        played = [e.content() for side in ("a", "b") for e in read_episodes(chosen.folder(side, 1))]
        results.append((result.as_dict(), played))
    assert results[0] == results[1]
    assert len(list((tmp_path / "two" / "play" / "a" / "seed-1").glob("episodes-*.jsonl"))) == 2
