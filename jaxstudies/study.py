"""What a study is, and what it need not write.

A study is a module with a frozen dataclass `Config` and a function `simulate(key, a, b, *, c)`, one run, that returns
arrays by name. Its parameters are fields of the config, arrays that `data(config)` returns, or `config` itself. A field
that is a tuple is a factor, and the design their product. Whatever else of `Study` a module defines, it says better.
"""

import dataclasses
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, NamedTuple, Protocol, cast, runtime_checkable

import numpy as np
import pandas as pd
from jaxtyping import PyTree
from matplotlib.figure import Figure

from jaxstudies.engine import design as designs
from jaxstudies.engine import monte_carlo, programs
from jaxstudies.engine.design import Setting, Simulate
from jaxstudies.engine.monte_carlo import Execution, Task
from jaxstudies.evidence import intervals
from jaxstudies.evidence.claims import Claim, Verdict, judge_all, sentence
from jaxstudies.output import plotting, provenance, table

__all__ = ["Claim", "Results", "Setting", "Study", "main", "run", "selector"]

EXECUTION = ("seeds", "seed")
"""Fields that belong to the command line and to `run`: in a config they set the default."""


@runtime_checkable
class Dataclass(Protocol):
    """An instance of a dataclass, such as a study's `Config`."""

    __dataclass_fields__: ClassVar[dict]


class Results(NamedTuple):
    """A finished run: what a study summarizes, judges and draws."""

    config: Any
    runs: pd.DataFrame
    """A row per setting and seed, or, of very many, condensed; with derived columns."""
    times: pd.DataFrame
    """A row per group of settings: their common labels, seconds compiling and running, runs."""
    beside: dict[str, pd.DataFrame]
    """What the study computes once beside the runs."""


@dataclass(frozen=True)
class Study:
    """A study with everything filled in. The fields are what a module may define."""

    name: str
    """Its name: that of its module or file."""
    text: str
    """Its docstring: the question, then more."""
    path: Path | None
    """Its file, or None where it was typed in."""
    module: str
    """The module that it was read from."""
    Config: type
    """A frozen dataclass: its fields are the flags, the docstrings below them the help."""
    simulate: Simulate
    """One run, pure."""
    data: Callable[..., dict[str, PyTree]] = lambda config: {}
    """Arrays that all runs share, by the name of a parameter of `simulate`."""
    settings: Callable[..., Iterable[Setting]] | None = None
    """The design, where it is no product of fields."""
    AXES: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Names of the axes of measures that are arrays."""
    RUNS_PER_DEVICE: int | None = None
    """Runs at once on a CPU core, where they are large."""
    derive: Callable[[pd.DataFrame], pd.DataFrame] = lambda runs: runs
    """Adds columns that follow from those recorded."""
    condense: Callable[[pd.DataFrame], pd.DataFrame] | None = None
    """Turns rows into fewer with a `count`, for tables that do not fit into memory."""
    beside: Callable[..., dict[str, pd.DataFrame]] = lambda config, remember: {}
    """Computes once what is no run of a key: baselines, times. `remember(name, compute)` keeps
    arrays, so that a killed run does not compute them twice."""
    CLAIMS: tuple[Claim, ...] = ()
    """What is judged."""
    claims: Callable[[Results], Iterable[Claim]] | None = None
    """The claims, where they depend on what was run."""
    summarize: Callable[[Results], pd.DataFrame] | None = None
    """Returns a row per setting, with intervals."""
    tables: Callable[[Results], dict[str, pd.DataFrame]] = lambda results: {}
    """Further tables, by name."""
    plot: Callable[[Results], dict[str, Figure]] | None = None
    """Returns figures by name; never trains."""
    CAPTIONS: Mapping[str, str] = field(default_factory=dict)
    """By the name of a figure, what is to be seen in it; it is written below the figure."""
    QUICK: tuple[str, ...] = ("--seeds", "100")
    """Flags of a quick look."""

    @property
    def question(self) -> str:
        """The first line of the docstring."""
        return self.text.strip().splitlines()[0] if self.text.strip() else self.name


def from_module(module: ModuleType, name: str | None = None) -> Study:
    """Return the study that a module defines.

    Raises:
        TypeError: It lacks `Config` or `simulate`, or `Config` is no dataclass.
    """
    names, found = vars(module), vars(module).get("__file__")
    path = Path(found).resolve() if found else None  # without a file it was typed in
    stem = path.parent.name if path and path.name == "__init__.py" else path.stem if path else ""
    name = name or stem or module.__name__.rsplit(".", 1)[-1]
    for needed in ("Config", "simulate"):
        if needed not in names:
            raise TypeError(f"the study {name} does not define {needed}")
    if not dataclasses.is_dataclass(names["Config"]):
        raise TypeError(f"the study {name}: Config must be a dataclass")
    known = {f.name for f in dataclasses.fields(Study)} - {"name", "text", "path", "module"}
    # A file of a study's folder may be called `claims` or `data`, too.
    given = {k: names[k] for k in known if k in names and not isinstance(names[k], ModuleType)}
    return Study(name=name, text=module.__doc__ or "", path=path, module=module.__name__, **given)


def levels_of(study: Study, config: Dataclass, data: Mapping[str, PyTree]) -> dict[str, tuple]:
    """Return the levels of each factor, in the config's order; what is no tuple is one level.

    Raises:
        TypeError: A parameter of `simulate` is neither a field nor among the data.
    """
    before, behind = designs.parameters(study.simulate)
    fields = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    for name, parameter in inspect.signature(study.simulate).parameters.items():
        missing = name in (*before, *behind) and parameter.default is parameter.empty
        if missing and name not in (*fields, *data, "config"):
            raise TypeError(
                f"simulate's parameter {name!r} is neither a field of Config nor among what data(config) returns"
            )
    taken = [n for n in fields if n in (*before, *behind) and n not in (*data, *EXECUTION)]
    return {n: fields[n] if isinstance(fields[n], tuple) else (fields[n],) for n in taken}


def task_of(
    study: Study, config: Dataclass, num_seeds: int, seed: int = 0, execution: Execution = monte_carlo.DEFAULT
) -> Task:
    """Return what is run: the study's design, its data, and `simulate` with the config filled in.

    Raises:
        TypeError: A parameter of `simulate` cannot be filled in.
        ValueError: Settings contradict one another.
    """
    data = study.data(config)
    if study.settings is not None:
        design = designs.make_design(study.simulate, study.settings(config))
    else:
        design = designs.product_design(study.simulate, levels_of(study, config, data))
    takes = "config" in inspect.signature(study.simulate).parameters
    simulate = partial(study.simulate, config=config) if takes else study.simulate
    return Task(simulate, design, num_seeds, seed, data, study.AXES, execution)


def code_of(study: Study) -> str | None:
    """Return a digest of the code that a study's runs reach; None where it cannot be read."""
    if study.path is None:
        return None
    own = [(study.module, study.path, name) for name in ("simulate", "data", "settings", "beside")]
    engine = (programs.__name__, Path(str(programs.__file__)), "compile_block")
    return provenance.reachable_code([*own, engine])


