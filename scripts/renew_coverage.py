"""Measure by simulation how often the intervals of claims hold the truth, and write the table of the reference.

    python scripts/renew_coverage.py

Each row is a regime in which studies use an interval: what is drawn, how many values, and in which share of studies
the interval, at 95 % where nothing else is said, holds the truth, with its standard error. It takes about two minutes.
"""

import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import pandas as pd

from jaxstudies.evidence import sequences
from jaxstudies.evidence.claims import Claim
from jaxstudies.evidence.estimands import ESTIMANDS

TABLE = Path(__file__).parent.parent / "jaxstudies" / "evidence" / "coverage.md"
STUDIES = 10_000
"""Simulated studies of a regime."""
LOOKS = np.arange(100, 10_001, 100)
"""Numbers of values at which one looks."""
Draw = Callable[[np.random.Generator, int], dict[str, np.ndarray]]


class Regime(NamedTuple):
    """What is drawn, of what, and what the interval should hold."""

    estimand: str
    words: str
    n: int
    draw: Draw
    truth: float
    claim: Mapping[str, object] = MappingProxyType({})
    level: float = 0.95


def outcomes(p: float) -> Draw:
    """Return what draws outcomes."""
    return lambda rng, n: {"value": (rng.random(n) < p).astype(float)}


def pairs(gain: float, loss: float) -> Draw:
    """Return what draws differences of outcomes."""
    return lambda rng, n: {"value": rng.choice([1.0, -1.0, 0.0], n, p=[gain, loss, 1 - gain - loss])}


def values(draw: Callable[[np.random.Generator, int], np.ndarray]) -> Draw:
    """Return what draws numbers."""
    return lambda rng, n: {"value": draw(rng, n)}


