"""What works under `jit(vmap(simulate))` works here, with the same result, or is refused in one line."""

import dataclasses
import gc
import inspect
import os
import subprocess
import sys
import time
import traceback
import weakref
from functools import partial
from typing import NamedTuple

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
import pytest
from flax import struct
from flax.training.train_state import TrainState
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.experimental import io_callback

import jaxstudies
from jaxstudies import Claim, Setting, map_seeds, run, tasks
from jaxstudies.engine import compiler, devices, programs, progress, tracing
from jaxstudies.engine.design import make_design
from jaxstudies.errors import DirectoryError, StudyError
from jaxstudies.output import stored, table

KEY = jax.random.key(0)


def seed_keys(number):
    return jax.vmap(lambda i: jax.random.fold_in(KEY, i))(jnp.arange(number, dtype=jnp.uint32))


def draw(key):
    return {"x": jax.random.normal(key)}


def scaled(key, scale):
    return {"x": scale * jax.random.normal(key)}


def count_traces(monkeypatch):
    """Return a list that grows with every trace of a run."""
    traced, real = [], jax.make_jaxpr
    monkeypatch.setattr(tracing.jax, "make_jaxpr", lambda *args, **how: traced.append(1) or real(*args, **how))
    return traced


# Random keys are JAX's.

KEYED = {
    "where": lambda key: jax.random.normal(jnp.where(True, key, KEY)),
    "scan": lambda key: jax.random.normal(jax.lax.scan(lambda c, _: (key, None), KEY, None, length=2)[0]),
    "cond": lambda key: jax.random.normal(jax.lax.cond(jax.random.uniform(key) < 0.5, lambda: key, lambda: KEY)),
    "at": lambda key: jax.random.normal(jax.random.split(KEY, 3).at[1].set(key)[1]),
    "stack": lambda key: jax.random.normal(jnp.stack([key, KEY])[0]),
    "words": lambda key: jax.random.normal(jax.random.wrap_key_data(jax.random.key_data(key))),
    "old": lambda key: jax.random.normal(jax.random.PRNGKey(jax.random.bits(key) >> 1)),
    "kind": lambda key: jnp.float32(jax.random.key_impl(key) == jax.random.key_impl(KEY)),
    "poisson": lambda key: jax.random.poisson(key, 3.0),
    "gamma": lambda key: jax.random.gamma(key, 3.0),
    "permutation": lambda key: jax.random.permutation(key, 9),
    "categorical": lambda key: jax.random.categorical(key, jnp.zeros(5), shape=(4,)),
    "large": lambda key: jax.random.uniform(key, (9000,)),
}


@pytest.mark.parametrize("name", KEYED)
def test_keys_are_those_of_jax(name):
    mapped = map_seeds(lambda key: {"x": KEYED[name](key)}, num_seeds=5)["x"]
    np.testing.assert_array_equal(mapped, jax.jit(jax.vmap(KEYED[name]))(seed_keys(5)))


@pytest.mark.parametrize("chunk_size", [1, 2, 5])
def test_keys_of_other_implementations_draw_as_for_one_seed_alone(chunk_size):
    """JAX's own draws from mapped keys of rbg depend on the batch."""

    def simulate(key):
        other = jax.random.key(jax.random.bits(key) >> 1, impl="rbg")
        return {"x": jax.random.normal(other, (3,))}

    mapped = map_seeds(simulate, num_seeds=5, chunk_size=chunk_size)["x"]
    alone = [simulate(jax.random.fold_in(KEY, np.uint32(i)))["x"] for i in range(5)]
    np.testing.assert_allclose(mapped, alone, rtol=1e-6)


def test_the_default_implementation_is_the_user_s():
    with jax.default_prng_impl("rbg"):
        runs = run({"scale": (1.0, 2.0)}, scaled, num_seeds=3)
        alone = [jax.random.normal(jax.random.fold_in(jax.random.key(0), np.uint32(i))) for i in range(3)]
    np.testing.assert_allclose(runs["x"], np.concatenate([alone, 2 * np.array(alone)]), rtol=1e-6)
    assert not np.allclose(runs["x"], run({"scale": (1.0, 2.0)}, scaled, num_seeds=3)["x"])
    with jax.default_prng_impl("rbg"), jax.debug_nans(True):
        np.testing.assert_allclose(map_seeds(draw, num_seeds=2)["x"], alone[:2], rtol=1e-6)


# What a simulation returns.


class Pair(NamedTuple):
    first: object
    second: object