def selector(runs: pd.DataFrame, axes: Mapping[str, tuple[str, ...]]) -> Callable[..., pd.Series]:
    """Return `of(measure, **labels)`, which returns a measure by seed.

    A label is the value of a column, or, by the name of one of the measure's axes, an index along
    it. The series is empty where no setting has the labels; truth values are 1 and 0, so that they
    subtract. It raises ValueError if several settings have the labels, KeyError if there is no such
    column.
    """

    @lru_cache(64, typed=True)  # the claims of a study ask for the same few labels time and again
    def have(name: str, value: object) -> np.ndarray:
        column = runs[name]
        near = np.isclose(column, value, 1e-9, 0.0) if isinstance(value, float) else column == value
        return np.asarray(column.isna() if value is None else near, bool)

    def of(measure: str, **labels: object) -> pd.Series:
        picks = {name: labels.pop(name) for name in axes.get(measure, ()) if name in labels}
        here = np.ones(len(runs), bool)
        for name, value in labels.items():
            here &= have(name, value)
        values = pd.Series(runs[measure].array[here], runs["seed"].array[here], name=measure)
        if values.index.has_duplicates:
            raise ValueError(f"{measure} with {labels}: several settings have these labels")
        if picks:
            place = tuple(picks.get(name, slice(None)) for name in axes[measure])
            values = values.map(lambda array: array[place], na_action="ignore")
        values = as_outcomes(values)
        return values.dropna().astype(np.int8) if pd.api.types.is_bool_dtype(values) else values

    return of


def as_outcomes(column: pd.Series) -> pd.Series:
    """Return a measure; truth values that some settings lack as such, and not as objects."""
    if column.dtype == object and {type(value) for value in column.dropna()} == {bool}:
        return column.astype("boolean")
    return column


def measures_of(runs: pd.DataFrame) -> list[str]:
    """Return the columns behind `seed`."""
    return list(runs.columns[list(runs.columns).index("seed") + 1 :])


def axis_of(study: Study, runs: pd.DataFrame, measure: str) -> str | None:
    """Return the name of a measure's axis, or None where it has none or several."""
    present = runs[measure].dropna()
    if runs[measure].dtype != object or not len(present) or np.ndim(present.iloc[0]) != 1:
        return None
    (name,) = study.AXES.get(measure, ("step",))
    return name


