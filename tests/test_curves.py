"""Runs as curves: the paths follow them, and those of a study are what its runs are."""

import json
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxstudies import portraits
from jaxstudies.networks.data import grid_inputs
from jaxstudies.networks.models import MLP, initializer
from jaxstudies.output import curves
from jaxstudies.output.curves import Portrait
from jaxstudies.studies import born_dead


def read(path):
    return np.array([point.split(",") for point in path.removeprefix("M").split("L")], float)


@given(st.lists(st.floats(-1e6, 1e6), min_size=6, max_size=40))
def test_a_path_lies_near_its_curve_and_within_its_drawing(numbers):
    x, y = np.linspace(-2, 3, len(numbers)), np.array(numbers)
    (path,) = curves.paths(Portrait({}, {}, x, y[None]))
    found = read(path)
    assert (found >= 0).all() and (found <= curves.SIZE).all()
    span = y.max() - y.min()
    share = (y - y.min()) / span if span else np.full(len(y), 0.5)
    up = np.interp(np.linspace(0, curves.SIZE, len(y)), *found.T)
    steepest = np.abs(np.diff(share)).max() * len(y)
    assert np.abs(up - curves.SIZE * (0.95 - 0.9 * share)).max() <= curves.NEAR + 0.06 + 0.06 * steepest


def test_curves_share_a_scale_lines_need_two_points_and_what_is_not_finite_has_no_path():
    x = np.arange(5.0)
    made = curves.paths(Portrait({}, {}, x, np.stack([x, 0 * x, np.abs(x - 2), np.full(5, np.inf)])))
    assert [len(read(path)) for path in made[:3]] == [2, 2, 3] and made[3] == ""
    assert read(made[0])[0, 1] == read(made[1])[0, 1] == read(made[1])[1, 1] > read(made[0])[1, 1]


def test_the_functions_of_the_map_are_those_of_its_networks():
    """A network drawn at its own depth is the one of the map, and is constant where its run says that it is dead."""
    config = born_dead.Config(seeds=8, depths=(2, 6), widths=(2,))
    keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(0), i))(np.arange(8))
    found = list(born_dead.portraits(config, keys))
    assert [(p.cell["depth"], p.cell["width"]) for p in found] == [(2, 2), (6, 2)]
    inputs = grid_inputs(64, 1)
    for portrait in found:
        model = MLP(portrait.cell["depth"], 2, 1, jax.nn.relu, initializer("he_normal"))
        alone = jax.jit(jax.vmap(lambda key: model.apply(model.init(key, inputs), inputs)[:, 0]))(keys)  # noqa: B023
        np.testing.assert_allclose(portrait.y, alone, atol=1e-5)
    simulated = partial(born_dead.simulate, config=config, depth=6, width=2, after=False)
    run = jax.jit(jax.vmap(lambda key: simulated(key, 0, 0)))
    dead = np.asarray(run(keys)["first_dead_layer"]) > 0
    np.testing.assert_array_equal(np.ptp(found[1].y, axis=1) == 0, dead)
    assert dead.any() and not dead.all()


@pytest.mark.parametrize(
    "change",
    [{"study": "none"}, {"file": "mine.py"}, {"config": {"widths": "x"}}, {"config": {"target": "abs_sum_diff"}}],
)
def test_what_cannot_be_drawn_is_left_out_and_no_file_is_run(tmp_path, change):
    (tmp_path / "mine.py").write_text("raise SystemExit('it was run')")
    origin = {"study": "born_dead", "config": {"depths": [1], "widths": [2]}, "seed": 0, "num_seeds": 2}
    (tmp_path / "config.json").write_text(json.dumps(origin | change))
    assert portraits.portraits_of(Path(tmp_path)) == []
