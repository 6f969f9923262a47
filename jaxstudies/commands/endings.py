"""How a command ends that cannot go on: with one line on stderr that says why, and a status."""

import contextlib
import errno
import io
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

from jaxstudies.errors import DirectoryError, StudyError


class UsageError(Exception):
    """A user's mistake, in one line that names the flag, the value and the way out; all of `commands` raises it."""


Mistake = Callable[[BaseException], str | None]
"""Returns what a user has to do with an error, in one line, or None where that is for others to say."""
GOES_ON = "; the same command goes on from the last finished chunk"
LONGEST = 300
"""Characters of a word, such as a value or a path, that are said of it at most."""


def usage_error(error: BaseException) -> str | None:
    """Return what a mistake in the flags is."""
    return str(error) if isinstance(error, UsageError | StudyError) else None


def at_out(error: BaseException) -> str | None:
    """Return what a mistake in the flags or in the directory named by --out is."""
    return f"--out {error.directory}: {error.why}" if isinstance(error, DirectoryError) else usage_error(error)


@contextlib.contextmanager
def explained(
    who: str, mistake: Mistake = usage_error, leave: Callable[[int], NoReturn] = sys.exit, after: str = GOES_ON
) -> Iterator[None]:
    """Leave with status 2 after a line about a user's mistake, with 130 or 143 if the user or the system stops it.

    `after` is what is said behind that it was stopped.
    """
    received: list[int] = []
    try:
        with _interruptible(received):
            make_sayable()
            yield
            sys.stdout.flush()
    except BaseException as error:
        status = _explain(who, error, received, mistake, after)
        if status is None:
            raise
        leave(status)


def make_sayable() -> None:
    """See to it that whatever is said can be: to streams that are closed, and in characters that they have not."""
    with contextlib.suppress(OSError):
        # A file opened next would take the number of a stream that is closed, and get what is meant for it.
        while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
            pass
        os.close(descriptor)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if sys.stderr is sys.__stderr__ and isinstance(sys.stderr, io.TextIOWrapper):
        raw = _Forgiving(2, "w", closefd=False)
        sys.stderr = io.TextIOWrapper(raw, sys.stderr.encoding, "backslashreplace", write_through=True)


class _Forgiving(io.FileIO):
    """A stream on which what is said on the way stops no run, because the disk is full, say."""

    def write(self, content, /) -> int:
        try:
            return super().write(content) or 0
        except OSError:
            return len(content)


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
    before, hook = {signum: signal.signal(signum, interrupt) for signum in signals}, sys.unraisablehook
    # Nothing is said of it either.
    sys.unraisablehook = lambda dropped: None if dropped.exc_type is KeyboardInterrupt else hook(dropped)
    try:
        yield
    finally:
        sys.unraisablehook = hook
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _explain(who: str, error: BaseException, received: list[int], mistake: Mistake, after: str) -> int | None:
    """Say in a line what ended a run and return the exit status; None if it is for others to say.

    Whatever is raised after a signal is the signal's doing: libraries turn it into errors of their own.
    """
    if received or isinstance(error, KeyboardInterrupt):
        signum = received[0] if received else signal.SIGINT
        word = "terminated" if signum == signal.SIGTERM else "stopped"
        print(f"\n{word}{after}", file=sys.stderr)
        return 128 + signum
    if isinstance(error, BrokenPipeError):  # whoever read the output has seen enough
        _close_output()
        return 128 + signal.SIGPIPE
    if (text := mistake(error) or _of_the_surroundings(error)) is not None:
        print(f"{who}: error: {one_line(text)}", file=sys.stderr)
        return 2
    return None


def _of_the_surroundings(error: BaseException) -> str | None:
    """Return what is wrong around a command: its output, or the devices that JAX is told to use."""
    if isinstance(error, OSError) and error.filename is None and error.errno in (errno.ENOSPC, errno.EIO, errno.EDQUOT):
        _close_output()
        return f"what is printed cannot be written ({error.strerror})"
    if "JAX_PLATFORMS" in os.environ and isinstance(error, RuntimeError | AssertionError) and "jax" in sys.modules:
        try:
            sys.modules["jax"].devices()
        except (RuntimeError, AssertionError):
            return f"JAX_PLATFORMS {os.environ['JAX_PLATFORMS']}: JAX finds no such device here; cpu is always there"
    return None


def _close_output() -> None:
    """Let what is still to be printed go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def one_line(text: str) -> str:
    """Return a message in one line, its longest words cut."""
    words = re.sub(rf"[^\s:]{{{LONGEST},}}", lambda word: f"{word[0][:60]}...", " ".join(text.splitlines()))
    return words if len(words) <= 4 * LONGEST else f"{words[: 4 * LONGEST]}..."
