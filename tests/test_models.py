from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxstudies.networks import data, diagnostics, models


def network(depth=3, width=4, init="pytorch_default", slope=0.1, outputs=2, **kwargs):
    activation = partial(models.leaky_relu, slope)
    return models.MLP(depth, width, outputs, activation, models.initializer(init), **kwargs)


@pytest.mark.parametrize("depth", [1, 2, 13])
@pytest.mark.parametrize("linear_first_layer", [False, True])
@pytest.mark.parametrize("train", [False, True])
def test_network_equals_the_layers_written_out(depth, linear_first_layer, train):
    model = network(depth, linear_first_layer=linear_first_layer)
    x = jax.random.normal(jax.random.key(1), (5, 3))
    variables = model.init(jax.random.key(0), x)
    layers, h = jax.tree.map(np.asarray, (variables["params"]["layers"], x))
    if linear_first_layer:
        h = h @ layers["linear"].kernel + layers["linear"].bias
    stack = [models.Layer(*(a[i] for a in layers["hidden"])) for i in range(depth - 1)]
    for layer in (layers["first"], *stack):
        z = h @ layer.kernel + layer.bias
        h = np.where(z > 0, z, np.float32(0.1) * z)
    expected = h @ layers["last"].kernel + layers["last"].bias
    got = model.apply(variables, x, train=train)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_hidden_layers_of_a_shallow_network_are_a_prefix():
    x = jnp.ones((1, 1))
    shallow, deep = (network(d, init="he_normal").init(jax.random.key(3), x)["params"]["layers"] for d in (4, 9))
    np.testing.assert_array_equal(shallow["hidden"].kernel, deep["hidden"].kernel[:3])
    np.testing.assert_array_equal(shallow["first"].kernel, deep["first"].kernel)


def test_switch_picks_the_initializer():
    chosen = [models.initializer(name) for name in ("he_normal", "rai", "orthogonal")]
    switched = jax.jit(lambda i: models.switch(chosen, i)(jax.random.key(0), 4, 4))
    for index, draw in enumerate(chosen):
        expected = draw(jax.random.key(0), 4, 4)
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-6), switched(index), expected)


VARIANCES = {
    "he_normal": 2 / 30, "he_uniform": 2 / 30, "glorot_normal": 2 / 50, "glorot_uniform": 2 / 50,
    "lecun_normal": 1 / 30, "normal": 0.3**2, "pytorch_default": 1 / 90,
}  # fmt: skip


@pytest.mark.parametrize("name", VARIANCES)
def test_kernel_variance(name):
    """Variance of 30 x 20 kernels within four standard errors; kurtosis is at most 3."""
    draw = models.initializer(name, 0.3)
    kernels = np.asarray(jax.vmap(lambda key: draw(key, 30, 20).kernel)(jax.random.split(jax.random.key(0), 50)), float)
    error = (2 / kernels.size) ** 0.5
    assert kernels.var() == pytest.approx(VARIANCES[name], rel=4 * error)


def test_rai_has_one_positive_beta_entry_in_every_unit():
    layers = jax.vmap(lambda key: models.rai(key, 3, 5))(jax.random.split(jax.random.key(0), 4000))
    rows = np.concatenate([layers.kernel, layers.bias[:, None]], axis=1).astype(float)  # runs, inputs + 1, units
    n = rows.size
    # One entry in four is Beta(2, 1): mean 2/3, second moment 1/2; the rest N(0, 0.6007^2 / 3).
    mean, second = 2 / 3 / 4, (1 / 2 + 3 * 0.6007**2 / 3) / 4
    assert rows.mean() == pytest.approx(mean, abs=4 * ((second - mean**2) / n) ** 0.5)
    assert (rows**2).mean() == pytest.approx(second, abs=4 * (0.5 / n) ** 0.5)
    assert (rows.max(axis=1) > 0).all()


def test_unknown_initializer_is_an_error():
    with pytest.raises(Exception, match="he_normal"):
        models.initializer("he")


def test_relu_is_off_at_zero():
    assert jax.grad(partial(models.leaky_relu, 0.0))(0.0) == 0
    assert jax.grad(partial(models.leaky_relu, 0.25))(0.0) == 0.25


def see_all(layer):
    return layer


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("linear_first_layer", [False, True])
def test_probe_sees_outputs_and_slopes_in_every_direction(depth, linear_first_layer):
    model = network(depth, slope=0.3, linear_first_layer=linear_first_layer)
    x = jax.random.normal(jax.random.key(1), (6, 2))
    variables = model.init(jax.random.key(0), x)
    seen = diagnostics.probe(model, variables, x, see_all)
    jacobian = jax.vmap(jax.jacobian(lambda p: model.apply(variables, p[None])[0]))(x)
    np.testing.assert_allclose(seen.output_slopes, jacobian.transpose(2, 0, 1), rtol=1e-5)
    np.testing.assert_allclose(seen.outputs, model.apply(variables, x), rtol=1e-6)


