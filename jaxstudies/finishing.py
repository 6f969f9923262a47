"""What is left to do of a job, and the table that it ends in."""

import contextlib
import functools
import json

import numpy as np
import pandas as pd

from jaxstudies import configs, growth, presentation
from jaxstudies.engine import chunks, monte_carlo
from jaxstudies.engine.chunks import Chunks
from jaxstudies.engine.design import Design
from jaxstudies.engine.gather import Earlier
from jaxstudies.engine.monte_carlo import Timing
from jaxstudies.engine.shares import ALONE, Share, Unfinished
from jaxstudies.errors import OtherVersions
from jaxstudies.identity import provenance
from jaxstudies.jobs import Job, file_of, now, trace
from jaxstudies.output import files, owned, stored


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
    before = growth.origin_of(job.earlier) if job.earlier else {}
    earlier = Earlier(before["num_seeds"], functools.partial(stored.row_groups, job.earlier)) if job.earlier else None
    name = job.study.name.replace("_", " ")
    blocks, timings, stage = monte_carlo.run_design(job.task, kept, share, name, job.first_seed, earlier, shapes)
    beside = presentation.beside_of(job.study, job.config, functools.partial(chunks.remember, kept))
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
        "until_decided": job.until_decided or before.get("until_decided"),
        "seen": growth.looked_at(job),
        "begun": before.get("begun") or job.begun,
        # Inside the table's own file: a table that is brought back brings them along.
        "beside": {name: rows.to_dict("list") for name, rows in tables.items()},
    }
    with files.writing(job.directory):
        owned.add(job.directory, owned.RUNS)
        stored.write_runs(job.directory / owned.RUNS, blocks, origin, lambda: growth.set_aside(job))
        kept.remove()


def discard(job: Job) -> None:
    """Forget what is finished; chunks of other versions are set aside, a table of 0.1 is refused."""
    growth.origin_of(job.directory / owned.RUNS)
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
