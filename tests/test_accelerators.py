"""Every program of every study can be made for accelerators, on a machine that has none."""

import pytest
from test_examples import SMALL

from jaxstudies.commands import options
from jaxstudies.engine import compiler, devices, tracing
from jaxstudies.engine.blocks import Plan, Size
from jaxstudies.study import load
from jaxstudies.tasks import task_of

LONG = {"collapse", "depth_width"}
"""Studies of many programs, of which even a small run takes long."""


def traced_programs(name, flags):
    """Yield each program of a study's run, traced as it is before it is compiled."""
    study = load(name)
    config, seeds, _ = options.parse(study.Config, name, study.text, flags)
    with tracing.precision(config):
        task = task_of(study, config, seeds.seeds)
        size, seen = Size(2, 2), set()
        mesh = devices.make_mesh(size, devices.choose_devices(1))
        for group in task.design.groups:
            program = Plan(0, group, 0, 1, size, 0).program()
            if program not in seen:
                seen.add(program)
                traced = tracing.trace(task.simulate, group, dict(task.data), task.identity)
                arguments = compiler.place_block(mesh, size, dict(task.data), 0, 0, 0, group)
                yield compiler.trace_block(traced, mesh, arguments)


def assert_lowered(traced):
    for platform in ("cuda", "tpu"):
        assert "func.func public @main" in traced.lower(lowering_platforms=(platform,)).as_text()


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.faults] * (name in LONG)) for name in SMALL])
def test_every_program_of_a_small_run_is_lowered_for_cards_and_tpus(name):
    assert [assert_lowered(traced) for traced in traced_programs(name, SMALL[name])]


@pytest.mark.faults
@pytest.mark.parametrize("name", SMALL)
def test_every_program_of_a_command_without_flags_is(name):
    flags = ["--dataset", "digits"] * ("digits" in SMALL[name])  # of the same programs, and no file is needed
    assert [assert_lowered(traced) for traced in traced_programs(name, flags)]
