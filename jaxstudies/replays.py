"""Any run again, by its setting and seed: by the program that made its row, or alone, to see more of it."""

import contextlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, SupportsIndex

import jax
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from jaxtyping import PyTree

from jaxstudies import arguments, configs, jobs
from jaxstudies.calls import code_of, filled_in, study_of
from jaxstudies.configs import Dataclass
from jaxstudies.engine import compiler, devices, tracing
from jaxstudies.engine.blocks import Size, make_plans
from jaxstudies.engine.compiler import Columns
from jaxstudies.engine.design import Design, Simulate, limited
from jaxstudies.engine.monte_carlo import Stage, Task
from jaxstudies.engine.programs import Launch
from jaxstudies.identity import live
from jaxstudies.jobs import Job
from jaxstudies.networks.states import TrainState
from jaxstudies.output import owned, stored, table
from jaxstudies.selection import have_label, open_labels
from jaxstudies.study import Study, load_from
from jaxstudies.watching import watching


class Replay(NamedTuple):
    """A run again."""

    setting: dict[str, object]
    """Its labels."""
    seed: int
    """Its number."""
    values: Columns
    """What `simulate` returned: arrays by name."""
    row: dict[str, np.ndarray] | None
    """The same as the table has it; None without a table, or if the table has no such seed."""
    difference: dict[str, float]
    """The largest difference from the row, by measure; 0 is to the bit."""
    observed: list[Any]
    """Of every `fit`, in the order in which it is called, what `observe` returned: arrays with a leading axis of
    epochs, the first entry before training."""

    def __str__(self) -> str:
        labels = "".join(f", {name} {value}" for name, value in self.setting.items())
        lines = [f"seed {self.seed}{labels}"]
        lines += [f"  {name}: {in_words(value)}" for name, value in self.values.items()]
        return "\n".join([*lines, difference_in_words(self)])


def in_words(value: np.ndarray) -> str:
    """Return a number, or of an array its shape and ends."""
    if value.ndim == 0:
        return f"{value:.6g}" if value.dtype.kind == "f" else str(value)
    shape = " x ".join(map(str, value.shape))
    return f"{shape} from {value.ravel()[0]:.4g} to {value.ravel()[-1]:.4g}" if value.size else f"{shape}"


def difference_in_words(replayed: Replay) -> str:
    """Return how a run differs from its row."""
    if replayed.row is None:
        return "There is no row of it to compare with."
    name, most = max(replayed.difference.items(), key=lambda item: item[1], default=("", 0.0))
    return f"It differs from its row by up to {most:.3g} ({name})." if most else "It equals its row to the bit."


