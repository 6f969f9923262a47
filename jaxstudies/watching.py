"""What a caller sees of every `fit` inside a computation, without the computation being written for it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, PyTree

from jaxstudies.errors import StudyError

Observe = Callable[[Any], PyTree]
"""Takes the state of training and returns arrays."""


class Watcher:
    """Keeps what a caller wants to see of every `fit` in a computation, after each epoch, on the host."""

    def __init__(self, observe: Observe):
        self.observe = observe
        self.seen: list[dict[int, list[PyTree]]] = []

    def next_fit(self) -> Callable[[int | Array, Any], None]:
        """Return what is called with the epochs that are over and the state, while `fit` is traced."""
        kept: dict[int, list[PyTree]] = {}
        self.seen.append(kept)

        def keep(index, values):
            kept.setdefault(int(index), []).append(jax.tree.map(np.asarray, values))

        return lambda index, state: jax.debug.callback(keep, index, self.observe(state))

    def histories(self) -> list[PyTree]:
        """Return what was seen of each `fit` that ran: arrays with a leading axis of epochs, the first before training.

        Raises:
            StudyError: A `fit` is mapped or looped, and which of its networks a state is of cannot be told.
        """
        jax.effects_barrier()
        if any(len(values) > 1 for kept in self.seen for values in kept.values()):
            raise StudyError("observe: a `fit` trains several networks, under `jax.vmap`, `lax.map` or in a loop")
        ordered = ([kept[index][0] for index in sorted(kept)] for kept in self.seen if kept)
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
