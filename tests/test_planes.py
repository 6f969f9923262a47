"""Planes are square windows of points; what runs return at them is a grid, whole or refined near a boundary."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from jaxstudies.engine.planes import Plane, by_seed, coarsest_lattice, grids, refine_plane, refined_pictures, run_points
from jaxstudies.evidence.boxcounting import count_boxes
from jaxstudies.grids import packed, unpacked
from jaxstudies.output import planes as pictures
from jaxstudies.output.planes import Window, ranked


def test_points_are_midpoints_of_equal_cells_between_the_edges():
    plane = Plane((1.0, -2.0), 4.0, 8)
    left, right, lower, upper = plane.edges
    for axis, low, high in zip(plane.axes, (left, lower), (right, upper), strict=True):
        np.testing.assert_allclose(axis, low + (high - low) * (np.arange(8) + 0.5) / 8)
    assert (left, right, lower, upper) == (-1, 3, -4, 0)


def test_squares_of_any_size_stand_together():
    columns, rows = (np.rint(a).astype(int) for a in Plane((8.5, 8.5), 16.0, 16).by_tiles())
    assert len({*zip(rows.tolist(), columns.tolist(), strict=True)}) == 256
    for side in (2, 4, 8):
        for start in range(0, 256, side**2):
            tile = rows[start : start + side**2], columns[start : start + side**2]
            assert all(len(set(part.tolist())) == side and np.ptp(part) == side - 1 for part in tile)
    x, y = Plane((2.5, 2.5), 5.0, 5).by_tiles()
    assert sorted(zip(x, y, strict=True)) == [(i + 0.5, j + 0.5) for i in range(5) for j in range(5)]


def test_rows_in_any_order_are_grids_by_group_and_seed():
    plane, listed = Plane((0.0, 0.0), 2.0, 6), []
    for kind in "ab":
        for seed in range(3):
            x, y = plane.by_tiles()
            rows = pd.DataFrame({"kind": kind, "x": x, "y": y, "seed": seed, "value": 10 * y + x + seed})
            listed.append(rows.sample(frac=1, random_state=seed))
    found = grids(pd.concat(listed, ignore_index=True), ["kind", "seed"], "value")
    across, up = plane.axes
    for (_, seed), grid in found.items():
        np.testing.assert_allclose(grid, 10 * up[:, None] + across + seed)
    assert list(by_seed(found, "b")) == [0, 1, 2] and by_seed(found, "b")[1] is found["b", 1]


def simulate(key, x, y, *, radius):
    return {"inside": jnp.hypot(x, y) < radius, "draw": jax.random.normal(key) + x}


def disc(x, y):
    return run_points(simulate, "inside", {"x": x, "y": y}, {"radius": 0.7}, seed=3, chunk_size=64)


def test_points_are_run_as_one_by_one_whatever_fills_the_last_chunk():
    x = np.linspace(-1, 1, 70)
    found = run_points(simulate, "draw", {"x": x, "y": x}, {"radius": 0.7}, seed=3, chunk_size=64)
    key = jax.random.fold_in(jax.random.key(3), 0)
    one_by_one = [simulate(key, jnp.float32(a), jnp.float32(a), radius=0.7)["draw"] for a in x]
    np.testing.assert_allclose(found, one_by_one, rtol=1e-6)


def test_a_refined_plane_is_the_whole_one_and_is_kept_on_the_way():
    plane, kept = Plane((0.1, 0.0), 2.0, 80), {}
    across, up = plane.axes

    def remember(name, compute):
        if name not in kept:
            kept[name] = compute()
        return kept[name]

    inside, evaluated = refine_plane(disc, plane, "disc", remember)
    assert (inside == (np.hypot(across, up[:, None]) < 0.7)).all() and evaluated.mean() < 0.3
    assert len(kept) > 1 and all(name.startswith("disc ") for name in kept)
    again = refine_plane(lambda x, y: pytest.fail("it was kept"), plane, "disc", remember)
    assert (again.inside == inside).all()


@pytest.mark.parametrize(
    ("points", "apart"), [(2, 8), (63, 8), (96, 8), (512, 8), (1023, 8), (1024, 16), (4095, 32), (4096, 64)]
)
def test_a_finer_picture_begins_with_no_finer_lattice_than_it_needs(points, apart):
    """Else a picture of 4,096 x 4,096 would cost its coarsest lattice, a quarter of a million points."""
    assert coarsest_lattice(points) == apart and apart & (apart - 1) == 0


def test_refined_pictures_are_rows_with_their_grids_and_what_they_cost():
    planes = {name: Plane((0.0, 0.0), span, 40) for name, span in (("disc", 2.0), ("far", 0.1))}
    rows = refined_pictures(planes, lambda name, x, y: disc(x, y), lambda name, compute: compute())
    assert rows["name"].tolist() == ["disc", "far"] and (rows["points"] == 40).all()
    assert (rows["runs"] == rows["share"] * 1600).all() and rows["share"][1] == 25 / 1600  # the coarsest lattice alone
    across, up = planes["disc"].axes
    assert (unpacked(rows["grid"][0], 40) == (np.hypot(across, up[:, None]) < 0.7)).all()
    assert unpacked(rows["grid"][1], 40).all()


def test_a_grid_is_kept_as_text():
    grid = np.random.default_rng(0).random((37, 37)) < 0.5
    assert (unpacked(packed(grid), 37) == grid).all()


@pytest.mark.parametrize("negative", [0, 7, 20])
def test_ranks_keep_both_sides_apart_and_use_all_colors(negative):
    measure = np.concatenate([-np.arange(1.0, negative + 1), np.geomspace(1, 1e6, 20 - negative)]).reshape(4, 5)
    rank = ranked(measure)
    assert (rank[measure < 0] < 0.5).all() and (rank[measure > 0] >= 0.5).all()
    assert (np.diff(rank.ravel()[np.argsort(measure.ravel())]) > 0).all()
    for side in (rank[measure < 0], rank[measure > 0] - 0.5):
        np.testing.assert_allclose(np.sort(side), np.arange(len(side)) / (2 * max(len(side), 1)))


def test_a_cross_marks_where_the_next_window_is():
    image = np.zeros((4, 4))
    strip = [Window(str(n), image, Plane((3.0, 1.0), 10.0**-n, 4).edges, ("x", "y")) for n in range(3)]
    axes = pictures.strips([strip, strip], cmap="cividis").axes
    crosses = [[(*line.get_data(),) for line in ax.lines] for ax in axes]
    assert [len(marks) for marks in crosses] == [1, 1, 0, 1, 1, 0]
    np.testing.assert_allclose(np.array(crosses[0]).ravel(), [3.0, 1.0])


def test_slopes_are_drawn_between_the_sides_that_they_join():
    inside = np.arange(65)[:, None].repeat(65, axis=1) > 30
    counts, (ax,) = count_boxes(inside), pictures.by_scale({"line": ([(6.5, inside)], None)}).axes
    sides, slopes = ax.lines[0].get_data()
    assert len(sides) == len(counts.sizes) - 1
    assert (sides > 0.1 * counts.sizes[:-1]).all() and (sides < 0.1 * counts.sizes[1:]).all()
    np.testing.assert_allclose(slopes, 1)
