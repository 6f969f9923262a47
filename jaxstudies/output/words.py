"""Names of code in the words and the math of whoever reads a figure."""

from collections.abc import Callable, Iterable
from functools import partial

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
    "keras_normal": "normal, σ = 0.05",
    "keras_uniform": "uniform, ±0.05",
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
    "dropout_dense": "dropout in dense layers",
    "bn_dropout_dense": "batch norm, dropout in dense layers",
    "bn_dropout_last": "batch norm, dropout behind it",
    "conv1": "conv 1",
    "conv2": "conv 2",
    "dense1": "dense 1",
    "dense2": "dense 2",
}
STAGES = {"born": "at initialization", "trained": "after training"}
"""When a network is looked at."""


LONGEST = 120
"""Letters of a name that are shown: beginning and end."""
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number_words(number: float, significant: int = 6) -> str:
    """Return significant digits of a number, by default six; a power of ten where it is very small or large."""
    digits, _, exponent = f"{number:.{significant}g}".replace("-", "−", int(number < 0)).partition("e")
    power = "10" + str(int(exponent)).translate(SUPERSCRIPTS) if exponent else ""
    return power if power and digits == "1" else f"{digits} × {power}" if power else digits


STATISTICS = ("measure", "n", "estimate", "low", "high", "nonfinite")
"""Columns of a summary, behind those of the labels."""


def beside_statistics(label: str) -> str:
    """Return the name of a label's column in a summary, where a factor may be called `n`, too."""
    return f"{label} (factor)" if label in STATISTICS else label


def words(name: object, significant: int = 6) -> str:
    """Return a name or a level in words; of a name that is not known, underscores become spaces.

    A dollar is one, and does not begin math.
    """
    if isinstance(name, bool | np.bool):
        return "yes" if name else "no"
    if pd.isna(name):
        return "none"
    if isinstance(name, float | np.floating):
        return number_words(float(name), significant)
    text = str(name) if len(str(name)) <= LONGEST else f"{str(name)[: LONGEST // 2]} ... {str(name)[-LONGEST // 2 :]}"
    return WORDS.get(text, text.replace("_", " ")).replace("$", r"\$")


def words_apart(names: Iterable[object], taken: Iterable[str] = ()) -> list[str]:
    """Return names or levels in words that tell them apart from one another and from what is taken.

    Numbers have as many digits as that needs; where words are alike, names stay as they are in code.
    """
    listed, others = list(names), set(taken)
    ways: list[Callable[[object], str]] = [partial(words, significant=digits) for digits in (6, 9, 17)]
    for say in (*ways, lambda name: str(name).replace("$", r"\$")):
        said = list(map(say, listed))
        if len({*said, *others}) == len(said) + len(others):
            return said
    return [f"{text} ({number})" for number, text in enumerate(said, 1)]
