"""How many GETs of 60 KB the emulator's storage host serves, and what one costs it.

    python -m tests.benchmarks.emulator_throughput [--seconds 5] [--connections 64] [--bytes 60000]

The load comes from another process: wrk where it is installed, else libcurl's multi interface. `cold` is
10,000 objects for the first time each, `warm` the same ones again. CPU is the emulator's, user and system,
from /proc: it says more than the rate on a machine that does other things. Promised are 3,000 GETs a second.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path
from time import perf_counter
from urllib.parse import urlsplit

from pictofs.emulator.launch import Running, start
from pictofs.emulator.settings import EmulatorSettings

PROMISED_PER_S = 3000
_LUA = """
local paths = {}
for line in io.lines(os.getenv("BENCHMARK_PATHS")) do paths[#paths + 1] = wrk.format("GET", line) end
local at = 0
request = function() at = at % #paths + 1; return paths[at] end
"""


def cpu_s(pid: int) -> float:
    """Seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def signed_urls(emulator: Running) -> list[str]:
    request = urllib.request.Request(
        f"{emulator.base_url}/datasets/Synthetic/download", headers={"X-API-Key": emulator.api_key}
    )
    with urllib.request.urlopen(request) as answer:
        return [item["image_url"] for item in json.load(answer)["data"]["items"]]


def wrk(urls: list[str], connections: int, seconds: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths, script = Path(folder, "paths"), Path(folder, "load.lua")
        paths.write_text("\n".join(f"{u.path}?{u.query}" for u in map(urlsplit, urls)))
        script.write_text(_LUA)
        origin = "{0.scheme}://{0.netloc}".format(urlsplit(urls[0]))
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}", "-s", str(script), origin]
        done = subprocess.run(
            command,
            env={**os.environ, "BENCHMARK_PATHS": str(paths)},
            capture_output=True,
            text=True,
            check=True,
        )
        wrong = re.search(r"Non-2xx or 3xx responses: (\d+)|Socket errors: .*", done.stdout)
        if wrong:
            raise SystemExit(f"wrk: {wrong.group(0)}")


def curl(urls: list[str], connections: int, seconds: float) -> None:
    done = subprocess.run(
        [sys.executable, "-m", __spec__.name, "--load", str(connections), str(seconds)],
        input="\n".join(urls),
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit("the load generator failed")


def load(connections: int, seconds: float) -> None:
    """The load generator's own process: GET the URLs on stdin, round and round, until the time is over."""
    import pycurl

    urls, ended, at = sys.stdin.read().split(), perf_counter() + seconds, 0
    multi = pycurl.CurlMulti()
    multi.setopt(pycurl.M_MAXCONNECTS, connections)

    def begin(handle: pycurl.Curl) -> None:
        nonlocal at
        handle.setopt(pycurl.URL, urls[at % len(urls)])
        at += 1
        multi.add_handle(handle)

    for _ in range(connections):
        handle = pycurl.Curl()
        handle.setopt(pycurl.WRITEFUNCTION, len)
        handle.setopt(pycurl.FAILONERROR, True)
        begin(handle)
    while perf_counter() < ended:
        multi.perform()
        _, done, failed = multi.info_read()
        if failed:
            raise SystemExit(f"{failed[0][2]}")
        for handle in done:
            multi.remove_handle(handle)
            begin(handle)
        multi.select(0.1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--bytes", type=int, default=60_000)
    parser.add_argument("--load", nargs=2, metavar=("CONNECTIONS", "SECONDS"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.load:
        return load(int(asked.load[0]), float(asked.load[1]))
    generator = wrk if shutil.which("wrk") else curl
    settings = EmulatorSettings(images=10_000, image_bytes=asked.bytes, names="plain", rate_limit=0)
    with start(settings) as emulator:
        urls = signed_urls(emulator)
        for name in ("cold", "warm"):
            emulator.reset_counters()
            used, began = cpu_s(emulator.pid), perf_counter()
            generator(urls, asked.connections, 1.0 if name == "cold" else asked.seconds)
            took, used = perf_counter() - began, cpu_s(emulator.pid) - used
            served = emulator.counters(detail=False)["storage"]["requests"]
            figures = {
                "run": name,
                "load": generator.__name__,
                "gets_per_s": round(served / took),
                "cpu_us_per_get": round(used / served * 1e6),
                "load_average": round(os.getloadavg()[0], 1),
                "promised": PROMISED_PER_S,
            }
            print(json.dumps(figures))
    return None


if __name__ == "__main__":
    main()
