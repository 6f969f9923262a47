"""What is said while a design runs: what is compiled, how many settings and seeds are done, the time left."""

import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
from tqdm.auto import tqdm

from jaxstudies.engine.blocks import Block, Plan
from jaxstudies.engine.design import Design
from jaxstudies.fused.choice import LEAST_GAIN

DELAY = 2.0
"""Seconds before what comes before a run is counted."""
TICK = 0.5
"""Seconds after which the time is drawn anew on a terminal, whatever is compiling or running."""


IN_NOTEBOOK = any(base.__name__ == "tqdm_notebook" for base in tqdm.__mro__)
"""Whether the bar is one of a notebook's."""


class Bar(tqdm):
    """A bar with a phase in words, whose rate leaves out the time spent compiling; the time left counts it in."""

    phase = ""
    compiling = 0.0
    """Seconds spent compiling."""
    compiled, to_compile = 0, 0
    """Programs that are compiled, and those that may have to be."""
    said_what_kernels_save = False

    @property
    def format_dict(self) -> dict:
        """What the layout may show."""
        shown = super().format_dict
        spent = shown["elapsed"] + self.compiling
        return {**shown, "phase": self.phase, "spent": self.format_interval(spent), "left": self.left(shown["elapsed"])}

    def left(self, running: float) -> str:
        """Return the time left, given the seconds spent running."""
        seconds = self.seconds_left(running)
        return "?" if seconds is None else self.format_interval(seconds)

    def seconds_left(self, running: float) -> float | None:
        """Return the seconds left, or None where that cannot be told yet."""
        done = self.n - self.initial
        if done <= 0 or not self.total:
            return None
        each = self.compiling / max(self.compiled, 1)
        return (self.total - self.n) * running / done + self.to_compile * each

    def say_what_kernels_save(self) -> None:
        """Say once, of a long run, how much less time it would take with a compiler of kernels."""
        minutes = (self.seconds_left(super().format_dict["elapsed"]) or 0) / 60
        if minutes > 2 and not (self.disable or self.said_what_kernels_save):
            self.said_what_kernels_save = True
            less = f"about {minutes / LEAST_GAIN:.0f} with pip install 'jaxstudies[fused]'"
            tqdm.write(f"{minutes:.0f} minutes left, {less}", file=sys.stderr)

    def say(self, phase: str) -> None:
        """Name the phase."""
        self.phase = phase
        self.refresh()

    def say_compiling(self, number: int, total: int) -> None:
        """Say which of all programs is compiled now, counted from 0; no more than those behind it will have to be."""
        self.to_compile = total - number - 1
        self.say(f"compiling program {number + 1} of {total}")

    def leave_out(self, seconds: float) -> None:
        """Leave seconds spent compiling out of the rate."""
        self.compiling += seconds
        self.compiled += seconds > 0
        if not self.disable:
            self.start_t += seconds
            self.last_print_t += seconds

    def leave_out_runs(self, cost: float) -> None:
        """Leave runs out of the rate, on which no time was spent."""
        if not self.disable:
            self.initial += cost


def is_off() -> bool:
    """Return whether TQDM_DISABLE=1 turns all bars off."""
    return os.environ.get("TQDM_DISABLE", "0") not in ("", "0")


T = TypeVar("T")


def counted(parts: Sequence[T], description: str, shown: bool = True) -> Iterator[T]:
    """Yield parts of what comes before a run, and count them where that takes seconds."""
    layout = "{desc}: {n_fmt} of {total_fmt} [{elapsed}]"
    off = is_off() or not shown
    yield from tqdm(parts, description, delay=DELAY, leave=False, disable=off, bar_format=layout, dynamic_ncols=True)


@contextmanager
def progress(owned: list[tuple[Plan, Block]], description: str, shown: bool = True) -> Iterator[Bar]:
    """Yield a bar over some blocks' runs, weighed by their cost, which ticks until it is left.

    It is a notebook's in one.
    """
    bar_in_words = "{bar}" if IN_NOTEBOOK else "{bar:20}"
    layout = "{desc}: {percentage:3.0f}%|" + bar_in_words + "| {phase} [{spent}, {left} left]"
    total, live = sum(cost_of(plan, block) for plan, block in owned), IN_NOTEBOOK or sys.stderr.isatty()
    with Bar(
        total=total,
        disable=is_off() or not (owned and shown),
        desc=description,
        bar_format=layout,
        smoothing=0,
        mininterval=0.1 if live else 5.0,
        dynamic_ncols=True,
    ) as bar:
        done = threading.Event()

        def tick():
            while not done.wait(TICK):
                bar.refresh()

        if live:
            threading.Thread(target=tick, daemon=True).start()
        try:
            yield bar
            bar.say("done")
        finally:
            done.set()


def cost_of(plan: Plan, block: Block) -> float:
    """Return the cost of a block, in runs of cost 1."""
    return float(np.prod(block.size)) * plan.group.cost


def varying(design: Design) -> dict[str, np.ndarray]:
    """Return the labels in which settings differ."""
    return {name: column for name, column in design.labels.items() if np.any(column != column[0])}


def done_in_words(labels: dict[str, np.ndarray], total: int, plan: Plan, block: Block) -> str:
    """Return how many of all settings and seeds are done behind a block, and by which labels they are told."""
    first, last = plan.group.positions[block.setting], plan.group.positions[block.setting + block.size.settings - 1]
    number = block.size.settings
    place = (
        f"{first + 1:,} to {last + 1:,}" if last - first + 1 == number else f"{first + 1:,} and {number - 1:,} others"
    )
    place = f"{first + 1:,}" if number == 1 else place
    said = f"setting {place} of {total:,}, seed {block.seed + block.size.seeds:,} of {plan.num_seeds:,}"
    return ", ".join([said, *(f"{name} {c[first]}" for name, c in labels.items() if c[first] == c[last])])
