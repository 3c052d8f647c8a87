from __future__ import annotations

import threading
from typing import Any

import pytest

from pictofs import errors
from pictofs.api import Dataset, Image
from pictofs.api.service import FIRST_PAGE_KEPT_S
from pictofs.api.wire import Broken
from tests.unit.api.scripted import Answered, Asked, client_of, in_turn

ROW = {"id": "d-1", "name": "Street Scenes", "slug": "street-scenes", "image_count": 2}
BODIES: dict[str, Any] = {
    "a": [ROW],
    "b": {"datasets": [ROW]},
    "c": {"data": [ROW], "pagination": {"limit": 1000, "offset": 0, "total": 1, "has_more": False}},
}


def paged(body: Any) -> Any:
    """A list of datasets that honours its offset."""

    def script(asked: Asked) -> Any:
        if asked.query.get("offset", "0") == "0":
            return body
        return [] if isinstance(body, list) else {name: [] if name != "pagination" else {} for name in body}

    return script


@pytest.mark.parametrize("letter", ["a", "b", "c"])
def test_one_request_finds_the_dialect_out_and_is_remembered(letter: str) -> None:
    client, wire, _ = client_of(paged(BODIES[letter]), dialect="auto")
    assert client.dialect == letter
    assert client.dialect == letter
    assert wire.paths == ["/datasets/"]


@pytest.mark.parametrize("letter", ["a", "b", "c"])
def test_that_request_is_the_first_page_of_the_listing_too(letter: str) -> None:
    client, wire, _ = client_of(paged(BODIES[letter]), dialect="auto")
    assert client.dialect == letter
    assert [row.id for row in client.datasets.iter()] == ["d-1"]
    offsets = [asked.query["offset"] for asked in wire.asked]
    assert offsets == (["0"] if letter == "c" else ["0", "1"])  # A and B end at an empty page alone


def test_a_listing_of_its_own_finds_the_dialect_out_on_its_way() -> None:
    client, wire, _ = client_of(paged(BODIES["c"]), dialect="auto")
    assert [row.id for row in client.datasets.list(limit=1)] == ["d-1"]
    assert len(wire.asked) == 1


def test_the_first_page_serves_one_listing_only() -> None:
    client, wire, _ = client_of(paged(BODIES["c"]), dialect="auto")
    client.datasets.iter().all()
    client.datasets.iter().all()
    assert len(wire.asked) == 2


def test_a_first_page_that_is_old_is_asked_for_again() -> None:
    client, wire, clock = client_of(paged(BODIES["c"]), dialect="auto")
    assert client.dialect == "c"
    clock.now += FIRST_PAGE_KEPT_S + 1
    client.datasets.iter().all()
    assert len(wire.asked) == 2


def test_archived_datasets_are_never_served_from_the_first_page() -> None:
    client, wire, _ = client_of(paged(BODIES["c"]), dialect="auto")
    assert client.dialect == "c"
    client.datasets.list(archived=True)
    assert [asked.query.get("archived") for asked in wire.asked] == [None, "true"]


def test_a_dialect_that_is_set_is_not_found_out() -> None:
    client, wire, _ = client_of(in_turn({"dataset": ROW}), dialect="b")
    assert client.dialect == "b"
    client.datasets.get_by_id("d-1")
    assert wire.paths == ["/datasets/d-1"]


def test_a_dialect_that_is_set_wrongly_is_told_with_its_mend() -> None:
    client, _, _ = client_of(paged(BODIES["a"]), dialect="c")
    with pytest.raises(errors.ServerFault, match="dialect=a"):
        client.datasets.list()
    client, _, _ = client_of(in_turn({"dataset": ROW}), dialect="c")
    with pytest.raises(errors.ServerFault, match="dialect=auto"):
        client.datasets.get_by_id("d-1")


def test_an_unknown_dialect_is_a_usage_error() -> None:
    with pytest.raises(errors.UsageError):
        client_of(in_turn([]), dialect="d")


def test_threads_that_ask_at_once_find_the_dialect_out_together() -> None:
    entered, go = threading.Event(), threading.Event()

    def script(asked: Asked) -> Any:
        entered.set()
        assert go.wait(10)
        return BODIES["b"]

    client, wire, _ = client_of(script, dialect="auto")
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(client.dialect)) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert entered.wait(10)
    go.set()
    for thread in threads:
        thread.join(10)
    assert found == ["b"] * 8
    assert len(wire.asked) == 1


