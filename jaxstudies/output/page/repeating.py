"""Commands that make what is on the page again."""

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from jaxstudies.evidence import records
from jaxstudies.output import owned

if TYPE_CHECKING:
    from jaxstudies.output.page.sections import Section

REPLAYS = 2
"""Commands of single runs beside a claim, at most."""


def command_of(origin: dict, directory: Path) -> str:
    """Return the command that makes the runs of a directory again, with every flag of the configuration.

    The path of a study's file starts where the page is written.
    """
    if origin["study"] == owned.OF_FUNCTIONS or "config" not in origin:
        return ""
    study = os.path.relpath((directory / origin["file"]).resolve()) if origin.get("file") else origin["study"]
    config = origin["config"] | {"seeds": origin["num_seeds"], "seed": origin["seed"]}
    if flows := origin.get("until_decided"):
        config |= flows if isinstance(flows, dict) else {}  # older runs do not say how many were planned
        config |= {"until_decided": True}
    words = ["jaxstudies", study]
    for name, value in config.items():
        flag, values = name.replace("_", "-"), value if isinstance(value, list) else [value]
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        elif value is not None:
            words += [f"--{flag}", *map(str, values)]
    return shlex.join(words)


def replays_of(section: "Section", claim: Mapping, seed: int = 0) -> list[str]:
    """Return the commands that run a run of each setting again that a claim rests on, of the first few."""
    settings = [
        {name: value[0] if isinstance(value, list) else value for name, value in setting.items()}
        for setting in claim.get("asked") or ()
    ]
    commands = [replay_of(section, seed, setting) for setting in settings]
    return list(dict.fromkeys(commands))[:REPLAYS] if section.command else []


def replay_of(section: "Section", seed: int, setting: Mapping) -> str:
    """Return the command that runs a run again."""
    there = section.directory is not None and (section.directory / records.RUNS).is_file()
    directory = str(section.directory) if there else f"results/{section.name}"
    words = [f"{name}={value}" for name, value in setting.items() if value is not None]
    return shlex.join(["jaxstudies", "replay", directory, str(seed), *words])
