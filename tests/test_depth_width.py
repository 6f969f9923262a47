import json
import weakref
from dataclasses import replace
from functools import partial
from itertools import product

import flax.linen as nn
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
import pandas as pd
import pytest
from reading import assert_words

from jaxstudies import results as from_table
from jaxstudies import study as studies
from jaxstudies.commands import command
from jaxstudies.evidence import intervals
from jaxstudies.networks import data
from jaxstudies.networks.batches import random_order
from jaxstudies.networks.data import Dataset
from jaxstudies.networks.models import FeedForward, fourier_features, initializer
from jaxstudies.networks.states import init_state, predict_blocks, variables
from jaxstudies.output import table
from jaxstudies.studies import depth_width
from jaxstudies.studies.depth_width import design, figures, simulation, timing
from jaxstudies.studies.depth_width import shapes as grid
from jaxstudies.studies.depth_width.claims import finite_networks, slopes, time_ratios
from jaxstudies.studies.depth_width.config import Config, Kind
from jaxstudies.studies.depth_width.design import rooms
from jaxstudies.studies.depth_width.padding import draw_layers
from jaxstudies.studies.depth_width.problem import cusp_errors, find_cusps, make_splits, rmse, splits_of
from jaxstudies.studies.depth_width.search import walk
from jaxstudies.studies.depth_width.summary import WHO, with_times
from jaxstudies.study import Results
from jaxstudies.training import fit, train_step

STUDY = studies.from_module(depth_width, "depth_width")
SMALL = ["--seeds", "2", "--shapes", "16-16", "--epochs", "2", "--modern-epochs", "1", "--num-examples", "2000"]


def model_of(widths, **options):
    return FeedForward(widths, 1, jax.nn.relu, initializer("pytorch_default"), **options)


def test_eggholder_at_its_minimum():
    at = jnp.array([[512.0, 404.2319]])
    value, slope = jax.value_and_grad(lambda x: data.eggholder(x)[0, 0])(at)
    # The stated minimum has four decimals, and float32 carries seven digits.
    assert value == pytest.approx(-959.6407, abs=1e-3)
    assert abs(slope[0, 1]) < 0.01  # inside in x2, on the border in x1
    points = jax.random.uniform(jax.random.key(0), (100_000, 2), minval=-512, maxval=512)
    assert data.eggholder(points).min() >= -959.65


@pytest.mark.parametrize("x1, x2", [(0.0, 0.0), (100.0, -300.0), (-300.0, 100.0), (511.5, 7.25)])
def test_eggholder_by_the_formula(x1, x2):
    a, b = np.sqrt(abs(x2 + x1 / 2 + 47)), np.sqrt(abs(x1 - (x2 + 47)))
    expected = -(x2 + 47) * np.sin(a) - x1 * np.sin(b)
    # Phases up to 30 in float32 are off by 2e-6, and their sines are multiplied by up to 600.
    assert data.eggholder(jnp.array([[x1, x2]]))[0, 0] == pytest.approx(expected, abs=5e-3)


def test_cusp_distance_is_euclidean():
    along = np.linspace(-300, 300, 7)
    for slope, normal in ((-0.5, (1.0, 2.0)), (1.0, (1.0, -1.0))):
        on_line = np.stack([along, slope * along - 47], axis=-1)
        assert np.allclose(data.eggholder_cusp_distance(jnp.asarray(on_line)), 0, atol=1e-4)
        beside = on_line + 0.5 * np.array(normal) / np.hypot(*normal)
        assert np.all(data.eggholder_cusp_distance(jnp.asarray(beside)) <= 0.5 + 1e-3)


def test_there_is_no_error_where_there_is_no_point():
    near, far = jnp.array([[0.0, -47.0]]), jnp.array([[512.0, -512.0]])
    for found in (find_cusps, jax.jit(find_cusps)):
        errors, share = jax.jit(cusp_errors)(jnp.ones((2, 1)), jnp.zeros((2, 1)), found(jnp.concatenate([near, far])))
        np.testing.assert_array_equal(errors, [1.0, *[np.nan] * 6, 1.0])
        assert share == 0.5


