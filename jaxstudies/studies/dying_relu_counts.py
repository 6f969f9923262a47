"""Counts of networks in the dying-ReLU study, which add up over seeds however many there are."""

from itertools import product

import numpy as np
import pandas as pd

from jaxstudies import stats, theory
from jaxstudies.data import TARGETS
from jaxstudies.diagnostics import COLLAPSE_RULES as RULES

KEYS = ["activation", "target", "init", "depth", "width", "loss", "epochs"]
LABELS = ["part", *KEYS]
PAIRED = [*(name for name in LABELS if name != "activation"), "seed"]
"""What two networks have in common that start from the same key."""

PARTNER = {f"trained_{rule}": f"relu_{rule}" for rule in RULES}
KIND = [
    *LABELS, "nonfinite", "born_first_dead_layer",
    *(f"{stage}_{rule}" for stage in ("born", "trained", "died", "revived") for rule in RULES),
    *PARTNER.values(),
]  # fmt: skip
SYMMETRIC = ("he_normal", "he_uniform", "glorot_normal", "glorot_uniform", "lecun_normal", "normal")
"""Initializations with independent symmetric weights and zero biases: those of the theory."""


def condense(runs: pd.DataFrame) -> pd.DataFrame:
    """Return a row per kind of network instead of per network, and in `count` how many there are.

    Networks are of one kind if they agree in labels and outcomes, as do the ReLU networks of their
    seeds: `relu_RULE` is the outcome of that one, missing if it is not there or not finite. Among
    the rows there may be such kinds already, which have no seed: counts add.
    """
    single = runs["seed"].notna() if "seed" in runs else pd.Series(False, runs.index)
    networks = runs[single].reindex(columns=[*KIND[: -len(PARTNER)], "seed"])
    relu = networks[(networks["activation"] == "relu") & networks["nonfinite"].eq(False)]
    partners = relu[[*PAIRED, *PARTNER]].rename(columns=PARTNER)
    networks = networks.merge(partners, on=PAIRED, how="left").assign(count=1)
    kinds = pd.concat([runs[~single], networks]).reindex(columns=[*KIND, "count"])
    # Where else than on the map would the layer tell kinds apart that nobody asks for.
    on_map = kinds["part"] == "map"
    kinds["born_first_dead_layer"] = kinds["born_first_dead_layer"].where(on_map)
    return kinds.groupby(KIND, dropna=False, sort=False, as_index=False)["count"].sum()


def number(kinds: pd.DataFrame, outcome: str | None = None) -> int:
    """Return how many networks there are, or have an outcome."""
    counts = kinds["count"] if outcome is None else kinds["count"][kinds[outcome].eq(True)]
    return int(counts.sum())


def in_epochs(number: int | np.integer) -> str:
    """Return a budget in words."""
    return f"{number} epoch" if number == 1 else f"{number} epochs"


def expand_depths(births: pd.DataFrame, depths: list[int]) -> pd.DataFrame:
    """Return a row per depth and kind on the map, with `born_zero_slope` at that depth."""
    first = births["born_first_dead_layer"]
    return pd.concat(
        [
            births.assign(depth=depth, born_zero_slope=(first > 0) & (first <= depth))
            for depth in depths
        ],
        ignore_index=True,
    )


def born_dead_theory(row: pd.Series) -> tuple[float, float]:
    """Return theory's bounds on the share of born-dead networks, NaN where there are none."""
    if row["activation"] != "relu" or row["init"] not in SYMMETRIC:
        return np.nan, np.nan
    if TARGETS[row["target"]].dimension > 1:
        return np.nan, theory.born_dead_bounds(row["depth"], row["width"])[1]
    return theory.born_dead_bounds(row["depth"], row["width"])


def summarize(runs: pd.DataFrame) -> pd.DataFrame:
    """Return a row per setting, stage and rule: the share collapsed, its Wilson interval, theory.

    Runs with NaN or infinity are counted in `nonfinite` and left out of `n`.
    """
    kinds = condense(runs)
    study, births = kinds[kinds["part"] == "study"], kinds[kinds["part"] == "map"]
    if len(births):
        depths = study["depth"].unique() if len(study) else range(1, births["depth"].max() + 1)
        births = expand_depths(births, sorted(map(int, depths)))
    rows = []
    tables = [(births, ("born",), ("zero_slope",)), (study, ("born", "trained"), RULES)]
    for table, stages, rules in tables:
        for labels, group in table.groupby(KEYS, sort=False):
            setting = pd.Series(dict(zip(KEYS, labels, strict=True)))
            finite = group[~group["nonfinite"].eq(True)]
            n = number(finite)
            for stage, rule in product(stages, rules):
                count = number(finite, f"{stage}_{rule}")
                share, low, high = stats.wilson(count, n)
                known = stage == "born" and rule == "zero_slope"
                bounds = born_dead_theory(setting) if known else (np.nan, np.nan)
                moved = [
                    number(finite, f"{change}_{rule}") if stage == "trained" else 0
                    for change in ("died", "revived")
                ]
                rows.append(
                    (*labels, stage, rule, n, count, share, low, high, *bounds, *moved,
                     number(group) - n)
                )  # fmt: skip
    measures = ["n", "count", "fraction", "low", "high", "theory_low", "theory_high"]
    columns = [*KEYS, "stage", "rule", *measures, "died", "revived", "nonfinite"]
    return pd.DataFrame(rows, columns=columns)
