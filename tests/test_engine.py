"""Designs, the programs that run their blocks, and the map over settings and seeds."""

import gc
import os
import weakref

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import jaxstudies
from jaxstudies import training
from jaxstudies.engine import compiler, devices, gather, monte_carlo, programs, tracing
from jaxstudies.engine.blocks import make_plans, plan_size
from jaxstudies.engine.chunks import Chunks, Memory
from jaxstudies.engine.design import Points, Setting, make_design, points_design, product_design
from jaxstudies.engine.execution import Execution
from jaxstudies.engine.monte_carlo import Task
from jaxstudies.networks.data import Dataset
from jaxstudies.networks.models import MLP, initializer, leaky_relu
from jaxstudies.output import table

ROUNDING = 5e-6  # relative: float32 sums in another order, over some tens of steps
SCALES = 1.0, 2.0, 3.0
POWERS = (2, None), (3, 1)  # and the seeds of each


def fit(key, scale):
    """A short training run whose biases start as zeros that no seed has touched."""
    data_key, fit_key = jax.random.split(key)
    x = jax.random.normal(data_key, (32, 1))
    model = MLP(3, 4, 1, lambda z: leaky_relu(0.1, z), initializer("he_normal"))
    state, history = training.fit(
        fit_key,
        model,
        optax.adam(1e-2),
        optax.losses.squared_error,
        Dataset(x, scale * jnp.abs(x)),
        num_epochs=5,
        batch_size=8,
    )
    layers = state.params["layers"]
    return {"history": history, "bias": layers["first"].bias, "last": layers["last"].bias[0]}


def train(key, scale):
    """The same by hand, in a program that compiles in less time."""
    x_key, w_key = jax.random.split(key)
    x = jax.random.normal(x_key, (8,))
    start = {"w": jax.random.normal(w_key, (4,)), "b": jnp.zeros(4), "last": jnp.zeros(())}

    def loss(params):
        hidden = jnp.tanh(jnp.outer(x, params["w"]) + params["b"][None])
        return jnp.mean((hidden.sum(axis=1) + params["last"] - scale * jnp.abs(x)) ** 2)

    def step(params, _):
        value, grads = jax.value_and_grad(loss)(params)
        return jax.tree.map(lambda p, g: p - 0.01 * g, params, grads), value

    params, history = jax.lax.scan(step, start, length=20)
    return {"history": history, "bias": params["b"], "last": params["last"]}


def draw(key, scale):
    """What compiles in no time."""
    return {"draws": scale * jax.random.normal(key, (2,))}


def run_timed(simulate, levels_or_settings, num_seeds=12, chunk_size=None, num_devices=None, kept=None, **how):
    """Return the table of a design, and the time of each group."""
    product = isinstance(levels_or_settings, dict)
    design = (product_design if product else make_design)(simulate, levels_or_settings)
    task = Task(simulate, design, num_seeds, execution=Execution(chunk_size, num_devices), **how)
    blocks, timings, _ = monte_carlo.run_design(task, kept)
    return pd.concat(map(table.to_pandas, blocks), ignore_index=True), timings


def run(*arguments, **how):
    """Return the table of a design."""
    return run_timed(*arguments, **how)[0]


def run_training(num_seeds=12, **how):
    return run(train, {"scale": SCALES}, num_seeds, **how)


@pytest.fixture(scope="module")
def trained():
    return run_training()


def assert_close(a, b):
    """Check that two tables, or two dictionaries of arrays, are equal but for rounding."""
    assert list(a) == list(b)
    for name in a:
        x, y = (table.stacked(t, name) if isinstance(t, pd.DataFrame) else t[name] for t in (a, b))
        if np.asarray(x).dtype == object:
            assert list(x) == list(y)
        else:
            np.testing.assert_allclose(x, y, rtol=ROUNDING, atol=1e-6, err_msg=name)


def first_seeds(runs, number):
    return runs[runs["seed"] < number].reset_index(drop=True)


def block_program(simulate, levels, num_seeds):
    """Return the operations of the program of a design's first group."""
    group = product_design(simulate, levels).groups[0]

    def block(key, seeds, mapped, fixed):
        return compiler.run_block(
            lambda k, one, same: simulate(k, **one, **same, **dict(group.static)), key, seeds, mapped, fixed
        )

    seeds = jnp.arange(num_seeds, dtype=jnp.uint32)
    traced = jax.make_jaxpr(block)(jax.random.key(0), seeds, group.mapped, group.fixed)
    return list(tracing.equations(traced.jaxpr))


