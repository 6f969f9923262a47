"""The shapes of networks that are compared: their hidden widths, and the names of sets of them."""

from itertools import product

Shape = tuple[int, ...]
"""Widths of the hidden layers."""
WIDTHS = (16, 32, 64, 128, 256, 512)
MOST_UNITS = 512
GRID = tuple(s for depth in (1, 2, 3) for s in product(WIDTHS, repeat=depth) if sum(s) <= MOST_UNITS)
"""The 143 shapes of the assignment."""
NOTEBOOK_SHAPES = (
    *((64,), (128,), (256,), (512,)),
    *((16, 16), (32, 32), (64, 64), (128, 128), (256, 256)),
    *((16, 16, 16), (32, 32, 16), (64, 32, 64), (64, 128, 64), (128, 256, 128)),
)
PAPER_SHAPES = tuple(s for s in GRID if len(s) < 3 or s in NOTEBOOK_SHAPES)
SHAPE_SETS = {"paper": PAPER_SHAPES, "notebook": NOTEBOOK_SHAPES, "all": GRID}


def choose_shapes(names: tuple[str, ...]) -> tuple[Shape, ...]:
    """Return the shapes that the names of sets and of shapes stand for, each once."""
    chosen: dict[Shape, None] = {}
    for name in (part for item in names for part in item.split(",") if part):
        if name in SHAPE_SETS:
            chosen |= dict.fromkeys(SHAPE_SETS[name])
            continue
        widths = tuple(int(w) if w.isascii() and w.isdigit() else 0 for w in name.split("-"))
        if not 1 <= len(widths) <= 10 or not all(1 <= w <= 10_000 for w in widths):
            accepted = "paper, notebook, all, or one to ten widths from 1 to 10000 such as 64-64"
            raise ValueError(f"shapes {name}: must be {accepted}")
        chosen[widths] = None
    if not chosen:
        raise ValueError("shapes: at least one shape is needed")
    return tuple(chosen)
