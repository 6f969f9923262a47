import inspect
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxstudies import training
from jaxstudies.networks import batches, states
from jaxstudies.networks.data import Dataset
from jaxstudies.networks.models import MLP, initializer, leaky_relu
from jaxstudies.networks.normalization import precise_batch_stats

squared_error = optax.losses.squared_error


class Affine(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        return nn.Dense(1)(x)


class Noisy(nn.Module):
    """A network with everything that a training step must carry."""

    @nn.compact
    def __call__(self, x, train=False):
        h = nn.BatchNorm(use_running_average=not train, momentum=0.9)(nn.Dense(4)(x))
        return nn.Dense(1)(nn.Dropout(0.5, deterministic=not train)(nn.relu(h)))


def linear_data(n=64):
    x = jax.random.normal(jax.random.key(1), (n, 3))
    y = x @ jnp.array([[1.0], [-2.0], [0.5]]) + 0.3
    return Dataset(x, y)


def stepped(key, model, optimizer, data):
    """Return the state of a network before and after a step, in NumPy's arrays, and the loss."""

    @jax.jit
    def run(data):
        state = states.init_state(key, model, optimizer, data.inputs)
        how = {"model": model, "optimizer": optimizer, "loss_fn": squared_error}
        return state, *training.train_step(state, data, jax.random.key(2), **how)

    return jax.tree.map(np.asarray, run(data))


def test_one_sgd_step_equals_the_hand_formula():
    data, rate = linear_data(), 0.1
    state, after, loss = stepped(jax.random.key(0), Affine(), optax.sgd(rate), data)
    w, b = (state.params["Dense_0"][name] for name in ("kernel", "bias"))
    inputs, targets = map(np.asarray, data)
    residual = inputs @ w + b - targets
    np.testing.assert_allclose(loss, np.mean(residual**2), rtol=1e-6)
    gradient = 2 * inputs.T @ residual / len(residual)
    np.testing.assert_allclose(after.params["Dense_0"]["kernel"], w - rate * gradient, rtol=1e-5)
    np.testing.assert_allclose(after.params["Dense_0"]["bias"], b - rate * 2 * residual.mean(axis=0), rtol=1e-5)


@pytest.mark.parametrize("num_examples", [1, 7, 8, 20])
def test_mean_loss_in_blocks_is_the_mean_over_all_examples(num_examples):
    data, model = linear_data(num_examples), Noisy()
    state = states.init_state(jax.random.key(0), model, optax.sgd(0.1), data.inputs)
    got = states.mean_loss(model, state, data, squared_error, block_size=8)
    predictions = model.apply(states.variables(state), data.inputs)
    np.testing.assert_allclose(predictions, states.predict(model, state, data.inputs))
    blocks = states.predict_blocks(model, state, data.inputs, block_size=8)
    np.testing.assert_allclose(blocks, predictions, rtol=1e-5)
    expected = jnp.mean((predictions - data.targets) ** 2)
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_gradient_equals_backpropagation_by_hand():
    model = MLP(2, 2, 1, partial(leaky_relu, 0.0), initializer("pytorch_default"))
    data = Dataset(jnp.array([[0.7], [-0.4], [1.3]]), jnp.array([[0.7], [0.4], [1.3]]))
    state, after, _ = stepped(jax.random.key(5), model, optax.sgd(1.0), data)
    p = state.params["layers"]
    w1, w2, w3 = p["first"].kernel, p["hidden"].kernel[0], p["last"].kernel
    b1, b2, b3 = p["first"].bias, p["hidden"].bias[0], p["last"].bias
    x, y = map(np.asarray, data)
    z1 = x @ w1 + b1
    h1 = np.maximum(z1, 0)
    z2 = h1 @ w2 + b2
    h2 = np.maximum(z2, 0)
    d3 = 2 * (h2 @ w3 + b3 - y) / len(x)
    d2 = (d3 @ w3.T) * (z2 > 0)
    d1 = (d2 @ w2.T) * (z1 > 0)
    q = after.params["layers"]
    pairs = [
        (w3 - q["last"].kernel, h2.T @ d3),
        (b3 - q["last"].bias, d3.sum(axis=0)),
        (w2 - q["hidden"].kernel[0], h1.T @ d2),
        (b2 - q["hidden"].bias[0], d2.sum(axis=0)),
        (w1 - q["first"].kernel, x.T @ d1),
        (b1 - q["first"].bias, d1.sum(axis=0)),
    ]
    for got, expected in pairs:
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)


