"""Seeds flow until claims are decided: verdicts are those of sequences, and nothing is run twice or lost."""

import json
import shutil
import textwrap

import jax
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from jaxstudies import deciding, finishing, replays, results, study
from jaxstudies.commands import main
from jaxstudies.engine.design import product_design
from jaxstudies.evidence import sequences
from jaxstudies.output import stored

COINS = '''
"""Do coins fall heads?"""

from dataclasses import dataclass

import jax

from jaxstudies import Claim


@dataclass(frozen=True)
class Config:
    p: tuple[float, ...] = (0.05, 0.5, 0.97)
    """Chances."""
    sides: tuple[int, ...] = (1, 2)
    """Of nothing."""


def simulate(key, p, sides):
    return {"heads": jax.random.bernoulli(key, p), "draw": jax.random.normal(key) + sides}


def plot(results):
    return {}


def often(of):
    return of("heads", p=0.97, sides=1)


def fair(of):
    return of("heads", p=0.5, sides=1)


CLAIMS = (
    Claim("often", "heads in nine of ten", often, (0.9, 1.0), estimand="share"),
    Claim("fair", "heads in a half", fair, (0.4, 0.6), estimand="share"),
    Claim("open", "the mean is positive", lambda of: of("draw", p=0.05, sides=1), (0, 9)),
)
'''


@pytest.fixture
def coins(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "coins.py").write_text(textwrap.dedent(COINS))
    return tmp_path


def run(*flags, out="out"):
    main.main(["coins.py", "--out", out, *flags])


def left(path):
    return json.loads((path / "claims.json").read_text())


def origin(path):
    return stored.read_provenance(path / "runs.parquet")


UNTIL = "--until-decided", "--seeds", "400", "--max-seeds", "3000"


def test_seeds_flow_until_each_claim_is_decided_and_what_is_decided_stops(coins, capsys):
    run(*UNTIL)
    record = left(coins / "out")
    looks, verdicts = record["rule"]["looks"], {v["id"]: v for v in record["claims"]}
    assert record["rule"]["name"] == "sequence" and looks[:4] == [50, 100, 150, 200]
    counts = pd.read_parquet(coins / "out" / "runs.parquet").groupby(["p", "sides"])["seed"].count()
    # What no claim asks for, or none that a sequence decides, stops at the first look.
    assert set(counts[[(0.05, 1), (0.05, 2), (0.5, 2), (0.97, 2)]]) == {50}
    assert counts[0.97, 1] == verdicts["often"]["seeds"] < counts[0.5, 1] == verdicts["fair"]["seeds"] == looks[-1]
    assert (verdicts["often"]["verdict"], verdicts["fair"]["verdict"]) == ("supported", "supported")
    assert verdicts["open"]["verdict"] == "inconclusive" and "no sequence" in verdicts["open"]["why"]
    rows = pd.read_parquet(coins / "out" / "runs.parquet")
    often = rows[(rows["p"] == 0.97) & (rows["sides"] == 1)]["heads"]
    assert verdicts["often"]["low"] == sequences.share(int(often.sum()), len(often))[1]
    said = capsys.readouterr().err
    assert "50 seeds: 0 decided; open: often, fair; 2 of 6 settings go on" in said
    assert f"{looks[-1]:,} seeds: 2 decided\n" in said


@pytest.fixture(scope="module")
def decided(tmp_path_factory):
    """Return where a run was decided, for tests that go on from a copy of it."""
    here = tmp_path_factory.mktemp("decided")
    (here / "coins.py").write_text(COINS.replace("def plot(", "def no_plot("))  # its default figures are drawn
    main.main([str(here / "coins.py"), "--out", str(here / "out"), *UNTIL])
    return here / "out"


@pytest.mark.slow
def test_rows_are_those_of_a_run_in_one_go_and_replay(coins, decided):
    shutil.copytree(decided, coins / "out")
    run("--seeds", str(left(coins / "out")["rule"]["looks"][-1]), out="whole")
    parts, whole = (pd.read_parquet(coins / name / "runs.parquet") for name in ("out", "whole"))
    both = parts.merge(whole, on=["p", "sides", "seed"], suffixes=("", "_whole"))
    assert len(both) == len(parts)
    np.testing.assert_array_equal(both["heads"], both["heads_whole"])
    np.testing.assert_allclose(both["draw"], both["draw_whole"], rtol=1e-6)
    for seed in (3, 120, int(parts["seed"].max())):
        again = replays.replay(coins / "out", {"p": 0.5, "sides": 1}, seed)
        assert again.row is not None and again.difference == {"heads": 0.0, "draw": 0.0}
    times = pd.read_csv(coins / "out" / "times.csv")
    assert times["runs"].sum() == len(parts) and len(times) == 2


