"""The studies of the package, and what can be known of one without importing the rest of it."""

import ast
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

from jaxstudies.errors import StudyError

FOLDER = Path(__file__).parent


def packaged() -> Iterator[str]:
    """Yield the names of the studies."""
    for path in sorted(FOLDER.glob("*/config.py")):
        yield path.parent.name


def find_file(path: Path) -> Path:
    """Return the file of a study that is not the package's, given itself or its folder.

    Raises:
        StudyError: There is none.
    """
    known = ", ".join(packaged())
    try:
        path.stat()
    except OSError as error:
        what = "does not exist" if isinstance(error, FileNotFoundError | NotADirectoryError) else error.strerror
        raise StudyError(f"{path}: {what}; name a file with a study, or one of {known}") from error
    file = path / "__init__.py" if path.is_dir() else path
    if file.suffix != ".py" or not file.is_file():
        raise StudyError(f"{path}: must be a file with a study, or one of {known}")
    return file


def text_of(name: str) -> str:
    """Return a study's docstring."""
    source = (FOLDER / name / "__init__.py").read_text("utf-8")
    return ast.get_docstring(ast.parse(source), clean=False) or ""


def config_of(name: str) -> type:
    """Return the `Config` of a study, whose file imports nothing heavy."""
    package = f"{__name__}.{name}"
    imported = package in sys.modules
    if not imported:
        # A package that stands there is not run, which would import all the others of its files.
        spec = importlib.util.find_spec(package)
        assert spec is not None
        sys.modules[package] = importlib.util.module_from_spec(spec)
    try:
        return importlib.import_module(f"{package}.config").Config
    finally:
        if not imported:
            del sys.modules[package]