@dataclasses.dataclass
class Named:
    one: object


NAMES = st.sampled_from(["x", "loss", "file", "allow_pickle", "a b", "../up", "x.npy", "é", "_spent", "n", "A", "a"])
SHAPES = st.sampled_from([(), (1,), (3,), (2, 2), (0, 2)])
LEAVES = st.tuples(st.sampled_from(["float32", "bfloat16", "int32", "uint8", "int4", "bool", "float16"]), SHAPES)
STRUCTURES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.dictionaries(NAMES, inner, min_size=1, max_size=3),
        st.lists(inner, min_size=1, max_size=3),
        st.builds(Pair, inner, inner),
        st.builds(Named, inner),
    ),
    max_leaves=5,
)
WIDE = {"bfloat16": "float32", "int4": "int8"}


def is_leaf(structure):
    return type(structure) is tuple


def filled(structure, key):
    """Draw an array for each leaf of a structure."""
    if is_leaf(structure):
        dtype, shape = structure
        return (3 * jax.random.normal(key, shape)).astype(dtype)
    if isinstance(structure, dict):
        return {name: filled(part, jax.random.fold_in(key, i)) for i, (name, part) in enumerate(structure.items())}
    if isinstance(structure, Pair):
        return Pair(filled(structure.first, key), filled(structure.second, jax.random.fold_in(key, 1)))
    if isinstance(structure, Named):
        return Named(filled(structure.one, key))
    return [filled(part, jax.random.fold_in(key, i)) for i, part in enumerate(structure)]


def flat(value):
    """Return arrays by their paths, and the array itself where there is none: what is to come out, said otherwise."""
    if isinstance(value, jax.Array):
        return {(): np.asarray(value.astype(WIDE.get(str(value.dtype), value.dtype)))}
    if isinstance(value, list):
        parts = [flat(part) for part in value]
        arrays = [part[()] for part in parts if () in part]
        if len(arrays) == len(parts) and len({(a.shape, str(a.dtype)) for a in arrays}) == 1:
            return {(): np.stack(arrays)}
        fields = {str(i): part for i, part in enumerate(value)}
    else:
        fields = value._asdict() if isinstance(value, Pair) else value if isinstance(value, dict) else vars(value)
    return {(name, *path): array for name, part in fields.items() for path, array in flat(part).items()}


@settings(max_examples=6)
@given(structure=st.dictionaries(NAMES, STRUCTURES, min_size=1, max_size=3), seed=st.integers(0, 2**32 - 1))
@pytest.mark.slow
def test_what_comes_back_is_what_was_returned(structure, seed, tmp_path_factory):
    """From memory, from chunks, from the table, after a kill and grown: to the bit the same, by the same names."""
    key = jax.random.key(seed)
    expected = [flat(filled(structure, jax.random.fold_in(key, np.uint32(i)))) for i in range(6)]
    names = ["/".join(path) for path in expected[0]]

    def simulate(key):
        return filled(structure, key)

    if len(set(names)) < len(names):
        with pytest.raises(StudyError, match="two measures called"):
            map_seeds(simulate, num_seeds=1)
        return
    how, where = {"seed": seed, "chunk_size": 2, "num_devices": 1}, tmp_path_factory.mktemp("kept")
    whole = map_seeds(simulate, num_seeds=6, **how)
    assert set(whole) == set(names)
    for path, name in zip(expected[0], names, strict=True):
        ideal = np.stack([one[path] for one in expected])
        assert whole[name].dtype == ideal.dtype
        np.testing.assert_allclose(whole[name].astype(float), ideal.astype(float), rtol=1e-2, atol=1e-2)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        real = programs.Programs.run

        def killed(self, plan, block, seed):
            if block.seed == 2:
                raise KeyboardInterrupt
            return real(self, plan, block, seed)

        patch.setattr(programs.Programs, "run", killed)
        map_seeds(simulate, num_seeds=4, directory=where, **how)
    first = map_seeds(simulate, num_seeds=4, directory=where, **how)
    grown = map_seeds(simulate, num_seeds=6, directory=where, **how)
    kept = table.to_arrays(stored.row_groups(where / "runs.parquet"))
    for name, values in whole.items():
        for number, other in ((4, first), (6, grown), (6, kept)):
            assert other[name].dtype == values.dtype
            np.testing.assert_array_equal(other[name], values[:number])
    rows = run({}, simulate, num_seeds=6, **how)
    assert set(rows.columns) == {"seed", *names}


