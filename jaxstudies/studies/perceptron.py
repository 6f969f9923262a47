"""Perceptron criterion against hinge loss: which separates the half square better?

Points are uniform in the unit square, of class +1 where x1 > x2. A linear classifier without bias
learns from 20 of them, by sequential updates from W = 0, and is held to the closed form of its
accuracy and to 1,000 test points. The study does so for thousands of pairs of training sets, with
other rules beside the two: averaged perceptron, hard-margin SVM, middle of the version space.
"""

from dataclasses import dataclass
from functools import cache, partial
from itertools import product
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from annotated_types import Gt, Interval
from matplotlib.figure import Figure
from scipy.stats import bootstrap

from jaxstudies import monte_carlo, stats, theory
from jaxstudies.claims import Claim, Verdict, judge_region
from jaxstudies.data import half_square
from jaxstudies.studies import perceptron_figures as figures
from jaxstudies.studies.perceptron_rules import bayes_point, hard_margin, train

RuleName = Literal["perceptron", "hinge", "averaged_perceptron", "svm", "bayes_point"]
CLOSED = ("svm", "bayes_point")
"""Rules without a learning rate and epochs."""

MAP_RATES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
MAP_EPOCHS = (1, 2, 5, 10, 20, 50, 100, 200, 500)
CURVE_SIZES = (5, 10, 20, 50, 100, 200)
SIDE_SETS = 2000
"""Training sets per cell of the map and point of the learning curve, at most."""

KEYS = ["rule", "num_train", "learning_rate", "epochs", "margin"]
LEARNERS = ["rule", "learning_rate", "epochs", "margin"]


@dataclass(frozen=True)
class Config:
    """What is simulated. Flags that take lists run every combination."""

    seeds: Annotated[int, Interval(ge=1, le=10**9)] = 20_000
    """Pairs of independent training sets per setting."""
    seed: Annotated[int, Interval(ge=0, le=2**32 - 1)] = 0
    """Master seed; the i-th pair depends on it and on i alone."""
    num_train: tuple[Annotated[int, Interval(ge=1, le=10_000)], ...] = (20,)
    """Training points; the first size is the one judged. With a single size, a learning curve over
    5 to 200 points is run beside it, on up to 2,000 sets."""
    rules: tuple[RuleName, ...] = (
        "perceptron", "hinge", "averaged_perceptron", "svm", "bayes_point",
    )  # fmt: skip
    """Learning rules, paired on the same training and test points."""
    learning_rates: tuple[Annotated[float, Gt(0)], ...] = (0.1,)
    """Learning rates of perceptron, averaged perceptron and hinge; the first is the one judged."""
    epochs: tuple[Annotated[int, Interval(ge=1, le=10**6)], ...] = (50, 200)
    """Budgets of training: passes through the points."""
    convergence_epochs: Annotated[int, Interval(ge=0, le=10**6)] = 1000
    """A long budget beside them, for results at convergence; 0 leaves it out."""
    margins: tuple[Annotated[float, Gt(0)], ...] = (1.0,)
    """The hinge's a in the loss max(0, a - y W.x); the first is the one judged."""
    num_test: Annotated[int, Interval(ge=1, le=100_000)] = 1000
    """Test points per pair of training sets."""
    map: bool = True
    """Run hinge and perceptron over learning rates and epochs as well, on up to 2,000 sets."""


