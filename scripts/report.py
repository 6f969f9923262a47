"""Run all studies, or read what they have left, and write one page of all verdicts.

Where MNIST cannot be had, scikit-learn's digits stand in for it, and the page says so.
"""

import sys
import traceback
from dataclasses import dataclass, fields
from pathlib import Path

from jaxstudies.commands import endings

with endings.explained("report", after=""):  # Ctrl-C while they are imported is one line
    from jaxstudies.commands import command, flags, report_command
    from jaxstudies.commands.endings import UsageError
    from jaxstudies.networks import mnist
    from jaxstudies.output import owned, page
    from jaxstudies.output.page import Section, UnreadableResults
    from jaxstudies.studies import packaged
    from jaxstudies.study import Study, load

DIGITS = ["--dataset", "digits"]


@dataclass(frozen=True)
class Options:
    """Where the results are, and whether they are made first."""

    out: Path | None = None
    """Directory for report.html and a directory per study (results; with --quick results/quick)."""
    quick: bool = False
    """Few seeds, and scikit-learn's digits instead of MNIST: minutes instead of twenty."""
    plots_only: bool = False
    """Read what is there, without running anything."""


def missing_mnist() -> str:
    """Return why MNIST cannot be had, or nothing if it can."""
    try:
        mnist.load("mnist")
    except mnist.DataError as error:
        return str(error)
    return ""


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


def write(options: Options, out: Path) -> None:
    """Run the studies if asked to, and write the page.

    Raises:
        UsageError: Nothing is there, or the page cannot be written.
    """
    notes, sections = [], []
    if options.quick:
        notes.append("A quick look: few seeds, short budgets, digits instead of MNIST.")
    without_mnist = "" if options.plots_only or options.quick else missing_mnist()
    if without_mnist:
        notes.append(f"scikit-learn's digits stand in for MNIST: {without_mnist}")
        print(f"report: {notes[-1]}", file=sys.stderr)
    for study in map(load, packaged()):
        argv = ["--out", str(out / study.name), *(study.QUICK if options.quick else ())]
        if without_mnist and "dataset" in (field.name for field in fields(study.Config)):
            argv += DIGITS
        problem = "" if options.plots_only else attempt(study, argv)
        sections.append(section_of(study, out / study.name, problem))
        if sections[-1].problem:
            print(f"report: {study.name}: {sections[-1].problem}", file=sys.stderr)
    if options.plots_only and not any(section.ran for section in sections):
        raise UsageError(f"--out {out}: no study has left results there")
    report_command.write(out / "report.html", sections, " ".join(notes))


def main() -> None:
    """Write the page; a mistake in the flags is one line and status 2."""
    with endings.explained("report", endings.at_out):
        shown = flags.explained(Options)
        options = flags.parse(shown, sys.argv[1:], prog="report.py", description=__doc__ or "")
        out = options.out or Path("results/quick" if options.quick else "results")
        owned.prepare(out, [])
        report_command.check(out / "report.html")
        write(options, out)


if __name__ == "__main__":
    main()
