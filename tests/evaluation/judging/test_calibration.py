"""Judge against people: coefficients against scipy and scikit-learn, planted biases, missing values."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import cohen_kappa_score

from warmline.core.errors import ConfigError, DataError
from warmline.environments.episodes.rating import Rating
from warmline.evaluation import calibrate, helpful_rates
from warmline.evaluation.judging.calibration import lengths_of
from warmline.evaluation.judging.helpful import ALL, conjunction
from warmline.evaluation.judging.human_ratings import read_ratings

from ..corpora import episode


def rating(name: str, value: float | None, kind: str = "judge", **fields: object) -> Rating:
    given = {"rater": kind, "dimension": "empathy", "utterance": 1, "value": value}
    return Rating(episode=name, kind=kind, **{**given, **fields})


def noisy(
    count: int, *, tilt: float, seed: int = 3
) -> tuple[list[Rating], list[Rating], dict[tuple[str, int, str], float]]:
    """People score 1 to 5; the judge adds noise, and `tilt` points for one sd of length."""
    draw = random.Random(seed)
    judge, people, lengths = [], [], {}
    for number in range(count):
        name, truth, long = f"e{number}", draw.randint(1, 5), draw.gauss(0, 1)
        noise = draw.gauss(0, 0.7)
        lengths[(name, 1, "")] = 30 + 10 * long
        people.append(rating(name, truth, "human"))
        judge.append(rating(name, min(5, max(1, round(truth + noise + tilt * long)))))
    return judge, people, lengths


def test_coefficients_are_those_of_scipy_and_scikit_learn() -> None:
    judge, people, _ = noisy(80, tilt=0)
    x, y = [r.value for r in judge], [r.value for r in people]
    [found] = calibrate(judge, people)
    assert found.n == 80
    assert found.pearson.value == pytest.approx(stats.pearsonr(x, y).statistic)
    assert found.spearman.value == pytest.approx(stats.spearmanr(x, y).statistic)
    assert found.kappa.value == pytest.approx(cohen_kappa_score(x, y, weights="quadratic"))
    assert found.difference.value == pytest.approx(np.mean(x) - np.mean(y))
    assert found.pearson.interval.low < found.pearson.value < found.pearson.interval.high
    assert found.advice == ()


@pytest.mark.parametrize(("tilt", "biased"), [(0.8, True), (-0.6, True), (0.0, False)])
def test_a_planted_length_bias_is_found_and_its_absence_too(tilt: float, biased: bool) -> None:
    judge, people, lengths = noisy(200, tilt=tilt)
    [found] = calibrate(judge, people, lengths=lengths)
    assert found.length_bias is biased
    # the ends of the scale cut a part of the tilt off
    assert found.length_slope.value == pytest.approx(tilt, abs=0.3)


def test_the_slope_is_that_of_least_squares() -> None:
    judge, people, lengths = noisy(50, tilt=0.5)
    [found] = calibrate(judge, people, lengths=lengths)
    long = np.array([lengths[(r.episode, 1, "")] for r in judge])
    excess = np.array([j.value - p.value for j, p in zip(judge, people, strict=True)])
    slope = stats.linregress((long - long.mean()) / long.std(), excess).slope
    assert found.length_slope.value == pytest.approx(slope)


def test_samples_and_people_are_averaged_and_missing_values_counted() -> None:
    """e1: judge (5, 4 and one unreadable) 4.5, people (4, 5) 4.5. e2: judge unreadable. e3: no
    person. e4: judge 2, person 2."""
    judge = [
        rating("e1", 5), rating("e1", 4, sample=1), rating("e1", None, sample=2),
        rating("e2", None), rating("e3", 3), rating("e4", 2),
    ]  # fmt: skip
    people = [
        rating("e1", 4, "human"), rating("e1", 5, "human", rater="p2"), rating("e2", 4, "human"),
        rating("e4", 2, "human"),
    ]  # fmt: skip
    [found] = calibrate(judge, people, lengths={("e1", 1, ""): 3.0})
    assert (found.n, found.judge_missing, found.people_missing) == (2, 1, 1)
    assert found.people == 1.5
    assert found.kappa.value == pytest.approx(1.0)
    assert found.lengths_missing == 1
    assert found.length_bias is None
    assert "2 subjects are too few" in found.advice[0]


def answers(kind: str, values: list[float]) -> list[Rating]:
    return [rating(f"e{n}", value, kind) for n, value in enumerate(values)]


def test_a_scorer_is_calibrated_as_a_judge_is() -> None:
    """Yes and no on both sides: Pearson is phi, and kappa Cohen's."""
    its, theirs = [1.0, 1, 0, 0, 1, 0, 1, 1], [1.0, 0, 0, 0, 1, 1, 1, 1]
    [found] = calibrate(answers("scorer", its), answers("human", theirs))
    assert found.n == 8
    assert found.pearson.value == pytest.approx(stats.pearsonr(its, theirs).statistic)
    assert found.kappa.value == pytest.approx(cohen_kappa_score(its, theirs))
    assert found.difference.value == pytest.approx(0)


