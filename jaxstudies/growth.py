"""The tables in a job's directory: whether one is its own, which one it grows from, and which are set aside."""

import itertools
import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from jaxstudies import configs
from jaxstudies.configs import without_execution
from jaxstudies.engine import gather
from jaxstudies.engine.design import limited
from jaxstudies.errors import DirectoryError, OtherVersions
from jaxstudies.evidence.registration import seen_at
from jaxstudies.identity import provenance
from jaxstudies.jobs import Job, packed, traced
from jaxstudies.output import files, owned, stored
from jaxstudies.output.stored import UnreadableRuns

DIGEST = "[0-9a-f]{16}"
"""A digest, as it may stand in a name."""


def is_finished(job: Job) -> bool:
    """Return whether the table is there already, and make it the directory's current one.

    Runs of other configurations are set aside rather than lost, see `set_aside`.
    """
    current, aside = job.directory / owned.RUNS, job.directory / f"runs-{job.digest}.parquet"
    for path in (current, aside):
        there = origin_of(path)
        if there.get("digest") != job.digest or not stored.is_readable(path):
            continue
        seen = looked_at(job)
        with files.writing(job.directory):
            if not seen_at(there) >= set(seen):  # others of the same were seen while it lay aside
                brought = there | {"seen": seen}
                stored.write_runs(current, stored.row_groups(path), brought, lambda: set_aside(job))
                aside.unlink(missing_ok=True)
            elif path == aside:
                set_aside(job)
                os.replace(aside, current)
        job.chunks.remove()  # a run that was killed between its last two steps has left them
        return True
    return False


def origin_of(path: Path) -> dict:
    """Return the provenance of a table, empty if there is none that can be read; one of 0.1 is refused."""
    try:
        return stored.read_provenance(path)
    except stored.OtherFormat as error:
        raise DirectoryError(path.parent, f"{error}; name another directory, or move the file away") from error
    except UnreadableRuns:
        return {}


def tables_in(directory: Path) -> Iterator[tuple[Path, dict]]:
    """Yield the tables of a directory, the current one and those set aside, each with its provenance."""
    for path in directory.glob("runs*.parquet"):
        if re.fullmatch(f"runs(-{DIGEST})?", path.stem):
            yield path, origin_of(path)


def place_aside(job: Job) -> Path | None:
    """Return where the current table goes when this run's takes its place; None where nothing is lost with it.

    That is a table of another run, unless this one grows from it, and one that is damaged.
    """
    current = job.directory / owned.RUNS
    other = origin_of(current).get("digest", "")
    if not current.exists() or (other == job.digest and stored.is_readable(current)):
        return None
    if re.fullmatch(DIGEST, other) and other != job.digest:
        grows = job.earlier == current and job.first_seed < job.task.num_seeds
        return None if grows else job.directory / f"runs-{other}.parquet"
    numbered = (job.directory / f"runs-damaged-{i}.parquet" for i in itertools.count(1))
    return next(path for path in numbered if not path.exists())


def set_aside(job: Job) -> None:
    """Rename the current table, if anything were lost with it.

    Raises:
        DirectoryError: What is no table of runs has the name that it would get.
    """
    if aside := place_aside(job):
        if aside.exists() and f"runs-{origin_of(aside).get('digest')}" != aside.stem:
            raise DirectoryError(job.directory, f"{aside.name} is there, and no table of these runs; move it away")
        os.replace(job.directory / owned.RUNS, aside)


def grow(job: Job) -> Job:
    """Return the job as it goes on from a table of the same runs with other seeds, if there is one.

    Raises:
        OtherVersions: It was written with other versions, so that it cannot grow.
    """
    job, candidates = traced(job), []
    for path, there in tables_in(job.directory):
        if is_alike(job, there) and is_cut_so(job, path, there["num_seeds"]):
            candidates.append((there["num_seeds"], path, provenance.other_versions(there["environment"])))
    wanted = job.task.num_seeds
    if not candidates:
        return job
    enough = [found for found in candidates if found[0] >= wanted]
    num_seeds, path, differ = min(enough) if enough else max(candidates)
    if differ and num_seeds < wanted:
        raise OtherVersions(job.directory, f"the runs there were written with {differ} and cannot grow; install that")
    return job._replace(earlier=path, first_seed=min(num_seeds, wanted))


def stage(job: Job, num_seeds: int, limits: np.ndarray) -> Job:
    """Return the job as it goes on until there are so many seeds, but for settings that have stopped."""
    design = limited(job.task.design, limits) if limits.any() else job.task.design
    return grow(job._replace(task=job.task._replace(num_seeds=num_seeds, design=design), limits=packed(limits)))


def looked_at(job: Job) -> list[int]:
    """Return at how many seeds runs that the job has, too, were looked at in the directory, whatever their code was."""
    seen: set[int] = set()
    here = without_execution(configs.to_json(job.config))
    for _, there in tables_in(job.directory):
        alike = all(there.get(name) == job.identity[name] for name in ("study", "seed"))
        if alike and share_settings(without_execution(there["config"]), here):
            seen |= seen_at(there)
    return sorted(seen)


def share_settings(one: dict, other: dict) -> bool:
    """Return whether configs, as JSON has them, may have settings in common: each list may name others, but not all."""

    def alike(here: object, there: object) -> bool:
        if isinstance(here, list) and isinstance(there, list):
            return here == there or any(value in there for value in here)
        return here == there

    return one.keys() == other.keys() and all(alike(one[name], other[name]) for name in one)


def is_alike(job: Job, there: dict) -> bool:
    """Return whether a table of that provenance has the same runs, but for the number of seeds."""
    decided = {**there, "config": without_execution(there.get("config", {}))}
    return all(decided.get(name) == value for name, value in job.identity.items())


def is_cut_so(job: Job, path: Path, num_seeds: int) -> bool:
    """Return whether a table is whole, and in the blocks in which this version writes so many seeds."""
    sizes = gather.block_sizes(job.task.design, job.shapes or {}, num_seeds)
    return stored.is_readable(path) and stored.group_sizes(path) == sizes
