"""The data that ships: 45 problem types, their seed scenarios and dialogues."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

import pytest

import warmline
from warmline.agents import Role, Stage, Strategy
from warmline.core.errors import ConfigError, DataError
from warmline.core.published import published_strategy_shares
from warmline.environments import CasePool
from warmline.environments.corpus.cleaning import CleanSettings, examine
from warmline.environments.corpus.importing.seeds import seed_episodes
from warmline.environments.corpus.tags import Severity
from warmline.environments.scenarios.problem_types import find_problem_type
from warmline.environments.scenarios.samples import Samples, ids_of
from warmline.environments.scenarios.seed_pool import seed_dialogues, seed_scenarios, seed_side
from warmline.evaluation.analyses.text import openings_of
from warmline.policies.text.sentences import count_sentences

SCENARIOS = warmline.seed_scenarios()
DIALOGUES = warmline.seed_dialogues()

CLICHES = re.compile(
    r"^(?:i'?m (?:so |really )?sorry to hear|it sounds like you'?re going through"
    r"|that must be (?:really |so )?(?:hard|difficult)|i understand how you feel"
    r"|hi[,!]? how can i help|i'?m here for you)",
    re.IGNORECASE,
)
CONTACT = re.compile(r"\b(?!116 1(?:11|23)\b)\d{3,}[- ]?\d{3,}|https?://|www\.|@\w+\.")
"""Any way to reach somebody, but for Europe's common help lines."""


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
def test_every_type_has_ten_dialogues_each_on_a_scenario_of_its_own(kind: str) -> None:
    assert len([s for s in SCENARIOS if s.problem_type == kind]) >= 10
    told = [d.scenario for d in DIALOGUES if d.problem_type == kind]
    assert len(told) >= 10
    assert len(set(told)) == len(told)
    assert set(told) <= {s.id for s in SCENARIOS if s.problem_type == kind}


def test_ids_are_unique() -> None:
    assert len({s.id for s in SCENARIOS}) == len(SCENARIOS)
    assert len({d.id for d in DIALOGUES}) == len(DIALOGUES)


@pytest.mark.parametrize("kind", warmline.problem_types())
def test_scenarios_are_specific_and_profiled(kind: str) -> None:
    for scenario in (s for s in SCENARIOS if s.problem_type == kind):
        profile = scenario.profile
        assert isinstance(profile, warmline.Profile)
        assert all((profile.name, profile.gender, profile.occupation, profile.location))
        assert profile.traits
        assert profile.age is not None
        assert 10 <= profile.age <= 95
        assert scenario.category
        assert 20 < len(scenario.situation.split()) <= 100
        assert not CONTACT.search(scenario.situation)


