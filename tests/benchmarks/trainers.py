"""Real trainers on exports, over plain paths of a mount: Ultralytics on YOLO, torchvision on COCO.

    python -m venv VENV; VENV/bin/pip install torch==2.14.1 torchvision==0.29.1 ultralytics pycocotools
    python -m tests.benchmarks trainers --python VENV/bin/python [--images 32] [--epochs 2]

The emulator orders two exports with images of drawn scenes; each loader gets the opened folder of one, as it
lies on a mount with an empty cache, in a process of its own that imports nothing of pictofs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
from pathlib import Path

from pictofs.emulator.launch import start
from pictofs.emulator.settings import EmulatorSettings
from tests.benchmarks.fetch import Mounted

DATASET = "Street Scenes"
LIMIT_S = 1800.0

ULTRALYTICS = """
import json, sys, ultralytics
folder, epochs, out = sys.argv[1:]
model = ultralytics.YOLO("yolov8n.yaml")          # weights from nothing: no download
result = model.train(data=f"{folder}/data.yaml", epochs=int(epochs), imgsz=320, batch=8, workers=2,
                     device="cpu", project=out, name="run", plots=False, verbose=False, amp=False)
seen = model.trainer.train_loader.dataset
loss = model.trainer.tloss
loss = [float(each) for each in (loss.values() if isinstance(loss, dict) else loss)]
print(json.dumps({"loader": f"ultralytics {ultralytics.__version__}", "images": len(seen),
                  "boxes": sum(len(label["cls"]) for label in seen.labels),
                  "steps": len(model.trainer.train_loader) * int(epochs),
                  "loss": [round(each, 3) for each in loss]}))
"""

TORCHVISION = """
import json, sys, torch, torchvision
from torchvision.transforms import functional
folder, epochs, _ = sys.argv[1:]
def tensors(image, target):
    return functional.to_tensor(image), [label["bbox"] for label in target]
images, labels = f"{folder}/images", f"{folder}/annotations.json"
data = torchvision.datasets.CocoDetection(images, labels, transforms=tensors)
loader = torch.utils.data.DataLoader(data, batch_size=8, shuffle=True, num_workers=2, collate_fn=list)
body = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 5, 4), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1),
                           torch.nn.Flatten(), torch.nn.Linear(8, 1))
optimizer, losses, boxes, steps = torch.optim.SGD(body.parameters(), 0.01), [], 0, 0
for epoch in range(int(epochs)):
    for batch in loader:
        counts = torch.tensor([[float(len(labels))] for _, labels in batch])
        loss = torch.nn.functional.mse_loss(body(torch.stack([image for image, _ in batch])), counts)
        optimizer.zero_grad(); loss.backward(); optimizer.step()
        losses.append(float(loss)); steps += 1
        boxes += int(counts.sum()) if epoch == 0 else 0
print(json.dumps({"loader": f"torchvision {torchvision.__version__} CocoDetection", "images": len(data),
                  "boxes": boxes, "steps": steps, "loss": [round(losses[0], 3), round(losses[-1], 3)]}))
"""


def trained(python: Path, script: str, folder: Path, epochs: int) -> dict[str, object]:
    """What the script says at its end."""
    with tempfile.TemporaryDirectory(prefix="pictofs-bench-") as out:
        ran = subprocess.run(
            [str(python), "-c", script, str(folder), str(epochs), out],
            env={**os.environ, "YOLO_CONFIG_DIR": out, "YOLO_OFFLINE": "true", "MPLBACKEND": "agg"},
            cwd=out, capture_output=True, text=True, timeout=LIMIT_S, check=False,
        )  # fmt: skip
    if ran.returncode:
        raise SystemExit(f"the trainer failed: {ran.stderr[-3000:]}")
    said: dict[str, object] = json.loads(ran.stdout.strip().splitlines()[-1])
    return said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--python", type=Path, required=True, help="one that has the trainers")
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=2)
    asked = parser.parse_args()
    with start(EmulatorSettings(generate=asked.images, rate_limit=0)) as emulator:
        for form in ("yolo", "coco"):
            emulator.mutate("add_export", dataset=DATASET, name=form, format=form, include_images=True)
        for form, script in (("yolo", ULTRALYTICS), ("coco", TORCHVISION)):
            with Mounted(emulator, {}) as mount:
                folder = mount.mountpoint / "org" / DATASET / "exports" / form
                emulator.reset_counters()
                said = trained(asked.python, script, folder, asked.epochs)
                counters = emulator.counters(detail=False)
            served = {"api": counters["api"]["requests"], "storage": counters["storage"]["requests"]}
            print(form, json.dumps({**said, **served}), flush=True)


if __name__ == "__main__":
    main()
