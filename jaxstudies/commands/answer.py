"""The end of a run: files written, figures drawn, and the answer said first."""

import shutil
import sys
import textwrap
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import pandas as pd
from matplotlib.figure import Figure

from jaxstudies import portraits, presentation, results
from jaxstudies.commands.endings import UsageError
from jaxstudies.commands.options import Options, usual_seeds
from jaxstudies.errors import DirectoryError, StudyError
from jaxstudies.evidence import records, registration
from jaxstudies.evidence.judging import judge_all
from jaxstudies.evidence.verdicts import Verdict, sentence
from jaxstudies.output import curves, default_figures, nonfinite, owned, plotting, stored
from jaxstudies.output.files import writing
from jaxstudies.output.stored import UnreadableRuns
from jaxstudies.study import Study
from jaxstudies.tasks import claims_code_of

T = TypeVar("T")


def report(study: Study, out: Path, options: Options) -> None:
    """Write everything that follows from the table of runs, and say what it comes to.

    Raises:
        UsageError: The table cannot be read; or code of the study's own has raised: the rest is written and said.
    """
    try:
        finished, origin = results.read(study, out)
        wrong = nonfinite.count(stored.batches(out / owned.RUNS), study.PADDED)
    except UnreadableRuns as error:
        raise UsageError(f"--out {out}: {error}; --fresh runs it again") from error
    except (UsageError, DirectoryError, StudyError):
        raise
    except Exception as error:  # whatever is wrong with a study's `derive`
        raise UsageError(_raised(study, "derive", error)) from error
    print(f"{study.name.replace('_', ' ')}: judging and drawing", file=sys.stderr)
    mistakes: list[str] = []
    attempt = partial(_attempt, study, mistakes)
    summary = attempt("summarize", lambda: presentation.summary_of(study, finished, wrong))
    summary = presentation.summarize(study, finished, wrong) if summary is None else summary
    unjudged: list[StudyError] = []
    looks = registration.looks_of(origin | {"until_decided": options.until_decided or origin["until_decided"]})
    judged = attempt("claims", lambda: results.judge(study, finished, unjudged, looks))
    mistakes += map(str, unjudged)
    verdicts, effects = judged or judge_all((), finished.runs.get)
    further = attempt("tables", lambda: presentation.tables_of(study, finished))
    tables = {"summary": summary} | (further or finished.beside | {"times": finished.times})
    labels = presentation.labels_of(finished.runs)
    tables = {name: presentation.with_labels_apart(rows, labels) for name, rows in tables.items()}
    plotting.use_style()
    figures = attempt("plot", lambda: presentation.figures_of(study, finished, summary)) or {}
    captions = ({} if study.plot else dict.fromkeys(figures, default_figures.DEFAULT_CAPTION)) | dict(study.CAPTIONS)
    shown = attempt("portraits", lambda: portraits.of_runs(study, finished.config, origin)) or []
    # Where there are PDFs of these runs, they are drawn again with the rest.
    pdf = options.pdf or any(name.endswith(".pdf") for name in owned.following(out, origin["digest"]))
    stems, suffixes = owned.file_names(figures, ""), (".png", ".pdf") if pdf else (".png",)
    wanted = [f"{stem}{suffix}" for stem in stems.values() for suffix in suffixes]
    wanted += [curves.FILE] if shown else []
    pictures, said = list[str](), origin | {"usual_seeds": usual_seeds(study.Config)}
    with writing(out), owned.rewriting(out, origin["digest"], [*results.names(tables), *wanted]):
        results.write(out, said, (verdicts, effects), tables, wrong, claims_code_of(study), looks)
        if shown:
            curves.write(out / curves.FILE, shown)
        for name, stem in stems.items():
            save = partial(_save, stem, figures[name], str(captions.get(name, "")), out, pdf)
            pictures += attempt(f"figure {name}", save) or ()
    if options.verbose:
        print_table(presentation.with_labels_apart(summary, labels, 4))
    say_verdicts(verdicts, everything=options.verbose)
    if wrong.runs:
        print(nonfinite.in_words(wrong))
    print(f"\n{out}/: {', '.join([*pictures, *owned.file_names(tables, '.csv').values()])},")
    others = [records.EFFECTS, *([curves.FILE] if shown else []), owned.RUNS, records.CONFIG]
    print(f"  {records.CLAIMS} ({how_judged(out, verdicts)}), {', '.join(others)}")
    if mistakes:
        raise UsageError(f"{'; '.join(mistakes)}; the rest is written, and --plots-only tries again")


def how_judged(out: Path, verdicts: list[Verdict]) -> str:
    """Return how many claims there are, by which rule they were judged, and whether they were registered."""
    said = [f"{len(verdicts)} claim" + ("" if len(verdicts) == 1 else "s")]
    if verdicts:
        record = records.read(out)
        if (looks := record["rule"]["looks"]) is not None:
            said.append(f"judged by sequences at {len(looks)} look{'s' * (len(looks) > 1)}")
        said.append(registration.in_words(record["registered"]))
    return "; ".join(said)


def _attempt(study: Study, mistakes: list[str], name: str, compute: Callable[[], T]) -> T | None:
    """Return what a study's own code computes, or None where it raises, which is told among the mistakes."""
    try:
        return compute()
    except DirectoryError:
        raise
    except StudyError as error:
        mistakes.append(f"{name}: {error}")
    except Exception as error:  # whatever is wrong with it
        mistakes.append(_raised(study, name, error))
    return None


def _raised(study: Study, name: str, error: Exception) -> str:
    """Return in a line what a study's own code raised, and where."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if study.path and Path(frame.filename).parent == study.path.parent]
    place = f" (line {own[-1].lineno} of {Path(own[-1].filename).name})" if own else ""
    text = " ".join(str(error).split())[:300]
    return f"{name} raised {type(error).__name__}{': ' if text else ''}{text}{place}"


def _save(stem: str, figure: Figure, caption: str, out: Path, pdf: bool) -> list[str]:
    """Write a figure; return the names of its files."""
    with writing(out):
        return [path.name for path in plotting.save({stem: figure}, out, {stem: caption}, pdf=pdf)]


def say_verdicts(verdicts: list[Verdict], everything: bool) -> None:
    """Print a sentence for each claim that matters, or for all; of those that the runs do not test, the names."""
    width = min(shutil.get_terminal_size((100, 20)).columns, 120)
    print()
    tested = [v for v in verdicts if v.verdict != "not tested"]
    for verdict in tested:
        if verdict.primary or everything:
            said = sentence(verdict).replace("n = ", "n\u00a0=\u00a0")  # a line does not end there
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
        print(f"... and {len(summary) - most:,} rows more in {owned.SUMMARY}")
