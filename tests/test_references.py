"""The reference results in figures/: whole, from clean commits, and judged again to the same verdicts."""

import json
import re
from pathlib import Path

import pytest

from jaxstudies import results, studies
from jaxstudies.evidence import records
from jaxstudies.study import load

FIGURES = Path(__file__).parent.parent / "figures"
NAMES = sorted(studies.packaged())


@pytest.mark.parametrize("name", NAMES)
def test_a_reference_comes_from_a_clean_commit(name):
    origin = json.loads((FIGURES / name / "config.json").read_text())
    assert origin["study"] == name
    commits = [origin["environment"]["commit"]]
    for stage in origin["stages"]:
        assert stage["commits"]  # of every chunk
        commits += stage["commits"]
    assert all(re.fullmatch(r"[0-9a-f]{12}", commit) for commit in commits)


@pytest.mark.parametrize("name", NAMES)
def test_its_verdicts_follow_from_its_effects_alone(name):
    """Without the table of runs, which is not committed, and without the study's code."""
    assert list(records.verify(FIGURES / name)) == []


@pytest.mark.parametrize("name", NAMES)
def test_the_figure_that_a_claim_names_is_there(name):
    study = load(name)
    now = results.claims_of(study, study.Config())
    named = {claim.figure for claim in now if claim.figure}
    assert named <= {path.stem for path in (FIGURES / name).glob("*.png")} & set(study.CAPTIONS)


def test_the_page_holds_every_claim_and_figure_and_is_small():
    path = FIGURES / "report.html"
    text = path.read_text("utf-8")
    assert path.stat().st_size < 5_000_000 and "cannot be judged anew" not in text
    claims = [claim for name in NAMES for claim in json.loads((FIGURES / name / "claims.json").read_text())["claims"]]
    rows = re.findall(r'<tr id="([^"]+)" data-study="\d+" data-claim="\d+" data-verdict="([^"]+)"', text)
    assert [kind for _, kind in rows] == [claim["verdict"] for claim in claims]
    assert [id_.partition("/")[2] for id_, _ in rows] == [claim["id"] for claim in claims]
    assert text.count("<img ") == sum(len(list((FIGURES / name).glob("*.png"))) for name in NAMES)
