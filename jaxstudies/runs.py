"""The library's two ways to run: a function over seeds, and a design over settings and seeds."""

import contextlib
import dataclasses
import functools
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import SupportsIndex

import jax
import numpy as np
import pandas as pd
import pyarrow as pa
from jaxtyping import PyTree

from jaxstudies import arguments, finishing, growth, jobs, locks, presentation, results
from jaxstudies.calls import How, checked, code_of, filled_in, study_of
from jaxstudies.configs import Dataclass
from jaxstudies.engine import gather, monte_carlo
from jaxstudies.engine.chunks import Memory
from jaxstudies.engine.design import Simulate
from jaxstudies.errors import Notice, warn
from jaxstudies.evidence import registration
from jaxstudies.evidence.claims import Claim, with_own_ids
from jaxstudies.evidence.judging import judge_all
from jaxstudies.evidence.verdicts import Verdict, sentence
from jaxstudies.identity import live
from jaxstudies.output import files, nonfinite, owned, stored, table
from jaxstudies.output.nonfinite import NonFinite
from jaxstudies.selection import Selector
from jaxstudies.study import Results, Study
from jaxstudies.tasks import task_of


def map_seeds(
    simulate: Simulate,
    *shared: PyTree,
    num_seeds: SupportsIndex,
    seed: SupportsIndex = 0,
    directory: str | Path | None = None,
    chunk_size: SupportsIndex | None = None,
    num_devices: SupportsIndex | None = None,
    progress: bool = True,
) -> dict[str, np.ndarray]:
    """Map a simulation over seeds, in one compiled program, on all devices.

    Run i is `simulate(jax.random.fold_in(jax.random.key(seed), i), *shared)`, whatever runs beside it: ten seeds are
    the first ten of a thousand. That is said of what goes in. What comes out is rounded as the program for so many
    runs at once rounds it, as `jit` and `jit(vmap)` differ: the same call on the same machine repeats to the bit; with
    another number of seeds or devices, or another `chunk_size`, last digits differ, and where training is chaotic, the
    numbers of a single run by percents, as they would by another order of summation.

    What works under `jax.jit(jax.vmap(simulate))` works here: keys are JAX's, callbacks are called for the seeds asked
    for, on one device, and while `jax_debug_nans`, `jax_debug_infs` or `jax_disable_jit` is set, errors name your
    lines. One thing is another: keys of rbg, whose draws under `vmap` depend on the whole batch, are drawn from one
    seed after another. A second call with equal shapes runs the same compiled program, also where `simulate` is a
    `partial` or lambda made anew with equal contents, as long as it is among the last 64, and nothing that `simulate`
    reaches has changed. Numbers that change from call to call belong into `shared`, and so do large arrays: what
    closes over more than 16 MB of them is compiled in each call.

    Args:
        simulate: Pure function `simulate(key, *shared)`: one run, arrays by name. Dictionaries, NamedTuples and
            dataclasses may be nested, and are flattened to names such as `train/loss`; a list or tuple is stacked to
            one array, or, where its parts differ in shape or type, named by index.
        *shared: Arrays that all seeds share, in any structure.
        num_seeds: Number of seeds, at least 1.
        seed: Master seed, from 0 to 2^32 - 1.
        directory: Where finished runs are kept. Called again after a kill, it goes on; with more seeds, it runs only
            those that are new.
        chunk_size: Seeds run at once at most, but one a device at least, which bounds the memory; chosen by default. It
            does not pin the program: seeds are cut into blocks as equal as can be.
        num_devices: Devices used; all by default.
        progress: Whether a bar shows how far it is.

    Returns:
        The simulation's arrays by name, each with a leading axis of `num_seeds`. bfloat16 and smaller floats come as
        float32, integers of less than a byte as a byte.

    Raises:
        ValueError: An argument is out of bounds.
        TypeError: An argument is not of its type.
        StudyError: `simulate` returns what is no measure, named by its place.
        DirectoryError: The directory cannot be used.

    Examples:
        >>> import jax
        >>> from jaxstudies import map_seeds
        >>> def simulate(key, scale):
        ...     return {"draw": scale * jax.random.normal(key, (3,))}
        >>> map_seeds(simulate, 2.0, num_seeds=100)["draw"].shape
        (100, 3)
    """
    arguments.simulation(simulate)
    how = checked(num_seeds, seed, directory, chunk_size, num_devices, progress)
    names = tuple(f"shared[{i}]" for i in range(len(shared)))
    by_name = functools.partial(_call_by_place, simulate, names)
    study = study_of({}, by_name, dict(zip(names, shared, strict=True)))
    if how.directory is not None:
        with rows_of(study, study.Config(), [simulate], how) as blocks:
            return table.to_arrays(blocks)
    task, kept = task_of(study, study.Config(), how.num_seeds, how.seed, how.execution), Memory()
    with stoppable(how):
        monte_carlo.shapes_of(task)
        (plan,), *_ = monte_carlo.compute(task, kept)
    return {name: values[:, 0] for name, values in gather.collect(plan, kept, (0, 1), (0, how.num_seeds)).items()}


def _call_by_place(simulate: Simulate, names: tuple[str, ...], key: jax.Array, **given: PyTree) -> object:
    return simulate(key, *(given[name] for name in names))


