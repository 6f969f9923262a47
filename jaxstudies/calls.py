"""A call of the library: its arguments checked, and the study that its function and config are."""

import dataclasses
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, cast

from jaxtyping import PyTree

from jaxstudies import arguments
from jaxstudies.configs import LARGEST_SEED, Dataclass
from jaxstudies.engine.design import Simulate
from jaxstudies.engine.execution import Execution
from jaxstudies.output import owned
from jaxstudies.study import Study
from jaxstudies.tasks import levels_of, takes_config


class How(NamedTuple):
    """How a function is run."""

    num_seeds: int
    seed: int
    directory: Path | None
    execution: Execution


def checked(
    num_seeds: object, seed: object, directory: object, chunk_size: object, num_devices: object, progress: bool
) -> How:
    """Return the arguments of `map_seeds` and `run`; raise TypeError or ValueError that names the wrong one."""
    return How(
        arguments.whole("num_seeds", num_seeds, 1, LARGEST_SEED + 1),
        arguments.whole("seed", seed, 0, LARGEST_SEED),
        None if directory is None else arguments.path("directory", directory),
        Execution(
            arguments.optional("chunk_size", chunk_size, 1),
            arguments.optional("num_devices", num_devices, 1),
            progress=bool(progress),
        ),
    )


def filled_in(config: object) -> Dataclass:
    """Return a config as a dataclass; lists and ranges are tuples in it."""
    if isinstance(config, Mapping):
        arguments.names("config", config)
        given = dict(config)
    elif dataclasses.is_dataclass(config) and not isinstance(config, type):
        given = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    else:
        raise TypeError(f"config {arguments.short(config)}: a mapping, or an instance of a dataclass")
    levels = {name: arguments.levels(name, value) for name, value in given.items()}
    if isinstance(config, Mapping):
        return cast(Dataclass, dataclasses.make_dataclass("Config", list(levels))(**levels))
    changed = {name: value for name, value in levels.items() if value is not given[name]}
    return dataclasses.replace(config, **changed)


def study_of(
    config: Dataclass | Mapping[str, object],
    simulate: Simulate,
    data: Mapping[str, PyTree],
    axes: Mapping[str, tuple[str, ...]] | None = None,
) -> Study:
    """Return the study that a config and a function are.

    Raises:
        TypeError: `simulate` does not take what a mapping names.
        ValueError: A name is taken.
    """
    filled = filled_in(config)
    fields = {field.name for field in dataclasses.fields(filled)}
    for name in ("key", "seed", "seeds") if isinstance(config, Mapping) else ():
        if name in fields:
            raise ValueError(f"config: {name!r} is taken; call the factor something else")
    taken = inspect.signature(simulate).parameters
    if isinstance(config, Mapping) and (left := sorted(fields - set(taken))):
        raise TypeError(f"config: simulate does not take {', '.join(left)}")
    any_name = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in taken.values())
    if not any_name and (left := sorted(set(data) - set(taken))):
        raise TypeError(f"data: simulate does not take {', '.join(left)}")
    if isinstance(config, Mapping) and (twice := sorted(fields & set(data))):
        raise ValueError(f"data: {', '.join(twice)} is in the config, too")
    return Study(owned.OF_FUNCTIONS, "", None, "", type(filled), simulate, lambda config: dict(data), AXES=axes or {})


def code_of(study: Study, config: Dataclass) -> list[object]:
    """Return what decides numbers beside the data: the function, and levels that may be functions."""
    levels = list(levels_of(study, config, study.data(config)).items())
    return [study.simulate, levels, *([type(config)] if takes_config(study) else [])]  # whose methods may count, too
