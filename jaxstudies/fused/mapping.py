"""Networks that are mapped: which arrays each has of its own, and how many of them lie side by side."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap

Flat = tuple[jax.Array, ...]


class Blocks(NamedTuple):
    """How many networks there are, and how many lie side by side in memory."""

    size: int
    block: int

    def shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Return the shape of arrays of all networks."""
        return (-(-self.size // self.block), *shape, self.block)

    def split(self, arrays: Sequence[jax.Array], own: Sequence[bool]) -> Flat:
        """Cut the networks into blocks, of which they are the fastest axis; what the last one lacks is filled up."""

        def cut(a: jax.Array) -> jax.Array:
            whole = self.shape(a.shape[1:])
            filled = jnp.pad(a, [(0, whole[0] * whole[-1] - self.size), *[(0, 0)] * (a.ndim - 1)], mode="edge")
            return jnp.moveaxis(filled.reshape(whole[0], whole[-1], *a.shape[1:]), 1, -1)

        return tuple(cut(a) if each else a for a, each in zip(arrays, own, strict=True))

    def joined(self, arrays: Sequence[jax.Array], own: Sequence[bool]) -> Flat:
        """Undo that."""

        def join(a: jax.Array) -> jax.Array:
            return jnp.moveaxis(a, -1, 1).reshape(a.shape[0] * a.shape[-1], *a.shape[1:-1])[: self.size]

        return tuple(join(a) if each else a for a, each in zip(arrays, own, strict=True))


def widened(
    times: int, size: int, own: Sequence[bool], more: Sequence[bool], flat: Flat
) -> tuple[tuple[bool, ...], Flat]:
    """Make one axis of networks of two: which arrays have it, and the arrays."""
    wide = []
    for array, before, now in zip(flat, own, more, strict=True):
        if before and not now:
            array = jnp.broadcast_to(array, (times, *array.shape))
        if now and not before:
            array = jnp.broadcast_to(array[:, None], (times, size, *array.shape[1:]))
        wide.append(array.reshape(times * size, *array.shape[2:]) if before or now else array)
    return tuple(before or now for before, now in zip(own, more, strict=True)), tuple(wide)


def mappable(f: Callable[..., Flat], rule: Callable[..., tuple[Flat, Sequence[bool]]]) -> Callable[..., Flat]:
    """Return a function of arrays that `jax.vmap` maps by a rule of its own."""
    mapped = custom_vmap(lambda *flat: f(*flat))

    @mapped.def_vmap
    def _(size: int, batched: Sequence[bool], *flat: jax.Array) -> tuple[Flat, tuple[bool, ...]]:
        outs, lanes = rule(size, tuple(batched), flat)
        return tuple(outs), tuple(lanes)

    return mapped
