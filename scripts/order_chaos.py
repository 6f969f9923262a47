"""Where do gradients vanish, and where do they explode? `--help` lists the flags."""

from jaxstudies.commands.main import run_study

if __name__ == "__main__":
    run_study("order_chaos")
