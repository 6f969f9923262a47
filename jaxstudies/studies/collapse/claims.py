"""What the papers say of how many networks collapse, and to which constant."""

from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from jaxstudies.evidence import theory
from jaxstudies.networks.diagnostics import COLLAPSE_RULES
from jaxstudies.output.words import words
from jaxstudies.selection import Selector
from jaxstudies.studies.collapse.config import Config
from jaxstudies.studies.collapse.design import DEEP, DEPTH, INITS, SAFE, TARGETS
from jaxstudies.studies.dying_relu.claims import COLLAPSE, PAPER, SELECTION, by_other_rules, flags_of
from jaxstudies.study import Claim

PREVENTS = "randomized asymmetric initialization effectively prevents dying ReLU"
SECOND_HAND = "its numerical examples, as a summary of the paper has them"
REPORTED = {
    ("abs", DEPTH, 2): (938, 326),
    ("x_sin_5x", DEPTH, 2): (919, 292),
    ("abs_sum_diff", DEPTH, 2): (768, 96),
    ("abs_sum_diff", *DEEP): (768, 96),
}
"""Networks of a thousand that the paper found collapsed, by He's and by randomized asymmetric initialization.

The summary does not say which shape the networks of the two-dimensional target have; both that the papers name are
tried.
"""
MARGIN = 0.05, "ours: by chance two samples of 1,000 networks differ by up to 4.4 points, rounded up to a whole point"
FLAT = words("abs_sum_diff")
OWN_RULE = "zero_slope"
RULE = COLLAPSE_RULES.index(OWN_RULE)
METHOD = "collapsed: the output's slope is 0 at all points of a grid, float32"
NAMES = dict(zip(INITS, ("he", "rai"), strict=True))


def collapsed(of: Selector, stage: int = 1, rule: str = OWN_RULE, **labels: Any) -> pd.Series:
    """Return which networks are constants, NaN for those that ended with NaN or infinity, by seed."""
    return flags_of(of, rule, stage, **{"part": "share", "loss": "mse", "depth": DEPTH, "width": 2} | labels)


def difference(of: Selector, first: dict[str, Any], second: dict[str, Any], rule: str = OWN_RULE) -> pd.Series:
    """Return which networks are constants, minus which of the same seeds in another setting."""
    return collapsed(of, rule=rule, **first) - collapsed(of, rule=rule, **second)


def distance(of: Selector, loss: str, near: str, far: str | None = None, rule: str = OWN_RULE) -> pd.Series:
    """Return how far constants are from a center of the target, or nearer than to another one."""
    labels: dict[str, Any] = {"part": "constant", "loss": loss}
    constant = collapsed(of, rule=rule, **labels) == 1
    gap = of(f"gap_to_{near}", **labels)
    return (gap if far is None else of(f"gap_to_{far}", **labels) - gap)[constant]


def share_claims() -> list[Claim]:
    """Return the claims on how many networks collapse, by target and initialization."""
    share = partial(Claim, source=PAPER, unit="share of networks", method=METHOD)
    says = "with He's initialization over 90 % of a thousand networks of ten layers and width 2 collapse"
    listed = [
        share(
            f"over_90.{target}",
            f"More than nine in ten collapse with He's initialization, on {words(target)}",
            partial(collapsed, target=target, init="he_normal"),
            (0.9, 1.0),
            estimand="share",
            ends="(]",
            where=SECOND_HAND,
            says=says,
        )
        for target in TARGETS[:3]
    ]
    for (target, depth, width), counts in REPORTED.items():
        told = f"{depth} layers of width {width}"
        for init, count in zip(INITS, counts, strict=True):
            claim = share(
                f"reported.{NAMES[init]}.{target}.{depth}x{width}",
                f"{count / 10:g} % of {told} collapse with {words(init)}, on {words(target)}",
                partial(collapsed, target=target, init=init, depth=depth, width=width),
                (-MARGIN[0], MARGIN[0]),
                estimand="share_against",
                arguments={"count": count, "of": 1000},
                margin=MARGIN[1],
                where=SECOND_HAND,
                says=f"{count / 10:g} % of 1,000 networks collapse",
                primary=False,
            )
            listed.append(claim)
    lowers = partial(
        share, estimand="share_difference", ends="[)", unit="difference of shares", where="abstract", says=PREVENTS
    )
    for target in TARGETS:
        pair = [{"target": target, "init": init} for init in reversed(INITS)]
        effect = partial(difference, first=pair[0], second=pair[1])
        listed.append(lowers(f"rai_lowers.{target}", f"RAI lowers the share, on {words(target)}", effect, (-1.0, 0.0)))
    return listed


