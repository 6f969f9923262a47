import json
import os
import subprocess
import sys
from functools import cache, partial
from itertools import pairwise, product
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import matplotlib.image
import matplotlib.pyplot as plt
import numpy as np
import optax
import pandas as pd
import pytest

from jaxstudies import study as studies
from jaxstudies import tasks
from jaxstudies.commands import command
from jaxstudies.engine import monte_carlo, tracing
from jaxstudies.engine.execution import Execution
from jaxstudies.evidence.judging import judge_all
from jaxstudies.networks import diagnostics, mnist
from jaxstudies.networks.convnets import LeNet5, average_pool, convolve, dropout, untiled
from jaxstudies.networks.data import Dataset
from jaxstudies.networks.normalization import precise_batch_stats
from jaxstudies.networks.states import start_state, variables
from jaxstudies.output import plotting, stored, table
from jaxstudies.output.table import stacked
from jaxstudies.selection import Selector
from jaxstudies.studies import lenet
from jaxstudies.studies.lenet import notebook, simulation
from jaxstudies.studies.lenet.claims import CLAIMS, CONTRASTS
from jaxstudies.studies.lenet.design import ARMS, load
from jaxstudies.studies.lenet.figures import plot_final
from jaxstudies.studies.lenet.panels import LOOK
from jaxstudies.studies.lenet.papers import PAPERS
from jaxstudies.studies.lenet.simulation import ESTIMATORS, KINDS, NORMS, SPLITS
from jaxstudies.studies.lenet.summary import curves
from jaxstudies.study import Results
from jaxstudies.training import train_step

STUDY = studies.from_module(lenet, "lenet")

ROOT = Path(__file__).parent.parent
EPS = float(jnp.finfo(jnp.float32).eps)


UNITS = (1, 6, 16, 120, 84)  # of the input and the hidden layers
PLAIN = LeNet5()
NORMED = LeNet5(batch_norm=True, input_batch_norm=True)
EXACT = LeNet5(batch_norm=True, input_batch_norm=True, epsilon=0.0)


def images(num=32):
    return jax.random.uniform(jax.random.key(0), (num, 784))


@cache
def init(model):
    return jax.jit(model.init)(jax.random.key(1), images(2))


def without_input_norm(state):
    return {k: {n: v for n, v in t.items() if n != "input_norm"} for k, t in state.items()}


@partial(jax.jit, static_argnums=0)
def apply(model, state, x):
    return model.apply(state, x)


@partial(jax.jit, static_argnums=0)
def by_batch(model, state, x):
    """Logits by the batch's statistics, and the statistics that follow."""
    return model.apply(state, x, batch_statistics=True, mutable=["batch_stats"])


@pytest.mark.parametrize(("channels", "outputs", "size"), [(1, 6, 28), pytest.param(6, 16, 12, marks=pytest.mark.slow)])
def test_convolution_and_its_gradients_are_those_of_flax(channels, outputs, size):
    key, other = jax.random.split(jax.random.key(0))
    x = jax.random.normal(key, (8, size, size, channels))
    conv = nn.Conv(outputs, (5, 5), padding="VALID", use_bias=False)
    kernel = conv.init(other, x)["params"]["kernel"]

    def theirs(kernel, x):
        return conv.apply({"params": {"kernel": kernel}}, x)

    def ours(kernel, x):
        return untiled(convolve(kernel, x.transpose(3, 1, 2, 0))).transpose(3, 1, 2, 0)

    cotangent = jax.random.normal(key, (8, size - 4, size - 4, outputs))

    def with_gradients(convolution):
        def both(kernel, x):
            z, pull = jax.vjp(convolution, kernel, x)
            return z, pull(cotangent)

        return jax.jit(both)(kernel, x)

    y, expected_gradients = with_gradients(theirs)
    z, gradients = with_gradients(ours)
    # Sums of n products of numbers of order 1, in two orders: they differ by about sqrt(n) eps.
    np.testing.assert_allclose(z, y, atol=8 * EPS * (25 * channels) ** 0.5)
    for got, expected in zip(gradients, expected_gradients, strict=True):
        scale = float(jnp.abs(expected).max())
        np.testing.assert_allclose(got, expected, atol=64 * EPS * max(scale, 1.0))