def count_programs(monkeypatch):
    """Return lists that are filled with the size of each compilation, and of each launch."""
    compiled, launched, real = [], [], compiler.compile_block

    def compile_block(simulate, group, data, size, devices, traced):
        compiled.append(tuple(size))
        program = real(simulate, group, data, size, devices, traced)
        return lambda *arguments: launched.append(tuple(size)) or program(*arguments)

    monkeypatch.setattr(compiler, "compile_block", compile_block)
    return compiled, launched


# The map over settings and seeds.


def test_there_are_several_devices_to_test_on():
    assert len(devices.choose_devices()) == len(os.sched_getaffinity(0))


@pytest.mark.parametrize("simulate", [fit, train])
def test_mapped_equals_looped(simulate):
    """On one device and on all: seeds of other devices do not train one another."""
    alone, mapped = jax.jit(simulate), run(simulate, {"scale": SCALES})
    assert len(mapped) == 3 * 12
    for place in (0, 5, 11, 12, 22, 35):
        row = mapped.iloc[place]
        key = jax.random.fold_in(jax.random.key(0), row["seed"])
        looped = alone(key, jnp.float32(row["scale"]))
        assert_close({name: np.asarray(row[name]) for name in looped}, looped)


def test_a_plain_map_over_seeds_is_the_design_of_one_setting(trained):
    mapped = jaxstudies.map_seeds(train, jnp.float32(2.0), num_seeds=12)
    rows = trained[trained["scale"] == 2.0]
    assert_close({name: table.stacked(rows, name) for name in mapped}, mapped)


def test_devices_do_not_train_one_another(trained):
    """With sums over devices slipped into the gradients, this failed at the first digit."""
    assert_close(trained, run_training(num_devices=1))


@pytest.mark.parametrize("num_devices", [1, None])
@pytest.mark.parametrize("chunk_size", [1, 2, 5, 15, 100])
def test_blocks_of_any_size_change_nothing_but_rounding(trained, chunk_size, num_devices):
    """Of one to all settings, and of one to all seeds."""
    assert_close(trained, run_training(chunk_size=chunk_size, num_devices=num_devices))


@pytest.mark.parametrize("num_seeds", [1, 5])
def test_fewer_seeds_are_a_prefix(trained, num_seeds):
    assert_close(first_seeds(trained, num_seeds), run_training(num_seeds))


def test_the_same_program_repeats_to_the_bit(trained):
    again = run_training()
    for name in trained:
        np.testing.assert_array_equal(table.stacked(trained, name), table.stacked(again, name))


def test_seeds_and_master_seeds_differ(trained):
    other = run_training(seed=1)
    last = np.concatenate([trained["last"], other["last"]])
    assert len(np.unique(last)) == 2 * 36


def test_settings_see_the_same_random_numbers():
    runs = run(draw, {"scale": (1.0, 4.0)}, 5)
    one, four = (table.stacked(rows, "draws") for _, rows in runs.groupby("scale"))
    np.testing.assert_array_equal(4 * one, four)


def test_what_depends_on_the_key_alone_is_computed_once_a_seed():
    def simulate(key, scale):
        return {"smallest": scale * jnp.sort(jax.random.normal(key, (9,)))[0]}

    seen = block_program(simulate, {"scale": tuple(np.linspace(1, 2, 7))}, 5)
    assert [e.outvars[0].aval.shape for e in seen if e.primitive.name == "sort"] == [(5, 9)]
    draws = [e for e in seen if e.primitive.name == "random_bits"]
    assert [e.outvars[0].aval.shape for e in draws] == [(5, 9)]


def test_matrix_products_are_in_full_precision_on_any_device():
    seen = []

    def simulate(key):
        seen.append(jax.config.jax_default_matmul_precision)
        return {"x": jax.random.normal(key)}

    jaxstudies.map_seeds(simulate, num_seeds=2)
    run(simulate, {}, 2)
    assert set(seen) == {"highest"}
    assert jax.config.jax_default_matmul_precision is None


def test_too_many_devices_are_an_error():
    with pytest.raises(ValueError, match="num_devices 99"):
        run_training(num_devices=99)
    with pytest.raises(ValueError, match="num_devices 0"):
        jaxstudies.map_seeds(lambda key: {"x": jnp.zeros(())}, num_seeds=1, num_devices=0)


# What is mapped, what is a choice, and what makes a program of its own.


