"""Deep or wide? 143 networks on the Eggholder function. `--help` lists the flags."""

from jaxstudies.commands.main import run_study

if __name__ == "__main__":
    run_study("depth_width")
