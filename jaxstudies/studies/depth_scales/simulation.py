"""One random network, trained on images."""

from collections.abc import Iterator
from itertools import product

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Key, UInt8

from jaxstudies.engine.design import Setting
from jaxstudies.networks import mnist
from jaxstudies.networks.activations import activation_named
from jaxstudies.networks.batches import random_order
from jaxstudies.networks.convnets import dropout
from jaxstudies.networks.data import Dataset, as_inputs
from jaxstudies.networks.diagnostics import all_finite
from jaxstudies.networks.models import Layer, affine, weights
from jaxstudies.networks.states import predict_blocks
from jaxstudies.studies.depth_scales.config import Config
from jaxstudies.training import fit

DROPOUT_DEPTH = 40
"""Hidden layers with dropout at most: with one in ten dropped, no scale is longer than five layers."""
RELU_VARIANCES = {"he_normal": 2.0, "glorot_normal": 1.0}
"""Of a weight, times the number of inputs, in layers of equal width."""
EVALUATED = 1000
"""Training images on which accuracy is evaluated, at most."""


class DeepNetwork(nn.Module):
    """Map (batch, pixels) to ten logits through hidden layers of equal width, with dropout behind each in training.

    A weight has variance `weight_variance` over its number of inputs, a bias `bias_variance`; the output has none.
    """

    depth: int
    width: int
    activation: str
    weight_variance: float | Array
    bias_variance: float | Array
    use_dropout: bool
    rate: float | Array

    @nn.compact
    def __call__(self, inputs: Float[Array, "batch pixels"], train: bool = False) -> Float[Array, "batch 10"]:
        """Return the logits."""
        function = activation_named(self.activation)
        first = self.param("first", self.draw, (), inputs.shape[1], self.width)
        hidden = self.param("hidden", self.draw, (self.depth - 1,), self.width, self.width)
        last = self.param("last", nn.initializers.normal(self.width**-0.5), (10, self.width))
        drop = self.use_dropout and train
        key = self.make_rng("dropout") if drop else None

        def step(h, layer):
            i, layer_weights = layer
            h = function(affine(layer_weights, h))
            return (dropout(jax.random.fold_in(key, i), h, self.rate) if key is not None else h), None

        h, _ = step(inputs.T, (0, weights(first)))
        h, _ = jax.lax.scan(step, h, (jnp.arange(1, self.depth), weights(hidden)))
        return (last @ h).T

    def draw(self, key: Key[Array, ""], layers: tuple[int, ...], inputs: int, outputs: int) -> Layer:
        """Draw layers, stacked if there are several."""
        kernel_key, bias_key = jax.random.split(key)
        kernel = jax.random.normal(kernel_key, (*layers, inputs, outputs))
        scale = jnp.sqrt(self.weight_variance / inputs)
        return Layer(scale * kernel, jnp.sqrt(self.bias_variance) * jax.random.normal(bias_key, (*layers, outputs)))


def data(config: Config) -> dict[str, np.ndarray]:
    """Return the training images and their classes."""
    train = mnist.load(config.dataset, config.data_dir).train
    return {"images": train.images, "labels": train.labels}


def settings(config: Config) -> Iterator[Setting]:
    """Yield the points of the maps, and the ReLU networks beside them."""
    for rate, depth in product(config.dropout_rates, config.depths):
        if rate == 0 or depth <= DROPOUT_DEPTH:
            for variance in config.weight_variances:
                yield _setting(config, "tanh", depth, variance, config.bias_variance, rate)
    for variance in RELU_VARIANCES.values() if config.relu_depth else ():
        yield _setting(config, "relu", max(config.relu_depth, 2), variance, 0.0, 0.0)


def _setting(
    config: Config, activation: str, depth: int, variance: float, bias_variance: float, rate: float
) -> Setting:
    labels = {"activation": activation, "depth": depth, "weight_variance": variance, "dropout_rate": rate}
    more = {"bias_variance": bias_variance, "use_dropout": rate > 0, "config": config}
    return Setting(labels, labels | more, cost=depth * (1.5 if rate else 1.0))


def simulate(
    key: Key[Array, ""],
    images: UInt8[Array, "n 28 28"],
    labels: UInt8[Array, " n"],
    weight_variance: Float[Array, ""],
    bias_variance: Float[Array, ""],
    dropout_rate: Float[Array, ""],
    *,
    activation: str,
    depth: int,
    use_dropout: bool,
    config: Config,
) -> dict[str, Array]:
    """Train a network on some of the images; return its accuracy on these, 0 if it ended with NaN or infinity.

    All settings share the key's images and their order, and, of a depth, the draws of weights.
    """
    pick_key, train_key = jax.random.split(key)
    picked = random_order(pick_key, len(images))[: config.num_images]
    chosen = Dataset(images[picked], labels[picked])
    variances = weight_variance, bias_variance
    model = DeepNetwork(depth, config.width, activation, *variances, use_dropout, dropout_rate)

    def prepare(batch):
        return Dataset(as_inputs(batch.inputs), jax.nn.one_hot(batch.targets, 10))

    optimizer, loss_fn = optax.sgd(config.learning_rate), optax.softmax_cross_entropy
    how = {"prepare": prepare, "num_epochs": config.epochs, "batch_size": config.batch_size}
    state, _ = fit(train_key, model, optimizer, loss_fn, chosen, **how)
    seen = Dataset(*(part[:EVALUATED] for part in chosen))
    logits = predict_blocks(model, state, as_inputs(seen.inputs), 200)
    accuracy = jnp.mean(logits.argmax(axis=1) == seen.targets)
    return {"accuracy": jnp.where(all_finite((state.params, logits)), accuracy, 0.0)}
