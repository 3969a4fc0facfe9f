"""REST: what there is: models, datasets, nodes; and publishing."""

from __future__ import annotations

import asyncio

from analysis.trends import trends
from bus.errors import UnknownNameError
from bus.messages import (
    DatasetManifest,
    Done,
    Fitting,
    ListHistory,
    Manifest,
    Models,
    NodeSeen,
    Queue,
    SystemDescribed,
    Wanted,
)
from manifests.catalog import not_runnable
from mlmodelscope.model_filters import Filters, chosen
from mlmodelscope.trending import NEWEST
from web.bodies import (
    DatasetQuery,
    Datasets,
    FitsQuery,
    Fleet,
    ModelQuery,
    QueueQuery,
    TrendQuery,
    Trends,
    WithdrawQuery,
)
from web.operations import Ask, Operation
from web.problems import ProblemError


async def list_models(ask: Ask) -> Models:
    """The manifests that are known."""
    query: ModelQuery = ask.query
    known = await ask.state.client.models(query.model, hidden=query.hidden)
    filters = Filters(
        task=query.task,
        framework=query.framework,
        max_size=query.max_size,
        search=query.search,
        weights=query.weights,
    )
    return Models(models=chosen(known.models, filters), not_runnable=known.not_runnable)


async def get_model(ask: Ask) -> Models:
    """Every manifest of a name: versions, newest first, and frameworks."""
    known = await ask.state.client.models(ask.named("model"), hidden=True)
    if not known.models:
        raise ProblemError(404, "unknown_model", f"unknown model {ask.named('model')!r}")
    return known


async def find_places(ask: Ask) -> Fitting:
    """Which nodes would run it, and why the others would not."""
    query: FitsQuery = ask.query
    wanted = Wanted(
        framework=query.framework,
        device=query.device,
        node=query.node,
        environment=query.environment,
    )
    return await ask.state.client.fits(ask.named("model"), wanted)


async def publish_model(ask: Ask) -> Manifest:
    """Make a manifest known to everyone."""
    manifest: Manifest = ask.body
    if reason := not_runnable(manifest):
        raise ProblemError(422, "not_runnable", reason)
    return await ask.state.client.publish(manifest)


async def unpublish_model(ask: Ask) -> Done:
    """Withdraw it."""
    query: WithdrawQuery = ask.query
    reference = f"{ask.named('model')}@{ask.named('version')}"
    await ask.state.client.unpublish(reference, framework=query.framework)
    return Done(text=f"withdrawn: {reference}")


async def list_datasets(ask: Ask) -> Datasets:
    """The datasets that are known."""
    query: DatasetQuery = ask.query
    return Datasets(datasets=list(await ask.state.client.datasets(query.dataset)))


async def get_dataset(ask: Ask) -> Datasets:
    """Every version of a dataset."""
    found = await ask.state.client.datasets(ask.named("dataset"))
    if not found:
        raise ProblemError(404, "unknown_dataset", f"unknown dataset {ask.named('dataset')!r}")
    return Datasets(datasets=list(found))


async def unpublish_dataset(ask: Ask) -> Done:
    """Withdraw it."""
    reference = f"{ask.named('dataset')}@{ask.named('version')}"
    await ask.state.client.unpublish_dataset(reference)
    return Done(text=f"withdrawn: {reference}")


async def publish_dataset(ask: Ask) -> DatasetManifest:
    """Make a dataset known to everyone."""
    dataset: DatasetManifest = ask.body
    return await ask.state.client.publish_dataset(dataset)


async def get_node(ask: Ask) -> NodeSeen:
    """One of them."""
    name = ask.named("node")
    alive = {seen.node.node_id: seen for seen in await ask.state.client.nodes()}
    if name not in alive:
        raise UnknownNameError("node", name, list(alive))
    return alive[name]


async def list_queue(ask: Ask) -> Queue:
    """What waits and runs."""
    query: QueueQuery = ask.query
    return await ask.state.client.queue(query.evaluation, mine=query.mine)


