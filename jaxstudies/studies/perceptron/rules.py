"""Rules that learn a line through the origin from signed points y x: W classifies a point rightly if W.(y x) > 0."""

# Only the first `num_train` points count, so that training sets of all sizes share one program.

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Bool, Float, Int

BISECTIONS = 30
"""Halvings of an angle of pi, down to the resolution of float32."""


class Learners(NamedTuple):
    """Sequential learners: how each learns."""

    learning_rate: Float[Array, " learners"]
    margin: Float[Array, " learners"]
    """A point leads to an update where y W.x is at most this: 0 is the perceptron criterion
    (Rosenblatt 1958), 1 the hinge loss."""
    averaged: Bool[Array, " learners"]
    """Whether the average of the weights over all steps is what is learned."""
    epochs: Int[Array, "learners budgets"]
    """Budgets: passes through the points, ascending."""


class Trained(NamedTuple):
    """What each learner learned from each training set within each budget."""

    weights: Float[Array, "learners budgets 2 sets *batch"]
    """Averages are given as sums over the steps up to the first epoch without an update: averages
    up to a factor, which predictions do not depend on."""
    updates: Int[Array, "learners budgets sets *batch"]
    converged: Bool[Array, "learners budgets sets *batch"]
    """Whether the last epoch had no update, after which nothing changes any more."""


def _learn(signed: Array, num_train: Array, learner: Learners, averaged: bool) -> Trained:
    """Return what one learner learns from arrays (2, points, sets, ...)."""
    first, second = signed
    none = jnp.zeros(signed.shape[2:], jnp.int32)
    zeros = jnp.zeros(signed.shape[2:]), jnp.zeros(signed.shape[2:])

    def step(k, carry):
        (w1, w2), sums, updates = carry
        z1, z2 = first[k], second[k]
        update = w1 * z1 + w2 * z2 <= learner.margin
        rate = jnp.where(update, learner.learning_rate, 0.0)
        weights = w1 + rate * z1, w2 + rate * z2
        sums = tuple(a + w for a, w in zip(sums, weights, strict=False))
        return weights, sums, updates + update

    def epoch(_, state):
        weights, total, updates, last = state
        # Summing within the epoch first keeps the rounding errors of long sums small.
        start = weights, zeros if averaged else (), none
        weights, sums, new = jax.lax.fori_loop(0, num_train, step, start)
        total = tuple(jnp.where(last > 0, a + b, a) for a, b in zip(total, sums, strict=True))
        return weights, total, updates + new, new

    def until_next_budget(state, num_epochs):
        weights, total, updates, last = state = jax.lax.fori_loop(0, num_epochs, epoch, state)
        return state, Trained(jnp.stack(total if averaged else weights), updates, last == 0)

    start = zeros, zeros if averaged else (), none, none + 1
    steps = jnp.diff(learner.epochs, prepend=jnp.zeros(1, learner.epochs.dtype))
    return jax.lax.scan(until_next_budget, start, steps)[1]


def _train(signed: Array, num_train: Array, learners: Learners) -> Trained:
    """Train on arrays whose trailing axes, after that of the sets, are batch axes."""

    def one(learner):
        # Few learners average, and the sums take longer than the rest of a step.
        branches = (partial(_learn, signed, num_train, learner, flag) for flag in (True, False))
        return jax.lax.cond(learner.averaged, *branches)

    # One learner after another, so that each takes its own epochs and not the most of all.
    return jax.lax.map(one, learners)


@custom_vmap
def train(signed: Float[Array, "2 points sets"], num_train: Int[Array, ""], learners: Learners) -> Trained:
    """Take sequential subgradient steps on max(0, margin - y W.x), in order, from W = 0."""
    return _train(signed, num_train, learners)


@train.def_vmap
def _train_mapped(size, batched, signed, num_train, learners):
    points, count, settings = batched
    if count or (points and any(settings)):
        raise NotImplementedError("points or learners may be mapped, not both at once")
    if points:
        # A step does little work on few numbers. With the seeds on the minor axis the compiler
        # vectorizes over them; on the major axis, where vmap puts them, it takes twice as long.
        trained = _train(jnp.moveaxis(signed, 0, -1), num_train, learners)
        trained = jax.tree.map(lambda a: jnp.moveaxis(a, -1, 0), trained)
    else:
        pairs = zip(learners, settings, strict=True)
        rows = (a if mapped else jnp.broadcast_to(a, (size, *a.shape)) for a, mapped in pairs)
        trained = train(signed, num_train, Learners(*(a.reshape(-1, *a.shape[2:]) for a in rows)))
        trained = jax.tree.map(lambda a: a.reshape(size, -1, *a.shape[1:]), trained)
    return trained, jax.tree.map(lambda _: True, trained)


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


def bayes_point(signed: Float[Array, "2 points"], valid: Bool[Array, " points"]) -> Float[Array, " 2"]:
    """Return W in the middle of the version space: half of the consistent lines on either side."""
    low, high = version_space(signed, valid)
    middle = (low + high) / 2
    return jnp.stack([jnp.minimum(1, 1 - 2 * middle), -jnp.minimum(1, 1 + 2 * middle)])
