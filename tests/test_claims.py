"""Verdicts follow from intervals, and intervals from the effects by seed."""

import json
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from jaxstudies.engine.design import label_column
from jaxstudies.errors import StudyError
from jaxstudies.evidence import intervals, rules, verdicts
from jaxstudies.evidence.claims import Claim
from jaxstudies.evidence.effects import as_effects, by_claim, first_seeds, read_effects, write_effects
from jaxstudies.evidence.estimands import ESTIMANDS, Estimand, Method
from jaxstudies.evidence.judging import judge_all
from jaxstudies.evidence.rules import judge
from jaxstudies.evidence.verdicts import Undecidable, sentence, to_json
from jaxstudies.selection import Selector, have_label
from jaxstudies.study import Results

SEEDS = pd.RangeIndex(40, name="seed")
RNG = np.random.default_rng(0)
NORMAL, OTHER = (pd.Series(RNG.normal(1, 1, 40), SEEDS) for _ in range(2))
HITS = pd.Series(RNG.random(40) < 0.7, SEEDS)
SIGNS = pd.Series(RNG.choice([-1, 0, 1], 40), SEEDS)
COUNTED = pd.DataFrame({"value": [1, 0, 1], "count": [30, 20, 5]})
PAIR = pd.DataFrame({"value": NORMAL, "other": OTHER})


def selector(runs, axes):
    return Selector(Results(None, runs, pd.DataFrame(), {}), axes)


def claim(effect, holds=(0.0, 1.0), **more):
    return Claim("id", "words", lambda of: effect, holds, **more)


def judged(effect, holds=(0.0, 1.0), **more):
    return judge(claim(effect, holds, **more).record(), as_effects(effect))


def count(condition):
    return int(condition.sum())


CASES = [
    ("mean", NORMAL, {}, intervals.mean_interval(NORMAL.to_numpy()), 40),
    ("median", NORMAL, {}, intervals.order_statistics(NORMAL.to_numpy(), 0.5), 40),
    ("quantile", NORMAL, {"quantile": 0.2}, intervals.order_statistics(NORMAL.to_numpy(), 0.2), 40),
    ("geometric_mean", np.exp(NORMAL), {}, intervals.geometric_mean(np.exp(NORMAL.to_numpy())), 40),
    ("share", HITS, {}, intervals.exact_share(count(HITS), 40), 40),
    ("share", HITS.astype(np.int8), {}, intervals.exact_share(count(HITS), 40), 40),
    ("share", COUNTED, {}, intervals.exact_share(35, 55), 55),
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
]


@pytest.mark.parametrize(("estimand", "effect", "arguments", "interval", "n"), CASES)
def test_an_estimand_is_the_interval_that_it_names(estimand, effect, arguments, interval, n):
    verdict = judged(effect, estimand=estimand, arguments=arguments)
    assert (verdict.effect, verdict.low, verdict.high) == interval
    assert verdict.n == n
    assert (
        verdict.interval
        == ESTIMANDS[estimand].fixed(claim(effect, estimand=estimand, arguments=arguments).record()).words
    )
    assert (verdict.estimand, verdict.arguments) == (estimand, arguments)


def test_every_estimand_is_tested():
    assert {case[0] for case in CASES} == set(ESTIMANDS)


@pytest.mark.parametrize(("estimand", "effect", "arguments", "interval", "n"), CASES)
def test_without_runs_a_claim_is_not_tested(estimand, effect, arguments, interval, n):
    """Whatever dtype a series without settings has."""
    for nothing in (effect.iloc[:0], effect.iloc[:0].astype(object)):
        verdict = judged(nothing, estimand=estimand, arguments=arguments)
        assert (verdict.n, verdict.verdict) == (0, "not tested")
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
    given = Method("given", lambda effects: [], lambda level: interval)
    monkeypatch.setitem(ESTIMANDS, "given", Estimand(lambda record: given, lambda record: None))
    got = judged(NORMAL, (0.9, 1.0), estimand="given")
    assert got.verdict == verdict and got.n == 40 and got.region == [0.9, 1.0]


