"""Verdicts follow from intervals, and intervals from the effects by seed."""

import json

import numpy as np
import pandas as pd
import pytest

from jaxstudies.evidence import claims, intervals
from jaxstudies.evidence.claims import ESTIMANDS, Claim, as_effects, judge, judge_all

SEEDS = pd.RangeIndex(40, name="seed")
RNG = np.random.default_rng(0)
NORMAL, OTHER = (pd.Series(RNG.normal(1, 1, 40), SEEDS) for _ in range(2))
HITS = pd.Series(RNG.random(40) < 0.7, SEEDS)
SIGNS = pd.Series(RNG.choice([-1, 0, 1], 40), SEEDS)
COUNTED = pd.DataFrame({"value": [1, 0, 1], "count": [30, 20, 5]})
PAIR = pd.DataFrame({"value": NORMAL, "other": OTHER})
LINES = pd.DataFrame({"value": NORMAL, "other": np.linspace(0, 1, 40), "group": np.arange(40) % 2})


def claim(effect, holds=(0.0, 1.0), **more):
    return Claim("id", "words", lambda of: effect, holds, **more)


def judged(effect, holds=(0.0, 1.0), **more):
    return judge(claim(effect, holds, **more).record(), as_effects(effect))


def slopes():
    first, second = (LINES[LINES["group"] == group] for group in (1, 0))
    return intervals.difference_of_slopes(
        first["other"].to_numpy(), first["value"].to_numpy(), second["other"].to_numpy(), second["value"].to_numpy()
    )


def count(condition):
    return int(condition.sum())


CASES = [
    ("mean", NORMAL, {}, intervals.mean_interval(NORMAL.to_numpy()), 40),
    ("geometric_mean", np.exp(NORMAL), {}, intervals.geometric_mean(np.exp(NORMAL.to_numpy())), 40),
    ("share", HITS, {}, intervals.wilson(count(HITS), 40), 40),
    ("share", HITS.astype(np.int8), {}, intervals.wilson(count(HITS), 40), 40),
    ("share", COUNTED, {}, intervals.wilson(35, 55), 55),
    ("share_difference", SIGNS, {}, intervals.paired_difference_of_shares(count(SIGNS > 0), count(SIGNS < 0), 40), 40),
    ("share_difference", COUNTED.assign(value=[1, 0, -1]), {}, intervals.paired_difference_of_shares(30, 5, 55), 55),
    ("share_against", HITS, {"count": 9, "of": 10}, intervals.difference_of_shares(count(HITS), 40, 9, 10), 40),
    ("share_against", COUNTED, {"count": 9, "of": 10}, intervals.difference_of_shares(35, 55, 9, 10), 55),
    (
        "quantile_difference",
        PAIR,
        {"quantile": 0.25},
        intervals.quantile_difference(NORMAL.to_numpy(), OTHER.to_numpy(), 0.25),
        40,
    ),
    ("slope_difference", LINES, {}, slopes(), 40),
]


@pytest.mark.parametrize(("estimand", "effect", "arguments", "interval", "n"), CASES)
def test_an_estimand_is_the_interval_that_it_names(estimand, effect, arguments, interval, n):
    verdict = judged(effect, estimand=estimand, arguments=arguments)
    assert (verdict.effect, verdict.low, verdict.high) == interval
    assert verdict.n == n
    assert verdict.method == ESTIMANDS[estimand].words
    assert (verdict.estimand, verdict.arguments) == (estimand, arguments)


def test_every_estimand_is_tested():
    assert {case[0] for case in CASES} == set(ESTIMANDS)


@pytest.mark.parametrize(("estimand", "effect", "arguments", "interval", "n"), CASES)
def test_without_runs_a_claim_is_inconclusive(estimand, effect, arguments, interval, n):
    """Whatever dtype a series without settings has."""
    for nothing in (effect.iloc[:0], effect.iloc[:0].astype(object)):
        verdict = judged(nothing, estimand=estimand, arguments=arguments)
        assert (verdict.n, verdict.verdict) == (0, "inconclusive")
        assert np.isnan([verdict.effect, verdict.low, verdict.high]).all()


