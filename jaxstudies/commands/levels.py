"""Factors with very many levels: `--learning-rate 0.01:2:1000000:log` for a million numbers."""

import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import get_args, get_origin, get_type_hints

import numpy as np

from jaxstudies.commands.flags import UsageError
from jaxstudies.study import Dataclass

NUMBER = r"[-+]?[\d.]+(?:e[-+]?\d+)?"
RANGE = re.compile(rf"({NUMBER}):({NUMBER}):(\d+)(:log)?", re.IGNORECASE)
MOST = 10**8


class Levels(tuple):
    """Evenly spaced levels of a factor, and the text that they were written as."""

    text: str

    @classmethod
    def parse(cls, text: str, whole: bool = False) -> "Levels":
        """Return the levels of `low:high:number` or, evenly spaced in the logarithm, with `:log`.

        Raises:
            ValueError: The text is something else, or the ends do not allow it.
        """
        matched = RANGE.fullmatch(text)
        if not matched:
            raise ValueError("must be low:high:number or low:high:number:log, as 0.01:1:100:log")
        low, high, number = float(matched[1]), float(matched[2]), int(matched[3])
        if not 1 <= number <= MOST:
            raise ValueError(f"the number of levels must be from 1 to {MOST:,}")
        if matched[4] and min(low, high) <= 0:
            raise ValueError("with :log both ends must be more than 0")
        values = (np.geomspace if matched[4] else np.linspace)(low, high, number)
        if whole:
            values = np.unique(values.round().astype(int))
        levels = cls(values.tolist())
        levels.text = text
        return levels


def take_ranges(config: type, argv: list[str]) -> tuple[list[str], dict[str, Levels]]:
    """Return the flags without those whose value is a range, and the levels of these.

    Raises:
        UsageError: A range is not allowed, or its flag takes none.
    """
    rest, taken, i = [], {}, 0
    while i < len(argv):
        flag, _, joined = argv[i].partition("=")
        value = joined or (argv[i + 1] if i + 1 < len(argv) else "")
        kind = dict(_number_lists(config)).get(flag[2:].replace("-", "_"))
        if flag.startswith("--") and kind and ":" in value:
            try:
                taken[flag[2:].replace("-", "_")] = Levels.parse(value, kind is int)
            except ValueError as error:
                raise UsageError(f"{flag} {value}: {error}") from error
            i += 1 if joined else 2
            continue
        rest.append(argv[i])
        i += 1
    return rest, taken


def _number_lists(config: type) -> Iterator[tuple[str, type]]:
    """Yield the fields that are tuples of numbers, and the numbers' type."""
    for name, hint in get_type_hints(config).items():
        if get_origin(hint) is tuple and get_args(hint)[0] in (int, float):
            yield name, get_args(hint)[0]


def to_json(config: Dataclass) -> dict[str, object]:
    """Return a config as JSON has it."""
    values = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    return {n: v.text if isinstance(v, Levels) else _plain(v) for n, v in values.items()}


def _plain(value: object) -> object:
    return [_plain(v) for v in value] if isinstance(value, tuple) else value


def from_json(config: type, content: Mapping[str, object]) -> Dataclass:
    """Return a config from its JSON form."""
    kinds = dict(_number_lists(config))

    def restore(name, value):
        if isinstance(value, str) and name in kinds:
            return Levels.parse(value, kinds[name] is int)
        return _as_tuple(value)

    return config(**{name: restore(name, value) for name, value in content.items()})


def _as_tuple(value: object) -> object:
    return tuple(map(_as_tuple, value)) if isinstance(value, list) else value
