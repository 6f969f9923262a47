"""The claims that mean field is right."""

import numpy as np

from jaxstudies.studies.order_chaos.summary import POINT, expected
from jaxstudies.study import Claim, Results


def claims(results: Results) -> list[Claim]:
    """Return the claims that mean field tells the gradients' factor, within 10 % on average."""
    runs = results.runs
    gap = runs["log_factor"] - np.log([expected(*point)[1] for point in runs[POINT].itertuples(index=False)])
    effects = gap.where(np.isfinite(gap)).groupby([runs["activation"], runs["seed"]], sort=False).mean()
    source, unit = "Schoenholz et al. (arXiv 1611.01232)", "log(factor / chi)"
    how = "mean over the diagram's points, t interval over seeds"

    def claim(name: str) -> Claim:
        id_, words = f"mean_field.{name}", f"gradients grow by chi per layer ({name})"
        return Claim(id_, words, lambda of: effects[name], (-0.1, 0.1), source, unit=unit, method=how)

    return list(map(claim, results.config.activations))
