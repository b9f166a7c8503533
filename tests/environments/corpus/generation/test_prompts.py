"""Generation in its pure parts: what is asked, what is read, what is refused, what is drawn."""

from __future__ import annotations

import json
import random
import re
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import warmline
from warmline import Profile, Scenario, ScriptedPolicy
from warmline.core.errors import ConfigError, MissingExtra
from warmline.environments.corpus.generation.checks import (
    count_words,
    profile_fault,
    situation_fault,
    situation_of,
    type_fault,
)
from warmline.environments.corpus.generation.coverage import Slot
from warmline.environments.corpus.generation.pools import (
    GrowingCases,
    Pools,
    depth_of,
    draw_examples,
    generated_among,
    shipped_pools,
)
from warmline.environments.corpus.generation.prompts import (
    OPENINGS,
    GenerationSettings,
    Prompts,
    fit_request,
    profile_request,
    profile_schema,
    read_profile,
    read_situation,
    scenario_request,
)
from warmline.environments.corpus.generation.sampled_profiles import draw_profile
from warmline.environments.corpus.generation.similarity import shingles, similar_texts
from warmline.environments.scenarios.scenario import Origin
from warmline.policies.answers import misfit
from warmline.policies.base import Capabilities, FinishReason, Reply, Sampling

from ..building import NAMES, profile, situation

SEEDS = warmline.seed_scenarios()
SLOT = Slot(3, "Burnout", (("gender", "female"), ("age", "30-44")))
GOOD = situation(1)
PERSON = Profile(
    name="Ana Boson", age=34, gender="female", occupation="tram driver", location="Ghent",
    traits="blunt, sings alto",
)  # fmt: skip


def prompts(settings: GenerationSettings | None = None) -> Prompts:
    return Prompts.of(settings or GenerationSettings(), Sampling())


class Small(ScriptedPolicy):
    capabilities = Capabilities(schema=True, prefill=True, small_model=True)


class Plain(ScriptedPolicy):
    capabilities = Capabilities(schema=False, prefill=False)


# What is asked


def test_examples_are_earlier_exchanges_and_the_new_one_comes_last() -> None:
    examples = [s for s in SEEDS if s.problem_type == "Burnout"][:3]
    request = scenario_request(
        prompts(), SLOT, examples, policy=ScriptedPolicy(), settings=GenerationSettings(), seed=5
    )
    assert [m.role for m in request.messages] == ["system"] + ["user", "assistant"] * 3 + ["user"]
    assert [m.content for m in request.messages if m.role == "assistant"] == [
        s.situation for s in examples
    ]
    last = request.messages[-1].content
    assert "Burnout" in last
    assert "more than 20 words" in last
    assert "gender female, age 30-44" in last
    assert (request.seed, request.prefill) == (5, "")


def test_a_small_model_is_given_the_first_words() -> None:
    settings = GenerationSettings()

    def prefill(policy: ScriptedPolicy, settings: GenerationSettings, seed: int) -> str:
        return scenario_request(
            prompts(), SLOT, [], policy=policy, settings=settings, seed=seed
        ).prefill

    assert prefill(Small(), settings, 1) in OPENINGS
    assert len({prefill(Small(), settings, seed) for seed in range(40)}) > 5
    assert prefill(Small(), GenerationSettings(first_words=False), 1) == ""
    assert prefill(ScriptedPolicy(), GenerationSettings(first_words=True), 1) in OPENINGS


def test_min_words_reaches_the_prompt() -> None:
    settings = GenerationSettings(min_words=35)
    request = scenario_request(prompts(), SLOT, [], policy=Plain(), settings=settings, seed=0)
    assert "more than 35 words" in request.messages[-1].content


def test_a_template_of_the_users_own_is_used(tmp_path) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / "own.jinja"
    file.write_text("{% block system %}Own.{% endblock %}{% block ask %}{{ number }}{% endblock %}")
    own = prompts(GenerationSettings(scenario_template=str(file)))
    request = scenario_request(own, SLOT, [], policy=Plain(), settings=GenerationSettings(), seed=0)
    assert [m.content for m in request.messages] == ["Own.", "1"]
    assert own.describe() != prompts().describe()