@pytest.mark.parametrize(
    ("ends", "interval", "verdict"),
    [
        ("[]", (0.5, 0.0, 1.0), "supported"),
        ("(]", (0.5, 0.0, 1.0), "inconclusive"),
        ("[)", (0.5, 0.0, 1.0), "inconclusive"),
        ("()", (0.5, 1e-9, 0.9), "supported"),
        ("[]", (-1.0, -2.0, 0.0), "inconclusive"),
        ("(]", (-1.0, -2.0, 0.0), "refuted"),
        ("[)", (2.0, 1.0, 3.0), "refuted"),
        ("(]", (2.0, 1.0, 3.0), "inconclusive"),
    ],
)
def test_an_end_belongs_to_the_region_or_not(monkeypatch, ends, interval, verdict):
    given = Method("given", lambda effects: [], lambda level: interval)
    monkeypatch.setitem(ESTIMANDS, "given", Estimand(lambda record: given, lambda record: None))
    assert judged(NORMAL, (0.0, 1.0), estimand="given", ends=ends).verdict == verdict


@pytest.mark.parametrize("value", [0.0, 0.1, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("estimand", ["mean", "geometric_mean"])
@pytest.mark.parametrize("looks", [None, [10, 100]])
def test_values_that_are_all_equal_are_no_evidence(value, estimand, looks):
    """Their mean is off by rounding, and it must not lie outside of what is all there is."""
    value += 0.01 * (estimand == "geometric_mean")
    for n in (1, 2, 4, 31, 50, 100):
        values = pd.Series([value] * n)
        for holds in ((0.0, 1.0), (0.0, value), (value, 2.0)):
            record = claim(values, holds, near_normal="a test", estimand=estimand).record()
            got = judge(record, as_effects(values), looks)
            assert got.verdict == "inconclusive" and got.why


@pytest.mark.parametrize("estimand", ["mean", "geometric_mean"])
@pytest.mark.parametrize("looks", [None, [10, 60]])
def test_infinite_values_leave_a_mean_open(estimand, looks):
    values = pd.Series(np.r_[np.linspace(0.9, 1.1, 30), np.full(30, np.inf)])
    record = claim(values, (0, 2), near_normal="a test", estimand=estimand).record()
    assert judge(record, as_effects(values), looks).verdict == ("supported" if looks else "inconclusive")
    assert judge(record, as_effects(values[::-1].reset_index(drop=True)), looks).verdict == "inconclusive"


def test_a_verdict_is_said_whatever_its_estimate():
    values = pd.Series(np.r_[np.linspace(10, 12, 31), np.full(31, np.inf)])
    got = judge(claim(values, (5, np.inf), estimand="median").record(), as_effects(values))
    assert got.verdict == "supported" and sentence(got).startswith("Supported: ")
    mean = judge(claim(values, (5, 20)).record(), as_effects(values))
    assert mean.verdict == "inconclusive" and sentence(mean).startswith("Inconclusive: ")


def test_bounds_that_are_broken_after_the_look_that_decided_are_told():
    values = pd.Series(np.r_[np.linspace(0.4, 0.6, 200), np.full(100, 7.0)])
    record = claim(values, (0.1, 0.9), bounds=(0.0, 1.0)).record()
    with pytest.raises(StudyError, match="an effect is 7"):
        judge(record, as_effects(values), [200, 300])


@pytest.mark.parametrize(("estimand", "effect", "arguments", "interval", "n"), CASES)
def test_few_values_decide_nothing(estimand, effect, arguments, interval, n):
    """Whatever the region, within which anything may lie."""
    for few in (1, 2):
        got = judged(effect.iloc[:few], (-np.inf, np.inf), estimand=estimand, arguments=arguments)
        assert got.verdict == "inconclusive" or (got.n >= 3 and "count" in effect)


def test_an_interval_never_leaves_what_its_quantity_can_be():
    for n in (3, 10, 40):
        low = judged(pd.Series(np.arange(n) % 2 - 0.5).clip(0, 0.1), bounds=(0.0, 0.1))
        assert 0 <= low.low <= low.high <= 0.1
    got = judged(pd.Series([-1, -1, -1, 0]), (-1, 0), estimand="share_difference")
    assert -1 <= got.low <= got.high <= 1


@pytest.mark.parametrize("looks", [None, [20, 40]])
def test_effects_beyond_their_bounds_are_refused_and_clip_nothing(looks):
    values = pd.Series(np.linspace(0, 2.1, 40))
    record = claim(values, (0, 1), bounds=(0.0, 1.0)).record()
    with pytest.raises(StudyError, match=r"bounds \(0.0, 1.0\): an effect is 1.02"):
        judge(record, as_effects(values), looks)


def test_counted_rows_are_of_outcomes():
    counted = pd.DataFrame({"value": [0.0] * 20 + [1.0] * 20, "count": [1000] * 20 + [1] * 20})
    for estimand in ("mean", "median"):
        with pytest.raises(StudyError, match="rows that are counted are of outcomes"):
            judged(counted, (0.3, 1.0), estimand=estimand)


def test_a_geometric_mean_is_of_positive_numbers():
    with pytest.raises(StudyError, match="a geometric mean is of positive numbers, and -1 is among them"):
        judged(pd.Series([2, 2.01, 2.02] + [-1.0] * 97), estimand="geometric_mean")


def test_ties_are_no_evidence_only_where_all_are_equal():
    """A median of which most values are equal has an interval without width."""
    mostly = judged(pd.Series([0.0] * 90 + [1.0] * 10), (0.0, 0.5), estimand="median")
    assert (mostly.low, mostly.high, mostly.verdict) == (0.0, 0.0, "supported")


def test_a_family_never_contradicts_its_claims():
    hits = pd.Series([1.0] * 7 + [0.0] * 93)
    listed = [Claim(f"{i}", "words", lambda of: hits, (0.5, 1.0), estimand="share", ends="(]") for i in range(3)]
    for verdict in judge_all(listed, len, looks=[7, 100])[0]:
        assert (verdict.verdict, verdict.family_verdict) == ("supported", "inconclusive")


def test_numbers_of_numpy_are_json_in_a_record():
    settings = {"p": (np.float32(0.1), 2), "n": np.int64(3), "f": len}
    full = Claim("id", "words", len, (-0.5, 0.5), settings=settings)
    record = json.loads(json.dumps(full.record()))
    assert record["settings"] == {"p": [0.1, 2], "n": 3, "f": "len"}


def test_what_cannot_decide_is_inconclusive_and_says_why():
    def effect(of):
        raise Undecidable("grid too small: the best rate is 0.1, the largest", NORMAL)

    (verdict,), effects = judge_all([Claim("id", "words", effect, (0, 9))], lambda measure: NORMAL)
    assert (verdict.verdict, verdict.n, verdict.effect) == ("inconclusive", 40, NORMAL.mean())
    assert "; grid too small: the best rate is 0.1, the largest." in sentence(verdict)
    assert judge(verdict._asdict(), effects).verdict == "inconclusive"


@pytest.mark.parametrize("holds", [(0.5, np.inf), (-np.inf, 0.5), (-np.inf, np.inf)])
def test_a_region_may_have_no_end(holds):
    big, small = (
        judged(pd.Series(value + 1e-3 * RNG.normal(size=9)), holds, near_normal="drawn so") for value in (1, 0)
    )
    assert (big.verdict == "supported") == (holds[1] == np.inf)
    assert (small.verdict == "supported") == (holds[0] == -np.inf)


def test_the_rule_errs_in_one_of_twenty_at_most():
    """At the edge of the region: a claim is called true in 2.5 % of studies, and false in as many."""
    rng, trials = np.random.default_rng(3), 1000
    said = [
        judge(
            claim(len, (1.0, np.inf), near_normal="drawn so").record(), pd.DataFrame({"value": rng.normal(1, 2, 12)})
        ).verdict
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
    judged_before, effects = judge_all(listed, lambda measure: NORMAL)
    path = tmp_path / "effects.parquet"
    write_effects(path, effects, "a digest")
    read, digest = read_effects(path)
    assert digest == "a digest"
    own = {claim.id: read[read["claim"] == claim.id] for claim in listed}
    again = rules.judge_records(json.loads(json.dumps([claim.record() for claim in listed])), own)
    for one, other in zip(again, judged_before, strict=True):
        np.testing.assert_equal(one._asdict(), other._asdict())
    assert [entry.name for entry in tmp_path.iterdir()] == ["effects.parquet"]


def test_a_study_without_claims_writes_no_effects(tmp_path):
    nothing, effects = judge_all([], lambda measure: NORMAL)
    assert nothing == [] and effects.empty
    write_effects(tmp_path / "effects.parquet", effects, "0")
    assert read_effects(tmp_path / "effects.parquet")[0].empty


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
        "ends": "[]",
        "where": "",
        "says": "",
        "settings": {},
        "population": "",
        "selection": "",
        "near_normal": "",
        "bounds": None,
        "not_shown": "",
    }
    assert set(record) < set(verdicts.Verdict._fields)


def test_a_figure_stands_in_records_that_name_one_alone():
    """Records written before a claim could name one are judged to the same."""
    without, with_one = claim(NORMAL), claim(NORMAL, figure="map")
    assert "figure" not in without.record() and with_one.record() == without.record() | {"figure": "map"}
    for asked in (without, with_one):
        (entry,) = to_json([judge(asked.record(), as_effects(NORMAL))])
        assert to_json([judge(entry, as_effects(NORMAL))]) == [entry] and entry.get("figure", "") == asked.figure


def test_a_reading_is_judged_by_effects_of_its_own_and_changes_nothing_else():
    without = claim(NORMAL, (-1.0, 1.0))
    read = replace(without, readings={"far": lambda of: NORMAL + 9, "fewer": lambda of: NORMAL.iloc[:7]})
    (alone,), before = judge_all([without], lambda measure: NORMAL)
    (verdict,), found = judge_all([read], lambda measure: NORMAL)
    assert verdict._replace(readings=()) == alone and verdict.readings == ["far", "fewer"]
    assert "readings" not in without.record() and read.record() == without.record() | {"readings": ["far", "fewer"]}
    own, far, fewer, none = (by_claim(found, name) for name in ("", "far", "fewer", "none"))
    pd.testing.assert_frame_equal(own["id"].drop(columns="reading"), before[before["claim"] == "id"])
    assert list(far["id"]["value"]) == list(NORMAL + 9) and len(fewer["id"]) == 7 and none == {}
    assert judge(read.record(), far["id"]).verdict == "refuted"


def test_a_reading_that_what_was_run_cannot_decide_has_no_effects():
    def undecidable(of):
        raise Undecidable("the grid ends there", NORMAL)

    read = replace(claim(NORMAL), readings={"at the end": undecidable})
    _, found = judge_all([read], lambda measure: NORMAL)
    assert by_claim(found, "at the end") == {} and len(by_claim(found)["id"]) == len(NORMAL)


def test_what_is_wrong_with_a_reading_is_told_by_its_name():
    with pytest.raises(StudyError, match="claim id, reading odd: its effect raises KeyError"):
        judge_all([replace(claim(NORMAL), readings={"odd": lambda of: {}["a"]})], lambda measure: NORMAL)
    with pytest.raises(StudyError, match="claim id, reading odd: a share is of outcomes"):
        judge_all([claim(NORMAL > 0, estimand="share", readings={"odd": lambda of: NORMAL})], lambda measure: NORMAL)
    with pytest.raises(StudyError, match="claim id: readings: '' is"):
        claim(NORMAL, readings={"": len})


def test_unknown_numbers_become_null():
    (row,) = to_json([judged(NORMAL.iloc[:0])])
    assert row["effect"] is None and row["low"] is None and row["n"] == 0
    names = "id claim source verdict effect low high unit n method"
    assert list(row)[:10] == names.split()
    assert list(row)[10:16] == ["estimand", "arguments", "region", "margin", "level", "primary"]
    json.dumps(row, allow_nan=False)


def test_a_verdict_in_words():
    text = sentence(judged(NORMAL, (0.0, 9.0), unit="nats"))
    assert text.startswith("Supported: words (ours): 0.9396 [") and text.endswith(" nats, n = 40.")
    assert "(no interval)" in sentence(judged(NORMAL.iloc[:1]))


def test_a_share_is_of_outcomes_and_of_nothing_else():
    """A share of other numbers would be 0, whatever they are."""
    for estimand, arguments in (("share", {}), ("share_against", {"count": 1, "of": 2}), ("share_difference", {})):
        claim = Claim("id", "words", lambda of: pd.Series([0.25, 0.5]), (0, 1), estimand=estimand, arguments=arguments)
        with pytest.raises(ValueError, match="outcomes"):
            judge(claim.record(), as_effects(claim.effect(None)))


def test_a_claim_checks_itself():
    with pytest.raises(ValueError, match="'shares': one of mean, "):
        Claim("id", "words", lambda of: None, (0, 1), estimand="shares")
    for holds in ((9, 0), (0, np.nan)):
        with pytest.raises(ValueError, match=r"claim id: holds .*the lower end first"):
            Claim("id", "words", lambda of: None, holds)


@pytest.mark.parametrize("level", [95, 0, 1, -0.5, np.nan])
def test_a_level_lies_between_0_and_1(level):
    with pytest.raises(StudyError, match=f"claim id: level {level}: a number between 0 and 1"):
        Claim("id", "words", lambda of: NORMAL, (0, 1), level=level)


@pytest.mark.parametrize(
    ("estimand", "arguments", "said"),
    [
        ("share_against", {}, "arguments {}: share_against takes count and of"),
        ("share_against", {"count": 3}, "share_against takes count and of"),
        ("quantile_difference", {}, "quantile_difference takes quantile"),
        ("quantile_difference", {"quantile": 5}, "arguments: quantile is 5: a number from 0 to 1"),
        ("mean", {"quantile": 0.5}, "mean takes none"),
    ],
)
def test_arguments_are_those_that_the_estimand_takes(estimand, arguments, said):
    with pytest.raises(StudyError) as error:
        Claim("id", "words", lambda of: NORMAL, (0, 1), estimand=estimand, arguments=arguments)
    assert str(error.value).startswith("claim id: ") and said in str(error.value)


# What a claim is given.


def measured(values, **columns):
    """Runs of settings 1 and 2, which share their seeds and, but for a factor of 2, their measure."""
    number = len(values)
    parts = [
        pd.DataFrame({"a": a, "seed": range(number), "x": values * values.dtype.type(a)} | columns) for a in (1.0, 2.0)
    ]
    return selector(pd.concat(parts, ignore_index=True), {})


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.uint32, np.uint64, np.int64])
def test_whole_numbers_do_not_wrap(kind):
    of = measured(np.array([1, 50], kind))
    assert (of("x", a=1.0) - of("x", a=2.0)).tolist() == [-1, -50]
    assert (3 * of("x", a=2.0)).tolist() == [6, 300]
    assert of("x", a=1.0).dtype == np.int64


