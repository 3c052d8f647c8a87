"""Where a process stands, for a state dump: file, line and function of every frame, and never a value.

Also what keeps its memory from others: a core file, or a debugger, would have the API key.
"""

from __future__ import annotations

import asyncio
import ctypes
import resource
import sys
import threading
import traceback
from collections.abc import Iterable
from types import FrameType

_PR_SET_DUMPABLE = 4
_FRAMES = 30  # of one stack, the innermost
_TASKS = 100


def of_threads() -> str:
    """Every thread's name and stack, the innermost frame last."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return "\n".join(
        f"thread {names.get(number, number)}\n{_lines(frame)}"
        for number, frame in sys._current_frames().items()
    )


def of_tasks(tasks: Iterable[asyncio.Task[object]]) -> str:
    """What the tasks of a loop wait for; equal ones once, with their number."""
    found: dict[str, int] = {}
    for task in tasks:
        name = getattr(task.get_coro(), "__qualname__", "task")
        text = "\n".join([f"task {name}", *map(_lines, task.get_stack(limit=_FRAMES))])
        found[text] = found.get(text, 0) + 1
    return "\n".join(f"{count} × {text}" for text, count in list(found.items())[:_TASKS])


def _lines(frame: FrameType) -> str:
    # Without their text: reading sources is no thing to do in a process that may hang.
    stack = traceback.StackSummary.extract(traceback.walk_stack(frame), limit=_FRAMES, lookup_lines=False)
    return "\n".join(f"  {each.filename}:{each.lineno} {each.name}" for each in reversed(stack))


def keep_memory() -> None:
    """No core file of this process and its children, and no debugger of another process of the same user.

    A limit of 0 alone does not hold where the kernel hands cores to a program; being not dumpable does
    (prctl(2), Linux), and ends with the next exec.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
