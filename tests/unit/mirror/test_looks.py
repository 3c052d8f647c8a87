"""Looks: what is asked of the service, how often, and what is answered."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pictofs.api import Budget, Export
from pictofs.catalog.model import Kind, node_id
from pictofs.errors import Forbidden, RateLimited, ServerFault, Unreachable
from pictofs.link.messages import Changed, Done, Failed, Look
from pictofs.mirror import listing

from .world import MOUNTED_TTL_S, Service, World, picture, world


def test_a_second_look_within_ttl_asks_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as w:
            mount = await w.mount()
            await w.listed(mount)
            asked = w.service.calls.copy()
            await w.listed(mount)
            assert w.service.calls == asked
            assert asked == {"me": 1, "datasets": 1, "page": 2}

    asyncio.run(scenario())


def test_many_looks_at_once_are_one_listing_and_each_is_told_of_every_page(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path, Service(images=6)) as w:
            mounts = [await w.mount(key=key) for key in ("k1", "k2")]
            for mount in mounts:
                await mount.look(1)
            w.service.hold("page")
            looks = [(m, m.send(lambda n: Look(n, w.root))) for m in mounts for _ in range(5)]
            await w.until(lambda: w.service.calls["page"] == 1)
            w.service.let_go("page")
            for mount, number in looks:
                assert await mount.answer(number) == Done(number)
                assert mount.moved(number) == 3
            assert w.service.calls["page"] == 3

    asyncio.run(scenario())


def test_the_pages_of_a_first_listing_come_side_by_side_and_those_of_a_later_one_in_turn(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with world(tmp_path, Service(images=20)) as w:
            mount = await w.mount()
            await mount.look(1)
            w.service.hold("page", after=1)
            first = mount.send(lambda n: Look(n, w.root))
            await w.until(lambda: w.service.calls["page"] == 1 + 1 + listing.EARLY_PAGES)
            w.service.let_go("page")
            assert await mount.answer(first) == Done(first)
            assert w.service.calls["page"] == 10
            w.service.dataset = msgspec.structs.replace(w.service.dataset, fingerprint="f2")
            w.pass_s(MOUNTED_TTL_S + 1)
            w.service.hold("page", after=11)
            again = mount.send(lambda n: Look(n, w.root))
            await w.until(lambda: w.service.calls["page"] == 12)
            assert isinstance(await mount.want(w.image_node("0.jpg")), Done)
            assert w.service.calls["page"] == 12, "time enough for more"
            w.service.let_go("page")
            assert await mount.answer(again) == Done(again)

    asyncio.run(scenario())


def test_names_resolve_as_pages_arrive_but_the_look_ends_with_the_last(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path, Service(images=4)) as w:
            mount = await w.mount()
            await mount.look(1)
            w.service.hold("page", after=1)
            number = mount.send(lambda n: Look(n, w.root))
            await w.until(lambda: mount.moved(number) == 1)
            assert w.image("0.jpg") is not None
            assert w.image("3.jpg") is None
            assert w.dataset.listed_ns == 0
            assert not mount.peer.of(Done)[1:]
            w.service.let_go("page")
            assert await mount.answer(number) == Done(number)
            assert w.image("3.jpg") is not None
            assert w.dataset.listed_ns > 0

    asyncio.run(scenario())


def test_after_ttl_one_request_confirms_a_dataset_and_only_a_change_lists_it_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as w:
            mount = await w.mount()
            await w.listed(mount)
            w.pass_s(61)
            await mount.look(w.root)
            assert (w.service.calls["dataset"], w.service.calls["page"]) == (1, 2)
            w.service.images.append(picture(9, filename="new.jpg"))
            w.service.changed(image_count=4)
            await mount.look(w.root)
            assert w.image("new.jpg") is None, "within ttl nothing is asked"
            w.pass_s(61)
            await mount.look(w.root)
            assert (w.service.calls["dataset"], w.service.calls["page"]) == (2, 4)
            assert w.image("new.jpg") is not None
            assert (w.root, "new.jpg") in mount.changed_entries

    asyncio.run(scenario())


def test_a_dataset_that_stands_still_is_listed_again_after_ten_ttl(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as w:
            mount = await w.mount()
            await w.listed(mount)
            w.service.images.append(picture(9, filename="new.jpg"))
            w.pass_s(601)
            await mount.look(w.root)
            assert w.image("new.jpg") is not None

    asyncio.run(scenario())


def test_force_asks_whatever_the_age_and_fails_loudly(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as w:
            mount = await w.mount()
            await w.listed(mount)
            assert isinstance(await mount.look(w.root, force=True), Done)
            assert (w.service.calls["dataset"], w.service.calls["page"]) == (1, 4)
            w.service.fail("page", ServerFault("500", status=500))
            failed = await mount.look(w.root, force=True)
            assert isinstance(failed, Failed)
            assert failed.errno == errno.EIO

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (ServerFault("500", status=500), errno.EIO),
        (Unreachable("no answer"), errno.EIO),
        (RateLimited("spent", retry_after_s=100), errno.EAGAIN),
        (Forbidden("403", status=403), errno.EACCES),
    ],
)
def test_a_first_listing_that_fails_is_that_error_and_tries_again_only_after_a_while(
    error: Any, number: int, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as w:
            mount = await w.mount()
            await mount.look(1)
            w.service.fail("page", error)
            failed = await mount.look(w.root)
            assert isinstance(failed, Failed)
            assert failed.errno == number
            again = await mount.look(w.root)
            if isinstance(error, Forbidden):
                assert isinstance(again, Done), "it was an answer: nothing is gained by waiting"
            else:
                assert isinstance(again, Failed)
                assert again.errno == number
                assert w.service.calls["page"] == 1

    asyncio.run(scenario())


def test_a_service_that_is_slow_is_waited_for_only_while_nothing_is_known(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as w:
            mount = await w.mount(timeout_s=1.2)
            await w.listed(mount)
            w.pass_s(61)
            w.service.hold("dataset")
            loop = asyncio.get_running_loop()
            began = loop.time()
            assert isinstance(await mount.look(w.root), Done)
            assert 0.25 < loop.time() - began < 1.0
            began = loop.time()
            assert isinstance(await mount.look(w.root), Done)
            assert loop.time() - began < 0.2, "nobody waits a second time for the same request"
            w.service.let_go("dataset")
            await w.until(lambda: not w.engine.flights._flights)

    asyncio.run(scenario())


def test_a_dataset_that_is_404_is_told_gone_by_the_whole_list(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as w:
            mount = await w.mount()
            await w.listed(mount)
            node = node_id(w.dataset.pk, Kind.DATASET)
            pk = w.dataset.pk
            w.service.changed(id="d2", name="Other")
            assert isinstance(await mount.look(node, force=True), Done)
            gone = w.engine.reader.dataset(pk)
            assert gone is not None
            assert gone.gone
            assert isinstance(await mount.look(node), Done), "a look at what is gone asks nothing"
            assert w.service.calls["datasets"] == 2

    asyncio.run(scenario())


def test_the_service_s_return_is_told_without_a_look_and_what_was_answered_meanwhile_is_doubted(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as w:
            mount = await w.mount()
            await w.listed(mount)
            w.pass_s(61)
            w.service.fail("dataset", Unreachable("no answer"))
            w.service.fail("me", Unreachable("no answer"), times=2)
            assert isinstance(await mount.look(w.root), Done)
            assert [state.online for state in mount.states] == [False]
            assert isinstance(await mount.look(w.root), Done)
            assert w.service.calls["dataset"] == 1, "known to be away: not asked"
            await w.until(lambda: [state.online for state in mount.states] == [False, True])
            assert any(w.root in message.nodes for message in mount.peer.of(Changed))

    asyncio.run(scenario())


def test_a_refused_key_is_its_own_mount_s_and_no_other_s(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as w:
            good, bad = await w.mount(key="good"), await w.mount(key="bad")
            await w.listed(good)
            await w.listed(bad)
            w.pass_s(61)
            w.service.refused_keys.add("bad")
            w.service.hold("dataset")
            numbers = [(mount, mount.send(lambda n: Look(n, w.root))) for mount in (bad, good)]
            w.service.let_go("dataset")
            failed, done = [await mount.answer(number) for mount, number in numbers]
            assert isinstance(failed, Failed)
            assert failed.errno == errno.EACCES
            assert isinstance(done, Done)
            assert bad.states[-1].refused
            assert good.states == []
            w.service.refused_keys.clear()
            await w.until(lambda: not bad.states[-1].refused)
            assert isinstance(await bad.look(w.root), Done)

    asyncio.run(scenario())


def test_an_unknown_size_is_learned_from_one_byte_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        service = Service()
        service.images = [picture(0, file_size=None)]
        async with world(tmp_path, service) as w:
            mount = await w.mount()
            await w.listed(mount)
            node = w.image_node("0.jpg")
            for _ in range(2):
                assert isinstance(await mount.look(node), Done)
            row = w.image("0.jpg")
            assert row is not None
            assert row.size_bytes == 100
            assert row.generation == "1"
            assert (w.carrier.requests, w.carrier.bytes_received) == (1, 1)

    asyncio.run(scenario())


def test_a_body_is_fetched_once_kept_and_fetched_again_when_the_dataset_changed(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as w:
            mount = await w.mount()
            await w.listed(mount)
            node = w.annotation_node("0.jpg")
            for _ in range(3):
                assert isinstance(await mount.look(node), Done)
            assert w.service.calls["annotation"] == 1
            assert w.body(node) == w.service.annotations["i0"]
            w.pass_s(61)
            await mount.look(node)
            assert w.service.calls["annotation"] == 1, "the dataset was asked and stands still"
            w.service.changed()
            w.service.annotations["i0"] = b'{"annotations": [7]}\n'
            w.pass_s(61)
            await mount.look(node)
            assert w.service.calls["annotation"] == 2
            assert w.service.background_calls == 1, "its age is no demand: the reserve is not for it"
            new = w.annotation_node("0.jpg")
            assert new != node
            assert w.body(new) == w.service.annotations["i0"]
            assert w.body(node) == b'{"annotations": [0]}\n'
            annotations = node_id(w.dataset.root_directory, Kind.ANNOTATIONS)
            assert (annotations, "0.json") in mount.changed_entries

    asyncio.run(scenario())


def test_an_empty_body_costs_no_request_in_c_and_one_in_a(tmp_path: Path) -> None:
    async def scenario(dialect: str, requests: int) -> None:
        service = Service()
        service.dialect = dialect
        service.images = [picture(0, annotation_count=0)]
        async with world(tmp_path / dialect, service) as w:
            mount = await w.mount()
            await w.listed(mount)
            assert isinstance(await mount.look(w.annotation_node("0.jpg")), Done)
            assert w.service.calls["annotation"] == requests

    for dialect, requests in (("c", 0), ("b", 0), ("a", 1)):
        (tmp_path / dialect).mkdir()
        asyncio.run(scenario(dialect, requests))


def test_a_relisting_beyond_the_budget_is_put_off_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as w:
            mount = await w.mount()
            await w.listed(mount)
            w.service.changed(image_count=1_000_000)
            w.service.budget = Budget(5000, 1500, 0.0)
            w.pass_s(61)
            assert isinstance(await mount.look(w.root), Done)
            assert w.service.calls["page"] == 2
            assert "a longer ttl asks less often" in caplog.text

    asyncio.run(scenario())


def test_exports_have_an_age_of_their_own_and_are_measured_where_no_size_is_told(tmp_path: Path) -> None:
    async def scenario() -> None:
        service = Service()
        service.exports = [Export(id="e1", name="all", status="completed", completed_ns=5)]
        service.objects["http://s/e1"] = (b"z" * 1000, "1")
        async with world(tmp_path, service) as w:
            mount = await w.mount()
            await mount.look(1)
            exports = node_id(w.dataset.pk, Kind.EXPORTS)
            for _ in range(2):
                assert isinstance(await mount.look(exports), Done)
            assert w.service.calls["exports"] == 1
            (row,) = w.engine.reader.exports(w.dataset.pk)
            assert isinstance(await mount.look(node_id(row.pk, Kind.EXPORT)), Done)
            (row,) = w.engine.reader.exports(w.dataset.pk)
            assert row.size_bytes == 1000

    asyncio.run(scenario())


def test_a_look_that_is_cancelled_is_not_answered_and_its_listing_goes_on(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as w:
            mount = await w.mount()
            await mount.look(1)
            w.service.hold("page")
            number = mount.send(lambda n: Look(n, w.root))
            await w.until(lambda: w.service.calls["page"] == 1)
            mount.cancel(number)
            w.service.let_go("page")
            await w.until(lambda: w.dataset.listed_ns > 0)
            assert not [message for message in mount.peer.sent if getattr(message, "id", 0) == number]

    asyncio.run(scenario())


def test_archived_datasets_are_asked_for_when_a_mount_shows_them(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as w:
            plain = await w.mount()
            await plain.look(1)
            assert w.service.calls["datasets"] == 1
            showing = await w.mount(archived="show")
            await showing.look(1)
            assert w.service.calls["datasets"] == 3, "the archived are a list of their own"
            await showing.look(1)
            await plain.look(1)
            assert w.service.calls["datasets"] == 3

    asyncio.run(scenario())


def test_a_node_that_is_not_known_is_stale(tmp_path: Path) -> None:
    async def scenario(w: World) -> None:
        mount = await w.mount()
        for node in (node_id(999, Kind.IMAGES), 0xFF, node_id(1, Kind.CONTROL)):
            failed = await mount.look(node)
            assert isinstance(failed, Failed)
            assert failed.errno == errno.ESTALE

    async def run() -> None:
        async with world(tmp_path) as w:
            await scenario(w)

    asyncio.run(run())
