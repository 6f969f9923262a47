"""Which initialization and which rule give the notebook's shares."""

from functools import partial
from itertools import product

import pandas as pd

from jaxstudies.networks.diagnostics import COLLAPSE_RULES
from jaxstudies.output.words import words
from jaxstudies.selection import Selector
from jaxstudies.studies.dying_relu.claims import PROBLEMS, flags_of
from jaxstudies.studies.reported.config import REPORTED, Config, Reported
from jaxstudies.studies.sources import NOTEBOOK
from jaxstudies.study import Claim

OWN_RULE = "zero_range"
"""The notebook's: all outputs are equal."""
MARGINS = {996: 0.01, 830: 0.03}
"""Sampling error of a count of the notebook's, rounded up to whole points."""


def collapsed(of: Selector, activation: str, init: str, rule: str) -> pd.Series:
    """Return which networks are dead after training, by seed; NaN for those that ended with NaN or infinity."""
    return flags_of(of, rule, activation=activation, init=init)


def claims(config: Config) -> list[Claim]:
    """Return, for each network, initialization and rule, the claim that it gives the notebook's share."""
    return [claim(*each) for each in product(REPORTED, config.inits, COLLAPSE_RULES)]


def claim(reported: Reported, init: str, rule: str) -> Claim:
    """Return the claim that a setting gives the notebook's share by a rule."""
    activation, target, count = reported
    margin, found = MARGINS[count], f"{count / 10:g} % of {words(activation)} networks are dead on {words(target)}"
    return Claim(
        f"{activation}.{init}.{rule}",
        f"{found}, from {words(init)} ({words(rule)})",
        partial(collapsed, activation=activation, init=init, rule=rule),
        (-margin, margin),
        NOTEBOOK,
        "share_against",
        arguments={"count": count, "of": 1000},
        unit="difference of shares",
        method=f"rule: {words(rule)}, at 100 points after training, float32",
        margin=f"sampling error of the notebook's 1,000 runs, rounded up to whole points: {100 * margin:g}",
        where=PROBLEMS,
        says=f"{count / 10:g} % of 1,000 networks are dead: 100 outputs are equal",
        primary=rule == OWN_RULE,
        not_shown="that the notebook had this initialization, whose name is cut off in its text",
    )
