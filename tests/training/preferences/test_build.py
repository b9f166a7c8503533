"""Preference pairs: every rule of hygiene, lineage to calls, and a journal that a kill cannot hurt."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmline.agents.conditions import StrategyCondition
from warmline.agents.roles import Role, Strategy
from warmline.core.errors import BadRequest, ConfigError, EngineUnavailable, RunError
from warmline.core.tasks import run_sync
from warmline.environments.episodes.episode import Episode, Utterance
from warmline.policies.base import Capabilities, Reply, Request
from warmline.policies.scripted import ScriptedPolicy
from warmline.policies.wrappers.refine import SCHEMA
from warmline.training.dpo.settings import DpoSettings
from warmline.training.preferences.build import (
    ask_chosen,
    ask_rejected,
    claim_calls,
    iter_pairs,
    make_pairs,
    pairs_from,
)
from warmline.training.preferences.contexts import Context, contexts_of
from warmline.training.preferences.hygiene import (
    choose,
    identical,
    merge_turns,
    strict_turns,
    too_long,
    without_greetings,
)
from warmline.training.preferences.pairs import preference_pairs
from warmline.training.preferences.reflection import CALLS_NAME, CallLog, iter_calls
from warmline.training.preferences.relevance import relevance, spread
from warmline.training.preferences.settings import (
    PairSettings,
    PreferenceSettings,
)

from ..building import TEMPLATE, episode, write_log
from .answering import analysis, own, seeded

TALK = tuple(
    (f"I worry about my rent in week {n}.", f"Rent in week {n} weighs on you.", Strategy.REFLECTION)
    for n in range(5)
)
"""Five exchanges, of which the greeting rule leaves the second and third."""


@pytest.fixture
def settings(tmp_path: Path) -> PreferenceSettings:
    template = tmp_path / "short.jinja"
    template.write_text(TEMPLATE, "utf-8")
    return PreferenceSettings(template=str(template))


def refining(request: Request) -> str:
    return "That is bad." if own(request) else analysis("Rent is a heavy worry.")


def made(
    settings: PreferenceSettings,
    folder: Path,
    script: Any,
    episodes: list[Episode] | None = None,
    reviser: Any = None,
) -> tuple[list[Any], Any, list[Context]]:
    counts: Counter[str] = Counter()
    contexts = contexts_of(episodes or [episode("a", TALK)], settings, counts)
    policy = script if hasattr(script, "respond") else ScriptedPolicy(script)
    run_sync(ask_rejected(contexts, settings, folder, policy))
    run_sync(ask_chosen(contexts, settings, folder, reviser or policy))
    pairs, _ = pairs_from(
        folder, contexts, settings, folder, counts, episodes or [episode("a", TALK)]
    )
    return pairs, json.loads((folder / "summary.json").read_text()), contexts


# hygiene


def said(*turns: str) -> tuple[Utterance, ...]:
    roles = {"s": Role.SEEKER, "h": Role.SUPPORTER}
    return tuple(Utterance(roles[t[0]], t[2:], t[2:]) for t in turns)


def test_consecutive_utterances_are_one_turn() -> None:
    merged = merge_turns(said("s Hello.", "s It is me.", "h Yes?", "h  ", "s I am sad."))
    assert [(u.role.value, u.text) for u in merged] == [
        ("seeker", "Hello. It is me."),
        ("supporter", "Yes?"),
        ("seeker", "I am sad."),
    ]
    assert merged[0].repairs == ("merge",)
    assert merged[1].repairs == ()


@given(st.lists(st.sampled_from(["s one", "h two", "s  ", "h three"])), st.booleans())
def test_strict_turns_alternate_from_the_seeker_on(turns: list[str], rename: bool) -> None:
    counts: Counter[str] = Counter()
    whole = episode("a").model_copy(update={"utterances": said(*turns)})
    strict = strict_turns(whole, "rename" if rename else "drop", counts)
    roles = [u.role for u in strict.utterances]
    expected = [(Role.SEEKER, Role.SUPPORTER)[n % 2] for n in range(len(roles))]
    assert roles == expected
    assert strict_turns(strict, "drop", Counter()) is strict
    before = " ".join(t[2:] for t in turns if t[2:].strip()).split()
    after = " ".join(u.text for u in strict.utterances).split()
    dropped = counts["greeting_dropped"]
    assert after == before if not dropped else before[-len(after) or len(before) :] == after


def test_whoever_speaks_first_can_be_named_the_seeker() -> None:
    """Self-Evolution appendix A to the letter."""
    whole = episode("a").model_copy(update={"utterances": said("h Hello.", "s Hi.", "h So?")})
    counts: Counter[str] = Counter()
    renamed = strict_turns(whole, "rename", counts)
    assert [u.role.value for u in renamed.utterances] == ["seeker", "supporter", "seeker"]
    assert counts == {"speakers_renamed": 1, "merged": 0}
    dropped = strict_turns(whole, "drop", counts)
    assert [u.text for u in dropped.utterances] == ["Hi.", "So?"]


def test_the_first_and_the_last_two_exchanges_are_greetings() -> None:
    assert without_greetings([1, 3, 5, 7, 9], 1, 2) == [3, 5]
    assert without_greetings([1, 3, 5], 1, 2) == []
    assert without_greetings([1, 3], 0, 0) == [1, 3]


def test_twice_as_many_words_are_still_allowed() -> None:
    assert not too_long("a b c d", ["a b"], 2.0)
    assert too_long("a b c d e", ["a b"], 2.0)
    assert too_long("a b c d e", ["a b c d e", "a b"], 2.0)
    assert not too_long("a b c d e", ["a"], None)


def test_the_gold_reply_stands_in() -> None:
    sides = {"rejected": "x y", "gold": "g h", "longest": 2.0}
    assert choose("refined", "a b c d", **sides).model_dump() == {
        "text": "a b c d", "origin": "refined", "replaced": "",
    }  # fmt: skip
    assert choose("refined", "a b c d e", **sides).replaced == "too_long"
    assert choose("refined", "a b c", **sides | {"gold": "g"}).replaced == "too_long"
    assert choose("refined", None, **sides).replaced == "unreadable"
    assert choose("stronger", "a", **sides).origin == "stronger"
    assert choose("gold", "a", **sides).text == "g h"
    assert choose("gold", "a", **sides).replaced == ""


def test_white_space_makes_no_difference() -> None:
    assert identical(" a  b", "a b\n")
    assert not identical("a b", "A b")


# relevance


def test_relevance_is_scikit_learns_tfidf_cosine() -> None:
    vectorizer = pytest.importorskip("sklearn.feature_extraction.text").TfidfVectorizer()
    heard = ["I worry about my rent, every week.", "My sister is ill."]
    chosen = ["Rent is a heavy worry every week.", "How is your sister?"]
    rejected = ["That is bad.", "I am ill too, my sister."]
    vectorizer.fit([*heard, *chosen, *rejected])
    u, c, r = (vectorizer.transform(texts).toarray() for texts in (heard, chosen, rejected))
    found = relevance(lambda: zip(heard, chosen, rejected, strict=True))
    assert found.chosen == pytest.approx((u * c).sum(1).mean(), abs=1e-12)
    assert found.rejected == pytest.approx((u * r).sum(1).mean(), abs=1e-12)
    assert found.chosen_higher == 0.5
    assert found.pairs == 2
    assert relevance(lambda: ()).chosen is None


def test_relevance_is_a_distribution_of_both_sides_and_of_how_alike_they_are() -> None:
    """Self-Evolution Fig. 5a and 5b: quantiles are numpy's, and the shares add up to all."""
    heard = [f"my rent in week {n} is late" for n in range(9)]
    chosen = [f"rent in week {n} is a worry" for n in range(9)]
    rejected = ["rent is hard"] * 4 + ["cheer up now"] * 5
    all_pairs = relevance(lambda: zip(heard, chosen, rejected, strict=True))
    found = all_pairs.distributions
    for side, mean in (("chosen", all_pairs.chosen), ("alike", None)):
        each = found[side]
        assert sum(each.histogram) == pytest.approx(1)
        assert each.p10 <= each.p25 <= each.median <= each.p75 <= each.p90
        assert mean is None or each.mean == pytest.approx(mean)
    assert found["rejected"].median == found["alike"].p10 == 0
    assert found["alike"].p90 > 0
    one = relevance(lambda: [(heard[0], chosen[0], chosen[0])]).distributions
    assert one["alike"].p10 == one["alike"].mean == pytest.approx(1)
    assert one["alike"].histogram[-1] == 1
    values = [0.1, 0.25, 0.4, 0.9, 0.95]
    cuts = np.quantile(values, [0.1, 0.25, 0.5, 0.75, 0.9])
    made = spread(values)
    assert [made.p10, made.p25, made.median, made.p75, made.p90] == pytest.approx(list(cuts))


