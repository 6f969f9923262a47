"""Intervals: from arrays to numbers. Every interval is at 95 % unless another level is given."""

import math

import numpy as np
from scipy import stats

Interval = tuple[float, float, float]
"""An estimate with the lower and upper end of its interval; all NaN where there are no data."""

NO_DATA: Interval = (np.nan, np.nan, np.nan)


def wilson(count: int, n: int, level: float = 0.95) -> Interval:
    """Return a share with its Wilson score interval (Wilson 1927)."""
    if n == 0:
        return NO_DATA
    ci = stats.binomtest(int(count), int(n)).proportion_ci(level, method="wilson")
    return count / n, float(ci.low), float(ci.high)


def difference_of_shares(
    count: int, n: int, other_count: int, other_n: int, level: float = 0.95
) -> Interval:
    """Return the difference of two independent shares, interval by Newcombe (1998), method 10."""
    if n == 0 or other_n == 0:
        return NO_DATA
    p, low, high = wilson(count, n, level)
    q, other_low, other_high = wilson(other_count, other_n, level)
    down = np.hypot(p - low, other_high - q)
    up = np.hypot(high - p, q - other_low)
    return p - q, float(p - q - down), float(p - q + up)


def paired_difference_of_shares(
    only_first: int, only_second: int, n: int, level: float = 0.95
) -> Interval:
    """Return the difference of the shares of two outcomes in n pairs, given the discordant pairs.

    The interval is that of Agresti and Min (2005): Wald's, after half a pair is added to each cell
    of the two-by-two table.

    Args:
        only_first: Pairs with the first outcome and not the second.
        only_second: Pairs with the second outcome and not the first.
        n: Pairs.
        level: Confidence level.
    """
    if n == 0:
        return NO_DATA
    gain, loss, total = only_first + 0.5, only_second + 0.5, n + 2
    center = (gain - loss) / total
    error = math.sqrt(gain + loss - (gain - loss) ** 2 / total) / total
    half = float(stats.norm.ppf((1 + level) / 2)) * error
    # Unlike the difference, the interval may go beyond what shares can differ by.
    return (only_first - only_second) / n, max(center - half, -1.0), min(center + half, 1.0)


def mean_interval(values: np.ndarray, level: float = 0.95) -> Interval:
    """Return a mean with Student's t interval; with fewer than two values the ends are NaN."""
    n = len(values)
    if n == 0:
        return NO_DATA
    mean = float(np.mean(values))
    if n == 1:
        return mean, np.nan, np.nan
    half = stats.t.ppf((1 + level) / 2, n - 1) * np.std(values, ddof=1) / np.sqrt(n)
    return mean, float(mean - half), float(mean + half)


def mean_intervals(values: np.ndarray, level: float = 0.95) -> np.ndarray:
    """Return means over the first axis and the ends of their intervals, shape (3, columns)."""
    return np.array([mean_interval(column, level) for column in values.T]).T


def slope(x: np.ndarray, y: np.ndarray) -> tuple[float, float, int]:
    """Return the least-squares slope of y on x, its standard error and degrees of freedom.

    With fewer than three points, or x all equal, slope and error are NaN and there are none.
    """
    if len(x) < 3 or np.ptp(x) == 0:
        return np.nan, np.nan, 0
    fit = stats.linregress(x, y)
    return float(fit.slope), float(fit.stderr), len(x) - 2


def difference_of_slopes(
    x: np.ndarray, y: np.ndarray, other_x: np.ndarray, other_y: np.ndarray, level: float = 0.95
) -> Interval:
    """Return the slope of y on x minus that of the other points, with Welch's t interval."""
    (a, error, df), (b, other_error, other_df) = slope(x, y), slope(other_x, other_y)
    variance = error**2 + other_error**2
    if min(df, other_df) < 1 or not variance > 0:
        return NO_DATA
    welch = variance**2 / (error**4 / df + other_error**4 / other_df)
    half = float(stats.t.ppf((1 + level) / 2, welch) * np.sqrt(variance))
    return a - b, a - b - half, a - b + half
