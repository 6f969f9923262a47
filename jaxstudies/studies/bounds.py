"""What the flags of a study may not ask for together, on whatever machine."""

MOST_NUMBERS = 2**35
"""32-bit numbers that a single run may have in memory at once, at the least: 128 GiB, as the largest devices hold."""
MOST_STEPS = 2**31 - 1
"""Steps of a run that are counted in 32 bits."""
MOST_EPOCHS = 10**6
MOST_AT_ONCE = 10**9
"""Examples in a batch, or looked at; there are fewer, and then all of these are meant."""
LARGEST = 1e30
"""Of learning rates and scales: well within 32 bits, and beyond what any network stands."""


def check_size(flags: str, numbers: int) -> None:
    """Raise ValueError, naming the flags, where a single run needs more memory than it may."""
    if numbers > MOST_NUMBERS:
        raise ValueError(
            f"{flags}: a run takes {numbers / 2**28:,.1f} GiB at the least, and may take {MOST_NUMBERS >> 28}"
        )


def check_steps(flags: str, steps: int) -> None:
    """Raise ValueError, naming the flags, where a run has more steps than are counted."""
    if steps > MOST_STEPS:
        raise ValueError(f"{flags}: {steps:,} steps in a run, which may have {MOST_STEPS:,}")


def network_size(depth: int, width: int, batch: int) -> int:
    """Return how many numbers hidden layers of equal width have: weights, and activations of a batch."""
    return depth * width * (width + batch)
