"""One sentence from many facts: why a file is slow, where a reader's time goes. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Facts = Mapping[str, Any]
_FOLDERS = frozenset({
    "root", "organization", "dataset", "images", "annotations", "exports", "splits", "statuses", "view",
    "view_images", "view_annotations",
})  # fmt: skip
_OPENED = frozenset({"export_opened", "member_directory"})
PAGE_IMAGES = 1000
SHARE = 0.05  # of a reader's time: less is not worth a word


def of_file(found: Facts) -> str:
    """Of the document of `file.explain`: what a read or a listing waits for."""
    mount, told = found["mount"], found["asked"]
    if mount is None:
        return "the mount does not answer: it hangs or is being replaced, and `pictofs doctor` says more"
    if "error" in told:
        return f"the fetching process says no ({told['error']}): what is here is served, the rest waits"
    if found["kind"] == "control":
        return "it is made by pictofs itself at each look and waits for the fetching process' word alone"
    if found["kind"] in _OPENED:
        return "its names come from the archive's central directory: the first look waits for a few transfers"
    if found["unknown"]:
        return _unknown(found)
    if found["kind"] in _FOLDERS:
        return _folder(found)
    if found["file"] is None:
        return "it is made of what the service's listing says, and waits for nothing else"
    return _file(found["file"], told, mount)


def _unknown(found: Facts) -> str:
    name, dataset = found["unknown"], found["dataset"]
    if dataset is None or dataset["listed_s"] is not None:
        return f"nothing known here is called {name}: a look asks the service once the listing is past ttl="
    pages = -(-dataset["images"] // PAGE_IMAGES) or 1
    return (
        f"{dataset['name']} was never listed here: the first look at {name} waits for up to {pages} API "
        f"requests, one for every {PAGE_IMAGES} images"
    )


def _folder(found: Facts) -> str:
    dataset = found["dataset"]
    if dataset is None:
        return "its names are known: listing it costs at most one API request each ttl="
    listed_s = dataset["exports_listed_s" if found["kind"] == "exports" else "listed_s"]
    if listed_s is None:
        pages = -(-dataset["images"] // PAGE_IMAGES) or 1
        return f"it was never listed here: the first listing takes about {pages} API requests"
    return f"it was listed {_ago(listed_s)}: after ttl= that costs one API request, more if it changed"


def _file(file: Facts, told: Facts, mount: Facts) -> str:
    if file["whole"]:
        return "it is whole in the cache: reading it costs what reading a local file costs"
    here = _here(file)
    flights = told.get("flights") or []
    if flights:
        return f"{here}, and {_flight(flights[0])}"
    standing = told.get("standing") or {}
    if standing.get("refused"):
        return f"{here}, and the service refuses the key: reads fail until it is replaced"
    if standing.get("offline") == "on":
        return f"{here}, and offline=on forbids to fetch it"
    if not standing.get("online", True):
        return f"{here}, and the service is away: reads wait until it is back, at most timeout="
    if told.get("max_fetch_left") == 0:
        return f"{here}, and max_fetch= is used up for today: reads fail until midnight UTC"
    budget = mount.get("budget") or {}
    if budget.get("remaining") == 0:
        return f"{here}, and the hour's API requests are used up: what takes one fails or waits for the reset"
    return f"{here}: {_cost(file, told, mount)}"


def _here(file: Facts) -> str:
    if not file["blocks"]:
        return "nothing of it is in the cache"
    if file["of_blocks"] is None:
        return f"{file['blocks']} blocks of it are in the cache"
    return f"{file['blocks']} of its {file['of_blocks']} blocks are in the cache"


def _flight(flight: Facts) -> str:
    seconds = f"{flight['seconds']:.1f} s"
    if flight["doing"] == "queued":
        before = flight["before"]
        return f"it has been queued for {seconds} as {_word(flight['priority'])}, behind {before} others"
    if flight["doing"] == "writing":
        return "its bytes have come and are being written to the cache"
    so_far = f"{flight['bytes']} bytes so far"
    return f"it has been under way for {seconds} as {_word(flight['priority'])}, {so_far}"


def _word(priority: str) -> str:
    return {"demand": "what a reader waits for", "look_ahead": "look-ahead", "fill": "background fill"}.get(
        priority, priority
    )


def _cost(file: Facts, told: Facts, mount: Facts) -> str:
    queue = mount.get("queue") or {}
    before = queue.get("demand", 0)
    line = f", behind {before} that readers wait for" if before else ""
    url = told.get("url")
    if url is None:
        return f"the first read waits for one API request and gets all of it{line}"
    if not url["good"]:
        return f"the first read waits for an API request that signs URLs, then for one transfer{line}"
    size = "" if file["size"] is not None else ", which also tells its size"
    return f"the first read waits for one transfer{size}; its URL is good for {url['seconds']:.0f} s{line}"


def _ago(seconds: float) -> str:
    return f"{seconds:.0f} s ago" if seconds < 120 else f"{seconds / 60:.0f} min ago"


def of_reader(found: Facts) -> str:
    """Of the document of `reader.explain`: where the time of a process goes."""
    shares = {name: share for name, share in found["shares"].items() if share >= SHARE}
    if not found["open"] and not shares.get("pictofs") and not found["waits_for"]:
        return "it has nothing open on a mount of yours, and did not wait for one while it was looked at"
    said = ", ".join(f"{share:.0%} {_DOING[name]}" for name, share in _ordered(shares))
    if not shares:
        return "it did nothing while it was looked at"
    most = _ordered(shares)[0][0]
    if most != "pictofs":
        return f"pictofs is not what it waits for most: {said}"
    return f"{said}: {_waits(found)}"


_DOING = {
    "pictofs": "waiting for pictofs",
    "computing": "computing",
    "disk": "waiting for another disk",
    "other": "idle, or waiting for something else",
}


def _ordered(shares: Mapping[str, float]) -> list[tuple[str, float]]:
    return sorted(shares.items(), key=lambda each: -each[1])


def _waits(found: Facts) -> str:
    flights = found["waits_for"]
    if flights:
        doing = flights[0]["doing"]
        more = f" and {len(flights) - 1} more" if len(flights) > 1 else ""
        return f"for bytes from the service, last for {flights[0]['path']}{more} ({doing})"
    for mount in found["mounts"]:
        if mount["refused"]:
            return "the service refuses the key of the mount"
        if not mount["online"]:
            return "the service is away"
    network = sum(mount["network"] for mount in found["mounts"])
    disk = sum(mount["disk"] for mount in found["mounts"])
    if network > disk:
        return f"{network} of {network + disk} reads had to be fetched; `pictofs warm` fetches ahead of need"
    if disk:
        return "its reads came from the cache directory: that disk, or the serving process, is the bound"
    return "for names and sizes that must be asked of the service first"
