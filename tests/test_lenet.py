import json
import os
import subprocess
import sys
import time
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import matplotlib.image
import numpy as np
import pandas as pd
import pytest

from jaxstudies import cli, diagnostics, mnist, results
from jaxstudies.convnets import LeNet5, average_pool, convolve, dropout
from jaxstudies.data import Dataset
from jaxstudies.stats import mean_interval
from jaxstudies.studies import lenet, lenet_claims, lenet_networks
from jaxstudies.training import init_state, precise_batch_stats, train_step, variables

ROOT = Path(__file__).parent.parent
EPS = float(jnp.finfo(jnp.float32).eps)


def images(key, num=16):
    return jax.random.uniform(jax.random.key(key), (num, 784))


def init(model, x, key=1):
    return jax.jit(model.init)(jax.random.key(key), x)


def by_batch(model, state, x):
    """Logits by the batch's statistics, and the statistics that follow."""
    return jax.jit(
        lambda state, x: model.apply(state, x, batch_statistics=True, mutable=["batch_stats"])
    )(state, x)


@pytest.mark.parametrize(("channels", "outputs", "size"), [(1, 6, 28), (6, 16, 12)])
def test_convolution_and_its_gradients_are_those_of_flax(channels, outputs, size):
    key, other = jax.random.split(jax.random.key(0))
    x = jax.random.normal(key, (8, size, size, channels))
    conv = nn.Conv(outputs, (5, 5), padding="VALID", use_bias=False)
    kernel = conv.init(other, x)["params"]["kernel"]

    def theirs(kernel, x):
        return conv.apply({"params": {"kernel": kernel}}, x)

    def ours(kernel, x):
        return convolve(kernel, x.transpose(3, 1, 2, 0)).transpose(3, 1, 2, 0)

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


def test_plain_network_is_flax_layers_with_the_same_weights():
    x = images(0, 4)
    model = LeNet5()
    params = init(model, x)["params"]
    h = x.reshape(4, 28, 28, 1)
    for name, features in (("conv1", 6), ("conv2", 16)):
        h = nn.Conv(features, (5, 5), padding="VALID").apply({"params": params[name]}, h)
        h = nn.avg_pool(nn.sigmoid(h), (2, 2), (2, 2))
    h = h.transpose(0, 3, 1, 2).reshape(4, -1)
    for name in ("dense1", "dense2", "output"):
        h = h @ params[name]["kernel"] + params[name]["bias"][None]
        h = h if name == "output" else nn.sigmoid(h)
    np.testing.assert_allclose(jax.jit(model.apply)({"params": params}, x), h, atol=200 * EPS)


def test_average_pool_is_the_mean_of_windows():
    h = jnp.arange(16.0).reshape(1, 4, 4, 1)
    np.testing.assert_array_equal(average_pool(h)[0, :, :, 0], [[2.5, 4.5], [10.5, 12.5]])


def test_arms_start_from_the_same_kernels():
    first, second = (
        init(LeNet5(arm.batch_norm, arm.input_batch_norm), images(0, 2))
        for arm in (lenet.ARMS["plain"], lenet.ARMS["bn_input"])
    )
    for name in ("conv1", "conv2", "dense1", "dense2", "output"):
        first_kernel, second_kernel = (t["params"][name]["kernel"] for t in (first, second))
        np.testing.assert_array_equal(first_kernel, second_kernel)


@pytest.mark.parametrize(("factor", "shift"), [(0.3, 0.0), (3.0, 2.0), (7.0, -4.0)])
def test_convolution_with_batch_norm_is_affinely_invariant(factor, shift):
    x = images(0, 32)
    model = LeNet5(batch_norm=True, epsilon=0.0)
    state = init(model, x)
    y, z = (by_batch(model, state, a)[0] for a in (x, factor * x + shift))
    # Exact but for rounding: the subtraction of a mean that the shift made |shift| / sd larger.
    np.testing.assert_allclose(z, y, atol=1e4 * EPS * (1 + abs(shift) / factor))


def test_batch_norm_on_the_input_is_such_a_map():
    x = images(0, 32)
    with_input = LeNet5(batch_norm=True, input_batch_norm=True, epsilon=0.0)
    without = LeNet5(batch_norm=True, epsilon=0.0)
    state = init(with_input, x)
    kept = {k: {n: v for n, v in t.items() if n != "input_norm"} for k, t in state.items()}
    y, z = (by_batch(model, s, x)[0] for model, s in ((with_input, state), (without, kept)))
    np.testing.assert_allclose(z, y, atol=1e4 * EPS)


def test_batch_statistics_move_in_training_only():
    x = images(0)
    model = LeNet5(batch_norm=True, input_batch_norm=True)
    state = init(model, x)
    _, still = model.apply(state, x, mutable=["batch_stats"])
    jax.tree.map(np.testing.assert_array_equal, still["batch_stats"], state["batch_stats"])
    _, moved = model.apply(state, x, train=True, mutable=["batch_stats"])
    old = state["batch_stats"]["input_norm"]["var"]
    new = moved["batch_stats"]["input_norm"]["var"]
    np.testing.assert_allclose(new, 0.99 * old + 0.01 * x.var()[None], rtol=20 * EPS)


