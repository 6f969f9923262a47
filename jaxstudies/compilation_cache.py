"""Compiled programs and kernels, kept from one command to the next.

What is kept is run, so it is trusted only in a directory that the user alone can write to. A file appears there whole
or not at all: JAX writes an entry of its cache in place, so it does that in a directory of the process, which has
links to all that is kept, and what is new there is linked back.
"""

import contextlib
import glob
import hashlib
import os
import platform
import re
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import jax
from jax.experimental.compilation_cache import compilation_cache as jax_cache

VARIABLE = "JAXSTUDIES_CACHE_DIR"
"""The environment variable that names another place; if it is empty, nothing is kept."""
OURS = "jaxstudies-compiled-"
"""How the names of our directories in that place begin."""
MOST_BYTES = 2**30
"""What is kept in all; what was not used for the longest time goes first."""
LEAST_SECONDS = 0.3
"""Of compiling, for a program to be kept: others are compiled about as fast as they are read."""
A_DAY = 86_400.0
"""In seconds: a process that makes its cache takes no longer."""
ENTRY = "*-cache"
"""The names of JAX's entries."""
UNREADABLE = "Error reading persistent compilation cache entry for '(.*?)'"
"""How JAX's warning begins, which goes on with an entry's damage."""
Library = TypeVar("Library")


def machine() -> str:
    """Return a digest of what compiled code depends on besides its source: the processor, JAX and Python."""
    processor = [platform.platform()]
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))})
    words = [*map(version, ("jax", "jaxlib")), platform.python_version(), *processor]
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:16]


def place() -> Path | None:
    """Return the directory of what is compiled on this machine, which is made; None where nothing can be kept."""
    named = os.environ.get(VARIABLE, os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "jaxstudies"))
    directory = Path(os.path.expanduser(named)) / f"{OURS}{machine()}"
    if not named or not directory.is_absolute() or not hasattr(os, "getuid"):
        return None
    with contextlib.suppress(OSError, ValueError):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        about = directory.lstat()
        if about.st_uid == os.getuid() and not about.st_mode & 0o022 and os.access(directory, os.W_OK):
            return directory if directory.is_dir() and not directory.is_symlink() else None
    return None


@contextlib.contextmanager
def programs_kept() -> Iterator[None]:
    """Let what was compiled before be read inside, and what is new be kept: kernels, and programs by `publish`.

    Where JAX is told to have a cache of its own, or none, nothing is changed.
    """
    told = jax.config.jax_compilation_cache_dir or not jax.config.jax_enable_compilation_cache  # type: ignore
    kept = None if told else place()
    if kept is None:
        yield
        return
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # the disk is full, say, or has no links
            own = Path(stack.enter_context(_own_directory(kept)))
            _link(kept, own)
            stack.enter_context(_caching(own))
        yield
        publish()
        make_room(kept.parent)


@contextlib.contextmanager
def _own_directory(kept: Path) -> Iterator[str]:
    """Make a directory of this process, which is removed in the end, and remove those of processes that are no more."""
    import fcntl

    for left in kept.glob("process-*"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > A_DAY:
                left.rmdir()  # it is empty only if its process ended before it was locked
        with contextlib.suppress(OSError), open(left / "lock", "r+b") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left, ignore_errors=True)
    made = tempfile.TemporaryDirectory(prefix="process-", dir=kept, ignore_cleanup_errors=True)
    # Locked before it has the name by which others look for it.
    with made as own, open(Path(own, "new"), "w+b") as lock:
        with contextlib.suppress(OSError):  # without locks nothing is removed either
            fcntl.flock(lock, fcntl.LOCK_EX)
        os.rename(Path(own, "new"), Path(own, "lock"))
        yield own


@contextlib.contextmanager
def _caching(own: Path) -> Iterator[None]:
    """Let JAX's cache be a directory."""
    wanted = {
        "jax_compilation_cache_dir": str(own),
        "jax_persistent_cache_min_compile_time_secs": LEAST_SECONDS,
        "jax_persistent_cache_enable_xla_caches": "none",  # their path would be part of what a program is known by
    }
    before = {name: getattr(jax.config, name) for name in wanted}
    for name, value in wanted.items():
        jax.config.update(name, value)
    jax_cache.reset_cache()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("always", UNREADABLE)
            others = warnings.showwarning

            def show(message, *rest):
                if damaged := re.match(UNREADABLE, str(message)):
                    # JAX says of which function the program is, and goes on to compile and to write it.
                    for entry in own.parent.glob(f"**/{glob.escape(damaged[1])}{ENTRY}"):
                        entry.unlink(missing_ok=True)
                else:
                    others(message, *rest)

            warnings.showwarning = show
            yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
        jax_cache.reset_cache()


def _own() -> Path | None:
    """Return the directory of this process, inside `programs_kept`."""
    own = Path(jax.config.jax_compilation_cache_dir or "")  # type: ignore
    return own if own.parent.name.startswith(OURS) else None


def catch_up() -> None:
    """Let programs that other processes have kept meanwhile be read, too."""
    if (own := _own()) is not None:
        with contextlib.suppress(OSError):  # the disk is full, say
            _link(own.parent, own)


def _link(kept: Path, own: Path) -> None:
    """Link what is kept into the directory of this process."""
    there = set(os.listdir(own))  # to ask for each link would take longer
    for entry in kept.glob(ENTRY):
        if entry.name not in there:
            with contextlib.suppress(FileNotFoundError):  # another process has made room
                os.link(entry, own / entry.name)


def publish() -> None:
    """Keep the programs that were compiled up to now: no entry is just being written."""
    if (own := _own()) is not None:
        for entry in own.glob(ENTRY):
            with contextlib.suppress(OSError):  # another process was the first, or the disk is full
                if entry.stat().st_nlink == 1 and entry.stat().st_size:
                    os.link(entry, own.parent / entry.name)


def kernel(name: str, make: Callable[[Path], Path], load: Callable[[Path], Library]) -> Library:
    """Return the library of a kernel, which is kept under its name, or else made.

    Args:
        name: What it is known by: a digest of all that it is made from.
        make: Makes it in a directory that is there only for that, and returns its path.
        load: Loads it, or raises OSError.

    Raises:
        OSError: The directory cannot be made, or the library not be loaded.
    """
    own = _own()
    kept = own.parent / f"{name}.so" if own else None
    if kept is not None:
        with contextlib.suppress(OSError):  # it is not there, or damaged
            os.utime(kept)
            return load(kept)
    with tempfile.TemporaryDirectory(prefix="jaxstudies-kernel-") as made:
        library = make(Path(made))
        if own is not None and kept is not None:
            with contextlib.suppress(OSError):  # the disk is full, or nothing there may be run
                os.replace(shutil.copy(library, own), kept)
                return load(kept)
        return load(library)


def make_room(directory: Path, most: int = MOST_BYTES) -> None:
    """Remove what was not used for the longest time until no more than so many bytes are kept for all machines."""
    found = []
    for pattern in (ENTRY, "*.so"):
        for path in directory.glob(f"{OURS}*/{pattern}"):
            with contextlib.suppress(OSError):
                about = path.lstat()
                found.append((max(about.st_atime, about.st_mtime), about.st_size, path))
    total = sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if total <= most:
            return
        with contextlib.suppress(OSError):
            path.unlink()
        total -= size
