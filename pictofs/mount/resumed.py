"""The program that a supervisor becomes when it is upgraded: `python -m pictofs.mount.resumed DESCRIPTOR`.

Only `handover.execute` starts it, in the place of the former program: the process, its children and its open
descriptors are the same.
"""

from __future__ import annotations

import logging
import os
import sys

from pictofs import __version__, secrets, stacks
from pictofs.errors import PictofsError
from pictofs.mount import handover, logs
from pictofs.mount.supervisor import Supervisor

_log = logging.getLogger(__name__)


def main() -> int:
    """Go on where the former program stopped; the exit code, once unmounted."""
    stacks.keep_memory()
    before = handover.received(int(sys.argv[1]))
    plan = before.plan
    secrets.remember(*plan.api_keys)
    logs.configure(plan.settings, "supervisor", plan.log)
    _log.info("pictofs %s goes on where %s stopped", __version__, before.version)
    try:
        return Supervisor(plan, lambda notes: None, before=before).run()
    except PictofsError as error:
        _log.error("%s", error)
        return error.exit_code
    except BaseException:
        _log.critical("the supervisor failed", exc_info=True)
        raise


if __name__ == "__main__":
    # Not sys.exit: what the former program registered to happen at its exit is no longer there, and the
    # parent of a mount in the background is not waiting for a traceback.
    os._exit(main())
