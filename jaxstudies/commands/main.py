"""`jaxstudies` lists the studies, runs one of ours or of yours, or writes the page of verdicts.

Help, the list and what is said of a wrong flag need not wait for JAX: it is imported by what needs it, and whatever is
imported, Ctrl-C while that goes on is one line.
"""

import importlib
import sys
from pathlib import Path

import jaxstudies
from jaxstudies import studies
from jaxstudies.commands import endings

USAGE = """usage: jaxstudies STUDY [flags]        run a study; STUDY --help explains its flags
       jaxstudies FILE.py [flags]      run a study of your own
       jaxstudies register STUDY [flags]
                                       write the claims down before anything is run
       jaxstudies verify DIR [DIR ...] judge the verdicts in directories again
       jaxstudies replay DIR SEED [LABEL=VALUE ...]
                                       run one run of a directory again, and draw it
       jaxstudies docs [--out DIR]     write the reference of the library
       jaxstudies report [DIR ...]     write a page of the verdicts in directories
"""
COMMANDS = ("register", "verify", "replay", "docs", "report")


def run_study(name: str, argv: list[str] | None = None) -> None:
    """Run a study by its name or path: what a script calls.

    Exits with status 2 after one line on stderr if there is no such study or the flags are wrong, with 130 if the user
    stops it.
    """
    argv = sys.argv[1:] if argv is None else argv
    ours = name in studies.packaged()
    with endings.explained(name if ours else "jaxstudies"):
        from jaxstudies.commands import options

        if ours:
            options.parse(studies.config_of(name), name, studies.text_of(name), argv)
        else:
            studies.find_file(Path(name))
        if "jax" not in sys.modules and not {"-h", "--help"} & set(argv):
            print(f"{Path(name).stem}: importing JAX", file=sys.stderr, flush=True)
        from jaxstudies.commands import command
        from jaxstudies.study import load

        command.main(load(name), argv)


def main(argv: list[str] | None = None) -> None:
    """Run what is named first, or list the studies."""
    name, *flags = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if name in COMMANDS:
        with endings.explained(name, after=""):
            importlib.import_module(f"jaxstudies.commands.{name}_command").main(flags)
    elif name not in ("-h", "--help", "--version"):
        run_study(name, flags)
    else:
        with endings.explained("jaxstudies", after=""):
            print(jaxstudies.__version__ if name == "--version" else USAGE)
            for study in () if name == "--version" else studies.packaged():
                print(f"  {study:16}{studies.text_of(study).splitlines()[0]}")
