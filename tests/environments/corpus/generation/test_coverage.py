"""The plan of a corpus: quotas, order, attributes, and the report of what is missing."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import warmline
from warmline import Profile, Scenario
from warmline.core.errors import ConfigError
from warmline.environments.corpus.generation.coverage import (
    Coverage,
    age_limits,
    coverage_report,
    has_attribute,
    plan,
    share_out,
    type_quotas,
)

TYPES = list(warmline.problem_types())


def test_largest_remainder_by_hand() -> None:
    """10 over 6 : 3 : 2 is 5.45, 2.73, 1.82: floors 5, 2, 1, and the two left go to .82 and .73."""
    assert share_out(10, {"a": 6, "b": 3, "c": 2}) == {"a": 5, "b": 3, "c": 2}


def test_equal_remainders_go_to_the_earlier_name() -> None:
    assert share_out(5, {"b": 1, "a": 1, "c": 1}) == {"b": 2, "a": 2, "c": 1}


@given(
    st.integers(0, 500),
    st.dictionaries(st.text(min_size=1, max_size=3), st.floats(0.01, 100), min_size=1),
)
def test_shares_sum_up_and_are_rounded_at_most_by_one(
    count: int, weights: dict[str, float]
) -> None:
    shares = share_out(count, weights)
    total = sum(weights.values())
    assert sum(shares.values()) == count
    for name, weight in weights.items():
        assert abs(shares[name] - count * weight / total) < 1 + 1e-6


def test_a_weight_of_zero_gets_nothing() -> None:
    assert share_out(3, {"a": 0, "b": 1}) == {"a": 0, "b": 3}
    with pytest.raises(ConfigError, match="above zero"):
        share_out(3, {"a": 0})


def test_uniform_covers_all_types() -> None:
    quotas = type_quotas(60, Coverage(), TYPES)
    assert Counter(quotas.values()) == {1: 30, 2: 15}


def test_published_counts_come_back_at_the_published_size() -> None:
    quotas = type_quotas(3757, Coverage(quotas="published"), TYPES)
    assert quotas == {name: kind.count for name, kind in warmline.problem_types().items()}


def test_custom_weights_and_categories() -> None:
    """Half of 8 to each category; of one, 3 : 1 over two types; of the other, evenly over its 8."""
    quotas = type_quotas(
        8,
        Coverage(
            quotas="custom",
            types={"Burnout": 3, "Job Crisis": 1, "Sleep Problems": 1},
            categories={"Life and Work Stress": 1, "Personal Development": 1},
        ),
        TYPES,
    )
    assert {name: n for name, n in quotas.items() if n} == {
        "Burnout": 3,
        "Job Crisis": 1,
        "Sleep Problems": 4,
    }


def test_all_problems_are_reported_at_once() -> None:
    with pytest.raises(ConfigError) as raised:
        type_quotas(
            5,
            Coverage(types={"Burn out": 1}, attributes={"ages": {}, "age": {"young": 1}}),
            TYPES,
        )
    text = str(raised.value)
    assert "did you mean 'Burnout'?" in text
    assert "no profile field 'ages'" in text
    assert "'young' is not an age band" in text
    assert "has no effect with quotas 'uniform'" in text


def test_weights_below_zero_are_refused() -> None:
    with pytest.raises((ConfigError, ValidationError)):
        Coverage(types={"Burnout": -1})


def test_the_plan_is_a_function_of_its_arguments() -> None:
    coverage = Coverage(attributes={"gender": {"female": 1, "male": 1}})
    one = plan(60, coverage, seed=4, types=TYPES)
    assert one == plan(60, coverage, seed=4, types=TYPES)
    assert one != plan(60, coverage, seed=5, types=TYPES)
    assert [slot.number for slot in one] == list(range(60))
    assert len({slot.id for slot in one}) == 60


def test_every_stretch_of_the_plan_mixes_types() -> None:
    slots = plan(90, Coverage(), seed=0, types=TYPES)
    assert len({slot.problem_type for slot in slots[:45]}) == 45


def test_attributes_are_shared_out_over_the_whole_plan() -> None:
    attributes = {"age": {"18-29": 1, "65+": 3}, "gender": {"female": 1, "male": 1}}
    slots = plan(20, Coverage(attributes=attributes), seed=1, types=TYPES)
    assert Counter(dict(slot.attributes)["age"] for slot in slots) == {"18-29": 5, "65+": 15}
    assert Counter(dict(slot.attributes)["gender"] for slot in slots) == {"female": 10, "male": 10}


def test_ids_can_be_file_names() -> None:
    (slot,) = plan(1, Coverage(), seed=0, types=["Obsessive-Compulsive Disorder (OCD)"])
    assert slot.id == "obsessive-compulsive-disorder-g0001"
    assert all(re.fullmatch(r"[a-z0-9-]+", s.id) for s in plan(99, Coverage(), seed=0, types=TYPES))


def test_age_bands() -> None:
    assert age_limits("18-29") == (18, 29)
    assert age_limits("65+") == (65, 99)
    with pytest.raises(ConfigError):
        age_limits("old")


@pytest.mark.parametrize(
    ("field", "value", "holds"),
    [
        ("age", "18-29", True),
        ("age", "30-44", False),
        ("gender", "Male", True),
        ("gender", "female", False),
        ("occupation", "student", True),
        ("occupation", "stud", False),
    ],
)
def test_attributes_are_read_from_profiles(field: str, value: str, holds: bool) -> None:
    profile = Profile(name="Bo", age=29, gender="male", occupation="student of law")
    assert has_attribute(profile, field, value) is holds


def test_no_attribute_is_read_from_a_sentence() -> None:
    assert not has_attribute("Bo, 29, male", "gender", "male")


def test_the_report_names_the_holes() -> None:
    coverage = Coverage(quotas="custom", types={"Burnout": 2, "Job Crisis": 1}).model_copy(
        update={"attributes": {"gender": {"female": 1}}}
    )
    slots = plan(3, coverage, seed=0, types=TYPES)
    made = [
        Scenario(
            id=slot.id,
            problem_type="Burnout",
            situation="A long week.",
            profile=Profile(name="Ana", gender="female"),
        )
        for slot in slots
        if slot.problem_type == "Burnout"
    ]
    report = coverage_report(slots, made, TYPES)
    assert (report.planned, report.got) == (3, 2)
    assert report.holes() == [
        "category 'Life and Work Stress': 2 of 3",
        "problem type 'Job Crisis': 0 of 1",
        "gender 'female': 2 of 3",
    ]
    assert len(report.types) == 45
