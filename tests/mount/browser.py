"""A headless Chromium, asked over a pipe in the words of the DevTools protocol; gone when it is closed."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

ANSWER_LIMIT_S = 30.0
_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-extensions",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--hide-scrollbars", "--window-size=1280,1000", "--remote-debugging-pipe",
)  # fmt: skip


def program() -> str | None:
    """Where Chromium is, None where it is not installed."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


class Browser:
    """One tab. `hosts` leads names to this machine, as a hostile DNS server would."""

    def __init__(self, *hosts: str) -> None:
        found = program()
        assert found, "chromium is not installed"
        self._folder = tempfile.mkdtemp(prefix="browser-")
        rules = ",".join(f"MAP {host} 127.0.0.1" for host in hosts) or "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
        theirs_in, self._to = os.pipe()
        self._from, theirs_out = os.pipe()
        # The protocol's ends are descriptors 3 and 4 of the browser.
        shell = 'exec 3<&"$0" 4>&"$1"; shift; exec "$@"'
        command = [
            "bash", "-c", shell, str(theirs_in), str(theirs_out), found, *_FLAGS,
            f"--user-data-dir={self._folder}", f"--host-resolver-rules={rules}", "about:blank",
        ]  # fmt: skip
        self._process = subprocess.Popen(
            command, pass_fds=(theirs_in, theirs_out), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(theirs_in)
        os.close(theirs_out)
        self._rest = b""
        self._last = 0
        self._session = ""
        pages = [t for t in self._ask("Target.getTargets")["targetInfos"] if t["type"] == "page"]
        attached = self._ask("Target.attachToTarget", targetId=pages[0]["targetId"], flatten=True)
        self._session = attached["sessionId"]
        self._ask("Page.enable")

    def go(self, url: str) -> None:
        """Leads the tab to an address; it may still be loading."""
        self._ask("Page.navigate", url=url)

    def run(self, script: str) -> Any:
        """The value of an expression, or of the promise that it is."""
        answer = self._ask("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, script: str, limit_s: float = ANSWER_LIMIT_S) -> Any:
        """Its value once that is true. A page that is being replaced has none."""
        deadline = time.monotonic() + limit_s
        while True:
            answer = self._ask(
                "Runtime.evaluate", replaced=True, expression=script, awaitPromise=True, returnByValue=True
            )
            if found := answer.get("result", {}).get("value"):
                return found
            assert time.monotonic() < deadline, (script, answer, self.run("document.body.innerText")[:2000])
            time.sleep(0.05)

    def picture(self, path: Path) -> None:
        """Saves what is seen of the tab as PNG."""
        shot = self._ask("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def close(self) -> None:
        """Ends it and all its processes."""
        self._process.terminate()
        try:
            self._process.wait(ANSWER_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._to)
        os.close(self._from)
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, method: str, *, replaced: bool = False, **arguments: Any) -> dict[str, Any]:
        self._last += 1
        message: dict[str, Any] = {"id": self._last, "method": method, "params": arguments}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + ANSWER_LIMIT_S
        while True:
            answer = self._message(deadline)
            if answer.get("id") == self._last:
                if replaced and "navigated" in answer.get("error", {}).get("message", ""):
                    return {}
                assert "error" not in answer, answer["error"]
                found: dict[str, Any] = answer["result"]
                return found

    def _message(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._from], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, "the browser does not answer"
            more = os.read(self._from, 1 << 20)
            assert more, "the browser has ended"
            self._rest += more
        first, _, self._rest = self._rest.partition(b"\0")
        found: dict[str, Any] = json.loads(first)
        return found
