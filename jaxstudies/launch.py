"""From a configuration to a finished table of runs in a directory, alone or with other processes.

A shared run has two passes. In the first each process computes its share of the chunks; in the
second the one that finds all of them puts the run together, as if it went on with its own.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, NamedTuple

import annotated_types as at
import pandas as pd

from jaxstudies import cluster, monte_carlo, parts, results
from jaxstudies.cluster import Share, Unfinished
from jaxstudies.flags import UsageError
from jaxstudies.parts import Parts


@dataclasses.dataclass(frozen=True)
class Options:
    """How and where a study runs; none of it changes results beyond rounding."""

    out: Path | None = None
    """Directory for the results (figures/<study>, for maps and phase diagrams one below)."""
    chunk_size: Annotated[int, at.Ge(1)] | None = None
    """Seeds run at once, which bounds the memory (512 per CPU core, 8192 per accelerator)."""
    devices: Annotated[int, at.Ge(1)] | None = None
    """Devices to use (all; on a CPU every core is one)."""
    plots_only: bool = False
    """Redraw from DIR/runs.parquet without running anything."""
    fresh: bool = False
    """Run again even what is already there."""
    shard: str | None = None
    """Compute the i-th of n shares of the run, written i/n, into a directory that all n processes
    share; whichever finds all shares there puts the run together."""
    distributed: bool = False
    """Share the run with the other processes of a SLURM, Open MPI, Kubernetes or TPU job, or with
    those that the next three flags name, by JAX's distributed runtime; process 0 puts it
    together."""
    coordinator: str | None = None
    """HOST:PORT of process 0, where JAX does not find the processes by itself."""
    num_processes: Annotated[int, at.Ge(1)] | None = None
    """Number of processes, with --coordinator."""
    process_id: Annotated[int, at.Ge(0)] | None = None
    """Number of this process, from 0, with --coordinator."""


Rows = pd.DataFrame | Iterable[pd.DataFrame]
"""The table of runs, whole or in blocks."""


class Job(NamedTuple):
    """A study to be run into a directory."""

    study: ModuleType
    config: Any
    options: Options
    out: Path
    identity: dict[str, Any]
    """What decides the numbers."""
    execution: dict[str, Any]
    """What decides their rounding."""
    key: str
    """The name of what is run."""
    parts: Parts
    """Where finished chunks are kept."""


def prepare(study: ModuleType, config: Any, options: Options, out: Path) -> Job:
    """Return the job; what is changed in the checkout from now on is none of its concern."""
    identity = {
        "study": study_name(study),
        "config": dataclasses.asdict(config),
        "code": results.code_digest(study),
    }
    num_devices = len(monte_carlo.choose_devices(options.devices))
    execution = {"chunk_size": options.chunk_size, "num_devices": num_devices}
    # Chunks are kept by what decides them to the bit.
    around = {k: v for k, v in results.environment().items() if k != "platform"}
    name = results.digest([identity, execution, around])
    key = results.digest(identity)
    return Job(study, config, options, out, identity, execution, key, Parts(out / "parts" / name))


def study_name(study: ModuleType) -> str:
    """Return the last part of a study module's name."""
    return study.__name__.rsplit(".", 1)[-1]


def check(options: Options) -> None:
    """Check flags that depend on one another.

    Raises:
        UsageError: They contradict, or lack, one another.
    """
    if options.plots_only and (options.shard is not None or options.distributed):
        raise UsageError("--plots-only: runs nothing, so that there is nothing to share")
    if options.shard is not None:
        try:
            cluster.parse_share(options.shard)
        except ValueError as error:
            raise UsageError(f"--shard {options.shard}: {error}") from error
        if options.distributed:
            raise UsageError("--shard: the processes of --distributed have their shares already")
        if options.fresh:
            raise UsageError("--fresh: a shard cannot know whose chunks are new; remove DIR/parts")
    three = {
        "--coordinator": options.coordinator,
        "--num-processes": options.num_processes,
        "--process-id": options.process_id,
    }
    given = [flag for flag, value in three.items() if value is not None]
    if given and not options.distributed:
        raise UsageError(f"{given[0]}: only with --distributed")
    if given and len(given) < len(three):
        missing = next(flag for flag in three if flag not in given)
        raise UsageError(f"{missing}: needed with {given[0]}")
    if options.num_processes and not options.process_id < options.num_processes:  # type: ignore[operator]
        raise UsageError(
            f"--process-id {options.process_id}: must be less than --num-processes, "
            f"{options.num_processes}"
        )


