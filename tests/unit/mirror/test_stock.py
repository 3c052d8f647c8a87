"""`pictofs cache` in the fetching process: blocks gone through, piece by piece."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from pictofs.link.messages import Ask, Changed, Failed, Told
from pictofs.mirror import stock

from .world import Mounted, Service, World, world


async def filled(w: World, mount: Mounted) -> list[int]:
    """Three images in the store; their nodes."""
    await w.listed(mount)
    nodes = [w.image_node(f"{n}.jpg") for n in range(3)]
    for node in nodes:
        await mount.want(node)
    return nodes


def path_of(w: World, node: int) -> Path:
    row = w.engine.reader.block(node, 0)
    assert row is not None
    return w.cache_dir / row.path


async def through(mount: Mounted, verb: str, **arguments: Any) -> tuple[int, dict[str, Any]]:
    """(how many questions it took, the sums)."""
    after: list[int] | None = [-1, 0]
    asked, sums = 0, {"blocks": 0, "bytes": 0, "pinned": 0, "damaged": []}
    while after is not None:
        told = await mount.ask(verb, after=after, **arguments)
        assert isinstance(told, Told), told
        asked += 1
        for name in sums:
            sums[name] += told.answer.get(name, [] if name == "damaged" else 0)
        after = told.answer["next"]
    return asked, sums


def test_verify_drops_what_is_damaged_cut_or_gone_names_it_and_leaves_the_rest(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path, Service(4)) as w:
            mount = await w.mount()
            changed, cut, gone = await filled(w, mount)
            right = w.image_node("3.jpg")
            await mount.want(right)
            path_of(w, changed).write_bytes(b"\xff" * 100)
            path_of(w, cut).write_bytes(path_of(w, cut).read_bytes()[:50])
            path_of(w, gone).unlink()
            _, sums = await through(mount, "verify")
            assert (sums["blocks"], sums["bytes"]) == (4, 100 + 101 + 102 + 103)
            assert sorted(sums["damaged"]) == [
                ["D/images/0.jpg", 0, 100], ["D/images/1.jpg", 0, 101], ["D/images/2.jpg", 0, 102]
            ]  # fmt: skip
            assert [w.body(node) is None for node in (changed, cut, gone, right)] == [True, True, True, False]
            told = {node for message in mount.peer.of(Changed) for node in message.bodies}
            assert told == {changed, cut, gone}, "the kernel must let go of what it may have read of them"
            for node in (changed, cut, gone):
                await mount.want(node)
            assert w.body(changed) == b"\0" * 100
            assert (await through(mount, "verify"))[1]["damaged"] == []

    asyncio.run(scenario())


def test_a_question_ends_in_time_and_the_next_goes_on_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stock, "PAGE_BLOCKS", 1)
    monkeypatch.setattr(stock, "PIECE_S", 0.0)

    async def scenario() -> None:
        async with world(tmp_path) as w:
            mount = await w.mount()
            await filled(w, mount)
            asked, sums = await through(mount, "verify")
            assert asked == 4, "one block a question, and one to see that there are no more"
            assert sums["blocks"] == 3

    asyncio.run(scenario())


def test_clear_lets_go_of_one_dataset_alone_and_of_nothing_that_is_pinned(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as w:
            mount = await w.mount()
            kept, *others = await filled(w, mount)
            assert isinstance(await mount.ask("pin", nodes=[kept]), Told)
            assert (await through(mount, "clear", datasets=[w.dataset.pk + 1]))[1]["blocks"] == 0
            _, sums = await through(mount, "clear", datasets=[w.dataset.pk])
            assert (sums["blocks"], sums["pinned"]) == (2, 1)
            assert [w.body(node) for node in others] == [None, None]
            assert w.body(kept) == b"\0" * 100
            assert w.engine.reader.block_totals() == (100, 1)
            assert set(others) <= {node for message in mount.peer.of(Changed) for node in message.nodes}

    asyncio.run(scenario())


def test_prune_drops_what_no_name_leads_to_and_settling_takes_rows_files_and_what_is_over_the_limits(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with world(tmp_path, cache_size_bytes=100_000) as w:
            mount = await w.mount()
            old, kept, *_ = await filled(w, mount)
            w.service.images.pop(0)
            w.service.changed(image_count=2)
            await mount.look(w.root, force=True)
            _, sums = await through(mount, "prune")
            assert (sums["blocks"], sums["bytes"]) == (1, 100)
            assert w.body(old) is None
            orphan = next(path for path in (tmp_path / "store").iterdir() if path.is_dir()) / "5.0.deadbeef"
            orphan.write_bytes(b"x" * 10)
            w.engine._store.limit_bytes = 150
            w.engine._room._wall_s = lambda: time.time() + 60  # they are no longer fresh
            told = await mount.ask("settle")
            assert told.answer == {"rows": 1, "swept": 10, "evicted": 101}
            assert w.body(kept) is None
            assert w.engine.reader.block_totals() == (102, 1)

    asyncio.run(scenario())


def test_arguments_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as w:
            mount = await w.mount()
            for wrong in ({"after": "x"}, {"after": [1]}, {"after": [1, 2], "datasets": ["a"]}):
                assert isinstance(await mount.ask("verify", **wrong), Failed)

    asyncio.run(scenario())


def test_a_command_without_a_mount_is_not_cut_off_by_the_end_of_the_process(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as w:
            mount = await w.mount()
            await filled(w, mount)
            w.engine._idle_s = 0.0
            number = mount.send(lambda n: Ask(n, "verify", {}))
            w.engine._is_idle(True)
            await asyncio.sleep(0)
            assert not w.engine.ended.is_set()
            assert isinstance(await mount.answer(number), Told)
            await w.until(w.engine.ended.is_set)

    asyncio.run(scenario())
