"""Depth against width: which networks of at most 512 hidden units learn the Eggholder function?

Networks of one, two and three hidden layers are trained on the same 100,000 noisy points by two
recipes with equal budgets: the prescribed one (SGD with Nesterov momentum, batch norm in two and
three layers) and Adam with cosine decay without batch norm. Learning rates are tuned on a
validation split. A network of sines on Fourier features and regressors that are not neural stand
beside them.
"""

import time
from dataclasses import dataclass
from functools import partial
from itertools import pairwise, product
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
from annotated_types import Ge, Gt, Interval
from matplotlib.figure import Figure

from jaxstudies import baselines, data, monte_carlo, prng, stats
from jaxstudies.claims import Claim, Verdict, judge_region
from jaxstudies.data import Dataset, Standardization
from jaxstudies.models import (
    FeedForward,
    fourier_features,
    initializer,
    leaky_relu,
    uniform_first_layer,
)
from jaxstudies.studies import depth_width_figures as figures
from jaxstudies.training import init_state, train_epoch, variables

WIDTHS = (16, 32, 64, 128, 256, 512)
MOST_UNITS = 512
GRID = tuple(
    shape for depth in (1, 2, 3) for shape in product(WIDTHS, repeat=depth)
    if sum(shape) <= MOST_UNITS
)  # fmt: skip
"""The 143 shapes of the assignment."""
NOTEBOOK_SHAPES = (
    *((64,), (128,), (256,), (512,)),
    *((16, 16), (32, 32), (64, 64), (128, 128), (256, 256)),
    *((16, 16, 16), (32, 32, 16), (64, 32, 64), (64, 128, 64), (128, 256, 128)),
)
SHAPE_SETS = {
    "paper": tuple(s for s in GRID if len(s) < 3 or s in NOTEBOOK_SHAPES),
    "notebook": NOTEBOOK_SHAPES,
    "all": GRID,
}
MODERN = (128, 256, 128)
MODERN_RATES = (3e-3,)
CUSP_EDGES = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, np.inf)
"""Distances to the nearer line of cusps between which errors are pooled."""
MAP_SIDE = 96
BLOCK = 1000
KEYS = ["part", "shape", "depth", "hidden_units", "parameters", "recipe"]


@dataclass(frozen=True)
class Config:
    """What is trained. Flags that take lists run every combination."""

    seeds: Annotated[int, Interval(ge=1, le=10**6)] = 2
    """Networks per shape and recipe, each at every learning rate."""
    seed: Annotated[int, Interval(ge=0, le=2**32 - 1)] = 0
    """Master seed; the data and network i depend on it."""
    shapes: tuple[str, ...] = ("paper",)
    """Sets of shapes or shapes: paper (one and two layers, and the notebook's of three), notebook,
    all (143), or hidden widths such as 64-64,128."""
    epochs: Annotated[int, Ge(1)] = 16
    """Passes through the data."""
    recipes: tuple[Literal["sgd", "adam"], ...] = ("sgd", "adam")
    """sgd: Nesterov momentum, batch norm in two and three layers; adam: cosine decay, no norm."""
    sgd_rates: tuple[Annotated[float, Gt(0)], ...] = (0.5, 2.0)
    """Learning rates of SGD times the width of the last hidden layer, on which the curvature of the
    squared error depends; with --raw they are the notebook's, 1e-7 and 1e-4."""
    adam_rates: tuple[Annotated[float, Gt(0)], ...] = (3e-3, 1e-2)
    """Learning rates of Adam at the start of the decay."""
    batch_size: Annotated[int, Ge(1)] = 1000
    """Points per step."""
    num_examples: Annotated[int, Interval(ge=100, le=10**8)] = 100_000
    """Points: 72 % to train, 8 % to choose the learning rate, 20 % to test."""
    noise_variance: Annotated[float, Ge(0)] = 0.3
    """Variance of the noise on the targets (0.09: a standard deviation of 0.3)."""
    raw: bool = False
    """Do not standardize inputs and targets, as the source notebook."""
    features: Literal["none", "fourier"] = "none"
    """Map of the inputs before the first layer."""
    num_features: Annotated[int, Interval(ge=1, le=10**5)] = 128
    """Frequencies of the Fourier features."""
    fourier_scale: Annotated[float, Gt(0)] = 10.0
    """Standard deviation of the frequencies, in radians per standard deviation of an input."""
    activation: Literal["relu", "sine"] = "relu"
    """Activation of the hidden layers."""
    modern_epochs: Annotated[int, Ge(0)] | None = None
    """Budget of 128-256-128 with sines and Fourier features (6 times --epochs); 0 leaves it out."""

    def __post_init__(self):
        """Fill in what depends on other fields and check the shapes."""
        if self.modern_epochs is None:
            object.__setattr__(self, "modern_epochs", 6 * self.epochs)
        choose_shapes(self.shapes)


