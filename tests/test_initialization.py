"""The initialization study: laws of the networks, of mean field, and of the files."""

import json
from functools import partial

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
import pandas as pd
import pytest
from reading import assert_told

from jaxstudies import results as from_table
from jaxstudies import tasks
from jaxstudies.commands import command
from jaxstudies.engine import monte_carlo
from jaxstudies.evidence import theory
from jaxstudies.networks import diagnostics, mnist, preparation
from jaxstudies.networks.data import Dataset, as_inputs
from jaxstudies.networks.models import Layer, orthonormalize
from jaxstudies.output import table
from jaxstudies.selection import Selector
from jaxstudies.studies import initialization
from jaxstudies.studies.initialization import draws, simulation
from jaxstudies.studies.initialization.claims import GLOROT, last_spread
from jaxstudies.studies.initialization.figures import violins
from jaxstudies.studies.initialization.summary import at_stage, theory_second_moments
from jaxstudies.study import Results, load


def tanh_slope(z):
    return 1 - np.tanh(z) ** 2


def sigmoid(z):
    return 1 / (1 + np.exp(-np.clip(z, -700, 700)))


def sigmoid_slope(z):
    return sigmoid(z) * (1 - sigmoid(z))


# --- mean field --------------------------------------------------------------------------------


@pytest.mark.parametrize("q, w, b", [(0.5, 1.68798, 0.03804), (1, 2.15330, 0.15096), (2, 2.86116, 0.51226)])
def test_critical_line_of_tanh(q, w, b):
    weight = 1 / theory.gradient_factor(tanh_slope, q, 1.0)
    bias = q - theory.variance_map(np.tanh, q, weight)
    np.testing.assert_allclose([weight, bias], [w, b], atol=6e-6)
    np.testing.assert_allclose(theory.fixed_point(np.tanh, float(weight), float(bias)), q, rtol=1e-6)
    np.testing.assert_allclose(theory.gradient_factor(tanh_slope, q, float(weight)), 1, rtol=1e-9)


@pytest.mark.parametrize("sigma_w, q, chi", [(1.4, 0.59042, 1.1001), (2.8, 5.30723, 1.7581)])
def test_fixed_points_of_tanh(sigma_w, q, chi):
    found = theory.fixed_point(np.tanh, sigma_w**2)
    assert found == pytest.approx(q, abs=1e-5)
    assert theory.gradient_factor(tanh_slope, found, sigma_w**2) == pytest.approx(chi, abs=1e-4)


@pytest.mark.parametrize("sigma_w, chi", [(1, 0.0557), (1.4, 0.0993), (2.8, 0.2669)])
def test_sigmoid_always_shrinks_gradients(sigma_w, chi):
    q = theory.fixed_point(sigmoid, sigma_w**2)
    assert theory.gradient_factor(sigmoid_slope, q, sigma_w**2) == pytest.approx(chi, abs=1e-4)


def test_relu_and_trivial_fixed_points():
    def relu(z):
        return np.maximum(z, 0)

    np.testing.assert_allclose(theory.variance_map(relu, 3.0, 2.0), 3.0, rtol=1e-12)
    assert theory.fixed_point(relu, 1.0) == 0
    assert theory.fixed_point(relu, 3.0) == np.inf
    assert np.isnan(theory.fixed_point(relu, 2.0))
    assert theory.fixed_point(relu, 1.0, 0.5) == pytest.approx(1.0)  # q = q / 2 + 1 / 2
    assert theory.fixed_point(np.tanh, 1.0) == 0
    assert theory.depth_scale(np.exp(-0.25)) == pytest.approx(4)


# --- networks ----------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(30, 8), (8, 30), (12, 12)])
def test_orthonormalize(shape):
    matrix = np.asarray(orthonormalize(jax.random.normal(jax.random.key(0), shape)), float)
    gram = matrix.T @ matrix if shape[0] >= shape[1] else matrix @ matrix.T
    np.testing.assert_allclose(gram, np.eye(min(shape)), atol=20 * np.finfo(np.float32).eps)


