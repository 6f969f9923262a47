"""The map of born-dead networks, held against theory and against networks of each depth."""

import json
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from reading import assert_told
from test_dying_relu import in_blocks_of, not_blank, results_of

from jaxstudies import results as from_table
from jaxstudies.commands import command
from jaxstudies.evidence import theory
from jaxstudies.studies import born_dead, dying_relu
from jaxstudies.study import Results, load

STUDY = load("born_dead")


def births(first_dead_layers):
    """A table of births, derived as it is when it is read."""
    labels = ("map", "relu", "abs", "he_normal", 5, 2, "mse", 0)
    rows = dict(zip(born_dead.KIND, labels, strict=False))
    layers = np.array(first_dead_layers)
    runs = pd.DataFrame(rows | {"seed": np.arange(len(layers)), "first_dead_layer": layers})
    return born_dead.derive(runs).assign(count=1)


@pytest.mark.slow
@pytest.mark.parametrize("init", ["he_normal", "glorot_uniform"])
def test_born_dead_share_lies_within_the_theory(init):
    """Every depth and width, bounds and the exact value, within four standard errors."""
    n = 4000
    config = born_dead.Config(seeds=n, init=init, depths=(1, 2, 5, 10), widths=(2, 3, 5))
    summary = born_dead.summarize(results_of(STUDY, config))
    assert len(summary) == 4 * 3
    for _, row in summary.iterrows():
        low, high = theory.born_dead_bounds(row["depth"], row["width"])
        if row["depth"] == 2:
            low = high = theory.born_dead_two_layers(row["width"])
        margin = 4 * np.sqrt(max(high * (1 - high), low * (1 - low)) / n)
        assert low - margin <= row["fraction"] <= high + margin
        assert (row["theory_low"], row["theory_high"]) == theory.born_dead_bounds(row["depth"], row["width"])


@pytest.mark.slow
def test_the_map_agrees_with_the_networks_of_dying_relu():
    """At birth within four standard errors, as the draws differ; trained exactly."""
    n = 2000
    shape = {"seeds": n, "epochs": 1, "num_examples": 64, "depths": (3,), "widths": (2,)}
    config = dying_relu.Config(long_epochs=0, activations=("relu",), **shape)
    direct = dying_relu.summarize(results_of(load("dying_relu"), config))
    config = born_dead.Config(trained_seeds=n, **shape)
    mapped = born_dead.summarize(results_of(STUDY, config))
    (row,) = (row for _, row in mapped[mapped["epochs"] == 0].iterrows())
    other = direct[(direct["stage"] == "born") & (direct["rule"] == "zero_slope")].iloc[0]
    error = np.sqrt(2 * row["fraction"] * (1 - row["fraction"]) / n)
    assert row["fraction"] == pytest.approx(other["fraction"], abs=4 * error)
    columns = ["stage", "rule", "n", "count", "died", "revived"]
    here, there = mapped.loc[mapped["epochs"] > 0, columns], direct[columns]
    pd.testing.assert_frame_equal(here.reset_index(drop=True), there)


SMALL = "--depths 1 3 --widths 2 --seed 3"


def run(out, flags):
    command.main(STUDY, [*SMALL.split(), *flags.split(), "--out", str(out)])
    return out


@pytest.fixture(scope="module")
def born(tmp_path_factory):
    return run(tmp_path_factory.mktemp("born"), "")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return run(tmp_path_factory.mktemp("trained"), "--epochs 1 --trained-seeds 8 --num-examples 64")


@pytest.mark.slow
def test_the_map_with_training(trained):
    assert_told(STUDY, trained)
    summary = pd.read_csv(trained / "summary.csv")
    born = summary[(summary["stage"] == "born") & (summary["epochs"] == 0)]
    assert len(born) == 2 and (born["n"] >= 20_000).all()
    rows = summary[summary["stage"] == "trained"]
    assert len(rows) == 2 * 5 and (rows["n"] == 8).all()
    assert not_blank(trained / "map.png")
    assert json.loads((trained / "claims.json").read_text())["claims"] == []
    for more in ([], ["--epochs", "1"], ["--trained-seeds", "8"]):
        (trained / "map.png").unlink()
        command.main(STUDY, ["--plots-only", "--out", str(trained), *more])
        assert not_blank(trained / "map.png")


def test_the_map_expands_counts_and_nothing_that_trained_networks_have():
    """Twenty copies of hundreds of columns of every network took six gigabytes."""
    runs = births([0, 2, 5] * 1000).assign(r2=np.nan)
    expanded = born_dead.expand_depths(born_dead.condense(runs), [1, 2, 5])
    assert "r2" not in expanded and len(expanded) == 3 * 3
    dead = expanded[expanded["outcome"] > 0].groupby("depth")["count"].sum()
    assert dead.to_dict() == {2: 1000, 5: 2000}


@pytest.mark.parametrize(("depths", "widths"), [((10,), (2, 5)), ((1, 2), (3,)), ((4,), (2,))])
def test_a_map_of_one_depth_or_width_shows_it(depths, widths):
    runs = pd.concat([births([0, 2, 5]).assign(width=width) for width in widths], ignore_index=True)
    config = born_dead.Config(depths=depths, widths=widths)
    (figure,) = born_dead.plot(Results(config, runs, pd.DataFrame(), {})).values()
    for ax in figure.axes[:-1]:
        (mesh,) = ax.collections
        corners = mesh.get_coordinates()
        assert np.ptp(corners[..., 0]) >= 1 and np.ptp(corners[..., 1]) >= 1
        assert corners.shape == (len(depths) + 1, len(widths) + 1, 2)
        assert len(ax.lines) == 2
    plt.close(figure)
    # Of an initialization that is not symmetric theory says nothing.
    unbounded = Results(replace(config, init="rai"), runs.assign(init="rai"), pd.DataFrame(), {})
    (figure,) = born_dead.plot(unbounded).values()
    assert not any(ax.lines for ax in figure.axes)
    plt.close(figure)


@pytest.mark.parametrize("at", [0, 1, 17, 60])
def test_counts_add_over_seeds(at):
    runs = births(np.random.default_rng(0).integers(0, 6, 60))
    whole = born_dead.condense(runs)
    assert whole["count"].sum() == len(runs)
    halves = [runs[runs["seed"] < at], runs[runs["seed"] >= at]]
    for pieces in (map(born_dead.condense, halves), [born_dead.condense(halves[0]), halves[1]]):
        again = born_dead.condense(pd.concat(pieces, ignore_index=True))
        pd.testing.assert_frame_equal(
            *(kinds.astype(str).sort_values("first_dead_layer", ignore_index=True) for kinds in (again, whole))
        )


@pytest.mark.parametrize("of", ["born", pytest.param("trained", marks=pytest.mark.slow)])
@pytest.mark.slow
def test_many_seeds_give_the_summary_that_they_give_at_once(of, request, tmp_path):
    finished = request.getfixturevalue(of)
    in_blocks_of(3000, finished, tmp_path)
    command.main(STUDY, ["--plots-only", "--out", str(tmp_path)])
    read = from_table.read(STUDY, tmp_path)[0].runs
    assert read["seed"].max() == 2999 and len(read) < 4000
    one, other = (path / "summary.csv" for path in (finished, tmp_path))
    assert one.read_bytes() == other.read_bytes()
