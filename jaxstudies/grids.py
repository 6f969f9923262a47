"""Square grids of truth values as text, which a cell of a table holds."""

import base64
import zlib

import numpy as np
from jaxtyping import Bool


def packed(grid: Bool[np.ndarray, "points points"]) -> str:
    """Return a square grid of truth values as text."""
    return base64.b64encode(zlib.compress(np.packbits(grid).tobytes(), 9)).decode()


def unpacked(text: str, points: int) -> Bool[np.ndarray, "points points"]:
    """Return a square grid from its text."""
    bits = np.unpackbits(np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8), count=points**2)
    return bits.astype(bool).reshape(points, points)
