"""Claims written down before anything is run, from the command line: `jaxstudies register STUDY [flags]`."""

from pathlib import Path

from jaxstudies import results, study
from jaxstudies.commands import command, endings
from jaxstudies.commands.endings import UsageError
from jaxstudies.errors import DirectoryError, StudyError
from jaxstudies.evidence import claims, registration
from jaxstudies.output import files, owned


def _mistake(error: BaseException) -> str | None:
    if isinstance(error, DirectoryError):
        return f"--out {error.directory}: {error.why}"
    return str(error) if isinstance(error, UsageError | StudyError) else None


def register(name: str, argv: list[str]) -> Path:
    """Write a study's claims, for a config from flags, into the directory in which it is going to be run.

    Raises:
        UsageError: Runs are there already, or other claims are registered.
    """
    loaded = study.load(name)
    config, _, options = command.parse(loaded, argv)
    out = options.out or Path("results") / loaded.name
    listed = results.claims_of(loaded, config)
    if not listed:
        raise UsageError(f"{name} has no claims")
    path = out / registration.FILE
    found = registration.read(out)
    if found is not None:
        if found["sha256"] != claims.digest(claim.record() for claim in listed):
            raise UsageError(
                f"--out {out}: other claims are registered there, on {found['date']}; name another directory"
            )
        print(f"{path}: registered already, on {found['date']}")
        return path
    owned.prepare(out, [registration.FILE])
    if (out / owned.RUNS).exists() or (out / "parts").exists():
        raise UsageError(f"--out {out}: runs are there already; name another directory")
    made = registration.make(loaded.name, listed, study.claims_code_of(loaded))
    with files.writing(out):
        owned.add(out, registration.FILE)
        files.write_json(path, made)
    print(f"{path}: {len(listed)} claims, sha256 {made['sha256']}")
    return path


def main(argv: list[str]) -> None:
    """Register claims.

    Exits with status 2 after one line on stderr if there is no such study, or it is too late.
    """
    with endings.explained("register", _mistake, after=""):
        if not argv or argv[0] in ("-h", "--help"):
            print(__doc__)
            print("\nThe flags are those of the study; --out names the directory in which it is going to be run.")
            return
        register(argv[0], argv[1:])