def replay(
    study: str | Path | Dataclass | Mapping[str, object],
    setting: Mapping[str, object],
    seed: SupportsIndex,
    *,
    simulate: Simulate | None = None,
    directory: str | Path | None = None,
    data: Mapping[str, PyTree] | None = None,
    master_seed: SupportsIndex | None = None,
    observe: Callable[[TrainState], PyTree] | None = None,
) -> Replay:
    """Run one run again.

    Without `observe` it goes through the program that made its row, with the runs beside it, and equals the row to the
    bit on the machine and versions that made it. With `observe`, or without a row, it runs alone, and equals it by
    rounding, which can grow where training is chaotic; the difference is returned and said.

    Args:
        study: The directory of a run, if its study is a file or one of the package's; or the config that
            `jaxstudies.run` took, with `simulate`.
        setting: Labels that tell the setting from the others, such as `{"width": 3}`. They may be rounded, as in
            summary.csv: where no label is equal, the only one within a thousandth is meant.
        seed: The run's number, from 0 to 2^32 - 1.
        simulate: The function that `jaxstudies.run` took.
        directory: The directory that `jaxstudies.run` took, if any.
        data: The arrays that `jaxstudies.run` took, if any.
        master_seed: That of the runs, where there is no table to say it: 0 by default.
        observe: Takes the state of training (`params`, `batch_stats`, `opt_state`) and returns arrays, which are kept
            of the start and after each epoch of every `fit`.

    Returns:
        The run, see `Replay`.

    Raises:
        ValueError: No setting or several have the labels, a seed is out of bounds, the table was written with another
            config, code or master seed, or by `map_seeds`, or `observe` is given and `simulate` does not call `fit`.
        TypeError: A seed is no whole number.
        UnreadableRuns: The directory holds no table.

    Examples:
        >>> import jax
        >>> import jaxstudies
        >>> def simulate(key, scale):
        ...     return {"draw": scale * jax.random.normal(key)}
        >>> config = {"scale": (1.0, 2.0)}
        >>> runs = jaxstudies.run(config, simulate, num_seeds=8, directory="draws")
        >>> again = jaxstudies.replay(config, {"scale": 2.0}, 5, simulate=simulate, directory="draws")
        >>> again.difference
        {'draw': 0.0}
    """
    devices.use_all_cores()
    seed = arguments.whole("seed", seed, 0, configs.LARGEST_SEED)
    master = None if master_seed is None else arguments.whole("master_seed", master_seed, 0, configs.LARGEST_SEED)
    found, config = _study_and_config(study, simulate, data)
    with tracing.precision(None if simulate else config):  # what `run` took was run as JAX was set
        where = directory if directory is not None else study if isinstance(study, str | Path) else None
        path = None if where is None else arguments.path("directory", where) / owned.RUNS
        origin = stored.read_provenance(path) if path else {"seed": master or 0, "num_seeds": 1, "stages": []}
        if master not in (None, origin["seed"]):
            raise ValueError(f"master_seed {master}: that of the table in {where} is {origin['seed']}; leave it out")
        if path and simulate:
            _check_has_settings(origin, simulate, config, path.parent)
        code = live.object_digest(code_of(found, config)) if simulate else None
        job = jobs.prepare(found, config, Path(), origin["num_seeds"], origin["seed"], code=code)
        if path:
            _check_same(job, origin)
        task = job.task
        position = find_setting(task.design, setting)
        row = _row(path, task.design, position, seed) if path else None
        observed: list[Any] = []
        if observe is None and row is not None:
            values = _by_its_program(task, [_stage(fields) for fields in origin["stages"]], position, seed)
        else:
            values, observed = _alone(task, position, seed, observe)
        labels = {name: column[position] for name, column in task.design.labels.items()}
        difference = {name: largest_difference(values[name], row[name]) for name in values} if row else {}
        again = Replay(labels, seed, values, row, difference, observed)
        if observe is not None and row is not None:
            print(f"replay: {difference_in_words(again)}", file=sys.stderr)
        return again


def _study_and_config(
    study: str | Path | Dataclass | Mapping[str, object], simulate: Simulate | None, data: Mapping[str, PyTree] | None
) -> tuple[Study, Dataclass]:
    if not isinstance(study, str | Path):
        if simulate is None:
            raise ValueError("simulate: needed with a config")
        return study_of(study, simulate, data or {}), filled_in(study)
    origin = stored.read_provenance(Path(study) / owned.RUNS)
    if origin["study"] == owned.OF_FUNCTIONS and not origin["file"]:
        by_itself = "" if origin["config"] else ", or, if map_seeds wrote it, call that again"
        raise ValueError(
            f"study {study}: its functions are in no file that is known; give the config and `simulate`{by_itself}"
        )
    found = load_from(origin, Path(study))
    return found, configs.from_json(found.Config, origin["config"])


def _check_has_settings(origin: dict, simulate: Simulate, config: Dataclass, directory: Path) -> None:
    """Raise ValueError if `map_seeds` wrote a table, which has a function and arrays, but no config."""
    by_itself = configs.to_json(config) or origin["code"] == live.object_digest([simulate])
    if origin["study"] == owned.OF_FUNCTIONS and not origin["config"] and by_itself:
        raise ValueError(
            f"directory {directory}: its runs have no config, as those that map_seeds wrote; these are called again "
            "with map_seeds itself"
        )


def _check_same(job: Job, origin: dict) -> None:
    """Raise ValueError if what is run now is not what the table was written of."""
    differ = [name for name in ("code", "data", "design", "jax_settings") if job.identity[name] != origin.get(name)]
    here, there = (configs.without_execution(config) for config in (configs.to_json(job.config), origin["config"]))
    for name in {**here, **there} if differ else ():
        # Levels decide the code as well, so that a config is looked at first.
        if name not in here or name not in there or here[name] != there[name]:
            value, was = (arguments.short(c[name]) if name in c else "not there" for c in (here, there))
            raise ValueError(f"config: {name!r} is {value}, and was {was} when the table was written; give that")
    if differ:
        raise ValueError(
            f"study {job.study.name}: its {differ[0]} is another than when the table was written; run it again first"
        )


def _stage(fields: dict[str, Any]) -> Stage:
    launches = {name: [Launch(a, b, Size(*size)) for a, b, size in list_] for name, list_ in fields["launches"].items()}
    first_seed, num_seeds, runs_at_once, num_devices = (int(fields[name]) for name in Stage._fields[:4])
    limits = tuple((int(number), int(limit)) for number, limit in fields["limits"])
    return Stage(first_seed, num_seeds, runs_at_once, num_devices, launches, limits)


