"""The library's two ways to run: a function over seeds, and a design over settings and seeds."""

import dataclasses
import inspect
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import cast

import jax
import numpy as np
import pandas as pd
import pyarrow as pa
from jaxtyping import PyTree

from jaxstudies import jobs, results
from jaxstudies.configs import Dataclass
from jaxstudies.engine import chunks, gather, monte_carlo
from jaxstudies.engine.chunks import Memory
from jaxstudies.engine.design import Design, Simulate, as_array
from jaxstudies.engine.monte_carlo import Execution
from jaxstudies.evidence.claims import Claim, Verdict, judge_all, sentence
from jaxstudies.output import files, nonfinite, reach, table
from jaxstudies.study import Results, Study, levels_of, task_of


def map_seeds(
    simulate: Simulate,
    *shared: PyTree,
    num_seeds: int,
    seed: int = 0,
    directory: str | Path | None = None,
    chunk_size: int | None = None,
    num_devices: int | None = None,
) -> dict[str, np.ndarray]:
    """Map a simulation over seeds, in one compiled program, on all devices.

    Args:
        simulate: Pure function `simulate(key, *shared)`: one run, arrays by name.
        *shared: Arrays that all seeds share.
        num_seeds: Number of seeds, at least 1. Seed i depends on the master seed and on i alone: ten are the first
            ten of a thousand.
        seed: Master seed, from 0 to 2^32 - 1.
        directory: Where finished runs are kept. Called again after a kill, it goes on; with more seeds, it runs only
            those that are new.
        chunk_size: Seeds run at once, which bounds the memory; chosen by default.
        num_devices: Devices used; all by default.

    Returns:
        The simulation's arrays, each with a leading axis of `num_seeds`.

    Raises:
        ValueError: `num_seeds` is less than 1, or more devices are asked for than there are.
        StudyError: `simulate` does not return a dictionary of arrays.
        DirectoryError: The directory cannot be used.

    Examples:
        >>> import jax
        >>> from jaxstudies import map_seeds
        >>> def simulate(key, scale):
        ...     return {"draw": scale * jax.random.normal(key, (3,))}
        >>> map_seeds(simulate, 2.0, num_seeds=100)["draw"].shape
        (100, 3)
    """
    check_num_seeds(num_seeds)
    data = {f"shared_{i}": jax.tree.map(as_array, value) for i, value in enumerate(shared)}
    parameters = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in ("key", *data)]

    def by_name(key, **given):
        return simulate(key, *(given[name] for name in data))

    vars(by_name)["__signature__"] = inspect.Signature(parameters)
    study = study_of({}, by_name, data)
    execution = Execution(chunk_size, num_devices)
    if directory is not None:
        return table.to_arrays(rows_of(study, study.Config(), [simulate], num_seeds, seed, execution, directory)[0])
    task, kept = task_of(study, study.Config(), num_seeds, seed, execution), Memory()
    monte_carlo.shapes_of(task)
    (plan,), *_ = monte_carlo.compute(task, kept)
    return {name: values[:, 0] for name, values in gather.collect(plan, kept, (0, 1), (0, num_seeds)).items()}