def test_noise_has_the_stated_variance():
    n = 50_000
    points, clean = data.eggholder_dataset(jax.random.key(3), n, 0.3)
    noise = np.asarray(points.targets - clean, float)
    # Four standard errors of a Gaussian variance and mean; rounding of targets adds below 1e-8.
    assert noise.var() == pytest.approx(0.3, abs=4 * 0.3 * (2 / n) ** 0.5)
    assert noise.mean() == pytest.approx(0, abs=4 * (0.3 / n) ** 0.5)
    # The function's moments, from the uniform distribution over the square.
    assert clean.std() == pytest.approx(298.1, abs=4 * 298.1 / (2 * n) ** 0.5 * 1.2)


def test_standardization_round_trip():
    values = jax.random.normal(jax.random.key(0), (1000, 3)) * jnp.array([[1.0, 50.0, 0.0]]) + 7.0
    scale = data.standardization(values)
    once = scale.standardize(values)
    assert np.allclose(once.mean(axis=0), 0, atol=1e-4)
    assert np.allclose(once.std(axis=0), [1, 1, 0], rtol=1e-4)
    assert np.allclose(scale.restore(once), values, rtol=1e-5, atol=1e-4)


def test_the_grid_has_143_shapes():
    counts = [sum(len(shape) == depth for shape in grid.GRID) for depth in (1, 2, 3)]
    assert counts == [6, 25, 112]
    assert len(grid.choose_shapes(("all", "16"))) == 143
    assert len(grid.choose_shapes(("paper",))) == 6 + 25 + 5
    assert set(grid.NOTEBOOK_SHAPES) <= set(grid.GRID)


@pytest.mark.parametrize(
    "shape, parameters",
    [
        ((64,), 257),
        ((512,), 2049),
        ((16, 16), 401),
        ((32, 32), 1313),
        ((256, 256), 67841),
        ((16, 16, 16), 705),
        ((32, 32, 16), 1857),
        ((128, 256, 128), 67457),
    ],
)
def test_parameter_counts(shape, parameters):
    kind = Kind(shape, "sgd", "none", "relu", 1, 1000)
    assert depth_width.count_parameters(depth_width.Config(), kind) == parameters


@pytest.mark.slow
def test_batch_norm_does_not_see_the_test_batch():
    model = model_of((16, 32), batch_norm=True)
    optimizer = optax.sgd(0.1)
    inputs = jax.random.normal(jax.random.key(0), (256, 2))
    points = Dataset(inputs, inputs[:, :1])
    state = jax.jit(init_state, static_argnums=(1, 2))(jax.random.key(1), model, optimizer, inputs)
    step = jax.jit(train_step, static_argnames=("model", "optimizer", "loss_fn"))
    state, _ = step(
        state, points, jax.random.key(2), model=model, optimizer=optimizer, loss_fn=optax.losses.squared_error
    )
    apply = jax.jit(lambda x: model.apply(variables(state), x))
    many = apply(inputs)
    one = jnp.concatenate([apply(x[None]) for x in inputs[:8]])
    assert np.allclose(one, many[:8], rtol=1e-5, atol=1e-6)
    blocks = predict_blocks(model, state, jnp.concatenate([inputs] * 5))
    assert np.allclose(blocks[:256], many, rtol=1e-5, atol=1e-6)
    # In training the batch is seen, so that the above is not for want of a difference.
    trained, _ = model.apply(variables(state), inputs[:8], train=True, mutable=["batch_stats"])
    assert not np.allclose(trained, many[:8], atol=1e-2)


def test_network_equals_its_formula():
    frequencies = jnp.array([[1.0, 2.0], [-3.0, 0.5], [0.0, 1.0]])
    model = model_of((5, 4), features=partial(fourier_features, frequencies))
    inputs = jax.random.normal(jax.random.key(0), (7, 2))
    weights = model.init(jax.random.key(1), inputs)
    first, second, last = (weights["params"][name] for name in ("layer_0", "layer_1", "last"))
    phase = inputs @ frequencies.T
    h = jnp.concatenate([jnp.sin(phase), jnp.cos(phase)], axis=1)
    for layer in (first, second):
        h = jax.nn.relu(h @ layer.kernel + layer.bias[None])
    expected = h @ last.kernel + last.bias[None]
    assert np.allclose(model.apply(weights, inputs), expected, rtol=1e-5, atol=1e-6)


