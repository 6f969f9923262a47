"""Verdicts judged again, from the command line: `jaxstudies verify DIR [DIR ...]`."""

import contextlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import annotated_types as at
import tyro

from jaxstudies.commands import endings, flags
from jaxstudies.commands.endings import UsageError
from jaxstudies.evidence import records
from jaxstudies.evidence.records import Unverifiable

DESCRIPTION = (
    "Judge every claim in directories of results again from its effects by seed, and check that table, effects and "
    "config are those that were judged. Exits with status 1 if anything differs."
)
DIRECTORIES = tyro.conf.Positional, tyro.conf.arg(metavar="DIR [DIR ...]", help_behavior_hint="")

OPTIONAL, COUNT = (tyro.conf.arg(metavar=word, help_behavior_hint="") for word in ("FLOAT", "INT"))


@dataclass(frozen=True)
class Options:
    """What is judged again, and how."""

    directories: Annotated[list[Path], *DIRECTORIES]
    """Directories in which studies have left their results."""
    from_runs: bool = False
    """Compute the effects again, too, from the table of runs by the study's code."""
    level: Annotated[Annotated[float, at.Interval(gt=0, le=0.999999)] | None, OPTIONAL] = None
    """Show what would change at another confidence level, for all claims."""
    margin: float = 0.0
    """Show what would change if the region of every claim were wider by this much at each end, in
    the claim's unit; a negative number makes them narrower."""
    seeds: Annotated[Annotated[int, at.Interval(ge=1, le=10**9)] | None, COUNT] = None
    """Show what would change with the first so many seeds alone."""
    reading: str = ""
    """Show what would change if claims were read otherwise: the name of a reading, such as a rule for a collapsed
    network. Claims that have none of this name stay as they are."""


def say_changes(directory: Path, options: Options) -> None:
    """Print which verdicts would be others at another level or margin, or with fewer seeds."""
    record = records.read(directory)
    now = records.again(directory, record, options.level, options.margin, options.seeds, options.reading)
    changed = 0
    for before, other in zip(record["claims"], now, strict=True):
        ends = other.undecidable or f"[{other.low:.4g}, {other.high:.4g}]"
        if before["verdict"] != other.verdict:
            changed += 1
            print(f"  {other.id}: {before['verdict']} would be {other.verdict}, {ends}")
        elif options.reading in before.get("readings", ()):  # so that who asks by another reading sees what it says
            print(f"  {other.id}: {before['verdict']} stays so, {ends}")
    print(f"  {changed} of {len(now)} verdicts would change")


def check_reading(options: Options) -> None:
    """Raise UsageError unless some claim has the reading that is asked for."""
    known = set()
    for directory in options.directories if options.reading else ():
        with contextlib.suppress(Unverifiable, KeyError, TypeError, AttributeError):  # as is told of it below
            known.update(records.readings_of(records.read(directory)))
    if options.reading and options.reading not in known:
        allowed = f"one of {', '.join(sorted(known))}" if known else "these claims are read in one way"
        raise UsageError(f"--reading {options.reading}: {allowed}")


def differences(directory: Path, options: Options) -> tuple[list[str], bool]:
    """Return what differs in a directory, in lines, and whether its runs are known to be of other code."""
    found = list(records.verify(directory))
    if not options.from_runs:
        return found, False
    from jaxstudies import compilation_cache  # both need JAX
    from jaxstudies.commands import recomputed

    with compilation_cache.programs_kept():
        lines, other_code = recomputed.differences(directory)
    return found + lines, other_code


def _mistake(error: BaseException) -> str | None:
    return str(error) if isinstance(error, UsageError | Unverifiable) else None


def main(argv: list[str]) -> None:
    """Judge again.

    Exits with status 1 if anything differs, with 2 after one line on stderr if there is nothing to judge.
    """
    with endings.explained("verify", _mistake, after=""):
        options = flags.parse(Options, argv, prog="jaxstudies verify", description=DESCRIPTION)
        if not options.directories:
            raise UsageError("name one directory or more in which a study has left its results")
        check_reading(options)
        wrong, unverifiable = 0, []
        for directory in options.directories:
            try:
                found, other_code = differences(directory, options)
            except Unverifiable as error:  # the others are judged all the same
                unverifiable.append(str(error))
                continue
            wrong += len(found)
            number = len(records.read(directory)["claims"])
            print(f"{directory}: {f'{len(found)} differences' if found else f'{number} verdicts stand'}")
            for line in found:
                print(f"  {line}")
            if other_code:
                print("  the runs were made by other code than the study has now; none is run again")
            if options.level is not None or options.margin or options.seeds is not None or options.reading:
                say_changes(directory, options)
        if unverifiable:
            raise UsageError("; ".join(unverifiable))
        if wrong:
            sys.exit(1)
