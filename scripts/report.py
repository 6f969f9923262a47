"""Run all studies, or read what they have left, and write one page of all verdicts.

Where MNIST cannot be had, scikit-learn's digits stand in for it, and the page says so.
"""

import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import get_type_hints

from jaxstudies import cli, flags, mnist, mnist_files, report, results
from jaxstudies.__main__ import load

QUICK = {
    "dying_relu": ["--seeds", "200"],
    "perceptron": ["--seeds", "2000"],
    "initialization": ["--seeds", "4", "--dataset", "digits"],
    "lenet": ["--seeds", "2", "--dataset", "digits"],
    "depth_width": ["--seeds", "2", "--epochs", "3", "--modern-epochs", "5",
                    "--shapes", "512", "64-64", "128-256-128"],
}  # fmt: skip
"""Each study's flags with `--quick`; the order is the page's."""

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


def missing_mnist() -> str | None:
    """Return why MNIST cannot be had, or nothing if it can."""
    try:
        mnist.load("mnist")
    except mnist.DataError as error:
        return str(error)
    return None


def run(study: ModuleType, argv: list[str]) -> str | None:
    """Run a study; return what is to be said of it if it failed."""
    print(f"\n== {cli.study_name(study)} {' '.join(argv)}", flush=True)
    older = "the results below are older, if there are any"
    try:
        cli.main(study, argv)
    except SystemExit as stop:
        if stop.code in (130, 143):
            raise
        if stop.code:
            return f"the study ended with status {stop.code}; {older}"
    except Exception as error:  # whatever is wrong with one study, the page shows the others
        traceback.print_exc()
        return (
            f"the study failed ({type(error).__name__}: {mnist_files.first_line(error)}); {older}"
        )
    return None


def results_of(name: str, options: Options, out: Path, without_mnist: str | None) -> report.Section:
    """Run a study if asked to, and read what is in its directory."""
    study = load(name)
    problem = None
    if not options.plots_only:
        argv = ["--out", str(out / name), *(QUICK[name] if options.quick else [])]
        if without_mnist and "dataset" in get_type_hints(study.Config):
            argv += DIGITS
        problem = run(study, argv)
    return report.read_section(name, study.__doc__ or name, out / name, problem)


def main() -> None:
    """Write the page."""
    try:
        options = flags.parse(
            flags.explained(Options), sys.argv[1:], prog="report.py", description=__doc__ or ""
        )
        out = options.out or Path("figures/quick" if options.quick else "figures")
        cli.check_writable(out)
    except flags.UsageError as error:
        print(f"report: error: {error}", file=sys.stderr)
        sys.exit(2)
    notes = []
    if options.quick:
        notes.append("A quick look: few seeds, short budgets, digits instead of MNIST.")
    without_mnist = None if options.plots_only or options.quick else missing_mnist()
    if without_mnist:
        notes.append(f"scikit-learn's digits stand in for MNIST: {without_mnist}")
        print(f"report: {notes[-1]}", file=sys.stderr)
    sections = [results_of(name, options, out, without_mnist) for name in QUICK]
    if options.plots_only and not any(section.verdicts for section in sections):
        print(f"report: error: --out {out}: no study has left results there", file=sys.stderr)
        sys.exit(2)
    for section in sections:
        if section.problem:
            print(f"report: {section.name}: {section.problem}", file=sys.stderr)
    path = out / "report.html"
    content = report.page(sections, " ".join(notes))
    try:
        with cli.reported(out):
            results.write_atomic(path, lambda p: p.write_text(content, "utf-8"))
    except flags.UsageError as error:
        print(f"report: error: {error}", file=sys.stderr)
        sys.exit(2)
    print(f"\n{path}")


if __name__ == "__main__":
    main()
