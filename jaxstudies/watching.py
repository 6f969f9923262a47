"""What a caller sees of every `fit` inside a computation, without the computation being written for it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, PyTree

Observe = Callable[[Any], PyTree]
"""Takes the state of training and returns arrays."""


class Watcher:
    """Keeps what a caller wants to see of every `fit` in a computation, after each epoch, on the host."""

    def __init__(self, observe: Observe):
        self.observe = observe
        self.seen: list[dict[int, PyTree]] = []

    def next_fit(self) -> Callable[[int | Array, Any], None]:
        """Return what is called with the epochs that are over and the state, while `fit` is traced."""
        kept: dict[int, PyTree] = {}
        self.seen.append(kept)

        def keep(index, values):
            kept[int(index)] = jax.tree.map(np.asarray, values)

        return lambda index, state: jax.debug.callback(keep, index, self.observe(state))

    def histories(self) -> list[PyTree]:
        """Return what was seen of each `fit`: arrays with a leading axis of epochs, the first before training."""
        jax.effects_barrier()
        ordered = ([kept[index] for index in sorted(kept)] for kept in self.seen)
        return [jax.tree.map(lambda *leaves: np.stack(leaves), *values) for values in ordered]


WATCHER: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


@contextmanager
def watching(observe: Observe) -> Iterator[Watcher]:
    """Let every `fit` that is traced inside show its state to `observe`, whatever else it is asked to keep."""
    watcher = Watcher(observe)
    token = WATCHER.set(watcher)
    try:
        yield watcher
    finally:
        WATCHER.reset(token)
