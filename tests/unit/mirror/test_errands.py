"""Annotations by the batch: the key goes to one place, and whatever is not plain is asked again elsewhere."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import google_crc32c
import pytest

from pictofs.api import Client, Dataset, Image
from pictofs.errors import RateLimited
from pictofs.mirror.carriage import Carriage
from pictofs.mirror.errands import PAUSE_S, Brought, Errands
from pictofs.mirror.policy import Limits, Policy
from pictofs.store import Written
from tests.unit.storage.host import Host, Treatment

KEY = "pk_live_5ec2e7"
LIMIT_S = 20.0


@pytest.fixture
def host() -> Iterator[Host]:
    made = Host()
    yield made
    made.close()


class Sender:
    """Errands to a host that plays the API."""

    def __init__(self, host: Host, folder: Path) -> None:
        self.client = Client(f"{host.origin}/api/v1/developer", api_key=KEY, dialect="c")
        self.carriage = Carriage(Limits(1 << 30, 0))
        self.now_s = 0.0
        self.errands = Errands(self.carriage, str(folder), clock=lambda: self.now_s)
        self.member: Any = SimpleNamespace(policy=Policy(), access=SimpleNamespace(client=self.client))

    async def body(self, number: int) -> Brought | None:
        image = Image(id=f"i{number}", filename=f"{number}.jpg", annotation_url=f"{path(number)}")
        dataset = Dataset(id="d", name="D")
        return await asyncio.wait_for(self.errands.body(self.member, dataset, image, lambda: None), LIMIT_S)


def path(number: int) -> str:
    return f"/api/v1/developer/annotations/D/{number}.json"


def told(remaining: int, limit: int = 1000) -> Treatment:
    def edit(head: dict[str, str]) -> None:
        head["X-RateLimit-Limit"] = str(limit)
        head["X-RateLimit-Remaining"] = str(remaining)

    return Treatment(edit=edit)


@asynccontextmanager
async def sending(host: Host, folder: Path) -> AsyncIterator[Sender]:
    sender = Sender(host, folder)
    try:
        yield sender
    finally:
        await sender.carriage.stop()
        sender.client.close()


def run(host: Host, folder: Path, scenario: Callable[[Sender], Awaitable[None]]) -> None:
    async def within() -> None:
        async with sending(host, folder) as sender:
            await scenario(sender)

    asyncio.run(within())


def test_a_document_comes_as_the_mount_shows_it_with_its_hash_and_its_checksum(
    host: Host, tmp_path: Path
) -> None:
    for number in range(10):
        host.put(path(number), json.dumps({"annotations": [{"id": number, "näme": "ö"}]}).encode())

    async def scenario(sender: Sender) -> None:
        found = await asyncio.gather(*(sender.body(number) for number in range(10)))
        for number, each in enumerate(found):
            assert each is not None
            assert isinstance(each.body, Written)
            body = Path(each.body.path).read_bytes()
            value = {"annotations": [{"id": number, "näme": "ö"}]}
            assert body == (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
            assert each.version == hashlib.sha256(body).hexdigest()[:32]
            assert (each.crc32c, len(each.body)) == (google_crc32c.value(body), len(body))
        assert sender.client.requests == 10

    run(host, tmp_path, scenario)
    assert {seen.header("x-api-key") for seen in host.seen} == {KEY}


def test_the_key_follows_no_redirect(host: Host, tmp_path: Path) -> None:
    def elsewhere(head: dict[str, str]) -> None:
        head["Location"] = f"{host.origin}/other"

    host.put("/other", b"{}")
    host.put(path(1), b"{}", Treatment(status=302, edit=elsewhere))

    async def scenario(sender: Sender) -> None:
        assert await sender.body(1) is None

    run(host, tmp_path, scenario)
    assert host.asked("/other") == []


@pytest.mark.parametrize(
    ("body", "treatment"),
    [
        (b"<html>", Treatment()),
        (b"7", Treatment()),
        (b"{}", Treatment(status=500)),
        (b"{}", Treatment(status=429)),
        (b"{}" * 100, Treatment(cut=50, reset=True)),
    ],
    ids=["no JSON", "no document", "500", "429", "broken off"],
)
def test_what_is_not_plain_is_asked_once_and_then_left_to_the_ordinary_way(
    body: bytes, treatment: Treatment, host: Host, tmp_path: Path
) -> None:
    host.put(path(1), body, treatment)
    host.put(path(2), b"[]")

    async def scenario(sender: Sender) -> None:
        assert await sender.body(1) is None
        assert await sender.body(2) is None  # for a moment, nothing more goes this way
        assert len(host.seen) == 1
        sender.now_s += PAUSE_S
        assert await sender.body(2) is not None
        assert len(list(tmp_path.iterdir())) == 1  # and of what failed, no file is left

    run(host, tmp_path, scenario)


def test_the_budget_is_kept_as_for_every_request(host: Host, tmp_path: Path) -> None:
    host.put(path(1), b"{}", told(500))
    host.put(path(2), b"{}", told(100))

    async def scenario(sender: Sender) -> None:
        assert await sender.body(1) is not None
        assert sender.client.budget is not None
        assert sender.client.budget.remaining == 500
        assert await sender.body(2) is not None
        with pytest.raises(RateLimited):  # a tenth is the reserve of readers that wait
            await sender.body(1)

    run(host, tmp_path, scenario)
    assert len(host.seen) == 2


def test_a_request_that_is_given_up_is_counted_and_leaves_no_file(host: Host, tmp_path: Path) -> None:
    host.put(path(1), b'{"annotations": []}', Treatment(drip=4, pause_s=0.02))

    async def scenario(sender: Sender) -> None:
        waiting = asyncio.ensure_future(sender.body(1))
        await asyncio.get_running_loop().run_in_executor(None, host.wait_asked, 1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        host.put(path(2), b"{}")
        assert await sender.body(2) is not None, "what comes later comes all the same"

        async def ended() -> None:
            while sender.errands._underway:
                await asyncio.sleep(0.01)

        await asyncio.wait_for(ended(), LIMIT_S)
        assert len([each for each in tmp_path.iterdir() if each.is_file()]) == 1
        assert sender.client.requests == 2

    run(host, tmp_path, scenario)
