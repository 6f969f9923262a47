"""Training of LeNet-5 and of the depth-against-width networks, here and in PyTorch.

Timed are 20 steps of LeNet-5 (ours draw an order and turn bytes into numbers, PyTorch's take the same numbers again),
or a shuffled epoch of depth against width, whatever the benchmark's numbers of networks and epochs.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from importlib import import_module
from itertools import pairwise
from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks import timing
from benchmarks.timing import Contestant, Timed, compile_block, one_block
from jaxstudies.engine.devices import choose_devices
from jaxstudies.networks import convnets
from jaxstudies.networks.data import Dataset
from jaxstudies.studies import depth_width
from jaxstudies.studies.depth_width import simulation as networks
from jaxstudies.studies.depth_width.problem import problem_of
from jaxstudies.training import fit

IMAGES, LENET_STEPS = 128, 20
EGGHOLDER = (((512,), "sgd"), ((256, 256), "sgd"), ((128, 256, 128), "sgd"), ((256, 256), "adam"))
"""Shapes and recipes of depth against width: the largest of each depth by SGD, and one by Adam."""


def torch_network(torch: ModuleType, inputs: int, widths: Sequence[int], batch_norm: bool = False):
    """Return a ReLU network with one output in PyTorch."""
    nn, layers = torch.nn, []
    for before, width in pairwise((inputs, *widths)):
        norm = [nn.BatchNorm1d(width)] if batch_norm else []
        layers += [nn.Linear(before, width), *norm, nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], 1))


def shuffled(torch: ModuleType, num_examples: int, batch_size: int, device: str = "cpu") -> Callable[[], Iterable]:
    """Return what draws the batches of an epoch in PyTorch."""
    used = num_examples // batch_size * batch_size
    return lambda: torch.randperm(num_examples, device=device)[:used].reshape(-1, batch_size)


def training(torch: ModuleType, model, optimizer, loss, examples, batches, threads: int = 0) -> Callable[[], None]:
    """Return what trains a network in PyTorch on batches of examples, by default on all cores."""

    def train():
        torch.set_num_threads(threads or timing.cores())
        for rows in batches():
            x, y = (array[rows] for array in examples)
            optimizer.zero_grad()
            loss(model(x), y).backward()
            optimizer.step()

    return train


def lenet_ours(seeds: int, epochs: int, num_devices: int | None = None) -> Timed:
    """Take LeNet-5's steps, batch norm and all, for a network on each device: time per network."""
    model, optimizer, loss_fn = convnets.LeNet5(batch_norm=True), optax.adam(1e-3), optax.losses.softmax_cross_entropy

    def numbers(batch):
        return Dataset(batch.inputs / 255.0, jax.nn.one_hot(batch.targets, 10))

    def simulate(key, data):
        one_epoch = partial(fit, num_epochs=1, batch_size=IMAGES, prepare=numbers)
        return {"loss": one_epoch(key, model, optimizer, loss_fn, data).history}

    images = np.random.default_rng(0).integers(0, 256, (IMAGES * LENET_STEPS, 784), np.uint8)
    data = Dataset(jnp.asarray(images), jnp.asarray(images[:, 0] % 10))
    devices = choose_devices(num_devices)
    run, count = compile_block(one_block(simulate, {"data": data}, len(devices)), devices)
    return partial(run, 0), 1 / (LENET_STEPS * count)