def test_with_batch_norm_biases_change_nothing():
    """Flax's layers, biases and all, give the same outputs and the same gradients."""

    class Reference(nn.Module):
        @nn.compact
        def __call__(self, h):
            for i, width in enumerate((5, 4)):
                h = nn.Dense(width, name=f"layer_{i}")(h)
                h = nn.relu(nn.BatchNorm(use_running_average=False, name=f"norm_{i}")(h))
            return nn.Dense(1, name="last")(h)

    model, inputs = model_of((5, 4), batch_norm=True), jax.random.normal(jax.random.key(0), (64, 2))
    state = model.init(jax.random.key(1), inputs)
    assert all(np.any(state["params"][name].bias) for name in ("layer_0", "layer_1"))

    def loss(params, network, **options):
        params = {k: v._asdict() if isinstance(network, Reference) and k[0] == "l" else v for k, v in params.items()}
        outputs, _ = network.apply({**state, "params": params}, inputs, mutable=["batch_stats"], **options)
        return jnp.mean((outputs - 1.0) ** 2)

    networks = partial(loss, network=model, train=True), partial(loss, network=Reference())
    (ours, gradient), (theirs, expected) = (jax.jit(jax.value_and_grad(f))(state["params"]) for f in networks)
    assert float(ours) == pytest.approx(float(theirs), rel=1e-5)
    for name in gradient:
        jax.tree.map(partial(np.testing.assert_allclose, atol=1e-5), gradient[name], expected[name])
    np.testing.assert_array_equal(gradient["layer_0"].bias, 0.0)


@pytest.mark.parametrize("recipe, rate", [pytest.param("sgd", 0.02, marks=pytest.mark.slow), ("adam", 1e-2)])
@pytest.mark.slow
def test_a_linear_target_is_learned_to_the_noise_floor(recipe, rate):
    key, noise_key = jax.random.split(jax.random.key(0))
    inputs = jax.random.normal(key, (6000, 2))
    noise = 0.1 * jax.random.normal(noise_key, (6000, 1))
    points = Dataset(inputs, inputs @ jnp.array([[0.8], [-0.6]]) + noise)
    train, test = (Dataset(*(a[part] for a in points)) for part in (slice(4000), slice(4000, 6000)))
    optimizer = simulation.make_optimizer(recipe, rate, 40 * 40)
    state, _ = fit(
        jax.random.key(1), model_of((16,)), optimizer, optax.losses.squared_error, train, num_epochs=40, batch_size=100
    )
    predictions = predict_blocks(model_of((16,)), state, test.inputs)
    error = float(rmse(predictions, test.targets))
    # The noise of 2,000 test points is off by 4 x 0.1 / sqrt(4000) = 6 %; 65 parameters fitted to
    # 4,000 points add 65 / 4000 / 2 = 1 %; SGD at a constant rate jitters by a few percent more.
    assert 0.1 * (1 - 0.065) < error < 0.1 * (1 + 0.065 + 0.01 + 0.04)


@partial(jax.jit, static_argnums=(0, 1, 2, 3, 4))
def trained(widths, room, recipe, activation, features):
    """Train a network padded to a room for some steps; return its state and its outputs."""
    config = depth_width.Config(num_features=4, shapes=("8",))
    kind = Kind(room, recipe, features, activation, 1, 50)
    init_key, features_key, points_key = jax.random.split(jax.random.key(0), 3)
    model = simulation.make_model(config, kind, features_key)
    optimizer = simulation.make_optimizer(recipe, 1e-3, 40)
    inputs = jax.random.normal(points_key, (1000, 2))
    bounds = simulation.make_bounds(config, kind, widths)
    state, _ = fit(
        points_key,
        model,
        optimizer,
        optax.losses.squared_error,
        Dataset(inputs, inputs[:, :1] ** 2),
        num_epochs=1,
        batch_size=50,
        state=simulation.first_state(init_key, model, optimizer, bounds),
    )
    return state, predict_blocks(model, state, inputs)


