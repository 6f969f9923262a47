"""Which networks are trained, and on what."""

from itertools import product

import numpy as np

from jaxstudies.engine.design import Setting
from jaxstudies.networks.data import TARGETS
from jaxstudies.studies.dying_relu.config import Config

LONG_SEEDS = 250
"""Networks of the long budget: enough for what they tell, and as many as fill whole chunks of a
thousand."""
PROFILE_SEEDS = 100_000
"""With more seeds than these, layer by layer and along the function nothing is recorded: most of
a row, and no figure needs more."""
LEAKY = {"relu": False, "leaky_relu": True}
LABELS = ["part", "activation", "target", "init", "depth", "width", "loss", "epochs"]
"""What tells settings apart. `part` says what a row is for: `study` are the settings asked for,
`long` those with the long budget."""


def data(config) -> dict[str, np.uint32]:
    """Return the seed of the order of examples, which all networks share."""
    return {"shuffle_seed": np.uint32(config.seed)}


def settings(config: Config) -> list[Setting]:
    """List the settings: the product that was asked for, then the long budget."""
    c = config
    asked = product(c.depths, c.widths, c.losses, c.targets, c.inits, c.activations)
    profiles = c.seeds <= PROFILE_SEEDS
    listed = [
        setting(c, "study", activation, target, init, depth, width, loss, c.epochs, profiles=profiles)
        for depth, width, loss, target, init, activation in asked
    ]
    if 0 < c.epochs < c.long_epochs:
        first = c.inits[0], c.depths[0], c.widths[0], c.losses[0], c.long_epochs
        both = (setting(c, "long", "relu", target, *first, profiles=profiles) for target in ("abs", "x_sin_5x"))
        listed += [each._replace(num_seeds=LONG_SEEDS) for each in both]
    return listed


def setting(config: Config, *values, profiles: bool = False) -> Setting:
    """Return a setting, given what `LABELS` names; only another shape, loss or dimension makes another program.

    With `profiles` layers and functions are recorded, too.
    """
    labels = dict(zip(LABELS, values, strict=True))
    target, dimension = labels["target"], TARGETS[labels["target"]].dimension
    targets = tuple(name for name in TARGETS if TARGETS[name].dimension == dimension)
    arguments = {name: labels[name] for name in ("epochs", "depth", "width", "loss")}
    arguments |= {"target": targets.index(target), "targets": targets, "init": config.inits.index(labels["init"])}
    arguments |= {"leaky": LEAKY[labels["activation"]], "profiles": profiles}
    return Setting(labels, arguments, cost=labels["epochs"] + 1)