def lenet_torch(seeds: int, epochs: int) -> Timed:
    """Take LeNet-5's steps in PyTorch, one network on all cores."""
    torch = import_module("torch")
    nn, loss = torch.nn, torch.nn.functional.cross_entropy
    conv = [nn.Conv2d(1, 6, 5), nn.BatchNorm2d(6), nn.Sigmoid(), nn.AvgPool2d(2)]
    conv += [nn.Conv2d(6, 16, 5), nn.BatchNorm2d(16), nn.Sigmoid(), nn.AvgPool2d(2), nn.Flatten()]
    dense = [nn.Linear(256, 120), nn.BatchNorm1d(120), nn.Sigmoid()]
    dense += [nn.Linear(120, 84), nn.BatchNorm1d(84), nn.Sigmoid(), nn.Linear(84, 10)]
    network = nn.Sequential(*conv, *dense)
    examples = torch.rand(IMAGES, 1, 28, 28), torch.randint(0, 10, (IMAGES,))
    optimizer, batches = torch.optim.Adam(network.parameters()), [slice(None)] * LENET_STEPS
    return training(torch, network, optimizer, loss, examples, lambda: batches), 1 / LENET_STEPS


@cache
def eggholder() -> tuple[depth_width.Config, Dataset]:
    """Return the study's configuration and the standardized points that it trains on."""
    config = depth_width.Config()
    return config, jax.tree.map(np.asarray, problem_of(config, 0).train)


def eggholder_ours(seeds: int, epochs: int, *, widths: tuple[int, ...], recipe: str, num_networks: int) -> Timed:
    """Train several networks on all devices, or one on one, for an epoch; timed per network."""
    config, points = eggholder()
    size = config.batch_size
    kind = depth_width.Kind(widths, recipe, "none", "relu", 1, size)
    optimizer = networks.make_optimizer(recipe, 1e-3, len(points.inputs) // size)
    one_epoch = partial(fit, num_epochs=1, batch_size=size)

    def simulate(key, points):
        model, bounds = networks.make_model(config, kind, key), networks.make_bounds(config, kind, widths)
        state = networks.first_state(key, model, optimizer, bounds)
        state, _ = one_epoch(key, model, optimizer, optax.losses.squared_error, points, state=state)
        return {"bias": state.params["last"].bias}

    devices = choose_devices(1 if num_networks == 1 else None)
    run, count = compile_block(one_block(simulate, {"points": points}, num_networks), devices)
    return partial(run, 0), 1 / count


def eggholder_network(torch: ModuleType, widths: tuple[int, ...], recipe: str):
    """Return a network of depth against width in PyTorch."""
    return torch_network(torch, 2, widths, batch_norm=recipe == "sgd" and len(widths) > 1)


def eggholder_torch(seeds: int, epochs: int, *, widths: tuple[int, ...], recipe: str) -> Timed:
    """Train one network for an epoch in PyTorch on all cores."""
    torch = import_module("torch")
    config, points = eggholder()
    network = eggholder_network(torch, widths, recipe)
    sgd = partial(torch.optim.SGD, momentum=0.9, nesterov=True)
    optimizer = (sgd if recipe == "sgd" else torch.optim.Adam)(network.parameters(), 1e-3)
    examples = [torch.from_numpy(np.array(a)) for a in points]
    loss, batches = torch.nn.functional.mse_loss, shuffled(torch, len(examples[0]), config.batch_size)
    return training(torch, network, optimizer, loss, examples, batches), 1.0


CONTESTANTS: dict[str, Contestant] = {
    "jaxstudies LeNet-5, one network": ("LeNet-5 step", partial(lenet_ours, num_devices=1)),
    "jaxstudies LeNet-5, one per device": ("LeNet-5 step", lenet_ours),
    "PyTorch LeNet-5, one network": ("LeNet-5 step", lenet_torch),
}
for widths, recipe in EGGHOLDER:
    name = f"{'-'.join(map(str, widths))} {'SGD' if recipe == 'sgd' else 'Adam'}"
    kind, epoch = {"widths": widths, "recipe": recipe}, f"{name} epoch"
    CONTESTANTS |= {
        f"jaxstudies {name}, one network": (epoch, partial(eggholder_ours, **kind, num_networks=1)),
        f"jaxstudies {name}, eight networks": (epoch, partial(eggholder_ours, **kind, num_networks=8)),
        f"PyTorch {name}, one network": (epoch, partial(eggholder_torch, **kind)),
    }
