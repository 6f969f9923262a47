"""Loops in place of straight lines: products of matrices, their sums, and what an optimizer does number by number.

Of a large network straight lines take longer to compile than they are worth.
"""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxstudies.fused.program import Number, Program, spread

LEAST = 64
"""Products of a matrix and a vector, from which on they are a loop."""
ELEMENT = re.compile(r"(\w+)\[(\d+)\]")
PRODUCT = re.compile(r"\((\w+)\[(\d+)\] \* (\w+)\[(\d+)\]\)")
DEPENDENCE = re.compile(r"\bt\d+\b|\b[sgc]\d+(?=\[e\])")


class Place(NamedTuple):
    """Where an array's numbers are in memory: `name[offset + strides * index]`."""

    name: str
    offset: int
    strides: tuple[int, ...]

    def at(self, *indices: str) -> str:
        """Return the number at indices, each a name or a number of the program."""
        parts = [index if by == 1 else f"{by} * {index}" for by, index in zip(self.strides, indices, strict=True) if by]
        return f"{self.name}[{' + '.join([*parts, str(self.offset)] if self.offset or not parts else parts)}]"


def affine(indices: np.ndarray) -> tuple[int, tuple[int, ...]] | None:
    """Return the offset and the strides of indices into memory, or None if they have none."""
    zero = (0,) * indices.ndim
    offset, steps = int(indices[zero]), []
    for axis, size in enumerate(indices.shape):
        one = tuple(int(i == axis) for i in range(indices.ndim))
        steps.append(int(indices[one]) - offset if size > 1 else 0)
    expected = offset + sum(by * index for by, index in zip(steps, np.indices(indices.shape), strict=True))
    return (offset, tuple(steps)) if np.array_equal(indices, expected) else None


def located(array: np.ndarray) -> Place | None:
    """Return where an array is in memory, if all of it is in one place and networks differ in it."""
    found = [ELEMENT.fullmatch(number.text) if number.lanes else None for number in array.flat]
    if not all(found) or len({match[1] for match in found if match}) != 1:
        return None
    indices = np.array([int(match[2]) for match in found if match]).reshape(array.shape)
    line = affine(indices)
    return Place(found[0][1], *line) if found[0] and line else None


def placed(program: Program, array: np.ndarray) -> Place:
    """Return where an array is in memory, and put it there if it is not."""
    if (place := located(array)) is not None:
        return place
    name = program.keep([spread(number) for number in array.flat])
    strides = np.cumprod([1, *array.shape[:0:-1]])[::-1]
    return Place(name, 0, tuple(int(by) if size > 1 else 0 for by, size in zip(strides, array.shape, strict=True)))


def product(program: Program, left: np.ndarray, right: np.ndarray) -> np.ndarray | None:
    """Multiply (rows, summed) by (columns, summed) in a loop, or return None where that is not worth it."""
    (rows, summed), columns = left.shape, right.shape[0]
    if rows * columns * summed < LEAST or not any(number.lanes for number in (*left.flat, *right.flat)):
        return None
    a, b = placed(program, left), placed(program, right)
    out = np.empty((rows, columns), object)
    if summed == 1:  # gradients of weights, which are nowhere but where they are added up
        for i, j in np.ndindex(out.shape):
            out[i, j] = Number(f"({a.at(str(i), '0')} * {b.at(str(j), '0')})", "float", True)
        return out
    if rows < columns:
        turned = product(program, right, left)
        return None if turned is None else turned.T
    # Some rows at a time: each number of the other factor is loaded once for all of them.
    tile = next(size for size in (4, 3, 2, 1) if rows % size == 0)
    name = program.array(rows * columns)
    sums = "".join(f"v sum{u} = V(0); " for u in range(tile))
    turn = "".join(f"sum{u} += {a.at(f'(i + {u})', 'k')} * x; " for u in range(tile))
    ends = "".join(f"{name}[(i + {u}) * {columns} + j] = sum{u}; " for u in range(tile))
    program.lines.append(
        f"for (int i = 0; i < {rows}; i += {tile}) for (int j = 0; j < {columns}; j++) {{ {sums}"
        f"for (int k = 0; k < {summed}; k++) {{ const v x = {b.at('j', 'k')}; {turn}}} {ends}}}"
    )
    for i, j in np.ndindex(out.shape):
        out[i, j] = Number(f"{name}[{i * columns + j}]", "float", True)
    return out


