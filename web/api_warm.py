"""REST: a model held open: opened once, asked again and again without an evaluation, closed."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from bus.messages import Done, Input, Manifest, Opened, Predicted
from web.bodies import Address, Name, Sha256
from web.operations import Ask, Operation
from web.problems import ProblemError
from web.uploads import plain_name

HERE = "/api/v1/warm"
ONE = {"model": {"type": "string", "pattern": "^[0-9a-f]{32}$"}}


class ModelToOpen(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """model is `name` or `name@range`, unless `manifest` holds a whole one.

    timeout_s: how long its node may be busy and fetch files.
    """

    model: Name = ""
    manifest: Manifest | None = None
    framework: Name = ""
    device: Name = "cpu"
    node: Name = ""
    environment: Name = ""
    threads: Annotated[int, Meta(ge=0, le=4096)] = 0
    settings: dict[str, str | int] = {}
    timeout_s: Annotated[float, Meta(gt=0, le=600)] = 120.0


class OpenModel(Struct, frozen=True, kw_only=True):
    """A model that is open. url: where it is asked (`/predict` behind it) and closed."""

    id: str
    url: str
    opened: Opened


class OpenModelsNow(Struct, frozen=True, kw_only=True):
    """Those that whoever asks has open."""

    models: list[OpenModel]


class Given(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing to predict: an upload, an address, or the file itself (base64). One of the three.

    name: of the file, for readers that go by its ending.
    """

    upload: Sha256 | None = None
    url: Address | None = None
    data: Annotated[bytes, Meta(max_length=8 << 20)] | None = None
    name: Name = "input"


class ToPredict(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One batch. top_k: of classes."""

    inputs: Annotated[list[Given], Meta(min_length=1, max_length=256)]
    top_k: Annotated[int, Meta(ge=1, le=1000)] = 5


async def open_model(ask: Ask) -> OpenModel:
    """Hold a model open on a fitting node."""
    asked: ModelToOpen = ask.body
    if not asked.model and asked.manifest is None:
        raise ProblemError(422, "body", "`model` or `manifest` is missing")
    client = ask.state.client
    model = client.open(
        asked.manifest or asked.model,
        framework=asked.framework,
        device=asked.device,
        node=asked.node,
        environment=asked.environment,
        settings=asked.settings,
        threads=asked.threads,
        timeout_s=asked.timeout_s,
    )
    return _told(await ask.state.open.hold(ask.owner, model), model.opened)


async def list_open_models(ask: Ask) -> OpenModelsNow:
    """What this one has open."""
    held = ask.state.open.of(ask.owner)
    return OpenModelsNow(models=[_told(name, one.opened) for name, one in held.items()])


async def get_open_model(ask: Ask) -> OpenModel:
    """One of them."""
    name = ask.named("model")
    return _told(name, ask.state.open.find(ask.owner, name).opened)


async def predict(ask: Ask) -> Predicted:
    """What it says of a batch."""
    asked: ToPredict = ask.body
    inputs = [_input(ask, one) for one in asked.inputs]
    return await ask.state.open.ask(ask.owner, ask.named("model"), inputs, asked.top_k)


async def close_model(ask: Ask) -> Done:
    """Hold it no longer."""
    await ask.state.open.close(ask.owner, ask.named("model"))
    return Done(text="closed")


def _told(name: str, opened: Opened) -> OpenModel:
    return OpenModel(id=name, url=f"{HERE}/{name}", opened=opened)


def _input(ask: Ask, one: Given) -> str | Input:
    given = [each for each in (one.upload, one.url, one.data) if each is not None]
    if len(given) != 1 or one.data == b"":
        text = "each input has `upload`, `url` or `data` that is not empty: one of the three"
        raise ProblemError(422, "body", text)
    if one.url is not None:
        return one.url
    if one.data is not None:
        return Input(name=plain_name(one.name), data=one.data)
    upload = ask.state.uploads.find(str(one.upload))
    return Input(name=upload.name, data=ask.state.uploads.content(upload.upload).read_bytes())


OPERATIONS = (
    Operation(
        "POST",
        HERE,
        open_model,
        "Hold a model open on a fitting node",
        role="run",
        body=ModelToOpen,
        answer=OpenModel,
        status=201,
        errors=(404, 409),
        tag="warm",
    ),
    Operation(
        "GET",
        HERE,
        list_open_models,
        "The models that whoever asks holds open",
        answer=OpenModelsNow,
        tag="warm",
    ),
    Operation(
        "GET",
        f"{HERE}/{{model}}",
        get_open_model,
        "One of them: where it lies, what goes in and out",
        answer=OpenModel,
        parameters=ONE,
        tag="warm",
    ),
    Operation(
        "POST",
        f"{HERE}/{{model}}/predict",
        predict,
        "What an open model says of one batch",
        role="run",
        body=ToPredict,
        answer=Predicted,
        errors=(410,),
        parameters=ONE,
        tag="warm",
    ),
    Operation(
        "DELETE",
        f"{HERE}/{{model}}",
        close_model,
        "Hold it no longer",
        role="run",
        answer=Done,
        parameters=ONE,
        tag="warm",
    ),
)
