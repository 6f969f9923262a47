"""Perceptron criterion against hinge loss: which separates the half square better?

Points are uniform in the unit square, of class +1 where x1 > x2. A linear classifier without bias
learns from 20 of them, by sequential updates from W = 0, and is held to the closed form of its
accuracy and to 1,000 test points. The study does so for thousands of pairs of training sets, with
other rules beside the two: averaged perceptron, hard-margin SVM, middle of the version space.
"""

from dataclasses import dataclass
from functools import cache, partial
from itertools import product
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from annotated_types import Gt, Interval
from matplotlib.figure import Figure

from jaxstudies import monte_carlo, stats, theory
from jaxstudies.claims import Verdict
from jaxstudies.data import half_square
from jaxstudies.studies import perceptron_claims as claims
from jaxstudies.studies import perceptron_figures as figures
from jaxstudies.studies.perceptron_rules import bayes_point, hard_margin, train

RuleName = Literal["perceptron", "hinge", "averaged_perceptron", "svm", "bayes_point"]
CLOSED = ("svm", "bayes_point")
"""Rules without a learning rate and epochs."""

Rows = tuple[tuple[str, int, int], ...]
"""Rule, learner and budget, the latter two by index, of each row of a simulation."""

MAP_RATES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
MAP_EPOCHS = (1, 2, 5, 10, 20, 50, 100, 200, 500)
CURVE_SIZES = (5, 10, 20, 50, 100, 200)
MAP_SETS = 2000
"""Training sets per cell of the map, at most."""
CURVE_SETS = 1000
"""Training sets per point of the learning curve beside the sizes asked for, at most."""

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
    5 to 200 points is run beside it, on up to 1,000 sets."""
    rules: tuple[RuleName, ...] = (
        "perceptron", "hinge", "averaged_perceptron", "svm", "bayes_point",
    )  # fmt: skip
    """Learning rules, paired on the same training and test points."""
    learning_rates: tuple[Annotated[float, Gt(0)], ...] = (0.1,)
    """Learning rates of perceptron, averaged perceptron and hinge; the first is the one judged."""
    epochs: tuple[Annotated[int, Interval(ge=1, le=10**6)], ...] = (50, 200)
    """Budgets of training: passes through the points."""
    convergence_epochs: Annotated[int, Interval(ge=0, le=10**6)] = 500
    """A longer budget beside them; 0 leaves it out. Few hinge runs have converged even then (see
    `converged` in summary.csv); sets on which both rules have are judged apart."""
    margins: tuple[Annotated[float, Gt(0)], ...] = (1.0,)
    """The hinge's a in the loss max(0, a - y W.x); the first is the one judged."""
    num_test: Annotated[int, Interval(ge=1, le=100_000)] = 1000
    """Test points per pair of training sets."""
    map: bool = True
    """Run hinge and perceptron over learning rates and epochs as well, on up to 2,000 sets."""


def simulate(
    key, num_train, learning_rates, margins, epochs, *, rows: Rows, max_train: int, num_test: int
) -> dict[str, jax.Array]:
    """Learn by every rule from two training sets, and compare on the same test points.

    Args:
        key: Random key of the pair of training sets.
        num_train: Training points.
        learning_rates: Learning rate of each sequential learner.
        margins: Margin of each sequential learner.
        epochs: Budgets in ascending order.
        rows: What is recorded.
        max_train: Points drawn per set, of which the first `num_train` count.
        num_test: Test points.

    Returns:
        Arrays over the rows, of the first training set (`flip_fraction` compares both), and its
        `gamma`, the largest margin, and `radius`, the largest norm of a point.
    """
    first_key, second_key, test_key = jax.random.split(key, 3)
    sets = jax.vmap(half_square, (0, None))(jnp.stack([first_key, second_key]), max_train)
    test = half_square(test_key, num_test)
    signed = (sets.inputs * sets.targets).T
    valid = jnp.arange(max_train) < num_train
    counts = (learning_rates.shape[0], epochs.shape[0])
    positions = np.array([position(*row, counts) for row in rows])

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
    outcomes = jnp.stack([first == (test.targets[:, 0] > 0)[None], first != second])
    test_accuracy, flip_fraction = jnp.mean(outcomes, axis=2)
    fitted = predict(w1[:, 0], w2[:, 0], sets.inputs[0]) == (sets.targets[0, :, 0] > 0)[None]
    norms = jnp.linalg.norm(sets.inputs[0], axis=1)
    return {
        "accuracy": theory.half_square_accuracy(w1[:, 0], w2[:, 0]),
        "test_accuracy": test_accuracy,
        "consistent": jnp.all(fitted | ~valid[None], axis=1),
        "flip_fraction": flip_fraction,
        "updates": updates,
        "converged": converged,
        "w1": w1[:, 0],
        "w2": w2[:, 0],
        "gamma": gamma[0],
        "radius": jnp.max(jnp.where(valid, norms, 0)),
    }


