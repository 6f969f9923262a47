"""A study to be run into a directory, and what it is known by."""

import contextlib
import itertools
import os
import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxstudies import configs, results
from jaxstudies.configs import Dataclass
from jaxstudies.engine import devices, monte_carlo, tracing
from jaxstudies.engine.chunks import Chunks
from jaxstudies.engine.design import Design
from jaxstudies.engine.execution import DEFAULT, Execution
from jaxstudies.engine.monte_carlo import Task
from jaxstudies.identity import provenance
from jaxstudies.output.table import Shapes
from jaxstudies.study import Study
from jaxstudies.tasks import code_of, task_of

PARTS = "parts"
"""Directory of chunks that are finished, beside the table that they become."""


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
    until_decided: Mapping[str, int] | None = None
    """How many seeds were planned, and are taken at most, if it is looked at until its claims are decided."""
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
        return Chunks(self.directory / PARTS / provenance.digest(decides), self.commit)


def prepare(
    study: Study,
    config: Dataclass,
    directory: Path,
    num_seeds: int,
    seed: int = 0,
    execution: Execution = DEFAULT,
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
    task = task_of(study, config, num_seeds, seed, execution)
    execution.plans(task.design, num_seeds, 0, devices.choose_devices(execution.num_devices))
    identity = {
        "study": study.name,
        "config": configs.without_execution(configs.to_json(config)),
        "seed": seed,
        # What cannot be read cannot be told from what was there before.
        "code": code or code_of(study) or uuid.uuid4().hex,
        "data": provenance.array_digest(task.data),
        "design": design_digest(task.design),
        "jax_settings": tracing.jax_settings(),
    }
    return Job(study, config, directory, task, identity, provenance.commit_here() or "", base=task.design, begun=now())


def now() -> str:
    """Return the time, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


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


def trace(study: Study, task: Task) -> Shapes:
    """Return shapes of what a run returns, the claims tried on it, before anything is run.

    Raises:
        StudyError: What `simulate` returns makes no table, or a claim asks for what is not there.
    """
    shapes = monte_carlo.shapes_of(task)
    results.try_claims(study, task.design, shapes)
    return shapes


def traced(job: Job) -> Job:
    """Return a job that knows the shapes of what its run returns, as `trace` does."""
    return job if job.shapes else job._replace(shapes=trace(job.study, job.task))


def packed(limits: np.ndarray) -> tuple[tuple[int, int], ...]:
    """Return limits as `Stage.limits`; nothing if there is none."""
    if not limits.any():
        return ()
    return tuple((len(list(same)), int(limit)) for limit, same in itertools.groupby(limits.tolist()))


def unpacked(limits: Iterable[Sequence[int]]) -> np.ndarray:
    """Undo that."""
    numbers, values = zip(*limits, strict=True)
    return np.repeat(values, numbers)


def file_of(study: Study, directory: Path) -> str | None:
    """Return where a reader's study lies, from the directory of its results; None if it is ours, or in no file."""
    if study.path is None or study.module.startswith("jaxstudies."):
        return None
    path = study.path.parent if study.path.name == "__init__.py" else study.path
    with contextlib.suppress(ValueError):  # on another drive
        return Path(os.path.relpath(path, directory.resolve())).as_posix()
    return None
