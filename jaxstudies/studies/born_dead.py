"""Born dead: which depths and widths of ReLU networks are constant before any training?

Lu, Shin, Su and Karniadakis (arXiv 1903.06733) bound the probability. The study initializes
networks of every width and finds, on the map of depths and widths, how many are constant; with
`--epochs` it trains networks of every shape as well and maps those that are dead after that.
"""

from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from annotated_types import Ge, Gt, Interval
from matplotlib.figure import Figure

from jaxstudies.evidence import theory
from jaxstudies.networks import diagnostics
from jaxstudies.networks.data import TARGETS, grid_inputs
from jaxstudies.networks.models import MLP, InitializerName, initializer, leaky_relu
from jaxstudies.studies.dying_relu import config as trained
from jaxstudies.studies.dying_relu import counts
from jaxstudies.studies.dying_relu.config import data as data
from jaxstudies.studies.dying_relu.simulation import simulate as train
from jaxstudies.study import Results, Setting

POINTS = 64
"""Grid points of a network at birth. With zero biases two, one on each side of 0, would do."""
AXES = {"collapsed": ("stage", "rule")}
RUNS_PER_DEVICE = 512
KIND = [*trained.LABELS, "first_dead_layer", "outcome", "nonfinite"]


@dataclass(frozen=True)
class Config:
    """What is simulated: ReLU networks of every depth and width."""

    seeds: Annotated[int, Interval(ge=1, le=10**9)] = 20_000
    """Networks initialized per width, the deepest of which serves all depths."""
    seed: Annotated[int, Interval(ge=0, le=2**32 - 1)] = 0
    """Master seed; network i depends on it and on i alone."""
    depths: tuple[Annotated[int, Interval(ge=1, le=1000)], ...] = tuple(range(1, 21))
    """Hidden layers."""
    widths: tuple[Annotated[int, Interval(ge=1, le=10_000)], ...] = tuple(range(2, 11))
    """Units per hidden layer."""
    init: InitializerName = "he_normal"
    """Initialization of all layers."""
    init_std: Annotated[float, Gt(0)] = 1.0
    """Standard deviation of the weights with --init normal."""
    target: Literal["abs", "x_sin_5x", "abs_x_sin_5x", "step_sin", "abs_sum_diff"] = "abs"
    """Function to learn; abs_sum_diff is [|x1+x2|, |x1-x2|], the others have one input."""
    epochs: Annotated[int, Ge(0)] = 0
    """Passes through the data; with 0 nothing is trained."""
    trained_seeds: Annotated[int, Interval(ge=1, le=10**9)] = 1000
    """Networks trained per depth and width, at most --seeds."""
    loss: Literal["mse", "mae"] = "mse"
    """Loss."""
    num_examples: Annotated[int, Ge(1)] = 3000
    """Training points of each network, uniform in [-sqrt 7, sqrt 7]."""
    batch_size: Annotated[int, Ge(1)] = 64
    """Points per step."""
    learning_rate: Annotated[float, Gt(0)] = 1e-3
    """Learning rate of Adam."""


def training(config: Config) -> trained.Config:
    """Return how networks are trained, as the study of dying ReLU has it."""
    c, own = config, trained.Config(inits=(config.init,), init_std=config.init_std)
    return replace(own, num_examples=c.num_examples, batch_size=c.batch_size, learning_rate=c.learning_rate)


def settings(config: Config) -> list[Setting]:
    """List the settings: one per width at birth, then, if they are trained, one per shape."""
    c = config

    def setting(part: str, depth: int, width: int, epochs: int) -> Setting:
        labels = part, "relu", c.target, c.init, depth, width, c.loss, epochs
        shape = {"depth": depth, "width": width, "epochs": epochs, "after": part == "study"}
        return Setting(dict(zip(trained.LABELS, labels, strict=True)), shape, cost=0.1 + epochs)

    births = [setting("map", max(c.depths), width, 0) for width in c.widths]
    shapes = product(c.depths, c.widths) if c.epochs else ()
    return births + [setting("study", *shape, c.epochs)._replace(num_seeds=c.trained_seeds) for shape in shapes]


def simulate(key, epochs, shuffle_seed, *, config: Config, depth, width, after) -> dict[str, jax.Array]:
    """Initialize a ReLU network and find the number of its first dead layer, 0 if none, or train it.

    The first d hidden layers are a network of depth d, so the deepest one serves its whole column of the map: it is
    dead at depth d if the first dead layer is one of them. Trained, it returns which rules hold at both stages. All
    share the order of examples that `shuffle_seed` gives.
    """
    if after:
        fixed = partial(train, config=training(config), targets=(config.target,), loss=config.loss, profiles=False)
        seen = fixed(key, False, 0, 0, epochs, shuffle_seed, depth=depth, width=width)
        return {name: seen[name] for name in ("collapsed", "nonfinite")}
    inputs = grid_inputs(POINTS, TARGETS[config.target].dimension)
    init_layer = initializer(config.init, config.init_std)
    model = MLP(depth, width, 1, partial(leaky_relu, 0.0), init_layer)
    seen = diagnostics.probe(model, model.init(key, inputs[:1]), inputs, lambda layer: jnp.all(layer.slopes == 0))
    return {"first_dead_layer": diagnostics.first_dead_layer(seen.layers)}