def test_precise_statistics_equal_those_of_one_full_batch():
    x = images(0, 64)
    model = LeNet5(batch_norm=True, input_batch_norm=True)
    state = init(model, x)
    args = (model, state["params"], state["batch_stats"])
    precise = precise_batch_stats(*args, lambda i: x, 1)
    by_precise = jax.jit(model.apply)({"params": state["params"], "batch_stats": precise}, x)
    np.testing.assert_allclose(by_precise, by_batch(model, state, x)[0], atol=1e3 * EPS)
    # Where a batch's own statistics do not enter, cutting it up changes nothing.
    pieces = x.reshape(4, 16, 784)
    parts = precise_batch_stats(*args, lambda i: pieces[i], 4)
    for name in ("mean", "var"):
        np.testing.assert_allclose(
            parts["input_norm"][name], precise["input_norm"][name], rtol=1e2 * EPS
        )


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.5])
def test_dropout_drops_its_share_and_keeps_the_mean(rate):
    h = jnp.ones((7, 11, 1301))
    dropped = np.asarray(dropout(jax.random.key(3), h, rate))
    error = (rate * (1 - rate) / h.size) ** 0.5 + 2.0**-17
    assert abs((dropped == 0).mean() - rate) <= 4 * error
    np.testing.assert_allclose(dropped[dropped != 0], 1 / (1 - rate), rtol=2 * EPS)


@pytest.mark.parametrize("position", ["activation", "pooled", "dense"])
def test_dropout_is_active_in_training_only_and_where_it_was_asked_for(position):
    x = images(0)
    model = LeNet5(use_dropout=True, dropout_position=position, input_rate=0.0)
    state = init(model, x)
    evaluated = jax.jit(model.apply)(state, x)
    np.testing.assert_array_equal(evaluated, jax.jit(LeNet5().apply)(state, x))
    _, seen = jax.jit(
        lambda state: model.apply(
            state, x, train=True, rngs={"dropout": jax.random.key(1)}, mutable=["intermediates"]
        )
    )(state)
    layers = seen["intermediates"]["activations"]
    zeros = [float(jnp.mean(h == 0)) for h in layers]
    expected = {"activation": [0.5**4] * 2, "pooled": [0.5] * 2, "dense": [0.0] * 2}[position]
    for share, p, h in zip(zeros, [*expected, 0.5, 0.5], layers, strict=True):
        assert abs(share - p) <= 4 * (p * (1 - p) / h.size) ** 0.5


def test_correlation_of_units():
    rng = np.random.default_rng(0)
    units = jnp.asarray(rng.normal(size=(5, 4, 1000)) + rng.normal(size=(1, 4, 1000)), jnp.float32)
    covariance = lenet_networks.covariance(diagnostics.unit_moments(units))
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
    return lenet_networks.Images(pixels, labels, splits)


def test_evaluation_counts_every_image_once(monkeypatch):
    monkeypatch.setattr(lenet_networks, "EVALUATION_BATCH", 7)  # 60 images do not fill 9 batches
    data = small_data()
    model = LeNet5()
    state = init(model, jnp.zeros((1, 784)))
    losses, accuracies = lenet_networks.evaluate(model, state, data, lambda x: x / 255.0)
    logits = model.apply(state, data.images / 255.0)
    right = np.asarray(jnp.argmax(logits, axis=1) == data.labels)
    each = -np.asarray(jax.nn.log_softmax(logits))[np.arange(60), np.asarray(data.labels)]
    for split in range(3):
        members = np.asarray(data.splits) == split
        np.testing.assert_allclose(accuracies[split], right[members].mean(), rtol=4 * EPS)
        np.testing.assert_allclose(losses[split], each[members].mean(), rtol=100 * EPS)


def small_config(**changes):
    return lenet.Config(**{"dataset": "digits", "seeds": 2, "epochs": 2} | changes)


def test_script_end_to_end(tmp_path):
    # One test for three checks: workers do not share what one of them has run.
    cli.main(
        lenet,
        ["--dataset", "digits", "--seeds", "2", "--epochs", "2", "--out", str(tmp_path),
         "--arms", "plain", "standardized", "bn_dropout"],
    )  # fmt: skip
    check_files(tmp_path)
    runs = results.read_runs(tmp_path / "runs.parquet")
    check_batch_norm_parameters(runs)
    check_prefix(runs)


def check_files(whole):
    summary = pd.read_csv(whole / "summary.csv")
    wanted = ["arm", "estimator", "split", "epoch", "n", "accuracy", "low", "high", "loss"]
    assert list(summary.columns)[: len(wanted)] == wanted
    assert len(summary) == 3 * 2 * 3 * 2
    assert summary["accuracy"].between(0, 1).all() and (summary["ms_per_step"] > 0).all()
    keys = ["split", "epoch"]
    plain = summary[summary["arm"] == "plain"].set_index(keys)
    running, precise = (plain[plain["estimator"] == e]["loss"] for e in lenet.ESTIMATORS)
    pd.testing.assert_series_equal(running, precise)
    for name in ("accuracy", "loss", "final", "batch_norm", "units", "page"):
        assert matplotlib.image.imread(whole / f"{name}.png")[..., :3].std() > 0.05
    verdicts = {v["id"]: v for v in json.loads((whole / "claims.json").read_text())}
    assert verdicts["input_bn_beats.running"]["n"] == 0  # bn_input was not run
    assert verdicts["both_beat_bn.running"]["verdict"] == "inconclusive"


