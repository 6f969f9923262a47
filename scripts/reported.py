"""Where do the source notebook's shares of dead networks come from? `--help` lists the flags."""

from jaxstudies.commands.main import run_study

if __name__ == "__main__":
    run_study("reported")