def simulate(
    key, num_train, learning_rates, margins, epochs, *, rows, max_train: int, num_test: int
) -> dict[str, jax.Array]:
    """Learn by every rule from two training sets, and compare on the same test points.

    Args:
        key: Random key of the pair of training sets.
        num_train: Training points.
        learning_rates: Learning rate of each sequential learner.
        margins: Margin of each sequential learner.
        epochs: Budgets in ascending order.
        rows: What is recorded: (rule, learner, budget) by index, for each row.
        max_train: Points drawn per set, of which the first `num_train` count.
        num_test: Test points.

    Returns:
        Arrays over the rows, of the first training set (`flip_fraction` compares both), and its
        `gamma`, the largest margin, and `radius`, the largest norm of a point.
    """
    first_key, second_key, test_key = jax.random.split(key, 3)
    sets = [half_square(k, max_train) for k in (first_key, second_key)]
    test = half_square(test_key, num_test)
    signed = jnp.stack([(data.inputs * data.targets).T for data in sets], axis=-1)
    valid = jnp.arange(max_train) < num_train
    num_learners, num_budgets = learning_rates.shape[0], epochs.shape[0]
    positions = np.array([position(*row, num_learners, num_budgets) for row in rows])

    trained = train(signed, num_train, learning_rates, margins, epochs)
    svm, gamma = jax.vmap(hard_margin, (-1, None), (-1, 0))(signed, valid)
    middle = jax.vmap(bayes_point, (-1, None), -1)(signed, valid)
    # The sources one after another, to be gathered by row: slices by the dozen compile slowly.
    learned = jnp.stack([trained.weights, trained.averages])
    learned = jnp.moveaxis(learned, 2, 3).reshape(-1, 2, 2)
    w1, w2 = jnp.moveaxis(jnp.concatenate([learned, jnp.stack([svm, middle])])[positions], 1, 0)
    cells = positions % (learned.shape[0] // 2)
    closed = positions >= learned.shape[0]
    updates = jnp.where(closed, 0, trained.updates[..., 0].ravel()[cells])
    converged = closed | trained.converged[..., 0].ravel()[cells]

    def predict(w1, w2, inputs):
        return w1[:, None] * inputs[None, :, 0] + w2[:, None] * inputs[None, :, 1] >= 0

    first, second = (predict(w1[:, i], w2[:, i], test.inputs) for i in (0, 1))
    fitted = predict(w1[:, 0], w2[:, 0], sets[0].inputs) == (sets[0].targets[:, 0] > 0)[None]
    norms = jnp.linalg.norm(sets[0].inputs, axis=1)
    return {
        "accuracy": theory.half_square_accuracy(w1[:, 0], w2[:, 0]),
        "test_accuracy": jnp.mean(first == (test.targets[:, 0] > 0)[None], axis=1),
        "consistent": jnp.all(fitted | ~valid[None], axis=1),
        "flip_fraction": jnp.mean(first != second, axis=1),
        "updates": updates,
        "converged": converged,
        "w1": w1[:, 0],
        "w2": w2[:, 0],
        "gamma": gamma[0],
        "radius": jnp.max(jnp.where(valid, norms, 0)),
    }


def position(rule: str, learner: int, budget: int, num_learners: int, num_budgets: int) -> int:
    """Return where a row's weights lie: last, averaged (both by budget, learner), SVM, Bayes."""
    if rule in CLOSED:
        return 2 * num_budgets * num_learners + list(CLOSED).index(rule)  # type: ignore[arg-type]
    averaged = rule == "averaged_perceptron"
    return (averaged * num_budgets + budget) * num_learners + learner


@cache
def program(rows: tuple, max_train: int, num_test: int):
    """Return `simulate` for one list of rows: one object, one compilation."""
    return partial(simulate, rows=rows, max_train=max_train, num_test=num_test)


def setting(
    part: str, size: int, max_train: int, rules, rates, margins, epochs, num_test, num_seeds
) -> tuple[monte_carlo.Setting, list[tuple]]:
    """Return a setting, and what its rows are: rule, learning rate, epochs and margin."""
    learners = list(product(rates, (0.0, *margins)))
    rows, names = [], []
    for rule in rules:
        if rule in CLOSED:
            rows.append((rule, 0, 0))
            names.append((rule, np.nan, np.nan, np.nan))
            continue
        for (index, (rate, margin)), (budget, count) in product(
            enumerate(learners), enumerate(epochs)
        ):
            if (rule == "hinge") == (margin > 0):
                rows.append((rule, index, budget))
                names.append((rule, rate, float(count), margin))
    rates_of, margins_of = (jnp.array(a, jnp.float32) for a in zip(*learners, strict=True))
    shared = (jnp.int32(size), rates_of, margins_of, jnp.array(epochs, jnp.int32))
    simulation = program(tuple(rows), max_train, num_test)
    labels = {"part": part, "num_train": size}
    return monte_carlo.Setting(labels, simulation, shared, num_seeds), names


def settings(config: Config) -> list[tuple[monte_carlo.Setting, list[tuple]]]:
    """List the settings: those asked for, then the learning curve and the map beside them."""
    c = config
    sizes = tuple(dict.fromkeys(c.num_train))
    curve = tuple(n for n in CURVE_SIZES if n not in sizes) if len(sizes) == 1 else ()
    largest = max(sizes + curve)
    rates, margins, rules = (
        tuple(dict.fromkeys(a)) for a in (c.learning_rates, c.margins, c.rules)
    )
    budgets = tuple(sorted(set(c.epochs) | ({c.convergence_epochs} - {0})))
    # A training set of the curve stops at the longest of the budgets asked for. Repeating it in
    # place of the long one keeps the shapes, and so the program.
    short = tuple(min(budget, max(c.epochs)) for budget in budgets)
    few = min(c.seeds, SIDE_SETS)
    listed = [
        setting("study", n, largest, rules, rates, margins, budgets, c.num_test, c.seeds)
        for n in sizes
    ] + [setting("curve", n, largest, rules, rates, margins, short, c.num_test, few) for n in curve]
    if c.map:
        pair = ("perceptron", "hinge")
        listed.append(
            setting("map", sizes[0], sizes[0], pair, MAP_RATES, margins[:1], MAP_EPOCHS,
                    c.num_test, few)
        )  # fmt: skip
    return listed


def run(config: Config, **execution) -> pd.DataFrame:
    """Run every setting; `execution` goes to `monte_carlo.run_settings`.

    Returns:
        A row per setting, rule and seed. `part` says what a row is for: `study` are the settings
        asked for, `curve` and `map` those beside them.
    """
    monte_carlo.use_all_cores()
    listed = settings(config)
    wide = monte_carlo.run_settings(
        [s for s, _ in listed], num_seeds=config.seeds, seed=config.seed,
        description="perceptron", **execution,
    )  # fmt: skip
    by_part = dict(list(wide.groupby(["part", "num_train"], sort=False)))
    frames = []
    for s, names in listed:
        table = by_part[s.labels["part"], s.labels["num_train"]]
        common = table[["part", "num_train", "seed", "gamma", "radius"]]
        measures = [c.removesuffix("_1") for c in table if c.endswith("_1")]
        seen = set()
        for i, name in enumerate(names):
            if name not in seen:
                seen.add(name)
                columns = {m: table[f"{m}_{i + 1}"].to_numpy() for m in measures}
                labels = dict(zip(LEARNERS, name, strict=True))
                frames.append(common.assign(master_seed=config.seed, **labels, **columns))
    runs = pd.concat(frames, ignore_index=True)
    return runs.astype({"consistent": bool, "converged": bool, "updates": np.int64})


def summarize(runs: pd.DataFrame) -> pd.DataFrame:
    """Return a row per setting: mean accuracy with its t interval, spread, lower tail, flips.

    `theory_accuracy` is given where a closed form is known, for the middle of the version space.
    A setting that stands in several parts is taken from the first.
    """
    rows = {}
    for labels, group in runs.groupby(["part", *KEYS], sort=False, dropna=False):
        rule, size = labels[1:3]
        key = tuple(None if pd.isna(label) else label for label in labels[1:])
        if key in rows:
            continue
        accuracy = group["accuracy"].to_numpy(float)
        exact = 1 - theory.bayes_point_error(size) if rule == "bayes_point" else np.nan
        rows[key] = (
            *labels[1:5], len(group), *stats.mean_interval(accuracy),
            np.std(accuracy, ddof=1) if len(group) > 1 else np.nan, np.quantile(accuracy, 0.05),
            group["consistent"].mean(), group["flip_fraction"].mean(), exact,
            labels[5], group["converged"].mean(), group["updates"].mean(),
            group["test_accuracy"].mean(),
        )  # fmt: skip
    columns = [
        *KEYS[:4], "n", "mean_accuracy", "low", "high", "sd", "q05", "consistent",
        "flip_fraction", "theory_accuracy", "margin", "converged", "updates", "test_accuracy",
    ]  # fmt: skip
    return pd.DataFrame(list(rows.values()), columns=columns)


NOTEBOOK = "the source notebook"


def select(table: pd.DataFrame, rule: str, epochs: float, rate: float | None = None):
    """Return a rule's runs by seed, at a budget and a learning rate (by default the first)."""
    table = table[table["rule"] == rule]
    rate = table["learning_rate"].iloc[0] if rate is None and len(table) else rate
    table = table[(table["epochs"] == epochs) & (table["learning_rate"] == rate)]
    return (
        table[table["margin"] == table["margin"].min()] if rule != "hinge" else first_margin(table)
    )


def first_margin(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the margin that comes first."""
    return table[table["margin"] == table["margin"].iloc[0]] if len(table) else table


def tail_difference(first: np.ndarray, second: np.ndarray) -> stats.Interval:
    """Return the difference of 5 % quantiles of paired values, with its bootstrap interval."""
    if len(first) < 2:
        return stats.NO_DATA

    def statistic(a, b, axis=-1):
        return np.quantile(a, 0.05, axis=axis) - np.quantile(b, 0.05, axis=axis)

    ends = bootstrap(
        (first, second), statistic, paired=True, n_resamples=400, batch=50,
        method="percentile", rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    return float(statistic(first, second)), float(ends.low), float(ends.high)


def judge(runs: pd.DataFrame) -> list[Verdict]:
    """Judge the claims at the first size, learning rate and margin; then look where they turn.

    Without such runs a verdict is inconclusive, with n = 0.
    """
    study = runs[(runs["part"] == "study") & (runs["num_train"] == runs["num_train"].iloc[0])]
    longest = study["epochs"].max()
    cells: list[tuple[str, str, pd.DataFrame, float, float, Any]] = [
        ("notebook", "perceptron 50 epochs, hinge 200", study, 50, 200, None),
        ("50", "50 epochs each", study, 50, 50, None),
        ("200", "200 epochs each", study, 200, 200, None),
        ("longest", f"{longest:g} epochs each", study, longest, longest, None),
        (
            "converged",
            f"{longest:g} epochs, sets on which both converged",
            study[study["converged"]],
            longest,
            longest,
            None,
        ),
    ]
    sizes = runs[runs["part"] == "curve"]
    cells += [
        (f"n{n}", f"{n} training points, 200 epochs", sizes[sizes["num_train"] == n], 200, 200,
         None)
        for n in sizes["num_train"].unique()
    ]  # fmt: skip
    table = runs[runs["part"] == "map"]
    cells += [
        (f"rate{rate:g}", f"learning rate {rate:g}, 200 epochs", table, 200, 200, rate)
        for rate in table["learning_rate"].unique()
    ]
    verdicts = []
    for name, words, rows, perceptron_epochs, hinge_epochs, rate in cells:
        p = select(rows, "perceptron", perceptron_epochs, rate).set_index("seed")
        h = select(rows, "hinge", hinge_epochs, rate).set_index("seed")
        seeds = p.index.intersection(h.index)
        p, h, n = p.loc[seeds], h.loc[seeds], len(seeds)
        verdicts += [
            judge_region(
                Claim(f"hinge_accurate.{name}", f"hinge is more accurate ({words})", NOTEBOOK),
                stats.mean_interval((h["accuracy"] - p["accuracy"]).to_numpy(float)),
                holds=(0, np.inf), unit="mean accuracy, hinge minus perceptron", n=n,
                method="paired on training sets, exact accuracy, t interval",
            ),
            judge_region(
                Claim(f"hinge_stable.{name}", f"hinge's predictions are more stable ({words})",
                      NOTEBOOK),
                stats.mean_interval((h["flip_fraction"] - p["flip_fraction"]).to_numpy(float)),
                holds=(-np.inf, 0), unit="share of test predictions flipped by another training "
                "set, hinge minus perceptron", n=n,
                method="paired on pairs of training sets, test points, t interval",
            ),
        ]  # fmt: skip
        if rows is study or name == "converged":
            verdicts.append(
                judge_region(
                    Claim(f"hinge_tail.{name}", f"hinge's worst cases are better ({words})",
                          "a reading of the notebook's claim"),
                    tail_difference(h["accuracy"].to_numpy(), p["accuracy"].to_numpy()),
                    holds=(0, np.inf), unit="5 % quantile of accuracy, hinge minus perceptron",
                    n=n, method="paired percentile bootstrap, 400 resamples",
                )
            )  # fmt: skip
            both = (h["consistent"] & p["consistent"]).to_numpy(bool)
            verdicts.append(
                judge_region(
                    Claim(f"both_separate.{name}", f"both classify the training set ({words})",
                          NOTEBOOK),
                    stats.wilson(int(both.sum()), n), holds=(0.99, 1.0),
                    unit="share of sets that both separate", n=n,
                    method="Wilson interval, held against at least 99 %",
                )
            )  # fmt: skip
    return verdicts


def plot(runs: pd.DataFrame) -> dict[str, Figure]:
    """Draw the figures; those that need the curve, the map or a rule are left out without it."""
    study = runs[(runs["part"] == "study") & (runs["num_train"] == runs["num_train"].iloc[0])]
    drawn = {"example": figures.plot_example(study), "accuracy": figures.plot_accuracy(study)}
    if runs[runs["part"] != "map"]["num_train"].nunique() > 1:
        drawn["learning_curve"] = figures.plot_learning_curve(runs[runs["part"] != "map"])
    if (runs["part"] == "map").any():
        drawn["map"] = figures.plot_map(runs[runs["part"] == "map"])
    if (study["rule"] == "perceptron").any():
        drawn["novikoff"] = figures.plot_novikoff(study)
    return drawn
