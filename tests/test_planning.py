"""A pilot says how many seeds claims are likely to need, and is no part of the run."""

import math

import numpy as np
import pandas as pd
import pytest

from jaxstudies import planning
from jaxstudies.commands import main
from jaxstudies.evidence.claims import Claim
from jaxstudies.evidence.effects import as_effects
from jaxstudies.evidence.rules import judge
from jaxstudies.planning import Need, Plan

MOST = 4_000


def need(values, holds, **more):
    effects = as_effects(pd.Series(values))
    claim = Claim("it", "words", len, holds, **more)
    return planning.need(judge(claim.record(), effects)._asdict(), effects, len(effects), MOST)


def hits(share, n=64):
    return (np.arange(n) < round(share * n)).astype(float)


@pytest.mark.slow
def test_the_nearer_to_the_border_the_more_seeds_are_needed():
    needs = [need(hits(share), (0.9, 1.0), estimand="share") for share in (0.5, 0.75, 0.86)]
    assert 0 < needs[0].median < needs[1].median < needs[2].median
    assert needs[0].ninety < 100


def test_it_needs_about_what_a_run_comes_to_need():
    """ReLU's share, .955: a beta-binomial sequence needs 320 seeds in the median, if it is known so well."""
    found = need(hits(0.955, 2000), (0.9, 1.0), estimand="share")
    assert 200 <= found.median <= 500


@pytest.mark.slow
def test_what_lies_at_the_border_is_likely_never_decided():
    assert need(hits(0.9, 1000), (0.9, 1.0), estimand="share").ninety == math.inf


@pytest.mark.slow
def test_a_pilot_without_a_miss_is_no_certainty():
    found = need(np.ones(64), (0.99, 1.0), estimand="share")
    assert found.ninety == math.inf or found.ninety > 1000


def test_a_claim_on_few_of_the_seeds_needs_more_of_them():
    values = np.random.default_rng(0).normal(0.3, 1.0, 64)
    whole = need(values, (0.0, math.inf), near_normal="drawn so")
    effects = as_effects(pd.Series(values[::4], range(0, 64, 4)))
    record = judge(Claim("it", "words", len, (0.0, math.inf), near_normal="drawn so").record(), effects)._asdict()
    assert planning.need(record, effects, 64, MOST).median > 2 * whole.median


@pytest.mark.parametrize(
    ("values", "said"), [(np.arange(9.0), "no sequence holds for it"), (np.array([]), "no run tests it")]
)
def test_what_cannot_be_told_is_said(values, said):
    found = need(values, (0.0, 1.0))
    assert found.why == said and math.isnan(found.median)


def test_a_plan_in_words():
    needs = [
        Need("sure", 0.99, 100.0, 250.0),
        Need("near", 0.91, 5000.0, math.inf),
        Need("never", 0.9, math.inf, math.inf),
        Need("odd", 1.0, math.nan, math.nan, "no sequence holds for it"),
    ]
    text = planning.in_words(Plan(64, 0.5, needs), 10_000)
    assert [line.split()[0] for line in text.splitlines()[3:5]] == ["sure", "near"]
    assert "250  2 min" in text and "> 10,000  83 min" in text
    assert "likely not decided by 10,000 seeds: never (0.9 in the pilot)" in text
    assert text.endswith("odd: cannot be told: no sequence holds for it")


def test_the_flag_writes_nothing_and_looks_at_no_seed_of_the_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "coin.py").write_text(
        '''
"""Does a coin fall heads?"""

from dataclasses import dataclass

import jax

from jaxstudies import Claim


@dataclass(frozen=True)
class Config:
    p: tuple[float, ...] = (0.5,)
    """Chance."""


def simulate(key, p):
    return {"heads": jax.random.bernoulli(key, p)}


CLAIMS = (Claim("fair", "it is fair", lambda of: of("heads"), (0.2, 0.8), estimand="share"),)
'''
    )
    main.main(["coin.py", "--plan", "--max-seeds", "1000"])
    said = capsys.readouterr().out
    assert "from a pilot of 64 seeds that are no part of the run" in said and "\nfair " in said
    assert {path.name for path in tmp_path.iterdir()} - {"__pycache__"} == {"coin.py"}
    with pytest.raises(SystemExit):
        main.main(["coin.py", "--plan", "--until-decided"])
    assert "--plan: cannot be used with --until-decided" in capsys.readouterr().err
