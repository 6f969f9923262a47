"""Sequences hold at every n at once, are as wide as is said, and lead to right verdicts however one looks."""

import re

import numpy as np
import pandas as pd
import pytest
import renew_coverage
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from jaxstudies.evidence import intervals, sequences
from jaxstudies.evidence.claims import Claim
from jaxstudies.evidence.effects import as_effects
from jaxstudies.evidence.estimands import ESTIMANDS
from jaxstudies.evidence.rules import first_decided, judge
from jaxstudies.evidence.verdicts import FIXED, NO_SEQUENCE, SEQUENCE

RUNS, LOOKS = 10_000, np.arange(100, 10_001, 100)
ERRORS = 0.05 + 4 * (0.05 * 0.95 / RUNS) ** 0.5
"""Share of runs that may err at 95 %, with four standard errors."""
SKEWED = np.array([0.0, 0.1, 1.0]), np.array([0.9, 0.09, 0.01])
"""Values from 0 to 1 and their probabilities, whose mean is far below their middle."""


def counts_at_looks(rng, probabilities):
    """Return how often each outcome was seen until each look, (runs, looks, outcomes)."""
    steps = np.diff(LOOKS, prepend=0)
    return np.cumsum(rng.multinomial(steps, probabilities, size=(RUNS, len(steps))), axis=1)