def small_network(linear: bool, pixels=6, width=5, depth=3, classes=10):
    keys = jax.random.split(jax.random.key(1), 4)
    num = depth if linear else depth - 1

    def layer(key, *shape):
        return Layer(jax.random.normal(key, shape) * 0.5, jax.random.normal(key, shape[:-2] + shape[-1:]))

    first, last = layer(keys[0], pixels, width), layer(keys[2], width, classes)
    return first, layer(keys[1], num, width, width), last, jax.random.normal(keys[3], (4, pixels))


backpropagate = jax.jit(partial(diagnostics.backpropagate, jnp.tanh), static_argnames="linear_first_layer")


@pytest.mark.parametrize("linear", [True, False])
@pytest.mark.slow
def test_backpropagation_against_finite_differences(linear):
    """In float64, by central differences: their error is of the order of step^2 = 1e-10."""
    with jax.enable_x64(True):
        first, hidden, last, inputs = jax.tree.map(
            lambda a: jnp.asarray(np.asarray(a), jnp.float64), small_network(linear)
        )
        labels = jnp.array([0, 3, 9, 3])
        projection = first.kernel.T @ inputs.T + first.bias[:, None]

        @jax.jit
        def loss(kicks):
            """Cross-entropy with `kicks` (layers, units, batch) added to the pre-activations."""
            z, kicks = projection, list(kicks)
            h = z if linear else jnp.tanh(z + kicks.pop(0))
            for kernel, bias, kick in zip(hidden.kernel, hidden.bias, kicks, strict=True):
                h = jnp.tanh(kernel.T @ h + bias[:, None] + kick)
            logits = last.kernel.T @ h + last.bias[:, None]
            return -jnp.sum(jax.nn.log_softmax(logits, axis=0)[labels, jnp.arange(4)])

        seen = backpropagate(projection, hidden, last, labels, linear_first_layer=linear)
        zero = np.zeros((3, 5, 4))
        for at in np.ndindex(3, 5, 2):
            kick = zero.copy()
            kick[at] = 1e-5
            difference = (loss(kick) - loss(-kick)) / 2e-5
            np.testing.assert_allclose(seen.gradients[at], difference, atol=1e-8)

        h = np.asarray(projection if linear else jnp.tanh(projection))
        first_of_stack = seen.gradients[0 if linear else 1]
        np.testing.assert_allclose(seen.weight_gradients[0], h @ first_of_stack.T, rtol=1e-10)


@pytest.mark.parametrize("linear", [True, False])
def test_training_and_measuring_see_the_same_network(linear):
    """The same sums in another order: 2^-23 relative, over some tens of terms."""
    first, hidden, last, inputs = small_network(linear)
    networks = draws.Networks(first, hidden, last)
    projection = simulation.project(networks, inputs)
    seen = backpropagate(projection, hidden, last, jnp.zeros(4, int), linear_first_layer=linear)
    outputs = jax.jit(lambda networks: simulation.logits_of(networks, inputs, jnp.tanh, linear))(networks)
    np.testing.assert_allclose(outputs, seen.logits.T, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("linear", [True, False])
def test_gradients_of_the_weights_are_those_of_the_mean_loss(linear):
    """Automatic differentiation of the whole network; four images are two blocks of two."""
    first, hidden, last, _ = small_network(linear, pixels=784)
    networks = draws.Networks(first, hidden, last)
    random = np.random.default_rng(0)
    images = jnp.asarray(random.integers(0, 256, (5, 28, 28), dtype=np.uint8))
    labels, picks = jnp.array([0, 3, 9, 3, 1], jnp.uint8), jnp.array([[0, 4], [2, 3]])

    @jax.jit
    def measured(networks):
        first = partial(simulation.project, networks)
        key = jax.random.key(0)
        return simulation.measure(networks, first, Dataset(images, labels), picks, key, jnp.tanh, linear)

    @jax.jit
    @jax.value_and_grad
    def loss(networks):
        chosen = picks.ravel()
        logits = simulation.logits_of(networks, as_inputs(images)[chosen], jnp.tanh, linear)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels[chosen]).mean()

    seen, (value, gradients) = measured(networks), loss(networks)
    norms = [*jnp.linalg.norm(gradients.hidden.kernel, axis=(1, 2))]
    if not linear:
        norms = [jnp.linalg.norm(gradients.first.kernel), *norms]
    np.testing.assert_allclose(seen["weight_grad"], norms, rtol=1e-4)
    np.testing.assert_allclose(seen["loss"], value, rtol=1e-5)


