"""Who says what to whom, on which subject, carried by what: the documents are made from it."""

from __future__ import annotations

from typing import NamedTuple

from bus import subjects as s
from bus.messages import (
    JOB_FACTS,
    Cancel,
    Close,
    Datasets,
    Delete,
    DescribeImage,
    DescribeSystem,
    DeviceHeld,
    Evaluate,
    EvaluationFailed,
    EvaluationFinished,
    EvaluationRecord,
    Fits,
    GetEvaluation,
    GetTimeline,
    GetUsage,
    Job,
    JobRecord,
    ListDatasets,
    ListFacts,
    ListHistory,
    ListModels,
    ListNodes,
    ListQueue,
    MeasureCeilings,
    Message,
    MetricsRecorded,
    Models,
    NodeAlive,
    NodeAnnounced,
    NodeRan,
    Open,
    OpenHere,
    Predict,
    Publish,
    ReadClock,
    SpansRecorded,
    Unpublish,
    Usage,
)


class Route(NamedTuple):
    """One way that messages travel. `answers` are the replies to a request."""

    says: tuple[type[Message], ...]
    sender: str
    receiver: str
    subject: str
    carrier: str
    answers: tuple[str, ...] = ()


REQUEST = "NATS request/reply, queue group {}"
BUCKET = "key-value bucket {}"
STREAM = "JetStream stream {}"
TO_NODE = "NATS request/reply"


def _asked(kind: type[Message], subject: str, of: str, *answers: str) -> Route:
    place = s.asked_by(subject, "<user>")
    return Route((kind,), "client", of, place, REQUEST.format(of), answers)


def _told(kind: type[Message], sender: str, subject: str, *answers: str) -> Route:
    return Route((kind,), sender, "one node", subject, TO_NODE, answers)


def _kept(kind: type[Message], sender: str, bucket: str, key: str, receiver: str) -> Route:
    return Route((kind,), sender, receiver, s.key_change(bucket, key), BUCKET.format(bucket))


ROUTES: tuple[Route, ...] = (
    _kept(NodeAnnounced, "node", s.NODES_BUCKET, "<node>", "coordinator"),
    _kept(NodeAlive, "node", s.ALIVE_BUCKET, "<node>", "coordinator"),
    _kept(NodeRan, "node", s.RAN_BUCKET, "<node>", "coordinator, node"),
    _kept(Models, "coordinator", s.MANIFESTS_BUCKET, "<name>.<version>.<framework>", "coordinator"),
    _kept(Datasets, "coordinator", s.DATASETS_BUCKET, "<name>.<version>", "coordinator"),
    _asked(Evaluate, s.EVALUATE, "coordinator", "Accepted", "Refused"),
    _asked(Cancel, s.CANCEL, "coordinator", "Done", "Refused"),
    _asked(ListFacts, s.TOLD, "coordinator", "Facts"),
    _asked(Fits, s.FITS, "coordinator", "Fitting", "Refused"),
    _asked(ListNodes, s.NODES, "coordinator", "Nodes"),
    _asked(ListQueue, s.QUEUE, "coordinator", "Queue"),
    _asked(DescribeSystem, s.SYSTEM, "coordinator", "SystemDescribed"),
    _asked(ListModels, s.MODELS, "coordinator", "Models"),
    _asked(ListDatasets, s.DATASETS, "coordinator", "Datasets"),
    _asked(Publish, s.PUBLISH, "coordinator", "Done", "Refused"),
    _asked(Unpublish, s.UNPUBLISH, "coordinator", "Done", "Refused"),
    _kept(EvaluationRecord, "coordinator", s.EVALUATIONS_BUCKET, "<evaluation_id>", "coordinator"),
    _kept(JobRecord, "coordinator, node", s.JOBS_BUCKET, "<job_id>", "coordinator, node"),
    _kept(DeviceHeld, "node", s.LEASES_BUCKET, "<machine>.<device>", "node"),
    Route((Job,), "coordinator", "one node", s.job("<node>"), STREAM.format(s.JOBS_STREAM)),
    Route(
        JOB_FACTS,
        "node, client (of what it imports)",
        "coordinator, collector, client",
        s.fact("<node>", "<user>", "<evaluation_id>", "<type>"),
        STREAM.format(s.FACTS_STREAM),
    ),
    Route(
        (EvaluationFinished, EvaluationFailed),
        "coordinator, client (of what it imports)",
        "collector, client",
        s.fact("coordinator", "<user>", "<evaluation_id>", "<type>"),
        STREAM.format(s.FACTS_STREAM),
    ),
    Route(
        (SpansRecorded,),
        "node, client, coordinator",
        "collector",
        s.span("<sender>", "<user>", "<evaluation_id>"),
        STREAM.format(s.SPANS_STREAM),
    ),
    Route(
        (MetricsRecorded,),
        "node, client",
        "collector",
        s.metric("<node>", "<user>", "<evaluation_id>"),
        STREAM.format(s.SPANS_STREAM),
    ),
    _asked(ListHistory, s.HISTORY, "collector", "History"),
    _asked(GetEvaluation, s.EVALUATION, "collector", "Evaluation", "NotFound"),
    _asked(GetTimeline, s.TIMELINE, "collector", "TimelineChunk", "NotFound"),
    _asked(Delete, s.DELETE, "collector", "Done", "NotFound"),
    _asked(GetUsage, s.USAGE, "collector", "Usage"),
    _kept(Usage, "collector", s.USAGE_BUCKET, "<user>", "coordinator, collector"),
    _asked(ReadClock, s.CLOCK, "collector", "ClockRead"),
    _asked(Open, s.OPEN, "coordinator", "Opened", "Refused"),
    _told(OpenHere, "coordinator", s.open_on("<node>"), "Opened", "Refused"),
    _told(Predict, "client", s.predict_on("<node>"), "Predicted", "PredictFailed"),
    _told(Close, "client", s.close_on("<node>"), "Done"),
    _told(MeasureCeilings, "client", s.ceilings_on("<node>"), "CeilingsMeasured", "Refused"),
    _told(DescribeImage, "client", s.image_on("<node>"), "ImageDescribed", "Refused"),
)
"""In the order in which one evaluation meets them; then a model that is held warm."""
