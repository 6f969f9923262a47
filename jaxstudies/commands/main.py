"""`jaxstudies` lists the studies, runs one of ours or of yours, or writes the page of verdicts.

Help, the list and what is said of a wrong flag need not wait for JAX: it is imported by what needs it.
"""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import jaxstudies
from jaxstudies import studies
from jaxstudies.commands import endings, options
from jaxstudies.commands.flags import UsageError

if TYPE_CHECKING:
    import jaxstudies.study

USAGE = """usage: jaxstudies STUDY [flags]        run a study; STUDY --help explains its flags
       jaxstudies FILE.py [flags]      run a study of your own
       jaxstudies report DIR [DIR ...] write a page of the verdicts in directories
"""


def load(name: str) -> "jaxstudies.study.Study":
    """Return a study by its name in the package, or by the path of its file or folder."""
    from jaxstudies.study import from_module

    try:
        if name in studies.packaged():
            return from_module(importlib.import_module(f"jaxstudies.studies.{name}"), name)
        return from_module(load_file(Path(name)))
    except TypeError as error:
        raise UsageError(f"{name}: {error}") from error


def load_file(path: Path) -> ModuleType:
    """Return the module in a file, or in a folder with `__init__.py`, as Python would run it."""
    file = find_file(path)
    # What lies beside it can be imported, as if it were the program.
    sys.path.insert(0, str(path.parent.resolve()))
    name = path.name if path.is_dir() else path.stem
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def find_file(path: Path) -> Path:
    """Return the file of a study, given itself or its folder."""
    known = ", ".join(studies.packaged())
    if not path.exists():
        raise UsageError(f"{path}: does not exist; name a file with a study, or one of {known}")
    file = path / "__init__.py" if path.is_dir() else path
    if file.suffix != ".py" or not file.is_file():
        raise UsageError(f"{path}: must be a file with a study, or one of {known}")
    return file


def run_study(name: str, argv: list[str] | None = None) -> None:
    """Run a study by its name or path: what a script calls.

    Exits with status 2 after one line on stderr if there is no such study or the flags are wrong, with 130 if the user
    stops it.
    """
    argv = sys.argv[1:] if argv is None else argv
    ours = name in studies.packaged()
    with endings.explained(name if ours else "jaxstudies"):
        if ours:
            options.parse(studies.config_of(name), name, studies.text_of(name), argv)
        else:
            find_file(Path(name))
        if "jax" not in sys.modules and not {"-h", "--help"} & set(argv):
            print(f"{Path(name).stem}: importing JAX", file=sys.stderr, flush=True)
        from jaxstudies.commands import command

        command.main(load(name), argv)


def main(argv: list[str] | None = None) -> None:
    """Run what is named first, or list the studies."""
    name, *flags = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if name in ("-h", "--help"):
        print(USAGE)
        for study in studies.packaged():
            print(f"  {study:16}{studies.text_of(study).splitlines()[0]}")
    elif name == "--version":
        print(jaxstudies.__version__)
    elif name == "report":
        from jaxstudies.commands import report_command

        report_command.main(flags)
    else:
        run_study(name, flags)