def shares_at_looks(seen, *level):
    """Return the ends of `sequences.shares` at counts until each look, (runs, looks); equal pairs are bisected once."""
    pairs, place = np.unique(seen * (LOOKS[-1] + 1) + LOOKS, return_inverse=True)
    _, low, high = sequences.shares(pairs // (LOOKS[-1] + 1), pairs % (LOOKS[-1] + 1), *level)
    return low[place].reshape(seen.shape), high[place].reshape(seen.shape)


def mean_and_variance_at_looks(rng, mean, deviation):
    """Return means and mean squared deviations of normal values until each look, (runs, looks).

    Of each hundred the mean and the squares about it are drawn, which are independent (Cochran).
    """
    means = rng.normal(mean, deviation / 10, (RUNS, len(LOOKS)))
    squares = deviation**2 * rng.chisquare(99, means.shape) + 100 * means**2
    first, second = np.cumsum(100 * means, axis=1) / LOOKS, np.cumsum(squares, axis=1) / LOOKS
    return first, second - first**2


@pytest.mark.slow
@pytest.mark.parametrize("p", [0.5, 0.9, 0.999])
def test_a_share_errs_at_any_of_a_hundred_looks_in_one_of_twenty_runs_at_most(p):
    seen = np.cumsum(np.random.default_rng(0).binomial(100, p, size=(RUNS, len(LOOKS))), axis=1)
    low, high = shares_at_looks(seen)
    assert ((p < low) | (high < p)).any(1).mean() < ERRORS
    _, low, high = intervals.wilson_intervals(seen, LOOKS)
    assert ((p < low) | (high < p)).any(1).mean() > 0.2  # what a fixed n's interval comes to


@pytest.mark.slow
def test_a_difference_from_a_stated_share_errs_at_any_look_in_one_of_twenty_runs_at_most():
    """The share that was stated is of a sample, too."""
    rng = np.random.default_rng(10)
    seen = np.cumsum(rng.binomial(100, 0.95, size=(RUNS, len(LOOKS))), axis=1)
    low, high = shares_at_looks(seen, sequences.half(0.95))
    exact = np.array([intervals.exact_share(count, 1000, sequences.half(0.95)) for count in range(1001)])
    _, least, most = exact[rng.binomial(1000, 0.95, (RUNS, 1))].transpose(2, 0, 1)
    assert ((low - most > 0) | (high - least < 0)).any(1).mean() < ERRORS
    one = sequences.difference_from_stated_share(int(seen[0, 5]), int(LOOKS[5]), 950, 1000)
    assert one[1:] == pytest.approx((low[0, 5] - exact[950, 2], high[0, 5] - exact[950, 1]))


@pytest.mark.slow
def test_a_mean_of_normal_values_errs_at_any_look_in_one_of_twenty_runs_at_most():
    rng = np.random.default_rng(1)
    means, variances = mean_and_variance_at_looks(rng, 3.0, 2.0)
    _, low, high = sequences.normal_means(means, variances, LOOKS)
    assert ((low > 3) | (high < 3)).any(1).mean() < ERRORS


@pytest.mark.slow
def test_a_mean_of_skewed_bounded_values_errs_at_any_look_in_one_of_twenty_runs_at_most():
    values, probabilities = SKEWED
    mean = float(values @ probabilities)
    counts = counts_at_looks(np.random.default_rng(2), probabilities).reshape(-1, 3).T
    either = np.zeros(counts.shape[1], bool)
    for x, m in ((values, mean), (1 - values, 1 - mean)):
        gains = np.log1p(np.multiply.outer(sequences.STAKES, x / m - 1)) @ counts
        either |= np.logaddexp.reduce(gains, axis=0) - np.log(len(sequences.STAKES)) >= np.log(2 / 0.05)
    assert either.reshape(RUNS, -1).any(1).mean() < ERRORS
    # These are the intervals: none holds the mean where the capital speaks against it.
    for column in counts.T[[5, 99, *np.flatnonzero(either)[:20]]]:
        _, low, high = sequences.bounded_mean(values, 0.0, 1.0, counts=column)
        gone = [
            sequences.log_capital(x, column, m) >= np.log(2 / 0.05) for x, m in ((values, mean), (1 - values, 1 - mean))
        ]
        assert (low <= mean <= high) != any(gone)


@pytest.mark.slow
@pytest.mark.parametrize("q", [0.05, 0.5])
def test_a_quantile_errs_at_any_look_in_one_of_twenty_runs_at_most(q):
    """Whatever the values are distributed like: it depends on how many lie below their quantile alone."""
    below = np.cumsum(np.random.default_rng(3).binomial(100, q, size=(RUNS, len(LOOKS))), axis=1)
    ends = np.array([sequences.ranks(n, q) for n in LOOKS.tolist()])
    assert ((below < ends[:, 0]) | (below > ends[:, 1])).any(1).mean() < ERRORS


def test_a_quantile_of_skewed_values_with_ties_is_held():
    rng, wrong = np.random.default_rng(4), 0
    for _ in range(300):
        values = rng.choice([0.0, 0.0, 1.0, 5.0, 100.0], 400)
        ends = [sequences.order_statistics(values[:n])[1:] for n in range(20, 401, 20)]
        wrong += any(not low <= 1.0 <= high for low, high in ends)
    assert wrong / 300 < 0.05 + 4 * (0.05 * 0.95 / 300) ** 0.5


@pytest.mark.parametrize("p", [0.05, 0.5, 0.95, 0.999])
def test_widths_at_ten_thousand_are_at_most_2_2_times_those_of_a_fixed_n(p):
    n, rng = 10_000, np.random.default_rng(5)
    hits, normal = round(n * p), rng.normal(size=n)
    plus, minus = round(n * p / 2), round(n * p / 4)
    outcomes, counts = np.array([1.0, -1.0, 0.0]), np.array([plus, minus, n - plus - minus])
    values, probabilities = SKEWED
    skewed = rng.choice(values, n, p=probabilities)
    for wide, narrow in (
        (sequences.share(hits, n), intervals.wilson(hits, n)),
        (sequences.normal_mean(normal), intervals.mean_interval(normal)),
        (sequences.order_statistics(normal), intervals.order_statistics(normal)),
        (
            sequences.bounded_mean(outcomes, -1.0, 1.0, counts=counts),
            intervals.paired_difference_of_shares(plus, minus, n),
        ),
        (sequences.bounded_mean(skewed, 0.0, 1.0), intervals.mean_interval(skewed)),
    ):
        assert 1 < (wide[2] - wide[1]) / (narrow[2] - narrow[1]) <= 2.2


@given(st.integers(1, 3000), st.data(), st.sampled_from([0.5, 0.9, 0.95, 0.999]))
def test_a_share_is_villes(n, data, level):
    """An independent implementation."""
    ville = pytest.importorskip("ville")
    count = data.draw(st.integers(0, n))
    values = np.concatenate([np.ones(count), np.zeros(n - count)])
    theirs = ville.BernoulliCS(1 - level, (sequences.PRIOR, sequences.PRIOR), intersect=False).fit(values)
    ours = sequences.share(count, n, level)
    np.testing.assert_allclose(ours, [count / n, theirs.lower_[-1], theirs.upper_[-1]], rtol=1e-6, atol=1e-9)


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=30, unique=True), st.sampled_from([0.5, 0.95]))
def test_a_normal_mean_is_where_its_bayes_factor_says(values, level):
    """A slow reference: the factor by numerical integration over mean and deviation."""
    mean, low, high = sequences.normal_mean(np.array(values), level)

    def log_factor(candidate: float) -> float:
        # Of u = (x - candidate): the prior on the mean has the deviation's scale; both integrals in closed form
        # over the mean, and by sums over the deviation, whose right Haar measure is that of its logarithm.
        u, n, g = np.array(values) - candidate, len(values), sequences.EFFECT_VARIANCE
        scale = np.log(np.sqrt(np.mean(u**2))) + np.linspace(-12, 12, 20_001)
        under = -n * scale - (u @ u) / 2 * np.exp(-2 * scale)
        spread = np.sum((u - u.mean()) ** 2) + n * u.mean() ** 2 / (1 + n * g)
        over = -n * scale - spread / 2 * np.exp(-2 * scale) - 0.5 * np.log(1 + n * g)
        return float(special.logsumexp(over) - special.logsumexp(under))

    for end in (low, high):
        if np.isfinite(end):
            assert log_factor(end) == pytest.approx(np.log(1 / (1 - level)), rel=1e-4, abs=1e-4)
    if np.isfinite(low):
        assert log_factor(mean) < np.log(1 / (1 - level))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.sampled_from([0.5, 0.95]))
