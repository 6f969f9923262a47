"""Shapes that share a program: rooms that several networks fit in, and their first parameters.

A network is put into wider layers whose further units have no weights, in or out, and no bias.
Such a unit's output is 0, as is every gradient there, so that it stays as it is; only the
initialization and the learning rate know the true shape, and they are data.
"""

from collections.abc import Callable
from functools import cache
from itertools import combinations, pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxstudies import prng
from jaxstudies.models import Layer

Shape = tuple[int, ...]

COMPILE_SECONDS = 2.5
"""Of a program, on a slow machine of two cores."""


def run_seconds(config: Any, widths: Shape, epochs: int, num_rates: int, features: str) -> float:
    """Estimate the seconds that all seeds of a shape take: launches and products.

    On a quick machine it was four times too long, and `COMPILE_SECONDS` twice: some shapes that
    could share a program then do not, which cost seconds of minutes.
    """
    num_inputs = 2 * config.num_features if features == "fourier" else 2
    layers = pairwise((num_inputs, *widths, 1))
    parameters = sum((inputs + 1) * outputs for inputs, outputs in layers)
    seconds = 0.01 + 1e-4 * sum(widths) + 5.5e-6 * parameters
    return config.seeds * num_rates * epochs * config.num_examples / 1e5 * seconds


def rooms(
    shapes: tuple[Shape, ...], seconds: Callable[[Shape], float], compile_seconds: float
) -> dict[Shape, Shape]:
    """Return for each shape the one it is padded to, which several of equal depth may share.

    Groups are joined as long as that saves time, those first that save the most.

    Args:
        shapes: Hidden widths.
        seconds: Estimated time of running a shape.
        compile_seconds: Time of compiling one more program.
    """
    seconds = cache(seconds)
    groups = {shape: [shape] for shape in shapes}

    def saved(pair):
        room = tuple(map(max, *pair))
        members = (groups[shape] for shape in pair)
        longer = (len(m) * (seconds(room) - seconds(s)) for s, m in zip(pair, members, strict=True))
        return compile_seconds - sum(longer)

    while True:
        pairs = [pair for pair in combinations(groups, 2) if len(pair[0]) == len(pair[1])]
        best = max(pairs, key=saved, default=None)
        if best is None or saved(best) <= 0:
            return {shape: room for room, members in groups.items() for shape in members}
        room = tuple(map(max, *best))
        # The room may be a third group's.
        groups[room] = [s for group in {*best, room} for s in groups.pop(group, [])]


def initial_bounds(
    widths: Shape, room: Shape, num_inputs: int, sine: bool, wave_inputs: bool
) -> dict[str, Layer]:
    """Return what the initial weights and biases are uniform within, 0 where there is padding.

    By PyTorch's default that is +-1 / sqrt(fan-in). With sines it is He's +-sqrt(6 / fan-in) and no
    bias, but in a first layer that sees the points themselves +-30 / fan-in, and biases over a
    period (Sitzmann et al. 2020, arXiv 2006.09661).

    Args:
        widths: Hidden widths of the network.
        room: Hidden widths it is padded to.
        num_inputs: Inputs of the first layer.
        sine: Whether the activation is the sine.
        wave_inputs: Whether the first layer sees Fourier features.
    """
    layers = {}
    true, padded = (num_inputs, *widths, 1), (num_inputs, *room, 1)
    for i, ((fan_in, outputs), size) in enumerate(
        zip(pairwise(true), pairwise(padded), strict=True)
    ):
        kernel, bias = np.zeros(size, np.float32), np.zeros(size[1], np.float32)
        bounds = (fan_in**-0.5,) * 2
        if sine:
            first = i == 0 and not wave_inputs
            bounds = (30 / fan_in, np.pi) if first else ((6 / fan_in) ** 0.5, 0.0)
        kernel[:fan_in, :outputs], bias[:outputs] = bounds
        layers["last" if i == len(widths) else f"layer_{i}"] = Layer(
            jnp.asarray(kernel), jnp.asarray(bias)
        )
    return layers


def draw_layers(key: jax.Array, bounds: dict[str, Layer]) -> dict[str, Layer]:
    """Draw parameters uniformly within +-bounds.

    Each number depends on the key and on its layer, row and column alone, so that padding changes
    none of them.
    """
    leaves, tree = jax.tree.flatten(bounds)
    places = []
    for i, leaf in enumerate(leaves):
        column = jax.lax.broadcasted_iota(jnp.uint32, leaf.shape, leaf.ndim - 1)
        row = jax.lax.broadcasted_iota(jnp.uint32, leaf.shape, 0) if leaf.ndim > 1 else 0 * column
        places.append((row.ravel() + np.uint32(i << 24), column.ravel()))
    high, low = (jnp.concatenate(words) for words in zip(*places, strict=True))
    bits = prng.threefry_2x32(jax.random.key_data(key), (high, low))[0]
    # 24 bits, which float32 holds exactly.
    uniform = (bits >> 8).astype(jnp.float32) * 2.0**-23 - 1
    ends = np.cumsum([leaf.size for leaf in leaves])[:-1]
    drawn = [u.reshape(b.shape) * b for u, b in zip(jnp.split(uniform, ends), leaves, strict=True)]
    return jax.tree.unflatten(tree, drawn)
