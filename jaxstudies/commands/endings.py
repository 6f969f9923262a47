"""How a command ends that cannot go on: with one line on stderr that says why, and a status."""

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

from jaxstudies.commands.flags import UsageError
from jaxstudies.errors import StudyError

Mistake = Callable[[BaseException], str | None]
"""Returns what a user has to do with an error, in one line, or None where that is for others to say."""


def usage_error(error: BaseException) -> str | None:
    """Return what a mistake in the flags is."""
    return str(error) if isinstance(error, UsageError | StudyError) else None


@contextlib.contextmanager
def explained(who: str, mistake: Mistake = usage_error, leave: Callable[[int], NoReturn] = sys.exit) -> Iterator[None]:
    """Leave with status 2 after a line about a user's mistake, with 130 or 143 if the user or the system stops it."""
    received: list[int] = []
    try:
        with _interruptible(received):
            yield
    except BaseException as error:
        status = _explain(who, error, received, mistake)
        if status is None:
            raise
        leave(status)


@contextlib.contextmanager
def _interruptible(received: list[int]) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM raise KeyboardInterrupt, and note them in a list."""

    def interrupt(signum: int, frame: FrameType | None) -> NoReturn:
        received.append(signum)
        if hasattr(signal, "setitimer"):
            # Python drops what is raised inside some callbacks, so it is raised again.
            signal.setitimer(signal.ITIMER_REAL, 2)
        raise KeyboardInterrupt

    names = ("SIGINT", "SIGTERM", "SIGALRM")
    signals = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = {signum: signal.signal(signum, interrupt) for signum in signals}
    try:
        yield
    finally:
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _explain(who: str, error: BaseException, received: list[int], mistake: Mistake) -> int | None:
    """Say in a line what ended a run and return the exit status; None if it is for others to say.

    Whatever is raised after a signal is the signal's doing: libraries turn it into errors of their own.
    """
    if received or isinstance(error, KeyboardInterrupt):
        signum = received[0] if received else signal.SIGINT
        word = "terminated" if signum == signal.SIGTERM else "stopped"
        print(f"\n{word}; the same command goes on from the last finished chunk", file=sys.stderr)
        return 128 + signum
    if (text := mistake(error)) is not None:
        print(f"{who}: error: {text}", file=sys.stderr)
        return 2
    if isinstance(error, BrokenPipeError):  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    return None
