"""Who may write into a directory: one run, or the processes that share one."""

import contextlib
import os
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from jaxstudies.errors import DirectoryError, Notice, warn
from jaxstudies.ours import OURS

LOCK = f"{OURS}lock"
PATIENCE = 1.0
"""Seconds after which a lock that another holds is another run's, and not just being removed by its last holder."""


class NoLocks(Notice):
    """The file system has no locks, so that nobody sees to it that one run at a time writes."""


@contextlib.contextmanager
def sole_writer(directory: Path) -> Iterator[None]:
    """Hold a directory for one run, or raise DirectoryError. The lock goes with the process, however that ends."""
    with hold(directory / LOCK):
        yield


@contextlib.contextmanager
def shared_writer(directory: Path, share: str) -> Iterator[None]:
    """Hold a directory for a share of a run, or raise DirectoryError if a whole run or the same share does."""
    with hold(directory / LOCK, shared=True), hold(directory / f"{LOCK}.{share}"):
        yield


@contextlib.contextmanager
def finishing(directory: Path) -> Iterator[None]:
    """Wait until no other process of a shared run is putting it together, and hold it."""
    with hold(
        directory / f"{LOCK}.finish", wait=f"{directory}: waiting for another share, which puts the run together"
    ):
        yield


@contextlib.contextmanager
def hold(path: Path, *, shared: bool = False, wait: str = "") -> Iterator[None]:
    """Hold the lock that a file is, which is made, and removed in the end.

    Where another holds it, what `wait` says is told, and waited for; without a word DirectoryError is raised.
    """
    try:
        import fcntl
    except ImportError:  # Windows has no such locks
        yield
        return
    kind, began, said = fcntl.LOCK_SH if shared else fcntl.LOCK_EX, time.monotonic(), False
    while True:
        descriptor = _open(path)
        try:
            # Whoever opened the file before its last holder removed it has locked nothing.
            if _locked(path, descriptor, kind | fcntl.LOCK_NB) and _is_there(path, descriptor):
                try:
                    yield
                finally:
                    # The last of those that share it removes it.
                    with contextlib.suppress(OSError):
                        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        path.unlink(missing_ok=True)
                return
        finally:
            os.close(descriptor)
        if time.monotonic() > began + PATIENCE:
            if not wait:
                raise DirectoryError(
                    path.parent, "another run is writing there; wait for it, or name another directory"
                )
            if not said:
                print(wait, file=sys.stderr, flush=True)
                said = True
        time.sleep(0.02)


def _open(path: Path) -> int:
    """Open a lock's file, which is made if it is not there; no link is followed, and nothing in it changed.

    For writing, if that may be: network file systems lock nothing else.
    """
    how = os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | how, 0o666)
        except PermissionError:  # another user has left it
            descriptor = os.open(path, os.O_RDONLY | how)
    except FileNotFoundError as error:
        raise DirectoryError(path.parent, f"cannot be written to ({error.strerror})") from error
    except OSError as error:
        raise DirectoryError(
            path.parent, f"{path.name} cannot be opened ({error.strerror}); if no run is writing there, remove it"
        ) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise DirectoryError(path.parent, f"{path.name} is no file; remove it")
    return descriptor


def _locked(path: Path, descriptor: int, kind: int) -> bool:
    """Lock an open file; return whether that came off. Where there are no locks it counts as done, and is said."""
    import fcntl

    try:
        fcntl.flock(descriptor, kind)
    except BlockingIOError:
        return False
    except OSError as error:
        warn(f"{path.parent} has no locks ({error.strerror}): start no other run there before this one ends", NoLocks)
    return True


def _is_there(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False
