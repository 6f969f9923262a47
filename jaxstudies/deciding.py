"""Seeds flow until the claims are decided: look, let what is decided stop, go on with the rest."""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np

from jaxstudies import jobs, results
from jaxstudies.engine.design import Design
from jaxstudies.evidence.verdicts import SEQUENCE, Verdict
from jaxstudies.jobs import Job
from jaxstudies.output import owned, table
from jaxstudies.results import have_label

STEPS, LARGEST_STEP = 8, 128
"""Looks until as many seeds as planned, and seeds between two of them, at most; behind, about an eighth more each."""


class Look(NamedTuple):
    """What was seen at a look."""

    num_seeds: int
    verdicts: list[Verdict]
    undecided: list[Verdict]
    """Those that more seeds may decide."""
    limits: np.ndarray
    """Seeds of each setting that has stopped, 0 of those that go on."""


def may_be_decided(verdict: Verdict, design: Design) -> bool:
    """Return whether more seeds may decide a claim, for which there is a sequence and a setting."""
    if verdict.rule != SEQUENCE or verdict.interval == "none" or verdict.undecidable:
        return False
    # Of what no run tests yet, a setting may be there, say with runs that are chosen by their outcome.
    there = verdict.asked is not None and settings_of(design, verdict.asked).any()
    return verdict.verdict == "inconclusive" or (verdict.verdict == "not tested" and bool(there))


def next_look(num_seeds: int, planned: int, most: int) -> int:
    """Return at how many seeds one looks next; few different steps need few programs."""
    step = max(min(planned // STEPS, LARGEST_STEP), 1)
    while 2 * step <= num_seeds // STEPS:
        step *= 2
    return min(num_seeds + step, most)


def settings_of(design: Design, asked: Iterable[Mapping[str, object]] | None) -> np.ndarray:
    """Return which settings have any of some labels; all, if it is not known which are asked for."""
    if asked is None:
        return np.ones(design.num_settings, bool)
    here = np.zeros(design.num_settings, bool)
    for labels in asked:
        among = np.ones(design.num_settings, bool)
        for name, levels in labels.items():
            if name in design.labels:
                listed = levels if isinstance(levels, list | tuple) else [levels]
                among &= np.any([have_label(design.labels[name], level) for level in listed], axis=0)
        here |= among
    return here


def look(job: Job, before: np.ndarray) -> Look:
    """Judge the claims on what is there, and see which settings have stopped, given those that had."""
    finished, origin = results.read(job.study, job.directory)
    verdicts, _ = results.judge(job.study, finished, looks=results.looks_of(origin | {"until_decided": True}))
    design = job.task.design
    undecided = [verdict for verdict in verdicts if may_be_decided(verdict, design)]
    going = np.zeros(design.num_settings, bool)
    for verdict in undecided:
        going |= settings_of(design, verdict.asked)
    stop = ~going & (before == 0)
    return Look(origin["num_seeds"], verdicts, undecided, np.where(stop, origin["num_seeds"], before))


def until_decided(job: Job, planned: int, most: int, tell: Callable[[Look], None]) -> Look:
    """Run until every claim is decided that can be, or there are as many seeds as there may be.

    What is there already, say of a run that was killed, counts, with its looks.

    Args:
        job: As `jobs.prepare` makes it.
        planned: Seeds that were planned, which set how far looks lie apart.
        most: Seeds of a setting at most.
        tell: Is called at each look.
    """
    job = job._replace(until_decided=True, shapes=jobs.trace(job.study, job.task))
    seen, limits = None, np.zeros(job.task.design.num_settings, np.int64)
    there = jobs.origin_of(job.directory / owned.RUNS)
    if jobs.is_alike(job, there) and table.is_readable(job.directory / owned.RUNS):
        limits = jobs.unpacked(there["limits"]) if there.get("limits") else limits
        seen = look(job, limits)
        tell(seen)
    while seen is None or (seen.undecided and seen.num_seeds < most):
        number, limits = (0, limits) if seen is None else (seen.num_seeds, seen.limits)
        jobs.finish(jobs.stage(job, next_look(number, planned, most), limits))
        seen = look(job, limits)
        tell(seen)
    return seen
