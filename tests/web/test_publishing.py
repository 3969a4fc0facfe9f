"""Publishing from the web as a program would try it: who may, what is checked, what is not read."""

from __future__ import annotations

import re
from pathlib import Path

import aiohttp
import pytest

from mlmodelscope.client import Client

MANIFEST = """name: {name}
version: 1.0.0
task: image_classification
framework: {{name: onnxruntime}}
inputs: [{{type: image, parameters: {{dimensions: [1, 28, 28], color_mode: L}}}}]
outputs: [{{type: classification}}]
model: {{graph_path: {path}}}
"""


async def word_of(session: aiohttp.ClientSession, page: str = "/publish") -> str:
    async with session.get(page, headers={"Accept": "text/html"}) as answer:
        found = re.search(r'name="word" value="([0-9a-f]+)"', await answer.text())
    assert found
    return found[1]


def form(word: str, text: str, *files: tuple[str, bytes]) -> aiohttp.FormData:
    made = aiohttp.FormData()
    made.add_field("word", word)
    made.add_field("text", text)
    for name, data in files:
        made.add_field("file", data, filename=name)
    return made


@pytest.fixture
async def session(web_url: str):  # type: ignore[no-untyped-def]
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(web_url, cookie_jar=jar) as one:
        yield one


@pytest.mark.parametrize(
    ("text", "line", "field", "said"),
    [
        ("name: x\n  bad: [", 2, "", "not YAML"),
        ("name: x\nname: y\nversion: 1", 2, "name", "written twice"),
        (MANIFEST.format(name="x", path="y.onnx").replace("1.0.0", "one"), 2, "version", "one"),
        ("name: d\nversion: 1.0.0\nformat: mnist", 1, "files.images", "missing"),
    ],
)
async def test_every_fault_has_its_line_and_field(
    session: aiohttp.ClientSession, text: str, line: int, field: str, said: str
) -> None:
    async with session.post("/publish/check", data=text.encode()) as answer:
        told = await answer.json()
    found = [f for f in told["faults"] if said in f["text"]]
    assert found and (found[0]["line"], found[0]["field"]) == (line, field)


async def test_a_model_is_published_with_its_files(
    session: aiohttp.ClientSession, home: Path, samples: Path
) -> None:
    graph = (samples.parent / "mnist-cnn.onnx").read_bytes()
    text = MANIFEST.format(name="Sent along", path="files/net.onnx")
    async with session.post("/publish/check", data=text.encode()) as answer:
        assert (await answer.json())["files"] == [
            {"field": "model.graph_path", "path": "files/net.onnx"}
        ]
    sent = form(await word_of(session), text, ("net.onnx", graph))
    async with session.post("/publish", data=sent, allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (303, "/models/Sent%20along")
    async with Client.local(home, user="ann") as client:
        result = await (
            await client.evaluate("Sent along", inputs=[samples / "seven.png"])
        ).result()
        assert result.state == "finished"
        await client.unpublish("Sent along@1.0.0")


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/etc/hostname", "expected an address"),
        ("../../etc/hostname", "expected an address"),
        ("manifest.yml", "expected an address"),
        ("net.onnx", "not among the files"),
        ("a/../b.onnx", "expected an address"),
    ],
)
async def test_no_file_of_the_server_is_ever_meant(
    session: aiohttp.ClientSession, path: str, said: str
) -> None:
    sent = form(await word_of(session), MANIFEST.format(name="Bad", path=path), ("x.onnx", b"x"))
    async with session.post("/publish", data=sent, headers={"Accept": "text/html"}) as answer:
        text = await answer.text()
        assert answer.status == 422 and said in text and "/tmp" not in text
        assert "name: Bad" in text  # what was typed is not lost


async def test_who_may_publish_and_withdraw(guarded_url: str) -> None:
    for role, wanted in (("look", 403), ("run", 403), ("publish", 200)):
        headers = {"Authorization": f"Bearer {role}{'x' * 20}"}
        async with aiohttp.ClientSession(guarded_url, headers=headers) as session:
            async with session.get("/publish") as answer:
                assert answer.status == wanted
            async with session.post("/publish/check", data=b"name: x") as answer:
                assert answer.status == wanted
            async with session.post("/models/x/withdraw", data={"version": "1.0.0"}) as answer:
                assert answer.status == 403  # of a browser without a page of ours, for everyone


async def test_a_dataset_is_published_and_withdrawn(session: aiohttp.ClientSession) -> None:
    text = "name: Blank/Digits\nversion: 1.0.0\nformat: csv\nfiles: {data: {url: d.csv}}\n"
    text += "parameters: {label_column: '0', pixels: {height: 1, width: 1, first: 1}}\n"
    word = await word_of(session)
    for changed, status in ((text, 303), (text + "labels: [zero]\n", 422), (text, 303)):
        sent = form(word, changed, ("d.csv", b"a,b\n0,1\n"))
        headers = {"Accept": "text/html"}
        async with session.post(
            "/publish", data=sent, headers=headers, allow_redirects=False
        ) as answer:
            assert answer.status == status, await answer.text()
            if status == 422:  # refused: the same version has other content; what was typed stays
                assert "another content" in (said := await answer.text()) and "zero" in said
    withdraw = {"word": word, "version": "1.0.0"}
    where = "/datasets/Blank%2FDigits"
    async with session.post(f"{where}/withdraw", data=withdraw, allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (303, "/datasets")
    async with session.get(where) as answer:
        assert answer.status == 404


async def test_what_is_private_is_in_nobody_elses_list(guarded_url: str) -> None:
    manifest = {"name": "Mine alone", "version": "1.0.0", "framework": {"name": "onnxruntime"}}
    manifest |= {"model": {"graph_path": "https://example.org/x.onnx"}, "visibility": "private"}
    seen = {}
    async with aiohttp.ClientSession(guarded_url) as session:
        for role in ("publish", "run", "publish"):
            session.headers["Authorization"] = f"Bearer {role}{'x' * 20}"
            if "publish" not in seen:
                async with session.post("/api/v1/models", json=manifest) as answer:
                    assert answer.status == 201
            async with session.get("/models", params={"search": "mine alone"}) as answer:
                seen[role] = "/models/Mine%20alone" in await answer.text()
            async with session.get("/models/Mine%20alone") as answer:
                assert answer.status == (200 if role == "publish" else 404)
        assert seen == {"publish": True, "run": False}
        async with session.delete("/api/v1/models/Mine%20alone/versions/1.0.0") as answer:
            assert answer.status == 200
