"""What a simulation returns, as measures: arrays by name."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxstudies.errors import StudyError

ALLOWED = "numbers, truth values, and arrays of them, in dictionaries, NamedTuples, dataclasses, lists and tuples"
"""What a measure may be."""


def measures(returned: object) -> dict[str, jax.Array]:
    """Return what a simulation returned as one flat dictionary.

    What stands in a dictionary, NamedTuple, dataclass or node of JAX's trees is named by field, `a/b`. A list or tuple
    is stacked to one array, or, where its parts differ in shape or type, named by index. Small types of numbers, which
    a table does not know, are widened without loss: bfloat16 and less to float32, integers of less than a byte to a
    byte.

    Raises:
        StudyError: Something has no name, two have the same, or something is no number.
    """
    if _fields(returned) is None:
        kind = "an array" if isinstance(returned, jax.Array | np.ndarray) else f"a {type(returned).__name__}"
        raise StudyError(f"simulate must return a dictionary of arrays by name, not {kind}")
    found: dict[str, jax.Array] = {}
    for name, array in _named("", _packed("", returned)):
        if name in found:
            raise StudyError(f"simulate returned two measures called {name!r}")
        found[name] = array
    if not found:
        raise StudyError("simulate returned nothing: there must be a measure")
    return found


def _fields(value: object) -> dict[object, object] | None:
    """Return what a value holds by name, or None if it is no such thing.

    Of a node that is registered with JAX these are its children, without what is static or not there.
    """
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, tuple) and (names := getattr(value, "_fields", None)) is not None:
        return {name: part for name, part in zip(names, value, strict=True) if not _is_empty(part)}
    if value is None or isinstance(value, list | tuple):
        return None
    children, _ = jax.tree_util.tree_flatten_with_path(value, is_leaf=lambda part: part is not value)
    if all(path for path, _ in children):
        named = ((jax.tree_util.keystr(path, simple=True), part) for path, part in children)
        return {name: part for name, part in named if part is not None and not _is_empty(part)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return None


def _is_empty(part: object) -> bool:
    """Return whether it is a state without content, as optax has them."""
    return isinstance(part, tuple) and not part


Packed = jax.Array | dict[str, Any]
"""An array, or such by name, and so on."""


def _packed(name: str, value: object) -> Packed:
    if (fields := _fields(value)) is not None:
        for field in fields:
            if not isinstance(field, str) or not field or not field.isprintable():
                inside = f" in {name!r}" if name else ""
                raise StudyError(f"simulate returned something called {field!r}{inside}; a name must be printable text")
        return {str(field): _packed(_join(name, str(field)), part) for field, part in fields.items()}
    if isinstance(value, list | tuple):
        if not value:
            raise StudyError(f"simulate returned {name!r} as an empty {type(value).__name__}; that is no measure")
        parts = [_packed(_join(name, str(i)), part) for i, part in enumerate(value)]
        arrays = [part for part in parts if isinstance(part, jax.Array)]
        alike = len({(array.shape, array.dtype) for array in arrays}) == 1
        if len(arrays) == len(parts) and alike:
            return jnp.stack(arrays)
        return {str(i): part for i, part in enumerate(parts)}
    return _array(name, value)


def _array(name: str, value: object) -> jax.Array:
    numeric = isinstance(value, bool | int | float | np.ndarray | np.generic | jax.Array)
    if not numeric and not hasattr(value, "__jax_array__"):
        raise StudyError(f"simulate returned {name!r} as a {type(value).__name__}; a measure is made of {ALLOWED}")
    try:
        array = jnp.asarray(value)
    except OverflowError as error:
        raise StudyError(f"simulate returned {name!r} as {value}, which does not fit into 32 bits") from error
    except TypeError as error:  # text, or objects
        raise StudyError(f"simulate returned {name!r} of type {np.asarray(value).dtype}; {ALLOWED}") from error
    kind = getattr(array.dtype, "kind", "key")  # "V" of what NumPy does not know
    if kind == "V" and jnp.issubdtype(array.dtype, jnp.floating):
        # A compiler may leave out that a number was rounded on its way, unless it is told so in float32.
        bits = jnp.finfo(array.dtype)
        wide = array.astype(jnp.float32)
        return jax.lax.reduce_precision(wide, bits.nexp, bits.nmant) if array.dtype == jnp.bfloat16 else wide
    if kind == "V" and jnp.issubdtype(array.dtype, jnp.integer):
        return array.astype(jnp.uint8 if jnp.issubdtype(array.dtype, jnp.unsignedinteger) else jnp.int8)
    if kind not in "biuf":
        raise StudyError(f"simulate returned {name!r} of type {array.dtype}; a measure is made of {ALLOWED}")
    return array


def _join(name: str, field: str) -> str:
    return f"{name}/{field}" if name else field


def _named(name: str, packed: Packed) -> Iterator[tuple[str, jax.Array]]:
    if not isinstance(packed, dict):
        yield name, packed
        return
    for field, part in packed.items():
        yield from _named(_join(name, field), part)
