"""Every option of a mount, once: name, field, parser, default and why.

`--help`, the error messages, the reading of files, environment and `-o`, and the test of
`docs/configuration.md` all come from this table. An option belongs to a scope:

    key      where an API key comes from; one a profile
    profile  what belongs to one organization of the mount
    mount    everything else
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from pictofs.errors import UsageError
from pictofs.mount import values

KEY, PROFILE, MOUNT = "key", "profile", "mount"


@dataclass(frozen=True, slots=True)
class Option:
    """One option: `field` is the attribute of `Settings`, `Profile` or `KeySource` (by `scope`) that it sets.
    """

    name: str
    field: str
    parse: Callable[[str], Any]
    value: str  # what to write after `=`
    default: str
    meaning: str
    reason: str  # why the default is what it is
    scope: str = MOUNT

    def read(self, text: str, where: str) -> Any:
        """The value of `text`; UsageError names the option, where it was said, and what it takes."""
        try:
            return self.parse(text)
        except ValueError as error:
            shown = repr(text) if self.scope != KEY else "that"
            raise UsageError(f"{where}: {self.name} cannot be {shown}; it takes {error}") from None


def _choice(*words: str) -> dict[str, Any]:
    return {"parse": values.one_of(*words), "value": " | ".join(words)}


OPTIONS: tuple[Option, ...] = (
    Option(
        "api_key_file", "file", values.some_text, "FILE", "–",
        "a file that holds the API key and that nobody else may read",
        "a file keeps the key out of `ps`, of shell histories and of units", KEY,
    ),
    Option(
        "api_key_command", "command", values.some_text, "COMMAND", "–",
        "a command that prints the API key, run by the shell",
        "keys that live in a password store need no copy on disk", KEY,
    ),
    Option(
        "base_url", "base_url", values.url, "URL", "the service's",
        "where the Developer API is, with or without `/api/v1/developer`; also `PICTOGRAPH_BASE_URL`",
        "nearly everyone uses the one service", PROFILE,
    ),
    Option(
        "organization", "organization", values.file_name, "NAME", "slug, else name, else `organization`",
        "the name of the first directory",
        "a slug is short and safe in paths; the oldest dialect cannot say either", PROFILE,
    ),
    Option(
        "dialect", "dialect", default="auto", meaning="which wire dialect the service speaks",
        reason="one request finds it out, and it is remembered", scope=PROFILE,
        **_choice("auto", "a", "b", "c"),
    ),
    Option(
        "mode", "mode", default="full", meaning="which of images and annotations are shown and fetched",
        reason="the API's own word for a whole dataset", **_choice("full", "images_only", "annotations_only"),
    ),
    Option(
        "status_filter", "status_filter", values.some_text, "STATUS", "–",
        "only images of that status",
        "without a wish, everything is there",
    ),
    Option(
        "archived", "archived", default="hide", meaning="whether archived datasets are listed",
        reason="the service hides them as well", **_choice("hide", "show"),
    ),
    Option(
        "driver", "driver", default="auto", meaning="how the kernel is spoken to",
        reason="`kernel` is several times faster; `auto` takes `fusepy` only where `kernel` cannot be",
        **_choice("auto", "kernel", "fusepy"),
    ),
    Option(
        "io", "io", default="cache", meaning="who serves bytes that are on disk (kernel driver)",
        reason="with `cache` a second epoch makes no request at all; `passthrough` needs root and two a file",
        **_choice("cache", "passthrough"),
    ),
    Option(
        "overlay", "overlay", values.some_text, "FOLDER", "–",
        "a local folder that gets `upper/` and `work/`, for tools that write beside their input",
        "a mount cannot lose anything, so writing is asked for; it takes root, `driver=kernel` and a folder "
        "on ext4, xfs or tmpfs",
    ),
    Option(
        "cache_dir", "cache_dir", values.some_text, "FOLDER", "XDG cache, `/var/cache/pictofs` for root",
        "where the catalog and the fetched bytes are; a local file system only",
        "SQLite and `flock` need a local file system; caches belong where backups skip them",
    ),
    Option(
        "cache_size", "cache_size_bytes", values.size_or_share, "SIZE | PERCENT",
        "min(20 % of the file system, 50G)",
        "how many bytes the cache may hold; belongs to the cache directory",
        "room for a large dataset on a large disk, and no surprise on a small one",
    ),
    Option(
        "min_free", "min_free_bytes", values.size_or_share, "SIZE | PERCENT", "5 %",
        "how much of the file system stays free whatever `cache_size` says; belongs to the cache directory",
        "a full disk breaks other programs before it breaks this one",
    ),
    Option(
        "eviction", "eviction", default="epoch", meaning="what leaves first when the cache is full",
        reason="`lru` is the worst choice for a shuffled epoch that is larger than the cache",
        **_choice("epoch", "lru", "fifo"),
    ),
    Option(
        "ttl", "ttl_s", values.seconds, "TIME", "60s",
        "how old a listing may be when it is looked at",
        "a minute is soon enough for people, and costs one request a minute for what is looked at",
    ),
    Option(
        "timeout", "timeout_s", values.some_seconds, "TIME", "20s",
        "how long anything may go without progress; then it is an error",
        "longer than a slow answer, shorter than patience and the kernel's own limits",
    ),
    Option(
        "offline", "offline", default="auto", meaning="what to do while the service is away",
        reason="`auto` serves what is known; `on` never asks the network, `off` fails",
        **_choice("on", "auto", "off"),
    ),
    Option(
        "auth_grace", "auth_grace_s", values.seconds, "TIME", "0",
        "how long what is known is served after the key was refused",
        "a revoked key should stop reading at once, unless you say otherwise",
    ),
    Option(
        "prefetch", "prefetch", default="auto", meaning="what is fetched before it is asked for",
        reason="follows what the readers do; `all` fills whole datasets, `off` fetches on demand alone",
        **_choice("auto", "sequential", "all", "off"),
    ),
    Option(
        "bulk", "bulk", default="auto", meaning="whether exports may serve as the source of many files",
        reason="fresh ones save requests and nothing is ordered unasked; `create` may order one",
        **_choice("auto", "create", "off"),
    ),
    Option(
        "jobs", "jobs", values.count, "N", "adaptive, at most 64",
        "the ceiling on transfers at once, for images and for archives each; belongs to the cache directory",
        "beyond 64 connections nothing got faster in measurements",
    ),
    Option(
        "bandwidth", "bandwidth_bytes_s", values.rate_bytes_s, "SIZE", "none",
        "the ceiling on bytes a second; belongs to the cache directory",
        "a training job wants all there is",
    ),
    Option(
        "max_fetch", "max_fetch_bytes_day", values.size_bytes, "SIZE", "none",
        "the ceiling on bytes a day; belongs to the cache directory",
        "only you know what your traffic costs",
    ),
    Option(
        "annotation_size", "annotation_size", default="exact",
        meaning="whether an annotation's size may be promised before it is fetched",
        reason="`exact` is the service's own body; `padded` is refused, see below: `bulk` saves the requests",
        **_choice("exact", "padded"),
    ),
    Option(
        "opened", "opened", default="hidden", meaning="whether exports appear opened as directories too",
        reason="`hidden` ones are reachable by name, and `cp -r` does not copy them twice",
        **_choice("hidden", "listed", "off"),
    ),
    Option(
        "allow_other", "allow_other", values.switch, "on | off", "off",
        "whether other users may read the mount",
        "your key should not read for everybody; as in fuse(8)",
    ),
    Option("uid", "uid", values.number, "N", "the mounter's", "who owns the files", "as in fuse(8)"),
    Option("gid", "gid", values.number, "N", "the mounter's", "which group owns the files", "as in fuse(8)"),
    Option(
        "umask", "umask", values.octal, "OCTAL", "0222",
        "permission bits that are taken away",
        "nothing can be written, so no file says it can",
    ),
    Option(
        "ca_file", "ca_file", values.some_text, "FILE", "the environment's",
        "certificates to trust, for the API and the storage host alike",
        "companies set it once for every program",
    ),
    Option(
        "proxy", "proxy", values.some_text, "URL", "the environment's",
        "the proxy, for the API and the storage host alike",
        "companies set it once for every program",
    ),
    Option(
        "metrics", "metrics", values.address, "HOST:PORT", "off",
        "where Prometheus may scrape",
        "no port is opened unasked",
    ),
    Option(
        "log_level", "log_level", default="info", meaning="what is worth a line",
        reason="what a person would want to have read afterwards",
        **_choice("debug", "info", "warning", "error"),
    ),
    Option(
        "log_format", "log_format", default="text", meaning="how a line looks",
        reason="people read logs first, collectors second", **_choice("text", "json"),
    ),
    Option(
        "log_file", "log_file", values.some_text, "FILE",
        "stderr or journal; XDG state or `/var/log` in the background",
        "where the log goes",
        "a daemon has no stderr that anybody reads",
    ),
)  # fmt: skip

BY_NAME: dict[str, Option] = {option.name: option for option in OPTIONS}

# mount(8) and fuse(8) words that fstab lines carry. Most mean nothing here, and refusing them would break
# those lines; `rw` is a warning, and `noexec` (also as a part of `user`) is passed on to the kernel.
_WORDS = """
    ro rw auto noauto user nouser users owner group defaults nofail _netdev dev nodev suid nosuid exec noexec
    atime noatime relatime norelatime strictatime nostrictatime lazytime nolazytime diratime nodiratime
    sync async dirsync silent loud iversion noiversion mand nomand symfollow nosymfollow
    default_permissions comment
"""
MOUNT8 = frozenset(_WORDS.split())


def noexec(words: Iterable[str]) -> bool:
    """Whether these words of mount(8), a later one over an earlier, forbid to execute what is mounted."""
    said = False
    for word in words:
        if word in ("noexec", "user", "users"):
            said = True
        elif word == "exec":
            said = False
    return said


def ignored(name: str) -> bool:
    """Whether this is a word of mount(8) that is accepted and does nothing."""
    return name in MOUNT8 or name[:2] in ("x-", "X-")


def named(name: str, where: str) -> Option:
    """The option of that name; UsageError offers the nearest one there is."""
    option = BY_NAME.get(name)
    if option is not None:
        return option
    if name == "remount":
        raise UsageError(f"{where}: a mount cannot be remounted; unmount it and mount it again")
    near = difflib.get_close_matches(name.lower(), BY_NAME, n=1, cutoff=0.5)
    mend = f"did you mean {near[0]}?" if near else "`pictofs mount --help` lists them"
    raise UsageError(f"{where}: there is no option {name!r}; {mend}")
