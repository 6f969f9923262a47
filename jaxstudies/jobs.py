"""A study that is run into a directory: what it is known by, what is finished of it, how it goes on and grows."""

import contextlib
import functools
import itertools
import json
import os
import re
import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from jaxstudies import configs, results
from jaxstudies import study as studies
from jaxstudies.configs import Dataclass
from jaxstudies.engine import chunks, devices, gather, monte_carlo, tracing
from jaxstudies.engine.chunks import Chunks
from jaxstudies.engine.design import Design, limited
from jaxstudies.engine.gather import Earlier
from jaxstudies.engine.monte_carlo import Execution, Task, Timing
from jaxstudies.engine.shares import ALONE, Share, Unfinished
from jaxstudies.errors import DirectoryError, OtherVersions
from jaxstudies.output import files, owned, provenance, table
from jaxstudies.output.table import Shapes, UnreadableRuns
from jaxstudies.study import Study

DIGEST = "[0-9a-f]{16}"
"""A digest, as it may stand in a name."""


class Job(NamedTuple):
    """A study to be run into a directory."""

    study: Study
    config: Dataclass
    directory: Path
    task: Task
    identity: dict[str, object]
    """What decides the numbers, but for the number of seeds."""
    commit: str
    """Of the code, when the job was made."""
    earlier: Path | None = None
    """A table of the same runs with other seeds, from which this one grows or is cut."""
    first_seed: int = 0
    """Seeds before it are there already."""
    shapes: Shapes | None = None
    """Of what a run returns, once it is traced."""
    limits: tuple[tuple[int, int], ...] = ()
    """Of settings that have stopped, see `Stage.limits`."""
    until_decided: bool = False
    """Whether it is looked at until its claims are decided."""
    begun: str = ""
    """When it was, before anything of it was run."""
    base: Design | None = None
    """Its design before any setting stopped."""

    @property
    def digest(self) -> str:
        """The name of what is run."""
        stopped = {"limits": self.limits} if self.limits else {}
        return provenance.digest(self.identity | {"num_seeds": self.task.num_seeds} | stopped)

    @property
    def chunks(self) -> Chunks:
        """Where finished chunks are kept."""
        task, chosen = self.task, devices.choose_devices(self.task.execution.num_devices)
        _, runs = task.execution.plans(task.design, task.num_seeds, self.first_seed, chosen)
        decides = [self.digest, self.first_seed, runs, len(chosen), chosen[0].device_kind]
        return Chunks(self.directory / "parts" / provenance.digest(decides), self.commit)


def prepare(
    study: Study,
    config: Dataclass,
    directory: Path,
    num_seeds: int,
    seed: int = 0,
    execution: Execution = monte_carlo.DEFAULT,
    code: str | None = None,
) -> Job:
    """Return the job; what is changed in the checkout from now on is none of its concern.

    Args:
        study: What is run.
        config: Its configuration.
        directory: Where it is run.
        num_seeds: Seeds of each setting.
        seed: Master seed.
        execution: How it is run.
        code: A digest of the code that is reached, where it is no study in a file.

    Raises:
        TypeError: A parameter of `simulate` cannot be filled in.
        ValueError: Settings contradict one another, or there are too many chunks.
    """
    task = studies.task_of(study, config, num_seeds, seed, execution)
    execution.plans(task.design, num_seeds, 0, devices.choose_devices(execution.num_devices))
    identity = {
        "study": study.name,
        "config": without_execution(configs.to_json(config)),
        "seed": seed,
        # What cannot be read cannot be told from what was there before.
        "code": code or studies.code_of(study) or uuid.uuid4().hex,
        "data": provenance.array_digest(task.data),
        "design": design_digest(task.design),
        "jax_settings": tracing.jax_settings(),
    }
    return Job(study, config, directory, task, identity, provenance.commit_here() or "", base=task.design, begun=now())


