import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
import pytest

from jaxstudies import cli, data, stats
from jaxstudies.data import Dataset
from jaxstudies.models import FeedForward, fourier_features, initializer
from jaxstudies.studies import depth_width, depth_width_claims, depth_width_networks
from jaxstudies.training import fit, init_state, train_step, variables

SMALL = ["--seeds", "2", "--shapes", "16-16", "--epochs", "2", "--modern-epochs", "1",
         "--num-examples", "2000"]  # fmt: skip


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
    once = data.standardize(scale, values)
    assert np.allclose(once.mean(axis=0), 0, atol=1e-4)
    assert np.allclose(once.std(axis=0), [1, 1, 0], rtol=1e-4)
    assert np.allclose(data.restore(scale, once), values, rtol=1e-5, atol=1e-4)


def test_the_grid_has_143_shapes():
    counts = [sum(len(shape) == depth for shape in depth_width.GRID) for depth in (1, 2, 3)]
    assert counts == [6, 25, 112]
    assert len(depth_width.choose_shapes(("all", "16"))) == 143
    assert len(depth_width.choose_shapes(("paper",))) == 6 + 25 + 5
    assert set(depth_width.NOTEBOOK_SHAPES) <= set(depth_width.GRID)


@pytest.mark.parametrize(
    "shape, parameters",
    [
        ((64,), 257), ((512,), 2049), ((16, 16), 401), ((32, 32), 1313), ((256, 256), 67841),
        ((16, 16, 16), 705), ((32, 32, 16), 1857), ((128, 256, 128), 67457),
    ],
)  # fmt: skip
def test_parameter_counts(shape, parameters):
    kind = depth_width.Kind(shape, "sgd", "none", "relu", 1)
    assert depth_width.count_parameters(depth_width.Config(), kind) == parameters


def test_batch_norm_does_not_see_the_test_batch():
    model = model_of((16, 32), batch_norm=True)
    optimizer = optax.sgd(0.1)
    inputs = jax.random.normal(jax.random.key(0), (256, 2))
    points = Dataset(inputs, inputs[:, :1])
    state = init_state(jax.random.key(1), model, optimizer, inputs)
    state, _ = train_step(
        state, points, jax.random.key(2), model=model, optimizer=optimizer,
        loss_fn=optax.losses.squared_error,
    )  # fmt: skip
    apply = jax.jit(lambda x: model.apply(variables(state), x))
    many = apply(inputs)
    one = jnp.concatenate([apply(x[None]) for x in inputs[:8]])
    assert np.allclose(one, many[:8], rtol=1e-5, atol=1e-6)
    blocks = depth_width_networks.predict(model, state, jnp.concatenate([inputs] * 5))
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


@pytest.mark.parametrize("recipe, rate", [("sgd", 0.02), ("adam", 1e-2)])
def test_a_linear_target_is_learned_to_the_noise_floor(recipe, rate):
    key, noise_key = jax.random.split(jax.random.key(0))
    inputs = jax.random.normal(key, (6000, 2))
    noise = 0.1 * jax.random.normal(noise_key, (6000, 1))
    points = Dataset(inputs, inputs @ jnp.array([[0.8], [-0.6]]) + noise)
    train, test = (Dataset(*(a[part] for a in points)) for part in (slice(4000), slice(4000, 6000)))
    optimizer = depth_width_networks.make_optimizer(recipe, rate, 40 * 40)
    state, _ = fit(
        jax.random.key(1), model_of((16,)), optimizer, optax.losses.squared_error, train,
        num_epochs=40, batch_size=100,
    )  # fmt: skip
    predictions = depth_width_networks.predict(model_of((16,)), state, test.inputs)
    error = float(depth_width_networks.rmse(predictions, test.targets))
    # The noise of 2,000 test points is off by 4 x 0.1 / sqrt(4000) = 6 %; 65 parameters fitted to
    # 4,000 points add 65 / 4000 / 2 = 1 %; SGD at a constant rate jitters by a few percent more.
    assert 0.1 * (1 - 0.065) < error < 0.1 * (1 + 0.065 + 0.01 + 0.04)


def test_slopes_and_their_difference():
    rng = np.random.default_rng(0)
    x = np.linspace(0, 3, 30)
    covered = 0
    for _ in range(400):
        y, z = -0.5 * x + 0.2 * rng.normal(size=30), -0.2 * x + 0.1 * rng.normal(size=30)
        _, low, high = stats.difference_of_slopes(x, y, x, z)
        covered += low <= -0.3 <= high
    assert abs(covered / 400 - 0.95) < 4 * (0.95 * 0.05 / 400) ** 0.5
    assert np.isnan(stats.difference_of_slopes(x, x, x[:2], x[:2])).all()


def test_time_ratio_of_known_times():
    times = pd.DataFrame({"parameters": [64, 256, 1024], "seconds_per_epoch": [1.0, 2.0, 4.0]})
    deeper = pd.DataFrame({"parameters": [128, 512, 9999], "seconds_per_epoch": [3.0, 6.0, 9.0]})
    (ratio, _, _), n = depth_width_claims.time_ratio(deeper, times)
    assert n == 2  # the third lies outside the range
    assert ratio == pytest.approx(3 / 2**0.5)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("depth_width")
    cli.main(depth_width, [*SMALL, "--out", str(out)])
    return out


def test_script_small_end_to_end(finished):
    import matplotlib.image

    runs = pd.read_parquet(finished / "runs.parquet")
    networks = runs[runs["part"].isin(["shapes", "modern"])]
    assert len(networks) == 2 * 2 + 2
    assert (networks["seconds_per_epoch"] > 0).all()
    assert runs["map"].notna().sum() == 1
    summary = pd.read_csv(finished / "summary.csv")
    columns = "shape,depth,hidden_units,parameters,recipe,n,rmse,low,high,seconds_per_epoch"
    assert set(columns.split(",")) <= set(summary)
    assert {"constant", "linear", "RBF", "Delaunay", "boosted trees"} <= set(summary["shape"])
    floor = summary.set_index("shape").loc["floor", "rmse"]
    assert floor == pytest.approx(0.3**0.5)
    verdicts = json.loads((finished / "claims.json").read_text())
    assert {v["id"] for v in verdicts} >= {"gain.two_over_one.sgd", "modern"}
    for name in ("rmse", "time", "curves", "cusps", "two_layers", "error_map"):
        assert matplotlib.image.imread(finished / f"{name}.png").std() > 0.02


def test_the_chosen_rate_is_the_best_on_validation(finished):
    runs = pd.read_parquet(finished / "runs.parquet")
    networks = runs[runs["part"] == "shapes"]
    rates = networks.filter(regex="^rate_rmse_")
    assert np.allclose(rates.min(axis=1), networks["validation_rmse"])


@pytest.mark.parametrize("shape", ["64-", "wide", "0-16", "-3", "64_64", ","])
def test_bad_shapes_are_one_line(shape, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(depth_width, ["--shapes", shape, "--out", str(tmp_path)])
    assert stop.value.code == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "--shapes" in message
