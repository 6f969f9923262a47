import functools
import gc
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
import pytest

from jaxstudies import monte_carlo, programs, training
from jaxstudies.data import Dataset
from jaxstudies.models import MLP, initializer, leaky_relu
from jaxstudies.parts import Parts

ROUNDING = 5e-6  # relative: float32 sums in another order, over some tens of steps


def simulate(key, scale):
    """A short training run whose biases start as zeros that no seed has touched."""
    data_key, fit_key = jax.random.split(key)
    x = jax.random.normal(data_key, (32, 1))
    model = MLP(3, 4, 1, lambda z: leaky_relu(0.1, z), initializer("he_normal"))
    state, history = training.fit(
        fit_key, model, optax.adam(1e-2), optax.losses.squared_error,
        Dataset(x, scale * jnp.abs(x)), num_epochs=5, batch_size=8,
    )  # fmt: skip
    layers = state.params["layers"]
    return {"history": history, "bias": layers["first"].bias, "last": layers["last"].bias[0]}


def map_seeds(num_seeds=12, **kwargs):
    return monte_carlo.map_seeds(simulate, jnp.float32(2.0), num_seeds=num_seeds, **kwargs)


@pytest.fixture(scope="module")
def twelve():
    return map_seeds()


def assert_close(a, b):
    for name in a:
        np.testing.assert_allclose(a[name], b[name], rtol=ROUNDING, atol=1e-6, err_msg=name)


def test_there_are_several_devices_to_test_on():
    import os

    assert len(monte_carlo.choose_devices()) == len(os.sched_getaffinity(0))


def test_mapped_equals_looped(twelve):
    run = jax.jit(simulate)
    for i in (0, 5, 11):
        alone = run(jax.random.fold_in(jax.random.key(0), i), jnp.float32(2.0))
        assert_close({name: values[i] for name, values in twelve.items()}, alone)


def test_devices_do_not_train_one_another(twelve):
    """With sums over devices slipped into the gradients, this failed at the first digit."""
    assert_close(twelve, map_seeds(num_devices=1))


@pytest.mark.parametrize("chunk_size", [1, 5, 12, 100])
def test_chunks_change_nothing_but_rounding(twelve, chunk_size):
    assert_close(twelve, map_seeds(chunk_size=chunk_size))


@pytest.mark.parametrize("num_seeds", [1, 5])
def test_fewer_seeds_are_a_prefix(twelve, num_seeds):
    some = map_seeds(num_seeds)
    assert_close({name: values[:num_seeds] for name, values in twelve.items()}, some)


def test_the_same_program_repeats_to_the_bit(twelve):
    again = map_seeds()
    for name in twelve:
        np.testing.assert_array_equal(twelve[name], again[name])


def test_seeds_and_master_seeds_differ(twelve):
    other = map_seeds(seed=1)
    assert len(np.unique(np.concatenate([twelve["last"], other["last"]]))) == 24


def test_matrix_products_are_in_full_precision_on_any_device():
    seen = []

    def simulate(key):
        seen.append(jax.config.jax_default_matmul_precision)
        return {"x": jax.random.normal(key)}

    monte_carlo.map_seeds(simulate, num_seeds=2)
    assert set(seen) == {"highest"}
    assert jax.config.jax_default_matmul_precision is None


def test_too_many_devices_are_an_error():
    with pytest.raises(ValueError, match="99 devices"):
        map_seeds(num_devices=99)


