"""Runs the toy study in forked processes, each killed at a chosen operation on files.

Reads a line of JSON per run, {"argv": [...], "kill_at": n, "log": path}, and answers with the exit
status. The n-th time that the process is about to open, rename, create or remove anything in its
output directory, it kills itself as `kill -9` would. A fork is ready at once, as everything is
imported and JAX has not started yet.
"""

import json
import os
import signal
import sys
import warnings

import jax
import toy

from jaxstudies import cli, monte_carlo, parts

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
    keep = parts.Parts.write

    def write(self, name, columns):
        keep(self, name, columns)
        with open(path, "a") as log:
            log.write(name + "\n")

    parts.Parts.write = write


def run(argv: list[str], number: int | None, log: str) -> None:
    if number is not None:
        kill_at(number, argv[argv.index("--out") + 1])
    log_chunks(log)
    cli.main(toy, argv)


def main() -> None:
    warnings.filterwarnings("ignore", "os.fork")
    monte_carlo.use_all_cores()
    jax.config.update("jax_compilation_cache_dir", sys.argv[1])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    out = os.dup(1)
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                os.dup2(os.open(asked["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND), 1)
                os.dup2(1, 2)
                run(asked["argv"], asked["kill_at"], asked["log"])
                status = 0
            except SystemExit as stop:
                status = stop.code
            finally:
                sys.stdout.flush()
                os._exit(status or 0)
        _, status = os.waitpid(child, 0)
        os.write(out, f"{os.waitstatus_to_exitcode(status)}\n".encode())


if __name__ == "__main__":
    main()
