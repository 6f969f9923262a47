"""Deep or wide? 143 networks on the Eggholder function. `--help` lists the flags."""

from jaxstudies import cli
from jaxstudies.studies import depth_width

if __name__ == "__main__":
    cli.main(depth_width)
