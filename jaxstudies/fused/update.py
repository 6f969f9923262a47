"""What an optimizer does in a kernel: the statements that put a new state in place of the old."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from jaxstudies.fused import loops
from jaxstudies.fused.emission import evaluate, is_elementwise
from jaxstudies.fused.layout import Leaf, Step, names
from jaxstudies.fused.program import Number, Program, scalar, spread


class Update(NamedTuple):
    """Statements, and which parts of the new state differ from network to network."""

    lines: list[str]
    lanes: tuple[bool, ...]


def write_update(step: Step, state: Sequence[Leaf], consts: Sequence[np.ndarray], rolled: bool) -> Update:
    """Write an optimizer out.

    Args:
        step: A step of training.
        state: Parameters and the optimizer's state, called s0, s1, ...; gradients are called g0, g1, ....
        consts: What the optimizer takes beside them.
        rolled: Whether numbers that are computed alike are to be in loops.
    """
    leaves = dict(enumerate(state))
    if rolled and is_elementwise(step.update.jaxpr) and not any(array.ndim for array in consts):
        program, new = _evaluated(step, state, consts, alike=True)
        arrays = {i: leaf for i, leaf in leaves.items() if leaf.shape and leaf.size}
        if all(len({number.text for number in new[i].flat}) <= 1 for i in arrays):
            news = {f"s{i}": (leaf.type, _text(leaf, new[i].flat[0]), leaf.size) for i, leaf in arrays.items()}
            news |= {f"g{i}": ("v", f"g{i}[e]", leaf.size) for i, leaf in enumerate(state[: step.num_params])}
            if (lines := loops.one_by_one(program.lines, news)) is not None:
                whole = {i: leaf for i, leaf in leaves.items() if not leaf.shape}
                return Update(lines + _changes(whole, new), _lanes(step, new))
    program, new = _evaluated(step, state, consts, alike=False)
    return Update(program.lines + _changes(leaves, new), _lanes(step, new))


def _evaluated(
    step: Step, state: Sequence[Leaf], consts: Sequence[np.ndarray], alike: bool
) -> tuple[Program, list[np.ndarray]]:
    """Return the statements of the update, and the new state in words of them."""
    program, count = Program(), step.num_params
    old = [names(leaf, f"s{i}", alike) for i, leaf in enumerate(state)]
    grads = [names(leaf, f"g{i}", alike) for i, leaf in enumerate(state[:count])]
    loss = scalar(Number("step_loss", "float", True))
    new = evaluate(program, step.update.jaxpr, consts, [*grads, *old[count:], *old[:count], loss])
    return program, new


def _lanes(step: Step, new: Iterable[np.ndarray]) -> tuple[bool, ...]:
    return tuple(i < step.num_params or any(n.lanes for n in array.flat) for i, array in enumerate(new))


def _changes(leaves: dict[int, Leaf], new: Sequence[np.ndarray]) -> list[str]:
    """Return the statements that put new numbers in place of the old, once all of them are there."""
    lines, puts = [], []
    for i, leaf in leaves.items():
        for e, number in enumerate(new[i].flat):
            if number.text != f"s{i}[{e}]":
                lines.append(f"const {leaf.type} n{i}_{e} = {_text(leaf, number)};")
                puts.append(f"s{i}[{e}] = n{i}_{e};")
    return lines + puts


def _text(leaf: Leaf, number: Number) -> str:
    return spread(number) if leaf.lanes else number.text
