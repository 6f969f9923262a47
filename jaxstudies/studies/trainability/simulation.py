"""One point of a plane: a network of one hidden layer, trained until it has diverged or its steps are done."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, Key

from jaxstudies.networks.batches import take
from jaxstudies.networks.data import Dataset
from jaxstudies.networks.states import TrainState, start_state
from jaxstudies.studies.trainability.config import WIDTH, Condition
from jaxstudies.training import losses_until_nonfinite, train_step

MOST, LAST = 1e6, 20
"""What a loss counts for at most, and the last losses by whose mean a run is judged."""
ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "tanh": lambda z: jnp.tanh(2**0.5 * z),
    "relu": lambda z: 2**0.5 * jax.nn.relu(z),
    "identity": lambda z: z,
}


class Params(NamedTuple):
    """The weights, or a learning rate for each layer; there are no biases."""

    hidden: Float[Array, "units inputs"] | Float[Array, ""]
    output: Float[Array, "1 units"] | Float[Array, ""]


def draw(key: Key[Array, ""], num_examples: int) -> tuple[Params, Dataset]:
    """Draw weights and examples, all standard normal; they are the same numbers where training has 64 bits."""
    shapes, kind = ((WIDTH, WIDTH), (1, WIDTH), (num_examples, WIDTH), (num_examples, 1)), jnp.zeros(()).dtype
    keys = jax.random.split(key, 4)
    drawn = [jax.random.normal(k, shape, jnp.float32).astype(kind) for k, shape in zip(keys, shapes, strict=True)]
    return Params(*drawn[:2]), Dataset(*drawn[2:])


def network(activation: str) -> tuple[Callable, Callable]:
    """Return a network with one hidden layer in the mean-field parametrization, as `training` takes it.

    The hidden layer has its examples on the minor axis, where a matrix product is the fastest on a CPU.
    """

    def apply(params: Params, inputs: Float[Array, "n inputs"]) -> Float[Array, "n 1"]:
        hidden = ACTIVATIONS[activation](params.hidden @ inputs.T / WIDTH**0.5)
        return (params.output @ hidden / WIDTH).T

    return lambda key, inputs: None, apply


def judged(losses: Float[Array, " steps"]) -> tuple[Bool[Array, ""], Int[Array, ""], Float[Array, ""]]:
    """Return whether a run converged, when it diverged, and its measure, see `simulate`."""
    finite = jnp.isfinite(losses)
    # What is no number counts a million, and not a million times the first loss: so it does in the published code.
    relative = jnp.where(finite, losses, MOST) / losses[0]
    too_large, relative = ~finite | (relative > MOST), jnp.minimum(relative, MOST)
    converged = relative[-LAST:].mean() < 1
    diverged_at = jnp.where(too_large.any(), too_large.argmax(), len(losses)).astype(jnp.int32)
    return converged, diverged_at, jnp.where(converged, -relative.sum(), (1 / relative).sum())


def train(
    key: Key[Array, ""], x: Float[Array, ""], y: Float[Array, ""], condition: Condition, steps: int
) -> Float[Array, " steps"]:
    """Return the loss of all examples before each step, NaN behind the first that is no finite number."""
    draw_key, batch_key = jax.random.split(key)
    params, data = draw(draw_key, condition.num_examples)
    by_rates, drift = condition.across == "rates", x * (condition.across == "drift")
    rates, shifts = Params(x if by_rates else y, y), Params(drift, jnp.zeros_like(x))
    optimizer = optax.stateless(lambda grads, _: jax.tree.map(lambda g, r, by: by - r * g, grads, rates, shifts))
    model, loss_fn = network(condition.activation), optax.squared_error
    batches = jax.random.randint(batch_key, (steps, condition.batch_size or 1), 0, condition.num_examples)

    def step(state: TrainState, index: Int[Array, ""]) -> tuple[TrainState, Float[Array, ""]]:
        batch = take(data, batches[index]) if condition.batch_size else data
        new, loss = train_step(state, batch, key, model=model, optimizer=optimizer, loss_fn=loss_fn)
        whole = loss_fn(model[1](state.params, data.inputs), data.targets).mean() if condition.batch_size else loss
        return new, whole

    params = params._replace(hidden=params.hidden + (0 if by_rates else x))
    return losses_until_nonfinite(step, start_state(params, optimizer), steps)


def simulate(
    key: Key[Array, ""], x: Float[Array, ""], y: Float[Array, ""], *, condition: Condition, steps: int
) -> dict[str, Array]:
    """Train one network by gradient descent, at a point (x, y) of a plane.

    Returns:
        `converged`, whether the mean of the last 20 losses is below the first (Sohl-Dickstein 2024, arXiv 2402.06184);
        `diverged_at`, the number of steps before the first loss that is no finite number or a million times the first,
        `steps` if there is none; and `measure`, which colors the paper's pictures: minus the sum of the losses over
        the first if the run converged, else the sum of their inverses.
    """
    names = "converged", "diverged_at", "measure"
    return dict(zip(names, judged(train(key, x, y, condition, steps)), strict=True))
