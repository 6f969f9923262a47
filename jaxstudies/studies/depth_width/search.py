"""The learning rate of a network: a walk along a grid of rates to where the validation error is least."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


class Walk(NamedTuple):
    """Where a walk has ended."""

    best: Int[Array, ""]
    """Index of the least error; both neighbors are worse, unless it is an end of the grid."""
    errors: Float[Array, " rates"]
    """Of the rates that were tried, infinite where training diverged; NaN of the others."""


def walk(error_of: Callable[[Int[Array, ""]], Float[Array, ""]], num_rates: int) -> Walk:
    """Walk from the middle of a grid of rates to a least error, trying as few rates as that takes.

    After the middle both its neighbors are tried, so that a difference of little more than noise on one side does not
    hide a fall on the other; then neighbors of the best one so far. Rates beyond the least error are never tried: the
    walk finds the one next to where it starts, if there are several.

    Args:
        error_of: Error after training at the rate of that index; what is not finite is worse than any other.
        num_rates: Rates of the grid, at least one.
    """
    places, middle = jnp.arange(num_rates), num_rates // 2

    def best_of(errors):
        # Of rates at all of which training diverged the smallest is the best.
        tried = ~jnp.isnan(errors)
        least = jnp.min(errors, where=tried, initial=jnp.inf)
        return jnp.argmax(tried & (errors <= least))

    def wanted(errors):
        """Return the index of the rate to be tried next, -1 if the walk is at its end."""
        new, from_middle = jnp.isnan(errors), jnp.abs(places - middle)
        around = jnp.where((new & (from_middle == 1)).any(), from_middle == 1, jnp.abs(places - best_of(errors)) == 1)
        return jnp.max(places, where=new & jnp.where(new.all(), from_middle == 0, around), initial=-1)

    def step(errors):
        # Under `vmap` the loop goes on until all networks are through: those that are train once more, for nothing.
        place = wanted(errors)
        error = error_of(jnp.maximum(place, 0))
        error = jnp.where(jnp.isfinite(error), error, jnp.inf)
        return jnp.where(places == place, error, errors)

    errors = jax.lax.while_loop(lambda e: wanted(e) >= 0, step, jnp.full(num_rates, jnp.nan))
    return Walk(best_of(errors), errors)