@pytest.fixture(scope="module")
def hidden():
    return jax.jit(draws.draw_matrices, static_argnums=(1, 2))(jax.random.key(0), 5, 100).hidden


@pytest.mark.parametrize("init", ["he_normal", "glorot_normal", "normal", "orthogonal", "lsuv"])
def test_scales(init, hidden):
    """The matrices that are drawn have the variance that the name promises, to sampling error."""
    scale = draws.weight_scale(init, 0.14, 100, 100)
    expected = {"he_normal": 2 / 100, "glorot_normal": 1 / 100, "normal": 0.14**2}
    matrices = np.asarray(hidden[draws.DRAWS.index(draws.draw_of(init))], float) * scale
    four_errors = 4 * np.sqrt(2 / matrices.size)
    np.testing.assert_allclose((matrices**2).mean(), expected.get(init, 1 / 100), rtol=four_errors)
    if init == "orthogonal":
        gram = np.einsum("hij,hik->hjk", matrices, matrices)
        np.testing.assert_allclose(gram, np.broadcast_to(np.eye(100), gram.shape), atol=1e-5)
    # No two hidden layers are alike.
    assert len({matrix.tobytes() for matrix in matrices}) == 5


def run_small(**changes):
    defaults = {"seeds": 4, "dataset": "digits", "num_images": 200, "inits": ("he_normal",)}
    study, config = load("initialization"), initialization.Config(**(defaults | changes))
    blocks, *_ = monte_carlo.run_design(tasks.task_of(study, config, config.seeds))
    return pd.concat(map(table.to_pandas, blocks), ignore_index=True)


@pytest.mark.slow
def test_he_keeps_and_glorot_halves_the_second_moment_of_relu():
    """At width 1000 a layer's factor is 1 or 1/2 up to fluctuations of sqrt(5 / 1000) = 7 %.

    The second moment of a layer is that of the last times sum(w^2 ...) over 1000 units, whose
    relative variance is 5 / width; over 4 seeds x 4 steps of the logs its error is 1.8 %.
    """
    runs = run_small(inits=("he_normal", "glorot_normal"), activations=("relu",), width=1000, num_images=50)
    for init, factor in (("he_normal", 1), ("glorot_normal", 0.5)):
        rows = runs[runs["init"] == init]
        moments = np.log(at_stage(rows, "second_moment"))
        steps = (moments[:, -1] - moments[:, 0]) / 4
        error = np.sqrt(5 / 1000 / (4 * len(rows)))
        assert abs(steps.mean() - np.log(factor)) < 4 * error


@pytest.mark.slow
def test_width_1000_agrees_with_mean_field():
    """Second moments of tanh layers lie within four standard errors and 2 % of theory's."""
    changes = {"inits": ("normal",), "sigmas": (0.0316, 0.08), "activations": ("tanh",)}
    runs = run_small(**changes, width=1000, num_images=50)
    config = initialization.Config(width=1000)
    for _, rows in runs.groupby("sigma"):
        measured = at_stage(rows, "second_moment")
        expected = theory_second_moments(rows, config)
        error = 4 * measured.std(axis=0, ddof=1) / np.sqrt(len(rows)) + 0.02 * expected
        assert np.all(np.abs(measured.mean(axis=0) - expected) < error)


@pytest.mark.slow
def test_ten_seeds_are_a_prefix_and_settings_do_not_touch_each_other():
    alone = run_small(seeds=2, activations=("relu",))
    among = run_small(seeds=4, activations=("relu",), inits=("normal", "he_normal", "lsuv"))
    rows = among[(among["init"] == "he_normal") & (among["seed"] < 2)]
    for name in ("second_moment", "grad", "weight_grad", "saturation"):
        np.testing.assert_allclose(at_stage(alone, name), at_stage(rows, name), rtol=1e-4, atol=1e-7)