def choose_shapes(names: tuple[str, ...]) -> tuple[tuple[int, ...], ...]:
    """Return the shapes that the names of sets and of shapes stand for, each once.

    Raises:
        ValueError: A name is neither.
    """
    chosen: dict[tuple[int, ...], None] = {}
    for name in (part for item in names for part in item.split(",") if part):
        if name in SHAPE_SETS:
            chosen |= dict.fromkeys(SHAPE_SETS[name])
            continue
        widths = tuple(int(w) if w.isascii() and w.isdigit() else 0 for w in name.split("-"))
        if not 1 <= len(widths) <= 10 or not all(1 <= w <= 10_000 for w in widths):
            raise ValueError(
                f"--shapes {name}: must be paper, notebook, all, or one to ten widths from 1 to "
                "10000 such as 64-64"
            )
        chosen[widths] = None
    if not chosen:
        raise ValueError("--shapes: at least one shape is needed")
    return tuple(chosen)


class Splits(NamedTuple):
    """The data of a study, in the function's own units."""

    train: Dataset
    validation: Dataset
    test: Dataset
    clean_test: jax.Array


def make_splits(config: Config) -> Splits:
    """Draw the points and split them 72 : 8 : 20."""
    key = jax.random.fold_in(prng.key(config.seed), 2**32 - 1)
    points, clean = data.eggholder_dataset(key, config.num_examples, config.noise_variance)
    ends = [0, int(0.72 * config.num_examples), int(0.8 * config.num_examples), config.num_examples]
    train, validation, test = (
        Dataset(points.inputs[a:b], points.targets[a:b]) for a, b in pairwise(ends)
    )
    return Splits(train, validation, test, clean[ends[2] :])


def scales(config: Config, train: Dataset) -> tuple[Standardization, Standardization]:
    """Return the maps of inputs and targets; the identity with `raw`."""
    if config.raw:
        return tuple(Standardization(*map(jnp.asarray, ([0.0] * d, [1.0] * d))) for d in (2, 1))  # type: ignore[return-value]
    return data.standardization(train.inputs), data.standardization(train.targets)


class Kind(NamedTuple):
    """What sort of network is trained, and how long."""

    widths: tuple[int, ...]
    recipe: str
    features: str
    activation: str
    epochs: int


def make_model(config: Config, kind: Kind, key: jax.Array) -> FeedForward:
    """Return the network; the key draws its frequencies.

    The initialization is PyTorch's default, with random biases: with zero biases every kink of the
    first layer starts on a line through the origin, and shallow networks hardly leave that.
    """
    frequencies = config.fourier_scale * jax.random.normal(key, (config.num_features, 2))
    fourier = kind.features == "fourier"
    sine = kind.activation == "sine"
    return FeedForward(
        kind.widths, 1,
        jnp.sin if sine else partial(leaky_relu, 0.0),
        initializer("he_uniform" if sine else "pytorch_default"),
        init_first=partial(uniform_first_layer, 30.0) if sine and not fourier else None,
        batch_norm=kind.recipe == "sgd" and len(kind.widths) > 1,
        features=partial(fourier_features, frequencies) if fourier else None,
    )  # fmt: skip


def make_optimizer(recipe: str, rate: Any, steps: int) -> optax.GradientTransformation:
    """Return the optimizer of a recipe."""
    if recipe == "sgd":
        return optax.sgd(rate, momentum=0.9, nesterov=True)
    return optax.adam(optax.cosine_decay_schedule(rate, max(steps, 1)))


def predict(model: FeedForward, state: Any, inputs: jax.Array) -> jax.Array:
    """Return the outputs, block by block, which bounds the memory."""
    n = inputs.shape[0]
    blocks = jnp.pad(inputs, ((0, -n % BLOCK), (0, 0))).reshape(-1, BLOCK, inputs.shape[1])
    outputs = jax.lax.map(lambda x: model.apply(variables(state), x), blocks)
    return outputs.reshape(-1, 1)[:n]


def rmse(predictions: jax.Array, targets: jax.Array) -> jax.Array:
    """Return the root of the mean squared error."""
    return jnp.sqrt(jnp.mean((predictions - targets) ** 2))


