"""The reference results in figures/: whole, from clean commits, and judged again to the same verdicts."""

import json
import re
from pathlib import Path

import pytest

from jaxstudies import studies
from jaxstudies.evidence import records

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