@pytest.mark.slow
def test_a_run_that_was_stopped_goes_on_to_the_same_verdicts(coins, decided, monkeypatch):
    shutil.copytree(decided, coins / "whole")
    finish, calls = finishing.finish, []

    def stopped_once(job, *more):
        calls.append(job.task.num_seeds)
        if len(calls) == 3:
            raise KeyboardInterrupt
        finish(job, *more)

    monkeypatch.setattr(finishing, "finish", stopped_once)
    with pytest.raises(SystemExit) as stop:
        run(*UNTIL)
    assert stop.value.code == 130
    run(*UNTIL)
    assert len(set(calls)) == len(calls) - 1  # only what was stopped is asked for twice
    assert left(coins / "out")["claims"] == left(coins / "whole")["claims"]
    one, other = (pq.read_table(coins / name / "runs.parquet") for name in ("out", "whole"))
    assert one.equals(other)
    calls.clear()
    run(*UNTIL)
    assert not calls  # nothing is left to be run


@pytest.mark.slow
def test_more_seeds_after_a_look_are_judged_by_sequences(coins):
    run("--seeds", "100")
    assert left(coins / "out")["rule"] == {"name": "fixed n", "looks": None}
    run("--seeds", "300")
    assert left(coins / "out")["rule"] == {"name": "sequence", "looks": [100, 300]}
    run("--seeds", "200")  # cut from what was seen
    assert left(coins / "out")["rule"] == {"name": "sequence", "looks": [100, 200]}
    run("--plots-only", "--seeds", "200")
    assert left(coins / "out")["rule"]["looks"] == [100, 200]


@pytest.mark.slow
def test_what_had_stopped_is_looked_at_for_good(coins, decided):
    shutil.copytree(decided, coins / "out")
    looks = left(coins / "out")["rule"]["looks"]
    run("--seeds", "60")  # of all settings, which is another table
    assert left(coins / "out")["rule"] == {"name": "sequence", "looks": [50, 60]}
    assert origin(coins / "out")["seen"] == looks


@pytest.mark.slow
def test_a_run_of_a_fixed_number_goes_on_until_it_is_decided(coins):
    run("--seeds", "70")
    run("--until-decided", "--seeds", "400", "--max-seeds", "170")
    assert left(coins / "out")["rule"]["looks"] == [70, 120, 170]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--max-seeds", "5"), "--max-seeds 5: only with --until-decided"),
        (("--until-decided", "--fresh"), "--until-decided: cannot be used with --fresh"),
        (("--until-decided", "--shard", "1/2"), "--until-decided: cannot be used with --shard"),
        (("--until-decided", "--plots-only"), "--until-decided: cannot be used with --plots-only"),
    ],
)
def test_flags_that_cannot_go_with_it_are_one_line(coins, capsys, flags, said):
    with pytest.raises(SystemExit) as stop:
        run(*flags)
    assert stop.value.code == 2 and said in capsys.readouterr().err


def test_a_registered_plan_is_kept_to_or_said_to_be_another(coins):
    def told(out):
        return left(coins / out)["registered"]["otherwise"]

    for out, flags in (("kept", ("--max-seeds", "16")), ("other", ("--max-seeds", "40")), ("usual", ())):
        main.main(["register", "coins.py", "--out", out, "--until-decided", "--seeds", "64", *flags])
    for out in ("kept", "other"):
        run("--until-decided", "--seeds", "64", "--max-seeds", "16", out=out)
    assert told("kept") == [] and told("other") == ["another stopping rule"]
    # Where nothing is said, there are a hundred times as many as planned.
    assert json.loads((coins / "usual" / "registered.json").read_text())["stopping"]["max_seeds"] == 6400


def test_a_study_without_claims_cannot_be_decided(coins, capsys):
    (coins / "coins.py").write_text(COINS.partition("def often")[0])
    with pytest.raises(SystemExit) as stop:
        run("--until-decided")
    assert stop.value.code == 2 and "--until-decided: coins has no claims" in capsys.readouterr().err


def test_looks_come_less_and_less_often_but_with_few_steps():
    looks, n = [], 0
    while n < 100_000:
        looks.append(n := deciding.next_look(n, 1000, 100_000))
    steps = np.diff(looks)
    assert looks[:9] == [*range(125, 1126, 125)] and looks[-1] == 100_000
    assert all(step <= max(125, n / 8) for step, n in zip(steps, looks, strict=False))
    assert len(looks) < 90 and len(set(steps[:-1])) < 12


def test_settings_are_those_that_have_one_of_the_labels():
    design = product_design(lambda key, a, b: {}, {"a": (1, 2, 3), "b": (0.1, 0.2)})
    assert deciding.settings_of(design, None).all()
    assert deciding.settings_of(design, [{"a": 2}]).tolist() == [False, False, True, True, False, False]
    assert deciding.settings_of(design, [{"a": (1, 3), "b": 0.1}]).tolist() == [True, False, False, False, True, False]
    assert deciding.settings_of(design, [{"a": 1, "b": 0.1}, {"a": 1, "b": 0.2, "epoch": 3}]).sum() == 2


