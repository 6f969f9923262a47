"""What can go wrong that a user has to do with: each is one line."""

import contextlib
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path


class StudyError(TypeError, ValueError):
    """A study is not as it must be: `simulate` returns no arrays by name, a claim asks for what is not there."""


SLIPS = (LookupError, AttributeError, NameError, ArithmeticError, AssertionError, TypeError)


@contextlib.contextmanager
def study_errors(name: str) -> Iterator[None]:
    """Turn a slip in a function of a study's into a StudyError of one line, whose cause it is."""
    try:
        yield
    except StudyError:
        raise
    except SLIPS as error:
        text = " ".join(str(error).split())
        raise StudyError(f"{name} raises {type(error).__name__}{': ' if text else ''}{text[:200]}") from error


class DirectoryError(Exception):
    """A run cannot go on in a directory."""

    def __init__(self, directory: Path, why: str):
        super().__init__(f"directory {directory}: {why}")
        self.directory, self.why = directory, why


class OtherVersions(DirectoryError):
    """What is there was written with other versions of the libraries that decide numbers."""


class Notice(UserWarning):
    """What whoever runs something should know, and need not stop it."""


def warn(message: str, category: type[Warning]) -> None:
    """Warn whoever called the library, at their line."""
    frames, package = [sys._getframe()], str(Path(__file__).parent)
    while (above := frames[-1].f_back) is not None:
        frames.append(above)
    inside = [level for level, frame in enumerate(frames) if frame.f_code.co_filename.startswith(package)]
    warnings.warn(message, category, stacklevel=inside[-1] + 2)
