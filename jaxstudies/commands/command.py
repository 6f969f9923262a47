"""From flags to files: what every study's script does."""

import contextlib
import dataclasses
import functools
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn

import numpy as np
import pandas as pd
import tyro

from jaxstudies import study as studies
from jaxstudies.commands import flags, levels
from jaxstudies.commands.flags import UsageError
from jaxstudies.commands.job import reported
from jaxstudies.commands.launch import launch
from jaxstudies.commands.options import Options, Seeds, check
from jaxstudies.engine import cluster
from jaxstudies.engine.chunks import ChunksError
from jaxstudies.engine.cluster import ClusterError
from jaxstudies.engine.programs import OutOfMemory
from jaxstudies.evidence import claims
from jaxstudies.networks.mnist import DataError
from jaxstudies.output import files, plotting, table
from jaxstudies.output.table import UnreadableRuns
from jaxstudies.study import Dataclass, Results, Study

WAYS_OUT = {
    ClusterError: "; see --distributed, --coordinator, --num-processes and --process-id",
    ChunksError: "; --out names another directory",
    OutOfMemory: "; --devices takes fewer at once",
    UsageError: "",
    DataError: "",
}
"""What the user has to do with, and what is added to the error's own words."""


def main(study: Study, argv: list[str] | None = None) -> None:
    """Run a study from flags, write its files and print its verdicts.

    Exits with status 2 after one line on stderr if the flags or files cannot be used, with 130 or
    143 if the user or the system stops the run.
    """
    received: list[int] = []
    try:
        with _interruptible(received):
            _main(study, sys.argv[1:] if argv is None else argv)
    except BaseException as error:
        status = _explain(study, error, received)
        if status is None:
            raise
        cluster.leave(status)


@contextlib.contextmanager
def _interruptible(received: list[int]) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM raise KeyboardInterrupt, and note them in a list."""

    def interrupt(signum: int, frame: FrameType | None) -> NoReturn:
        received.append(signum)
        if hasattr(signal, "setitimer"):
            # Python drops what is raised inside some callbacks, so it is raised again.
            signal.setitimer(signal.ITIMER_REAL, 2)
        raise KeyboardInterrupt

    names = ("SIGINT", "SIGTERM", "SIGALRM")
    signals = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = {signum: signal.signal(signum, interrupt) for signum in signals}
    try:
        yield
    finally:
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _explain(study: Study, error: BaseException, received: list[int]) -> int | None:
    """Say in a line what ended a run and return the exit status; None if it is for others to say.

    Whatever is raised after a signal is the signal's doing: libraries turn it into errors of their
    own.
    """
    if received or isinstance(error, KeyboardInterrupt):
        signum = received[0] if received else signal.SIGINT
        word = "terminated" if signum == signal.SIGTERM else "stopped"
        print(f"\n{word}; the same command goes on from the last finished chunk", file=sys.stderr)
        return 128 + signum
    for kind, way_out in WAYS_OUT.items():
        if isinstance(error, kind):
            print(f"{study.name}: error: {error}{way_out}", file=sys.stderr)
            return 2
    if isinstance(error, BrokenPipeError):  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    return None


def _main(study: Study, argv: list[str]) -> None:
    config, seeds, options = parse(study, argv)
    out = options.out or Path("results") / study.name
    if options.plots_only:
        check_stored(study, argv, out)
        report(study, out)
    else:
        check_writable(out)
        launch(study, config, seeds, options, out, functools.partial(report, study, out))


def parse(study: Study, argv: list[str], stored: dict[str, object] | None = None) -> tuple[Dataclass, Seeds, Options]:
    """Return a study's config, its seeds and the options from flags.

    Where no flag says otherwise they are as stored, if anything is.
    """
    argv, ranges = levels.take_ranges(study.Config, argv)
    kind = flags.explained(study.Config, Seeds, Options)
    prior = {"config": (tyro.conf.FlagCreatePairsOff,)} if stored is None else {"default": kind(**stored)}
    parsed = flags.parse(kind, argv, prog=f"{study.name}.py", description=study.text, **prior)
    # A value that is named twice counts once, as a seed that ran twice should.
    values = {k: tuple(dict.fromkeys(v)) if type(v) is tuple else v for k, v in (vars(parsed) | ranges).items()}

    def fields_of(kind: type) -> dict:
        return {field.name: values[field.name] for field in dataclasses.fields(kind)}

    try:
        config = study.Config(**fields_of(study.Config))
    except ValueError as error:  # from a config that checks itself
        raise UsageError(str(error)) from error
    flags.check_values(config)  # the levels of ranges have not been looked at
    options = Options(**fields_of(Options))
    check(options)
    return config, Seeds(**fields_of(Seeds)), options


def check_writable(out: Path) -> None:
    """Create the directory if needed and check that files can be written there."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out}: is a file; name a directory")
    with reported(out):
        out.mkdir(parents=True, exist_ok=True)
        probe = out / f".writable.{os.getpid()}"
        probe.touch()
        probe.unlink(missing_ok=True)  # a run that starts now may have taken it for a leftover