def now() -> str:
    """Return the time, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def without_execution(config: dict[str, object]) -> dict[str, object]:
    """Return a config, as JSON has it, without what belongs to the command line and to `run`."""
    return {name: value for name, value in config.items() if name not in studies.EXECUTION}


def design_digest(design: Design) -> str:
    """Return a name for settings: labels, what they pass on, and their numbers of seeds."""
    labels = {name: list(c) if c.dtype == object else provenance.array_digest(c) for name, c in design.labels.items()}
    groups = [
        # What settings fill in where a config leaves it open, say a number of epochs by the machine.
        [
            provenance.array_digest((g.positions, g.fixed, g.mapped)),
            [[n, configs.plain(v)] for n, v in g.static],
            g.num_seeds,
        ]
        for g in design.groups
    ]
    return provenance.digest([labels, groups])


def is_finished(job: Job) -> bool:
    """Return whether the table is there already, and make it the directory's current one.

    Runs of other configurations are set aside rather than lost, see `set_aside`.
    """
    current, aside = job.directory / owned.RUNS, job.directory / f"runs-{job.digest}.parquet"
    for path in (current, aside):
        if origin_of(path).get("digest") != job.digest or not table.is_readable(path):
            continue
        with files.writing(job.directory):
            if path == aside:
                set_aside(job)
                os.replace(aside, current)
        job.chunks.remove()  # a run that was killed between its last two steps has left them
        return True
    return False


def origin_of(path: Path) -> dict:
    """Return the provenance of a table, empty if there is none that can be read; one of 0.1 is refused."""
    try:
        return table.read_provenance(path)
    except table.OtherFormat as error:
        raise DirectoryError(path.parent, f"{error}; name another directory, or move the file away") from error
    except UnreadableRuns:
        return {}


def place_aside(job: Job) -> Path | None:
    """Return where the current table goes when this run's takes its place; None where nothing is lost with it.

    That is a table of another run, unless this one grows from it, and one that is damaged.
    """
    current = job.directory / owned.RUNS
    other = origin_of(current).get("digest", "")
    if not current.exists() or (other == job.digest and table.is_readable(current)):
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
    job, candidates = job._replace(shapes=job.shapes or trace(job.study, job.task)), []
    for path in job.directory.glob("runs*.parquet"):
        there = origin_of(path) if re.fullmatch(f"runs(-{DIGEST})?", path.stem) else {}
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


def looked_at(job: Job) -> list[int]:
    """Return at how many seeds runs that answer the same were looked at in the directory, whatever their code was."""
    asked, seen = ("study", "config", "seed"), set()
    for path in job.directory.glob("runs*.parquet"):
        there = origin_of(path) if re.fullmatch(f"runs(-{DIGEST})?", path.stem) else {}
        there |= {"config": without_execution(there.get("config", {}))}
        if all(there.get(name) == job.identity[name] for name in asked):
            seen |= set(results.looks_of(there) or [there["num_seeds"]])
    return sorted(seen)


def is_alike(job: Job, there: dict) -> bool:
    """Return whether a table of that provenance has the same runs, but for the number of seeds."""
    decided = {**there, "config": without_execution(there.get("config", {}))}
    return all(decided.get(name) == value for name, value in job.identity.items())


def packed(limits: np.ndarray) -> tuple[tuple[int, int], ...]:
    """Return limits as `Stage.limits`; nothing if there is none."""
    if not limits.any():
        return ()
    return tuple((len(list(same)), int(limit)) for limit, same in itertools.groupby(limits.tolist()))


def unpacked(limits: Iterable[Sequence[int]]) -> np.ndarray:
    """Undo that."""
    numbers, values = zip(*limits, strict=True)
    return np.repeat(values, numbers)


def stage(job: Job, num_seeds: int, limits: np.ndarray) -> Job:
    """Return the job as it goes on until there are so many seeds, but for settings that have stopped."""
    design = limited(job.task.design, limits) if limits.any() else job.task.design
    return grow(job._replace(task=job.task._replace(num_seeds=num_seeds, design=design), limits=packed(limits)))


def trace(study: Study, task: Task) -> Shapes:
    """Return shapes of what a run returns, the claims tried on it, before anything is run.

    Raises:
        StudyError: What `simulate` returns makes no table, or a claim asks for what is not there.
    """
    shapes = monte_carlo.shapes_of(task)
    results.try_claims(study, task.design, shapes)
    return shapes


def is_cut_so(job: Job, path: Path, num_seeds: int) -> bool:
    """Return whether a table is whole, and in the blocks in which this version writes so many seeds."""
    sizes = gather.block_sizes(job.task.design, job.shapes or {}, num_seeds)
    return table.is_readable(path) and table.stored_sizes(path) == sizes


def discard(job: Job) -> None:
    """Forget what is finished; chunks of other versions are set aside, a table of 0.1 is refused."""
    origin_of(job.directory / owned.RUNS)
    if _versions_differ(job.chunks):
        job.chunks.set_aside()
    else:
        job.chunks.remove()


def _versions_differ(kept: Chunks) -> str:
    try:
        written = json.loads((kept.directory / "versions.json").read_text("utf-8"))
    except (OSError, ValueError):
        return ""
    return provenance.other_versions(written)


def check_versions(job: Job, kept: Chunks) -> None:
    """Note the versions that chunks are written with, or check that they are those of here."""
    if differ := _versions_differ(kept):
        raise OtherVersions(job.directory, f"the unfinished run was begun with {differ}; install that")
    path = kept.directory / "versions.json"
    if not path.exists():
        with files.writing(job.directory):
            path.parent.mkdir(parents=True, exist_ok=True)
            files.write_json(path, provenance.environment())


def compute_share(job: Job, share: Share) -> None:
    """Compute a share, and no more."""
    with contextlib.suppress(Unfinished):
        finish(job, share._replace(finishes=False))


def finish(job: Job, share: Share = ALONE) -> None:
    """Compute what is not on disk yet, then write the table; then the chunks have served.

    Raises:
        Unfinished: Chunks of other shares are missing.
        OtherVersions: Finished chunks are of other versions.
        DirectoryError: Nothing can be written.
        StudyError: What `simulate` returns makes no table, or a claim asks for what is not there.
    """
    shapes, kept = job.shapes or trace(job.study, job.task), job.chunks
    check_versions(job, kept)
    before = origin_of(job.earlier) if job.earlier else {}
    earlier = Earlier(before["num_seeds"], functools.partial(table.stored_blocks, job.earlier)) if job.earlier else None
    name = job.study.name.replace("_", " ")
    blocks, timings, stage = monte_carlo.run_design(job.task, kept, share, name, job.first_seed, earlier, shapes)
    beside = job.study.beside(job.config, functools.partial(chunks.remember, kept))
    stage = stage._replace(limits=job.limits)
    times, stages = times_table(*by_group(job, timings)), [stage._asdict() | {"commits": kept.commits()}]
    environment = provenance.environment() | {"commit": job.commit or None}
    if before:
        times = add_times(times, pd.DataFrame(before["beside"]["times"]))
        stages = before["stages"] + (stages if job.first_seed < job.task.num_seeds else [])
        environment = environment if job.first_seed < job.task.num_seeds else before["environment"]
    tables = beside | {"times": times}
    origin = job.identity | {
        "num_seeds": job.task.num_seeds,
        "config": configs.to_json(job.config),
        "digest": job.digest,
        "date": now(),
        "text": job.study.text,
        "file": file_of(job.study, job.directory),
        "environment": environment,
        "stages": stages,
        "limits": job.limits,
        "until_decided": job.until_decided or before.get("until_decided", False),
        "seen": looked_at(job),
        "begun": before.get("begun") or job.begun,
        # Inside the table's own file: a table that is brought back brings them along.
        "beside": {name: rows.to_dict("list") for name, rows in tables.items()},
    }
    with files.writing(job.directory):
        owned.add(job.directory, owned.RUNS)
        table.write_runs(job.directory / owned.RUNS, blocks, origin, lambda: set_aside(job))
        kept.remove()


def file_of(study: Study, directory: Path) -> str | None:
    """Return where a reader's study lies, from the directory of its results; None if it is ours, or in no file."""
    if study.path is None or study.module.startswith("jaxstudies."):
        return None
    path = study.path.parent if study.path.name == "__init__.py" else study.path
    with contextlib.suppress(ValueError):  # on another drive
        return Path(os.path.relpath(path, directory.resolve())).as_posix()
    return None