# What is padded is to stay 0, where the slope of sine is 1 and that of ReLU 0.
@pytest.mark.parametrize(
    "recipe, activation, features", [("adam", "relu", "none"), ("sgd", "sine", "fourier"), ("adam", "sine", "fourier")]
)
@pytest.mark.slow
def test_padding_changes_no_network(recipe, activation, features):
    widths, room = (6, 4), (9, 16)
    alone, outputs = trained(widths, widths, recipe, activation, features)
    padded, padded_outputs = trained(widths, room, recipe, activation, features)
    # Sums over zeros are exact, but another order of them rounds: 20 steps of float32.
    np.testing.assert_allclose(padded_outputs, outputs, rtol=1e-4, atol=1e-5)
    pairs = zip(jax.tree.leaves(alone.params), jax.tree.leaves(padded.params), strict=True)
    for one, other in pairs:
        inside = tuple(slice(size) for size in one.shape)
        np.testing.assert_allclose(other[inside], one, rtol=1e-4, atol=1e-5)
    for i, (layer, width) in enumerate(zip(("layer_0", "layer_1"), widths, strict=True)):
        following = padded.params["last" if i else "layer_1"]
        assert not np.any(padded.params[layer].kernel[:, width:])
        assert not np.any(padded.params[layer].bias[width:])
        assert not np.any(following.kernel[width:])


def test_initial_parameters_are_uniform_within_their_bounds():
    config = depth_width.Config()
    kind = Kind((64, 256), "adam", "none", "relu", 1, 1000)
    layers = draw_layers(jax.random.key(0), simulation.make_bounds(config, kind, kind.widths))
    for layer, fan_in in (("layer_0", 2), ("layer_1", 64), ("last", 256)):
        kernel = np.asarray(layers[layer].kernel, float) * fan_in**0.5
        assert np.abs(kernel).max() <= 1
        # A uniform variable has variance 1/3 and fourth moment 1/5.
        assert kernel.mean() == pytest.approx(0, abs=4 * (1 / 3 / kernel.size) ** 0.5)
        spread = (1 / 5 - 1 / 9) / kernel.size
        assert np.square(kernel).mean() == pytest.approx(1 / 3, abs=4 * spread**0.5)
    other = draw_layers(jax.random.key(1), simulation.make_bounds(config, kind, kind.widths))
    assert not np.any(layers["layer_1"].kernel == other["layer_1"].kernel)


def test_a_random_order_holds_every_number_once_and_is_uniform():
    keys = jax.vmap(jax.random.key)(jnp.arange(6000))
    orders = np.asarray(jax.jit(jax.vmap(partial(random_order, n=5)))(keys))
    assert (np.sort(orders, axis=1) == np.arange(5)).all()
    _, counts = np.unique(orders @ 5 ** np.arange(5), return_counts=True)
    assert len(counts) == 120
    # Chi-squared with 119 degrees of freedom has mean 119 and standard deviation sqrt(238).
    assert ((counts - 50) ** 2 / 50).sum() < 119 + 4 * 238**0.5


@pytest.mark.parametrize("compile_seconds", [0.0, 1.0, 1e9])
def test_shapes_fit_the_room_they_share(compile_seconds):
    shapes = grid.GRID
    room_of = rooms(shapes, lambda shape: 1e-3 * sum(shape), compile_seconds)
    assert set(room_of) == set(shapes)
    for shape, room in room_of.items():
        assert len(shape) == len(room)
        assert all(width <= most for width, most in zip(shape, room, strict=True))
    programs = len(set(room_of.values()))
    assert programs == {0.0: len(shapes), 1e9: 3}.get(compile_seconds, programs)
    longer = sum(1e-3 * (sum(room) - sum(shape)) for shape, room in room_of.items())
    assert longer <= compile_seconds * (len(shapes) - programs)


