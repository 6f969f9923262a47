"""The flags, and what is trained in each of the paper's conditions."""

from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

from annotated_types import Interval

from jaxstudies.configs import MasterSeed

WIDTH = 16
"""Inputs, and hidden units."""
DECADES = 30
"""Farthest that a plane may reach, within what 32 bits have."""
Coordinate = Annotated[float, Interval(ge=-DECADES, le=DECADES)]
ConditionName = Literal["tanh", "relu", "identity", "minibatch", "single", "offset", "drift"]


class Condition(NamedTuple):
    """What is trained; where `across` is no rates, both layers have that upwards."""

    center: tuple[float, float]  # of the plane, at the boundary of the first network, as decimal logarithms
    activation: str = "tanh"
    num_examples: int = WIDTH**2 + WIDTH  # as many as there are weights
    batch_size: int | None = None
    across: Literal["rates", "offset", "drift"] = "rates"


CONDITIONS = {
    "tanh": Condition((3.4388146875, 2.0394459375)),
    "relu": Condition((2.73125, 0.41875), "relu"),
    "identity": Condition((1.76875, 1.20625), "identity", WIDTH),
    "minibatch": Condition((3.96875, 1.35625), batch_size=WIDTH),
    "single": Condition((2.03125, 1.15625), num_examples=1),
    "offset": Condition((2.71875, 1.54375), across="offset"),
    "drift": Condition((0.34375, 1.29375), across="drift"),
}
ZOOM = 10
"""Times that each window is smaller than the one before."""


@dataclass(frozen=True)
class Config:
    """What is trained: a network at each point of a plane, whose axes are logarithmic."""

    seeds: Annotated[int, Interval(ge=1, le=10**6)] = 1
    """Networks, each on data of its own; with one there are its pictures alone."""
    seed: MasterSeed = 0
    """Master seed; network i depends on it and on i alone."""
    conditions: tuple[ConditionName, ...] = ("tanh",)
    """What is trained: tanh, ReLU or identity in the hidden layer; tanh in minibatches or on a single example, with a
    learning rate for each layer; or with one rate, and an offset added to the hidden weights at initialization
    (offset) or before every step (drift)."""
    points: Annotated[int, Interval(ge=2, le=4096)] = 96
    """Points along each axis of the picture, for which the first network is trained."""
    zooms: Annotated[int, Interval(ge=0, le=12)] = 2
    """Further pictures of it, each of a window ten times smaller around the center."""
    refine: Annotated[int, Interval(ge=0, le=4096)] = 0
    """Points along each axis of one more picture, of which only those near the boundary are run; 0 for none."""
    points_of_all: Annotated[int, Interval(ge=2, le=4096)] = 48
    """Points along each axis where all networks are trained, if there are several."""
    center: tuple[Coordinate, Coordinate] | None = None
    """Center of the plane: the decimal logarithm of what is across, and that of the rate upwards (on the boundary)."""
    span: Annotated[float, Interval(ge=1e-9, le=DECADES)] = 3.0
    """Length of each axis of the picture, in decades."""
    span_of_all: Annotated[float, Interval(ge=1e-9, le=DECADES)] = 0.3
    """The same, where all networks are trained."""
    steps: Annotated[int, Interval(ge=1, le=10**6)] = 500
    """Steps of gradient descent."""
    double: bool = False
    """Compute with 64 bits, as the paper; the networks start from the same numbers."""

    def __post_init__(self):
        for value in self.center or ():
            if not abs(value) + max(self.span, self.span_of_all) / 2 <= DECADES:
                raise ValueError(f"center {value}: no point of a plane may be beyond {DECADES} decades either way")
