"""One point of the plane: a network of one hidden layer, trained until it diverges or its steps are done."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key

from jaxstudies.networks.data import Dataset
from jaxstudies.studies.trainability.config import WIDTH, Condition
from jaxstudies.training import TrainState, start_state, take, train_step

MOST, LAST = 1e6, 20
"""Times the initial loss up to which losses count, and the last of them by whose mean training is judged."""
ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "tanh": lambda z: jnp.tanh(2**0.5 * z),
    "relu": lambda z: 2**0.5 * jax.nn.relu(z),
    "identity": lambda z: z,
}


class Params(NamedTuple):
    """The weights; there are no biases."""

    hidden: Float[Array, "units inputs"]
    output: Float[Array, "1 units"]


class Seen(NamedTuple):
    """What is kept of the losses so far; all but the newest are divided by the first."""

    loss: Float[Array, ""]
    first: Float[Array, ""]
    total: Float[Array, ""]
    inverses: Float[Array, ""]
    last: Float[Array, ""]
    """Sum of those among the last ones."""
    diverged_at: Int[Array, ""]


def see(seen: Seen, loss: jax.Array, index: jax.Array, steps: int) -> Seen:
    """Add the loss before a step."""
    first = jnp.where(index == 0, loss, seen.first)
    # One that is no number counts as a million, not as a million times the first: so it does in the published code.
    relative = jnp.minimum(jnp.where(jnp.isfinite(loss), loss, MOST) / first, MOST)
    too_large = ~jnp.isfinite(loss) | (loss / first > MOST)
    return Seen(
        loss,
        first,
        seen.total + relative,
        seen.inverses + 1 / relative,
        seen.last + jnp.where(index >= steps - LAST, relative, 0.0),
        jnp.where(too_large, jnp.minimum(seen.diverged_at, index), seen.diverged_at),
    )


def judged(seen: Seen, count: jax.Array, steps: int) -> dict[str, jax.Array]:
    """Return the measures, with what the steps that were left out would have added: each as much as the last one."""
    left = steps - count
    lost = jnp.minimum(MOST / seen.first, MOST)
    last = seen.last + jnp.minimum(left, LAST) * lost
    converged = last < min(steps, LAST)
    measure = jnp.where(converged, -(seen.total + left * lost), seen.inverses + left / lost)
    return {"converged": converged, "diverged_at": seen.diverged_at, "measure": measure}


def draw(key: Key[Array, ""], condition: Condition) -> tuple[Params, Dataset]:
    """Draw weights and examples, all standard normal, in 32 bits whatever training has."""
    kind = jnp.zeros(()).dtype
    shapes = (WIDTH, WIDTH), (1, WIDTH), (condition.num_examples, WIDTH), (condition.num_examples, 1)
    keys = jax.random.split(key, 4)
    drawn = [jax.random.normal(k, shape, jnp.float32).astype(kind) for k, shape in zip(keys, shapes, strict=True)]
    return Params(*drawn[:2]), Dataset(*drawn[2:])


def network(activation: str) -> tuple[Callable, Callable]:
    """Return a hidden layer with the mean-field parametrization, without biases, as `training` takes it.

    The examples are on the minor axis of the hidden layer, which is what makes it fast.
    """

    def apply(params: Params, inputs: jax.Array) -> jax.Array:
        hidden = ACTIVATIONS[activation](params.hidden @ inputs.T / WIDTH**0.5)
        return (params.output @ hidden / WIDTH).T

    return lambda key, inputs: None, apply


def simulate(
    key: Key[Array, ""], x: Float[Array, ""], y: Float[Array, ""], *, condition: Condition, steps: int
) -> dict[str, Array]:
    """Train one network by gradient descent; return whether its training converged, and when it diverged.

    A run has converged if the mean of its last 20 losses, over all examples, is below the first (Sohl-Dickstein 2024,
    arXiv 2402.06184), and is stopped once its loss is no finite number, from where none comes back.

    Returns:
        `converged`; `diverged_at`, the number of steps before the first loss that is no finite number or a million
        times the first, `steps` if there is none; and `measure`, which colors the paper's pictures: minus the sum of
        losses over the first if it converged, else the sum of their inverses.
    """
    draw_key, batch_key = jax.random.split(key)
    params, data = draw(draw_key, condition)
    if condition.across == "offset":
        params = params._replace(hidden=params.hidden + x)
    drift = x if condition.across == "drift" else 0.0
    rates = Params(x if condition.across == "rate" else y, y)
    optimizer = optax.stateless(lambda grads, _: jax.tree.map(lambda rate, grad: -rate * grad, rates, grads))
    model = network(condition.activation)

    def loss_of(state: TrainState) -> jax.Array:
        return jnp.mean(optax.squared_error(model[1](state.params, data.inputs), data.targets))

    def step(going: tuple[jax.Array, TrainState, Seen]) -> tuple[jax.Array, TrainState, Seen]:
        index, state, seen = going
        if condition.across == "drift":
            state = state._replace(params=state.params._replace(hidden=state.params.hidden + drift))
        here, batch = jax.random.fold_in(batch_key, index), data
        if condition.batch_size is not None:
            batch = take(data, jax.random.randint(here, (condition.batch_size,), 0, len(data.inputs)))
        new, loss = train_step(state, batch, here, model=model, optimizer=optimizer, loss_fn=optax.squared_error)
        return index + 1, new, see(seen, loss if batch is data else loss_of(state), index, steps)

    def goes_on(going: tuple[jax.Array, TrainState, Seen]) -> jax.Array:
        return (going[0] < steps) & jnp.isfinite(going[2].loss)

    zero = jnp.zeros_like(x)
    start = jnp.int32(0), start_state(params, optimizer), Seen(zero, zero, zero, zero, zero, jnp.int32(steps))
    count, _, seen = jax.lax.while_loop(goes_on, step, start)
    return judged(seen, count, steps)