def test_profiles_are_asked_for_by_schema_only_where_it_is_honoured() -> None:
    example = SEEDS[0]
    asked = profile_request(prompts(), SLOT, GOOD, example, policy=Small(), seed=1)
    assert asked.schema is not None
    assert "maxLength" in json.dumps(asked.schema)
    large = profile_request(prompts(), SLOT, GOOD, example, policy=ScriptedPolicy(), seed=1)
    assert "maxLength" not in json.dumps(large.schema)
    assert profile_request(prompts(), SLOT, GOOD, example, policy=Plain(), seed=1).schema is None
    shown = json.loads(asked.messages[2].content)
    assert shown["name"] == example.profile.name
    assert GOOD in asked.messages[-1].content
    assert "gender female" in asked.messages[-1].content


def test_the_schema_says_what_is_planned() -> None:
    schema = profile_schema(SLOT, bounded=True)
    assert schema["properties"]["gender"]["enum"] == ["female"]
    assert schema["properties"]["age"] == {"type": "integer", "minimum": 30, "maximum": 44}
    assert misfit(json.loads(PERSON.model_dump_json(exclude={"text"})), schema) is None
    assert "maxLength" not in json.dumps(profile_schema(SLOT, bounded=False))


def test_the_fit_question_offers_its_own_type_and_one_of_each_other_category() -> None:
    request = fit_request(prompts(), SLOT, GOOD, seed=2)
    assert request.choices is not None
    categories = [warmline.problem_types()[name].category for name in request.choices]
    assert "Burnout" in request.choices
    assert len(set(categories)) == len(categories) == 5


# What is read


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("Situation: It rained.", "It rained."),
        ("1. It rained.", "It rained."),
        ('"It rained."', "It rained."),
        ("**New situation:** It rained.", "It rained."),
        ("It rained.\n\nNote: this is fiction.", "It rained."),
        ("It rained.\nAll day.", "It rained. All day."),
        ('"Stay," she said, "or go."', '"Stay," she said, "or go."'),
    ],
)
def test_a_situation_is_freed_of_what_surrounds_it(raw: str, text: str) -> None:
    assert situation_of(raw, complete=True) == text


def test_an_unfinished_sentence_is_cut_only_where_the_engine_was_cut() -> None:
    raw = "It rained on Monday. Then my sister"
    assert read_situation(Reply(raw, FinishReason.LENGTH)) == "It rained on Monday."
    assert read_situation(Reply(raw, FinishReason.STOP)) == raw


def test_four_sentences_are_kept() -> None:
    assert read_situation(Reply("One. Two. Three. Four. Five.")) == "One. Two. Three. Four."


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "Ana", "age": 34, "gender": "female", "occupation": "baker", "location": "Ghent",'
        ' "traits": "shy"}',
        'Sure! {"Name": "Ana", "Age": "34 years", "Gender": "female", "Job": "baker",'
        ' "City": "Ghent", "Hobbies": ["shy"]} I hope this helps.',
        "Name: Ana\nAge: 34\nGender: female\nOccupation: baker.\nLocation: Ghent\nTraits: shy",
        "- **Name**: Ana\n- **Age**: 34\n- **Gender**: female\n- **Major**: baker\n"
        "- **Location**: Ghent\n- **Hobbies**: shy",
    ],
)
def test_profiles_are_read_from_json_and_from_lines(text: str) -> None:
    assert read_profile(text) == Profile(
        name="Ana", age=34, gender="female", occupation="baker", location="Ghent", traits="shy"
    )


def test_traits_and_hobbies_are_joined() -> None:
    found = read_profile('{"name": "Ana", "traits": "shy", "hobbies": "chess"}')
    assert found is not None
    assert found.traits == "shy, chess"


