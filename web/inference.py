"""The Open Inference Protocol v2 on models held warm: what Triton's and KServe's clients speak.

An image, a text, a sound or a file goes in as one BYTES element, encoded as it lies on disk; a raw
model's tensors go in as they are. Classes come out as Triton's classification extension writes them
(`probability:index:label`), tensors as they are, and everything else as one JSON text an item.
"""

from __future__ import annotations

import io
from typing import Any

import msgspec
import numpy as np
from aiohttp import web

from bus.messages import Input, Manifest, ModelInput, ModelOutput, Predicted, Prediction
from mlmodelscope.warm import PredictionError
from web import inference_tensors as tensors
from web.operations import Ask, Operation
from web.problems import ProblemError

RAW = ("raw", "tensor", "general")
GIVEN = ("constant", "state")
MOST_ITEMS = 1024


async def server_metadata(ask: Ask) -> dict[str, Any]:
    """What this server is."""
    return {
        "name": "mlmodelscope",
        "version": "2",
        "extensions": ["classification", "binary_tensor_data"],
    }


async def live(_: Ask) -> web.Response:
    """Whether the server runs."""
    return web.Response()


async def ready(ask: Ask) -> web.Response:
    """Whether a node is there that could answer."""
    return web.Response(status=200 if await ask.state.client.nodes() else 503)


async def model_ready(ask: Ask) -> web.Response:
    """Whether a node would open the model."""
    fitting = await ask.state.client.fits(_reference(ask))
    return web.Response(status=200 if fitting.nodes else 503)


async def model_metadata(ask: Ask) -> dict[str, Any]:
    """A model's inputs and outputs."""
    manifests = await _manifests(ask)
    manifest = manifests[0]
    return {
        "name": manifest.name,
        "versions": list(dict.fromkeys(one.version for one in manifests)),
        "platform": f"{manifest.framework.name}_mlmodelscope",
        "inputs": [_described(*one) for one in _inputs(manifest)],
        "outputs": [_described(*one) for one in _outputs(manifest)],
    }


async def infer(ask: Ask) -> web.Response:
    """What the model says of a batch."""
    body = await ask.request.read()
    request, arrays = tensors.read_request(body, ask.request.headers.get(tensors.LENGTH))
    manifest = (await _manifests(ask))[0]
    top_k = _top_k(request)
    given = _given(manifest, arrays)
    try:
        predicted = await ask.state.warm.ask(ask.state.client, _reference(ask), given, top_k)
    except PredictionError as exc:
        status = 503 if exc.kind == "busy" else 400
        raise ProblemError(status, exc.kind, str(exc)) from exc
    about = {"model_name": manifest.name, "model_version": manifest.version, "id": request.id}
    parameters = {"duration_ns": predicted.duration_ns, "preprocess_ns": predicted.preprocess_ns}
    outputs = _answers(manifest, predicted, top_k)
    encoded, length = tensors.write_response({**about, "parameters": parameters}, outputs, request)
    media = "application/octet-stream" if length else "application/json"
    headers = {tensors.LENGTH: length} if length else {}
    return web.Response(body=encoded, content_type=media, headers=headers)


def _reference(ask: Ask) -> str:
    version = ask.request.match_info.get("version", "")
    return f"{ask.named('model')}@{version}" if version else ask.named("model")


async def _manifests(ask: Ask) -> list[Manifest]:
    known = await ask.state.client.models(_reference(ask), hidden=True)
    if not known.models:
        raise ProblemError(404, "unknown_model", f"unknown model {_reference(ask)!r}")
    return known.models


def _top_k(request: tensors.InferRequest) -> int:
    for wish in request.outputs:
        k = wish.parameters.get("classification")
        if isinstance(k, int) and 0 < k <= 1000:
            return k
    return 5


# ------------------------------------------------------------------ what goes in and comes out

Described = tuple[str, str, list[int]]


def _inputs(manifest: Manifest) -> list[Described]:
    given = [one for one in manifest.inputs if one.type not in GIVEN]
    if _all_raw(given):
        return [
            (
                one.name or "input",
                tensors.NAMES.get(one.parameters.element_type, "FP32"),
                [-1, *one.parameters.dimensions],
            )
            for one in given
        ]
    first = given[0] if given else ModelInput(type="bytes")
    return [(first.type, tensors.BYTES, [-1])]


