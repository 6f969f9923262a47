"""Closed forms that the studies are held against."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from scipy import optimize, special

Numbers = float | np.ndarray
Elementwise = Callable[[np.ndarray], np.ndarray]


def born_dead_bounds(depth: int, width: int) -> tuple[float, float]:
    """Bound the probability that a ReLU network with one input is dead at initialization.

    Zero biases, independent weights from any symmetric continuous distribution. The upper bound is
    the probability that a fixed input is lost; the lower one follows the inputs +1 and -1, which
    decide the rest (Lu, Shin, Su and Karniadakis 2020, arXiv 1903.06733). `depth` is the number of
    hidden layers, at least 1.
    """
    n = float(width)
    one_alive, both_alive = 1 - 2**-n, 1 - 2 ** (1 - n) - (n - 1) * 4**-n
    c = (1 - 2 ** (1 - n)) * (1 - 2**-n) / (1 + (n - 1) * 2**-n)
    powers = one_alive ** (depth - 1), both_alive ** (depth - 1)
    return max(0.0, 1 - powers[0] + c * (powers[1] - powers[0])), 1 - one_alive**depth


def born_dead_two_layers(width: int) -> float:
    """Return the exact probability for two hidden layers, under the same assumptions.

    A unit of the first layer is on at one of x = +-1; where any is on, the second layer is off with probability
    2^-width, and else always. The sum over which are on is taken term by term in `tests/test_theory.py`.
    """
    return (1 - 2.0 ** (1 - width)) * 4.0**-width + 2 * 4.0**-width


def safe_width(depth: Numbers, probability: float) -> Numbers:
    """Return the width from which P(born dead) <= depth * 2^-width, a union bound, is that small."""
    return np.log2(np.asarray(depth) / probability)


def half_square_accuracy(w1: ArrayLike, w2: ArrayLike) -> Array:
    """Return the exact accuracy of the prediction +1 where w1 x1 + w2 x2 >= 0, else -1.

    Points are uniform in the unit square and of class +1 where x1 > x2: that is what W = (1, -1) predicts.
    """
    return 1 - half_square_flips(w1, w2, 1.0, -1.0)


def half_square_flips(w1: ArrayLike, w2: ArrayLike, v1: ArrayLike, v2: ArrayLike) -> Array:
    """Return the exact share of the unit square of which W and V predict different classes.

    Both predict as in `half_square_accuracy`. The boundary of W meets the square in a line x2 = t x1 with t = -w1/w2,
    which has an area of t/2 below it for t <= 1 and of 1 - 1/(2t) for t > 1. Where the weights of both have the same
    signs, the classes differ between the two lines, and where the signs are opposite, outside of them. If both weights
    have one sign, or one or both are 0, one class is predicted almost everywhere: all of the square lies below.
    """
    (below, area), (other_below, other_area) = _halves(w1, w2), _halves(v1, v2)
    between = jnp.abs(area - other_area)
    return jnp.where(below == other_below, between, 1 - between)


def _halves(w1: ArrayLike, w2: ArrayLike) -> tuple[Array, Array]:
    """Return whether W predicts +1 below its boundary, and the area there: NaN for weights whose ratio is none."""
    w1, w2 = jnp.asarray(w1), jnp.asarray(w2)
    p, q = jnp.abs(w1), jnp.abs(w2)
    half = jnp.minimum(p, q) / jnp.where(jnp.maximum(p, q) > 0, jnp.maximum(p, q), 1) / 2
    one_class = jnp.where(jnp.isnan(half), jnp.nan, 1.0)
    area = jnp.where(w1 * w2 < 0, jnp.where(p > q, 1 - half, half), one_class)
    return jnp.where(w1 * w2 < 0, w1 > 0, w1 + w2 >= 0), area


def threshold_error(num_train: Numbers, share: float) -> Numbers:
    """Return the error, to leading order, of a consistent threshold in one dimension.

    The threshold is learned from points uniform around it. `share` is 1/2 in the middle of the
    version space, 2/3 for a consistent threshold drawn at random, and 1 at an end.
    """
    return share / (np.asarray(num_train) + 1)


def bayes_point_error(num_train: Numbers) -> Numbers:
    """Return the exact expected error of the middle of the version space in the half square.

    With points uniform on [-1/2, 1/2] and the true threshold at 0, let a and b be the distances
    from 0 to the next point, or the end of the interval, on either side. P(a > x and b > y) is
    (1 - x - y)^n, so E|a - b| / 2 = E a - E min(a, b) = (1 - 2^-n) / (2 (n + 1)).
    """
    n = np.asarray(num_train, dtype=float)
    return (1 - 2.0**-n) / (2 * (n + 1))


def novikoff_bound(radius: Numbers, gamma: Numbers, margin: float = 0.0, learning_rate: float = 1.0) -> Numbers:
    """Bound the updates of sequential subgradient steps from W = 0 on separable points.

    An update at y W.x <= margin adds at least learning_rate * gamma to the component of W along
    the best separator, and at most learning_rate^2 radius^2 + 2 learning_rate margin to |W|^2.
    With margin 0 this is Novikoff's (1962) bound for the perceptron, (radius / gamma)^2. `radius` is
    the largest norm of a point, `gamma` the largest margin of a unit vector over the points.
    """
    return (radius**2 + 2 * margin / learning_rate) / gamma**2


NODES, WEIGHTS = special.roots_hermitenorm(256)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


def gaussian_mean(function: Elementwise, variance: Numbers) -> Numbers:
    """Return E[function(x)] for x ~ N(0, variance), by 256-point Gauss-Hermite quadrature."""
    points = np.sqrt(np.asarray(variance, float))[..., None] * NODES
    return np.asarray(function(points), float) @ WEIGHTS


def variance_map(activation: Elementwise, q: Numbers, weight_variance: Numbers, bias_variance: float = 0.0) -> Numbers:
    """Return the variance of a layer's pre-activations where that of the layer before is q.

    In the limit of infinite width (Poole et al. 2016; Schoenholz et al. 2017, arXiv 1611.01232).
    `weight_variance` is sigma_w^2, the number of inputs times the variance of a weight.
    """
    return weight_variance * gaussian_mean(lambda z: activation(z) ** 2, q) + bias_variance


def gradient_factor(derivative: Elementwise, q: Numbers, weight_variance: Numbers) -> Numbers:
    """Return chi: the factor by which squared gradients grow on their way back by one layer."""
    return weight_variance * gaussian_mean(lambda z: derivative(z) ** 2, q)


def fixed_point(activation: Elementwise, weight_variance: float, bias_variance: float = 0.0) -> float:
    """Return the largest stable fixed point q* of the variance map: infinity if it diverges.

    Where 0 is the only fixed point it is 0. For ReLU at sigma_w^2 = 2 without bias, where every
    variance is one, it is not determined, and NaN.
    """

    def excess(log_q):
        return variance_map(activation, np.exp(log_q), weight_variance, bias_variance) / np.exp(log_q) - 1

    grid = np.linspace(np.log(1e6), np.log(1e-9), 200)
    values = excess(grid)
    if np.all(np.abs(values) < 1e-6):
        return np.nan
    if values[0] > 0:
        return np.inf
    above = np.flatnonzero(values > 0)
    if not len(above):
        return 0.0
    return float(np.exp(optimize.brentq(excess, grid[above[0]], grid[above[0] - 1], xtol=1e-12)))


def depth_scale(chi: Numbers) -> Numbers:
    """Return the number of layers over which squared gradients change by a factor of e."""
    with np.errstate(divide="ignore"):
        return 1 / np.abs(np.log(np.asarray(chi, float)))


def correlated_mean(function: Elementwise, variance: float, correlation: float) -> float:
    """Return E[function(x) function(y)] for x and y ~ N(0, variance) of some correlation, by quadrature."""
    x, y = NODES[:, None], correlation * NODES[:, None] + np.sqrt(1 - correlation**2) * NODES
    values = [np.asarray(function(np.sqrt(variance) * z), float) for z in (x, y)]
    return float(WEIGHTS @ (values[0] * values[1]) @ WEIGHTS)


def correlation_depth_scale(
    activation: Elementwise,
    derivative: Elementwise,
    weight_variance: float,
    bias_variance: float = 0.0,
    keep: float = 1.0,
) -> float:
    """Return the number of layers over which the correlation of two inputs nears its fixed point by a factor of e.

    It is 1 / |log chi| with chi the slope of the map of correlations from layer to layer at its stable fixed point: 1
    in the ordered phase, below it in the chaotic one, and with dropout, which keeps a share `keep` of the units, always
    below it, as the two inputs are dropped apart (Schoenholz et al. 2017, arXiv 1611.01232). The variance of the
    pre-activations must have a finite fixed point.
    """
    q = fixed_point(activation, weight_variance / keep, bias_variance)
    if q == 0:  # all is lost, at the rate of the linear part
        return float(depth_scale(gradient_factor(derivative, 0.0, weight_variance)))

    def excess(correlation):
        mean = correlated_mean(activation, q, correlation)
        return (weight_variance * mean + bias_variance) / q - correlation

    highest = 1 - 1e-5
    # At 0 it is never below 0, but by rounding, as for an odd activation without a bias.
    fixed = 1.0 if excess(highest) >= 0 else 0.0 if excess(0.0) <= 0 else optimize.brentq(excess, 0.0, highest)
    return float(depth_scale(weight_variance * correlated_mean(derivative, q, fixed)))
