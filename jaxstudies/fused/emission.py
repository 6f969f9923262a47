"""A jaxpr written out as straight-line C++, its arrays taken apart into numbers.

Every primitive that is not known here is refused by name.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from jaxstudies.fused import loops
from jaxstudies.fused.program import Number, Program, Refused, check_size, constant, constants, kind_of, scalar
from jaxstudies.fused.rules import ELEMENTWISE, IGNORED, Rule, add, multiply, select

SAME = ("stop_gradient", "copy", "copy_p", "optimization_barrier")
INLINED = {"jit": "jaxpr", "pjit": "jaxpr", "closed_call": "call_jaxpr", "core_call": "call_jaxpr"}
INLINED |= {"custom_jvp_call": "call_jaxpr", "custom_vjp_call": "call_jaxpr", "custom_vjp_call_jaxpr": "fun_jaxpr"}
INLINED |= {"remat": "jaxpr", "remat2": "jaxpr", "checkpoint": "jaxpr"}


def contract(program: Program, a: np.ndarray, b: np.ndarray, dimension_numbers: Any) -> np.ndarray:
    """Multiply and sum as `jax.lax.dot_general` does."""
    (contract_a, contract_b), (batch_a, batch_b) = dimension_numbers
    free_a = [i for i in range(a.ndim) if i not in (*contract_a, *batch_a)]
    free_b = [i for i in range(b.ndim) if i not in (*contract_b, *batch_b)]
    a, b = a.transpose(*batch_a, *free_a, *contract_a), b.transpose(*batch_b, *free_b, *contract_b)
    groups, inner = len(batch_a), len(contract_a)
    batch, rows = a.shape[:groups], a.shape[groups : a.ndim - inner]
    columns, summed = b.shape[groups : b.ndim - inner], a.shape[a.ndim - inner :]
    size = [int(np.prod(shape)) for shape in (batch, rows, columns, summed)]
    left, right = a.reshape(size[0], size[1], size[3]), b.reshape(size[0], size[2], size[3])
    if program.rolled and size[0] == 1 and (looped := loops.product(program, left[0], right[0])) is not None:
        return looped.reshape(*batch, *rows, *columns)
    out = np.empty(size[:3], object)
    for g, i, j in np.ndindex(out.shape):
        total = constant(0, "float")
        # What is a sum already, as a bias whose input is 1, comes first: the rest is multiplied and added at once.
        for x, y in sorted(
            zip(left[g, i], right[g, j], strict=True), key=lambda pair: 1 not in (pair[0].value, pair[1].value)
        ):
            total = add(program, total, multiply(program, x, y))
        out[g, i, j] = total
    return out.reshape(*batch, *rows, *columns)


def fold(program: Program, rule: Rule, array: np.ndarray, axes: Sequence[int], start: Number) -> np.ndarray:
    """Reduce an array over axes."""
    kept = [i for i in range(array.ndim) if i not in axes]
    number = int(np.prod([array.shape[i] for i in axes]))
    rows = array.transpose(*kept, *axes).reshape(*(array.shape[i] for i in kept), number)
    out = np.empty(rows.shape[:-1], object)
    for index in np.ndindex(out.shape):
        total = start
        for number in rows[index]:
            total = rule(program, total, number)
        out[index] = total
    return out


REDUCTIONS = {"reduce_sum": ("add", 0), "reduce_prod": ("mul", 1)}
REDUCTIONS |= {"reduce_max": ("max", -np.inf), "reduce_min": ("min", np.inf)}


def shape_of(atom: Any) -> tuple[int, ...]:
    """Return the shape of a variable or a literal of a jaxpr."""
    return tuple(atom.aval.shape)


def _padded(eqn: core.JaxprEqn, array: np.ndarray, value: np.ndarray) -> np.ndarray:
    out = np.full(shape_of(eqn.outvars[0]), value[()], object)
    if any(low < 0 or high < 0 for low, high, _ in eqn.params["padding_config"]):
        raise Refused("pad by a negative number")
    sizes = zip(array.shape, eqn.params["padding_config"], strict=True)
    out[tuple(slice(low, low + n * (gap + 1), gap + 1) if n else slice(0, 0) for n, (low, _, gap) in sizes)] = array
    return out


def _rearranged(eqn: core.JaxprEqn, ins: list[np.ndarray]) -> list[np.ndarray] | None:
    """Return what a primitive makes that only moves numbers, or None if it is another."""
    params = eqn.params
    match eqn.primitive.name:
        case "broadcast_in_dim":
            shape = [1] * len(params["shape"])
            for size, axis in zip(ins[0].shape, params["broadcast_dimensions"], strict=True):
                shape[axis] = size
            return [np.broadcast_to(ins[0].reshape(shape), params["shape"])]
        case "reshape" if params.get("dimensions") is None:
            return [ins[0].reshape(params["new_sizes"])]
        case "squeeze" | "expand_dims":
            return [ins[0].reshape(shape_of(eqn.outvars[0]))]
        case "transpose":
            return [ins[0].transpose(params["permutation"])]
        case "rev":
            return [np.flip(ins[0], params["dimensions"])]
        case "concatenate":
            return [np.concatenate(ins, params["dimension"])]
        case "split":
            return np.split(ins[0], np.cumsum(params["sizes"])[:-1], params["axis"])
        case "slice":
            steps = params["strides"] or [1] * ins[0].ndim
            cuts = zip(params["start_indices"], params["limit_indices"], steps, strict=True)
            return [ins[0][tuple(slice(*cut) for cut in cuts)]]
        case "pad":
            return [_padded(eqn, *ins)]
        case name if name in SAME:
            return ins
        case "iota":
            shape, axis = params["shape"], params["dimension"]
            numbers = np.arange(shape[axis]).reshape([-1 if i == axis else 1 for i in range(len(shape))])
            return [constants(np.broadcast_to(numbers, shape).astype(params["dtype"]))]
    return None


def unknown(primitive: str) -> Refused:
    """Return what to raise for a primitive that is not known."""
    if primitive.startswith(("random_", "threefry", "rng_")):
        return Refused("random numbers in training, such as those of dropout")
    return Refused(f"the primitive {primitive}")


def live(jaxpr: core.Jaxpr) -> list[core.JaxprEqn]:
    """Return the equations on which the results depend: a network's unused random numbers are none of them."""
    needed, kept = {atom for atom in jaxpr.outvars if not isinstance(atom, core.Literal)}, []
    for eqn in reversed(jaxpr.eqns):
        if not needed.isdisjoint(eqn.outvars):
            kept.append(eqn)
            needed |= {atom for atom in eqn.invars if not isinstance(atom, core.Literal)}
    return kept[::-1]