def test_all_who_waited_are_told_of_a_failure_and_the_next_asks_again() -> None:
    entered, go = threading.Event(), threading.Event()
    answers = [Answered({"detail": "no"}, 401), BODIES["b"]]

    def script(asked: Asked) -> Any:
        entered.set()
        assert go.wait(10)
        return answers.pop(0)

    client, _, _ = client_of(script, dialect="auto")
    told: list[BaseException] = []

    def ask() -> None:
        try:
            _ = client.dialect
        except errors.KeyRefused as error:
            told.append(error)

    first = threading.Thread(target=ask)
    first.start()
    assert entered.wait(10)
    second = threading.Thread(target=ask)
    second.start()
    while not client._service._finding or not client._service._finding._condition._waiters:
        second.join(0.001)
    go.set()
    first.join(10)
    second.join(10)
    assert len(told) == 2
    assert told[0] is not told[1]
    assert client.dialect == "b"


def test_a_service_that_changes_its_dialect_is_found_out_anew() -> None:
    client, _, _ = client_of(in_turn(BODIES["b"], {"data": ROW}, BODIES["c"], {"data": ROW}), dialect="auto")
    assert client.dialect == "b"
    with pytest.raises(errors.ServerFault):
        client.datasets.get_by_id("d-1")
    assert client.datasets.get_by_id("d-1").name == "Street Scenes"
    assert client.dialect == "c"


def test_a_list_in_another_dialect_is_read_at_once() -> None:
    client, _, _ = client_of(in_turn(BODIES["b"], BODIES["c"]), dialect="auto")
    client.datasets.list()
    assert [row.id for row in client.datasets.list()] == ["d-1"]
    assert client.dialect == "c"


def test_a_403_on_the_list_of_datasets_is_a_refused_key() -> None:
    client, _, _ = client_of(in_turn(Answered({"detail": "no"}, 403)), dialect="auto")
    with pytest.raises(errors.KeyRefused) as caught:
        client.datasets.list()
    assert caught.value.status == 403
    assert caught.value.__context__ is None


def test_a_403_on_one_thing_is_that_things_own() -> None:
    client, _, _ = client_of(in_turn(Answered({"detail": "no"}, 403)))
    with pytest.raises(errors.Forbidden):
        client.datasets.get_by_id("d-1")


# organization


def organization(body: Any, letter: str, status: int = 200) -> Any:
    return lambda asked: Answered(body, status) if asked.path == "/organizations/me" else BODIES[letter]


@pytest.mark.parametrize("letter", ["b", "c"])
def test_the_organization_of_the_key_is_told(letter: str) -> None:
    row = {
        "organization": {"id": "o-1", "name": "Street Lab", "slug": "street-lab", "subscription_tier": "pro"}
    }
    client, wire, _ = client_of(organization(row, letter), dialect="auto")
    me = client.organization.me()
    assert (me.id, me.name, me.slug) == ("o-1", "Street Lab", "street-lab")
    assert b'"subscription_tier": "pro"' in me.document
    assert wire.paths == ["/datasets/", "/organizations/me"]


def test_in_dialect_a_the_list_of_datasets_tells_that_the_key_is_good() -> None:
    client, wire, clock = client_of(in_turn(BODIES["a"], BODIES["a"], Answered({}, 401)), dialect="auto")
    assert client.organization.me().name == "organization"
    assert wire.paths == ["/datasets/"]
    clock.now += FIRST_PAGE_KEPT_S + 1
    assert client.organization.me().id == ""
    assert len(wire.asked) == 2
    clock.now += FIRST_PAGE_KEPT_S + 1
    with pytest.raises(errors.KeyRefused):
        client.organization.me()


@pytest.mark.parametrize("status", [403, 404])
def test_an_organization_that_is_hidden_has_the_fallbacks_name(status: int) -> None:
    client, _, _ = client_of(organization({"detail": "no"}, "c", status), dialect="auto")
    assert client.organization.me().name == "organization"


def test_a_key_that_is_refused_there_too_is_refused() -> None:
    client, _, _ = client_of(in_turn(Answered({}, 403)), dialect="c")
    with pytest.raises(errors.KeyRefused):
        client.organization.me()


# what it looks like


def test_a_client_shows_its_address_and_nothing_secret() -> None:
    client, _, _ = client_of(in_turn(BODIES["c"]), dialect="auto", key=lambda: "pk_live_hidden")
    assert repr(client) == "Client('https://api.test:443', dialect='auto')"
    assert client.origin == "https://api.test:443"
    assert client.dialect == "c"
    assert "c" in repr(client)


def test_nothing_is_asked_before_the_first_call() -> None:
    _, wire, _ = client_of(in_turn(Broken("no")), dialect="auto")
    assert wire.asked == []


def test_a_wrong_shape_in_a_row_is_a_fault_of_the_service() -> None:
    client, _, _ = client_of(in_turn({"data": [{"id": "i"}], "pagination": {"has_more": False}}))
    with pytest.raises(errors.ServerFault):
        next(client.images.pages(Dataset(id="d", name="n")))
    assert Image(filename="x").directory_path == "/"
