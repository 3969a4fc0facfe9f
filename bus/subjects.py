"""Every subject, stream, bucket and consumer name, and nothing else knows one."""

from __future__ import annotations

import re

ROOT = "mlms.v1"
REQUESTS = f"{ROOT}.request."

# Requests, answered by any one of the coordinators (queue group) …
EVALUATE = f"{ROOT}.request.evaluate"
CANCEL = f"{ROOT}.request.cancel"
FITS = f"{ROOT}.request.fits"
NODES = f"{ROOT}.request.nodes"
QUEUE = f"{ROOT}.request.queue"
SYSTEM = f"{ROOT}.request.system"
MODELS = f"{ROOT}.request.models"
DATASETS = f"{ROOT}.request.datasets"
PUBLISH = f"{ROOT}.request.publish"
UNPUBLISH = f"{ROOT}.request.unpublish"
OPEN = f"{ROOT}.request.open"
TOLD = f"{ROOT}.request.told"
# … or of the collectors.
HISTORY = f"{ROOT}.request.history"
EVALUATION = f"{ROOT}.request.evaluation"
TIMELINE = f"{ROOT}.request.timeline"
DELETE = f"{ROOT}.request.delete"
USAGE = f"{ROOT}.request.usage"
CLOCK = f"{ROOT}.request.clock"
"""A request goes to one of these with its asker behind it (`asked_by`): nats-server lets nobody
publish behind another's name, so the name that stands there is true."""

IMPORTED = "imported"
"""Who tells the facts of what was measured elsewhere."""

# Streams: name -> the subjects that it keeps.
JOBS_STREAM, JOBS = "MLMS_JOBS", f"{ROOT}.job.>"
FACTS_STREAM, FACTS = "MLMS_FACTS", f"{ROOT}.fact.>"
SPANS_STREAM, SPANS, METRICS = "MLMS_SPANS", f"{ROOT}.span.>", f"{ROOT}.metric.>"
DEAD_STREAM, DEAD = "MLMS_DEAD", f"{ROOT}.dead.>"

# Key-value buckets: a put is a publish on $KV.<bucket>.<key>.
NODES_BUCKET = "mlms_nodes"
ALIVE_BUCKET = "mlms_alive"
RAN_BUCKET = "mlms_ran"
LEASES_BUCKET = "mlms_leases"
JOBS_BUCKET = "mlms_jobs"
EVALUATIONS_BUCKET = "mlms_evaluations"
MANIFESTS_BUCKET = "mlms_manifests"
DATASETS_BUCKET = "mlms_datasets"
USAGE_BUCKET = "mlms_usage"
# Object stores: inputs, which expire, and the files of models, which do not.
OBJECTS = "mlms_objects"
MODEL_OBJECTS = "mlms_model_objects"

# Durable consumers.
COORDINATOR_FACTS = "coordinator"
COLLECTOR_FACTS = "collector-facts"
COLLECTOR_SPANS = "collector-spans"

_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")


def token(text: str) -> str:
    """`text` as one token of a subject or key: letters, digits, `_` and `-`; <…> is a blank."""
    if text.startswith("<"):
        return text  # the documents name subjects with blanks to fill in
    return _UNSAFE.sub("-", text).strip("-")[:64] or "x"


def job(node_id: str) -> str:
    """The work queue of one node."""
    return f"{ROOT}.job.{node_id}"


def job_consumer(node_id: str) -> str:
    """The durable consumer of one node's queue."""
    return f"node-{node_id}"


def open_on(node_id: str) -> str:
    """Where one node is asked to hold a model open."""
    return f"{ROOT}.node.{node_id}.open"


def predict_on(node_id: str) -> str:
    """Where one node is asked what an open model predicts."""
    return f"{ROOT}.node.{node_id}.predict"


def close_on(node_id: str) -> str:
    """Where one node is told that a model is needed no longer."""
    return f"{ROOT}.node.{node_id}.close"


def ceilings_on(node_id: str) -> str:
    """Where one node is asked what its machine can do at most."""
    return f"{ROOT}.node.{node_id}.ceilings"


def image_on(node_id: str) -> str:
    """Where one node is asked what is in a container image."""
    return f"{ROOT}.node.{node_id}.image"


def fact(sender: str, user: str, evaluation_id: str, kind: str) -> str:
    """Where a fact of one evaluation is told; the sender is a node's id or `coordinator`."""
    return f"{ROOT}.fact.{sender}.{token(user)}.{evaluation_id}.{kind}"


def asked_by(subject: str, user: str) -> str:
    """Where a user asks what is answered on `subject`; `*`: where everyone does."""
    return f"{subject}.{user}"


def asker(subject: str) -> str:
    """Who asked on this subject."""
    return subject.rsplit(".", 1)[-1]


def facts_of(evaluation_id: str, user: str = "*") -> str:
    """Every fact of one evaluation, whoever tells it."""
    return f"{ROOT}.fact.*.{user}.{evaluation_id}.*"


def facts_of_kind(kind: str) -> str:
    """Every fact of one kind."""
    return f"{ROOT}.fact.*.*.*.{kind}"


def span(sender: str, user: str, evaluation_id: str) -> str:
    """Where batches of spans go; the sender is a node's id, `client` or `coordinator`."""
    return f"{ROOT}.span.{sender}.{token(user)}.{evaluation_id}"


def metric(sender: str, user: str, evaluation_id: str) -> str:
    """Where samples of metrics go."""
    return f"{ROOT}.metric.{sender}.{token(user)}.{evaluation_id}"


def dead(subject: str) -> str:
    """Where a message goes that could not be read, for people to look at."""
    return f"{ROOT}.dead.{subject}"


def object_store(name: str) -> str:
    """Which store keeps the object behind repo://<name>."""
    return MODEL_OBJECTS if name.startswith("models/") else OBJECTS


def key_change(bucket: str, key: str) -> str:
    """The subject on which a change of one key can be heard."""
    return f"$KV.{bucket}.{key}"
