"""nats-server killed and started again in the middle of a run: the evaluation goes on."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from bus.messages import Progress
from mlmodelscope import Client, servers


async def test_a_killed_bus_comes_back(mongo_url: str, tmp_path: Path, make_fleet) -> None:
    process, url = servers.start_nats_server(tmp_path / "nats")
    log = tmp_path / "nats" / "nats.log"
    servers.wait_until_open(process, url, log)
    try:
        fleet = make_fleet(url)
        for started in (fleet.start("collector"), fleet.start("coordinator"), fleet.start("node")):
            started.wait_until_ready()
        async with Client(url) as scope:
            evaluation = await scope.evaluate("EfficientNet-Lite0", runs=600, threads=1)
            async for fact in evaluation:
                if isinstance(fact, Progress) and fact.phase == "measure":
                    break
            process.send_signal(signal.SIGKILL)
            process.wait()
            await asyncio.sleep(1)
            process = servers.restart_nats_server(tmp_path / "nats")
            result = await asyncio.wait_for(evaluation.result(), 60)
            timeline = await evaluation.timeline()
        assert result.latency[0].queries == 600
        assert timeline.complete, timeline.missing
        assert len(timeline.at("model")) == 600
        fleet.stop()
    finally:
        servers.stop(process)
