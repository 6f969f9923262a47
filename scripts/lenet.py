"""LeNet-5: batch norm, dropout, both, neither? `--help` lists the flags."""

from jaxstudies import cli
from jaxstudies.studies import lenet

if __name__ == "__main__":
    cli.main(lenet)