def test_floats_share_one_program_and_one_launch(monkeypatch):
    compiled, launched = count_programs(monkeypatch)
    run(draw, {"scale": SCALES}, 4, num_devices=1, chunk_size=12)
    assert compiled == launched == [(3, 4)]


@pytest.mark.parametrize("levels", [(0, 1, 2), (False, True), (np.int32(3), np.int32(5))])
def test_integers_and_truth_values_share_a_program_with_a_launch_each(monkeypatch, levels):
    compiled, launched = count_programs(monkeypatch)

    def simulate(key, choice):
        return {"x": choice + jax.random.normal(key)}

    runs = run(simulate, {"choice": levels}, 4, num_devices=1)
    assert compiled == [(1, 4)] and launched == [(1, 4)] * len(levels)
    by_choice = runs.groupby("choice")["x"].apply(np.array)
    for level in levels:
        np.testing.assert_allclose(by_choice[level] - float(level), by_choice[levels[0]] - float(levels[0]), atol=1e-6)


def test_choices_of_two_types_are_two_whichever_comes_first():
    def simulate(key, n):
        return {"z": (n + jnp.uint8(100)).astype(jnp.int32) + 0 * jax.random.bits(key).astype(jnp.int32)}

    pair = [Setting({"of": "byte"}, {"n": np.uint8(200)}), Setting({"of": "word"}, {"n": np.int32(200)})]
    for listed in (pair, pair[::-1]):
        rows, *_ = monte_carlo.run_design(Task(simulate, make_design(simulate, listed), 1))
        found = pd.concat(map(table.to_pandas, rows))
        assert dict(zip(found["of"], found["z"], strict=True)) == {"byte": 44, "word": 300}


def loops(key, kind, steps, scale):
    """A choice of branches and a number of steps, beside what is mapped."""
    draw = scale * jax.random.normal(key)
    x = jax.lax.switch(jnp.reshape(kind, ()), [jnp.sin, jnp.cos, jnp.tan], draw)
    return {"x": jax.lax.fori_loop(0, steps, lambda i, x: x + i, x)}


def test_a_choice_takes_one_branch_and_a_mapped_one_takes_all():
    """A batched branch or loop bound would make every run take the longest way."""
    chosen = block_program(loops, {"kind": (0, 1, 2), "steps": (3, 4), "scale": SCALES}, 5)
    assert [e.primitive.name for e in chosen].count("cond") == 1
    (loop,) = (e for e in chosen if e.primitive.name == "while")
    (test,) = (e for e in loop.params["cond_jaxpr"].jaxpr.eqns if e.primitive.name == "lt")
    assert test.outvars[0].aval.shape == ()
    kinds = tuple(np.array([kind]) for kind in (0, 1, 2))
    mapped = block_program(loops, {"kind": kinds, "steps": (3,), "scale": SCALES}, 5)
    assert "cond" not in [e.primitive.name for e in mapped]


def test_integers_as_arrays_of_one_are_mapped(monkeypatch):
    compiled, launched = count_programs(monkeypatch)
    kinds = tuple(np.array([kind]) for kind in (0, 1, 2))
    one = run(loops, {"kind": kinds, "steps": (3,), "scale": SCALES}, 4, num_devices=1, chunk_size=36)
    assert compiled == launched == [(9, 4)]
    other = run(loops, {"kind": (0, 1, 2), "steps": (3,), "scale": SCALES}, 4, num_devices=1, chunk_size=36)
    assert launched[1:] == [(3, 4)] * 3
    np.testing.assert_allclose(one["x"], other["x"], rtol=ROUNDING)


def test_numbers_of_which_some_are_whole_are_mapped(monkeypatch):
    """1 beside 0.5 is a number like any other."""
    _, launched = count_programs(monkeypatch)
    runs = run(draw, {"scale": (1, 0.5)}, 4, num_devices=1, chunk_size=8)
    assert launched == [(2, 4)]
    one, half = (table.stacked(runs[runs["scale"] == scale], "draws") for scale in (1, 0.5))
    np.testing.assert_array_equal(one, 2 * half)


def test_levels_may_be_arrays_and_structures_of_them():
    centers = np.array([0.0, 1.0]), np.array([5.0, 7.0])
    bounds = (0.0, 1.0), (2.0, 3.0)

    def simulate(key, center, bound):
        low, high = bound
        return {"x": center + jax.random.uniform(key, minval=low, maxval=high)}

    runs = run(simulate, {"center": centers, "bound": bounds}, 6)
    assert list(runs.groupby(["center", "bound"]).groups) == [
        (str(c), "-".join(map(str, b))) for c in centers for b in bounds
    ]
    for center in centers:
        for low, high in bounds:
            here = runs[(runs["center"] == str(center)) & (runs["bound"] == f"{low}-{high}")]
            x = table.stacked(here, "x")
            assert x.shape == (6, 2)
            assert ((low <= x - center) & (x - center <= high)).all()


