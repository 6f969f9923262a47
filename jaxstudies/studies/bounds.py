"""What the fields of a config may not ask for together, on whatever machine."""

MOST_NUMBERS = 2**35
"""32-bit numbers that a single run may have in memory at once, at the least: 128 GiB, what the largest devices hold."""
MOST_STEPS = 2**31 - 1
"""Steps of a run, which are counted in 32 bits."""
MOST_EPOCHS = 10**6
MOST_AT_ONCE = 10**9
"""Examples in a batch, or looked at; there are fewer, and then all of these are meant."""
LARGEST = 1e30
"""Of learning rates and scales: well within 32 bits, and beyond what any network stands."""


def check_size(numbers: int, **fields: object) -> None:
    """Raise ValueError, with the fields and their values, where a single run needs more memory than it may."""
    if numbers > MOST_NUMBERS:
        least, most = numbers / 2**28, MOST_NUMBERS >> 28
        raise ValueError(f"{_told(fields)}: a run needs {least:,.1f} GiB at the least, and may have {most}")


def check_steps(steps: int, **fields: object) -> None:
    """Raise ValueError, with the fields and their values, where a run has more steps than are counted."""
    if steps > MOST_STEPS:
        raise ValueError(f"{_told(fields)}: {steps:,} steps in a run, which may have {MOST_STEPS:,}")


def check_training(num_epochs: int, *, num_examples: int, batch_size: int, **fields: object) -> None:
    """Check the steps of so many epochs."""
    steps = num_examples // min(batch_size, num_examples) * num_epochs
    check_steps(steps, **fields, num_examples=num_examples, batch_size=batch_size)


def _told(fields: dict[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in fields.items())


def network_size(depth: int, width: int, batch: int) -> int:
    """Return how many numbers hidden layers of equal width have: weights, and activations of a batch."""
    return depth * width * (width + batch)
