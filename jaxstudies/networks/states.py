"""A network: its parameters, how they are initialized, and what it predicts.

It is a Linen module, or any pair of pure functions `(init, apply)`: `init(key, inputs)` returns parameters,
`apply(params, inputs)` predictions for examples in rows.
"""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax.errors import InvalidRngError
from jaxtyping import Array, Float, Key, PyTree

from jaxstudies.networks.batches import take
from jaxstudies.networks.data import Dataset

LossFn = Callable[[jax.Array, jax.Array], jax.Array]
"""Loss of one example from its prediction and its target, of any shape; the mean is minimized."""

Functions = tuple[Callable[..., PyTree], Callable[..., jax.Array]]
Model = nn.Module | Functions
"""A Linen module, or `init(key, inputs)` and `apply(params, inputs)`."""


class TrainState(NamedTuple):
    """What a training step changes; `batch_stats` is empty for a network without batch norm."""

    params: PyTree
    batch_stats: PyTree
    opt_state: PyTree


def variables(state: TrainState) -> dict[str, PyTree]:
    """Return the state's variables as a Linen module's `apply` takes them."""
    return {"params": state.params, "batch_stats": state.batch_stats}


def mode(model: nn.Module, train: bool) -> dict[str, Any]:
    """Return the argument that tells a Linen module whether it is trained, if it has one."""
    known = inspect.signature(type(model).__call__).parameters
    said = dict.fromkeys(("train", "training", "is_training"), train)
    said |= dict.fromkeys(("deterministic", "use_running_average"), not train)
    return {name: value for name, value in said.items() if name in known}


def predict(model: Model, state: TrainState, inputs: Array) -> Array:
    """Return the predictions for inputs (examples, ...), in evaluation mode.

    Args:
        model: What was trained, see `fit`.
        state: The state of its training.
        inputs: Examples, with the first axis theirs.

    Examples:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> import optax
        >>> from jaxstudies import MLP, Dataset, fit, initializer, predict
        >>> x = jnp.linspace(-1, 1, 64)[:, None]
        >>> model = MLP(1, 8, 1, jnp.tanh, initializer("glorot_normal"))
        >>> data = Dataset(x, jnp.abs(x))
        >>> state, losses = fit(jax.random.key(0), model, optax.adam(0.01), optax.squared_error, data, num_epochs=20)
        >>> predict(model, state, x).shape
        (64, 1)
    """
    if isinstance(model, nn.Module):
        return cast(Array, model.apply(variables(state), inputs, **mode(model, train=False)))
    return model[1](state.params, inputs)


def predict_blocks(model: Model, state: TrainState, inputs: Array, block_size: int = 1000) -> Array:
    """Return the same, block by block, which bounds the memory and stays in the caches."""
    n = inputs.shape[0]
    size = min(block_size, n)
    padding = ((0, -n % size), *((0, 0),) * (inputs.ndim - 1))
    blocks = jnp.pad(inputs, padding).reshape(-1, size, *inputs.shape[1:])
    outputs = jax.lax.map(lambda block: predict(model, state, block), blocks)
    return outputs.reshape(-1, *outputs.shape[2:])[:n]


def init_state(key: Key[Array, ""], model: Model, optimizer: optax.GradientTransformation, inputs: Array) -> TrainState:
    """Initialize parameters, batch statistics and optimizer for inputs (examples, ...)."""
    if not isinstance(model, nn.Module):
        return start_state(model[0](key, inputs[:1]), optimizer)
    how = mode(model, train=False)
    try:
        initial = model.init(key, inputs[:1], **how)
    except InvalidRngError:
        # Dropout that is mapped or scanned sees its own stream alone. It is given only where it is asked for: elsewhere
        # dropout takes from the stream "params", and what a layer draws after it would be other parameters.
        initial = model.init({"params": key, "dropout": jax.random.fold_in(key, 0)}, inputs[:1], **how)
    if other := set(initial) - {"params", "batch_stats"}:
        raise ValueError(f"model: it keeps {', '.join(sorted(other))}, but fit carries params and batch_stats alone")
    return start_state(initial.get("params", {}), optimizer, initial.get("batch_stats", {}))


def start_state(
    params: PyTree, optimizer: optax.GradientTransformation, batch_stats: PyTree | None = None
) -> TrainState:
    """Return the state in which training starts from given parameters."""
    return TrainState(params, {} if batch_stats is None else batch_stats, optimizer.init(params))


def predict_batch(
    model: Model, state: TrainState, inputs: Array, dropout_key: Key[Array, ""]
) -> tuple[jax.Array, PyTree]:
    """Return the predictions for a batch, and the new batch statistics, in training mode."""
    if not isinstance(model, nn.Module):
        return model[1](state.params, inputs), state.batch_stats
    # Whatever a module calls its draws, but for dropout, it takes from the stream "params".
    rngs = {"dropout": dropout_key, "params": jax.random.fold_in(dropout_key, 0)}
    how = {"rngs": rngs, "mutable": ["batch_stats"], **mode(model, train=True)}
    predictions, updated = model.apply(variables(state), inputs, **how)
    return predictions, updated.get("batch_stats", {})


def mean_loss(
    model: Model, state: TrainState, data: Dataset, loss_fn: LossFn, *, block_size: int = 512
) -> Float[Array, ""]:
    """Return the mean loss over all examples, in evaluation mode, block by block as `predict_blocks`."""
    num_examples = data.inputs.shape[0]

    def add_block(total, start):
        picks = start + jnp.arange(block_size)
        block = take(data, jnp.minimum(picks, num_examples - 1))
        losses = jax.vmap(loss_fn)(predict(model, state, block.inputs), block.targets)
        losses = losses.reshape(block_size, -1).mean(axis=1)
        return total + jnp.where(picks < num_examples, losses, 0.0).sum(), None

    total, _ = jax.lax.scan(add_block, jnp.zeros(()), jnp.arange(0, num_examples, block_size))
    return total / num_examples