def test_what_no_run_tests_yet_goes_on_if_a_setting_of_it_is_there(coins):
    chosen = "lambda of: of('heads', p=0.05, sides=2)[of('draw', p=0.05, sides=2) > 3.9]"
    rare = f"Claim('rare', 'they are heads', {chosen}, (0.9, 1), estimand='share'),\n    Claim(\"fair\""
    absent = 'Claim("absent", "x", lambda of: of("heads", p=7.0), (0, 1), estimand="share"),\n    Claim("open"'
    (coins / "coins.py").write_text(COINS.replace('Claim("fair"', rare).replace('Claim("open"', absent))
    run("--until-decided", "--seeds", "200", "--max-seeds", "100")
    counts = pd.read_parquet(coins / "out" / "runs.parquet").groupby(["p", "sides"])["seed"].count()
    verdicts = {v["id"]: v for v in left(coins / "out")["claims"]}
    assert counts[0.05, 2] == 100 and counts[0.05, 1] == 25
    assert verdicts["rare"]["n"] <= 10 and verdicts["absent"]["verdict"] == "not tested"


@pytest.mark.slow
def test_code_and_fresh_runs_do_not_make_one_forget_what_was_seen(coins, capsys):
    run("--seeds", "20")
    run("--seeds", "40", "--fresh")
    assert left(coins / "out")["rule"]["looks"] == [20, 40]
    capsys.readouterr()
    run("--plots-only")
    assert "was run by other code" not in capsys.readouterr().out
    (coins / "coins.py").write_text(COINS.replace("+ sides}", "+ 1.0 * sides}"))
    run("--plots-only")
    assert "runs.parquet was run by other code than this; --plots-only runs nothing again" in capsys.readouterr().out
    run("--seeds", "60")
    assert left(coins / "out")["rule"]["looks"] == [20, 40, 60]
    run("--seeds", "60", "--sides", "1", "3")  # some of the same runs
    assert left(coins / "out")["rule"]["looks"] == [20, 40, 60]
    run("--seeds", "60", "--sides", "4")  # others
    assert left(coins / "out")["rule"]["looks"] is None
    run("--seeds", "60", "--seed", "1")
    assert left(coins / "out")["rule"]["looks"] is None


@pytest.mark.slow
def test_a_table_that_is_brought_back_knows_what_was_seen_while_it_lay_aside(coins, capsys):
    run("--seeds", "20")
    run("--seeds", "20", "--sides", "1")
    capsys.readouterr()
    run("--seeds", "40")
    said = capsys.readouterr().out
    assert "20 more are run\nwhat was looked at cannot decide open; runs of another master seed can\n" in said
    assert left(coins / "out")["rule"]["looks"] == [20, 40]
    run("--seeds", "20")
    assert left(coins / "out")["rule"] == {"name": "sequence", "looks": [20]}
    assert origin(coins / "out")["seen"] == [20, 40]
    run("--seeds", "40")
    assert left(coins / "out")["rule"]["looks"] == [20, 40]


@pytest.mark.slow
def test_it_ends_where_nothing_more_can_be_decided(coins, capsys):
    """A pair of which one setting is not there, an effect that raises, settings with few seeds of their own."""
    both = 'of("heads", p=0.5, sides=1) - of("heads", p=7.0)'
    pair = f'Claim("pair", "x", lambda of: {both}, (0, 1), estimand="share_difference")'
    heads = 'of("heads", p=0.5, sides=1)'
    late = f"{heads} * (1 if len({heads}) < 40 else 1 / 0)"
    raises = f'Claim("raises", "x", lambda of: {late}, (0.45, 0.55), estimand="share")'
    text = COINS.partition("CLAIMS")[0] + f"CLAIMS = ({pair}, {raises})\n"
    (coins / "coins.py").write_text(text)
    with pytest.raises(SystemExit) as stop:
        run("--until-decided", "--seeds", "160", "--max-seeds", "400")
    assert stop.value.code == 2
    assert origin(coins / "out")["num_seeds"] <= 40
    assert [v["id"] for v in left(coins / "out")["claims"]] == ["pair"]
    setting = "jaxstudies.Setting({'p': p}, {'p': p, 'sides': 1}, 5)"
    own = f"\n\ndef settings(config):\n    return [{setting} for p in config.p]\n"
    text = COINS.replace("import jax\n", "import jax\nimport jaxstudies\n") + own
    (coins / "coins.py").write_text(text.replace(", sides=1)", ")"))
    run("--until-decided", "--seeds", "160", "--max-seeds", "400", out="own")
    assert origin(coins / "own")["num_seeds"] <= 20


def test_where_no_claim_has_a_sequence_nothing_is_run(coins, capsys):
    mean = 'CLAIMS = (Claim("open", "the mean is positive", lambda of: of("draw", p=0.05, sides=1), (0, 9)),)\n'
    (coins / "coins.py").write_text(COINS.partition("CLAIMS")[0] + mean)
    with pytest.raises(SystemExit) as stop:
        run("--until-decided")
    assert stop.value.code == 2 and "no sequence holds for this mean" in capsys.readouterr().err
    assert not (coins / "out" / "runs.parquet").exists()


def test_a_claim_knows_the_settings_that_it_asked_for(coins):
    coins_study = study.load("coins.py")
    run("--seeds", "20")
    finished, _ = results.read(coins_study, coins / "out")
    verdicts, _ = results.judge(coins_study, finished)
    assert {v.id: v.asked for v in verdicts}["often"] == [{"p": 0.97, "sides": 1}]
    assert jax.tree.leaves([v.asked for v in verdicts])