@pytest.mark.slow
def test_plain_network_is_flax_layers_with_the_same_weights():
    x, params = images(60), init(PLAIN)["params"]

    def theirs(params, x):
        h = x.reshape(-1, 28, 28, 1)
        for name, features in (("conv1", 6), ("conv2", 16)):
            h = nn.Conv(features, (5, 5), padding="VALID").apply({"params": params[name]}, h)
            h = nn.avg_pool(nn.sigmoid(h), (2, 2), (2, 2))
        h = h.transpose(0, 3, 1, 2).reshape(len(x), -1)
        for name in ("dense1", "dense2", "output"):
            h = h @ params[name]["kernel"] + params[name]["bias"][None]
            h = h if name == "output" else nn.sigmoid(h)
        return h

    np.testing.assert_allclose(apply(PLAIN, {"params": params}, x), jax.jit(theirs)(params, x), atol=200 * EPS)


def test_average_pool_is_the_mean_of_windows():
    h = jnp.arange(16.0).reshape(1, 4, 4, 1)
    one_tile = h.transpose(0, 2, 1, 3)[:, :, :, None]
    np.testing.assert_array_equal(untiled(one_tile), h)
    np.testing.assert_array_equal(average_pool(one_tile)[0, :, :, 0], [[2.5, 4.5], [10.5, 12.5]])
    several = jax.random.normal(jax.random.key(0), (3, 4, 8, 2, 5))
    windows = untiled(several).reshape(3, 4, 2, 4, 2, 5)
    np.testing.assert_allclose(average_pool(several), windows.mean(axis=(2, 4)), atol=8 * EPS)


def test_arms_start_from_the_same_kernels():
    first, second = (init(LeNet5(ARMS[arm].batch_norm, ARMS[arm].input_batch_norm)) for arm in ("plain", "bn_input"))
    for name in ("conv1", "conv2", "dense1", "dense2", "output"):
        first_kernel, second_kernel = (t["params"][name]["kernel"] for t in (first, second))
        np.testing.assert_array_equal(first_kernel, second_kernel)


@pytest.mark.parametrize(("factor", "shift"), [(0.3, 0.0), (3.0, 2.0), (7.0, -4.0)])
def test_convolution_with_batch_norm_is_affinely_invariant(factor, shift):
    x, state = images(), without_input_norm(init(NORMED))
    y, z = (by_batch(LeNet5(batch_norm=True, epsilon=0.0), state, a)[0] for a in (x, factor * x + shift))
    # Exact but for rounding: the subtraction of a mean that the shift made |shift| / sd larger.
    np.testing.assert_allclose(z, y, atol=1e4 * EPS * (1 + abs(shift) / factor))


def test_batch_norm_on_the_input_is_such_a_map():
    x, state = images(), init(NORMED)
    y, _ = by_batch(EXACT, state, x)
    z, _ = by_batch(LeNet5(batch_norm=True, epsilon=0.0), without_input_norm(state), x)
    np.testing.assert_allclose(z, y, atol=1e4 * EPS)


def test_batch_statistics_move_in_training_only():
    x, state = images(), init(NORMED)

    def statistics(train):
        return jax.jit(lambda state: NORMED.apply(state, x, train=train, mutable=["batch_stats"])[1])(state)

    jax.tree.map(np.testing.assert_array_equal, statistics(False)["batch_stats"], state["batch_stats"])
    old = state["batch_stats"]["input_norm"]["var"]
    new = statistics(True)["batch_stats"]["input_norm"]["var"]
    np.testing.assert_allclose(new, 0.99 * old + 0.01 * x.var()[None], rtol=20 * EPS)