def check_batch_norm_parameters(runs):
    row = runs[runs["arm"] == "bn_dropout"].iloc[0]
    for layer, units in {"input": 1, "conv1": 6, "conv2": 16, "dense1": 120, "dense2": 84}.items():
        for kind in ("scale", "bias", "mean", "var"):
            values = row.filter(regex=rf"^{layer}_{kind}_\d+$").astype(float)
            assert len(values) == units and np.isfinite(values).all()
    # The input's running variance is that of all pixels, up to what is left of its start at 1.
    _, num_train, (_, deviation) = lenet.load(small_config())
    steps = 2 * (num_train // 32)
    left = 0.99**steps
    expected = left + (1 - left) * deviation**2
    np.testing.assert_allclose(row["input_var_1"], expected, rtol=0.02)
    plain = runs[runs["arm"] == "plain"]
    np.testing.assert_allclose(plain.filter(like="variance_shift").to_numpy(float), 1, rtol=1e-4)


def check_prefix(runs):
    alone = lenet.run(small_config(seeds=1, arms=("standardized",)))
    names = [c for c in alone if c.endswith(("loss_2", "loss_1"))]
    same = runs[(runs["arm"] == "standardized") & (runs["seed"] == 0)][names]
    np.testing.assert_allclose(alone[names], same, rtol=1e-4)


def test_equal_arms_do_not_count_as_better():
    arms = {"bn_input": 0.9, "standardized": 0.9}
    rows = [
        {"arm": arm, "seed": seed, "dataset": "digits", "ms_per_step": 1.0}
        | {f"{e}_{s}_{m}_1": value for e in lenet.ESTIMATORS for s in lenet.SPLITS
           for m in ("accuracy", "loss")}
        for arm, value in arms.items() for seed in range(3)
    ]  # fmt: skip
    verdicts = {v.id: v.verdict for v in lenet.judge(pd.DataFrame(rows))}
    assert verdicts["input_bn_beats.running"] == "refuted"
    assert verdicts["input_equivalent.precise"] == "supported"


def test_interaction_is_the_difference_of_differences():
    final = {"plain": 0.5, "bn_input": 0.6, "dropout": 0.55, "bn_dropout": 0.7}
    runs = pd.DataFrame(
        [{"arm": arm, "seed": s, "running_test_accuracy_1": value + 0.01 * s}
         for arm, value in final.items() for s in range(3)]
    )  # fmt: skip
    weights = {"bn_dropout": 1.0, "bn_input": -1.0, "dropout": -1.0, "plain": 1.0}
    effect = mean_interval(lenet_claims.contrast(runs, weights, "running"))[0]
    assert effect == pytest.approx(5.0)


def test_training_step_with_dropout_and_batch_norm_follows_its_keys():
    import optax

    model = LeNet5(batch_norm=True, use_dropout=True)
    optimizer = optax.adam(1e-3)
    state = jax.jit(lambda key: init_state(key, model, optimizer, images(0)))(jax.random.key(0))
    batch = Dataset(images(0), jax.nn.one_hot(jnp.arange(16) % 10, 10))
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
            cli.main(lenet, [*flags, "--out", str(tmp_path)])
        error = capsys.readouterr().err
        assert stop.value.code == 2 and word in error and error.count("\n") == 1


@pytest.mark.slow
def test_killed_run_resumes_at_the_last_finished_chunk(tmp_path):
    command = [sys.executable, str(ROOT / "scripts" / "lenet.py"), "--dataset", "digits",
               "--arms", "plain", "--seeds", "12", "--chunk-size", "2", "--epochs", "6",
               "--out", str(tmp_path)]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment)
    deadline = time.time() + 300
    while len(list(tmp_path.glob("parts/*/0001-*.npz"))) < 2 and time.time() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()
    kept = len(list(tmp_path.glob("parts/*/0001-*.npz")))
    assert kept >= 2 and not (tmp_path / "runs.parquet").exists()
    subprocess.run(command, check=True, capture_output=True, env=environment)
    settings = json.loads((tmp_path / "config.json").read_text())["settings"]
    assert settings[1]["part"] == "study" and settings[1]["seeds_run"] == 12 - 2 * kept


def mnist_is_there():
    directory = os.environ.get(mnist.DATA_DIR_VARIABLE)
    return directory is not None and Path(directory).is_dir()


@pytest.mark.slow
@pytest.mark.skipif(not mnist_is_there(), reason="no MNIST in JAXSTUDIES_DATA_DIR")
def test_one_epoch_of_mnist_reaches_90_percent():
    config = lenet.Config(seeds=1, epochs=1, arms=("standardized",))
    runs = lenet.run(config, num_devices=1)
    assert runs["precise_test_accuracy_1"].iloc[0] >= 0.9
