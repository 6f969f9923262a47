"""What a study is, and what it need not write.

A study is a module with a frozen dataclass `Config` and a function `simulate(key, a, b, *, c)`, one run, that returns
arrays by name. Its parameters are fields of the config, arrays that `data(config)` returns, or `config` itself. A field
that is a tuple is a factor, and the design their product. Whatever else of `Study` a module defines, it says better.
"""

import contextlib
import dataclasses
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd
from jaxtyping import PyTree

from jaxstudies import studies
from jaxstudies.engine.design import Design, Setting, Simulate
from jaxstudies.errors import StudyError
from jaxstudies.evidence.claims import Claim
from jaxstudies.identity import reach
from jaxstudies.output.curves import Functions

if TYPE_CHECKING:  # it takes half a second, which who only runs need not wait
    from matplotlib.figure import Figure

__all__ = ["Claim", "Results", "Setting", "Study", "main"]


class Results(NamedTuple):
    """A finished run: what a study's `summarize`, `tables` and `plot` get, and claims as `of.results`."""

    config: Any
    """The study's configuration."""
    runs: pd.DataFrame
    """A row per setting and seed, or, of very many, condensed; with derived columns."""
    times: pd.DataFrame
    """A row per group of settings: their common labels, seconds compiling and running, runs."""
    beside: dict[str, pd.DataFrame]
    """What the study computes once beside the runs."""


