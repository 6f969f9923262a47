"""Runs as curves: the paths follow them, and those of a study are what its runs are."""

import shutil
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxstudies import portraits
from jaxstudies.commands import main
from jaxstudies.networks.data import grid_inputs
from jaxstudies.networks.models import MLP, initializer
from jaxstudies.output import curves, page, stored
from jaxstudies.output.curves import Portrait
from jaxstudies.studies import born_dead
from jaxstudies.study import load

FIGURES = Path(__file__).parent.parent / "figures"


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
    found = list(portraits.draw(load("born_dead"), config, 0, 8))
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


MINE = '''"""Which lines are drawn?"""

from dataclasses import dataclass

import jax

from jaxstudies.output.curves import Functions


@dataclass(frozen=True)
class Config:
    slope: tuple[float, ...] = (0.0, 1.0)


def simulate(key, slope):
    return {"at_1": slope + jax.random.normal(key)}


def portraits(config):
    x = jax.numpy.linspace(0.0, 1.0, 5)
    for slope in config.slope:
        line = lambda key, slope=slope: (slope * x + jax.random.normal(key))[None]
        yield Functions({"slope": slope}, [{"slope": slope, "measure": "at_1"}], x, line)
'''


def test_any_study_s_functions_are_kept_beside_its_runs_and_read_without_its_code(tmp_path, capsys):
    (tmp_path / "mine.py").write_text(MINE)
    main.main([str(tmp_path / "mine.py"), "--seeds", "3", "--out", str(tmp_path / "out")])
    assert curves.FILE in capsys.readouterr().out
    (tmp_path / "mine.py").write_text("raise SystemExit('it was run')")
    flat, rising = page.read_section(tmp_path / "out").portraits
    assert flat.cell == {"slope": 0.0, "measure": "at_1"} and rising.setting == {"slope": 1.0}
    at_1 = stored.read_runs(tmp_path / "out" / "runs.parquet")["at_1"].to_numpy()
    np.testing.assert_allclose([*flat.y[:, -1], *rising.y[:, -1]], at_1, rtol=1e-5)
    np.testing.assert_allclose(rising.y - rising.y[:, :1], np.tile(rising.x, (3, 1)), atol=1e-6)


def test_a_study_that_offers_no_functions_any_more_leaves_none(tmp_path):
    (tmp_path / "mine.py").write_text(MINE)
    flags = [str(tmp_path / "mine.py"), "--seeds", "3", "--out", str(tmp_path / "out")]
    main.main(flags)
    (tmp_path / "mine.py").write_text(MINE.replace("def portraits", "def none"))
    main.main([*flags, "--plots-only"])
    assert not (tmp_path / "out" / curves.FILE).exists()


def test_functions_of_two_inputs_are_not_drawn():
    config = born_dead.Config(depths=(1,), widths=(2,), target="abs_sum_diff")
    assert list(portraits.draw(load("born_dead"), config, 0, 2)) == []


X = np.arange(3.0)
WRONG = [Portrait({}, {}, X, np.zeros((2, 4))), Portrait({}, {}, X[::-1], np.zeros((2, 3))), None]
WRONG += [Portrait({}, {}, X[:1], np.zeros((2, 1))), Portrait({}, {}, X * np.nan, np.zeros((2, 3)))]


@pytest.mark.parametrize("wrong", range(len(WRONG)))
def test_what_is_damaged_is_left_out(tmp_path, wrong):
    shutil.copytree(FIGURES / "order_chaos", tmp_path / "x")
    portrait = WRONG[wrong]
    if portrait is None:
        (tmp_path / "x" / curves.FILE).write_bytes(b"PAR1")
    else:
        curves.write(tmp_path / "x" / curves.FILE, [portrait])
    assert page.read_section(tmp_path / "x").portraits == []
