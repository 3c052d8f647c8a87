"""Wants: one fetch for each block, the urgent first, and every claim ends once."""

from __future__ import annotations

import asyncio
import errno
import logging
from pathlib import Path

import pytest

from pictofs.api import Export
from pictofs.catalog.model import EXPORT_BLOCK_BYTES, Kind, node_id, node_pk
from pictofs.errors import (
    Damaged,
    KeyRefused,
    NotFound,
    RateLimited,
    TransferError,
    Unreachable,
    UrlExpired,
)
from pictofs.link.messages import Done, Failed, Priority
from pictofs.mirror import engine
from pictofs.mirror.images import REFUSALS

from .world import Mounted, Service, World, picture, world


def failed(answer: object) -> int:
    assert isinstance(answer, Failed), answer
    return answer.errno


async def wanting(w: World, mounts: int = 1) -> list[Mounted]:
    """Mounts that fetch what they want and no more, however late the order of the dataset is built."""
    found = [await w.mount(key=f"k{number}", prefetch="off") for number in range(mounts)]
    await w.listed(found[0])
    return found


def test_two_mounts_that_want_the_same_block_cause_one_transfer_and_both_are_answered(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as w:
            one, other = await wanting(w, 2)
            w.carrier.holding = True
            node = w.image_node("0.jpg")
            numbers = [(mount, mount.start_want(node)) for mount in (one, other) for _ in range(3)]
            await w.until(lambda: w.carrier.requests == 1)
            w.carrier.let_go()
            for mount, number in numbers:
                assert await mount.answer(number) == Done(number)
            assert w.carrier.requests == 1
            assert w.body(node) == b"\0" * 100
            assert await one.want(node)
            assert w.carrier.requests == 1, "what is present is not fetched"

    asyncio.run(scenario())


def test_demand_overtakes_what_nobody_waits_for_and_promotes_what_it_joins(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path, Service(images=9), jobs=2) as w:
            (mount,) = await wanting(w)
            w.carrier.holding = True
            nodes = [w.image_node(f"{n}.jpg") for n in range(9)]
            fills = [mount.start_want(node, priority=Priority.FILL) for node in nodes]
            await w.until(lambda: w.carrier.requests == 1)
            assert w.engine.fetcher.counts() == {"demand": 0, "look_ahead": 0, "fill": 9}
            demanded = mount.start_want(nodes[7])
            await w.until(lambda: w.carrier.requests == 2)
            assert w.engine.fetcher.counts() == {"demand": 1, "look_ahead": 0, "fill": 8}
            w.carrier.holding = False
            w.carrier._held.pop()()
            await mount.answer(demanded)
            assert w.body(nodes[7]) is not None
            assert await mount.answer(fills[7]) == Done(fills[7])
            assert w.body(nodes[8]) is None
            w.carrier.let_go()
            for number in fills:
                await mount.answer(number)
            assert w.carrier.requests == 9

    asyncio.run(scenario())


def test_a_want_nobody_waits_for_any_more_is_given_up_but_not_for_another_that_waits(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path, jobs=2) as w:
            one, other = await wanting(w, 2)
            w.carrier.holding = True
            shared, alone, waiting = (w.image_node(f"{n}.jpg") for n in range(3))
            kept = other.start_want(shared)
            cancelled = [one.start_want(node) for node in (shared, alone, waiting)]
            await w.until(lambda: w.carrier.requests == 2)
            for number in cancelled:
                one.cancel(number)
            await w.until(lambda: w.carrier.cancelled == 1)
            w.carrier.let_go()
            assert await other.answer(kept) == Done(kept)
            assert w.carrier.requests == 2, "what had not begun never begins"
            assert not [m for m in one.peer.sent if getattr(m, "id", 0) in cancelled]
            assert sum(w.engine.fetcher.counts().values()) == 0

    asyncio.run(scenario())


def test_a_reader_that_was_told_eio_for_want_of_progress_leaves_a_word_of_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as w:
            mount = await w.mount(prefetch="off")
            await w.listed(mount)
            w.carrier.holding = True
            interrupted, late = (mount.start_want(w.image_node(f"{n}.jpg")) for n in (0, 1))
            await w.until(lambda: w.carrier.requests == 2)
            mount.cancel(interrupted)
            assert not w.engine.troubles.recent()
            mount.cancel(late, late=True)
            mount.cancel(late, late=True)
            assert [each["what"] for each in w.engine.troubles.recent()] == ["nothing arrived for timeout=8s"]
            await w.until(lambda: w.carrier.cancelled == 2)

    asyncio.run(scenario())


def test_a_mount_that_dies_takes_its_wants_with_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as w:
            one, _ = await wanting(w, 2)
            w.carrier.holding = True
            one.start_want(w.image_node("0.jpg"))
            await w.until(lambda: w.carrier.requests == 1)
            one.leave()
            await w.until(lambda: w.carrier.cancelled == 1)
            await w.until(lambda: w.clients[0].closed)
            assert not w.clients[1].closed

    asyncio.run(scenario())


def test_a_want_made_in_the_moment_its_flight_is_given_up_begins_anew(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as w:
            (mount,) = await wanting(w)
            w.carrier.holding = True
            node = w.image_node("0.jpg")
            first = mount.start_want(node)
            await w.until(lambda: w.carrier.requests == 1)
            mount.cancel(first)
            second = mount.start_want(node)
            w.carrier.holding = False
            assert await mount.answer(second) == Done(second)
            assert w.body(node) is not None

    asyncio.run(scenario())


def test_urls_that_had_worked_and_expire_are_replaced_by_one_batch_for_all(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path, Service(images=6)) as w:
            (mount,) = await wanting(w)
            await mount.want(w.image_node("0.jpg"))
            w.carrier.holding = True
            numbers = [mount.start_want(w.image_node(f"{n}.jpg")) for n in range(1, 6)]
            await w.until(lambda: w.carrier.requests == 6)
            w.service.fail("get", UrlExpired("expired"), times=5)
            w.carrier.let_go()
            for number in numbers:
                assert isinstance(await mount.answer(number), Done)
            assert w.service.calls["links"] == 2
            assert w.service.calls["read"] == 0

    asyncio.run(scenario())


def test_where_no_url_ever_works_the_api_gives_the_bytes_and_in_a_the_batch_is_asked_for_again(
    tmp_path: Path,
) -> None:
    async def scenario(dialect: str, reads: int, batches: int) -> None:
        service = Service()
        service.dialect = dialect
        async with world(tmp_path / dialect, service) as w:
            (mount,) = await wanting(w)
            w.service.fail("get", UrlExpired("expired"))
            assert isinstance(await mount.want(w.image_node("0.jpg")), Done)
            assert (w.service.calls["read"], w.service.calls["links"]) == (reads, batches)

    for dialect, reads, batches in (("c", 1, 1), ("a", 0, 2)):
        (tmp_path / dialect).mkdir()
        asyncio.run(scenario(dialect, reads, batches))


def test_urls_that_are_over_when_they_come_are_replaced_at_once_until_one_works(tmp_path: Path) -> None:
    """More often than what is refused without a reason, and that is no progress which a reader is told."""

    async def scenario() -> None:
        service = Service()
        service.dialect = "a"
        async with world(tmp_path, service) as w:
            (mount,) = await wanting(w)
            w.service.links_live_s = -0.1
            w.service.fail("get", UrlExpired("over"), times=REFUSALS + 2)
            number = mount.start_want(w.image_node("1.jpg"))
            assert await mount.answer(number) == Done(number)
            assert w.service.calls["links"] == REFUSALS + 3
            assert mount.moved(number) == 0

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("error", "number"),
    [(TransferError("reset"), errno.EIO), (Damaged("crc"), errno.EIO)],
)
def test_a_transfer_that_fails_is_an_errno_and_leaves_nothing_in_the_store(
    error: TransferError, number: int, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as w:
            (mount,) = await wanting(w)
            w.service.fail("get", error)
            node = w.image_node("0.jpg")
            assert failed(await mount.want(node)) == number
            assert w.body(node) is None
            assert isinstance(await mount.want(node), Done), "the next want begins anew"

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (RateLimited("spent", retry_after_s=99), errno.EAGAIN),
        (KeyRefused("401", status=401), errno.EACCES),
        (Unreachable("no answer"), errno.EIO),
    ],
)
def test_no_url_to_be_had_is_the_service_s_errno(error: Exception, number: int, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as w:
            (mount,) = await wanting(w)
            w.service.fail("links", error)  # type: ignore[arg-type]
            assert failed(await mount.want(w.image_node("0.jpg"))) == number

    asyncio.run(scenario())


def test_another_mount_s_refused_key_fails_its_claims_alone(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as w:
            bad, good = await wanting(w, 2)
            w.service.refused_keys.add("k0")
            w.service.hold("links")
            node = w.image_node("0.jpg")
            numbers = [(mount, mount.start_want(node)) for mount in (bad, good)]
            w.service.let_go("links")
            assert failed(await bad.answer(numbers[0][1])) == errno.EACCES
            assert isinstance(await good.answer(numbers[1][1]), Done)

    asyncio.run(scenario())


def test_bytes_of_another_size_or_generation_are_another_version_s(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as w:
            (mount,) = await wanting(w)
            old = w.image_node("0.jpg")
            w.service.replace(0, b"new body", "2")
            assert failed(await mount.want(old)) == errno.ESTALE
            new = w.image_node("0.jpg")
            assert new != old
            assert (w.root, "0.jpg") in mount.changed_entries
            assert isinstance(await mount.want(new), Done)
            assert w.body(new) == b"new body"
            assert w.body(old) is None
            w.service.replace(0, b"new bodz", "3")
            row = w.engine.reader.block(new, 0)
            assert row is not None
            (w.cache_dir / row.path).unlink()
            assert failed(await mount.want(new, lost=True)) == errno.ESTALE, "of equal size, yet another"
            newest = w.image_node("0.jpg")
            assert isinstance(await mount.want(newest), Done)
            assert w.body(newest) == b"new bodz"

    asyncio.run(scenario())


def test_an_old_version_is_read_while_it_is_whole_and_stale_after(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as w:
            (mount,) = await wanting(w)
            old = w.image_node("0.jpg")
            await mount.want(old)
            w.service.images[0] = picture(0, file_size=8)
            w.service.replace(0, b"new body", "2")
            await mount.look(w.root, force=True)
            assert w.image_node("0.jpg") != old
            assert isinstance(await mount.want(old), Done)
            row = w.engine.reader.block(old, 0)
            assert row is not None
            (w.cache_dir / row.path).unlink()
            assert failed(await mount.want(old, lost=True)) == errno.ESTALE

    asyncio.run(scenario())


def test_an_object_that_is_gone_is_stale_and_its_listing_is_made_anew(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as w:
            (mount,) = await wanting(w)
            node = w.image_node("0.jpg")
            del w.service.objects["http://s/i0"]
            del w.service.images[0]
            assert failed(await mount.want(node)) == errno.ESTALE
            await w.until(lambda: (w.root, "0.jpg") in mount.changed_entries)
            assert w.image("0.jpg") is None

    asyncio.run(scenario())


def test_a_lost_block_is_verified_and_only_fetched_again_when_it_is_not_right(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as w:
            (mount,) = await wanting(w)
            node = w.image_node("0.jpg")
            await mount.want(node)
            assert isinstance(await mount.want(node, lost=True), Done)
            assert w.carrier.requests == 1
            row = w.engine.reader.block(node, 0)
            assert row is not None
            (w.cache_dir / row.path).write_bytes(b"\1" * 100)
            assert isinstance(await mount.want(node, lost=True), Done)
            assert w.carrier.requests == 2
            assert w.body(node) == b"\0" * 100

    asyncio.run(scenario())


def test_a_renamed_dataset_is_asked_for_under_its_new_name(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as w:
            (mount,) = await wanting(w)
            node = w.image_node("0.jpg")
            w.service.changed(name="Other")
            assert isinstance(await mount.want(node), Done)
            assert (w.service.calls["links"], w.service.calls["dataset"]) == (2, 1)

    asyncio.run(scenario())


def test_a_404_that_no_rename_explains_is_not_asked_twice(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as w:
            (mount,) = await wanting(w)
            w.service.fail("links", NotFound("404", status=404))
            assert failed(await mount.want(w.image_node("0.jpg"))) == errno.ENOENT
            assert w.service.calls["links"] == 1

    asyncio.run(scenario())


def test_an_image_without_a_size_is_fetched_by_its_first_block(tmp_path: Path) -> None:
    async def scenario() -> None:
        service = Service()
        service.images = [picture(0, file_size=None)]
        async with world(tmp_path, service) as w:
            (mount,) = await wanting(w)
            node = w.image_node("0.jpg")
            assert isinstance(await mount.want(node), Done)
            row = w.image("0.jpg")
            assert row is not None
            assert row.size_bytes == 100
            assert w.body(node) == b"\0" * 100

    asyncio.run(scenario())


def test_an_annotation_is_wanted_like_any_file_and_a_newer_body_is_stale(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as w:
            (mount,) = await wanting(w)
            node = w.annotation_node("0.jpg")
            numbers = [mount.start_want(node) for _ in range(3)]
            for number in numbers:
                assert await mount.answer(number) == Done(number)
            assert w.service.calls["annotation"] == 1
            w.service.annotations["i0"] = b"{}\n"
            row = w.engine.reader.block(node, 0)
            assert row is not None
            (w.cache_dir / row.path).unlink()
            assert failed(await mount.want(node, lost=True)) == errno.ESTALE
            assert w.body(w.annotation_node("0.jpg")) == b"{}\n"

    asyncio.run(scenario())


async def exported(w: World, mount: Mounted) -> int:
    await mount.look(1)
    await mount.look(node_id(w.dataset.pk, Kind.EXPORTS))
    (row,) = w.engine.reader.exports(w.dataset.pk)
    return node_id(row.pk, Kind.EXPORT)


def archive(generation: str, fill: bytes) -> Service:
    service = Service()
    size = 2 * EXPORT_BLOCK_BYTES + 10
    service.exports = [Export(id="e1", name="all", status="completed", completed_ns=5, file_size=size)]
    service.objects["http://s/e1"] = (fill * size, generation)
    return service


def test_after_a_restart_the_last_block_of_an_archive_vouches_for_the_others(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path, archive("1", b"z")) as w:
            mount = await w.mount()
            node = await exported(w, mount)
            for block in (0, 2):
                assert isinstance(await mount.want(node, block), Done)
            assert w.body(node, 2) == b"z" * 10
        async with world(tmp_path, archive("1", b"z")) as w:
            mount = await w.mount()
            node = await exported(w, mount)
            assert isinstance(await mount.want(node, 1), Done)
            assert w.body(node, 0) is not None
        async with world(tmp_path, archive("2", b"y")) as w:
            mount = await w.mount()
            node = await exported(w, mount)
            (w.cache_dir / w.engine.reader.block(node, 1).path).unlink()  # type: ignore[union-attr]
            assert isinstance(await mount.want(node, 1, lost=True), Done)
            assert w.body(node, 0) is None, "it was of another archive of the same size"
            assert w.body(node, 1) == b"y" * EXPORT_BLOCK_BYTES

    asyncio.run(scenario())


def test_an_archive_replaced_while_we_watch_is_stale_and_begins_anew(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path, archive("1", b"z")) as w:
            mount = await w.mount()
            node = await exported(w, mount)
            await mount.want(node, 0)
            size = 2 * EXPORT_BLOCK_BYTES + 10
            w.service.objects["http://s/e1"] = (b"y" * size, "2")
            assert failed(await mount.want(node, 1)) == errno.ESTALE
            assert w.body(node, 0) is None
            assert isinstance(await mount.want(node, 0), Done)
            assert w.body(node, 0) == b"y" * EXPORT_BLOCK_BYTES

    asyncio.run(scenario())


def test_a_want_that_makes_no_sense_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as w:
            (mount,) = await wanting(w)
            node = w.image_node("0.jpg")
            assert failed(await mount.answer(mount.start_want(node, 3, 1))) == errno.EINVAL
            assert failed(await mount.answer(mount.start_want(node, 0, 1 << 40))) == errno.EINVAL
            assert failed(await mount.want(w.root)) == errno.ESTALE
            assert failed(await mount.want(node_id(12345, Kind.IMAGE))) == errno.ESTALE
            assert failed(await mount.want(1)) == errno.ESTALE
            assert failed(await mount.want(0xFF)) == errno.ESTALE

    asyncio.run(scenario())


@pytest.mark.logs_traceback
def test_a_mistake_of_ours_is_eio_and_a_line_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as w:
            (mount,) = await wanting(w)
            w.service.fail("links", ValueError("a bug"))  # type: ignore[arg-type]
            assert failed(await mount.want(w.image_node("0.jpg"))) == errno.EIO
            assert isinstance(await mount.want(w.image_node("0.jpg")), Done)

    with caplog.at_level(logging.ERROR):
        asyncio.run(scenario())
    assert "a fetch failed in a way it should not" in caplog.text


def test_who_waits_for_a_slot_is_told_that_the_line_moves(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path, jobs=1) as w:
            (mount,) = await wanting(w)
            w.carrier.holding = True
            first, second, third = (mount.start_want(w.image_node(f"{n}.jpg")) for n in range(3))
            await w.until(lambda: w.carrier.requests == 1)
            w.engine.fetcher.breathe()
            assert mount.moved(third) == 0
            w.carrier._held.pop()()
            await mount.answer(first)
            w.engine.fetcher.breathe()
            assert mount.moved(third) == 1
            w.carrier.let_go()
            await mount.answer(second)
            await mount.answer(third)

    asyncio.run(scenario())


def test_who_waits_for_what_a_convoy_brings_is_told_that_it_comes_or_that_the_line_moves(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as w:
            (mount,) = await wanting(w)
            assert isinstance(await mount.want(w.image_node("0.jpg")), Done)  # the URLs are there
            w.carrier.holding = True
            nodes = [w.image_node(f"{n}.jpg") for n in (1, 2)]
            (member,) = w.engine.dispatch.everybody()
            w.engine.prefetch.carry(member, [node_pk(node) for node in nodes])
            first, second = (mount.start_want(node) for node in nodes)
            w.engine.fetcher.breathe()
            before = mount.moved(first), mount.moved(second)
            number, moved = w.freight.underway[0]
            moved(number, 60)
            assert (mount.moved(first), mount.moved(second)) == (before[0] + 1, before[1])
            (flight, _) = next(iter(w.engine.fetcher.concerning(nodes[0], 1)))
            assert flight.size_bytes == 60
            w.engine.fetcher.breathe()
            assert mount.moved(second) == before[1] + 1
            w.carrier.let_go()
            assert await mount.answer(first) == Done(first)
            assert await mount.answer(second) == Done(second)

    asyncio.run(scenario())


def test_readers_of_many_files_wait_for_memory_and_each_gets_its_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "MEMORY_BYTES", 250)  # two images of a hundred bytes

    async def scenario() -> None:
        async with world(tmp_path, Service(images=6)) as w:
            (mount,) = await wanting(w)
            w.carrier.holding = True
            numbers = [mount.start_want(w.image_node(f"{n}.jpg")) for n in range(6)]
            await w.until(lambda: w.carrier.requests == 2)
            for done in range(1, 7):
                w.carrier._held.pop(0)()
                await w.until(lambda done=done: w.carrier.requests == min(6, 2 + done))
            for n, number in enumerate(numbers):
                assert await mount.answer(number) == Done(number)
                assert w.body(w.image_node(f"{n}.jpg")) == bytes([n]) * (100 + n)
            assert w.engine.memory.used_bytes == 0

    asyncio.run(scenario())
