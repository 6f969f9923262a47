"""The flags, and what is trained in each of the paper's conditions."""

from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

from annotated_types import Interval

from jaxstudies.studies.bounds import MOST_STEPS

WIDTH = 16
"""Inputs, and hidden units."""
ConditionName = Literal["tanh", "relu", "identity", "minibatch", "single", "offset", "drift"]


class Condition(NamedTuple):
    """What is trained; where `across` is no rate, both layers have the same."""

    activation: str = "tanh"
    num_examples: int = WIDTH**2 + WIDTH  # as many as there are weights
    batch_size: int | None = None
    across: Literal["rate", "offset", "drift"] = "rate"


CONDITIONS = {
    "tanh": Condition(),
    "relu": Condition("relu"),
    "identity": Condition("identity", WIDTH),
    "minibatch": Condition(batch_size=WIDTH),
    "single": Condition(num_examples=1),
    "offset": Condition(across="offset"),
    "drift": Condition(across="drift"),
}


@dataclass(frozen=True)
class Config:
    """What is trained: a network at each point of a plane, whose axes are logarithmic."""

    seeds: Annotated[int, Interval(ge=1, le=10**6)] = 1
    """Networks per point, each on data of its own."""
    seed: Annotated[int, Interval(ge=0, le=2**32 - 1)] = 0
    """Master seed; network i depends on it and on i alone."""
    conditions: tuple[ConditionName, ...] = ("tanh",)
    """What is trained: tanh, ReLU or identity in the hidden layer; tanh in minibatches or on a single example, with a
    learning rate for each layer; or with one rate, and an offset added to the hidden weights at initialization
    (offset) or before every step (drift)."""
    points: Annotated[int, Interval(ge=2, le=4096)] = 256
    """Points along each axis."""
    center: tuple[float, float] = (1.5, 1.5)
    """Center of the plane: the decimal logarithm of the hidden layer's rate, and that of the output's."""
    span: Annotated[float, Interval(gt=0, le=30)] = 9.0
    """Length of each axis, in decades."""
    steps: Annotated[int, Interval(ge=1, le=MOST_STEPS)] = 500
    """Steps of gradient descent."""
