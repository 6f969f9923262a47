"""From sections to the page: what the templates are filled with."""

import base64
import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import jinja2

from jaxstudies.evidence.verdicts import KINDS
from jaxstudies.output.page import cells, charts, ladders, pictures, repeating, strips
from jaxstudies.output.words import WORDS

if TYPE_CHECKING:
    from jaxstudies.output.page.sections import Section

TITLE = "<title>jaxstudies: verdicts</title>"
TEMPLATES = Path(__file__).parent / "templates"
MARGINS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
"""By how much a reader makes regions wider, or with the sign turned narrower, in a claim's unit."""
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
    "Judging anew": "A level, a margin or a number of seeds that is chosen after the verdicts were seen shows how far "
    "they depend on it. It is no test: among many settings some decide by chance.",
}
"""What verdicts mean, and what they do not, by the word under which it is said."""
ABOUT = {
    "selection": "selection",
    "method": "method",
    "interval": "interval",
    "margin": "margin",
    "population": "population",
    "absent": "seeds without a number",
    "not_shown": "not shown",
    "why": "why",
}
"""What is said of a claim, by its name in a verdict."""


def is_page(path: Path) -> bool:
    """Return whether a file is a page of verdicts."""
    with path.open("rb") as file:
        return TITLE.encode() in file.read(1000)


def page(sections: Sequence["Section"], note: str = "", place: Path | None = None) -> str:
    """Return the page of some studies.

    Args:
        sections: The studies.
        note: What is to be said first, such as that the runs were few.
        place: Directory from which links to files start, the current one by default.
    """
    studies = list(_studies(sections, place or Path()))
    claims = [claim for study in studies for claim in study["claims"]]
    kinds = [claim["verdict"] for claim in claims]
    data = {
        "levels": list(ladders.LEVELS),
        "seeds": _numbers_of_seeds(sections),
        "margins": [-margin for margin in MARGINS[::-1]] + [0, *MARGINS],
        "studies": [section.ladders for section in sections],
    }
    style, script = (_source(*names) for names in (("style.css",), ("judge.js", "page.js")))
    policy = {
        "default-src": "'none'",
        "img-src": "data:",
        "style-src": f"'{_hash(style)}'",
        "script-src": f"'{_hash(script)}'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    shown = {
        "studies": studies,
        "note": note,
        "title": TITLE,
        "counts": {kind: kinds.count(kind) for kind in KINDS},
        "choices": {
            "study": [(index, study["name"]) for index, study in enumerate(studies)],
            "source": _twice(claim["source"] for claim in claims),
            "verdict": _twice(KINDS),
            "unit": _twice(claim["unit"] for claim in claims if claim["unit"]),
            "reading": sorted({(name, word(name)) for claim in claims for name in claim.get("readings", ())}),
        },
        "limits": LIMITS,
        "about": ABOUT,
        "data": data,
        "width": strips.WIDTH,
        "style": style,
        "script": script,
        "policy": "; ".join(f"{name} {allowed}" for name, allowed in policy.items()),
    }
    return _environment().get_template("page.html").render(shown)


def _studies(listed: Iterable["Section"], place: Path) -> Iterable[dict[str, Any]]:
    """Yield what is shown of each study."""
    listed, taken = list(listed), set()
    pages = iter(pictures.previews(content for section in listed for content in section.figures.values()))
    for section in listed:
        anchor = _unique(_anchor(section.name), taken)
        question, more, *_ = [*section.text.strip().split("\n\n"), ""]
        places = {name: _unique(f"{anchor}/figures/{_anchor(name)}", taken) for name in section.figures}
        yield {
            "anchor": anchor,
            "name": section.name,
            "question": question,
            "more": more,
            "section": section,
            "here": _link(section.directory, place),
            "figures": [(name, at, next(pages), _link(section.directory, place, name)) for name, at in places.items()],
            "claims": [
                claim
                | {
                    "anchor": _unique(f"{anchor}/{_anchor(claim.get('id', ''))}", taken),
                    "strip": strips.strip(claim),
                    "figure": _own(places, claim.get("figure")) or f"{anchor}/figures",
                    "replays": repeating.replays_of(section, claim),
                }
                for claim in section.verdicts
            ],
            "facts": section.facts,
            "charts": [(c, cells.cells_of(c, section)) for c in charts.charts_of(section.directory)],
        }


def _numbers_of_seeds(sections: Iterable["Section"]) -> list[int]:
    """Return the numbers of first seeds that are offered for all studies."""
    most = max((section.ladders.get("sizes", [0])[-1] for section in sections), default=0)
    return [number for number in ladders.SEEDS if number < most]


def _twice(words: Iterable[str]) -> list[tuple[str, str]]:
    """Return each word once, as what is chosen and what is shown."""
    return [(word, word) for word in sorted(set(words), key=str)]


def _own(places: Mapping[str, str], figure: str | None) -> str | None:
    """Return where the figure of a claim stands: the one that it names, or the only one, if there is one."""
    return next(iter(places.values())) if len(places) == 1 else places.get(figure or "")


def _anchor(name: str) -> str:
    """Return a name as part of an address."""
    return re.sub(r"[^\w.,+-]+", "-", str(name)) or "-"


def _unique(name: str, taken: set[str]) -> str:
    """Return a name that is not taken, and take it."""
    number, free = 1, name
    while free in taken:
        number, free = number + 1, f"{name}-{number + 1}"
    taken.add(free)
    return free


def _link(directory: Path | None, place: Path, figure: str = "") -> str:
    """Return the address of a directory, or of a figure in it, as seen from the page."""
    if directory is None:
        return ""
    path = Path(os.path.relpath(directory, place)).as_posix()
    return quote(f"./{path}/{figure}.png" if figure else f"./{path}/")


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.undefined = jinja2.StrictUndefined
    environment.filters |= {"number": number, "word": word}
    return environment


def word(name: str) -> str:
    """Return the name of a reading in words."""
    return WORDS.get(name, str(name).replace("_", " "))


def number(value: float | None) -> str:
    """Return a number to four digits."""
    return "–" if value is None else f"{value:.4g}".replace("-", "−")


@cache
def _source(*names: str) -> str:
    return "\n" + "\n".join((TEMPLATES / name).read_text("utf-8") for name in names)


def _hash(text: str) -> str:
    """Return by what a browser's policy knows a text."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
