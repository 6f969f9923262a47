"""One page of all verdicts: from the studies' directories to a self-contained HTML file."""

import base64
import json
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 62rem; margin: 2rem auto;
       padding: 0 1rem; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 3rem; border-top: 1px solid #ccc; padding-top: 1rem; }
img { max-width: 100%; height: auto; } figure { margin: 1.5rem 0; }
figcaption, .note { color: #555; font-size: .9rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: .9rem; }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem;
         border-bottom: 1px solid #ddd; }
td.number { font-variant-numeric: tabular-nums; white-space: nowrap; }
.supported { color: #006b4f; } .refuted { color: #b34700; } .inconclusive { color: #555; }
.verdict { font-weight: 600; } code { background: #f3f3f3; padding: 0 .2rem; }
@media (max-width: 40rem) { tr:has(th) { display: none; } td { display: block; border: 0;
               padding: .1rem 0; white-space: normal; } tr { display: block; padding: .6rem 0;
               border-bottom: 1px solid #ddd; } td.verdict { font-size: 1.1em; }
               td[data-name]::before { content: attr(data-name) ": "; color: #555; } }
@media print { body { max-width: none; margin: 0; font-size: 10pt; } h2 { break-before: page; }
               figure, tr { break-inside: avoid; } .scroll { overflow: visible; } }
"""


class Section(NamedTuple):
    """A study on the page: its docstring, configuration, verdicts, figures, and what went wrong."""

    name: str
    text: str
    config: dict[str, Any]
    verdicts: list[dict[str, Any]]
    figures: list[Path]
    problem: str | None = None


def read_section(name: str, text: str, directory: Path, problem: str | None = None) -> Section:
    """Read what a study has left in its directory, its variants below; what is missing is said."""
    try:
        config = json.loads((directory / "config.json").read_text())
        verdicts = json.loads((directory / "claims.json").read_text())
        for path in sorted(directory.glob("*/claims.json")):
            verdicts += [verdict for verdict in json.loads(path.read_text()) if verdict["n"]]
    except FileNotFoundError as error:
        return Section(name, text, {}, [], [], problem or f"{error.filename} does not exist")
    except (OSError, ValueError) as error:
        return Section(name, text, {}, [], [], problem or f"no results in {directory} ({error})")
    figures = [*sorted(directory.glob("*.png")), *sorted(directory.glob("*/*.png"))]
    return Section(name, text, config, verdicts, figures, problem)


def page(sections: list[Section], note: str = "") -> str:
    """Return the page: a table of every claim, then a section for each study.

    Args:
        sections: The studies.
        note: Said on top, as that the runs were few.
    """
    claims = [(section.name, verdict) for section in sections for verdict in section.verdicts]
    counts = {
        kind: sum(verdict["verdict"] == kind and verdict["n"] > 0 for _, verdict in claims)
        for kind in ("supported", "refuted", "inconclusive")
    }
    counted = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    body = [
        "<h1>Claims about neural-network training, and their verdicts</h1>",
        f"<p>{counted}; each with its effect, a 95 % interval and the number of runs.</p>",
        f"<p class='note'>{escape(note)}</p>" if note else "",
        table(claims, with_study=True),
        *(study(section) for section in sections),
    ]
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>jaxstudies: verdicts</title><style>{STYLE}</style></head>\n<body>"
        + "\n".join(filter(None, body))
        + "</body></html>\n"
    )


def table(claims: list[tuple[str, dict[str, Any]]], *, with_study: bool = False) -> str:
    """Return a table of verdicts; claims that no run tests are left out and counted."""
    tested = [(name, verdict) for name, verdict in claims if verdict["n"]]
    heads = ["claim", "source", "verdict", "effect [95 % interval]", "unit", "n"]
    rows = "".join(row(name, verdict, with_study) for name, verdict in tested)
    head = "".join(f"<th>{text}</th>" for text in (["study"] if with_study else []) + heads)
    left_out = len(claims) - len(tested)
    rest = (
        f"<p class='note'>{left_out} claims are not tested by these runs.</p>" if left_out else ""
    )
    return f"<div class='scroll'><table><tr>{head}</tr>{rows}</table></div>{rest}"


def row(name: str, verdict: dict[str, Any], with_study: bool) -> str:
    """Return a verdict as a row."""
    kind = escape(verdict["verdict"])
    effect, low, high = (number(verdict[key]) for key in ("effect", "low", "high"))
    link = (
        f"<td data-name='study'><a href='#{escape(name)}'>{escape(name)}</a></td>"
        if with_study
        else ""
    )
    return (
        f"<tr>{link}<td>{escape(verdict['claim'])}</td>"
        f"<td data-name='source'>{escape(verdict['source'])}</td>"
        f"<td class='verdict {kind}'>{kind}</td>"
        f"<td class='number' data-name='effect'>{effect} [{low}, {high}]</td>"
        f"<td data-name='unit' title='{escape(verdict['method'])}'>{escape(verdict['unit'])}</td>"
        f"<td class='number' data-name='n'>{verdict['n']:,}</td></tr>"
    )


def number(value: float | None) -> str:
    """Return a number to four digits, or a dash where it is not known."""
    return "–" if value is None else f"{value:.4g}".replace("-", "−")


def study(section: Section) -> str:
    """Return a study's section: the question, the numbers, the figures."""
    question, _, rest = section.text.partition("\n\n")
    parts = [f"<h2 id='{section.name}'>{escape(question)}</h2>"]
    if rest:
        parts += [f"<p>{escape(paragraph)}</p>" for paragraph in rest.strip().split("\n\n")[:1]]
    if section.problem:
        parts.append(f"<p class='refuted'>{escape(section.problem)}</p>")
    if section.verdicts:
        config = section.config.get("config", {})
        of = ", ".join(f"{k} {config[k]}" for k in ("seeds", "epochs", "dataset") if config.get(k))
        parts.append(
            f"<p class='note'><code>python scripts/{section.name}.py</code>: {escape(of)}</p>"
        )
        parts.append(table([(section.name, verdict) for verdict in section.verdicts]))
    for path in section.figures:
        content = base64.b64encode(path.read_bytes()).decode()
        name = escape(path.stem.replace("_", " "))
        parts.append(
            f"<figure><img alt='{name}' src='data:image/png;base64,{content}'>"
            f"<figcaption>{name}</figcaption></figure>"
        )
    return "\n".join(parts)
