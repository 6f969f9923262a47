"""A study to be run into a directory: what it is known by, what is finished of it, its table."""

import contextlib
import functools
import json
import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from jaxstudies import study as studies
from jaxstudies.commands import levels
from jaxstudies.commands.flags import UsageError
from jaxstudies.engine import chunks, monte_carlo, programs
from jaxstudies.engine.chunks import Chunks
from jaxstudies.engine.cluster import ALONE, Share, Unfinished
from jaxstudies.engine.design import Design
from jaxstudies.engine.monte_carlo import Execution, Task, Timing
from jaxstudies.output import files, provenance, table
from jaxstudies.output.table import UnreadableRuns
from jaxstudies.study import Dataclass, Study


class Job(NamedTuple):
    """A study to be run into a directory."""

    study: Study
    config: Dataclass
    out: Path
    fresh: bool
    """Whether what is finished counts for nothing."""
    task: Task
    identity: dict[str, object]
    """What decides the numbers."""
    digest: str
    """The name of what is run."""
    chunks: Chunks
    """Where finished chunks are kept."""


def prepare(
    study: Study, config: Dataclass, out: Path, num_seeds: int, seed: int, fresh: bool, execution: Execution
) -> Job:
    """Return the job; what is changed in the checkout from now on is none of its concern."""
    try:
        task = studies.task_of(study, config, num_seeds, seed, execution)
    except (TypeError, ValueError) as error:
        raise UsageError(str(error)) from error
    static = {pair for group in task.design.groups for pair in group.static}
    identity = {
        "study": study.name,
        "config": {name: value for name, value in levels.to_json(config).items() if name not in studies.EXECUTION},
        "num_seeds": num_seeds,
        "seed": seed,
        # What was typed in cannot be told from what was typed in before.
        "code": studies.code_of(study) or uuid.uuid4().hex,
        "data": provenance.array_digest(task.data),
        # What settings fill in where a config leaves it open, say a number of epochs by the machine.
        "static": sorted(f"{n} {v}" for n, v in static if isinstance(v, int | float | str)),
    }
    devices = programs.choose_devices(execution.num_devices)
    around = provenance.digest([identity, execution.chunk_size, len(devices), devices[0].device_kind])
    return Job(study, config, out, fresh, task, identity, provenance.digest(identity), Chunks(out / "parts" / around))


def is_finished(job: Job) -> bool:
    """Return whether the table is there already, and make it the directory's current one.

    Runs of other configurations are set aside rather than lost, see `set_aside`.
    """
    current, aside = job.out / "runs.parquet", job.out / f"runs-{job.digest}.parquet"
    for path in (current, aside):
        if _digest_of(path) != job.digest or not table.is_readable(path):
            continue
        with reported(job.out):
            if path == aside:
                set_aside(job)
                os.replace(aside, current)
        job.chunks.remove()  # a run that was killed between its last two steps has left them
        print(f"{current} holds these runs already; --fresh runs them again")
        if differ := provenance.other_versions(table.read_provenance(current)["environment"]):
            print(f"they were written with {differ}")
        return True
    return False


def _digest_of(path: Path) -> str | None:
    try:
        return table.read_provenance(path).get("digest")
    except table.OtherFormat as error:
        raise UsageError(f"--out {path.parent}: {error}; name another directory, or move the file away") from error
    except UnreadableRuns:
        return None


def set_aside(job: Job) -> None:
    """Rename the current table to runs-DIGEST.parquet, if it is of another run."""
    current = job.out / "runs.parquet"
    other = _digest_of(current) or job.digest
    if other != job.digest and re.fullmatch(r"[0-9a-f]{16}", other):
        os.replace(current, job.out / f"runs-{other}.parquet")


def discard(job: Job) -> None:
    """Forget what is finished; chunks of other versions are set aside, a table of 0.1 is refused."""
    _digest_of(job.out / "runs.parquet")
    if _versions_differ(job):
        job.chunks.set_aside()
    else:
        job.chunks.remove()


def _versions_differ(job: Job) -> str:
    try:
        written = json.loads((job.chunks.directory / "versions.json").read_text("utf-8"))
    except (OSError, ValueError):
        return ""
    return provenance.other_versions(written)


def check_versions(job: Job) -> None:
    """Note the versions that chunks are written with, or check that they are those of here."""
    anew = "install that, or --fresh begins anew"
    if differ := _versions_differ(job):
        raise UsageError(
            f"--out {job.out}: the unfinished run was begun with {differ}; {anew} and sets the old chunks aside"
        )
    path = job.chunks.directory / "versions.json"
    if path.exists():
        return
    if not job.fresh and (differ := _grows_from(job)):
        raise UsageError(f"--out {job.out}: the runs there were written with {differ} and cannot grow; {anew}")
    with reported(job.out):
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_json(path, provenance.environment())


def _grows_from(job: Job) -> str:
    """Return the other versions that wrote a table of the same runs with fewer seeds, if there is one."""
    try:
        there = table.read_provenance(job.out / "runs.parquet")
    except UnreadableRuns:
        return ""
    same = all(there.get(name) == value for name, value in job.identity.items() if name != "num_seeds")
    grows = same and there["num_seeds"] < job.task.num_seeds
    return provenance.other_versions(there["environment"]) if grows else ""


def compute_share(job: Job, share: Share) -> None:
    """Compute a share, and no more."""
    with contextlib.suppress(Unfinished):
        finish(job, share._replace(finishes=False))


def finish(job: Job, share: Share = ALONE) -> None:
    """Compute what is not on disk yet, then write the table; then the chunks have served.

    Raises:
        Unfinished: Chunks of other shares are missing.
        UsageError: Finished chunks are of other versions, or nothing can be written.
    """
    check_versions(job)
    name = job.study.name.replace("_", " ")
    blocks, timings = monte_carlo.run_design(job.task, job.chunks, share, name)
    beside = job.study.beside(job.config, functools.partial(chunks.remember, job.chunks))
    tables = beside | {"times": times_table(job.task.design, timings)}
    devices = list(map(str, programs.choose_devices(job.task.execution.num_devices)))
    origin = job.identity | {
        "config": levels.to_json(job.config),
        "digest": job.digest,
        "text": job.study.text,
        "environment": provenance.environment(),
        "execution": job.task.execution._asdict() | {"devices": devices},
        # Inside the table's own file: a table that is brought back brings them along.
        "beside": {name: rows.to_dict("list") for name, rows in tables.items()},
    }
    with reported(job.out):
        set_aside(job)
        table.write_runs(job.out / "runs.parquet", blocks, origin)
        job.chunks.remove()


def times_table(design: Design, timings: list[Timing]) -> pd.DataFrame:
    """Return a row per group of settings: the labels that they share, and the time they took."""
    rows = []
    for group, timing in zip(design.groups, timings, strict=True):
        here = {name: column[group.positions] for name, column in design.labels.items()}
        common = {n: c[0] if np.all(c == c[0]) else None for n, c in here.items()}
        rows.append(common | {"settings": len(group.positions)} | timing._asdict())
    return pd.DataFrame(rows)


@contextlib.contextmanager
def reported(out: Path) -> Iterator[None]:
    """Turn an error of the file system into a line about `--out`."""
    try:
        yield
    except BrokenPipeError:  # that was the terminal's
        raise
    except OSError as error:
        raise UsageError(f"--out {out}: cannot be written to ({error.strerror})") from error