def test_least_squares_reaches_the_normal_equations():
    data = linear_data()
    state, history = training.fit(
        jax.random.key(0), Affine(), optax.sgd(0.1), squared_error, data, num_epochs=200, batch_size=len(data.inputs)
    )
    design = np.hstack([data.inputs, np.ones((64, 1))])
    solution = np.linalg.lstsq(design, np.asarray(data.targets))[0]
    got = np.vstack([state.params["Dense_0"]["kernel"], state.params["Dense_0"]["bias"][None]])
    np.testing.assert_allclose(got, solution, atol=1e-5)
    assert history.shape == (200,)


def test_no_epochs_leave_the_network_as_initialized():
    data, model = linear_data(), Affine()
    fit = partial(training.fit, jax.random.key(4), model, optax.adam(1e-2), squared_error, data)
    state, history = fit(num_epochs=0, batch_size=8)
    init_key = jax.random.split(jax.random.key(4), 3)[0]
    jax.tree.map(np.testing.assert_array_equal, state.params, model.init(init_key, data.inputs)["params"])
    assert history.shape == (0,)


@pytest.mark.parametrize("fused", [None, False])
def test_inputs_in_parts_are_as_many_examples_as_one_array_has(fused):
    data = linear_data(8)

    def joined(batch):
        return Dataset(jnp.concatenate(jax.tree.leaves(batch.inputs), axis=1), batch.targets)

    parts = {
        "tuple": (data.inputs[:, :1], data.inputs[:, 1:]),
        "names": {"a": data.inputs[:, :2], "b": data.inputs[:, 2:]},
    }
    how = {"num_epochs": 2, "batch_size": 4, "fused": fused}
    whole = training.fit(jax.random.key(0), Affine(), optax.sgd(0.1), squared_error, data, **how)
    for inputs in parts.values():
        split = Dataset(inputs, data.targets)
        found = training.fit(jax.random.key(0), Affine(), optax.sgd(0.1), squared_error, split, prepare=joined, **how)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), found, whole)


def test_an_epoch_takes_every_example_once():
    """With a learning rate of 0 the mean loss of an epoch is that of the whole set."""
    data = linear_data()
    state, history = training.fit(
        jax.random.key(0), Affine(), optax.sgd(0.0), squared_error, data, num_epochs=3, batch_size=8
    )
    predictions = Affine().apply({"params": state.params}, data.inputs)
    whole = squared_error(predictions, data.targets).mean()
    np.testing.assert_allclose(history, jnp.full(3, whole), rtol=1e-5)


def test_batch_statistics_and_dropout_act_in_training_only():
    data, model = linear_data(), Noisy()
    fit = partial(training.fit, jax.random.key(0), model, optax.sgd(0.0), squared_error, data)
    born, _ = fit(num_epochs=0, batch_size=16)
    after, history = fit(num_epochs=2, batch_size=16)
    jax.tree.map(np.testing.assert_array_equal, born.params, after.params)
    moved = jax.tree.map(lambda a, b: bool(jnp.any(a != b)), born.batch_stats, after.batch_stats)
    assert all(jax.tree.leaves(moved))
    assert history[0] != history[1]  # nothing but dropout and the order can tell them apart
    a, b = (model.apply(states.variables(after), data.inputs) for _ in range(2))
    np.testing.assert_array_equal(a, b)