def test_the_level_is_that_of_the_interval():
    for level in (0.5, 0.99):
        verdict = judged(NORMAL, level=level)
        assert verdict[4:7] == intervals.mean_interval(NORMAL.to_numpy(), level)
        assert verdict.level == level


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        ((0.95, 0.92, 0.97), "supported"),
        ((0.95, 0.90, 0.97), "supported"),
        ((0.91, 0.89, 0.93), "inconclusive"),
        ((0.80, 0.70, 0.89), "refuted"),
        ((1.2, 1.1, 1.3), "refuted"),
        ((0.95, 0.5, 1.5), "inconclusive"),
        (intervals.NO_DATA, "inconclusive"),
    ],
)
def test_verdict_follows_from_interval_and_region(monkeypatch, interval, verdict):
    given = claims.Estimand("given", lambda effects: [], lambda level: interval)
    monkeypatch.setitem(ESTIMANDS, "given", given)
    got = judged(NORMAL, (0.9, 1.0), estimand="given")
    assert got.verdict == verdict and got.n == 40 and got.region == [0.9, 1.0]


@pytest.mark.parametrize(("value", "verdict"), [(1e-300, "supported"), (0.0, "refuted"), (-1.0, "refuted")])
def test_equal_is_not_better(value, verdict):
    got = judged(pd.Series([value] * 3), claims.POSITIVE)
    assert got.verdict == verdict
    assert json.loads(json.dumps(got.region))[1] is None


@pytest.mark.parametrize("holds", [(0.5, np.inf), (-np.inf, 0.5), (-np.inf, np.inf)])
def test_a_region_may_have_no_end(holds):
    big, small = (judged(pd.Series(value + 1e-3 * RNG.normal(size=9)), holds) for value in (1, 0))
    assert (big.verdict == "supported") == (holds[1] == np.inf)
    assert (small.verdict == "supported") == (holds[0] == -np.inf)


def test_the_rule_errs_in_one_of_twenty_at_most():
    """At the edge of the region: a claim is called true in 2.5 % of studies, and false in as many."""
    rng, trials = np.random.default_rng(3), 1000
    said = [
        judge(claim(None, (1.0, np.inf)).record(), pd.DataFrame({"value": rng.normal(1, 2, 12)})).verdict
        for _ in range(trials)
    ]
    error = 4 * (0.025 * 0.975 / trials) ** 0.5
    for verdict in ("supported", "refuted"):
        assert said.count(verdict) / trials == pytest.approx(0.025, abs=error)


def test_series_are_paired_by_seed_and_not_by_order():
    shuffled = OTHER.sample(frac=1, random_state=0)
    assert (shuffled.index != OTHER.index).any()
    paired, mixed = judged(NORMAL - OTHER, (-9, 9)), judged(NORMAL - shuffled, (-9, 9))
    assert mixed.effect == pytest.approx(paired.effect) and mixed.n == 40
    assert (mixed.low, mixed.high) == pytest.approx((paired.low, paired.high))


def test_seeds_without_a_partner_and_missing_numbers_do_not_count():
    fewer = OTHER.iloc[5:].copy()
    fewer.iloc[:2] = np.nan
    verdict = judged(NORMAL - fewer, (-9, 9))
    expected = intervals.mean_interval((NORMAL - OTHER).iloc[7:].to_numpy())
    assert verdict[4:7] == pytest.approx(expected) and verdict.n == 33
    pair = PAIR.assign(other=fewer)
    assert judged(pair, estimand="quantile_difference", arguments={"quantile": 0.5}).n == 33


