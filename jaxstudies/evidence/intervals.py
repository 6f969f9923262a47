"""Intervals: from arrays to numbers. Every interval is at 95 % unless another level is given."""

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

Interval = tuple[float, float, float]
"""An estimate with the lower and upper end of its interval; all NaN where there are no data."""

Intervals = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Estimates with the lower and upper ends of their intervals."""
Values = np.ndarray

NO_DATA: Interval = (np.nan, np.nan, np.nan)


def t_quantile(degrees: ArrayLike, probability: float) -> np.ndarray:
    """Return quantiles of Student's t distribution."""
    from scipy import special  # late, as it takes half a second, which who only runs need not wait

    return np.asarray(special.stdtrit(degrees, probability))


def wilson_intervals(counts: ArrayLike, n: ArrayLike, level: float = 0.95) -> Intervals:
    """Return shares `counts / n` with their Wilson score intervals (Wilson 1927), NaN where n is 0."""
    counts, n = np.asarray(counts, float), np.asarray(n, float)
    z2 = NormalDist().inv_cdf((1 + level) / 2) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        share = counts / n
        center = (share + z2 / (2 * n)) / (1 + z2 / n)
        half = np.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n**2))) / (1 + z2 / n)
        # At the ends rounding would leave the interval just short of what it must contain.
        low = np.where((counts == 0) & (n > 0), 0.0, center - half)
        high = np.where((counts == n) & (n > 0), 1.0, center + half)
    return share, low, high


def wilson(count: int, n: int, level: float = 0.95) -> Interval:
    """Return a share with its Wilson score interval."""
    (share,), (low,), (high,) = wilson_intervals([count], [n], level)
    return float(share), float(low), float(high)


def clipped(interval: Interval, least: float, most: float) -> Interval:
    """Return an interval that does not leave what its quantity can be."""
    estimate, low, high = interval
    return estimate, float(np.clip(low, least, most)), float(np.clip(high, least, most))


def exact_share(count: int, n: int, level: float = 0.95) -> Interval:
    """Return a share with its exact interval (Clopper and Pearson 1934), which errs at no share more than it may."""
    from scipy import special

    if n == 0:
        return NO_DATA
    tail = (1 - level) / 2
    low = special.betaincinv(count, n - count + 1, tail) if count else 0.0
    high = special.betaincinv(count + 1, n - count, 1 - tail) if count < n else 1.0
    return count / n, float(low), float(high)


def order_statistics(values: Values, quantile: float = 0.5, level: float = 0.95) -> Interval:
    """Return a quantile with the interval of the order statistics, which holds for every distribution."""
    from scipy import special

    n = len(values)
    if not n:
        return NO_DATA
    below = special.bdtr(np.arange(n + 1), n, quantile)  # that at most so many values lie below it
    tail = (1 - level) / 2
    first = int(np.searchsorted(below, tail, side="right"))  # fewer are rare enough
    last = int(np.searchsorted(below, 1 - tail, side="left")) + 1
    ordered = np.concatenate([[-np.inf], np.sort(values), [np.inf]])
    return float(np.quantile(values, quantile)), float(ordered[first]), float(ordered[last])


def difference_of_shares(found: int, n: int, count: int, of: int, level: float = 0.95) -> Interval:
    """Return found / n - count / of, two independent shares; interval by Newcombe (1998), method 10."""
    p, low, high = wilson(found, n, level)
    q, other_low, other_high = wilson(count, of, level)
    down, up = np.hypot(p - low, other_high - q), np.hypot(high - p, q - other_low)
    return p - q, float(p - q - down), float(p - q + up)


def paired_difference_of_shares(only_first: int, only_second: int, n: int, level: float = 0.95) -> Interval:
    """Return the difference of the shares of two outcomes in n pairs, given the pairs with only one of them.

    The interval is that of Agresti and Min (2005): Wald's, after half a pair is added to each cell
    of the two-by-two table.
    """
    if n == 0:
        return NO_DATA
    gain, loss, total = only_first + 0.5, only_second + 0.5, n + 2
    center = (gain - loss) / total
    error = math.sqrt(gain + loss - (gain - loss) ** 2 / total) / total
    half = NormalDist().inv_cdf((1 + level) / 2) * error
    # Unlike the difference, the interval may go beyond what shares can differ by.
    return (only_first - only_second) / n, max(center - half, -1.0), min(center + half, 1.0)


