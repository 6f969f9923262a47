"""The dying-ReLU study: its files, its counts, its claims, and what training can do to a network."""

import itertools
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from reading import assert_told

from jaxstudies import results as from_table
from jaxstudies import tasks
from jaxstudies.commands import command
from jaxstudies.engine import monte_carlo
from jaxstudies.evidence import rules
from jaxstudies.evidence.effects import as_effects, by_claim
from jaxstudies.evidence.estimands import counts_of
from jaxstudies.output import stored, table
from jaxstudies.studies import dying_relu
from jaxstudies.studies.dying_relu import counts
from jaxstudies.studies.dying_relu.simulation import KINDS, padded
from jaxstudies.study import Results, load

ROOT = Path(__file__).parent.parent
STUDY = load("dying_relu")
SMALL = ["--seeds", "24", "--epochs", "1", "--num-examples", "128", "--long-epochs", "2"]


def run(out, *flags):
    command.main(STUDY, [*SMALL, "--out", str(out), *flags])


def results_of(study, config):
    """Run a study in memory, and return what it would read from a directory."""
    blocks, *_ = monte_carlo.run_design(tasks.task_of(study, config, config.seeds, config.seed))
    runs = (study.derive or pd.DataFrame)(pd.concat(map(table.to_pandas, blocks), ignore_index=True))
    return Results(config, runs.assign(count=1), pd.DataFrame(), {})


def in_blocks_of(num_seeds, finished, out):
    """Write the table of a directory into another, in blocks of so many seeds."""
    path = finished / "runs.parquet"
    rows, seed = pq.read_table(path), pc.field("seed")
    starts = range(0, pc.max(rows["seed"]).as_py() + 1, num_seeds)
    blocks = (rows.filter((seed >= i) & (seed < i + num_seeds)) for i in starts)
    stored.write_runs(out / "runs.parquet", blocks, stored.read_provenance(path))


def collapsed(runs, stage, rule):
    return counts.has(runs["outcome"], stage, rule)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("dying_relu")
    run(out)
    return out


@pytest.fixture(scope="module")
def runs(finished):
    return from_table.read(STUDY, finished)[0].runs


def not_blank(path):
    import matplotlib.image

    return matplotlib.image.imread(path).std() > 0.02


def test_writes_what_the_readme_says(finished, runs):
    assert_told(STUDY, finished)
    config = json.loads((finished / "config.json").read_text())
    assert config["config"]["seeds"] == 24
    assert {"jax", "jaxlib", "flax", "optax", "commit"} <= set(config["environment"])
    times = pd.read_csv(finished / "times.csv")
    assert {"compile_seconds", "run_seconds"} <= set(times)
    assert len(runs[runs["part"] == "study"]) == 2 * 24
    summary = pd.read_csv(finished / "summary.csv")
    columns = "activation,target,init,depth,width,loss,stage,rule,n,count,fraction,low,high"
    assert {*columns.split(","), "theory_low", "theory_high"} <= set(summary)
    assert len(summary) == 2 * 2 * 5
    assert set(summary["rule"]) == set(counts.RULES)
    judged = json.loads((finished / "claims.json").read_text())["claims"]
    assert {v["verdict"] for v in judged} <= {"supported", "refuted", "inconclusive"}
    for name in ("shares", "functions", "r2", "units"):
        assert not_blank(finished / f"{name}.png")
    assert not (finished / "parts").exists()


def test_the_study_and_the_long_budget_share_a_program(finished):
    assert (pd.read_csv(finished / "times.csv")["compile_seconds"] > 0).sum() == 1


def test_summary_agrees_with_the_runs(finished, runs):
    """Each count is one over the recorded flags; died and revived are what changed in training."""
    stages, rules = counts.STAGES, list(counts.RULES)
    for _, row in pd.read_csv(finished / "summary.csv").iterrows():
        group = runs[(runs["part"] == "study") & (runs["activation"] == row["activation"])]
        flags = table.stacked(group, "collapsed")[:, :, rules.index(row["rule"])]
        assert flags[:, stages.index(row["stage"])].sum() == row["count"]
        assert row["n"] == 24
        born, trained = flags.T
        trained_row = row["stage"] == "trained"
        assert row["died"] == (trained & ~born).sum() * trained_row
        assert row["revived"] == (born & ~trained).sum() * trained_row


