"""One run: a pair of training sets, learned by one rule."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from jaxstudies.evidence import theory
from jaxstudies.networks.data import half_square
from jaxstudies.studies.perceptron.config import RULES
from jaxstudies.studies.perceptron.rules import Learners, bayes_point, hard_margin, train

BY_BUDGET = ("epochs", "accuracy", "test_accuracy", "consistent", "flip_fraction", "test_flip_fraction", "updates")
BY_BUDGET += ("converged", "w1", "w2")
AXES = dict.fromkeys(BY_BUDGET, ("budget",))


def simulate(
    key: Key[Array, ""],
    rule: Int[Array, " 1"],
    num_train: Int[Array, ""],
    learning_rate: Float[Array, ""],
    margin: Float[Array, ""],
    epochs: Int[Array, " budgets"],
    *,
    max_train: int,
    num_test: int,
) -> dict[str, jax.Array]:
    """Learn from two training sets, and compare on the same test points.

    `rule` is its place in `RULES`, `epochs` are the budgets of a sequential rule, ascending, and 0 for the others.
    Of the `max_train` points drawn per set the first `num_train` count. Returned are, by budget, numbers of the first
    set, and its `gamma`, the largest margin, and `radius`, the largest norm of a point. `flip_fraction` is the share of
    the square that the two sets' weights class differently. What begins with `test_` is of the test points.
    """
    first_key, second_key, test_key = jax.random.split(key, 3)
    sets = jax.vmap(half_square, (0, None))(jnp.stack([first_key, second_key]), max_train)
    test = half_square(test_key, num_test)
    signed = (sets.inputs * sets.targets).T
    valid = jnp.arange(max_train) < num_train

    averaged = rule == RULES.index("averaged_perceptron")
    learners = Learners(learning_rate[None], margin[None], averaged, epochs[None])
    trained = train(signed, num_train, learners)
    svm, gamma = jax.vmap(hard_margin, (-1, None), (-1, 0))(signed, valid)
    middle = jax.vmap(bayes_point, (-1, None), -1)(signed, valid)
    is_svm, is_middle = (rule[0] == RULES.index(name) for name in ("svm", "bayes_point"))
    learned = jnp.where(is_svm, svm[None], jnp.where(is_middle, middle[None], trained.weights[0]))
    w1, w2 = learned[:, 0], learned[:, 1]

    def predict(i, inputs):
        return w1[:, i, None] * inputs[None, :, 0] + w2[:, i, None] * inputs[None, :, 1] >= 0

    first, second = predict(0, test.inputs), predict(1, test.inputs)
    fitted = predict(0, sets.inputs[0]) == (sets.targets[0, :, 0] > 0)[None]
    norms = jnp.linalg.norm(sets.inputs[0], axis=1)
    return {
        "epochs": epochs,
        "accuracy": theory.half_square_accuracy(w1[:, 0], w2[:, 0]),
        "test_accuracy": jnp.mean(first == (test.targets[:, 0] > 0)[None], axis=1),
        "consistent": jnp.all(fitted | ~valid[None], axis=1),
        "flip_fraction": theory.half_square_flips(w1[:, 0], w2[:, 0], w1[:, 1], w2[:, 1]),
        "test_flip_fraction": jnp.mean(first != second, axis=1),
        "updates": trained.updates[0, :, 0],
        "converged": is_svm | is_middle | trained.converged[0, :, 0],
        "w1": w1[:, 0],
        "w2": w2[:, 0],
        "gamma": gamma[0],
        "radius": jnp.max(jnp.where(valid, norms, 0)),
    }
