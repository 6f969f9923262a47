"""Do deep, narrow ReLU networks collapse as the papers say? `--help` lists the flags."""

from jaxstudies.commands.main import run_study

if __name__ == "__main__":
    run_study("collapse")
