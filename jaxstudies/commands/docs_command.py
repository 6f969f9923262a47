"""The reference of the public names as pages, by pdoc: `jaxstudies docs [--out DIR]`."""

import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jaxstudies
from jaxstudies import ours
from jaxstudies.commands import endings, flags
from jaxstudies.commands.endings import UsageError
from jaxstudies.errors import DirectoryError
from jaxstudies.output import files, owned

DIGEST = "docs"
"""Where other files have that of their runs."""
DESCRIPTION = "Write the reference of the public names, with examples, as pages to be read in a browser."


@dataclass(frozen=True)
class Options:
    """Where it is written."""

    out: Path = Path("docs")
    """Directory of the pages."""


def write(out: Path) -> Path:
    """Write the reference into a directory; return its first page.

    Raises:
        UsageError: pdoc is not installed.
        DirectoryError: The directory cannot be used.
    """
    try:
        from pdoc import pdoc, render
    except ImportError as error:
        raise UsageError("pdoc is needed for the pages: pip install pdoc") from error
    for name in jaxstudies.__all__:  # pdoc sees those that have been asked for
        getattr(jaxstudies, name)
    render.configure(docformat="google", show_source=False)
    with tempfile.TemporaryDirectory() as made:
        pdoc("jaxstudies", output_directory=Path(made))
        pages = {path.name: path.read_bytes() for path in Path(made).iterdir()}
    owned.prepare(out, pages)
    if (there := owned.read(out)) is not None and there.digest != DIGEST:
        raise DirectoryError(out, "holds results; name another directory")
    with files.writing(out), owned.rewriting(out, DIGEST, pages):
        for name, content in pages.items():
            ours.write_atomic(out / name, partial(_put, content))
    return out / "jaxstudies.html"


def _put(content: bytes, path: Path) -> None:
    path.write_bytes(content)


def main(argv: list[str]) -> None:
    """Write the reference.

    Exits with status 2 after one line on stderr if pdoc is not there, or nothing can be written.
    """
    with endings.explained("docs", endings.at_out, after=""):
        options = flags.parse(Options, argv, prog="jaxstudies docs", description=DESCRIPTION)
        print(write(options.out))