def test_precise_statistics_equal_those_of_one_full_batch():
    x, state = images(), init(NORMED)

    def update(batch_stats, inputs):
        return by_batch(EXACT, state | {"batch_stats": batch_stats}, inputs)[1]["batch_stats"]

    args = (update, state["batch_stats"])
    precise = precise_batch_stats(*args, lambda i: x, 1)
    by_precise = apply(EXACT, state | {"batch_stats": precise}, x)
    np.testing.assert_allclose(by_precise, by_batch(EXACT, state, x)[0], atol=1e3 * EPS)
    # Where a batch's own statistics do not enter, cutting it up changes nothing.
    pieces = x.reshape(4, -1, 784)
    on_input = jax.jit(lambda: precise_batch_stats(*args, lambda i: pieces[i], 4)["input_norm"])()
    for name in ("mean", "var"):
        np.testing.assert_allclose(on_input[name], precise["input_norm"][name], rtol=1e2 * EPS)


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.5])
def test_dropout_drops_its_share_and_keeps_the_mean(rate):
    h = jnp.ones((7, 11, 1301))
    dropped = np.asarray(dropout(jax.random.key(3), h, rate))
    error = (rate * (1 - rate) / h.size) ** 0.5 + 2.0**-17
    assert abs((dropped == 0).mean() - rate) <= 4 * error
    np.testing.assert_allclose(dropped[dropped != 0], 1 / (1 - rate), rtol=2 * EPS)


@pytest.mark.parametrize("position", ["activation", "pooled", "dense", "last"])
def test_dropout_is_active_in_training_only_and_where_it_was_asked_for(position):
    x, state = images(), init(PLAIN)
    model = LeNet5(use_dropout=True, dropout_position=position, input_rate=0.0)
    assert jax.jit(model.apply).lower(state, x).as_text() == jax.jit(PLAIN.apply).lower(state, x).as_text()
    kept = {"rngs": {"dropout": jax.random.key(1)}, "mutable": ["intermediates"]}
    _, seen = jax.jit(lambda state: model.apply(state, x, train=True, **kept))(state)
    layers = seen["intermediates"]["activations"]
    zeros = [float(jnp.mean(h == 0)) for h in layers]
    expected = {
        "activation": [0.5**4, 0.5**4, 0.5, 0.5],
        "pooled": [0.5] * 4,
        "dense": [0.0, 0.0, 0.5, 0.5],
        "last": [0.0, 0.0, 0.0, 0.5],
    }[position]
    for share, p, h in zip(zeros, expected, layers, strict=True):
        assert abs(share - p) <= 4 * (p * (1 - p) / h.size) ** 0.5


def test_correlation_of_units():
    rng = np.random.default_rng(0)
    units = jnp.asarray(rng.normal(size=(5, 4, 1000)) + rng.normal(size=(1, 4, 1000)), jnp.float32)
    covariance = simulation.covariance(diagnostics.unit_moments(units))
    expected = np.abs(np.corrcoef(np.asarray(units).reshape(5, -1)))
    expected = (expected.sum() - 5) / 20
    got = diagnostics.mean_absolute_correlation(covariance)
    np.testing.assert_allclose(got, expected, rtol=1e-4)


def small_data(num_train=40, num_test=10):
    key = jax.random.key(0)
    total = num_train + 2 * num_test
    pixels = jax.random.randint(key, (total, 784), 0, 256).astype(jnp.uint8)
    labels = jax.random.randint(key, (total,), 0, 10).astype(jnp.uint8)
    splits = jnp.asarray(np.repeat([0, 1, 2], [num_train, num_test, num_test]), jnp.int8)
    return simulation.Images(pixels, labels, splits)