REFUSED = [
    (lambda key: jax.random.normal(key), "not an array"),
    (lambda key: (1.0, 2.0), "not a tuple"),
    (lambda key: None, "not a NoneType"),
    (lambda key: {}, "nothing"),
    (lambda key: {"a": {"b": None}}, "'a/b' as a NoneType"),
    (lambda key: {"a": []}, "'a' as an empty list"),
    (lambda key: {"a": "text"}, "'a' as a str"),
    (lambda key: {"a": np.array(["text"])}, "'a' of type <U4"),
    (lambda key: {"a": key}, "'a' of type key"),
    (lambda key: {"a": jnp.zeros((), complex)}, "'a' of type complex64"),
    (lambda key: {"a": 2**40}, "'a' as 1099511627776, which does not fit"),
    (lambda key: {"a": {0: 1.0}}, "something called 0 in 'a'"),
    (lambda key: {"a\n": 1.0}, r"something called 'a\\n'"),
    (lambda key: {"a/b": 1.0, "a": {"b": 2.0}}, "two measures called 'a/b'"),
    (lambda key: {"seed": 1.0}, "'seed', but a column"),
]


@pytest.mark.parametrize(("simulate", "named"), REFUSED)
def test_what_is_no_measure_is_refused_by_name(simulate, named, tmp_path):
    for how in ({}, {"directory": tmp_path / "there"}):
        with pytest.raises(StudyError, match=named):
            map_seeds(simulate, num_seeds=2, **how)


@struct.dataclass
class Marked:
    value: jax.Array
    name: str = struct.field(pytree_node=False, default="name")


def test_of_nodes_of_jax_s_trees_the_children_are_measures():
    """Not what is static in them, nor states without content."""

    def simulate(key):
        network, model = eqx.nn.MLP(1, 1, 3, 1, key=key), nn.Dense(2)
        params = model.init(key, jnp.ones(3))
        return {
            "network": eqx.filter(network, eqx.is_array),
            "state": TrainState.create(apply_fn=model.apply, params=params, tx=optax.sgd(0.1, momentum=0.9)),
            "several": optax.MultiSteps(optax.sgd(0.1), 2).init(params),
            "marked": Marked(jax.random.normal(key)),
        }

    whole = map_seeds(simulate, num_seeds=2)
    expected = jax.jit(jax.vmap(simulate))(seed_keys(2))
    assert len(whole) == len(jax.tree.leaves(expected))
    np.testing.assert_array_equal(whole["network/layers/0/weight"], expected["network"].layers[0].weight)
    np.testing.assert_array_equal(whole["state/params/params/kernel"], expected["state"].params["params"]["kernel"])
    np.testing.assert_array_equal(whole["marked/value"], expected["marked"].value)


def test_a_wide_number_is_rounded_as_the_small_one_was():
    def simulate(key):
        return {"x": jax.random.normal(key, (4,), jnp.bfloat16)}

    alone = jax.jit(jax.vmap(simulate))(seed_keys(3))["x"]
    np.testing.assert_array_equal(map_seeds(simulate, num_seeds=3)["x"], alone.astype(jnp.float32))


# As under jit(vmap).


def test_numbers_of_python_take_the_type_that_they_meet():
    def kinds(key, rate):
        small = jax.random.normal(key, (), jnp.bfloat16) * rate
        return {"same": small.dtype == jnp.bfloat16, "x": small}

    for levels, same in (((0.1, 0.2), True), ((np.float32(0.1), 0.2), False), ((0.1,), True)):
        assert run({"rate": levels}, kinds, num_seeds=1)["same"].all() == same
    for rate, same in ((0.1, True), (np.float32(0.1), False), (3, True), (jnp.asarray(0.1), True)):
        assert map_seeds(kinds, rate, num_seeds=2)["same"].all() == same

    def carried(key, rate):
        start = jax.random.normal(key, (), jnp.bfloat16)
        return {"x": jax.lax.fori_loop(0, 3, lambda i, w: w - rate * w, start)}

    expected = jax.jit(jax.vmap(carried, in_axes=(0, None)))(seed_keys(3), 0.1)["x"].astype(jnp.float32)
    np.testing.assert_array_equal(map_seeds(carried, 0.1, num_seeds=3)["x"], expected)


