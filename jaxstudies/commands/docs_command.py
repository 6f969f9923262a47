"""The reference of the public names as pages, by pdoc: `jaxstudies docs [--out DIR]`."""

import sys
from dataclasses import dataclass
from pathlib import Path

import jaxstudies
from jaxstudies.commands import flags
from jaxstudies.commands.flags import UsageError

DESCRIPTION = "Write the reference of the public names, with examples, as pages to be read in a browser."


@dataclass(frozen=True)
class Options:
    """Where it is written."""

    out: Path = Path("docs")
    """Directory of the pages."""


def write(out: Path) -> Path:
    """Write the reference into a directory; return its first page."""
    try:
        from pdoc import pdoc, render
    except ImportError as error:
        raise UsageError("pdoc is needed for the pages: pip install pdoc") from error
    for name in jaxstudies.__all__:  # pdoc sees those that have been asked for
        getattr(jaxstudies, name)
    render.configure(docformat="google", show_source=False)
    pdoc("jaxstudies", output_directory=out)
    return out / "jaxstudies.html"


def main(argv: list[str]) -> None:
    """Write the reference.

    Exits with status 2 after one line on stderr if pdoc is not there, or nothing can be written.
    """
    try:
        options = flags.parse(Options, argv, prog="jaxstudies docs", description=DESCRIPTION)
        print(write(options.out))
    except (UsageError, OSError) as error:
        print(f"docs: error: {error}", file=sys.stderr)
        sys.exit(2)
