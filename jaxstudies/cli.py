"""From flags to files: what every study's script does."""

import dataclasses
import os
import signal
import sys
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, NoReturn

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
    argv = sys.argv[1:] if argv is None else argv
    signal.signal(signal.SIGTERM, _stop)
    try:
        _main(study, argv)
    except (UsageError, DataError, PartsError, OutOfMemory) as error:
        print(f"{study_name(study)}: error: {error}", file=sys.stderr)
        cluster.leave(2)
    except ClusterError as error:
        print(f"{study_name(study)}: error: --distributed: {error}", file=sys.stderr)
        cluster.leave(2)
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        cluster.leave(128 + signal.SIGPIPE)
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from the last finished chunk", file=sys.stderr)
        cluster.leave(130)


def _stop(signum: int, frame: Any) -> NoReturn:
    print("\nterminated; the same command goes on from the last finished chunk", file=sys.stderr)
    cluster.leave(128 + signum)


def _main(study: ModuleType, argv: list[str]) -> None:
    config, options = parse(study, argv)
    out = options.out or Path("figures") / study_name(study)
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


def parse(study: ModuleType, argv: list[str], stored: Any = None) -> tuple[Any, Options]:
    """Return the study's config and the options from flags, which change a stored config if given.

    Raises:
        UsageError: A flag is unknown, or its value is not allowed.
    """
    config = Annotated[study.Config, tyro.conf.arg(name="")]
    both = dataclasses.make_dataclass(
        "Flags",
        [
            ("config", config, *([] if stored is None else [stored])),
            ("options", Annotated[Options, tyro.conf.arg(name="")], Options()),
        ],
    )
    parsed = flags.parse(
        both, argv, prog=f"{study_name(study)}.py", description=study.__doc__,
        config=(tyro.conf.FlagCreatePairsOff,) if stored is None else (),
    )  # fmt: skip
    for part in (parsed.config, parsed.options):
        flags.check_values(part)
    check(parsed.options)
    return parsed.config, parsed.options


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
        stored = restore_config(study, provenance["config"])
    except (UnreadableRuns, TypeError, KeyError) as error:
        raise UsageError(f"--plots-only: {error}; run without --plots-only first") from error
    if provenance["study"] != study_name(study):
        raise UsageError(f"--plots-only: {out}/runs.parquet is of {provenance['study']}")
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
        runs = results.read_runs(out / "runs.parquet")
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
    tested = [verdict for verdict in verdicts if verdict.n]
    for verdict in tested:
        print(claims.sentence(verdict))
    if len(tested) < len(verdicts):
        print(f"{len(verdicts) - len(tested)} claims are not tested by these runs")
    print(f"\n{out}/: config.json, runs.parquet, summary.csv, claims.json,")
    print(
        "  "
        + "".join(f"{name}.csv, " for name in tables)
        + ", ".join(path.name for path in figures)
    )


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