def made_up(num_seeds=6, falls=(-0.1, -0.3, -0.2), end=0, **config):
    """Results whose errors are powers of parameters, by depth, and whose times are too, less so by depth."""
    random, rows = np.random.default_rng(0), []
    for depth, fall in enumerate(falls, 1):
        for width, seed in product((16, 32, 64), range(num_seeds)):
            kind = Kind((width,) * depth, "adam", "none", "relu", 1, 1000)
            parameters = depth_width.count_parameters(depth_width.Config(), kind)
            error = 300 * parameters ** (fall + 1e-3 * random.normal())
            labels = {"part": "shapes", "shape": "-".join([str(width)] * depth), "recipe": "adam", "depth": depth}
            labels |= {"hidden_units": depth * width, "parameters": parameters}
            errors = dict.fromkeys(("train_rmse", "validation_rmse", "test_rmse", "clean_rmse"), error)
            errors |= {"constant_rmse": 300.0, "nonfinite": False, "cusp_share": 0.5, "learning_rate": 0.01, "end": end}
            errors |= {"tried": np.array([np.nan, 2.0, 1.0, 2.0, np.nan]), "curve": np.full(10, error)}
            rows.append(labels | {"seed": seed} | errors)
    runs = pd.DataFrame(rows)
    who = runs[WHO].drop_duplicates()
    sizes = runs[[*WHO, "depth", "hidden_units", "parameters"]].drop_duplicates()
    timed = sizes["parameters"] ** (0.6 - 0.1 * sizes["depth"])
    alone = pd.concat([sizes.assign(repeat=i, seconds_per_epoch=timed * np.exp(0.01 * i * i)) for i in range(5)])
    same = {"recipe": "baseline", "nonfinite": False, "depth": 0, "hidden_units": 0, "parameters": 0}
    thin_plates = pd.DataFrame({"part": "baseline", "shape": "RBF", "seed": range(num_seeds), "test_rmse": 8.0} | same)
    beside = {"alone": alone.reset_index(drop=True), "baselines": thin_plates}
    times = who.assign(run_seconds=1.0, runs=num_seeds)
    shapes = {"shapes": tuple(who["shape"]), "recipes": ("adam",)}
    return Results(depth_width.Config(**(shapes | config)), runs, times, beside)


def judged(results):
    return {v.id: v for v in from_table.judge(STUDY, results)[0]}


def test_slopes_are_by_data_set():
    networks = finite_networks(made_up(falls=(-0.1,)))
    found = slopes(networks)
    assert found.index.tolist() == [*range(6)]
    np.testing.assert_allclose(found, -0.1, atol=0.02)
    lost = (networks["shape"] == "32") & (networks["seed"] == 3)
    assert slopes(networks.assign(test_rmse=networks["test_rmse"].mask(lost))).isna().tolist() == [
        seed == 3 for seed in range(6)
    ]
    assert slopes(networks[networks["shape"] == "32"]).empty and slopes(networks[:0]).empty


def test_gains_are_differences_of_slopes_on_the_same_data():
    verdicts = judged(made_up())
    assert verdicts["gain.two_over_one.adam"].verdict == "supported"
    assert verdicts["gain.two_over_one.adam"].effect == pytest.approx(-0.2, abs=0.02)
    assert verdicts["gain.three_over_two.adam"].verdict == "refuted"
    assert verdicts["gain.three_over_two.adam"].n == 6


@pytest.mark.parametrize("end, words", [(1, "largest"), (-1, "smallest")])
def test_a_grid_that_is_too_small_decides_nothing(end, words):
    verdict = judged(made_up(end=end))["gain.two_over_one.adam"]
    assert verdict.verdict == "inconclusive"
    assert verdict.why == f"grid too small: the best learning rate is the {words} in 36 of 36 networks"


ERRORS = [
    *([abs(i - best) + 1.0 for i in range(9)] for best in range(9)),
    [np.nan] * 9,
    [1.0, 2.0, *[np.inf] * 7],
    [6.0, 5.0, 4.0, 3.0, *[np.nan] * 5],
    [0.0, 9.0, 3.0, 2.0, 3.0, 4.0, 5.0, 6.0, 0.0],
    [9.0, 5.0, 1.0, 2.0, 3.0, 2.9, 3.5, 4.0, 5.0],  # slightly less on one side of the start, much less on the other
]


