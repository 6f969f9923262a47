"""One network on the Eggholder function: its training at a learning rate, and its errors."""

from collections.abc import Callable
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Key

from jaxstudies.networks.models import FeedForward, Layer, fourier_features, leaky_relu, zero_bias
from jaxstudies.networks.states import TrainState, predict_blocks, start_state
from jaxstudies.studies.depth_width.config import Config, Kind
from jaxstudies.studies.depth_width.padding import Widths, draw_layers, make_bounds
from jaxstudies.studies.depth_width.problem import MAP_SIDE, Problem, cusp_errors, make_splits, rmse, standardized
from jaxstudies.studies.depth_width.search import Walk, walk
from jaxstudies.training import fit

AXES = {"cusp_rmse": ("distance",), "curve": ("epoch",), "map": ("x2", "x1"), "tried": ("rate",)}


def draw_features(config: Config, key: Key[Array, ""]) -> Callable[[jax.Array], jax.Array]:
    """Return the map to Fourier features."""
    frequencies = config.fourier_scale * jax.random.normal(key, (config.num_features, 2))
    return partial(fourier_features, frequencies)


def make_model(config: Config, kind: Kind, key: Key[Array, ""]) -> FeedForward:
    """Return the network; the key draws its frequencies. Its layers are drawn apart, by bounds."""
    makers = {"none": lambda: None, "fourier": partial(draw_features, config, key)}
    features = makers[kind.features]()
    activation = {"sine": jnp.sin, "relu": partial(leaky_relu, 0.0)}[kind.activation]
    init_layer = partial(zero_bias, jax.nn.initializers.zeros)
    batch_norm = kind.recipe == "sgd" and len(kind.widths) > 1
    return FeedForward(kind.widths, 1, activation, init_layer, batch_norm=batch_norm, features=features)


def make_optimizer(recipe: str, rate: float | Float[Array, ""], num_steps: int) -> optax.GradientTransformation:
    """Return the optimizer of a recipe, which sees all parameters as one vector: fewer kernels."""
    makers = {
        "sgd": lambda: optax.sgd(rate, momentum=0.9, nesterov=True),
        "adam": lambda: optax.adam(optax.cosine_decay_schedule(rate, max(num_steps, 1))),
    }
    return optax.flatten(makers[recipe]())


def first_state(
    key: Key[Array, ""], model: FeedForward, optimizer: optax.GradientTransformation, bounds: dict[str, Layer]
) -> TrainState:
    """Draw a network within bounds; batch norm starts as the identity."""
    initial = dict(model.init(key, jnp.zeros((1, 2))))
    params = initial["params"] | draw_layers(key, bounds)
    return start_state(params, optimizer, initial.get("batch_stats"))


def simulate(
    key: Key[Array, ""], widths: Widths, rates: Float[Array, " rates"], *, config: Config, kind: Kind
) -> dict[str, Array]:
    """Train one network at the best of its learning rates, which are those of the start where they decay.

    The key draws the data set, too. What `kind` has beyond `widths` is padding. Errors are in the target's units;
    `curve` is the validation error after each epoch, NaN behind the last; `constant_rmse` is the test error of the
    training targets' mean. `tried` is the validation error after the shorter training with which a rate was tried, see
    `Walk`, and `end` is -1 or 1 where the best rate is the smallest or the largest.
    """
    problem = standardized(config, make_splits(config, key))
    init_key, features_key, order_key = jax.random.split(key, 3)
    model = make_model(config, kind, features_key)
    num_train = len(problem.train.inputs)
    steps_of_epoch = num_train // min(kind.batch_size, num_train)
    bounds = make_bounds(config, kind, widths)

    def validation_rmse(state):
        outputs = predict_blocks(model, state, problem.validation.inputs)
        return problem.target_scale.deviation[0] * rmse(outputs, problem.validation.targets)

    def train(rate, num_epochs, observe=None):
        optimizer = make_optimizer(kind.recipe, rate, steps_of_epoch * num_epochs)
        how = {"state": first_state(init_key, model, optimizer, bounds), "shuffle_key": order_key}
        how |= {"num_epochs": num_epochs, "batch_size": kind.batch_size, "observe": observe}
        return fit(key, model, optimizer, optax.losses.squared_error, problem.train, **how)

    def error_at(place):
        return validation_rmse(train(rates[place], config.search_budget).state)

    most = max(len(config.sgd_rates), len(config.adam_rates))
    found = walk(error_at, len(rates)) if len(rates) > 1 else Walk(jnp.int32(0), jnp.full(1, jnp.nan))
    state, (_, curve) = train(rates[found.best], kind.epochs, validation_rmse)
    behind = max(config.epochs, config.modern_budget) - kind.epochs
    return errors(model, state, problem) | {
        "learning_rate": rates[found.best],
        "end": jnp.where(found.best == len(rates) - 1, 1, jnp.where(found.best == 0, -1, 0)),
        "tried": jnp.pad(found.errors, (0, most - len(rates)), constant_values=jnp.nan),
        "nonfinite": ~jnp.isfinite(curve[-1]),
        "validation_rmse": curve[-1],
        "curve": jnp.pad(curve, (0, behind), constant_values=jnp.nan),
    }


def errors(model: FeedForward, state: TrainState, problem: Problem) -> dict[str, Array]:
    """Return a network's errors in the target's units, and what it makes of the surface."""
    # One pass over everything compiles once; three passes would compile three times.
    everything = [problem.test.inputs, problem.train.inputs, problem.surface]
    ends = np.cumsum([len(inputs) for inputs in everything])[:-1]
    outputs = predict_blocks(model, state, jnp.concatenate(everything))
    predictions, fitted, surface = jnp.split(outputs, ends)
    unit, known = problem.target_scale.deviation[0], problem.train.targets
    by_distance, share = cusp_errors(predictions, problem.clean_test, problem.cusps)
    return {
        "train_rmse": unit * rmse(fitted, problem.train.targets),
        "test_rmse": unit * rmse(predictions, problem.test.targets),
        "clean_rmse": unit * rmse(predictions, problem.clean_test),
        "constant_rmse": unit * rmse(jnp.full_like(problem.test.targets, known.mean()), problem.test.targets),
        "cusp_rmse": unit * by_distance,
        "cusp_share": share,
        "map": problem.target_scale.restore(surface).reshape(MAP_SIDE, MAP_SIDE),
    }


@cache
def count_parameters(config: Config, kind: Kind) -> int:
    """Return the number of parameters; with batch norm, whose shift makes them idle, the hidden layers' biases too."""

    def init(key):
        return make_model(config, kind, key).init(key, jnp.zeros((1, 2)))["params"]

    return sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(init, jax.random.key(0))))