def test_what_stands_behind_the_star_makes_a_program_of_its_own(monkeypatch):
    compiled, launched = count_programs(monkeypatch)
    seen = []

    def simulate(key, scale, *, size, how):
        seen.append((size, how))
        return {"x": scale * jnp.sum(jax.random.normal(key, (size,))) * (how == "plain")}

    levels = {"size": (2, 3), "scale": SCALES, "how": ("plain", None)}
    runs = run(simulate, levels, 4, num_devices=1)
    assert compiled == launched == [(3, 4)] * 4
    assert set(seen) == {(size, how) for size in (2, 3) for how in ("plain", None)}
    assert (runs["x"] == 0).eq(runs["how"].isna()).all()


@pytest.mark.parametrize("value", ["relu", None, ("a", "b"), {"a": None}, object()])
@pytest.mark.parametrize("first", [True, False])
def test_text_before_the_star_is_refused_in_a_line(value, first):
    levels = (value, 1.0) if first else (1.0, value)
    with pytest.raises(TypeError) as error:
        product_design(draw, {"scale": levels})
    assert "'scale'" in str(error.value) and "behind the *" in str(error.value)
    assert "\n" not in str(error.value)
    with pytest.raises(TypeError, match="'scale'"):
        make_design(draw, [Setting({"scale": i}, {"scale": v}) for i, v in enumerate(levels)])


def test_what_cannot_be_told_apart_behind_the_star_is_refused_in_a_line():
    def simulate(key, *, center):
        return {"x": jax.random.normal(key)}

    for make, levels in (
        (product_design, {"center": (np.zeros(2),)}),
        (make_design, [Setting({}, {"center": np.zeros(2)})]),
    ):
        with pytest.raises(TypeError, match="'center' stands behind the \\*"):
            make(simulate, levels)


def test_settings_with_the_same_labels_are_refused():
    with pytest.raises(ValueError, match="the same label"):
        make_design(draw, [Setting({"scale": 1.0}, {"scale": 1.0})] * 2)
    with pytest.raises(ValueError, match="the same label"):
        product_design(draw, {"scale": (1.0, 2.0, 1.0)})
    for levels in ((1, "1"), (0.5, "0.5")):  # beside text a number is its text
        with pytest.raises(ValueError, match="the same label"):
            product_design(draw, {"name": levels})
        with pytest.raises(ValueError, match="the same label"):
            make_design(draw, [Setting({"name": level}, {"scale": 1.0}) for level in levels])
    with pytest.raises(ValueError, match="the same label"):
        make_design(draw, [Setting({}, {"scale": 1.0})] * 2)


@pytest.mark.parametrize("number", [0, -5, 2.5, "3"])
def test_seeds_of_a_setting_are_a_whole_number(number):
    with pytest.raises((TypeError, ValueError), match=f"num_seeds {number!r}: a whole number from 1"):
        make_design(draw, [Setting({"scale": 1.0}, {"scale": 1.0}, number)])


def test_no_label_is_called_seed():
    with pytest.raises(ValueError, match="'seed', which is the column of the seeds"):
        make_design(draw, [Setting({"seed": 7}, {"scale": 1.0})])


def test_settings_given_as_columns_are_those_given_one_by_one():
    def simulate(key, scale, shift, *, power):
        return {"x": (scale * jax.random.normal(key) + shift) ** power}

    scales, shifts = np.linspace(1, 2, 5), np.arange(5.0)
    parts = [Points({"power": p}, {"scale": scales, "shift": shifts}, {"power": p}, seeds) for p, seeds in POWERS]
    listed = [
        Setting({"power": p, "scale": a, "shift": b}, {"scale": a, "shift": b, "power": p}, seeds)
        for p, seeds in POWERS
        for a, b in zip(scales.tolist(), shifts.tolist(), strict=True)
    ]
    tables = []
    for design in (points_design(parts), make_design(simulate, listed)):
        blocks, _, _ = monte_carlo.run_design(Task(simulate, design, 3))
        tables.append(pd.concat(map(table.to_pandas, blocks), ignore_index=True))
    assert len(tables[0]) == 5 * 3 + 5 and list(tables[0]) == ["power", "scale", "shift", "seed", "x"]
    pd.testing.assert_frame_equal(*tables)


