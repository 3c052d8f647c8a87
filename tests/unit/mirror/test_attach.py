"""Attaching, standing, idleness and commands: one conversation with each mount."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path

import pytest

from pictofs.catalog.model import Kind, node_id
from pictofs.errors import KeyRefused, ServerFault, Unreachable
from pictofs.link.messages import PROTOCOL, Attached, Done, Failed, Told
from pictofs.mirror.policy import Limits, Policy, notes

from .world import Service, world


def test_attaching_tells_the_organization_and_the_dialect_for_one_request(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as w:
            _, attached = await w.attach()
            assert isinstance(attached, Attached)
            (row,) = w.engine.reader.organizations()
            assert attached.organizations == [row.pk]
            assert attached.dialects == ["c"]
            assert (row.remote_id, row.name, row.slug) == ("o1", "Org", "org")
            assert w.service.calls == {"me": 1}

    asyncio.run(scenario())


def test_two_keys_of_one_organization_share_what_is_known_but_not_their_client(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as w:
            one, other = await w.mount(key="k1"), await w.mount(key="k2")
            again = await w.mount(key="k1")
            assert len(w.engine.reader.organizations()) == 1
            assert len(w.clients) == 2
            one.leave()
            await asyncio.sleep(0)
            assert not w.clients[0].closed
            again.leave()
            await w.until(lambda: w.clients[0].closed)
            assert isinstance(await other.look(1), Done)

    asyncio.run(scenario())


def test_where_the_service_does_not_say_who_it_is_two_keys_are_two_organizations(tmp_path: Path) -> None:
    from pictofs.api import Organization

    async def scenario() -> None:
        async with world(tmp_path) as w:
            from .world import FakeClient

            original = FakeClient.me
            FakeClient.me = lambda self: Organization()  # type: ignore[method-assign]
            try:
                _, one = await w.attach(key="k1")
                _, other = await w.attach(key="k2")
                _, again = await w.attach(key="k1")
            finally:
                FakeClient.me = original  # type: ignore[method-assign]
            assert one.organizations == again.organizations != other.organizations

    asyncio.run(scenario())


def test_where_the_service_does_not_say_who_it_is_a_key_may_take_anothers_place(tmp_path: Path) -> None:
    from pictofs.api import Organization

    async def scenario() -> None:
        async with world(tmp_path) as w:
            from .world import FakeClient

            original = FakeClient.me
            FakeClient.me = lambda self: Organization()  # type: ignore[method-assign]
            try:
                _, one = await w.attach(key="k1")
                _, rotated = await w.attach(key="k2", succeeds=one.organizations[0])
                _, mounted_again = await w.attach(key="k2")
            finally:
                FakeClient.me = original  # type: ignore[method-assign]
            assert one.organizations == rotated.organizations == mounted_again.organizations

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("error", "exit_code", "number"),
    [
        (KeyRefused("401", status=401), 3, errno.EACCES),
        (Unreachable("no answer"), 4, errno.EIO),
        (ServerFault("500", status=500), 1, errno.EIO),
    ],
)
def test_a_key_that_was_never_used_here_needs_the_service(
    error: Exception, exit_code: int, number: int, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as w:
            w.service.fail("me", error)  # type: ignore[arg-type]
            _, failed = await w.attach()
            assert isinstance(failed, Failed)
            assert (failed.exit_code, failed.errno) == (exit_code, number)

    asyncio.run(scenario())


def test_a_key_that_was_used_here_is_served_without_the_service_unless_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as w:
            known = await w.mount()
            await w.listed(known)
        async with world(tmp_path) as w:
            w.service.fail("me", Unreachable("no answer"), times=2)
            mount, attached = await w.attach()
            assert isinstance(attached, Attached)
            assert not mount.states[-1].online
            assert isinstance(await mount.look(w.root), Done)
            assert w.image("0.jpg") is not None
        async with world(tmp_path) as w:
            w.service.refused_keys.add("pk_live_1")
            _, failed = await w.attach()
            assert isinstance(failed, Failed)
            assert failed.exit_code == 3
        async with world(tmp_path) as w:
            mount, attached = await w.attach(offline="on")
            assert isinstance(attached, Attached)
            assert isinstance(await mount.look(w.root), Done)
            assert w.service.calls == {}
            _, failed = await w.attach(key="other", offline="on")
            assert isinstance(failed, Failed)
            assert failed.exit_code == 4

    asyncio.run(scenario())


def test_a_service_that_is_slow_is_not_waited_for_when_the_key_is_known(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as w:
            await w.mount()
        async with world(tmp_path) as w:
            w.service.hold("me")
            loop = asyncio.get_running_loop()
            began = loop.time()
            mount, attached = await w.attach(timeout_s=1.2)
            assert isinstance(attached, Attached)
            assert loop.time() - began < 1.0
            w.service.let_go("me")
            await w.until(lambda: [state.online for state in mount.states][-1:] == [True])

    asyncio.run(scenario())


def test_another_protocol_is_refused_and_a_newer_one_has_the_process_end(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as w:
            _, failed = await w.attach(protocol=PROTOCOL - 1)
            assert isinstance(failed, Failed)
            assert failed.exit_code == 2
            assert not w.engine.ended.is_set()
            _, failed = await w.attach(protocol=PROTOCOL + 1)
            assert isinstance(failed, Failed)
            await w.until(lambda: not (tmp_path / "fetch.sock").exists())
            await w.until(w.engine.ended.is_set)

    asyncio.run(scenario())


def test_nothing_is_looked_at_for_a_connection_that_has_not_attached(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as w:
            w.service.refused_keys.add("pk_live_1")
            mount, _ = await w.attach()
            for answer in (await mount.look(1), await mount.want(node_id(1, Kind.IMAGE))):
                assert isinstance(answer, Failed)

    asyncio.run(scenario())


def test_a_settings_value_of_a_wrong_type_is_a_usage_error(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as w:
            _, failed = await w.attach(ttl_s="soon")
            assert isinstance(failed, Failed)
            assert (failed.exit_code, failed.errno) == (2, errno.EINVAL)

    asyncio.run(scenario())


def test_only_settings_that_were_given_and_differ_are_told() -> None:
    limits = Limits(cache_size_bytes=100, min_free_bytes=5, eviction="lru", jobs=None)
    assert notes(limits, Policy(), "/c") == []
    assert notes(limits, Policy(cache_size_bytes=100, min_free_bytes=5, eviction="lru"), "/c") == []
    told = notes(limits, Policy(cache_size_bytes=7, jobs=3, eviction="fifo"), "/c")
    assert len(told) == 3
    assert all("/c" in line for line in told)


def test_a_wait_without_progress_ends_in_eio_and_one_with_progress_does_not(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as w:
            mount = await w.mount(timeout_s=0.6)
            await w.listed(mount)
            w.carrier.holding = True
            failed = await mount.want(w.image_node("0.jpg"))
            assert isinstance(failed, Failed)
            assert failed.errno == errno.EIO
            assert "timeout=0.6s" in failed.what
            w.carrier.let_go()

    asyncio.run(scenario())


def test_status_counts_what_was_asked_also_by_mounts_that_have_gone(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as w:
            gone = await w.mount(key="k1")
            await w.listed(gone)
            gone.leave()
            await w.until(lambda: w.clients[0].closed)
            mount = await w.mount(key="k2")
            await mount.want(w.image_node("0.jpg"))
            told = await mount.ask("status")
            assert isinstance(told, Told)
            status = told.answer
            assert status["requests"] == {"api": sum(client.requests for client in w.clients), "storage": 1}
            assert status["bytes_fetched"] == 100
            assert status["cache"]["bytes"] == 100
            assert status["datasets"] == [{"name": "D", "images": 3, "cached": 1, "bytes": None}]

    asyncio.run(scenario())


def test_reload_tries_a_service_that_is_away_at_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as w:
            mount = await w.mount(ttl_s=60.0)
            await w.listed(mount)
            w.service.fail("dataset", Unreachable("no answer"))
            w.service.fail("me", Unreachable("no answer"), times=4)
            w.pass_s(61)
            await mount.look(w.root)
            # the backoff has grown to seconds
            await w.until(lambda: w.service.calls["me"] == 4)
            w.service._failures.clear()
            began = asyncio.get_running_loop().time()
            assert (await mount.ask("reload")).answer == {"tried": 1}
            await w.until(lambda: mount.states[-1].online)
            assert asyncio.get_running_loop().time() - began < 1.0

    asyncio.run(scenario())


def test_advice_is_taken_and_what_is_no_list_of_nodes_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as w:
            mount = await w.mount(ttl_s=60.0)
            await w.listed(mount)
            nodes = [node_id(row.pk, Kind.IMAGE) for row in w.engine.reader.images(w.dataset.root_directory)]
            assert (await mount.ask("advise", nodes=nodes)).answer == {"advised": len(nodes)}
            assert (await mount.ask("advise", nodes=nodes, more=True)).answer == {"advised": 2 * len(nodes)}
            assert (await mount.ask("advise", nodes=[])).answer == {"advised": 0}
            assert isinstance(await mount.ask("advise", nodes=[5, 6]), Failed)
            failed = await mount.ask("advise", nodes="all")
            assert isinstance(failed, Failed)
            assert failed.errno == errno.EINVAL

    asyncio.run(scenario())


def test_a_refresh_of_everything_or_of_a_folder_looks_anew(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as w:
            mount = await w.mount()
            await w.listed(mount)
            assert (await mount.ask("refresh", nodes=[1, w.root])).answer == {"refreshed": 2}
            assert (w.service.calls["datasets"], w.service.calls["page"]) == (2, 4)
            failed = await mount.ask("refresh", nodes=[node_id(77, Kind.DATASET)])
            assert isinstance(failed, Failed)

    asyncio.run(scenario())


def test_the_last_mount_s_leaving_starts_the_clock_and_a_new_one_stops_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path, Service()) as w:
            w.engine._idle_s = 0.05
            first = await w.mount()
            first.leave()
            second = await w.mount()
            await asyncio.sleep(0.1)
            assert not w.engine.ended.is_set()
            second.leave()
            await w.until(w.engine.ended.is_set)

    asyncio.run(scenario())


def test_upkeep_clears_files_that_nobody_knows_and_rows_of_versions_that_left_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as w:
            mount = await w.mount()
            await w.listed(mount)
            kept, old = w.image_node("0.jpg"), w.image_node("1.jpg")
            await mount.want(kept)
            w.service.replace(1, b"new body", "2")
            assert isinstance(await mount.want(old), Failed)
            folder = next(path for path in (tmp_path / "store").iterdir() if path.is_dir())
            orphan = folder / f"{kept:x}.5.deadbeef"
            orphan.write_bytes(b"x" * 10)
            rows, freed_bytes = await w.engine.upkeep.clear()
            assert (rows, freed_bytes) == (1, 10)
            assert not orphan.exists()
            assert w.body(kept) == b"\0" * 100
            assert w.engine.reader.image(old >> 8) is None

    asyncio.run(scenario())