def test_what_does_not_fit_into_32_bits_is_refused():
    def shifted(key, n):
        return {"x": n + 0 * jax.random.bits(key)}

    for number in (2**31 + 5, np.int64(2**40), np.array([-(2**33)])):
        with pytest.raises(ValueError, match=r"shared\[0\]: .* does not fit into int32"):
            map_seeds(shifted, number, num_seeds=1)
    with pytest.raises(ValueError, match="n: 4294967303 does not fit"):
        run({"n": (1, 2**32 + 7)}, shifted, num_seeds=1)


def test_levels_of_several_kinds_are_told_by_text():
    def simulate(key, *, clip):
        return {"x": jax.random.normal(key)}

    for levels, labels in (
        (("auto", 0.5), ["auto", "0.5"]),
        ((True, 0.5), ["True", "0.5"]),
        ((3, (1, 2)), ["3", "1-2"]),
    ):
        assert run({"clip": levels}, simulate, num_seeds=1)["clip"].tolist() == labels


def test_labels_are_the_same_in_every_process():
    class Rule:
        pass

    def simulate(key, *, rule):
        return {"x": jax.random.normal(key)}

    (label,) = run({"rule": Rule()}, simulate, num_seeds=1)["rule"]
    assert "0x" not in label and "Rule" in label
    with pytest.raises(ValueError, match="rule: two of its levels have the same label, init_fn-update_fn"):
        run({"rule": (optax.sgd(0.1), optax.sgd(0.2))}, simulate, num_seeds=1)


def test_what_a_partial_fills_in_leaves_the_others_as_they_are(monkeypatch):
    """Python calls what stands behind it keyword-only."""
    traced = count_traces(monkeypatch)

    def simulate(key, a, b):
        return {"x": a * b * jax.random.normal(key)}

    runs = run({"b": (1.0, 2.0, 3.0)}, partial(simulate, a=2.0), num_seeds=1)
    np.testing.assert_allclose(runs["x"] / runs["x"][0], [1, 2, 3])
    assert len(traced) == 1


@pytest.mark.parametrize(
    "body", [lambda n: jnp.zeros(n), lambda n: range(n), lambda n: 1 if n else 2], ids=["shape", "range", "branch"]
)
def test_a_number_that_cannot_be_traced_is_sent_behind_the_star(body):
    def simulate(key, n):
        body(n)
        return {"x": jax.random.normal(key)}

    with pytest.raises(TypeError) as caught:
        run({"n": (2, 3)}, simulate, num_seeds=1)
    assert "stands behind the *" in caught.value.__notes__[-1]


CALLBACKS = {
    "debug": lambda seen, x: jax.debug.callback(seen.append, x) or x,
    "io": lambda seen, x: io_callback(lambda v: seen.append(v) or v, x, x),
    "pure": lambda seen, x: jax.pure_callback(lambda v: seen.append(v) or v, x, x, vmap_method="sequential"),
}


@pytest.mark.parametrize("kind", CALLBACKS)
def test_callbacks_see_the_seeds_asked_for_and_no_others(kind):
    seen = []

    def simulate(key, scale):
        x = scale * jax.random.normal(key)
        return {"x": CALLBACKS[kind](seen, x)}

    runs = run({"scale": (1.0, 2.0, 3.0)}, simulate, num_seeds=5, chunk_size=4)
    jax.effects_barrier()
    np.testing.assert_array_equal(np.sort(np.float32(seen)), np.sort(runs["x"]))


def test_each_call_has_callbacks_of_its_own():
    """Functions made anew share a program only if what they have closed over is the same."""
    listed = []
    for _ in range(2):
        seen = []
        map_seeds(lambda key, seen=seen: {"x": CALLBACKS["debug"](seen, jax.random.normal(key))}, num_seeds=3)
        jax.effects_barrier()
        listed.append(len(seen))
    assert listed == [3, 3]


def test_a_debugger_of_nan_names_the_line():
    def simulate(key):
        return {"x": jnp.log(-jnp.abs(jax.random.normal(key)))}

    with jax.debug_nans(True), pytest.raises(FloatingPointError, match="nan") as caught:
        map_seeds(simulate, num_seeds=3)
    lines = [frame.line for frame in traceback.extract_tb(caught.tb)]
    assert any("jnp.log(-jnp.abs" in line for line in lines)
    with jax.debug_nans(True):
        np.testing.assert_array_equal(map_seeds(draw, num_seeds=3)["x"], map_seeds(draw, num_seeds=3)["x"])


