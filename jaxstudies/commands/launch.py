"""How a study is run into a directory: alone, or sharing the run with other processes.

A shared run has two passes. In the first each process computes its share of the chunks; in the second the one that
finds all of them puts the run together, as if it went on with its own.
"""

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from jaxstudies import deciding, finishing, growth, jobs, locks, ours, planning, results
from jaxstudies.commands import flags
from jaxstudies.commands.endings import UsageError
from jaxstudies.commands.options import Options, Seeds
from jaxstudies.configs import Dataclass
from jaxstudies.deciding import Look
from jaxstudies.engine import cluster, devices
from jaxstudies.engine.execution import Execution
from jaxstudies.engine.shares import Share, Unfinished, parse_share
from jaxstudies.engine.sockets import Peers, broadcast, wait_for_all
from jaxstudies.errors import StudyError
from jaxstudies.evidence.claims import Claim
from jaxstudies.evidence.estimands import ESTIMANDS
from jaxstudies.evidence.verdicts import NO_SEQUENCE
from jaxstudies.identity import provenance
from jaxstudies.jobs import Job
from jaxstudies.output import owned, stored
from jaxstudies.study import Study

LOOKS_FURTHEST = 100
"""Times the planned seeds, of a setting at most, where claims are to be decided."""


def connect(options: Options) -> Peers | None:
    """Connect this process to the others, if it is to be, and check its devices."""
    devices.use_all_cores()
    peers = None
    if options.distributed:
        timeout = options.connect_timeout or cluster.CONNECT_SECONDS
        peers = cluster.connect(options.coordinator, options.num_processes, options.process_id, timeout)
    try:
        devices.choose_devices(options.devices)
    except ValueError as error:
        present = len(devices.choose_devices())
        raise UsageError(f"--devices {options.devices}: {present} devices are present") from error
    return peers


def _execution(study: Study, options: Options) -> Execution:
    """Return how a study is run from flags."""
    # While an accelerator runs, the cores are free to compile; those that run themselves gained nothing by it.
    ahead = devices.choose_devices(options.devices)[0].platform != "cpu"
    return Execution(options.chunk_size, options.devices, study.RUNS_PER_DEVICE, ahead=ahead)


@contextlib.contextmanager
def _by_flags(config: Dataclass) -> Iterator[None]:
    """Say by flags what is wrong with arguments, or with a file that the study reads."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise UsageError(flags.in_flags(str(error), config, Options)) from error
    except OSError as error:
        raise UsageError(f"data: {error}") from error


def launch(
    study: Study, config: Dataclass, seeds: Seeds, options: Options, out: Path, report: Callable[[], None]
) -> None:
    """Run a study into a directory, or go on with it; then call `report`, if all is there."""
    peers = connect(options)
    execution = _execution(study, options)
    with _by_flags(config):
        job = jobs.prepare(study, config, out, seeds.seeds, seeds.seed, execution)
    if options.shard is not None:
        _run_shard(job, parse_share(options.shard), report)
    elif peers is not None:
        _run_connected(job, peers, options.fresh, report)
    elif options.until_decided:
        _run_until_decided(job, seeds.seeds, most_seeds(seeds, options), report)
    else:
        _run_alone(job, options.fresh, report)


def say_what_is_there(job: Job) -> None:
    """Say that nothing is run, and with which versions what is there was."""
    path = job.directory / owned.RUNS
    print(f"{path} holds these runs already; --fresh runs them again")
    if differ := provenance.other_versions(stored.read_provenance(path)["environment"]):
        print(f"they were written with {differ}")


def say_what_is_new(job: Job) -> Job:
    """Return the job as it goes on from what is there, and say so."""
    job = growth.grow(job)
    if job.earlier:
        new = job.task.num_seeds - job.first_seed
        there = f"{job.earlier} holds {job.first_seed:,} seeds of these runs"
        print(f"{there}; {new:,} more are run" if new else f"{there} and more; none is run")
        if new and (lacking := _without_sequence(_claims_if_any(job))):
            print(f"what was looked at cannot decide {', '.join(lacking)}; runs of another master seed can")
    elif aside := growth.place_aside(job):
        there = growth.origin_of(job.directory / owned.RUNS)
        why = "damaged" if "damaged" in aside.name else "of another configuration, code or data"
        if why != "damaged" and growth.is_alike(job, there):
            why = "of settings that have stopped, which do not go on"
        print(f"{job.directory / owned.RUNS} is {why}; it is set aside as {aside.name} when this run is done")
    return job


def _claims_if_any(job: Job) -> list[Claim]:
    """Return the claims of a job's study; none if its own code cannot say."""
    with contextlib.suppress(Exception):  # it is said when they are judged
        return results.claims_of(job.study, job.config)
    return []


def _without_sequence(claims: Iterable[Claim]) -> list[str]:
    """Return the claims that no sequence judges."""
    records = [claim.record() for claim in claims]
    return [record["id"] for record in records if ESTIMANDS[record["estimand"]].sequence(record) is None]


