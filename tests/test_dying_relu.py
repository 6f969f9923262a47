import functools
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from jaxstudies import cli, monte_carlo, results, theory
from jaxstudies.studies import dying_relu
from jaxstudies.studies import dying_relu_counts as counts

ROOT = Path(__file__).parent.parent
SMALL = ["--seeds", "24", "--epochs", "1", "--num-examples", "128", "--long-epochs", "2"]


def run(out, *flags):
    cli.main(dying_relu, [*SMALL, "--out", str(out), *flags])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("dying_relu")
    run(out)
    return out


def not_blank(path):
    import matplotlib.image

    return matplotlib.image.imread(path).std() > 0.02


def test_writes_what_the_readme_says(finished):
    config = json.loads((finished / "config.json").read_text())
    assert config["config"]["seeds"] == 24
    assert {"jax", "jaxlib", "flax", "optax", "commit"} <= set(config["environment"])
    assert {"compile_seconds", "run_seconds"} <= set(config["settings"][0])
    runs = pd.read_parquet(finished / "runs.parquet")
    assert len(runs[runs["part"] == "study"]) == 2 * 24
    summary = pd.read_csv(finished / "summary.csv")
    columns = "activation,target,init,depth,width,loss,stage,rule,n,count,fraction,low,high"
    assert {*columns.split(","), "theory_low", "theory_high"} <= set(summary)
    assert len(summary) == 2 * 2 * 5
    assert set(summary["rule"]) == set(dying_relu.RULES)
    verdicts = json.loads((finished / "claims.json").read_text())
    assert {v["verdict"] for v in verdicts} <= {"supported", "refuted", "inconclusive"}
    for name in ("shares", "functions", "r2", "units"):
        assert not_blank(finished / f"{name}.png")
    assert not (finished / "parts").exists()


def test_summary_agrees_with_the_runs(finished):
    runs = pd.read_parquet(finished / "runs.parquet")
    runs = runs[runs["part"] == "study"]
    for _, row in pd.read_csv(finished / "summary.csv").iterrows():
        group = runs[runs["activation"] == row["activation"]]
        assert group[f"{row['stage']}_{row['rule']}"].sum() == row["count"]
        assert row["n"] == 24


def test_stages_are_consistent(finished):
    runs = pd.read_parquet(finished / "runs.parquet")
    for rule in dying_relu.RULES:
        born, trained = runs[f"born_{rule}"], runs[f"trained_{rule}"]
        assert (runs[f"died_{rule}"] == (~born & trained)).all()
        assert (runs[f"revived_{rule}"] == (born & ~trained)).all()


def test_a_dead_network_stays_dead(finished):
    """No gradient passes a layer that is off for every input."""
    runs = pd.read_parquet(finished / "runs.parquet")
    assert not runs["revived_zero_slope"].any()
    relu = runs[runs["activation"] == "relu"]
    dead = relu[relu["trained_zero_slope"]]
    assert dead["trained_zero_range"].all()
    assert (dead["trained_first_dead_layer"] > 0).all()


def test_plots_only_redraws_without_running(finished, capsys, monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError("ran")

    monkeypatch.setattr(dying_relu, "stream", fail)
    (finished / "shares.png").unlink()
    cli.main(dying_relu, ["--plots-only", "--out", str(finished)])
    assert not_blank(finished / "shares.png")


def test_the_same_command_again_runs_nothing(finished, capsys, monkeypatch):
    monkeypatch.setattr(dying_relu, "stream", lambda *a, **k: pytest.fail("ran"))
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
    ],
)
def test_bad_flags_are_one_line_and_leave_nothing(tmp_path, capsys, flags, words):
    with pytest.raises(SystemExit) as stop:
        cli.main(dying_relu, ["--out", str(tmp_path / "new"), *flags])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    for word in words:
        assert word in error
    assert not list(tmp_path.rglob("*.*"))


def fails(capsys, *argv):
    with pytest.raises(SystemExit) as stop:
        cli.main(dying_relu, [str(a) for a in argv])
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


def test_overflow_is_counted_and_neither_alive_nor_dead():
    config = dying_relu.Config(
        seeds=16, epochs=30, depths=(1,), widths=(8,), learning_rate=1e30, num_examples=64,
        long_epochs=0, activations=("relu",),
    )  # fmt: skip
    runs = dying_relu.run(config)
    assert runs["nonfinite"].any()
    summary = dying_relu.summarize(runs)
    assert (summary["n"] + summary["nonfinite"] == 16).all()
    bad = runs[runs["nonfinite"]]
    assert not bad[[f"trained_{rule}" for rule in dying_relu.RULES]].any(axis=None)
    dying_relu.judge(runs)


