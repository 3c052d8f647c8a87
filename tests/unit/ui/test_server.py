"""The page's server over HTTP; the mount is a folder with a record, so nothing here needs FUSE."""

from __future__ import annotations

import http.client
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from pictofs.errors import UsageError
from pictofs.mount.record import Record, start_ticks
from pictofs.ui.answers import Answers
from pictofs.ui.server import CONNECTIONS, PageServer

STATUS = {"schema": 1, "online": True, "source": "acme", "datasets": [], "errors": []}
SHAPES = {"annotations": [
    {"id": "1", "name": "car", "type": "bbox", "bounding_box": {"x": 1, "y": 2, "w": 3, "h": 4}},
    {"id": "2", "name": "house", "type": "polygon",
     "polygon": {"paths": [[{"x": 0, "y": 0}, {"x": 9, "y": 0}]]},
     "bounding_box": {"x": 0, "y": 0, "w": 9, "h": 1}},
    {"id": "3", "name": "old", "bbox": [5, 6, 7, 8]},
]}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Something like a mount, and a secret beside it."""
    mount = tmp_path / "mnt"
    (mount / ".pictofs").mkdir(parents=True)
    (mount / ".pictofs/status.json").write_text(json.dumps(STATUS))
    images = mount / "acme/Cars & Co/images"
    (images / "night").mkdir(parents=True)
    for number in range(30):
        (images / f"{number:02}.jpg").write_bytes(b"\xff\xd8" + bytes([number]) * (1 << 16))
    (images / "drawing.svg").write_text(
        "<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
    )
    (images / "scan.tif").write_bytes(b"II*")
    annotations = mount / "acme/Cars & Co/annotations"
    annotations.mkdir()
    (annotations / "00.json").write_text(json.dumps(SHAPES))
    (annotations / "01.json").write_text("no JSON")
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    (images / "away.jpg").symlink_to(tmp_path / "secret.jpg")
    (images / "out").symlink_to(tmp_path)
    return mount


def record_of(mountpoint: Path) -> Record:
    pid = os.getpid()
    return Record(str(mountpoint), "acme", pid, start_ticks(pid), "0", "/c", "", serving=pid)


@pytest.fixture
def server(folder: Path) -> Iterator[PageServer]:
    with PageServer(0, Answers(lambda: [record_of(folder)])) as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


class Visitor:
    """A browser with the cookie, or whatever a test says."""

    def __init__(self, server: PageServer) -> None:
        self.port = server.server_address[1]
        self.headers = {"Host": f"127.0.0.1:{self.port}", "Cookie": server.guard.cookie().partition(";")[0]}

    def get(
        self, where: str, method: str = "GET", /, **query: Any
    ) -> tuple[int, Any, http.client.HTTPMessage]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.putrequest(method, f"{where}?{urlencode(query)}" if query else where, skip_host=True)
            for name, value in self.headers.items():
                connection.putheader(name, value)
            connection.putheader("Connection", "close")
            connection.endheaders()
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        is_json = answer.headers["Content-Type"] == "application/json"
        return answer.status, json.loads(body) if is_json else body, answer.headers


@pytest.fixture
def visitor(server: PageServer) -> Visitor:
    return Visitor(server)


def test_the_printed_address_gives_the_cookie_and_nothing_else_does(
    server: PageServer, visitor: Visitor
) -> None:
    del visitor.headers["Cookie"]
    path = server.url.partition(str(visitor.port))[2]
    status, body, headers = visitor.get(path)
    assert status == 200
    assert b"url=/" in body
    assert headers["Set-Cookie"] == server.guard.cookie()
    for other in (
        "/",
        "/page.js",
        "/api/mounts",
        "/picture",
        f"/?token={'x' * 43}",
        "/api/state?token=",
        "/nothing",
    ):
        status, body, headers = visitor.get(other)
        assert (status, list(body)) == (403, ["error"])
        assert "Set-Cookie" not in headers


def test_nothing_is_served_under_another_name_or_to_another_origin(
    server: PageServer, visitor: Visitor
) -> None:
    for name, value in (
        ("Host", f"evil.example:{visitor.port}"), ("Origin", "http://evil.example"),
        ("Sec-Fetch-Site", "same-site"),
    ):  # fmt: skip
        strange = Visitor(server)
        strange.headers[name] = value
        status, body, headers = strange.get("/api/mounts")
        assert (status, list(body)) == (403, ["error"])
        assert "Access-Control-Allow-Origin" not in headers


def test_every_answer_forbids_foreign_scripts_frames_and_guessed_types(visitor: Visitor) -> None:
    for path in (
        "/",
        "/page.css",
        "/page.js",
        "/plot.js",
        "/pictures.js",
        "/shapes.js",
        "/api/mounts",
        "/nothing",
    ):
        status, _, headers = visitor.get(path)
        assert status == (404 if path == "/nothing" else 200)
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_the_page_needs_nothing_from_elsewhere(visitor: Visitor) -> None:
    for path in ("/", "/page.css", "/page.js", "/plot.js", "/pictures.js", "/shapes.js"):
        body = visitor.get(path)[1]
        assert b"http" not in body.replace(b"http://www.w3.org/2000/svg", b""), path


def test_it_listens_on_this_machine_alone_and_only_reads(server: PageServer, visitor: Visitor) -> None:
    assert server.socket.getsockname()[0] == "127.0.0.1"
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert visitor.get("/api/mounts", method)[0] == 501


@pytest.mark.parametrize(
    "path",
    [
        "../secret.jpg", "acme/../../secret.jpg", "/etc/passwd.jpg",
        "acme/Cars & Co/images/../../../../secret.jpg",
        "acme/Cars & Co/images/away.jpg", "acme/Cars & Co/images/out/secret.jpg", "acme/./x.jpg", "a\0.jpg",
        "acme/" * 80 + "x.jpg", "", "acme/Cars & Co/images",
    ],
)  # fmt: skip
def test_no_path_leads_out_of_the_mount(visitor: Visitor, folder: Path, path: str) -> None:
    status, body, _ = visitor.get("/picture", mount=folder, path=path)
    assert status in (400, 404, 502)
    assert list(body) == ["error"]
    for document in ("/api/folder", "/api/shapes"):
        status, body, _ = visitor.get(document, mount=folder, path=path or "..")
        assert status in (400, 404, 502) or (path.endswith("images") and document == "/api/folder")


def test_only_mounts_are_shown_not_folders(visitor: Visitor, folder: Path) -> None:
    for mount in (folder.parent, "/", "", f"{folder}/acme"):
        for document in ("/api/folder", "/api/state", "/picture"):
            path = "secret.jpg" if document == "/picture" else ""
            assert visitor.get(document, mount=mount, path=path)[0] == 404


def test_what_is_no_picture_of_a_browser_is_not_sent(visitor: Visitor, folder: Path) -> None:
    for path in (
        "acme/Cars & Co/images/drawing.svg",
        "acme/Cars & Co/annotations/00.json",
        ".pictofs/status.json",
    ):
        assert visitor.get("/picture", mount=folder, path=path)[0] == 400


def test_a_picture_comes_byte_for_byte(visitor: Visitor, folder: Path) -> None:
    path = "acme/Cars & Co/images/07.jpg"
    status, body, headers = visitor.get("/picture", mount=folder, path=path)
    assert (status, headers["Content-Type"]) == (200, "image/jpeg")
    assert body == (folder / path).read_bytes()


def test_the_state_has_figures_faults_and_samples(visitor: Visitor, folder: Path) -> None:
    assert visitor.get("/api/mounts")[1] == [{"mountpoint": str(folder), "source": "acme", "version": "0"}]
    status, body, _ = visitor.get("/api/state", mount=folder)
    assert status == 200
    assert body["document"]["source"] == "acme"
    assert body["faults"] == []
    assert body["samples"] == []
    assert visitor.get("/api/state", mount=folder, since="now")[0] == 400


def test_a_folder_is_shown_a_page_at_a_time(visitor: Visitor, folder: Path) -> None:
    assert visitor.get("/api/folder", mount=folder, path="")[1]["folders"] == [".pictofs", "acme"]
    assert visitor.get("/api/folder", mount=folder, path="acme/Cars & Co")[1]["folders"] == ["images"]
    images = visitor.get("/api/place", mount=folder, dataset="Cars & Co")[1]
    assert images == "acme/Cars & Co/images"
    assert visitor.get("/api/place", mount=folder, dataset="none")[0] == 404
    first = visitor.get("/api/folder", mount=folder, path=images)[1]
    assert (first["folders"], first["total"], len(first["pictures"])) == (["night"], 32, 24)
    last = visitor.get("/api/folder", mount=folder, path=images, offset=24)[1]
    assert [picture["name"] for picture in last["pictures"]][-3:] == ["29.jpg", "drawing.svg", "scan.tif"]
    assert [picture["shown"] for picture in last["pictures"]][-3:] == [True, False, False]


def test_what_is_drawn_comes_in_one_shape_whoever_wrote_it(visitor: Visitor, folder: Path) -> None:
    status, body, _ = visitor.get("/api/shapes", mount=folder, path="acme/Cars & Co/images/00.jpg")
    assert status == 200
    assert [(shape["name"], shape["box"], shape["rings"]) for shape in body] == [
        ("car", [1, 2, 3, 4], []), ("house", None, [[[0, 0], [9, 0]]]), ("old", [5, 6, 7, 8], []),
    ]  # fmt: skip
    assert visitor.get("/api/shapes", mount=folder, path="acme/Cars & Co/images/01.jpg")[0] == 502
    assert visitor.get("/api/shapes", mount=folder, path="acme/Cars & Co/images/02.jpg")[0] == 404
    assert visitor.get("/api/shapes", mount=folder, path="acme")[0] == 400


def test_many_connections_are_cut_short_and_the_page_goes_on(server: PageServer, visitor: Visitor) -> None:
    held = [socket.create_connection(("127.0.0.1", visitor.port), 5) for _ in range(CONNECTIONS)]
    try:
        with socket.create_connection(("127.0.0.1", visitor.port), 5) as one_too_many:
            assert one_too_many.recv(1) == b""
    finally:
        for each in held:
            each.close()
    deadline = time.monotonic() + 20
    while True:
        try:
            assert visitor.get("/api/mounts")[0] == 200
            return
        except (http.client.HTTPException, OSError):
            # Those that were closed are not yet let go of.
            assert time.monotonic() < deadline, "the page does not answer any more"
            time.sleep(0.02)


def test_of_two_pictures_with_one_stem_each_has_its_own_shapes(visitor: Visitor, folder: Path) -> None:
    dataset = folder / "acme/Cars & Co"
    for name, kind in (("03.json", "car"), ("03.png.json", "bus")):
        body = {"annotations": [{"name": kind, "bounding_box": {"x": 1, "y": 2, "w": 3, "h": 4}}]}
        (dataset / "annotations" / name).write_text(json.dumps(body))
    (dataset / "images/03.png").touch()
    for name, kind in (("03.jpg", "car"), ("03.png", "bus")):
        shapes = visitor.get("/api/shapes", mount=folder, path=f"acme/Cars & Co/images/{name}")[1]
        assert [shape["name"] for shape in shapes] == [kind]


def test_a_port_that_is_taken_is_said(server: PageServer) -> None:
    port = server.server_address[1]
    with pytest.raises(UsageError, match=rf"--port {port} cannot be listened on"):
        PageServer(port, Answers(list))


def test_a_url_that_is_nonsense_is_refused(visitor: Visitor) -> None:
    assert visitor.get("/?" + "&".join(f"a{n}=1" for n in range(50)))[0] == 400
    assert visitor.get("/api/" + quote("\n<script>"))[0] == 404
