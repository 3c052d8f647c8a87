"""What becomes of an export that somebody reads: deleted, expired, replaced, failed; its URL refused."""

from __future__ import annotations

import base64
import errno
import io
import json
import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pictofs.catalog.model import EXPORT_BLOCK_BYTES
from pictofs.emulator.launch import Running, start
from pictofs.emulator.settings import EmulatorSettings
from tests.mount.conftest import Make, Mount, eventually

pytestmark = pytest.mark.mount
SOON_S = 20.0
DATASET = "Street Scenes"
STORED, DEFLATED = "images/stored.bin", "labels/deflated.txt"


def archive() -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as made:
        made.writestr(STORED, os.urandom(5 << 20))
        made.writestr(DEFLATED, os.urandom(1 << 20).hex(), zipfile.ZIP_DEFLATED)
    return body.getvalue()


@pytest.fixture(scope="module")
def service() -> Iterator[Running]:
    with start(EmulatorSettings(generate=2, rate_limit=0)) as running:
        yield running


@pytest.fixture(scope="module")
def mount(service: Running, shared_mounts: Make) -> Mount:
    """It looks at the service again all the time, and fetches nothing that nobody reads."""
    return shared_mounts(service, "ttl=0.3", "prefetch=off").mounted()


@pytest.fixture
def exports(mount: Mount) -> Path:
    return mount.root / DATASET / "exports"


def put(service: Running, name: str, body: bytes) -> None:
    service.mutate("add_export", dataset=DATASET, name=name, content=base64.b64encode(body).decode())


def read_to_the_end(fd: int, already: int) -> tuple[bytes, int]:
    """(what comes after `already` bytes, the errno that ended it)."""
    read = b""
    try:
        while part := os.pread(fd, 1 << 20, already + len(read)):
            read += part
    except OSError as error:
        return read, error.errno or -1
    return read, 0


def delete(service: Running, name: str) -> None:
    service.mutate("delete_export", dataset=DATASET, export=name)


def expire(service: Running, name: str) -> None:
    service.mutate("expire_export", dataset=DATASET, export=name)


@pytest.mark.parametrize(
    ("end", "status_stays"), [(delete, False), (expire, True)], ids=["deleted", "expired"]
)
def test_an_export_that_ends_is_gone_and_its_readers_get_estale(
    service: Running, exports: Path, end: Callable[[Running, str], None], status_stays: bool
) -> None:
    """ "An export that is deleted or has expired is gone, and who has it open reads on or gets ESTALE." """
    name, body = f"ends by {end.__name__}", archive()
    put(service, name, body)
    eventually((exports / f"{name}.zip").exists, SOON_S, "the export")
    paths = [exports / f"{name}.zip", exports / name / STORED]
    with zipfile.ZipFile(io.BytesIO(body)) as whole:
        bodies = [body, whole.read(STORED)]
    with ExitStack() as opened:
        files = [opened.enter_context(path.open("rb", buffering=0)) for path in paths]
        deflated = opened.enter_context((exports / name / DEFLATED).open("rb", buffering=0))
        begun = [os.pread(file.fileno(), 100_000, 0) for file in files]
        end(service, name)
        eventually(lambda: not paths[0].exists(), SOON_S, "the archive is gone")
        assert f"{name}.zip" not in os.listdir(exports)
        assert (exports / f"{name}.status.json").exists() is status_stays
        assert not (exports / name).exists()
        for file, begin, expected in zip(files, begun, bodies, strict=True):
            rest, ended = read_to_the_end(file.fileno(), len(begin))
            assert ended == errno.ESTALE
            assert expected.startswith(begin + rest)
            assert os.pread(file.fileno(), 4096, 0) == expected[:4096], "what is here is read on"
        assert read_to_the_end(deflated.fileno(), 0) == (b"", errno.ESTALE)


def test_an_export_ordered_anew_under_its_name_is_another_file(service: Running, exports: Path) -> None:
    old, new = archive(), archive()
    put(service, "again", old)
    path = exports / "again.zip"
    eventually(path.exists, SOON_S, "the export")
    with path.open("rb", buffering=0) as file, (exports / "again" / STORED).open("rb", buffering=0) as member:
        begin = os.pread(file.fileno(), 100_000, 0)
        delete(service, "again")
        put(service, "again", new)
        eventually(lambda: path.read_bytes() == new, SOON_S, "the new one")
        rest, ended = read_to_the_end(file.fileno(), len(begin))
        assert ended == errno.ESTALE
        assert old.startswith(begin + rest)
        _, ended = read_to_the_end(member.fileno(), 0)
        assert ended == errno.ESTALE
    with zipfile.ZipFile(io.BytesIO(new)) as whole:
        assert (exports / "again" / STORED).read_bytes() == whole.read(STORED)
        assert (exports / "again" / DEFLATED).read_bytes() == whole.read(DEFLATED)


def test_every_export_has_a_status_file_and_a_failed_one_says_why(service: Running, exports: Path) -> None:
    """ "Every export has a status file, and that of a failed one says why." """
    states = {}
    for state in ("pending", "processing", "failed", "completed"):
        service.mutate("add_export", dataset=DATASET, name=state, status=state, error_message="disk full")
        eventually((exports / f"{state}.status.json").exists, SOON_S, f"the one that is {state}")
        states[state] = json.loads((exports / f"{state}.status.json").read_bytes())
    assert {name: document["status"] for name, document in states.items()} == {name: name for name in states}
    assert states["failed"]["error_message"] == "disk full"
    assert [(exports / f"{name}.zip").exists() for name in states] == [False, False, False, True]
    service.mutate("fail_export", dataset=DATASET, export="processing", message="out of memory")
    eventually(lambda: b"out of memory" in (exports / "processing.status.json").read_bytes(), SOON_S, "why")
    service.mutate("complete_export", dataset=DATASET, export="pending")
    eventually(lambda: zipfile.is_zipfile(exports / "pending.zip"), SOON_S, "the one that was pending")


def test_a_url_that_expires_while_its_archive_is_read_is_renewed_at_the_same_byte(
    service: Running, exports: Path
) -> None:
    body = archive()
    put(service, "renewed", body)
    path = exports / "renewed.zip"
    eventually(path.exists, SOON_S, "the export")
    service.reset_counters()
    try:
        with path.open("rb", buffering=0) as file:
            read = os.pread(file.fileno(), 1 << 20, 0)
            for part in (2, 3):
                service.fault("storage", "expire", "*renewed*")     # every URL that was signed before now
                read += os.pread(file.fileno(), (part << 20) - len(read), len(read))
            rest, ended = read_to_the_end(file.fileno(), len(read))
    finally:
        service.clear_faults()
    assert (read + rest, ended) == (body, 0)
    counters = service.counters()
    assert counters["storage"]["statuses"]["400"] >= 2, "both were refused"
    signed = sum(count for route, count in counters["api"]["routes"].items() if "download" in route)
    assert signed == 3
    assert counters["storage"]["bytes_sent"] < len(body) + EXPORT_BLOCK_BYTES, "nothing was fetched twice"