# pairs


def test_pairs_of_replies_and_their_refinement(
    settings: PreferenceSettings, tmp_path: Path
) -> None:
    pairs, summary, contexts = made(settings, tmp_path / "round", refining)
    assert [pair.id for pair in pairs] == ["a#3", "a#5"]
    assert pairs[0].rejected[0].content == "That is bad."
    assert pairs[0].chosen[0].content == "Rent is a heavy worry."
    assert (pairs[0].origin, pairs[0].score) == ("refined", 2)
    assert tuple(m.content for m in pairs[0].prompt) == tuple(
        m.content for m in contexts[0].row.prompt
    )
    assert summary["rules"] == {"greeting_turns": 3}
    assert summary["scores"] == {"2": 2}
    assert summary["relevance"]["measure"] == "tfidf-cosine"
    assert summary["relevance"]["chosen"] > summary["relevance"]["rejected"]


def test_every_pair_traces_to_its_calls(settings: PreferenceSettings, tmp_path: Path) -> None:
    pairs, _, _ = made(settings, tmp_path / "round", refining)
    calls = {call.id: call for call in iter_calls(tmp_path / "round")}
    for pair in pairs:
        reply, reflection = (calls[name] for name in pair.calls)
        assert reply.messages == pair.prompt
        assert reply.text == pair.rejected[0].content
        assert reply.text in reflection.messages[-1].content
        assert json.loads(reflection.text)["reply"] == pair.chosen[0].content
        assert reply.sampling == {
            "temperature": 0.9, "top_p": 0.8, "top_k": 50, "repetition_penalty": 1.2,
            "max_tokens": 120,
        }  # fmt: skip
        assert reflection.sampling["max_tokens"] == 512
        assert reflection.schema_asked
    assert len(calls) == 4
    assert len({call.seed for call in calls.values()}) == 4


