"""Which networks are dead: by kind, by depth, and the shares of them."""

import pandas as pd

from jaxstudies.studies.dying_relu import counts
from jaxstudies.studies.dying_relu.design import LABELS
from jaxstudies.study import Results

KIND = [*LABELS, "first_dead_layer", "first_nonfinite_layer", "outcome", "nonfinite"]


def derive(runs: pd.DataFrame) -> pd.DataFrame:
    """Add `outcome` as the study of dying ReLU has it; of births it is 0."""
    rows = runs.reindex(columns=list(dict.fromkeys([*runs, *KIND])))
    births = rows["part"] == "map"
    outcome = pd.Series(0, rows.index)
    if not births.all():
        outcome[~births] = counts.derive(rows[~births])["outcome"]
    nonfinite = rows["nonfinite"].eq(True)
    layers = {name: rows[name].fillna(0).astype(int) for name in ("first_dead_layer", "first_nonfinite_layer")}
    return rows.assign(outcome=outcome, nonfinite=nonfinite, **layers)


def condense(runs: pd.DataFrame) -> pd.DataFrame:
    """Return a row per kind of network instead of per network, and in `count` how many there are."""
    return runs.groupby(KIND, sort=False, as_index=False)["count"].sum()


def expand_depths(births: pd.DataFrame, depths: list[int]) -> pd.DataFrame:
    """Return a row per depth and kind, with the outcome of a network of that depth."""
    first, overflow, bit = births["first_dead_layer"], births["first_nonfinite_layer"], counts.bit("born", "zero_slope")
    dies_first = (first > 0) & ((overflow == 0) | (first < overflow))
    at = []
    for depth in depths:
        dead = dies_first & (first <= depth)
        nonfinite = ~dead & (overflow > 0) & (overflow <= depth)
        at.append(births.assign(depth=depth, outcome=bit * dead, nonfinite=nonfinite))
    return pd.concat(at, ignore_index=True)


def summarize(results: Results) -> pd.DataFrame:
    """Return a row per shape at birth, and per shape, stage and rule of those trained."""
    kinds = condense(results.runs)
    births, after = (kinds[kinds["part"] == part] for part in ("map", "study"))
    summary = counts.shares(expand_depths(births, sorted(results.config.depths)), ("born",), ("zero_slope",))
    return pd.concat([summary, counts.shares(after)], ignore_index=True) if len(after) else summary
