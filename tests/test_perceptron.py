"""The perceptron study: its rules against definitions, closed forms and bounds."""

import itertools
import json
from functools import partial

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from reading import assert_told

import jaxstudies
from jaxstudies import results as from_table
from jaxstudies import study
from jaxstudies.commands import command
from jaxstudies.engine import design, monte_carlo
from jaxstudies.engine.monte_carlo import Task
from jaxstudies.evidence import theory
from jaxstudies.networks.data import half_square
from jaxstudies.output.table import to_pandas
from jaxstudies.studies import perceptron
from jaxstudies.studies.perceptron.config import RULES
from jaxstudies.studies.perceptron.figures import plot_accuracy
from jaxstudies.studies.perceptron.rules import Learners, bayes_point, hard_margin, train
from jaxstudies.studies.perceptron.summary import KEYS

STUDY = study.from_module(perceptron)


@pytest.fixture(scope="module")
def runs():
    config = perceptron.Config(num_train=(5, 20), convergence_epochs=300, map=False)
    made = design.make_design(perceptron.simulate, perceptron.settings(config))
    blocks, *_ = monte_carlo.run_design(Task(perceptron.simulate, made, 2000))
    return perceptron.derive(pd.concat(map(to_pandas, blocks), ignore_index=True))


def by_hand(signed, rate, margin, epochs):
    w, total, updates, active = np.zeros(2), np.zeros(2), 0, True
    for _ in range(epochs):
        before = updates
        epoch_sum = np.zeros(2)
        for z in signed.T:
            if w @ z <= margin:
                w = w + rate * z
                updates += 1
            epoch_sum += w
        total += epoch_sum if active else 0
        active = updates > before
    return w, total, updates


def sets(num_sets, size, seed=0):
    data = jax.vmap(half_square, (0, None))(jax.random.split(jax.random.key(seed), num_sets), size)
    return jnp.moveaxis(data.inputs * data.targets, 0, -1).swapaxes(0, 1)


def learners(*rows):
    """Make learners from tuples of learning rate, margin, whether averaged, and budgets."""
    rates, margins, averaged, epochs = map(jnp.array, zip(*rows, strict=True))
    return Learners(rates, margins, averaged, epochs)


@pytest.mark.parametrize("margin", [0.0, 1.0])
def test_training_is_the_sequential_loop(margin):
    signed, budgets = sets(4, 12), (3, 7)
    # A rate that is a power of two, so that float32 and float64 tell the same points apart.
    kinds = [(0.5, margin, averaged, budgets) for averaged in (False, True)]
    trained = train(signed, jnp.int32(10), learners(*kinds))
    for i, averaged, (budget, epochs) in itertools.product(range(4), (0, 1), enumerate(budgets)):
        w, total, updates = by_hand(np.asarray(signed[:, :10, i], float), 0.5, margin, epochs)
        assert trained.updates[averaged, budget, i] == updates
        # Sums over the steps of all epochs round more.
        expected, tolerance = (total, 1e-4) if averaged else (w, 1e-5)
        np.testing.assert_allclose(trained.weights[averaged, budget, :, i], expected, tolerance, tolerance)


def test_perceptron_does_not_depend_on_learning_rate():
    rates = jnp.array([2.0**-7, 1.0, 2.0**5])  # powers of two scale W without rounding
    trained = train(sets(50, 20), jnp.int32(20), learners(*((rate, 0.0, False, (20,)) for rate in rates)))
    scaled = trained.weights / rates[:, None, None, None]
    assert (scaled == scaled[:1]).all()
    assert (trained.updates == trained.updates[:1]).all()


@pytest.mark.slow
def test_mapped_learners_and_sets_are_looped_ones():
    points = jnp.stack([sets(2, 8, seed) for seed in range(3)])
    one = [(0.5, 0.0, False, (2, 4)), (0.25, 1.0, False, (1, 2)), (0.5, 0.0, True, (3, 4))]
    rows = learners(*one)

    def per_set(signed):
        each = jax.tree.map(lambda a: a[:, None], rows)
        return jax.vmap(lambda row: train(signed, jnp.int32(8), row))(each)

    mapped = jax.jit(jax.vmap(per_set))(points)
    for i, j in itertools.product(range(3), range(3)):
        alone = train(points[i], jnp.int32(8), learners(one[j]))
        for got, expected in zip(mapped, alone, strict=True):
            np.testing.assert_allclose(got[i, j], expected, rtol=1e-6)


