"""Flags from dataclasses, and one line that names the flag where a value is not allowed."""

import ast
import contextlib
import dataclasses
import functools
import inspect
import io
import math
import os
import re
import sys
import textwrap
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, cast, get_args, get_origin, get_type_hints

import annotated_types as at
import tyro

from jaxstudies import configs
from jaxstudies.commands.endings import UsageError
from jaxstudies.configs import Dataclass

LEAST, LARGEST = 1.4e-45, 3.4028234663852886e38
"""Sizes of numbers of 32 bits."""
METAVARS = {int: "INT", float: "FLOAT", str: "STR", Path: "PATH"}
NUMBERS = {"INT": ("a whole number", r"[-+]?\d+"), "FLOAT": ("a number", configs.NUMBER)}


def parse(flags: type, argv: list[str] | None = None, **settings: Any) -> Any:
    """Return an instance of a dataclass, filled in from flags; settings are those of `tyro.cli`."""
    check_words(sys.argv[1:] if argv is None else argv)
    stderr = io.StringIO()
    try:
        with contextlib.redirect_stderr(stderr):
            parsed = tyro.cli(flags, args=argv, **settings)
    except SystemExit as stop:
        if not stop.code:
            raise
        raise UsageError(one_line(stderr.getvalue(), flags, argv or [])) from None
    except ValueError as error:  # from a config that checks itself
        raise UsageError(in_flags(str(error), flags)) from error
    check_values(parsed)
    return parsed


def in_flags(message: str, *kinds: Any) -> str:
    """Return what an error says of fields of dataclasses, which it names before its first colon, by their flags."""
    head, colon, rest = message.partition(":")
    names = "|".join(field.name for kind in kinds for field in dataclasses.fields(kind))
    if not (names and colon):
        return message
    return re.sub(rf"(^|, )({names})\b", lambda m: f"{m[1]}--{m[2].replace('_', '-')}", head) + colon + rest


@functools.cache
def explained(*kinds: type) -> type:
    """Return a dataclass with the fields of several, explained better in its help.

    Of two fields of one name the first counts. Docstrings are set as one paragraph; and where a
    default is None, which explains nothing, it is left to the docstring to say what that stands for.
    """
    fields = {}
    for kind in reversed(kinds):
        hints, docstrings = get_type_hints(kind, include_extras=True), field_docstrings(kind)
        for field in dataclasses.fields(kind):
            shown: dict[str, Any] = {"help": docstrings.get(field.name)}
            if field.default is None:
                shown |= {"help_behavior_hint": "", "metavar": metavar(hints[field.name])}
            hint = Annotated[hints[field.name], tyro.conf.arg(**shown)]
            kept: dataclasses.Field = dataclasses.field(kw_only=True)
            kept.default, kept.default_factory = field.default, field.default_factory
            fields[field.name] = (field.name, hint, kept)
    order = dict.fromkeys(field.name for kind in kinds for field in dataclasses.fields(kind))
    return dataclasses.make_dataclass("Flags", [fields[name] for name in order], frozen=True)


def metavar(hint: object) -> str | None:
    """Return what stands for the value of an optional flag, if it is not a choice of words."""
    many = False
    while get_args(hint):
        many |= get_origin(hint) is tuple
        hint = get_args(hint)[0]
    word = METAVARS.get(hint)
    return f"{word} [{word} ...]" if word and many else word


def field_docstrings(config: type) -> dict[str, str]:
    """Return the docstring below each field of a dataclass, without its line breaks."""
    found = {}
    with contextlib.suppress(OSError, TypeError):  # where it was typed in, there is no source
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(config))).body
        for pair in pairwise(definition.body if isinstance(definition, ast.ClassDef) else ()):
            match pair:
                case (ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text)))):
                    found[name] = " ".join(text.split())
    return found


def one_line(box: str, flags: type, argv: list[str]) -> str:
    """Return the parser's message on flags, which it prints in a box, as one line."""
    rows = (line.strip("│| ") for line in box.splitlines() if set(line) - set("╭╰╮╯│─+-| "))
    text = " ".join(row for row in rows if not row.startswith(("For full", "╭")))
    wrong = re.search(r"Error parsing (--[\w-]+)", text)
    kind = re.search(r"Argument helptext:.*?\b(INT|FLOAT)\b", text)
    if wrong and kind:
        number, form = NUMBERS[kind[1]]
        values = [value for flag, values in given(argv) if flag == wrong[1] for value in values]
        bad = next((v for v in values if not re.fullmatch(form, v, re.IGNORECASE)), None)
        count = number_of_values(get_type_hints(flags).get(wrong[1].removeprefix("--").replace("-", "_")))
        if bad is None and count and len(values) != count:
            text = f"{wrong[1]} {' '.join(values)}: takes {count} values"
        else:
            text = f"{wrong[1]} {' '.join(values[-1:]) if bad is None else bad}: must be {number}"
    unknown = re.search(r"Unrecognized options: (.*?)(?: Perhaps you meant:|$)", text)
    if unknown:
        alike = re.findall(r"^[│| ] {4,5}(--[a-z-]+)", box, re.MULTILINE)
        instead = f"; perhaps {' or '.join(alike)} was meant" if alike else ""
        text = f"{unknown[1].replace(',', '')}: there is no such flag{instead}"
        if not unknown[1].startswith("--"):
            text = next(surplus(flags, argv), text)
    return f"{text} (--help explains every flag)"


