"""How a client is made, and who carries out its downloads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import pictofs
from pictofs import errors
from pictofs.api import Client, Dataset, DownloadFailure, DownloadReport, models
from pictofs.api.downloads import DatasetOrder, ExportOrder
from pictofs.api.times import parse_ns, rfc3339
from tests.unit.api.scripted import ScriptedWire, client_of, in_turn

EMPTY = {"data": [], "pagination": {"has_more": False}}


def asked_with(**options: Any) -> tuple[str, str]:
    """(URL, key) of the first request of a client."""
    wire = ScriptedWire(in_turn(EMPTY))
    Client(wire=wire, dialect="c", **options).datasets.list()
    return wire.asked[0].url, wire.asked[0].headers["X-API-Key"]


def test_without_arguments_the_environment_says_where_and_who(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PICTOGRAPH_API_KEY", "pk_live_env")
    monkeypatch.delenv("PICTOGRAPH_BASE_URL", raising=False)
    url, key = asked_with()
    assert url.startswith("https://api.pictograph.io:443/api/v1/developer/datasets/")
    assert key == "pk_live_env"
    monkeypatch.setenv("PICTOGRAPH_BASE_URL", "http://elsewhere.test:81")
    assert asked_with()[0].startswith("http://elsewhere.test:81/api/v1/developer/")
    assert asked_with(base_url="http://here.test")[0].startswith("http://here.test:80/")
    assert asked_with(api_key="pk_live_given")[1] == "pk_live_given"
    assert asked_with(key=lambda: "pk_live_called")[1] == "pk_live_called"


def test_a_key_is_given_once_or_missed_at_the_first_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PICTOGRAPH_API_KEY", raising=False)
    with pytest.raises(errors.KeyRefused, match="PICTOGRAPH_API_KEY"):
        asked_with()
    with pytest.raises(errors.UsageError):
        Client(api_key="pk_live_x", key=lambda: "pk_live_y")


def test_a_given_key_is_shown_nowhere() -> None:
    client = Client(api_key="pk_live_secret")
    assert "secret" not in repr(client) + repr(vars(client))


class Carrier:
    """Takes orders and carries out none."""

    def __init__(self) -> None:
        self.orders: list[Any] = []

    def dataset(self, client: Client, order: DatasetOrder) -> DownloadReport:
        self.orders.append((client, order))
        return DownloadReport(dataset_id=order.dataset.id)

    def export(self, client: Client, order: ExportOrder) -> Path:
        self.orders.append((client, order))
        return Path("x")


def test_downloads_are_carried_out_by_whom_the_client_was_given() -> None:
    carrier, dataset = Carrier(), Dataset(id="d", name="n")
    client, _, _ = client_of(in_turn(EMPTY), downloads=carrier)
    client.datasets.download(dataset, "~/x", mode="images_only", status_filter="new", max_workers=3)
    client.exports.download(dataset, "e", "y")
    (who, first), (_, second) = carrier.orders
    assert who is client
    assert (first.dataset, first.mode, first.status_filter, first.max_workers) == (
        dataset,
        "images_only",
        "new",
        3,
    )
    assert first.output_dir == Path.home() / "x"
    assert (second.export, second.output_path) == ("e", Path("y"))


def test_without_one_the_packages_root_composes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    carrier = Carrier()
    monkeypatch.setattr(pictofs, "downloads", lambda: carrier)
    client, _, _ = client_of(in_turn(EMPTY))
    client.datasets.download(Dataset(id="d", name="n"))
    assert len(carrier.orders) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"mode": "everything"},
        {"max_workers": 0},
        {"retry": DownloadReport(dataset_id="other", dataset="Other")},
    ],
)
def test_an_order_that_cannot_be_is_refused_before_anything_is_asked(wrong: dict[str, Any]) -> None:
    carrier = Carrier()
    client, wire, _ = client_of(in_turn(EMPTY), downloads=carrier)
    with pytest.raises(errors.UsageError):
        client.datasets.download(Dataset(id="d", name="n"), **wrong)
    assert (carrier.orders, wire.asked) == ([], [])


def test_a_report_is_read_back_as_it_was_written() -> None:
    failure = DownloadFailure(filename="ü.jpg", kind="image", reason="r", id="1", path="images/ü.jpg")
    report = DownloadReport(dataset_id="d", dataset="n", images_downloaded=2, failures=[failure])
    assert DownloadReport.read(report.document()) == report
    assert (report.success, report.total_attempted) == (False, 3)
    for wrong in (b"", b"[]", b"{}", b'{"schema": 2}', b'{"schema": 1}', b"\xff"):
        with pytest.raises(errors.UsageError, match="no report"):
            DownloadReport.read(wrong)


def test_fields_are_items_too_and_what_pictofs_does_not_know_comes_from_the_document() -> None:
    found = models.dataset(
        {"id": "d", "name": "n", "classes": [{"name": "car", "extra": 1}, 5], "readme": "r"}
    )
    assert (found["name"], found["readme"]) == ("n", "r")
    assert found["classes"] == found.classes == ({"name": "car", "extra": 1},)
    with pytest.raises(KeyError):
        found["nothing"]


def test_a_roles_word_is_taken_where_the_service_says_it() -> None:
    assert models.organization({"name": "o", "role": "admin"}).role == "admin"
    assert models.organization({"name": "o"}).role == ""


def test_times_are_written_as_they_are_read() -> None:
    for text in ("2024-01-15T10:30:00Z", "2024-01-15T10:30:00.250000Z"):
        assert rfc3339(parse_ns(text)) == text
    assert rfc3339(0) == ""


def test_a_short_list_asks_for_a_short_page() -> None:
    client, wire, _ = client_of(in_turn({"data": [], "pagination": {"has_more": False}}))
    client.images.list(Dataset(id="d", name="n"), limit=3)
    assert wire.asked[0].query["limit"] == "3"


def test_a_wait_shows_each_look() -> None:
    states = ["pending", "processing", "completed"]
    client, _, _ = client_of(in_turn(*({"data": {"name": "e", "status": state}} for state in states)))
    seen: list[str] = []
    client.exports.wait(Dataset(id="d", name="n"), "e", progress=lambda export: seen.append(export.status))
    assert seen == states