@pytest.mark.parametrize("text", ["", "I cannot say.", "{}", '{"age": 4}', "[1, 2]"])
def test_what_is_no_profile_is_none(text: str) -> None:
    assert read_profile(text) is None


@given(st.text())
def test_reading_never_fails(text: str) -> None:
    read_profile(text)
    situation_fault(situation_of(text, complete=False))


# What is refused


def test_hand_written_situations_and_profiles_pass() -> None:
    refused = [s.id for s in SEEDS if situation_fault(s.situation)]
    assert refused == []
    assert [s.id for s in SEEDS if profile_fault(s.profile, situation=s.situation)] == []
    misfits = [s.id for s in SEEDS if type_fault(s.situation, s.problem_type)]
    assert len(misfits) <= 0.02 * len(SEEDS)


LONG = "and nothing is as it was before the water came into the rooms below the street"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Burnout.", "too short"),
        (" ".join(["word"] * 20), "too short"),
        (f"Sure! Here is one. My sister left in May {LONG}.", "echoes"),
        (f"Write a situation about my sister who left in May {LONG}.", "echoes"),
        (f"My name is [name] and my sister left in May {LONG}.", "echoes"),
        (f"As an AI, I have no sister who left in May {LONG}.", "echoes"),
        (f"My sister left in May {LONG}. You should talk to somebody.", "advises"),
        (f"It is important to know that my sister left in May {LONG}.", "advises"),
        (f"My sister left. My sister left. {LONG.capitalize()} in May.", "repeats a sentence"),
        ("I went and I went and I went and I went and I went and I went in May to town", "repeats"),
        (f"Burnout is a state of stress {LONG.replace('was', 'is').replace('came', 'is')}.", "not specific: names no person"),
        ("My brother has a bad feeling about his own place in the world and about the people in it, with no way out of it.", "not specific: tells no event"),
    ],
)  # fmt: skip
def test_what_is_no_specific_situation_is_refused(text: str, reason: str) -> None:
    assert (situation_fault(text) or "").startswith(reason)


def test_more_than_twenty_words_means_twenty_one() -> None:
    words = "I lost my keys on Monday and " + " ".join(f"w{n}" for n in range(13))
    assert count_words(words) == 20
    assert situation_fault(words) == "too short: 20 words, more than 20 are asked"
    assert situation_fault(f"{words} more") is None
    assert situation_fault(words, min_words=19) is None


def test_other_scripts_are_counted_by_character_and_left_to_people() -> None:
    chinese = "上个月我丢了工作，到现在还没有告诉家里人，每天早上还是照常出门去图书馆坐着。"
    assert situation_fault(chinese) is None
    assert situation_fault("我很难过。") is not None


def test_a_text_about_something_else_is_refused_and_a_type_of_ones_own_never() -> None:
    text = "I drink wine every night, hide the bottle, wake with a hangover and am never sober."
    assert "Alcohol Abuse" in (type_fault(text, "School Bullying") or "")
    assert type_fault(text, "Alcohol Abuse") is None
    assert type_fault(text, "Moon Sickness") is None
    assert type_fault(text, "School Bullying", margin=9) is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"age": None}, "unlikely age"),
        ({"age": 120}, "unlikely age"),
        ({"name": ""}, "field not usable: name"),
        ({"name": "Dad"}, "field not usable: name"),
        ({"location": "[city]"}, "field not usable: location"),
        ({"occupation": "N/A"}, "field not usable: occupation"),
        ({"traits": " ".join(["very"] * 30)}, "field too long: traits"),
        ({"traits": "drives the tram home before supper was on the table"}, "repeats the situation"),
        ({"gender": "male"}, "requirement not met: gender female, got male"),
        ({"age": 60}, "requirement not met: age 30-44, got 60"),
        ({"name": "Example Er"}, "copies the example"),
        ({"age": 40, "location": "Rome", "occupation": "cook"}, "copies the example"),
    ],
)  # fmt: skip
def test_profiles_are_checked(changes: dict[str, object], reason: str | None) -> None:
    example = Profile(
        name="Example Er", age=40, gender="male", occupation="cook", location="Rome", traits="kind"
    )
    fault = profile_fault(
        PERSON.model_copy(update=changes),
        situation="My sister drives the tram home before supper was on the table.",
        example=example,
        required=SLOT.attributes,
    )
    assert fault is None if reason is None else (fault or "").startswith(reason)


