"""How often does a deep, narrow ReLU network collapse? `--help` lists the flags."""

from jaxstudies import cli
from jaxstudies.studies import dying_relu

if __name__ == "__main__":
    cli.main(dying_relu)
