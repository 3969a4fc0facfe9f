"""REST: evaluations: asked for, listed, told of as they run, stopped, forgotten; and uploads."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from analysis.layers import LayerRow
from analysis.summary import Result
from bus.errors import NotStoredError
from bus.messages import Done, History, ListHistory, Prediction
from mlmodelscope import completeness
from web import asking, events, stored
from web.bodies import (
    Begun,
    EvaluationId,
    HistoryQuery,
    NewEvaluation,
    PageQuery,
    SpanChunk,
    TimelineQuery,
    UploadQuery,
)
from web.operations import Ask, Operation
from web.uploads import BYTES, Upload

HERE = "/api/v1/evaluations"
ONE = {"evaluation": {"type": "string", "pattern": EvaluationId}}
WHOLE = {"evaluation": {"type": "string", "pattern": "^[0-9a-f]{32}$"}}


async def begin_evaluation(ask: Ask) -> Begun:
    """Have a model evaluated."""
    asked: NewEvaluation = ask.body
    evaluation = await asking.begin(ask.state, asked)
    accepted, name = evaluation.accepted, evaluation.evaluation_id
    assert accepted is not None
    return Begun(
        evaluation_id=name,
        model=accepted.model,
        model_version=accepted.model_version,
        nodes=[job.node_id for job in accepted.jobs],
        url=f"{HERE}/{name}",
        facts_url=f"{HERE}/{name}/facts",
        page_url=f"/evaluations/{name}",
    )


async def list_evaluations(ask: Ask) -> History:
    """Past evaluations."""
    query: HistoryQuery = ask.query
    return await ask.state.client.history_page(
        ListHistory(
            model=query.model,
            framework=query.framework,
            node=query.node,
            user=query.user,
            state=query.state,
            dataset=query.dataset,
            since_ns=query.since_ns,
            before_ns=query.before_ns,
            limit=query.limit,
        )
    )


async def get_evaluation(ask: Ask) -> Result:
    """What it came to, or has so far."""
    return (await stored.known(ask.state.client, ask.named("evaluation"))).result


async def follow_facts(ask: Ask) -> web.StreamResponse:
    """Its facts as they are told."""
    return await events.tell(ask.state, ask.request, ask.named("evaluation"))


async def list_predictions(ask: Ask) -> list[Prediction]:
    """What the model says."""
    query: PageQuery = ask.query
    found = await stored.known(ask.state.client, ask.named("evaluation"))
    return found.result.predictions[query.first : query.first + query.limit]


async def list_layers(ask: Ask) -> list[LayerRow]:
    """Where the time goes."""
    query: PageQuery = ask.query
    rows = await stored.layers(ask.state.client, ask.named("evaluation"))
    return rows[query.first : query.first + query.limit]


async def get_timeline(ask: Ask) -> web.StreamResponse:
    """Its timeline as a file."""
    query: TimelineQuery = ask.query
    file = await stored.timeline_file(ask.state.client, ask.named("evaluation"), query.format)
    first = await anext(file.pieces, b"")  # what goes wrong at its beginning has a status yet
    headers = {"Content-Disposition": f'attachment; filename="{file.name}"'}
    response = web.StreamResponse(headers=headers)
    response.content_type = BYTES
    await response.prepare(ask.request)
    await response.write(first)
    async for piece in file.pieces:
        await response.write(piece)
    return response


async def describe_timeline(ask: Ask) -> dict[str, Any]:
    """What its timeline says of itself."""
    return completeness.account(await ask.state.client.timeline_head(ask.named("evaluation")))


async def get_spans(ask: Ask) -> SpanChunk:
    """One chunk of its spans."""
    return await stored.chunk(ask.state.client, ask.named("evaluation"), int(ask.named("chunk")))


async def cancel_evaluation(ask: Ask) -> Done:
    """Stop one's own; who administers, also another's."""
    client, name = ask.state.client, ask.named("evaluation")
    if ask.request["visitor"].may("administer"):
        try:
            client = await ask.state.clients.named(await client.owner(name) or client.user)
        except NotStoredError:
            pass  # it began a moment ago: then it is one's own, or refused
    await client.cancel(name)
    return Done(text="it is being stopped")


async def delete_evaluation(ask: Ask) -> Done:
    """Forget it, in the name of whose it is: the collector lets nobody else."""
    client, name = ask.state.client, ask.named("evaluation")
    owner = await client.owner(name) or client.user
    await (await ask.state.clients.named(owner)).delete(name)
    return Done(text="forgotten")


async def send_upload(ask: Ask) -> Upload:
    """A file, as the body of the request."""
    query: UploadQuery = ask.query
    return await ask.state.uploads.take(query.name, ask.request.content.iter_chunked(1 << 16))


async def get_upload(ask: Ask) -> web.StreamResponse:
    """A file that was sent."""
    upload = ask.state.uploads.find(ask.named("upload"))
    kind = "attachment" if upload.media == BYTES else "inline"
    headers = {
        "Content-Disposition": kind,
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Content-Type": upload.media,
    }
    return web.FileResponse(ask.state.uploads.content(upload.upload), headers=headers)


def _of_one(method: str, path: str, handler, summary: str, **more) -> Operation:  # type: ignore[no-untyped-def]
    """An operation on one evaluation."""
    whole = more.pop("whole", False)
    return Operation(
        method,
        f"{HERE}/{{evaluation}}{path}",
        handler,
        summary,
        errors=(404, *more.pop("errors", ())),
        tag="evaluations",
        parameters={**(WHOLE if whole else ONE), **more.pop("parameters", {})},
        **more,
    )


OPERATIONS = (
    Operation(
        "POST",
        HERE,
        begin_evaluation,
        "Have a model evaluated",
        role="run",
        body=NewEvaluation,
        answer=Begun,
        status=202,
        errors=(404, 409),
        tag="evaluations",
    ),
    Operation(
        "GET",
        HERE,
        list_evaluations,
        "Past evaluations, newest first, in pages",
        query=HistoryQuery,
        answer=History,
        tag="evaluations",
    ),
    _of_one("GET", "", get_evaluation, "What it came to, or has so far", answer=Result),
    _of_one(
        "DELETE",
        "",
        delete_evaluation,
        "Forget it and everything stored of it",
        role="administer",
        answer=Done,
        whole=True,
    ),
    _of_one(
        "POST",
        "/cancel",
        cancel_evaluation,
        "Stop it",
        role="run",
        answer=Done,
        whole=True,
    ),
    _of_one(
        "GET",
        "/facts",
        follow_facts,
        "Its facts as server-sent events, as they are told, to its end",
        media=(events.MEDIA,),
        whole=True,
    ),
    _of_one(
        "GET",
        "/predictions",
        list_predictions,
        "What the model says of each input",
        query=PageQuery,
        answer=list[Prediction],
    ),
    _of_one(
        "GET",
        "/layers",
        list_layers,
        "The layers, the slowest first (none without a trace at framework level or below)",
        query=PageQuery,
        answer=list[LayerRow],
    ),
    _of_one(
        "GET",
        "/timeline",
        get_timeline,
        "Its timeline as a file: chrome, perfetto, otlp-json, csv, …",
        query=TimelineQuery,
        media=(BYTES,),
    ),
    _of_one(
        "GET",
        "/timeline/account",
        describe_timeline,
        "What its timeline holds, lacks, and how far its clocks are trusted",
        answer=dict[str, Any],
    ),
    _of_one(
        "GET",
        "/timeline/chunks/{chunk}",
        get_spans,
        "One chunk of its spans, counted from 0",
        answer=SpanChunk,
        parameters={"chunk": {"type": "integer", "minimum": 0, "maximum": 999_999_999}},
    ),
    Operation(
        "POST",
        "/api/v1/uploads",
        send_upload,
        "Send a file, to be named as an input by its SHA-256",
        role="run",
        query=UploadQuery,
        raw_body=BYTES,
        answer=Upload,
        status=201,
        errors=(413,),
        tag="uploads",
    ),
    Operation(
        "GET",
        "/api/v1/uploads/{upload}",
        get_upload,
        "A file that was sent",
        media=(BYTES, "image/*", "audio/*"),
        errors=(404,),
        tag="uploads",
        parameters={"upload": {"type": "string", "pattern": "^[0-9a-f]{64}$"}},
    ),
)
