"""The notebook's networks, trained as those of the study of dying ReLU."""

from itertools import product

import jax

from jaxstudies.engine.design import Setting
from jaxstudies.studies.dying_relu import config as trained
from jaxstudies.studies.dying_relu import design, simulation
from jaxstudies.studies.reported.config import REPORTED, Config

DEPTH, WIDTH, POINTS = 10, 2, 100
"""Hidden layers behind the one without activation, their units, and outputs by which a network is judged."""
AXES = {"collapsed": simulation.BY_STAGE["collapsed"]}


def training(config: Config) -> trained.Config:
    """Return how networks are trained."""
    return trained.Config(inits=config.inits, linear_first_layer=True, adam_epsilon=1e-7)


def settings(config: Config) -> list[Setting]:
    """List the networks: both of the notebook's, from each initialization."""
    how = training(config)
    return [
        design.setting(how, "reported", activation, target, init, DEPTH, WIDTH, "mse", config.epochs)
        for (activation, target, _), init in product(REPORTED, config.inits)
    ]


def simulate(
    key, leaky, target, init, epochs, shuffle_seed, *, config: Config, targets, depth, width, loss, profiles
) -> dict[str, jax.Array]:
    """Train one network, see `dying_relu`; of what that records the outcome is kept."""
    form = {"targets": targets, "depth": depth, "width": width, "loss": loss, "profiles": profiles, "points": POINTS}
    seen = simulation.simulate(key, leaky, target, init, epochs, shuffle_seed, config=training(config), **form)
    return {name: seen[name] for name in ("collapsed", "nonfinite")}