def test_points_and_learners_mapped_at_once_are_refused():
    points, rows = jnp.stack([sets(2, 8)] * 2), learners((0.5, 0.0, False, (4,)), (0.5, 1.0, False, (4,)))
    with pytest.raises(NotImplementedError, match="not both at once"):
        jax.vmap(lambda s, r: train(s, jnp.int32(8), jax.tree.map(lambda a: a[None], r)))(points, rows)


def test_a_smaller_set_is_the_beginning_of_a_larger_one():
    key, epochs = jax.random.key(4), jnp.array([20])
    exact, padded = (jax.jit(partial(perceptron.simulate, max_train=most, num_test=50)) for most in (10, 25))
    for place, rule in enumerate(RULES):
        arguments = key, jnp.array([place]), jnp.int32(10), jnp.float32(0.5), jnp.float32(0), epochs
        for name, value in exact(*arguments).items():
            same = padded(*arguments)[name]
            np.testing.assert_allclose(same, value, rtol=1e-5, err_msg=f"{rule}: {name}")


def test_notebooks_weights():
    accuracy = theory.half_square_accuracy(jnp.array([0.0694, 7.06]), jnp.array([-0.0911, -7.85]))
    # The weights are quoted to half of their last digit, which moves p/q by up to 0.0012 and the
    # accuracy by half of that.
    np.testing.assert_allclose(accuracy, [0.8812, 0.9499], atol=6e-4)


SIGNS = [(1, -0.6), (0.3, -1), (-1, 0.6), (-0.3, 1), (1, 1), (-1, -2), (1, 0), (0, 1), (-1, 0), (0, -1), (0, 0)]


@pytest.mark.parametrize("w", SIGNS)
def test_closed_form_accuracy_against_a_million_points(w):
    n = 1_000_000
    data = half_square(jax.random.key(1), n)
    predicted = np.where(np.asarray(data.inputs) @ np.array(w, np.float32) >= 0, 1, -1)
    measured = np.mean(predicted == np.asarray(data.targets)[:, 0])
    exact = float(theory.half_square_accuracy(float(w[0]), float(w[1])))
    assert abs(measured - exact) < 4 * np.sqrt(0.25 / n)


def test_closed_form_flips_against_a_million_points():
    n, w = 1_000_000, np.array(SIGNS, np.float32)
    above = np.asarray(half_square(jax.random.key(2), n).inputs) @ w.T >= 0
    measured = np.array([[np.mean(a != b) for b in above.T] for a in above.T])
    exact = theory.half_square_flips(w[:, None, 0], w[:, None, 1], w[None, :, 0], w[None, :, 1])
    # 121 pairs of weights: five standard errors.
    np.testing.assert_allclose(measured, exact, atol=5 * np.sqrt(0.25 / n))


def test_weights_that_are_not_finite_have_no_flips():
    for w in [(np.nan, 1.0), (np.inf, np.nan), (np.inf, -np.inf)]:
        assert np.isnan(theory.half_square_flips(*w, 1.0, -1.0)) and np.isnan(theory.half_square_accuracy(*w))


def test_hard_margin_is_the_nearest_point_of_the_convex_hull():
    signed = np.asarray(sets(40, 8, seed=2), float)
    for points in np.moveaxis(signed, -1, 0):
        norms = []
        for a, b in itertools.combinations_with_replacement(points.T, 2):
            d = b - a
            t = np.clip(-(a @ d) / max(d @ d, 1e-30), 0, 1)
            norms.append(np.linalg.norm(a + t * d))
        w, gamma = jax.jit(hard_margin)(jnp.asarray(points, jnp.float32), jnp.ones(8, bool))
        np.testing.assert_allclose(gamma, min(norms), atol=2e-6)
        np.testing.assert_allclose(np.linalg.norm(w), 1, rtol=1e-6)


def test_bayes_point_error_is_exact():
    n, num_sets = 3, 4000
    signed = jnp.moveaxis(sets(num_sets, n, seed=3), -1, 0)
    w = jax.vmap(bayes_point, (0, None))(signed, jnp.ones(n, bool))
    errors = 1 - np.asarray(theory.half_square_accuracy(w[:, 0], w[:, 1]))
    standard_error = errors.std() / np.sqrt(num_sets)
    assert abs(errors.mean() - theory.bayes_point_error(n)) < 4 * standard_error


