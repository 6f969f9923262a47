"""Counts of networks in the dying-ReLU study, which add up over seeds however many there are."""

from collections.abc import Iterable
from itertools import product

import numpy as np
import pandas as pd

from jaxstudies.evidence import intervals, theory
from jaxstudies.networks.data import TARGETS
from jaxstudies.networks.diagnostics import COLLAPSE_RULES as RULES
from jaxstudies.output import table
from jaxstudies.studies.dying_relu.design import LABELS
from jaxstudies.study import Results

STAGES = ("born", "trained")
KEYS = LABELS[1:]
PAIRED = [*(name for name in LABELS if name != "activation"), "seed"]
"""What two networks have in common that start from the same key."""
KIND = [*LABELS, "nonfinite", "outcome", "relu"]
SYMMETRIC = ("he_normal", "he_uniform", "glorot_normal", "glorot_uniform", "lecun_normal", "normal")
"""Initializations with independent symmetric weights and zero biases: those of the theory."""


def bit(stage: str, rule: str) -> int:
    """Return the bit of an outcome that says that a network is collapsed at a stage by a rule."""
    return 1 << (STAGES.index(stage) * len(RULES) + RULES.index(rule))


def has(outcomes: pd.Series, stage: str, rule: str) -> pd.Series:
    """Return which outcomes are of networks that are collapsed at a stage by a rule."""
    return (outcomes & bit(stage, rule)) != 0


def derive(runs: pd.DataFrame) -> pd.DataFrame:
    """Add `outcome`: by which rules a network is collapsed at either stage, a bit for each."""
    flags = table.stacked(runs, "collapsed").reshape(len(runs), -1)
    return runs.assign(outcome=flags @ (1 << np.arange(flags.shape[1])))


def add_partners(runs: pd.DataFrame) -> pd.DataFrame:
    """Add `relu`: the outcome of the ReLU network of the same seed, -1 if none is there and finite.

    Rows that are condensed, which have no seed, have it already.
    """
    if "seed" not in runs:
        return runs
    single = runs["seed"].notna()
    networks = runs[single].drop(columns="relu", errors="ignore")
    finite_relu = (networks["activation"] == "relu") & ~networks["nonfinite"]
    partners = networks.loc[finite_relu, [*PAIRED, "outcome"]].rename(columns={"outcome": "relu"})
    networks = networks.merge(partners, on=PAIRED, how="left").fillna({"relu": -1})
    parts = [rows for rows in (networks, runs[~single]) if len(rows)] or [networks]
    return pd.concat(parts, ignore_index=True).astype({"relu": int})


def condense(runs: pd.DataFrame) -> pd.DataFrame:
    """Return a row per kind of network instead of per network, and in `count` how many there are.

    Networks are of one kind if they agree in labels and outcomes, as do the ReLU networks of their
    seeds. What is counted, in the summary and the claims, is so found of any number of seeds; what
    is averaged or drawn is of the first hundred thousand rows.
    """
    rows = add_partners(runs[[name for name in (*KIND, "seed", "count") if name in runs]])
    return rows.groupby(KIND, sort=False, as_index=False)["count"].sum()


def in_epochs(number: int | np.integer) -> str:
    """Return a budget in words."""
    return f"{number} epoch" if number == 1 else f"{number} epochs"


def born_dead_theory(row: pd.Series) -> tuple[float, float]:
    """Return theory's bounds on the share in a row of the summary, NaN where there are none."""
    measured = (row["activation"], row["stage"], row["rule"])
    if measured != ("relu", "born", "zero_slope") or row["init"] not in SYMMETRIC:
        return np.nan, np.nan
    low, high = theory.born_dead_bounds(row["depth"], row["width"])
    return (np.nan if TARGETS[row["target"]].dimension > 1 else low), high


def shares(kinds: pd.DataFrame, stages: Iterable[str] = STAGES, rules: Iterable[str] = RULES) -> pd.DataFrame:
    """Return a row per setting, stage and rule: the share collapsed, its Wilson interval, theory.

    Runs with NaN or infinity are counted in `nonfinite` and left out of `n`.
    """
    tables, finite = [], kinds["count"].where(~kinds["nonfinite"], 0)
    for stage, rule in product(stages, rules):
        born, trained = (has(kinds["outcome"], at, rule) for at in STAGES)
        over = finite if stage == "trained" else 0 * finite
        counted = {
            "n": finite,
            "count": finite * (trained if stage == "trained" else born),
            "died": over * (~born & trained),
            "revived": over * (born & ~trained),
            "nonfinite": kinds["count"] - finite,
        }
        tables.append(kinds[KEYS].assign(stage=stage, rule=rule, **counted))
    cells = pd.concat(tables).sort_index(kind="stable")
    summary = cells.groupby([*KEYS, "stage", "rule"], sort=False, as_index=False).sum()
    estimate = intervals.wilson_intervals(summary["count"], summary["n"])
    summary[["fraction", "low", "high"]] = np.stack(estimate, axis=1)
    summary[["theory_low", "theory_high"]] = [born_dead_theory(row) for _, row in summary.iterrows()]
    measures = ["n", "count", "fraction", "low", "high", "theory_low", "theory_high"]
    return summary[[*KEYS, "stage", "rule", *measures, "died", "revived", "nonfinite"]]


def summarize(results: Results) -> pd.DataFrame:
    """Return the shares collapsed in the settings that were asked for."""
    kinds = condense(results.runs)
    return shares(kinds[kinds["part"] == "study"].reset_index(drop=True))