def test_columns_with_the_same_labels_or_none_are_refused():
    same = Points({}, {"scale": np.array([1.0, 2.0, 1.0])}, {})
    for parts in ([same], [Points({"part": "a"}, {"scale": np.ones(1)}, {})] * 2):
        with pytest.raises(ValueError, match="the same labels"):
            points_design(parts)
    with pytest.raises(ValueError, match="at least one"):
        points_design([])


def test_settings_need_labels_that_agree():
    with pytest.raises(ValueError, match="at least one"):
        make_design(draw, [])
    with pytest.raises(ValueError, match="in the same order"):
        make_design(draw, [Setting({"a": 1}, {"scale": 1.0}), Setting({"b": 2}, {"scale": 2.0})])


def test_the_last_factor_varies_fastest():
    def simulate(key, a, b, *, c):
        return {"x": a + b}

    levels = {"a": (0.5, 1.5), "c": ("x", "y"), "b": (1, 2, 3)}
    runs = run(simulate, levels, 2)
    expected = [(a, c, b, s) for a in levels["a"] for c in levels["c"] for b in levels["b"] for s in (0, 1)]
    assert list(zip(*(runs[n] for n in ("a", "c", "b", "seed")), strict=True)) == expected
    np.testing.assert_array_equal(runs["x"], runs["a"] + runs["b"])


def test_settings_of_interleaved_groups_come_out_in_the_design_s_order(monkeypatch):
    compiled, _ = count_programs(monkeypatch)

    def simulate(key, scale, count, *, how):
        return {"x": scale * jnp.ones(()), "count": count * jnp.ones(()), "text": how == "a"}

    settings = [Setting({"number": i}, {"scale": i / 2, "count": i % 3, "how": "ab"[i % 2]}) for i in range(12)]
    for chunk_size in (None, 1, 3):
        runs = run(simulate, settings, 3, chunk_size=chunk_size, num_devices=1)
        number = np.repeat(np.arange(12), 3)
        np.testing.assert_array_equal(runs["number"], number)
        np.testing.assert_array_equal(runs["seed"], np.tile(np.arange(3), 12))
        np.testing.assert_array_equal(runs["x"], number / 2)
        np.testing.assert_array_equal(runs["count"], number % 3)
        np.testing.assert_array_equal(runs["text"], number % 2 == 0)
    assert len(compiled) == 3 * 2


def settings():
    return [
        Setting({"scale": scale}, {"scale": scale}, num_seeds=count)
        for scale, count in ((1.0, None), (2.0, 5), (3.0, 100))
    ]


def test_a_setting_may_have_fewer_seeds_but_not_more():
    runs, timings = run_timed(draw, settings(), 6)
    assert list(runs["scale"]) == [1.0] * 6 + [2.0] * 5 + [3.0] * 6
    assert list(runs["seed"]) == [*range(6), *range(5), *range(6)]
    assert [timing.runs for timing in timings] == [6, 5, 6]
    alone = run(draw, {"scale": (2.0,)}, 5)
    np.testing.assert_array_equal(table.stacked(runs[runs["scale"] == 2.0], "draws"), table.stacked(alone, "draws"))


def test_every_group_has_its_time():
    def simulate(key, scale, *, size):
        return {"x": scale * jax.random.normal(key, (size,)).sum()}

    _, timings = run_timed(simulate, {"size": (1, 2), "scale": SCALES}, 4)
    assert [timing.runs for timing in timings] == [12, 12]
    assert all(t.compile_seconds > 0 and t.run_seconds > 0 for t in timings)


def test_shared_arrays_are_handed_to_every_run():
    def simulate(key, scale, points):
        return {"x": scale * points.sum(), "first": points[0]}

    runs = run(simulate, {"scale": SCALES}, 2, data={"points": np.arange(4.0, dtype=np.float32)})
    np.testing.assert_array_equal(runs["x"], 6 * runs["scale"])
    assert (runs["first"] == 0).all()


# What a simulation returns.


def test_a_measure_may_be_missing_in_some_settings():
    def simulate(key, *, how):
        x = jax.random.normal(key, (3,))
        return {"x": x[0]} | ({"all": x, "positive": x[0] > 0} if how == "long" else {})

    runs = run(simulate, {"how": ("short", "long")}, 4)
    assert runs["x"].notna().all()
    short = runs["how"] == "short"
    assert runs["all"].isna().eq(short).all() and runs["positive"].isna().eq(short).all()
    assert table.stacked(runs[~short], "all").shape == (4, 3)


