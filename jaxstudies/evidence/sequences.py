"""Confidence sequences: intervals that hold at every n at once, so that one may look and stop at will.

Of independent values in the order of their seeds, all intervals together hold the quantity with probability `level`. An
interval is the set of values that a test martingale does not speak against by `1 / (1 - level)` or more (Ville 1939).
"""

import bisect
import functools
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from jaxstudies.evidence.intervals import (
    NO_DATA,
    Interval,
    Intervals,
    Values,
    clipped,
    exact_share,
    in_units,
    quantile_within,
)

PRIOR = 0.5
"""Both parameters of the beta distribution that is mixed over: Jeffreys' prior."""
EFFECT_VARIANCE = 1.0
"""Variance of the prior on a mean, in standard deviations of the values, of the t sequence."""
STAKES = 0.9 * 2.0 ** (-np.arange(24) / 2)
"""Shares of the capital that are bet on a bounded mean: one for each number of runs, up to a million."""
ROUNDED = 1e-12
"""By how much of a bounded mean an end of its interval may be off."""
BLOCK = 4096
"""Values whose gains at all stakes fit a processor's cache."""


def _bisected(is_above: Callable[[np.ndarray], np.ndarray], low: ArrayLike, high: ArrayLike) -> Intervals:
    """Return the middles, lower and upper ends of tiny intervals in which what is false below becomes true."""
    low, high = (np.array(end, float) for end in np.broadcast_arrays(low, high))
    for _ in range(60):
        middle = (low + high) / 2
        above = is_above(middle)
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return (low + high) / 2, low, high


