"""Is hinge loss better than the perceptron criterion on 20 points? `--help` lists the flags."""

from jaxstudies.commands.main import run_study

if __name__ == "__main__":
    run_study("perceptron")
