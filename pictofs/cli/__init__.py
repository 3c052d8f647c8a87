"""What people type. Only this room prints and exits."""

from __future__ import annotations

from pictofs.cli.app import main

__all__ = ["main"]