def test_without_jit_a_run_goes_operation_by_operation():
    seen = []

    def simulate(key, scale):
        seen.append(1)
        total = jax.lax.fori_loop(0, 3, lambda i, t: t + scale * jax.random.normal(key), 0.0)
        return {"x": total}

    compiled = run({"scale": (1.0, 2.0)}, simulate, num_seeds=3)
    seen.clear()
    with jax.disable_jit():
        plain = run({"scale": (1.0, 2.0)}, simulate, num_seeds=3)
        assert seen
    np.testing.assert_allclose(plain["x"], compiled["x"], rtol=1e-6)


@pytest.mark.parametrize("axis", ["seeds", "settings", "batch"])
def test_an_axis_is_the_user_s_or_unbound(axis):
    def pooled(key):
        return jax.lax.pmean(jax.random.normal(key), axis)

    def own(key):
        return {"x": jax.vmap(pooled, axis_name=axis)(jax.random.split(key, 5))[0]}

    np.testing.assert_allclose(map_seeds(own, num_seeds=3)["x"], jax.jit(jax.vmap(own))(seed_keys(3))["x"], rtol=1e-6)
    with pytest.raises(NameError, match=f"unbound axis name: {axis}"):
        map_seeds(lambda key: {"x": pooled(key)}, num_seeds=4)


@jax.tree_util.register_pytree_node_class
class Schedule:
    def __init__(self, peak, kind):
        self.peak, self.kind = peak, kind

    def __repr__(self):
        return f"{self.kind} {self.peak}"

    def tree_flatten(self):
        return (self.peak,), self.kind

    @classmethod
    def tree_unflatten(cls, kind, children):
        return cls(*children, kind)


def test_levels_whose_static_content_differs_have_programs_of_their_own():
    def simulate(key, schedule):
        return {"x": (schedule.peak if schedule.kind == "constant" else schedule.peak / 2) + 0 * jax.random.normal(key)}

    levels = tuple(Schedule(peak, kind) for kind in ("constant", "half") for peak in (1.0, 3.0))
    runs = run({"schedule": levels}, simulate, num_seeds=1)
    assert dict(zip(runs["schedule"], runs["x"], strict=True)) == {
        "constant 1.0": 1,
        "constant 3.0": 3,
        "half 1.0": 0.5,
        "half 3.0": 1.5,
    }


def test_numbers_that_depend_on_nothing_are_measures_too():
    whole = map_seeds(lambda key: {"n": 3, "x": jax.random.normal(key), "f": 0.5, "b": True}, num_seeds=2)
    assert [whole[name].tolist() for name in ("n", "f", "b")] == [[3, 3], [0.5, 0.5], [True, True]]


def test_of_64_bits_nothing_is_lost():
    jax.config.update("jax_enable_x64", True)
    try:
        runs = run({"n": (1, 2**40)}, lambda key, n: {"x": n + 0 * jax.random.randint(key, (), 0, 2)}, num_seeds=1)
    finally:
        jax.config.update("jax_enable_x64", False)
    assert runs["x"].tolist() == [1, 2**40]


# Errors are the user's own.


@pytest.mark.parametrize("error", [MemoryError("my buffer"), RuntimeError("RESOURCE_EXHAUSTED: mine"), ValueError("v")])
def test_an_error_comes_through_and_names_the_setting(error, capsys):
    def simulate(key, scale, *, kind):
        if kind == "b":
            raise error
        return {"x": scale * jax.random.normal(key)}

    with pytest.raises(type(error)) as caught:
        run({"kind": ("a", "b"), "scale": (1.0, 2.0)}, simulate, num_seeds=3)
    assert caught.value is error
    assert "simulate was run with kind b, scale 1.0 to 2.0" in error.__notes__[-1]
    assert "out of memory" not in capsys.readouterr().err


def test_an_error_while_it_runs_names_settings_and_seeds():
    def fail(x):
        raise ValueError("RESOURCE_EXHAUSTED: mine")

    def simulate(key, n):
        x = jax.random.normal(key)
        return {"x": jax.lax.cond(n > 2, lambda: jax.pure_callback(fail, x, x, vmap_method="sequential"), lambda: x)}

    with pytest.raises(jax.errors.JaxRuntimeError, match="mine") as caught:
        run({"n": (2, 3)}, simulate, num_seeds=2)
    assert "n 3, seeds 0 to 1" in caught.value.__notes__[-1]


# Arguments.


def untyped(function):
    """Return a function as users have it, without the checks of types that tests put around it."""
    return inspect.unwrap(function)


