"""Shares of outcomes, group by group."""

import numpy as np
import pandas as pd

from jaxstudies.evidence.intervals import exact_share, wilson_intervals


def shares_by(outcomes: pd.DataFrame, nonfinite: np.ndarray, groups: pd.DataFrame) -> pd.DataFrame:
    """Return a row per group, in the order in which they appear: the groups' labels, counts, shares.

    Args:
        outcomes: Truth values, a column for each kind of outcome and a row for each run.
        nonfinite: Which runs ended with NaN or infinity: they are counted, and left out of `n` and of the shares.
        groups: Labels of the runs.

    Returns:
        The labels, `n` and `nonfinite`, and for each outcome its share NAME with the exact 95 % interval from NAME_low
        to NAME_high, NaN where no run is finite.
    """
    rows = []
    for _, alike in groups.reset_index(drop=True).groupby(list(groups), sort=False, dropna=False):
        places = alike.index.to_numpy()
        group = outcomes.iloc[places[~nonfinite[places].astype(bool)]]
        row = {name: column.iloc[0] for name, column in alike.items()}
        row |= {"n": len(group), "nonfinite": len(places) - len(group)}
        for name in outcomes:
            ends = exact_share(int(group[name].sum()), len(group))
            row |= dict(zip((name, f"{name}_low", f"{name}_high"), ends, strict=True))
        rows.append(row)
    return pd.DataFrame(rows)


def shares_at(runs: pd.DataFrame, by: list[str], outcome: str) -> pd.DataFrame:
    """Return a row per group of runs: its labels, `count`, and the share of an outcome from `low` to `high` (Wilson).

    Of very many groups, for which exact intervals would take long.
    """
    found = runs.groupby(by, sort=False)[outcome].agg(["sum", "count"]).reset_index()
    interval = wilson_intervals(found.pop("sum"), found["count"])
    return found.assign(**dict(zip(("share", "low", "high"), interval, strict=True)))