def run(
    config: Dataclass | Mapping[str, object],
    simulate: Simulate,
    *,
    num_seeds: int,
    seed: int = 0,
    claims: Iterable[Claim] = (),
    data: Mapping[str, PyTree] | None = None,
    axes: Mapping[str, tuple[str, ...]] | None = None,
    directory: str | Path | None = None,
    chunk_size: int | None = None,
    num_devices: int | None = None,
) -> pd.DataFrame:
    """Run a design over seeds and return the table; print the verdicts on claims, if any.

    Args:
        config: A dataclass whose fields `simulate` takes by name, or a mapping; a value that is a
            tuple is a factor, and the design is the product of the factors.
        simulate: One run, `simulate(key, ...)`, which returns arrays by name. Parameters before a `*` are data:
            floats and arrays are mapped inside the seeds and share their draws. What stands behind it makes a
            program of its own.
        num_seeds: Seeds of each setting, at least 1.
        seed: Master seed, from 0 to 2^32 - 1.
        claims: What is judged.
        data: Arrays that all runs share, by the name of a parameter of `simulate`.
        axes: Names of the axes of measures that are arrays.
        directory: Where the table and the verdicts are kept. Called again after a kill, it goes on; with more seeds,
            it runs only those that are new.
        chunk_size: Runs at once, which bounds the memory; chosen by default.
        num_devices: Devices used; all by default.

    Returns:
        A row per setting and seed: labels, `seed`, measures. An array is one value.

    Raises:
        ValueError: A number is out of bounds.
        TypeError: A parameter of `simulate` cannot be filled in.
        StudyError: `simulate` returns no arrays by name, or a claim asks for what is not there.
        DirectoryError: The directory cannot be used.

    Examples:
        >>> import jax
        >>> import jaxstudies
        >>> def simulate(key, scale):
        ...     return {"draw": scale * jax.random.normal(key)}
        >>> def positive(of):
        ...     return of("draw", scale=2.0) > 0
        >>> half = jaxstudies.Claim("half", "half are positive", positive, (0.4, 0.6), estimand="share")
        >>> runs = jaxstudies.run({"scale": (1.0, 2.0)}, simulate, num_seeds=1000, claims=[half])
        Supported: half are positive (ours): 0.488 [0.4571, 0.519], n = 1,000.
        >>> runs.groupby("scale")["draw"].count().to_dict()
        {1.0: 1000, 2.0: 1000}
    """
    check_num_seeds(num_seeds)
    study = dataclasses.replace(study_of(config, simulate, data or {}, axes or {}), CLAIMS=tuple(claims))
    filled = filled_in(config)
    execution = Execution(chunk_size, num_devices)
    blocks, design = rows_of(study, filled, code_of(study, filled), num_seeds, seed, execution, directory)
    kept = list(blocks)
    runs = pd.concat(map(table.to_pandas, kept), ignore_index=True)
    verdicts, effects = judge_all(study.CLAIMS, results.selector(runs, study.AXES))
    for verdict in verdicts:
        print(sentence(verdict))
    if (found := nonfinite.count(kept)).runs:
        print(nonfinite.in_words(found, design.labels))
    if directory is not None:
        keep_results(study, filled, runs, verdicts, effects, Path(directory))
    return runs


def check_num_seeds(num_seeds: int) -> None:
    """Raise ValueError unless there is a seed."""
    if num_seeds < 1:
        raise ValueError(f"num_seeds {num_seeds}: at least 1")


def filled_in(config: Dataclass | Mapping[str, object]) -> Dataclass:
    """Return a config as a dataclass."""
    if not isinstance(config, Mapping):
        return config
    levels = {name: tuple(value) if isinstance(value, list) else value for name, value in config.items()}
    return cast(Dataclass, dataclasses.make_dataclass("Config", list(levels))(**levels))


def study_of(
    config: Dataclass | Mapping[str, object],
    simulate: Simulate,
    data: Mapping[str, PyTree],
    axes: Mapping[str, tuple[str, ...]] | None = None,
) -> Study:
    """Return the study that a config and a function are.

    Raises:
        TypeError: `simulate` does not take what a mapping names.
    """
    filled = filled_in(config)
    fields = {field.name for field in dataclasses.fields(filled)}
    left = fields - set(inspect.signature(simulate).parameters) if isinstance(config, Mapping) else set()
    if left:
        raise TypeError(f"config: simulate does not take {', '.join(sorted(left))}")
    return Study("run", "", None, "", type(filled), simulate, lambda config: dict(data), AXES=axes or {})


def code_of(study: Study, config: Dataclass) -> list[object]:
    """Return what decides numbers beside the data: the function, and levels that may be functions."""
    return [study.simulate, list(levels_of(study, config, study.data(config)).items())]


def rows_of(
    study: Study,
    config: Dataclass,
    code: list[object],
    num_seeds: int,
    seed: int,
    execution: Execution,
    directory: str | Path | None,
) -> tuple[Iterable[pa.Table], Design]:
    """Run a study, in a directory if there is one; return its rows, and its design."""
    if directory is None:
        task = task_of(study, config, num_seeds, seed, execution)
        return monte_carlo.run_design(task, shapes=jobs.trace(study, task))[0], task.design
    where = Path(directory)
    with files.writing(where):
        where.mkdir(parents=True, exist_ok=True)
    digest = reach.object_digest(code)
    if digest is None:
        warnings.warn("simulate cannot be read, so that nothing in the directory is used again", stacklevel=3)
    job = jobs.prepare(study, config, where, num_seeds, seed, execution, digest)
    with chunks.sole_writer(where):
        if not jobs.is_finished(job):
            jobs.finish(jobs.grow(job))
    return table.stored_blocks(where / "runs.parquet"), job.task.design


def keep_results(
    study: Study, config: Dataclass, runs: pd.DataFrame, verdicts: list[Verdict], effects: pd.DataFrame, directory: Path
) -> None:
    """Write what follows from a table beside it."""
    origin = table.read_provenance(directory / "runs.parquet")
    times = pd.DataFrame(origin.pop("beside")["times"])
    summary = results.summarize(study, Results(config, runs, times, {}))
    with files.writing(directory):
        results.write(directory, origin, verdicts, effects, {"summary": summary, "times": times})