def test_a_bounded_mean_is_where_its_capital_says(values, level):
    """A slow reference: bets one after another, with each stake."""
    x = np.array(values)
    _, low, high = sequences.bounded_mean(x, 0.0, 1.0, level)

    def capital(values: np.ndarray, m: float) -> float:
        parts = [1.0] * len(sequences.STAKES)
        for value in values:
            parts = [part * (1 + stake * (value - m) / m) for part, stake in zip(parts, sequences.STAKES, strict=True)]
        return float(np.mean(parts))

    if low > 1e-6:
        assert capital(x, low * (1 + 1e-6)) < 2 / (1 - level) < capital(x, low * (1 - 1e-6))
    if high < 1 - 1e-6:
        away = 1 - high
        assert capital(1 - x, away * (1 + 1e-6)) < 2 / (1 - level) < capital(1 - x, away * (1 - 1e-6))


@pytest.mark.parametrize("least", [5e-324, 1e-310, 3e-308, 1e-300])
def test_the_least_numbers_that_there_are_have_a_mean(least):
    mean, low, high = sequences.bounded_mean(np.array([least]), 0.0, 1.0)
    assert 0 <= low <= mean == least < high
    mean, low, high = sequences.bounded_mean(np.array([0.0, least]), 0.0, 1.0)
    assert 0 <= low <= mean <= least < high


