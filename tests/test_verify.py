"""Verdicts can be judged again by whoever disagrees, and whatever was changed since is told."""

import contextlib
import json
import subprocess
import sys
import time
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jaxstudies import study as studies
from jaxstudies.commands import main
from jaxstudies.evidence import effects, records, registration, rules
from jaxstudies.evidence.claims import Claim
from jaxstudies.evidence.judging import judge_all
from jaxstudies.study import load

STUDY = '''
"""Do numbers lie where they should?"""

from dataclasses import dataclass

import jax

from jaxstudies import Claim


@dataclass(frozen=True)
class Config:
    scale: tuple[float, ...] = (1.0, 2.0)
    """Factors."""


def simulate(key, scale):
    return {"x": scale * jax.random.normal(key), "up": jax.random.normal(key) > -2}


def plot(results):
    return {}


def up(of):
    return of("up", scale=1.0)


def doubled(of):
    return of("x", scale=2.0) - 2 * of("x", scale=1.0) + of("x", scale=1.0) / 1000


CLAIMS = (
    Claim("up", "most are up", up, (0.8, 1.0), estimand="share", readings={"down": lambda of: 1 - up(of)}),
    Claim("mean", "the mean is 0", lambda of: of("x", scale=1.0), (-0.5, 0.5), margin="a test", near_normal="drawn so"),
    Claim("doubled", "they double", doubled, (-0.01, 0.01), primary=False),
)
POPULATION = "numbers drawn anew"
'''


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    here = tmp_path_factory.mktemp("verify")
    (here / "sums.py").write_text(STUDY)
    main.main(["register", str(here / "sums.py"), "--seeds", "50", "--out", str(here / "out")])
    main.main([str(here / "sums.py"), "--seeds", "50", "--out", str(here / "out")])
    return here / "out"


@pytest.fixture
def copy(finished, tmp_path):
    """A copy of the results that may be changed."""
    (tmp_path / "sums.py").write_text(STUDY)
    (tmp_path / "out").mkdir()
    for path in finished.iterdir():
        (tmp_path / "out" / path.name).write_bytes(path.read_bytes())
    return tmp_path / "out"


def verify(*arguments):
    """Return the exit status."""
    try:
        main.main(["verify", *map(str, arguments)])
    except SystemExit as stop:
        return stop.code
    return 0


def test_what_was_left_is_judged_alike(finished, capsys):
    assert verify(finished) == 0
    assert "3 verdicts stand" in capsys.readouterr().out
    assert verify(finished, "--from-runs") == 0


def test_it_takes_neither_jax_nor_the_study_and_no_time(finished):
    code = "import sys; from jaxstudies.commands.main import main; main(sys.argv[1:]); assert 'jax' not in sys.modules"
    before = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code, "verify", str(finished)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert time.perf_counter() - before < 60  # a process that hangs, rather than one that is slow


