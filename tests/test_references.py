"""The reference results in figures/: whole, from clean commits, and judged again to the same verdicts."""

import importlib.util
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from jaxstudies import results, studies
from jaxstudies.commands import command
from jaxstudies.commands.endings import UsageError
from jaxstudies.evidence import records
from jaxstudies.study import load

FIGURES = Path(__file__).parent.parent / "figures"
SCRIPTS = FIGURES.parent / "scripts"
NAMES = sorted(studies.packaged())
RECORDS = [str(path.parent.relative_to(FIGURES)) for path in sorted(FIGURES.rglob("claims.json"))]
"""Of each study one, and of some another at a budget of its own."""


def script_of(name):
    """Return a script as a module."""
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


@pytest.fixture(scope="module")
def reword():
    return script_of("reword")


def test_every_study_has_a_reference():
    assert set(NAMES) <= set(RECORDS)


@pytest.mark.parametrize("name", RECORDS)
def test_a_reference_comes_from_a_clean_commit(name):
    origin = json.loads((FIGURES / name / "config.json").read_text())
    assert origin["study"] == Path(name).parts[0]
    commits = [origin["environment"]["commit"]]
    for stage in origin["stages"]:
        assert stage["commits"]  # of every chunk
        commits += stage["commits"]
    assert all(re.fullmatch(r"[0-9a-f]{12}", commit) for commit in commits)


@pytest.mark.parametrize("name", RECORDS)
def test_its_verdicts_follow_from_its_effects_alone(name):
    """Without the table of runs, which is not committed, and without the study's code."""
    assert list(records.verify(FIGURES / name)) == []


@pytest.mark.parametrize("name", RECORDS)
def test_it_says_of_claims_what_the_code_says(name, reword):
    """Where runs are not kept, `scripts/reword.py` puts the words right."""
    assert reword.reworded(FIGURES / name) == records.read(FIGURES / name)


@pytest.mark.parametrize("name", RECORDS)
def test_what_others_have_said_is_quoted_with_its_place(name):
    claims = records.read(FIGURES / name)["claims"]
    assert [
        claim["id"] for claim in claims if claim["source"] != "ours" and not (claim["where"] and claim["says"])
    ] == []


def test_words_are_put_right_and_what_decides_is_not(reword, tmp_path):
    shutil.copytree(FIGURES / "rescue", tmp_path / "rescue")
    record = records.read(tmp_path / "rescue")
    before = json.loads(json.dumps(record))

    def kept():
        (tmp_path / "rescue" / records.CLAIMS).write_text(json.dumps(record | {"sha256": records.seal(record)}))

    record["claims"][0] |= {"claim": "something else", "says": "and more", "figure": "ranking"}
    kept()
    assert reword.reworded(tmp_path / "rescue") == before
    record["claims"][0]["region"] = [0.5, 1.0]
    kept()
    with pytest.raises(UsageError, match=f"{before['claims'][0]['id']} has another region; run the study again"):
        reword.reworded(tmp_path / "rescue")
    record["claims"][0] = before["claims"][0] | {"id": "rescues.prayer"}
    kept()
    with pytest.raises(UsageError, match="is no claim of both"):
        reword.reworded(tmp_path / "rescue")


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


def test_a_reference_is_run_with_the_study_s_own_flags(monkeypatch, tmp_path):
    script = script_of("reference")
    asked, own = {}, {"collapse": ("--seeds", "7"), "rescue": ()}
    for name in own:
        (tmp_path / "results" / name).mkdir(parents=True)
    paths = {"ROOT": tmp_path, "RESULTS": tmp_path / "results"}
    instead = {"load": lambda name: replace(load(name), REFERENCE=own[name]), "is_clean": lambda commit: True}
    instead |= {"unclean": lambda source: [], "copy": lambda source, target: None}
    for name, value in (paths | instead).items():
        monkeypatch.setattr(script, name, value)
    monkeypatch.setattr(script.report_command, "main", lambda argv: None)
    monkeypatch.setattr(command, "main", lambda study, argv: asked.update({study.name: argv}))
    (tmp_path / "figures").mkdir()
    script.renew(("collapse", "rescue"))
    assert asked == {name: ["--out", str(tmp_path / "results" / name), *flags] for name, flags in own.items()}


@pytest.mark.parametrize("name", NAMES)
def test_every_flag_of_a_reference_is_one_of_the_study_s(name):
    study = load(name)
    command.parse(study, list(study.REFERENCE))
