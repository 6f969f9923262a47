"""Training made into a kernel, or what stands in the way of that."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.core import Tracer
from jax.extend import core

from jaxstudies.fused import choice, coupling
from jaxstudies.fused.emission import shapes_of, trace
from jaxstudies.fused.epochs import Groups, Training
from jaxstudies.fused.kernel import write
from jaxstudies.fused.layout import Inputs, Leaf, Step, aval_leaf
from jaxstudies.fused.program import Refused, kind_of

Pair = tuple[Any, Any]
"""Parameters and optimizer state."""


def fuse(
    step: Step,
    state: Pair,
    data: Any,
    batch_size: int,
    *,
    plain: Callable[[Pair, Any, Any], tuple[Pair, Any]],
    order: Callable[[Any], Any],
    reshuffled: bool,
    observe: Callable[[Pair], Any],
    num_epochs: Any,
    insisted: bool = False,
) -> tuple[Pair, Any]:
    """Train; where that is mapped over networks, it is a kernel.

    Args:
        step: One step, see `trace_step`.
        state: Parameters and optimizer state at the start.
        data: Arrays whose first axis is that of examples.
        batch_size: Examples of a step.
        plain: Training as XLA compiles it: maps state, data and number of epochs to what is returned.
        order: Maps the number of an epoch to the order of its examples, int32 (steps, batch).
        reshuffled: Whether the order differs from epoch to epoch, or something is observed after each.
        observe: What is kept of the state after each epoch.
        num_epochs: May be traced.
        insisted: Whether a kernel is wanted even if XLA is likely to be faster.

    Returns:
        The state and what is kept: the mean loss of each epoch and what `observe` returns, or nothing if the number of
        epochs is traced.

    Raises:
        Refused: It cannot be.
    """
    kernel = write(step, _all_lanes(step, state, data, batch_size), choice.is_rolled(step.size))
    if not insisted and (why := choice.objection(kernel, step.size)):
        raise Refused(why)
    # All arrays that anything closes over are arguments, too, as they may be mapped as well.
    count = [num_epochs] if isinstance(num_epochs, Tracer) else []
    here, leaves = shapes_of(state), jax.tree.leaves
    plainly, results = trace(
        lambda s, d, n: plain(s, d, n[0] if n else num_epochs), here, shapes_of(data), shapes_of(count)
    )
    ordered, _ = trace(order, jax.ShapeDtypeStruct((), jnp.int32))
    observed, _ = trace(observe, here)
    kinds = (each.consts for each in (plainly, ordered, observed, step.gradient, step.update))
    groups = Groups(*(tuple(map(_array, kind)) for kind in (*kinds, leaves(state), leaves(data), count)))
    sizes = [len(group) for group in groups]

    def by_xla(*flat: jax.Array) -> tuple[jax.Array, ...]:
        return tuple(_call(plainly, flat[: sizes[0]], flat[sum(sizes[:5]) :]))

    def order_of(*consts_and_index: Any) -> jax.Array:
        *consts, index = consts_and_index
        return _call(ordered, consts, [jnp.int32(index)])[0].astype(jnp.int32)  # with 64 bits it is int64

    def seen(*flat: jax.Array) -> tuple[jax.Array, ...]:
        return tuple(map(_array, _call(observed, flat[: sizes[2]], flat[sizes[2] :])))

    num_kept = len(leaves(results)) - len(leaves(state))
    fixed = None if isinstance(num_epochs, Tracer) else int(num_epochs)
    training = Training(step, by_xla, order_of, reshuffled, seen, fixed, num_kept, insisted, sizes)
    return jax.tree.unflatten(jax.tree.structure(results), training.one(groups))


def trace_step(
    forward: Callable[[Any, Any], Pair],
    loss_fn: Callable[[Any, Any], Any],
    optimizer: optax.GradientTransformation,
    state: Pair,
    data: Any,
    batch_size: int,
) -> Step:
    """Return one step of training, of one example and of one network.

    Raises:
        Refused: The examples of a batch are coupled, or the optimizer asks for the loss elsewhere.
    """
    params, opt_state = shapes_of(state)
    batch = jax.tree.map(lambda a: jax.ShapeDtypeStruct((batch_size, *a.shape[1:]), a.dtype), shapes_of(data))
    for leaf in jax.tree.leaves((params, opt_state, batch)):
        kind_of(leaf.dtype)
    num_params = len(jax.tree.leaves(params))
    together, shapes = trace(forward, params, batch)
    if batch_size > 1:
        coupling.check(together.jaxpr, [i >= num_params for i in range(len(together.jaxpr.invars))])
        larger = jax.tree.map(lambda a: jax.ShapeDtypeStruct((batch_size + 1, *a.shape[1:]), a.dtype), batch)
        with _alone(f"{batch_size + 1} examples"):
            coupling.check_size(together, trace(forward, params, larger)[0], num_params)
    expected = [(1, *shape.shape[1:]) for shape in jax.tree.leaves(shapes)]

    def objective(params: Any, example: Any) -> jax.Array:
        predictions, targets = forward(params, jax.tree.map(lambda a: a[None], example))
        if [jnp.shape(a) for a in jax.tree.leaves((predictions, targets))] != expected:
            raise Refused("predictions of one example have another shape than those of many")
        prediction, target = jax.tree.map(lambda a: a[0], (predictions, targets))
        return jnp.mean(loss_fn(prediction, target)) / batch_size

    def update(grads: Any, opt_state: Any, params: Any, loss: jax.Array) -> Pair:
        known = {"value": loss, "grad": grads, "value_fn": _no_value}
        updates, new = optax.with_extra_args_support(optimizer).update(grads, opt_state, params, **known)
        return optax.apply_updates(params, updates), new

    example = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), batch)
    with _alone("one example"):
        gradient, _ = trace(jax.value_and_grad(objective), params, example)
    change, _ = trace(update, params, opt_state, params, jax.ShapeDtypeStruct((), jnp.float32))
    if any(traced.jaxpr.effects for traced in (together, gradient, change)):
        raise Refused("callbacks")
    return Step(gradient, change, num_params)


@contextmanager
def _alone(examples: str) -> Iterator[None]:
    """Refuse what another number of examples makes raise: it may be trained as it is."""
    try:
        yield
    except Refused:
        raise
    except Exception as error:  # whatever the user's own code raises
        raise Refused(f"{examples} in place of a batch make it raise {type(error).__name__}") from error


def _no_value(params: Any) -> Any:
    raise Refused("the optimizer searches along a line")


def _all_lanes(step: Step, state: Pair, data: Any, batch_size: int) -> Inputs:
    """Return the arrays of a kernel as if networks differed in all of them."""

    def leaves(tree: Any) -> tuple[Leaf, ...]:
        return tuple(aval_leaf(shape, True) for shape in jax.tree.leaves(shapes_of(tree)))

    order = aval_leaf(jax.ShapeDtypeStruct((1, 1, batch_size), jnp.int32), True)
    return Inputs(leaves(step.gradient.consts), leaves(step.update.consts), leaves(state), leaves(data), (order,))


def _call(traced: core.ClosedJaxpr, consts: Sequence[Any], arguments: Sequence[Any]) -> list[Any]:
    """Evaluate what was traced with other constants than its own."""
    return core.jaxpr_as_fun(core.ClosedJaxpr(traced.jaxpr, [*consts]))(*arguments)


def _array(value: Any) -> jax.Array:
    return value if isinstance(value, jax.Array) else jnp.asarray(value)
