"""A run as JAX traces it: once for all settings, seeds and calls that differ in nothing but numbers."""

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import jaxpr_as_fun
from jax.interpreters import partial_eval
from jaxtyping import PyTree

from jaxstudies.engine import devices
from jaxstudies.engine.design import Group, Simulate
from jaxstudies.engine.functions import Itself, Latest, likeness
from jaxstudies.engine.levels import is_weak, kind_of
from jaxstudies.engine.returned import measures
from jaxstudies.fused import choice

One = Callable[[jax.Array, PyTree, PyTree], dict[str, jax.Array]]
"""A run of a key, of the data in which settings differ, and of those they have in common."""

KEPT, KEPT_BYTES = 64, 2**24
"""Runs, and programs of them, that are kept from call to call: each takes up some megabytes, and dozens to hundreds of
the 65,530 memory maps of a process; and the most that arrays may take up over which a run that is kept has closed."""
SETTINGS = (
    "jax_enable_x64",
    "jax_default_prng_impl",
    "jax_threefry_partitionable",
    "jax_numpy_dtype_promotion",
    "jax_softmax_custom_jvp",
    "jax_random_seed_offset",
)
"""JAX's own settings that change numbers."""
RARE = {"jax_high_dynamic_range_gumbel": "False", "jax_explicit_x64_dtypes": "WARN"}
"""Further ones, which not every version has, and what they are where nobody has set them."""


def jax_settings() -> dict[str, object]:
    """Return JAX's own settings that change numbers, as JSON has them, the rare ones where they are set."""
    rare = {name: getattr(jax.config, name, None) for name in RARE}
    told = {name: str(getattr(value, "name", value)) for name, value in rare.items() if value is not None}
    usual: dict[str, object] = {name: getattr(jax.config, name, None) for name in SETTINGS}
    return usual | {name: value for name, value in told.items() if value != RARE[name]}


@contextmanager
def precision(config: object) -> Iterator[None]:
    """Compute with 64 bits inside, if a config has a field `double` and it is true; else as JAX is set."""
    if getattr(config, "double", None) is not True or jax.config.jax_enable_x64:  # type: ignore[attr-defined]
        yield
        return
    jax.config.update("jax_enable_x64", True)
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", False)


class Traced(NamedTuple):
    """One run, traced."""

    one: One
    shapes: dict[str, jax.ShapeDtypeStruct]
    """Shape and type of each measure."""
    uses_key: bool
    calls_host: bool
    """A callback must see the seeds that were asked for and no others."""
    one_by_one: bool
    """Mapped, JAX's draws from keys of rbg would depend on which of them are drawn from at once."""
    itself: Itself
    """What it is known by."""


_kept = Latest(KEPT)


full_precision = partial(jax.default_matmul_precision, "highest")
"""Accelerators would round the factors of matrix products to 8 or 11 bits otherwise."""


def trace(simulate: Simulate, group: Group, data: dict[str, PyTree], identity: Hashable = None) -> Traced:
    """Trace a run of a group of settings, without running it, or return what was traced of such a one before.

    Args:
        simulate: One run.
        group: The settings.
        data: What all runs share.
        identity: What is equal for functions that do the same; without it nothing is kept.

    Raises:
        StudyError: It does not return measures.
        Exception: What `simulate` raises.
    """
    static = dict(group.static)

    def run(key, mapped, fixed):
        return measures(simulate(key, **mapped, **fixed, **static))

    devices.use_all_cores()  # the key starts JAX
    one, fixed = (
        jax.tree.map(lambda a: _shape_of(a, a.shape[1:]), group.mapped),
        jax.tree.map(_shape_of, group.fixed | data),
    )
    arguments = jax.random.key(0), one, fixed
    leaves, structure = jax.tree.flatten((group.mapped, group.fixed | data))
    data_asked = structure, tuple(map(kind_of, leaves))
    how = tuple(jax_settings().items()), choice.is_debugged()  # when no network is trained in a kernel
    asked = identity, likeness(group.static), data_asked, how
    if identity is not None and (found := _kept.find(asked)):
        return found
    # Traced as under jit, whatever a debugger wants.
    with jax.disable_jit(False), full_precision():
        graph, shapes = jax.make_jaxpr(run, return_shape=True)(*arguments)
    traced = _examined(graph, shapes)
    if identity is not None and sum(getattr(c, "nbytes", 0) for c in graph.consts) <= KEPT_BYTES:
        _kept.keep(asked, traced)
    return traced


def _shape_of(array: np.ndarray | jax.Array, shape: tuple[int, ...] | None = None) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(np.shape(array) if shape is None else shape, array.dtype, weak_type=is_weak(array))


def _examined(graph, shapes: dict[str, jax.ShapeDtypeStruct]) -> Traced:
    flat, structure = jaxpr_as_fun(graph), jax.tree.structure(shapes)

    def one(*arguments):
        values = flat(*jax.tree.leaves(arguments))  # plain numbers where they do not depend on anything
        arrays = [jnp.asarray(v, s.dtype) for v, s in zip(values, jax.tree.leaves(shapes), strict=True)]
        return jax.tree.unflatten(structure, arrays)

    _, used = partial_eval.dce_jaxpr(graph.jaxpr, [True] * len(graph.jaxpr.outvars))
    names, kinds = set(), set()
    for equation in equations(graph.jaxpr):
        names.add(equation.primitive.name)
        if equation.primitive.name == "random_bits":
            kinds.add(str(equation.invars[0].aval.dtype))
    calls_host = bool(graph.effects) or any("callback" in name or "debug_print" in name for name in names)
    by_batch = "rng_bit_generator" in names or not kinds <= {"key<fry>"}
    return Traced(one, shapes, used[0], calls_host, by_batch, Itself(graph))


def equations(jaxpr) -> Iterator[Any]:
    """Yield the equations of a computation, those inside loops and branches among them."""
    for equation in jaxpr.eqns:
        yield equation
        for value in jax.tree.leaves(equation.params, is_leaf=lambda v: hasattr(v, "eqns") or hasattr(v, "jaxpr")):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from equations(inner)
