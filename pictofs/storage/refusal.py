"""What the status of a refusal means. Pure."""

from __future__ import annotations

from pictofs.errors import ObjectChanged, ObjectGone, TransferError, UrlExpired

REDIRECT = frozenset({301, 302, 303, 307, 308})
_EXPIRED = frozenset({400, 401, 403})
_GONE = frozenset({404, 410})
_AGAIN = frozenset({408, 429})


def refusal(status: int, code: str, what: str) -> TransferError | None:
    """The error for a status that is neither success nor redirect; None: it may be another one next time.

    `code` is the storage host's own word for it; `what` names the object.
    """
    said = f"{status} {code}" if code else str(status)
    if status in _EXPIRED:
        return UrlExpired(f"{what}: the storage host refused the signed URL ({said})", status=status)
    if status in _GONE:
        return ObjectGone(f"{what} is gone from the storage host ({said})", status=status)
    if status == 412:
        return ObjectChanged(f"{what} was replaced by another version", status=status)
    if status in _AGAIN or status >= 500:
        return None
    return TransferError(f"{what}: the storage host answered {said}", status=status)
