"""What became of the networks: ranked, drawn and judged."""

from functools import partial

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from jaxstudies.evidence.shares import shares_by
from jaxstudies.output import plotting, table
from jaxstudies.output.words import words
from jaxstudies.selection import Selector
from jaxstudies.studies.rescue.config import Config
from jaxstudies.study import Claim, Results

LEARNED = 0.9
"""R² on a grid above which a network has learned its target."""
CAPTIONS = {
    "ranking": "Networks by remedy, the best first, with the number of their parameters: shares that are constants at "
    f"initialization and after training, and that have learned the target, R² above {LEARNED:g} on a grid; bars are "
    "exact 95 % intervals. A network is a constant if its outputs differ by less than 0.001 standard deviations of "
    "the target. What rescues has its square on the right; a constant before but not after was revived."
}


RESCUED = {
    "learned": lambda of, at: of("r2", **at) > LEARNED,
    "range_1e-3": lambda of, at: of("constant", stage=1, **at) == 0,
    "r2_below_0.01": lambda of, at: of("r2", **at) >= 0.01,
}
"""Which networks are rescued: those that have learned, or, read by rules for constants, those that are none."""


def rescues(of: Selector, remedy: str, rule: str = "learned") -> pd.Series:
    """Return which networks are rescued, minus which are so without a remedy; NaN where one of both is not finite."""
    told = [(RESCUED[rule](of, at), of("nonfinite", **at)) for at in ({"remedy": remedy}, {"remedy": "none"})]
    first, second = (rescued.astype(float).where(nonfinite == 0) for rescued, nonfinite in told)
    return first - second


def claims(config: Config) -> list[Claim]:
    """Return the claims that more networks learn the target with a remedy than without one."""
    if "none" not in config.remedies:
        return []
    over = partial(Claim, holds=(0.0, 1.0), estimand="share_difference", ends="(]", unit="difference of shares")
    how = f"R² above {LEARNED:g} on a grid, with the remedy minus without one, on the same seeds"
    return [
        over(
            f"rescues.{name}",
            f"more networks learn with {words(name)} than without a remedy",
            partial(rescues, remedy=name),
            method=how,
            readings={rule: partial(rescues, remedy=name, rule=rule) for rule in RESCUED if rule != "learned"},
        )
        for name in config.remedies
        if name != "none"
    ]


def summarize(results: Results) -> pd.DataFrame:
    """Return a row per remedy with its shares, the best first."""
    runs, (born, after) = results.runs, table.stacked(results.runs, "constant").T.astype(bool)
    told = {"born": born, "died": ~born & after, "revived": born & ~after, "constant": after}
    told = pd.DataFrame(told | {"learned": runs["r2"].to_numpy() > LEARNED})
    rows = shares_by(told, runs["nonfinite"].to_numpy(), runs[["remedy", "parameters"]])
    return rows.sort_values("learned", ascending=False, kind="stable", ignore_index=True)


def plot(results: Results) -> dict[str, Figure]:
    """Draw the shares, remedy by remedy."""
    rows, config = summarize(results), results.config
    figure, ax = plt.subplots(figsize=(8.0, 1.6 + 0.36 * len(rows)))
    kinds = {"born": ("constant at initialization", "o", "none", "C1"), "constant": ("after training", "o", "C1", "C1")}
    kinds["learned"] = f"learned, R² > {LEARNED:g}", "s", "C2", "C2"
    names = [f"{words(row.remedy)} ({row.parameters:,})" for row in rows.itertuples()]
    plotting.draw_shares(ax, rows, names, kinds)
    figure.legend(loc="outside lower center", ncols=3)
    shape = f"{config.depth} layers of width {config.width}, {words(config.target)}, {config.epochs} epochs"
    figure.suptitle(f"Remedies for dying ReLU: {shape}, n = {rows['n'].min():,} each")
    return {"ranking": figure}
