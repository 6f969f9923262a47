"""How many seeds claims are likely to need, from a pilot whose seeds are no part of the run."""

import math
import tempfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from jaxstudies import finishing, jobs, results
from jaxstudies.configs import Dataclass
from jaxstudies.engine.execution import Execution
from jaxstudies.evidence import effects as effects_by_seed
from jaxstudies.evidence.estimands import ESTIMANDS, Method, counts_of
from jaxstudies.evidence.rules import held_against
from jaxstudies.study import Study

PILOT = 64
"""Seeds of a pilot, at most; it has no more than are planned."""
FUTURES = 30
"""Simulated continuations of a pilot."""
FIRST_LOOK, STEP = 16, 1.35
"""Values at the first look of a continuation, and by which factor they are more at each."""
OUTCOMES = {"share": (0.0, 1.0), "share_against": (0.0, 1.0), "share_difference": (-1.0, 0.0, 1.0)}
"""What values can be that are outcomes: each may come, even if the pilot had none."""


class Need(NamedTuple):
    """What a claim is likely to need."""

    id: str
    effect: float
    """In the pilot."""
    median: float
    """Seeds at which half of the continuations have decided it; infinite if fewer do with as many as there may be."""
    ninety: float
    """Seeds at which nine in ten have."""
    why: str = ""
    """Why it cannot be told."""


class Plan(NamedTuple):
    """What a pilot came to."""

    num_seeds: int
    """Of the pilot."""
    seconds_per_seed: float
    needs: list[Need]


def make(study: Study, config: Dataclass, planned: int, most: int, seed: int, execution: Execution) -> Plan:
    """Run a pilot, and see how many seeds each claim is likely to need, judged by its sequence.

    Its master seed is another than the run's, so that n may be set by what it says.

    Args:
        study: What is run.
        config: Its configuration.
        planned: Seeds of each setting that are planned.
        most: Seeds that there may be.
        seed: Master seed of the run.
        execution: How it is run.
    """
    number = min(planned, PILOT)
    with tempfile.TemporaryDirectory(prefix="jaxstudies-pilot-") as made:
        job = jobs.prepare(study, config, Path(made), number, zlib.crc32(f"pilot {seed}".encode()), execution)
        finishing.finish(job)
        finished, _ = results.read(study, job.directory)
    judged, effects = results.judge(study, finished)
    by_claim = effects_by_seed.by_claim(effects)
    needs = [need(v._asdict(), by_claim.get(v.id, effects[:0]), number, most) for v in judged]
    return Plan(number, float(finished.times["run_seconds"].sum()) / number, needs)


def need(record: Mapping, effects: pd.DataFrame, num_seeds: int, most: int) -> Need:
    """Return what a claim is likely to need.

    The pilot is continued again and again: its values are weighted anew (Rubin 1981, Ann. Statist. 9:130), which is
    how little it tells of them, and drawn with these weights.

    Args:
        record: The claim's, or its verdict on the pilot.
        effects: Of the pilot, by seed.
        num_seeds: Seeds of the pilot: where a claim rests on fewer values, it needs more seeds for each.
        most: Seeds that there may be.
    """
    method, n = ESTIMANDS[record["estimand"]].sequence(record), int(counts_of(effects).sum())
    id_, effect = record["id"], float(record["effect"])
    if why := record["undecidable"] or ("no run tests it" if not n else "" if method else "no sequence holds for it"):
        return Need(id_, effect, math.nan, math.nan, why)
    assert method is not None
    columns = [name for name in ("value", "other") if name in effects]
    rows = effects[columns].loc[effects.index.repeat(counts_of(effects))].to_numpy(float)
    weights = np.ones(len(rows))
    if outcomes := OUTCOMES.get(record["estimand"]):
        rows = np.concatenate([rows, np.array([[outcome] * len(columns) for outcome in outcomes])])
        weights = np.concatenate([weights, np.full(len(outcomes), 1 / len(outcomes))])
    rng, per_seed, fell = np.random.default_rng(zlib.crc32(id_.encode())), n / num_seeds, []
    for _ in range(FUTURES):
        drawn = rows[rng.choice(len(rows), max(int(most * per_seed), 1), p=rng.dirichlet(weights))]
        future = pd.DataFrame(drawn, columns=columns)
        decided = (look for look in _looks(len(drawn)) if _is_decided(record, method, future[:look]))
        fell.append(next(decided, math.inf) / per_seed)
    median, ninety = np.quantile(fell, [0.5, 0.9], method="higher")
    return Need(id_, effect, float(median), float(ninety))


def _looks(most: int) -> Iterable[int]:
    look = float(FIRST_LOOK)
    while look < most:
        yield int(look)
        look *= STEP
    yield most


def _is_decided(record: Mapping, method: Method, effects: pd.DataFrame) -> bool:
    return held_against(record, method, effects, record["level"]).kind in ("supported", "refuted")


def in_words(plan: Plan, most: int) -> str:
    """Return a plan as lines: what each claim needs, and how long that takes here."""
    told = [need for need in plan.needs if not need.why and math.isfinite(need.median)]
    never = [need for need in plan.needs if not need.why and not math.isfinite(need.median)]
    width = max((len(need.id) for need in plan.needs), default=5)
    lines = [f"from a pilot of {plan.num_seeds:,} seeds that are no part of the run, judged by sequences:", ""]
    lines.append(f"{'claim':{width}}  {'in the pilot':>12}  {'seeds, median':>13}  {'90 %':>9}  time here")
    for need in sorted(told, key=lambda need: need.ninety):
        ninety = f"{need.ninety:,.0f}" if math.isfinite(need.ninety) else f"> {most:,}"
        time = _duration(plan.seconds_per_seed * min(need.ninety, most))
        lines.append(f"{need.id:{width}}  {need.effect:>12.4g}  {need.median:>13,.0f}  {ninety:>9}  {time}")
    if never:
        said = ", ".join(f"{need.id} ({need.effect:.4g} in the pilot)" for need in never)
        lines += ["", f"likely not decided by {most:,} seeds: {said}"]
    lines += [f"{need.id}: cannot be told: {need.why}" for need in plan.needs if need.why]
    return "\n".join(lines)


def _duration(seconds: float) -> str:
    for size, name in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {name}"
    return f"{seconds:.2g} s"
