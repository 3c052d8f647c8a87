"""The fetching process as a mount meets it: a child, a link to it, and a reader of its catalog."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pictofs.catalog import CatalogReader
from pictofs.catalog.model import ROOT_NODE, DatasetRow, ImageRow, Kind, block_bytes, node_id, node_kind
from pictofs.emulator.launch import Running
from pictofs.link import Client
from pictofs.link.messages import (
    PROTOCOL,
    Account,
    Ask,
    Attach,
    Attached,
    Cancel,
    Changed,
    Done,
    Failed,
    Look,
    State,
    Told,
    Want,
)

LIMIT_S = 30.0


class Refused(Exception):
    """A Failed, as an exception."""

    def __init__(self, failed: Failed) -> None:
        super().__init__(failed.what)
        self.errno = failed.errno
        self.exit_code = failed.exit_code


class Process:
    """`python -m pictofs.mirror` on a cache directory; a context manager that ends it."""

    def __init__(self, cache_dir: Path, *arguments: str) -> None:
        self.cache_dir = cache_dir
        receive, send = os.pipe()
        try:
            self.child = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "pictofs.mirror",
                    f"--cache-dir={cache_dir}",
                    f"--ready-fd={send}",
                    "--min-free=0",
                    *arguments,
                ],
                pass_fds=(send,),
                stdin=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        finally:
            os.close(send)
        with os.fdopen(receive, "rb") as words:
            self.word: dict[str, Any] = json.loads(words.read() or b"{}")

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> int:
        """Ends it in order; its exit code."""
        if self.child.poll() is None:
            self.child.terminate()
            try:
                self.child.wait(LIMIT_S)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
                raise
        return self.child.returncode

    def kill(self) -> None:
        """As the kernel would."""
        self.child.kill()
        self.child.wait()

    def log(self) -> str:
        """What it has logged."""
        return (self.cache_dir / "fetch.log").read_text()


class Mount:
    """One attached mount, without a kernel: looks, wants, and the bytes that the catalog then leads to."""

    def __init__(self, cache_dir: Path, base_url: str, key: str, **settings: Any) -> None:
        self.cache_dir = cache_dir
        self.link = Client(str(cache_dir / "fetch.sock"))
        self.link.connect()
        # what is demanded is counted here: nothing else may be fetched
        told = {"ttl_s": 60.0, "timeout_s": 5.0, "prefetch": "off", **settings}
        account = Account(base_url, key, "", "auto", told)
        self.changed: list[Changed] = []
        self.states: list[State] = []
        self._answers: dict[int, Done | Failed | Told | Attached] = {}
        number = self.link.next_id()
        self.link.send(Attach(number, PROTOCOL, "test", f"/mnt/{cache_dir.name}", os.getpid(), [account]))
        try:
            attached = self.answer(number)
        except BaseException:
            self.link.close()
            raise
        assert isinstance(attached, Attached)
        self.attached = attached
        (self.organization,) = attached.organizations
        self.reader = CatalogReader.open(cache_dir / "catalog.sqlite")

    def __enter__(self) -> Mount:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.link.close()
        self.reader.close()

    # asking

    def ask(self, verb: str, **arguments: Any) -> dict[str, Any]:
        number = self.link.next_id()
        self.link.send(Ask(number, verb, arguments))
        told = self.answer(number)
        assert isinstance(told, Told)
        return told.answer

    def look(self, node: int, *, force: bool = False) -> None:
        self.answer(self.send_look(node, force=force))

    def send_look(self, node: int, *, force: bool = False) -> int:
        number = self.link.next_id()
        self.link.send(Look(number, node, force))
        return number

    def want(self, node: int, first: int = 0, last: int = 0, *, lost: bool = False) -> None:
        self.answer(self.send_want(node, first, last, lost=lost))

    def send_want(self, node: int, first: int = 0, last: int = 0, *, lost: bool = False) -> int:
        number = self.link.next_id()
        self.link.send(Want(number, node, first, last, lost=lost, pid=os.getpid()))
        return number

    def cancel(self, number: int) -> None:
        self.link.send(Cancel(number))

    def answer(self, number: int, limit_s: float = LIMIT_S) -> Done | Failed | Told | Attached:
        """The answer to a request; Refused when it failed."""
        self.until(lambda: number in self._answers, limit_s)
        answer = self._answers.pop(number)
        if isinstance(answer, Failed):
            raise Refused(answer)
        return answer

    def until(self, condition: Callable[[], bool], limit_s: float = LIMIT_S) -> None:
        """Listens until something is so."""
        deadline = time.monotonic() + limit_s
        while not condition():
            left = deadline - time.monotonic()
            assert left > 0, "the fetching process did not bring it about in time"
            select.select([self.link], [self.link] if self.link.wants_write else [], [], min(left, 0.1))
            self.link.flush()
            for message in self.link.receive():
                if isinstance(message, Changed):
                    self.changed.append(message)
                elif isinstance(message, State):
                    self.states.append(message)
                elif isinstance(message, Done | Failed | Told | Attached):
                    self._answers[message.id] = message

    # what is there

    def dataset(self, name: str) -> DatasetRow:
        row = self.reader.dataset_named(self.organization, name)
        assert row is not None, name
        return row

    def list(self, name: str, *, force: bool = False) -> list[ImageRow]:
        """Looks at the datasets and at one dataset's images, as `ls` would; all its images."""
        self.look(ROOT_NODE, force=force)
        self.look(node_id(self.dataset(name).root_directory, Kind.IMAGES), force=force)
        return list(self.images(name))

    def images(self, name: str) -> Iterator[ImageRow]:
        pending = [self.dataset(name).root_directory]
        while pending:
            directory = pending.pop()
            after = ""
            while rows := self.reader.images(directory, after):
                yield from rows
                after = rows[-1].file_name
            pending += [row.pk for row in self.reader.subdirectories(directory, limit=10_000)]

    def read(self, node: int, size_bytes: int | None = None) -> bytes:
        """A whole file, block by block, as the serving process does it."""
        if size_bytes is None:
            size_bytes = self.reader.size_bytes(node)
        assert size_bytes is not None
        step = block_bytes(node_kind(node))
        return b"".join(self.block(node, number) for number in range(-(-size_bytes // step)))

    def block(self, node: int, number: int) -> bytes:
        lost = False
        for _ in range(5):
            row = self.reader.block(node, number)
            if row is not None:
                try:
                    body = (self.cache_dir / row.path).read_bytes()
                except FileNotFoundError:
                    lost = True
                else:
                    assert len(body) == row.size_bytes
                    return body
            self.want(node, number, number, lost=lost)
        raise AssertionError("the block is present and is not")


@contextmanager
def served(cache_dir: Path, emulator: Running, *arguments: str, **settings: Any) -> Iterator[Mount]:
    """A process and one mount of it."""
    with Process(cache_dir, *arguments) as process:
        assert process.word.get("ready"), process.word
        with Mount(cache_dir, emulator.base_url, emulator.api_key, **settings) as mount:
            yield mount