def summarize(study: Study, results: Results) -> pd.DataFrame:
    """Return a row per setting and measure: estimate and interval, and the runs left out.

    Outcomes have Wilson's interval, numbers Student's over the finite ones. Of an array with one
    axis the last entry is taken; those of more axes are left out.
    """
    runs, measures = results.runs, measures_of(results.runs)
    labels, columns = list(runs.columns[: -len(measures) - 1]), {}
    for measure in measures:
        if (column := as_outcomes(runs[measure])).dtype != object:
            columns[measure] = column
        elif (axis := axis_of(study, runs, measure)) is not None:
            columns[f"{measure}, last {axis}"] = column.map(lambda array: array[-1], na_action="ignore")
    keys = [runs[name] for name in labels] or [pd.Series(0, runs.index, name="all")]
    ends, tables = ["estimate", "low", "high"], []
    for measure, column in columns.items():
        values = column.astype(float)
        groups = values.where(np.isfinite(values)).groupby(keys, sort=False, dropna=False)
        seen = groups.agg(n="count", total="sum", mean="mean", spread="std", size="size")
        n, total, mean, spread, size = (seen[name].to_numpy() for name in seen)
        outcome = pd.api.types.is_bool_dtype(column)
        interval = intervals.wilson_intervals(total, n) if outcome else intervals.t_intervals(mean, spread, n)
        seen = seen.assign(measure=measure, **dict(zip(ends, interval, strict=True)), nonfinite=size - n)
        tables.append(seen.reset_index()[[*labels, "measure", "n", *ends, "nonfinite"]])
    if not tables:
        return pd.DataFrame(columns=[*labels, "measure", "n", *ends])
    return pd.concat(tables).sort_index(kind="stable").reset_index(drop=True)


def judge(study: Study, results: Results) -> tuple[list[Verdict], pd.DataFrame]:
    """Return the verdicts on a study's claims, and the effects by seed that they rest on."""
    claims = study.CLAIMS if study.claims is None else study.claims(results)
    return judge_all(claims, selector(results.runs, study.AXES))


def summary_of(study: Study, results: Results) -> pd.DataFrame:
    """Return the study's summary, or the default one."""
    return study.summarize(results) if study.summarize else summarize(study, results)


def figures_of(study: Study, results: Results, summary: pd.DataFrame | None = None) -> dict[str, Figure]:
    """Return the study's figures, or a default one: every measure over what varies, from the summary if it is there."""
    if study.plot:
        return study.plot(results)
    table = summarize(study, results) if study.summarize or summary is None else summary
    axes = {m: axis_of(study, results.runs, m) for m in measures_of(results.runs)}
    curves = {measure: axis for measure, axis in axes.items() if axis is not None}
    table = table[~table["measure"].str.contains(", last ")]
    return plotting.draw_measures(table, results.runs, curves, study.question)


def run(
    config: Dataclass | Mapping[str, object],
    simulate: Simulate,
    *,
    num_seeds: int,
    seed: int = 0,
    claims: Iterable[Claim] = (),
    data: Mapping[str, PyTree] | None = None,
    axes: Mapping[str, tuple[str, ...]] | None = None,
    chunk_size: int | None = None,
    num_devices: int | None = None,
) -> pd.DataFrame:
    """Run a design over seeds and return the table; print the verdicts on claims, if any.

    Args:
        config: A dataclass whose fields `simulate` takes by name, or a mapping; a value that is a
            tuple is a factor, and the design is the product of the factors.
        simulate: One run, `simulate(key, ...)`, which returns arrays by name.
        num_seeds: Seeds of each setting, at least 1.
        seed: Master seed.
        claims: What is judged.
        data: Arrays that all runs share, by the name of a parameter of `simulate`.
        axes: Names of the axes of measures that are arrays.
        chunk_size: Runs at once, which bounds the memory; chosen by default.
        num_devices: Devices used; all by default.

    Returns:
        A row per setting and seed: labels, `seed`, measures. An array is one value.

    Raises:
        ValueError: A number is out of bounds.
        TypeError: A parameter of `simulate` cannot be filled in, or it returns no arrays by name.
    """
    if num_seeds < 1:
        raise ValueError(f"num_seeds {num_seeds}: at least 1")
    if isinstance(config, Mapping):
        levels = {name: tuple(value) if isinstance(value, list) else value for name, value in config.items()}
        if left := set(levels) - set(inspect.signature(simulate).parameters):
            raise TypeError(f"config: simulate does not take {', '.join(sorted(left))}")
        config = dataclasses.make_dataclass("Config", list(levels))(**levels)
    study = Study("run", "", None, "", type(config), simulate, lambda config: dict(data or {}), AXES=axes or {})
    task = task_of(study, cast(Dataclass, config), num_seeds, seed, Execution(chunk_size, num_devices))
    runs = pd.concat(map(table.to_pandas, monte_carlo.run_design(task)[0]), ignore_index=True)
    for verdict in judge_all(claims, selector(runs, study.AXES))[0]:
        print(sentence(verdict))
    return runs


def main(argv: list[str] | None = None) -> None:
    """Run the file that calls this as a study: `python my_study.py --seeds 1000`.

    Where the file is not the program but imported, as by `jaxstudies my_study.py`, nothing happens.
    """
    # The command line stands above a study, and knows of flags: it is imported for the last line.
    from jaxstudies.commands import command

    caller = sys._getframe(1).f_globals["__name__"]
    if caller == "__main__":
        command.main(from_module(sys.modules[caller]), argv)


def packaged() -> Iterator[str]:
    """Yield the names of the studies that the package brings."""
    for path in sorted((Path(__file__).parent / "studies").iterdir()):
        if path.stem != "__init__" and (path.suffix == ".py" or (path / "__init__.py").exists()):
            yield path.stem
