"""Early stopping: does a small network overfit noisy data that I measured myself?"""

from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxstudies import MLP, Claim, Dataset, fit, initializer, main, predict


@dataclass(frozen=True)
class Config:
    file: str = str(Path(__file__).with_name("measured.csv"))
    """A table with the columns x and y."""
    width: tuple[int, ...] = (4, 32)
    """Hidden units."""


def data(config):
    x, y = np.loadtxt(config.file, delimiter=",", skiprows=1, dtype=np.float32).T
    return {"x": x[:, None], "y": y[:, None]}


def simulate(key, x, y, *, width):
    split_key, fit_key = jax.random.split(key)
    train, test = jnp.split(jax.random.permutation(split_key, len(x)), 2)
    model = MLP(1, width, 1, jnp.tanh, initializer("he_normal"))

    def test_error(state):
        return jnp.mean((predict(model, state, x[test]) - y[test]) ** 2)

    budget = {"num_epochs": 200, "batch_size": 20, "observe": test_error}
    examples, optimizer = Dataset(x[train], y[train]), optax.adam(0.01)
    _, (_, errors) = fit(fit_key, model, optimizer, optax.squared_error, examples, **budget)
    return {"test_error": errors, "lost": errors[-1] - errors.min()}


AXES = {"test_error": ("epoch",)}
WORDS = "after 200 epochs more than a tenth of the noise's variance, 0.04, is lost"
CLAIMS = (Claim("overfits", WORDS, lambda of: of("lost", width=32), holds=(0.004, 1)),)
main()
