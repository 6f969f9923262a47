"""Runs studies in forked processes, each killed at a chosen operation on files.

Reads a line of JSON with a list of runs that start together, and answers with a list of their exit
statuses. The n-th time that a process is about to open, rename, create or remove anything in its
output directory, it kills itself as `kill -9` would. A fork is ready at once, as everything is
imported and JAX has not started yet.
"""

import json
import os
import signal
import subprocess
import sys
import traceback
import warnings
from pathlib import Path
from typing import NamedTuple

import jax
import scipy.special  # noqa: F401, which judging imports late
import toy

from jaxstudies.commands import command
from jaxstudies.engine import devices
from jaxstudies.engine.chunks import Chunks
from jaxstudies.study import Study, load
from jaxstudies.tasks import claims_code_of, code_of

EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree"}


def kill_at(number: int, directory: str) -> None:
    """Kill this process before its n-th operation in a directory."""
    count = 0

    def hook(event, arguments):
        nonlocal count
        if event in EVENTS and str(arguments[0]).startswith(directory):
            count += 1
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def log_chunks(path: str) -> None:
    """Note in a file which chunks are finished, once they are kept."""
    keep = Chunks.write

    def write(self, name, columns):
        keep(self, name, columns)
        with open(path, "a") as log:
            log.write(name + "\n")

    Chunks.write = write


class Run(NamedTuple):
    """What a process runs."""

    study: str
    argv: list[str]
    output: str
    """File of what it prints."""
    log: str
    """File of the chunks that it has finished."""
    kill_at: int | None = None
    environment: dict[str, str] | None = None


def start(study: Study, run: Run) -> int:
    """Run a study in a fork; return the number of its process."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        os.dup2(os.open(run.output, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 1)
        os.dup2(1, 2)
        sys.stdout.reconfigure(line_buffering=True)
        os.environ.update(run.environment or {})
        if run.kill_at is not None:
            kill_at(run.kill_at, run.argv[run.argv.index("--out") + 1])
        log_chunks(run.log)
        command.main(study, run.argv)
        status = 0
    except SystemExit as stop:
        status = stop.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)


def main() -> None:
    warnings.filterwarnings("ignore", "os.fork")
    devices.use_all_cores()
    jax.config.update("jax_compilation_cache_dir", sys.argv[1])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    studies = {"toy": toy.STUDY}
    out = os.dup(1)
    for line in sys.stdin:
        children = []
        for run in (Run(*fields) for fields in json.loads(line)):
            if run.study not in studies:
                studies[run.study] = load(run.study)
            study = studies[run.study]
            code_of(study), claims_code_of(study)  # what is parsed here need not be in every process
            children.append(start(study, run))
        statuses = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        os.write(out, f"{json.dumps(statuses)}\n".encode())


class Server:
    """A process of this file, from outside."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.process = subprocess.Popen(
            [sys.executable, __file__, str(directory / "cache")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run_together(self, *runs: Run) -> list[int]:
        """Run studies at the same time; return exit statuses."""
        assert self.process.stdin is not None and self.process.stdout is not None
        print(json.dumps(runs), file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())

    def run(self, out, *flags, kill_at=None, log="log", study=("toy",)):
        """Run a study, given with flags, into a directory; return the exit status."""
        name, *others = study
        argv = ["--out", str(out), *others, *flags]
        files = str(self.directory / "output"), str(self.directory / log)
        return self.run_together(Run(name, argv, *files, kill_at))[0]

    def stop(self):
        self.process.kill()
        self.process.wait()

    def output(self):
        return (self.directory / "output").read_text()


if __name__ == "__main__":
    main()
