"""A jaxpr written out as straight-line C++, its arrays taken apart into numbers.

Each number of the program is a lane's, and then a vector over networks on a CPU and one thread's own on a card; or it
is the same for all networks, and then a scalar. Every primitive that is not known here is refused by name.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

Kind = Literal["float", "int", "bool"]
TYPES = {("float", True): "v", ("int", True): "iv", ("bool", True): "m"}
LANES = {"float": "V", "int": "IV", "bool": "M"}
MOST_STATEMENTS = 20_000
"""Statements that are written out before it is given up."""


class Refused(Exception):
    """What stands in the way of a fused kernel, in words that follow `cannot be fused:`."""


@dataclass(frozen=True, eq=False)
class Number:
    """A number of the program: a name, or a constant with its value; `lanes` if networks differ in it."""

    text: str
    kind: Kind
    lanes: bool
    value: float | int | bool | None = None


def check_size(numbers: int) -> None:
    """Raise Refused for more numbers than could be written out, before they are taken apart."""
    if numbers > MOST_STATEMENTS:
        raise Refused(f"{numbers:,} numbers are too many, of {MOST_STATEMENTS:,}")


def kind_of(dtype: Any) -> Kind:
    """Return the kind of number that a dtype holds.

    Raises:
        Refused: It is another than float32, int32 and bool.
    """
    kinds: dict[str, Kind] = {"float32": "float", "int32": "int", "bool": "bool"}
    if str(dtype).startswith("key<"):
        raise Refused("random numbers in training, such as those of dropout")
    if str(dtype) not in kinds:
        raise Refused(f"numbers of type {dtype}")
    return kinds[str(dtype)]


def constant(value: Any, kind: Kind) -> Number:
    """Return a constant of the program."""
    if kind == "bool":
        return Number("true" if value else "false", kind, False, bool(value))
    if kind == "int":
        return Number(f"({int(value)})", kind, False, int(value))
    number = float(np.float32(value))
    if np.isnan(number):
        return Number("NOT_A_NUMBER", kind, False, number)
    if np.isinf(number):
        return Number("INFINITE" if number > 0 else "(-INFINITE)", kind, False, number)
    return Number(f"({number!r}f)", kind, False, number)


def constants(array: Any) -> np.ndarray:
    """Take an array of known numbers apart."""
    array = np.asarray(array)
    check_size(array.size)
    out, kind = np.empty(array.shape, object), kind_of(array.dtype)
    for index in np.ndindex(array.shape):
        out[index] = constant(array[index], kind)
    return out


def scalar(number: Number) -> np.ndarray:
    """Return a number as an array without axes."""
    out = np.empty((), object)
    out[()] = number
    return out


class Program:
    """The statements written so far; what was written once is not written again."""

    def __init__(self):
        self.lines: list[str] = []
        self._names = itertools.count()
        self._known: dict[str, Number] = {}

    def write(self, text: str, kind: Kind, lanes: bool) -> Number:
        """Give an expression a name."""
        if text not in self._known:
            if len(self.lines) >= MOST_STATEMENTS:
                raise Refused(f"more than {MOST_STATEMENTS:,} operations")
            name = f"t{next(self._names)}"
            self.lines.append(f"const {TYPES[kind, True] if lanes else kind} {name} = {text};")
            self._known[text] = Number(name, kind, lanes)
        return self._known[text]

    def call(self, form: str, kind: Kind, *numbers: Number) -> Number:
        """Write a form with the numbers in the places of its braces, spread over the lanes if any of them is."""
        lanes = any(number.lanes for number in numbers)
        texts = (n.text if n.lanes or not lanes else f"{LANES[n.kind]}({n.text})" for n in numbers)
        return self.write(form.format(*texts), kind, lanes)


Rule = Callable[..., Number]


def _infix(sign: str, fold: Callable, neutral_right: float | None = None, neutral_left: float | None = None) -> Rule:
    """Return the rule of an arithmetic sign; what changes nothing is left out, but 0 x infinity is not 0."""

    def rule(program: Program, a: Number, b: Number) -> Number:
        if a.value is not None and b.value is not None and a.kind == "float":
            with np.errstate(all="ignore"):
                return constant(fold(np.float32(a.value), np.float32(b.value)), "float")
        if neutral_right is not None and b.value == neutral_right and a.kind != "bool":
            return a
        if neutral_left is not None and a.value == neutral_left and a.kind != "bool":
            return b
        if a.kind == "bool" or (sign == "/" and a.kind == "int"):
            raise Refused(f"'{sign}' of {a.kind}s")
        return program.call(f"{{}} {sign} {{}}", a.kind, a, b)

    return rule


def _compare(sign: str, fold: Callable) -> Rule:
    def rule(program: Program, a: Number, b: Number) -> Number:
        if a.value is not None and b.value is not None:
            return constant(fold(a.value, b.value), "bool")
        if a.kind == "bool":
            if sign not in ("==", "!="):
                raise Refused(f"'{sign}' of bools")
            different = program.call("{} ^ {}", "bool", a, b)
            return different if sign == "!=" else program.call("not_({})", "bool", different)
        return program.call(f"{{}} {sign} {{}}", "bool", a, b)

    return rule


def _bitwise(sign: str, fold: Callable) -> Rule:
    def rule(program: Program, a: Number, b: Number) -> Number:
        if a.kind == "float":
            raise Refused(f"'{sign}' of floats")
        if a.value is not None and b.value is not None:
            return constant(fold(a.value, b.value), a.kind)
        return program.call(f"{{}} {sign} {{}}", a.kind, a, b)

    return rule


def _extreme(name: str, fold: Callable) -> Rule:
    """Return the rule of the larger or the smaller of two, NaN if either is."""

    def rule(program: Program, a: Number, b: Number) -> Number:
        if a.value is not None and b.value is not None:
            return constant(fold(a.value, b.value), a.kind)
        if a.kind == "bool":
            return program.call("{} | {}" if name == "max" else "{} & {}", "bool", a, b)
        first, second = (b, a) if a.value is not None else (a, b)
        known = a.kind == "int" or (second.value is not None and not np.isnan(second.value))
        return program.call(f"{name}{'_known' if known else ''}_({{}}, {{}})", a.kind, first, second)

    return rule


def _function(name: str) -> Rule:
    def rule(program: Program, a: Number, **_: Any) -> Number:
        if a.kind != "float":
            raise Refused(f"{name} of {a.kind}s")
        return program.call(f"{name}_({{}})", "float", a)

    return rule


def _form(form: str, kinds: Sequence[Kind] = ("float", "int"), result: Kind | None = None) -> Rule:
    def rule(program: Program, *numbers: Number, **_: Any) -> Number:
        if any(number.kind not in kinds for number in numbers):
            raise Refused(f"'{form}' of {numbers[0].kind}s")
        return program.call(form, result or numbers[0].kind, *numbers)

    return rule


def _select(program: Program, which: Number, *cases: Number) -> Number:
    if which.kind != "bool" or len(cases) != 2:
        raise Refused("select_n among more than two")
    if which.value is not None:
        return cases[int(which.value)]
    if cases[0].text == cases[1].text:
        return cases[0]
    lanes = any(number.lanes for number in (which, *cases))
    texts = [n.text if n.lanes or not lanes else f"{LANES[n.kind]}({n.text})" for n in cases]
    if lanes and not which.lanes:  # one choice for all networks
        return program.write(f"{which.text} ? {texts[1]} : {texts[0]}", cases[0].kind, True)
    return program.write(f"sel({which.text}, {texts[1]}, {texts[0]})", cases[0].kind, lanes)


def _integer_pow(program: Program, a: Number, *, y: int) -> Number:
    if y == 0:
        return constant(1, a.kind)
    power, square, left = None, a, abs(y)
    while left:
        if left & 1:
            power = square if power is None else multiply(program, power, square)
        left >>= 1
        square = multiply(program, square, square) if left else square
    assert power is not None
    return power if y > 0 else divide(program, constant(1, a.kind), power)


def _pow(program: Program, a: Number, b: Number) -> Number:
    return program.call("pow_({}, {})", "float", a, _convert(program, b, new_dtype=np.dtype("float32")))


def _convert(program: Program, a: Number, *, new_dtype: Any, **_: Any) -> Number:
    kind = kind_of(new_dtype)
    if kind == a.kind:
        return a
    if a.value is not None:
        return constant(a.value, kind)
    if kind == "bool":
        return program.call(f"{{}} != {LANES[a.kind] if a.lanes else ''}(0)", "bool", a)
    if a.kind == "float":
        raise Refused("floats turned into ints")
    return program.call(f"{a.kind}_to_{kind}({{}})", kind, a)


def _sign(program: Program, a: Number) -> Number:
    one, minus, zero = (constant(value, a.kind) for value in (1, -1, 0))
    below = program.call("sel({0} < {2}, {1}, {0})", a.kind, a, minus, zero)
    return program.call("sel({0} > {3}, {1}, {2})", a.kind, a, one, below, zero)


def _clamp(program: Program, low: Number, a: Number, high: Number) -> Number:
    return ELEMENTWISE["min"](program, ELEMENTWISE["max"](program, a, low), high)


def _one_minus_square(program: Program, a: Number) -> Number:
    return ELEMENTWISE["sub"](program, constant(1, a.kind), multiply(program, a, a))


add = _infix("+", np.add, 0, 0)
multiply = _infix("*", np.multiply, 1, 1)
_quotient = _infix("/", np.divide, 1)


def divide(program: Program, a: Number, b: Number) -> Number:
    """Divide; by what is one number for all networks, by a product with its reciprocal."""
    if a.lanes and not b.lanes and a.kind == "float" and b.value != 1:
        return multiply(program, a, _quotient(program, constant(1, "float"), b))
    return _quotient(program, a, b)


FUNCTIONS = ["exp", "expm1", "log", "log1p", "tanh", "sin", "cos", "erf", "erfc"]
FUNCTIONS += ["sqrt", "rsqrt", "logistic", "floor", "ceil"]
ELEMENTWISE: dict[str, Rule] = {
    "add": add,
    "add_any": add,
    "sub": _infix("-", np.subtract, 0),
    "mul": multiply,
    "div": divide,
    "gt": _compare(">", lambda a, b: a > b),
    "lt": _compare("<", lambda a, b: a < b),
    "ge": _compare(">=", lambda a, b: a >= b),
    "le": _compare("<=", lambda a, b: a <= b),
    "eq": _compare("==", lambda a, b: a == b),
    "ne": _compare("!=", lambda a, b: a != b),
    "and": _bitwise("&", lambda a, b: a & b),
    "or": _bitwise("|", lambda a, b: a | b),
    "xor": _bitwise("^", lambda a, b: a ^ b),
    "not": _form("not_({})", ("bool",)),
    "max": _extreme("max", np.maximum),
    "min": _extreme("min", np.minimum),
    "neg": _form("-{}"),
    "abs": _form("abs_({})", ("float",)),
    "sign": _sign,
    "square": lambda program, a: multiply(program, a, a),
    "one_minus_square": _one_minus_square,
    "is_finite": _form("{0} - {0} == {0} - {0}", ("float",), "bool"),
    "select_n": _select,
    "integer_pow": _integer_pow,
    "pow": _pow,
    "clamp": _clamp,
    "convert_element_type": _convert,
    **{name: _function(name) for name in FUNCTIONS},
}
"""What each primitive that goes number by number writes; its parameters come by name."""
IGNORED = {"accuracy", "sharding", "weak_type", "fill_value"}
"""Parameters of primitives that do not change what is computed in float32."""

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
        case "stop_gradient" | "copy" | "copy_p" | "optimization_barrier":
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
    choose = np.frompyfunc(lambda *cases: _select(program, which, *cases), 2, 1)
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