def test_small_floats_do_not_overflow_and_what_is_too_large_becomes_a_float():
    of = measured(np.array([1000, 2000], np.float16))
    assert (100 * of("x", a=1.0)).tolist() == [100_000, 200_000]
    assert measured(np.array([2**63], np.uint64))("x", a=1.0).tolist() == [2.0**63]


def test_arrays_have_64_bits_too_and_entries_of_them():
    runs = pd.DataFrame({"seed": [0, 1], "x": list(np.full((2, 3), 100, np.int8)), "none": [None, None]})
    of = selector(runs, {"x": ("step",), "none": ("step",)})
    assert (3 * of("x")).iloc[0].tolist() == [300] * 3
    assert (3 * of("x", step=-1)).tolist() == [300, 300]
    assert (3 * of("none", step=-1)).isna().all()


OUTCOMES = measured(np.array([1.0, 2.0, 3.0]), b=[True, False, True])


def test_truth_values_are_1_and_0_and_no_whole_numbers():
    assert (192 * OUTCOMES("b", a=1.0)).tolist() == [192, 0, 192]
    for estimand in ("share", "share_difference"):
        got = Claim("it", "words", lambda of: of("b", a=1.0), (0, 1), estimand=estimand)
        assert judge_all([got], OUTCOMES)[0][0].effect == pytest.approx(2 / 3)