def test_evaluation_counts_every_image_once(monkeypatch):
    monkeypatch.setattr(simulation, "EVALUATION_BATCH", 7)  # 60 images do not fill 9 batches
    data = small_data()
    state = start_state(init(PLAIN)["params"], optax.sgd(0.1))
    seen = simulation.evaluate(PLAIN, state, data, lambda x: x / 255.0)
    logits = apply(PLAIN, variables(state), data.images / 255.0)
    right = np.asarray(jnp.argmax(logits, axis=1) == data.labels)
    each = -np.asarray(jax.nn.log_softmax(logits))[np.arange(60), np.asarray(data.labels)]
    for split in range(3):
        members = np.asarray(data.splits) == split
        np.testing.assert_allclose(seen["accuracy"][split], right[members].mean(), rtol=4 * EPS)
        np.testing.assert_allclose(seen["loss"][split], each[members].mean(), rtol=100 * EPS)


def small_config(**changes):
    return lenet.Config(**{"dataset": "digits", "seeds": 2, "epochs": 2} | changes)


def run(config, num_seeds, num_devices=None):
    execution = Execution(num_devices=num_devices, runs_per_device=lenet.RUNS_PER_DEVICE)
    blocks, *_ = monte_carlo.run_design(tasks.task_of(STUDY, config, num_seeds, execution=execution))
    return pd.concat(map(table.to_pandas, blocks), ignore_index=True)


@pytest.mark.usefixtures("hastily")
@pytest.mark.slow
def test_script_end_to_end(tmp_path, monkeypatch):
    # One test for three checks: workers do not share what one of them has run.
    monkeypatch.setattr(simulation, "time_steps", lambda config: {"ms_per_step": np.arange(1, 4)})
    monkeypatch.setitem(plotting.STYLE, "savefig.dpi", 50)
    flags = ["--dataset", "digits", "--seeds", "2", "--epochs", "2", "--out", str(tmp_path)]
    command.main(STUDY, [*flags, "--arms", "plain", "standardized", "bn_input"])  # two programs
    check_files(tmp_path)
    runs = stored.read_runs(tmp_path / "runs.parquet")
    check_batch_norm_parameters(runs)


def check_files(whole):
    summary = pd.read_csv(whole / "summary.csv")
    wanted = ["arm", "estimator", "split", "epoch", "n", "accuracy", "low", "high", "loss"]
    assert list(summary.columns)[: len(wanted)] == wanted
    assert len(summary) == 3 * 2 * 3 * 2
    assert summary["accuracy"].between(0, 1).all()
    assert summary.groupby("arm", sort=False)["ms_per_step"].unique().tolist() == [[1], [2], [3]]
    keys = ["split", "epoch"]
    plain = summary[summary["arm"] == "plain"].set_index(keys)
    running, precise = (plain[plain["estimator"] == e]["loss"] for e in ESTIMATORS)
    pd.testing.assert_series_equal(running, precise)
    for name in ("accuracy", "loss", "final", "batch_norm", "units", "page"):
        assert matplotlib.image.imread(whole / f"{name}.png")[..., :3].std() > 0.05
    verdicts = {v["id"]: v for v in json.loads((whole / "claims.json").read_text())["claims"]}
    assert verdicts["input_bn_beats.running"]["n"] == 2
    assert verdicts["both_beat_bn.precise"]["n"] == 0  # bn_dropout was not run
    assert verdicts["both_beat_bn.precise"]["verdict"] == "not tested"
    assert all(v["population"] == lenet.POPULATION for v in verdicts.values())


