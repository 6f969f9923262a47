"""How many networks are dead, by initialization and rule, in a table and a figure."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from jaxstudies.evidence.shares import shares_by
from jaxstudies.networks.diagnostics import COLLAPSE_RULES
from jaxstudies.output import plotting, table
from jaxstudies.output.words import words
from jaxstudies.studies.reported.claims import MARGINS
from jaxstudies.studies.reported.config import REPORTED
from jaxstudies.study import Results

CAPTIONS = {
    "shares": "Shares of dead networks after training by initialization, by five rules; bars are exact 95 % intervals. "
    "The dotted line is the share that the source notebook reports, the gray band what its 1,000 runs leave open, "
    "rounded up to whole points. An initialization and a rule that give its number lie on the band."
}
LABELS = ["activation", "target", "init", "epochs"]


def summarize(results: Results) -> pd.DataFrame:
    """Return a row per setting with its shares by each rule, and what is reported."""
    runs = results.runs
    flags = table.stacked(runs, "collapsed")[:, 1].astype(bool)
    told = pd.DataFrame(dict(zip(COLLAPSE_RULES, flags.T, strict=True)))
    counts = {activation: count / 1000 for activation, _, count in REPORTED}
    rows = shares_by(told, runs["nonfinite"].to_numpy(), runs[LABELS])
    return rows.assign(reported=rows["activation"].map(counts))


def plot(results: Results) -> dict[str, Figure]:
    """Draw the shares beside those that are reported."""
    summary = summarize(results)
    height = 1.8 + 0.6 * summary["init"].nunique()
    figure, axes = plt.subplots(1, len(REPORTED), figsize=(11, height), sharey=True)
    colors = plotting.COLORS
    kinds = {rule: (words(rule), "osD^v"[i], colors[i], colors[i]) for i, rule in enumerate(COLLAPSE_RULES)}
    for ax, (activation, target, count) in zip(axes, REPORTED, strict=True):
        rows = summary[summary["activation"] == activation]
        share, margin = count / 1000, MARGINS[count]
        ax.axvspan(share - margin, min(share + margin, 1.0), color="0.85")
        ax.axvline(share, color="0.3", ls=":")
        plotting.draw_shares(ax, rows, [words(init) for init in rows["init"]], kinds)
        ax.set_title(f"{words(activation)} on {words(target)}: reported {share:.1%}")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(kinds))
    figure.suptitle(f"Dead networks of the notebook's architecture, n = {summary['n'].min():,} or more each")
    return {"shares": figure}
