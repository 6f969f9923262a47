"""Seeds flow until the claims are decided: look, let what is decided stop, go on with the rest."""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np

from jaxstudies import finishing, growth, jobs, results
from jaxstudies.engine.design import Design
from jaxstudies.errors import StudyError
from jaxstudies.evidence import registration
from jaxstudies.evidence.verdicts import SEQUENCE, Verdict
from jaxstudies.jobs import Job
from jaxstudies.output import owned, stored
from jaxstudies.selection import have_label

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


def may_be_decided(verdict: Verdict, design: Design, growing: np.ndarray) -> bool:
    """Return whether more seeds may decide a claim: there is a sequence for it, and all settings that it needs grow.

    Of one that takes results as a whole nothing says which it needs: where no run tests it yet, none is taken to come.
    """
    if verdict.rule != SEQUENCE or verdict.interval == "none" or verdict.undecidable:
        return False
    if verdict.asked is None:
        return verdict.verdict == "inconclusive" and bool(growing.any())
    # Of what no run tests yet, settings may be there, say with runs that are chosen by their outcome.
    needed = [settings_of(design, [labels]) for labels in verdict.asked]
    return verdict.verdict in ("inconclusive", "not tested") and all((among & growing).any() for among in needed)


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


def own_limits(design: Design) -> np.ndarray:
    """Return how many seeds settings may have of their own, infinitely many if they do not say so."""
    limits = np.full(design.num_settings, np.inf)
    for group in design.groups:
        limits[group.positions] = group.num_seeds or np.inf
    return limits


def look(job: Job, before: np.ndarray) -> Look:
    """Judge the claims on what is there, and see which settings have stopped, given those that had."""
    finished, origin = results.read(job.study, job.directory)
    # What an effect raises is told at the end, and the others go on.
    wrong: list[StudyError] = []
    looks = registration.looks_of(origin | {"until_decided": True})
    verdicts, effects = results.judge(job.study, finished, wrong, looks)
    seeded = set(effects["claim"][effects["seed"].notna()]) | {v.id for v in verdicts if not v.n}
    design = job.task.design
    growing = (before == 0) & (own_limits(design) > origin["num_seeds"])
    undecided = [v for v in verdicts if v.id in seeded and may_be_decided(v, design, growing)]
    # It may raise for want of seeds, and which settings it rests on is not known.
    going = np.full(design.num_settings, bool(wrong))
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
    flow = {"seeds": planned, "max_seeds": most}
    job = job._replace(until_decided=flow, shapes=jobs.trace(job.study, job.task))
    seen, limits = None, np.zeros(job.task.design.num_settings, np.int64)
    there = growth.origin_of(job.directory / owned.RUNS)
    if growth.is_alike(job, there) and stored.is_readable(job.directory / owned.RUNS):
        limits = jobs.unpacked(there["limits"]) if there.get("limits") else limits
        seen = look(job, limits)
        tell(seen)
    while seen is None or (seen.undecided and seen.num_seeds < most):
        number, limits = (0, limits) if seen is None else (seen.num_seeds, seen.limits)
        finishing.finish(growth.stage(job, next_look(number, planned, most), limits))
        seen = look(job, limits)
        tell(seen)
    return seen
