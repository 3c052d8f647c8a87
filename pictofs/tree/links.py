"""Where the symbolic links of the views lead. Pure.

`splits/<split>/images/<directory…>/<file>` and `status/<status>/…` lie equally deep, so a link's target
depends on its file alone, and one node serves both.
"""

from __future__ import annotations

# From a view's images/ or annotations/ up to the dataset: itself, the value's folder, splits/ or status/.
LEVELS = 3


def target(face: str, path: str, file_name: str) -> bytes:
    """The relative target of a link to `face`/`path``file_name`; `path` is empty or ends in a slash."""
    up = "../" * (LEVELS + path.count("/"))
    return f"{up}{face}/{path}{file_name}".encode()
