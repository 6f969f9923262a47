"""LeNet-5: batch norm, dropout, both, neither? `--help` lists the flags."""

from jaxstudies.commands.main import run_study

if __name__ == "__main__":
    run_study("lenet")
