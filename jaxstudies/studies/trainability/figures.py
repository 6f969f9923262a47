"""The planes, as pictures."""

import numpy as np
from matplotlib.figure import Figure

from jaxstudies.engine.planes import Plane, by_seed, grids
from jaxstudies.grids import unpacked
from jaxstudies.output import planes as pictures
from jaxstudies.output.planes import Window
from jaxstudies.output.words import words
from jaxstudies.studies.trainability.config import CONDITIONS
from jaxstudies.studies.trainability.design import ALL, parts
from jaxstudies.studies.trainability.outcome import REPORTED, trained
from jaxstudies.study import Results

CAPTIONS = {
    "pictures": "A network at each point, from one initialization: in blue to yellow it trained, the lighter the lower "
    "its losses were; in black to red it did not, the darker the sooner its loss grew. Colors are ranks within a "
    "window; each is ten times smaller than the one before, around the cross.",
    "scales": "Dimension of the boundary of the first network by the side of the boxes that are counted in each window "
    "(lines), beside the paper's (dotted, second hand). Of a fractal it exceeds 1 at all sizes, not only large ones.",
    "refined": "Where the first network trains (yellow), of so many points that only those near the boundary were run.",
    "networks": "Left: the share of networks that train, each from weights and on examples of its own, and where it is "
    "one half. Right: the dimension of each one's boundary, the mean with its 95 % interval, that of where most train, "
    "and the paper's for one network (second hand).",
}
ACROSS = {"rates": "hidden learning rate", "offset": "offset of hidden weights", "drift": "offset of each step"}


def window(condition: str, plane: Plane, image: np.ndarray, more: str = "") -> Window:
    """Return a picture of a plane with its words."""
    across = CONDITIONS[condition].across
    labels = f"log₁₀ {ACROSS[across]}", f"log₁₀ {'output ' * (across == 'rates')}learning rate"
    return Window(f"{words(condition)}, {pictures.decades(plane.span)}{more}", image, plane.edges, labels)


def plot(results: Results) -> dict[str, Figure]:
    """Draw the pictures of the first network, its dimension by scale, and, if there are several, all of them."""
    config, found, rows, scales, networks, refined = results.config, trained(results), [], {}, [], []
    colors = grids(results.runs[results.runs["part"] != ALL], ["condition", "part"], "measure")
    for name in config.conditions:
        planes, reported = parts(config, name), REPORTED.get(name)
        if config.seeds > 1:
            plane, here = planes.pop(ALL), by_seed(found, name, ALL)
            share = np.mean([*here.values()], axis=0)
            networks.append(pictures.Boundaries(window(name, plane, share, f", {len(here)} networks"), here, reported))
        rows.append([window(name, plane, pictures.ranked(colors[name, part])) for part, plane in planes.items()])
        scales[words(name)] = [(plane.span, found[name, part, 0]) for part, plane in planes.items()], reported
    figures = {"pictures": pictures.strips(rows, cmap=pictures.TWO_SIDES, vmin=0, vmax=1)}
    figures["scales"] = pictures.by_scale(scales)
    figures["pictures"].suptitle(f"{config.points} x {config.points} points, a network each, {config.steps} steps")
    figures |= {"networks": pictures.shares_and_dimensions(networks)} if networks else {}
    for row in results.beside["refined"].itertuples() if config.refine else ():
        more = f"; {row.points} x {row.points} points, of which {row.share:.2%} were run"
        refined.append([window(row.name, parts(config, row.name)["picture"], unpacked(row.grid, row.points), more)])
    return figures | ({"refined": pictures.strips(refined, 7, cmap="cividis", vmin=0, vmax=1)} if refined else {})
