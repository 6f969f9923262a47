"""One run again, from the command line: `jaxstudies replay DIR SEED [LABEL=VALUE ...]`."""

import ast
import contextlib
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pandas as pd
import tyro

from jaxstudies import compilation_cache, locks
from jaxstudies.commands import endings, flags
from jaxstudies.commands.endings import UsageError
from jaxstudies.engine.programs import OutOfMemory
from jaxstudies.errors import DirectoryError
from jaxstudies.networks.mnist import DataError
from jaxstudies.output import owned, plotting, portrait, stored
from jaxstudies.output.files import writing
from jaxstudies.output.stored import UnreadableRuns
from jaxstudies.output.words import words
from jaxstudies.replays import Replay, replay
from jaxstudies.selection import have_label

DESCRIPTION = "Run one run again by the program that made its row; print it, and draw it among all of its setting."


def named(metavar: str):
    """Return what names a value in the help, without a hint at a default."""
    return tyro.conf.arg(metavar=metavar, help_behavior_hint="")


@dataclass(frozen=True)
class Options:
    """Which run."""

    directory: Annotated[Path, tyro.conf.Positional, named("DIR")]
    """Directory in which a study has left its results."""
    seed: Annotated[int, tyro.conf.Positional, named("SEED")]
    """Number of the run."""
    setting: Annotated[tuple[str, ...], tyro.conf.Positional, named("[LABEL=VALUE ...]")] = ()
    """Labels that tell its setting from the others, as width=3; those that all settings share may be left out."""


def parse_setting(words: tuple[str, ...]) -> dict[str, object]:
    """Return labels from `name=value`; what reads as a number or truth value is one."""
    setting: dict[str, object] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not name or not equals:
            raise UsageError(f"{word}: must be LABEL=VALUE, as width=3")
        setting[name] = text
        with contextlib.suppress(ValueError, SyntaxError, MemoryError, RecursionError):
            value = ast.literal_eval(text)
            setting[name] = value if isinstance(value, bool | int | float) or value is None else text
    return setting


def draw(options: Options, replayed: Replay) -> Path | None:
    """Draw a run among those of its setting; return the figure's path, None where there is nothing to draw."""
    path = options.directory / owned.RUNS
    # Few rows at a time: arrays of all settings need not fit into memory.
    runs = pd.concat([_of_setting(block, replayed.setting) for block in stored.read_blocks(path)], ignore_index=True)
    plotting.use_style()
    labels = [f"{words(name)} {words(value)}" for name, value in replayed.setting.items()]
    title = textwrap.fill(", ".join([f"seed {replayed.seed}", *labels]), 70)
    figure = portrait.draw_run(replayed.values, runs, stored.axes_of(path), title)
    if figure is None:
        return None
    name = f"{owned.REPLAY}{replayed.seed}" + "".join(f"-{name}={value}" for name, value in replayed.setting.items())
    file = owned.file_names([name], ".png")[name]
    with writing(options.directory), locks.sole_writer(options.directory):
        owned.check(options.directory, [file])
        owned.add(options.directory, file)
        (drawn,) = plotting.save({Path(file).stem: figure}, options.directory, {Path(file).stem: portrait.CAPTION})
    return drawn


def _of_setting(runs: pd.DataFrame, setting: Mapping[str, object]) -> pd.DataFrame:
    for name, value in setting.items():
        runs = runs[have_label(runs[name], value)]
    return runs


def _mistake(error: BaseException) -> str | None:
    known = (UsageError, UnreadableRuns, DirectoryError, DataError, OutOfMemory, ValueError, TypeError)
    return str(error) if isinstance(error, known) else None


def main(argv: list[str]) -> None:
    """Run one run again.

    Exits with status 2 after one line on stderr if there is no such run, or it cannot be run again.
    """
    with endings.explained("replay", _mistake, after=""):
        options = flags.parse(Options, argv, prog="jaxstudies replay", description=DESCRIPTION)
        with compilation_cache.programs_kept():
            replayed = replay(options.directory, parse_setting(options.setting), options.seed)
        print(replayed)
        if path := draw(options, replayed):
            print(f"\n{path}")
