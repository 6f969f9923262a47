"""Run all studies, or read what they have left, and write one page of all verdicts.

Where MNIST cannot be had, scikit-learn's digits stand in for it, and the page says so.
"""

import sys
from dataclasses import dataclass, fields
from pathlib import Path

from jaxstudies.commands import command, flags, report_command
from jaxstudies.commands.flags import UsageError
from jaxstudies.commands.main import load
from jaxstudies.networks import mnist
from jaxstudies.study import packaged

DIGITS = ["--dataset", "digits"]


@dataclass(frozen=True)
class Options:
    """Where the results are, and whether they are made first."""

    out: Path | None = None
    """Directory for report.html and a directory per study (figures; with --quick figures/quick)."""
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
        problem = "" if options.plots_only else report_command.attempt(study, argv)
        sections.append(report_command.section_of(study, out / study.name, problem))
        if sections[-1].problem:
            print(f"report: {study.name}: {sections[-1].problem}", file=sys.stderr)
    if options.plots_only and not any(section.ran for section in sections):
        raise UsageError(f"--out {out}: no study has left results there")
    report_command.write(out / "report.html", sections, " ".join(notes))


def main() -> None:
    """Write the page; a mistake in the flags is one line and status 2."""
    try:
        shown = flags.explained(Options)
        options = flags.parse(shown, sys.argv[1:], prog="report.py", description=__doc__ or "")
        out = options.out or Path("figures/quick" if options.quick else "figures")
        command.check_writable(out)
        write(options, out)
    except UsageError as error:
        print(f"report: error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