WRONG = [
    *({"num_seeds": value} for value in (0, -1, 2**32 + 1, 1e3, 2.5, "10", True, None)),
    *({"seed": value} for value in (-1, 2**32, 2**63, 1.0, "a", None, KEY)),
    *({"chunk_size": value} for value in (0, -5, 2.0, "a")),
    *({"num_devices": value} for value in (0, -1, 1.0, "2", 99)),
    *({"directory": value} for value in ("", 3, b"x", "a\0b")),
]


@pytest.mark.parametrize("how", WRONG, ids=str)
def test_a_wrong_argument_is_named_with_what_is_allowed(how):
    (name,) = how
    for call in (partial(untyped(map_seeds), draw), partial(untyped(run), {}, draw)):
        with pytest.raises((TypeError, ValueError), match=f"^{name} .*(from|path)") as caught:
            call(**{"num_seeds": 2} | how)
        assert len(str(caught.value).splitlines()) == 1


CONFIGS = [
    ({"scale": ()}, "scale: a factor needs a level"),
    ({"scale": (1.0, 1.0)}, "scale: two of its levels have the same label, 1.0"),
    ({"scale": (s for s in (1.0, 2.0))}, "'scale' is a generator"),
    ({"scale": {1.0, 2.0}}, "'scale' is a set"),
    ({"scale": 1.0, "other": 2.0}, "does not take other"),
    ({"scale": 1.0, "seed": (1, 2)}, "'seed' is taken"),
    ({"my scale": 1.0}, "'my scale' is no name"),
    ({"scale": np.linspace(0, 1, 3)}, "'scale' is an array; the levels of a factor are a tuple"),
    ({"scale": (KEY,)}, "'scale' .* data are numbers or arrays"),
    ([("scale", 1.0)], "config .*: a mapping"),
    (None, "config None: a mapping"),
]


@pytest.mark.parametrize(("config", "named"), CONFIGS)
def test_a_wrong_config_is_refused_in_a_line(config, named):
    with pytest.raises((TypeError, ValueError), match=named):
        untyped(run)(config, scaled, num_seeds=1)


def test_other_wrong_arguments_are_refused_in_a_line(tmp_path):
    with pytest.raises(TypeError, match="simulate 3: a function"):
        untyped(map_seeds)(3, num_seeds=1)
    with pytest.raises(TypeError, match=r"shared\[0\] is 'adam'"):
        map_seeds(scaled, "adam", num_seeds=1)
    with pytest.raises(TypeError, match="data: simulate does not take other"):
        run({"scale": 1.0}, scaled, num_seeds=1, data={"other": 1.0})
    with pytest.raises(ValueError, match="data: scale is in the config, too"):
        run({"scale": (1.0, 2.0)}, scaled, num_seeds=1, data={"scale": 1.0})
    with pytest.raises(TypeError, match="claims: 3 is no Claim"):
        untyped(run)({}, draw, num_seeds=1, claims=[3])
    with pytest.raises(TypeError, match="claims: 3 is no Claim"):
        untyped(run)({}, draw, num_seeds=1, claims=3)
    (tmp_path / "file").touch()
    with pytest.raises(DirectoryError, match="file: is a file; name a directory"):
        map_seeds(draw, num_seeds=1, directory=tmp_path / "file")


def test_numbers_of_numpy_and_jax_are_numbers():
    how = {"num_seeds": np.int64(2), "seed": jnp.uint32(3), "chunk_size": np.uint8(1)}
    expected = run({"scale": (0.1, 0.2)}, scaled, num_seeds=2, seed=3, chunk_size=1)
    for levels in ((np.float32(0.1), np.float32(0.2)), tuple(jnp.array([0.1, 0.2])), [0.1, 0.2]):
        pd.testing.assert_frame_equal(run({"scale": levels}, scaled, **how), expected)
    counted = run({"scale": range(3)}, scaled, num_seeds=1)
    assert counted["scale"].tolist() == [0, 1, 2]


def test_the_largest_master_seed_is_another_than_the_smallest():
    drawn = [map_seeds(draw, num_seeds=2, seed=seed)["x"] for seed in (0, 2**32 - 1)]
    assert not np.array_equal(*drawn)


def test_one_claim_needs_no_list(capsys):
    run({}, draw, num_seeds=5, claims=Claim("id", "it is so", lambda of: of("x"), (-9, 9)))
    assert "it is so" in capsys.readouterr().out


