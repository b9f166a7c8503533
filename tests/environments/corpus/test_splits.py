"""Splits by scenario: one definition of the same scenario, and two rules of division."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmline.environments.corpus.splits import (
    group,
    held_out,
    scenario_groups,
    scenario_root,
    split_of,
)
from warmline.environments.episodes.episode import Episode
from warmline.training.rows.sources import split_episodes

from .reviewed import episode, recorded

RATIOS = {"train": 0.8, "validation": 0.1, "test": 0.1}
VALIDATION = {"s1", "s1~2"}
TEST = {f"s{number}{sample}" for number in (6, 12, 15, 19) for sample in ("", "~2")}
HELD = {f"s{number}{sample}" for number in (8, 13, 16, 18) for sample in ("", "~2")}
TOLD = "The shop where I worked for ten years closed its doors on Monday."


def about(talk: Episode, situation: str) -> Episode:
    """The same conversation about another situation."""
    return talk.model_copy(
        update={"scenario": talk.scenario.model_copy(update={"situation": situation})}
    )


def mixed() -> list[Episode]:
    """Simulated and recorded conversations; some are about the same scenario."""
    return [
        *(episode(f"s{n}{sample}") for n in range(12) for sample in ("", "~2")),
        about(episode("told-1"), TOLD),
        about(episode("told-2"), f"  {TOLD.upper()} "),
        about(recorded("told-3", "esconv"), TOLD),
        *(about(episode(f"short-{n}"), "I lost my job.") for n in range(6)),
        *(about(recorded(f"bare-{n}", "smilechat"), "unspecified") for n in range(6)),
    ]


def partition(names: list[str], groups: list[str]) -> set[frozenset[str]]:
    sets: dict[str, set[str]] = {}
    for name, key in zip(names, groups, strict=True):
        sets.setdefault(key, set()).add(name)
    return {frozenset(one) for one in sets.values()}


# The same scenario


def test_export_and_training_agree_on_what_belongs_together() -> None:
    talks = mixed()
    names = [talk.id for talk in talks]
    placed = group(talks)
    exported = partition(names, [placed.key(f"id:{scenario_root(name)}") for name in names])
    assert exported == partition(names, scenario_groups(talks))
    assert frozenset({"told-1", "told-2", "told-3"}) in exported
    assert len(exported) == 12 + 1 + 6 + 6
    for seed in range(20):
        held = {talk.id for talk in split_episodes(talks, 0.5, seed)[1]}
        assert all(one <= held or not one & held for one in exported)


def test_an_episode_of_another_name_goes_with_its_scenario() -> None:
    talk = episode("job-3")
    other = talk.model_copy(update={"id": "replayed"})
    assert scenario_groups([talk, about(other, "told elsewhere")]) == ["job-3", "job-3"]
    placed = group([talk, about(other, "told elsewhere")])
    assert placed.key("id:replayed") == placed.key("id:job-3")


def test_the_same_situation_under_two_ids_is_one_scenario() -> None:
    first = episode("a")
    twin = episode("b", scenario=first.scenario.model_copy(update={"id": "b"}))
    assert group([first, twin]).key("id:b") == "id:a"


@pytest.mark.parametrize("words", ["not told", "One two three four five six seven."])
def test_a_short_situation_may_be_a_placeholder_and_ties_nothing(words: str) -> None:
    for talks in ([recorded("a", "x"), recorded("b", "x")], [episode("a"), episode("b")]):
        groups = group(about(talk, words) for talk in talks)
        assert groups.key("id:a") != groups.key("id:b")


def test_near_duplicates_go_with_their_first() -> None:
    groups = group(
        [recorded("a", "x"), recorded("b", "y"), recorded("c", "z")], {"c": "b", "b": "a"}
    )
    assert groups.key("id:c") == groups.key("id:a") == "id:a"


# Two rules of division


def test_all_samples_of_a_scenario_land_on_one_side() -> None:
    talks = [episode(f"s{n}~{k}" if k > 1 else f"s{n}") for n in range(200) for k in (1, 2, 3)]
    groups = group(talks)
    sides: dict[str, set[str]] = {}
    for talk in talks:
        side = split_of(talk.id, groups, RATIOS, 0)
        sides.setdefault(scenario_root(talk.id), set()).add(side)
    assert {len(side) for side in sides.values()} == {1}
    counts = Counter(next(iter(side)) for side in sides.values())
    assert 140 <= counts["train"] <= 180, "about 0.8 of 200"
    assert counts["validation"] > 5
    assert counts["test"] > 5


@given(st.integers(0, 5), st.integers(1, 30), st.integers(0, 30))
def test_more_data_moves_nothing(seed: int, before: int, more: int) -> None:
    talks = [episode(f"s{number}") for number in range(before + more)]
    small, large = group(talks[:before]), group(talks)
    for talk in talks[:before]:
        assert split_of(talk.id, small, RATIOS, seed) == split_of(talk.id, large, RATIOS, seed)


def test_another_seed_divides_otherwise_and_a_share_of_zero_gets_nothing() -> None:
    talks = [episode(f"s{number}") for number in range(60)]
    groups = group(talks)

    def sides(seed: int, ratios: dict[str, float]) -> list[str]:
        return [split_of(talk.id, groups, ratios, seed) for talk in talks]

    assert sides(0, RATIOS) != sides(1, RATIOS)
    assert set(sides(0, {"train": 1.0, "validation": 0.0, "test": 0.0})) == {"train"}


def test_known_values_of_both_rules() -> None:
    """Stored data sets depend on them."""
    talks = [episode(f"s{number}{sample}") for number in range(20) for sample in ("", "~2")]
    groups = group(talks)
    sides = {talk.id: split_of(talk.id, groups, RATIOS, 7) for talk in talks}
    assert {name for name, side in sides.items() if side == "validation"} == VALIDATION
    assert {name for name, side in sides.items() if side == "test"} == TEST
    assert {talk.id for talk in held_out(talks, 0.2, 7)[1]} == HELD
