"""The tables of the initialization study: a row per setting, stage and layer, and of gradients."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from jaxstudies.evidence import theory
from jaxstudies.evidence.intervals import Interval, geometric_mean, mean_interval
from jaxstudies.networks.activations import on_arrays
from jaxstudies.output.table import stacked
from jaxstudies.studies.initialization.config import Config
from jaxstudies.studies.initialization.draws import layer_scales
from jaxstudies.studies.initialization.simulation import GRADIENTS, MOMENTS, STAGES
from jaxstudies.study import Results


def stages_of(config: Config) -> tuple[str, ...]:
    """Return the stages at which networks are measured."""
    return STAGES if config.epochs else STAGES[:1]


def by_setting(results: Results) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Yield what tells settings and stages apart, and the runs; those of a stage stand together."""
    # Of very many runs, arrays are read of the first only.
    for activation, runs in results.runs.dropna(subset="grad").groupby("activation", sort=False):
        for stage in stages_of(results.config):
            for init, rows in runs.groupby(["init", "sigma"], sort=False, dropna=False):
                names = ("activation", "init", "sigma", "stage")
                yield dict(zip(names, (activation, *init, stage), strict=True)), rows


def at_stage(runs: pd.DataFrame, name: str, stage: str = "born") -> np.ndarray:
    """Return a measure at a stage, runs first; layers, if any, are next."""
    return stacked(runs, name)[:, STAGES.index(stage)].astype(float)


def theory_second_moments(rows: pd.DataFrame, config: Config) -> np.ndarray:
    """Return mean field's second moment of a setting's activations, by layer, for the images seen.

    It is averaged over groups of images by size. LSUV sets every pre-activation's variance to 1.
    """
    activation, init, sigma = rows.iloc[0][["activation", "init", "sigma"]]
    value, _ = on_arrays(activation)
    first, hidden, _ = layer_scales(init, sigma, config.width)
    q = first**2 * stacked(rows, "input_q").astype(float).mean(axis=0)
    gain = config.width * hidden**2
    q = gain * q if config.linear_first_layer else q
    moments = []
    for _ in range(config.depth):
        if init == "lsuv":
            q = np.ones_like(q)
        moments.append(theory.gaussian_mean(lambda z: value(z) ** 2, q))
        q = gain * moments[-1]
    return np.mean(moments, axis=1)


def summarize(results: Results) -> pd.DataFrame:
    """Return a row per setting, stage and layer.

    Columns are means over seeds, but `grad_norm`, E|dL/dz| of the layer, `grad_l2`, the norm of
    dL/dz of an image, and `weight_grad`, that of dL/dW, are geometric ones; `low` and `high` are
    the interval of `grad_norm`, the other two that of `second_moment`.
    """
    tables = []
    for labels, rows in by_setting(results):
        born = labels["stage"] == "born"
        seen = {name: at_stage(rows, name, labels["stage"]) for name in MOMENTS + GRADIENTS}
        moments = over_layers(mean_interval, seen["second_moment"])
        table = pd.DataFrame(labels | {"layer": np.arange(len(moments)) + 1, "n": len(rows)})
        expected = theory_second_moments(rows, results.config) if born else np.nan
        table = table.assign(second_moment=moments[:, 0], theory_second_moment=expected)
        table["saturation"] = seen["saturation"].mean(axis=0)
        table[["grad_norm", "low", "high"]] = over_layers(geometric_mean, seen["grad"])
        table[["second_moment_low", "second_moment_high"]] = moments[:, 1:]
        for name in ("mean", "variance", "dead"):
            table[name] = seen[name].mean(axis=0)
        for name in ("grad_l2", "weight_grad"):
            table[name] = over_layers(geometric_mean, seen[name])[:, 0]
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def over_layers(interval: Callable[[np.ndarray], Interval], values: np.ndarray) -> np.ndarray:
    """Return estimates with the ends of their intervals, a row per layer."""
    return np.array([interval(layer) for layer in values.T])


def tables(results: Results) -> dict[str, pd.DataFrame]:
    """Return the table of gradients: first over last hidden layer, and the slope, by setting."""
    listed = []
    for labels, rows in by_setting(results):
        grad, grad_l2, slope = (at_stage(rows, name, labels["stage"]) for name in ("grad", "grad_l2", "slope"))
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios, ratios_l2 = grad[:, 0] / grad[:, -1], grad_l2[:, 0] / grad_l2[:, -1]
        ratio, low, high = geometric_mean(ratios)
        row = labels | {
            "n": len(rows),
            "ratio_first_last": ratio,
            "low": low,
            "high": high,
            "slope": mean_interval(slope[np.isfinite(slope)])[0],
            "ratio_first_last_l2": geometric_mean(ratios_l2)[0],
        }
        if labels["stage"] == "trained":
            accuracy = mean_interval(rows["accuracy"].to_numpy(float))
            names = ("accuracy", "accuracy_low", "accuracy_high")
            row |= dict(zip(names, accuracy, strict=True))
        listed.append(row)
    return {"gradients": pd.DataFrame(listed)}
