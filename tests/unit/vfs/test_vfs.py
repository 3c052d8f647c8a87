"""Standing, changes, control files and counters."""

from __future__ import annotations

import errno
import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pictofs.catalog.model import ROOT_NODE, Kind, node_id
from pictofs.errors import CacheUnusable, ObjectChanged, PictofsError, RateLimited, Unreachable
from pictofs.link.messages import Ask, Changed, State
from pictofs.tree.control import HELD_BYTES, KEPT_S
from pictofs.vfs.errnos import errno_of, positive
from tests.unit.tree.conftest import furnish
from tests.unit.vfs.bench import Bench


def test_changes_are_passed_to_the_driver(bench: Bench) -> None:
    bench.link.unasked = [Changed([(5, "x")], [6, 7])]
    bench.vfs.deliver()
    assert bench.told == [([(5, "x")], [6, 7])]


def test_a_refused_key_ends_what_is_served_also_of_what_is_here(bench: Bench) -> None:
    node, folder = bench.node("org/Cars/images/top.jpg"), bench.node("org")
    bench.body(node)
    organization = bench.world.organization
    bench.link.unasked = [State(organization, True, True, "401")]
    bench.vfs.deliver()
    assert ([(ROOT_NODE, "org")], [node_id(organization, Kind.ORGANIZATION)]) in bench.told
    for operation, arguments in (
        (bench.vfs.read, (node, 0, 10)), (bench.vfs.getattr, (node,)), (bench.vfs.lookup, (folder, "Cars")),
        (bench.vfs.readdir, (folder, 0, 10)), (bench.vfs.listxattr, (node,)),
    ):
        assert bench.begin(operation, *arguments).errno == errno.EACCES
    assert bench.begin(bench.vfs.in_one_file, node).errno == errno.EACCES
    assert bench.begin(bench.vfs.getattr, ROOT_NODE).value is not None
    assert bench.names("") == ["org"]
    assert json.loads(bench.body(bench.attr(".pictofs/status.json").node))["schema"] == 1
    bench.link.unasked = [State(organization, True, False, "")]
    bench.vfs.deliver()
    assert bench.body(node) == b"top"


def test_auth_grace_lets_what_is_known_be_served_for_a_while(benches: Callable[..., Bench]) -> None:
    bench = benches(auth_grace_s=100.0)
    furnish(bench)
    node = bench.node("org/Cars/images/top.jpg")
    bench.body(node)
    bench.link.unasked = [State(bench.world.organization, True, True, "401")]
    bench.vfs.deliver()
    assert bench.vfs.tick() <= 100
    bench.pass_s(99)
    assert bench.body(node) == b"top"
    bench.pass_s(2)
    assert bench.begin(bench.vfs.read, node, 0, 10).errno == errno.EACCES
    assert bench.told, "the kernel is told in that moment"


def test_a_refused_organization_leaves_the_other_alone(bench: Bench) -> None:
    bench.link.unasked = [State(bench.world.organization + 1, True, True, "401")]
    bench.vfs.deliver()
    assert bench.names("org") == ["Cars"]


def test_a_control_file_is_rendered_for_whoever_looks_its_name_up_and_stays_that_text(bench: Bench) -> None:
    found = bench.entry(".pictofs/status.json")
    assert found.valid_s == 0, "the next one who looks has a text of his own"
    first = found.attr
    assert first is not None
    text = bench.body(first.node)
    assert first.size_bytes == len(text)
    bench.world.status["bytes_fetched"] = 10**12
    second = bench.attr(".pictofs/status.json")
    assert second.node != first.node
    assert second.ino == first.ino
    assert second.size_bytes > first.size_bytes
    assert json.loads(bench.body(second.node))["bytes_fetched"] == 10**12
    assert bench.ask(bench.vfs.getattr, first.node) == first
    assert bench.body(first.node) == text, "what was opened before reads as it was"