@pytest.mark.parametrize("unit", [1e-300, 1e-12, 1e-7, 1.0])
def test_an_end_of_a_bounded_mean_is_spoken_against_whatever_the_unit(unit):
    """And `may_exclude` is true of what lies below it."""
    rng, enough = np.random.default_rng(9), np.log(2 / 0.05)
    for _ in range(10):
        values = rng.random(30) * unit
        _, low, _ = sequences.bounded_mean(values, 0.0, 1.0)
        assert sequences.log_capital(values, np.ones(30), low) >= enough
        assert sequences.log_capital(values, np.ones(30), low * (1 + 1e-9)) < enough
        (above,), _ = sequences.may_exclude(values, [30], np.nextafter(low, 0.0), 0.0, 1.0)
        assert above


def test_the_order_of_values_makes_no_difference():
    values = np.random.default_rng(6).beta(1, 9, 200)
    shuffled, counted = np.sort(values), np.unique(np.round(values, 1), return_counts=True)
    assert sequences.bounded_mean(values, 0.0, 1.0) == pytest.approx(sequences.bounded_mean(shuffled, 0.0, 1.0))
    one_by_one = sequences.bounded_mean(np.round(values, 1), 0.0, 1.0)
    assert sequences.bounded_mean(counted[0], 0.0, 1.0, counts=counted[1]) == pytest.approx(one_by_one)


def test_values_beyond_their_bounds_are_refused():
    with pytest.raises(ValueError, match=r"bounds \(0, 1\): there are values from 0 to 1.5"):
        sequences.bounded_mean(np.array([0.0, 1.5]), 0.0, 1.0)


# Verdicts.

POPULAR = np.random.default_rng(7).random(2000) < 0.96


def claim(estimand="share", holds=(0.9, 1.0), **more):
    return Claim("id", "words", len, holds, estimand=estimand, **more).record()


def test_a_verdict_by_a_sequence_falls_at_the_first_look_that_decides_and_stays():
    effects, looks = as_effects(pd.Series(POPULAR)), [*range(100, 2001, 100)]
    fell = next(n for n in looks if sequences.share(int(POPULAR[:n].sum()), n)[1] > 0.9)
    verdict = judge(claim(), effects, looks)
    assert (verdict.rule, verdict.verdict, verdict.seeds, verdict.n) == (SEQUENCE, "supported", fell, fell)
    assert verdict[4:7] == sequences.share(int(POPULAR[:fell].sum()), fell)
    assert judge(claim(), effects).rule == FIXED
    undecided = judge(claim(holds=(0.95, 1.0)), effects[:50], [25, 50])
    assert (undecided.verdict, undecided.seeds, undecided.n) == ("inconclusive", None, 50)


def test_a_mean_without_bounds_is_not_judged_by_a_sequence_unless_it_is_near_normal():
    effects = as_effects(pd.Series(np.random.default_rng(8).normal(1, 0.1, 50)))
    verdict = judge(claim("mean", (0.0, 9.0)), effects, [20, 50])
    assert (verdict.verdict, verdict.why, verdict.n) == ("inconclusive", NO_SEQUENCE, 50)
    assert judge(claim("mean", (0.0, 9.0)), effects).verdict == "supported"
    for more in ({"near_normal": "drawn so"}, {"bounds": (0.0, 2.0)}):
        assert judge(claim("mean", (0.0, 9.0), **more), effects, [20, 50]).verdict == "supported"
    assert judge(claim("median", (0.0, 9.0)), effects, [20, 50]).verdict == "supported"


@pytest.mark.slow
def test_more_than_nine_in_ten_collapse_is_decided_within_500_seeds_in_the_median():
    """ReLU's share is 95.5 %; looks lie 64 seeds apart."""
    looks = np.arange(64, 4097, 64)
    seen = np.cumsum(np.random.default_rng(9).binomial(64, 0.955, size=(1000, len(looks))), axis=1)
    _, low, _ = sequences.shares(seen, looks)
    assert np.median(looks[np.argmax(low > 0.9, axis=1)]) <= 500


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 20, 25])
def test_the_table_of_coverage_is_what_its_command_prints(number):
    regime = [*renew_coverage.regimes()][number]
    words, share, error = renew_coverage.coverage(regime)
    text = renew_coverage.TABLE.read_text("utf-8")
    assert f"| {words} | {regime.words} | {regime.n:,} | {share:.3f} ± {error:.3f} |" in text


