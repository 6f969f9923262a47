"""How often does a deep, narrow ReLU network collapse? `--help` lists the flags."""

from jaxstudies.commands.main import run_study

if __name__ == "__main__":
    run_study("dying_relu")
