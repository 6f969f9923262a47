"""Names of code in the words and the math of whoever reads a figure."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

WORDS = {
    # Activations.
    "relu": "ReLU",
    "leaky_relu": "Leaky ReLU",
    "relu6": "ReLU6",
    "elu": "ELU",
    "celu": "CELU",
    "selu": "SELU",
    "gelu": "GELU",
    "silu": "SiLU",
    "hard_silu": "hard SiLU",
    "soft_sign": "softsign",
    # Initializations.
    "he_normal": "He normal",
    "he_uniform": "He uniform",
    "glorot_normal": "Glorot normal",
    "glorot_uniform": "Glorot uniform",
    "lecun_normal": "LeCun normal",
    "pytorch_default": "PyTorch default",
    "lsuv": "LSUV",
    "rai": "RAI",
    # Functions to learn.
    "abs": "|x|",
    "x_sin_5x": "x sin 5x",
    "abs_x_sin_5x": "|x sin 5x|",
    "step_sin": "[x > 0] + 0.2 sin 5x",
    "abs_sum_diff": "(|x₁ + x₂|, |x₁ − x₂|)",
    # Losses and other measures.
    "mse": "MSE",
    "mae": "MAE",
    "rmse": "RMSE",
    "r2": "R²",
    # Rules for a collapsed network.
    "zero_slope": "slope 0 everywhere",
    "zero_range": "range 0",
    "range_1e-6": "range < 10⁻⁶",
    "range_1e-3": "range < 10⁻³",
    "r2_below_0.01": "R² < 0.01",
    # Optimizers and other ways to learn.
    "adam": "Adam",
    "sgd": "SGD",
    "rmsprop": "RMSprop",
    "svm": "SVM",
    "bayes_point": "Bayes point",
    # Images, and networks for them.
    "mnist": "MNIST",
    "bn_input": "batch norm on input",
    "raw_bn": "raw pixels",
    "bn_dropout": "batch norm and dropout",
    "conv1": "conv 1",
    "conv2": "conv 2",
    "dense1": "dense 1",
    "dense2": "dense 2",
}
STAGES = {"born": "at initialization", "trained": "after training"}
"""When a network is looked at."""


SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number_words(number: float) -> str:
    """Return six significant digits of a number, a power of ten where it is very small or large."""
    digits, _, exponent = f"{number:g}".replace("-", "−", int(number < 0)).partition("e")
    power = "10" + str(int(exponent)).translate(SUPERSCRIPTS) if exponent else ""
    return power if power and digits == "1" else f"{digits} × {power}" if power else digits


STATISTICS = ("measure", "n", "estimate", "low", "high", "nonfinite")
"""Columns of a summary, behind those of the labels."""


def beside_statistics(label: str) -> str:
    """Return the name of a label's column in a summary, where a factor may be called `n`, too."""
    return f"{label} (factor)" if label in STATISTICS else label


def literal(text: str) -> str:
    """Return a text whose dollars are no marks of mathematics in a figure."""
    return text.replace("$", r"\$")


def words(name: object) -> str:
    """Return a name or a level in words for a figure; of a name that is not known, underscores become spaces."""
    if isinstance(name, bool | np.bool):
        return "yes" if name else "no"
    if pd.isna(name):
        return "none"
    if isinstance(name, float | np.floating):
        return number_words(float(name))
    return WORDS.get(str(name), literal(str(name).replace("_", " ")))


def distinct_words(levels: Iterable[object]) -> list[str]:
    """Return different levels in words, no two alike: those that round to the same have all their digits."""
    listed = list(levels)
    said = [words(level) for level in listed]
    return [literal(str(level)) if said.count(text) > 1 else text for level, text in zip(listed, said, strict=True)]