def test_factors_may_be_called_as_the_columns_of_a_summary(tmp_path):
    def simulate(key, n, measure):
        return {"low": n * jax.random.normal(key)}

    claim = Claim("id", "it is so", lambda of: of("low", n=2.0, measure=1.0), (-9, 9))
    config = {"n": (1.0, 2.0), "measure": (1.0,)}
    run(config, simulate, num_seeds=5, directory=tmp_path, claims=[claim])
    summary = pd.read_csv(tmp_path / "summary.csv")
    assert summary["n"].tolist() == [5, 5] and summary["n (factor)"].tolist() == [1, 2]


# A program is used again, and never for other code.


def test_a_function_that_calls_itself_is_a_function():
    def doubled(n, x):
        return x if n == 0 else doubled(n - 1, 2 * x)

    if KEY is None:
        never = 1.0
    mapped = map_seeds(lambda key: {"x": doubled(3, jax.random.normal(key)) if KEY is not None else never}, num_seeds=2)
    np.testing.assert_allclose(mapped["x"], 8 * map_seeds(draw, num_seeds=2)["x"])


@pytest.mark.slow
def test_functions_made_anew_share_a_program(monkeypatch):
    map_seeds(lambda key: {"x": jax.random.normal(key)}, num_seeds=2)  # what is traced once a process is no run
    traced = count_traces(monkeypatch)
    for scale in (1.0, 2.0):
        for _ in range(2):
            map_seeds(partial(scaled, scale=3.0), num_seeds=2)
            map_seeds(lambda key: {"x": 5 * jax.random.normal(key)}, num_seeds=2)
            map_seeds(scaled, scale, num_seeds=2)
    assert len(traced) == 3

    def simulate(key, scale, *, activation):
        return {"x": scale * activation(jax.random.normal(key))}

    traced.clear()
    for seed in range(2):
        for make in (
            lambda: partial(jax.nn.leaky_relu, negative_slope=0.3),
            lambda: lambda x: jax.nn.leaky_relu(x, 0.4),
        ):
            listed = [{"scale": float(i), "activation": make()} for i in range(10)]
            design = [Setting({"i": i}, arguments) for i, arguments in enumerate(listed)]
            study = jaxstudies.Study("s", "", None, "", Config, simulate, settings=lambda config, d=design: d)
            task = tasks.task_of(study, Config(), 2, seed)
            assert len(task.design.groups) == 1
            jaxstudies.runs.monte_carlo.run_design(task)
    assert len(traced) == 2


def test_what_cannot_be_told_to_be_equal_is_said_to_make_programs_of_its_own():
    def simulate(key, *, weigh):
        return {"x": weigh(jax.random.normal(key))}

    def make(i, array):
        return Setting({"i": i}, {"weigh": lambda x: x * array.sum()})

    once = np.ones(3)
    with pytest.warns(UserWarning, match="'weigh' makes 3 programs where 1 might do"):
        make_design(simulate, [make(i, np.ones(3)) for i in range(3)])
    assert len(make_design(simulate, [make(i, once) for i in range(3)]).groups) == 1


@dataclasses.dataclass(frozen=True)
class Config:
    """Nothing."""


FACTOR = 1.0


def reads_a_global(key):
    return {"x": FACTOR * jax.random.normal(key)}


def test_what_has_changed_around_a_function_is_seen(monkeypatch, tmp_path):
    """By the calls of a session, in which a compiled program is kept, and by tables on disk."""
    box, first = {"factor": 1.0}, map_seeds(draw, num_seeds=2)["x"]
    for factor in (1.0, 2.0, 3.0):
        monkeypatch.setattr(sys.modules[__name__], "FACTOR", factor)
        box["factor"] = factor
        functions = reads_a_global, lambda key: {"x": box["factor"] * jax.random.normal(key)}
        for i, simulate in enumerate(functions):
            for how in ({}, {"directory": tmp_path / str(i)}):
                np.testing.assert_allclose(map_seeds(simulate, num_seeds=2, **how)["x"], factor * first)


# What a caller sees.


def test_the_bar_can_be_turned_off(capsys, monkeypatch):
    map_seeds(draw, num_seeds=2, progress=False)
    run({}, draw, num_seeds=2, progress=False)
    monkeypatch.setenv("TQDM_DISABLE", "1")
    map_seeds(draw, num_seeds=2)
    assert capsys.readouterr().err == ""
    monkeypatch.delenv("TQDM_DISABLE")
    map_seeds(draw, num_seeds=2)
    assert "runs:" in capsys.readouterr().err


