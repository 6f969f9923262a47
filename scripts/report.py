"""Run all studies, or read what they have left, and write one page of all verdicts."""

import sys
from dataclasses import dataclass
from pathlib import Path

from jaxstudies import cli, flags, report, results
from jaxstudies.__main__ import load

QUICK = {
    "dying_relu": ["--seeds", "200"],
    "perceptron": ["--seeds", "2000"],
    "initialization": ["--seeds", "4", "--dataset", "digits"],
    "lenet": ["--seeds", "2", "--dataset", "digits"],
    "depth_width": ["--seeds", "2", "--epochs", "3", "--shapes", "512", "64-64", "128-256-128"],
}
"""Each study's flags with `--quick`; the order is the page's."""


@dataclass(frozen=True)
class Options:
    """Where the results are, and whether they are made first."""

    out: Path | None = None
    """Directory for report.html and a directory per study (figures; with --quick figures/quick)."""
    quick: bool = False
    """Few seeds, and scikit-learn's digits instead of MNIST: minutes instead of half an hour."""
    plots_only: bool = False
    """Read what is there, without running anything."""


def run(name: str, argv: list[str]) -> str | None:
    """Run a study; return what is to be said of it if it failed."""
    print(f"\n== {name} {' '.join(argv)}", flush=True)
    try:
        cli.main(load(name), argv)
    except SystemExit as stop:
        if stop.code in (130, 143):
            raise
        if stop.code:
            return f"the study ended with status {stop.code}; the results below are older, if any"
    return None


def main() -> None:
    """Write the page."""
    try:
        options = flags.parse(Options, description=__doc__)
        out = options.out or Path("figures/quick" if options.quick else "figures")
        cli.check_writable(out)
    except flags.UsageError as error:
        print(f"report: error: {error}", file=sys.stderr)
        sys.exit(2)
    sections = []
    for name, quick_flags in QUICK.items():
        directory, problem = out / name, None
        if not options.plots_only:
            chosen = quick_flags if options.quick else []
            problem = run(name, ["--out", str(directory), *chosen])
        sections.append(report.read_section(name, load(name).__doc__ or name, directory, problem))
        if sections[-1].problem:
            print(f"report: {name}: {sections[-1].problem}", file=sys.stderr)
    note = (
        "A quick look: few seeds, short budgets, digits instead of MNIST." if options.quick else ""
    )
    path = out / "report.html"
    results.write_atomic(path, lambda p: p.write_text(report.page(sections, note), "utf-8"))
    print(f"\n{path}")


if __name__ == "__main__":
    main()