@dataclass(frozen=True)
class Study:
    """A study with everything filled in.

    A module with `Config` and `simulate` is one; every other field that it defines by its name is used instead of the
    default. `simulate(key, a, b, *, c)` is one run, pure. Its parameters are fields of `Config`, arrays that `data`
    returns, or `config` itself. What stands before the `*` is data: floats and arrays are mapped inside the seeds and
    share their draws, integers and truth values share the program, one launch each. What stands behind it makes a
    program of its own. A field of `Config` that is a tuple is a factor, and the design the product of all.
    """

    name: str
    """Its name: that of its module or file."""
    text: str
    """Its docstring: the question, then more."""
    path: Path | None
    """Its file, or None where it was typed in."""
    module: str
    """The module that it was read from."""
    Config: type
    """A frozen dataclass: its fields are the flags, the docstrings below them the help. Where a field `double` is true,
    JAX computes with 64 bits."""
    simulate: Simulate
    """One run, pure."""
    data: Callable[..., dict[str, PyTree]] = lambda config: {}
    """Arrays that all runs share, by the name of a parameter of `simulate`."""
    settings: Callable[..., Iterable[Setting] | Design] | None = None
    """The design, where it is no product of fields: its settings, or, of very many, a `Design`."""
    AXES: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Names of the axes of measures that are arrays."""
    PADDED: tuple[str, ...] = ()
    """Measures that are filled up with NaN where a setting has less of them."""
    RUNS_PER_DEVICE: int | None = None
    """Runs at once on a CPU core, where they are large."""
    derive: Callable[[pd.DataFrame], pd.DataFrame] | None = None
    """Adds columns that follow from those recorded."""
    condense: Callable[[pd.DataFrame], pd.DataFrame] | None = None
    """Turns rows into fewer with a `count`, for tables that do not fit into memory."""
    beside: Callable[..., dict[str, pd.DataFrame]] = lambda config, remember: {}
    """Computes once what is no run of a key: baselines, times. `remember(name, compute)` keeps
    arrays, so that a killed run does not compute them twice."""
    CLAIMS: Iterable[Claim] | Claim = ()
    """What is judged."""
    claims: Callable[..., Iterable[Claim]] | None = None
    """The claims, where they depend on the config, which it takes."""
    POPULATION: str = ""
    """What a seed draws anew, and what it does not, for claims that do not say it themselves."""
    summarize: Callable[[Results], pd.DataFrame] | None = None
    """Returns a row per setting, with intervals."""
    tables: Callable[[Results], dict[str, pd.DataFrame]] = lambda results: {}
    """Further tables, by name."""
    plot: "Callable[[Results], dict[str, Figure] | Figure] | None" = None
    """Returns figures by name, or one; never trains."""
    CAPTIONS: Mapping[str, str] = field(default_factory=dict)
    """By the name of a figure, what is to be seen in it; it is written below the figure."""
    portraits: Callable[..., Iterable[Functions]] | None = None
    """Takes the config, and returns what runs are as functions, row by row of the summary, for the page."""
    QUICK: tuple[str, ...] = ("--seeds", "100")
    """Flags of a quick look."""
    REFERENCE: tuple[str, ...] = ()
    """Flags of the reference results, where the defaults are too few runs for its claims."""

    @property
    def question(self) -> str:
        """The first line of the docstring."""
        return self.text.strip().splitlines()[0] if self.text.strip() else self.name


def from_module(module: ModuleType, name: str | None = None) -> Study:
    """Return the study that a module defines.

    Raises:
        StudyError: It lacks `Config` or `simulate`, or `Config` is no dataclass.
    """
    names, found = vars(module), vars(module).get("__file__")
    path = Path(found).resolve() if found else None  # without a file it was typed in
    stem = path.parent.name if path and path.name == "__init__.py" else path.stem if path else ""
    name = name or stem or module.__name__.rsplit(".", 1)[-1]
    for needed in ("Config", "simulate"):
        if needed not in names:
            raise StudyError(f"the study {path or name} does not define {needed}")
    if not dataclasses.is_dataclass(names["Config"]):
        raise StudyError(f"the study {path or name}: Config must be a dataclass")
    known = {f.name for f in dataclasses.fields(Study)} - {"name", "text", "path", "module"}
    # A file of a study's folder may be called `claims` or `data`, too.
    given = {k: names[k] for k in known if k in names and not isinstance(names[k], ModuleType)}
    if isinstance(claims := given.get("CLAIMS"), Iterator):  # it could be asked for them once
        given["CLAIMS"] = tuple(claims)
    return Study(name=name, text=module.__doc__ or "", path=path, module=module.__name__, **given)


def load(name: str) -> Study:
    """Return a study by its name in the package, or by the path of its file or folder.

    Raises:
        StudyError: It is none.
    """
    if name in studies.packaged():
        return from_module(importlib.import_module(f"jaxstudies.studies.{name}"), name)
    return from_module(load_file(Path(name)))


def load_from(origin: Mapping, directory: Path) -> Study:
    """Return the study whose runs a directory holds, given their provenance; for what it raises see `load`."""
    return load(str(directory / origin["file"]) if origin["file"] else origin["study"])


def load_file(path: Path) -> ModuleType:
    """Return the module in a file, or in a folder with `__init__.py`, as Python would run it."""
    file = studies.find_file(path)
    # What lies beside it can be imported, as if it were the program.
    sys.path.insert(0, str(path.parent.resolve()))
    name = path.name if path.is_dir() else path.stem
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        sys.path.remove(str(path.parent.resolve()))
        raise
    return module


@contextlib.contextmanager
def apart() -> Iterator[None]:
    """Forget in the end what studies in files brought along, so that the next one's `helper.py` is its own."""
    paths, modules = list(sys.path), set(sys.modules)
    try:
        yield
    finally:
        folders = {Path(added) for added in sys.path if added not in paths}
        sys.path[:] = paths
        for name in set(sys.modules) - modules:
            if folders & set(Path(getattr(sys.modules[name], "__file__", None) or "").parents):
                del sys.modules[name]
        reach.find_module.cache_clear()


def main(argv: list[str] | None = None) -> None:
    """Run the file that calls this as a study, as the last line of it: `python my_study.py --seeds 1000`.

    Its flags are explained by `--help`. Where the file is not the program but imported, as by
    `jaxstudies my_study.py`, nothing happens.
    """
    # The command line stands above a study, and knows of flags: it is imported for the last line.
    from jaxstudies.commands import command

    caller = sys._getframe(1).f_globals["__name__"]
    if caller == "__main__":
        command.main(from_module(sys.modules[caller]), argv)