def test_effects_written_and_read_are_judged_alike(tmp_path):
    """Without the table, and without the study's code."""
    listed = [
        Claim(f"{i}", "words", lambda of, effect=effect: effect, (0.4, 0.9), estimand=estimand, arguments=arguments)
        for i, (estimand, effect, arguments, _, _) in enumerate(CASES)
    ]
    listed.append(Claim("none", "words", lambda of: NORMAL.iloc[:0], (0, 1)))
    verdicts, effects = judge_all(listed, lambda measure: NORMAL)
    path = tmp_path / "effects.parquet"
    claims.write_effects(path, effects, "a digest")
    read, digest = claims.read_effects(path)
    assert digest == "a digest"
    for record, verdict in zip((c.record() for c in listed), verdicts, strict=True):
        own = read[read["claim"] == record["id"]]
        again = judge(json.loads(json.dumps(record)), own)
        np.testing.assert_equal(again._asdict(), verdict._asdict())
    assert [entry.name for entry in tmp_path.iterdir()] == ["effects.parquet"]


def test_a_study_without_claims_writes_no_effects(tmp_path):
    verdicts, effects = judge_all([], lambda measure: NORMAL)
    assert verdicts == [] and effects.empty
    claims.write_effects(tmp_path / "effects.parquet", effects, "0")
    assert claims.read_effects(tmp_path / "effects.parquet")[0].empty


def test_effects_of_other_settings_keep_their_seeds():
    """The same seed of several claims is in as many rows."""
    pair = [Claim(name, "words", lambda of: of("x"), (0, 1)) for name in ("one", "two")]
    _, effects = judge_all(pair, lambda measure: NORMAL)
    assert list(effects["seed"]) == [*range(40)] * 2
    assert list(effects["claim"]) == ["one"] * 40 + ["two"] * 40


def test_a_record_is_json_and_says_all_but_the_code():
    full = Claim(
        "id",
        "words",
        lambda of: NORMAL,
        (0.0, np.inf),
        "a book",
        "share_against",
        {"count": 9, "of": 10},
        "share",
        "by hand",
        "as it is",
        0.9,
    )
    record = full.record()
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record == {
        "id": "id",
        "claim": "words",
        "source": "a book",
        "estimand": "share_against",
        "arguments": {"count": 9, "of": 10},
        "region": [0.0, None],
        "unit": "share",
        "method": "by hand",
        "margin": "as it is",
        "level": 0.9,
        "primary": True,
    }


def test_unknown_numbers_become_null():
    (row,) = claims.to_json([judged(NORMAL.iloc[:0])])
    assert row["effect"] is None and row["low"] is None and row["n"] == 0
    names = "id claim source verdict effect low high unit n method"
    assert list(row)[:10] == names.split()
    assert list(row)[10:] == ["estimand", "arguments", "region", "margin", "level", "primary"]
    json.dumps(row, allow_nan=False)


def test_a_verdict_in_words():
    text = claims.sentence(judged(NORMAL, (0.0, 9.0), unit="nats"))
    assert text.startswith("Supported: words (ours): 0.9396 [") and text.endswith(" nats, n = 40.")
    assert "(no interval)" in claims.sentence(judged(NORMAL.iloc[:1]))


def test_a_share_is_of_outcomes_and_of_nothing_else():
    """A share of other numbers would be 0, whatever they are."""
    for estimand, arguments in (("share", {}), ("share_against", {"count": 1, "of": 2}), ("share_difference", {})):
        claim = Claim("id", "words", lambda of: pd.Series([0.25, 0.5]), (0, 1), estimand=estimand, arguments=arguments)
        with pytest.raises(ValueError, match="outcomes"):
            claims.judge(claim.record(), claims.as_effects(claim.effect(None)))


def test_a_claim_checks_itself():
    with pytest.raises(ValueError, match="'shares': one of mean, "):
        Claim("id", "words", lambda of: None, (0, 1), estimand="shares")
    with pytest.raises(ValueError, match="the lower end first"):
        Claim("id", "words", lambda of: None, (9, 0))
