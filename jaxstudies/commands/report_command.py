"""The page of verdicts, from the command line: `jaxstudies report DIR [DIR ...] [--out FILE]`."""

import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from jaxstudies.commands import command, flags
from jaxstudies.commands.flags import UsageError
from jaxstudies.commands.job import reported
from jaxstudies.output import files, page
from jaxstudies.output.page import Section, UnreadableResults
from jaxstudies.study import Study

DESCRIPTION = "Write one page of the verdicts and figures in directories of studies' results."
DIRECTORIES = tyro.conf.Positional, tyro.conf.arg(metavar="DIR [DIR ...]", help_behavior_hint="")


@dataclass(frozen=True)
class Options:
    """What is read and where the page is written."""

    directories: Annotated[list[Path], *DIRECTORIES]
    """Directories in which studies have left their results."""
    out: Path = Path("report.html")
    """File of the page; by default it is in the current directory."""


def write(path: Path, sections: list[Section], note: str = "") -> None:
    """Write the page and say where it is.

    Raises:
        UsageError: It cannot be written there.
    """
    with reported(path):
        files.write_atomic(path, lambda p: p.write_text(page.page(sections, note), "utf-8"))
    print(f"\n{path}")


def attempt(study: Study, argv: list[str]) -> str:
    """Run a study; return what is to be said of it if it failed."""
    print(f"\n== {study.name} {' '.join(argv)}", flush=True)
    try:
        command.main(study, argv)
        return ""
    except SystemExit as stop:
        if stop.code in (130, 143):
            raise
        failed = f"the study ended with status {stop.code}" if stop.code else ""
    except Exception as error:  # whatever is wrong with one study, the page shows the others
        traceback.print_exc()
        failed = f"the study failed ({type(error).__name__}: {[*str(error).splitlines(), ''][0]})"
    return failed and f"{failed}; the results below are older, if there are any"


def section_of(study: Study, directory: Path, problem: str) -> Section:
    """Read what a study has left, if it has; what is missing or went wrong is said."""
    try:
        return page.read_section(directory)._replace(problem=problem)
    except UnreadableResults as error:
        return Section(study.name, study.text, "", (), {}, problem or str(error))


def main(argv: list[str]) -> None:
    """Write the page.

    Exits with status 2 after one line on stderr if a directory holds no results of a study, or the
    page cannot be written.
    """
    try:
        options = flags.parse(Options, argv, prog="jaxstudies report", description=DESCRIPTION)
        if not options.directories:
            raise UsageError("name one directory or more in which a study has left its results")
        if options.out.is_dir():
            raise UsageError(f"--out {options.out}: is a directory; name a file")
        once = {path.resolve(): path for path in options.directories}
        write(options.out, [page.read_section(path) for path in once.values()])
    except (UsageError, UnreadableResults) as error:
        print(f"report: error: {error}", file=sys.stderr)
        sys.exit(2)
