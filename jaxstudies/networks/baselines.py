"""What is not a neural network: predictions for test inputs from training examples, in NumPy."""

from collections.abc import Callable

import numpy as np
from scipy.interpolate import LinearNDInterpolator, RBFInterpolator
from scipy.spatial import cKDTree
from sklearn.ensemble import HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits


def linear(inputs: np.ndarray, targets: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Predict by least squares with an intercept."""
    with_one, test_with_one = (np.column_stack([x, np.ones(len(x))]) for x in (inputs, test))
    return test_with_one @ np.linalg.lstsq(with_one, targets)[0]


def nearest_neighbor(inputs: np.ndarray, targets: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Predict the target of the nearest training input."""
    return targets[cKDTree(inputs).query(test)[1]]


def delaunay(inputs: np.ndarray, targets: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Interpolate linearly on the Delaunay triangulation; outside the hull, nearest neighbor."""
    predictions = LinearNDInterpolator(inputs, targets)(test)
    return np.where(np.isnan(predictions), nearest_neighbor(inputs, targets, test), predictions)


def boosted_trees(inputs: np.ndarray, targets: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Predict by 150 gradient-boosted trees of 127 leaves (scikit-learn's)."""
    size = {"max_iter": 150, "max_leaf_nodes": 127}
    trees = HistGradientBoostingRegressor(**size, learning_rate=0.3, early_stopping=False, random_state=0)
    return trees.fit(inputs, targets).predict(test)


REGRESSORS: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]] = {
    "constant": lambda inputs, targets, test: np.full(len(test), targets.mean()),
    "linear": linear,
    "1-nearest neighbor": nearest_neighbor,
    "Delaunay": delaunay,
    # By thin-plate splines on the 50 nearest training inputs.
    "RBF": lambda inputs, targets, test: RBFInterpolator(inputs, targets, neighbors=min(50, len(inputs)))(test),
    "boosted trees": boosted_trees,
}
"""Functions of training inputs (n, features), training targets (n,) and test inputs."""


def predict(name: str, inputs: np.ndarray, targets: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Return a regressor's predictions for test inputs, computed in a single thread."""
    # Where the cores are busy, threads of OpenMP and BLAS spin for one another: a fit of a second takes minutes.
    with threadpool_limits(1):
        return REGRESSORS[name](inputs, targets, test)
