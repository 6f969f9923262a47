"""Factors with very many levels: `--learning-rate 0.01:2:1000000:log` for a million numbers."""

import dataclasses
import re
from collections.abc import Mapping
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
    """Return the flags without those whose value is a range, and the levels of these."""
    kinds, rest, taken = _number_lists(config), [], {}
    left = list(argv)
    while left:
        flag, _, value = left[0].partition("=")
        words, value = (1, value) if value else (2, "".join(left[1:2]))
        name = flag.removeprefix("--").replace("-", "_")
        if flag.startswith("--") and name in kinds and ":" in value:
            try:
                taken[name] = Levels.parse(value, kinds[name] is int)
            except ValueError as error:
                raise UsageError(f"{flag} {value}: {error}") from error
        else:
            words = 1
            rest.append(left[0])
        del left[:words]
    return rest, taken


def _number_lists(config: type) -> dict[str, type]:
    """Return the fields that are tuples of numbers, and the numbers' type."""
    tuples = {name: get_args(hint)[0] for name, hint in get_type_hints(config).items() if get_origin(hint) is tuple}
    return {name: kind for name, kind in tuples.items() if kind in (int, float)}


def to_json(config: Dataclass) -> dict[str, object]:
    """Return a config as JSON has it; of many levels, the text that they were written as."""
    values = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    return {name: value.text if isinstance(value, Levels) else value for name, value in values.items()}


def from_json(config: type, content: Mapping[str, object]) -> Dataclass:
    """Return a config from its JSON form."""
    kinds = _number_lists(config)

    def restore(value, kind=None):
        if isinstance(value, str) and kind:
            return Levels.parse(value, kind is int)
        return tuple(map(restore, value)) if isinstance(value, list) else value

    return config(**{name: restore(value, kinds.get(name)) for name, value in content.items()})