def _run_alone(job: Job, fresh: bool, report: Callable[[], None]) -> None:
    with locks.sole_writer(job.directory):
        if fresh:
            finishing.discard(job)
            finishing.finish(job)
        elif growth.is_finished(job):
            say_what_is_there(job)
        else:
            finishing.finish(say_what_is_new(job))
        ours.remove_leftovers(job.directory)
        report()


def _run_until_decided(job: Job, planned: int, most: int, report: Callable[[], None]) -> None:
    claims = claims_there(job.study, job.config, "--until-decided")
    lacking = _without_sequence(claims)
    if len(lacking) == len(claims):
        raise UsageError(f"--until-decided: {NO_SEQUENCE} ({lacking[0]})")
    if lacking:
        print(f"without a sequence, which needs bounds or a median: {', '.join(lacking)}", file=sys.stderr)

    def tell(look: Look) -> None:
        decided = sum(verdict.verdict in ("supported", "refuted") for verdict in look.verdicts)
        left, going = [verdict.id for verdict in look.undecided], int((look.limits == 0).sum())
        said = [f"{look.num_seeds:,} seeds: {decided} decided"]
        said += [f"open: {', '.join(left[:3])}{f' and {len(left) - 3} more' if len(left) > 3 else ''}"] * bool(left)
        said += [f"{going:,} of {len(look.limits):,} settings go on"] * (bool(left) and look.num_seeds < most)
        print("; ".join(said), file=sys.stderr)

    with locks.sole_writer(job.directory):
        deciding.until_decided(job, planned, most, tell)
        ours.remove_leftovers(job.directory)
        report()


def claims_there(study: Study, config: Dataclass, flag: str) -> list[Claim]:
    """Return a study's claims; raise UsageError if there is nothing to be decided."""
    try:
        listed = results.claims_of(study, config)
    except StudyError:
        raise
    except Exception as error:  # it is the study's own code
        raise UsageError(f"{flag}: claims(config) raises {type(error).__name__}: {error}") from error
    if not listed:
        raise UsageError(f"{flag}: {study.name} has no claims")
    return listed


def plan(study: Study, config: Dataclass, seeds: Seeds, options: Options) -> None:
    """Print how many seeds each claim is likely to need."""
    claims_there(study, config, "--plan")
    connect(options)
    execution = _execution(study, options)
    most = most_seeds(seeds, options)
    with _by_flags(config):
        made = planning.make(study, config, seeds.seeds, most, seeds.seed, execution)
    print(planning.in_words(made, most))


def most_seeds(seeds: Seeds, options: Options) -> int:
    """Return how many seeds a setting gets at most until its claims are decided."""
    return options.max_seeds or LOOKS_FURTHEST * seeds.seeds


def share_held(directory: Path, share: Share) -> AbstractContextManager:
    """Hold a directory for a share."""
    return locks.shared_writer(directory, f"{share.index + 1}-of-{share.count}")


def _run_shard(job: Job, share: Share, report: Callable[[], None]) -> None:
    done = f"share {share.index + 1}/{share.count} is done"
    with share_held(job.directory, share):
        with locks.finishing(job.directory):
            finished = growth.is_finished(job)
        if not finished:
            job = jobs.traced(job)  # shares do that side by side, which may take minutes
            with locks.finishing(job.directory):
                finished = growth.is_finished(job)
                job = job if finished else say_what_is_new(job)
        if not finished:
            finishing.compute_share(job, share)
        with locks.finishing(job.directory):
            if finished:
                say_what_is_there(job)
            elif growth.is_finished(job):
                print(f"{done}; another process has put the run together")
                return
            else:
                try:
                    finishing.finish(job, share)
                except Unfinished as error:
                    print(f"{done}; {error}, the last share puts the run together")
                    return
            ours.remove_leftovers(job.directory)
            report()


def _run_connected(job: Job, peers: Peers, fresh: bool, report: Callable[[], None]) -> None:
    share, leads = Share(peers.index, peers.count), peers.index == 0
    with share_held(job.directory, share):
        cluster.agree(peers, [job.chunks.directory.name, fresh])
        finished = broadcast(peers, leads and not fresh and growth.is_finished(job))
        if fresh:
            finishing.discard(job)
            wait_for_all(peers)  # nobody begins before all have removed
        elif not finished:
            job = jobs.traced(job)  # side by side, too
            job = say_what_is_new(job) if leads else job
            job = job._replace(first_seed=broadcast(peers, job.first_seed))
        apart = False
        if not finished:
            finishing.compute_share(job, share)
            apart = cluster.bring_together(peers, job.chunks)
        peers.close()
        if leads:
            if finished:
                say_what_is_there(job)
            else:
                finishing.finish(job)
            ours.remove_leftovers(job.directory)
            report()
            return
        if apart:
            job.chunks.remove()
        print(f"process {share.index} of {share.count} is done; process 0 writes the results")