@pytest.mark.slow
def test_lsuv_sets_the_variance_to_one():
    """ReLU halves it, on the images LSUV has seen; the mean over units is near, not at, zero."""
    runs = run_small(inits=("lsuv",), activations=("relu",), width=200)
    moments = at_stage(runs, "second_moment")
    assert np.all(np.abs(moments - 0.5) < 4 * np.sqrt(5 / 4 / 200))


@pytest.fixture(scope="module")
def made_up():
    random, num_seeds = np.random.default_rng(0), 30

    def rows(activation, init, sigma, slope, saturation, small=0.5):
        labels = {"activation": activation, "init": init, "sigma": sigma}
        by_layer = np.linspace(saturation, 0, 5)
        samples = np.tile(np.where(np.arange(100) < 100 * small, 0.1, 0.9), (5, 1))
        return [
            labels
            | {"seed": seed, "slope": slope + 0.01 * random.normal(size=1)}
            | {"saturation": by_layer[None] + 0.001 * random.uniform(size=(1, 5))}
            | {"variance": 0.04 - 0.0075 * np.arange(5)[None] * (1 + 0.01 * random.uniform())}
            | {"activation_sample": np.where(random.uniform(size=(1, 5, 100)) < 0.01, 2.0, samples[None])}
            for seed in range(num_seeds)
        ]

    listed = rows("tanh", "normal", 0.10, 0.1, 0.0) + rows("tanh", "normal", 0.28, 0.5, 0.4)
    listed += rows("tanh", "normal", 0.14, 0.1, 0.03) + rows("tanh", "glorot_normal", np.nan, 0.9, 0.0)
    listed += rows("relu", "he_normal", np.nan, 0.0, 0.5, 0.8) + rows("relu", "glorot_normal", np.nan, 0.35, 0.5, 1.0)
    results = Results(initialization.Config(), pd.DataFrame(listed), pd.DataFrame(), {})
    return {v.id: v for v in from_table.judge(load("initialization"), results)[0]}


@pytest.mark.parametrize(
    "id_, verdict, effect",
    [
        ("sigma_vanishing.tanh", "supported", 0.4),
        ("sigma_saturation.tanh", "supported", 0.2),
        ("first_saturates.tanh.0.28", "supported", 0.4),
        ("first_saturates.tanh.0.14", "refuted", 0.03),
        ("first_saturates.tanh.0.1", "refuted", 0.0),
        ("glorot_prevents.tanh", "refuted", 0.9),
        ("glorot_flatter.tanh", "refuted", 0.4),
        ("glorot_saturation.tanh", "supported", 0.0),
        ("he_better", "supported", -0.34),
        ("glorot_small.4", "supported", 0.99),
        ("he_small.5", "supported", 0.79),
    ],
)
def test_judge_on_made_up_measures(made_up, id_, verdict, effect):
    assert made_up[id_].verdict == verdict
    assert made_up[id_].effect == pytest.approx(effect, abs=0.01)


def test_what_was_not_run_is_not_tested(made_up):
    assert {v.verdict for v in made_up.values() if v.id.endswith("sigmoid")} == {"not tested"}
    assert made_up["sigma_vanishing.sigmoid"].n == 0


def test_a_spread_is_that_of_the_last_layer_over_the_first(made_up):
    """Its variance is a quarter, and so its standard deviation a half."""
    claim = next(c for c in initialization.claims(initialization.Config()) if c.id == "well_distributed.sigmoid")
    assert claim.effect.keywords == {"activation": "sigmoid", "init": GLOROT}
    rows = pd.DataFrame({"activation": "tanh", "init": "glorot_normal", "sigma": np.nan, "seed": [0]})
    rows["variance"] = [np.array([[0.04, 0.03, 0.01]])]
    of = Selector(Results(initialization.Config(), rows, pd.DataFrame(), {}), initialization.AXES)
    assert last_spread(of, "tanh", GLOROT).tolist() == [pytest.approx(0.5)]
    assert made_up["well_distributed.sigmoid"].verdict == "not tested"


