"""Claims written down before anything is run, from the command line: `jaxstudies register STUDY [flags]`."""

from pathlib import Path

from jaxstudies import configs, study, tasks
from jaxstudies.commands import command, endings
from jaxstudies.commands.endings import UsageError
from jaxstudies.commands.launch import claims_there, most_seeds
from jaxstudies.errors import DirectoryError, StudyError
from jaxstudies.evidence import registration
from jaxstudies.jobs import PARTS
from jaxstudies.output import files, owned

HELP = """usage: jaxstudies register STUDY [flags]

Write the claims of a study down, with their digest, before anything is run: verdicts then say so.

STUDY is a name, or a file. The flags are those of the run that is to come, see `jaxstudies STUDY --help`; --out names
its directory (results/STUDY). Registered claims stay as they are: others need another directory.

  jaxstudies register my_study.py --seeds 1000 --out results/mine
  jaxstudies my_study.py --seeds 1000 --out results/mine"""


def _mistake(error: BaseException) -> str | None:
    if isinstance(error, DirectoryError):
        return f"--out {error.directory}: {error.why}"
    return str(error) if isinstance(error, UsageError | StudyError | registration.Damaged) else None


def register(name: str, argv: list[str]) -> Path:
    """Write a study's claims, for a config from flags, into the directory in which it is going to be run.

    Raises:
        UsageError: Runs are there already, or other claims are registered.
    """
    loaded = study.load(name)
    config, seeds, options = command.parse(loaded, argv)
    out = options.out or Path("results") / loaded.name
    listed = claims_there(loaded, config, name)
    path = out / registration.FILE
    about = {"config": configs.without_execution(configs.to_json(config)), "seed": seeds.seed}
    most = most_seeds(seeds, options) if options.until_decided else None
    about["stopping"] = {"seeds": seeds.seeds, "until_decided": options.until_decided, "max_seeds": most}
    about |= {"code": tasks.code_of(loaded), "claims_code": tasks.claims_code_of(loaded)}
    made = registration.make(loaded.name, listed, about)
    found = registration.read(out)
    if found is not None:
        if any(found[name] != made[name] for name in ("claims", *about)):
            there = f"other claims, or for another config, seed, number of seeds or code, on {found['date']}"
            raise UsageError(f"--out {out}: registered there are {there}; name another directory")
        print(f"{path}: registered already, on {found['date']}")
        return path
    owned.prepare(out, [registration.FILE])
    if any(out.glob("runs*.parquet")) or (out / PARTS).exists():
        raise UsageError(f"--out {out}: runs are there already; name another directory")
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
            print(HELP)
            return
        register(argv[0], argv[1:])