def test_a_scorer_and_people_on_another_scale_compare_by_correlation_alone() -> None:
    its, theirs = [1.0, 1, 0, 0, 1, 0, 1, 1], [5.0, 3, 2, 1, 4, 4, 5, 4]
    scorer, people = answers("scorer", its), answers("human", theirs)
    lengths = {(f"e{n}", 1, ""): float(n) for n in range(8)}
    [found] = calibrate(scorer, people, lengths=lengths)
    assert found.pearson.value == pytest.approx(stats.pearsonr(its, theirs).statistic)
    assert found.kappa.value is found.difference.value is found.length_slope.value is None
    assert any("--holds" in told for told in found.advice)
    [held] = calibrate(scorer, people, lengths=lengths, holds=4)
    assert held.kappa.value == pytest.approx(cohen_kappa_score(its, [1, 0, 0, 0, 1, 1, 1, 1]))
    assert held.length_slope.value is not None
    assert not any("--holds" in told for told in held.advice)
    with pytest.raises(ConfigError, match="this judge gives scores"):
        calibrate(answers("judge", its), people, holds=4)


def test_a_judge_of_one_score_has_no_correlation() -> None:
    names = [f"e{number}" for number in range(40)]
    people = [rating(name, 1 + number % 5, "human") for number, name in enumerate(names)]
    [found] = calibrate([rating(name, 3) for name in names], people)
    assert found.pearson.value is None
    assert found.kappa.value == pytest.approx(0)
    assert "the same score to every subject" in found.advice[-1]


@pytest.mark.parametrize("count", [2, 3])
def test_two_or_three_subjects_give_no_interval_of_a_correlation(count: int) -> None:
    judge = [rating(f"e{n}", n) for n in range(count)]
    people = [rating(f"e{n}", 5 - n, "human") for n in range(count)]
    [found] = calibrate(judge, people)
    assert found.spearman.value == pytest.approx(-1)
    assert found.spearman.interval is None
    assert found.pearson.interval is None


def test_a_wide_interval_is_reported() -> None:
    judge, people, _ = noisy(34, tilt=0)
    shuffled = random.Random(1).sample(judge, len(judge))
    mixed = [r.model_copy(update={"value": s.value}) for r, s in zip(judge, shuffled, strict=True)]
    [found] = calibrate(mixed, people)
    assert "±0.2 only with about" in found.advice[0]


def test_two_judges_at_once_are_refused() -> None:
    with pytest.raises(ConfigError, match="one judge is calibrated at a time"):
        calibrate([rating("e1", 3), rating("e1", 3, rater="other")], [rating("e1", 3, "human")])


def test_dimensions_of_one_rubric_may_show_different_things() -> None:
    """But ratings of one dimension from before and after it showed more are two judges."""
    plain, shown = "dialogue 1 (ab)", "dialogue 1 (ab) with strategies"
    people = [rating("e1", 3, "human", dimension=name) for name in ("rationality", "safety")]
    safety = rating("e1", 3, dimension="safety", rubric=plain)
    after = rating("e1", 3, dimension="rationality", rubric=shown)
    assert [c.dimension for c in calibrate([safety, after], people)] == ["safety", "rationality"]
    before = rating("e1", 4, dimension="rationality", rubric=plain)
    with pytest.raises(ConfigError, match="one judge is calibrated at a time"):
        calibrate([safety, before, after], people)


