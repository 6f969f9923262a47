"""Whether the examples of a batch go through a network without knowing of one another."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.extend import core

from jaxstudies.fused.emission import INLINED, REDUCTIONS, SAME, closed, live, scan_sizes, shape_of, unknown
from jaxstudies.fused.program import Refused
from jaxstudies.fused.rules import ELEMENTWISE

PARTS = "start_indices", "limit_indices", "padding_config"


class Along(NamedTuple):
    """The axis of an array that is that of the examples, if it has one, and the axes along which it is constant."""

    batch: int | None
    constant: frozenset[int] = frozenset()


def check(jaxpr: core.Jaxpr, batched: Sequence[bool]) -> None:
    """Check that each output has an example of its own in each row, or none at all.

    Args:
        jaxpr: What a network makes of a batch, whose first axis is that of the examples.
        batched: Which arguments are batches.

    Raises:
        Refused: The examples are coupled, as in batch normalization, or a primitive is not known.
    """
    outs = _through(jaxpr, [Along(0 if each else None) for each in batched])
    if any(out.batch not in (None, 0) for out in outs):
        raise Refused("predictions whose first axis is not that of the examples")
    if any(out.batch is None and 0 not in out.constant for out in outs):
        raise Refused("predictions or targets that differ by their place in the batch alone")


def check_size(one: core.ClosedJaxpr, other: core.ClosedJaxpr, num_params: int) -> None:
    """Check that what a network makes of a batch does not depend on how many examples there are.

    Args:
        one: What it makes of a batch.
        other: What it makes of a batch of another size.
        num_params: How many arguments are none of the batch: the first.

    Raises:
        Refused: They differ in more than shapes.
    """
    batched = [i >= num_params for i in range(len(one.jaxpr.invars))]
    if list(_numbers_in(one, batched)) != list(_numbers_in(other, batched)):
        raise Refused("the number of examples in a batch is part of what is computed")


def _numbers_in(traced: core.ClosedJaxpr, batched: Sequence[bool]) -> Iterator[object]:
    """Yield the primitives of what was traced, and the numbers that it computes with, as how often a loop turns.

    Of what no example has touched, a sum or a part depends on the number of examples where its shape does.
    """
    touched = dict(zip(traced.jaxpr.invars, batched, strict=True))
    for const in traced.consts:
        is_known = not isinstance(const, Tracer) and not jnp.issubdtype(const.dtype, jax.dtypes.extended)
        yield np.shape(const), np.asarray(const).tobytes() if is_known else b""
    for eqn in live(traced.jaxpr):
        name, params = eqn.primitive.name, eqn.params
        ins = [not isinstance(atom, core.Literal) and touched.get(atom, False) for atom in eqn.invars]
        touched |= dict.fromkeys(eqn.outvars, any(ins))
        yield name, params.get("y"), params.get("length")  # an exponent, and turns
        yield [str(atom.val) for atom in eqn.invars if isinstance(atom, core.Literal)]
        if not any(ins) and name not in (*ELEMENTWISE, *SAME, *INLINED, "scan", "broadcast_in_dim", "iota"):
            yield [shape_of(atom) for atom in eqn.invars], [str(params.get(key)) for key in PARTS]
        if name == "scan":  # what is carried is soon touched
            num_consts, num_carry = scan_sizes(params)
            ins[num_consts : num_consts + num_carry] = [any(ins)] * num_carry
        for inner in jax.tree.leaves(list(params.values())):
            if isinstance(inner, core.Jaxpr | core.ClosedJaxpr):
                of_inner = closed(inner)
                number = len(of_inner.jaxpr.invars)
                yield from _numbers_in(of_inner, [*[any(ins)] * (number - len(ins)), *ins[len(ins) - number :]])


def _through(jaxpr: core.Jaxpr, args: Sequence[Along]) -> list[Along]:
    known: dict[Any, Along] = dict(zip(jaxpr.invars, args, strict=True))

    def read(atom: Any) -> Along:
        shape = shape_of(atom)
        if isinstance(atom, core.Literal):
            return Along(None, frozenset(range(len(shape))))
        along = known.get(atom, Along(None))
        return along._replace(constant=along.constant | {i for i, size in enumerate(shape) if size == 1})

    for eqn in live(jaxpr):
        ins = [read(atom) for atom in eqn.invars]
        outs = _equation(eqn, ins)
        known |= dict(zip(eqn.outvars, outs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _coupled(name: str) -> Refused:
    return Refused(f"the examples of a batch are coupled by {name}")


def _together(name: str, ins: Sequence[Along], ndims: Sequence[int]) -> Along:
    """Return where the examples are in arrays that are put together number by number, or side by side."""
    most = max(ndims)
    axes = {along.batch for along in ins if along.batch is not None}
    whole = [along for along, ndim in zip(ins, ndims, strict=True) if ndim == most]
    if len(axes) > 1:
        raise _coupled(name)
    if axes:
        (axis,) = axes
        if any(along.batch is None and axis not in along.constant for along in whole):
            raise _coupled(f"{name}, as their places in it matter")
        return Along(axis)
    return Along(None, frozenset.intersection(*(along.constant for along in whole)))


def _equation(eqn: core.JaxprEqn, ins: list[Along]) -> list[Along]:
    name, params = eqn.primitive.name, eqn.params
    shapes = [shape_of(atom) for atom in eqn.invars]
    ndims = [len(shape) for shape in shapes]
    if name in INLINED:
        return _through(closed(params[INLINED[name]]).jaxpr, ins)
    if name == "scan":
        return _scan(params, ins)
    if name.startswith(("random_", "threefry", "rng_")):
        raise unknown(name)
    if all(along.batch is None for along in ins):
        return [_constant_axes(eqn, ins)] if len(eqn.outvars) == 1 else [Along(None) for _ in eqn.outvars]
    out = shape_of(eqn.outvars[0])
    if name in ELEMENTWISE:
        return [_together(name, ins, ndims)]
    axis = ins[0].batch
    if name in SAME:
        return ins
    if name == "dot_general":
        return [_contracted(params["dimension_numbers"], ins, ndims)]
    if name == "concatenate":
        moved = _together(name, ins, ndims)
        if moved.batch == params["dimension"]:
            raise _coupled(name)
        return [moved]
    if axis is None:
        raise _coupled(name)
    if name == "broadcast_in_dim":
        return [Along(params["broadcast_dimensions"][axis])]
    if name == "transpose":
        return [Along(params["permutation"].index(axis))]
    if name in ("reshape", "squeeze", "expand_dims"):
        before = int(np.prod(shapes[0][:axis]))
        places = [j for j in range(len(out)) if int(np.prod(out[:j])) == before and out[j] == shapes[0][axis]]
        if not places or (params.get("dimensions") and name == "reshape"):
            raise _coupled(name)
        return [Along(places[0])]
    if name in REDUCTIONS:
        if axis in params["axes"]:
            raise _coupled(name)
        return [Along(axis - sum(a < axis for a in params["axes"]))]
    if name == "slice":
        stride = params["strides"][axis] if params["strides"] else 1
        whole = (params["start_indices"][axis], params["limit_indices"][axis], stride) == (0, shapes[0][axis], 1)
    elif name == "pad":
        whole = tuple(params["padding_config"][axis]) == (0, 0, 0)
    elif name == "rev":
        whole = axis not in params["dimensions"]
    elif name == "split":
        whole = axis != params["axis"]
    else:
        raise unknown(name)
    if not whole:
        raise _coupled(name)
    return [Along(axis) for _ in eqn.outvars]


def _constant_axes(eqn: core.JaxprEqn, ins: Sequence[Along]) -> Along:
    """Return along which axes an array is constant that no example has touched."""
    name, params = eqn.primitive.name, eqn.params
    if name == "broadcast_in_dim":
        shape, dims = shape_of(eqn.invars[0]), params["broadcast_dimensions"]
        stretched = {out for i, out in enumerate(dims) if shape[i] == 1 or i in ins[0].constant}
        return Along(None, frozenset(range(len(params["shape"]))) - frozenset(dims) | stretched)
    if name == "iota":
        return Along(None, frozenset(range(len(params["shape"]))) - {params["dimension"]})
    if name in ELEMENTWISE:
        return _together(name, ins, [len(shape_of(atom)) for atom in eqn.invars])
    if name in SAME:
        return ins[0]
    return Along(None)


def _contracted(dimension_numbers: Any, ins: Sequence[Along], ndims: Sequence[int]) -> Along:
    contracting, batch = dimension_numbers
    places = []
    for side, (along, ndim) in enumerate(zip(ins, ndims, strict=True)):
        if along.batch is None:
            continue
        if along.batch in contracting[side]:
            raise _coupled("dot_general")
        if along.batch in batch[side]:
            at = list(batch[side]).index(along.batch)
            other = ins[1 - side]
            if other.batch != batch[1 - side][at] and batch[1 - side][at] not in other.constant:
                raise _coupled("dot_general")
            places.append(at)
            continue
        if ins[1 - side].batch is not None:
            raise _coupled("dot_general")
        free = [i for i in range(ndim) if i not in (*contracting[side], *batch[side])]
        before = len(batch[side]) + (ndims[0] - len(contracting[0]) - len(batch[0]) if side else 0)
        places.append(before + free.index(along.batch))
    if len(set(places)) > 1:
        raise _coupled("dot_general")
    return Along(places[0])


def _scan(params: dict[str, Any], ins: list[Along]) -> list[Along]:
    num_consts, num_carry = scan_sizes(params)
    body = closed(params["jaxpr"]).jaxpr
    consts, carry, xs = ins[:num_consts], ins[num_consts : num_consts + num_carry], ins[num_consts + num_carry :]
    if any(x.batch == 0 for x in xs):
        raise _coupled("scan")
    inner = [Along(None if x.batch is None else x.batch - 1) for x in xs]
    first = carry
    carry = [Along(along.batch) for along in carry]
    while True:
        outs = _through(body, [*consts, *carry, *inner])
        after = [Along(out.batch) for out in outs[:num_carry]]
        if any(old.batch is not None and old != new for old, new in zip(carry, after, strict=True)):
            raise _coupled("scan")
        for old, new in zip(first, after, strict=True):
            if old.batch is None and new.batch is not None and new.batch not in old.constant:
                raise _coupled("scan, as their places in it matter")
        if after == carry:
            return [*after, *(Along(None if y.batch is None else y.batch + 1) for y in outs[num_carry:])]
        carry = after
