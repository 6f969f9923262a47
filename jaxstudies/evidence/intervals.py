"""Intervals: from arrays to numbers. Every interval is at 95 % unless another level is given."""

import math
from functools import lru_cache
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
    low, high = (min(max(end, least), most) for end in (low, high))  # NaN stays, since it comes first
    return estimate, float(low), float(high)


@lru_cache(2**16)  # a page of verdicts asks for the same at many levels, of claims that are alike
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
    return quantile_within(values, quantile, float(ordered[first]), float(ordered[last]))


def quantile_within(values: Values, quantile: float, low: float, high: float) -> Interval:
    """Return a quantile of values, which may be infinite, with its interval, in which it lies."""
    lower, upper = (float(np.quantile(values, quantile, method=how)) for how in ("lower", "higher"))
    if lower == upper or not np.isfinite([lower, upper]).all():  # between infinity and a number lies infinity
        middle = lower if lower == upper else lower + upper
    else:
        middle = float(np.quantile(values, quantile))
    return min(max(middle, low), high), low, high


def difference(first: Interval, second: Interval, opposed: float = 0.0) -> Interval:
    """Return the difference of two quantities from their intervals, whose reaches are squared and added.

    That is method 10 of Newcombe (1998, Statist. Med. 17:873) for any intervals (Zou and Donner 2008, Statist. Med.
    27:1693); `opposed` is the correlation of the two estimates with its sign turned.
    """
    (p, low, high), (q, other_low, other_high) = first, second
    down, up = _added(p - low, other_high - q, opposed), _added(high - p, q - other_low, opposed)
    return p - q, p - q - down, p - q + up


def _added(one: float, other: float, opposed: float) -> float:
    return math.sqrt(one**2 + other**2 + 2 * opposed * one * other)


def difference_of_shares(found: int, n: int, count: int, of: int, level: float = 0.95) -> Interval:
    """Return found / n - count / of, two independent shares, from their exact intervals.

    Where one share is next to 0 and the other next to 1 it holds the truth more rarely than it says: of 100 and 100,
    with shares .003 and .997, with 92.7 % for 95 %, and with 98.2 % for 99.9 %.
    """
    if n == 0:
        return NO_DATA
    return difference(exact_share(found, n, level), exact_share(count, of, level))


def paired_difference_of_shares(only_first: int, only_second: int, n: int, level: float = 0.95) -> Interval:
    """Return the difference of the shares of two outcomes in n pairs, given the pairs with only one of them.

    It comes from the exact intervals of both. Pairs of the one kind are none of the other: the correlation of the two
    shares is `-sqrt(p q / ((1 - p) (1 - q)))`, which is -1 where every pair is of one or the other.
    """
    if n == 0:
        return NO_DATA
    misses = (n - only_first) * (n - only_second)
    opposed = math.sqrt(only_first * only_second / misses) if misses else 1.0
    first, second = (exact_share(count, n, level) for count in (only_first, only_second))
    return clipped(difference(first, second, opposed), -1.0, 1.0)


SMALLEST_SQUARED = 1e-140
"""Above it squares, and differences in the last of their digits squared, are numbers."""


@np.errstate(all="ignore")  # what overflows is infinite, and its interval NaN
def mean_interval(values: Values, level: float = 0.95) -> Interval:
    """Return a mean with Student's t interval; with fewer than two values the ends are NaN."""
    if len(values) < 2:
        return float(values[0]) if len(values) else np.nan, np.nan, np.nan
    if np.ptp(values) == 0:  # the mean of equal numbers is off by rounding, and so is their deviation from 0
        value = float(values[0])
        return value, value, value
    values, unit = in_units(values)
    moments = [np.mean(values)], [np.std(values, ddof=1)], [len(values)]
    (mean,), (low,), (high,) = t_intervals(*moments, level)
    return float(mean) * unit, float(low) * unit, float(high) * unit


def in_units(values: Values) -> tuple[Values, float]:
    """Return values in units of the largest, and this, where their squares would be 0; else the values and 1."""
    largest = float(np.max(np.abs(values)))
    return (values / largest, largest) if 0 < largest < SMALLEST_SQUARED else (values, 1.0)


def mean_intervals(values: Values, level: float = 0.95) -> np.ndarray:
    """Return means over the first axis and the ends of their intervals, shape (3, columns)."""
    return np.array([mean_interval(column, level) for column in values.T]).reshape(-1, 3).T


@np.errstate(all="ignore")
def geometric_mean(values: Values, level: float = 0.95) -> Interval:
    """Return the geometric mean of positive numbers, with Student's t interval of the logs; NaN if one is infinite."""
    mean, low, high = np.exp(mean_interval(np.log(values), level))
    return float(mean), float(low), float(high)


def quantile_difference(first: Values, second: Values, quantile: float, level: float = 0.95) -> Interval:
    """Return the difference of quantiles, each of whose intervals errs with half the probability."""
    (a, low, high), (b, other_low, other_high) = (
        order_statistics(values, quantile, (1 + level) / 2) for values in (first, second)
    )
    return a - b, low - other_high, high - other_low


def t_intervals(means: ArrayLike, deviations: ArrayLike, n: ArrayLike, level: float = 0.95) -> Intervals:
    """Return means with Student's t intervals from standard deviations; the ends are NaN where n < 2."""
    means, deviations, n = (np.asarray(a, float) for a in (means, deviations, n))
    with np.errstate(all="ignore"):
        half = t_quantile(np.where(n > 1, n - 1, np.nan), (1 + level) / 2) * deviations / np.sqrt(n)
        return means, means - half, means + half