@pytest.mark.parametrize("effect", [lambda of: ~of("b", a=1.0), lambda of: of("b", a=1.0) & of("b", a=2.0)])
def test_operators_of_truth_values_are_refused(effect):
    """They would come to -2 and -1."""
    with pytest.raises(StudyError, match=r"claim it: its effect uses ~, & or \|.* write 1 - a"):
        judge_all([Claim("it", "words", effect, (0, 1))], OUTCOMES)


NO_EFFECTS = [
    (1.0, "its effect is 1.0: a Series by seed, or a DataFrame"),
    (None, "its effect is None"),
    ([1.0, 2.0], "its effect is [1.0, 2.0]"),
    (np.ones(2), "its effect is array([1., 1.])"),
    (jnp.ones(2), "its effect is Array([1., 1.]"),
    (pd.Series([1.0], ["relu"]), "its effect is indexed by 'relu': by seed, a whole number"),
    (pd.Series([1.0], pd.Index([2], name="width")), "its effect is indexed by width: by seed alone"),
    (pd.Series([1.0], pd.MultiIndex.from_tuples([(1, 2)])), "its effect is indexed by None, None"),
    (pd.DataFrame({"x": NORMAL}), "its effect has no column 'value': mean takes value"),
    (pd.Series([np.ones(3)] * 2), "its effect's value is an array of shape (3,): a number, had by an index"),
    (pd.Series(["a"]), "its effect's value is 'a': a number"),
    (pd.concat([NORMAL, NORMAL]), "its effect has seed 0 twice"),
    (pd.DataFrame({"seed": [4, 3, 3], "value": 1.0}), "its effect has seed 3 twice"),
]


