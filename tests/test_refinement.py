"""A refined grid is the full one, but for what touches no boundary that was found."""

import numpy as np
import pytest

from jaxstudies.engine.refinement import refine
from jaxstudies.evidence.boxcounting import CURVES, boundary


def looked_up(full):
    """Return what evaluates points of a grid, and the points that were asked for."""
    asked = []

    def evaluate(row, column):
        asked.extend(zip(row.tolist(), column.tolist(), strict=True))
        return full[row, column]

    return evaluate, asked


@pytest.mark.parametrize("points", [100, 256])
@pytest.mark.parametrize("name", ["circle", "square", "Koch curve"])
def test_a_boundary_in_one_piece_is_followed_wherever_it_leads(name, points):
    full = CURVES[name].inside(points)
    evaluate, asked = looked_up(full)
    inside, evaluated = refine(evaluate, points, 16)
    assert (inside == full).all()
    assert len(asked) == len(set(asked)) == evaluated.sum() and all(evaluated[point] for point in asked)
    cells = boundary(full)
    assert evaluated.sum() < 4 * cells.sum() + 2 * (points // 16 + 1) ** 2 + points


def test_on_the_finest_lattice_alone_all_points_are_evaluated():
    full = np.random.default_rng(0).random((33, 33)) < 0.5
    inside, evaluated = refine(looked_up(full)[0], 33, 1)
    assert (inside == full).all() and evaluated.all()


def test_of_noise_hardly_a_point_is_left_out():
    full = np.random.default_rng(0).random((128, 128)) < 0.5
    inside, evaluated = refine(looked_up(full)[0], 128, 8)
    assert evaluated.mean() > 0.99 and (inside != full).mean() < 0.01


def test_what_differs_lies_away_from_what_was_evaluated():
    """Islands that no lattice point fell on are missed, and nothing else."""
    at = np.arange(256)
    full = (at[:, None] - 128) ** 2 + (at - 128) ** 2 < 80**2
    full[10:13, 11:14] = True  # between the points of the coarsest lattice, and far from the disc
    inside, evaluated = refine(looked_up(full)[0], 256, 16)
    wrong = np.argwhere(inside != full)
    assert len(wrong) == 9 and wrong.min() >= 10 and wrong.max() <= 13 and not evaluated[10:13, 11:14].any()
    assert refine(looked_up(full)[0], 256, 1).inside[10:13, 11:14].all()


@pytest.mark.parametrize("coarsest", [0, 3, 12, -8])
def test_the_coarsest_lattice_is_a_power_of_two(coarsest):
    with pytest.raises(ValueError, match=f"coarsest {coarsest}: a power of two"):
        refine(lambda row, column: row > 3, 16, coarsest)