def test_no_interval_covers_much_less_than_its_level():
    """From the number of values on from which a verdict is given, but for heavy tails; with four standard errors."""
    lines = [line for line in renew_coverage.TABLE.read_text("utf-8").splitlines() if "tail is heavy" not in line]
    rows = re.findall(r"\| (\d\.\d{3}) ± (\d\.\d{3}) \|", "\n".join(lines))
    assert len(rows) > 40
    assert all(float(share) > 0.92 - 4 * float(error) for share, error in rows)


CASES = {
    "mean": ({"bounds": (0.0, 1.0)}, (0.0, 1.0)),
    "geometric_mean": ({"near_normal": "drawn so"}, (0.0, 1.0)),
    "median": ({}, (0.0, 1.0)),
    "quantile": ({"arguments": {"quantile": 0.9}}, (0.0, 1.0)),
    "share": ({}, (0.0, 1.0)),
    "share_difference": ({}, (-1.0, 1.0)),
    "share_against": ({"arguments": {"count": 9, "of": 10}}, (-1.0, 1.0)),
    "quantile_difference": ({"arguments": {"quantile": 0.5}}, (-1.0, 1.0)),
}


@pytest.mark.parametrize("estimand", ESTIMANDS)
def test_every_estimand_can_be_judged_while_seeds_flow(estimand):
    more, holds = CASES[estimand]
    rng = np.random.default_rng(0)
    outcomes = "share" in estimand
    values = rng.integers(0, 2, 400).astype(float) if outcomes else rng.uniform(0.2, 0.3, 400)
    effects = as_effects(pd.DataFrame({"value": values, "other": rng.uniform(0, 0.1, 400)}), estimand)
    verdict = judge(claim(estimand, holds, **more), effects, [200, 400])
    assert (verdict.verdict, verdict.rule) == ("supported", SEQUENCE) and verdict.seeds in (200, 400)
    assert holds[0] <= verdict.low < verdict.effect < verdict.high <= holds[1]


@settings(max_examples=25)
@given(st.data(), st.integers(0, 2**32 - 1))
def test_a_look_that_is_passed_over_would_have_decided_nothing(data, seed):
    """Which looks may decide a bounded mean is found without their intervals."""
    rng = np.random.default_rng(seed)
    a, b = data.draw(st.sampled_from([(1.0, 1.0), (5.0, 2.0), (0.05, 0.5)]))
    values = rng.beta(a, b, 200)
    possible = st.sampled_from([-np.inf, 0.0, 0.1, 0.45, 0.5, 0.7, 1.0, np.inf])
    ends = data.draw(st.lists(possible, min_size=2, max_size=2, unique=True))
    record = claim("mean", (min(ends), max(ends)), bounds=(0.0, 1.0))
    effects, looks = as_effects(pd.Series(values)), [*range(20, 201, 20)]
    method = ESTIMANDS["mean"].sequence(record)
    assert method is not None and method.may_exclude is not None
    one_by_one = method._replace(may_exclude=None)
    skipping, each = (first_decided(record, how, effects, looks, 0.95) for how in (method, one_by_one))
    np.testing.assert_equal(skipping, each)


@given(st.integers(1, 400), st.floats(0.01, 0.99), st.sampled_from([0.1, 0.5, 0.95]))
def test_the_ranks_of_a_quantile_are_those_that_its_share_allows(n, quantile, level):
    counts = np.arange(n + 1)
    _, low, high = sequences.shares(counts, n, level)
    (allowed,) = np.nonzero((low < quantile) & (quantile < high))
    fewest, most = sequences.ranks(n, quantile, level)
    assert (fewest, most) == (allowed[0], allowed[-1])