@pytest.mark.parametrize(("effect", "said"), NO_EFFECTS, ids=range(len(NO_EFFECTS)))
def test_what_is_no_effect_by_seed_is_refused_by_the_claims_name(effect, said):
    with pytest.raises(StudyError) as error:
        judge_all([Claim("it", "words", lambda of: effect, (0, 1))], OUTCOMES)
    assert str(error.value).startswith(f"claim it: {said}") and "\n" not in str(error.value)


@pytest.mark.parametrize(("estimand", "arguments", "column"), [("quantile_difference", {"quantile": 0.5}, "other")])
def test_an_effect_has_the_columns_that_its_estimand_takes(estimand, arguments, column):
    lacking = Claim("it", "words", lambda of: NORMAL, (0, 1), estimand=estimand, arguments=arguments)
    with pytest.raises(StudyError, match=f"claim it: its effect has no column '{column}': {estimand} takes value"):
        judge_all([lacking], OUTCOMES)


def test_counted_rows_may_share_a_seed():
    assert judged(pd.concat([COUNTED, COUNTED]), estimand="share").n == 110
    assert judged(pd.DataFrame({"value": [1.0, 2.0], "seed": np.nan})).n == 2  # of shapes


def test_what_an_effect_raises_is_told_by_the_claims_name():
    for effect, kind in ((lambda of: {}["x"], KeyError), (lambda of: 1 / 0, ZeroDivisionError)):
        with pytest.raises(StudyError, match=f"claim it: its effect raises {kind.__name__}: ") as error:
            judge_all([Claim("it", "words", effect, (0, 1))], OUTCOMES)
        assert isinstance(error.value.__cause__, kind)
    with pytest.raises(StudyError, match="claim it: a share is of outcomes"):
        judge_all([Claim("it", "words", lambda of: of("x", a=1.0), (0, 1), estimand="share")], OUTCOMES)


