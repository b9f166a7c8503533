"""Intervals, paired tests, seeds and sample sizes, against scipy and numbers worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from warmline.core.errors import ConfigError
from warmline.evaluation.statistics.paired import holm, paired_test
from warmline.evaluation.statistics.planning import across_seeds, dialogues_needed
from warmline.evaluation.statistics.uncertainty import (
    _bca_tails,
    bootstrap,
    estimate_mean,
    estimate_share,
    mean_tally,
    share_tally,
)

RNG = np.random.default_rng(7)
SKEWED = list(RNG.exponential(size=60))


def test_missing_values_are_counted_not_zero() -> None:
    """3, missing, 5: mean 4 over two."""
    found = estimate_mean([3.0, None, 5.0, float("nan")])
    assert (found.value, found.n, found.missing) == (4.0, 2, 2)
    nothing = estimate_mean([None, None])
    assert (nothing.value, nothing.interval, nothing.n, nothing.missing) == (None, None, 0, 2)


@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_intervals_agree_with_scipys(method: str) -> None:
    """Same method, other draws: within a tenth of the width."""
    ours = estimate_mean(SKEWED, method=method, resamples=9999).interval
    theirs = stats.bootstrap(
        (np.array(SKEWED),), np.mean, method=method.replace("bca", "BCa"), n_resamples=9999,
        rng=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    width = theirs.high - theirs.low
    assert ours.low == pytest.approx(theirs.low, abs=0.1 * width)
    assert ours.high == pytest.approx(theirs.high, abs=0.1 * width)
    assert ours.method == method


def test_bca_leans_with_the_skew() -> None:
    percentile = estimate_mean(SKEWED, resamples=9999).interval
    bca = estimate_mean(SKEWED, method="bca", resamples=9999).interval
    assert bca.low > percentile.low
    assert bca.high > percentile.high


def test_bca_corrects_for_bias_by_hand() -> None:
    """60 of 100 draws lie below the figure: z0 = Φ⁻¹(0.6); equal jackknife values: a = 0.

    So the tails are Φ(2 z0 ± 1.96).
    """
    drawn = np.array([0.0] * 60 + [2.0] * 40)
    z0, edge = stats.norm.ppf(0.6), stats.norm.ppf(0.975)
    found = _bca_tails(drawn, 1.0, np.array([1.0, 1.0]), np.array([0.025, 0.975]))
    assert found == pytest.approx(stats.norm.cdf([2 * z0 - edge, 2 * z0 + edge]))


def test_equal_seeds_give_equal_intervals() -> None:
    first, again, other = (estimate_mean(SKEWED, seed=seed).interval for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_whole_dialogues_are_drawn() -> None:
    """Replies equal within each dialogue: the interval is that of the dialogues' values."""
    values, groups = [0.0] * 50 + [1.0] * 50, ["a"] * 50 + ["b"] * 50
    together = estimate_mean(values, groups=groups).interval
    assert (together.low, together.high, together.groups) == (0.0, 1.0, 2)
    apart = estimate_mean(values).interval
    assert 0.35 < apart.low < apart.high < 0.65


def test_one_dialogue_has_no_interval() -> None:
    assert estimate_mean([1.0, 2.0], groups=["a", "a"]).interval is None


def test_intervals_cover_as_they_say() -> None:
    """Of 200 samples of 40 normal values, about 95 % of the intervals hold the true mean."""
    rng = np.random.default_rng(11)
    hits = 0
    for seed in range(200):
        found = estimate_mean(list(rng.normal(2, 1, 40)), resamples=400, seed=seed).interval
        hits += found.low <= 2 <= found.high
    assert 176 <= hits <= 199


def test_draws_in_blocks_change_nothing_but_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    from warmline.evaluation.statistics import uncertainty as statistics

    tally = {"mean": mean_tally(SKEWED)}
    whole = bootstrap(tally, resamples=50)["mean"]
    monkeypatch.setattr(statistics, "BLOCK", 120)  # two draws at a time
    parts = bootstrap(tally, resamples=50)["mean"]
    assert (parts.low, parts.high) == pytest.approx((whole.low, whole.high), rel=1e-12)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"level": 1.0}, "level must lie between 0 and 1"),
        ({"resamples": 0}, "resamples must be at least 1"),
        ({"method": "normal"}, "percentile or bca"),
        ({"groups": ["a"]}, "cannot be drawn together"),
    ],
)
def test_impossible_intervals_are_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        estimate_mean([1.0, 2.0], **wrong)


