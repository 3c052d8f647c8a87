"""The fetching process as a process: elected, told that it is ready, ended.

It has a session of its own, so that a Ctrl-C in the terminal of the mount that started it is not meant for
it. It ends by SIGTERM, some seconds after the last mount has gone, or when nobody attaches at all.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import signal
import sys
import time

from pictofs import stacks
from pictofs.errors import CacheUnusable, PictofsError
from pictofs.mirror import carter, directory, logs
from pictofs.mirror.carriage import Carriage
from pictofs.mirror.engine import IDLE_S, Engine
from pictofs.mirror.plan import unreserved
from pictofs.mirror.policy import Limits

_log = logging.getLogger(__name__)
HELD = "held"
# Who only looks whether the lock is held has it for an instant.
ELECTION_TRIES = 4
ELECTION_PAUSE_S = 0.05
# The loop, the transfers and the writer hand each other batches; at the default of 5 ms each hand-over waits
# for another thread's turn, and a transfer takes three times its latency.
SWITCH_S = 0.0005
# So many objects more before circles among them are looked for: at 700 that takes 3 % of a cold epoch.
COLLECTED = 50_000


def run(
    cache_dir: str,
    limits: Limits,
    ready_fd: int = -1,
    *,
    idle_s: float = IDLE_S,
    log_level: str = "info",
    log_format: str = "text",
) -> int:
    """Serves until the end; returns the exit code.

    One JSON object goes to `ready_fd`, which is then closed: `{"ready": true, "pid": n}` when mounts can
    connect, `{"error": "held"}` (exit code 0) when another process serves this cache directory, else
    `{"error": one line, "exit_code": n}`.
    """
    stacks.keep_memory()
    try:
        directory.prepare(cache_dir)
        election = _elect(cache_dir)
        if election is None:
            _tell(ready_fd, {"error": HELD})
            return 0
        try:
            _stand_apart()
            carriage = _carriage(limits)
            gc.set_threshold(COLLECTED)
            sys.setswitchinterval(SWITCH_S)
            logs.set_up(cache_dir, log_level, log_format)
            return asyncio.run(_serve(cache_dir, limits, ready_fd, idle_s, carriage))
        finally:
            election.release()
    except PictofsError as error:
        _log.error("%s", error)
        _tell(ready_fd, {"error": str(error), "exit_code": error.exit_code})
        return error.exit_code


def _carriage(limits: Limits) -> Carriage:
    """Before anything that has a thread: it begins with a fork."""
    try:
        return Carriage(limits, carter.fork_off(unreserved(limits.transfers), limits.bandwidth_bytes_s))
    except OSError:
        return Carriage(limits)  # it starts one when there is something to carry, or says why not


async def _serve(cache_dir: str, limits: Limits, ready_fd: int, idle_s: float, carriage: Carriage) -> int:
    engine = Engine(cache_dir, limits, idle_s=idle_s, make_freight=lambda limits: carriage)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, engine.ended.set)
    try:
        await engine.start()
    except OSError as error:
        raise CacheUnusable(f"cache_dir {cache_dir} cannot be used: {error.strerror or error}") from error
    loop.add_signal_handler(signal.SIGUSR1, _dump, engine)
    _tell(ready_fd, {"ready": True, "pid": os.getpid()})
    _log.info("fetching for %s", cache_dir)
    try:
        await engine.ended.wait()
    finally:
        await engine.stop()
    _log.info("no longer fetching for %s", cache_dir)
    return engine.exit_code


def _dump(engine: Engine) -> None:
    """The state dump of this process: stacks, what its tasks wait for, and what it says of itself."""
    _log.info("state dump: stacks\n%s", stacks.of_threads())
    _log.info("state dump: tasks\n%s", stacks.of_tasks(asyncio.all_tasks()))
    members = list(engine.dispatch.everybody())
    _log.info("state dump: state %s", json.dumps(engine.report.document(members), default=str))


def _elect(cache_dir: str) -> directory.Election | None:
    for _ in range(ELECTION_TRIES):
        election = directory.elect(cache_dir)
        if election is not None:
            return election
        time.sleep(ELECTION_PAUSE_S)
    return None


def _stand_apart() -> None:
    try:
        os.setsid()
    except PermissionError:
        pass  # we lead a group already: whoever started us saw to it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # until there is a state to dump


def _tell(ready_fd: int, word: dict[str, object]) -> None:
    if ready_fd < 0:
        return
    try:
        os.write(ready_fd, json.dumps(word).encode())
        os.close(ready_fd)
    except OSError:
        pass  # who started us is gone, or was told already