def shape_claims() -> list[Claim]:
    """Return the claims on shapes: theory at birth, the safe region after training, width and depth."""
    share = partial(Claim, source=PAPER, unit="share of networks", method=METHOD)
    low, high = theory.born_dead_bounds(DEPTH, 2)
    born = share(
        "bounds",
        f"Between {100 * low:.1f} and {100 * high:.1f} % of nine hidden layers of width 2 are born dead (|x|)",
        partial(collapsed, stage=0, target="abs", init="he_normal"),
        (low, high),
        estimand="share",
        where="its theory of networks at birth, second hand",
        says="bounds on the probability that a network is born dead",
        margin="the bounds themselves",
    )
    safe = Claim(
        "safe_region",
        f"At most one in ten collapses in the safe region: nine hidden layers of width {SAFE} (|x|)",
        partial(collapsed, target="abs", width=SAFE),
        (0.0, 0.1),
        COLLAPSE,
        "share",
        unit="share of networks",
        where="abstract",
        says="a diagram of a safe region, for networks that avoid the collapse",
        margin="ours; the diagram is of birth, with a probability of at most 9 / 2^7 here",
        method=METHOD,
    )
    flat = {"target": "abs_sum_diff", "init": "he_normal"}
    widths = [flat | {"width": width} for width in (2, 3, 4)]
    less = partial(
        Claim,
        source=COLLAPSE,
        estimand="share_difference",
        ends="[)",
        method=METHOD,
        holds=(-1.0, 0.0),
        unit="difference of shares",
    )
    wider = [
        less(
            f"wider.{second['width']}",
            f"Fewer collapse at width {second['width']} than at {first['width']}, on {FLAT}",
            partial(difference, first=second, second=first),
            where="abstract",
            says="the collapse is that of deep and narrow networks",
        )
        for first, second in pairwise(widths)
    ]
    deeper = less(
        "deeper",
        f"Fewer collapse with 9 hidden layers than with 19, of width 4, on {FLAT}",
        partial(difference, first=widths[2], second=widths[2] | {"depth": 19}),
        source=PAPER,
        where="abstract",
        says="a deep ReLU network will die in probability as its depth grows",
    )
    return [born, safe, *wider, deeper]


def constant_claims(config: Config) -> list[Claim]:
    """Return the claims on which constant it is."""
    of_dead = partial(Claim, source=COLLAPSE, estimand="median", selection=SELECTION)
    says = "a collapsed network outputs the mean of the target under MSE, its median under MAE"
    listed = []
    for loss, near, far in (("mse", "mean", "median"), ("mae", "median", "mean")):
        unit, budget = "sd of the target", f"{config.long_epochs} epochs, x sin 5x"
        said = partial(of_dead, unit=unit, says=says, where="abstract", settings={"part": "constant", "loss": loss})
        at = partial(distance, loss=loss, near=near)
        words_ = f"Under {words(loss)} a collapsed network outputs the {near}"
        listed += [
            said(f"{loss}.{near}", f"{words_} ({budget})", at, (0.0, 0.1), margin="ours: a tenth of a deviation"),
            said(
                f"{loss}.not_{far}", f"{words_} rather than the {far}", partial(at, far=far), (0.0, np.inf), ends="(]"
            ),
        ]
    return listed


def claims(config: Config) -> list[Claim]:
    """Return the papers' claims, each of which can be read by another rule for constants."""
    listed = [*share_claims(), *shape_claims(), *constant_claims(config)]
    return [replace(claim, readings=by_other_rules(claim.effect, OWN_RULE)) for claim in listed]