@pytest.mark.parametrize("kind", warmline.problem_types())
def test_dialogues_are_complete_and_labelled(kind: str) -> None:
    """Also the first dialogue of each type, which was written earlier, but for its longer utterances."""
    for dialogue in (d for d in DIALOGUES if d.problem_type == kind):
        turns = dialogue.turns
        assert 10 <= len(turns) <= 20, dialogue.id
        assert [turn.role for turn in turns] == [Role.SEEKER, Role.SUPPORTER] * (len(turns) // 2)
        supporter = [turn for turn in turns if turn.role is Role.SUPPORTER]
        assert all(turn.strategy for turn in supporter)
        assert len({turn.strategy for turn in supporter}) >= 4
        stages = [list(Stage).index(turn.stage) for turn in turns if turn.stage]
        assert len(stages) == len(turns)
        assert stages == sorted(stages)
        assert set(stages) == {0, 1, 2}
        texts = [turn.text for turn in turns]
        assert all(count_sentences(text) <= 3 for text in texts), dialogue.id
        assert not any(CLICHES.match(text) or CONTACT.search(text) for text in texts), dialogue.id
        words = sum(len(text.split()) for text in texts) / len(texts)
        assert 8 <= words <= (35 if dialogue.id.endswith("-case-1") else 25), dialogue.id


def test_strategies_come_as_often_as_in_the_published_corpora() -> None:
    """Within 3 points of the span between ESConv's share and ServeForEmo's (SweetieChat Table 2)."""
    counts = Counter(t.strategy for d in DIALOGUES for t in d.turns if t.strategy)
    published = published_strategy_shares()
    for strategy in Strategy:
        share = 100 * counts[strategy] / counts.total()
        span = [published[corpus][strategy.value] for corpus in ("ESConv", "ServeForEmo")]
        assert min(span) - 3 <= share <= max(span) + 3, f"{strategy}: {share:.1f} %, {span}"


def test_people_are_varied() -> None:
    people = [s.profile for s in SCENARIOS if isinstance(s.profile, warmline.Profile)]
    assert len({p.name for p in people}) == len(people)
    assert len({p.location.split(",")[-1].strip() for p in people}) >= 100
    ages = [p.age for p in people if p.age is not None]
    assert min(ages) < 14
    assert max(ages) > 80
    genders = Counter(p.gender for p in people)
    assert genders["female"] > 0.3 * len(people)
    assert genders["male"] > 0.3 * len(people)


def near_copies(texts: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Pairs of which one shares more than half of its three-word sequences with the other.

    Found by an index from sequence to texts: what shares no sequence is never compared. A text of
    fewer than 12 words may be an everyday phrase.
    """
    cut = []
    for text in texts:
        words = re.findall(r"\w+", text.lower())
        cut.append({tuple(words[n : n + 3]) for n in range(len(words) - 2)})
    places: dict[tuple[str, ...], list[int]] = {}
    for place, grams in enumerate(cut):
        if len(grams) < 10:
            continue
        shared = Counter(other for gram in grams for other in places.get(gram, ()))
        for other, count in shared.items():
            if count > 0.5 * min(len(grams), len(cut[other])):
                yield texts[other], texts[place]
        for gram in grams:
            places.setdefault(gram, []).append(place)


def test_no_two_texts_are_near_copies() -> None:
    assert list(near_copies([s.situation for s in SCENARIOS])) == []
    assert list(near_copies([t.text for d in DIALOGUES for t in d.turns])) == []


def test_near_copies_are_found() -> None:
    one = "my sister left in may and took the dog with her to the coast"
    other = "in june my sister left in may and took the dog with her to town"
    assert list(near_copies([one, "nothing like it is to be read here at all tonight", other])) == [
        (one, other)
    ]


@pytest.mark.parametrize("role", [Role.SEEKER, Role.SUPPORTER])
def test_no_opening_phrase_is_above_two_per_cent(role: Role) -> None:
    """The first three words, and the first two, of all utterances of a role."""
    said = [turn.text for d in DIALOGUES for turn in d.turns if turn.role is role]
    for length in (3, 2):
        [(phrase, share)] = openings_of(said, length=length, max_phrases=1).phrases.items()
        assert share <= 0.02, f"{phrase}: {share:.1%}"


def test_no_two_dialogues_open_alike() -> None:
    firsts = Counter(" ".join(d.turns[0].text.lower().split()[:5]) for d in DIALOGUES)
    assert [words for words, count in firsts.items() if count > 1] == []


def test_cleaning_finds_nothing_to_drop_or_trim() -> None:
    """Role flips, leaks, the sentence cap, loops, broken turns; near-duplicates are tested above."""
    filters = CleanSettings(skip=("near_duplicates",)).make()
    found = [
        f"{episode.id}: {finding}"
        for episode in seed_episodes()
        for finding in examine(episode, filters)
        if finding.severity is not Severity.FLAG
        or finding.filter in ("role", "leaks", "sentence_cap", "repetition")
    ]
    assert found == []


def test_every_fifth_scenario_of_a_type_is_for_testing() -> None:
    assert [seed_side(f"burnout-{n}") for n in (4, 5, 6, 10)] == ["train", "test", "train", "test"]
    assert seed_side("burnout-5~3") == "test"
    train, test = seed_dialogues("train"), seed_dialogues("test")
    assert len(test) == 0.2 * len(DIALOGUES)
    assert {d.id for d in train} | {d.id for d in test} == {d.id for d in DIALOGUES}
    assert {d.scenario for d in train}.isdisjoint(d.scenario for d in test)
    assert {s.id for s in seed_scenarios("test")} == {d.scenario for d in test}
    assert {d.problem_type for d in test} == set(warmline.problem_types())
    with pytest.raises(ConfigError, match=r"(?s)no side 'tset'.*did you mean 'test'"):
        seed_dialogues("tset")  # type: ignore[arg-type]


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


def test_a_supporter_never_sees_the_case_of_the_played_scenario() -> None:
    pool, everything = CasePool(), len(DIALOGUES)
    for dialogue in DIALOGUES[::7]:
        kind = dialogue.problem_type
        own = dialogue.as_case()
        for played in (dialogue.scenario, f"{dialogue.scenario}~2"):
            shown = pool.draw(kind, everything, scenario_id=played)
            assert len([case for case in shown if case.problem_type == kind]) == 9
            assert not any(case.turns == own.turns for case in shown)


def test_samples_know_their_ids_without_making_scenarios() -> None:
    count = 2 * len(SCENARIOS) + 100
    drawn = warmline.draw_scenarios(count, seed=3)
    assert isinstance(drawn, Samples)
    assert list(ids_of(drawn)) == [scenario.id for scenario in drawn]
    assert ids_of(drawn)[-1].endswith("~3")
    again = Samples(drawn, ((n, 1 + n % 2) for n in range(count)))
    assert list(ids_of(again)) == [scenario.id for scenario in again]
    assert drawn[:3] == list(drawn)[:3]
    assert drawn[-1] == list(drawn)[-1]
    assert drawn == list(drawn)