def test_a_batch_larger_than_the_data_is_all_of_it():
    data = linear_data(10)
    fit = partial(training.fit, jax.random.key(0), Affine(), optax.sgd(0.1), squared_error, data)
    few, many = (fit(num_epochs=3, batch_size=size)[1] for size in (10, 64))
    np.testing.assert_array_equal(few, many)


@pytest.mark.parametrize("batch_size", [7, 64])
def test_runs_with_one_shuffle_key_share_the_order(batch_size):
    data = linear_data()
    fit = partial(
        training.fit,
        model=Affine(),
        optimizer=optax.sgd(0.0),
        loss_fn=squared_error,
        data=data,
        num_epochs=2,
        batch_size=batch_size,
    )
    # With no learning and one network, the losses differ by the order alone.
    state = states.init_state(jax.random.key(0), Affine(), optax.sgd(0.0), data.inputs)
    train = jax.jit(lambda key, shuffle: fit(key, state=state, shuffle_key=shuffle).history)
    first, same, other = (train(*map(jax.random.key, pair)) for pair in ((1, 9), (2, 9), (1, 8)))
    np.testing.assert_array_equal(first, same)
    # A batch of all examples has one order, that in which they stand.
    assert bool(jnp.all(first == other)) == (batch_size == 64)


def test_a_full_batch_is_not_shuffled():
    np.testing.assert_array_equal(batches.epoch_batches(jax.random.key(0), 10, 12), jnp.arange(10)[None])


@pytest.mark.parametrize("num_examples", [1, 2, 7, 1000, 2**17 + 1])
def test_a_random_order_is_a_permutation(num_examples):
    order = batches.random_order(jax.random.key(0), num_examples)
    np.testing.assert_array_equal(jnp.sort(order), jnp.arange(num_examples))


def test_all_orders_of_four_are_as_frequent():
    number, orders = 24_000, 24
    keys = jax.random.split(jax.random.key(3), number)
    drawn = np.asarray(jax.jit(jax.vmap(lambda key: batches.random_order(key, 4)))(keys))
    counts = np.unique(drawn, axis=0, return_counts=True)[1]
    assert len(counts) == orders
    # Chi squared with 23 degrees of freedom: beyond 58.6 in 6 of 100,000, as four standard errors.
    expected = number / orders
    assert ((counts - expected) ** 2 / expected).sum() < 58.6


def test_every_place_of_a_packed_order_is_uniform():
    """In the largest packed order examples share 15 random bits, and the smaller goes first."""
    n, number = 2**17, 40
    keys = jax.random.split(jax.random.key(5), number)
    orders = np.asarray(jax.jit(jax.vmap(lambda key: batches.random_order(key, n)))(keys))
    quarter = orders[:, : n // 4].astype(float)
    # Means of draws without replacement: variance (n^2 / 12) (1 - 1/4) / (n / 4) each.
    error = (n**2 / 12 * 0.75 / (n / 4) / number) ** 0.5
    assert abs(quarter.mean() - (n - 1) / 2) < 4 * error


def test_a_function_of_the_step_gives_the_batches_of_an_array():
    data = linear_data()

    def batch_of(step):
        rows = (step % 8) * 8 + jnp.arange(8)
        return batches.take(data, rows)

    fit = partial(training.fit, jax.random.key(0), Affine(), optax.sgd(0.1), squared_error)
    _, history = fit(batch_of, num_epochs=3, num_steps=8)
    state = fit(batch_of, num_epochs=0, num_steps=8).state
    expected = []
    for step in range(24):
        batch = batch_of(jnp.int32(step))
        state, loss = training.train_step(
            state, batch, jax.random.key(0), model=Affine(), optimizer=optax.sgd(0.1), loss_fn=squared_error
        )
        expected.append(loss)
    np.testing.assert_allclose(history, np.reshape(expected, (3, 8)).mean(axis=1), rtol=1e-5)
    with pytest.raises(ValueError, match="num_steps"):
        fit(batch_of, num_epochs=3)


def test_a_traced_number_of_epochs_trains_as_a_static_one():
    data = linear_data()
    fit = partial(training.fit, jax.random.key(0), Noisy(), optax.adam(0.1), squared_error, data)
    static, history = jax.jit(lambda: fit(num_epochs=3, batch_size=8))()
    traced = jax.jit(lambda epochs: fit(num_epochs=epochs, batch_size=8))(3)
    assert history.shape == (3,) and traced.history is None
    close = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6)
    jax.tree.map(close, static, traced.state)