def test_a_measure_has_one_shape_and_type_in_all_settings():
    def by_shape(key, *, size):
        return {"x": jnp.zeros(size)}

    def by_type(key, *, size):
        return {"x": jnp.zeros((), jnp.float32 if size == 1 else jnp.int32)}

    for simulate in (by_shape, by_type):
        with pytest.raises(TypeError, match=r"returned 'x' as .* alike in all") as error:
            run(simulate, {"size": (1, 2)}, 2)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("returned", "named"),
    [
        ([1.0], "not a list"),
        (jnp.zeros(3), "dictionary"),
        ({1: 2.0}, "something called 1"),
        ({"x": None}, "'x' as a NoneType"),
        ({"x": {"y": None}}, "'x/y' as a NoneType"),
        ({"x": jax.random.key(0)}, "'x' of type key"),
        ({"x": jnp.zeros((), complex)}, "complex"),
    ],
)
def test_what_is_no_dictionary_of_arrays_is_refused_in_a_line(returned, named):
    with pytest.raises(TypeError, match=named) as error:
        run(lambda key: returned, {}, 2)
    assert "\n" not in str(error.value)


def test_measures_may_not_be_named_like_labels():
    for name in ("scale", "seed"):
        with pytest.raises(ValueError, match=f"'{name}'"):
            run(lambda key, scale, name=name: {name: scale}, {"scale": SCALES}, 2)


def test_axes_must_fit_the_measures():
    for axes in ({"draws": ("a", "b")}, {"nothing": ("a",)}):
        with pytest.raises(ValueError, match="AXES names"):
            run(draw, {"scale": SCALES}, 2, axes=axes)


# Blocks.


