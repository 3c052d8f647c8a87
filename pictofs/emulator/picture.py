"""Small valid pictures made at once, each different by its salt, of a wanted length where one is given."""

from __future__ import annotations

import io

from PIL import Image as Picture

from pictofs.emulator.padding import padded

_SIDE = 48
_PADDING = 4096  # of a picture whose length nobody prescribed


def picture(filename: str, salt: int, size_bytes: int | None) -> bytes:
    """A PNG where the name says so, else a JPEG, of `size_bytes`. Raises ValueError for too few."""
    color = (salt * 53 % 256, salt * 97 % 256, salt * 193 % 256)
    body = io.BytesIO()
    kind = "PNG" if filename.lower().endswith(".png") else "JPEG"
    Picture.new("RGB", (_SIDE, _SIDE), color).save(body, kind)
    template = body.getvalue()
    return padded(template, len(template) + _PADDING if size_bytes is None else size_bytes, salt)


def dimensions_of(body: bytes) -> tuple[int, int]:
    """Width and height in pixels; zeros where the bytes are no picture."""
    try:
        with Picture.open(io.BytesIO(body)) as opened:
            width, height = opened.size
            return width, height
    except (OSError, ValueError, SyntaxError):
        return 0, 0
