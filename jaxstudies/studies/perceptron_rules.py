"""Rules that learn a line through the origin from labeled points of the half square.

Points are handed on as signed points y x: a weight vector W classifies a point rightly if
W.(y x) > 0. Only the first `num_train` points count, so that training sets of all sizes share one
compiled program.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Bool, Float, Int

BISECTIONS = 30
"""Halvings of an angle of pi, down to the resolution of float32."""


class Trained(NamedTuple):
    """Learners after each budget of epochs.

    `averages` are sums of the weights over all steps up to the first epoch without an update:
    averages up to a factor, which predictions do not depend on. `converged` says whether the last
    epoch had no update, after which nothing changes any more.
    """

    weights: Float[Array, "budgets 2 learners sets *batch"]
    averages: Float[Array, "budgets 2 learners sets *batch"]
    updates: Int[Array, "budgets learners sets *batch"]
    converged: Bool[Array, "budgets learners sets *batch"]


class _State(NamedTuple):
    weights: tuple[Array, Array]
    sums: tuple[Array, Array]
    updates: Array
    last: Array


def _train(signed, num_train, learning_rates, margins, epochs) -> Trained:
    """Train on arrays whose trailing axes, after that of the sets, are batch axes."""
    shape = (learning_rates.shape[0], *signed.shape[2:])
    rates, margins = (a.reshape(-1, *[1] * (len(shape) - 1)) for a in (learning_rates, margins))
    zeros, none = jnp.zeros(shape), jnp.zeros(shape, jnp.int32)
    first, second = signed[0], signed[1]

    def step(k, carry):
        w1, w2, sum1, sum2, updates = carry
        z1, z2 = first[k][None], second[k][None]
        update = w1 * z1 + w2 * z2 <= margins
        rate = jnp.where(update, rates, 0.0)
        w1, w2 = w1 + rate * z1, w2 + rate * z2
        return w1, w2, sum1 + w1, sum2 + w2, updates + update

    def epoch(_, state):
        # Summing within the epoch first keeps the rounding errors of long sums small.
        w1, w2, sum1, sum2, last = jax.lax.fori_loop(
            0, num_train, step, (*state.weights, zeros, zeros, none)
        )
        active = state.last > 0
        sums = tuple(
            jnp.where(active, a + b, a) for a, b in zip(state.sums, (sum1, sum2), strict=True)
        )
        return _State((w1, w2), (sums[0], sums[1]), state.updates + last, last)

    def until_next_budget(state, num_epochs):
        state = jax.lax.fori_loop(0, num_epochs, epoch, state)
        return state, state

    start = _State((zeros, zeros), (zeros, zeros), none, none + 1)
    steps = jnp.diff(epochs, prepend=jnp.zeros(1, epochs.dtype))
    _, states = jax.lax.scan(until_next_budget, start, steps)
    return Trained(
        jnp.stack(states.weights, axis=1), jnp.stack(states.sums, axis=1),
        states.updates, states.last == 0,
    )  # fmt: skip


@custom_vmap
def train(
    signed: Float[Array, "2 points sets"],
    num_train: Int[Array, ""],
    learning_rates: Float[Array, " learners"],
    margins: Float[Array, " learners"],
    epochs: Int[Array, " budgets"],
) -> Trained:
    """Take sequential subgradient steps on max(0, margin - y W.x), in order, from W = 0.

    A point leads to an update where y W.x <= margin. Margin 0 is the perceptron criterion
    (Rosenblatt 1958), margin 1 the hinge loss.

    Args:
        signed: Signed points y x of several training sets.
        num_train: Number of points in use.
        learning_rates: Learning rate of each learner.
        margins: Margin of each learner.
        epochs: Budgets, passes through the points, in ascending order.
    """
    return _train(signed, num_train, learning_rates, margins, epochs)


@train.def_vmap
def _train_seeds(size, batched, signed, *shared):
    # A step does little work on few numbers. With the seeds on the minor axis the compiler
    # vectorizes over them; on the major axis, where vmap puts them, it takes twice as long.
    del size
    if not batched[0] or any(batched[1:]):
        raise NotImplementedError("only the points may differ from seed to seed")
    trained = _train(jnp.moveaxis(signed, 0, -1), *shared)
    return (
        Trained(*(jnp.moveaxis(array, -1, 0) for array in trained)),
        Trained(True, True, True, True),  # type: ignore[arg-type]
    )


def hard_margin(
    signed: Float[Array, "2 points"], valid: Bool[Array, " points"]
) -> tuple[Float[Array, " 2"], Float[Array, ""]]:
    """Return the unit vector W with the largest margin min W.(y x), and that margin.

    Signed points of class +1 have angles within [0, pi/4], those of class -1 within
    [-3 pi/4, -pi/2]. From a W with a smaller margin than the largest, the largest lies on the side
    of the point that has the smallest W.(y x); so the angle of W is found by bisection.
    """
    angles = jnp.arctan2(signed[1], signed[0])

    def direction(angle):
        return jnp.stack([jnp.cos(angle), jnp.sin(angle)])

    def margins(angle):
        w = direction(angle)
        return jnp.where(valid, w[0] * signed[0] + w[1] * signed[1], jnp.inf)

    def halve(_, ends):
        low, high = ends
        middle = (low + high) / 2
        here, before = margins(middle), angles < middle
        # Two minima cost a tenth of an argmin on the CPU.
        left = jnp.min(jnp.where(before, here, jnp.inf)) < jnp.min(jnp.where(before, jnp.inf, here))
        return jnp.where(left, low, middle), jnp.where(left, middle, high)

    ends = (jnp.float32(-0.75 * jnp.pi), jnp.float32(0.25 * jnp.pi))
    low, high = jax.lax.fori_loop(0, BISECTIONS, halve, ends)
    angle = (low + high) / 2
    return direction(angle), margins(angle).min()


def version_space(
    signed: Float[Array, "2 points"], valid: Bool[Array, " points"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Return the ends of the version space, in the coordinate in which the points are uniform.

    The coordinate of a point, or of a line through the origin, is (1 - x2/x1) / 2 below the
    diagonal and -(1 - x1/x2) / 2 above it: from -1/2 to 1/2, and 0 on the diagonal. A line is
    consistent with the training set if it lies between the two classes.
    """
    x1, x2 = jnp.abs(signed)
    distance = (1 - jnp.minimum(x1, x2) / jnp.maximum(x1, x2)) / 2
    positive = signed[0] > 0
    below = jnp.min(jnp.where(valid & ~positive, distance, 0.5))
    above = jnp.min(jnp.where(valid & positive, distance, 0.5))
    return -below, above


def bayes_point(
    signed: Float[Array, "2 points"], valid: Bool[Array, " points"]
) -> Float[Array, " 2"]:
    """Return W in the middle of the version space: half of the consistent lines on either side."""
    low, high = version_space(signed, valid)
    middle = (low + high) / 2
    return jnp.stack([jnp.minimum(1, 1 - 2 * middle), -jnp.minimum(1, 1 + 2 * middle)])
