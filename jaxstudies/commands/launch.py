"""How a study is run into a directory: alone, or sharing the run with other processes.

A shared run has two passes. In the first each process computes its share of the chunks; in the
second the one that finds all of them puts the run together, as if it went on with its own.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import annotated_types as at

from jaxstudies.commands.flags import UsageError
from jaxstudies.commands.job import Job, compute_share, discard, finish, is_finished, prepare
from jaxstudies.engine import chunks, cluster, programs
from jaxstudies.engine.cluster import Share, Unfinished
from jaxstudies.engine.monte_carlo import Execution
from jaxstudies.output import files
from jaxstudies.study import Dataclass, Study


@dataclasses.dataclass(frozen=True)
class Options:
    """How and where a study runs; none of it changes results beyond rounding."""

    out: Path | None = None
    """Directory for the results (figures/<study>)."""
    chunk_size: Annotated[int, at.Ge(1)] | None = None
    """Runs at once, settings times seeds, which bounds the memory (512 per CPU core unless the
    study says otherwise, 8192 per accelerator)."""
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
    number, count = options.process_id, options.num_processes
    if number is not None and count is not None and number >= count:
        raise UsageError(f"--process-id {number}: must be less than --num-processes, {count}")


def connect(options: Options) -> Share:
    """Return this process's share, after connecting it to the others if there are any.

    Raises:
        UsageError: There are fewer devices than asked for.
        ClusterError: The other processes cannot be reached.
    """
    programs.use_all_cores()
    share = Share()
    if options.shard is not None:
        share = cluster.parse_share(options.shard)
    elif options.distributed:
        share = cluster.connect(options.coordinator, options.num_processes, options.process_id)
    try:
        programs.choose_devices(options.devices)
    except ValueError as error:
        present = len(programs.choose_devices())
        raise UsageError(f"--devices {options.devices}: {present} devices are present") from error
    return share


def launch(
    study: Study, config: Dataclass, options: Options, out: Path, num_seeds: int, seed: int, report: Callable[[], None]
) -> None:
    """Run a study into a directory, or go on with it; then call `report`, if all is there.

    Raises:
        UsageError: Another run holds the directory, it cannot be written to, or what is there is
            of other versions.
        ClusterError: Another process has gone.
        ChunksError: Finished chunks cannot be kept or read.
    """
    share = connect(options)
    execution = Execution(options.chunk_size, options.devices, study.RUNS_PER_DEVICE)
    job = prepare(study, config, out, num_seeds, seed, options.fresh, execution)
    try:
        if options.shard is not None:
            _launch_shard(job, share, report)
        elif options.distributed:
            _launch_connected(job, share, report)
        else:
            _launch_alone(job, report)
    except chunks.Occupied:
        raise UsageError(f"--out {out}: another run is writing there; wait for it, or name another directory") from None


def _launch_alone(job: Job, report: Callable[[], None]) -> None:
    with chunks.sole_writer(job.out):
        if job.fresh:
            discard(job)
        if job.fresh or not is_finished(job):
            finish(job)
        files.remove_leftovers(job.out)
        report()


def _launch_shard(job: Job, share: Share, report: Callable[[], None]) -> None:
    name = f"{share.index + 1}/{share.count}"
    with chunks.shared_writer(job.out, name.replace("/", "-of-")):
        with chunks.finishing(job.out):
            finished = is_finished(job)
        if not finished:
            compute_share(job, share)
        with chunks.finishing(job.out):
            if not finished and is_finished(job):
                print(f"share {name} is done; another process has put the run together")
                return
            if not finished:
                try:
                    finish(job, share)
                except Unfinished as error:
                    print(f"share {name} is done; {error}, the last share puts the run together")
                    return
            files.remove_leftovers(job.out)
            report()


def _launch_connected(job: Job, share: Share, report: Callable[[], None]) -> None:
    with chunks.shared_writer(job.out, f"{share.index + 1}-of-{share.count}"):
        cluster.agree(job.chunks.directory.name)
        finished = cluster.broadcast(share.index == 0 and not job.fresh and is_finished(job))
        if job.fresh:
            discard(job)
            cluster.broadcast(None)  # nobody begins before all have removed
        apart = False
        if not finished:
            compute_share(job, share)
            apart = cluster.bring_together(job.chunks)
        cluster.disconnect()
        if share.index == 0:
            if not finished:
                finish(job)
            files.remove_leftovers(job.out)
            report()
        else:
            if apart:
                job.chunks.remove()
            print(f"process {share.index} of {share.count} is done; process 0 writes the results")
