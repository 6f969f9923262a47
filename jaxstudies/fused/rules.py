"""What each primitive that goes number by number writes."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jaxstudies.fused.program import LANES, Kind, Number, Program, Refused, constant, kind_of

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


def select(program: Program, which: Number, *cases: Number) -> Number:
    """Choose the second of two cases where a bool is true."""
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
    "select_n": select,
    "integer_pow": _integer_pow,
    "pow": _pow,
    "clamp": _clamp,
    "convert_element_type": _convert,
    **{name: _function(name) for name in FUNCTIONS},
}
"""What each primitive that goes number by number writes; its parameters come by name."""
IGNORED = {"accuracy", "sharding", "weak_type", "fill_value"}
"""Parameters of primitives that do not change what is computed in float32."""
