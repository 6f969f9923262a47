"""Levels of factors: the labels by which a table knows them, and the arrays that a run gets."""

import re
from collections.abc import Iterable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree
from numpy.typing import ArrayLike

from jaxstudies.arguments import short


class PythonNumbers(np.ndarray):
    """Numbers of Python, which in arithmetic take the type of the array that they meet, as they do in JAX."""


def as_array(value: object) -> np.ndarray | jax.Array:
    """Return numbers or an array as an array of a type that JAX has; raise ValueError if it does not hold them."""
    if isinstance(value, jax.Array):
        return value
    array = np.asarray(value)
    kind = jax.dtypes.canonicalize_dtype(array.dtype)
    if kind != array.dtype and kind.kind in "iu" and array.size:
        least, most = np.iinfo(kind).min, np.iinfo(kind).max
        if array.min() < least or array.max() > most:
            number = array.max() if array.max() > most else array.min()
            raise ValueError(
                f"{number} does not fit into {kind}; jax.config.update('jax_enable_x64', True) has 64 bits"
            )
    array = array.astype(kind, copy=False)
    return array.view(PythonNumbers) if type(value) in (int, float) else array


def is_numeric(leaf: object) -> bool:
    """Return whether something is a number or truth value or an array of them, small types of JAX's among them."""
    kind = leaf.dtype if isinstance(leaf, jax.Array) else np.asarray(leaf).dtype
    return jnp.issubdtype(kind, jnp.number) or jnp.issubdtype(kind, jnp.bool_)


def as_data(name: str, value: PyTree) -> PyTree:
    """Return what all runs share as arrays; raise TypeError where it is none, ValueError where it does not fit."""

    def array(leaf: object) -> np.ndarray | jax.Array:
        if not is_numeric(leaf) and not (
            isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        ):
            raise TypeError(
                f"{name} is {short(leaf)}, but what all runs share are arrays; what is none, simulate closes over"
            )
        try:
            return as_array(leaf)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error

    return jax.tree.map(array, value)


def is_mapped(name: str, value: PyTree) -> bool:
    """Return whether a datum is mapped, rather than a choice with a launch of its own."""
    leaves = jax.tree.leaves(value, is_leaf=lambda leaf: leaf is None)
    if not leaves or not all(leaf is not None and is_numeric(leaf) for leaf in leaves):
        raise TypeError(
            f"simulate's parameter {name!r} stands before the * and gets {short(value)}, but data are "
            "numbers or arrays; put it behind the *, where every value makes a program of its own"
        )
    return any(np.ndim(leaf) > 0 or jnp.issubdtype(np.asarray(leaf).dtype, jnp.floating) for leaf in leaves)


def check_static(name: str, value: object) -> object:
    """Return what stands behind the star; raise TypeError if it cannot be told from another, not being hashable."""
    try:
        hash(value)
    except TypeError as error:
        raise TypeError(
            f"simulate's parameter {name!r} stands behind the * and gets {short(value)}, which cannot be "
            "hashed; arrays stand before the *"
        ) from error
    return value


def label(value: object) -> object:
    """Return a level as the table holds it: a number, truth value, or text."""
    if isinstance(value, (np.ndarray, jax.Array, np.generic)) and np.ndim(value) == 0 and is_numeric(value):
        scalar = np.asarray(value)[()]
        # The shortest decimal that is this number in 32 bits: 0.1, not 0.10000000149.
        value = float(str(scalar)) if scalar.dtype.kind == "f" else scalar.item()
    if isinstance(value, tuple):
        return "-".join(str(label(part)) for part in value)
    if isinstance(value, partial):
        fixed = [str(label(part)) for part in value.args]
        fixed += [f"{name}={label(part)}" for name, part in value.keywords.items()]
        return f"{label(value.func)}({', '.join(fixed)})"
    plain = isinstance(value, (bool, int, float, str)) or value is None
    # Of a function its name; of nothing where it lies in memory, which is another in each process.
    return value if plain else re.sub(r" at 0x[0-9a-f]+", "", str(getattr(value, "__name__", value)))


def label_column(values: Iterable[object]) -> np.ndarray:
    """Return labels as a column; None in it makes it one of objects, and what is mixed with text is text."""
    values = list(values)
    kinds = {type(value) for value in values} - {type(None)}
    if len(kinds) > 1 and not kinds <= {int, float}:
        values = [value if value is None else str(value) for value in values]
    plain = None not in values and (kinds <= {bool} or kinds <= {int, float})
    return np.array(values, dtype=None if plain else object)


def stack(name: str, values: Iterable[PyTree]) -> PyTree:
    """Return arrays of equal shape as one, with a leading axis."""
    values = list(values)
    if set(map(type, values)) <= {int, float}:  # a million of them, perhaps
        return as_data(name, np.asarray(values)).view(PythonNumbers)
    return jax.tree.map(lambda *leaves: np.stack(leaves), *(as_data(name, value) for value in values))


def shape_of(value: PyTree) -> tuple:
    """Return what data that are mapped have in common."""
    leaves, structure = jax.tree.flatten(value)
    return structure, tuple(kind_of(as_array(leaf)) for leaf in leaves)


def kind_of(array: np.ndarray | jax.Array | jax.ShapeDtypeStruct) -> tuple:
    """Return shape and type of an array, and whether it takes the type that it meets, see `is_weak`."""
    return np.shape(array), str(array.dtype), is_weak(array)


def is_weak(array: object) -> bool:
    """Return whether an array takes the type of another in arithmetic: Python's numbers, and what JAX marks so."""
    return isinstance(array, PythonNumbers) or bool(getattr(array, "weak_type", False))


def is_same(value: PyTree, other: PyTree) -> bool:
    """Return whether two data of one structure are equal, to the sign of a 0."""

    def alike(a: ArrayLike, b: ArrayLike) -> bool:
        if not np.array_equal(a, b, equal_nan=True):
            return False
        return np.asarray(a).dtype.kind != "f" or np.array_equal(np.signbit(a), np.signbit(b))

    pairs = zip(jax.tree.leaves(value), jax.tree.leaves(other), strict=True)
    return all(a is b or alike(a, b) for a, b in pairs)
