"""The streams, buckets and object store that the system needs, and how much each may hold."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import replace

import nats.js.errors
from nats.js import JetStreamContext, api

from bus import subjects

MIB = 1024 * 1024
DAY_S = 86_400.0
ALIVE_S = 6.0
"""A node that says nothing for so long is dead."""

STREAMS = (
    api.StreamConfig(
        name=subjects.JOBS_STREAM,
        subjects=[subjects.JOBS],
        retention=api.RetentionPolicy.WORK_QUEUE,
        duplicate_window=120,
    ),
    api.StreamConfig(
        name=subjects.FACTS_STREAM,
        subjects=[subjects.FACTS],
        max_bytes=512 * MIB,
        max_age=7 * DAY_S,
        duplicate_window=120,
    ),
    api.StreamConfig(
        name=subjects.SPANS_STREAM,
        subjects=[subjects.SPANS, subjects.METRICS],
        retention=api.RetentionPolicy.WORK_QUEUE,
        discard=api.DiscardPolicy.NEW,
        max_bytes=2048 * MIB,
        duplicate_window=120,
    ),
    api.StreamConfig(
        name=subjects.DEAD_STREAM,
        subjects=[subjects.DEAD],
        max_bytes=32 * MIB,
        max_age=30 * DAY_S,
    ),
)

BUCKETS = (
    # Capabilities are written again every ten minutes, so a machine that went away fades out.
    api.KeyValueConfig(bucket=subjects.NODES_BUCKET, ttl=3600, limit_marker_ttl=60),
    # Without limit_marker_ttl a watcher sees nothing when a key expires.
    api.KeyValueConfig(
        bucket=subjects.ALIVE_BUCKET,
        ttl=ALIVE_S,
        limit_marker_ttl=60,
    ),
    api.KeyValueConfig(bucket=subjects.RAN_BUCKET, ttl=30 * DAY_S),
    # As long as a heartbeat: a node that died holds its device no longer than its jobs.
    api.KeyValueConfig(bucket=subjects.LEASES_BUCKET, ttl=ALIVE_S, limit_marker_ttl=60),
    api.KeyValueConfig(bucket=subjects.JOBS_BUCKET, ttl=7 * DAY_S),
    api.KeyValueConfig(bucket=subjects.EVALUATIONS_BUCKET, ttl=7 * DAY_S),
    api.KeyValueConfig(bucket=subjects.MANIFESTS_BUCKET),
    api.KeyValueConfig(bucket=subjects.DATASETS_BUCKET),
    api.KeyValueConfig(bucket=subjects.USAGE_BUCKET),
)

OBJECT_STORES = (
    api.ObjectStoreConfig(bucket=subjects.OBJECTS, ttl=int(7 * DAY_S)),
    api.ObjectStoreConfig(bucket=subjects.MODEL_OBJECTS),
)


async def ensure(js: JetStreamContext, replicas: int = 1) -> None:
    """Create what is not there. What is there with another configuration is left as it is."""
    steps: list[Awaitable[object]] = [
        _unless_there(js.add_stream(stream.evolve(num_replicas=replicas))) for stream in STREAMS
    ]
    steps += [_unless_there(_bucket(js, config, replicas)) for config in BUCKETS]
    steps += [_unless_there(_objects(js, config, replicas)) for config in OBJECT_STORES]
    await asyncio.gather(*steps)


async def _unless_there(step: Awaitable[object]) -> None:
    try:
        await step
    except nats.js.errors.BadRequestError as exc:
        if exc.err_code != 10058:  # the name is in use, with another configuration
            raise


async def _bucket(js: JetStreamContext, config: api.KeyValueConfig, replicas: int) -> None:
    await js.create_key_value(config, replicas=replicas)


async def _objects(js: JetStreamContext, config: api.ObjectStoreConfig, replicas: int) -> None:
    await js.create_object_store(config.bucket or "", config=replace(config, replicas=replicas))
