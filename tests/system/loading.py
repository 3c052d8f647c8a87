"""A PyTorch DataLoader over plain paths: `python loading.py fork|spawn`, by itself in another process.

Standard input: the JSON object {path: SHA-1}, in one line; its end ends the program after the epoch. Standard
output: a JSON line for each epoch, `{"began", "ended", "read", "failed": [[time, errno], …], "workers"}`; an
errno of 0 is a wrong byte.
"""

from __future__ import annotations

import hashlib
import json
import os
import select
import sys
import time

import torch
from torch.utils.data import DataLoader, Dataset

WORKERS = 2


class Pictures(Dataset):  # type: ignore[type-arg]
    """What is read is checked; what cannot be read is told, as a trainer would that goes on without it."""

    def __init__(self, hashes: dict[str, str]) -> None:
        self._files = sorted(hashes.items())

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, number: int) -> torch.Tensor:
        path, expected = self._files[number]
        fault = -1
        try:
            with open(path, "rb") as file:
                body = bytearray(file.read())
        except OSError as error:
            fault = error.errno or 0
        else:
            picture = torch.frombuffer(body, dtype=torch.uint8)
            if hashlib.sha1(picture.numpy().tobytes()).hexdigest() != expected:
                fault = 0
        return torch.tensor([time.time(), fault, os.getpid()], dtype=torch.float64)


def main() -> None:
    """Epochs until nobody wants more."""
    hashes = json.loads(sys.stdin.readline())
    loader = DataLoader(
        Pictures(hashes), batch_size=4, shuffle=True, num_workers=WORKERS, persistent_workers=True,
        multiprocessing_context=sys.argv[1],
    )  # fmt: skip
    while not select.select([sys.stdin], [], [], 0.0)[0]:
        began = time.time()
        rows = [row for batch in loader for row in batch.tolist()]
        failed = [[when, int(fault)] for when, fault, _ in rows if fault >= 0]
        workers = sorted({int(pid) for _, _, pid in rows})
        word = {"began": began, "ended": time.time(), "read": len(rows), "failed": failed, "workers": workers}
        print(json.dumps(word), flush=True)


if __name__ == "__main__":
    main()