def number_of_values(hint: object) -> int | None:
    """Return how many values a flag takes that takes a certain number of several."""
    for kind in (hint, *get_args(hint)):
        if get_origin(kind) is tuple and Ellipsis not in get_args(kind):
            return len(get_args(kind))
    return None


def given(argv: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield each flag and the values that follow it."""
    starts = [place for place, word in enumerate(argv) if word.startswith("--")]
    for start, end in pairwise([*starts, len(argv)]):
        flag, equals, value = argv[start].partition("=")
        yield flag, [value] * bool(equals) + argv[start + 1 : end]


def check_words(argv: list[str]) -> None:
    """Raise UsageError at words that nothing can be meant by: an empty path would be the current directory."""
    flag = "argument"
    for word in argv:
        name, equals, value = word.partition("=")
        flag, value = (name, value if equals else None) if word.startswith("--") else (flag, word)
        if value == "":
            raise UsageError(f"{flag} '': a value is needed")
        if any("\ud800" <= letter <= "\udfff" for letter in word):
            raise UsageError(f"{flag} {value}: is not UTF-8")


def surplus(flags: type, argv: list[str]) -> Iterator[str]:
    """Yield what is wrong with flags that are followed by more values than they take."""
    hints = get_type_hints(flags)
    for flag, values in given(argv):
        hint = hints.get(flag.removeprefix("--").replace("-", "_"))
        many = hint is None or any(get_origin(kind) is tuple for kind in (hint, *get_args(hint)))
        count = number_of_values(hint)
        if count and len(values) > count:
            yield f"{flag} {' '.join(values)}: takes {count} values"
        if not many and len(values) > (hint is not bool):
            yield f"{flag} {' '.join(values)}: takes {'no' if hint is bool else 'one'} value"


def check_values(part: object) -> None:
    """Check numbers against the bounds in their type annotations."""
    defaults = {field.name: field.default for field in dataclasses.fields(cast(Dataclass, part))}
    hints = get_type_hints(type(part), include_extras=True)
    for name in defaults:
        value, hint, flag = getattr(part, name), hints[name], f"--{name.replace('_', '-')}"
        if isinstance(value, tuple) and not value and defaults[name] != ():
            raise UsageError(f"{flag}: at least one value is needed")
        numbers = value if isinstance(value, tuple) else (value,)
        if type(numbers) is not tuple:  # a range of very many levels
            numbers = min(numbers), max(numbers)
        for number in (number for number in numbers if number is not None):
            if isinstance(number, float) and not math.isfinite(number):
                raise UsageError(f"{flag} {number}: a finite number is needed")
            for low, high, inclusive_low in bounds(hint):
                if number > high or number < low or (number == low and not inclusive_low):
                    least = f"at least {low:g}" if inclusive_low else f"more than {low:g}"
                    most = "" if high == math.inf else f" and at most {high:.10g}"
                    raise UsageError(f"{flag} {number}: must be {least}{most}")
            if isinstance(number, float) and number and not LEAST <= abs(number) <= LARGEST and not has_64_bits():
                raise UsageError(
                    f"{flag} {number}: must have a size from {LEAST:.3g} to {LARGEST:.3g}, as 32 bits have"
                )


def has_64_bits() -> bool:
    """Return whether JAX is told to compute with 64 bits, as far as the environment says."""
    return os.environ.get("JAX_ENABLE_X64", "0").lower() not in ("", "0", "false", "no", "off", "n", "f")


def bounds(hint: object) -> Iterator[tuple[float, float, bool]]:
    """Yield (low, high, whether low itself is allowed) for each bound inside a type."""
    for bound in getattr(hint, "__metadata__", ()):
        if isinstance(bound, at.Ge):
            yield bound.ge, math.inf, True  # type: ignore[misc]
        elif isinstance(bound, at.Gt):
            yield bound.gt, math.inf, False  # type: ignore[misc]
        elif isinstance(bound, at.Interval):
            low = bound.ge if bound.gt is None else bound.gt
            yield low, bound.le, bound.gt is None  # type: ignore[misc]
    for argument in get_args(hint):
        yield from bounds(argument)