def added(target: str, terms: Sequence[np.ndarray]) -> list[str]:
    """Return the statements that add arrays to one in memory: loops where they are products of rows and columns."""
    lines, flat = [], [term.reshape(-1) for term in terms]
    size, columns = len(flat[0]), terms[0].shape[-1] if terms[0].ndim else 1
    found = [[PRODUCT.fullmatch(number.text) for number in term] for term in flat]
    heads = [tuple((m[1], m[3]) if m else None for m in at) for at in zip(*found, strict=True)]
    start = 0
    while start < size:
        end = next((e for e in range(start, size) if heads[e] != heads[start]), size)
        loop = None
        if None not in heads[start] and start % columns == end % columns == 0:
            loop = _added_in_a_loop(target, start, columns, [matches[start:end] for matches in found])
        if loop is None:
            lines += [f"{target}[{e}] += {' + '.join(spread(term[e]) for term in flat)};" for e in range(start, end)]
        else:
            lines.append(loop)
        start = end
    return lines


def _added_in_a_loop(target: str, start: int, columns: int, found: Sequence[Sequence[Any]]) -> str | None:
    texts = []
    for matches in found:
        for name, index in ((1, 2), (3, 4)):
            line = affine(np.array([int(match[index]) for match in matches]).reshape(-1, columns))
            if line is None:
                return None
            texts.append(Place(matches[0][name], *line).at("i", "j"))
    rows = len(found[0]) // columns
    products = " + ".join(f"{a} * {b}" for a, b in zip(texts[::2], texts[1::2], strict=True))
    sums = Place(target, start, (columns, 1)).at("i", "j")
    return f"for (int i = 0; i < {rows}; i++) for (int j = 0; j < {columns}; j++) {sums} += {products};"


def one_by_one(lines: Sequence[str], news: dict[str, tuple[str, str, int]]) -> list[str] | None:
    """Return the statements that change arrays in loops over their numbers.

    Args:
        lines: Statements that name what is computed of numbers `[e]` of arrays, and of what has no axes.
        news: For each array the type, in words of those names what becomes of its numbers, and how many it has.

    Returns:
        What is computed once, then the loops; or None if arrays of different sizes depend on one another.
    """
    sizes = {name: size for name, (_, _, size) in news.items()}
    groups = {name: {name} for name in news}
    depends: dict[str, set[str]] = {}

    def arrays(text: str) -> set[str]:
        names = DEPENDENCE.findall(text)
        return {name for name in names if name in sizes}.union(*(depends.get(name, ()) for name in names))

    def join(names: set[str]) -> None:
        whole = set[str]().union(*(groups[name] for name in names))
        groups.update(dict.fromkeys(whole, whole))

    for line in lines:
        name, text = line.split(" = ", 1)
        depends[line] = depends[name.rsplit(" ", 1)[1]] = arrays(text)
        join(depends[line])
    for name, (_, text, _) in news.items():
        join({name} | arrays(text))
    out = [line for line in lines if not depends[line]]
    for names in {id(group): sorted(group) for group in groups.values()}.values():
        size = sizes[names[0]]
        if any(sizes[name] != size for name in names):
            return None
        changed = [name for name in names if news[name][1] != f"{name}[e]"]
        body = [line for line in lines if depends[line] & {*names}]
        body += [f"const {news[name][0]} new_{name} = {news[name][1]};" for name in changed]
        body += [f"{name}[e] = new_{name};" for name in changed]
        out += [f"for (int e = 0; e < {size}; e++) {{ {' '.join(body)} }}"] if changed else []
    return out
