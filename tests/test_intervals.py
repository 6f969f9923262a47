"""Every interval agrees with its formula, and covers as often as it says."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.stats import binomtest, ttest_1samp

from jaxstudies.evidence import intervals, sequences
from jaxstudies.evidence.shares import shares_by
from jaxstudies.studies.initialization.summary import mean_size

TRIALS = 2000
LEAST = 0.95 - 4 * (0.95 * 0.05 / TRIALS) ** 0.5 - 0.01
"""Four standard errors below 95 % in that many trials, and 1 % for discreteness."""


def coverage(hits, trials=TRIALS):
    """Four standard errors of a coverage of 95 % in so many trials, and 1 % for discreteness."""
    return pytest.approx(0.95, abs=4 * (0.95 * 0.05 / trials) ** 0.5 + 0.01), np.mean(hits)


def test_wilson_agrees_with_its_formula():
    k, n, z = 37, 120, 1.959963984540054
    center = (k + z**2 / 2) / (n + z**2)
    half = z / (n + z**2) * np.sqrt(k * (n - k) / n + z**2 / 4)
    assert intervals.wilson(k, n) == pytest.approx((k / n, center - half, center + half))


@given(n=st.integers(1, 10**6), level=st.floats(0.5, 0.999), data=st.data())
def test_wilson_is_scipys(n, level, data):
    count = data.draw(st.integers(0, n))
    theirs = binomtest(count, n).proportion_ci(level, method="wilson")
    ours = intervals.wilson(count, n, level)
    assert ours == pytest.approx((count / n, theirs.low, theirs.high), rel=1e-9, abs=1e-12)


@given(n=st.integers(1, 10**6), data=st.data())
def test_wilson_holds_the_share_and_stays_in_range(n, data):
    share, low, high = intervals.wilson(data.draw(st.integers(0, n)), n)
    assert 0 <= low <= share <= high <= 1


def test_wilson_of_arrays_is_wilson_of_each():
    counts, n = np.array([0, 3, 7, 7, 0]), np.array([5, 5, 9, 7, 0])
    for level in (0.95, 0.8):
        together = np.array(intervals.wilson_intervals(counts, n, level))
        each = [intervals.wilson(*pair, level) for pair in zip(counts.tolist(), n.tolist(), strict=True)]
        np.testing.assert_array_equal(together.T, each)


@pytest.mark.parametrize("p", [0.5, 0.1, 0.02])
def test_wilson_covers(p):
    counts = np.random.default_rng(4).binomial(300, p, TRIALS)
    _, low, high = intervals.wilson_intervals(counts, np.full(TRIALS, 300))
    # Score intervals cover on average over shares, not at each (Brown, Cai and DasGupta 2001).
    expected, measured = coverage((low <= p) & (p <= high))
    assert measured == pytest.approx(expected.expected, abs=expected.abs + 0.01)


def share_holding(truth, interval, *counts):
    """Return in which share of studies an interval of counts holds the truth; of equal ones it is made once."""
    cases, times = np.unique(np.stack(counts, axis=1), axis=0, return_counts=True)
    ends = np.array([interval(*case)[1:] for case in cases.tolist()])
    return times @ ((ends[:, 0] <= truth) & (truth <= ends[:, 1])) / times.sum()


@pytest.mark.parametrize(("p", "q"), [(0.95, 0.9), (0.5, 0.3), (0.02, 0.02)])
def test_difference_covers(p, q):
    rng = np.random.default_rng(0)
    first, second = rng.binomial(300, p, TRIALS), rng.binomial(200, q, TRIALS)
    held = share_holding(p - q, lambda a, b: intervals.difference_of_shares(a, 300, b, 200), first, second)
    assert held >= LEAST


@pytest.mark.parametrize(("only_first", "only_second"), [(0.2, 0.1), (0.6, 0.0), (0.02, 0.02)])
@pytest.mark.slow
def test_paired_difference_covers(only_first, only_second):
    u = np.random.default_rng(1).random((TRIALS, 150))
    first = (u < only_first).sum(1)
    second = (u < only_first + only_second).sum(1) - first
    held = share_holding(
        only_first - only_second, lambda a, b: intervals.paired_difference_of_shares(a, b, 150), first, second
    )
    assert held >= LEAST


def test_what_is_said_of_independent_shares_of_which_one_is_rare_and_one_is_not_is_so():
    """Computed exactly: over the numbers of both outcomes."""
    p, q = (stats.binom.pmf(np.arange(101), 100, share) for share in (0.003, 0.997))
    for level, held in ((0.95, 0.927), (0.999, 0.982)):
        covers = 0.0
        for a in np.flatnonzero(p > 1e-9).tolist():
            for b in np.flatnonzero(q > 1e-9).tolist():
                _, low, high = intervals.difference_of_shares(a, 100, b, 100, level)
                covers += p[a] * q[b] * (low <= 0.003 - 0.997 <= high)
        assert covers == pytest.approx(held, abs=0.0006)


@pytest.mark.parametrize("module", [intervals, sequences])
def test_a_quantile_is_known_beside_infinity_and_lies_in_its_interval(module):
    assert module.order_statistics(np.array([1, 2, 3, 4, np.inf, np.inf, np.inf]))[0] == 4
    assert module.order_statistics(np.array([1, 2, np.inf]))[0] == 2
    assert module.order_statistics(np.array([1, np.inf]))[0] == np.inf
    assert np.isnan(module.order_statistics(np.array([-np.inf, np.inf]))[0])
    for quantile in (0.99999, 0.999, 0.5, 0.001, 0.00001):
        estimate, low, high = module.order_statistics(np.arange(20.0), quantile)
        assert low <= estimate <= high


@pytest.mark.parametrize("mean", [intervals.mean_interval, sequences.normal_mean])
@pytest.mark.parametrize("unit", [1e-170, 1e-300])
def test_the_least_numbers_differ_as_others_do(mean, unit):
    values = np.array([3, -2, 1, -1, 2.0])
    np.testing.assert_allclose(np.array(mean(values * unit)) / unit, mean(values), rtol=1e-6)
    assert np.isnan(mean(np.array([5.0]))[1:]).all()


def test_shares_differ_by_one_at_most():
    assert intervals.paired_difference_of_shares(0, 5, 5)[:2] == (-1, -1)
    assert intervals.paired_difference_of_shares(1000, 0, 1000)[::2] == (1, 1)


@pytest.mark.parametrize("level", [0.95, 0.995, 0.9995])
@pytest.mark.parametrize("n", [20, 300])
@pytest.mark.parametrize(("gain", "loss"), [(0.0036, 0.0), (0.03, 0.0), (0.02, 0.01), (0.12, 0.001), (0.5, 0.5)])
@pytest.mark.slow
def test_paired_differences_of_rare_and_of_frequent_outcomes_err_no_more_at_the_levels_of_a_family(
    gain, loss, n, level
):
    """The share of studies that err is computed exactly, over the numbers of both kinds of pairs."""
    first = np.arange(n + 1)
    firsts = stats.binom.pmf(first, n, gain)
    erring = 0.0
    for a in first[firsts > 1e-9]:
        left = n - a
        seconds = stats.binom.pmf(np.arange(left + 1), left, loss / (1 - gain))
        for b in np.flatnonzero(seconds * firsts[a] > 1e-9):
            _, low, high = intervals.paired_difference_of_shares(int(a), int(b), n, level)
            erring += firsts[a] * seconds[b] * (not low <= gain - loss <= high)
    assert erring < 1.5 * (1 - level) + 0.0005


@pytest.mark.parametrize("level", [0.95, 0.99, 1 - 0.05 / 14])
@pytest.mark.parametrize("n", [20, 40, 100])
def test_pairs_of_which_each_has_one_outcome_alone_are_held_with_the_level(n, level):
    """The share of studies is computed exactly; every pair could come out equal."""
    ends = np.array([intervals.paired_difference_of_shares(n - b, b, n, level)[1:] for b in range(n + 1)])
    for loss in np.linspace(0.001, 0.5, 200):
        chances, truth = stats.binom.pmf(np.arange(n + 1), n, loss), 1 - 2 * loss
        holding = chances[(ends[:, 0] <= truth + 1e-12) & (truth - 1e-12 <= ends[:, 1])].sum()
        assert holding >= 1 - 1.05 * (1 - level)


@given(st.integers(0, 40), st.integers(1, 40), st.sampled_from([0.5, 0.95, 0.999]))
def test_an_exact_share_is_scipys(count, more, level):
    n = count + more
    theirs = stats.binomtest(count, n).proportion_ci(level, "exact")
    assert intervals.exact_share(count, n, level) == pytest.approx((count / n, theirs.low, theirs.high))


@pytest.mark.parametrize("q", [0.05, 0.5, 0.99])
@pytest.mark.parametrize("n", [5, 40, 200])
def test_order_statistics_hold_the_quantile_with_the_level_exactly_or_more(n, q):
    _, low, high = intervals.order_statistics(np.arange(1.0, n + 1), q)
    first, last = (0 if np.isinf(low) else int(low)), (n + 1 if np.isinf(high) else int(high))
    below = stats.binom(n, q)  # how many values lie below the quantile
    assert below.cdf(last - 1) - below.cdf(first - 1) >= 0.95
    tighter = below.cdf(last - 2) if last <= n else 0.0
    assert tighter < 0.975


def test_mean_interval_covers():
    samples = np.random.default_rng(2).normal(3.0, 2.0, (TRIALS, 8))
    hits = [low <= 3.0 <= high for _, low, high in map(intervals.mean_interval, samples)]
    expected, measured = coverage(hits)
    assert measured == expected


def test_mean_interval_is_scipys():
    values = np.random.default_rng(5).normal(size=20)
    for level in (0.95, 0.5):
        theirs = ttest_1samp(values, 0).confidence_interval(level)
        expected = pytest.approx((values.mean(), theirs.low, theirs.high))
        assert intervals.mean_interval(values, level) == expected


def test_means_of_columns_are_means():
    values = np.random.default_rng(3).normal(size=(9, 4))
    together = intervals.mean_intervals(values)
    np.testing.assert_array_equal(together.T, [intervals.mean_interval(c) for c in values.T])


def test_intervals_from_moments_are_those_of_the_values():
    rng = np.random.default_rng(6)
    samples = [rng.normal(3, 2, n) for n in (2, 5, 1, 40)]
    moments = np.array([(v.mean(), v.std(ddof=1) if len(v) > 1 else np.nan, len(v)) for v in samples])
    for level in (0.95, 0.8):
        together = np.array(intervals.t_intervals(*moments.T, level))
        each = [intervals.mean_interval(v, level) for v in samples]
        np.testing.assert_allclose(together.T, each)
    assert np.isnan(intervals.t_intervals(*np.array([[np.nan], [np.nan], [0]]))).all()


def test_geometric_mean_is_the_mean_of_logarithms_and_covers():
    samples = np.random.default_rng(7).lognormal(1.0, 2.0, (TRIALS, 8))
    found = np.array([intervals.geometric_mean(values) for values in samples])
    logs = [intervals.mean_interval(np.log(values)) for values in samples]
    np.testing.assert_allclose(np.log(found), logs)
    expected, measured = coverage((found[:, 1] <= np.e) & (np.e <= found[:, 2]))
    assert measured == expected


@pytest.mark.parametrize("odd", [0.0, np.inf, np.nan])
def test_what_has_no_logarithm_is_not_left_out_of_a_geometric_mean(odd):
    """It would be if what is left were taken for all; a summary that leaves it out says so."""
    values = np.array([1.0, 2.0, 4.0])
    assert np.isnan(intervals.geometric_mean(np.r_[values, odd])[1:]).all()
    assert mean_size(np.r_[values, odd]) == intervals.geometric_mean(values)


def test_difference_of_quantiles_of_pairs():
    first = np.arange(1.0, 102.0)
    assert intervals.quantile_difference(first, first - 3, 0.25)[0] == pytest.approx(3)
    estimate, low, high = intervals.quantile_difference(first, first[::-1] / 2, 0.5)
    assert low < estimate < high and estimate == 51 - 25.5


def test_difference_of_quantiles_covers():
    rng, trials, hits = np.random.default_rng(8), 300, []
    for _ in range(trials):
        common = rng.normal(size=200)
        pair = common + rng.normal(size=200), 1 + 2 * (common + rng.normal(size=200))
        _, low, high = intervals.quantile_difference(*pair, 0.5)
        hits.append(low <= -1 <= high)
    assert np.mean(hits) >= 0.95 - 4 * (0.95 * 0.05 / trials) ** 0.5 - 0.01


def test_without_data_there_is_no_number():
    none = np.array([])
    for interval in (
        intervals.wilson(0, 0),
        intervals.difference_of_shares(0, 0, 1, 2),
        intervals.difference_of_shares(1, 2, 0, 0),
        intervals.paired_difference_of_shares(0, 0, 0),
        intervals.mean_interval(none),
        intervals.geometric_mean(none),
        intervals.quantile_difference(none, none, 0.5),
        intervals.order_statistics(none),
        intervals.exact_share(0, 0),
    ):
        assert np.isnan(interval).all()


def test_of_one_value_there_is_a_mean_and_no_interval():
    mean, *ends = intervals.mean_interval(np.array([3.0]))
    assert mean == 3.0 and np.isnan(ends).all()


@pytest.mark.parametrize("level", [0.8, 0.99])
def test_a_higher_level_is_a_wider_interval(level):
    rng = np.random.default_rng(12)
    x = rng.normal(size=15)
    for function, arguments in (
        (intervals.wilson, (3, 10)),
        (intervals.difference_of_shares, (3, 10, 5, 10)),
        (intervals.paired_difference_of_shares, (10, 5, 50)),
        (intervals.mean_interval, (x,)),
        (intervals.geometric_mean, (np.exp(x),)),
        (intervals.quantile_difference, (x, x[::-1], 0.5)),
        (intervals.order_statistics, (x,)),
    ):
        estimate, low, high = function(*arguments, level=level)
        usual = function(*arguments)
        assert estimate == usual[0]
        assert (high - low > usual[2] - usual[1]) == (level > 0.95)


@pytest.mark.parametrize("names", [["rule"], ["rule", "width"]])
def test_shares_are_of_groups_of_any_labels_in_their_order(names):
    """A label may be None, as where a rule has no margin."""
    labels = pd.DataFrame({"rule": [None, "b", None, "a", "b"], "width": [2, 1, 2, 1, 1]})[names]
    found = shares_by(pd.DataFrame({"dead": [True, False, False, True, True]}), np.array([0, 0, 0, 1, 0]), labels)
    assert found["rule"].tolist()[1:] == ["b", "a"] and pd.isna(found["rule"][0])
    assert found["n"].tolist() == [2, 2, 0] and found["nonfinite"].tolist() == [0, 0, 1]
    assert found["dead"].tolist()[:2] == [0.5, 0.5] and np.isnan(found["dead"][2])
    assert found["dead_low"][0] == intervals.exact_share(1, 2)[1]