@pytest.mark.parametrize("init", ["he_normal", "glorot_uniform"])
def test_born_dead_share_lies_within_the_theory(init):
    """Every depth and width, bounds and the exact value, within four standard errors."""
    n = 4000
    config = dying_relu.Config(
        map=True, seeds=n, inits=(init,), depths=(1, 2, 5, 10), widths=(2, 3, 5)
    )
    summary = dying_relu.summarize(dying_relu.run(config))
    for _, row in summary.iterrows():
        low, high = theory.born_dead_bounds(row["depth"], row["width"])
        if row["depth"] == 2:
            low = high = theory.born_dead_two_layers(row["width"])
        margin = 4 * np.sqrt(max(high * (1 - high), low * (1 - low)) / n)
        assert low - margin <= row["fraction"] <= high + margin
        assert (row["theory_low"], row["theory_high"]) == theory.born_dead_bounds(
            row["depth"], row["width"]
        )


def test_the_map_at_birth_agrees_with_networks_of_each_depth():
    n = 2000
    shape = {"seeds": n, "activations": ("relu",), "depths": (3,), "widths": (2,)}
    mapped = dying_relu.summarize(dying_relu.run(dying_relu.Config(map=True, **shape)))
    direct = dying_relu.summarize(dying_relu.run(dying_relu.Config(epochs=0, **shape)))
    row = mapped[mapped["depth"] == 3].iloc[0]
    other = direct[(direct["stage"] == "born") & (direct["rule"] == "zero_slope")].iloc[0]
    error = np.sqrt(2 * row["fraction"] * (1 - row["fraction"]) / n)
    assert row["fraction"] == pytest.approx(other["fraction"], abs=4 * error)


def test_the_map_with_training(tmp_path):
    cli.main(
        dying_relu,
        ["--map", "--epochs", "1", "--seeds", "8", "--depths", "1", "3", "--widths", "2",
         "--num-examples", "64", "--out", str(tmp_path)],
    )  # fmt: skip
    summary = pd.read_csv(tmp_path / "summary.csv")
    born = summary[(summary["stage"] == "born") & (summary["epochs"] == 0)]
    assert len(born) == 2 and (born["n"] >= 20_000).all()
    assert (summary[summary["stage"] == "trained"]["n"] == 8).all()
    assert not_blank(tmp_path / "map.png")
    for flags in ([], ["--map"], ["--map", "--seeds", "8"]):
        (tmp_path / "map.png").unlink()
        cli.main(dying_relu, ["--plots-only", "--out", str(tmp_path), *flags])
        assert not_blank(tmp_path / "map.png")


def test_products_targets_losses_and_two_dimensions():
    config = dying_relu.Config(
        seeds=6, epochs=1, num_examples=64, depths=(2,), widths=(3,), long_epochs=0,
        targets=("x_sin_5x", "abs_sum_diff"), losses=("mae",), inits=("rai", "normal"),
        linear_first_layer=True,
    )  # fmt: skip
    runs = dying_relu.run(config)
    assert len(runs) == 2 * 2 * 2 * 6
    assert runs["constant_2"].isna().sum() == len(runs) / 2
    assert dying_relu.plot(runs)
    summary = dying_relu.summarize(runs)
    assert summary["theory_high"].notna().sum() == 2  # `normal` with ReLU, both targets


def test_constant_of_a_dead_network_is_recorded_against_mean_and_median():
    config = dying_relu.Config(
        seeds=32, epochs=120, depths=(3,), widths=(1,), activations=("relu",), long_epochs=0,
        targets=("x_sin_5x",), learning_rate=1e-2, num_examples=640,
    )  # fmt: skip
    runs = dying_relu.run(config)
    dead = runs[runs["trained_zero_slope"]]
    x = np.linspace(-(7**0.5), 7**0.5, 100_001)
    y = x * np.sin(5 * x)
    assert len(dead)
    for name, value in (("gap_to_mean", y.mean()), ("gap_to_median", np.median(y))):
        expected = np.abs(dead["constant_1"] - value) / y.std()
        np.testing.assert_allclose(dead[name], expected, atol=2e-3)