# Near-duplicates


@pytest.mark.parametrize("measure", ["tfidf", "minhash"])
def test_near_duplicates_are_found_and_others_are_not(measure: str) -> None:
    known = similar_texts(measure, {s.id: s.situation for s in SEEDS})
    limit = GenerationSettings(near_duplicates=measure).threshold
    copied = SEEDS[7].situation.replace(",", "").replace(" the ", " that ")
    near = known.nearest(copied)
    assert near is not None
    assert near.id == SEEDS[7].id
    assert near.similarity >= limit
    other = known.nearest(GOOD)
    assert other is None or other.similarity < limit
    known.add("new", GOOD)
    again = known.nearest(GOOD)
    assert again is not None
    assert (again.id, round(again.similarity, 6)) == ("new", 1)


@pytest.mark.parametrize("measure", ["tfidf", "minhash"])
def test_an_empty_pool_has_nothing_near(measure: str) -> None:
    known = similar_texts(measure, {})
    assert known.nearest(GOOD) is None
    known.add("new", GOOD)
    assert known.nearest(GOOD) is not None


@pytest.mark.parametrize(
    ("measure", "module"), [("tfidf", "sklearn.feature_extraction.text"), ("minhash", "datasketch")]
)
def test_a_missing_library_names_the_extra(
    measure: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra, match=r"warmline\[data\]"):
        similar_texts(measure, {})


def test_no_two_seeds_are_near_duplicates() -> None:
    known = similar_texts("tfidf", {SEEDS[0].id: SEEDS[0].situation})
    for scenario in SEEDS[1:]:
        near = known.nearest(scenario.situation)
        assert near is not None
        assert near.similarity < 0.5
        known.add(scenario.id, scenario.situation)


def test_similarity_is_symmetric_whatever_was_added_in_between() -> None:
    """So it does not matter on which side of a kill two situations were compared."""
    base = {s.id: s.situation for s in SEEDS[:20]}
    first, second = similar_texts("tfidf", base), similar_texts("tfidf", base)
    first.add("a", situation(1))
    second.add("other", situation(9))
    second.add("b", situation(1) + " And so on.")
    one, two = first.nearest(situation(1) + " And so on."), second.nearest(situation(1))
    assert one is not None
    assert two is not None
    assert one.similarity == pytest.approx(two.similarity)


def test_shingles_by_hand() -> None:
    assert shingles("The cat, the cat sat.") == ["the cat the", "cat the cat", "the cat sat"]
    assert shingles("Cat!") == ["cat"]


# Pools


def generated(name: str, depth: int, problem_type: str = "Burnout") -> Scenario:
    return Scenario(
        id=name,
        problem_type=problem_type,
        situation=situation(depth),
        profile=PERSON,
        origin=Origin(depth=depth, round=1, attempt=1),
    )


@given(st.integers(1, 5), st.floats(0, 1))
def test_the_share_of_generated_examples_is_never_exceeded(count: int, share: float) -> None:
    shown = 0
    for number in range(60):
        allowed = generated_among(number, count, share)
        assert 0 <= allowed <= count
        shown += allowed
        assert shown <= (number + 1) * count * share + 1e-6
    assert shown > 60 * count * share - 1


def test_with_one_example_every_second_slot_may_have_a_generated_one() -> None:
    assert [generated_among(n, 1, 0.5) for n in range(4)] == [0, 1, 0, 1]


