"""`mlmodelscope secrets`: what it makes, what it refuses, and that nats-server reads it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bus.errors import InputError
from bus.groups import Groups
from bus.identity import Identity, needs_node, read_identity
from mlmodelscope import servers
from mlmodelscope.cli import app
from mlmodelscope.client import Client
from mlmodelscope.secrets import Plan, make_secrets


def run(*words: str) -> int:
    try:
        return int(app(list(words)) or 0)
    except SystemExit as end:
        return int(end.code or 0)


def test_the_server_reads_what_is_made_and_keys_stay(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    assert run("secrets", str(folder), "--client", "ann, bob", "--node", "n1") == 0
    config, users = folder / "nats-secure.conf", folder / "users.conf"
    check = [str(servers.find_nats_server()), "-t", "-c", str(config)]
    assert subprocess.run(check, capture_output=True).returncode == 0
    seeds = {path.name: read_identity(path).seed for path in folder.glob("*.json")}
    assert {*seeds} == {"services.json", "ann.json", "bob.json", "n1.json"}
    assert all(seed.startswith("SU") and seed not in users.read_text() for seed in seeds.values())
    for name in ("ca.key", "server.key", "ann.json"):
        assert (folder / name).stat().st_mode & 0o077 == 0

    assert run("secrets", str(folder), "--client", "cleo") == 0
    again = {path.name: read_identity(path).seed for path in folder.glob("*.json")}
    assert again == seeds | {"cleo.json": again["cleo.json"]}
    assert users.read_text().count("nkey:") == 5


@pytest.mark.parametrize(
    ("plan", "why"),
    [
        (Plan(clients=("a b",)), "letters, digits"),
        (Plan(clients=("*",)), "letters, digits"),
        (Plan(clients=("ann",), nodes=("ann",)), "named twice"),
        (Plan(nodes=("coordinator",)), "uses itself"),
        (Plan(hosts=("ö",)), "expected a name such as bus.example.org, or an address"),
        (Plan(hosts=("ok", "b@d..")), "host 'b@d..'"),
        (Plan(hosts=("a..b",)), "host 'a..b'"),
        (Plan(hosts=()), "at least one name"),
    ],
)
def test_what_cannot_be_made_is_named(plan: Plan, why: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=why):
        make_secrets(tmp_path, plan)


def test_a_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/secrets")):
        with pytest.raises(InputError, match=f"{folder.name}.*expected a folder"):
            make_secrets(folder, Plan(clients=("ann",)))


def test_credentials_of_somebody_else(tmp_path: Path) -> None:
    make_secrets(tmp_path, Plan(clients=("ann",), nodes=("n1",)))
    with pytest.raises(InputError, match=r"ann's, and the user is bob"):
        Client("nats://127.0.0.1:1", user="bob", credentials=tmp_path / "ann.json")
    with pytest.raises(InputError, match="belongs to a node"):
        Client("nats://127.0.0.1:1", credentials=tmp_path / "n1.json")
    node = read_identity(tmp_path / "n1.json")
    assert needs_node(node, "") == needs_node(node, "n1") == "n1"
    with pytest.raises(InputError, match="of node n1, and the node is n2"):
        needs_node(node, "n2")
    with pytest.raises(InputError, match="not a node's"):
        needs_node(read_identity(tmp_path / "ann.json"), "")
    assert needs_node(Identity(), "n2") == "n2"


@pytest.mark.parametrize("content", [b"", b"{}x", b'{"user": "a b"}', b'{"role": "king"}'])
def test_a_file_that_is_no_credentials(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    with pytest.raises(InputError, match="x.json"):
        read_identity(path)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"x\.json.*mlmodelscope secrets"):
        read_identity(path)


def test_groups(tmp_path: Path) -> None:
    path = tmp_path / "groups"
    path.write_text("# who\nvision: ann, bob\nspeech: bob  # too\n\n")
    groups = Groups(str(path))
    assert (groups.of("bob"), groups.of("ann")) == ({"vision", "speech"}, {"vision"})
    assert groups.of("eve") == Groups().of("ann") == frozenset()
    path.write_text("vision: cleo, dora\n")
    assert (groups.of("cleo"), groups.of("bob")) == ({"vision"}, frozenset())
    path.write_text("nonsense and more\n")
    assert groups.of("cleo") == {"vision"}  # what was known stays, until the file is mended
    with pytest.raises(InputError, match=r"groups:1: expected `group: user, user`"):
        Groups(str(path))
