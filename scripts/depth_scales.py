"""How deep can a random network be and still be trained? `--help` lists the flags."""

from jaxstudies.commands.main import run_study

if __name__ == "__main__":
    run_study("depth_scales")