def run(
    config: Dataclass | Mapping[str, object],
    simulate: Simulate,
    *,
    num_seeds: SupportsIndex,
    seed: SupportsIndex = 0,
    claims: Iterable[Claim] | Claim = (),
    data: Mapping[str, PyTree] | None = None,
    axes: Mapping[str, tuple[str, ...]] | None = None,
    directory: str | Path | None = None,
    chunk_size: SupportsIndex | None = None,
    num_devices: SupportsIndex | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Run a design over seeds and return the table; print the verdicts on claims, if any.

    Args:
        config: A dataclass whose fields `simulate` takes by name, or a mapping; a value that is a
            tuple is a factor, and the design is the product of the factors.
        simulate: One run, `simulate(key, ...)`, which returns arrays as for `map_seeds`. Parameters before a `*` are
            data: floats and arrays are mapped inside the seeds and share their draws. What stands behind it makes a
            program of its own.
        num_seeds: Seeds of each setting, at least 1.
        seed: Master seed, from 0 to 2^32 - 1.
        claims: What is judged.
        data: Arrays that all runs share, by the name of a parameter of `simulate`.
        axes: Names of the axes of measures that are arrays.
        directory: Where the table and the verdicts are kept. Called again after a kill, it goes on; with more seeds,
            it runs only those that are new.
        chunk_size: Runs at once at most, which bounds the memory; chosen by default. See `map_seeds` for what it does
            not do.
        num_devices: Devices used; all by default.
        progress: Whether a bar shows how far it is.

    Returns:
        A row per setting and seed: labels, `seed`, measures. An array is one value.

    Raises:
        ValueError: An argument is out of bounds, or two levels are labeled alike.
        TypeError: An argument is not of its type, or a parameter of `simulate` cannot be filled in.
        StudyError: `simulate` returns what is no measure, or a claim asks for what is not there.
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
        Supported: half are positive (ours): 0.488 [0.4566, 0.5195], n = 1,000.
        >>> runs.groupby("scale")["draw"].count().to_dict()
        {1.0: 1000, 2.0: 1000}
    """
    arguments.simulation(simulate)
    how = checked(num_seeds, seed, directory, chunk_size, num_devices, progress)
    claims = with_own_ids(claims)
    filled = filled_in(config)
    arguments.names("data", data or {})
    study = dataclasses.replace(study_of(config, simulate, data or {}, axes or {}), CLAIMS=tuple(claims))
    with rows_of(study, filled, code_of(study, filled), how, owned.NAMES) as blocks:
        kept = list(blocks)
        runs = pd.concat(map(table.to_pandas, kept), ignore_index=True)
        origin = None if how.directory is None else stored.read_provenance(how.directory / owned.RUNS)
        looks = None if origin is None else registration.looks_of(origin)
        of = Selector(Results(filled, runs, pd.DataFrame(), {}), study.AXES)
        judged = judge_all(study.CLAIMS, of, looks=looks)
        for verdict in judged[0]:
            print(sentence(verdict))
        if (found := nonfinite.count(kept)).runs:
            print(nonfinite.in_words(found))
        if how.directory is not None:
            keep_results(study, filled, runs, judged, found, how.directory)
    return runs


@contextlib.contextmanager
def stoppable(how: How) -> Iterator[None]:
    """Say, when a call is stopped, what is kept of it and how it goes on."""
    try:
        yield
    except KeyboardInterrupt:
        kept = (
            "nothing is kept, since it was given no directory"
            if how.directory is None
            else (f"what is finished is kept in {how.directory}, and the same call goes on from there")
        )
        print(f"\nstopped; {kept}", file=sys.stderr)
        raise


@contextlib.contextmanager
def rows_of(
    study: Study, config: Dataclass, code: list[object], how: How, files_left: Iterable[str] = (owned.RUNS,)
) -> Iterator[Iterable[pa.Table]]:
    """Run a study, in a directory if there is one; yield its rows, while no other run may write there."""
    where = how.directory
    if where is None:
        task = task_of(study, config, how.num_seeds, how.seed, how.execution)
        with stoppable(how):
            yield monte_carlo.run_design(task, shapes=jobs.trace(study, task))[0]
        return
    owned.prepare(where, files_left)
    digest = live.object_digest(code)
    if digest is None:
        warn("simulate cannot be read, so that nothing in the directory is used again", Notice)
    job = jobs.prepare(study, config, where, how.num_seeds, how.seed, how.execution, digest)
    with stoppable(how), locks.sole_writer(where):
        if not growth.is_finished(job):
            finishing.finish(growth.grow(job))
        yield stored.row_groups(where / owned.RUNS)


def keep_results(
    study: Study,
    config: Dataclass,
    runs: pd.DataFrame,
    judged: tuple[list[Verdict], pd.DataFrame],
    found: NonFinite,
    directory: Path,
) -> None:
    """Write what follows from a table beside it."""
    origin = stored.read_provenance(directory / owned.RUNS)
    times = pd.DataFrame(origin.pop("beside")["times"])
    summary = presentation.summarize(study, Results(config, runs, times, {}), found)
    tables = {"summary": presentation.with_labels_apart(summary, presentation.labels_of(runs)), "times": times}
    with files.writing(directory), owned.rewriting(directory, origin["digest"], results.names(tables)):
        results.write(directory, origin, judged, tables, found, looks=registration.looks_of(origin))