def test_updates_stay_below_novikoffs_bound(runs):
    for rule in ("perceptron", "hinge"):
        rows = runs[runs["rule"] == rule]
        # gamma is found to 1e-6; the bound grows as gamma shrinks.
        bound = theory.novikoff_bound(
            rows["radius"].to_numpy(), rows["gamma"].to_numpy() - 1e-6, 1.0 if rule == "hinge" else 0.0, 0.1
        )
        assert (rows["updates"] <= bound * (1 + 1e-5)).all()


def test_single_class_sets_have_their_probability():
    n, num_sets = 5, 20_000

    def single(key):
        classes = half_square(key, n).targets[:, 0]
        return {"single": jnp.all(classes == classes[:1])}

    share = jaxstudies.map_seeds(single, num_seeds=num_sets)["single"].mean()
    p = 2.0 ** (1 - n)
    assert abs(share - p) < 4 * np.sqrt(p * (1 - p) / num_sets)


def test_converged_perceptron_svm_and_bayes_point_are_consistent(runs):
    rows = runs[runs["rule"].isin(["perceptron", "svm", "bayes_point"]) & runs["converged"]]
    assert rows["consistent"].mean() > 1 - 1e-3  # float32 may misplace a point on the boundary


def test_test_points_agree_with_closed_form(runs):
    for measure in ("accuracy", "flip_fraction"):
        difference = (runs[f"test_{measure}"] - runs[measure]).groupby([runs["rule"], runs["seed"]])
        means = difference.mean().groupby("rule").agg(["mean", "sem"])
        assert (means["mean"].abs() < 4 * means["sem"]).all()


def test_judged_on_all_sets_is_the_end_of_the_map():
    listed = [setting.labels for setting in perceptron.settings(perceptron.Config())]
    [perceptron_end, hinge_end] = [labels for labels in listed if labels["part"] == "trained_out"]
    assert (perceptron_end["rule"], hinge_end["rule"]) == ("perceptron", "hinge")
    seeds = {
        setting.num_seeds
        for setting in perceptron.settings(perceptron.Config())
        if setting.labels["part"] in ("study", "trained_out")
    }
    assert seeds == {None}


def judged_by_id(perceptron_rows, hinge_rows):
    """Judge two runs of each rule, given (flips, accuracy) of each, at 200 epochs and the study's own rate."""
    config = perceptron.Config(seeds=2, epochs=(50, 200), convergence_epochs=0, map=False)
    shape = {"part": "study", "num_train": 20, "learning_rate": 0.1, "epochs": 200.0}
    shape |= {"consistent": True, "converged": True}
    rules = [("perceptron", 0.0, perceptron_rows), ("hinge", 1.0, hinge_rows)]
    rows = [
        shape | {"rule": rule, "margin": margin, "seed": seed, "flip_fraction": flips, "accuracy": accuracy}
        for rule, margin, seeds in rules
        for seed, (flips, accuracy) in enumerate(seeds)
    ]
    results = study.Results(config, pd.DataFrame(rows), pd.DataFrame(), {})
    return {verdict.id: verdict for verdict in from_table.judge(STUDY, results)[0]}


def test_weights_that_are_not_finite_flip_nothing_and_are_not_judged():
    stable = judged_by_id([(0.3, 0.9)] * 2, [(0.0, np.nan)] * 2)["hinge_stable.200"]
    assert stable.n == 0 and stable.verdict == "not tested"


def test_rules_that_do_the_same_support_nothing():
    same = [(0.1 * (i % 3), 0.9 + 0.001 * i) for i in range(60)]
    verdicts = judged_by_id(same, same)
    assert {id_: verdict.verdict for id_, verdict in verdicts.items()} == {
        "hinge_accurate.notebook": "not tested",
        "hinge_stable.notebook": "not tested",
        "hinge_accurate.200": "inconclusive",
        "hinge_stable.200": "inconclusive",
        "hinge_accurate.trained_out": "not tested",
        "hinge_stable.trained_out": "not tested",
        "hinge_accurate.converged": "inconclusive",
        "hinge_tail.notebook": "not tested",
        "hinge_tail.trained_out": "not tested",
    }


def test_claims_say_who_said_what_of_which_runs():
    config = perceptron.Config()
    listed = {claim.id: claim for claim in from_table.claims_of(STUDY, config)}
    notebook = {id_ for id_, claim in listed.items() if claim.source != "ours"}
    assert notebook == {"hinge_accurate.notebook", "hinge_stable.notebook"}
    assert all(listed[id_].says and listed[id_].where for id_ in notebook)
    assert {id_ for id_, claim in listed.items() if claim.selection} == {"hinge_accurate.converged"}
    assert not listed["hinge_accurate.converged"].primary
    labels = [setting.labels for setting in perceptron.settings(config)]
    for claim in listed.values():
        assert claim.population
        # A tie is no support.
        assert claim.ends[claim.holds.index(0)] in "()"
        both = {
            label["rule"] for label in labels if all(label[name] in levels for name, levels in claim.settings.items())
        }
        assert both == {"hinge", "perceptron"}


