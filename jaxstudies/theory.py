"""Closed forms that the studies are held against."""

import numpy as np


def born_dead_bounds(depth: int, width: int) -> tuple[float, float]:
    """Bound the probability that a ReLU network with one input is dead at initialization.

    Zero biases, independent weights from any symmetric continuous distribution. The upper bound is
    the probability that a fixed input is lost; the lower one follows the inputs +1 and -1, which
    decide the rest (Lu, Shin, Su and Karniadakis 2020, arXiv 1903.06733).

    Args:
        depth: Number of hidden layers, at least 1.
        width: Units per hidden layer, at least 1.
    """
    n = float(width)
    one_alive = 1 - 2**-n
    both_alive = 1 - 2 ** (1 - n) - (n - 1) * 4**-n
    c = (1 - 2 ** (1 - n)) * (1 - 2**-n) / (1 + (n - 1) * 2**-n)
    powers = one_alive ** (depth - 1), both_alive ** (depth - 1)
    return max(0.0, 1 - powers[0] + c * (powers[1] - powers[0])), 1 - one_alive**depth


def born_dead_upper(depth: int, width: int) -> float:
    """Return the probability that one fixed input is lost; no network is dead more often."""
    return 1 - (1 - 2.0**-width) ** depth


def born_dead_two_layers(width: int) -> float:
    """Return the exact probability for two hidden layers, under the same assumptions."""
    return (1 - 2.0 ** (1 - width)) * 4.0**-width + 2 * 4.0**-width


def safe_width(depth: float | np.ndarray, probability: float) -> float | np.ndarray:
    """Return the width from which a network is born dead with at most that probability.

    From the union bound: P(born dead) <= depth * 2^-width.
    """
    return np.log2(np.asarray(depth) / probability)


def unit_dead_normal(interval: float) -> float:
    """Return P(a first-layer unit is dead) for weight and bias N(0, s^2), inputs in +-interval."""
    return float(np.arctan(1 / interval) / np.pi)


def unit_dead_uniform(interval: float) -> float:
    """Return the same for weight and bias U(-a, a) with any a, and an interval of at least 1."""
    return 1 / (4 * interval)