def position(rule: str, learner: int, budget: int, counts: tuple[int, int]) -> int:
    """Return where a row's weights lie: last, averaged (both by budget, learner), SVM, Bayes."""
    num_learners, num_budgets = counts
    if rule in CLOSED:
        return 2 * num_budgets * num_learners + list(CLOSED).index(rule)  # type: ignore[arg-type]
    averaged = rule == "averaged_perceptron"
    return (averaged * num_budgets + budget) * num_learners + learner


@cache
def program(rows: Rows, max_train: int, num_test: int):
    """Return `simulate` for one list of rows: one object, one compilation."""
    return partial(simulate, rows=rows, max_train=max_train, num_test=num_test)


def setting(
    part: str, size: int, max_train: int, rules, learners, epochs, num_test, num_seeds
) -> tuple[monte_carlo.Setting, list[tuple]]:
    """Return a setting, and what its rows are: rule, learning rate, epochs and margin."""
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
    learners = list(product(rates, (0.0, *margins)))
    budgets = tuple(sorted(set(c.epochs) | ({c.convergence_epochs} - {0})))
    # A training set of the curve stops at the longest of the budgets asked for. Repeating it in
    # place of the long one keeps the shapes, and so the program.
    short = tuple(min(budget, max(c.epochs)) for budget in budgets)
    listed = [
        setting("study", n, largest, rules, learners, budgets, c.num_test, c.seeds) for n in sizes
    ]
    few = min(c.seeds, CURVE_SETS)
    listed += [setting("curve", n, largest, rules, learners, short, c.num_test, few) for n in curve]
    if c.map:
        # The perceptron's predictions do not depend on its learning rate: one is enough.
        pair = [(rates[0], 0.0), *((rate, margins[0]) for rate in MAP_RATES)]
        listed.append(
            setting("map", sizes[0], sizes[0], ("perceptron", "hinge"), pair, MAP_EPOCHS,
                    c.num_test, min(c.seeds, MAP_SETS))
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


def judge(runs: pd.DataFrame) -> list[Verdict]:
    """Judge the claims at the first size, learning rate and margin; then look where they turn.

    Without such runs a verdict is inconclusive, with n = 0.
    """
    study = runs[(runs["part"] == "study") & (runs["num_train"] == runs["num_train"].iloc[0])]
    longest = study["epochs"].max()
    curve, table = (runs[runs["part"] == part] for part in ("curve", "map"))
    verdicts = []
    for name, words, budgets in (
        ("notebook", "perceptron 50 epochs, hinge 200", (50, 200)),
        ("50", "50 epochs each", (50, 50)),
        ("200", "200 epochs each", (200, 200)),
        ("longest", f"{longest:g} epochs each", (longest, longest)),
    ):
        pair = claims.paired(study, *budgets)
        verdicts += claims.compare(name, words, *pair) + claims.compare_tails(name, words, *pair)
    for size in curve["num_train"].unique():
        pair = claims.paired(curve[curve["num_train"] == size], 200, 200)
        verdicts += claims.compare(f"n{size}", f"{size} training points, 200 epochs", *pair)
    for rate in (rates := table.loc[table["rule"] == "hinge", "learning_rate"].unique()):
        pair = claims.paired(table, 200, 200, rate)
        verdicts += claims.compare(f"rate{rate:g}", f"learning rate {rate:g}, 200 epochs", *pair)
    # At the default rate few hinge runs converge: on sets with wide margins, which are easy to
    # separate but leave room for errors. At the map's largest rate nearly all do.
    pairs = [("converged", study, longest, None)]
    pairs += [(f"rate{r:g}_converged", table, MAP_EPOCHS[-1], r) for r in rates[-1:]]
    for name, rows, budget, rate in pairs:
        pair = claims.paired(rows[rows["converged"]], budget, budget, rate)
        at = "" if rate is None else f"learning rate {rate:g}, "
        words = f"{at}{budget:g} epochs, sets on which both converged"
        verdicts += claims.compare(name, words, *pair) + claims.compare_tails(name, words, *pair)
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
