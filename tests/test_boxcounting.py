"""Box-counting finds known dimensions, as near as the docstrings and claims say."""

import numpy as np
import pytest

from jaxstudies.evidence.boxcounting import CURVES, boundary, box_sizes, count_boxes, dimension


def midpoints(points):
    return (np.arange(points) + 0.5) / points


@pytest.mark.parametrize("points", [48, 64, 128])
def test_no_single_smooth_line_is_estimated_above_1_05(points):
    """Discs cut off or whole, and waves: what claims call rough must be rougher."""
    rng, at, found = np.random.default_rng(0), midpoints(points), []
    for _ in range(100):
        radius, (a, b) = rng.uniform(0.1, 0.6), rng.uniform(0.2, 0.8, 2)
        found.append(dimension((at[:, None] - a) ** 2 + (at - b) ** 2 < radius**2))
        slope, height, phase = rng.uniform(-0.3, 0.3), rng.uniform(0, 0.1), rng.uniform(0, 6)
        found.append(dimension(at[:, None] < 0.5 + slope * (at - 0.5) + height * np.sin(7 * at + phase)))
    assert max(found) < 1.05 and min(found) > 0.9 and abs(np.mean(found) - 1) < 0.04


@pytest.mark.parametrize("width", [0.04, 0.06])
def test_two_smooth_lines_near_one_another_are_rough_until_boxes_fit_between_them(width):
    """So a dimension above 1.05 shows no fractal, as `boundaries.ALSO_ROUGH` says."""

    def strip(points):
        at = midpoints(points)
        return np.abs(at[:, None] - 0.5 + 0.2 * (at - 0.5)) < width / 2

    for inside in (strip, CURVES["ring"].inside):
        found = [dimension(inside(points)) for points in (48, 192, 768, 1536)]
        assert found[0] > 1.09 and found == sorted(found, reverse=True) and found[-1] - 1 < (found[0] - 1) / 2


@pytest.mark.parametrize("points", [48, 64, 128, 256])
@pytest.mark.parametrize("name", [name for name in CURVES if name != "ring"])
def test_known_dimensions_are_found_or_fallen_short_of(name, points):
    """An estimate above the truth would make fractals of what are none; below it errs by 0.2 at most."""
    known, estimate = CURVES[name].dimension, dimension(CURVES[name].inside(points))
    assert known - 0.2 < estimate < known + 0.02


@pytest.mark.parametrize("name", [name for name in CURVES if CURVES[name].dimension > 1])
def test_with_more_points_the_bias_falls(name):
    errors = [CURVES[name].dimension - dimension(CURVES[name].inside(points)) for points in (64, 512)]
    assert 0 < errors[1] < errors[0] / 1.5


def test_a_plane_of_noise_has_dimension_two():
    assert dimension(np.random.default_rng(0).random((128, 128)) < 0.5) == pytest.approx(2, abs=0.05)


def test_a_straight_line_has_one_exactly_wherever_it_lies():
    for row in range(1, 40):
        counts = count_boxes(np.arange(65)[:, None].repeat(65, axis=1) > row)
        np.testing.assert_allclose(counts.boxes, 64 / counts.sizes)
        assert counts.dimension == pytest.approx(1, abs=1e-12) and counts.local == pytest.approx(1, abs=1e-12)


def test_boxes_are_counted_as_by_placing_every_one():
    """By a slow count over all places of the grid."""
    inside = np.random.default_rng(1).random((33, 33)) < 0.02
    marked, counts = boundary(inside), count_boxes(inside)
    for size, boxes in zip(counts.sizes, counts.boxes, strict=True):
        rolled = [np.roll(marked, (-i, -j), (0, 1)) for i in range(32) for j in range(32)]
        assert sum(one[:size, :size].any() for one in rolled) / size**2 == boxes


def test_a_boundary_lies_between_points_of_both_kinds():
    inside = np.zeros((4, 5), bool)
    inside[1, 1] = True
    expected = np.zeros((3, 4), bool)
    expected[:2, :2] = True
    assert (boundary(inside) == expected).all() and (boundary(~inside) == expected).all()


def test_without_a_boundary_there_is_no_dimension():
    for inside in (np.ones((32, 32), bool), np.zeros((32, 32), bool), np.eye(3, dtype=bool)):
        assert np.isnan(dimension(inside))


def test_boxes_are_at_most_an_eighth_of_a_side():
    assert box_sizes(64).tolist() == [1, 2, 3, 4, 6, 8] and box_sizes(63).tolist() == [1, 2, 3, 4, 6]
    assert box_sizes(95).tolist() == [1, 2, 3, 4, 6, 8, 11] and box_sizes(87).tolist() == [1, 2, 3, 4, 6, 8]
    assert box_sizes(1).tolist() == [1]