def test_pairs_are_trls_preference_rows(settings: PreferenceSettings, tmp_path: Path) -> None:
    made(settings, tmp_path / "round", refining)
    first = next(iter_pairs(tmp_path / "round"))
    assert first.as_trl() == {
        "prompt": [
            {"role": "system", "content": "Help with Job Crisis."},
            {"role": "user", "content": "I worry about my rent in week 0."},
            {"role": "assistant", "content": "Rent in week 0 weighs on you."},
            {"role": "user", "content": "I worry about my rent in week 1."},
        ],
        "chosen": [{"role": "assistant", "content": "Rent is a heavy worry."}],
        "rejected": [{"role": "assistant", "content": "That is bad."}],
    }  # fmt: skip


def test_json_is_asked_for_again_three_times_and_then_gold_is_chosen(
    settings: PreferenceSettings, tmp_path: Path
) -> None:
    again = ["no JSON", "{}", "[]", analysis("Rent is heavy now.")]
    answers = iter([*again, *["no JSON"] * 4])

    def script(request: Request) -> str:
        return "That is bad." if own(request) else next(answers)

    one = settings.model_copy(update={"concurrency": 1})
    pairs, summary, _ = made(one, tmp_path / "round", script)
    assert [pair.origin for pair in pairs] == ["refined", "gold"]
    assert pairs[1].chosen[0].content == "Rent in week 2 weighs on you."
    assert [len(pair.calls) for pair in pairs] == [5, 5]
    assert summary["rules"]["gold_for_unreadable"] == 1
    seeds = [c.seed for c in iter_calls(tmp_path / "round") if c.purpose == "reflection"]
    assert len(set(seeds)) == 8


def test_long_ones_become_gold_and_identical_ones_go(
    settings: PreferenceSettings, tmp_path: Path
) -> None:
    def script(request: Request) -> str:
        second = "week 2" in request.messages[-1].content
        if own(request):
            return "Same words." if second else "That is bad."
        return analysis("Same  words." if second else "one two three four five six seven.")

    pairs, summary, _ = made(settings, tmp_path / "round", script)
    assert [(pair.id, pair.replaced) for pair in pairs] == [("a#3", "too_long")]
    assert pairs[0].chosen[0].content == "Rent in week 1 weighs on you."
    assert summary["rules"] == {"gold_for_too_long": 1, "greeting_turns": 3, "identical": 1}


def test_a_reply_that_says_nothing_makes_no_pair(
    settings: PreferenceSettings, tmp_path: Path
) -> None:
    pairs, summary, _ = made(settings, tmp_path / "round", lambda request: "N/A")
    assert not pairs
    assert summary["rules"]["empty_reply"] == 2
    assert all(call.purpose == "rejected" for call in iter_calls(tmp_path / "round"))


