"""Which networks are drawn, and how those that are trained are."""

from dataclasses import replace
from itertools import product

from jaxstudies.engine.design import Setting
from jaxstudies.studies.born_dead.config import Config
from jaxstudies.studies.dying_relu import config as trained
from jaxstudies.studies.dying_relu.design import LABELS


def training(config: Config) -> trained.Config:
    """Return how networks are trained, as the study of dying ReLU has it."""
    c, own = config, trained.Config(inits=(config.init,), init_std=config.init_std)
    return replace(own, num_examples=c.num_examples, batch_size=c.batch_size, learning_rate=c.learning_rate)


def settings(config: Config) -> list[Setting]:
    """List the settings: one per width at birth, then, if they are trained, one per shape."""
    c = config

    def setting(part: str, depth: int, width: int, epochs: int) -> Setting:
        labels = part, "relu", c.target, c.init, depth, width, c.loss, epochs
        shape = {"depth": depth, "width": width, "epochs": epochs, "after": part == "study"}
        return Setting(dict(zip(LABELS, labels, strict=True)), shape, cost=0.1 + epochs)

    births = [setting("map", max(c.depths), width, 0) for width in c.widths]
    shapes = product(c.depths, c.widths) if c.epochs else ()
    return births + [setting("study", *shape, c.epochs)._replace(num_seeds=c.trained_seeds) for shape in shapes]