def test_claims_say_whose_they_are_and_what_for():
    claims = {c.id: c for c in from_table.claims_of(load("initialization"), initialization.Config(depth=9))}
    assert all(c.population == initialization.POPULATION for c in claims.values())
    assert all(c.says and c.where for c in claims.values() if c.source != "ours")
    assert all(c.margin for c in claims.values() if set(c.holds) - {0.0, 1.0, np.inf, -np.inf})
    assert not any("interval" in c.method for c in claims.values())
    # A claim about Glorot is one at a depth.
    assert "9 hidden layers" in claims["glorot_prevents.tanh"].claim
    assert all("9" in c.claim for c in claims.values() if "Glorot" in c.claim)
    assert claims["glorot_prevents.tanh"].holds[1] == pytest.approx(np.log(2) / 8)
    primary = {c.id.split(".")[0] for c in claims.values() if c.primary}
    assert primary == {"sigma_vanishing", "glorot_prevents", "he_better"}


# --- end to end --------------------------------------------------------------------------------


def main(tmp_path, *flags):
    argv = [*flags, "--out", str(tmp_path), "--dataset", "digits"]
    command.main(load("initialization"), argv)


@pytest.mark.usefixtures("hastily")
@pytest.mark.slow
def test_script_end_to_end_with_training(tmp_path):
    flags = "--seeds 2 --epochs 2 --width 8 --num-images 300 --activations tanh relu --optimizer rmsprop"
    main(tmp_path, *flags.split(), "--sigmas", "0.1", "0.28")
    assert_told(load("initialization"), tmp_path)
    summary = pd.read_csv(tmp_path / "summary.csv")
    gradients = pd.read_csv(tmp_path / "gradients.csv")
    labels = {"activation", "init", "sigma", "n", "low", "high"}
    moments = {"second_moment", "theory_second_moment"}
    assert labels | moments | {"layer", "saturation", "grad_norm"} <= set(summary)
    assert labels | {"ratio_first_last", "slope"} <= set(gradients)
    assert len(gradients) == 2 * (6 + 7)  # stages x (tanh 6, relu 7)
    assert len(summary) == 5 * len(gradients)
    trained = gradients[gradients["stage"] == "trained"]
    assert trained["accuracy"].between(0, 1).all()
    assert json.loads((tmp_path / "claims.json").read_text())["claims"]
    for name in ("violins_tanh", "violins_relu", "moments", "gradients", "training"):
        assert (tmp_path / f"{name}.png").stat().st_size > 20_000


@pytest.mark.parametrize(
    "flags, named",
    [(("--depth", "1"), "--depth 1"), (("--sigmas", "-1"), "--sigmas -1"), (("--phase",), "scripts/order_chaos.py")],
)
def test_bad_flags_are_named(tmp_path, capsys, flags, named):
    with pytest.raises(SystemExit) as stop:
        main(tmp_path, *flags)
    assert stop.value.code == 2
    error = capsys.readouterr().err.strip()
    assert named in error.splitlines()[-1]


def test_missing_data_are_an_error_of_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(preparation, "URL", "http://127.0.0.1:9/")
    monkeypatch.delenv(mnist.DATA_DIR_VARIABLE, raising=False)
    with pytest.raises(SystemExit) as stop:
        command.main(load("initialization"), ["--data-dir", str(tmp_path), "--out", str(tmp_path / "out")])
    assert stop.value.code == 2
    assert "--dataset digits" in capsys.readouterr().err


@pytest.mark.parametrize(("layers", "most"), [(5, 5), (100, 11)])
def test_of_many_layers_some_are_named(layers, most):
    figure, axes = plt.subplots(1, 1, squeeze=False)
    violins(axes[0], [np.random.default_rng(0).normal(size=(layers, 20))], "C0")
    figure.draw_without_rendering()
    named = [label.get_text() for label in axes[0, 0].get_xticklabels()]
    assert 2 <= len(named) <= most
    plt.close(figure)
