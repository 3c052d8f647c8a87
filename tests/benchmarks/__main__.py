"""`python -m tests.benchmarks NAME …`: one of the benchmarks; each says what it takes with --help."""

from __future__ import annotations

import importlib
import sys

NAMES = (
    "driver", "lookups", "million", "killing", "fetch", "listing", "epochs", "bulk", "exports",
    "catalog_size", "emulator_throughput", "peers", "storage_client", "trainers",
)  # fmt: skip


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in NAMES:
        raise SystemExit(f"usage: python -m tests.benchmarks {{{','.join(NAMES)}}} …")
    name = sys.argv.pop(1)
    sys.argv[0] = f"tests.benchmarks {name}"
    importlib.import_module(f"tests.benchmarks.{name}").main()


if __name__ == "__main__":
    main()