@pytest.mark.parametrize("num_seeds", [1, 7, 1000, 1025, 10**6])
@pytest.mark.parametrize("chunk_size", [None, 1, 100])
def test_chunks_cover_all_seeds_evenly(num_seeds, chunk_size):
    devices = monte_carlo.choose_devices()
    chunk = monte_carlo.plan_chunks(num_seeds, chunk_size, devices)
    assert chunk % len(devices) == 0
    most = chunk_size or monte_carlo.CHUNK_PER_CPU * len(devices)
    assert chunk <= max(most, len(devices)) + len(devices) - 1
    padding = -(-num_seeds // chunk) * chunk - num_seeds
    assert padding < -(-num_seeds // chunk) + len(devices) * -(-num_seeds // chunk)


def draw(key, scale):
    """What compiles in no time."""
    return {"draws": scale * jax.random.normal(key, (2,))}


def settings(simulate=draw):
    return [
        monte_carlo.Setting({"scale": scale}, simulate, (jnp.float32(scale),), num_seeds=count)
        for scale, count in ((1.0, None), (2.0, 5))
    ]


def test_settings_share_a_program_and_make_a_table():
    timings = []
    table = monte_carlo.run_settings(settings(simulate), num_seeds=6, timings=timings)
    assert list(table["scale"]) == [1.0] * 6 + [2.0] * 5
    assert list(table["seed"]) == [*range(6), *range(5)]
    assert {"history_1", "history_5", "bias_4", "last"} <= set(table)
    first = monte_carlo.map_seeds(simulate, jnp.float32(1.0), num_seeds=6)
    np.testing.assert_array_equal(table["last"][:6], first["last"])
    assert [t["seeds_run"] for t in timings] == [6, 5]


@pytest.mark.parametrize("rows", [2, 5, 6, 100])
def test_blocks_are_the_table_by_seeds(monkeypatch, rows):
    monkeypatch.setattr(monte_carlo, "LEAST_SEEDS", 1)
    sizes = {"num_seeds": 6, "chunk_size": 4}
    whole = monte_carlo.run_settings(settings(), **sizes)
    blocks = list(monte_carlo.stream_settings(settings(), **sizes, rows_at_once=rows))
    seeds = rows // 2
    assert [block["seed"].max() for block in blocks] == [*range(seeds - 1, 5, seeds), 5]
    assert all(len(block) <= rows for block in blocks)
    together = pd.concat(blocks).sort_values(["scale", "seed"], ignore_index=True)
    pd.testing.assert_frame_equal(together, whole)


def test_settings_of_the_same_name_are_refused():
    with pytest.raises(ValueError, match="the same labels"):
        monte_carlo.run_settings([settings()[0]] * 2, num_seeds=2)


def test_same_shape_settings_compile_once(monkeypatch):
    compiled = []
    real = programs.compile_chunk
    monkeypatch.setattr(programs, "compile_chunk", lambda *a: compiled.append(a[1]) or real(*a))
    pair = [s._replace(num_seeds=None) for s in settings()]
    monte_carlo.run_settings(pair, num_seeds=4)
    assert compiled == [4]


def test_finished_chunks_are_not_run_again_and_damaged_ones_are(tmp_path):
    parts = Parts(tmp_path / "parts")
    run = lambda timings: monte_carlo.run_settings(  # noqa: E731
        settings(), num_seeds=6, chunk_size=2, parts=parts, timings=timings
    )
    whole = run([])
    files = sorted(parts.directory.iterdir())
    assert len(files) == 3 + 3
    files[0].unlink()
    files[1].write_bytes(files[1].read_bytes()[:-7])
    flipped = bytearray(files[4].read_bytes())
    flipped[len(flipped) // 2] ^= 1
    files[4].write_bytes(flipped)
    timings = []
    again = run(timings)
    assert [t["seeds_run"] for t in timings] == [4, 2]
    assert whole.equals(again)


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

    real = programs.compile_chunk
    monkeypatch.setattr(programs, "compile_chunk", Program)
    one, other, *rest = (functools.partial(draw) for _ in range(5))
    listed = [
        monte_carlo.Setting({"number": number}, program, (jnp.float32(1.0),))
        for number, program in enumerate((one, other, one, other, *rest))
    ]
    monte_carlo.run_settings(listed, num_seeds=4)
    assert most == [0, 1, 0, 0, 0]


def memory_for(most, monkeypatch, when):
    """Let programs of more than so many seeds run out of memory, when compiled or when run."""
    real, sizes = programs.compile_chunk, []

    def fail(*arguments):
        raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 byte.")

    def compile_chunk(setting, size, devices):
        sizes.append(size)
        if size > most and when == "compiled":
            fail()
        return fail if size > most else real(setting, size, devices)

    monkeypatch.setattr(programs, "compile_chunk", compile_chunk)
    return sizes


@pytest.mark.parametrize("when", ["compiled", "run"])
def test_without_memory_chunks_are_halved_and_it_is_said(twelve, monkeypatch, when, capsys):
    devices = len(monte_carlo.choose_devices())
    sizes = memory_for(4 * devices, monkeypatch, when)
    many = map_seeds(20 * devices, chunk_size=12 * devices)
    assert sizes == [10 * devices, 5 * devices, 3 * devices]
    said = capsys.readouterr().err
    assert f"out of memory with {5 * devices} seeds at once: going on with {3 * devices}" in said
    count = min(12, 20 * devices)
    assert_close({k: v[:count] for k, v in twelve.items()}, {k: v[:count] for k, v in many.items()})


def test_without_memory_for_one_seed_the_way_out_is_named(monkeypatch):
    memory_for(0, monkeypatch, "run")
    with pytest.raises(programs.OutOfMemory, match="--devices"):
        map_seeds()


def test_other_errors_of_programs_are_not_hidden(monkeypatch):
    def fail(*arguments):
        raise RuntimeError("INTERNAL: something else")

    monkeypatch.setattr(programs, "compile_chunk", lambda *arguments: fail)
    with pytest.raises(RuntimeError, match="something else"):
        map_seeds()