def test_probe_sees_each_layer_as_a_network_that_ends_there():
    model, x = network(depth=3, slope=0.3), jax.random.normal(jax.random.key(1), (6, 2))
    variables = model.init(jax.random.key(0), x)
    layers = variables["params"]["layers"]
    seen = diagnostics.probe(model, variables, x, see_all).layers
    for depth in (1, 2, 3):

        def end(p, depth=depth):
            h = p
            for i in range(depth):
                layer = jax.tree.map(lambda a, i=i: a[i - 1], layers["hidden"])
                z = h @ (layer if i else layers["first"]).kernel
                z = z + (layer if i else layers["first"]).bias
                h = jnp.where(z > 0, z, 0.3 * z)
            return h, jnp.where(z > 0, 1.0, 0.3)

        activations, derivatives = jax.vmap(end)(x)
        slopes = jax.vmap(jax.jacobian(lambda p: end(p)[0]))(x).transpose(2, 1, 0)
        layer = jax.tree.map(lambda a, depth=depth: a[depth - 1], seen)
        np.testing.assert_allclose(layer.activations, activations.T, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(layer.derivatives, derivatives.T)
        np.testing.assert_allclose(layer.slopes, slopes, rtol=1e-5, atol=1e-6)


def test_slopes_of_a_linear_network_are_its_kernel():
    model = network(depth=1, slope=1.0, outputs=1, init="he_normal")
    x = data.grid_inputs(16, 1)
    variables = model.init(jax.random.key(0), x)
    layers = variables["params"]["layers"]
    seen = diagnostics.probe(model, variables, x, see_all)
    product = (layers["first"].kernel @ layers["last"].kernel)[0, 0]
    np.testing.assert_allclose(seen.output_slopes, jnp.full((1, 16, 1), product), rtol=1e-6)


def test_unit_states_and_dormancy_by_hand():
    z = jnp.array([[-1.0, -2.0, 0.0], [1.0, 2.0, 3.0], [-1.0, 1.0, 2.0], [0.0, 0.0, 0.0]])
    relu, leaky = (jnp.where(z > 0, 1.0, slope) for slope in (0.0, 0.01))
    assert diagnostics.unit_states(relu) == (0.5, 0.25)
    assert diagnostics.unit_states(leaky) == (0.0, 0.75)
    h = jnp.maximum(z, 0)  # mean sizes 0, 2, 1, 0; layer mean 3/4; scores 0, 8/3, 4/3, 0
    for tau, share in ((0.0, 0.5), (1.3, 0.5), (1.4, 0.75)):
        assert diagnostics.dormant_share(h, tau) == share
    assert diagnostics.dormant_share(jnp.zeros((4, 3)), 0.0) == 1


@pytest.mark.parametrize(
    ("init", "exact"), [("pytorch_default", 1 / (4 * data.INTERVAL)), ("normal", np.arctan(1 / data.INTERVAL) / np.pi)]
)
def test_share_of_dead_first_layer_units(init, exact):
    """On a grid whose ends are all but the interval's; `normal` gets normal biases here.

    Weight and bias are U(-a, a) or N(0, a^2), with any a: then P(dead) is as given here.
    """
    draw = models.initializer(init)
    if init == "normal":
        draw = lambda key, i, o: models.Layer(  # noqa: E731
            *(jax.random.normal(k, s) for k, s in zip(jax.random.split(key), ((i, o), (o,)), strict=True))
        )
    n, x = 20_000, data.grid_inputs(4096, 1)
    layer = draw(jax.random.key(0), 1, n)
    z = models.weights(layer) @ jnp.stack([x[jnp.array([0, -1]), 0], jnp.ones(2)])
    share = float(jnp.mean(jnp.all(z <= 0, axis=1)))
    assert share == pytest.approx(exact, abs=4 * (exact * (1 - exact) / n) ** 0.5)


def test_first_dead_layer():
    assert diagnostics.first_dead_layer(jnp.array([False, False, True, True])) == 3
    assert diagnostics.first_dead_layer(jnp.zeros(4, bool)) == 0


def test_collapse_rules_by_hand():
    targets = jnp.array([[0.0], [1.0], [2.0], [3.0]])
    deviation = float(targets.std())

    def rules(outputs, slope):
        outputs = jnp.array(outputs)[:, None]
        seen = diagnostics.Probe(outputs, jnp.full((1, 4, 1), slope), ())
        return [bool(v) for v in diagnostics.collapse(seen, targets).values()]

    assert rules([1.5] * 4, 0.0) == [True] * 5
    assert rules([1.5] * 4, 1e-20) == [False, True, True, True, True]
    small = 1e-4 * deviation
    assert rules([0.0, 0.0, 0.0, small], 1.0) == [False, False, False, True, True]
    assert rules([0.0, 1.0, 2.0, 3.0], 1.0) == [False] * 5
    assert rules([float("nan")] * 4, float("nan")) == [False] * 5
