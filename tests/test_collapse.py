"""What the papers say of collapse is judged on the right networks, and these are those of dying ReLU."""

import numpy as np
import pandas as pd
import pytest
from reading import assert_told
from test_dying_relu import results_of

from jaxstudies import results
from jaxstudies.commands import command
from jaxstudies.evidence import theory
from jaxstudies.evidence.effects import by_claim
from jaxstudies.networks.diagnostics import COLLAPSE_RULES
from jaxstudies.output import table
from jaxstudies.studies import collapse, dying_relu
from jaxstudies.studies.collapse.claims import REPORTED
from jaxstudies.study import Results, load

STUDY, SEEDS = load("collapse"), 1000
ZERO_SLOPE = COLLAPSE_RULES.index("zero_slope")


def made(shares, seeds=SEEDS):
    """Return results with given shares of collapsed networks; `shares` maps labels to those before and after."""
    rows = []
    for setting in collapse.settings(collapse.Config(seeds=seeds)):
        labels = setting.labels
        flags = np.zeros((seeds, 2, len(COLLAPSE_RULES)), bool)
        for stage, share in enumerate(shares(labels)):
            flags[: round(share * seeds), stage, ZERO_SLOPE] = True
        near, far = np.random.default_rng(0).uniform((0.01, 0.2), (0.02, 0.3), (seeds, 2)).T
        gaps = (near, far) if labels["loss"] == "mse" else (far, near)
        measures = dict(zip(("gap_to_mean", "gap_to_median"), gaps, strict=True))
        measures |= {"r2": [np.zeros(2)] * seeds, "nonfinite": False}
        rows.append(pd.DataFrame(labels | {"seed": np.arange(seeds), "collapsed": list(flags)} | measures))
    return Results(collapse.Config(seeds=seeds), pd.concat(rows, ignore_index=True), pd.DataFrame(), {})


def verdicts_of(shares):
    return {verdict.id: verdict for verdict in results.judge(STUDY, made(shares))[0]}


def as_reported(labels):
    """Shares as the papers have them, and theory at birth."""
    he = labels["init"] == "he_normal"
    where = labels["target"], labels["depth"], labels["width"]
    if where in REPORTED:
        after = REPORTED[where][0 if he else 1] / 1000
    else:
        after = {2: 0.95 if he else 0.3, 3: 0.6, 4: 0.5, 7: 0.03}[labels["width"]]
    return np.mean(theory.born_dead_bounds(9, 2)) if he else 0.2, after


def test_what_the_papers_report_is_supported_where_it_is_so():
    verdicts = verdicts_of(as_reported)
    assert {verdict.verdict for verdict in verdicts.values()} == {"supported"}
    assert len(verdicts) == 3 + 2 * len(REPORTED) + 4 + 5 + 4


def test_where_it_is_otherwise_it_is_refuted():
    verdicts = verdicts_of(lambda labels: (0.5, 0.5 + 0.1 * (labels["width"] == 7) + 0.2 * (labels["init"] == "rai")))
    shares = [id_ for id_ in verdicts if id_.startswith(("over_90", "rai_lowers", "reported"))]
    assert len(shares) == 15 and {verdicts[id_].verdict for id_ in shares} == {"refuted"}
    assert (verdicts["bounds"].verdict, verdicts["safe_region"].verdict) == ("refuted", "refuted")
    assert verdicts["wider.3"].verdict == verdicts["deeper"].verdict == "inconclusive"  # they are alike


@pytest.mark.parametrize("rule", [rule for rule in COLLAPSE_RULES if rule != "zero_slope"])
def test_by_another_rule_claims_are_about_the_networks_that_it_names(rule):
    """What the rule names is what zero slopes name elsewhere."""
    some, other = made(as_reported, 100), made(as_reported, 100)
    shift = COLLAPSE_RULES.index(rule) - ZERO_SLOPE
    other.runs["collapsed"] = other.runs["collapsed"].map(lambda flags: np.roll(flags, shift, axis=1))
    own, read = by_claim(results.judge(STUDY, some)[1]), by_claim(results.judge(STUDY, other)[1], rule)
    assert set(own) == set(read)
    for id_, effects in own.items():
        np.testing.assert_array_equal(read[id_][["seed", "value"]], effects[["seed", "value"]])


def test_a_network_that_is_not_finite_is_no_constant():
    """A row per setting, of those that stayed finite."""
    some = made(as_reported, 100)
    some.runs["nonfinite"] = some.runs["seed"] < 50
    summary = collapse.summarize(some)
    assert len(summary) == len(collapse.settings(collapse.Config()))
    assert (summary["n"] == 50).all() and (summary["nonfinite"] == 50).all()
    verdicts = results.judge(STUDY, some)[0]
    assert all(verdict.n <= 50 for verdict in verdicts)
    assert summary["reported"].notna().sum() == 2 * len(REPORTED)


@pytest.mark.usefixtures("hastily")
@pytest.mark.slow
def test_networks_are_those_of_dying_relu(tmp_path):
    """Of the same seeds, to the bit of an outcome."""
    command.main(STUDY, ["--seeds", "32", "--epochs", "1", "--long-epochs", "1", "--out", str(tmp_path)])
    assert_told(STUDY, tmp_path)
    runs = results.read(STUDY, tmp_path)[0].runs
    ours = runs[(runs["part"] == "share") & (runs["depth"] == 9) & (runs["width"] == 2)]
    config = dying_relu.Config(seeds=32, depths=(9,), activations=("relu",), inits=("he_normal", "rai"), epochs=1)
    theirs = results_of(load("dying_relu"), config).runs
    for init in ("he_normal", "rai"):
        here = ours[(ours["target"] == "abs") & (ours["init"] == init)]
        there = theirs[(theirs["part"] == "study") & (theirs["init"] == init)]
        np.testing.assert_array_equal(table.stacked(here, "collapsed"), table.stacked(there, "collapsed"))