def test_without_a_pair_of_rules_there_are_no_differences_to_draw():
    rows = pd.DataFrame({"rule": "hinge", "num_train": 1, "learning_rate": 0.1, "margin": 1.0, "epochs": [1.0] * 2})
    figure = plot_accuracy(rows.assign(accuracy=0.4, seed=0)[:1])
    errors, gains = figure.axes
    assert not gains.axison
    # A single set, however large its error, is seen.
    (line,) = errors.lines
    ((x, y),) = line.get_xydata()
    assert errors.viewLim.contains(x, y) and line.get_marker() == "o"
    plt.close(figure)


@pytest.mark.parametrize(("epochs", "said"), [([5, 10], "10 epochs each"), ([50, 200], "perceptron 50, hinge 200")])
def test_differences_are_said_to_be_of_the_budgets_that_they_are_of(epochs, said):
    columns = {"num_train": 1, "learning_rate": 0.1, "margin": 1.0}
    rows = pd.DataFrame(
        list(itertools.product(["hinge", "perceptron"], epochs, range(4))), columns=["rule", "epochs", "seed"]
    )
    rows = rows.assign(**columns, accuracy=np.random.default_rng(0).random(len(rows))).astype({"epochs": float})
    figure = plot_accuracy(rows)
    labels = figure.axes[1].get_legend_handles_labels()[1]
    assert labels[0].startswith(said) and len(labels) == len({*epochs} & {50, 200}) / 2 + 1
    plt.close(figure)


@pytest.mark.usefixtures("hastily")
@pytest.mark.slow
def test_script_runs_small(tmp_path, capsys):
    argv = ["--seeds", "40", "--convergence-epochs", "60", "--num-test", "50"]
    command.main(STUDY, [*argv, "--epochs", "5", "10", "--out", str(tmp_path)])
    assert_told(STUDY, tmp_path)
    summary = pd.read_csv(tmp_path / "summary.csv")
    assert list(summary)[:13] == [
        "rule",
        "num_train",
        "learning_rate",
        "epochs",
        "n",
        "mean_accuracy",
        "low",
        "high",
        "sd",
        "q05",
        "consistent",
        "flip_fraction",
        "theory_accuracy",
    ]
    assert set(summary["rule"]) == set(perceptron.Config().rules)
    assert not summary.duplicated(KEYS).any()
    judged = {verdict["id"]: verdict for verdict in json.loads((tmp_path / "claims.json").read_text())["claims"]}
    tested = {id_: verdict["n"] for id_, verdict in judged.items() if verdict["n"]}
    assert tested == {f"hinge_{name}.trained_out": 40 for name in ("accurate", "stable", "tail")}
    for name in ("example", "accuracy", "learning_curve", "map", "novikoff"):
        assert (tmp_path / f"{name}.png").stat().st_size > 10_000
    with pytest.raises(SystemExit) as stop:
        command.main(STUDY, ["--num-train", "0", "--out", str(tmp_path)])
    assert stop.value.code == 2
    assert "--num-train 0" in capsys.readouterr().err


@pytest.mark.slow
def test_few_rules_and_one_set(tmp_path):
    argv = ["--seeds", "1", "--rules", "svm", "--num-train", "4", "6", "--no-map"]
    command.main(STUDY, [*argv, "--out", str(tmp_path)])
    assert (tmp_path / "summary.csv").exists()


def test_a_setting_that_stands_in_two_parts_is_summed_up_over_most_runs():
    labels = {"rule": "hinge", "num_train": 20, "learning_rate": 10.0, "epochs": 5.0, "margin": 1.0}
    measures = dict.fromkeys(("consistent", "flip_fraction", "converged", "updates", "test_accuracy"), 0.0)
    measures["test_flip_fraction"] = 0.0
    parts = [("map", [0.9, 0.8]), ("trained_out", [0.9, 0.8, 0.7])]
    rows = [labels | measures | {"part": part, "accuracy": a} for part, many in parts for a in many]
    results = study.Results(perceptron.Config(), pd.DataFrame(rows), pd.DataFrame(), {})
    summary = perceptron.summarize(results)
    assert summary["n"].tolist() == [3]