def test_what_is_observed_is_the_state_after_each_epoch():
    data = linear_data()
    fit = partial(training.fit, jax.random.key(0), Affine(), optax.sgd(0.1), squared_error, data)

    def kernel(state):
        return state.params["Dense_0"]["kernel"]

    state, (losses, kernels) = fit(num_epochs=3, batch_size=8, observe=kernel)
    np.testing.assert_array_equal(kernels[-1], kernel(state))
    np.testing.assert_allclose(kernels[0], kernel(fit(num_epochs=1, batch_size=8).state), rtol=1e-6)
    np.testing.assert_allclose(losses, fit(num_epochs=3, batch_size=8).history, rtol=1e-6)


def test_prepared_examples_train_as_if_they_had_been_prepared_before():
    data = linear_data()
    fit = partial(training.fit, jax.random.key(0), Affine(), optax.sgd(0.1), squared_error)

    def double(batch):
        return Dataset(2 * batch.inputs, batch.targets)

    before = fit(double(data), num_epochs=2, batch_size=8)
    along = fit(data, num_epochs=2, batch_size=8, prepare=double)
    np.testing.assert_allclose(along.history, before.history, rtol=1e-6)


class Training(nn.Module):
    @nn.compact
    def __call__(self, x, training):
        return nn.Dense(1)(nn.Dropout(0.5, deterministic=not training)(x))


class Deterministic(nn.Module):
    @nn.compact
    def __call__(self, x, deterministic=True):
        return nn.Dense(1)(nn.Dropout(0.5, deterministic=deterministic)(x))


class Train(nn.Module):
    @nn.compact
    def __call__(self, x, *, train):
        return nn.Dense(1)(nn.Dropout(0.5, deterministic=not train)(x))


class IsTraining(nn.Module):
    @nn.compact
    def __call__(self, x, is_training):
        return nn.Dense(1)(nn.Dropout(0.5, deterministic=not is_training)(x))


@pytest.mark.parametrize("model", [Train(), Training(), IsTraining(), Deterministic()])
def test_however_a_network_is_told_that_it_is_trained_dropout_is_active_then_alone(model):
    data = linear_data()
    fit = partial(training.fit, model=model, optimizer=optax.sgd(0.0), loss_fn=squared_error)
    fit = partial(fit, data=data, num_epochs=1, batch_size=64)
    state = fit(jax.random.key(0)).state
    train = jax.jit(lambda key: fit(key, state=state).history)
    first, other = (train(jax.random.key(k)) for k in (1, 2))
    assert first != other  # one batch of all examples: dropout alone tells them apart
    a, b = (states.predict(model, state, data.inputs) for _ in range(2))
    np.testing.assert_array_equal(a, b)


class Noise(nn.Module):
    """Draws from a stream of a name of its own."""

    @nn.compact
    def __call__(self, x):
        return nn.Dense(1)(x + jax.random.normal(self.make_rng("noise"), x.shape))


def test_any_stream_of_random_numbers_is_fed():
    data = linear_data()
    fit = partial(training.fit, model=Noise(), optimizer=optax.sgd(0.0), loss_fn=squared_error, data=data)
    losses = fit(jax.random.key(0), num_epochs=3, batch_size=64).history
    assert len(set(losses.tolist())) == 3


