"""Renew the reference results in figures/ from a clean commit.

Each study runs with its defaults, or the flags of its `REFERENCE`, into results/reference/STUDY, where git does not
look; what they leave but for the tables of runs is then copied to figures/STUDY, and the page of all verdicts written,
as by `jaxstudies report figures --out figures/report.html`.
"""

import json
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from jaxstudies.commands import endings

with endings.explained("reference", after=""):  # Ctrl-C while they are imported is one line
    import tyro

    from jaxstudies.commands import command, flags, report_command
    from jaxstudies.commands.endings import UsageError
    from jaxstudies.evidence import records
    from jaxstudies.identity import provenance
    from jaxstudies.output import owned
    from jaxstudies.studies import packaged
    from jaxstudies.study import load

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "results" / "reference"
KEPT = {".png", ".csv", ".json", ".parquet"}


@dataclass(frozen=True)
class Options:
    """Which results are renewed."""

    studies: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Names of studies, if not all."""


def is_clean(commit: str | None) -> bool:
    """Return whether a commit is one that nothing was changed after."""
    return re.fullmatch(r"[0-9a-f]{12}", commit or "") is not None


def unclean(source: Path) -> list[str]:
    """Return the commits of chunks in a directory of results after which something was changed."""
    stages = json.loads((source / records.CONFIG).read_text("utf-8"))["stages"]
    return [commit for stage in stages for commit in stage["commits"] or [""] if not is_clean(commit)]


def copy(source: Path, target: Path) -> None:
    """Copy what a study has left, and remove what an older run of it left."""
    shown = (path for path in source.iterdir() if not path.name.startswith("."))
    new = {path.name for path in shown if path.suffix in KEPT and path.name != owned.RUNS}
    for path in target.iterdir():
        if path.suffix in KEPT and path.name not in new:
            path.unlink()
    for name in new:
        shutil.copyfile(source / name, target / name)


def names_of(asked: tuple[str, ...]) -> tuple[str, ...]:
    """Return names of studies, all if none is asked for; raise UsageError at one that there is not."""
    if unknown := set(asked) - set(packaged()):
        raise UsageError(f"{min(unknown)}: must be one of {', '.join(packaged())}")
    return asked or tuple(packaged())


def renew(asked: tuple[str, ...]) -> None:
    """Run studies, all if none is named, and copy what they leave.

    Raises:
        UsageError: There is no such study, or it was not a clean commit that was run.
    """
    names = names_of(asked)
    if not is_clean(provenance.commit(ROOT)):
        raise UsageError(f"{ROOT}: commit your changes first, so that the commit says what was run")
    for name in names:
        print(f"\n== {name}", flush=True)
        study = load(name)
        command.main(study, ["--out", str(RESULTS / name), *study.REFERENCE])
        if commits := unclean(RESULTS / name):
            raise UsageError(f"{RESULTS / name} has runs of {', '.join(commits)}; remove it")
    for name in names:  # behind all runs, since the checkout is changed from here on
        (ROOT / "figures" / name).mkdir(exist_ok=True)
        copy(RESULTS / name, ROOT / "figures" / name)
    report_command.main([str(ROOT / "figures"), "--out", str(ROOT / "figures" / "report.html")])


def main() -> None:
    """Run the studies and copy what they leave; a mistake is one line and status 2."""
    with endings.explained("reference"):
        renew(flags.parse(Options, sys.argv[1:], prog="reference.py", description=__doc__ or "").studies)


if __name__ == "__main__":
    main()
