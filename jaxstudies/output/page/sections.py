"""What a study, whoever wrote it, has left in a directory, as the page needs it."""

import contextlib
import errno
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jinja2

from jaxstudies.configs import without_execution
from jaxstudies.evidence import records, registration
from jaxstudies.output import curves, owned
from jaxstudies.output.curves import Portrait
from jaxstudies.output.page import ladders, rendering, repeating


class UnreadableResults(Exception):
    """A directory does not hold what a study leaves."""


class Section(NamedTuple):
    """A study on the page: what it has left, and what went wrong."""

    name: str
    text: str
    """Its docstring."""
    ran: str
    """Seeds, configuration and commit in words."""
    verdicts: tuple[dict, ...]
    figures: dict[str, bytes]
    """PNG files by name."""
    problem: str = ""
    directory: Path | None = None
    facts: Mapping[str, str] = {}
    """Of the runs, in words by name: their date, commit, seeds and so on."""
    command: str = ""
    """What repeats it, or nothing where that is not known."""
    ladders: Mapping[str, Any] = {"why": "there are no effects by seed"}
    """See `ladders.ladders_of` and `with_ladders`."""
    portraits: Sequence[Portrait] = ()
    """What its first runs are as functions."""


def read_section(directory: Path) -> Section:
    """Read what a study, whoever wrote it, has left in its directory, or raise `UnreadableResults`."""
    try:
        origin, judged = (_read_json(directory / name) for name in (records.CONFIG, records.CLAIMS))
        verdicts = tuple(judged["claims"])
        figures = {path.stem: path.read_bytes() for path in figures_in(directory)}
        name = str(origin["study"])
        text, ran = str(origin.get("text") or name), "; ".join([*what_ran(origin), *how_judged(judged)])
        known = {
            "directory": directory,
            "facts": facts_of(origin, judged),
            "portraits": portraits_in(directory),
            "command": repeating.command_of(origin, directory),
        }
        section = Section(name, text, ran, verdicts, figures, **known)
        rendering.page([section._replace(figures={})]).encode()  # what cannot be shown fails here
        return section
    except FileNotFoundError as error:
        raise UnreadableResults(f"{error.filename} does not exist") from error
    except OSError as error:
        raise UnreadableResults(f"{error.filename or directory}: {error.strerror or error}") from error
    except (*ladders.DAMAGED, jinja2.TemplateError) as error:
        raise UnreadableResults(f"{directory}: no results of a study ({type(error).__name__}: {error})") from error


def with_ladders(section: Section) -> Section:
    """Return a section with the intervals by which its claims can be judged anew."""
    return section if section.directory is None else section._replace(ladders=ladders.ladders_of(section.directory))


def found_in(directories: Iterable[Path]) -> list[Path]:
    """Return directories of results, each once: those named, and instead of one that holds such, all that it holds."""
    listed: dict[Path, Path] = {}
    for directory in directories:
        holds = os.path.isdir(directory) and not os.path.exists(directory / records.CONFIG)
        inside = sorted(directory.glob(f"[!.]*/{records.CLAIMS}")) if holds else []
        for path in [path.parent for path in inside] or [directory]:
            listed.setdefault(path.resolve(), path)
    return list(listed.values())


def _read_json(path: Path) -> Any:
    """Read a file; a pipe, on which one would wait, is none."""
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "is no file", str(path))
    return json.loads(path.read_text("utf-8"))


def figures_in(directory: Path) -> list[Path]:
    """Return the pictures that a study has left; those of replayed runs, and any of others, are none of them."""
    listed = owned.read(directory)
    found = sorted(path for path in directory.glob("[!.]*.png") if path.is_file())
    return [p for p in found if not p.name.startswith(owned.REPLAY) and (listed is None or p.name in listed.names)]


def portraits_in(directory: Path) -> list[Portrait]:
    """Return what the first runs of a directory are as functions; none where nothing is there that can be read."""
    path, listed = directory / curves.FILE, owned.read(directory)
    if path.is_file() and (listed is None or path.name in listed.names):
        with contextlib.suppress(Exception):  # of a damaged file anything may be raised
            return curves.read(path)
    return []


def what_ran(origin: dict) -> Iterator[str]:
    """Yield a study's name, seeds, configuration and commit, as far as they are known."""
    yield origin["study"]
    if "num_seeds" in origin:
        yield f"{origin['num_seeds']:,} seeds from master seed {origin['seed']}"
    for name, value in without_execution(origin.get("config", {})).items():  # those are said with the runs
        if value is not None:
            yield f"{name} {', '.join(map(str, value)) if isinstance(value, list) else value}"
    if commit := commit_of(origin):
        yield f"commit {commit}"


def commit_of(origin: dict) -> str:
    """Return the commit of the code that ran, as far as it is known: of a reader's own file that of jaxstudies is."""
    commit = str(origin.get("environment", {}).get("commit") or "")
    return f"{commit} of jaxstudies" if commit and origin.get("file") else commit


def how_judged(judged: dict) -> Iterator[str]:
    """Yield whether claims were registered, and by which rule they were judged."""
    yield f"claims {registration.in_words(judged['registered'])}"
    looks = judged["rule"]["looks"]
    yield "number of seeds set beforehand" if looks is None else f"looked at {len(looks)} times, judged by sequences"


def facts_of(origin: dict, judged: dict) -> dict[str, str]:
    """Return what is to be known of runs before one believes them, in words by name, as far as it is known."""
    environment, runs = origin.get("environment", {}), judged.get("runs", {})
    usual = origin.get("usual_seeds", 0)
    is_quick = origin.get("num_seeds", usual) < usual and not origin.get("until_decided")
    said = {
        "date": str(origin.get("date") or "")[:10],
        "commit": commit_of(origin),
        "seeds": f"{origin['num_seeds']:,}" if "num_seeds" in origin else "",
        "quick": f"a quick look: {usual:,} seeds are usual" if is_quick else "",
        "runs": f"{runs['rows']:,}" if "rows" in runs else "",
        "not finite": f"{runs['nonfinite']:,}" if "nonfinite" in runs else "",
        "device": str(environment.get("device_kind") or ""),
    }
    versions = [f"{name} {value}" for name, value in environment.items() if name not in ("commit", "device_kind")]
    return {name: text for name, text in (said | {"versions": ", ".join(versions)}).items() if text}