def test_flax_s_own_layers_are_models():
    inputs = linear_data().inputs
    data = Dataset(inputs, inputs)
    for model in (nn.Sequential([nn.Dense(4), nn.tanh, nn.Dense(inputs.shape[1])]), nn.BatchNorm()):
        fitted = training.fit(jax.random.key(0), model, optax.sgd(0.1), squared_error, data, num_epochs=2)
        assert states.predict(model, fitted.state, data.inputs).shape[0] == len(data.inputs)
        assert bool(fitted.state.batch_stats) == isinstance(model, nn.BatchNorm)


class Always(nn.Module):
    """Dropout that nothing turns off, in a scope of its own or in that of a parameter."""

    @nn.compact
    def __call__(self, x):
        x = nn.Dropout(0.5, deterministic=False)(x)
        kept = jax.random.bernoulli(self.make_rng("dropout"), 0.5, x.shape)
        return x * kept @ self.param("kernel", nn.initializers.normal(), (x.shape[1], 1))


class Lifted(nn.Module):
    """Dropout that sees no stream but its own."""

    @nn.compact
    def __call__(self, x):
        dropout = nn.vmap(nn.Dropout, split_rngs={"dropout": True}, variable_axes={})
        return nn.Dense(1)(dropout(0.5, deterministic=False)(x))


@pytest.mark.parametrize(("model", "streams"), [(Always(), ["params"]), (Lifted(), ["params", "dropout"])])
def test_dropout_that_is_always_on_leaves_the_parameters_as_they_are(model, streams):
    data, key = linear_data(), jax.random.key(0)
    fit = partial(training.fit, key, model, optax.sgd(0.0), squared_error, data)
    state, losses = fit(num_epochs=3)
    expected = model.init(dict.fromkeys(streams, jax.random.split(key, 3)[0]), data.inputs)["params"]
    jax.tree.map(np.testing.assert_array_equal, state.params, expected)
    assert len(set(losses.tolist())) == 3


class Parameterless(nn.Module):
    def __call__(self, x):
        return x[:, :1]


def test_a_module_without_parameters_trains_nothing():
    data = linear_data()
    state, losses = training.fit(
        jax.random.key(0), Parameterless(), optax.adam(0.1), squared_error, data, num_epochs=2, batch_size=16
    )
    assert not jax.tree.leaves(state.params)
    np.testing.assert_allclose(losses, jnp.full(2, jnp.mean((data.inputs[:, :1] - data.targets) ** 2)), rtol=1e-5)


class Counting(nn.Module):
    @nn.compact
    def __call__(self, x):
        self.variable("counts", "calls", lambda: jnp.zeros(()))
        return nn.Dense(1)(x)


@pytest.mark.parametrize(
    ("model", "named"),
    [(Counting(), "keeps counts"), (nn.Dense, "model .*Linen module"), ((jnp.tanh,), "model tuple: a Linen module")],
)
def test_a_model_that_cannot_be_trained_is_refused_in_a_line(model, named):
    fit = inspect.unwrap(training.fit)
    with pytest.raises((TypeError, ValueError), match=named):
        fit(jax.random.key(0), model, optax.sgd(0.1), squared_error, linear_data(), num_epochs=1)


def never(*_):
    raise AssertionError("traced")


