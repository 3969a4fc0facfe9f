"""A secured bus: TLS, a key for everyone, and a nats-server that lets each say what is its own."""

from __future__ import annotations

import asyncio
import subprocess
import uuid
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.web_exceptions import NotAppKeyWarning
from msgspec.structs import replace

from bus import subjects
from bus.codec import encode
from bus.connection import Bus
from bus.errors import BusError, ForbiddenError, NotStoredError, RefusedError, UnknownNameError
from bus.identity import Identity, read_identity
from bus.messages import Evaluate, JobFailed, ListModels, Models, NodeAlive, SpansRecorded
from manifests.catalog import shipped
from mlmodelscope import servers
from mlmodelscope.client import Client
from mlmodelscope.secrets import Plan, make_secrets
from web import app
from web.settings import Settings

pytestmark = pytest.mark.timeout(180)
QUICK: dict[str, Any] = {"runs": 3, "warmup": 0, "threads": 1, "framework": "onnxruntime"}


@dataclass(frozen=True)
class Secured:
    """A nats-server that the shipped command configured, and the keys of its users."""

    url: str
    folder: Path

    def credentials(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def client(self, name: str) -> Client:
        return Client(self.url, credentials=self.credentials(name))

    async def bus(self, name: str) -> Bus:
        identity = read_identity(self.credentials(name))
        return await Bus.connect(self.url, name="test", identity=identity)


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("secured")
    port, clients = servers.free_port(), ("ann", "bob", "cleo")
    make_secrets(folder, Plan(clients=clients, nodes=("n1", "n2"), port=port))
    command = [str(servers.find_nats_server()), "-c", str(folder / "nats-secure.conf")]
    url = f"nats://127.0.0.1:{port}"
    with (folder / "nats.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        servers.wait_until_open(server, url, folder / "nats.log")
        yield Secured(url, folder)
    finally:
        servers.stop(server)


@pytest.fixture
def running(secured: Secured, make_fleet: Any, monkeypatch: pytest.MonkeyPatch) -> Secured:
    """The same with a coordinator, a collector and the node n1, as processes."""
    groups = secured.folder / "groups"
    groups.write_text("vision: ann, cleo   # who works on it\n")
    monkeypatch.setenv("MLMS_GROUPS", str(groups))
    fleet = make_fleet(secured.url)
    for role, user in (("collector", "services"), ("coordinator", "services"), ("node", "n1")):
        fleet.start(role, "--credentials", str(secured.credentials(user)))
    for process in fleet.processes:
        process.wait_until_ready()
    return secured


async def test_clients_hear_of_the_services_without_asking_the_bus(running: Secured) -> None:
    async with running.client("ann") as ann:
        described = await ann.system()
    names = [(one.name, one.not_ready) for one in described.services]
    assert names == [("collector", ""), ("coordinator", ""), ("node", "")]
    assert {len(stream.consumers) for stream in described.streams} == {0, 1, 2}


async def test_dead_letters_are_for_services(running: Secured) -> None:
    async with running.client("services") as scope:
        assert await scope.dead_letters.all() == []
    async with running.client("ann") as scope:
        with pytest.raises(ForbiddenError, match="services' credentials: these are ann's"):
            await scope.dead_letters.all()


async def the_web_shows_each_their_own(running: Secured, hidden: str, folder: Path) -> None:
    """A web with credentials of its own, cleo's, and a folder with those of its visitors."""
    tokens = folder / "tokens.txt"
    names = ("ann", "bob", "dora")
    tokens.write_text("".join(f"run {name} {name}{'x' * 20}\n" for name in names))
    tokens.chmod(0o600)
    settings = Settings(port=0, tokens=str(tokens), credentials=str(running.folder))
    paths = {
        f"/api/v1/evaluations/{hidden}": (200, 404, 403),
        f"/api/v1/evaluations/{hidden}/timeline": (200, 404, 403),
        f"/api/v1/evaluations/{hidden}/analyses?what=A1": (200, 404, 403),
        f"/evaluations/{hidden}": (200, 404, 403),
        "/api/v1/models/Secret": (200, 404, 403),
        "/models/Secret": (200, 404, 403),
        "/healthz": (200, 200, 200),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotAppKeyWarning)
        async with running.client("cleo") as own, app.serving(own, settings) as url:
            for at, name in enumerate(names):
                who = {"Authorization": f"Bearer {name}{'x' * 20}"}
                async with aiohttp.ClientSession(url, headers=who) as session:
                    for path, statuses in paths.items():
                        async with session.get(path) as answer:
                            assert answer.status == statuses[at], (name, path)
                            assert at == 0 or "Secret 1" not in await answer.text()
                    async with session.get("/api/v1/evaluations") as answer:
                        assert (hidden in await answer.text()) == (name == "ann")


async def test_work_gets_done_and_what_is_private_stays_so(
    running: Secured, tmp_path: Path
) -> None:
    (digits,) = [
        m for m in shipped() if m.name == "MNIST-CNN" and m.framework.name == "onnxruntime"
    ]
    secret = replace(digits, name="Secret", visibility="private", groups=["vision"])
    async with running.client("ann") as ann, running.client("bob") as bob:
        evaluation = await ann.evaluate("MNIST-CNN", trace="framework", **QUICK)
        assert (await evaluation.result()).state == "finished"
        timeline = await ann.timeline(evaluation.evaluation_id)
        assert timeline.complete and "predict" in timeline.names
        (row,) = await bob.history()
        assert (row.user, row.node_id, row.evaluation_id) == ("ann", "n1", evaluation.evaluation_id)

        await ann.publish(secret)
        hidden = await ann.evaluate("Secret", **QUICK)
        await hidden.result()
        async with running.client("cleo") as cleo:  # in the group
            assert (await cleo.result(hidden.evaluation_id)).model == "Secret"
            await (await cleo.evaluate("Secret", **QUICK)).result()
        assert [row.model for row in await bob.history()] == ["MNIST-CNN"]
        with pytest.raises(NotStoredError):
            await bob.result(hidden.evaluation_id)
        with pytest.raises(NotStoredError):
            await bob.timeline(hidden.evaluation_id)
        with pytest.raises((RefusedError, UnknownNameError), match="Secret"):
            await bob.evaluate("Secret", **QUICK)
        await the_web_shows_each_their_own(running, hidden.evaluation_id, tmp_path)

        slow = await ann.evaluate("MNIST-CNN", **{**QUICK, "runs": 5_000_000})
        with pytest.raises(RefusedError, match="ann's"):
            await bob.cancel(slow.evaluation_id)
        await ann.cancel(slow.evaluation_id)
        with pytest.raises(BusError, match="ann's"):
            await bob.delete(evaluation.evaluation_id)
        await ann.delete(evaluation.evaluation_id)


async def test_nobody_speaks_for_another(running: Secured) -> None:
    async with running.client("ann") as ann:
        evaluation = await ann.evaluate("MNIST-CNN", **QUICK)
        await evaluation.result()
    name = evaluation.evaluation_id
    bob, n2 = await running.bus("bob"), await running.bus("n2")
    try:
        # A client as another user: by the subject, and by what the message says.
        with pytest.raises(ForbiddenError, match="does not let bob"):
            await bob.request(subjects.MODELS, ListModels(user="ann"), Models)
        posing = encode(Evaluate(evaluation_id=uuid.uuid4().hex, user="ann", model="MNIST-CNN"))
        raw = bob._client
        reply = await raw.request(subjects.asked_by(subjects.EVALUATE, "bob"), posing, timeout=5)
        assert b"says it is by" in reply.data

        lie = JobFailed(
            evaluation_id=name, job_id=f"{name}-0", attempt=1, node_id="n1",
            sequence=900, at_ns=1, kind="framework", text="a lie",
        )  # fmt: skip
        told = subjects.fact("n1", "ann", name, "JobFailed")
        for liar in (bob, n2):  # a client as a node; a node as another
            assert await denied(liar, told, encode(lie))
            assert await denied(liar, subjects.key_change(subjects.ALIVE_BUCKET, "n1"), b"x")
            assert await denied(liar, subjects.job("n1"), b"x")
            assert await denied(liar, "$JS.API.STREAM.DELETE.MLMS_FACTS", b"")
            consumer = "$JS.API.CONSUMER.CREATE.MLMS_FACTS.x.mlms.v1.fact.>"
            assert await denied(liar, consumer, b"{}")
        assert not await denied(n2, subjects.key_change(subjects.ALIVE_BUCKET, "n2"), beat("n2"))
        # Under its own name a node may speak, but not as another inside the message.
        await n2._client.publish(subjects.fact("n2", "ann", name, "JobFailed"), encode(lie))
        # What it may read, it could have the server send where it may not speak.
        objects = await n2.objects()
        await objects.put("letter", encode(lie))
        info = await objects._store.get_info("letter")
        body = f'{{"seq":1,"next_by_subj":"$O.{subjects.OBJECTS}.C.{info.nuid}"}}'.encode()
        direct = f"$JS.API.DIRECT.GET.OBJ_{subjects.OBJECTS}"
        await n2._client.publish(direct, body, reply=told)
        await n2._client.flush()
        # A client adds nothing to another's timeline.
        foreign = SpansRecorded(
            evaluation_id=name, source="client", batch=9, levels={"application": 1}, count=1,
            first_start_ns=1, last_end_ns=2, block=b"",
        )  # fmt: skip
        await bob.record(subjects.span("client", "bob", name), foreign)
        async with running.client("ann") as ann:
            await asyncio.sleep(0.5)
            assert (await ann.result(name)).state == "finished"
            assert "a lie" not in str(await ann.stored(name))
            assert (await ann.timeline(name)).complete
        # Nobody hears another's replies, or another's evaluations.
        for heard in ("_INBOX_ann.>", "mlms.v1.fact.>", ">"):
            await bob._client.subscribe(heard)
        await bob._client.flush()
        await asyncio.sleep(0.2)
        assert bob.counters["bus_errors"] >= 3
    finally:
        await bob.close()
        await n2.close()


def beat(node_id: str) -> bytes:
    return encode(NodeAlive(node_id=node_id, incarnation="1"))


async def denied(bus: Bus, subject: str, data: bytes) -> bool:
    """Whether the server refuses that this user publishes there."""
    before = bus.counters["denied"]
    await bus._client.publish(subject, data)
    await bus._client.flush()
    await asyncio.sleep(0.05)
    return bus.counters["denied"] > before


@pytest.mark.parametrize(
    ("identity", "why"),
    [
        (Identity(user="ann"), "lets in only whom it knows"),
        (Identity(user="ann", seed="other"), "does not know the client ann"),
    ],
)
async def test_who_is_not_known_is_told_what_to_do(
    secured: Secured, identity: Identity, why: str, tmp_path: Path
) -> None:
    known = read_identity(secured.credentials("ann"))
    if identity.seed:
        make_secrets(tmp_path, Plan(clients=("ann",)))
        identity = replace(identity, seed=read_identity(tmp_path / "ann.json").seed)
    identity = replace(identity, ca=known.ca)
    with pytest.raises(ForbiddenError, match=why):
        await Bus.connect(secured.url, name="test", identity=identity)


async def test_a_bus_that_another_authority_vouches_for_is_not_trusted(
    secured: Secured, tmp_path: Path
) -> None:
    make_secrets(tmp_path, Plan(clients=("ann",)))
    stranger = read_identity(tmp_path / "ann.json")
    for identity in (stranger, Identity(user="ann")):
        with pytest.raises(ForbiddenError, match="not trusted"):
            await Bus.connect(secured.url, name="test", identity=identity)
