"""How a study is run into a directory: alone, or sharing the run with other processes.

A shared run has two passes. In the first each process computes its share of the chunks; in the second the one that
finds all of them puts the run together, as if it went on with its own.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import annotated_types as at
import jax

from jaxstudies.commands.flags import UsageError
from jaxstudies.commands.job import Job, compute_share, discard, finish, is_finished, prepare
from jaxstudies.engine import chunks, cluster, programs
from jaxstudies.engine.cluster import ALONE, Share, Unfinished
from jaxstudies.engine.monte_carlo import Execution
from jaxstudies.output import files
from jaxstudies.study import Dataclass, Study


@dataclasses.dataclass(frozen=True)
class Seeds:
    """What decides a run beside the study's own config, where that does not name it."""

    seeds: Annotated[int, at.Interval(ge=1, le=10**9)] = 1000
    """Independent runs per setting."""
    seed: Annotated[int, at.Interval(ge=0, le=2**32 - 1)] = 0
    """Master seed; run i depends on it and on i alone."""


@dataclasses.dataclass(frozen=True)
class Options:
    """How and where a study runs; none of it changes results beyond rounding."""

    out: Path | None = None
    """Directory for the results (results/<study>)."""
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
    """Check flags that depend on one another."""
    shard, number, count = options.shard, options.process_id, options.num_processes
    three = {"--coordinator": options.coordinator, "--num-processes": count, "--process-id": number}
    given, missing = ([f for f, value in three.items() if (value is None) == lacks] for lacks in (False, True))
    if options.plots_only and (shard is not None or options.distributed):
        raise UsageError("--plots-only: runs nothing, so that there is nothing to share")
    if shard is not None:
        try:
            cluster.parse_share(shard)
        except ValueError as error:
            raise UsageError(f"--shard {shard}: {error}") from error
        if options.distributed:
            raise UsageError("--shard: the processes of --distributed have their shares already")
        if options.fresh:
            raise UsageError("--fresh: a shard cannot know whose chunks are new; remove DIR/parts")
    if given and not options.distributed:
        raise UsageError(f"{given[0]}: only with --distributed")
    if given and missing:
        raise UsageError(f"{missing[0]}: needed with {given[0]}")
    if number is not None and count is not None and number >= count:
        raise UsageError(f"--process-id {number}: must be less than --num-processes, {count}")


def connect(options: Options) -> Share:
    """Return this process's share, after connecting it to the others if there are any."""
    programs.use_all_cores()
    share = cluster.parse_share(options.shard) if options.shard is not None else ALONE
    if options.distributed:
        share = cluster.connect(options.coordinator, options.num_processes, options.process_id)
    try:
        programs.choose_devices(options.devices)
    except ValueError as error:
        present = len(programs.choose_devices())
        raise UsageError(f"--devices {options.devices}: {present} devices are present") from error
    return share


def launch(
    study: Study, config: Dataclass, seeds: Seeds, options: Options, out: Path, report: Callable[[], None]
) -> None:
    """Run a study into a directory, or go on with it; then call `report`, if all is there."""
    share = connect(options)
    execution = Execution(options.chunk_size, options.devices, study.RUNS_PER_DEVICE)
    job = prepare(study, config, out, seeds.seeds, seeds.seed, options.fresh, execution)
    run = _run_shard if options.shard is not None else _run_connected if options.distributed else _run_alone
    try:
        run(job, share, report)
    except chunks.Occupied:
        raise UsageError(f"--out {out}: another run is writing there; wait for it, or name another directory") from None


def _run_alone(job: Job, _: Share, report: Callable[[], None]) -> None:
    with chunks.sole_writer(job.out):
        if job.fresh:
            discard(job)
        if job.fresh or not is_finished(job):
            finish(job)
        files.remove_leftovers(job.out)
        report()


def _run_shard(job: Job, share: Share, report: Callable[[], None]) -> None:
    done = f"share {share.index + 1}/{share.count} is done"
    with chunks.shared_writer(job.out, f"{share.index + 1}-of-{share.count}"):
        with chunks.finishing(job.out):
            finished = is_finished(job)
        if not finished:
            compute_share(job, share)
        with chunks.finishing(job.out):
            if not finished and is_finished(job):
                print(f"{done}; another process has put the run together")
                return
            if not finished:
                try:
                    finish(job, share)
                except Unfinished as error:
                    print(f"{done}; {error}, the last share puts the run together")
                    return
            files.remove_leftovers(job.out)
            report()


def _run_connected(job: Job, share: Share, report: Callable[[], None]) -> None:
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
        jax.distributed.shutdown()
        if share.index == 0:
            if not finished:
                finish(job)
            files.remove_leftovers(job.out)
            report()
            return
        if apart:
            job.chunks.remove()
        print(f"process {share.index} of {share.count} is done; process 0 writes the results")