def cusp_errors(predictions: jax.Array, clean: jax.Array, inputs: jax.Array) -> dict[str, Any]:
    """Return the errors on clean targets by distance to the cusps.

    Returns:
        `cusp_rmse`, shape (bins of `CUSP_EDGES`,), NaN where a bin is empty; `cusp_share`, the
        share of the squared error that lies within four units of a cusp.
    """
    squares = ((predictions - clean) ** 2)[:, 0]
    distance = data.eggholder_cusp_distance(inputs)
    edges = jnp.array(CUSP_EDGES)
    inside = (distance[None] >= edges[:-1, None]) & (distance[None] < edges[1:, None])
    means = jnp.sum(inside * squares[None], axis=1) / jnp.sum(inside, axis=1)
    near = jnp.sum(jnp.where(distance < 4.0, squares, 0.0)) / jnp.sum(squares)
    return {"cusp_rmse": jnp.sqrt(means), "cusp_share": near}


def map_inputs() -> jax.Array:
    """Return the midpoints of a square grid, x2 slow and upwards, shape (MAP_SIDE^2, 2)."""
    axis = ((jnp.arange(MAP_SIDE) + 0.5) / MAP_SIDE * 2 - 1) * data.EGGHOLDER_BOUND
    x2, x1 = jnp.meshgrid(axis, axis, indexing="ij")
    return jnp.stack([x1.ravel(), x2.ravel()], axis=-1)


def simulate(key, splits: Splits, rates, *, config: Config, kind: Kind) -> dict[str, jax.Array]:
    """Train one network at every learning rate and keep the one that is best on validation data.

    Args:
        key: Random key of this network, the same at every rate.
        splits: The data.
        rates: Learning rates, shape (rates,).
        config: The study's configuration.
        kind: The network and its budget.

    Returns:
        Errors in the target's units; `curve` is the validation error after each epoch.
    """
    init_key, features_key, order_key = jax.random.split(key, 3)
    scale, target_scale = scales(config, splits.train)
    model = make_model(config, kind, features_key)
    train = Dataset(
        data.standardize(scale, splits.train.inputs),
        data.standardize(target_scale, splits.train.targets),
    )
    steps = len(train.inputs) // min(config.batch_size, len(train.inputs)) * kind.epochs

    def predict_units(state, inputs):
        outputs = predict(model, state, data.standardize(scale, inputs))
        return data.restore(target_scale, outputs)

    def fit_at(rate):
        optimizer = make_optimizer(kind.recipe, rate, steps)

        def epoch(state, index):
            state, _ = train_epoch(
                state, train, jax.random.fold_in(order_key, index), order_key,
                batch_size=config.batch_size, model=model, optimizer=optimizer,
                loss_fn=optax.losses.squared_error,
            )  # fmt: skip
            outputs = predict_units(state, splits.validation.inputs)
            return state, rmse(outputs, splits.validation.targets)

        state = init_state(init_key, model, optimizer, train.inputs)
        return jax.lax.scan(epoch, state, jnp.arange(kind.epochs))

    states, curves = jax.vmap(fit_at)(rates)
    score = jnp.where(jnp.isfinite(curves[:, -1]), curves[:, -1], jnp.inf)
    best = jnp.argmin(score)
    state = jax.tree.map(lambda a: a[best], states)
    # One pass over everything compiles once; four passes would compile four times.
    everything = [splits.test.inputs, splits.train.inputs, map_inputs()]
    ends = np.cumsum([len(inputs) for inputs in everything])[:-1]
    predictions, fitted, surface = jnp.split(
        predict_units(state, jnp.concatenate(everything)), ends
    )
    return {
        "learning_rate": rates[best],
        "nonfinite": ~jnp.isfinite(score[best]),
        "train_rmse": rmse(fitted, splits.train.targets),
        "validation_rmse": curves[best, -1],
        "test_rmse": rmse(predictions, splits.test.targets),
        "clean_rmse": rmse(predictions, splits.clean_test),
        **cusp_errors(predictions, splits.clean_test, splits.test.inputs),
        "rate_rmse": curves[:, -1],
        "curve": curves[best],
        "map": surface[:, 0],
    }


def count_parameters(config: Config, kind: Kind) -> int:
    """Return the number of trained parameters."""

    def init(key):
        return make_model(config, kind, key).init(key, jnp.zeros((1, 2)))["params"]

    return sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(init, jax.random.key(0))))


