"""The page of verdicts, from the command line: `jaxstudies report [DIR ...] [--out FILE]`."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from jaxstudies import ours
from jaxstudies.commands import endings, flags
from jaxstudies.commands.endings import UsageError
from jaxstudies.output import page
from jaxstudies.output.files import writing
from jaxstudies.output.page import Section, UnreadableResults

DESCRIPTION = "Write one page of the verdicts and figures in directories of studies' results."
DIRECTORIES = tyro.conf.Positional, tyro.conf.arg(metavar="[DIR ...]", help_behavior_hint="")
RESULTS = Path("results")
"""Where studies leave their results unless told otherwise."""


@dataclass(frozen=True)
class Options:
    """What is read and where the page is written."""

    directories: Annotated[list[Path], *DIRECTORIES] = dataclasses.field(default_factory=list)
    """Directories in which studies have left their results, or that hold such directories (results)."""
    out: Path = Path("report.html")
    """File of the page; by default it is in the current directory."""


def check(path: Path) -> None:
    """Raise UsageError unless the page can take the place of what is there: nothing, or a page of ours."""
    with writing(path):
        if path.is_dir():
            raise UsageError(f"--out {path}: is a directory; name a file")
        if (path.exists() or path.is_symlink()) and not (path.is_file() and page.is_page(path)):
            raise UsageError(f"--out {path}: is there, and no page of verdicts; name another file")


def write(path: Path, sections: list[Section], note: str = "") -> None:
    """Write the page and say where it is."""
    check(path)
    text = page.page([page.with_ladders(section) for section in sections], note, path.parent)
    with writing(path):
        ours.write_atomic(path, lambda p: p.write_text(text, "utf-8"))
    print(f"\n{path}")


def _mistake(error: BaseException) -> str | None:
    return str(error) if isinstance(error, UnreadableResults) else endings.at_out(error)


def main(argv: list[str]) -> None:
    """Write the page.

    Exits with status 2 after one line on stderr if a directory holds no results of a study, or the
    page cannot be written.
    """
    with endings.explained("report", _mistake, after=""):
        options = flags.parse(Options, argv, prog="jaxstudies report", description=DESCRIPTION)
        if not options.directories and not RESULTS.is_dir():
            raise UsageError(f"name one directory or more in which a study has left its results; {RESULTS} is none")
        check(options.out)
        found = page.found_in(options.directories or [RESULTS])
        write(options.out, [page.read_section(path) for path in found])
