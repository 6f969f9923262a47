"""Which networks are trained, and which of them share a program by being padded to one shape."""

from collections import Counter
from collections.abc import Callable
from functools import cache
from itertools import combinations, pairwise
from typing import NamedTuple

import numpy as np

from jaxstudies.engine.design import Setting
from jaxstudies.studies.depth_width.config import Config, Kind, learning_rates
from jaxstudies.studies.depth_width.shapes import Shape, choose_shapes
from jaxstudies.studies.depth_width.simulation import count_parameters

MODERN = (128, 256, 128)
"""Shape of the network on Fourier features. It has ReLU: sines end up further from the floor."""
COMPILE_SECONDS = 5.0
"""Of a program: twice what one training took on a slow machine of two cores, as the search is another."""
RATES_TRIED = 4
"""Of a network, as is assumed: the least is three."""


class Network(NamedTuple):
    """A network, and the learning rates that it may have; those of one `kind` share a program."""

    part: str
    shape: Shape
    kind: Kind
    rates: list[float]

    @property
    def labels(self) -> dict[str, object]:
        """Labels by which its rows are found."""
        return {"part": self.part, "shape": "-".join(map(str, self.shape)), "recipe": self.kind.recipe}


def networks(config: Config) -> list[Network]:
    """List the networks: every shape by every recipe, then the modern one."""
    listed = [network for recipe in config.recipes for network in recipe_networks(config, recipe)]
    if config.modern_budget:
        kind = Kind(MODERN, "adam", "fourier", "relu", config.modern_budget, config.batch_size)
        listed.append(Network("modern", MODERN, kind, learning_rates(config, "adam", MODERN)))
    return listed


def recipe_networks(config: Config, recipe: str) -> list[Network]:
    """List the networks of all shapes by a recipe, those that share a program one after another."""
    shapes = choose_shapes(config.shapes)
    rates = {shape: learning_rates(config, recipe, shape) for shape in shapes}

    def kind(room: Shape) -> Kind:
        return Kind(room, recipe, config.features, config.activation, config.epochs, config.batch_size)

    room_of = rooms(shapes, lambda room: config.seeds * run_seconds(config, kind(room)), COMPILE_SECONDS)
    place = list(dict.fromkeys(room_of.values())).index
    ordered = sorted(shapes, key=lambda shape: place(room_of[shape]))
    return [Network("shapes", shape, kind(room_of[shape]), rates[shape]) for shape in ordered]


def settings(config: Config) -> list[Setting]:
    """List each network, with the learning rates that it may have."""
    listed, chosen = [], networks(config)
    runs_of = Counter(n.kind for n in chosen)
    for network in chosen:
        kind, shape = network.kind, network.shape
        cost = run_seconds(config, kind) + COMPILE_SECONDS / runs_of[kind] / config.seeds
        arguments = {"widths": shape, "rates": np.array(network.rates), "kind": kind}
        listed.append(Setting(labels_of(config, network), arguments, cost=cost))
    return listed


def labels_of(config: Config, network: Network) -> dict[str, object]:
    """Return the labels of a network: which one it is, and its size."""
    sizes = {"depth": len(network.shape), "hidden_units": sum(network.shape)}
    sizes["parameters"] = count_parameters(config, network.kind._replace(widths=network.shape))
    return network.labels | sizes


def run_seconds(config: Config, kind: Kind) -> float:
    """Estimate the seconds of a run: launches and products.

    On a quick machine an epoch was four times as fast, and compiling twice: some shapes that could
    share a program then do not.
    """
    num_inputs = 2 * config.num_features if kind.features == "fourier" else 2
    parameters = sum((inputs + 1) * outputs for inputs, outputs in pairwise((num_inputs, *kind.widths, 1)))
    seconds = 0.01 + 1e-4 * sum(kind.widths) + 5.5e-6 * parameters
    epochs = kind.epochs + RATES_TRIED * config.search_budget
    return epochs * config.num_examples / 1e5 * seconds


def rooms(shapes: tuple[Shape, ...], seconds: Callable[[Shape], float], compile_seconds: float) -> dict[Shape, Shape]:
    """Return for each shape the one it is padded to, which several of equal depth may share.

    Groups are joined as long as that saves time, those first that save the most; `seconds` is the
    time of running a shape.
    """
    seconds = cache(seconds)
    groups = {shape: [shape] for shape in shapes}

    def saved(pair):
        room = tuple(map(max, *pair))
        return compile_seconds - sum(len(groups[shape]) * (seconds(room) - seconds(shape)) for shape in pair)

    while True:
        pairs = [pair for pair in combinations(groups, 2) if len(pair[0]) == len(pair[1])]
        best = max(pairs, key=saved, default=None)
        if best is None or saved(best) <= 0:
            return {shape: room for room, members in groups.items() for shape in members}
        room = tuple(map(max, *best))
        # The room may be a third group's.
        groups[room] = [s for group in {*best, room} for s in groups.pop(group, [])]
