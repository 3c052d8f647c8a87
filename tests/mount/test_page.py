"""`pictofs ui` over real mounts, asked by a program and looked at in a browser."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.cookiejar import CookieJar
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, build_opener

import pytest
from PIL import Image

from pictofs.emulator.launch import Running, start
from pictofs.emulator.settings import EmulatorSettings
from tests.mount.browser import Browser, program
from tests.mount.conftest import Make, Mount, eventually, pictofs

pytestmark = pytest.mark.mount
DATASET = "Street Scenes"
IMAGES = 300  # among few of them, scattered reads look like runs
READ = 30  # beyond what begins an epoch (mirror/lookahead.py, EPOCH_READS)


@pytest.fixture(scope="module")
def emulator() -> Iterator[Running]:
    running = start(EmulatorSettings(generate=IMAGES))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def mount(emulator: Running, shared_mounts: Make) -> Mount:
    return shared_mounts(emulator).mounted()


@contextmanager
def page(*arguments: str | Path) -> Iterator[str]:
    """The address of a page that runs."""
    command = [sys.executable, "-m", "pictofs", "ui", "--json", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        try:
            assert running.stdout is not None
            found = json.loads(running.stdout.readline())
            assert found["url"].startswith(f"http://127.0.0.1:{found['port']}/?token=")
            yield found["url"]
        finally:
            running.terminate()
        assert running.wait(20) == 0


class Visitor:
    """A program that was told the address."""

    def __init__(self, url: str) -> None:
        self._opener = build_opener(HTTPCookieProcessor(CookieJar()))
        self._base = url.partition("/?")[0]
        self._opener.open(url, timeout=20).close()

    def get(self, where: str, /, **query: Any) -> bytes:
        with self._opener.open(f"{self._base}{where}?{urlencode(query)}", timeout=60) as answer:
            found: bytes = answer.read()
            return found


def test_thumbnails_set_no_epoch_off_and_the_same_reads_by_a_trainer_do(mount: Mount) -> None:
    files = sorted((mount.root / DATASET / "images").rglob("*.jpg"))
    random.Random(7).shuffle(files)
    with page(mount.mountpoint) as url:
        visitor = Visitor(url)
        for file in files[:READ]:
            path = file.relative_to(mount.mountpoint)
            picture = visitor.get("/picture", mount=mount.mountpoint, path=path)
            assert picture.startswith(b"\xff\xd8")
        state = json.loads(visitor.get("/api/state", mount=mount.mountpoint))["document"]
    assert state["datasets"][0]["cached"] == READ
    assert (state["queue"]["fill"], state["queue"]["look_ahead"]) == (0, 0)
    for file in files[READ : 2 * READ]:
        file.read_bytes()
    eventually(
        lambda: mount.status()["datasets"][0]["cached"] == IMAGES, 90, "a trainer's reads fill the dataset"
    )


def test_a_folder_that_is_no_mount_has_no_page(tmp_path: Path) -> None:
    ran = pictofs("ui", tmp_path)
    assert ran.returncode == 7
    assert ran.stderr.startswith(f"pictofs: {tmp_path}: nothing of pictofs is mounted there")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if program() is None:
        pytest.skip("NOT TESTED, no browser here: apt-get install chromium")
    with Browser("evil.example") as made:
        yield made


@contextmanager
def another_site(body: bytes) -> Iterator[int]:
    """The port of a site on this machine that shows `body`."""

    class Site(BaseHTTPRequestHandler):
        timeout = 1.0  # a browser opens connections that it may never use

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def test_a_browser_shows_figures_datasets_and_pictures_with_what_is_drawn_on_them(
    mount: Mount, browser: Browser, tmp_path: Path
) -> None:
    with page(mount.mountpoint) as url:
        browser.go(url)
        browser.until("location.search === '' && !!document.querySelector('h1')")
        browser.until("document.querySelector('#standing').textContent === 'online'")
        assert browser.run("document.cookie") == "", "scripts do not see the cookie"
        row = "[...document.querySelectorAll('#datasets tbody tr')].map(row => row.innerText)"
        browser.until(f"{row}.some(text => text.startsWith('{DATASET}') && text.includes('{IMAGES}'))")
        browser.run("document.querySelector('#datasets tbody button').click()")
        images = sorted((mount.root / DATASET / "images").glob("*.jpg"))
        shown = min(len(images), 24)
        browser.until(f"document.querySelectorAll('#grid .tile').length === {shown}")
        browser.run("document.querySelector('#grid').scrollIntoView()")
        browser.until("document.querySelectorAll('#grid .shape').length > 10")
        names = browser.run("[...document.querySelectorAll('#grid .caption')].map(c => c.textContent)")
        assert names == [image.name for image in images[:shown]]
        # The first picture: its true size, and one shape for each that its annotation file has.
        body = json.loads((mount.root / DATASET / "annotations" / f"{images[0].stem}.json").read_bytes())
        browser.run("document.querySelector('#grid .tile').click()")
        browser.until(f"document.querySelectorAll('#large .shape').length === {len(body['annotations'])}")
        with Image.open(images[0]) as picture:
            size = f"0 0 {picture.width} {picture.height}"
        assert browser.run("document.querySelector('#large .shapes').getAttribute('viewBox')") == size
        kinds = browser.run("[...document.querySelectorAll('#large .shape')].map(s => s.tagName)")
        assert {"rect", "path"} <= set(kinds), "boxes and polygons"
        browser.run("document.querySelector('#large').close()")
        browser.until("document.querySelectorAll('#plot-bytes path').length === 2", 20)
        assert browser.run("document.querySelector('#faults').innerText") == "nothing is wrong"
        browser.picture(tmp_path / "page.png")
    with Image.open(tmp_path / "page.png") as seen:
        colors = seen.convert("RGB").getcolors(1 << 24)
        assert seen.width == 1280
        assert colors is not None
        assert len(colors) > 1000, "there are pictures on it"
    browser.until("document.querySelector('#notice').innerText.includes('has ended')")


def test_the_page_says_when_the_service_is_away_and_what_mends_it(
    emulators: Any, mounts: Make, browser: Browser
) -> None:
    own = emulators(generate=4)
    away = mounts(own, "ttl=0").mounted()
    images = away.root / DATASET / "images"
    assert list(images.iterdir())
    with page(away.mountpoint) as url:
        browser.go(url)
        browser.until("document.querySelector('#standing')?.textContent === 'online'")
        own.stop()
        assert list(images.iterdir()), "what is known is listed"
        browser.until("!!document.querySelector('#faults li.grave')", 40)
        assert "base_url=" in browser.run("document.querySelector('#faults li.grave').innerText")


def test_another_site_and_a_rebound_name_get_nothing_in_a_browser_that_has_the_cookie(
    mount: Mount, browser: Browser
) -> None:
    with page() as url:
        port = int(url.split(":")[2].partition("/")[0])
        browser.go(url)
        browser.until("document.querySelector('#standing')?.textContent === 'online'")
        picture = next((mount.root / DATASET / "images").rglob("*.jpg")).relative_to(mount.mountpoint)
        asked = urlencode({"mount": mount.mountpoint, "path": picture})
        image = """new Promise(done => {{
            const image = new Image();
            image.onload = () => done("seen"); image.onerror = () => done("refused");
            image.src = "http://127.0.0.1:{}/picture?{}"; }})"""
        assert browser.run(image.format(port, asked)) == "seen", "our own page sees it"
        with another_site(b"<title>another</title>") as other:
            browser.go(f"http://127.0.0.1:{other}/")
            browser.until("document.title === 'another'")
            assert browser.run(image.format(port, asked)) == "refused"
            fetched = f"fetch('http://127.0.0.1:{port}/api/mounts', {{credentials: 'include'}})"
            assert browser.run(f"{fetched}.then(() => 'read', () => 'refused')") == "refused"
            framed = f"<iframe src='http://127.0.0.1:{port}/'></iframe>"
            browser.run(f'document.body.innerHTML = "{framed}"')
            # Only what was refused is a document of another origin: the empty one before it is not.
            browser.until("document.querySelector('iframe').contentDocument === null")
        browser.go(f"http://evil.example:{port}/?{url.partition('?')[2]}")
        browser.until("document.body?.innerText.includes('asked from elsewhere')")
