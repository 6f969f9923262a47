"""Claims on dimensions: of lines and of noise, over seeds and over scales, and of what most have in common."""

import numpy as np
import pandas as pd
import pytest

from jaxstudies.evidence import boundaries
from jaxstudies.evidence.boundaries import (
    compared,
    described,
    dimensions,
    excesses,
    group_size,
    majority,
    of_majorities,
    rough,
    slopes,
    smooth,
    stated,
)
from jaxstudies.evidence.boxcounting import BIAS, CURVES, SMOOTH, count_boxes, dimension, known_dimensions
from jaxstudies.evidence.judging import judge_all
from jaxstudies.grids import packed

AT = np.arange(96) / 96


def lines(number, noise=0.0):
    """Return half planes, whose points are turned over with a probability."""
    rng = np.random.default_rng(0)
    half = [AT[:, None] < 0.5 + rng.uniform(-0.9, 0.9) * (AT - rng.random()) for _ in range(number)]
    return {seed: plane ^ (rng.random(plane.shape) < noise) for seed, plane in enumerate(half)}


def verdict(claim, effect):
    ((found,), _) = judge_all([claim("id", "words", lambda of: effect)], lambda *_: None)
    return found.verdict


@pytest.mark.parametrize(("noise", "kinds"), [(0.0, ("refuted", "supported")), (0.3, ("supported", "refuted"))])
def test_over_seeds_a_line_is_smooth_and_noise_is_not(noise, kinds):
    effect = dimensions(lines(12, noise))
    assert effect.tolist() == [dimension(plane) for plane in lines(12, noise).values()]
    for claim, kind in zip((rough, smooth), kinds, strict=True):
        assert verdict(lambda *said, claim=claim: claim(*said, near_normal="yes"), effect) == kind


@pytest.mark.parametrize(("noise", "kinds"), [(0.0, ("refuted", "supported")), (0.3, ("supported", "refuted"))])
def test_so_it_is_over_scales_of_one(noise, kinds):
    """Of two windows of 96 points there are twelve slopes."""
    effect = slopes(*({0: plane} for plane in lines(2, noise).values()))
    assert effect.tolist() == [slope for plane in lines(2, noise).values() for slope in count_boxes(plane).local]
    for claim, kind in zip((rough, smooth), kinds, strict=True):
        assert verdict(lambda *said, claim=claim: claim(*said, estimand="median"), effect) == kind
    assert verdict(lambda *said: rough(*said, estimand="median"), slopes()) == "not tested"


def test_a_stated_dimension_is_met_as_near_as_known_ones_are_found():
    known = CURVES["quadratic Koch curve"]
    found = pd.Series(dimension(known.inside(128)) + np.random.default_rng(0).normal(0, 0.005, 9))

    def claim(value):
        return lambda id_, words, effect: stated(id_, words, effect, value, near_normal="yes")

    kinds = [verdict(claim(value), found) for value in (known.dimension, 1.2, 1.8)]
    assert kinds == ["supported", "refuted", "refuted"]


def test_majorities_of_more_and_more_lie_nearer_to_what_all_share():
    """Of noise that is each seed's own less and less is left."""
    planes = lines(30, 0.3)
    found = boundaries.by_number({"noisy": planes, "alone": {0: planes[0]}}, "kind").set_index("seeds")
    assert (found["kind"] == "noisy").all() and found["groups"].to_dict() == {1: 30, 3: 10, 5: 6, 10: 3, 30: 1}
    assert found["dimension"].is_monotonic_decreasing and (found["low"][:4] < found["dimension"][:4]).all()
    own = dimensions(planes)
    assert found["dimension"][1] == pytest.approx(own.mean()) and np.isnan(found["low"][30])
    assert found["dimension"][30] == dimension(majority(planes.values()))


GROUPS = [(15, [2, 5, 8, 11, 14]), (100, [19, 39, 59, 79, 99]), (7, [2, 5]), (2, []), (29, [4, 9, 14, 19, 24])]


@pytest.mark.parametrize(("seeds", "last"), GROUPS)
def test_majorities_are_of_five_groups_or_of_groups_of_three(seeds, last):
    planes, size = {seed: AT[:20, None] + 0 * AT[:20] < 0.01 * (seed % 7) for seed in range(seeds)}, group_size(seeds)
    found = excesses(dict(reversed(planes.items())), size)
    assert found.index.tolist() == of_majorities(planes, size).index.tolist() == last


def test_claims_on_majorities_say_of_how_many():
    """With more seeds than were planned there are more groups, each of as many."""
    planes = lines(20, 0.2)
    claims = boundaries.smooth_in_majorities(
        "noisy", "seeds are inside", 4, lambda take: lambda of: take(planes), near_normal="yes"
    )
    (own, less), _ = judge_all(claims, lambda *_: None)
    assert own.claim == "where most of 4 seeds are inside has a smooth boundary (noisy)"
    assert less.claim == "where most of 4 seeds are inside has a smoother one than each, in the mean (noisy)"
    assert own.n == less.n == 5 and own.not_shown == less.not_shown == "majorities of more than 4"
    assert (own.effect, less.effect) == (of_majorities(planes, 4).mean(), excesses(planes, 4).mean())


def test_a_majority_is_where_more_than_half_are_and_its_excess_is_over_its_own_seeds():
    planes = lines(15, 0.2)
    three = [planes[seed] for seed in (3, 4, 5)]
    assert (majority(three) == (np.sum(three, axis=0) >= 2)).all()
    assert of_majorities(planes, 3)[5] == dimension(majority(three))
    assert excesses(planes, 3)[5] == pytest.approx(dimension(majority(three)) - np.mean([dimension(p) for p in three]))
    assert not majority([planes[0] | True, planes[0] & False]).any()  # a half is no majority


def test_one_is_described_over_scales_and_several_over_seeds():
    several, one = lines(9, 0.1), {4: lines(1, 0.1)[0]}
    mean, low, high = described(several)
    assert low < mean < high and mean == pytest.approx(dimensions(several).mean())
    median, least, most = described(one)
    local = slopes(one)
    assert median == local.median() and (least, most) == (local.min(), local.max())
    assert np.isnan(described({0: np.ones((9, 9), bool)})[0])


def test_the_bias_that_claims_allow_for_is_that_of_the_known_curves_of_one_line():
    found = known_dimensions([48, 64, 96]).query("curve != 'ring'")
    short = found["dimension"] - found["estimate"]
    assert set(found["points"]) == {48, 64, 96} and set(found["curve"]) == set(CURVES) - {"ring"}
    assert short.max() < BIAS[0] and -short.min() < BIAS[1]
    assert found["estimate"][found["dimension"] == 1].max() < SMOOTH
    assert boundaries.GROUPS >= 5  # as many as an interval of near normal values takes


def test_refined_pictures_are_compared_point_by_point():
    grid = np.random.default_rng(0).random((37, 37)) < 0.5
    other = grid.copy()
    other[3, :5] ^= True
    refined = pd.DataFrame({"name": ["a", "b", "c"], "points": 37, "grid": packed(grid)})
    found = compared(refined, {"a": grid, "b": other, "c": grid[:9, :9]})
    assert found["differ"].tolist()[:2] == [0, 5 / 37**2] and np.isnan(found["differ"][2])
    assert (found["dimension"] == dimension(grid)).all() and "grid" not in found