@pytest.mark.parametrize(
    ("variant", "chosen", "calls"),
    [
        ("refined", "Rent is a heavy worry.", 4),
        ("gold", "Rent in week 1 weighs on you.", 2),
        ("stronger", "I hear how heavy it is.", 4),
    ],
)
def test_the_three_variants(
    variant: str, chosen: str, calls: int, settings: PreferenceSettings, tmp_path: Path
) -> None:
    stronger = ScriptedPolicy(
        lambda r: "I hear how heavy it is." if own(r) else analysis("Rent is a heavy worry.")
    )
    pairs, summary, _ = made(
        settings.model_copy(update={"variant": variant}),
        tmp_path / "round",
        refining,
        reviser=stronger,
    )
    assert pairs[0].chosen[0].content == chosen
    assert pairs[0].rejected[0].content == "That is bad."
    assert summary["origins"] == {variant: 2}
    assert len(list(iter_calls(tmp_path / "round"))) == calls


def test_a_policy_without_schemas_is_asked_in_words(
    settings: PreferenceSettings, tmp_path: Path
) -> None:
    class Plain(ScriptedPolicy):
        capabilities = Capabilities(sampling=frozenset({"temperature", "max_tokens"}))

    def script(request: Request) -> str:
        review = "Planned reply" in request.messages[-1].content
        return f"Sure: {analysis('Rent is heavy.')}" if review else "That is bad."

    pairs, _, _ = made(settings, tmp_path / "round", Plain(script))
    assert {pair.origin for pair in pairs} == {"refined"}
    calls = list(iter_calls(tmp_path / "round"))
    assert {tuple(call.sampling) for call in calls} == {("temperature", "max_tokens")}
    assert any(next(iter(SCHEMA["properties"])) in call.messages[0].content for call in calls)


class Leaving(ScriptedPolicy):
    """Answers like the script, from its n-th answer on with an error."""

    def __init__(self, script: Any, after: int, error: Exception) -> None:
        super().__init__(script)
        self._after, self._error = after, error

    async def respond(self, request: Request) -> Reply:
        reply = await super().respond(request)
        if len(self.requests) > self._after:
            raise self._error
        return reply


@pytest.mark.parametrize("after", range(8))
def test_what_was_asked_is_not_asked_again(
    after: int, settings: PreferenceSettings, tmp_path: Path
) -> None:
    """Stopped after any number of answers, torn line included, the file ends up the same."""
    episodes = [episode(name, TALK) for name in "ab"]
    whole, _, _ = made(settings, tmp_path / "whole", seeded, episodes)
    with pytest.raises(EngineUnavailable):
        made(
            settings, tmp_path / "part", Leaving(seeded, after, EngineUnavailable("gone")), episodes
        )
    file = tmp_path / "part" / CALLS_NAME
    kept = len(list(iter_calls(file)))
    with file.open("a") as torn:
        torn.write('{"id": "half')
    policy = ScriptedPolicy(seeded)
    again, _, _ = made(settings, tmp_path / "part", policy, episodes)
    assert again == whole
    assert len(policy.requests) == 8 - kept
    assert {c.to_json() for c in iter_calls(file)} == {
        c.to_json() for c in iter_calls(tmp_path / "whole")
    }


def test_a_request_that_can_never_be_answered_is_data(
    settings: PreferenceSettings, tmp_path: Path
) -> None:
    pairs, summary, _ = made(settings, tmp_path / "round", Leaving(refining, 1, BadRequest("no")))
    assert summary["rules"]["empty_reply"] == 1
    assert [pair.replaced for pair in pairs] == ["unreadable"]
    assert {c.error for c in iter_calls(tmp_path / "round")} == {None, "no"}


def test_contexts_can_be_a_sample_and_none_is_an_error(settings: PreferenceSettings) -> None:
    episodes = [episode(f"e{n}", TALK) for n in range(4)]
    few = settings.model_copy(update={"limit": 3})
    chosen = [c.row.id for c in contexts_of(episodes, few, Counter())]
    assert len(chosen) == 3
    assert chosen == [c.row.id for c in contexts_of(episodes, few, Counter())]
    other = few.model_copy(update={"seed": 1})
    assert chosen != [c.row.id for c in contexts_of(episodes, other, Counter())]
    with pytest.raises(ConfigError, match="greeting_turns: 3"):
        contexts_of([episode("a")], settings, Counter())


def test_the_folder_of_another_round_is_refused(
    settings: PreferenceSettings, tmp_path: Path
) -> None:
    contexts = contexts_of([episode("a", TALK)], settings, Counter())
    claim_calls(tmp_path, contexts, settings, {"supporter": "one"})
    claim_calls(tmp_path, contexts, settings, {"supporter": "one"})
    with pytest.raises(RunError, match="one -> other"):
        claim_calls(tmp_path, contexts, settings, {"supporter": "other"})
    with pytest.raises(RunError, match=r"settings.tries: 4 -> 1"):
        claim_calls(
            tmp_path, contexts, settings.model_copy(update={"tries": 1}), {"supporter": "one"}
        )


