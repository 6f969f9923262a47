"""The configuration of the dying-ReLU study, and its design."""

from dataclasses import dataclass
from itertools import product
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Gt, Interval

from jaxstudies.networks.data import TARGETS
from jaxstudies.networks.models import InitializerName
from jaxstudies.study import Setting

LONG_SEEDS = 250
"""Networks of the long budget: enough for what they tell, and as many as fill whole chunks of a
thousand."""
PROFILE_SEEDS = 100_000
"""With more seeds than these, layer by layer and along the function nothing is recorded: most of
a row, and no figure needs more."""
LABELS = ["part", "activation", "target", "init", "depth", "width", "loss", "epochs"]
"""What tells settings apart. `part` says what a row is for: `study` are the settings asked for,
`long` those with the long budget."""


@dataclass(frozen=True)
class Config:
    """What is simulated. Flags that take lists run every combination."""

    seeds: Annotated[int, Interval(ge=1, le=10**9)] = 1000
    """Independent networks per setting."""
    seed: Annotated[int, Interval(ge=0, le=2**32 - 1)] = 0
    """Master seed; network i depends on it and on i alone."""
    activations: tuple[Literal["relu", "leaky_relu"], ...] = ("relu", "leaky_relu")
    """Activations, paired on the same seeds."""
    targets: tuple[Literal["abs", "x_sin_5x", "abs_x_sin_5x", "step_sin", "abs_sum_diff"], ...] = ("abs",)
    """Functions to learn; abs_sum_diff is [|x1+x2|, |x1-x2|], the others have one input."""
    inits: tuple[InitializerName, ...] = ("he_normal",)
    """Initializations of all layers."""
    depths: tuple[Annotated[int, Interval(ge=1, le=1000)], ...] = (10,)
    """Hidden layers."""
    widths: tuple[Annotated[int, Interval(ge=1, le=10_000)], ...] = (2,)
    """Units per hidden layer."""
    losses: tuple[Literal["mse", "mae"], ...] = ("mse",)
    """Losses."""
    negative_slope: Annotated[float, Interval(ge=0, le=1)] = 0.01
    """Slope of Leaky ReLU below zero."""
    init_std: Annotated[float, Gt(0)] = 1.0
    """Standard deviation of the weights with --inits normal."""
    linear_first_layer: bool = False
    """Put a layer without activation before the hidden layers, as the source notebook did."""
    epochs: Annotated[int, Ge(0)] = 20
    """Passes through the data."""
    num_examples: Annotated[int, Ge(1)] = 3000
    """Training points of each network, uniform in [-sqrt 7, sqrt 7]."""
    batch_size: Annotated[int, Ge(1)] = 64
    """Points per step."""
    learning_rate: Annotated[float, Gt(0)] = 1e-3
    """Learning rate of Adam."""
    long_epochs: Annotated[int, Ge(0)] = 60
    """A budget long enough to tell which constant a collapsed network outputs, where the study's
    own is not, run for the first 250 seeds; 0 leaves that out."""
    map: bool = False
    """No longer here: the depth x width map is a study of its own, scripts/born_dead.py."""

    def __post_init__(self):
        if self.map:
            raise ValueError("--map: the map is a study of its own, run scripts/born_dead.py")


def data(config) -> dict[str, np.uint32]:
    """Return the seed of the order of examples, which all networks share; `born_dead` has it too."""
    return {"shuffle_seed": np.uint32(config.seed)}


def settings(config: Config) -> list[Setting]:
    """List the settings: the product that was asked for, then the long budget."""
    c = config
    asked = product(c.depths, c.widths, c.losses, c.targets, c.inits, c.activations)
    listed = [
        setting(c, "study", activation, target, init, depth, width, loss, c.epochs)
        for depth, width, loss, target, init, activation in asked
    ]
    if 0 < c.epochs < c.long_epochs:
        first = c.inits[0], c.depths[0], c.widths[0], c.losses[0], c.long_epochs
        listed += [setting(c, "long", "relu", t, *first)._replace(num_seeds=LONG_SEEDS) for t in ("abs", "x_sin_5x")]
    return listed


def setting(config: Config, *values) -> Setting:
    """Return a setting, given what `LABELS` names; only another shape, loss or dimension makes another program."""
    labels = dict(zip(LABELS, values, strict=True))
    target, dimension = labels["target"], TARGETS[labels["target"]].dimension
    targets = tuple(name for name in TARGETS if TARGETS[name].dimension == dimension)
    arguments = {name: labels[name] for name in ("epochs", "depth", "width", "loss")}
    arguments |= {"target": targets.index(target), "targets": targets, "init": config.inits.index(labels["init"])}
    arguments |= {"leaky": labels["activation"] == "leaky_relu", "profiles": config.seeds <= PROFILE_SEEDS}
    return Setting(labels, arguments, cost=labels["epochs"] + 1)
