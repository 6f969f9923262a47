"""For which learning rates does a network train, and is the boundary a fractal? `--help` lists the flags."""

from jaxstudies.commands.main import run_study

if __name__ == "__main__":
    run_study("trainability")
