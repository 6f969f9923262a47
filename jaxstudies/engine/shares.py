"""Whose which chunk of a run is, where several processes share it."""

import re
from typing import NamedTuple


class Share(NamedTuple):
    """A process's share of a run's chunks: of every `count`, the one at `index`."""

    index: int = 0
    count: int = 1
    finishes: bool = True
    """Whether the run is put together in the end, rather than left at the share."""

    def owns(self, number: int) -> bool:
        """Return whether a chunk, by its number in the run, is in the share."""
        return number % self.count == self.index


ALONE = Share()


class Unfinished(Exception):
    """A share is done, but chunks of other shares are not there."""


def parse_share(text: str) -> Share:
    """Return the i-th of n shares from `i/n`, i from 1 to n; raise ValueError at any other text."""
    matched = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text, re.ASCII)
    if not matched or not 1 <= int(matched[1]) <= int(matched[2]):
        raise ValueError("must be i/n with i from 1 to n, such as 2/4")
    return Share(int(matched[1]) - 1, int(matched[2]))