async def find_trends(ask: Ask) -> Trends:
    """How a model's times went."""
    query: TrendQuery = ask.query
    wanted = ListHistory(
        model=ask.named("model"),
        framework=query.framework,
        node=query.node,
        since_ns=query.since_ns,
        before_ns=query.before_ns,
        state="finished",
        limit=NEWEST,
    )
    page = await ask.state.client.history_page(wanted)
    found = await asyncio.to_thread(trends, page.rows)
    return Trends(trends=found, older=bool(page.next_before_ns))


async def describe_system(ask: Ask) -> SystemDescribed:
    """What runs, and what waits in it."""
    return await ask.state.client.system()


async def list_nodes(ask: Ask) -> Fleet:
    """The nodes that are alive."""
    return Fleet(nodes=await ask.state.client.nodes())


OPERATIONS = (
    Operation(
        "GET",
        "/api/v1/models",
        list_models,
        "The models that are known, filtered",
        query=ModelQuery,
        answer=Models,
        tag="models",
    ),
    Operation(
        "POST",
        "/api/v1/models",
        publish_model,
        "Publish a model's manifest",
        role="publish",
        body=Manifest,
        answer=Manifest,
        status=201,
        errors=(409,),
        tag="models",
    ),
    Operation(
        "GET",
        "/api/v1/models/{model}",
        get_model,
        "Every manifest of one name, or of `name@range`",
        answer=Models,
        errors=(404,),
        tag="models",
    ),
    Operation(
        "GET",
        "/api/v1/models/{model}/places",
        find_places,
        "Where it would run, and why not elsewhere",
        query=FitsQuery,
        answer=Fitting,
        errors=(404, 409),
        tag="models",
    ),
    Operation(
        "DELETE",
        "/api/v1/models/{model}/versions/{version}",
        unpublish_model,
        "Withdraw one version of a model; `framework` says which, where several have it",
        role="publish",
        query=WithdrawQuery,
        answer=Done,
        errors=(404, 409),
        tag="models",
    ),
    Operation(
        "GET",
        "/api/v1/datasets",
        list_datasets,
        "The datasets that are known",
        query=DatasetQuery,
        answer=Datasets,
        tag="datasets",
    ),
    Operation(
        "POST",
        "/api/v1/datasets",
        publish_dataset,
        "Publish a dataset's manifest",
        role="publish",
        body=DatasetManifest,
        answer=DatasetManifest,
        status=201,
        errors=(409,),
        tag="datasets",
    ),
    Operation(
        "GET",
        "/api/v1/datasets/{dataset}",
        get_dataset,
        "Every version of one name, or of `name@range`",
        answer=Datasets,
        errors=(404,),
        tag="datasets",
    ),
    Operation(
        "DELETE",
        "/api/v1/datasets/{dataset}/versions/{version}",
        unpublish_dataset,
        "Withdraw one version of a dataset",
        role="publish",
        answer=Done,
        errors=(404, 409),
        tag="datasets",
    ),
    Operation(
        "GET",
        "/api/v1/nodes",
        list_nodes,
        "The nodes that are alive, and what each can do",
        answer=Fleet,
        tag="nodes",
    ),
    Operation(
        "GET",
        "/api/v1/nodes/{node}",
        get_node,
        "One node that is alive",
        answer=NodeSeen,
        errors=(404,),
        tag="nodes",
    ),
    Operation(
        "GET",
        "/api/v1/models/{model}/trends",
        find_trends,
        "How a model's times went over its newest evaluations, and where they changed for good",
        query=TrendQuery,
        answer=Trends,
        tag="models",
    ),
    Operation(
        "GET",
        "/api/v1/system",
        describe_system,
        "The services that answer, and how far behind the streams' consumers are",
        answer=SystemDescribed,
        tag="nodes",
    ),
    Operation(
        "GET",
        "/api/v1/queue",
        list_queue,
        "What waits, and what runs, on which node",
        query=QueueQuery,
        answer=Queue,
        tag="nodes",
    ),
)