def test_each_claim_has_an_id_of_its_own():
    with pytest.raises(StudyError, match="claim one: 2 claims have this id"):
        judge_all([Claim("one", "words", lambda of: NORMAL, (0, 1))] * 2, OUTCOMES)


# Labels.


@pytest.mark.parametrize(
    ("levels", "asked", "met"),
    [
        ((0.1, 0.2), np.float32(0.1), [0]),
        ((0.1, 0.2), jnp.float32(0.2), [1]),
        ((0.3, 0.2), 0.1 + 0.2, [0]),
        ((0.3, 0.1 + 0.2), 0.1 + 0.2, [1]),
        ((None, 1.5), 1.5, [1]),
        ((None, 1.5), None, [0]),
        ((None, 1.5), 2.5, []),
        ((np.nan, 1.5), np.nan, [0]),
        (("auto", 0.5), 0.5, [1]),
        (("auto", 0.5), "0.5", [1]),
        (("auto", 0.3), 0.1 + 0.2, [1]),
        ((None, "a"), "a", [1]),
        ((None, "a"), None, [0]),
        ((True, False), np.False_, [1]),
        ((1, 2), jnp.int32(2), [1]),
        ((1, 2), "1", []),
        ((10**10, 10**10 + 1), 10**10 + 1, [1]),
        ((10**10, 2), 10**10 + 1, []),
    ],
)
def test_a_label_is_met_as_the_table_holds_it(levels, asked, met):
    column = label_column(levels)
    assert np.flatnonzero(have_label(column, asked)).tolist() == met
    assert np.flatnonzero(have_label(pd.Series(column), asked)).tolist() == met
    runs = pd.DataFrame({"level": column, "seed": 0, "x": [10, 11]})
    assert selector(runs, {})("x", level=asked).tolist() == [10 + place for place in met]


