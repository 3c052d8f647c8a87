"""A small HTTP client that says exactly what it sends, and readers of the three dialects for tests."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from pictofs.emulator.launch import Running

TIMEOUT_S = 10


@dataclass
class Answer:
    status: int
    headers: dict[str, str]  # lower-case names
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(url: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Answer:
    """One request on a connection of its own; `_` in a header's name stands for `-`. Follows nothing."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=TIMEOUT_S)
    try:
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, target, body, sent)
        answer = connection.getresponse()
        return Answer(answer.status, {n.lower(): v for n, v in answer.getheaders()}, answer.read())
    finally:
        connection.close()


class Api:
    """The Developer API of one emulator, with its key; `name` is the dataset that a test is about."""

    def __init__(self, emulator: Running, dialect: str, name: str = "Synthetic") -> None:
        self.emulator, self.dialect, self.name = emulator, dialect, name

    def __call__(
        self,
        path: str,
        method: str = "GET",
        *,
        data: Any = None,
        headers: dict[str, str] | None = None,
        **query: Any,
    ) -> Answer:
        """A request below the base, with the key unless `headers` bring another."""
        url = self.emulator.base_url + path + (f"?{urlencode(query)}" if query else "")
        sent = {"X-API-Key": self.emulator.api_key, **(headers or {})}
        body = None
        if data is not None:
            body, sent = json.dumps(data).encode(), {"Content-Type": "application/json", **sent}
        return ask(url, method, body, **sent)

    def rows(self, kind: str, body: Any) -> list[dict[str, Any]]:
        """The rows of a list body."""
        found: list[dict[str, Any]] = (
            body if self.dialect == "a" else body["data" if self.dialect == "c" else kind]
        )
        return found

    def single(self, kind: str, body: Any) -> dict[str, Any]:
        """The object of a single body."""
        found: dict[str, Any] = body if self.dialect == "a" else body["data" if self.dialect == "c" else kind]
        return found

    def dataset(self, name: str) -> dict[str, Any]:
        """The row of a dataset, from the list."""
        return next(row for row in self.rows("datasets", self("/datasets/").json) if row["name"] == name)

    def dataset_path(self, name: str) -> str:
        """The path by which the dialect addresses a dataset by its name, or slug."""
        if self.dialect == "c":
            return f"/datasets/{name}".replace(" ", "%20")
        key = self.dataset(name)["slug"] if self.dialect == "a" else name
        return f"/datasets/by-name/{key}".replace(" ", "%20")

    def items(self, name: str, **query: Any) -> list[dict[str, Any]]:
        """The rows of the batch download, with the signed URL as `url`."""
        body = self(self.dataset_path(name) + "/download", **query).json
        rows = (
            body["images"]
            if self.dialect == "a"
            else (body["data"] if self.dialect == "c" else body)["items"]
        )
        return [
            {**row, "url": row.get("download_url" if self.dialect == "a" else "image_url")} for row in rows
        ]

    def error_message(self, answer: Answer) -> str:
        """What a refusal says, in its dialect's place."""
        body = answer.json
        if self.dialect == "a":
            assert isinstance(body["error"], str)
            return str(body["message"])
        if self.dialect == "b":
            return str(body["detail"])
        assert body["detail"]
        assert body["error"]["code"]
        return str(body["error"]["message"])
