import itertools

import numpy as np
import pytest

from jaxstudies.evidence import theory


@pytest.mark.parametrize("width", [1, 2, 3, 5, 10])
def test_bounds_are_ordered_and_meet_the_exact_value_for_two_layers(width):
    low, high = theory.born_dead_bounds(2, width)
    exact = theory.born_dead_two_layers(width)
    assert low <= exact + 1e-12
    assert exact <= high


def test_known_values():
    assert theory.born_dead_two_layers(2) == pytest.approx(5 / 32)
    low, high = theory.born_dead_bounds(10, 2)
    assert high == pytest.approx(1 - 0.75**10)
    assert low == pytest.approx(0.9026, abs=5e-5)


def test_one_hidden_layer_is_never_dead_on_both_sides():
    """Off at +1 means on at -1, so the lower bound is 0; one fixed input is lost at 2^-N."""
    for width in (1, 2, 7):
        assert theory.born_dead_bounds(1, width) == pytest.approx((0.0, 2.0**-width))


@pytest.mark.parametrize("probability", [0.01, 0.1])
def test_safe_width_keeps_the_upper_bound_below_the_probability(probability):
    for depth in (1, 5, 20, 100):
        width = int(np.ceil(theory.safe_width(depth, probability)))
        assert theory.born_dead_bounds(depth, width)[1] <= probability


def test_two_layers_by_enumeration():
    """Count sign patterns: each unit of layer 1 is on at exactly one of x = +1, -1."""
    width = 3
    total = 0.0
    for first in itertools.product([0, 1], repeat=width):  # 1: on at +1, 0: on at -1
        plus, minus = any(first), not all(first)
        # Layer 2 is off at an input that reaches it with probability 2^-N; the two inputs excite
        # disjoint units, so the events are independent. An input lost in layer 1 stays lost.
        total += (0.5**width if plus else 1.0) * (0.5**width if minus else 1.0)
    assert total / 2**width == pytest.approx(theory.born_dead_two_layers(width))
