"""`jaxstudies` lists the studies, runs one of ours or of yours, or writes the page of verdicts."""

import ast
import importlib
import importlib.util
import sys
from pathlib import Path

import jaxstudies
from jaxstudies import study as studies
from jaxstudies.commands import command
from jaxstudies.commands.flags import UsageError
from jaxstudies.study import Study

USAGE = """usage: jaxstudies STUDY [flags]        run a study; STUDY --help explains its flags
       jaxstudies FILE.py [flags]      run a study of your own
       jaxstudies report DIR [DIR ...] write a page of the verdicts in directories
"""


def load(name: str) -> Study:
    """Return a study by its name in the package, or by the path of its file or folder."""
    try:
        if name in studies.packaged():
            return studies.from_module(importlib.import_module(f"jaxstudies.studies.{name}"), name)
        return studies.from_module(load_file(Path(name)))
    except TypeError as error:
        raise UsageError(f"{name}: {error}") from error


def load_file(path: Path):
    """Return the module in a file, or in a folder with `__init__.py`, as Python would run it."""
    file = path / "__init__.py" if path.is_dir() else path
    if file.suffix != ".py" or not file.is_file():
        known = ", ".join(studies.packaged())
        raise UsageError(f"{path}: must be a file with a study, or one of {known}")
    folder, name = (path.parent, path.name) if path.is_dir() else (path.parent, path.stem)
    # What lies beside it can be imported, as if it were the program.
    sys.path.insert(0, str(folder.resolve()))
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def question(name: str) -> str:
    """Return the first line of a study's docstring, without importing it."""
    folder = Path(studies.__file__).parent / "studies"
    paths = folder / f"{name}.py", folder / name / "__init__.py"
    source = next(path for path in paths if path.exists()).read_text("utf-8")
    return (ast.get_docstring(ast.parse(source)) or name).splitlines()[0]


def run_study(name: str, argv: list[str] | None = None) -> None:
    """Run a study by its name or path: what a script calls."""
    try:
        study = load(name)
    except UsageError as error:
        print(f"jaxstudies: error: {error}", file=sys.stderr)
        sys.exit(2)
    command.main(study, argv)


def main(argv: list[str] | None = None) -> None:
    """Run what is named first, or list the studies.

    Exits with status 2 after one line on stderr if there is no such study.
    """
    name, *flags = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if name in ("-h", "--help"):
        print(USAGE)
        for study in studies.packaged():
            print(f"  {study:16}{question(study)}")
    elif name == "--version":
        print(jaxstudies.__version__)
    elif name == "report":
        from jaxstudies.commands import report_command

        report_command.main(flags)
    else:
        run_study(name, flags)
