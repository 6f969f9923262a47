"""Parts of a measurement that fail, hang or end, in a process of their own."""

import os
import subprocess
import time
from pathlib import Path


def sound(extent):
    yield {"row": 1}, lambda: {"scale": extent.scale}
    yield {"row": 2}, lambda: {"left": extent.left()}


def failing(extent):
    yield {"row": 1}, lambda: {"seconds": 1.0}
    yield {"row": 2}, lambda: {"seconds": 1 / 0}
    yield {"row": 3}, lambda: {"seconds": 3.0}
    raise RuntimeError("no\ncard")


def hanging(extent):
    """Start a process that goes on for long, say which, and wait for it."""
    sleeping = subprocess.Popen(["sleep", "600"])
    yield {"row": 1}, lambda: {"started": sleeping.pid, "temporary": os.environ["TMPDIR"]}
    yield {"row": 2}, lambda: {"status": sleeping.wait()}


def crashing(extent):
    yield {"row": 1}, lambda: {"seconds": 1.0}
    yield {"row": 2}, lambda: os._exit(3)
    yield {"row": 3}, lambda: {"seconds": 3.0}


def is_gone(pid):
    """Return whether a process ends soon, or has ended and nobody has asked for its status yet."""
    for _ in range(100):
        stat = Path(f"/proc/{pid}/stat")
        if not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.05)
    return False
