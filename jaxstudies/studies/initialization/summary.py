"""The tables of the initialization study: a row per setting, stage and layer, and of gradients."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from jaxstudies.evidence import theory
from jaxstudies.evidence.intervals import Interval, Values, geometric_mean, mean_interval, mean_intervals
from jaxstudies.networks.activations import on_arrays
from jaxstudies.output.table import stacked
from jaxstudies.studies.initialization.config import Config
from jaxstudies.studies.initialization.draws import layer_scales
from jaxstudies.studies.initialization.simulation import GRADIENTS, MOMENTS, STAGES
from jaxstudies.study import Results


def by_setting(results: Results) -> Iterator[tuple[dict[str, object], str, pd.DataFrame]]:
    """Yield what tells settings and stages apart, the stage, and the runs; those of a stage stand together."""
    # Of very many runs, arrays are read of the first only.
    for activation, runs in results.runs.dropna(subset="grad").groupby("activation", sort=False):
        for stage in STAGES if results.config.epochs else STAGES[:1]:
            for (init, sigma), rows in runs.groupby(["init", "sigma"], sort=False, dropna=False):
                yield {"activation": activation, "init": init, "sigma": sigma, "stage": stage}, stage, rows


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
        q = np.ones_like(q) if init == "lsuv" else q
        moments.append(theory.gaussian_mean(lambda z: value(z) ** 2, q))
        q = gain * moments[-1]
    return np.mean(moments, axis=1)


def mean_size(values: Values) -> Interval:
    """Return the geometric mean, with its interval, of those sizes that neither vanished nor overflowed."""
    return geometric_mean(values[(values > 0) & np.isfinite(values)])


def summarize(results: Results) -> pd.DataFrame:
    """Return a row per setting, stage and layer.

    Columns are means over seeds, but `grad_norm`, E|dL/dz| of the layer, `grad_l2`, the norm of
    dL/dz of an image, and `weight_grad`, that of dL/dW, are geometric ones; `low` and `high` are
    the interval of `grad_norm`, the other two that of `second_moment`. `small` is the share of activations
    below .5, of those sampled.
    """
    tables = []
    for labels, stage, rows in by_setting(results):
        seen = {name: at_stage(rows, name, stage) for name in MOMENTS + GRADIENTS}
        means = {name: values.mean(axis=0) for name, values in seen.items()}
        sizes = {name: np.array([mean_size(layer) for layer in seen[name].T]) for name in GRADIENTS}
        moment, moment_low, moment_high = mean_intervals(seen["second_moment"])
        table = pd.DataFrame(labels | {"layer": np.arange(len(moment)) + 1, "n": len(rows), "second_moment": moment})
        table["theory_second_moment"] = theory_second_moments(rows, results.config) if stage == "born" else np.nan
        table["saturation"] = means["saturation"]
        table[["grad_norm", "low", "high"]] = sizes["grad"]
        table = table.assign(second_moment_low=moment_low, second_moment_high=moment_high)
        table = table.assign(**{name: means[name] for name in ("mean", "variance", "dead")})
        table["small"] = np.mean(at_stage(rows, "activation_sample", stage) < 0.5, axis=(0, 2))
        tables.append(table.assign(**{name: sizes[name][:, 0] for name in ("grad_l2", "weight_grad")}))
    return pd.concat(tables, ignore_index=True)


def tables(results: Results) -> dict[str, pd.DataFrame]:
    """Return the table of gradients: first over last hidden layer, and the slope, by setting."""
    listed = []
    for labels, stage, rows in by_setting(results):
        grad, grad_l2, slope = (at_stage(rows, name, stage) for name in ("grad", "grad_l2", "slope"))
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio, ratio_l2 = (mean_size(values[:, 0] / values[:, -1]) for values in (grad, grad_l2))
        row = {"n": len(rows)} | dict(zip(("ratio_first_last", "low", "high"), ratio, strict=True))
        row |= {"slope": mean_interval(slope[np.isfinite(slope)])[0], "ratio_first_last_l2": ratio_l2[0]}
        if stage == "trained":
            accuracy = mean_interval(rows["accuracy"].to_numpy(float))
            row |= dict(zip(("accuracy", "accuracy_low", "accuracy_high"), accuracy, strict=True))
        listed.append(labels | row)
    return {"gradients": pd.DataFrame(listed)}