def test_a_dead_network_stays_dead(runs):
    """No gradient passes a layer that is off for every input."""
    revived = collapsed(runs, "born", "zero_slope") & ~collapsed(runs, "trained", "zero_slope")
    assert not revived.any()
    dead = runs[(runs["activation"] == "relu") & collapsed(runs, "trained", "zero_slope")]
    assert collapsed(dead, "trained", "zero_range").all()
    assert (table.stacked(dead, "first_dead_layer")[:, 1] > 0).all()


def test_units_are_shares_of_each_layer(runs):
    """A unit is dead or linear, not both; and what is dormant at one threshold is so above it."""
    units = table.stacked(runs, "units")
    assert units.shape == (len(runs), 2, len(KINDS), 10)
    dead, linear, *dormant = np.moveaxis(units, 2, 0)
    assert (dead + linear <= 1).all()
    for low, high in itertools.pairwise(dormant):
        assert (low <= high).all()
    assert (np.isclose(units * 2, np.round(units * 2))).all()


def test_plots_only_redraws_without_running(finished, monkeypatch):
    monkeypatch.setattr(monte_carlo, "run_design", lambda *a, **k: pytest.fail("ran"))
    (finished / "shares.png").unlink()
    command.main(STUDY, ["--plots-only", "--out", str(finished)])
    assert not_blank(finished / "shares.png")


def test_the_same_command_again_runs_nothing(finished, capsys, monkeypatch):
    monkeypatch.setattr(monte_carlo, "run_design", lambda *a, **k: pytest.fail("ran"))
    run(finished)
    assert "already" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--seeds", "0"], ["--seeds", "0", "at least 1"]),
        (["--widths", "-2"], ["--widths", "-2", "at least 1"]),
        (["--widths", "2", "x"], ["--widths", "x", "whole number"]),
        (["--activations", "swish"], ["--activations", "swish", "relu"]),
        (["--negative-slope", "2"], ["--negative-slope", "2", "at most 1"]),
        (["--learning-rate", "nan"], ["--learning-rate", "finite"]),
        (["--depths"], ["--depths", "at least one"]),
        (["--devices", "99"], ["--devices", "99"]),
        (["--chunk-size", "0"], ["--chunk-size", "at least 1"]),
        (["--what"], ["--what"]),
        (["--plots-only"], ["--plots-only", "does not exist"]),
        (["--map"], ["--map", "scripts/born_dead.py"]),
        (["--map", "--plots-only"], ["--map", "scripts/born_dead.py"]),
    ],
)
def test_bad_flags_are_one_line_and_leave_nothing(tmp_path, capsys, flags, words):
    with pytest.raises(SystemExit) as stop:
        command.main(STUDY, ["--out", str(tmp_path / "new"), *flags])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    for word in words:
        assert word in error
    assert not list(tmp_path.rglob("*.*"))


def fails(capsys, *argv):
    with pytest.raises(SystemExit) as stop:
        command.main(STUDY, [str(a) for a in argv])
    assert stop.value.code == 2
    return capsys.readouterr().err