def test_a_walk_ends_at_a_rate_both_of_whose_neighbors_are_worse():
    """Each alone and all at once; there may be better rates behind worse ones."""
    at_once = jax.jit(jax.vmap(lambda errors: walk(lambda place: errors[place], 9)))(np.array(ERRORS, np.float32))
    assert at_once.best.tolist() == [*range(9), 0, 0, 3, 3, 2]
    for errors, best, seen in zip(ERRORS, at_once.best, at_once.errors, strict=True):
        alone = walk(jnp.float32(errors).__getitem__, 9)
        assert alone.best == best and np.array_equal(alone.errors, seen, equal_nan=True)
        tried = np.flatnonzero(~np.isnan(seen))
        assert {int(best) - 1, int(best), int(best) + 1} & set(range(9)) <= set(tried.tolist())
        expected = np.where(np.isfinite(errors), errors, np.inf)[tried]
        np.testing.assert_array_equal(np.asarray(seen)[tried], np.float32(expected))
        # Beyond the worse neighbor nothing is tried: a step each, and one to the first on the other side.
        assert len(tried) <= abs(int(best) - 4) + 3


def test_times_rise_less_steeply_with_depth_by_repeats():
    verdict = judged(made_up())["time_slope.two_over_one.adam"]
    assert verdict.effect == pytest.approx(-0.1) and verdict.n == 5


def with_features(error, **config):
    """Results of all three depths, the same network on features, of that test error, and its plain likeness."""
    results = made_up(falls=(-0.1, -0.3, -0.2), **config)
    likeness = results.runs.query("shape == '64-64-64'").assign(shape="128-256-128")
    noise = np.exp(0.01 * np.arange(6.0))
    modern = likeness.assign(part="modern", test_rmse=error * noise)
    return results._replace(runs=pd.concat([results.runs, likeness, modern], ignore_index=True))


@pytest.mark.parametrize("error, verdict", [(1.0, "supported"), (100.0, "refuted")])
def test_what_networks_are_made_of_is_held_against_their_shapes(error, verdict):
    assert judged(with_features(error))["made_of"].verdict == verdict


def test_other_budgets_are_not_compared():
    assert "another number of epochs" in judged(with_features(1.0, modern_epochs=60))["made_of"].why
    assert judged(made_up())["made_of"].verdict == "not tested"


def test_one_network_at_the_end_of_its_grid_is_enough_and_other_depths_are_not_concerned():
    results = made_up()
    runs = results.runs
    here = (runs["shape"] == "16") & (runs["seed"] == 2)
    verdicts = judged(results._replace(runs=runs.assign(end=runs["end"].mask(here, 1))))
    assert verdicts["gain.two_over_one.adam"].why.endswith("the largest in 1 of 36 networks")
    assert verdicts["gain.three_over_two.adam"].verdict == "refuted"


def test_rates_that_are_given_are_not_tuned():
    results = made_up(end=1)
    runs = results.runs.assign(recipe="sgd")
    config = depth_width.Config(raw=True, recipes=("sgd",), shapes=results.config.shapes)
    beside = {name: rows.replace("adam", "sgd") for name, rows in results.beside.items()}
    given = results._replace(config=config, runs=runs, beside=beside, times=results.times.replace("adam", "sgd"))
    assert judged(given)["gain.two_over_one.sgd"].verdict == "supported"


def test_claims_say_whose_they_are_and_what_for():
    claims = from_table.claims_of(STUDY, depth_width.Config())
    assert {claim.id for claim in claims if claim.primary} == {
        f"gain.{pair}.{recipe}" for pair in ("two_over_one", "three_over_two") for recipe in ("sgd", "adam")
    }
    for claim in claims:
        assert (claim.says != "") == (claim.where != "") == (claim.source != "ours")
        assert claim.margin or not set(claim.holds) - {0.0, 1.0, np.inf, -np.inf}
        assert "interval" not in claim.method
        assert (claim.population == depth_width.POPULATION) != claim.id.startswith("time")
    assert "over 25 shapes against 6, after 10 epochs" in claims[0].claim


def test_each_seed_has_a_data_set_of_its_own():
    config = depth_width.Config(num_examples=200)
    first, second = (splits_of(config, seed) for seed in (0, 1))
    for one, other in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        assert one.shape == other.shape and not np.any(one == other)
    again, _ = make_splits(config, jax.random.fold_in(jax.random.key(0), 1))
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-3), again, second[0])


