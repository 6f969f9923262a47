import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxstudies import stats
from jaxstudies.claims import Claim, judge_region, to_json

TRIALS = 2000
CLAIM = Claim("id", "words", "source")


def coverage(hits):
    """Four standard errors of a coverage of 95 % in TRIALS trials, and 1 % for discreteness."""
    return pytest.approx(0.95, abs=4 * (0.95 * 0.05 / TRIALS) ** 0.5 + 0.01), np.mean(hits)


def test_wilson_agrees_with_its_formula():
    k, n, z = 37, 120, 1.959963984540054
    center = (k + z**2 / 2) / (n + z**2)
    half = z / (n + z**2) * np.sqrt(k * (n - k) / n + z**2 / 4)
    assert stats.wilson(k, n) == pytest.approx((k / n, center - half, center + half))


@given(n=st.integers(1, 10**6), data=st.data())
def test_wilson_holds_the_share_and_stays_in_range(n, data):
    share, low, high = stats.wilson(data.draw(st.integers(0, n)), n)
    assert 0 <= low <= share <= high <= 1


@pytest.mark.parametrize(("p", "q"), [(0.95, 0.9), (0.5, 0.3), (0.02, 0.02)])
def test_difference_covers(p, q):
    rng = np.random.default_rng(0)
    first, second = rng.binomial(300, p, TRIALS), rng.binomial(200, q, TRIALS)
    hits = []
    for a, b in zip(first, second, strict=True):
        _, low, high = stats.difference_of_shares(int(a), 300, int(b), 200)
        hits.append(low <= p - q <= high)
    assert np.mean(hits) >= 0.95 - 4 * (0.95 * 0.05 / TRIALS) ** 0.5 - 0.01


@pytest.mark.parametrize(("only_first", "only_second"), [(0.2, 0.1), (0.6, 0.0), (0.02, 0.02)])
def test_paired_difference_covers(only_first, only_second):
    rng = np.random.default_rng(1)
    hits = []
    for _ in range(TRIALS):
        u = rng.random(150)
        first = int((u < only_first).sum())
        second = int((u < only_first + only_second).sum()) - first
        _, low, high = stats.paired_difference_of_shares(first, second, len(u))
        hits.append(low <= only_first - only_second <= high)
    assert np.mean(hits) >= 0.95 - 4 * (0.95 * 0.05 / TRIALS) ** 0.5 - 0.01


def test_shares_differ_by_one_at_most():
    assert stats.paired_difference_of_shares(0, 5, 5)[:2] == (-1, -1)
    assert stats.paired_difference_of_shares(1000, 0, 1000)[::2] == (1, 1)


def test_mean_interval_covers():
    samples = np.random.default_rng(2).normal(3.0, 2.0, (TRIALS, 8))
    hits = [low <= 3.0 <= high for _, low, high in map(stats.mean_interval, samples)]
    expected, measured = coverage(hits)
    assert measured == expected


def test_means_of_columns_are_means():
    values = np.random.default_rng(3).normal(size=(9, 4))
    together = stats.mean_intervals(values)
    np.testing.assert_array_equal(together.T, [stats.mean_interval(c) for c in values.T])


def test_without_data_there_is_no_number():
    for interval in (
        stats.wilson(0, 0),
        stats.difference_of_shares(0, 0, 1, 2),
        stats.paired_difference_of_shares(0, 0, 0),
        stats.mean_interval(np.array([])),
    ):
        assert np.isnan(interval).all()


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        ((0.95, 0.92, 0.97), "supported"),
        ((0.95, 0.90, 0.97), "supported"),
        ((0.91, 0.89, 0.93), "inconclusive"),
        ((0.80, 0.70, 0.89), "refuted"),
        (stats.NO_DATA, "inconclusive"),
    ],
)
def test_verdict_follows_from_interval_and_region(interval, verdict):
    got = judge_region(CLAIM, interval, holds=(0.9, 1.0), unit="share", n=5, method="m")
    assert got.verdict == verdict


def test_unknown_numbers_become_null():
    verdict = judge_region(CLAIM, stats.NO_DATA, holds=(0, 1), unit="share", n=0, method="m")
    (row,) = to_json([verdict])
    assert row["effect"] is None
    names = "id claim source verdict effect low high unit n method"
    assert list(row) == names.split()
