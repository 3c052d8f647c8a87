"""A mount whose supervisor has another idea of something: `python -m tests.mount.supervising WHAT DIR
OPTION…`.

silence=S    a serving loop that is silent for S seconds hangs
no-resend    a kernel before Linux 6.9
"""

from __future__ import annotations

import os
import sys

from pictofs.drivers.kernel import handshake
from pictofs.drivers.kernel.wire import Init
from pictofs.mount import background, logs, plan, watch
from pictofs.mount.supervisor import Supervisor


def main() -> None:
    """Mounts in the background, and returns when the mount answers."""
    what, folder, *options = sys.argv[1:]
    name, _, value = what.partition("=")
    silence_limit_s = float(value) if name == "silence" else watch.LIMIT_S
    if name == "no-resend":
        handshake._WANTED = handshake._WANTED & ~Init.HAS_RESEND
    given = [text.replace(",", r"\,") for text in options]
    planned = plan.prepare(plan.configure(None, given, os.environ), folder, os.environ, foreground=False)

    def supervise(word: background.Word) -> int:
        logs.configure(planned.settings, "supervisor", planned.log)
        return Supervisor(planned, word.ready, word.close, silence_limit_s=silence_limit_s).run()

    background.start(supervise, log=planned.log)


if __name__ == "__main__":
    main()
