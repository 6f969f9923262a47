"""From flags to files: what every study's script does."""

import contextlib
import dataclasses
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, NoReturn

import numpy as np
import pandas as pd
import tyro

from jaxstudies import claims, cluster, flags, plotting, results
from jaxstudies.cluster import ClusterError
from jaxstudies.flags import UsageError
from jaxstudies.launch import Options, check, launch, reported, study_name
from jaxstudies.mnist import DataError
from jaxstudies.parts import PartsError
from jaxstudies.programs import OutOfMemory
from jaxstudies.results import UnreadableRuns


def main(study: ModuleType, argv: list[str] | None = None) -> None:
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

    def interrupt(signum: int, frame: Any) -> NoReturn:
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


def _explain(study: ModuleType, error: BaseException, received: list[int]) -> int | None:
    """Say in a line what ended a run and return the exit status; None if it is for others to say.

    Whatever is raised after a signal is the signal's doing: libraries turn it into errors of their
    own.
    """
    if received or isinstance(error, KeyboardInterrupt):
        signum = received[0] if received else signal.SIGINT
        word = "terminated" if signum == signal.SIGTERM else "stopped"
        print(f"\n{word}; the same command goes on from the last finished chunk", file=sys.stderr)
        return 128 + signum
    if isinstance(error, ClusterError):
        error = UsageError(f"--distributed: {error}")
    if isinstance(error, (UsageError, DataError, PartsError, OutOfMemory)):
        print(f"{study_name(study)}: error: {error}", file=sys.stderr)
        return 2
    if isinstance(error, BrokenPipeError):  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    return None


def _main(study: ModuleType, argv: list[str]) -> None:
    config, options = parse(study, argv)
    out = options.out or directory(study, config)
    if options.plots_only:
        config = stored_config(study, argv, out)
        with reported(out):
            report(study, config, out)
        return
    check_writable(out)

    def finish():
        with reported(out):
            report(study, config, out)

    launch(study, config, options, out, finish)


def directory(study: ModuleType, config: Any) -> Path:
    """Return where results go by default: those of a study's `variant`, if any, below its own."""
    variant = study.variant(config) if hasattr(study, "variant") else ""
    return Path("figures") / study_name(study) / variant


def parse(study: ModuleType, argv: list[str], stored: Any = None) -> tuple[Any, Options]:
    """Return the study's config and the options from flags, which change a stored config if given.

    Raises:
        UsageError: A flag is unknown, or its value is not allowed.
    """
    kinds = [flags.explained(kind) for kind in (study.Config, Options)]
    config, options = (Annotated[kind, tyro.conf.arg(name="")] for kind in kinds)
    default = [] if stored is None else [kinds[0](**vars(stored))]
    both = dataclasses.make_dataclass(
        "Flags", [("config", config, *default), ("options", options, kinds[1]())]
    )
    parsed = flags.parse(
        both, argv, prog=f"{study_name(study)}.py", description=study.__doc__,
        config=(tyro.conf.FlagCreatePairsOff,) if stored is None else (),
    )  # fmt: skip
    for part in (parsed.config, parsed.options):
        flags.check_values(part)
    check(parsed.options)
    # A value that is named twice counts once, as a seed that ran twice should.
    values = {
        k: tuple(dict.fromkeys(v)) if isinstance(v, tuple) else v
        for k, v in vars(parsed.config).items()
    }
    return study.Config(**values), Options(**vars(parsed.options))


def check_writable(out: Path) -> None:
    """Create the directory if needed and check that files can be written there.

    Raises:
        UsageError: It is a file, or cannot be written to.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out}: is a file; name a directory")
    with reported(out):
        out.mkdir(parents=True, exist_ok=True)
        probe = out / f".writable.{os.getpid()}"
        probe.touch()
        probe.unlink(missing_ok=True)  # a run that starts now may have taken it for a leftover


def stored_config(study: ModuleType, argv: list[str], out: Path) -> Any:
    """Return the configuration of the runs in a directory, as far as the flags agree with it.

    Raises:
        UsageError: There are no such runs, or a flag says otherwise.
    """
    try:
        provenance = results.read_provenance(out / "runs.parquet")
        if (name := provenance["study"]) != study_name(study):
            raise UsageError(f"--plots-only: {out}/runs.parquet is of the study {name}")
        stored = restore_config(study, provenance["config"])
    except (UnreadableRuns, TypeError, KeyError) as error:
        raise UsageError(f"--plots-only: {error}; run without --plots-only first") from error
    asked, _ = parse(study, argv, stored)
    for field in dataclasses.fields(stored):
        there, here = getattr(stored, field.name), getattr(asked, field.name)
        if there != here:
            raise UsageError(
                f"--{field.name.replace('_', '-')} {here}: {out}/runs.parquet is of another "
                f"configuration, with {there}; run without --plots-only, or drop the flag"
            )
    return stored


def restore_config(study: ModuleType, content: dict) -> Any:
    """Return a config from its JSON form."""
    return study.Config(**{k: tuple(v) if isinstance(v, list) else v for k, v in content.items()})


def report(study: ModuleType, config: Any, out: Path) -> None:
    """Write and print everything that follows from the table of runs."""
    try:
        runs = results.read_runs(out / "runs.parquet", getattr(study, "condense", None))
    except UnreadableRuns as error:
        raise UsageError(f"--out {out}: {error}; --fresh runs it again") from error
    summary, verdicts = study.summarize(runs), study.judge(runs)
    results.write_json(out / "config.json", results.read_provenance(out / "runs.parquet"))
    results.write_table(out / "summary.csv", summary)
    results.write_json(out / "claims.json", claims.to_json(verdicts))
    tables = study.tables(runs) if hasattr(study, "tables") else {}
    for name, table in tables.items():
        results.write_table(out / f"{name}.csv", table)
    plotting.use_style()
    figures = plotting.save(study.plot(runs), out)
    print_table(summary)
    tested = [verdict for verdict in verdicts if verdict.n and np.isfinite(verdict.effect)]
    for verdict in tested:
        print(claims.sentence(verdict))
    if len(tested) < len(verdicts):
        print(f"{len(verdicts) - len(tested)} claims are not tested by these runs")
    print(f"\n{out}/: config.json, runs.parquet, summary.csv, claims.json", end="")
    more = [*(f"{name}.csv" for name in tables), *(path.name for path in figures)]
    print(",\n  " + ", ".join(more) if more else "")


def print_table(summary: pd.DataFrame, most: int = 40) -> None:
    """Print a summary: what all rows share in one line, then the columns that differ."""
    same = {c: summary[c].iloc[0] for c in summary if summary[c].nunique(dropna=False) == 1}
    print("\n" + ", ".join(f"{name} {value}" for name, value in same.items()))
    shown = summary.drop(columns=list(same)).head(most)
    if len(summary) > 1:
        print(shown.to_string(index=False, float_format=lambda x: f"{x:.4g}", na_rep=""))
    if len(summary) > most:
        print(f"... and {len(summary) - most} rows more in summary.csv")
    print()
