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

import annotated_types as at
import pandas as pd
import tyro

from jaxstudies import claims, flags, monte_carlo, plotting, results
from jaxstudies.flags import UsageError
from jaxstudies.mnist import DataError
from jaxstudies.results import PartsError, UnreadableRuns


@dataclasses.dataclass(frozen=True)
class Options:
    """How and where a study runs; none of it changes results beyond rounding."""

    out: Path | None = None
    """Directory for the results (figures/<study>)."""
    chunk_size: Annotated[int, at.Ge(1)] | None = None
    """Seeds run at once, which bounds the memory (512 per CPU core, 8192 per accelerator)."""
    devices: Annotated[int, at.Ge(1)] | None = None
    """Devices to use (all; on a CPU every core is one)."""
    plots_only: bool = False
    """Redraw from DIR/runs.parquet without running anything."""
    fresh: bool = False
    """Run again even what is already there."""


def main(study: ModuleType, argv: list[str] | None = None) -> None:
    """Run a study from flags, write its files and print its verdicts.

    Exits with status 2 after one line on stderr if the flags or files cannot be used, with 130 or
    143 if the user or the system stops the run.
    """
    argv = sys.argv[1:] if argv is None else argv
    signal.signal(signal.SIGTERM, _stop)
    try:
        _main(study, argv)
    except (UsageError, DataError, PartsError) as error:
        print(f"{study_name(study)}: error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from the last finished chunk", file=sys.stderr)
        sys.exit(130)


def _stop(signum: int, frame: Any) -> NoReturn:
    print("\nterminated; the same command goes on from the last finished chunk", file=sys.stderr)
    sys.exit(128 + signum)


def study_name(study: ModuleType) -> str:
    """Return the last part of a study module's name."""
    return study.__name__.rsplit(".", 1)[-1]


def _main(study: ModuleType, argv: list[str]) -> None:
    config, options = parse(study, argv)
    out = options.out or Path("figures") / study_name(study)
    if options.plots_only:
        config = stored_config(study, argv, out)
    else:
        check_writable(out)
        monte_carlo.use_all_cores()
        try:
            monte_carlo.choose_devices(options.devices)
        except ValueError as error:
            raise UsageError(f"--devices {options.devices}: {error}") from error
        with sole_writer(out):
            compute(study, config, options, out)
            with reported(out):
                report(study, config, out)
        return
    with reported(out):
        report(study, config, out)


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
        probe.unlink()


@contextlib.contextmanager
def sole_writer(out: Path) -> Iterator[None]:
    """Let no other run write into the directory meanwhile.

    Raises:
        UsageError: Another one does.
    """
    try:
        with results.sole_writer(out):
            yield
    except results.Occupied:
        raise UsageError(
            f"--out {out}: another run is writing there; wait for it, or name another directory"
        ) from None


@contextlib.contextmanager
def reported(out: Path) -> Iterator[None]:
    """Turn an error of the file system into a line about `--out`."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"--out {out}: cannot be written to ({error.strerror})") from error


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


def compute(study: ModuleType, config: Any, options: Options, out: Path) -> None:
    """Leave a finished table of runs in the directory, from disk if it is there already."""
    identity = {
        "study": study_name(study),
        "config": dataclasses.asdict(config),
        "code": results.code_digest(study),
    }
    key = results.digest(identity)
    if not options.fresh and results.bring_back(out, key):
        print(f"{out}/runs.parquet holds these runs already; --fresh runs them again")
        return
    devices = monte_carlo.choose_devices(options.devices)
    execution = {"chunk_size": options.chunk_size, "num_devices": len(devices)}
    parts_key = results.digest([identity, execution, results.environment()])
    parts = results.Parts(out / "parts" / parts_key)
    if options.fresh:
        parts.remove()
    timings: list[dict] = []
    runs = study.run(
        config, chunk_size=options.chunk_size, num_devices=options.devices,
        parts=parts, timings=timings,
    )  # fmt: skip
    provenance = {
        **identity,
        "key": key,
        "environment": results.environment(),
        "execution": {**execution, "devices": [str(device) for device in devices]},
        "settings": timings,
    }
    with reported(out):
        results.set_aside(out, key)
        results.write_runs(out / "runs.parquet", runs, provenance)
        parts.remove()


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
