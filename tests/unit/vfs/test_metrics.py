"""status.json in Prometheus' words, and the dashboard that is drawn of them."""

from __future__ import annotations

import json
import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from pictofs.vfs.metrics import metrics
from tests.unit.vfs.bench import Bench

DOCS = Path(__file__).parents[3] / "docs"
DASHBOARD, ALERTS = DOCS / "grafana.json", DOCS / "deploy.md"


def test_every_metric_that_the_dashboard_and_the_alerts_name_exists(bench: Bench) -> None:
    bench.world.status["budget"] = {"limit": 5000, "remaining": 4990, "reset": 100}
    bench.names("org/Cars")
    text = metrics(bench.vfs.report.status(bench.world.status)).decode()
    known = {
        sample
        for family in text_string_to_metric_families(text)
        for sample in (family.name, f"{family.name}_total" if family.type == "counter" else family.name)
    }
    panels = json.loads(DASHBOARD.read_text())["panels"]
    named = {
        name
        for panel in panels
        for target in panel["targets"]
        for name in re.findall(r"\bpictofs_\w+", target["expr"])
    }
    assert len(panels) > 10
    assert named
    alerts = re.findall(r"expr: (.*)", ALERTS.read_text(encoding="utf-8"))
    assert len(alerts) == 4
    named.update(re.findall(r"\bpictofs_\w+", " ".join(alerts)))
    assert named <= known, named - known


def test_the_metrics_say_what_the_status_says(bench: Bench) -> None:
    bench.body(bench.node("org/Cars/images/top.jpg"))
    bench.body(bench.node("org/Cars/images/top.jpg"))
    status = bench.vfs.report.status({"queue": {"demand": 3, "look_ahead": 2, "fill": 1}, "refused": True})
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(metrics(status).decode())
        for sample in family.samples
    }
    assert found["pictofs_reads_total", "disk"] == status["hits"]["disk"] == 1
    assert found["pictofs_reads_total", "network"] == status["hits"]["network"] == 1
    assert ("pictofs_reads_total", "kernel") not in found, "what nobody can count is not 0"
    assert found["pictofs_queue", "demand"] == 3
    assert found["pictofs_key_refused",] == 1
    assert found["pictofs_files_read_total",] == status["read"]["files"] > 0
    assert ("pictofs_budget_remaining",) not in found