def test_all_of_a_few_is_not_certain() -> None:
    """6 of 6 and 0 of 6 have the Wilson intervals of those counts, in the figure's unit."""
    held = share_tally([1.0] * 6, scale=100)
    found = bootstrap({"all": held, "none": share_tally([0.0] * 6, scale=100)})
    assert (found["all"].low, found["all"].high) == (pytest.approx(60.97, abs=0.01), 100)
    assert (found["none"].low, found["none"].high) == (0, pytest.approx(39.03, abs=0.01))
    assert found["all"].method == "wilson"
    assert held.value == 100


def test_a_share_of_single_replies_has_the_plain_wilson_interval() -> None:
    theirs = stats.binomtest(7, 20).proportion_ci(0.95, "wilson")
    found = estimate_share([1.0] * 7 + [0.0] * 13 + [None])
    assert (found.value, found.n, found.missing) == (0.35, 20, 1)
    assert (found.interval.low, found.interval.high) == pytest.approx((theirs.low, theirs.high))
    assert found.interval.groups == 20


def test_replies_of_one_dialogue_count_as_far_as_they_differ() -> None:
    """Ten dialogues of ten replies, alike within each: as ten replies. Mixed ones: as a hundred."""
    groups = [i // 10 for i in range(100)]
    alike = estimate_share([float(g < 4) for g in groups], groups=groups).interval
    ten = estimate_share([1.0] * 4 + [0.0] * 6).interval
    assert (alike.low, alike.high) == pytest.approx((ten.low, ten.high))
    mixed = estimate_share([float(i % 10 < 4) for i in range(100)], groups=groups).interval
    hundred = estimate_share([1.0] * 40 + [0.0] * 60).interval
    assert (mixed.low, mixed.high) == pytest.approx((hundred.low, hundred.high))
    every = estimate_share([1.0] * 100, groups=groups).interval
    assert every.low == pytest.approx(estimate_share([1.0] * 10).interval.low)


def test_wilson_intervals_cover_where_a_bootstrap_does_not() -> None:
    """A true share of 0.95 in samples of 12: most are 12 of 12, where a bootstrap has no width."""
    rng = np.random.default_rng(3)
    hits = [
        found.low <= 0.95 <= found.high
        for values in (rng.random((300, 12)) < 0.95)
        if (found := estimate_share([float(v) for v in values]).interval) is not None
    ]
    assert len(hits) == 300
    assert np.mean(hits) > 0.85


def test_a_share_of_other_numbers_is_refused() -> None:
    with pytest.raises(ConfigError, match="from 0 to 1, not of 5"):
        estimate_share([1.0, 5.0])


def test_a_missing_value_is_no_unit() -> None:
    """One known value has no interval, whatever is missing beside it; of three with one missing
    two are drawn."""
    nan = float("nan")
    assert estimate_mean([nan, 2.0]).interval is None
    assert estimate_share([nan, 1.0]).interval is None
    with_gap = estimate_mean([2.0, None, 3.0], groups=["a", "b", "c"]).interval
    assert with_gap == estimate_mean([2.0, 3.0]).interval
    assert with_gap.groups == 2


def test_equal_values_have_no_interval() -> None:
    """Three scores of 4 do not show that every score is 4."""
    assert estimate_mean([4.0, 4.0, 4.0]).interval is None
    assert estimate_mean([0.1, 0.1, 0.1], method="bca").interval is None
    assert paired_test([2.0, 3.0, 4.0], [1.0, 2.0, 3.0]).interval is None


# Pairs


def test_a_real_difference_is_found_by_every_test() -> None:
    base = list(RNG.normal(size=40))
    better = [x + 0.4 + 0.1 * e for x, e in zip(base, RNG.normal(size=40), strict=True)]
    for test in ("bootstrap", "permutation", "wilcoxon"):
        found = paired_test(better, base, test=test, resamples=2000)
        assert found.difference == pytest.approx(0.4, abs=0.1)
        assert found.interval.low > 0
        assert found.p < 0.01
        same = paired_test(base, base, test=test, resamples=2000)
        assert same.difference == 0
        assert same.p == pytest.approx(1)


def test_the_permutation_test_is_exact_for_few_pairs() -> None:
    """Differences 1, 2, 3: all positive; 2 of 8 sign patterns are as extreme: p = 0.25."""
    assert paired_test([1.0, 2.0, 3.0], [0.0] * 3).p == pytest.approx(0.25)


def test_wilcoxon_is_scipys() -> None:
    a, b = list(RNG.normal(size=30)), list(RNG.normal(0.3, 1, size=30))
    ours = paired_test(a, b, test="wilcoxon").p
    assert ours == pytest.approx(stats.wilcoxon(np.array(a) - np.array(b)).pvalue)


def test_a_pair_with_one_side_missing_is_left_out() -> None:
    found = paired_test([1.0, None, 3.0, 4.0], [0.0, 1.0, None, 2.0])
    assert (found.n, found.missing, found.difference) == (2, 2, 1.5)
    nothing = paired_test([None], [1.0])
    assert (nothing.difference, nothing.p, nothing.missing) == (None, None, 1)


def test_dialogues_not_replies_are_the_units_of_a_paired_test() -> None:
    """Three dialogues of ten equal differences count as three: p = 2/8, as above."""
    a = [1.0] * 10 + [2.0] * 10 + [3.0] * 10
    found = paired_test(a, [0.0] * 30, groups=[i // 10 for i in range(30)])
    assert (found.groups, found.n) == (3, 30)
    assert found.p == pytest.approx(0.25)


def test_wrong_pairs_are_refused() -> None:
    with pytest.raises(ConfigError, match="a pair needs both sides: 1 values of A, 2 of B"):
        paired_test([1.0], [1.0, 2.0])
    with pytest.raises(ConfigError, match="no paired test named 't'"):
        paired_test([1.0, 3.0], [1.0, 2.0], test="t")


# Seeds and sizes


def test_seeds_give_mean_and_sample_deviation() -> None:
    """1, 2, 3: mean 2, sd 1 (n − 1)."""
    found = across_seeds([1.0, 2.0, 3.0, None])
    assert (found.mean, found.sd, found.n, found.missing) == (2.0, 1.0, 3, 1)
    assert str(found) == "2.00 ± 1.00 (n = 3, 1 missing)"
    assert across_seeds([4.0]).sd is None
    assert str(across_seeds([None])) == "missing in all 1 runs"


def test_sample_size_by_hand() -> None:
    """(1.95996 + 0.84162)² = 7.8489: at half a deviation 31.4; unpaired twice that, 62.8."""
    assert dialogues_needed(0.5, 1.0) == 32
    assert dialogues_needed(-0.5, 1.0) == 32
    assert dialogues_needed(0.5, 1.0, paired=False) == 63
    # ten independent replies a dialogue: 3.1; wholly alike ones: as if there were one
    assert dialogues_needed(0.5, 1.0, replies_per_dialogue=10) == 4
    assert dialogues_needed(0.5, 1.0, replies_per_dialogue=10, intraclass=1.0) == 32


def test_the_advised_size_has_the_promised_power() -> None:
    n, rng = dialogues_needed(0.5, 1.0), np.random.default_rng(5)
    found = [stats.ttest_1samp(rng.normal(0.5, 1, n), 0).pvalue < 0.05 for _ in range(2000)]
    assert np.mean(found) == pytest.approx(
        0.78, abs=0.04
    )  # the normal approximation is a bit short


def test_impossible_sizes_are_refused_all_at_once() -> None:
    with pytest.raises(ConfigError, match=r"(?s)difference must not be 0.*sd must be above 0"):
        dialogues_needed(0, 0)


def test_holm_by_hand() -> None:
    assert holm({"x": 0.01, "y": 0.04, "z": 0.03}) == pytest.approx(
        {"x": 0.03, "z": 0.06, "y": 0.06}
    )
    assert holm({"x": 0.9, "y": 0.8}) == {"x": 1.0, "y": 1.0}
