"""What needs more memory than there is runs in smaller blocks; numbers that 32 bits do not hold are refused."""

from unittest import mock

import jax
import numpy as np
import pytest
import toy

import jaxstudies
from jaxstudies.commands import options
from jaxstudies.commands.endings import UsageError
from jaxstudies.engine import compiler, memory, programs


@pytest.mark.parametrize("number", ["1e39", "-1e39", "1e-46", "3.5e38"])
def test_numbers_that_32_bits_do_not_hold_are_refused(number, monkeypatch):
    def parse():
        return options.parse(toy.Config, "toy", "", [f"--scale={number}"])[0]

    with pytest.raises(UsageError, match="--scale"):
        parse()
    monkeypatch.setenv("JAX_ENABLE_X64", "1")
    if not number.startswith("-"):
        assert vars(parse())["scale"] == (float(number),)


@pytest.mark.slow
def test_a_program_that_needs_more_memory_than_there_is_runs_in_smaller_blocks(monkeypatch, capsys):
    def simulate(key):
        return {"x": jax.numpy.sort(jax.random.normal(key, (1000,)))[:3]}

    whole = jaxstudies.map_seeds(simulate, num_seeds=64, num_devices=1, chunk_size=64)
    monkeypatch.setattr(compiler, "_kept", type(compiler._kept)(64))
    monkeypatch.setattr(memory, "available", lambda: 100_000.0)
    cut = jaxstudies.map_seeds(simulate, num_seeds=64, num_devices=1, chunk_size=64)
    assert "out of memory with 64 runs at once" in capsys.readouterr().err
    np.testing.assert_array_equal(cut["x"], whole["x"])
    monkeypatch.setattr(compiler, "_kept", type(compiler._kept)(64))
    monkeypatch.setattr(memory, "available", lambda: 10.0)
    with pytest.raises(programs.OutOfMemory, match=r"one run on each of 1 devices .* GB are needed"):
        jaxstudies.map_seeds(simulate, num_seeds=64, num_devices=1, chunk_size=64)


def test_there_is_some_memory_and_less_in_a_container(monkeypatch, tmp_path):
    assert 1e8 < memory.available() < 1e14
    (tmp_path / "memory.max").write_text("5000000\n")
    (tmp_path / "memory.current").write_text("1000000\n")
    monkeypatch.setattr(memory, "GROUP", tmp_path)
    assert memory.available() == 4_000_000
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.available() > 1e8


def card(**stats):
    """Stand in for an accelerator."""
    device = mock.Mock(spec=jax.Device, platform="gpu")
    device.memory_stats.return_value = stats or None
    return device


def test_an_accelerator_is_asked_what_it_has_left_before_a_program_is_run_on_it():
    compiled = jax.jit(lambda x: jax.numpy.sort(x * x)).lower(np.ones(1000, np.float32)).compile()
    stats = compiled.memory_analysis()
    needs = stats.temp_size_in_bytes + stats.output_size_in_bytes
    assert needs >= 4000
    enough = card(bytes_limit=2 * needs, bytes_in_use=needs)
    memory.check(compiled, [enough, card()])  # one that does not say is no limit
    with pytest.raises(memory.TooLarge) as error:
        memory.check(compiled, [enough, card(bytes_limit=needs, bytes_in_use=needs // 2)])
    assert error.value.times == pytest.approx(needs / (needs - needs // 2))
