"""Intervals drawn to scale beside the region in which a claim is true: where the marks stand."""

import math
from collections.abc import Mapping
from typing import NamedTuple, TypeGuard

WIDTH = 240
"""Of a drawing, in its own units."""


class Strip(NamedTuple):
    """A drawing of one interval: places along it in its own units."""

    domain: tuple[float, float]
    """Numbers at its left and right edge."""
    region: tuple[float, float]
    interval: tuple[float, float] | None
    effect: float | None
    zero: float | None


def strip(claim: Mapping) -> Strip | None:
    """Return the drawing of a claim's interval, None where nothing is known that could be drawn."""
    region, (effect, low, high) = (
        claim.get("region") or (None, None),
        (claim[name] for name in ("effect", "low", "high")),
    )
    if not is_finite(effect):
        return None
    known = [number for number in (effect, low, high, *region) if is_finite(number)]
    if is_finite(low) and is_finite(high):  # at higher levels, and with fewer seeds, it is wider
        known += [low - (high - low) / 2, high + (high - low) / 2]
    least, most = min(known), max(known)
    room = (most - least) * 0.08 or abs(most) or 1.0
    domain = least - room, most + room
    if not all(map(math.isfinite, (*domain, domain[1] - domain[0]))):
        return None
    from_, to = (place(end, domain, side) for end, side in zip(region, domain, strict=True))
    interval = None
    if low is not None and high is not None:
        interval = place(low, domain, effect), place(high, domain, effect)
    zero = place(0.0, domain, 0.0) if domain[0] < 0 < domain[1] else None
    return Strip(domain, (from_, to), interval, place(effect, domain, effect), zero)


def is_finite(number: float | None) -> TypeGuard[float]:
    """Return whether a number can be drawn."""
    return number is not None and math.isfinite(number)


def place(number: float | None, domain: tuple[float, float], missing: float) -> float:
    """Return where a number stands, at the edge if it lies beyond."""
    least, most = domain
    share = ((missing if number is None else number) - least) / (most - least)
    return round(WIDTH * min(max(share, 0.0), 1.0), 2)
