"""The data that ships: 45 problem types, their seed scenarios and case dialogues."""

from __future__ import annotations

import re
from collections import Counter
from itertools import combinations

import pytest

import warmline
from warmline.agents import Role, Stage, Strategy
from warmline.core.errors import DataError
from warmline.environments import CasePool
from warmline.environments.scenarios.problem_types import find_problem_type
from warmline.environments.scenarios.samples import Samples, ids_of
from warmline.policies.text.sentences import count_sentences

SCENARIOS = warmline.seed_scenarios()
DIALOGUES = warmline.seed_dialogues()

CLICHES = re.compile(
    r"^(?:i'?m (?:so |really )?sorry to hear|it sounds like you'?re going through"
    r"|that must be (?:really |so )?(?:hard|difficult)|i understand how you feel"
    r"|hi[,!]? how can i help|i'?m here for you)",
    re.IGNORECASE,
)
CONTACT = re.compile(r"\d{3,}[- ]?\d{3,}|https?://|www\.|@\w+\.")


def test_types_and_counts_are_the_published_ones() -> None:
    kinds = warmline.problem_types()
    assert len(kinds) == 45
    assert sum(kind.count for kind in kinds.values()) == 3757
    assert Counter(kind.category for kind in kinds.values()) == {
        "Emotional and Mental Health Issues": 15,
        "Life and Work Stress": 8,
        "Interpersonal Relationships": 8,
        "Personal Development": 7,
        "Behavioral Issues": 7,
    }
    assert kinds["Issues with Parents"].count == 335


def test_an_unknown_type_is_answered_with_the_closest() -> None:
    with pytest.raises(DataError, match="did you mean 'Burnout'"):
        find_problem_type("Burn out")


@pytest.mark.parametrize("kind", warmline.problem_types())
def test_every_type_has_scenarios_and_a_case(kind: str) -> None:
    assert len([s for s in SCENARIOS if s.problem_type == kind]) >= 3
    assert len([d for d in DIALOGUES if d.problem_type == kind]) >= 1


def test_ids_are_unique() -> None:
    assert len({s.id for s in SCENARIOS}) == len(SCENARIOS)
    assert len({d.id for d in DIALOGUES}) == len(DIALOGUES)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.id)
def test_scenarios_are_specific_and_profiled(scenario: warmline.Scenario) -> None:
    assert len(scenario.situation.split()) > 20
    assert scenario.category
    profile = scenario.profile
    assert isinstance(profile, warmline.Profile)
    assert all((profile.name, profile.gender, profile.occupation, profile.location, profile.traits))
    assert profile.age is not None
    assert 10 <= profile.age <= 95
    assert not CONTACT.search(scenario.situation)


