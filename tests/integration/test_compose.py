"""docker-compose.yml: valid where Docker can say so, and its own promises everywhere. Starts no container."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
SERVICES: dict[str, Any] = YAML(typ="safe").load(ROOT / "docker-compose.yml")["services"]


def compose(*arguments: str) -> subprocess.CompletedProcess[str] | None:
    try:
        return subprocess.run(["docker", "compose", *arguments], cwd=ROOT, capture_output=True, text=True)
    except FileNotFoundError:
        return None


def test_docker_compose_accepts_the_file() -> None:
    version = compose("version")
    if version is None or version.returncode:
        pytest.skip("docker compose is not installed")
    checked = compose("config", "--quiet")
    assert checked is not None
    assert checked.returncode == 0, checked.stderr


def test_it_has_a_warehouse_kafka_the_bridge_and_a_sink_database() -> None:
    assert set(SERVICES) == {"warehouse", "kafka", "bridge", "billing"}


def test_ports_are_open_to_this_machine_only() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_files_that_are_mounted_or_built_from_exist() -> None:
    mounted = [volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])]
    files = [file for file in mounted if file.startswith("./")] + [SERVICES["bridge"]["build"]["dockerfile"]]
    assert [file for file in files if not (ROOT / file).is_file()] == []
