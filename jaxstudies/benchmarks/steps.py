"""Training of LeNet-5 and of the depth-against-width networks, here and in PyTorch.

What is timed are 20 steps of LeNet-5 (ours draw an order and turn bytes into numbers, PyTorch's
take the same numbers again), or an epoch of depth against width on the study's data, shuffling
included. The benchmark's numbers of networks and epochs, `seeds` and `epochs`, make no difference
to these.
"""

from collections.abc import Callable
from functools import cache, partial
from importlib import import_module
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxstudies.benchmarks import machine
from jaxstudies.benchmarks.timing import Timed, compile_networks
from jaxstudies.engine.programs import choose_devices
from jaxstudies.networks import convnets
from jaxstudies.networks.data import Dataset
from jaxstudies.studies import depth_width
from jaxstudies.studies.depth_width import simulation as networks
from jaxstudies.training import fit

IMAGES = 128
LENET_STEPS = 20
EGGHOLDER = (((512,), "sgd"), ((256, 256), "sgd"), ((128, 256, 128), "sgd"), ((256, 256), "adam"))
"""Shapes and recipes of depth against width: the largest of each depth by SGD, and one by Adam."""


def lenet_ours(seeds: int, epochs: int, num_devices: int | None = None) -> Timed:
    """Take LeNet-5's steps, batch norm and all, for a network on each device: time per network."""
    model, optimizer = convnets.LeNet5(batch_norm=True), optax.adam(1e-3)
    one_epoch = partial(fit, num_epochs=1, batch_size=IMAGES)

    def numbers(batch):
        return Dataset(batch.inputs / 255.0, jax.nn.one_hot(batch.targets, 10))

    def simulate(key, data):
        loss_fn = optax.losses.softmax_cross_entropy
        return {"loss": one_epoch(key, model, optimizer, loss_fn, data, prepare=numbers).history}

    images = np.random.default_rng(0).integers(0, 256, (IMAGES * LENET_STEPS, 784), np.uint8)
    data = Dataset(jnp.asarray(images), jnp.asarray(images[:, 0] % 10))
    devices = choose_devices(num_devices)
    run, count = compile_networks(simulate, {"data": data}, len(devices), devices)
    return run, 1 / (LENET_STEPS * count)


def lenet_torch(seeds: int, epochs: int) -> Timed:
    """Take LeNet-5's steps in PyTorch, one network on all cores."""
    torch = import_module("torch")
    nn = torch.nn
    conv = [nn.Conv2d(1, 6, 5), nn.BatchNorm2d(6), nn.Sigmoid(), nn.AvgPool2d(2)]
    conv += [nn.Conv2d(6, 16, 5), nn.BatchNorm2d(16), nn.Sigmoid(), nn.AvgPool2d(2), nn.Flatten()]
    dense = [nn.Linear(256, 120), nn.BatchNorm1d(120), nn.Sigmoid()]
    dense += [nn.Linear(120, 84), nn.BatchNorm1d(84), nn.Sigmoid(), nn.Linear(84, 10)]
    network = nn.Sequential(*conv, *dense)
    optimizer = torch.optim.Adam(network.parameters())
    images, labels = torch.rand(IMAGES, 1, 28, 28), torch.randint(0, 10, (IMAGES,))

    def steps():
        torch.set_num_threads(machine.cores())
        for _ in range(LENET_STEPS):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(images), labels).backward()
            optimizer.step()

    return steps, 1 / LENET_STEPS


@cache
def eggholder() -> tuple[depth_width.Config, Dataset]:
    """Return the study's configuration and the standardized points that it trains on."""
    config = depth_width.Config()
    return config, jax.tree.map(np.asarray, depth_width.data(config)["problem"].train)


def eggholder_ours(seeds: int, epochs: int, *, widths: tuple[int, ...], recipe: str, num_networks: int) -> Timed:
    """Train several networks on all devices, or one on one, for an epoch; timed per network."""
    config, points = eggholder()
    size = config.batch_size
    kind = depth_width.Kind(widths, recipe, "none", "relu", 1, size)
    optimizer = networks.make_optimizer(recipe, 1e-3, len(points.inputs) // size)
    one_epoch = partial(fit, num_epochs=1, batch_size=size)

    def simulate(key, points):
        model = networks.make_model(config, kind, key)
        bounds = networks.make_bounds(config, kind, widths)
        state = networks.first_state(key, model, optimizer, bounds)
        loss_fn = optax.losses.squared_error
        state, _ = one_epoch(key, model, optimizer, loss_fn, points, state=state)
        return {"bias": state.params["last"].bias}

    devices = choose_devices(1 if num_networks == 1 else None)
    run, count = compile_networks(simulate, {"points": points}, num_networks, devices)
    return run, 1 / count


def torch_network(torch: Any, widths: tuple[int, ...], recipe: str) -> Any:
    """Return a network of depth against width in PyTorch."""
    nn = torch.nn
    layers, inputs = [], 2
    for width in widths:
        norm = [nn.BatchNorm1d(width)] if recipe == "sgd" and len(widths) > 1 else []
        layers += [nn.Linear(inputs, width), *norm, nn.ReLU()]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, 1))


def eggholder_torch(seeds: int, epochs: int, *, widths: tuple[int, ...], recipe: str) -> Timed:
    """Train one network for an epoch in PyTorch on all cores."""
    torch = import_module("torch")
    config, points = eggholder()
    network = torch_network(torch, widths, recipe)
    if recipe == "sgd":
        optimizer = torch.optim.SGD(network.parameters(), 1e-3, momentum=0.9, nesterov=True)
    else:
        optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    x, y = (torch.from_numpy(np.array(a)) for a in points)

    def epoch():
        torch.set_num_threads(machine.cores())
        for rows in torch.randperm(len(x)).reshape(-1, config.batch_size):
            optimizer.zero_grad()
            ((network(x[rows]) - y[rows]) ** 2).mean().backward()
            optimizer.step()

    return epoch, 1.0


def _contestants() -> dict[str, tuple[str, Callable[[int, int], Timed]]]:
    """List the contestants, each with its task."""
    step = "LeNet-5 step"
    listed: dict[str, tuple[str, Callable[[int, int], Timed]]] = {
        "jaxstudies LeNet-5, one network": (step, partial(lenet_ours, num_devices=1)),
        "jaxstudies LeNet-5, one per device": (step, lenet_ours),
        "PyTorch LeNet-5, one network": (step, lenet_torch),
    }
    for widths, recipe in EGGHOLDER:
        name = f"{'-'.join(map(str, widths))} {'SGD' if recipe == 'sgd' else 'Adam'}"
        ours = partial(eggholder_ours, widths=widths, recipe=recipe)
        peer = partial(eggholder_torch, widths=widths, recipe=recipe)
        epoch = f"{name} epoch"
        listed |= {
            f"jaxstudies {name}, one network": (epoch, partial(ours, num_networks=1)),
            f"jaxstudies {name}, eight networks": (epoch, partial(ours, num_networks=8)),
            f"PyTorch {name}, one network": (epoch, peer),
        }
    return listed


CONTESTANTS = _contestants()
