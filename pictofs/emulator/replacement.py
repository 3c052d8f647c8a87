"""Answers that a fault puts in the place of the true one."""

from __future__ import annotations

import msgspec

from pictofs.emulator.faults import Fault

_BROKEN_JSON = b'{"data": [{"id": "0000'
Replacement = tuple[int, dict[str, str], bytes]


def replacement(fault: Fault) -> Replacement:
    """Status, headers and body that a status, garbage or redirect fault answers with."""
    values = fault.values
    if fault.kind == "redirect":
        return values["status"], {"location": values["location"]}, b""
    if fault.kind == "garbage":
        body = values["body"].encode() if values["body"] is not None else _BROKEN_JSON
        return 200, {"content-type": values["content_type"]}, body
    headers = {str(name): str(value) for name, value in (values["headers"] or {}).items()}
    if values["retry_after"] is not None:
        headers["retry-after"] = str(values["retry_after"])
    body = values["body"]
    if body is None:
        body = {"detail": f"Fault {fault.number}", "error": "fault", "message": f"Fault {fault.number}"}
    if isinstance(body, str):
        return values["status"], {"content-type": "text/plain", **headers}, body.encode()
    return values["status"], {"content-type": "application/json", **headers}, msgspec.json.encode(body)