def two(draw: Callable[[np.random.Generator, int], np.ndarray]) -> Draw:
    """Return what draws two columns, of which half is shared."""

    def both(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
        shared = draw(rng, n)
        return {"value": shared + draw(rng, n), "other": shared + draw(rng, n)}

    return both


def normal(rng: np.random.Generator, n: int) -> np.ndarray:
    """Draw standard normal numbers."""
    return rng.normal(size=n)


def exponential(rng: np.random.Generator, n: int) -> np.ndarray:
    """Draw exponential numbers, whose skewness is 2."""
    return rng.exponential(size=n)


def chosen(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    """Draw exponential numbers, of which those are left that were chosen, about n."""
    return {"value": exponential(rng, int(rng.binomial(10 * n, 0.1)))}


def slopes(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    """Draw slopes of log errors over five shapes, which share the data of each seed."""
    x = np.arange(5) - 2.0
    errors = -0.1 * x + rng.normal(size=(n, 1)) + 0.2 * np.log(rng.exponential(size=(n, 5)))
    return {"value": errors @ x / (x @ x)}


def regimes() -> Iterable[Regime]:
    """Yield the regimes."""
    near = {"near_normal": "drawn so"}
    for p in (0.5, 0.9, 0.955, 0.99, 0.999):
        yield from (Regime("share", f"outcomes, share {p:g}", n, outcomes(p), p) for n in (5, 40, 1000))
    for gain, loss in ((0.0036, 0.0), (0.12, 0.001), (0.02, 0.01), (0.3, 0.1)):
        words = f"pairs, {gain:g} with the first outcome alone, {loss:g} with the second"
        yield from (Regime("share_difference", words, n, pairs(gain, loss), gain - loss) for n in (20, 40, 1000))
    for n in (20, 100, 1000):
        # The stated share is drawn, too: the interval is about the difference from what it estimates.
        against = {"arguments": {"count": 950, "of": 1000}}
        yield Regime("share_against", "outcomes, share .95, against 1,000 of the same", n, outcomes(0.95), 0.0, against)
    for n in (20, 100):
        words = "pairs, 0.97 with the first outcome alone, all others with the second"
        yield Regime("share_difference", words, n, pairs(0.97, 0.03), 0.94)
        # By Holm claims of a family are judged at more than 95 %.
        words = "outcomes, share .001, against 1,000 of share .95, at 99 %"
        against = {"arguments": {"count": 950, "of": 1000}}
        yield Regime("share_against", words, n, outcomes(0.001), -0.949, against, 0.99)
    yield from (Regime("mean", "normal numbers", n, values(normal), 0.0, near) for n in (5, 10, 40))
    uniform = values(lambda rng, n: rng.random(n))
    yield from (Regime("mean", "uniform numbers, said to be near normal", n, uniform, 0.5, near) for n in (5, 10, 40))
    yield from (Regime("mean", "exponential numbers", n, values(exponential), 1.0) for n in (30, 100, 1000))
    heavy = values(lambda rng, n: np.exp(1.5 * rng.normal(size=n)))
    words, mean = "lognormal numbers of sigma 1.5, whose tail is heavy", float(np.exp(1.5**2 / 2))
    yield from (Regime("mean", words, n, heavy, mean) for n in (30, 100, 1000))
    words = "exponential numbers, of a subset whose size is chance, on average n"
    yield from (Regime("mean", words, n, chosen, 1.0) for n in (60, 200))
    words = "slopes over five shapes that share each seed's data, said to be near normal"
    yield from (Regime("mean", words, n, slopes, -0.1, near) for n in (5, 10, 40))
    lognormal = values(lambda rng, n: np.exp(rng.normal(size=n)))
    yield from (Regime("geometric_mean", "lognormal numbers", n, lognormal, 1.0, near) for n in (5, 10, 40))
    yield from (Regime("median", "exponential numbers", n, values(exponential), np.log(2)) for n in (6, 20, 40, 1000))
    for q in (0.05, 0.5):
        words, at = f"normal pairs, correlation .5, quantile {q:g}", {"arguments": {"quantile": q}}
        yield from (Regime("quantile_difference", words, n, two(normal), 0.0, at) for n in (40, 200, 1000))


def coverage(regime: Regime) -> tuple[str, float, float]:
    """Return the words of a regime's interval, the share of studies in which it holds the truth, and its error."""
    claim = Claim("id", "words", len, (0.0, 1.0), estimand=regime.estimand, **regime.claim)  # type: ignore
    record = claim.record()
    method = ESTIMANDS[regime.estimand].fixed(record)
    rng = np.random.default_rng(zlib.crc32(f"{regime.estimand} {regime.words} {regime.n}".encode()))
    number = STUDIES
    held, known = 0, dict[object, bool]()
    of_outcomes = regime.estimand.startswith("share")
    for place in range(number):
        arguments = dict(record["arguments"])
        if regime.estimand == "share_against":
            arguments["count"] = int(rng.binomial(arguments["of"], 0.95))
        drawn = regime.draw(rng, regime.n)
        # Of outcomes it matters how many there are of each: the same come again and again.
        case = (np.sort(drawn["value"]).tobytes(), arguments.get("count")) if of_outcomes else place
        if case not in known:
            _, low, high = method.interval(*method.take(pd.DataFrame(drawn)), **arguments, level=regime.level)
            known[case] = bool(low <= regime.truth <= high)
        held += known[case]
    share = held / number
    return method.words, share, float(np.sqrt(share * (1 - share) / number))


def looked_at() -> Iterable[tuple[str, str, float]]:
    """Yield sequences, what is drawn, and in which share of runs the truth is outside at one of a hundred looks."""
    rng = np.random.default_rng(0)
    for p in (0.5, 0.955, 0.999):
        seen = np.cumsum(rng.binomial(100, p, size=(STUDIES, len(LOOKS))), axis=1)
        _, low, high = sequences.shares(seen, LOOKS)
        yield "beta-binomial sequence", f"outcomes, share {p:g}", float(((p < low) | (high < p)).any(1).mean())
    for words, draw, mean in (("normal", normal, 0.0), ("exponential (not near normal)", exponential, 1.0)):
        first, second = np.zeros((2, STUDIES, len(LOOKS)))
        for place in range(len(LOOKS)):
            drawn = draw(rng, STUDIES * 100).reshape(STUDIES, 100)
            first[:, place], second[:, place] = drawn.sum(1), (drawn**2).sum(1)
        means = np.cumsum(first, 1) / LOOKS
        _, low, high = sequences.normal_means(means, np.cumsum(second, 1) / LOOKS - means**2, LOOKS)
        yield "t sequence", f"{words} numbers", float(((mean < low) | (high < mean)).any(1).mean())
    atoms, chances = np.array([0.0, 0.1, 1.0]), [0.9, 0.09, 0.01]
    mean = float(atoms @ chances)
    counts = np.cumsum(rng.multinomial(100, chances, size=(STUDIES, len(LOOKS))), axis=1).reshape(-1, 3).T
    beyond = np.zeros(counts.shape[1], bool)
    for x, m in ((atoms, mean), (1 - atoms, 1 - mean)):
        gains = np.log1p(np.multiply.outer(sequences.STAKES, x / m - 1)) @ counts
        beyond |= np.logaddexp.reduce(gains, axis=0) - np.log(len(sequences.STAKES)) >= np.log(2 / 0.05)
    yield "betting sequence", "0, .1 or 1 with .9, .09 and .01", float(beyond.reshape(STUDIES, -1).any(1).mean())
    ends = np.array([sequences.ranks(n, 0.5) for n in LOOKS.tolist()])
    below = np.cumsum(rng.binomial(100, 0.5, size=(STUDIES, len(LOOKS))), axis=1)
    outside = ((below < ends[:, 0]) | (below > ends[:, 1])).any(1).mean()
    yield "sequence of order statistics", "any numbers, their median", float(outside)


def main() -> None:
    """Write the table and print it."""
    rows = ["| interval of a fixed n | drawn | n | holds the truth |", "|---|---|---|---|"]
    for regime in regimes():
        words, share, error = coverage(regime)
        rows.append(f"| {words} | {regime.words} | {regime.n:,} | {share:.3f} ± {error:.3f} |")
        print(rows[-1], flush=True)
    more = ["| sequence | drawn | the truth is outside at one of 100 looks, to n = 10,000 |", "|---|---|---|"]
    for words, drawn, share in looked_at():
        more.append(f"| {words} | {drawn} | {share:.3f} |")
        print(more[-1], flush=True)
    text = (
        f"At 95 % where nothing else is said, in {STUDIES:,} simulated studies a row, "
        "by `python scripts/renew_coverage.py`.\n\n" + "\n".join(rows) + "\n\n" + "\n".join(more) + "\n"
    )
    TABLE.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
