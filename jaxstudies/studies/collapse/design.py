"""The papers' networks, trained as those of the study of dying ReLU."""

import jax

from jaxstudies.engine.design import Setting
from jaxstudies.networks.names import InitializerName
from jaxstudies.studies.collapse.config import Config
from jaxstudies.studies.dying_relu import config as trained
from jaxstudies.studies.dying_relu import design, simulation

INITS: tuple[InitializerName, ...] = ("he_normal", "rai")
DEPTH = 9
"""Hidden layers; with the output they are ten, as the papers count."""
DEEP = (19, 4)
"""Hidden layers and width of the deepest networks."""
TARGETS = ("abs", "x_sin_5x", "step_sin", "abs_sum_diff")
SAFE = 7
"""Width of nine hidden layers that are born dead with a probability of at most 9 / 2^7."""
TRAINING = trained.Config(inits=INITS)
MEASURES = ("collapsed", "gap_to_mean", "gap_to_median", "r2", "nonfinite")


def settings(config: Config) -> list[Setting]:
    """List the networks: by initialization, by shape, by loss."""

    def setting(part: str, target: str, init: str, depth: int, width: int, loss: str = "mse") -> Setting:
        epochs = config.long_epochs if part == "constant" else config.epochs
        return design.setting(TRAINING, part, "relu", target, init, depth, width, loss, epochs)

    narrow = [(target, init, DEPTH, 2) for target in TARGETS for init in INITS]
    flat = [("abs_sum_diff", "he_normal", DEPTH, width) for width in (3, 4)]
    deep = [("abs_sum_diff", init, *DEEP) for init in INITS]
    safe = ("abs", "he_normal", DEPTH, SAFE)
    constants = [setting("constant", "x_sin_5x", "he_normal", DEPTH, 2, loss) for loss in ("mse", "mae")]
    return [*(setting("share", *each) for each in (*narrow, *flat, *deep, safe)), *constants]


def simulate(
    key, leaky, target, init, epochs, shuffle_seed, *, targets, depth, width, loss, profiles
) -> dict[str, jax.Array]:
    """Train one network, see `dying_relu`; of what that records the outcome is kept."""
    data = leaky, target, init, epochs, shuffle_seed
    form = {"targets": targets, "depth": depth, "width": width, "loss": loss, "profiles": profiles}
    seen = simulation.simulate(key, *data, config=TRAINING, **form)
    return {name: seen[name] for name in MEASURES}