def connect(options: Options) -> Share:
    """Return this process's share, after connecting it to the others if there are any.

    Raises:
        UsageError: There are fewer devices than asked for.
        ClusterError: The other processes cannot be reached.
    """
    monte_carlo.use_all_cores()
    share = Share()
    if options.shard is not None:
        share = cluster.parse_share(options.shard)
    elif options.distributed:
        share = cluster.connect(options.coordinator, options.num_processes, options.process_id)
    try:
        monte_carlo.choose_devices(options.devices)
    except ValueError as error:
        raise UsageError(f"--devices {options.devices}: {error}") from error
    return share


def launch(
    study: ModuleType, config: Any, options: Options, out: Path, report: Callable[[], None]
) -> None:
    """Run a study into a directory, or go on with it; then call `report`, if all is there.

    Raises:
        UsageError: Another run holds the directory, or it cannot be written to.
        ClusterError: Another process has gone.
        PartsError: Finished chunks cannot be kept or read.
    """
    share = connect(options)
    job = prepare(study, config, options, out)
    try:
        if options.shard is not None:
            _launch_shard(job, share, report)
        elif options.distributed:
            _launch_connected(job, share, report)
        else:
            _launch_alone(job, report)
    except parts.Occupied:
        raise UsageError(
            f"--out {out}: another run is writing there; wait for it, or name another directory"
        ) from None


def _launch_alone(job: Job, report: Callable[[], None]) -> None:
    with parts.sole_writer(job.out):
        if job.options.fresh:
            job.parts.remove()
        if job.options.fresh or not is_finished(job):
            write(job, *run(job, Share()))
        results.remove_leftovers(job.out)
        report()


def _launch_shard(job: Job, share: Share, report: Callable[[], None]) -> None:
    name = f"{share.index + 1}/{share.count}"
    with parts.shared_writer(job.out, name.replace("/", "-of-")):
        with parts.finishing(job.out):
            finished = is_finished(job)
        if not finished:
            compute_share(job, share)
        with parts.finishing(job.out):
            if not finished and is_finished(job):
                print(f"share {name} is done; another process has put the run together")
                return
            if not finished:
                try:
                    write(job, *run(job, share))
                except Unfinished as error:
                    print(f"share {name} is done; {error}, the last share puts the run together")
                    return
            results.remove_leftovers(job.out)
            report()


def _launch_connected(job: Job, share: Share, report: Callable[[], None]) -> None:
    with parts.shared_writer(job.out, f"{share.index + 1}-of-{share.count}"):
        cluster.agree(job.parts.directory.name)
        finished = False
        if share.index == 0 and not job.options.fresh:
            finished = is_finished(job)
        finished = cluster.broadcast(finished)
        if job.options.fresh:
            job.parts.remove()
            cluster.broadcast(None)  # nobody begins before all have removed
        apart = False
        if not finished:
            compute_share(job, share)
            apart = cluster.bring_together(job.parts)
        cluster.disconnect()
        if share.index == 0:
            if not finished:
                write(job, *run(job, Share()))
            results.remove_leftovers(job.out)
            report()
        else:
            if apart:
                job.parts.remove()
            print(f"process {share.index} of {share.count} is done; process 0 writes the results")


def is_finished(job: Job) -> bool:
    """Return whether the table is there already, and make it the directory's current one."""
    if not results.bring_back(job.out, job.key):
        return False
    job.parts.remove()  # a run that was killed between its last two steps has left them
    print(f"{job.out}/runs.parquet holds these runs already; --fresh runs them again")
    return True


def compute_share(job: Job, share: Share) -> None:
    """Compute a share, and no more."""
    with contextlib.suppress(Unfinished):
        run(job, share._replace(finishes=False))


def run(job: Job, share: Share) -> tuple[Rows, list[dict]]:
    """Return the table of runs, or its blocks, and the time each setting took.

    What is on disk is not computed again.

    Raises:
        Unfinished: Chunks of other shares are missing.
    """
    timings: list[dict] = []
    run = getattr(job.study, "stream", job.study.run)
    rows = run(
        job.config, chunk_size=job.options.chunk_size, num_devices=job.options.devices,
        parts=job.parts, share=share, timings=timings,
    )  # fmt: skip
    return rows, timings


def write(job: Job, rows: Rows, timings: list[dict]) -> None:
    """Write the table with its provenance; then the chunks have served."""
    devices = monte_carlo.choose_devices(job.options.devices)
    provenance = {
        **job.identity,
        "key": job.key,
        "environment": results.environment(),
        "execution": {**job.execution, "devices": [str(device) for device in devices]},
        "settings": timings,
    }
    with reported(job.out):
        results.set_aside(job.out, job.key)
        results.write_runs(job.out / "runs.parquet", rows, provenance)
        job.parts.remove()


@contextlib.contextmanager
def reported(out: Path) -> Iterator[None]:
    """Turn an error of the file system into a line about `--out`."""
    try:
        yield
    except BrokenPipeError:  # that was the terminal's
        raise
    except OSError as error:
        raise UsageError(f"--out {out}: cannot be written to ({error.strerror})") from error
