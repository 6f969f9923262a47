"""Which initializations make gradients vanish on MNIST? `--help` lists the flags."""

from jaxstudies import cli
from jaxstudies.studies import initialization

if __name__ == "__main__":
    cli.main(initialization)
