"""How a study is run into a directory: alone, or sharing the run with other processes.

A shared run has two passes. In the first each process computes its share of the chunks; in the second the one that
finds all of them puts the run together, as if it went on with its own.
"""

from collections.abc import Callable
from pathlib import Path

import jax

from jaxstudies.commands.flags import UsageError
from jaxstudies.commands.job import Job, compute_share, discard, finish, is_finished, prepare
from jaxstudies.commands.options import Options, Seeds
from jaxstudies.engine import chunks, cluster, programs
from jaxstudies.engine.cluster import ALONE, Share, Unfinished
from jaxstudies.engine.monte_carlo import Execution
from jaxstudies.output import files
from jaxstudies.study import Dataclass, Study


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
