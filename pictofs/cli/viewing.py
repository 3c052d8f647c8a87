"""`pictofs ui`: a page on this machine."""

from __future__ import annotations

import json
import os
import signal
from typing import NoReturn

import click

from pictofs.cli import completing
from pictofs.mount import places, record, report
from pictofs.mount.record import Record
from pictofs.ui.answers import Answers
from pictofs.ui.server import PageServer


@click.command()
@click.argument("mountpoint", required=False, shell_complete=completing.mountpoints)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, metavar="N",
    help="Listen on this port of 127.0.0.1. [a free one]",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the address as a JSON object: url, port.")
def ui(mountpoint: str | None, port: int, as_json: bool) -> int:
    """Serve a page about one mount, or all: figures over time, pictures and what is drawn on them, faults.

    Prints the address, which holds a token that opens the page, and serves until Ctrl-C. Only programs on
    this machine reach it.
    """
    only = None if mountpoint is None else report.one_mount(mountpoint, os.environ)["mountpoint"]
    run_dir = places.run_dir(os.environ, os.getuid())

    def live() -> list[Record]:
        return [known for known in record.live(run_dir) if only in (None, known.mountpoint)]

    signal.signal(signal.SIGTERM, _ended)
    signal.signal(signal.SIGINT, _ended)
    with PageServer(port, Answers(live)) as server:
        found = {"url": server.url, "port": server.server_address[1]}
        print(json.dumps(found) if as_json else server.url, flush=True)
        try:
            server.serve_forever()
        except _End:
            pass
    return 0


class _End(BaseException):
    """Ctrl-C or SIGTERM."""


def _ended(*_: object) -> NoReturn:
    raise _End
