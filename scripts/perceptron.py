"""Is hinge loss better than the perceptron criterion on 20 points? `--help` lists the flags."""

from jaxstudies import cli
from jaxstudies.studies import perceptron

if __name__ == "__main__":
    cli.main(perceptron)
