"""Previews of figures: small enough that all of them fit into one file."""

import base64
import contextlib
import io
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import NamedTuple

from PIL import Image

WIDTHS = (1000, 800, 560, 360)
"""Widths of previews in pixels, tried in turn until all of them fit."""
BUDGET = 2_000_000
"""Bytes of all previews together."""


class Preview(NamedTuple):
    """A picture as it stands in the page."""

    source: str
    """A data URL, empty where it is no picture that can be read."""
    caption: str
    """What the picture says of itself."""
    size: tuple[int, int] = (0, 0)


def previews(pictures: Iterable[bytes]) -> list[Preview]:
    """Return previews of PNG files; behind the first for which there is no room, none."""
    listed, found = list(pictures), []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for width in WIDTHS:
            found = list(pool.map(partial(preview, width=width), listed))
            if sum(len(made.source) for made in found) <= BUDGET:
                return found
    left, fitting = BUDGET, []
    for made in found:
        left -= len(made.source)
        fitting.append(made if left >= 0 else made._replace(source=""))
    return fitting


def preview(picture: bytes, width: int) -> Preview:
    """Return a picture, made as small as a width if it is larger."""
    with contextlib.suppress(Exception):  # whatever is wrong with the picture
        image, caption = _read(picture)
        image, written = _within(image, width), io.BytesIO()
        image.save(written, "WEBP", quality=75, method=4)
        return Preview(f"data:image/webp;base64,{base64.b64encode(written.getvalue()).decode()}", caption, image.size)
    return Preview("", "")


@lru_cache(64)
def _read(picture: bytes) -> tuple[Image.Image, str]:
    """Return a picture of the largest width, and what it says of itself."""
    image = Image.open(io.BytesIO(picture))
    return _within(image.convert("RGB"), WIDTHS[0]), str(image.info.get("Description", ""))


def _within(image: Image.Image, width: int) -> Image.Image:
    size = min(width, image.width), max(1, round(image.height * min(width, image.width) / image.width))
    return image if size == image.size else image.resize(size, Image.Resampling.HAMMING)
