"""What is estimated from effects by seed, and by which interval: of a fixed n, or at every n at once."""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from jaxstudies.errors import StudyError
from jaxstudies.evidence import intervals, sequences
from jaxstudies.evidence.intervals import Interval

LEAST = 3
"""Values below which there is no verdict."""
LEAST_NORMAL, LEAST_SKEWED = 5, 30
"""Values from which on a t interval is used: near normal ones, and any."""


class Method(NamedTuple):
    """An interval: its words, what it takes of the effects, and from how many values on it is near nominal."""

    words: str
    take: Callable[[pd.DataFrame], list]
    interval: Callable[..., Interval]
    """Takes that, arguments of a claim by name, and a level."""
    least: int = LEAST
    may_exclude: Callable[..., tuple[np.ndarray, np.ndarray]] | None = None
    """Of a sequence whose intervals take long: see `sequences.may_exclude`."""


class Estimand(NamedTuple):
    """What is estimated from effects by seed."""

    fixed: Callable[[Mapping], Method]
    """Returns the interval of a fixed n that a claim's record asks for."""
    sequence: Callable[[Mapping], Method | None]
    """Returns the interval that holds at every n, or None if there is none for such values."""
    columns: tuple[str, ...] = ("value",)
    """Of effects, which it is taken from."""
    arguments: Mapping[str, tuple[float, float]] = MappingProxyType({})
    """That a claim must give, by name, with the least and the most that each may be."""
    possible: tuple[float, float] = (-np.inf, np.inf)
    """What the quantity can be, whatever the values."""


def counts_of(effects: pd.DataFrame) -> np.ndarray:
    """Return for how many seeds each row stands."""
    # Beside claims whose rows are counted, those of others have no count.
    return effects.get("count", pd.Series(1, effects.index)).fillna(1).to_numpy(int)


def outcomes(effects: pd.DataFrame, allowed: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return counts and values; raise StudyError if these are no outcomes, whose share would be 0."""
    values = effects["value"].to_numpy(float)
    if not np.isin(values, allowed).all():
        raise StudyError(f"a share is of outcomes: truth values, or numbers among {allowed}")
    return counts_of(effects), values


def hits(effects: pd.DataFrame) -> list[int]:
    """Return how many outcomes are 1, and how many there are."""
    counts, values = outcomes(effects, (0, 1))
    return [int(counts[values == 1].sum()), int(counts.sum())]


def signs(effects: pd.DataFrame) -> list[int]:
    """Return how many differences of outcomes are positive, how many negative, how many there are."""
    counts, values = outcomes(effects, (-1, 0, 1))
    return [int(counts[values > 0].sum()), int(counts[values < 0].sum()), int(counts.sum())]


def numbers(*names: str) -> Callable[[pd.DataFrame], list[np.ndarray]]:
    """Return what takes columns; it raises StudyError if a row stands for several values."""

    def take(effects: pd.DataFrame) -> list[np.ndarray]:
        if (counts_of(effects) != 1).any():
            raise StudyError("rows that are counted are of outcomes: each number needs a row of its own")
        return [effects[name].to_numpy(float) for name in names]

    return take


def positive(effects: pd.DataFrame) -> list[np.ndarray]:
    """Return the values; raise StudyError if they have no logarithm."""
    (values,) = numbers("value")(effects)
    if (values <= 0).any():
        raise StudyError(f"a geometric mean is of positive numbers, and {values[values <= 0][0]:g} is among them")
    return [values]


def difference_by_betting(only_first: int, only_second: int, n: int, level: float) -> Interval:
    """Return the difference of two outcomes' shares in pairs, given the pairs with only one of them."""
    if n == 0:
        return intervals.NO_DATA
    counts = np.array([only_first, only_second, n - only_first - only_second])
    return sequences.bounded_mean(np.array([1.0, -1.0, 0.0]), -1.0, 1.0, level, counts)


def t_interval(record: Mapping, words: str, take: Callable, interval: Callable[..., Interval]) -> Method:
    """Return a t interval, which takes fewer values where they are near normal."""
    return Method(words, take, interval, LEAST_NORMAL if record["near_normal"] else LEAST_SKEWED)


def sequence_of_mean(record: Mapping) -> Method | None:
    """Return the sequence for a mean: of values that are near normal, or bounded; of others none is known."""
    if record["near_normal"]:
        return Method("mean, t sequence", numbers("value"), sequences.normal_mean)
    if record["bounds"] is None:
        return None
    least, most = record["bounds"]
    bounds = {"least": least, "most": most}
    betting, may_exclude = partial(sequences.bounded_mean, **bounds), partial(sequences.may_exclude, **bounds)
    words = "mean of bounded values, betting sequence"
    return Method(words, numbers("value"), betting, may_exclude=may_exclude)


def sequence_of_logs(record: Mapping) -> Method | None:
    """Return the sequence for a geometric mean."""
    if not record["near_normal"]:
        return None
    return Method("geometric mean, t sequence of the logarithms", positive, sequences.normal_mean_of_logs)


def always(*method: Any) -> Callable[[Mapping], Method]:
    """Return what answers the same for all claims."""
    return lambda record: Method(*method)


ESTIMANDS = {
    "mean": Estimand(
        lambda record: t_interval(record, "mean, t interval", numbers("value"), intervals.mean_interval),
        sequence_of_mean,
    ),
    "geometric_mean": Estimand(
        lambda record: t_interval(
            record, "geometric mean, t interval of the logarithms", positive, intervals.geometric_mean
        ),
        sequence_of_logs,
        possible=(0.0, np.inf),
    ),
    "median": Estimand(
        always(
            "median, interval of order statistics",
            numbers("value"),
            partial(intervals.order_statistics, quantile=0.5),
            6,
        ),
        always(
            "median, sequence of order statistics", numbers("value"), partial(sequences.order_statistics, quantile=0.5)
        ),
    ),
    "quantile": Estimand(
        always("quantile, interval of order statistics", numbers("value"), intervals.order_statistics),
        always("quantile, sequence of order statistics", numbers("value"), sequences.order_statistics),
        arguments={"quantile": (0, 1)},
    ),
    "share": Estimand(
        always("share, Clopper-Pearson interval", hits, intervals.exact_share),
        always("share, beta-binomial sequence", hits, sequences.share),
        possible=(0.0, 1.0),
    ),
    "share_difference": Estimand(
        always("paired difference of shares, from exact intervals", signs, intervals.paired_difference_of_shares, 20),
        always("paired difference of shares, betting sequence", signs, difference_by_betting),
        possible=(-1.0, 1.0),
    ),
    "share_against": Estimand(
        always("difference from a stated share, from exact intervals", hits, intervals.difference_of_shares, 20),
        always(
            "difference from a stated share, beta-binomial sequence less an exact interval",
            hits,
            sequences.difference_from_stated_share,
        ),
        arguments={"count": (0, np.inf), "of": (1, np.inf)},
        possible=(-1.0, 1.0),
    ),
    "quantile_difference": Estimand(
        always(
            "difference of quantiles, two intervals of order statistics",
            numbers("value", "other"),
            intervals.quantile_difference,
        ),
        always(
            "difference of quantiles, two sequences of order statistics",
            numbers("value", "other"),
            sequences.quantile_difference,
        ),
        ("value", "other"),
        {"quantile": (0, 1)},
    ),
}