def test_bad_files_are_one_line_and_are_left_alone(finished, tmp_path, capsys):
    file = tmp_path / "file"
    file.write_text("mine")
    assert "is a file" in fails(capsys, "--out", file)
    assert "cannot be written" in fails(capsys, "--out", file / "below")
    assert file.read_text() == "mine"
    error = fails(capsys, "--plots-only", "--out", finished, "--depths", "3")
    assert "--depths" in error and "another configuration" in error
    good = (finished / "runs.parquet").read_bytes()
    for bad in (good[: len(good) // 2], b"", good[:100] + b"\0" * 4000 + good[4100:]):
        (tmp_path / "runs.parquet").write_bytes(bad)
        assert "runs.parquet" in fails(capsys, "--plots-only", "--out", tmp_path)
        assert (tmp_path / "runs.parquet").read_bytes() == bad


@pytest.mark.slow
def test_overflow_is_counted_and_neither_alive_nor_dead():
    config = dying_relu.Config(
        seeds=16,
        epochs=30,
        depths=(1,),
        widths=(8,),
        learning_rate=1e30,
        num_examples=64,
        long_epochs=0,
        activations=("relu",),
    )
    results = results_of(STUDY, config)
    bad = results.runs[results.runs["nonfinite"]]
    assert len(bad)
    summary = dying_relu.summarize(results)
    assert (summary["n"] + summary["nonfinite"] == 16).all()
    assert not table.stacked(bad, "collapsed")[:, 1].any()
    from_table.judge(STUDY, results)


@pytest.mark.slow
def test_products_targets_losses_and_two_dimensions():
    config = dying_relu.Config(
        seeds=6,
        epochs=1,
        num_examples=64,
        depths=(2,),
        widths=(3,),
        long_epochs=0,
        targets=("x_sin_5x", "abs_sum_diff"),
        losses=("mae",),
        inits=("rai", "normal"),
        linear_first_layer=True,
    )
    results = results_of(STUDY, config)
    runs = results.runs
    assert len(runs) == 2 * 2 * 2 * 6
    assert (np.isnan(table.stacked(runs, "constant")[:, 1]) == (runs["target"] == "x_sin_5x")).all()
    assert dying_relu.plot(results)
    summary = dying_relu.summarize(results)
    assert summary["theory_high"].notna().sum() == 2  # `normal` with ReLU, both targets


@pytest.mark.slow
def test_constant_of_a_dead_network_is_recorded_against_mean_and_median():
    config = dying_relu.Config(
        seeds=32,
        epochs=120,
        depths=(3,),
        widths=(1,),
        activations=("relu",),
        long_epochs=0,
        targets=("x_sin_5x",),
        learning_rate=1e-2,
        num_examples=640,
    )
    runs = results_of(STUDY, config).runs
    dead = runs[collapsed(runs, "trained", "zero_slope")]
    x = np.linspace(-(7**0.5), 7**0.5, 100_001)
    y = x * np.sin(5 * x)
    assert len(dead)
    for name, value in (("gap_to_mean", y.mean()), ("gap_to_median", np.median(y))):
        expected = np.abs(table.stacked(dead, "constant")[:, 0] - value) / y.std()
        np.testing.assert_allclose(dead[name], expected, atol=2e-3)


@pytest.mark.slow
def test_killed_run_resumes(tmp_path):
    command = [
        sys.executable,
        str(ROOT / "scripts" / "dying_relu.py"),
        "--seeds",
        "48",
        "--epochs",
        "40",
        "--long-epochs",
        "0",
        "--chunk-size",
        "4",
        "--depths",
        "2",
    ]
    out, whole = tmp_path / "killed", tmp_path / "whole"
    process = subprocess.Popen([*command, "--out", str(out)], stderr=subprocess.DEVNULL)
    deadline = time.time() + 120
    while len(list(out.glob("parts/*/[!.]*.npz"))) < 2 and time.time() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = {path: path.read_bytes() for path in out.glob("parts/*/[!.]*.npz")}
    assert len(kept) >= 2 and not (out / "runs.parquet").exists()
    subprocess.run([*command, "--out", str(out)], check=True, capture_output=True)
    subprocess.run([*command, "--out", str(whole)], check=True, capture_output=True)
    resumed, at_once = (list(stored.read_blocks(path / "runs.parquet")) for path in (out, whole))
    for here, there in zip(resumed, at_once, strict=True):
        for name in here:
            np.testing.assert_array_equal(table.stacked(here, name), table.stacked(there, name))


def outcomes(activations, n):
    """A table of runs with outcomes at random."""
    rng, tables = np.random.default_rng(n), []
    for activation in activations:
        setting = ("study", activation, "abs", "he_normal", 10, 2, "mse", 20)
        rows = dict(zip(counts.LABELS, setting, strict=True)) | {"seed": np.arange(n)}
        rows |= {"outcome": rng.integers(0, 2**10, n), "nonfinite": rng.random(n) < 0.1}
        tables.append(pd.DataFrame(rows | {"gap_to_mean": rng.random(n), "count": 1}))
    return pd.concat(tables, ignore_index=True).assign(gap_to_median=0.0)


@pytest.mark.parametrize("at", [0, 1, 17, 40])
def test_counts_add_over_seeds(at):
    runs = outcomes(("relu", "leaky_relu"), 40)
    whole = dying_relu.condense(runs)
    assert whole["count"].sum() == len(runs)
    halves = [runs[runs["seed"] < at], runs[runs["seed"] >= at]]
    mixed = [dying_relu.condense(halves[0]), halves[1]]  # as they are read
    for pieces in (map(dying_relu.condense, halves), mixed, [whole]):
        again = dying_relu.condense(pd.concat(pieces, ignore_index=True))
        pd.testing.assert_frame_equal(
            *(kinds.astype(str).sort_values(counts.KIND, ignore_index=True) for kinds in (again, whole))
        )


def test_bits_are_the_flags():
    flags = np.random.default_rng(0).random((64, 2, 5)) < 0.5
    runs = dying_relu.derive(pd.DataFrame({"collapsed": list(flags)}))
    for i, stage in enumerate(counts.STAGES):
        for j, rule in enumerate(counts.RULES):
            assert (counts.has(runs["outcome"], stage, rule) == flags[:, i, j]).all()


def test_pairs_are_of_the_same_seed_and_finite():
    runs = outcomes(("relu", "leaky_relu"), 500)
    finite = runs[~runs["nonfinite"]]
    relu, leaky = (finite[finite["activation"] == name].set_index("seed") for name in ("relu", "leaky_relu"))
    seeds = relu.index.intersection(leaky.index)
    halves = [runs[runs["seed"] < 200], dying_relu.condense(runs[runs["seed"] >= 200])]
    for mixed in (runs, pd.concat(halves, ignore_index=True)):
        judged, effects = from_table.judge(STUDY, Results(dying_relu.Config(), mixed, None, {}))
        for rule in ("zero_range", "range_1e-3"):
            first, second = (collapsed(rows.loc[seeds], "trained", rule) for rows in (leaky, relu))
            (verdict,) = (v for v in judged if v.id == f"leaky_lowers.{rule}")
            assert verdict.n == len(seeds)
            assert verdict.effect == pytest.approx(first.mean() - second.mean(), abs=1e-12)
            rows = effects[effects["claim"] == verdict.id]
            assert rows["count"].sum() == len(seeds)
            assert rows.loc[rows["count"] > 1, "seed"].isna().all()


def test_readings_are_the_shares_by_the_other_rules():
    runs = outcomes(("relu", "leaky_relu"), 30)
    _, effects = from_table.judge(STUDY, Results(dying_relu.Config(), runs, None, {}))
    for id_, activation, own in (("relu_above_90", "relu", "zero_slope"), ("leaky_83", "leaky_relu", "zero_range")):
        rows = runs[(runs["activation"] == activation) & ~runs["nonfinite"]]
        for rule in counts.RULES:
            read = by_claim(effects, "" if rule == own else rule)[id_]
            share = np.average(read["value"], weights=counts_of(read))
            assert share == pytest.approx(collapsed(rows, "trained", rule).mean())


def test_claims_about_missing_settings_have_no_effects():
    runs = outcomes(("relu",), 10)
    for rows in (runs.assign(depth=3), runs.assign(epochs=0)):
        judged, _ = from_table.judge(STUDY, Results(dying_relu.Config(), rows, None, {}))
        assert {(v.n, v.verdict) for v in judged} == {(0, "not tested")}


def test_claims_say_who_said_what_and_why_they_end_where_they_do():
    listed = {claim.id: claim for claim in from_table.claims_of(STUDY, dying_relu.Config())}
    assert "1903.06733" in listed["relu_above_90"].source
    assert {claim.source for id_, claim in listed.items() if id_.startswith("constant")} == {
        "Lu, Su and Karniadakis (arXiv 1808.04947)"
    }
    for claim in listed.values():
        assert claim.population and (claim.says or claim.source == "ours")
        assert claim.margin or not set(np.abs(claim.holds)) - {0, 0.9, 1, np.inf}
    # At the study's own budget no constant has arrived, whatever is true of it.
    assert [id_ for id_ in listed if id_.startswith("constant")] == [
        "constant_is_mean.long",
        "constant_is_mean.not_median",
    ]
    assert all(claim.selection for id_, claim in listed.items() if id_.startswith("constant"))


@pytest.mark.parametrize("count", [996, 830])
def test_a_share_as_reported_can_be_supported(count):
    """The notebook's own error leaves room within the margin."""
    (claim,) = (c for c in dying_relu.claims(dying_relu.Config()) if c.arguments.get("count") == count)
    found = pd.Series(np.arange(10_000) < 10 * count)
    assert rules.judge(claim.record(), as_effects(found, claim.estimand)).verdict == "supported"


def test_a_claim_rests_on_its_settings(runs, finished):
    """Without all other settings its verdict is the same."""
    results = from_table.read(STUDY, finished)[0]
    whole = {verdict.id: verdict for verdict in from_table.judge(STUDY, results)[0]}
    for verdict in whole.values():
        here = np.ones(len(runs), bool)
        for name, levels in verdict.settings.items():
            here &= runs[name].isin(np.atleast_1d(levels))
        alone = from_table.judge(STUDY, results._replace(runs=runs[here]))[0]
        (again,) = (v for v in alone if v.id == verdict.id)
        assert verdict.n and (again.n, again.verdict, again.effect) == (verdict.n, verdict.verdict, verdict.effect)


def test_many_seeds_give_the_summary_that_they_give_at_once(finished, tmp_path):
    """Blocks of five seeds: those behind the first are condensed as they are read."""
    in_blocks_of(5, finished, tmp_path)
    command.main(STUDY, ["--plots-only", "--out", str(tmp_path)])
    read = from_table.read(STUDY, tmp_path)[0].runs
    assert read["seed"].max() == 4 and "count" in read
    assert (tmp_path / "summary.csv").read_bytes() == (finished / "summary.csv").read_bytes()
    judged = (json.loads((out / "claims.json").read_text())["claims"] for out in (tmp_path, finished))
    for here, there in zip(*judged, strict=True):
        if not here["id"].startswith("constant_is_mean"):
            assert here == there
    for name in ("shares", "functions", "r2", "units"):
        assert not_blank(tmp_path / f"{name}.png")


def shapes_of(config):
    return monte_carlo.shapes_of(tasks.task_of(STUDY, config, 1))


def test_settings_of_different_depths_share_a_table():
    assert shapes_of(dying_relu.Config(depths=(2, 4)))["units"].shape == (2, len(KINDS), 4)
    array = np.asarray(padded(jnp.ones((2, 3)), 5))
    np.testing.assert_array_equal(array, [[1, 1, 1, np.nan, np.nan]] * 2)


def test_profiles_are_left_out_where_seeds_are_many(finished):
    few, many = (set(shapes_of(dying_relu.Config(seeds=n, depths=(1,), long_epochs=0))) for n in (100_000, 100_001))
    assert few - many == {"units", "curve", "constant", "first_dead_layer"}
    results = from_table.read(STUDY, finished)[0]
    results = results._replace(runs=results.runs.drop(columns=["units", "curve"]))
    assert set(dying_relu.plot(results)) == {"shares", "r2"}
