"""Flags of the scripts that are not a study's: read like a study's, refused in one line."""

import contextlib
import io
from typing import TypeVar

import tyro

from jaxstudies import cli

Options = TypeVar("Options")


def parse(options: type[Options], argv: list[str], *, prog: str, description: str) -> Options:
    """Return a dataclass of options from flags.

    Raises:
        UsageError: A flag is unknown, or its value is not allowed.
    """
    stderr = io.StringIO()
    try:
        with contextlib.redirect_stderr(stderr):
            parsed = tyro.cli(options, args=argv, prog=prog, description=description)
    except SystemExit as stop:
        if not stop.code:
            raise
        raise cli.UsageError(cli.one_line(stderr.getvalue())) from None
    cli.check_values(parsed)
    return parsed
