"""What a kernel is made of: a step of training, and how its arrays lie in memory."""

import math
from typing import NamedTuple

import jax
import numpy as np
from jax.extend import core

from jaxstudies.fused.program import Kind, Number, kind_of, type_of

BLOCK = 16
"""Networks that lie side by side in memory on a CPU, so that each block of them has a place of its own."""


class Step(NamedTuple):
    """One step of training as two functions of one network, traced.

    `gradient` maps parameters and an example's numbers to its loss, as part of a batch's mean, and the gradient of
    that; `update` maps gradient, optimizer state, parameters and loss to parameters and optimizer state.
    """

    gradient: core.ClosedJaxpr
    update: core.ClosedJaxpr
    num_params: int

    @property
    def size(self) -> int:
        """Return how many numbers the parameters have."""
        return sum(math.prod(aval.shape) for aval in self.gradient.in_avals[: self.num_params])


class Leaf(NamedTuple):
    """An array as the kernel sees it: a network's own if `lanes`, else one for all."""

    shape: tuple[int, ...]
    dtype: np.dtype
    lanes: bool

    @property
    def kind(self) -> Kind:
        """Return the kind of its numbers."""
        return kind_of(self.dtype)

    @property
    def type(self) -> str:
        """Return the type of its numbers in the program."""
        return type_of(self.kind, self.lanes)

    @property
    def size(self) -> int:
        """Return how many numbers it has."""
        return math.prod(self.shape)


class Inputs(NamedTuple):
    """What a kernel takes: constants of gradient and update, what training changes, data sets and their order."""

    gradient_consts: tuple[Leaf, ...]
    update_consts: tuple[Leaf, ...]
    state: tuple[Leaf, ...]
    data: tuple[Leaf, ...]
    order: tuple[Leaf]

    def first_of_data(self) -> int:
        """Return how many arrays come before those of data."""
        return len(self.gradient_consts) + len(self.update_consts) + len(self.state)

    def leaves(self) -> list[Leaf]:
        """Return all of them in order."""
        return [leaf for group in self for leaf in group]


def names(leaf: Leaf, name: str, alike: bool = False) -> np.ndarray:
    """Return an array of a leaf's numbers, called name[0], name[1] and so on; if alike, all of an array name[e]."""
    out = np.empty(leaf.size, object)
    for i in range(leaf.size):
        out[i] = Number(f"{name}[{'e' if alike and leaf.shape else i}]", leaf.kind, leaf.lanes)
    return out.reshape(leaf.shape)


def aval_leaf(aval: jax.ShapeDtypeStruct, lanes: bool) -> Leaf:
    """Return how the kernel sees an array of one network."""
    return Leaf(tuple(aval.shape), np.dtype(aval.dtype), lanes)