def test_examples_are_of_the_type_then_of_the_category() -> None:
    pool = shipped_pools().scenarios
    chosen = draw_examples(pool, "Burnout", 3, generated=0, max_depth=2, key="k")
    assert {s.problem_type for s in chosen} == {"Burnout"}
    many = draw_examples(pool, "Burnout", 15, generated=0, max_depth=2, key="k")
    assert len(many) == 15
    assert sum(s.problem_type == "Burnout" for s in many) == 10
    assert {s.category for s in many} == {"Life and Work Stress"}
    assert chosen == draw_examples(pool, "Burnout", 3, generated=0, max_depth=2, key="k")
    three = [s for s in pool if s.problem_type == "Burnout"][:3]
    orders = {
        tuple(
            s.id for s in draw_examples(three, "Burnout", 3, generated=0, max_depth=2, key=str(k))
        )
        for k in range(60)
    }
    assert len(orders) == 6


def test_drift_is_limited_in_share_and_depth() -> None:
    pool = (*shipped_pools().scenarios, generated("g1", 1), generated("g2", 2), generated("g3", 1))

    def drawn(number: int, depth: int) -> list[str]:
        chosen = draw_examples(pool, "Burnout", 3, generated=number, max_depth=depth, key="k")
        return [s.id for s in chosen if depth_of(s)]

    assert drawn(0, 9) == []
    assert len(drawn(1, 9)) == 1
    assert sorted(drawn(3, 9)) == ["g1", "g2", "g3"]
    assert sorted(drawn(3, 2)) == ["g1", "g3"]
    assert drawn(3, 1) == []


def test_generated_cases_keep_to_their_share() -> None:
    written = warmline.seed_dialogues()
    (case,) = [d for d in written if d.problem_type == "Burnout"][:1]
    new = [case.model_copy(update={"id": f"new-{n}", "scenario": f"new-{n}"}) for n in range(4)]

    def fresh(share: float, count: int, scenario_id: str = "s") -> int:
        cases = GrowingCases(written, new, share)
        drawn = cases.draw("Burnout", count, scenario_id=scenario_id)
        assert len(drawn) == count
        shipped = {id(c) for c in cases._written._rendered.values()}
        return sum(id(c) not in shipped for c in drawn)

    assert fresh(0.5, 4) == 2
    assert fresh(0.5, 3) == 1
    assert fresh(0.5, 1) == 0
    assert fresh(0, 4) == 0
    assert fresh(1, 4) == 4
    assert fresh(1, 4, "new-0") == 3, "a case of the scenario being played is left out"


def test_pools_know_their_types_in_order() -> None:
    pools = Pools((generated("a", 1, "Mine"), generated("b", 1), SEEDS[0]), (), ())
    assert pools.types == [SEEDS[0].problem_type, "Burnout", "Mine"]


# Drawn profiles


@pytest.mark.parametrize("number", range(30))
def test_drawn_profiles_pass_the_checks_and_keep_requirements(number: int) -> None:
    band = random.Random(number).choice(["12-17", "18-29", "65+"])
    made = draw_profile(f"k{number}", {"gender": "female", "age": band})
    required = (("gender", "female"), ("age", band))
    assert profile_fault(made, situation=GOOD, required=required) is None
    assert made == draw_profile(f"k{number}", {"gender": "female", "age": band})


def test_drawn_profiles_differ() -> None:
    assert len({draw_profile(str(k)).name for k in range(60)}) > 15


def test_the_scripts_own_answers_are_good_ones() -> None:
    for seed in range(50):
        assert situation_fault(situation(seed)) is None
        read = read_profile(profile(seed))
        assert read is not None
        assert profile_fault(read, situation=situation(seed)) is None
    assert len(NAMES) == 10


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="did you mean 'attempts'"):
        GenerationSettings(attempt=3)


def test_the_threshold_follows_the_measure() -> None:
    assert GenerationSettings().threshold == 0.5
    assert GenerationSettings(near_duplicates="minhash").threshold == 0.3
    assert GenerationSettings(duplicate_threshold=0.8).threshold == 0.8
    assert replace(SLOT, number=0).id == "burnout-g0001"
    assert re.fullmatch(r"burnout-g\d{4}", SLOT.id)