def rewritten(path, change):
    """Change a JSON file."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def sealed(directory, change):
    """Change claims.json, and seal it anew as a forger would."""

    def forge(record):
        change(record)
        record["sha256"] = records.seal(record)

    rewritten(directory / "claims.json", forge)


@pytest.mark.parametrize("name", ["effects.parquet", "config.json", "runs.parquet"])
def test_another_file_is_told(copy, capsys, name):
    path = copy / name
    if name == "config.json":
        rewritten(path, lambda config: config.update(seed=1))
    else:
        rows = pq.read_table(path)
        column = "value" if name == "effects.parquet" else "x"
        values = rows.column(column).to_numpy() + np.eye(1, len(rows), 3, dtype=rows.column(column).to_numpy().dtype)[0]
        place = rows.schema.get_field_index(column)
        pq.write_table(rows.set_column(place, rows.schema.field(column), pa.chunked_array([values])), path)
    assert verify(copy) == 1
    assert f"{name} is another than the one that was judged" in capsys.readouterr().out


def places(content, path=()):
    """Yield the paths to all that is no container in JSON."""
    inside = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else None
    if inside is None:
        yield path
    for key, value in inside or ():
        yield from places(value, (*path, key))


def other(value):
    """Return something else."""
    if isinstance(value, bool) or value is None:
        return not value
    return f"{value}." if isinstance(value, str) else value + 1


@given(st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_change_to_any_field_of_the_claims_is_told(finished, tmp_path, data):
    for name in (*records.NAMES, registration.FILE):
        (tmp_path / name).write_bytes((finished / name).read_bytes())
    record = json.loads((finished / "claims.json").read_text())
    *path, key = data.draw(st.sampled_from([*places(record)]))

    def change(content):
        for step in path:
            content = content[step]
        content[key] = other(content[key])

    rewritten(tmp_path / "claims.json", change)
    with contextlib.suppress(records.Unverifiable):
        assert list(records.verify(tmp_path))


@pytest.mark.parametrize(
    ("field", "value"),
    [("verdict", "refuted"), ("effect", 0.9), ("low", 0.81), ("n", 51), ("level", 0.9), ("region", [0.99, 1.0])],
)
def test_a_verdict_that_does_not_follow_from_the_effects_is_told_whoever_sealed_it(copy, capsys, field, value):
    sealed(copy, lambda record: record["claims"][0].update({field: value}))
    assert verify(copy) == 1 and capsys.readouterr().out.count("when judged again") >= 1


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
@pytest.mark.parametrize("field", ["effect", "low", "high"])
def test_what_is_no_number_is_no_effect_and_no_end(copy, field, value):
    sealed(copy, lambda record: record["claims"][0].update({field: value}))
    assert any(f"{field} is {value}" in line for line in records.verify(copy))


def forged_registration(record):
    record["registered"]["changed"] = ["up"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda record: record["rule"].update(name="sequence", looks=[10, 50]), "rule is not that of the runs"),
        (lambda record: record["rule"].update(name="sequence"), "rule is not that of the runs"),
        (lambda record: record.update(date="2020-01-01"), "date is not that of config.json"),
        (forged_registration, "changed since registered.json is ['up'], and [] when compared again"),
    ],
)
def test_what_other_files_say_is_told_whoever_sealed_it(copy, change, said):
    def forge(record):
        change(record)
        record["sha256"] = records.seal(record)
        (copy / "claims.json").write_text(json.dumps(record))
        record["claims"] = json.loads(json.dumps([v._asdict() for v in records.again(copy, record)]))

    sealed(copy, forge)
    assert any(said in line for line in records.verify(copy))


def test_a_run_that_was_looked_at_is_not_passed_off_as_one_of_a_fixed_number(copy):
    rewritten(copy / "config.json", lambda origin: origin.update(seen=[20]))
    sealed(copy, lambda record: record["config"].update(sha256=records.content_digest(copy / "config.json")))
    assert any("rule is not that of the runs" in line for line in records.verify(copy))


def test_what_cannot_be_decided_by_the_own_effects_may_be_by_a_reading(copy):
    sealed(copy, lambda record: record["claims"][0].update(undecidable="the grid ends there"))
    own, read = (records.again(copy, records.read(copy), reading=name)[0] for name in ("", "down"))
    assert (own.verdict, own.why) == ("inconclusive", "the grid ends there")
    assert (read.verdict, read.why) == ("refuted", "")


def test_effects_that_do_not_follow_from_the_runs_are_told(copy, capsys):
    rows = pq.read_table(copy / "effects.parquet")
    values = rows.column("value").to_numpy().copy()
    values[60] += 1e-6
    pq.write_table(rows.set_column(2, rows.schema.field("value"), pa.chunked_array([values])), copy / "effects.parquet")
    record = json.loads((copy / "claims.json").read_text())
    judged = records.again(copy, record)
    record["effects"]["sha256"] = records.content_digest(copy / "effects.parquet")
    record["claims"] = json.loads(json.dumps([v._asdict() for v in judged]))
    record["sha256"] = records.seal(record)
    (copy / "claims.json").write_text(json.dumps(record))
    assert verify(copy) == 0  # what is forged throughout
    assert verify(copy, "--from-runs") == 1
    assert "effects computed again: mean" in capsys.readouterr().out


def test_other_words_in_the_code_are_told_from_the_runs(copy, capsys):
    (copy.parent / "sums.py").write_text(STUDY.replace("most are up", "all are up"))
    assert verify(copy) == 0 and verify(copy, "--from-runs") == 1
    assert "up: the study's code claims something else" in capsys.readouterr().out


def test_another_margin_or_level_shows_what_would_change(finished, capsys):
    assert verify(finished, "--margin", "-0.495") == 0
    assert "mean: supported would be" in capsys.readouterr().out
    assert verify(finished, "--level", "0.999999") == 0
    said = capsys.readouterr().out
    assert "up: supported would be inconclusive" in said and "of 3 verdicts would change" in said


def test_fewer_seeds_are_judged_as_if_no_more_were_run(finished, capsys):
    assert verify(finished, "--seeds", "1") == 0
    assert "up: supported would be inconclusive" in capsys.readouterr().out
    record = records.read(finished)
    of_claims, ten = records.by_id(finished, record), records.again(finished, record, seeds=10)
    for entry, verdict in zip(record["claims"], ten, strict=True):
        first = of_claims[entry["id"]].query("seed < 10")
        assert verdict._replace(family_verdict="") == rules.judge(entry, first)
    assert verify(finished, "--seeds", "0") == 2


def test_another_reading_shows_what_would_change(finished, capsys):
    assert verify(finished, "--reading", "down") == 0
    said = capsys.readouterr().out
    assert "up: supported would be refuted" in said and "1 of 3 verdicts would change" in said
    assert verify(finished, "--reading", "down", "--margin", "0.9") == 0
    said = capsys.readouterr().out
    assert "up: supported stays so, [" in said and "mean" not in said
    record = records.read(finished)
    own, down = (records.by_id(finished, record, reading) for reading in ("", "down"))
    np.testing.assert_array_equal(down["up"]["value"], 1 - own["up"]["value"])
    pd.testing.assert_frame_equal(down["mean"], own["mean"])
    assert records.again(finished, record, reading="down")[1] == records.again(finished, record)[1]


def test_a_reading_that_no_claim_has_is_one_line_that_names_those_there_are(finished, capsys):
    assert verify(finished, "--reading", "up") == 2
    assert capsys.readouterr().err.splitlines() == ["verify: error: --reading up: one of down"]


def test_effects_under_a_reading_that_do_not_follow_from_the_runs_are_told(copy, capsys):
    (copy.parent / "sums.py").write_text(STUDY.replace("1 - up(of)", "1 - up(of) * up(of) * 0"))
    assert verify(copy) == 0 and verify(copy, "--from-runs") == 1
    assert capsys.readouterr().out.splitlines()[-1].endswith("effects computed again: up, reading down")


def test_what_was_left_before_claims_had_readings_is_judged_and_read_in_one_way(copy, capsys):
    table = pq.read_table(copy / "effects.parquet").to_pandas()
    older = table[table["reading"].isna()].drop(columns="reading")
    digest = json.loads(pq.read_schema(copy / "effects.parquet").metadata[b"jaxstudies"])["table"]
    effects.write_effects(copy / "effects.parquet", older, digest)

    def forget(record):
        record["effects"]["sha256"] = records.content_digest(copy / "effects.parquet")
        record["registered"] = None
        del record["claims"][0]["readings"]

    (copy / "registered.json").unlink()
    sealed(copy, forget)
    assert verify(copy) == 0
    assert verify(copy, "--reading", "down") == 2 and "read in one way" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"format": 1}', '{"format": 1, "claims": [{"id": "x"}]}'])
def test_what_cannot_be_judged_is_one_line(copy, capsys, content):
    (copy / "claims.json").write_text(content)
    assert verify(copy) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_damaged_effects_are_one_line(copy, capsys):
    (copy / "effects.parquet").write_bytes(b"PAR1")
    assert verify(copy) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_file_is_as_its_schema_says(finished):
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(files("jaxstudies.evidence").joinpath("claims.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    for path in (finished / "claims.json", *Path(__file__).parent.parent.glob("figures/*/claims.json")):
        jsonschema.validate(json.loads(path.read_text()), schema)


def test_another_region_in_the_code_is_told_from_the_runs(copy, capsys):
    (copy.parent / "sums.py").write_text(STUDY.replace("(0.8, 1.0)", "(0.2, 0.3)"))
    assert verify(copy, "--from-runs") == 1
    assert "up: the study's code claims something else (region)" in capsys.readouterr().out


def test_runs_of_other_code_are_told(copy, finished, capsys):
    (copy.parent / "sums.py").write_text(STUDY.replace("jax.random.normal(key) > -2", "jax.random.normal(key) > -1"))
    assert verify(copy, "--from-runs") == 0
    assert "made by other code than the study has now" in capsys.readouterr().out
    assert verify(finished, "--from-runs") == 0
    assert "other code" not in capsys.readouterr().out


def test_studies_in_two_folders_have_each_its_own_helper(tmp_path, capsys):
    for name, at_least in (("one", "-2"), ("two", "-1")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "helper.py").write_text(f"AT_LEAST = {at_least}\n")
        study = STUDY.replace("(key) > -2", "(key) > helper.AT_LEAST")
        (tmp_path / name / "sums.py").write_text("import helper\n" + study)
        with studies.apart():
            main.main([str(tmp_path / name / "sums.py"), "--seeds", "50", "--out", str(tmp_path / name / "out")])
    capsys.readouterr()
    before = list(sys.path)
    assert verify(tmp_path / "one" / "out", tmp_path / "two" / "out", "--from-runs") == 0
    assert "other code" not in capsys.readouterr().out
    assert sys.path == before and "helper" not in sys.modules


def test_a_name_that_stands_twice_is_refused(copy, capsys):
    path = copy / "claims.json"
    path.write_text(path.read_text().replace('"format": 1', '"format": 2, "format": 1'))
    assert verify(copy) == 2 and "a name stands twice" in capsys.readouterr().err


def test_what_is_missing_is_one_line_and_the_others_are_judged(copy, finished, tmp_path, capsys):
    (copy / "effects.parquet").unlink()
    assert verify(copy, tmp_path / "none", finished) == 2
    said = capsys.readouterr()
    assert len(said.err.splitlines()) == 1 and "3 verdicts stand" in said.out
    (copy.parent / "sums.py").write_text("def :")
    assert verify(finished, "--from-runs") in (0, 2)


def test_a_registration_that_was_changed_or_has_gone_is_told(copy, capsys):
    rewritten(copy / "registered.json", lambda content: content.update(date="2020-01-01T00:00:00+00:00"))
    assert verify(copy) == 1 and "registered.json was changed after it was written" in capsys.readouterr().out
    main.main([str(copy.parent / "sums.py"), "--plots-only", "--out", str(copy)])
    assert "registered.json was changed after it was written" in capsys.readouterr().out


def test_a_registration_that_has_gone_is_told(copy, capsys):
    (copy / "registered.json").unlink()
    assert verify(copy) == 1 and "registered.json is another than the one that was judged" in capsys.readouterr().out


# Registration.


def test_registered_claims_are_named_with_their_date(finished):
    record = json.loads((finished / "claims.json").read_text())
    registered = json.loads((finished / "registered.json").read_text())
    assert record["registered"]["sha256"] == registered["sha256"]
    assert record["registered"]["date"] <= record["date"]
    assert registration.in_words(record["registered"]).endswith("; unchanged")


def test_claims_that_have_changed_since_are_named(copy):
    text = STUDY.replace("(0.8, 1.0)", "(0.5, 1.0)").replace('Claim("mean"', 'Claim("other"')
    (copy.parent / "sums.py").write_text(text)
    main.main([str(copy.parent / "sums.py"), "--seeds", "50", "--out", str(copy)])
    registered = json.loads((copy / "claims.json").read_text())["registered"]
    assert registered["changed"] == ["up", "mean"] and registered["new"] == ["other"]
    assert registered["otherwise"] == ["other code"]
    assert "changed since: up, mean; new since: other" in registration.in_words(registered)


def test_claims_are_registered_before_the_runs_or_not_at_all(copy, tmp_path, capsys):
    study = str(copy.parent / "sums.py")
    main.main(["register", study, "--seeds", "50", "--out", str(copy)])  # the same again
    assert "registered already" in capsys.readouterr().out
    (copy / "registered.json").unlink()
    for out, said in ((copy, "runs are there already"), (tmp_path / "new", "")):
        try:
            main.main(["register", study, "--out", str(out)])
        except SystemExit as stop:
            assert stop.code == 2
        assert said in capsys.readouterr().err
    (copy.parent / "sums.py").write_text(STUDY.replace("most are up", "all are up"))
    with pytest.raises(SystemExit) as stop:
        main.main(["register", study, "--out", str(tmp_path / "new")])
    assert stop.value.code == 2 and "registered there are other claims" in capsys.readouterr().err


@pytest.mark.slow
def test_a_number_of_seeds_that_was_not_registered_is_told(copy, capsys):
    main.main([str(copy.parent / "sums.py"), "--seeds", "60", "--out", str(copy)])
    assert "another stopping rule" in capsys.readouterr().out
    assert json.loads((copy / "claims.json").read_text())["registered"]["otherwise"] == ["another stopping rule"]


# Families.


@given(st.lists(st.floats(1e-6, 0.2), min_size=1, max_size=8))
@settings(max_examples=40)
@pytest.mark.slow
def test_a_family_is_judged_as_holm_says(p_values):
    """Of shifts whose t interval leaves 0 at just the level 1 - p."""
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    from scipy import stats

    base = np.random.default_rng(0).normal(size=40)
    base = (base - base.mean()) / base.std(ddof=1)
    shifts = [stats.t.isf(p / 2, 39) / np.sqrt(40) for p in p_values]
    claims = [
        Claim(f"{i}", "positive", lambda of, s=shift: pd.Series(base + s), (0, np.inf), near_normal="drawn so")
        for i, shift in enumerate(shifts)
    ]
    verdicts, _ = judge_all(claims, len)
    rejected = multitest.multipletests(p_values, 0.05, "holm")[0]
    near = np.isclose(np.sort(p_values), 0.05 / np.arange(len(p_values), 0, -1), rtol=1e-6).any()
    assert near or [v.family_verdict == "supported" for v in verdicts] == rejected.tolist()


def test_claims_that_are_not_primary_are_no_family(finished):
    verdicts = {c["id"]: c for c in json.loads((finished / "claims.json").read_text())["claims"]}
    assert verdicts["doubled"]["family_verdict"] == "" and verdicts["up"]["family_verdict"] == "supported"


def test_a_study_hands_its_population_to_its_claims(finished):
    record = json.loads((finished / "claims.json").read_text())
    assert {claim["population"] for claim in record["claims"]} == {load(str(finished.parent / "sums.py")).POPULATION}