@pytest.mark.slow
def test_killed_run_resumes(tmp_path):
    command = [sys.executable, str(ROOT / "scripts" / "dying_relu.py"), "--seeds", "48",
               "--epochs", "40", "--long-epochs", "0", "--chunk-size", "4",
               "--depths", "2"]  # fmt: skip
    out, whole = tmp_path / "killed", tmp_path / "whole"
    process = subprocess.Popen([*command, "--out", str(out)], stderr=subprocess.DEVNULL)
    deadline = time.time() + 120
    while len(list(out.glob("parts/*/*.npz"))) < 2 and time.time() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = list(out.glob("parts/*/*.npz"))
    assert len(kept) >= 2 and not (out / "runs.parquet").exists()
    subprocess.run([*command, "--out", str(out)], check=True, capture_output=True)
    subprocess.run([*command, "--out", str(whole)], check=True, capture_output=True)
    resumed = json.loads((out / "config.json").read_text())["settings"]
    assert sum(setting["seeds_run"] for setting in resumed) <= 2 * 48 - 4 * len(kept)
    assert results.read_runs(out / "runs.parquet").equals(results.read_runs(whole / "runs.parquet"))


def outcomes(part, activations, n):
    """A table of runs with outcomes at random; on the map nothing is trained."""
    rng, tables = np.random.default_rng(n), []
    names = [name for name in counts.KIND if name.endswith(tuple(counts.RULES))]
    for activation in activations:
        setting = (part, activation, "abs", "he_normal", 10, 2, "mse", 20)
        table = dict(zip(counts.LABELS, setting, strict=True)) | {"seed": np.arange(n)}
        table["born_first_dead_layer"] = rng.integers(0, 11, n)
        if part == "study":
            table |= {name: rng.random(n) < 0.5 for name in names}
            table |= {"nonfinite": rng.random(n) < 0.1, "gap_to_mean": rng.random(n)}
        tables.append(pd.DataFrame(table))
    return pd.concat(tables, ignore_index=True)


@pytest.mark.parametrize("at", [0, 1, 17, 40])
def test_counts_add_over_seeds(at):
    runs = pd.concat(
        [outcomes("study", ("relu", "leaky_relu"), 40), outcomes("map", ("relu",), 60)],
        ignore_index=True,
    )
    whole = dying_relu.condense(runs)
    assert whole["count"].sum() == len(runs)
    halves = [runs[runs["seed"] < at], runs[runs["seed"] >= at]]
    mixed = [dying_relu.condense(halves[0]), halves[1]]  # as they are read
    for pieces in (map(dying_relu.condense, halves), mixed, [whole]):
        again = dying_relu.condense(pd.concat(pieces, ignore_index=True))
        pd.testing.assert_frame_equal(*(
            kinds.astype(str).sort_values(counts.KIND, ignore_index=True)
            for kinds in (again, whole)
        ))  # fmt: skip


def test_the_map_expands_counts_and_nothing_that_trained_networks_have():
    """Twenty copies of hundreds of columns of every network took six gigabytes."""
    births = outcomes("map", ("relu",), 3000).assign(trained_r2=np.nan)
    births["born_first_dead_layer"] = [0, 2, 5] * 1000
    expanded = counts.expand_depths(dying_relu.condense(births), [1, 2, 5])
    assert "trained_r2" not in expanded and len(expanded) == 3 * 3
    dead = expanded[expanded["born_zero_slope"]].groupby("depth")["count"].sum()
    assert dead.to_dict() == {2: 1000, 5: 2000}


def test_pairs_are_of_the_same_seed_and_finite():
    runs = outcomes("study", ("relu", "leaky_relu"), 500)
    finite = runs[~runs["nonfinite"]]
    relu, leaky = (
        finite[finite["activation"] == name].set_index("seed") for name in ("relu", "leaky_relu")
    )
    seeds = relu.index.intersection(leaky.index)
    for rule in dying_relu.RULES:
        first, second = (table.loc[seeds, f"trained_{rule}"] for table in (leaky, relu))
        (verdict,) = (v for v in dying_relu.judge(runs) if v.id == f"leaky_lowers.{rule}")
        assert verdict.n == len(seeds)
        assert verdict.effect == pytest.approx(first.mean() - second.mean(), abs=1e-12)


def test_many_seeds_give_the_summary_that_they_give_at_once(finished, tmp_path, monkeypatch):
    monkeypatch.setattr(monte_carlo, "LEAST_SEEDS", 5)
    stream = functools.partial(monte_carlo.stream_settings, rows_at_once=1)
    monkeypatch.setattr(monte_carlo, "stream_settings", stream)
    run(tmp_path)
    read = results.read_runs(tmp_path / "runs.parquet", dying_relu.condense)
    assert read["seed"].max() == 4 and "count" in read
    assert (tmp_path / "summary.csv").read_bytes() == (finished / "summary.csv").read_bytes()
    verdicts = (json.loads((out / "claims.json").read_text()) for out in (tmp_path, finished))
    for here, there in zip(*verdicts, strict=True):
        if not here["id"].startswith("constant_is_mean"):
            assert here == there
    for name in ("shares", "functions", "r2", "units"):
        assert not_blank(tmp_path / f"{name}.png")
