"""The store on a real MongoDB: what is written twice is there once, what is deleted stays away."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from pymongo.errors import BulkWriteError, OperationFailure

from bus.errors import StoreError
from collector.store import Store, StoreAwayError, mapped


@pytest.fixture
async def store(mongo_url: str, database: str) -> AsyncIterator[Store]:
    one = Store(mongo_url, database)
    await one.prepare()
    yield one
    await one.close()


async def test_writing_twice_is_harmless(store: Store) -> None:
    documents = [{"_id": f"j/1/{i}", "evaluation_id": "e", "data": b"x"} for i in range(3)]
    assert await store.insert("facts", documents[:2]) == set()
    assert await store.insert("facts", documents) == {"j/1/0", "j/1/1"}
    assert await store.count("facts", {"evaluation_id": "e"}) == 3
    await store.prepare()


async def test_a_timeline_is_replaced_whole(store: Store) -> None:
    for assembly, size in (("a", 3), ("b", 2)):
        chunks = [
            {"_id": f"{assembly}/{i}", "evaluation_id": "e", "assembly": assembly, "data": b""}
            for i in range(size)
        ]
        head = {"_id": "e", "assembly": assembly, "chunks": size}
        await store.replace_timeline(head, chunks)
    left = await store.find("chunks", {"evaluation_id": "e"})
    assert sorted(chunk["_id"] for chunk in left) == ["b/0", "b/1"]
    assert await store.one("timelines", {"_id": "e"}) == head


async def test_what_is_forgotten_is_gone_and_stays_so(store: Store) -> None:
    for name in ("old", "new"):
        at_ns = {"old": 10, "new": 30}[name]
        await store.insert("evaluations", [{"_id": name, "at_ns": at_ns}])
        for collection in ("facts", "spans", "metrics", "chunks"):
            await store.insert(collection, [{"_id": f"{name}/1", "evaluation_id": name}])
    for name in await store.expired(before_ns=20):
        await store.forget(name)
    for collection in ("facts", "spans", "metrics", "chunks"):
        assert await store.count(collection, {}) == 1
    assert await store.beginning("", 9) == ["new"]
    assert await store.forgotten(["old", "new"]) == {"old"}


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ({}, "edcba"),
        ({"model": "RESNET"}, "cba"),
        ({"model": "resnet", "framework": "Torch"}, "b"),
        ({"model": "res"}, ""),
        ({"model": "resnet.*"}, ""),
        ({"dataset": "*"}, "db"),
        ({"dataset": "mnist"}, "b"),
        ({"at_ns": {"$gte": 2, "$lt": 4}}, "cb"),
    ],
)
async def test_names_of_the_history_are_whole_and_of_any_case(
    store: Store, where: dict[str, object], found: str
) -> None:
    models = ("ResNet", "resnet", "RESNET", "VGG", "VGG")
    rows = [
        {"_id": name, "at_ns": at_ns, "model": model, "framework": f, "dataset": data}
        for at_ns, (name, model, f, data) in enumerate(
            zip(
                "abcde",
                models,
                ("ort", "torch", "ort", "", "x"),
                ("", "mnist", "", "b", ""),
                strict=True,
            ),
            1,
        )
    ]
    await store.insert("evaluations", rows)
    assert "".join(row["_id"] for row in await store.history(where, 9)) == found


async def test_a_refused_write_is_an_error_of_ours(store: Store) -> None:
    with pytest.raises(StoreError, match="refused"):
        await store.insert("facts", [{"_id": "a", "number": 2**70}])
    with pytest.raises(StoreError, match="refused"):
        await store.update("facts", [({"_id": "a"}, {"$nonsense": {}}, True)])


async def test_no_database_there(unused_tcp_port: int) -> None:
    away = Store(f"mongodb://user:secret@127.0.0.1:{unused_tcp_port}", "x")
    with pytest.raises(StoreAwayError, match="is mongod running there") as caught:
        await away.count("facts", {})
    assert "secret" not in str(caught.value)
    await away.close()


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (14031, StoreAwayError),  # OutOfDiskSpace
        (189, StoreAwayError),  # PrimarySteppedDown
        (121, StoreError),  # DocumentValidationFailure
    ],
)
def test_what_passes_is_told_from_what_stays(code: int, kind: type[StoreError]) -> None:
    """MongoDB's own codes: src/mongo/base/error_codes.yml."""
    bulk = {"writeErrors": [{"code": code, "errmsg": "no"}], "writeConcernErrors": []}
    for exc in (OperationFailure("no", code), BulkWriteError(bulk)):
        with pytest.raises(StoreError) as caught, mapped("mongodb://h"):
            raise exc
        assert type(caught.value) is kind