def test_lengths_are_words_of_utterances_and_episodes() -> None:
    lengths = lengths_of([episode()])
    assert (lengths[("e1", 1, "")], lengths[("e1", None, "")]) == (8, 29)


# People's ratings


def test_a_table_and_a_file_of_ratings_are_read_alike(tmp_path: Path) -> None:
    table = tmp_path / "people.csv"
    table.write_text(
        'episode,utterance,dimension,value,rater\ne1,1,empathy,4,p1\ne2,,"empathy",,p2\n'
    )
    first, second = read_ratings(table)
    assert (first.episode, first.utterance, first.value, first.kind) == ("e1", 1, 4.0, "human")
    assert (second.utterance, second.value, second.rater) == (None, None, "p2")
    lines = tmp_path / "people.jsonl"
    lines.write_text(first.to_json() + "\n" + second.to_json() + "\n")
    assert read_ratings(lines) == [first, second]


@pytest.mark.parametrize(("text", "message"), [
    ("episode,dimensoin,value\n", "unknown column 'dimensoin'"),
    ("episode,value\n", "no column 'dimension'"),
    ("episode,dimension,value\ne1,empathy,good\n", "line 2"),
    ("episode,dimension,value\ne1,empathy\n", "another number of cells"),
])  # fmt: skip
def test_a_table_that_cannot_be_used_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "people.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_ratings(path)


# Helpful rates


@pytest.mark.parametrize(("values", "holds"), [
    ({"a": 1, "b": 1}, True), ({"a": 1, "b": 0}, False), ({"a": None, "b": 0}, False),
    ({"a": None, "b": 1}, None), ({"b": 1}, None),
])  # fmt: skip
def test_the_conjunction_knows_what_is_missing(
    values: dict[str, float | None], holds: bool | None
) -> None:
    assert conjunction(values, ("a", "b")) is holds


def test_helpful_rates_by_hand() -> None:
    """Reply 1: all hold. Reply 2: coherence fails. Reply 3: topic missing, the rest hold. So two of
    three replies are known to be helpful or not, and half of them are."""
    ratings = []
    for index, values in enumerate([(1, 1, 1, 1), (1, 1, 0, 1), (1, 1, 1, None)]):
        for name, value in zip(("empathy", "strategy", "coherence", "topic"), values, strict=True):
            ratings.append(rating(f"e{index}", value, "scorer", dimension=name))
    ratings.append(rating("e0", 5, "judge"))  # a score from 1 to 5 is no label
    [found] = helpful_rates(ratings)
    assert (found.rater, found.replies) == ("scorer", 3)
    assert found.rates["coherence"].value == pytest.approx(2 / 3)
    assert (found.rates["topic"].n, found.rates["topic"].missing) == (2, 1)
    assert (found.rates[ALL].value, found.rates[ALL].missing) == (0.5, 1)
    assert found.rates["empathy"].value == 1.0
    assert found.rates["empathy"].interval.low == pytest.approx(0.4385, abs=1e-4)  # 3 of 3


def test_gold_replies_and_candidates_are_never_one_rate() -> None:
    """Of two contexts the best candidates hold, three of four candidates do, no gold reply does."""
    ratings = [
        rating(f"e{n}", value, "scorer", dimension="topic", candidate=name)
        for n in range(2)
        for name, value in (("candidate0", 1), ("candidate1", n), ("gold", 0))
    ]
    found = {each.form: each for each in helpful_rates(ratings, dimensions=("topic",))}
    assert {name: each.replies for name, each in found.items()} == {
        "single": 2, "beams": 4, "gold": 2,
    }  # fmt: skip
    rates = {name: each.rates[ALL].value for name, each in found.items()}
    assert rates == {"single": 1.0, "beams": 0.75, "gold": 0.0}