def _log_mixture(counts: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Return the logarithm of the beta-binomial mixture's likelihood of outcomes in their order."""
    from scipy import special  # late, as it takes half a second, which who only runs need not wait

    return special.betaln(PRIOR + counts, PRIOR + n - counts) - special.betaln(PRIOR, PRIOR)


def _log_likelihood(counts: np.ndarray, n: np.ndarray, p: ArrayLike) -> np.ndarray:
    """Return the logarithm of the likelihood of outcomes in their order."""
    from scipy import special

    return special.xlogy(counts, p) + special.xlog1py(n - counts, -np.asarray(p))


@np.errstate(all="ignore")
def shares(counts: ArrayLike, n: ArrayLike, level: float = 0.95) -> Intervals:
    """Return shares `counts / n` with the intervals of the beta-binomial sequence, NaN where n is 0.

    At the true share p, `B(1/2 + s, 1/2 + n - s) / (B(1/2, 1/2) p^s (1 - p)^(n - s))` is a test martingale (Robbins
    1970, Ann. Math. Statist. 41:1397).
    """
    counts, n = np.asarray(counts, float), np.asarray(n, float)
    share = counts / n
    least = _log_mixture(counts, n) + np.log(1 - level)

    # Both ends at once: below the share what is inside begins, and above it what is not.
    starts = np.stack([np.zeros_like(share), share]), np.stack([share, np.ones_like(share)])
    ends = np.array([False, True]).reshape(2, *[1] * share.ndim)
    _, low, high = _bisected(lambda p: (_log_likelihood(counts, n, p) > least) != ends, *starts)
    low, high = np.where(counts == 0, 0.0, low[0]), np.where(counts == n, 1.0, high[1])
    return share, np.where(n > 0, low, np.nan), np.where(n > 0, high, np.nan)


def share(count: int, n: int, level: float = 0.95) -> Interval:
    """Return a share with the interval of its sequence, see `shares`."""
    (estimate,), (low,), (high,) = shares([count], [n], level)
    return float(estimate), float(low), float(high)


def difference_from_stated_share(found: int, n: int, count: int, of: int, level: float = 0.95) -> Interval:
    """Return found / n - count / of, where n grows and the other is fixed: its exact interval.

    Each interval errs with half the probability with which their difference may.
    """
    (p, low, high), (q, other_low, other_high) = share(found, n, half(level)), exact_share(count, of, half(level))
    return p - q, low - other_high, high - other_low


def half(level: float) -> float:
    """Return the level at which each of two intervals errs with half the probability."""
    return (1 + level) / 2


def log_growth(values: Values, counts: np.ndarray, candidate: float) -> np.ndarray:
    """Return the logarithm of what betting each of `STAKES` that a mean is larger than a candidate has made of 1.

    The same share is bet again and again. The values are not negative, and stand for `counts` each.
    """
    gains, growth = values / candidate - 1, np.zeros(len(STAKES))
    for start in range(0, len(gains), BLOCK):
        here = slice(start, start + BLOCK)
        growth += np.log1p(np.multiply.outer(STAKES, gains[here])) @ counts[here]
    return growth


def log_capital(values: Values, counts: np.ndarray, candidate: float) -> float:
    """Return the same of capital that is spread evenly over `STAKES`, each part of which bets its own.

    At the mean, and above it, it grows no more than chance has it.
    """
    return float(np.logaddexp.reduce(log_growth(values, counts, candidate)) - np.log(len(STAKES)))


def may_exclude(
    values: Values, sizes: ArrayLike, candidate: float, least: float, most: float, level: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Return whether the interval of each number of first values may lie above a candidate, and below it.

    It costs as much as the interval of all values: who looks often need not take the interval at each look. It is true
    wherever the interval of `bounded_mean` lies so, and hardly anywhere else.
    """
    sizes = np.asarray(sizes, int)
    enough = np.log(2 / (1 - level)) - 1e-6  # the interval's ends are rounded

    def exceeds(scaled: np.ndarray, candidate: float) -> np.ndarray:
        """Return where betting that the mean is larger pays; it must for what no mean can be."""
        if not 0 < candidate < 1:
            return np.full(len(sizes), candidate <= 0)
        pieces = np.split(scaled[: sizes[-1]], sizes[:-1])
        growth = np.cumsum([log_growth(piece, np.ones(len(piece)), candidate) for piece in pieces], axis=0)
        return np.logaddexp.reduce(growth, axis=1) - np.log(len(STAKES)) >= enough

    if not len(sizes):
        return np.zeros(0, bool), np.zeros(0, bool)
    scaled, candidate = (values - least) / (most - least), (candidate - least) / (most - least)
    return exceeds(scaled, candidate), exceeds(1 - scaled, 1 - candidate)


def bounded_mean(
    values: Values, least: float, most: float, level: float = 0.95, counts: np.ndarray | None = None
) -> Interval:
    """Return the mean of values that lie between two numbers, by betting against each candidate.

    Half of the capital bets that the mean is larger, half that it is smaller (Waudby-Smith and Ramdas 2024, J. R.
    Statist. Soc. B 86:1), with a mixture of constant stakes, so that the order of the values does not matter.

    Args:
        values: Independent values.
        least: The least that a value can be.
        most: The most that it can be.
        level: Of the sequence.
        counts: For how many each value stands; one by default.

    Raises:
        ValueError: A value lies beyond the bounds.
    """
    if not len(values):
        return NO_DATA
    if np.min(values) < least or np.max(values) > most:
        raise ValueError(
            f"bounds ({least:g}, {most:g}): there are values from {np.min(values):g} to {np.max(values):g}"
        )
    if counts is None:  # what is alike is bet on once
        values, counts = np.unique(values, return_counts=True)
    scaled, counts = (np.asarray(values, float) - least) / (most - least), np.asarray(counts, float)
    mean = float(scaled @ counts / counts.sum())

    def lower(scaled: np.ndarray, mean: float) -> float:
        """Return the least candidate that is not spoken against; those near 0 are above all others."""
        enough, last = np.log(2 / (1 - level)), mean * 1e-9
        if not mean >= np.finfo(float).smallest_normal:  # a step of a 64th of what is less would be none
            return 0.0
        from scipy import optimize

        @functools.cache  # each value costs a pass through the data
        def capital(candidate: float) -> float:
            return log_capital(scaled, counts, candidate) - enough

        reach = np.sqrt(2 * enough * (scaled - mean) ** 2 @ counts) / counts.sum()  # of a normal mean
        high, low, step = mean, mean - reach, max(reach / 4, mean / 64)  # values that are alike reach nowhere
        while low > last and capital(low) < 0:
            high, low, step = low, low - step, 2 * step
        if capital(low := max(low, last)) < 0:
            return 0.0
        # In units of the mean, which may be next to nothing; at the end that is had it is spoken against no less.
        found = optimize.brentq(lambda x: capital(x * mean), low / mean, high / mean, xtol=ROUNDED)
        return max(found - 2 * ROUNDED, 0.0) * mean

    ends = mean, lower(scaled, mean), 1 - lower(1 - scaled, 1 - mean)
    estimate, low, high = (least + (most - least) * end for end in ends)
    return clipped((estimate, low, high), least, most)


@np.errstate(all="ignore")
def normal_means(means: ArrayLike, variances: ArrayLike, n: ArrayLike, level: float = 0.95) -> Intervals:
    """Return means of near normal values from these and their mean squared deviations; the ends are NaN where n < 2.

    The Bayes factor of a mean whose prior is normal, of variance g in squared standard deviations, with the right
    Haar prior on the deviation, is a test martingale (Lai 1976, Ann. Statist. 4:265; Wang and Ramdas, arXiv
    2310.03722): `(1 + n g)^(-1/2) ((1 + u) / (1 + u / (1 + n g)))^(n / 2)` with `u = t^2 / (n - 1)`.
    """
    means, variances, n = (np.asarray(a, float) for a in (means, variances, n))
    wide = 1 + n * EFFECT_VARIANCE
    ratio = (np.sqrt(wide) / (1 - level)) ** (2 / n)
    # Of few values any mean may be theirs.
    reach = np.where(ratio < wide, np.sqrt((ratio - 1) / (1 - ratio / wide) * variances), np.inf)
    reach = np.where(n > 1, reach, np.nan)
    return means, means - reach, means + reach


@np.errstate(all="ignore")
def normal_mean(values: Values, level: float = 0.95) -> Interval:
    """Return the mean of values that are near normal, whatever their deviation, see `normal_means`."""
    if not len(values):
        return NO_DATA
    if len(values) > 1 and np.ptp(values) == 0:  # see `mean_interval`
        value = float(values[0])
        return value, value, value
    values, unit = in_units(values)
    (mean,), (low,), (high,) = normal_means([np.mean(values)], [np.var(values)], [len(values)], level)
    return float(mean) * unit, float(low) * unit, float(high) * unit


@np.errstate(all="ignore")
def normal_mean_of_logs(values: Values, level: float = 0.95) -> Interval:
    """Return the geometric mean of positive numbers, whose logarithms are near normal; NaN if one is infinite."""
    mean, low, high = np.exp(normal_mean(np.log(values), level))
    return float(mean), float(low), float(high)


@functools.lru_cache(maxsize=10_000)  # claims are looked at together
def ranks(n: int, quantile: float, level: float = 0.95) -> tuple[int, int]:
    """Return the least and the most values, of n, that may lie below their distribution's quantile."""
    number, enough = np.array([float(n)]), np.log(1 - level)

    def is_allowed(count: int) -> bool:
        below = np.array([float(count)])
        return bool(_log_likelihood(below, number, quantile) > _log_mixture(below, number) + enough)

    likely = round(n * quantile)  # the mixture has least against it, and the more the farther one goes from it
    fewest = bisect.bisect_left(range(likely), True, key=is_allowed)
    return fewest, bisect.bisect_left(range(likely, n), True, key=lambda count: not is_allowed(count + 1)) + likely


def order_statistics(values: Values, quantile: float = 0.5, level: float = 0.95) -> Interval:
    """Return a quantile, between the order statistics that the share of values below it allows.

    That share is an outcome's, whose sequence is that of `shares`; so it holds for every distribution.
    """
    if not (n := len(values)):
        return NO_DATA
    fewest, most = ranks(n, quantile, level)
    ordered = np.partition(values, [max(fewest - 1, 0), min(most, n - 1)])
    low = ordered[fewest - 1] if fewest else -np.inf
    high = ordered[most] if most < n else np.inf
    return quantile_within(values, quantile, float(low), float(high))


def quantile_difference(first: Values, second: Values, quantile: float, level: float = 0.95) -> Interval:
    """Return the difference of quantiles, each of whose intervals errs with half the probability."""
    (a, low, high), (b, other_low, other_high) = (
        order_statistics(values, quantile, half(level)) for values in (first, second)
    )
    return a - b, low - other_high, high - other_low