@pytest.mark.parametrize("dialogue", DIALOGUES, ids=lambda d: d.id)
def test_case_dialogues_are_complete_and_labelled(dialogue: warmline.CaseDialogue) -> None:
    turns = dialogue.turns
    assert 8 <= len(turns) <= 16
    assert [turn.role for turn in turns] == [Role.SEEKER, Role.SUPPORTER] * (len(turns) // 2)
    supporter = [turn for turn in turns if turn.role is Role.SUPPORTER]
    assert all(turn.strategy for turn in supporter)
    assert len({turn.strategy for turn in supporter}) >= 4
    stages = [list(Stage).index(turn.stage) for turn in turns if turn.stage]
    assert len(stages) == len(turns)
    assert stages == sorted(stages)
    assert stages[0] == 0
    assert stages[-1] == 2
    assert all(count_sentences(turn.text) <= 3 for turn in turns)
    assert not any(CLICHES.match(turn.text) for turn in turns)
    assert not any(CONTACT.search(turn.text) for turn in turns)
    assert dialogue.scenario in {s.id for s in SCENARIOS}


def test_every_strategy_is_shown_and_none_takes_over() -> None:
    shares = Counter(t.strategy for d in DIALOGUES for t in d.turns if t.strategy)
    assert set(shares) == set(Strategy)
    assert max(shares.values()) / shares.total() < 0.4


def test_people_are_varied() -> None:
    people = [s.profile for s in SCENARIOS if isinstance(s.profile, warmline.Profile)]
    assert len({p.name for p in people}) > 0.97 * len(people)
    assert len({p.location.split(",")[-1].strip() for p in people}) >= 50
    ages = [p.age for p in people if p.age is not None]
    assert min(ages) < 16
    assert max(ages) > 70
    genders = Counter(p.gender for p in people)
    assert genders["female"] > 30
    assert genders["male"] > 30


def test_no_two_texts_are_near_copies() -> None:
    """No pair of situations, or of utterances, shares half of its three-word sequences."""

    def grams(text: str) -> set[tuple[str, ...]]:
        words = re.findall(r"\w+", text.lower())
        return {tuple(words[i : i + 3]) for i in range(len(words) - 2)}

    for texts in (
        [s.situation for s in SCENARIOS],
        [t.text for d in DIALOGUES for t in d.turns],
    ):
        cut = [grams(text) for text in texts]
        close = [
            (texts[i], texts[j])
            for i, j in combinations(range(len(cut)), 2)
            if len(cut[i]) > 5
            and len(cut[j]) > 5
            and len(cut[i] & cut[j]) > 0.5 * min(len(cut[i]), len(cut[j]))
        ]
        assert close == []


def test_openings_of_supporter_turns_vary() -> None:
    openings = Counter(
        " ".join(t.text.lower().split()[:3])
        for d in DIALOGUES
        for t in d.turns
        if t.role is Role.SUPPORTER
    )
    assert openings.most_common(1)[0][1] <= 6


def test_drawing_is_seeded_extendable_and_without_repeats() -> None:
    drawn = warmline.draw_scenarios(10, seed=3)
    assert drawn == warmline.draw_scenarios(20, seed=3)[:10]
    assert drawn != warmline.draw_scenarios(10, seed=4)
    many = warmline.draw_scenarios(len(SCENARIOS) + 5, seed=3)
    assert len({s.id for s in many}) == len(many)
    assert all(s.id.endswith("~2") for s in many[len(SCENARIOS) :])


def test_cases_come_from_the_type_then_the_category() -> None:
    pool = CasePool()
    cases = pool.draw("Burnout", 3, scenario_id="x")
    assert len(cases) == 3
    assert cases[0].problem_type == "Burnout"
    kinds = warmline.problem_types()
    assert {kinds[c.problem_type].category for c in cases} == {"Life and Work Stress"}
    assert pool.draw("Burnout", 3, scenario_id="x") == cases
    assert pool.draw("Something of my own", 3, scenario_id="x") == ()


@pytest.mark.parametrize("dialogue", DIALOGUES, ids=lambda d: d.id)
def test_a_supporter_never_sees_the_case_of_the_played_scenario(
    dialogue: warmline.CaseDialogue,
) -> None:
    everything = 10 * len(DIALOGUES)
    for played in (dialogue.scenario, f"{dialogue.scenario}~2"):
        shown = CasePool().draw(dialogue.problem_type, everything, scenario_id=played)
        assert dialogue.as_case() not in shown
        assert shown


def test_samples_know_their_ids_without_making_scenarios() -> None:
    drawn = warmline.draw_scenarios(400, seed=3)
    assert isinstance(drawn, Samples)
    assert ids_of(drawn) == [scenario.id for scenario in drawn]
    assert ids_of(drawn)[399].endswith("~3")
    again = Samples(drawn, ((n, 1 + n % 2) for n in range(400)))
    assert ids_of(again) == [scenario.id for scenario in again]
    assert drawn[:3] == list(drawn)[:3]
    assert drawn[-1] == list(drawn)[-1]
    assert drawn == list(drawn)
