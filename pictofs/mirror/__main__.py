"""`python -m pictofs.mirror`: the fetching process of one cache directory, as a supervisor starts it."""

from __future__ import annotations

import argparse
import sys

from pictofs.mirror import process
from pictofs.mirror.engine import IDLE_S
from pictofs.mirror.policy import Limits
from pictofs.store import POLICIES, default_limits


def main(arguments: list[str] | None = None) -> int:
    """Parses, serves, returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m pictofs.mirror", description=__doc__)
    parser.add_argument("--cache-dir", required=True)
    parser.add_argument("--ready-fd", type=int, default=-1)
    parser.add_argument("--cache-size", type=int, help="bytes; min(20 %% of the file system, 50 GiB)")
    parser.add_argument("--min-free", type=int, help="bytes; 5 %% of the file system")
    parser.add_argument("--eviction", choices=POLICIES, default="epoch")
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--bandwidth", type=int, help="bytes a second")
    parser.add_argument("--max-fetch", type=int, help="bytes a day")
    parser.add_argument("--idle", type=float, default=IDLE_S, help="seconds to outlive the last mount")
    parser.add_argument("--log-level", default="info")
    parser.add_argument("--log-format", default="text", choices=("text", "json"))
    given = parser.parse_args(arguments)
    cache_size_bytes, min_free_bytes = default_limits(given.cache_dir)
    limits = Limits(
        cache_size_bytes=cache_size_bytes if given.cache_size is None else given.cache_size,
        min_free_bytes=min_free_bytes if given.min_free is None else given.min_free,
        eviction=given.eviction,
        jobs=given.jobs,
        bandwidth_bytes_s=given.bandwidth,
        max_fetch_bytes_day=given.max_fetch,
    )
    return process.run(
        given.cache_dir,
        limits,
        given.ready_fd,
        idle_s=given.idle,
        log_level=given.log_level,
        log_format=given.log_format,
    )


if __name__ == "__main__":
    sys.exit(main())
