"""Blocks: how the settings and seeds of a design are cut into what runs at once."""

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import jax

from jaxstudies.engine.design import Design, Group
from jaxstudies.engine.functions import likeness
from jaxstudies.engine.levels import kind_of

STEPS, FEWEST = 8, 16
"""Blocks of a short computation, so that it is seen to move; and the runs of one on each device, below which there are
just two, since more would make tiny networks slower."""


class Size(NamedTuple):
    """How many settings and seeds of a group run at once."""

    settings: int
    seeds: int


class Block(NamedTuple):
    """Some settings of a group and some seeds, which run at once."""

    name: str
    number: int
    setting: int
    """First setting, counted within the group."""
    seed: int
    size: Size


class Plan(NamedTuple):
    """A group and how it is cut."""

    index: int
    group: Group
    first_seed: int
    """Seeds before it are there already."""
    num_seeds: int
    """Seeds in all."""
    size: Size
    first_number: int

    def counts(self) -> Size:
        """Return the numbers of blocks along both axes."""
        settings = -(-len(self.group.positions) // self.size.settings)
        return Size(settings, -(-(self.num_seeds - self.first_seed) // self.size.seeds))

    def blocks(self, settings: tuple[int, int] | None = None, seeds: tuple[int, int] | None = None) -> Iterator[Block]:
        """Yield the blocks, or those that touch ranges of settings and of seeds."""
        counts, total, most = self.counts(), Size(len(self.group.positions), self.num_seeds), self.size
        (a, b), (c, d) = settings or (0, total.settings), seeds or (self.first_seed, total.seeds)
        c, d = c - self.first_seed, min(d, total.seeds) - self.first_seed
        for j in range(c // most.seeds, -(-d // most.seeds)):
            for i in range(a // most.settings, -(-b // most.settings)):
                setting, seed = i * most.settings, self.first_seed + j * most.seeds
                size = Size(min(most.settings, total.settings - setting), min(most.seeds, total.seeds - seed))
                number = self.first_number + j * counts.settings + i
                yield Block(f"{self.index:05d}-{setting:08d}-{seed:010d}", number, setting, seed, size)

    def program(self) -> tuple:
        """Return what groups have in common if they share a compiled program."""
        data = self.group.fixed, self.group.mapped
        shapes = [kind_of(a) for a in jax.tree.leaves(data)]
        single = len(self.group.positions) == 1
        return likeness(self.group.static), self.size, single, jax.tree.structure(data), str(shapes)


@lru_cache(1000)  # of a design's many groups, most are alike
def plan_size(num_settings: int, num_seeds: int, runs: int, num_devices: int) -> Size:
    """Return how many settings and seeds run at once: blocks as equal as can be.

    Seeds are cut last, since what depends on the seed alone is computed once for all settings of a
    block; they are spread over the devices first. `runs` is the most of all devices together, but
    each has at least one.
    """
    divisors = [d for d in range(1, num_devices + 1) if num_devices % d == 0]
    over_seeds = max(d for d in divisors if d <= num_seeds)
    if num_settings < num_devices // over_seeds:
        over_seeds = num_devices
    over_settings = num_devices // over_seeds
    most = max(runs // num_devices, 1)
    settings = _evenly(num_settings, over_settings, most)
    seeds = _evenly(num_seeds, over_seeds, max(most // (settings // over_settings), 1))
    return Size(settings, seeds)


def _evenly(total: int, over: int, most: int) -> int:
    """Cut a total into blocks of at most `most` on each of `over` devices; return their size."""
    num_blocks = -(-total // (most * over))
    return -(-total // (num_blocks * over)) * over


def make_plans(design: Design, num_seeds: int, runs: int, num_devices: int, first_seed: int = 0) -> list[Plan]:
    """Cut each group into blocks of at most `runs` runs, which are numbered throughout."""
    plans, number = [], 0
    for index, group in enumerate(design.groups):
        count = min(group.num_seeds or num_seeds, num_seeds)
        first = min(first_seed, count)
        size = plan_size(len(group.positions), max(count - first, 1), runs, num_devices)
        plans.append(Plan(index, group, first, count, size, number))
        number += math.prod(plans[-1].counts())
    return plans


def runs_for_steps(plans: list[Plan], runs: int, num_devices: int) -> int:
    """Return so few runs at once, of those allowed, that a short computation has a few steps, too."""
    if sum(math.prod(plan.counts()) for plan in plans) >= STEPS:
        return runs
    total = sum(len(plan.group.positions) * (plan.num_seeds - plan.first_seed) for plan in plans)
    return min(runs, max(-(-total // STEPS), min(FEWEST * num_devices, -(-total // 2)), num_devices))
