"""How many networks collapse, setting by setting, in a table and a figure."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from jaxstudies.evidence.shares import shares_by
from jaxstudies.output import plotting, table
from jaxstudies.output.words import words
from jaxstudies.studies.collapse.claims import REPORTED, RULE
from jaxstudies.studies.collapse.design import INITS
from jaxstudies.study import Results

CAPTIONS = {
    "shares": "Shares of networks that are constants at initialization and after training, by target, initialization "
    "and shape; bars are exact 95 % intervals. Crosses are what a summary of Lu, Shin, Su and Karniadakis (arXiv "
    "1903.06733) reports, from 1,000 networks each. If that paper holds here, crosses lie within the bars of filled "
    "circles, and randomized asymmetric initialization (RAI) moves them far to the left."
}
LABELS = ["part", "target", "init", "depth", "width", "loss", "epochs"]


def reported(row: pd.Series) -> float:
    """Return the share that the paper reports of a setting, NaN where it says nothing of it."""
    counts = REPORTED.get((row["target"], row["depth"], row["width"])) if row["part"] == "share" else None
    return counts[INITS.index(row["init"])] / 1000 if counts else np.nan


def summarize(results: Results) -> pd.DataFrame:
    """Return a row per setting with its shares, and what is reported."""
    runs, flags = results.runs, table.stacked(results.runs, "collapsed")[..., RULE].astype(bool)
    told = pd.DataFrame({"born": flags[:, 0], "collapsed": flags[:, 1]})
    rows = shares_by(told, runs["nonfinite"].to_numpy(), runs[LABELS])
    return rows.assign(reported=[reported(row) for _, row in rows.iterrows()])


def plot(results: Results) -> dict[str, Figure]:
    """Draw the shares, setting by setting, with those that were reported."""
    rows = summarize(results)
    figure, ax = plt.subplots(figsize=(8.4, 1.6 + 0.36 * len(rows)))
    shapes = [
        f"{words(row.target)}, {words(row.init)}, {row.depth} x {row.width}, {words(row.loss)}, {row.epochs} epochs"
        for row in rows.itertuples()
    ]
    kinds = {
        "born": ("constant at initialization", "o", "none", "C1"),
        "collapsed": ("after training", "o", "C1", "C1"),
    }
    plotting.draw_shares(ax, rows, shapes, kinds)
    ax.plot(rows["reported"].where(rows["n"] > 0), np.arange(len(rows)), "x", color="black", ms=8, label="reported")
    figure.legend(loc="outside lower center", ncols=3)
    figure.suptitle(f"Collapse of deep, narrow ReLU networks, n = {rows['n'].min():,} or more each")
    return {"shares": figure}