@pytest.mark.parametrize(
    ("changed", "error", "said"),
    [
        (
            {"data": Dataset(jnp.ones((4, 3)), jnp.ones((3, 1)))},
            ValueError,
            r"data .*\(4, 3\), \(3, 1\).*as many rows each",
        ),
        ({"data": Dataset(jnp.ones((0, 3)), jnp.ones((0, 1)))}, ValueError, r"data .*\(0, 3\).*from 1"),
        ({"data": Dataset._make([[[1.0], [2.0]]] * 2)}, ValueError, "data .*: arrays of inputs and of targets"),
        ({"data": (jnp.ones((4, 3)), jnp.ones((4, 1)))}, TypeError, "data tuple: a Dataset, or a function"),
        ({"data": {"inputs": jnp.ones((4, 3))}}, TypeError, "data dict: a Dataset, or a function"),
        ({"num_epochs": 2.5}, TypeError, "num_epochs 2.5: a whole number from 0"),
        ({"num_epochs": -1}, ValueError, "num_epochs -1: a whole number from 0"),
        ({"num_epochs": True}, TypeError, "num_epochs True: a whole number from 0"),
        ({"batch_size": 0}, ValueError, "batch_size 0: a whole number from 1"),
        ({"batch_size": 8.0}, TypeError, "batch_size 8.0: a whole number from 1"),
        ({"num_steps": 3}, ValueError, "num_steps 3: None, as data is a Dataset"),
        ({"data": never}, ValueError, "num_steps None: a whole number from 1"),
        ({"data": never, "num_steps": 2.5}, TypeError, "num_steps 2.5: a whole number from 1"),
        ({"data": never, "num_steps": 0}, ValueError, "num_steps 0: a whole number from 1"),
        ({"optimizer": optax.adam}, TypeError, "optimizer .*adam.*an optax transformation"),
        ({"optimizer": 0.1}, TypeError, "optimizer 0.1: an optax transformation"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_a_line_before_anything_is_traced(changed, error, said):
    usual = {"model": (never, never), "optimizer": optax.sgd(0.1), "data": linear_data(), "num_epochs": 1}
    with pytest.raises(error, match=said) as refused:
        inspect.unwrap(training.fit)(jax.random.key(0), loss_fn=never, **(usual | changed))
    assert "\n" not in str(refused.value)


def test_numbers_of_numpy_and_jax_are_numbers():
    data = linear_data()
    fit = partial(inspect.unwrap(training.fit), jax.random.key(0), Affine(), optax.sgd(0.1), squared_error)
    expected = fit(data, num_epochs=2, batch_size=8).history
    for number in (np.int64, np.array, jnp.int32):
        np.testing.assert_array_equal(fit(data, num_epochs=number(2), batch_size=number(8)).history, expected)
    assert fit(lambda step: data, num_epochs=np.int8(2), num_steps=np.int8(3)).history.shape == (2,)


@pytest.mark.parametrize("wrong", [2.0, True, np.array([2, 3])])
def test_a_traced_number_of_epochs_is_whole(wrong):
    fit = partial(inspect.unwrap(training.fit), jax.random.key(0), (never, never), optax.sgd(0.1), never, linear_data())
    with pytest.raises(TypeError, match=r"num_epochs .*: a whole number from 0"):
        jax.jit(lambda epochs: fit(num_epochs=epochs).state)(wrong)


@pytest.mark.parametrize("batch_size", [16, None])
def test_numpy_data_give_the_numbers_of_jax_arrays(batch_size):
    arrays = linear_data()
    copies = Dataset._make(np.asarray(a, dtype=np.float64) for a in arrays)  # the numbers are those of 32 bits

    @jax.jit
    def train(key):
        ours, theirs = (
            training.fit(key, Affine(), optax.adam(0.1), squared_error, data, num_epochs=3, batch_size=batch_size)
            for data in (arrays, copies)
        )
        losses = [states.mean_loss(Affine(), ours.state, data, squared_error) for data in (arrays, copies)]
        return (ours, losses[0]), (theirs, losses[1])

    jax.tree.map(np.testing.assert_array_equal, *train(jax.random.key(0)))


def test_a_line_search_reaches_the_normal_equations():
    data = linear_data()
    state, history = training.fit(
        jax.random.key(0), Affine(), optax.lbfgs(), squared_error, data, num_epochs=12, observe=lambda state: None
    )
    layer = state.params["Dense_0"]
    np.testing.assert_allclose(layer["kernel"][:, 0], jnp.array([1.0, -2.0, 0.5]), atol=1e-4)
    np.testing.assert_allclose(layer["bias"], jnp.array([0.3]), atol=1e-4)
    assert history[0][-1] < 1e-6


def test_a_learning_rate_falls_where_the_loss_does_not():
    data = linear_data()
    optimizer = optax.chain(optax.sgd(0.0), optax.contrib.reduce_on_plateau(factor=0.5, patience=1))
    state, _ = training.fit(jax.random.key(0), Affine(), optimizer, squared_error, data, num_epochs=4)
    # The first loss is the lowest so far; each of the other three halves the rate.
    np.testing.assert_allclose(state.opt_state[1].scale, 0.5**3)


def test_an_optimizer_is_given_the_loss_of_its_batch_with_the_same_dropout():
    data = linear_data()

    def update(updates, state, params, *, value, grad, value_fn):
        parts = jax.value_and_grad(value_fn)(params)
        gaps = jax.tree.map(lambda a, b: jnp.abs(a - b).max(), ((value, grad), (value, updates)), (parts, parts))
        return jax.tree.map(lambda u: -0.1 * u, updates), jnp.maximum(state, jnp.stack(jax.tree.leaves(gaps)).max())

    optimizer = optax.GradientTransformationExtraArgs(lambda params: jnp.zeros(()), update)
    state, losses = training.fit(
        jax.random.key(0), Noisy(), optimizer, squared_error, data, num_epochs=3, batch_size=16
    )
    assert state.opt_state < 1e-5 < losses[-1]
    plain = training.fit(jax.random.key(0), Noisy(), optax.sgd(0.1), squared_error, data, num_epochs=3, batch_size=16)
    np.testing.assert_allclose(losses, plain.history, rtol=1e-5)


def test_a_plain_dense_layer_and_a_pair_of_functions_train_alike():
    data = linear_data()
    layer = nn.Dense(1)  # takes no argument that says whether it is trained

    def init(key, inputs):
        return layer.init(key, inputs)["params"]

    def apply(params, inputs):
        return layer.apply({"params": params}, inputs)

    module, pair = (
        training.fit(jax.random.key(0), model, optax.adam(0.1), squared_error, data, num_epochs=3, batch_size=8)
        for model in (layer, (init, apply))
    )
    np.testing.assert_allclose(module.history, pair.history, rtol=1e-6)
    outputs = states.predict(layer, module.state, data.inputs)
    np.testing.assert_allclose(states.predict((init, apply), pair.state, data.inputs), outputs, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_mapped_over_learning_rates_equals_looped():
    data, rates = linear_data(), jnp.array([0.01, 0.1, 0.3])

    def train(rate):
        return training.fit(
            jax.random.key(0), Noisy(), optax.sgd(rate), squared_error, data, num_epochs=3, batch_size=8
        ).history

    mapped = jax.jit(jax.vmap(train))(rates)
    looped = jnp.stack([jax.jit(train)(rate) for rate in rates])
    # Sums in another order, over 24 steps.
    np.testing.assert_allclose(mapped, looped, rtol=1e-4)


class Normalized(nn.Module):
    """Flax's own batch norm, at two depths."""

    momentum: float

    @nn.compact
    def __call__(self, x, train=False):
        norm = partial(nn.BatchNorm, use_running_average=not train, momentum=self.momentum)
        h = nn.relu(nn.Dense(4)(norm()(x)))
        return nn.Dense(1)(norm()(h))


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.99])
def test_precise_statistics_of_any_model_are_those_of_the_population(momentum):
    inputs = linear_data().inputs
    model = Normalized(momentum)
    initial = model.init(jax.random.key(0), inputs)

    def update(batch_stats, x):
        current = {"params": initial["params"], "batch_stats": batch_stats}
        return model.apply(current, x, train=True, mutable=["batch_stats"])[1]["batch_stats"]

    # Wherever the averages stand, they are no part of the result.
    stats = jax.tree.map(lambda a: a + 7, initial["batch_stats"])
    whole = precise_batch_stats(update, stats, lambda i: inputs, 1)
    # From (1 - m) batch to the batch: m is rounded, by half an eps.
    tolerance = 20 * float(jnp.finfo(jnp.float32).eps) / (1 - momentum)
    expected = Normalized(0.0).apply(initial, inputs, train=True, mutable=["batch_stats"])[1]
    close = partial(np.testing.assert_allclose, rtol=tolerance, atol=tolerance)
    jax.tree.map(close, whole, expected["batch_stats"])
    # The first layer sees the inputs themselves: cut into batches, their moments are the same.
    pieces = inputs.reshape(4, 16, 3)
    first = precise_batch_stats(update, stats, lambda i: pieces[i], 4)["BatchNorm_0"]
    close(first["mean"], inputs.mean(axis=0))
    close(first["var"], inputs.var(axis=0))


def test_precise_statistics_of_a_plain_batch_norm():
    inputs = 3 + 2 * linear_data().inputs
    model = nn.BatchNorm(use_running_average=False)
    initial = model.init(jax.random.key(0), inputs)

    def update(batch_stats, x):
        current = {**initial, "batch_stats": batch_stats}
        return model.apply(current, x, mutable=["batch_stats"])[1]["batch_stats"]

    got = precise_batch_stats(update, initial["batch_stats"], lambda i: inputs, 1)
    np.testing.assert_allclose(got["mean"], inputs.mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(got["var"], inputs.var(axis=0), rtol=1e-4)


def test_an_equinox_module_trains_as_the_functions_that_it_is():
    eqx = pytest.importorskip("equinox")
    module = eqx.nn.Linear(2, 1, key=jax.random.key(1))
    arrays, rest = eqx.partition(module, eqx.is_inexact_array)
    wrapped = lambda key, inputs: arrays, lambda params, inputs: jax.vmap(eqx.combine(params, rest))(inputs)
    start = {"weight": module.weight, "bias": module.bias}
    plain = lambda key, inputs: start, lambda p, inputs: inputs @ p["weight"].T + p["bias"][None]
    x = jax.random.normal(jax.random.key(2), (32, 2))
    data, optimizer = Dataset(x, x[:, :1] * x[:, 1:]), optax.adam(0.1)

    def train(model):
        return training.fit(jax.random.key(0), model, optimizer, squared_error, data, num_epochs=3, batch_size=8)

    one, other = train(wrapped), train(plain)
    np.testing.assert_allclose(one.history, other.history, rtol=1e-5)
    np.testing.assert_allclose(one.state.params.weight, other.state.params["weight"], rtol=1e-4, atol=1e-6)


def test_training_stops_at_a_loss_that_is_no_finite_number_and_is_the_same_as_without():
    """Of x^2 by steps of a rate: x is multiplied by 1 - 2 rate each time."""

    def step(x, index):
        return x - rate * 2 * x, x**2 + 0 * index

    with_rate, steps = {}, 400
    for rate in (0.1, 1.2):
        with_rate[rate] = np.asarray(training.losses_until_nonfinite(step, jnp.float32(1), steps))
        expected = np.float32(1 - 2 * rate) ** (2 * np.arange(steps))
        finite = np.isfinite(with_rate[rate])
        np.testing.assert_allclose(with_rate[rate][finite], expected[finite], rtol=1e-3, atol=np.finfo(np.float32).tiny)
    assert np.isfinite(with_rate[0.1]).all()
    last = int(np.isinf(with_rate[1.2]).argmax())
    assert np.isfinite(with_rate[1.2][:last]).all() and np.isnan(with_rate[1.2][last + 1 :]).all() and last < steps

    def run(x, rate):
        return training.losses_until_nonfinite(lambda x, i: (x - rate * 2 * x, x**2), x, steps)

    mapped = jax.vmap(run)(jnp.ones(2), jnp.array([0.1, 1.2], jnp.float32))
    np.testing.assert_allclose(mapped[0], with_rate[0.1], rtol=1e-5)
    np.testing.assert_array_equal(np.isnan(mapped[1]), np.isnan(with_rate[1.2]))