def derive(runs: pd.DataFrame) -> pd.DataFrame:
    """Add `outcome` as the study of dying ReLU has it; of births it is 0."""
    rows = runs.reindex(columns=list(dict.fromkeys([*runs, *KIND])))
    births = rows["part"] == "map"
    outcome = pd.Series(0, rows.index)
    if not births.all():
        outcome[~births] = counts.derive(rows[~births])["outcome"]
    nonfinite = rows["nonfinite"].eq(True)
    first = rows["first_dead_layer"].fillna(0).astype(int)
    return rows.assign(outcome=outcome, nonfinite=nonfinite, first_dead_layer=first)


def condense(runs: pd.DataFrame) -> pd.DataFrame:
    """Return a row per kind of network instead of per network, and in `count` how many there are."""
    return runs.groupby(KIND, sort=False, as_index=False)["count"].sum()


def expand_depths(births: pd.DataFrame, depths: list[int]) -> pd.DataFrame:
    """Return a row per depth and kind, with the outcome of a network of that depth."""
    first, dead = births["first_dead_layer"], counts.bit("born", "zero_slope")
    at = [births.assign(depth=depth, outcome=dead * ((first > 0) & (first <= depth))) for depth in depths]
    return pd.concat(at, ignore_index=True)


def summarize(results: Results) -> pd.DataFrame:
    """Return a row per shape at birth, and per shape, stage and rule of those trained."""
    kinds = condense(results.runs)
    births, after = (kinds[kinds["part"] == part] for part in ("map", "study"))
    summary = counts.shares(expand_depths(births, sorted(results.config.depths)), ("born",), ("zero_slope",))
    return pd.concat([summary, counts.shares(after)], ignore_index=True) if len(after) else summary


def precision(cells: pd.DataFrame) -> str:
    """Return the networks per cell, and half the width of the widest interval."""
    half = 100 * (cells["high"] - cells["low"]).max() / 2
    return f"n = {cells['n'].min():,} per cell, within ±{half:.1f} points"


def panels_of(summary: pd.DataFrame) -> list[tuple[str, pd.DataFrame, str]]:
    """Return title, rows and column of each panel."""
    summary = summary[summary["rule"] == "zero_slope"]
    born = summary[summary["epochs"] == 0]
    after = summary[(summary["stage"] == "trained") & (summary["epochs"] > 0)]
    panels = [("born dead, measured", born, "fraction")]
    for column, word in (("theory_low", "lower"), ("theory_high", "upper")):
        if born[column].notna().any():
            panels.append((f"born dead, theory's {word} bound", born, column))
    if len(after):
        budget = counts.in_epochs(after["epochs"].iloc[0])
        panels.append((f"dead after {budget}\n({precision(after)})", after, "fraction"))
    return panels


def plot(results: Results) -> dict[str, Figure]:
    """Draw the shares over depth and width, measured and by theory, with the safe region."""
    panels = panels_of(summarize(results))
    born = panels[0][1]
    figure, axes = plt.subplots(1, len(panels), figsize=(3.1 * len(panels) + 1.2, 5.4), sharey=True, squeeze=False)
    depths, widths = np.sort(born["depth"].unique()), np.sort(born["width"].unique())
    for ax, (title, rows, column) in zip(axes[0], panels, strict=True):
        cells = rows.pivot(index="depth", columns="width", values=column)
        mesh = ax.pcolormesh(cells.columns, cells.index, cells.to_numpy(), vmin=0, vmax=1, cmap="viridis")
        ax.set_xticks(cells.columns)
        for probability, style in ((0.1, "--"), (0.01, "-")):
            line = theory.safe_width(depths, probability)
            ax.plot(line, depths, style, color="white", lw=1.6, label=f"P ≤ {probability:.0%}")
        ax.set(title=title, xlabel="width (units per layer)", xlim=(widths[0] - 0.5, widths[-1] + 0.5))
    axes[0, 0].set_ylabel("depth (hidden layers)")
    axes[0, 0].yaxis.get_major_locator().set_params(integer=True)
    legend = axes[0, 0].legend(title="theory: safe\nright of", loc="upper right", handlelength=1.2)
    plt.setp([legend.get_title(), *legend.get_texts()], color="white", fontsize=8)
    figure.colorbar(mesh, ax=axes[0, -1], label="share of networks")
    row = born.iloc[0]
    title = f"Dead {row['activation']} networks by depth and width\n({row['init']}, {row['target']}; rule zero_slope"
    figure.suptitle(f"{title}; born: {precision(born)}, 95 % intervals)")
    return {"map": figure}