def by_group(job: Job, timings: list[Timing]) -> tuple[Design, list[Timing]]:
    """Return the design before settings stopped, and the time of each of its groups."""
    base = job.base or job.task.design
    numbers = np.empty(base.num_settings, np.int64)
    for number, group in enumerate(base.groups):
        numbers[group.positions] = number
    sums = [Timing(0.0, 0.0, 0) for _ in base.groups]
    for group, timing in zip(job.task.design.groups, timings, strict=True):
        before = sums[number := int(numbers[group.positions[0]])]
        seconds = before.compile_seconds + timing.compile_seconds, before.run_seconds + timing.run_seconds
        sums[number] = Timing(*seconds, before.runs + timing.runs, before.in_kernels or timing.in_kernels)
    return base, sums


def times_table(design: Design, timings: list[Timing]) -> pd.DataFrame:
    """Return a row per group of settings: the labels that they share, and the time they took."""
    rows = []
    for group, timing in zip(design.groups, timings, strict=True):
        here = {name: column[group.positions] for name, column in design.labels.items()}
        taken = ("settings", *Timing._fields)
        common = {f"{n} (factor)" if n in taken else n: c[0] if np.all(c == c[0]) else None for n, c in here.items()}
        rows.append(common | {"settings": len(group.positions)} | timing._asdict())
    return pd.DataFrame(rows)


def add_times(times: pd.DataFrame, before: pd.DataFrame) -> pd.DataFrame:
    """Return the times of both, group by group."""
    both = {name: times[name] + before[name] for name in Timing._fields if name != "in_kernels"}
    return times.assign(**both, in_kernels=times["in_kernels"] | before.get("in_kernels", False))
