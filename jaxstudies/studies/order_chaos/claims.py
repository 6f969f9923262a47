"""The claims that mean field is right."""

from functools import partial

import numpy as np
import pandas as pd

from jaxstudies.selection import Selector
from jaxstudies.studies.order_chaos.config import Config
from jaxstudies.studies.order_chaos.summary import POINT, expected
from jaxstudies.study import Claim, Results

POPULATION = (
    "A seed draws weights, biases, the gradient that is sent back and eight of MNIST's training images, shared by all "
    "points of a diagram; MNIST is one data set."
)


def gaps(results: Results) -> pd.Series:
    """Return log(factor / chi), averaged over the diagram's points, by activation and seed."""
    runs = results.runs
    gap = runs["log_factor"] - np.log([expected(*point)[1] for point in runs[POINT].itertuples(index=False)])
    return gap.where(np.isfinite(gap)).groupby([runs["activation"], runs["seed"]], sort=False).mean()


def gap(of: Selector, activation: str) -> pd.Series:
    """Return the gap of an activation by seed."""
    return of.shared(gaps)[activation]


def claims(config: Config) -> list[Claim]:
    """Return the claims that mean field tells the gradients' factor, within 10 % on average."""
    source, unit, how = "Schoenholz et al. (arXiv 1611.01232)", "log(factor / chi)", "mean over the diagram's points"
    says = "mean field of backpropagation: gradients vanish in the ordered phase and explode in the chaotic one"
    margin, near = "ours: a tenth of the factor", "each is a mean over a diagram's many points"

    def claim(name: str) -> Claim:
        id_, words, settings = f"mean_field.{name}", f"gradients grow by chi per layer ({name})", {"activation": name}
        effect = partial(gap, activation=name)
        return Claim(
            id_,
            words,
            effect,
            (-0.1, 0.1),
            source,
            unit=unit,
            method=how,
            settings=settings,
            margin=margin,
            near_normal=near,
            where="abstract",
            says=says,
        )

    return list(map(claim, config.activations))
