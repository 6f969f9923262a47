"""Configurations of studies: dataclasses whose tuples are factors, as JSON, and factors with very many levels."""

import contextlib
import dataclasses
import re
from collections.abc import Mapping
from enum import Enum
from pathlib import PurePath
from typing import Annotated, ClassVar, Literal, Protocol, get_args, get_origin, get_type_hints, runtime_checkable

from annotated_types import Interval


@runtime_checkable
class Dataclass(Protocol):
    """An instance of a dataclass, such as a study's `Config`."""

    __dataclass_fields__: ClassVar[dict]


LARGEST_SEED = 2**32 - 1
"""Master seeds and the numbers of seeds are 32-bit words of a key."""
MasterSeed = Annotated[int, Interval(ge=0, le=LARGEST_SEED)]
EXECUTION = ("seeds", "seed")
"""Fields that belong to the command line and to `run`: in a config they set the default."""
NUMBER = r"[-+]?[\d.]+(?:e[-+]?\d+)?"
RANGE = re.compile(rf"({NUMBER}):({NUMBER}):(\d+)(:log)?", re.IGNORECASE)
MOST = 10**8


def without_execution(config: Mapping[str, object]) -> dict[str, object]:
    """Return a config, as JSON has it, without what belongs to the command line and to `run`."""
    return {name: value for name, value in config.items() if name not in EXECUTION}


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
        import numpy as np  # the flags of a study without ranges are parsed without it

        values = (np.geomspace if matched[4] else np.linspace)(low, high, number)
        if whole:
            values = np.unique(values.round().astype(int))
        levels = cls(values.tolist())
        levels.text = text
        return levels


def lists(config: type) -> dict[str, object]:
    """Return the fields that are tuples of any length, and what they are of; a pair, say of coordinates, is none."""
    tuples = {name: get_args(hint) for name, hint in get_type_hints(config).items() if get_origin(hint) is tuple}
    return {name: parts[0] for name, parts in tuples.items() if parts[1:] == (Ellipsis,)}


def number_lists(config: type) -> dict[str, type]:
    """Return the fields that are tuples of numbers, of any length, and the numbers' type."""
    return {name: kind for name, kind in lists(config).items() if kind is int or kind is float}


def choices(hint: object) -> set[object]:
    """Return the words of the choices inside a type."""
    found = get_args(hint)
    return set(found) if get_origin(hint) is Literal else set().union(*map(choices, found))


def check_choices(config: Dataclass) -> None:
    """Raise ValueError where a field that is a choice of words has another word."""
    with contextlib.suppress(NameError):  # of types that are known elsewhere alone
        for name, hint in get_type_hints(type(config)).items():
            value, known = getattr(config, name, None), choices(hint)
            for word in value if isinstance(value, tuple) else (value,):
                if known and isinstance(word, str) and word not in known:
                    raise ValueError(f"{name} {word!r}: one of {', '.join(sorted(map(str, known)))}")


def fields_of(config: Dataclass) -> dict[str, object]:
    """Return the fields of a config."""
    return {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}


def to_json(config: Dataclass) -> dict[str, object]:
    """Return a config as JSON has it; of many levels, the text that they were written as."""
    values = fields_of(config).items()
    return {name: value.text if isinstance(value, Levels) else plain(value) for name, value in values}


def plain(value: object) -> object:
    """Return a value as JSON has it; of what JSON has not, such as a function, the name or the text."""
    if isinstance(value, list | tuple):
        return [plain(element) for element in value]
    if isinstance(value, set | frozenset):  # in an order of its own, which each process has otherwise
        return sorted(map(plain, value), key=str)
    if isinstance(value, Enum):
        return value.name
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return re.sub(" at 0x[0-9a-f]+", "", str(getattr(value, "__name__", value)))


def from_json(config: type, content: Mapping[str, object]) -> Dataclass:
    """Return a config from its JSON form: members of an Enum, paths and sets where a field's type says so."""
    kinds, hints = number_lists(config), get_type_hints(config)

    def restore(value, hint, kind=None):
        if isinstance(value, str) and kind:
            return Levels.parse(value, kind is int)
        if isinstance(value, list):
            inner = next((part for part in get_args(hint) if part is not Ellipsis), None)
            whole = get_origin(hint) if get_origin(hint) in (set, frozenset, list) else tuple
            return whole(restore(element, inner) for element in value)
        for one in (hint, *get_args(hint)):
            if isinstance(one, type) and isinstance(value, str):
                if issubclass(one, Enum) and value in one.__members__:
                    return one[value]
                if issubclass(one, PurePath):
                    return one(value)
        return value

    return config(**{name: restore(value, hints.get(name), kinds.get(name)) for name, value in content.items()})
