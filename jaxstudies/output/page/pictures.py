"""Previews of figures: small enough that all of them fit into one file."""

import base64
import contextlib
import io
from collections.abc import Iterable
from functools import lru_cache
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
    for width in WIDTHS:
        found = [preview(picture, width) for picture in listed]
        if sum(len(made.source) for made in found) <= BUDGET:
            return found
    left, fitting = BUDGET, []
    for made in found:
        left -= len(made.source)
        fitting.append(made if left >= 0 else made._replace(source=""))
    return fitting


@lru_cache(256)
def preview(picture: bytes, width: int) -> Preview:
    """Return a picture, made as small as a width if it is larger."""
    with contextlib.suppress(Exception):  # whatever is wrong with the picture
        image = Image.open(io.BytesIO(picture))
        caption = str(image.info.get("Description", ""))
        size = min(width, image.width), max(1, round(image.height * min(width, image.width) / image.width))
        small, written = image.convert("RGB").resize(size, Image.Resampling.LANCZOS), io.BytesIO()
        small.save(written, "WEBP", quality=75, method=4)
        return Preview(f"data:image/webp;base64,{base64.b64encode(written.getvalue()).decode()}", caption, size)
    return Preview("", "")
