"""The figures of the LeNet-5 study."""

from collections.abc import Iterable
from itertools import product

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from jaxstudies.output.table import stacked
from jaxstudies.output.words import words
from jaxstudies.studies.lenet import notebook
from jaxstudies.studies.lenet.panels import (
    LOOK,
    contrasts_of,
    draw_curves,
    draw_differences,
    draw_final,
    draw_parameters,
    draw_units,
    set_scale,
)
from jaxstudies.studies.lenet.simulation import ESTIMATORS, KINDS, NORMS, SPLITS
from jaxstudies.study import Results

CAPTIONS = {
    "accuracy": "Accuracy in evaluation mode after each epoch, with batch norm's running averages (above) and with its "
    "statistics recomputed over the training set (below); means over seeds with 95 % t bands. All arms but plain and "
    "those of dropout alone have batch norm in the hidden layers; standardized, batch norm on input and raw pixels "
    "differ only in how the input is scaled and shifted. If batch norm undoes that, these three coincide below, "
    "whatever they do above.",
    "loss": "Cross-entropy in evaluation mode after each epoch, with batch norm's running averages (above) and with "
    "its statistics recomputed over the training set (below); means over seeds with 95 % t bands. All arms but plain "
    "and those of dropout alone have batch norm in the hidden layers; standardized, batch norm on input and raw pixels "
    "differ only in how the input is scaled and shifted. If batch norm undoes that, these three coincide below, "
    "whatever they do above. Spikes that are above and not below come from the running averages.",
    "final": "Left, the test accuracy of each network after training, with batch norm's running averages (open) and "
    "with statistics recomputed over the training set (filled). Right, differences between arms on the same seeds: "
    "small points are seeds, large ones their mean with a 95 % t interval; the interaction is what both gain together "
    "beyond the sum of what each gains alone. The first arm is better if the interval lies to the right of 0, and the "
    "two are equal for practical purposes if it lies within the gray margin.",
    "units": "Left, the variance of units in training mode over that in evaluation mode: away from 1, a layer sees "
    "other inputs in training than in evaluation. Right, the mean |correlation| between the units of a layer: if "
    "dropout breaks up co-adaptation, dropout lies below plain. Means over seeds with 95 % t intervals.",
    "batch_norm": "Batch norm's learned scale and bias and its running mean and variance by layer: violins over all "
    "units of all seeds, with a black bar at the median; the input has one unit, drawn as a point per seed. If batch "
    "norm undoes how the input is scaled and shifted, standardized, batch norm on input and raw pixels have equal "
    "violins, but for mean and variance in the first layer.",
    "notebook": "Test accuracy of each network at the notebook's own budgets, with batch norm's running averages, by "
    "which it evaluated, beside the accuracy of the one network that it had of each arm (crosses). Its budgets differ: "
    "arms stand beside one another here as they did there, not as they should.",
    "page": "From above: test accuracy and validation loss by epoch, with running averages and with precise "
    "statistics; final test accuracy, a point per seed, and paired differences, right of 0 where the first arm is "
    "better; how much the variance of units differs between training and evaluation, and how correlated units are. "
    "What differs between arms with running averages but not with precise statistics is an effect of the evaluation, "
    "not of the training.",
}


def finished(figure: Figure, results: Results, title: str, ncols: int, names: Iterable[str]) -> Figure:
    """Give a figure a legend, and a title that names data set, networks and epochs at `{}`."""
    seeds, epochs = results.runs.groupby("arm").size().min(), len(results.runs["loss"].iloc[0])
    handles = [Line2D([], [], **{"label": words(name), "ms": 5} | LOOK[name]) for name in names]
    # Rows of four, if one does not hold them: the longest names of six are wider than the figure.
    figure.legend(handles=handles, loc="outside lower center", ncols=ncols if len(handles) <= ncols else 4)
    figure.suptitle(title.format(f"{words(results.config.dataset)}, n = {seeds} seeds per arm, {epochs} epochs"))
    return figure


