"""Factors with very many levels: `--learning-rate 0.01:2:1000000:log` for a million numbers."""

from jaxstudies.commands.endings import UsageError
from jaxstudies.configs import Levels, number_lists


def take_ranges(config: type, argv: list[str]) -> tuple[list[str], dict[str, Levels]]:
    """Return the flags without those whose value is a range, and the levels of these."""
    kinds, rest, taken = number_lists(config), [], {}
    left = list(argv)
    while left:
        flag, _, value = left[0].partition("=")
        words, value = (1, value) if value else (2, "".join(left[1:2]))
        name = flag.removeprefix("--").replace("-", "_")
        if flag.startswith("--") and name in kinds and ":" in value:
            try:
                taken[name] = Levels.parse(value, kinds[name] is int)
            except ValueError as error:
                raise UsageError(f"{flag} {value}: {error}") from error
        else:
            words = 1
            rest.append(left[0])
        del left[:words]
    return rest, taken
