"""The page of verdicts, from the command line: `jaxstudies report DIR [DIR ...] [--out FILE]`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from jaxstudies.commands import endings, flags
from jaxstudies.commands.endings import UsageError
from jaxstudies.output import files, page
from jaxstudies.output.files import writing
from jaxstudies.output.page import Section, UnreadableResults

DESCRIPTION = "Write one page of the verdicts and figures in directories of studies' results."
DIRECTORIES = tyro.conf.Positional, tyro.conf.arg(metavar="DIR [DIR ...]", help_behavior_hint="")


@dataclass(frozen=True)
class Options:
    """What is read and where the page is written."""

    directories: Annotated[list[Path], *DIRECTORIES]
    """Directories in which studies have left their results."""
    out: Path = Path("report.html")
    """File of the page; by default it is in the current directory."""


def check(path: Path) -> None:
    """Raise UsageError unless the page can take the place of what is there: nothing, or a page of ours."""
    with writing(path):
        if path.is_dir():
            raise UsageError(f"--out {path}: is a directory; name a file")
        if path.exists() and not (path.is_file() and page.is_page(path)):
            raise UsageError(f"--out {path}: is there, and no page of verdicts; name another file")


def write(path: Path, sections: list[Section], note: str = "") -> None:
    """Write the page and say where it is."""
    check(path)
    with writing(path):
        files.write_atomic(path, lambda p: p.write_text(page.page(sections, note, path.parent), "utf-8"))
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
        if not options.directories:
            raise UsageError("name one directory or more in which a study has left its results")
        check(options.out)
        write(options.out, [page.read_section(path) for path in page.found_in(options.directories)])
