"""From flags to files: what every study's script does."""

import contextlib
import functools
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

from jaxstudies import compilation_cache, configs, locks
from jaxstudies.commands import endings, options
from jaxstudies.commands.answer import report
from jaxstudies.commands.endings import UsageError
from jaxstudies.commands.launch import launch, plan
from jaxstudies.commands.options import Options, Seeds
from jaxstudies.configs import Dataclass
from jaxstudies.engine import cluster, tracing
from jaxstudies.engine.chunks import ChunksError
from jaxstudies.engine.programs import OutOfMemory
from jaxstudies.engine.sockets import ClusterError, NotConnected
from jaxstudies.errors import DirectoryError, Notice, OtherVersions, StudyError
from jaxstudies.networks.originals import DataError
from jaxstudies.output import owned, stored
from jaxstudies.output.stored import UnreadableRuns
from jaxstudies.study import Study
from jaxstudies.tasks import code_of

WAYS_OUT = {
    OtherVersions: ", or --fresh begins anew and sets the old chunks aside",
    DirectoryError: "",
    NotConnected: "; see --coordinator, --num-processes, --process-id and --connect-timeout",
    ClusterError: "",
    ChunksError: "; --out names another directory",
    OutOfMemory: "; --devices takes fewer at once",
    UsageError: "",
    StudyError: "",
    DataError: "",
}
"""What the user has to do with, and what is added to the error's own words."""


def main(study: Study, argv: list[str] | None = None) -> None:
    """Run a study from flags, write its files and print its verdicts.

    Exits with status 2 after one line on stderr if the flags or files cannot be used, with 130 or
    143 if the user or the system stops the run.
    """
    with endings.explained(study.name, _mistake, cluster.leave), _warnings_in_a_line(study.name):
        _main(study, sys.argv[1:] if argv is None else argv)


@contextlib.contextmanager
def _warnings_in_a_line(name: str) -> Iterator[None]:
    """Say what is wrong with a study, but does not stop it, in one line."""
    with warnings.catch_warnings():
        others = warnings.showwarning

        def show(message, category, *rest):
            if issubclass(category, Notice):
                print(f"{name}: warning: {message}", file=sys.stderr)
            else:
                others(message, category, *rest)

        warnings.showwarning = show
        yield


def _mistake(error: BaseException) -> str | None:
    """Return what a user has to do with an error, and the way out; None where that is for others to say."""
    text = f"--out {error.directory}: {error.why}" if isinstance(error, DirectoryError) else str(error)
    if isinstance(error, DataError):
        text = re.sub(r"(?<!\S)data_dir(?!\S)", "--data-dir", text).replace("the dataset digits", "--dataset digits")
    return next((f"{text}{way_out}" for kind, way_out in WAYS_OUT.items() if isinstance(error, kind)), None)


def _main(study: Study, argv: list[str]) -> None:
    config, seeds, chosen = parse(study, argv)
    out = chosen.out or Path("results") / study.name
    with tracing.precision(config), compilation_cache.programs_kept():
        if chosen.plan:
            plan(study, config, seeds, chosen)
        elif chosen.plots_only:
            check_stored(study, argv, out)
            with locks.sole_writer(out):
                origin = check_stored(study, argv, out)  # another run may have ended there
                if (code := code_of(study)) and origin["code"] != code:
                    print(f"{out / owned.RUNS} was run by other code than this; --plots-only runs nothing again")
                report(study, out, chosen)
        else:
            owned.prepare(out, owned.NAMES)
            launch(study, config, seeds, chosen, out, functools.partial(report, study, out, chosen))


def parse(study: Study, argv: list[str], stored: dict[str, object] | None = None) -> tuple[Dataclass, Seeds, Options]:
    """Return a study's config, its seeds and the options from flags."""
    return options.parse(study.Config, study.name, study.text, argv, stored)


def check_stored(study: Study, argv: list[str], out: Path) -> dict:
    """Check that the runs in a directory are of a study, as far as the flags say; return where they come from."""
    try:
        origin = stored.read_provenance(out / owned.RUNS)
        if (name := origin["study"]) != study.name:
            raise UsageError(f"--plots-only: {out}/runs.parquet is of the study {name}")
        config = configs.from_json(study.Config, origin["config"])
    except (UnreadableRuns, TypeError, KeyError, ValueError) as error:
        raise UsageError(f"--plots-only: {error}; run without --plots-only first") from error
    known = configs.fields_of(config) | {"seeds": origin["num_seeds"], "seed": origin["seed"]}
    asked, seeds, _ = parse(study, argv, known)
    here = configs.fields_of(asked) | vars(seeds)
    for name, there in known.items():
        if there != here[name]:
            raise UsageError(
                f"--{name.replace('_', '-')} {here[name]}: {out}/runs.parquet is of another "
                f"configuration, with {there}; run without --plots-only, or drop the flag"
            )
    return origin