def plot_curves(results: Results, measure: str) -> Figure:
    """Draw accuracy or loss by epoch on the three splits, a row for each estimator."""
    figure, axes = plt.subplots(2, 3, figsize=(11, 6.4), sharex=True, sharey=True)
    for ax, (estimator, split) in zip(axes.flat, product(ESTIMATORS, SPLITS), strict=True):
        draw_curves(ax, results.runs, measure, split, estimator)
        ax.set_title(f"{split}, {LOOK[estimator]['label']}")
        ax.label_outer()
    set_scale(axes[0, 0], measure, stacked(results.runs, measure))
    title = "LeNet-5 in evaluation mode ({}; mean, 95 % t interval over seeds)"
    return finished(figure, results, title, 6, results.runs["arm"].unique())


def plot_final(results: Results) -> Figure:
    """Draw final accuracies as a point per seed, and paired differences."""
    # A difference has two lines of words.
    figure, axes = plt.subplots(1, 2, figsize=(11, max(4.8, 2.2 + 0.5 * len(contrasts_of(results.runs)))))
    draw_final(axes[0], results.runs, "each point a seed")
    draw_differences(axes[1], results, "paired by seed: mean, 95 % t interval")
    return finished(figure, results, "Test accuracy after training ({})", 2, ESTIMATORS)


def plot_parameters(results: Results) -> Figure:
    """Draw violins of the batch-norm parameters by layer, the input included."""
    normalized = results.runs[results.runs[NORMS[1]].notna()]
    figure, axes = plt.subplots(2, 2, figsize=(11, 7.2))
    for ax, kind in zip(axes.flat, KINDS, strict=True):
        draw_parameters(ax, normalized, kind)
    return finished(figure, results, "Batch norm after training ({})", 4, normalized["arm"].unique())


def plot_units(results: Results) -> Figure:
    """Draw variance shift and co-adaptation by layer."""
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.6))
    draw_units(axes, results.runs, ("variance shift (1: none)", "co-adaptation"))
    title = "Units by layer ({}; mean, 95 % t interval over seeds)"
    return finished(figure, results, title, 6, results.runs["arm"].unique())


def plot_page(results: Results) -> Figure:
    """Draw the study on one page."""
    runs = results.runs
    more = max(0.2 * (len(contrasts_of(runs)) - 7), 0)
    figure, axes = plt.subplots(4, 2, figsize=(8.3, 11.7 + 2.3 * more), height_ratios=(1, 1, 1.3 + more, 1))
    panels = product((("accuracy", "test"), ("loss", "validation")), ESTIMATORS)
    for ax, ((measure, split), estimator) in zip(axes[:2].flat, panels, strict=True):
        draw_curves(ax, runs, measure, split, estimator, lw=1.3)
        ax.set_title(f"{split} {measure}, {LOOK[estimator]['label']}")
    draw_final(axes[2, 0], runs, "open: running, filled: precise")
    draw_differences(axes[2, 1], results, "paired differences of test accuracy")
    axes[2, 0].tick_params(axis="x", labelsize=8)
    axes[2, 1].tick_params(axis="y", labelsize=7)
    axes[2, 1].xaxis.label.set_size(8)
    draw_units(axes[3], runs, ("variance shift by layer", "co-adaptation by layer"))
    title = "LeNet-5 ({}; mean and 95 % t interval over seeds)"
    with plt.rc_context({"legend.fontsize": 8}):
        return finished(figure, results, title, 4, [*runs["arm"].unique(), *ESTIMATORS])


def plot(results: Results) -> dict[str, Figure]:
    """Draw curves, final accuracies, units by layer, all on a page, and batch norm if there is."""
    drawn = {measure: plot_curves(results, measure) for measure in ("accuracy", "loss")}
    drawn |= {"final": plot_final(results), "units": plot_units(results), "page": plot_page(results)}
    drawn |= notebook.plot(results, LOOK)
    # In a table of arms without batch norm there is no such column.
    return drawn | ({"batch_norm": plot_parameters(results)} if NORMS[1] in results.runs else {})
