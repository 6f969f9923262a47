"""The end of a run: files written, figures drawn, and the answer said first."""

import contextlib
import shutil
import sys
import textwrap
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from jaxstudies import results
from jaxstudies.commands.endings import UsageError
from jaxstudies.commands.options import Options
from jaxstudies.errors import StudyError
from jaxstudies.evidence import claims
from jaxstudies.evidence.claims import Verdict
from jaxstudies.output import default_figures, nonfinite, owned, plotting, table
from jaxstudies.output.files import writing
from jaxstudies.output.table import UnreadableRuns
from jaxstudies.study import Study


@contextlib.contextmanager
def without_numpy_s_words() -> Iterator[None]:
    """Leave out what NumPy and matplotlib say of numbers that are not finite: that is counted, and said in a line."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=RuntimeWarning)
        warnings.filterwarnings("ignore", "Data has no positive values|Attempt to set non-positive", UserWarning)
        yield


@without_numpy_s_words()
def report(study: Study, out: Path, options: Options) -> None:
    """Write everything that follows from the table of runs, and say what it comes to."""
    try:
        finished, origin = results.read(study, out)
        wrong = nonfinite.count(table.stored_rows(out / owned.RUNS), study.PADDED)
    except UnreadableRuns as error:
        raise UsageError(f"--out {out}: {error}; --fresh runs it again") from error
    print(f"{study.name.replace('_', ' ')}: judging and drawing", file=sys.stderr)
    summary = results.summary_of(study, finished)
    verdicts, effects = results.judge(study, finished)
    tables = {"summary": summary} | results.tables_of(study, finished) | finished.beside | {"times": finished.times}
    plotting.use_style()
    figures, failed = {}, None
    try:
        figures = results.figures_of(study, finished, summary)
    except StudyError as error:  # whatever is wrong with the figures, the answer is given first
        failed = error
    labels = results.labels_of(finished.runs)
    default = {} if study.plot else dict.fromkeys(figures, default_figures.DEFAULT_CAPTION)
    stems, captions = owned.file_names(figures, ""), default | dict(study.CAPTIONS)
    # Where there are PDFs of these runs, they are drawn again with the rest.
    pdf = options.pdf or any(name.endswith(".pdf") for name in owned.following(out, origin["digest"]))
    pictures = [f"{stem}{suffix}" for stem in stems.values() for suffix in ((".png", ".pdf") if pdf else (".png",))]
    with writing(out), owned.rewriting(out, origin["digest"], [*results.names(tables), *pictures]):
        results.write(out, origin, verdicts, effects, tables, labels)
        drawn = {stem: figures[name] for name, stem in stems.items()}
        plotting.save(drawn, out, {stem: captions.get(name, "") for name, stem in stems.items()}, pdf=pdf)
    if options.verbose:
        print_table(summary)
    say_verdicts(verdicts, everything=options.verbose)
    if wrong.runs:
        print(nonfinite.in_words(wrong))
    print(f"\n{out}/: {', '.join([*pictures, *owned.file_names(tables, '.csv').values()])},")
    number = f"{len(verdicts)} claim" + ("" if len(verdicts) == 1 else "s")
    print(f"  claims.json ({number}), effects.parquet, runs.parquet, config.json")
    if failed:
        raise failed


def say_verdicts(verdicts: list[Verdict], everything: bool) -> None:
    """Print a sentence for each claim that matters, or for all; of those that the runs do not test, the names."""
    width = min(shutil.get_terminal_size((100, 20)).columns, 120)
    print()
    tested = [verdict for verdict in verdicts if verdict.n and np.isfinite(verdict.effect)]
    for verdict in tested:
        if verdict.primary or everything:
            said = claims.sentence(verdict).replace("n = ", "n\u00a0=\u00a0")  # a line does not end there
            print(textwrap.fill(said, width, subsequent_indent="  ").replace("\u00a0", " "))
    if untested := [v.id for v in verdicts if v not in tested and (v.primary or everything)]:
        print(f"Not tested by these runs: {', '.join(untested)}.")


def print_table(summary: pd.DataFrame, most: int = 40) -> None:
    """Print a summary: what all rows share in one line, then the columns that differ."""
    same = {c: summary[c].iloc[0] for c in summary if summary[c].nunique(dropna=False) == 1}
    print("\n" + ", ".join(f"{name} {value}" for name, value in same.items()))
    shown = summary.drop(columns=list(same)).head(most)
    if len(summary) > 1:
        print(shown.to_string(index=False, float_format=lambda x: f"{x:.4g}", na_rep=""))
    if len(summary) > most:
        print(f"... and {len(summary) - most:,} rows more in summary.csv")
