"""Momentum: does it train a small network faster, or only at small learning rates? (Flax NNX)"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from jaxstudies import Claim, Dataset, fit, main


@dataclass(frozen=True)
class Config:
    momentum: tuple[float, ...] = (0.0, 0.9)
    """Share of the last update that is kept."""
    learning_rate: tuple[float, ...] = (0.01, 0.03, 0.1)
    """Learning rates."""


class Network(nnx.Module):
    def __init__(self, rngs):
        self.hidden, self.out = nnx.Linear(2, 16, rngs=rngs), nnx.Linear(16, 1, rngs=rngs)

    def __call__(self, x):
        return self.out(jnp.tanh(self.hidden(x)))


def simulate(key, momentum, learning_rate):
    data_key, fit_key = jax.random.split(key)
    x = jax.random.normal(data_key, (256, 2))
    data, optimizer = Dataset(x, x[:, :1] * x[:, 1:]), optax.sgd(learning_rate, momentum)
    structure, _ = nnx.split(nnx.eval_shape(lambda: Network(nnx.Rngs(0))))
    init = lambda key, inputs: nnx.split(Network(nnx.Rngs(key)))[1]  # noqa: E731
    model = init, lambda params, inputs: nnx.merge(structure, params)(inputs)
    short = fit(fit_key, model, optimizer, optax.squared_error, data, num_epochs=50, batch_size=32)
    return {"loss": short.history}


def saved(of):
    last = {"learning_rate": 0.01, "epoch": -1}
    return of("loss", momentum=0.0, **last) - of("loss", momentum=0.9, **last)


AXES = {"loss": ("epoch",)}
CLAIMS = (Claim("faster", "momentum lowers the loss at rate 0.01", saved, holds=(0, 9)),)
main()