def test_nothing_depends_on_calls_that_are_missing(settings: PreferenceSettings) -> None:
    contexts = contexts_of([episode("a", TALK)], settings, Counter())
    pairs, summary = make_pairs(contexts, {}, settings)
    assert not pairs
    assert summary.rules == {"not_asked": 2}
    assert summary.relevance["chosen"] is None


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"per": "conversation"}, "a pair answers one turn"),
        ({"pairs": ("a",), "data": ("b",)}, "give one"),
        ({"variant": "stronger"}, "needs a reviser's policy"),
        ({"validation": ("a",)}, "a share of it is held out"),
    ],
)
def test_settings_that_do_not_fit_are_named(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DpoSettings(**changed)


# parts


def shared(data: Path, out: Path, template: str | None, part: str | None = None) -> PairSettings:
    return PairSettings(data=(str(data),), out=str(out), template=template, part=part)


def test_parts_ask_for_disjoint_contexts_and_make_the_same_pairs(
    settings: PreferenceSettings, tmp_path: Path
) -> None:
    data = write_log(tmp_path / "data", [episode(name, TALK) for name in "abc"])
    policy = ScriptedPolicy(seeded)
    whole, _ = preference_pairs(
        shared(data, tmp_path / "whole", settings.template), supporter=policy
    )
    assert len(whole) == 6
    asked = []
    for part in ("1/4", "2/4", "4/4"):  # the third job never ran
        policy = ScriptedPolicy(seeded)
        cut = shared(data, tmp_path / "parts", settings.template, part)
        assert preference_pairs(cut, supporter=policy)[0] == []
        asked.append([request.seed for request in policy.requests])  # a reply and its reflection
    assert [len(some) for some in asked] == [4, 4, 2]
    assert len(set().union(*asked)) == 10
    last = ScriptedPolicy(seeded)
    joined, _ = preference_pairs(
        shared(data, tmp_path / "parts", settings.template), supporter=last
    )
    assert joined == whole
    assert len(last.requests) == 2
    files = {file.name for file in (tmp_path / "parts" / "replies").glob("calls*.jsonl")}
    assert files == {f"calls-{n}-of-4.jsonl" for n in (1, 2, 4)} | {CALLS_NAME}


def test_pairs_are_not_made_while_a_part_is_being_asked_for(
    settings: PreferenceSettings, tmp_path: Path
) -> None:
    data = write_log(tmp_path / "data", [episode("a", TALK)])
    policy = ScriptedPolicy(seeded)
    first = shared(data, tmp_path / "out", settings.template, "1/2")
    preference_pairs(first, supporter=policy)
    with CallLog(tmp_path / "out" / "replies", "1/2"):
        with pytest.raises(RunError, match=r"calls-1-of-2\.jsonl"):
            preference_pairs(shared(data, tmp_path / "out", settings.template), supporter=policy)
        preference_pairs(shared(data, tmp_path / "out", settings.template, "2/2"), supporter=policy)


@pytest.mark.parametrize("part", ["0/2", "3/2", "1", "a/b", "1/0"])
def test_there_is_no_such_part(part: str) -> None:
    with pytest.raises(ConfigError, match="part"):
        PairSettings(part=part)


def test_both_sides_carry_a_strategy_that_the_model_chose_or_neither_does(
    settings: PreferenceSettings, tmp_path: Path
) -> None:
    chooses = settings.model_copy(update={"strategy": StrategyCondition.SELF})

    def labelled(request: Request) -> str:
        reply = "[Question] How bad is it?" if own(request) else analysis("Rent is a heavy worry.")
        return reply.replace("[Question] ", "") if "week 2" in str(request.messages) else reply

    pairs, _, _ = made(chooses, tmp_path / "round", labelled)
    said = [(pair.chosen[0].content, pair.rejected[0].content) for pair in pairs]
    assert said == [
        ("[Question] Rent is a heavy worry.", "[Question] How bad is it?"),
        ("Rent is a heavy worry.", "How bad is it?"),
    ]
    gold = chooses.model_copy(update={"variant": "gold"})
    pairs, _, _ = made(gold, tmp_path / "gold", labelled)
    assert pairs[0].chosen[0].content == "[Reflection of Feelings] Rent in week 1 weighs on you."
    assert pairs[0].rejected[0].content == "[Question] How bad is it?"
    assert pairs[1].chosen[0].content == "Rent in week 2 weighs on you."
