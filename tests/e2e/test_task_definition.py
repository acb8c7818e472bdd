"""The task definition in `docker/ecs` is what it says: valid, a FireLens router, its inline YAML accepted."""

import json
from pathlib import Path

import pytest
from harness.router import logweir

PATHS = sorted((Path(__file__).parents[2] / "docker" / "ecs").glob("*.json"))


@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.name)
def test_a_task_definition_routes_by_logweir(path):
    task = json.loads(path.read_text())
    containers = {c["name"]: c for c in task["containerDefinitions"]}
    [router] = [c for c in containers.values() if "firelensConfiguration" in c]
    assert router["firelensConfiguration"]["type"] == "fluentbit"
    assert router["healthCheck"]["command"] == ["CMD", "/logweir", "health"]
    assert sum(c["essential"] for c in containers.values()) == len(containers)
    assert int(task["memory"]) >= router["memory"] > router["memoryReservation"]
    apps = [c for c in containers.values() if c["logConfiguration"]["logDriver"] == "awsfirelens"]
    assert apps and router not in apps
    environment = {pair["name"]: pair["value"] for pair in router["environment"]}
    assert "LOGWEIR_CONFIG_YAML" in environment
    for command in ("check", "test"):
        answer = logweir(command, env=environment)
        assert answer.returncode == 0, answer.stderr + answer.stdout
    # ECS kills after the stop timeout: the drain has to be over by then.
    assert router["stopTimeout"] <= 120
    assert "drain: {timeout: 50s}" in environment["LOGWEIR_CONFIG_YAML"] and router["stopTimeout"] > 50


def test_there_is_a_sidecar():
    assert "sidecar.json" in [path.name for path in PATHS]