def seconds_alone(config: Config, kind: Kind, train: Dataset) -> float:
    """Return the seconds of an epoch of one network by itself, from a fifth of one, thrice."""
    few = Dataset(*(a[: max(len(a) // 5, 1)] for a in train))
    model = make_model(config, kind, jax.random.key(0))
    optimizer = make_optimizer(kind.recipe, 1e-6, 1000)
    key = jax.random.key(0)
    # The numbers make no difference to the time, and zeros need no program to be drawn.
    shapes = jax.eval_shape(
        partial(init_state, model=model, optimizer=optimizer), key, inputs=few.inputs
    )
    state = jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), shapes)
    epoch = jax.jit(
        partial(
            train_epoch, batch_size=config.batch_size, model=model, optimizer=optimizer,
            loss_fn=optax.losses.squared_error,
        )
    )  # fmt: skip
    jax.block_until_ready(epoch(state, few, key, key))
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        jax.block_until_ready(epoch(state, few, key, key))
        seconds.append(time.perf_counter() - began)
    return min(seconds) * len(train.inputs) / len(few.inputs)


def learning_rates(config: Config, kind: Kind) -> jax.Array:
    """Return the rates to try."""
    if kind.recipe == "adam":
        return jnp.array(config.adam_rates)
    if config.raw:
        return jnp.array([1e-7 if len(kind.widths) == 1 else 1e-4])
    return jnp.array(config.sgd_rates) / kind.widths[-1]


def settings(config: Config, splits: Splits) -> list[tuple[Kind, monte_carlo.Setting]]:
    """List the networks: every shape by every recipe, then the modern one."""
    kinds = [
        ("shapes", Kind(shape, recipe, config.features, config.activation, config.epochs))
        for shape, recipe in product(choose_shapes(config.shapes), config.recipes)
    ]
    if config.modern_epochs:
        modern = Kind(MODERN, "adam", "fourier", "sine", config.modern_epochs)
        kinds.append(("modern", modern))
    listed = []
    for part, kind in kinds:
        rates = learning_rates(config, kind) if part == "shapes" else jnp.array(MODERN_RATES)
        parameters, units = count_parameters(config, kind), sum(kind.widths)
        labels = (part, "-".join(map(str, kind.widths)), len(kind.widths), units, parameters)
        setting = monte_carlo.Setting(
            dict(zip(KEYS, (*labels, kind.recipe), strict=True)),
            partial(simulate, config=config, kind=kind),
            (splits, rates),
            # Seconds on two cores, roughly: a compilation, then launches, units and products.
            cost=3 / config.seeds + kind.epochs * len(rates) * config.num_examples / 1e5
            * (0.01 + 1e-4 * units + 5.5e-6 * parameters),
        )  # fmt: skip
        listed.append((kind, setting))
    return listed


def run(config: Config, **execution) -> pd.DataFrame:
    """Train every network and fit the baselines; `execution` goes to `run_settings`.

    Returns:
        A row per shape, recipe and seed, and per baseline. `seconds_per_epoch` is that of one
        network alone, `seconds_in_batch` its share of the time of all seeds and rates together
        (NaN where an earlier, interrupted run trained them). `map` holds the outputs of the network
        that is best on validation data.
    """
    monte_carlo.use_all_cores()
    parts, timings = execution.get("parts"), execution.pop("timings", None)
    timings = [] if timings is None else timings
    splits = make_splits(config)
    listed = settings(config, splits)
    runs = monte_carlo.run_settings(
        [setting for _, setting in listed], num_seeds=config.seeds, seed=config.seed,
        description="depth and width", timings=timings, **execution,
    )  # fmt: skip
    seconds = {"seconds_per_epoch": [], "seconds_in_batch": []}
    for i, ((kind, setting), timing) in enumerate(zip(listed, timings, strict=True)):
        kept = parts.read(f"alone-{i}") if parts else None
        if kept is None:
            kept = {"seconds": np.array(seconds_alone(config, kind, splits.train))}
            if parts:
                parts.write(f"alone-{i}", kept)
        networks = timing["seeds_run"] * len(setting.shared[1]) * kind.epochs
        shared = timing["run_seconds"] / networks if networks else np.nan
        seconds["seconds_per_epoch"] += [float(kept["seconds"])] * config.seeds
        seconds["seconds_in_batch"] += [shared] * config.seeds
    is_map = runs.columns.str.startswith("map_")
    maps = runs.loc[:, is_map].to_numpy(np.float32)
    runs = runs.loc[:, ~is_map].assign(**seconds, map=None)
    best = runs["validation_rmse"].fillna(np.inf).argmin()
    runs["map"] = [maps[i] if i == best else None for i in range(len(runs))]
    rest = fit_baselines(splits, config.noise_variance, parts)
    return pd.concat([runs, rest], ignore_index=True)


def fit_baselines(splits: Splits, noise_variance: float, parts: Any = None) -> pd.DataFrame:
    """Fit what is not a network to all the training and validation data; a row each, and the floor.

    `test_rmse_error` is the standard error of the test error over the test points.
    """
    inputs, targets = (
        np.concatenate([a, b]).astype(float)
        for a, b in zip(splits.train, splits.validation, strict=True)
    )
    test = np.asarray(splits.test.inputs, float)
    rows = []
    for name, regress in baselines.REGRESSORS.items():
        kept = parts.read(f"baseline-{name}") if parts else None
        if kept is None:
            kept = {"predictions": regress(inputs, targets[:, 0], test)[:, None]}
            if parts:
                parts.write(f"baseline-{name}", kept)
        squares = (kept["predictions"] - np.asarray(splits.test.targets)) ** 2
        error = np.sqrt(squares.mean())
        predictions = jnp.asarray(kept["predictions"], jnp.float32)
        cusps = cusp_errors(predictions, splits.clean_test, splits.test.inputs)
        by_distance = np.asarray(cusps["cusp_rmse"])
        rows.append(
            {
                "part": "baseline", "shape": name, "depth": 0, "hidden_units": 0, "parameters": 0,
                "recipe": "baseline", "seed": 0, "nonfinite": False, "test_rmse": error,
                "clean_rmse": float(rmse(predictions, splits.clean_test)),
                "test_rmse_error": squares.std() / (2 * error * len(squares) ** 0.5),
                "cusp_share": float(cusps["cusp_share"]),
                **{f"cusp_rmse_{i + 1}": value for i, value in enumerate(by_distance)},
            }
        )  # fmt: skip
    floor: dict[str, Any] = {"part": "floor", "shape": "floor", "recipe": "baseline"}
    floor["test_rmse"] = noise_variance**0.5
    zero = {"depth": 0, "hidden_units": 0, "parameters": 0, "seed": 0, "nonfinite": False}
    return pd.DataFrame([*rows, floor | zero])


def summarize(runs: pd.DataFrame) -> pd.DataFrame:
    """Return a row per shape and recipe, and per baseline, with the mean error on noisy targets.

    The interval is Student's over the seeds; for a baseline, which is fitted once, it is the
    normal one over the test points. Diverged runs are counted in `nonfinite` and left out of `n`.
    """
    rows = []
    means = ["train_rmse", "validation_rmse", "clean_rmse", "cusp_share", "learning_rate"]
    means += ["seconds_per_epoch", "seconds_in_batch"]
    for labels, group in runs.groupby(KEYS, sort=False):
        finite = group[~group["nonfinite"].astype(bool)]
        mean, low, high = stats.mean_interval(finite["test_rmse"].to_numpy())
        if labels[0] == "baseline":
            half = 1.96 * finite["test_rmse_error"].iloc[0]
            low, high = mean - half, mean + half
        rest = finite[means].mean()
        rows.append((*labels, len(finite), mean, low, high, *rest, len(group) - len(finite)))
    columns = [*KEYS, "n", "rmse", "low", "high", *means, "nonfinite"]
    order = ["shape", *[name for name in columns if name != "shape"]]
    return pd.DataFrame(rows, columns=columns)[order]


NOTEBOOK = "the source notebook"
FACT = "the assignment's question"
NUMBER = {1: "one", 2: "two", 3: "three"}


def time_ratio(deeper: pd.DataFrame, shallower: pd.DataFrame) -> tuple[stats.Interval, int]:
    """Return how many times longer an epoch of the deeper networks takes at equal parameters.

    Each deeper shape within the shallower ones' range of parameters is held against their times,
    interpolated in logarithms; the interval is Student's over shapes.
    """
    if len(shallower) == 0 or len(deeper) == 0:
        return stats.NO_DATA, 0
    shallower = shallower.groupby("parameters", as_index=False)["seconds_per_epoch"].mean()
    known = shallower["parameters"]
    inside = deeper[deeper["parameters"].between(known.min(), known.max())]
    if len(inside) == 0:
        return stats.NO_DATA, 0
    expected = np.interp(
        np.log(inside["parameters"]), np.log(known), np.log(shallower["seconds_per_epoch"])
    )
    logs = stats.mean_interval(np.log(inside["seconds_per_epoch"].to_numpy()) - expected)
    low, middle, high = np.exp([logs[1], logs[0], logs[2]])
    return (float(middle), float(low), float(high)), len(inside)


def judge(runs: pd.DataFrame) -> list[Verdict]:
    """Judge the claims; without the shapes that one needs it is inconclusive, with n = 0."""
    summary = summarize(runs)
    shapes = summary[(summary["part"] == "shapes") & summary["rmse"].notna()]
    verdicts = []
    for recipe, (deep, shallow) in product(shapes["recipe"].unique(), ((2, 1), (3, 2))):
        rows = shapes[shapes["recipe"] == recipe]
        of = {depth: rows[rows["depth"] == depth] for depth in (deep, shallow)}
        logs = [np.log(of[d][c].to_numpy(float)) for d in of for c in ("parameters", "rmse")]
        words = f"{NUMBER[deep]} layers rather than {NUMBER[shallow]}"
        end = f"{NUMBER[deep]}_over_{NUMBER[shallow]}.{recipe}"
        verdicts.append(
            judge_region(
                Claim(
                    f"gain.{end}",
                    f"The error falls faster with parameters with {words} ({recipe})", NOTEBOOK,
                ),
                stats.difference_of_slopes(*logs), holds=(-np.inf, 0.0),
                unit="difference of log-log slopes", n=sum(len(table) for table in of.values()),
                method="least-squares slopes of log RMSE on log parameters over shapes, mean over "
                "seeds, equal epochs; Welch interval over shapes",
            )
        )  # fmt: skip
        ratio, n = time_ratio(of[deep], of[shallow])
        verdicts.append(
            judge_region(
                Claim(
                    f"time.{end}",
                    f"An epoch takes longer with {words}, at equal parameters ({recipe})", NOTEBOOK,
                ),
                ratio, holds=(1.0, np.inf), unit="times as long", n=n,
                method="one network alone; shapes within the shallower ones' range of parameters, "
                "against their interpolated time; geometric mean, t interval over shapes",
            )
        )  # fmt: skip
    value = summary[summary["recipe"] == "baseline"].set_index("shape")["rmse"]
    widest = runs[(runs["shape"] == "512") & ~runs["nonfinite"].astype(bool)]
    for recipe, group in widest[widest["part"] == "shapes"].groupby("recipe", sort=False):
        closed = (value["constant"] - group["test_rmse"]) / (value["constant"] - value["floor"])
        verdicts.append(
            judge_region(
                Claim(f"far.{recipe}", f"One layer of 512 stays far from the floor ({recipe})",
                      FACT),
                stats.mean_interval(closed.to_numpy()), holds=(-np.inf, 0.5),
                unit="share of the way from the constant's error to the floor", n=len(group),
                method="mean over seeds, t interval, held against half of the way",
            )
        )  # fmt: skip
    modern = runs[(runs["part"] == "modern") & ~runs["nonfinite"].astype(bool)]
    verdicts.append(
        judge_region(
            Claim("modern", "Sines on Fourier features within 512 units beat thin plates", FACT),
            stats.mean_interval(modern["test_rmse"].to_numpy() - value["RBF"]),
            holds=(-np.inf, 0.0), unit="difference of RMSE on noisy test targets", n=len(modern),
            method="128-256-128 minus RBF on the same test points, t interval over seeds",
        )
    )  # fmt: skip
    return verdicts


def plot(runs: pd.DataFrame) -> dict[str, Figure]:
    """Draw the figures; the heat map is left out without shapes of two layers."""
    summary = summarize(runs)
    shapes = summary[summary["part"] == "shapes"]
    drawn = {
        "rmse": figures.plot_rmse(summary),
        "time": figures.plot_time(shapes),
        "curves": figures.plot_curves(runs),
        "cusps": figures.plot_cusps(runs, CUSP_EDGES),
    }
    if (shapes["depth"] == 2).any():
        drawn["two_layers"] = figures.plot_two_layers(shapes)
    best = runs[runs["map"].notna()].iloc[0]
    inputs = map_inputs()
    surface = np.asarray(data.eggholder(inputs)).reshape(MAP_SIDE, MAP_SIDE)
    drawn["error_map"] = figures.plot_error_map(
        best, surface, np.asarray(best["map"]).reshape(MAP_SIDE, MAP_SIDE), data.EGGHOLDER_BOUND
    )
    return drawn