def test_only_so_many_texts_of_control_files_are_held(bench: Bench) -> None:
    text = "x" * (HELD_BYTES // 4)
    bench.world.status["errors"] = [{"time": "", "what": text}]
    first = bench.node(".pictofs/status.json")
    for _ in range(4):
        last = bench.node(".pictofs/status.json")
        assert bench.body(last)
    assert bench.begin(bench.vfs.read, first, 0, 10).errno == errno.ESTALE


def test_through_an_overlay_a_control_file_keeps_its_node(benches: Callable[..., Bench]) -> None:
    bench = benches(overlay="/overlay")
    node = bench.node(".pictofs/status.json")
    first = bench.ask(bench.vfs.getattr, node)
    text = bench.body(node)
    assert first.valid_s == 0
    assert first.size_bytes == len(text)
    bench.world.status["bytes_fetched"] = 10**12
    assert bench.body(node) == text, "what is read stays the text of the last stat"
    assert bench.node(".pictofs/status.json") == node
    between = bench.ask(bench.vfs.getattr, node)
    assert between.size_bytes == first.size_bytes, "the kernel asks between two reads: no text grows there"
    bench.pass_s(KEPT_S)
    second = bench.ask(bench.vfs.getattr, node)
    assert second.mtime_ns > first.mtime_ns
    assert second.size_bytes > first.size_bytes
    assert bench.body(node, 0, second.size_bytes) != text


def test_pictofs_is_found_and_not_listed(bench: Bench) -> None:
    assert bench.names("") == ["org"]
    assert bench.names(".pictofs") == ["status.json", "metrics", "access.log"]
    assert bench.entry(".pictofs/other").attr is None
    assert bench.vfs.rendered(bench.node(".pictofs/metrics"))
    assert not bench.vfs.rendered(bench.node("org/Cars/dataset.json"))


def test_status_json_is_the_documented_object(bench: Bench) -> None:
    bench.names("org/Cars/images")
    bench.body(bench.node("org/Cars/images/top.jpg"))
    bench.vfs.report.facts = lambda: {
        "version": "1", "mountpoint": "/m", "source": "acme", "driver": "fusepy", "io": "cache",
        "restarts": 2, "pids": {"supervisor": 10, "serving": 11, "fetching": 1},
    }
    bench.world.status |= {
        "requests": {"api": 3, "storage": 4}, "bytes_fetched": 99,
        "queue": {"demand": 1, "look_ahead": 2, "fill": 3},
        "cache": {"dir": "/c", "bytes": 5, "limit": 6, "files": 7}, "errors": [{"time": "t", "what": "w"}],
        "budget": {"limit": 5000, "remaining": 4990, "reset": 100},
        "datasets": [{"name": "Cars", "images": 8, "cached": 1, "bytes": 77}],
    }
    told = json.loads(bench.body(bench.attr(".pictofs/status.json").node))
    assert told == {
        "schema": 1, "version": "1", "mountpoint": "/m", "source": "acme", "driver": "fusepy", "io": "cache",
        "dialect": "c", "online": True, "refused": False,
        "pids": {"supervisor": 10, "serving": 11, "fetching": 1}, "restarts": 2,
        "requests": {"api": 3, "storage": 4}, "bytes_fetched": 99,
        "cache": {"dir": "/c", "bytes": 5, "limit": 6, "files": 7},
        "budget": {"limit": 5000, "remaining": 4990, "reset": 100},
        "queue": {"demand": 1, "look_ahead": 2, "fill": 3},
        "transfers": 0, "flights": [], "links": {"urls": 0, "capacity": 0, "expires": None},
        "datasets": [{"name": "Cars", "images": 8, "cached": 1, "bytes": 77}],
        "errors": [{"time": "t", "what": "w"}],
        "hits": {"kernel": None, "disk": 0, "network": 1}, "read": {"bytes": 3, "files": 1},
        "failures": {}, "blocks": {"opened": 1, "missed": 1},
        "operations": told["operations"], "waits": told["waits"],
    }
    documented = (Path(__file__).parents[3] / "docs" / "commands.md").read_text(encoding="utf-8")
    rows = documented.split("## The files of `.pictofs`")[1].split("\n## ")[0].splitlines()
    for key, value in told.items():
        (row,) = (line for line in rows if line.startswith("| ") and f"`{key}`" in line.split("|")[1])
        if isinstance(value, dict) and key not in ("operations", "failures"):
            assert all(f"`{name}`" in row for name in value), (key, row)
        for each in value if isinstance(value, list) else ():
            assert all(f"`{name}`" in row for name in each), (key, row)
    assert told["operations"]["read"] == 1
    assert told["waits"]["operations"]["read"] == 1
    assert set(told["waits"]) == {"now", "operations", "seconds", "timed_out", "requests", "shared"}


def test_metrics_are_prometheus_text_and_count_what_happened(bench: Bench) -> None:
    bench.body(bench.node("org/Cars/images/top.jpg"))
    bench.begin(bench.vfs.readlink, bench.node("org"))
    bench.world.status["budget"] = {"limit": 5000, "remaining": 4990, "reset": 100}
    text = bench.body(bench.attr(".pictofs/metrics").node).decode()
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert found["pictofs_operations_total", "read"] == 1
    assert found["pictofs_failures_total", "EINVAL"] == 1
    assert found["pictofs_read_bytes_total",] == 3
    assert found["pictofs_block_misses_total",] == 1
    assert found["pictofs_budget_remaining",] == 4990
    assert found["pictofs_reads_total", "network"] == 1
    assert found["pictofs_dataset_cached", "Cars"] == 1


def test_the_access_log_records_only_while_somebody_looks(bench: Bench) -> None:
    bench.names("org/Cars/images")
    assert not bench.vfs.counters.lines()
    assert bench.body(bench.node(".pictofs/access.log")).startswith(b"# recorded while")
    bench.names("org/Cars/images")
    bench.entry("org/nothing")
    assert bench.begin(bench.vfs.readlink, bench.node("org")).errno == errno.EINVAL
    node = bench.node(".pictofs/access.log")
    lines = bench.body(node).decode().splitlines()
    assert any(" lookup " in line and " nothing " in line and line.endswith(" ok") for line in lines)
    assert any(" readlink " in line and line.endswith(" EINVAL") for line in lines)
    assert not any(f" {node:x} " in line for line in lines), "reading it is not what it is about"
    bench.pass_s(61)
    count = len(bench.vfs.counters.lines())
    bench.names("org")
    assert len(bench.vfs.counters.lines()) == count


def test_the_access_log_is_bounded(bench: Bench) -> None:
    bench.ask(bench.vfs.getattr, bench.node(".pictofs/access.log"))
    for _ in range(5000):
        bench.begin(bench.vfs.getattr, ROOT_NODE)
    assert len(bench.vfs.counters.lines()) == 4096


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (OSError(errno.ENOTDIR, ""), errno.ENOTDIR),
        (OSError(-3, ""), errno.EIO),
        (OSError(), errno.EIO),
        (RateLimited("x"), errno.EAGAIN),
        (Unreachable("x"), errno.EIO),
        (ObjectChanged("x"), errno.ESTALE),
        (CacheUnusable("x"), errno.EIO),
        (PictofsError("x"), errno.EIO),
    ],
)
def test_every_failure_has_a_positive_errno(error: Exception, number: int) -> None:
    assert errno_of(error) == number