def test_time_ratio_of_known_times():
    times = pd.DataFrame({"parameters": [64, 256, 1024], "seconds_per_epoch": [1.0, 2.0, 4.0]})
    deeper = pd.DataFrame({"parameters": [128, 512, 9999], "seconds_per_epoch": [3.0, 6.0, 9.0]})
    by_units = [rows.rename(columns={"parameters": "hidden_units"}) for rows in (deeper, times)]
    assert time_ratios(*by_units, "hidden_units").equals(time_ratios(deeper, times))
    ratios = time_ratios(deeper, times)
    assert len(ratios) == 2  # the third lies outside the range
    ratio, _, _ = intervals.geometric_mean(ratios["value"].to_numpy())
    assert ratio == pytest.approx(3 / 2**0.5)
    assert len(time_ratios(deeper, times[:0])) == len(time_ratios(deeper[:0], times)) == 0


@pytest.mark.usefixtures("hastily")
@pytest.mark.slow
def test_script_small_end_to_end(tmp_path):
    command.main(STUDY, [*SMALL, "--out", str(tmp_path)])
    results, _ = from_table.read(STUDY, tmp_path)
    check_files(results, tmp_path)
    assert_words(depth_width.plot(results))
    check_budget(results)
    check_data_sets(results)
    check_rates(results)
    check_curves(results)
    check_what_diverges(results)


def check_files(results, out):
    import matplotlib.image

    assert len(results.runs) == 2 * 2 + 2
    rows = with_times(results)
    networks = rows[rows["part"].isin(["shapes", "modern"])]
    assert len(networks) == 2 * 2 + 2
    assert (networks[["seconds_per_epoch", "seconds_in_batch"]] > 0).all(axis=None)
    summary = pd.read_csv(out / "summary.csv")
    columns = "shape,depth,hidden_units,parameters,recipe,n,rmse,low,high,seconds_per_epoch"
    assert set(columns.split(",")) <= set(summary)
    assert {"constant", "linear", "RBF", "Delaunay", "boosted trees"} <= set(summary["shape"])
    floor = summary.set_index("shape").loc["floor", "rmse"]
    assert floor == pytest.approx(0.3**0.5)
    verdicts = json.loads((out / "claims.json").read_text())["claims"]
    assert {v["id"] for v in verdicts} >= {"gain.two_over_one.sgd", "modern"}
    for name in ("rmse", "time", "curves", "rates", "cusps", "two_layers", "error_map"):
        assert matplotlib.image.imread(out / f"{name}.png").std() > 0.02


def check_budget(results):
    """Figures of a short budget say so."""
    for epochs in (2, figures.SHORT):
        drawn = figures.plot(results._replace(config=replace(results.config, epochs=epochs)))
        told = {"a short budget" in figure.get_suptitle() for figure in drawn.values()}
        assert told == {epochs < figures.SHORT} and len(drawn) > 4
        plt.close("all")


def check_data_sets(results):
    """All networks of a seed, and the baselines beside them, are tested on the points of that seed."""
    by_seed = results.runs.groupby("seed")["constant_rmse"]
    assert (by_seed.max() - by_seed.min()).max() < 1e-3 < by_seed.mean().std()
    for seed, found in by_seed.mean().items():
        (train, _, test), _ = splits_of(results.config, int(seed))
        expected = np.sqrt(np.mean((np.asarray(test.targets, float) - float(train.targets.mean())) ** 2))
        assert found == pytest.approx(expected, rel=1e-4)
        rows = results.beside["baselines"].query("seed == @seed").set_index("shape")["test_rmse"]
        # It is fitted to the points for validation, too.
        assert rows["constant"] == pytest.approx(expected, rel=1e-2)
        assert rows["RBF"] < rows["constant"]