@np.errstate(all="ignore")  # what overflows is infinite, and its interval NaN
def mean_interval(values: Values, level: float = 0.95) -> Interval:
    """Return a mean with Student's t interval; with fewer than two values the ends are NaN."""
    if len(values) < 2:
        return float(values[0]) if len(values) else np.nan, np.nan, np.nan
    moments = [np.mean(values)], [np.std(values, ddof=1)], [len(values)]
    (mean,), (low,), (high,) = t_intervals(*moments, level)
    return float(mean), float(low), float(high)


def mean_intervals(values: Values, level: float = 0.95) -> np.ndarray:
    """Return means over the first axis and the ends of their intervals, shape (3, columns)."""
    return np.array([mean_interval(column, level) for column in values.T]).reshape(-1, 3).T


@np.errstate(all="ignore")
def geometric_mean(values: Values, level: float = 0.95) -> Interval:
    """Return the geometric mean of the positive finite numbers, with Student's t interval of the logs."""
    logs = np.log(values)
    mean, low, high = np.exp(mean_interval(logs[np.isfinite(logs)], level))
    return float(mean), float(low), float(high)


@np.errstate(all="ignore")
def quantile_difference(first: Values, second: Values, quantile: float, level: float = 0.95) -> Interval:
    """Return the difference of quantiles of paired values, with the percentile bootstrap of 200 resamples."""
    if (n := len(first)) < 2:
        return NO_DATA
    orders, below = [np.argsort(values) for values in (first, second)], int((n - 1) * quantile)

    def difference(counts):
        # Sorting once and counting how often each value was drawn is three times as fast as sorting each resample.
        ends = []
        for values, order in zip((first, second), orders, strict=True):
            ranks = np.searchsorted(np.cumsum(counts[order]), [below, min(below + 1, n - 1)], side="right")
            ends.append(np.interp((n - 1) * quantile - below, [0, 1], values[order[ranks]]))
        return ends[0] - ends[1]

    rng = np.random.default_rng(0)
    resampled = [difference(np.bincount(rng.integers(n, size=n), minlength=n)) for _ in range(200)]
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    return float(difference(np.ones(n, int))), float(low), float(high)


@np.errstate(all="ignore")
def slope(x: Values, y: Values) -> tuple[float, float, int]:
    """Return the least-squares slope of y on x, its standard error and degrees of freedom."""
    unknown = np.nan, np.nan, 0
    if len(x) < 3 or not np.isfinite((x, y)).all() or np.ptp(x) == 0:
        return unknown
    try:
        (steepness, _), covariance = np.polyfit(x, y, 1, cov=True)
    except np.linalg.LinAlgError:  # the numbers are too large for their squares
        return unknown
    return float(steepness), math.sqrt(covariance[0, 0]), len(x) - 2


def difference_of_slopes(x: Values, y: Values, other_x: Values, other_y: Values, level: float = 0.95) -> Interval:
    """Return the slope of y on x minus that of the other points, with Welch's t interval."""
    (a, error, df), (b, other_error, other_df) = slope(x, y), slope(other_x, other_y)
    variance = error**2 + other_error**2
    if min(df, other_df) < 1 or not variance > 0:
        return NO_DATA
    welch = variance**2 / (error**4 / df + other_error**4 / other_df)
    half = float(t_quantile(welch, (1 + level) / 2) * np.sqrt(variance))
    return a - b, a - b - half, a - b + half


def t_intervals(means: ArrayLike, deviations: ArrayLike, n: ArrayLike, level: float = 0.95) -> Intervals:
    """Return means with Student's t intervals from standard deviations; the ends are NaN where n < 2."""
    means, deviations, n = (np.asarray(a, float) for a in (means, deviations, n))
    with np.errstate(all="ignore"):
        half = t_quantile(np.where(n > 1, n - 1, np.nan), (1 + level) / 2) * deviations / np.sqrt(n)
        return means, means - half, means + half
