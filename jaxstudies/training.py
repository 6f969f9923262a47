"""One training run as a pure function of a key. Nothing here is compiled: the caller does that."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key, PyTree

from jaxstudies.data import Dataset

LossFn = Callable[[jax.Array, jax.Array], jax.Array]
"""Maps predictions and targets (batch, outputs) to losses of any shape; their mean is minimized."""


class TrainState(NamedTuple):
    """What a training step changes; `batch_stats` is empty for a network without batch norm."""

    params: PyTree
    batch_stats: PyTree
    opt_state: PyTree


def variables(state: TrainState) -> dict[str, PyTree]:
    """Return the state's variables as `model.apply` takes them."""
    return {"params": state.params, "batch_stats": state.batch_stats}


def init_state(
    key: Key[Array, ""], model: nn.Module, optimizer: optax.GradientTransformation, inputs: Array
) -> TrainState:
    """Initialize parameters, batch statistics and optimizer for inputs (examples, ...)."""
    initial = model.init(key, inputs[:1])
    params = initial["params"]
    return TrainState(params, initial.get("batch_stats", {}), optimizer.init(params))


def train_step(
    state: TrainState,
    batch: Dataset,
    dropout_key: Key[Array, ""],
    *,
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    loss_fn: LossFn,
) -> tuple[TrainState, Float[Array, ""]]:
    """Take one optimizer step on a batch; return the new state and the loss before the step."""

    def objective(params):
        predictions, updated = model.apply(
            {"params": params, "batch_stats": state.batch_stats},
            batch.inputs,
            train=True,
            rngs={"dropout": dropout_key},
            mutable=["batch_stats"],
        )
        return jnp.mean(loss_fn(predictions, batch.targets)), updated.get("batch_stats", {})

    (loss, batch_stats), grads = jax.value_and_grad(objective, has_aux=True)(state.params)
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    return TrainState(params, batch_stats, opt_state), loss


def train_epoch(
    state: TrainState,
    data: Dataset,
    shuffle_key: Key[Array, ""],
    dropout_key: Key[Array, ""],
    *,
    batch_size: int,
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    loss_fn: LossFn,
) -> tuple[TrainState, Float[Array, ""]]:
    """Go once through the examples in a random order; return the state and the mean loss.

    Batches are whole: what does not fill one waits for another epoch's order. If there are fewer
    examples than `batch_size`, the one batch takes all of them.
    """
    num_examples = data.inputs.shape[0]
    batch_size = min(batch_size, num_examples)
    num_steps = num_examples // batch_size
    # Sorting 32 random bits shuffles as well as jax.random.permutation, which sorts twice to break
    # ties, and sorting is what shuffling costs. A pair ties in 1 of 1,000 orders of 3,000.
    order = jnp.argsort(jax.random.bits(shuffle_key, (num_examples,)))[: num_steps * batch_size]
    batches = jax.tree.map(lambda a: a[order].reshape(num_steps, batch_size, *a.shape[1:]), data)

    def step(state, batch_and_key):
        return train_step(state, *batch_and_key, model=model, optimizer=optimizer, loss_fn=loss_fn)

    state, losses = jax.lax.scan(step, state, (batches, jax.random.split(dropout_key, num_steps)))
    return state, losses.mean()


def fit(
    key: Key[Array, ""],
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    loss_fn: LossFn,
    data: Dataset,
    *,
    num_epochs: int,
    batch_size: int,
    shuffle_key: Key[Array, ""] | None = None,
) -> tuple[TrainState, Float[Array, " epochs"]]:
    """Initialize a network and train it.

    Args:
        key: Random key of the run: initialization, order and dropout follow from it.
        model: Linen module called as `model(inputs, train=...)`, with or without batch statistics
            and dropout.
        optimizer: An optax optimizer.
        loss_fn: Losses from predictions and targets.
        data: The training examples.
        num_epochs: Passes through the data; 0 returns the network as initialized.
        batch_size: Examples per step.
        shuffle_key: Key of the order. Pass one key to all runs of a map where each run draws data
            of its own: a shared order is then as random, and is sorted once instead of once a run.

    Returns:
        The final state, and the mean training loss of each epoch, shape (epochs,).
    """
    init_key, own_shuffle_key, dropout_key = jax.random.split(key, 3)
    order_key = own_shuffle_key if shuffle_key is None else shuffle_key

    def epoch(state, index):
        keys = (jax.random.fold_in(k, index) for k in (order_key, dropout_key))
        return train_epoch(
            state, data, *keys,
            batch_size=batch_size, model=model, optimizer=optimizer, loss_fn=loss_fn,
        )  # fmt: skip

    state = init_state(init_key, model, optimizer, data.inputs)
    return jax.lax.scan(epoch, state, jnp.arange(num_epochs))


def mean_loss(
    model: nn.Module,
    variables: PyTree,
    data: Dataset,
    loss_fn: LossFn,
    *,
    block_size: int = 512,
) -> Float[Array, ""]:
    """Return the mean loss over all examples, in evaluation mode.

    They pass in blocks, whose activations stay in the caches where many networks are mapped.
    """
    num_examples = data.inputs.shape[0]

    def add_block(total, start):
        picks = start + jnp.arange(block_size)
        block = jax.tree.map(lambda a: a[jnp.minimum(picks, num_examples - 1)], data)
        predictions: Any = model.apply(variables, block.inputs)
        losses = loss_fn(predictions, block.targets)
        losses = losses.reshape(block_size, -1).mean(axis=1)
        return total + jnp.where(picks < num_examples, losses, 0.0).sum(), None

    total, _ = jax.lax.scan(add_block, jnp.zeros(()), jnp.arange(0, num_examples, block_size))
    return total / num_examples


def precise_batch_stats(
    model: nn.Module,
    params: PyTree,
    batch_stats: PyTree,
    batch: Callable[[Int[Array, ""]], Array],
    num_batches: int,
) -> PyTree:
    """Recompute batch-norm statistics for given weights ("precise BN").

    Each batch goes through the network normalized by its own statistics, without dropout; the
    moments of all batches are pooled (Wu and Johnson 2021, arXiv 2105.07576). One batch that holds
    all examples gives the population's statistics exactly.

    Args:
        model: Module called as `model(inputs, batch_statistics=True)`, with an attribute `momentum`
            of its running averages.
        params: Weights.
        batch_stats: Statistics by layer, each a dictionary of `mean` and `var`, for their shapes.
        batch: Maps an index to inputs (examples, ...); all batches are of one size.
        num_batches: Number of batches.

    Returns:
        Statistics of the same structure.
    """
    memoryless = model.clone(momentum=0.0)

    def statistics(carry, index):
        current = {"params": params, "batch_stats": batch_stats}
        mutable = ["batch_stats"]
        _, seen = memoryless.apply(current, batch(index), batch_statistics=True, mutable=mutable)
        return carry, seen["batch_stats"]

    layers: Any = jax.lax.scan(statistics, None, jnp.arange(num_batches))[1]
    return {
        name: {
            "mean": layer["mean"].mean(axis=0),
            "var": layer["var"].mean(axis=0) + layer["mean"].var(axis=0),
        }
        for name, layer in layers.items()
    }
