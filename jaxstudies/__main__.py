"""`python -m jaxstudies` lists the studies; `python -m jaxstudies NAME [flags]` runs one."""

import ast
import importlib
import pkgutil
import sys
from pathlib import Path
from types import ModuleType

from jaxstudies import cli, studies


def names() -> list[str]:
    """List the studies; NAME_claims and the like beside NAME are parts of it."""
    modules = [module.name for module in pkgutil.iter_modules(studies.__path__)]
    return [name for name in modules if not name.startswith(tuple(f"{m}_" for m in modules))]


def load(name: str) -> ModuleType:
    """Return a study."""
    return importlib.import_module(f"jaxstudies.studies.{name}")


def question(name: str) -> str:
    """Return the first line of a study's docstring, without importing it."""
    source = (Path(studies.__path__[0]) / f"{name}.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(source)) or name).splitlines()[0]


def main(argv: list[str] | None = None) -> None:
    """Run the study that is named first, or list them all.

    Exits with status 2 after one line on stderr if there is no such study.
    """
    name, *flags = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if name in ("-h", "--help"):
        print("usage: python -m jaxstudies STUDY [flags]; STUDY --help explains its flags\n")
        for study in names():
            print(f"  {study:16}{question(study)}")
    elif name in names():
        cli.main(load(name), flags)
    else:
        print(f"jaxstudies: error: {name}: must be one of {', '.join(names())}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