ROUNDED = 1e-3
"""How far a label may be rounded, relative to it, where it is the only one so near."""


def find_setting(design: Design, setting: Mapping[str, object]) -> int:
    """Return the position of the setting that has labels; raise ValueError unless there is just one."""
    here = np.ones(design.num_settings, bool)
    for name, value in setting.items():
        if name not in design.labels:
            known = ", ".join(design.labels) or "none"
            raise ValueError(f"setting {dict(setting)}: {name!r} is no label; these are: {known}")
        column = design.labels[name]
        have = have_label(column, value)
        if not have.any():
            near = have_label(column, value, ROUNDED)
            have = near if len(pd.unique(column[near])) == 1 else have
        here &= have
    places = np.flatnonzero(here)
    if len(places) != 1:
        found = f"{len(places):,} settings have" if len(places) else "no setting has"
        rows = places if len(places) else np.arange(design.num_settings)
        open_ = open_labels({name: column[rows] for name, column in design.labels.items()})
        raise ValueError(f"setting {dict(setting)}: {found} these labels ({open_})")
    return int(places[0])


def _row(path: Path, design: Design, position: int, seed: int) -> dict[str, np.ndarray] | None:
    """Return the measures of a run's row, if the table has it."""
    rows = table.to_pandas(pq.read_table(path, filters=[("seed", "=", seed)]))
    labels = {name: column[position] for name, column in design.labels.items()}
    here = np.ones(len(rows), bool)
    for name, value in labels.items():
        here &= have_label(rows[name], value)
    if not here.any():
        return None
    (row,) = rows[here].drop(columns=[*labels, "seed"]).to_dict("records")
    return {name: np.asarray(value) for name, value in row.items() if value is not None and value is not pd.NA}


def largest_difference(value: np.ndarray, other: np.ndarray) -> float:
    """Return the largest difference of two arrays of a shape; NaN equals NaN, and infinity itself."""
    a, b = np.asarray(value, float), np.asarray(other, float)
    with np.errstate(invalid="ignore"):
        apart = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
    return float(np.nan_to_num(apart, nan=np.inf).max(initial=0.0))


def _by_its_program(task: Task, stages: list[Stage], position: int, seed: int) -> Columns:
    """Run the block of a run again as it was run, and return the one run of it."""
    for stage in stages:
        design = limited(task.design, jobs.unpacked(stage.limits)) if stage.limits else task.design
        plans = make_plans(design, stage.num_seeds, stage.runs_at_once, stage.num_devices, stage.first_seed)
        plan = next(plan for plan in plans if position in plan.group.positions)
        if plan.first_seed <= seed < plan.num_seeds:
            break
    inside = int(np.searchsorted(plan.group.positions, position))
    (block,) = plan.blocks((inside, inside + 1), (seed, seed + 1))
    launches = stage.launches.get(block.name, [Launch(block.setting, block.seed, plan.size)])
    launch = next(launch for launch in launches if _holds(launch, inside, seed))
    chosen = devices.choose_devices(stage.num_devices)
    run = compiler.compile_block(task.simulate, plan.group, dict(task.data), launch.size, chosen)
    columns = run(task.seed, launch.seed, launch.setting, plan.group)
    return {name: np.asarray(c[seed - launch.seed, inside - launch.setting]) for name, c in columns.items()}


def _holds(launch: Launch, setting: int, seed: int) -> bool:
    inside = launch.setting <= setting < launch.setting + launch.size.settings
    return inside and launch.seed <= seed < launch.seed + launch.size.seeds


def _alone(
    task: Task, position: int, seed: int, observe: Callable[[TrainState], PyTree] | None
) -> tuple[Columns, list[Any]]:
    """Run one run by a program of its own; return what it returned and what was observed."""
    group = next(group for group in task.design.groups if position in group.positions)
    inside = int(np.searchsorted(group.positions, position))
    key = jax.random.fold_in(jax.random.key(task.seed), seed)
    arguments = key, jax.tree.map(lambda a: a[inside], group.mapped), group.fixed | dict(task.data)
    with watching(observe) if observe else contextlib.nullcontext() as watcher:
        run = tracing.trace(task.simulate, group, dict(task.data)).one
    if watcher and not watcher.seen:
        raise ValueError(
            "observe: simulate does not call jaxstudies.fit, or calls it in a function that jax.jit has traced before"
        )
    with tracing.full_precision():
        values = jax.tree.map(np.asarray, jax.jit(run)(*arguments))
    return values, watcher.histories() if watcher else []