def test_numbers_that_are_no_errno_are_eio() -> None:
    assert [positive(n) for n in (None, 0, -1, 5000, errno.ENOENT)] == [errno.EIO] * 4 + [errno.ENOENT]


@pytest.mark.logs_traceback
def test_a_fault_of_ours_is_eio_and_in_the_log(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    def broken(*arguments: object) -> None:
        raise ZeroDivisionError("a fault")

    bench.tree.getattr = broken  # type: ignore[method-assign, assignment]
    assert bench.begin(bench.vfs.getattr, ROOT_NODE).errno == errno.EIO
    assert "a fault" in caplog.text


def test_an_error_in_the_driver_s_callback_is_not_answered_twice(bench: Bench) -> None:
    calls = []

    def done(value: object) -> None:
        calls.append(value)
        raise RuntimeError("the driver's own")

    with pytest.raises(RuntimeError):
        bench.vfs.getattr(ROOT_NODE, done, calls.append)
    assert len(calls) == 1


def test_the_catalog_begun_anew_is_read_after_the_link_is_back(bench: Bench) -> None:
    node = bench.node("org/Cars/images/top.jpg")
    old = bench.world.cache_dir
    bench.world.catalog.close()
    for name in ("catalog.sqlite", "catalog.sqlite-wal", "catalog.sqlite-shm"):
        (old / name).rename(old / f"{name}.damaged-1") if (old / name).exists() else None
    again = Bench(old)
    try:
        bench.vfs.relink(again.link)
        assert bench.begin_and_deliver(bench.vfs.getattr, node).errno == errno.ESTALE
    finally:
        again.close()


def test_no_thread_is_started_by_any_of_this(bench: Bench) -> None:
    bench.names("org/Cars/images")
    assert threading.active_count() == 1
    assert not bench.link.requests(Ask)