def check_batch_norm_parameters(runs):
    plain, standardized, on_input = (group for _, group in runs.groupby("arm", sort=False))
    for layer, units in zip(NORMS, UNITS, strict=True):
        values = stacked(on_input, layer)
        assert values.shape == (2, 4, units) and np.isfinite(values).all()
        assert plain[layer].isna().all()
        finite = np.isfinite(stacked(standardized, layer))
        assert finite.all() if layer != "input_norm" else not finite.any()
    # The input's running variance is that of all pixels, up to what is left of its start at 1.
    _, num_train, _, deviation = load("digits", None)
    left = 0.99 ** (2 * (num_train // 32))
    expected = left + (1 - left) * deviation**2
    variances = stacked(on_input, "input_norm")[:, KINDS.index("var"), 0]
    np.testing.assert_allclose(variances, expected, rtol=0.02)
    np.testing.assert_allclose(stacked(plain, "variance_shift"), 1, rtol=1e-4)


def test_every_arm_returns_the_same_measures():
    config = small_config()
    task = tasks.task_of(STUDY, config, 1)
    shapes = [tracing.trace(task.simulate, group, dict(task.data)).shapes for group in task.design.groups]
    assert [group.positions.tolist() for group in task.design.groups] == [[0], [1, 2, 3], [4], [5]]
    normalized = {name: (len(KINDS), units) for name, units in zip(NORMS, UNITS, strict=True)}
    always = dict.fromkeys(("loss", "accuracy"), (2, 2, 3)) | dict.fromkeys(("variance_shift", "coadaptation"), (4,))
    for found, norms in zip(shapes, ({}, normalized, {}, normalized), strict=True):
        assert {name: a.shape for name, a in found.items()} == always | norms


@pytest.mark.slow
def test_a_step_takes_time():
    seen = lenet.beside(small_config(arms=("plain",)), lambda name, compute: compute())
    assert list(seen["steps"]["arm"]) == ["plain"] and (seen["steps"]["ms_per_step"] > 0).all()


def test_a_config_does_not_start_the_backend_and_settings_fill_in_what_it_leaves_open():
    program = "from jaxstudies.studies import lenet; import jax; lenet.Config();"
    program += "jax.config.update('jax_num_cpu_devices', 3); assert len(jax.devices()) == 3"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)
    (setting,) = lenet.settings(lenet.Config(dataset="digits", arms=("plain",)))
    assert (setting.arguments["num_epochs"], setting.arguments["batch_size"]) == (5, 32)


def selector(runs):
    return Selector(Results(None, runs, pd.DataFrame(), {}), lenet.AXES)


def table_of(final):
    """Runs of one epoch, by arm and seed, whose accuracies and losses are all one number."""
    rows = [
        {"arm": arm, "seed": seed} | {m: np.full((1, 2, 3), value) for m in ("accuracy", "loss")}
        for arm, values in final.items()
        for seed, value in enumerate(values)
    ]
    return selector(pd.DataFrame(rows))


def judge(final):
    return {v.id: v for v in judge_all(CLAIMS, table_of(final))[0]}


def test_equal_arms_are_no_evidence():
    verdicts = judge({"bn_input": [0.9] * 6, "standardized": [0.9] * 6})
    for id_ in ("input_bn_beats.running", "input_equivalent.precise"):
        assert verdicts[id_].verdict == "inconclusive"
        assert "equal" in verdicts[id_].why


def test_a_tie_is_no_support_and_a_small_difference_is_equivalence():
    noise = 1e-4 * np.array([-1.0, 1.0, -2.0, 2.0, -0.5, 0.5])
    verdicts = judge({"bn_input": 0.9 + noise, "standardized": [0.9] * 6})
    assert verdicts["input_bn_beats.running"].verdict == "inconclusive"
    assert verdicts["input_equivalent.precise"].verdict == "supported"
    assert verdicts["train_accuracy_same.running"].verdict == "supported"


def test_interaction_is_the_difference_of_differences():
    final = {"plain": 0.5, "bn_input": 0.6, "dropout": 0.55, "bn_dropout": 0.7}
    verdicts = judge({arm: value + 0.01 * np.arange(3) for arm, value in final.items()})
    assert verdicts["interaction.precise"].effect == pytest.approx(5.0)


def test_claims_say_whose_they_are_and_what_for():
    for claim in lenet.claims(lenet.Config(epochs=5)):
        assert (claim.says != "") == (claim.where != "") == (claim.source != "ours")
        assert claim.margin or not set(claim.holds) - {0.0, np.inf, -np.inf}
        assert "interval" not in claim.method and claim.selection
    primary = {claim.id for claim in lenet.claims(lenet.Config(epochs=5)) if claim.primary}
    assert primary == {
        *("input_bn_beats.running", "input_equivalent.precise", "dropout_between.above.precise"),
        *("dropout_between.below.precise", "both_beat_bn.precise", "both_beat_dropout.precise"),
    }


def papers_of(recovered, shifts, correlations, seeds=7):
    """Judge what papers say, of runs with given gains by precise statistics, shifts and correlations by arm."""
    rows, noise = [], np.random.default_rng(0)
    for arm, gains in recovered.items():
        for seed in range(seeds):
            accuracy = np.full((2, 2, 3), 0.8)
            accuracy[:, ESTIMATORS.index("precise")] += np.array(gains)[:, None] + 0.001 * noise.uniform()
            measures = {"accuracy": accuracy, "loss": np.ones((2, 2, 3))}
            measures["variance_shift"] = np.full(4, shifts[arm]) * np.exp(0.001 * noise.normal(size=4))
            measures["coadaptation"] = np.full(4, correlations[arm]) + 0.001 * noise.normal(size=4)
            rows.append({"arm": arm, "seed": seed} | measures)
    return {v.id: v for v in judge_all(PAPERS, selector(pd.DataFrame(rows)))[0]}


def test_what_papers_say_is_supported_where_it_is_so_and_refuted_where_it_is_otherwise():
    arms = ("plain", "standardized", "bn_input", "raw_bn", "dropout", "bn_dropout", "bn_dropout_last")
    # What is said of running averages, which are all alike here, is not decided.
    alike = {claim.id for claim in PAPERS if claim.id.startswith(("dropout_costs", "remedy.beats"))}
    both = {"bn_dropout": (0.0, 0.05)}
    # A variance that falls in training is a shift like one that rises.
    shifts, correlations = dict.fromkeys(arms, 1.0) | {"bn_dropout": 0.5}, dict.fromkeys(arms, 0.4)
    so = papers_of(dict.fromkeys(arms, (0.03, 0.01)) | both, shifts, correlations | {"dropout": 0.2, "bn_dropout": 0.2})
    assert so["variance_shift"].effect == pytest.approx(2, rel=0.01)
    assert so["precise_recovers.first"].effect == pytest.approx(3, abs=0.2)
    assert so["precise_recovers.fades"].effect == pytest.approx(2, abs=0.2)
    assert so["variance_shift_costs"].effect == pytest.approx(4, abs=0.2)
    assert {v.verdict for v in so.values() if v.id not in alike} == {"supported"}
    both = {"bn_dropout": (0.0, -0.05)}
    otherwise = papers_of(
        dict.fromkeys(arms, (-0.03, -0.01)) | both,
        dict.fromkeys(arms, 1.0) | {"bn_dropout_last": 2.0},
        correlations | {"dropout": 0.6, "bn_dropout": 0.6},
    )
    assert {v.verdict for v in otherwise.values() if v.id not in alike} == {"refuted"}
    assert {verdicts[id_].verdict for id_ in alike for verdicts in (so, otherwise)} == {"inconclusive"}


def test_dropout_behind_the_last_batch_norm_is_held_against_it_before_and_against_none():
    final = {"bn_input": 0.9, "bn_dropout": 0.8, "bn_dropout_last": 0.91}
    remedies = [claim for claim in PAPERS if claim.id.startswith("remedy.beats")]
    noise = 1 + 1e-4 * np.random.default_rng(0).normal(size=7)
    verdicts = {v.id: v for v in judge_all(remedies, table_of({arm: value * noise for arm, value in final.items()}))[0]}
    assert verdicts["remedy.beats_before"].effect == pytest.approx(11, abs=0.1)
    assert verdicts["remedy.beats_none"].effect == pytest.approx(1, abs=0.1)


def at_budgets(num_epochs, seeds=8, arms=notebook.REPORTED):
    """Runs whose test accuracy is, in percent, 90 plus the epoch over 10, one point more with both."""
    rows = []
    for arm, seed in product(arms, range(seeds)):
        curve = 0.9 + 0.001 * np.arange(1, num_epochs + 1) + 0.01 * (arm == "bn_dropout") + 1e-5 * seed
        accuracy = np.broadcast_to(curve[:, None, None], (num_epochs, 2, 3))
        rows.append({"arm": arm, "seed": seed, "accuracy": accuracy, "loss": np.ones((num_epochs, 2, 3))})
    return Results(lenet.Config(), pd.DataFrame(rows), pd.DataFrame(), {})


def test_the_notebook_s_budgets_are_its_own_in_claims_table_and_figure():
    verdicts = {v.id: v for v in judge_all(notebook.CLAIMS, Selector(at_budgets(15), lenet.AXES))[0]}
    assert verdicts["own_budgets.above"].effect == pytest.approx(1)  # 15 epochs against 5
    assert verdicts["own_budgets.both_bn"].effect == pytest.approx(2)
    assert verdicts["own_budgets.both_dropout"].effect == pytest.approx(1)
    table = lenet.tables(at_budgets(15))["notebook"].set_index("arm")
    assert table.loc["bn_dropout", "median"] == pytest.approx(92.5, abs=0.01)
    assert table["share_below"].tolist() == [1, 1, 1, 1]
    assert set(notebook.plot(at_budgets(15), LOOK)) == {"notebook"}


def test_fewer_epochs_than_the_notebook_s_are_not_held_against_it():
    few = at_budgets(5)
    verdicts = {v.id: v.verdict for v in judge_all(notebook.CLAIMS, Selector(few, lenet.AXES))[0]}
    assert verdicts["own_budgets.above"] == "not tested" and verdicts["own_budgets.input_bn"] != "not tested"
    assert set(lenet.tables(few)["notebook"]["arm"]) == {"raw_bn", "bn_input"}
    assert lenet.tables(at_budgets(2)) == {} == notebook.plot(at_budgets(2), LOOK)


def test_what_the_notebook_says_of_its_networks_of_5_epochs_is_held_against_such_alone():
    ids = {claim.id for claim in notebook.OF_ONE_BUDGET}
    for epochs in (4, 5, 15):
        asked = {claim.id for claim in lenet.claims(lenet.Config(epochs=epochs))}
        assert ids <= asked if epochs == 5 else not ids & asked
    rows = at_budgets(5).runs
    # On the training images one arm is 0.01 more accurate, and its loss a tenth of the other's.
    better = (rows["arm"] == "bn_input").to_numpy()
    factors = np.where(better[:, None, None, None], 0.1, 1.0)
    rows["loss"] = list(np.stack(list(rows["loss"])) * factors)
    rows["accuracy"] = [a + 0.01 * (arm == "bn_input") for a, arm in zip(rows["accuracy"], rows["arm"], strict=True)]
    of = Selector(Results(lenet.Config(), rows, pd.DataFrame(), {}), lenet.AXES)
    effects = {v.id.partition(".")[2]: v.effect for v in judge_all(notebook.OF_ONE_BUDGET, of)[0]}
    assert effects == pytest.approx({"train_accuracy": 1.0, "train_loss": -0.9, "test_loss": -0.9})


def test_names_of_all_differences_do_not_overlap():
    figure = plot_final(at_budgets(5, arms=ARMS))
    figure.canvas.draw()
    boxes = [label.get_window_extent() for label in figure.axes[1].get_yticklabels()]
    plt.close(figure)
    assert len(boxes) == len(CONTRASTS)
    assert all(lower.y1 < upper.y0 for upper, lower in pairwise(boxes))


def test_dropout_elsewhere_is_an_arm_s_own():
    config = small_config(arms=tuple(ARMS), input_rate=0.3, dropout_position="pooled")
    asked = {s.labels["arm"]: s.arguments["dropout"] for s in lenet.settings(config)}
    assert asked["bn_dropout"] == asked["dropout"] == ("pooled", 0.3, 0.5)
    assert asked["bn_dropout_dense"] == asked["dropout_dense"] == ("dense", 0.0, 0.5)
    assert asked["bn_dropout_last"] == ("last", 0.0, 0.5) and asked["plain"] is None


def test_spikes_are_the_largest_rises_of_the_validation_loss():
    losses = np.zeros((4, 2, 3))
    losses[:, ESTIMATORS.index("running"), SPLITS.index("validation")] = 1.0, 3.0, 0.5, 1.5
    losses[:, ESTIMATORS.index("precise"), SPLITS.index("validation")] = 1.0, 0.5, 1.0, 0.25
    runs = pd.DataFrame({"arm": "raw_bn", "seed": [0, 1], "loss": [losses, 0 * losses]})
    runs["accuracy"] = runs["loss"]
    of = selector(runs)
    verdicts = {v.id: v for v in judge_all(CLAIMS, of)[0]}
    assert verdicts["spikes.larger"].effect == pytest.approx((1.5 + 0) / 2)
    assert verdicts["spikes.gone"].effect == pytest.approx((0.1 * 2 - 0.5 + 0) / 2)  # a quarter is left
    assert verdicts["spikes.larger"].n == 2
    # Where nothing rises, there is nothing to explain.
    assert judge({"raw_bn": [0.5] * 3})["spikes.larger"].n == 0


def test_networks_that_diverged_are_not_compared():
    """Their largest output, NaN as all, is the first one, so that they have an accuracy."""
    losses = np.full((3, 2, 3), 0.5) + np.array([0.0, 1.0, 0.0])[:, None, None]
    diverged = losses.copy()
    diverged[1:, ESTIMATORS.index("running")] = np.nan
    rows = [
        ("bn_input", 0, losses),
        ("bn_input", 1, losses),
        ("standardized", 0, losses),
        ("standardized", 1, diverged),
    ]
    runs = pd.DataFrame(rows, columns=["arm", "seed", "loss"]).assign(accuracy=[np.full((3, 2, 3), 0.1)] * 4)
    verdicts = {v.id: v for v in judge_all(CLAIMS, selector(runs))[0]}
    assert verdicts["input_bn_beats.running"].n == 1 and verdicts["input_equivalent.precise"].n == 2
    # A rise that one estimator alone has told of is no difference between the two.
    assert verdicts["spikes.larger"].effect == 0 and verdicts["spikes.larger"].n == 2


def test_training_step_with_dropout_and_batch_norm_follows_its_keys():
    model = LeNet5(batch_norm=True, use_dropout=True)
    optimizer = optax.adam(1e-3)
    initial = without_input_norm(init(NORMED))
    state = start_state(initial["params"], optimizer, initial["batch_stats"])
    batch = Dataset(images(16), jax.nn.one_hot(jnp.arange(16) % 10, 10))
    kinds = {"model": model, "optimizer": optimizer, "loss_fn": optax.losses.softmax_cross_entropy}
    step = jax.jit(lambda key: train_step(state, batch, key, **kinds)[1])
    first, again, other = (step(jax.random.key(k)) for k in (1, 1, 2))
    assert first == again and first != other
    assert variables(state)["batch_stats"]


def test_bad_flags_in_one_line(capsys, tmp_path):
    for flags, word in (
        (["--arms", "nothing"], "--arms"),
        (["--hidden-rate", "1.5"], "--hidden-rate 1.5"),
        (["--epochs", "0"], "--epochs 0"),
    ):
        with pytest.raises(SystemExit) as stop:
            command.main(STUDY, [*flags, "--out", str(tmp_path)])
        error = capsys.readouterr().err
        assert stop.value.code == 2 and word in error and error.count("\n") == 1


def mnist_is_there():
    directory = os.environ.get(mnist.DATA_DIR_VARIABLE)
    return directory is not None and Path(directory).is_dir()


@pytest.mark.slow
@pytest.mark.skipif(not mnist_is_there(), reason="no MNIST in JAXSTUDIES_DATA_DIR")
def test_one_epoch_of_mnist_reaches_90_percent():
    config = lenet.Config(seeds=1, epochs=1, arms=("standardized",))
    runs = run(config, num_seeds=1, num_devices=1)
    assert curves(runs, "accuracy", "precise", "test")[0, -1] >= 0.9