def evaluate(
    program: Program, jaxpr: core.Jaxpr, consts: Sequence[Any], args: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """Write a jaxpr out for arrays of numbers.

    Args:
        program: Takes the statements.
        jaxpr: What is computed.
        consts: Its constants, known arrays or arrays of numbers.
        args: Its arguments, arrays of numbers.

    Raises:
        Refused: It has a primitive that is not known here.
    """
    values: dict[core.Var, np.ndarray] = dict(zip(jaxpr.invars, args, strict=True))
    for var, const in zip(jaxpr.constvars, consts, strict=True):
        values[var] = const if isinstance(const, np.ndarray) and const.dtype == object else constants(const)

    def read(atom: Any) -> np.ndarray:
        if not isinstance(atom, core.Literal):
            return values[atom]
        return constants(np.asarray(atom.val, atom.aval.dtype))  # type: ignore

    for eqn in live(jaxpr):
        check_size(sum(int(np.prod(shape_of(var))) for var in eqn.outvars))
        ins = [read(atom) for atom in eqn.invars]
        try:
            outs = _equation(program, eqn, ins)
        except (TypeError, ValueError, LookupError) as error:  # another version of JAX may say it in another way
            raise Refused(f"the primitive {eqn.primitive.name} as it stands here ({error})") from error
        values |= dict(zip(eqn.outvars, outs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _equation(program: Program, eqn: core.JaxprEqn, ins: list[np.ndarray]) -> list[np.ndarray]:
    name, params = eqn.primitive.name, eqn.params
    if name in INLINED:
        inner = closed(params[INLINED[name]])
        return evaluate(program, inner.jaxpr, inner.consts, ins)
    if name == "scan":
        return _scan(program, params, ins)
    if name == "cond" and len(params["branches"]) == 2:
        return _cond(program, params, ins)
    if name == "dot_general":
        if any(array.size and array.flat[0].kind != "float" for array in ins):
            raise Refused("products of matrices of ints")
        return [contract(program, ins[0], ins[1], params["dimension_numbers"])]
    if name in REDUCTIONS:
        rule, start = REDUCTIONS[name]
        kind = kind_of(eqn.invars[0].aval.dtype)  # type: ignore
        if kind != "float":
            raise Refused(f"{name} of {kind}s")
        return [fold(program, ELEMENTWISE[rule], ins[0], [*map(int, params["axes"])], constant(start, "float"))]
    moved = _rearranged(eqn, ins)
    if moved is not None:
        return moved
    if name not in ELEMENTWISE:
        raise unknown(name)
    rule = ELEMENTWISE[name]
    said = {key: value for key, value in params.items() if value is not None and key not in IGNORED}
    apply = np.frompyfunc(lambda *numbers: rule(program, *numbers, **said), len(ins), 1)
    out = apply(*np.broadcast_arrays(*ins))
    return [out if isinstance(out, np.ndarray) else scalar(out)]


def is_elementwise(jaxpr: core.Jaxpr) -> bool:
    """Return whether the numbers of arrays are computed one by one, all in the same way."""

    def is_one(eqn: core.JaxprEqn) -> bool:
        name, params = eqn.primitive.name, eqn.params
        inner = [params[INLINED[name]]] if name in INLINED else params["branches"] if name == "cond" else []
        if inner:
            return all(is_elementwise(closed(each).jaxpr) for each in inner)
        shapes = {shape_of(atom) for atom in (*eqn.invars, *eqn.outvars)} - {()}
        return len(shapes) <= 1 and (name in ELEMENTWISE or name in ("broadcast_in_dim", *SAME))

    return all(is_one(eqn) for eqn in live(jaxpr))


def closed(jaxpr: core.Jaxpr | core.ClosedJaxpr) -> core.ClosedJaxpr:
    """Return a jaxpr with its constants, of which one alone has none."""
    return jaxpr if isinstance(jaxpr, core.ClosedJaxpr) else core.ClosedJaxpr(jaxpr, ())


def scan_sizes(params: dict[str, Any]) -> tuple[int, int]:
    """Return how many of a scan's operands stay, and how many are carried from turn to turn."""
    if "ft_in" not in params:
        return params["num_consts"], params["num_carry"]
    consts, carry, _ = (len(list(part)) for part in params["ft_in"].unpack())  # from JAX 0.11 on
    return consts, carry


def _cond(program: Program, params: dict[str, Any], ins: list[np.ndarray]) -> list[np.ndarray]:
    """Write both branches out and choose number by number, as XLA does of a mapped condition."""
    index: Number = ins[0].item()
    which = ELEMENTWISE["ne"](program, index, constant(0, index.kind))
    branches = [closed(branch) for branch in params["branches"]]
    outs = [evaluate(program, branch.jaxpr, branch.consts, ins[1:]) for branch in branches]
    choose = np.frompyfunc(lambda *cases: select(program, which, *cases), 2, 1)
    chosen = (choose(*cases) for cases in zip(*outs, strict=True))
    return [out if isinstance(out, np.ndarray) else scalar(out) for out in chosen]


def _scan(program: Program, params: dict[str, Any], ins: list[np.ndarray]) -> list[np.ndarray]:
    """Write a scan out, turn by turn."""
    num_consts, num_carry = scan_sizes(params)
    consts, carry, xs = ins[:num_consts], ins[num_consts : num_consts + num_carry], ins[num_consts + num_carry :]
    body, rows = closed(params["jaxpr"]), []
    turns = range(params["length"])
    for turn in reversed(turns) if params["reverse"] else turns:
        slices = (x[turn] if isinstance(x[turn], np.ndarray) else scalar(x[turn]) for x in xs)
        outs = evaluate(program, body.jaxpr, body.consts, [*consts, *carry, *slices])
        carry = outs[:num_carry]
        rows.append(outs[num_carry:])
    rows = rows[::-1] if params["reverse"] else rows
    if not rows:
        empty = (np.empty((0, *aval.shape), object) for aval in body.out_avals[num_carry:])
        return [*carry, *empty]
    return [*carry, *(np.stack(ys) for ys in zip(*rows, strict=True))]


def trace(f: Callable, *args: Any) -> tuple[core.ClosedJaxpr, Any]:
    """Return the jaxpr of a function of pytrees of shapes, and the structure of what it returns."""
    leaves, tree = jax.tree.flatten(args)
    closed, shape = jax.make_jaxpr(lambda *x: f(*jax.tree.unflatten(tree, x)), return_shape=True)(*leaves)
    return closed, shape


def shapes_of(tree: Any) -> Any:
    """Return shapes and dtypes in place of arrays."""
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(jnp.shape(a), jnp.result_type(a)), tree)