def _outputs(manifest: Manifest) -> list[Described]:
    found: list[Described] = []
    for one in manifest.outputs:
        if one.type == "classification":
            found.append(("classes", tensors.BYTES, [-1, -1]))
        elif _tells_tensors(one):
            datatype = tensors.NAMES.get(one.parameters.element_type, "FP32")
            found.append((one.name or "output", datatype, [-1, *one.parameters.dimensions]))
    return found or [("prediction", tensors.BYTES, [-1])]


def _described(name: str, datatype: str, shape: list[int]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape}


def _all_raw(inputs: list[ModelInput]) -> bool:
    return bool(inputs) and all(one.type in RAW for one in inputs)


def _tells_tensors(one: ModelOutput) -> bool:
    return one.type in (*RAW, "features", "feature")


def _given(manifest: Manifest, arrays: dict[str, np.ndarray]) -> list[Input]:
    """One input an item: what a person would have given as a file with `--input`."""
    wanted = _inputs(manifest)
    missing = [name for name, _, _ in wanted if name not in arrays]
    if missing and len(wanted) == len(arrays) == 1:
        arrays, missing = {wanted[0][0]: next(iter(arrays.values()))}, []
    if missing or len(arrays) != len(wanted):
        names = [name for name, _, _ in wanted]
        raise ProblemError(400, "request", f"expected the inputs {names} (got {sorted(arrays)})")
    items = {len(arrays[name]) if arrays[name].ndim else 0 for name, _, _ in wanted}
    if len(items) != 1 or not 0 < max(items) <= MOST_ITEMS:
        text = f"the first size is the batch: expected the same in each, 1 to {MOST_ITEMS}"
        raise ProblemError(400, "request", f"{text} (got {sorted(items)})")
    if wanted[0][1] == tensors.BYTES:
        return _encoded(wanted[0][0], arrays[wanted[0][0]])
    found = []
    for item in range(items.pop()):
        rows = {name: arrays[name][item] for name, _, _ in wanted}
        data = io.BytesIO()
        if len(rows) == 1:
            np.save(data, next(iter(rows.values())), allow_pickle=False)
        else:
            np.savez(data, **rows)
        ending = "y" if len(rows) == 1 else "z"
        found.append(Input(name=f"item-{item}.np{ending}", data=data.getvalue()))
    return found


def _encoded(name: str, array: np.ndarray) -> list[Input]:
    if array.dtype != object:
        raise ProblemError(
            400, "request", f"input {name}: expected BYTES, one encoded file an item, like a JPEG"
        )
    found = []
    for item, data in enumerate(array.reshape(-1)):
        if not isinstance(data, bytes) or not data:
            raise ProblemError(400, "request", f"input {name}: element {item} is empty or no bytes")
        found.append(Input(name=f"item-{item}", data=data))
    return found


def _answers(manifest: Manifest, predicted: Predicted, top_k: int) -> dict[str, np.ndarray]:
    made = predicted.predictions
    found: dict[str, np.ndarray] = {}
    if all(one.classes for one in made):
        found["classes"] = _classes(made, top_k)
    for at, first in enumerate(made[0].tensors):
        values = [one.tensors[at] for one in made]
        if all(v.data and v.shape == first.shape for v in values):
            rows = [np.frombuffer(v.data, v.dtype).reshape(v.shape) for v in values]
            found[first.name or "output"] = np.stack(rows)
    return found or {"prediction": _texts([msgspec.json.encode(one) for one in made])}


def _classes(made: list[Prediction], top_k: int) -> np.ndarray:
    width = min(top_k, *(len(one.classes) for one in made))
    rows = [
        f"{c.probability:.6f}:{c.index}:{c.label}".encode()
        for one in made
        for c in one.classes[:width]
    ]
    return _texts(rows).reshape(len(made), width)


def _texts(rows: list[bytes]) -> np.ndarray:
    array = np.empty(len(rows), dtype=object)
    array[:] = rows
    return array


V2 = "/v2/models/{model}"
VERSION = f"{V2}/versions/{{version}}"


def routes() -> list[tuple[str, str, Operation]]:
    """The protocol has a document of its own; these paths are as it says."""
    look = [
        ("/v2", server_metadata),
        ("/v2/health/live", live),
        ("/v2/health/ready", ready),
        *((f"{at}", model_metadata) for at in (V2, VERSION)),
        *((f"{at}/ready", model_ready) for at in (V2, VERSION)),
    ]
    found = [("GET", path, Operation("GET", path, handler, "")) for path, handler in look]
    for at in (V2, VERSION):
        path = f"{at}/infer"
        found.append(("POST", path, Operation("POST", path, infer, "", role="run")))
    return found
