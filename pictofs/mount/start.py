"""Start a mount from its plan: in this process, or in the background."""

from __future__ import annotations

import logging
from collections.abc import Callable

from pictofs import stacks
from pictofs.errors import PictofsError
from pictofs.mount import background, logs
from pictofs.mount.plan import Plan

_log = logging.getLogger(__name__)


def in_foreground(plan: Plan) -> int:
    """Mount and stay until unmounted; the exit code. Raises what kept it from coming up."""
    logs.configure(plan.settings, "supervisor", plan.log)
    return _supervise(plan, background.Word(-1))


def in_background(
    plan: Plan, *, tied: bool = False, slow: Callable[[], None] = lambda: None
) -> background.Started:
    """Mount and return when the mount answers; background.Failed says why it does not.

    `tied`: unmount when this process ends. `slow` is called once where it takes longer than usual.
    """
    return background.start(lambda word: _told(plan, word), log=plan.log, tied=tied, slow=slow)


def _told(plan: Plan, word: background.Word) -> int:
    logs.configure(plan.settings, "supervisor", plan.log)
    try:
        return _supervise(plan, word)
    except PictofsError as error:
        _log.error("%s", error)
        word.failed(str(error), error.exit_code)
        return error.exit_code
    except BaseException:
        _log.critical("the supervisor failed", exc_info=True)
        word.failed(f"the mount failed unexpectedly; its log is {plan.log}", 1)
        raise


def _supervise(plan: Plan, word: background.Word) -> int:
    from pictofs.mount.supervisor import Supervisor

    stacks.keep_memory()
    return Supervisor(plan, word.ready, word.close).run()
