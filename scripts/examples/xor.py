"""XOR: how many hidden units does gradient descent need to learn it?"""

from dataclasses import dataclass

import jax.numpy as jnp
import optax

from jaxstudies import MLP, Claim, Dataset, fit, initializer, main, predict

INPUTS = jnp.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
XOR = Dataset(INPUTS, jnp.array([[0.0], [1.0], [1.0], [0.0]]))


@dataclass(frozen=True)
class Config:
    width: tuple[int, ...] = (2, 3, 4)
    """Hidden units."""
    learning_rate: tuple[float, ...] = (0.1, 0.3)
    """Learning rates of gradient descent."""


def simulate(key, learning_rate, *, width):
    model = MLP(1, width, 1, jnp.tanh, initializer("glorot_normal"))
    optimizer = optax.sgd(learning_rate)
    state, losses = fit(key, model, optimizer, optax.squared_error, XOR, num_epochs=2000)
    right = (predict(model, state, XOR.inputs) > 0.5) == (XOR.targets > 0.5)
    return {"learned": right.all(), "losses": losses[::20]}


def learned(of, width):
    return of("learned", width=width, learning_rate=0.3)


SUFFICE = "two hidden units suffice in nine of ten runs"
BETTER = "four hidden units learn it more often than two"
CLAIMS = (
    Claim("suffice", SUFFICE, lambda of: learned(of, 2), (0.9, 1), estimand="share"),
    Claim("better", BETTER, lambda of: learned(of, 4) - learned(of, 2), (0, 1), estimand="share_difference"),
)
main()
