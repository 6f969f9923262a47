"""Regressors that are not networks reproduce what they can represent."""

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from jaxstudies.networks import baselines


@pytest.fixture
def points():
    rng = np.random.default_rng(0)
    return rng.uniform(-1, 1, (400, 2)), rng.uniform(-0.7, 0.7, (50, 2))


def plane(x):
    return 2 * x[:, 0] - 3 * x[:, 1] + 1


@pytest.mark.parametrize("name", ["linear", "Delaunay", "RBF"])
def test_a_plane_is_reproduced(points, name):
    train, test = points
    predictions = baselines.REGRESSORS[name](train, plane(train), test)
    np.testing.assert_allclose(predictions, plane(test), atol=1e-9)


@pytest.mark.parametrize("name", ["1-nearest neighbor", "Delaunay", "RBF"])
def test_training_points_are_reproduced(points, name):
    train, _ = points
    targets = np.sin(9 * train[:, 0])
    predictions = baselines.REGRESSORS[name](train, targets, train)
    np.testing.assert_allclose(predictions, targets, atol=1e-9)


def test_outside_the_hull_the_nearest_point_counts():
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    predictions = baselines.REGRESSORS["Delaunay"](corners, np.array([1.0, 2.0, 3.0]), np.array([[5.0, 0.0]]))
    np.testing.assert_array_equal(predictions, [2.0])


def test_the_constant_is_the_mean(points):
    train, test = points
    predictions = baselines.REGRESSORS["constant"](train, plane(train), test)
    np.testing.assert_allclose(predictions, plane(train).mean())


def test_trees_find_a_step_with_a_single_thread(points, monkeypatch):
    train, test = points
    threads = []
    fit = baselines.HistGradientBoostingRegressor.fit

    def watched(self, inputs, targets):
        threads.extend(pool["num_threads"] for pool in threadpool_info())
        return fit(self, inputs, targets)

    monkeypatch.setattr(baselines.HistGradientBoostingRegressor, "fit", watched)
    predictions = baselines.predict("boosted trees", train, (train[:, 0] > 0) * 1.0, test)
    clear = np.abs(test[:, 0]) > 0.1
    np.testing.assert_allclose(predictions[clear], test[clear, 0] > 0, atol=0.01)
    assert set(threads) == {1}
