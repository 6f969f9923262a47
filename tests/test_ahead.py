"""Programs that are compiled in threads, ahead of their turn."""

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from jaxstudies.commands import launch
from jaxstudies.commands.options import Options
from jaxstudies.engine import compiler, devices, monte_carlo, programs
from jaxstudies.engine.chunks import Chunks
from jaxstudies.engine.design import product_design
from jaxstudies.engine.execution import Execution
from jaxstudies.engine.monte_carlo import Task
from jaxstudies.engine.shares import Share, Unfinished
from jaxstudies.output import table
from jaxstudies.study import load

WIDTHS = tuple(range(1, 8))


def simulate(key, scale, *, width):
    """What is another program for each width."""
    return {"total": scale * jax.random.normal(key, (width,)).sum()}


@pytest.fixture
def compiled(monkeypatch):
    """Return a list that is filled with the thread of each compilation, nothing being kept from before."""
    seen, real = [], compiler._compiled

    def compile_it(*arguments):
        seen.append(threading.current_thread())
        return real(*arguments)

    monkeypatch.setattr(compiler, "_compiled", compile_it)
    monkeypatch.setattr(compiler, "_kept", type(compiler._kept)(64))
    return seen


def run(ahead, simulate=simulate, widths=WIDTHS, kept=None, num_seeds=4):
    design = product_design(simulate, {"scale": (1.0, 2.0), "width": widths})
    task = Task(simulate, design, num_seeds, execution=Execution(progress=False, ahead=ahead))
    return pd.concat(map(table.to_pandas, monte_carlo.run_design(task, kept)[0]), ignore_index=True)


def test_shares_begin_with_different_programs(tmp_path, monkeypatch):
    """So that each finds in the end what others have compiled meanwhile."""
    run, begun = programs.Programs.run, []

    def told(self, plan, block, seed):
        begun.append(plan.index)
        return run(self, plan, block, seed)

    monkeypatch.setattr(programs.Programs, "run", told)
    design = product_design(simulate, {"scale": (1.0, 2.0), "width": WIDTHS[:4]})
    task, orders = Task(simulate, design, 4, execution=Execution(chunk_size=4, progress=False)), []
    for index in range(2):
        begun.clear()
        with contextlib.suppress(Unfinished):
            monte_carlo.compute(task, Chunks(tmp_path / "parts"), Share(index, 2))
        orders.append(list(begun))
    assert orders == [[0, 1, 2, 3], [2, 3, 0, 1]]


def test_what_threads_compile_gives_the_same_numbers_and_is_compiled_once(compiled):
    expected = run(ahead=False)
    assert set(compiled) == {threading.main_thread()} and len(compiled) == len(WIDTHS)
    compiled.clear()
    compiler._kept.clear()
    pd.testing.assert_frame_equal(run(ahead=True), expected)
    assert threading.main_thread() not in compiled and len(compiled) == len(WIDTHS)


def test_what_is_finished_is_not_compiled_ahead(compiled, tmp_path):
    kept = Chunks(tmp_path / "parts")
    whole = run(ahead=True, kept=kept)
    (tmp_path / "parts" / sorted(kept.names())[-1]).with_suffix(".npz").unlink()
    compiled.clear()
    compiler._kept.clear()
    pd.testing.assert_frame_equal(run(ahead=True, kept=kept), whole)
    assert len(compiled) == 1


def test_few_programs_are_compiled_at_once(compiled, monkeypatch):
    asked, real = [], programs.Programs.look_ahead

    def look_ahead(self, plans):
        asked.append(list(plans))
        real(self, asked[-1])

    monkeypatch.setattr(programs.Programs, "look_ahead", look_ahead)
    monkeypatch.setattr(monte_carlo, "AHEAD", 2)
    run(ahead=True, widths=WIDTHS[:4])
    assert [len(plans) for plans in asked] == [2, 2, 2, 1]


def test_a_program_is_begun_once():
    """The threads wait, so that nothing that is begun ends."""
    go_on, begun = threading.Event(), []
    design = product_design(simulate, {"scale": (1.0, 2.0), "width": WIDTHS})
    chosen = devices.choose_devices()
    plans, _ = Execution().plans(design, 4, 0, chosen)
    with ThreadPoolExecutor(1) as threads:
        threads.submit(go_on.wait)
        made = programs.Programs(simulate, {}, chosen, threads=threads)
        made.look_ahead(plans[:3])
        made.look_ahead(plans[1:4])
        begun = list(made.ahead)
        go_on.set()
    assert begun == [plan.program() for plan in plans[:4]]


def test_an_error_of_the_compiler_is_that_of_the_setting_whose_turn_it_is(monkeypatch, compiled):
    real = compiler._compiled

    def fail(traced, mesh, arguments):
        if traced.shapes["total"].shape == (3,):
            raise RuntimeError("it cannot be compiled")
        return real(traced, mesh, arguments)

    def by_width(key, scale, *, width):
        return {"total": jnp.zeros(width).at[0].set(scale * jax.random.normal(key))}

    monkeypatch.setattr(compiler, "_compiled", fail)
    monkeypatch.setattr(monte_carlo, "shapes_of", lambda task: {})
    task = Task(by_width, product_design(by_width, {"scale": (1.0, 2.0), "width": (1, 2, 3)}), 4)
    task = task._replace(execution=Execution(progress=False, ahead=True))
    with pytest.raises(RuntimeError, match="cannot be compiled") as raised:
        monte_carlo.run_design(task)
    assert any("width 3" in note for note in raised.value.__notes__)


def test_what_calls_the_host_is_not_compiled_ahead(compiled):
    def calling(key, scale, *, width):
        shape, total = jax.ShapeDtypeStruct((), jnp.float32), scale * jax.random.normal(key) * width
        return {"total": jax.pure_callback(np.float32, shape, total, vmap_method="sequential")}

    run(ahead=True, simulate=calling, widths=(1, 2))
    assert set(compiled) == {threading.main_thread()}


@pytest.mark.parametrize(("platform", "ahead"), [("cpu", False), ("gpu", True)])
def test_a_command_compiles_ahead_where_its_cores_do_not_run(monkeypatch, platform, ahead):
    monkeypatch.setattr(devices, "choose_devices", lambda number=None: [SimpleNamespace(platform=platform)])
    assert launch._execution(load("dying_relu"), Options()).ahead is ahead
