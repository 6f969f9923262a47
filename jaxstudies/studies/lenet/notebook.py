"""The source notebook's own numbers, at its own unequal budgets, beside the networks they could have been of."""

from dataclasses import replace
from functools import partial
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from jaxstudies.output import plotting
from jaxstudies.output.words import words
from jaxstudies.studies.lenet.claims import (
    ABOVE_0,
    BELOW_0,
    BN_OVER_DROPOUT,
    BOTH_OVER_BN,
    BOTH_OVER_DROPOUT,
    NONE_DIVERGED,
    OVER_RAW,
    QUESTION,
    SAME,
    WHY_MARGIN,
    Weights,
    contrast,
    final,
)
from jaxstudies.studies.lenet.summary import curves
from jaxstudies.studies.sources import NOTEBOOK
from jaxstudies.study import Claim, Results

MARK: plotting.Style = {
    "ls": "",
    "marker": "x",
    "color": "0.1",
    "ms": 9,
    "mew": 2,
    "label": "the notebook's one network",
}


class Reported(NamedTuple):
    """Epochs and test accuracy, in percent, that the notebook reports of an arm."""

    epochs: int
    accuracy: float


REPORTED: dict[str, Reported] = {
    "raw_bn": Reported(5, 95.11),
    "bn_input": Reported(5, 97.72),
    "dropout": Reported(15, 96.01),
    "bn_dropout": Reported(15, 97.95),
}
"""By the arm that was trained there: "standard normalization" was never given the training set's mean and deviation."""
BUDGETS = {arm: reported.epochs for arm, reported in REPORTED.items()}


def claim(id_: str, words: str, weights: Weights, problem: int, says: str) -> Claim:
    """Return a claim that a sum of test accuracies, each at the notebook's budget, is above 0."""
    sides = " ".join(f"{'+' if w > 0 else '-'} {arm} ({BUDGETS[arm]} epochs)" for arm, w in weights.items())
    return Claim(
        f"own_budgets.{id_}",
        f"{words} (running statistics, the notebook's budgets)",
        partial(contrast, weights=weights, estimator="running", epochs=BUDGETS),
        ABOVE_0,
        NOTEBOOK,
        "median",
        ends="(]",
        where=QUESTION.format(problem),
        says=says,
        unit="points of test accuracy",
        method=f"{sides}, same seeds",
        selection=NONE_DIVERGED,
        not_shown="the difference with precise statistics; at unequal budgets, what is due to the arms",
        primary=False,
        figure="notebook",
    )


LIES_BETWEEN = "dropout lies between standard normalization and batch norm on the input"
CLAIMS = (
    claim("input_bn", "batch norm on the input beats raw pixels", OVER_RAW, 3, "97.72 % against 95.11 %"),
    claim("above", "dropout beats raw pixels with batch norm", {"dropout": 1, "raw_bn": -1}, 4, LIES_BETWEEN),
    claim("below", "batch norm on the input beats dropout", BN_OVER_DROPOUT, 4, LIES_BETWEEN),
    claim("both_bn", "both beat batch norm on the input", BOTH_OVER_BN, 5, "both together are best"),
    claim("both_dropout", "both beat dropout", BOTH_OVER_DROPOUT, 5, "both together are best"),
)


def of_one_budget(
    id_: str, than: str, says: str, measure: str, split: str, holds: tuple[float, float], **more
) -> Claim:
    """Return a claim on batch norm on the input and raw pixels, both trained for the notebook's 5 epochs."""
    made = claim(id_, f"batch norm on the input ends at {than} raw pixels", OVER_RAW, 3, says)
    value = contrast if measure == "accuracy" else partial(final, measure=measure)
    unit = f"{'points of ' * (measure == 'accuracy')}{split} {measure}"
    effect = partial(value, weights=OVER_RAW, estimator="running", split=split, epochs=BUDGETS)
    return replace(made, effect=effect, holds=holds, unit=unit, **more)


SAME_THERE, IN_TRAINING = "both are almost the same", "training mode, in which it was compared there"
OF_ONE_BUDGET = (
    of_one_budget(
        "train_accuracy",
        "the training accuracy of",
        SAME_THERE,
        "accuracy",
        "train",
        SAME,
        ends="[]",
        margin=WHY_MARGIN,
        not_shown=IN_TRAINING,
    ),
    of_one_budget(
        "train_loss",
        "the training loss of",
        SAME_THERE,
        "loss",
        "train",
        (-0.01, 0.01),
        ends="[]",
        margin="ours: an eighth of the test loss that the notebook has of batch norm on the input, 0.078",
        not_shown=IN_TRAINING,
    ),
    of_one_budget("test_loss", "a lower test loss than", "0.0780 against 0.1521", "loss", "test", BELOW_0, ends="[)"),
)
"""Judged where all networks are trained for 5 epochs, as those two of the notebook's were."""


def reached(results: Results) -> dict[str, np.ndarray]:
    """Return final test accuracies, in percent, of the networks of each arm of the notebook, at its budget.

    They are with running averages. An arm that was trained for fewer epochs is left out.
    """
    runs = results.runs
    trained = [arm for arm in BUDGETS if (runs["arm"] == arm).any()]
    by_arm = {arm: curves(runs[runs["arm"] == arm], "accuracy", "running", "test") for arm in trained}
    return {arm: 100 * seen[:, BUDGETS[arm] - 1] for arm, seen in by_arm.items() if seen.shape[1] >= BUDGETS[arm]}


def tables(results: Results) -> dict[str, pd.DataFrame]:
    """Return where each of the notebook's accuracies lies among those of the same arm and budget."""
    rows = [
        {
            "arm": arm,
            "epochs": BUDGETS[arm],
            "notebook": REPORTED[arm].accuracy,
            "n": len(seen),
            "lowest": seen.min(),
            "median": np.median(seen),
            "highest": seen.max(),
            "share_below": np.mean(seen < REPORTED[arm].accuracy),
        }
        for arm, seen in reached(results).items()
    ]
    return {"notebook": pd.DataFrame(rows)} if rows else {}


def plot(results: Results, look: dict[str, plotting.Style]) -> dict[str, Figure]:
    """Draw each network of the notebook's arms at its budget, and the notebook's own; nothing if none was trained."""
    if not (drawn := reached(results)):
        return {}
    figure, ax = plt.subplots(figsize=(7, 4.2))
    for position, (arm, seen) in enumerate(drawn.items()):
        ax.plot(position + np.linspace(-0.25, 0.25, len(seen)), np.sort(seen), ls="", ms=4, **look[arm])
        ax.plot(position, REPORTED[arm].accuracy, **MARK)
    ax.set_xticks(range(len(drawn)), [f"{words(arm)}\n{BUDGETS[arm]} epochs" for arm in drawn])
    ax.set(ylabel="test accuracy in %", title="with batch norm's running averages, each point a seed, sorted")
    ax.legend(handles=ax.lines[1:2])
    ax.grid(axis="y", alpha=0.3)
    seeds = max(map(len, drawn.values()))
    figure.suptitle(f"The notebook's accuracies among others of their kind (n = {seeds} seeds)")
    return {"notebook": figure}