def check_stored(study: Study, argv: list[str], out: Path) -> None:
    """Check that the runs in a directory are of a study, as far as the flags say."""
    try:
        origin = table.read_provenance(out / "runs.parquet")
        if (name := origin["study"]) != study.name:
            raise UsageError(f"--plots-only: {out}/runs.parquet is of the study {name}")
        config = levels.from_json(study.Config, origin["config"])
    except (UnreadableRuns, TypeError, KeyError) as error:
        raise UsageError(f"--plots-only: {error}; run without --plots-only first") from error
    stored = vars(config) | {"seeds": origin["num_seeds"], "seed": origin["seed"]}
    asked, seeds, _ = parse(study, argv, stored)
    here = vars(asked) | vars(seeds)
    for name, there in stored.items():
        if there != here[name]:
            raise UsageError(
                f"--{name.replace('_', '-')} {here[name]}: {out}/runs.parquet is of another "
                f"configuration, with {there}; run without --plots-only, or drop the flag"
            )


def read_results(study: Study, out: Path) -> tuple[Results, dict]:
    """Return what a directory holds, and where it comes from.

    Raises:
        UnreadableRuns: There are no runs, or they cannot be read.
    """
    path = out / "runs.parquet"
    origin = table.read_provenance(path)
    runs = table.read_runs(path, study.derive, study.condense)
    beside = {name: pd.DataFrame(columns) for name, columns in origin.pop("beside").items()}
    config = levels.from_json(study.Config, origin["config"])
    return Results(config, runs, beside.pop("times"), beside), origin


def report(study: Study, out: Path) -> None:
    """Write and print everything that follows from the table of runs."""
    try:
        results, origin = read_results(study, out)
    except UnreadableRuns as error:
        raise UsageError(f"--out {out}: {error}; --fresh runs it again") from error
    summary = studies.summary_of(study, results)
    verdicts, effects = studies.judge(study, results)
    tables = study.tables(results) | results.beside | {"times": results.times}
    with reported(out):
        files.write_json(out / "config.json", origin)
        files.write_json(out / "claims.json", claims.to_json(verdicts))
        claims.write_effects(out / "effects.parquet", effects, table.content_digest(out / "runs.parquet"))
        for name, rows in {"summary": summary, **tables}.items():
            files.write_csv(out / f"{name}.csv", rows)
    plotting.use_style()
    figures = studies.figures_of(study, results, summary)
    with reported(out):
        pictures = [path.name for path in plotting.save(figures, out)]
    print_table(summary)
    tested = [verdict for verdict in verdicts if verdict.n and np.isfinite(verdict.effect)]
    for verdict in tested:
        print(claims.sentence(verdict))
    if untested := [verdict.id for verdict in verdicts if verdict not in tested]:
        print(f"not tested by these runs: {', '.join(untested)}")
    print(f"\n{out}/: runs.parquet, effects.parquet, config.json, summary.csv, claims.json,")
    print("  " + ", ".join([*(f"{name}.csv" for name in tables), *pictures]))


def print_table(summary: pd.DataFrame, most: int = 40) -> None:
    """Print a summary: what all rows share in one line, then the columns that differ."""
    same = {c: summary[c].iloc[0] for c in summary if summary[c].nunique(dropna=False) == 1}
    print("\n" + ", ".join(f"{name} {value}" for name, value in same.items()))
    shown = summary.drop(columns=list(same)).head(most)
    if len(summary) > 1:
        print(shown.to_string(index=False, float_format=lambda x: f"{x:.4g}", na_rep=""))
    if len(summary) > most:
        print(f"... and {len(summary) - most:,} rows more in summary.csv")
    print()