def test_several_settings_are_told_by_the_labels_that_are_left_open():
    with pytest.raises(ValueError, match=r"x with {}: several settings have these labels \(a: 1.0, 2.0\)"):
        OUTCOMES("x")
    runs = pd.DataFrame({"a": 1, "b": [None, *range(20)], "seed": 0, "x": 1.0})
    with pytest.raises(KeyError, match=r"have these labels \(b: None, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, ...\)"):
        selector(runs, {})("x", a=1)


def test_seeds_without_a_number_are_told_unless_a_selection_leaves_them_out():
    """Of a setting in which three of forty runs diverged, a mean is that of the others."""
    diverged = NORMAL.where(~NORMAL.index.isin([3, 5, 8]))
    for effect in (diverged, pd.DataFrame({"seed": NORMAL.index, "value": diverged, "count": 1})):
        (found,), effects = judge_all(claim(effect), lambda *_: None)
        assert (found.n, found.absent, len(effects)) == (37, 3, 37)
        assert "n = 37 (3 without a number)" in sentence(found)
        assert to_json([found])[0]["absent"] == 3
    (selected,), _ = judge_all(claim(diverged, selection="of those that learned"), lambda *_: None)
    assert selected.absent == 3 and "without" not in sentence(selected)
    (whole,), _ = judge_all(claim(NORMAL), lambda *_: None)
    assert whole.absent == 0 and "absent" not in to_json([whole])[0]


def test_what_is_not_tested_says_what_runs_lack():
    """Of networks that all diverged; of a level that was not run, alone and as one side of a pair."""
    rows = pd.DataFrame({"width": np.repeat([1, 2], 40), "seed": [*range(40)] * 2, "x": [*NORMAL, *[np.nan] * 40]})

    def found(effect, looks=None):
        ((verdict,), effects) = judge_all(Claim("id", "words", effect, (0, 1)), selector(rows, {}), looks=looks)
        again = judge(to_json([verdict])[0], effects, looks)
        assert (again.verdict, again.why) == (verdict.verdict, verdict.why)
        return verdict.verdict, verdict.n, verdict.why

    for looks in (None, [20, 40]):
        assert found(lambda of: of("x", width=2), looks) == ("not tested", 0, "no run has a number")
        assert found(lambda of: of("x", width=3), looks) == ("not tested", 0, "no run has width 3")
        pair = found(lambda of: of("x", width=1) - of("x", width=3.5), looks)
        assert pair == ("not tested", 0, "no run has width 3.5")
        assert found(lambda of: pd.Series(dtype=float), looks) == ("not tested", 0, "no run tests it")
    ((verdict,), _) = judge_all(Claim("id", "words", lambda of: of("x", width=3), (0, 1)), selector(rows, {}))
    assert sentence(verdict).endswith("; no run has width 3.")


@pytest.mark.parametrize("kind", [float, "Int64"])
@pytest.mark.parametrize(("number", "n"), [(3, 3), (4, None), (5, None), (50, None)])
def test_the_first_seeds_are_not_known_where_they_are_counted_without_one(kind, number, n):
    """Seeds 0 to 3 have rows of their own; a fifth row stands for six further ones."""
    rows = pd.DataFrame({"seed": [0, 1, 2, 3, None], "value": 1.0, "count": [1, 1, 1, 1, 6]}).astype({"seed": kind})
    found = first_seeds(rows, number)
    assert n is found is None or len(found) == n
    assert first_seeds(rows[4:], number) is None and len(first_seeds(rows[:0], number)) == 0


def test_an_effect_may_have_columns_and_an_index_of_any_name():
    rows = pd.DataFrame({"seed": range(40), "value": NORMAL, "reading": "own", "claim": 3, "lr": 0.1})
    for effect in (rows, rows.set_index("seed", drop=False), rows.set_index(["lr", "seed"], drop=False)):
        (found,), effects = judge_all(claim(effect), lambda *_: None)
        assert found.n == 40 and (effects["claim"] == "id").all() and len(by_claim(effects)["id"]) == 40
