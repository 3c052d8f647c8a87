"""`pictofs doctor --bundle`: what a bug report needs, in one archive, without secrets.

    report.json             the findings
    config/<n>.toml         the configuration files, secret values taken out
    settings.txt            the variables of the environment that are settings, secret ones by name alone
    logs/…                  the tails of the logs of mounts, of their fetching processes, of the commands
    status/<mount>.json     what each mount says of itself
    mountinfo.txt           the lines of mounts of pictofs and of the cache directory

Every text goes through `masked`, which knows the keys that were read and the shapes of keys; here what stands
behind the `?` of any URL goes too, since the storage host's signatures are there under whatever names.
"""

from __future__ import annotations

import io
import json
import os
import re
import tarfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pictofs import __version__
from pictofs.doctor.examine import Subject
from pictofs.doctor.finding import Finding
from pictofs.doctor.mounts import Live
from pictofs.drivers import mountinfo
from pictofs.errors import UsageError
from pictofs.mount import options, places
from pictofs.secrets import masked

TAIL_BYTES = 256 << 10
# An option that says where a key is may stay; what prints one may hold it.
_SECRET = re.compile(r"key|token|secret|password|credential|command|auth", re.I)
_HARMLESS = frozenset({"api_key_file", "auth_grace"})
_LINE = re.compile(r"^(?P<head>\s*(?P<name>[\w.\"'-]+)\s*=\s*)(?P<value>.+)$")
_QUERY = re.compile(r"(?P<url>\b[a-z][a-z0-9+.-]*://[^\s\"'<>?]*)\?[^\s\"'<>]*", re.I)


def write(path: Path, found: Sequence[Finding], subject: Subject, mounts: Sequence[Live]) -> None:
    """Writes the archive, mode 0600. UsageError where it cannot be, or something is there already."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise UsageError(f"--bundle {path}: something of that name is there; name another file") from None
    except OSError as error:
        raise UsageError(f"--bundle {path} cannot be written: {error.strerror}; name another file") from error
    with open(handle, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, text in parts(found, subject, mounts):
            body = clean(text).encode("utf-8", "surrogateescape")
            entry = tarfile.TarInfo(f"pictofs-doctor/{name}")
            entry.size, entry.mtime, entry.mode = len(body), int(time.time()), 0o600
            archive.addfile(entry, io.BytesIO(body))


def clean(text: str) -> str:
    """A text without secrets."""
    return _QUERY.sub(lambda found: f"{found['url']}?…", masked(text))


def report(found: Sequence[Finding]) -> dict[str, Any]:
    """The findings as a document."""
    return {
        "schema": 1,
        "version": __version__,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "ok": not any(each.level.value == "fail" for each in found),
        "findings": [{**asdict(each), "level": each.level.value} for each in found],
    }


def parts(found: Sequence[Finding], subject: Subject, mounts: Sequence[Live]) -> Iterator[tuple[str, str]]:
    """(name, text) of each file, not cleaned yet."""
    yield "report.json", json.dumps(report(found), indent=2, ensure_ascii=False) + "\n"
    for number, path in enumerate(places.configuration_files(subject.environ)):
        text = _tail(path)
        if text:
            yield f"config/{number}.toml", f"# {path}\n{without_secrets(text)}"
    yield "settings.txt", _settings(subject.environ)
    yield "mountinfo.txt", "".join(f"{line}\n" for line in _mountinfo(subject.settings.cache_dir))
    yield from _logs(subject, mounts)
    for live in mounts:
        name = places.name_of(live.record.mountpoint)
        document = {"record": asdict(live.record), "status": live.status}
        yield f"status/{name}.json", json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def without_secrets(toml: str) -> str:
    """The lines of a configuration file, the values of what may be a secret taken out.

    A file that is no TOML is treated line by line all the same; what stands between triple quotes goes whole.
    """
    lines, multiline = [], False
    for line in toml.splitlines():
        quotes = line.count('"""') + line.count("'''")
        if multiline:
            lines.append("…")
            multiline = quotes % 2 == 0
            continue
        said = _LINE.match(line)
        name = said["name"].strip("\"'").rpartition(".")[2] if said else ""
        if said and (_is_secret(name) or name not in options.BY_NAME):
            line = f"{said['head']}…"
        multiline = quotes % 2 == 1
        lines.append(line)
    return "\n".join(lines) + "\n"


def _is_secret(name: str) -> bool:
    return name not in _HARMLESS and bool(_SECRET.search(name))


def _settings(environ: Mapping[str, str]) -> str:
    proxies = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
    names = [
        name for name in sorted(environ)
        if name.startswith(("PICTOFS_", "PICTOGRAPH_", "XDG_")) or name in proxies or name.lower() in proxies
    ]  # fmt: skip
    return "".join(f"{name}={_value(name, environ[name])}\n" for name in names)


def _value(name: str, value: str) -> str:
    return "…" if _is_secret(name.removeprefix("PICTOFS_").lower()) else value


def _mountinfo(cache_dir: str) -> Iterator[str]:
    below = mountinfo.containing(os.path.realpath(cache_dir))
    for each in mountinfo.table():
        if each.ours or each == below:
            yield (
                f"{each.mount_id} {each.device} {each.mountpoint} {each.kind} {each.source} {each.options} "
                f"{each.layers}"
            )


def _logs(subject: Subject, mounts: Sequence[Live]) -> Iterator[tuple[str, str]]:
    folders = {subject.settings.cache_dir, *(live.record.cache_dir for live in mounts)}
    paths = {Path(live.record.log) for live in mounts if live.record.log}
    own = places.log_dir(subject.environ, os.getuid())
    if own.is_dir():
        paths |= {path for path in own.iterdir() if path.suffix == ".log"}
    paths |= {Path(folder) / "fetch.log" for folder in folders}
    for number, path in enumerate(sorted(paths)):
        text = _tail(path)
        if text:
            yield f"logs/{number}-{path.name}", f"# {path}\n{text}"


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            start = max(0, file.tell() - TAIL_BYTES)
            file.seek(start)
            body = file.read()
    except OSError:
        return ""
    if start:
        body = body.partition(b"\n")[2]     # half a line may be half a key, which no mask knows
    return body.decode("utf-8", "replace")
