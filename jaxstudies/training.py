"""One training run as a pure function of a key. Nothing here is compiled: the caller does that."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.core import Tracer
from jaxtyping import Array, Float, Int, Key, PyTree

from jaxstudies.arguments import optional, short, whole
from jaxstudies.fused.choice import is_debugged
from jaxstudies.fused.fusing import fuse, trace_step
from jaxstudies.fused.program import Refused
from jaxstudies.networks.batches import epoch_batches, take
from jaxstudies.networks.data import Dataset
from jaxstudies.networks.states import LossFn, Model, TrainState, init_state, predict_batch
from jaxstudies.watching import WATCHER


class Fitted(NamedTuple):
    """A trained network, and what was kept along the way."""

    state: TrainState
    history: Any
    """The mean training loss of each epoch, shape (epochs,), or, with `observe`, a pair of that and
    what it returned, each with a leading axis of epochs. None if the number of epochs is traced."""


def train_step(
    state: TrainState,
    batch: Dataset,
    dropout_key: Key[Array, ""],
    *,
    model: Model,
    optimizer: optax.GradientTransformation,
    loss_fn: LossFn,
) -> tuple[TrainState, Float[Array, ""]]:
    """Take one optimizer step on a batch; return the new state and the loss before the step."""

    def objective(params):
        predictions, batch_stats = predict_batch(model, state._replace(params=params), batch.inputs, dropout_key)
        return jnp.mean(jax.vmap(loss_fn)(predictions, batch.targets)), batch_stats

    (loss, batch_stats), grads = jax.value_and_grad(objective, has_aux=True)(state.params)
    # What searches along a line, as L-BFGS, or waits for the loss to fall asks for these; others ignore them.
    known = {"value": loss, "grad": grads, "value_fn": lambda params: objective(params)[0]}
    optimizer = optax.with_extra_args_support(optimizer)
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params, **known)
    return TrainState(optax.apply_updates(state.params, updates), batch_stats, opt_state), loss


def losses_until_nonfinite(
    step: Callable[[PyTree, Int[Array, ""]], tuple[PyTree, Float[Array, ""]]], state: PyTree, num_steps: int
) -> Float[Array, " steps"]:
    """Take steps until a loss is no finite number, from where no run comes back; return the losses, NaN behind that.

    `fit` takes all steps, and its loss is that of the batch. Under `jax.vmap` runs stop with the last of them.

    Args:
        step: Takes the state and the number of the step, from 0; returns the new state and the loss before it.
        state: Where training starts.
        num_steps: Steps that are taken at most.
    """
    if not num_steps:
        return jnp.zeros(0)

    def goes_on(going):
        index, _, losses = going
        return (index < num_steps) & ((index == 0) | jnp.isfinite(losses[index - 1]))

    def take_step(going):
        index, state, losses = going
        state, loss = step(state, index)
        return index + 1, state, losses.at[index].set(loss)

    return jax.lax.while_loop(goes_on, take_step, (jnp.int32(0), state, jnp.full(num_steps, jnp.nan)))[2]


def fit(
    key: Key[Array, ""],
    model: Model,
    optimizer: optax.GradientTransformation,
    loss_fn: LossFn,
    data: Dataset | Callable[[Int[Array, ""]], Dataset],
    *,
    num_epochs: int | Int[Array, ""],
    batch_size: int | None = None,
    num_steps: int | None = None,
    state: TrainState | None = None,
    shuffle_key: Key[Array, ""] | None = None,
    prepare: Callable[[Dataset], Dataset] = lambda batch: batch,
    observe: Callable[[TrainState], PyTree] | None = None,
    fused: bool | None = None,
) -> Fitted:
    """Initialize a network, unless a state is given, and train it.

    Args:
        key: Random key of the run: initialization, order and dropout follow from it.
        model: A Linen module, with or without batch statistics, dropout and an argument `train`,
            `training`, `is_training` or `deterministic`; or a pair of functions `init(key, inputs)`
            and `apply(params, inputs)`.
        optimizer: An optax optimizer; its learning rate may be traced. One that asks for the loss,
            such as `optax.lbfgs`, is given that of the batch.
        loss_fn: Loss of one example from its prediction and target. `fit` averages it.
        data: The training examples, arrays of JAX or NumPy; or a function of the number of the
            step, from 0, that returns a batch.
        num_epochs: Passes through the data; 0 returns the network as initialized. May be traced.
        batch_size: Examples per step; by default all.
        num_steps: Steps of an epoch, where `data` is a function, and only there.
        state: Where training starts; by default a network initialized by the key.
        shuffle_key: Key of the order. Pass one key to all runs of a map where each run draws data
            of its own: a shared order is then as random, and is sorted once instead of once a run.
        prepare: Turns a batch of examples into inputs and targets, say bytes into numbers.
        observe: What is kept of the state after each epoch.
        fused: Whether many networks, under `jax.vmap`, are trained in one kernel in which a lane is a network. By
            default that is so where model, loss and optimizer allow it and it is likely to be faster, as for networks
            of some hundred parameters at most; True insists, False forbids. Numbers differ by rounding.

    Returns:
        The final state and the history, see `Fitted`.

    Raises:
        TypeError: `model` is neither a Linen module nor a pair of functions, `optimizer` is no optax transformation,
            `data` is neither a Dataset nor a function, or a number is not whole.
        ValueError: `fused` is True and something stands in the way; `num_epochs` is below 0, or `batch_size` or
            `num_steps` below 1; inputs and targets differ in their number, or there are none; `num_steps` is missing
            where `data` is a function, or given where it is a Dataset; or `model` keeps more than its batch statistics.

    Examples:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> import optax
        >>> from jaxstudies import Dataset, fit
        >>> x = jnp.linspace(-1, 1, 64)[:, None]
        >>> line = lambda key, inputs: jnp.zeros((1, 1)), lambda slope, inputs: inputs @ slope
        >>> how = {"num_epochs": 50, "batch_size": 16}
        >>> state, losses = fit(jax.random.key(0), line, optax.sgd(0.1), optax.squared_error, Dataset(x, 3 * x), **how)
        >>> losses.shape, round(float(state.params[0, 0]), 2)
        ((50,), 3.0)
    """
    _check(model, optimizer, data, num_steps)
    num_epochs = _epochs(num_epochs)
    batch_size, num_steps = optional("batch_size", batch_size, 1), optional("num_steps", num_steps, 1)
    init_key, order_key, dropout_key = jax.random.split(key, 3)
    order_key = order_key if shuffle_key is None else shuffle_key
    batch_of = data if callable(data) else None
    if state is None:
        first = batch_of(jnp.int32(0)) if batch_of else take(data, slice(1))
        state = init_state(init_key, model, optimizer, prepare(first).inputs)

    watcher = WATCHER.get()
    watch = watcher.next_fit() if watcher else lambda index, state: None
    watch(0, state)

    def train(state, data, num_epochs):
        def step(state, examples_and_key):
            examples, step_key = examples_and_key
            batch = prepare(batch_of(examples) if batch_of else take(data, examples))
            return train_step(state, batch, step_key, model=model, optimizer=optimizer, loss_fn=loss_fn)

        def epoch(state, index):
            steps = index * num_steps + jnp.arange(num_steps) if batch_of else order(index)
            keys = jax.random.split(jax.random.fold_in(dropout_key, index), len(steps))
            state, losses = jax.lax.scan(step, state, (steps, keys))
            watch(index + 1, state)
            return state, losses.mean() if observe is None else (losses.mean(), observe(state))

        if isinstance(num_epochs, Tracer):  # what is kept along the way would have no shape
            return jax.lax.fori_loop(0, num_epochs, lambda i, s: epoch(s, i)[0], state), None
        return jax.lax.scan(epoch, state, jnp.arange(num_epochs))

    def order(index):
        n = len(jax.tree.leaves(data)[0])
        return epoch_batches(jax.random.fold_in(order_key, index), n, n if batch_size is None else batch_size)

    if fused is not False and not watcher:
        try:
            what = model, optimizer, loss_fn, state, data, batch_size, prepare
            return Fitted(*_fused(*what, train, order, observe, num_epochs, fused is True))
        except Refused as why:
            if fused:
                raise ValueError(f"fused True: this training cannot be one kernel: {why}") from None
    return Fitted(*train(state, data, num_epochs))


def _fused(
    model: Model,
    optimizer: optax.GradientTransformation,
    loss_fn: LossFn,
    state: TrainState,
    data: Dataset | Callable,
    batch_size: int | None,
    prepare: Callable[[Dataset], Dataset],
    train: Callable[[TrainState, Dataset, Any], tuple[TrainState, Any]],
    order: Callable[[Any], Array],
    observe: Callable[[TrainState], PyTree] | None,
    num_epochs: int | Tracer,
    insisted: bool,
) -> tuple[TrainState, Any]:
    """Train as `fuse` does.

    Raises:
        Refused: It cannot be, or not while JAX is told to debug.
    """
    if is_debugged():
        raise Refused("JAX is told to debug")
    if callable(data):
        raise Refused("data is a function of the step")
    if jax.tree.leaves(state.batch_stats):
        raise Refused("batch statistics couple the examples of a batch")
    data = jax.tree.map(jnp.asarray, data)
    num_examples = len(jax.tree.leaves(data)[0])
    size = min(batch_size or num_examples, num_examples)

    def state_of(pair):
        return TrainState(pair[0], state.batch_stats, pair[1])

    def forward(params, batch):
        batch = prepare(batch)
        key = jax.random.key(0)  # what is drawn from it is refused
        return predict_batch(model, state_of((params, None)), batch.inputs, key)[0], batch.targets

    def plain(pair, data, num_epochs):
        trained, kept = train(state_of(pair), data, num_epochs)
        return (trained.params, trained.opt_state), kept

    pair = state.params, state.opt_state
    trained, kept = fuse(
        trace_step(forward, loss_fn, optimizer, pair, data, size),
        pair,
        data,
        size,
        plain=plain,
        order=order,
        reshuffled=size < num_examples or observe is not None,
        observe=lambda pair: None if observe is None else observe(state_of(pair)),
        num_epochs=num_epochs,
        insisted=insisted,
    )
    return state_of(trained), kept


def _check(model: object, optimizer: object, data: object, num_steps: object) -> None:
    """Raise TypeError or ValueError, in a line, for what cannot be trained, see `fit`."""
    pair = isinstance(model, tuple | list) and len(model) == 2 and all(map(callable, model))
    if not isinstance(model, nn.Module) and not pair:
        raise TypeError(
            f"model {type(model).__name__}: a Linen module, or functions (init, apply), to which any other can be split"
        )
    if not all(callable(getattr(optimizer, name, None)) for name in ("init", "update")):
        raise TypeError(f"optimizer {short(optimizer)}: an optax transformation, such as optax.adam(0.01)")
    if callable(data):
        if num_steps is None:
            raise ValueError("num_steps None: a whole number from 1, as data is a function of the step")
        return
    if not isinstance(data, Dataset):
        raise TypeError(f"data {type(data).__name__}: a Dataset, or a function of the step that returns one")
    if num_steps is not None:
        raise ValueError(f"num_steps {short(num_steps)}: None, as data is a Dataset; batch_size sets its steps")
    shapes = [np.shape(leaf) for leaf in jax.tree.leaves(data)]
    # Indices beyond an array are clamped: the last example would stand in for those that are missing.
    if len({shape[:1] for shape in shapes}) != 1 or shapes[0][:1] in ((), (0,)):
        raise ValueError(
            f"data of shapes {short(shapes)}: arrays of inputs and of targets, with as many rows each, from 1"
        )


def _epochs(num_epochs: object) -> int | Tracer:
    """Return a number of epochs, from 0; one that is traced is known to be whole by its type."""
    if not isinstance(num_epochs, Tracer):
        return whole("num_epochs", num_epochs, 0)
    if num_epochs.shape or not jnp.issubdtype(num_epochs.dtype, jnp.integer):
        raise TypeError(f"num_epochs {short(num_epochs)}: a whole number from 0")
    return num_epochs