@given(
    num_settings=st.integers(1, 10**6),
    num_seeds=st.integers(1, 10**6),
    runs=st.integers(1, 10**5),
    num_devices=st.integers(1, 16),
)
def test_blocks_fill_the_devices_and_are_even(num_settings, num_seeds, runs, num_devices):
    size = plan_size(num_settings, num_seeds, runs, num_devices)
    # A grid of all devices divides the block.
    over_seeds = np.gcd(size.seeds, num_devices)
    over_settings = num_devices // over_seeds
    assert size.settings % over_settings == 0
    # It is as large as may be, but for what evens it out.
    each = size.settings // over_settings, size.seeds // over_seeds
    assert each[0] * each[1] <= max(runs // num_devices, 1)
    # What is too many is less than a run per block and device on each axis.
    for total, block, over in ((num_settings, size.settings, over_settings), (num_seeds, size.seeds, over_seeds)):
        number = -(-total // block)
        assert number * block - total < number * num_devices
        assert block <= total + max(over, num_devices)


@hypothesis.settings(max_examples=40)
@given(
    num_settings=st.integers(1, 60),
    num_seeds=st.integers(1, 60),
    runs=st.integers(1, 400),
    num_devices=st.integers(1, 4),
)
def test_blocks_cover_every_run_once(num_settings, num_seeds, runs, num_devices):
    design = product_design(draw, {"scale": tuple(np.arange(1.0, num_settings + 1))})
    (plan,) = make_plans(design, num_seeds, runs, num_devices)
    covered = np.zeros((num_seeds, num_settings), int)
    blocks = list(plan.blocks())
    for block in blocks:
        assert block.size.settings <= plan.size.settings and block.size.seeds <= plan.size.seeds
        last = block.seed + block.size.seeds, block.setting + block.size.settings
        covered[block.seed : last[0], block.setting : last[1]] += 1
    assert (covered == 1).all()
    assert [block.number for block in blocks] == list(range(len(blocks)))
    assert len({block.name for block in blocks}) == len(blocks)
    counts = plan.counts()
    assert counts.settings * counts.seeds == len(blocks)


def test_blocks_are_numbered_throughout_the_groups():
    design = make_design(draw, settings())
    plans = make_plans(design, 6, 2, 1)
    numbers = [block.number for plan in plans for block in plan.blocks()]
    assert numbers == list(range(3 + 3 + 3))


def test_settings_are_cut_where_they_are_too_many(monkeypatch):
    compiled, launched = count_programs(monkeypatch)
    scales = tuple(np.arange(1.0, 11.0))
    runs = run(draw, {"scale": scales}, 2, chunk_size=4, num_devices=1)
    assert compiled == [(4, 1)] and launched == [(4, 1)] * 3 * 2
    whole = run(draw, {"scale": scales}, 2, num_devices=1)
    assert_close(runs, whole)


@pytest.mark.parametrize("num_settings", [2, 3, 10])
def test_a_single_seed_uses_all_devices_by_its_settings(num_settings):
    chosen = devices.choose_devices()
    if len(chosen) != 2:
        pytest.skip("for two devices")
    size = plan_size(num_settings, 1, 100, 2)
    assert size == (num_settings + num_settings % 2, 1)
    assert devices.make_mesh(size, chosen).devices.shape == (1, 2)
    scales = tuple(np.arange(1.0, num_settings + 1))
    assert_close(run(draw, {"scale": scales}, 1), run(draw, {"scale": scales}, 1, num_devices=1))


def test_many_seeds_spread_over_the_devices_by_seed():
    chosen = devices.choose_devices()
    size = plan_size(10, 100, 10**6, len(chosen))
    assert devices.make_mesh(size, chosen).devices.shape == (len(chosen), 1)


@pytest.fixture(scope="module")
def in_chunks():
    """Runs of a small design as a table, and their chunks."""
    kept = Memory()
    return run(draw, settings(), 6, chunk_size=4, kept=kept), kept


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 6, 100])
def test_a_table_comes_in_blocks_that_fit(in_chunks, monkeypatch, rows):
    """Cut by seeds, or, where a seed of all settings does not fit, by settings as well."""
    whole, kept = in_chunks
    monkeypatch.setattr(gather, "ROWS_AT_ONCE", rows)
    task = Task(draw, make_design(draw, settings()), 6, execution=Execution(4))
    blocks = list(map(table.to_pandas, monte_carlo.run_design(task, kept)[0]))
    assert all(0 < len(block) <= rows for block in blocks)
    if rows >= 3:
        assert [block["seed"].max() for block in blocks] == [*range(rows // 3 - 1, 5, rows // 3), 5]
    together = pd.concat(blocks).sort_values(["scale", "seed"], ignore_index=True)
    pd.testing.assert_frame_equal(together, whole)


def test_wide_rows_come_in_smaller_blocks(monkeypatch):
    monkeypatch.setattr(gather, "BYTES_AT_ONCE", 4 * 2 * 4)  # of four rows
    design = product_design(draw, {"scale": (1.0, 2.0)})
    blocks, *_ = monte_carlo.run_design(Task(draw, design, 6))
    assert [block.num_rows for block in blocks] == [4, 4, 4]


def test_finished_chunks_are_not_run_again_and_damaged_ones_are(tmp_path, monkeypatch):
    kept, (compiled, launched) = Chunks(tmp_path / "parts" / "a"), count_programs(monkeypatch)
    kept.directory.parent.mkdir()
    levels = {"scale": (1.0, 2.0)}
    again = lambda: run(draw, levels, 6, chunk_size=4, kept=kept, num_devices=1)  # noqa: E731
    whole = again()
    files = sorted(kept.directory.iterdir())
    assert len(files) == 3 and len(launched) == 3
    files[0].unlink()
    flipped = bytearray(files[1].read_bytes())
    flipped[len(flipped) // 2] ^= 1
    files[1].write_bytes(flipped)
    pd.testing.assert_frame_equal(again(), whole)
    assert len(launched) == 3 + 2
    files[2].write_bytes(files[2].read_bytes()[:-7])
    pd.testing.assert_frame_equal(again(), whole)
    assert len(launched) == 3 + 2 + 1 and len(compiled) == 3
    pd.testing.assert_frame_equal(again(), whole)
    assert len(launched) == 6 and len(compiled) == 3


def test_the_time_of_finished_chunks_is_not_forgotten(tmp_path):
    kept = Chunks(tmp_path / "parts" / "a")
    kept.directory.parent.mkdir()
    first, second = (run_timed(draw, {"scale": (1.0, 2.0)}, 6, chunk_size=4, kept=kept)[1] for _ in range(2))
    assert first == second and first[0].run_seconds > 0


def test_a_program_is_freed_once_no_setting_needs_it(monkeypatch):
    """A process may hold some 65,000 memory maps, which some ninety programs take up."""
    alive, most = weakref.WeakSet(), []

    class Program:
        def __init__(self, *arguments):
            gc.collect()
            most.append(len(alive))
            alive.add(self)
            self.run = real(*arguments)

        def __call__(self, *arguments):
            return self.run(*arguments)

    real = compiler.compile_block
    monkeypatch.setattr(compiler, "compile_block", Program)

    def simulate(key, scale, count, *, name):
        return {"x": scale * count * jax.random.normal(key)}

    # A program each for `name`, a launch each for `count`.
    named = ["one", "other", "one", "other", "third", "fourth"]
    listed = [Setting({"number": i}, {"scale": 1.0, "count": i, "name": name}) for i, name in enumerate(named)]
    run(simulate, listed, 4)
    assert most == [0, 1, 0, 0]


# Memory.


def memory_for(most, monkeypatch, when):
    """Let programs of more than so many runs run out of memory, when compiled or when run."""
    real, sizes = compiler.compile_block, []

    def fail(*arguments):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 byte.")

    def compile_block(simulate, group, data, size, devices, traced):
        sizes.append(tuple(size))
        if size.settings * size.seeds > most and when == "compiled":
            fail()
        return fail if size.settings * size.seeds > most else real(simulate, group, data, size, devices, traced)

    monkeypatch.setattr(compiler, "compile_block", compile_block)
    return sizes


@pytest.mark.parametrize("when", ["compiled", "run"])
def test_without_memory_blocks_are_halved_and_it_is_said(trained, monkeypatch, when, capsys):
    number = len(devices.choose_devices())
    sizes = memory_for(3 * 4 * number, monkeypatch, when)
    many = run_training(20 * number, chunk_size=3 * 12 * number)
    assert sizes == [(3, 10 * number), (3, 5 * number), (3, 3 * number)]
    said = capsys.readouterr().err
    assert f"out of memory with {15 * number} runs at once: going on with {9 * number}" in said
    few = min(12, 20 * number)
    assert_close(first_seeds(trained, few), first_seeds(many, few))


@pytest.mark.parametrize("most", [1, 2, 3, 5])
def test_without_memory_for_a_seed_of_all_settings_these_are_halved(monkeypatch, most, capsys):
    scales = tuple(np.arange(1.0, 8.0))
    whole = run(draw, {"scale": scales}, 5, num_devices=1, chunk_size=35)
    sizes = memory_for(most, monkeypatch, "run")
    cut = run(draw, {"scale": scales}, 5, num_devices=1, chunk_size=35)
    pd.testing.assert_frame_equal(cut, whole)
    assert sizes[:4] == [(7, 5), (7, 3), (7, 2), (7, 1)]
    assert sizes[4:] == [(n, 1) for n in (4, 2, 1) if 2 * n > most or n == 4][: len(sizes) - 4]
    assert sizes[-1][0] <= most
    assert capsys.readouterr().err.count("out of memory") == len(sizes) - 1


def test_without_memory_for_a_run_on_each_device_it_is_said(monkeypatch):
    memory_for(0, monkeypatch, "run")
    with pytest.raises(programs.OutOfMemory, match="one run on each of"):
        run_training()


def test_a_run_that_calls_the_host_has_one_device_to_run_out_of_memory_on(monkeypatch):
    def told(key, scale):
        jax.debug.callback(lambda: None)
        return draw(key, scale)

    whole = run(told, {"scale": (1.0, 2.0)}, 2)
    sizes = memory_for(1, monkeypatch, "run")
    pd.testing.assert_frame_equal(run(told, {"scale": (1.0, 2.0)}, 2), whole)
    assert (1, 1) in sizes
    memory_for(0, monkeypatch, "run")
    with pytest.raises(programs.OutOfMemory, match="one run on each of 1 devices"):
        run(told, {"scale": (1.0,)}, 1)


def test_other_errors_of_programs_are_not_hidden(monkeypatch):
    def fail(*arguments):
        raise RuntimeError("INTERNAL: something else")

    monkeypatch.setattr(compiler, "compile_block", lambda *arguments: fail)
    with pytest.raises(RuntimeError, match="something else"):
        run_training()


def test_a_setting_of_jax_for_a_while_does_not_outlast_it():
    class Double:
        double = True

    # JAX has moved it.
    enable_x64 = jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64
    for config in (object(), Double()):
        with enable_x64(True), tracing.precision(config):
            assert jax.numpy.zeros(1).dtype == "float64"
        with tracing.precision(config):
            assert (jax.numpy.zeros(1).dtype == "float64") == hasattr(config, "double")
        assert jax.numpy.zeros(1).dtype == "float32"
