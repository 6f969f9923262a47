"""Which remedy rescues deep, narrow ReLU networks? `--help` lists the flags."""

from jaxstudies.commands.main import run_study

if __name__ == "__main__":
    run_study("rescue")
