"""One sentence from many facts."""

from __future__ import annotations

from typing import Any

import pytest

from pictofs.doctor import reader, verdicts
from pictofs.doctor.reader import Thread

STANDING = {"online": True, "refused": False, "what": "", "offline": "auto"}
URL = {"good": True, "seconds": 240.0}
TOLD: dict[str, Any] = {
    "pinned": False, "standing": STANDING, "url": URL, "max_fetch_left": None, "flights": []
}  # fmt: skip
MOUNT: dict[str, Any] = {"budget": {"remaining": 5, "limit": 10}, "queue": {"demand": 0}, "errors": []}
DATASET = {"name": "D", "images": 2500, "checked_s": 5.0, "listed_s": 30.0, "exports_listed_s": None}
NOTHING = {"size": 100, "version": "", "whole": False, "blocks": 0, "of_blocks": 1, "bytes": 0}
FLIGHT = {
    "block": 0, "priority": "demand", "doing": "fetching", "seconds": 2.0, "bytes": 7, "pids": [9],
    "before": 0,
}  # fmt: skip


def of_file(
    file: dict[str, Any] | None = None, told: dict[str, Any] | None = None, mount: Any = MOUNT, **found: Any
) -> str:
    document = {
        "kind": "image", "unknown": "", "dataset": DATASET, "file": {**NOTHING, **(file or {})},
        "asked": {**TOLD, **(told or {})}, "mount": mount, **found,
    }  # fmt: skip
    return verdicts.of_file(document)


@pytest.mark.parametrize(
    ("file", "told", "said"),
    [
        ({"whole": True, "blocks": 1}, {"flights": [FLIGHT]}, "it is whole in the cache"),
        (
            {}, {"flights": [FLIGHT]},
            "nothing of it is in the cache, and it has been under way for 2.0 s as what a reader waits",
        ),
        ({}, {"flights": [{**FLIGHT, "doing": "queued", "priority": "fill", "before": 31}]},
         "queued for 2.0 s as background fill, behind 31 others"),
        ({}, {"flights": [{**FLIGHT, "doing": "writing"}]}, "are being written"),
        ({}, {"standing": {**STANDING, "refused": True}}, "refuses the key"),
        ({}, {"standing": {**STANDING, "online": False}}, "the service is away"),
        ({}, {"standing": {**STANDING, "offline": "on"}}, "offline=on"),
        ({}, {"max_fetch_left": 0}, "max_fetch="),
        ({}, {"url": {"good": False, "seconds": None}}, "request that signs URLs, then for one transfer"),
        ({}, {"url": None}, "one API request and gets all of it"),
        (
            {"blocks": 2, "of_blocks": 9}, {},
            "2 of its 9 blocks are in the cache: the first read waits for one transfer; its URL is good",
        ),
        ({"size": None, "of_blocks": None}, {}, "which also tells its size"),
    ],
)  # fmt: skip
def test_a_file_is_slow_for_one_reason_and_that_is_said(
    file: dict[str, Any], told: dict[str, Any], said: str
) -> None:
    assert said in of_file(file, told)


def test_a_spent_budget_a_line_of_readers_and_a_silent_mount_are_said() -> None:
    spent = {**MOUNT, "budget": {"remaining": 0, "limit": 10}}
    assert "requests are used up" in of_file(mount=spent)
    assert of_file(mount={**MOUNT, "queue": {"demand": 12}}).endswith("behind 12 that readers wait for")
    assert "does not answer" in of_file(mount=None)
    assert "says no (gone)" in of_file(told={"error": "gone"})


def test_a_name_or_folder_that_nobody_listed_costs_its_pages() -> None:
    never = {**DATASET, "listed_s": None}
    assert "up to 3 API requests" in of_file(unknown="images/a.jpg", dataset=never)
    assert "nothing known here is called a.jpg" in of_file(unknown="a.jpg")
    assert "about 3 API requests" in of_file(kind="images", file=None, dataset=never)
    assert "listed 30 s ago" in of_file(kind="images", dataset=DATASET)
    assert "never listed" in of_file(kind="exports", dataset=DATASET)
    assert "central directory" in of_file(kind="export_opened", dataset=never)
    assert "at each look" in of_file(kind="control", unknown="status.json", dataset=None, told={})
    assert "the service's listing" in verdicts.of_file(
        {"kind": "dataset_json", "unknown": "", "dataset": DATASET, "file": None, "asked": {}, "mount": MOUNT}
    )


def reading(shares: dict[str, float], **given: Any) -> str:
    mount = {"online": True, "refused": False, "network": 0, "disk": 0}
    found = {
        "shares": {"pictofs": 0.0, "computing": 0.0, "disk": 0.0, "other": 0.0, **shares}, "open": [{}],
        "waits_for": [], "mounts": [{**mount, **given.pop("mount", {})}], **given,
    }  # fmt: skip
    return verdicts.of_reader(found)


def test_a_readers_time_goes_where_most_of_it_was_seen() -> None:
    assert reading({"computing": 0.9, "pictofs": 0.1}) == (
        "pictofs is not what it waits for most: 90% computing, 10% waiting for pictofs"
    )
    flight = {"path": "D/images/a.jpg", "doing": "queued"}
    assert reading({"pictofs": 1.0}, waits_for=[flight, flight]) == (
        "100% waiting for pictofs: for bytes from the service, last for D/images/a.jpg and 1 more (queued)"
    )
    assert "had to be fetched" in reading({"pictofs": 0.7}, mount={"network": 9, "disk": 1})
    assert "that disk" in reading({"pictofs": 0.7}, mount={"network": 1, "disk": 9})
    assert "refuses the key" in reading({"pictofs": 0.7}, mount={"refused": True})
    assert "away" in reading({"pictofs": 0.7}, mount={"online": False})
    assert "nothing open on a mount" in reading({"computing": 1.0}, open=[])
    assert reading({}) == "it did nothing while it was looked at"


def test_a_thread_that_waits_for_pictofs_is_told_from_one_that_waits_for_another_disk() -> None:
    asleep = Thread(1, "S", "futex_wait_queue", 0)
    files = {5}
    assert reader.doing([asleep], files) == "other"
    assert reader.doing([asleep, Thread(2, "R", "0", -1)], files) == "computing"
    assert reader.doing([Thread(2, "D", "folio_wait_bit_common", 5)], files) == "pictofs"
    assert reader.doing([Thread(2, "D", "folio_wait_bit_common", 6)], files) == "disk"
    assert reader.doing([Thread(2, "D", "jbd2_log_wait_commit", 5)], files) == "disk"
    computing_and_waiting = [Thread(2, "R", "0", -1), Thread(3, "S", "request_wait_answer", 5)]
    assert reader.doing(computing_and_waiting, files) == "pictofs"
    assert reader.doing([], files) == "other"


def test_a_line_of_proc_syscall_tells_the_descriptor() -> None:
    assert reader.descriptor_of("0 0x5 0x7ffc 0x1000 0x0 0x0 0x0 0x7ffc 0x7f7a") == 5
    assert reader.descriptor_of("running") == -1
    assert reader.descriptor_of("-1 0x7ffc 0x7f7a") == -1
    assert reader.descriptor_of("") == -1