def test_programs_are_counted_while_they_are_traced_if_that_takes_long(capsys, monkeypatch):
    def slow(key, *, width):
        time.sleep(0.1)  # while it is traced
        return {"x": jax.random.normal(key, (width,)).sum()}

    run({"width": (1, 2, 3)}, slow, num_seeds=1)
    assert "tracing" not in capsys.readouterr().err
    monkeypatch.setattr(progress, "DELAY", 0.05)
    run({"width": (4, 5, 6)}, slow, num_seeds=1)
    assert "tracing programs: 1 of 3 [" in capsys.readouterr().err
    run({"width": (7, 8, 9)}, slow, num_seeds=1, progress=False)
    assert capsys.readouterr().err == ""


def test_who_stops_a_call_is_told_what_is_kept(capsys, monkeypatch, tmp_path):
    def stopped(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(programs.Programs, "run", stopped)
    for call in (partial(map_seeds, draw), partial(run, {}, draw)):
        for how, said in (({}, "nothing is kept"), ({"directory": tmp_path}, f"kept in {tmp_path}, and the same call")):
            with pytest.raises(KeyboardInterrupt):
                call(num_seeds=2, **how)
            assert said in capsys.readouterr().err


DEVICES = """
import os, warnings
import jax, jax.numpy as jnp
{before}
import jaxstudies
{between}
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for _ in range(2):
        jaxstudies.map_seeds(lambda key: {{"x": jax.random.normal(key)}}, num_seeds=4, progress=False)
print(len(jax.local_devices()), [str(w.message) for w in caught if w.filename == "<string>"])
"""


@pytest.mark.parametrize(
    ("before", "between", "env", "number", "said"),
    [
        ("", "", {}, 0, "[]"),
        ("jnp.zeros(2)", "", {}, 1, "import jaxstudies first, or set JAX_NUM_CPU_DEVICES="),
        ("", "jax.config.update('jax_num_cpu_devices', 1)", {}, 1, "[]"),
        ("", "", {"JAX_NUM_CPU_DEVICES": "3"}, 3, "[]"),
        ("", "", {"XLA_FLAGS": "--xla_force_host_platform_device_count=3"}, 3, "[]"),
    ],
    ids=["default", "late", "option", "environment", "flags"],
)
def test_all_cores_are_used_unless_the_user_says_otherwise(before, between, env, number, said):
    if not number:
        number = devices.num_cores()
    if devices.num_cores() == 1 and "first" in said:
        pytest.skip("for several cores")
    left_out = ("XLA_FLAGS", "JAX_NUM_CPU_DEVICES")
    environ = {name: value for name, value in os.environ.items() if name not in left_out} | env
    code = DEVICES.format(before=before, between=between)
    found = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert found.stdout.startswith(f"{number} ") and said in found.stdout


def test_where_a_system_does_not_say_which_cores_are_meant_it_is_all(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert devices.num_cores() == os.cpu_count()


def test_what_is_kept_from_call_to_call_is_bounded(monkeypatch):
    for kept in (tracing._kept, compiler._kept):
        monkeypatch.setattr(kept, "most", 3)
    for n in range(5):
        big = np.ones(2**16)
        map_seeds(lambda key, big=big, n=n: {"x": n + big[0] * jax.random.normal(key)}, num_seeds=1)
        if not n:
            first = weakref.ref(big)
    del big
    gc.collect()
    assert len(tracing._kept) == len(compiler._kept) == 3
    assert first() is None


def test_a_measure_that_a_setting_has_not_is_no_run_that_went_wrong(tmp_path):
    def simulate(key, rate, *, width):
        found = {"x": rate * jax.random.normal(key)}
        return found | ({"more": jnp.where(rate > 1, jnp.nan, 1.0), "curve": jnp.zeros(3)} if width == 2 else {})

    run({"rate": (0.5, 2.0), "width": (1, 2)}, simulate, num_seeds=4, directory=tmp_path)
    summary = pd.read_csv(tmp_path / "summary.csv").set_index(["measure", "rate", "width"])
    assert summary.loc["more"]["nonfinite"].to_dict() == {(0.5, 1): 0, (0.5, 2): 0, (2.0, 1): 0, (2.0, 2): 4}
    assert summary.loc["curve, last step"]["nonfinite"].eq(0).all() and summary.loc["x"]["n"].eq(4).all()
    assert summary.loc["more"]["n"].to_dict() == {(0.5, 1): 0, (0.5, 2): 4, (2.0, 1): 0, (2.0, 2): 0}
