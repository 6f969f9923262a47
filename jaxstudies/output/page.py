"""One page of all verdicts: from the directories of studies to a self-contained HTML file."""

import base64
import contextlib
import errno
import io
import json
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from jaxstudies.evidence import records, registration
from jaxstudies.evidence.verdicts import KINDS
from jaxstudies.output import owned

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 62rem; margin: 2rem auto; padding: 0 1rem;
       overflow-wrap: break-word; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 3rem; border-top: 1px solid #ccc; padding-top: 1rem; }
img { max-width: 100%; height: auto; } figure { margin: 1.5rem 0; }
figcaption, .note { color: #555; font-size: .9rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: .9rem; }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem; border-bottom: 1px solid #ddd; }
td.number { font-variant-numeric: tabular-nums; white-space: nowrap; } .verdict { font-weight: 600; }
.supported { color: #006b4f; } .refuted { color: #b34700; } .inconclusive { color: #555; }
@media (max-width: 40rem) {
  tr:has(th) { display: none; } tr { display: block; padding: .6rem 0; border-bottom: 1px solid #ddd; }
  td { display: block; border: 0; padding: .1rem 0; white-space: normal; } td.verdict { font-size: 1.1em; }
  td[data-name]::before { content: attr(data-name) ": "; color: #555; } }
@media print { body { max-width: none; margin: 0; font-size: 10pt; } h2 { break-before: page; }
               figure, tr { break-inside: avoid; } .scroll { overflow: visible; } }
"""

LIMITS = {
    "95 %": "Of studies judged so, at most one in twenty calls a claim supported or refuted that is not: of all that "
    "could be run, not of the one that was. So far as an interval holds: a t interval does not for heavy tails.",
    "As one of a family": "A study's primary claims are judged together, too (Holm): that any of these verdicts is "
    "wrong has the probability of one. Verdicts on the other claims, and over several studies, are not corrected.",
    "Population": "A verdict is about what the seeds draw anew, say initial weights, and about nothing that they "
    "share, say one data set; each claim's record names it.",
    "Stopping": "Where the number of seeds was set before anything was seen, an interval for it is used. Where seeds "
    "were added after a look, verdicts come from sequences, which hold at every number of seeds at once. Runs made "
    "elsewhere and left out are not known here.",
    "Selection": "Where runs are chosen by their outcome, the claim says so: it is about these runs alone.",
}
"""What verdicts mean, and what they do not, by the word under which it is said."""
ABOUT = {
    "says": "its source says",
    "population": "population",
    "method": "method",
    "interval": "interval",
    "margin": "margin",
    "not_shown": "not shown",
}
"""What is said of a claim where one points at it, by its name in a verdict."""
TITLE = "<title>jaxstudies: verdicts</title>"


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


def read_section(directory: Path) -> Section:
    """Read what a study, whoever wrote it, has left in its directory, or raise `UnreadableResults`."""
    try:
        origin, judged = (_read_json(directory / name) for name in (records.CONFIG, records.CLAIMS))
        verdicts = judged["claims"]
        figures = {path.stem: path.read_bytes() for path in figures_in(directory)}
        name = str(origin["study"])
        text, ran = str(origin.get("text") or name), "; ".join([*what_ran(origin), *how_judged(judged)])
        section = Section(name, text, ran, tuple(verdicts), figures)
        page([section._replace(figures={})]).encode()  # what cannot be shown fails here
        return section
    except FileNotFoundError as error:
        raise UnreadableResults(f"{error.filename} does not exist") from error
    except OSError as error:
        raise UnreadableResults(f"{error.filename or directory}: {error.strerror or error}") from error
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise UnreadableResults(f"{directory}: no results of a study ({type(error).__name__}: {error})") from error


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


def is_page(path: Path) -> bool:
    """Return whether a file is a page of verdicts."""
    with path.open("rb") as file:
        return TITLE.encode() in file.read(1000)


def what_ran(origin: dict) -> Iterator[str]:
    """Yield a study's name, seeds, configuration and commit, as far as they are known."""
    yield origin["study"]
    if "num_seeds" in origin:
        yield f"{origin['num_seeds']:,} seeds from master seed {origin['seed']}"
    for name, value in origin.get("config", {}).items():
        if name not in ("seeds", "seed") and value is not None:
            yield f"{name} {', '.join(map(str, value)) if isinstance(value, list) else value}"
    if commit := origin.get("environment", {}).get("commit"):
        yield f"commit {commit}"


def how_judged(judged: dict) -> Iterator[str]:
    """Yield whether claims were registered, and by which rule they were judged."""
    yield f"claims {registration.in_words(judged['registered'])}"
    looks = judged["rule"]["looks"]
    yield "number of seeds set beforehand" if looks is None else f"looked at {len(looks)} times, judged by sequences"


def page(sections: list[Section], note: str = "") -> str:
    """Return the page: a note such as that the runs were few, a table of every claim, a section for each study."""
    claims = [
        (f"<td data-name='study'><a href='#study{i}'>{escape(section.name)}</a></td>", verdict)
        for i, section in enumerate(sections)
        for verdict in section.verdicts
    ]
    kinds = [verdict["verdict"] for _, verdict in claims]
    counted = ", ".join(f"{kinds.count(kind)} {kind}" for kind in KINDS)
    body = [
        "<h1>Claims about neural-network training, and their verdicts</h1>",
        f"<p>{counted}; each with its effect, an interval and the number of runs.</p>",
        paragraph(note, "note"),
        table(claims, "study"),
        limits(),
        *(study(i, section) for i, section in enumerate(sections)),
    ]
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"{TITLE}<style>{STYLE}</style></head>\n<body>" + "\n".join(filter(None, body)) + "</body></html>\n"
    )


def limits() -> str:
    """Return what verdicts mean, and what they do not."""
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in LIMITS.items())
    return f"<h2>What a verdict means</h2><dl>{rows}</dl>"


def paragraph(text: str, kind: str) -> str:
    """Return a paragraph of a class, or nothing if it says nothing."""
    return text and f"<p class='{kind}'>{escape(text)}</p>"


def table(claims: list[tuple[str, dict]], *first: str) -> str:
    """Return a table of first cells and verdicts; those that no run tests are listed apart."""
    rows = [row(verdict, cell) for cell, verdict in claims if verdict["verdict"] != "not tested"]
    heads = *first, "claim", "source", "verdict", "as one of a family", "effect [95 % interval]", "unit", "n"
    head = "".join(f"<th>{text}</th>" for text in heads)
    shown = f"<div class='scroll'><table><tr>{head}</tr>{''.join(rows)}</table></div>" if rows else ""
    left_out = [verdict["claim"] for _, verdict in claims if verdict["verdict"] == "not tested"]
    return shown + paragraph(f"Not tested by these runs: {'; '.join(left_out)}." if left_out else "", "note")


def row(verdict: dict, first: str = "") -> str:
    """Return a verdict as a row behind its first cell."""
    said = {key: escape(verdict[key]) for key in ("source", "verdict", "family_verdict", "unit")}
    claim = escape(", ".join(filter(None, (verdict["claim"], verdict["selection"]))))
    where = f" <span class='note'>{escape(verdict['where'])}</span>" if verdict["where"] else ""
    about = escape("\n".join(f"{words}: {verdict[key]}" for key, words in ABOUT.items() if verdict[key]))
    numbers = (verdict[key] for key in ("effect", "low", "high"))
    effect, low, high = ("–" if number is None else f"{number:.4g}".replace("-", "−") for number in numbers)
    level = verdict.get("level", 0.95)
    other = "" if level == 0.95 else f" at {100 * level:g} %"
    return (
        f"<tr>{first}<td title='{about}'>{claim}</td><td data-name='source'>{said['source']}{where}</td>"
        f"<td class='verdict {said['verdict']}' title='{escape(verdict['why'])}'>{said['verdict']}</td>"
        f"<td class='{said['family_verdict']}' data-name='family'>{said['family_verdict'] or '–'}</td>"
        f"<td class='number' data-name='effect'>{effect} [{low}, {high}]{other}</td>"
        f"<td data-name='unit'>{said['unit']}</td>"
        f"<td class='number' data-name='n'>{verdict['n']:,}</td></tr>"
    )


def caption_of(picture: bytes) -> str:
    """Return the caption that a picture carries, nothing where it has none."""
    with contextlib.suppress(Exception):  # whatever is wrong with the picture
        return str(Image.open(io.BytesIO(picture)).info.get("Description", ""))
    return ""


def study(index: int, section: Section) -> str:
    """Return a study's section: the question, what was run, the verdicts, the figures."""
    question, more, *_ = [*section.text.strip().split("\n\n"), ""]
    parts = [f"<h2 id='study{index}'>{escape(question)}</h2>", more and f"<p>{escape(more)}</p>"]
    parts += [paragraph(section.problem, "refuted"), paragraph(section.ran, "note")]
    parts.append(table([("", verdict) for verdict in section.verdicts]))
    for name, content in section.figures.items():
        title, encoded = escape(name.replace("_", " ")), base64.b64encode(content).decode()
        image = f"<img alt='{escape(caption_of(content)) or title}' src='data:image/png;base64,{encoded}'>"
        parts.append(f"<figure>{image}<figcaption>{title}</figcaption></figure>")
    return "\n".join(filter(None, parts))