def check_rates(results):
    """The rate of a network is the best of those that were tried."""
    for _, row in results.runs.iterrows():
        grid = {"adam": results.config.adam_rates, "sgd": results.config.sgd_rates}[row["recipe"]]
        width = float(row["shape"].rsplit("-", 1)[-1]) if row["recipe"] == "sgd" else 1.0
        best = int(np.nanargmin(row["tried"]))
        assert row["learning_rate"] == pytest.approx(grid[best] / width)
        assert row["end"] == (best == len(grid) - 1) - (best == 0)
        assert 3 <= np.sum(~np.isnan(row["tried"])) < len(grid)


def check_curves(results):
    """They end at the error, and are missing behind."""
    for part, epochs in (("shapes", 2), ("modern", 1)):
        rows = results.runs[results.runs["part"] == part]
        curves = table.stacked(rows, "curve")
        assert curves.shape[1] == 2 and np.isnan(curves[:, epochs:]).all()
        assert np.array_equal(curves[:, epochs - 1], rows["validation_rmse"])


def check_what_diverges(results):
    """It is left out of figures: there is no map of two layers if all of them do, only baselines if all networks do."""
    for every in (True, False):
        runs, beside = results.runs, dict(results.beside)
        if not every:
            shallow = runs[runs["part"] == "shapes"].assign(shape="32", depth=1)
            alone = beside["alone"].replace("16-16", "32")
            runs = pd.concat([runs, shallow], ignore_index=True)
            beside["alone"] = pd.concat([beside["alone"], alone]).drop_duplicates(WHO)
        diverged = runs.assign(nonfinite=runs["nonfinite"] | (runs["depth"] == 2))
        drawn = depth_width.plot(results._replace(runs=diverged, beside=beside))
        assert "cusps" in drawn and "two_layers" not in drawn and ("rmse" in drawn) == (not every)
        for figure in drawn.values():
            figure.canvas.draw()
            plt.close(figure)


def test_the_best_network_is_found_among_errors_whose_sum_32_bits_do_not_hold():
    who = {"part": "shapes", "recipe": "adam", "depth": 1, "nonfinite": False, "curve": 0}
    errors = {"2": [3e38] * 6, "3": [2e38] * 6}
    rows = [pd.DataFrame(who | {"shape": name, "validation_rmse": np.float32(e)}) for name, e in errors.items()]
    ((best, *_),) = figures.best_networks(pd.concat(rows).sort_index(), ["depth"])
    assert set(best["shape"]) == {"3"} and len(best) == 6


@pytest.mark.parametrize(
    "flags, named",
    [(["--noise-variance", "1e40"], "--noise-variance 1e+40"), (["--raw", "--sgd-rates", "0.3"], "--sgd-rates")],
)
def test_flags_that_cannot_be_met_are_one_line(flags, named, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        command.main(STUDY, [*flags, "--out", str(tmp_path / "out")])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert named in line and not (tmp_path / "out").exists()


@pytest.mark.parametrize("shape", ["64-", "wide", "0-16", "-3", "64_64", ","])
def test_bad_shapes_are_one_line(shape, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        command.main(STUDY, ["--shapes", shape, "--out", str(tmp_path)])
    assert stop.value.code == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "--shapes" in message


def test_very_many_networks_are_timed_in_hands(monkeypatch):
    """No more programs than that are there at once, and each network has its own time."""
    config, there = Config(shapes=("16", "32", "16-16", "32-16", "16-32"), modern_epochs=0), []
    listed = design.networks(config)

    def call(seconds):
        program = partial(str)
        there.append(weakref.ref(program))
        return timing.Call(program, seconds)

    most = []

    def seconds_of(call):
        most.append(sum(each() is not None for each in there))
        return call.times

    monkeypatch.setattr(timing, "AT_ONCE", 4)
    monkeypatch.setattr(timing, "shuffling_call", lambda *_: call(100.0))
    monkeypatch.setattr(timing, "training_call", lambda config, network, train: call(1.0 + listed.index(network)))
    monkeypatch.setattr(timing, "seconds_of", seconds_of)
    rows = timing.time_alone(config, lambda name, compute: compute())
    assert max(most) <= 5 and len(listed) == 10
    seconds = rows["seconds_per_epoch"].to_numpy().reshape(len(listed), timing.REPEATS)
    np.testing.assert_array_equal(seconds, 101.0 + np.arange(len(listed))[:, None] + np.zeros(timing.REPEATS))
