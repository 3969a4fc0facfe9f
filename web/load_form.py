"""The load in a form: its fields, for which scenarios each is, and the Scenario that they make."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from bus.errors import InputError
from bus.messages import Scenario, ScenarioName
from mlmodelscope.loads import offsets_in

NAMES = [name for name in get_args(ScenarioName) if name != "dataset"]
PLAIN = "online"
ARRIVING = "server burst replay"
ONE_BY_ONE = "online single_stream multi_stream"
ALL = " ".join(NAMES)


@dataclass(frozen=True)
class LoadField:
    """One number of a load. scale: what the form's number is multiplied by; whole: no part."""

    name: str
    label: str
    scenarios: str
    hint: str = ""
    scale: float = 1.0
    whole: bool = False
    most: float = 1e9


FIELDS = (
    LoadField("target_qps", "Queries a second", "server burst offline", "of offline: expected"),
    LoadField("latency_bound_ms", "Latency bound, ms", f"{ARRIVING} multi_stream", "10"),
    LoadField("percentile", "Percentile of the result", ALL, "50, 90 or 99", 0.01, most=99.9999),
    LoadField("min_duration_s", "At least, seconds", ALL, "10, or 0"),
    LoadField("min_queries", "At least, queries", ALL, "100", whole=True),
    LoadField("max_duration_s", "At most, seconds", f"{ONE_BY_ONE} {ARRIVING}", "no end"),
    LoadField("max_queries", "At most, queries", ALL, "no end", whole=True),
    LoadField("samples_per_query", "Inputs a query", f"{ONE_BY_ONE} {ARRIVING}", whole=True),
    LoadField("until_ci", "Until the interval is so narrow, %", ONE_BY_ONE, "2", 0.01, most=99.0),
    LoadField("burst_size", "Queries at one instant", "burst", whole=True),
    LoadField("issue_threads", "Threads that predict", ARRIVING, "1", whole=True, most=64),
)
FINDS = {"": "no: at the rate above", "max_qps": "max-qps: the original's rule"}
FINDS |= {"peak": "peak: LoadGen's rule"}


def load_of(given: Mapping[str, str], faults: dict[str, str]) -> Scenario | None:
    """The load, or None for queries one after the other; what is wrong goes into `faults`.

    Fields of other scenarios are not looked at: the form hides them.
    """
    name = given.get("scenario", "")
    if not name:
        return None
    if name not in NAMES:
        faults["scenario"] = f"expected one of {', '.join(NAMES)} (got {name[:40]!r})"
        return None
    made: dict[str, Any] = {"name": name}
    for field in FIELDS:
        text = given.get(field.name, "").strip()
        if text and name in field.scenarios.split():
            value = number_of(text, field, faults)
            if value is not None:
                made[field.name] = value
    if name == "server" and given.get("find") in ("max_qps", "peak"):
        made["find"] = given["find"]
    if name == "replay":
        made["replay_ns"] = _offsets(given.get("replay", ""), faults)
    if given.get("accuracy"):
        made["accuracy"] = True
    return Scenario(**made)


def number_of(text: str, field: LoadField, faults: dict[str, str]) -> float | int | None:
    """A number of the form in the units of the message; None, and a fault, where it is none."""
    try:
        value = float(text.removesuffix("%"))
    except ValueError:
        value = math.nan
    if not 0 <= value <= field.most or (field.whole and value != int(value)):
        kind = "a whole number" if field.whole else "a number"
        faults[field.name] = f"expected {kind} from 0 to {field.most:g} (got {text[:40]!r})"
        return None
    return int(value) if field.whole else round(value * field.scale, 9)


def _offsets(text: str, faults: dict[str, str]) -> list[int]:
    try:
        return offsets_in(text.splitlines(), "line")
    except InputError as exc:
        faults["replay"] = str(exc)
        return []


def fields_of(load: Scenario | None) -> dict[str, str]:
    """The other way round: what the form holds for a load."""
    if load is None:
        return {}
    made: dict[str, str] = {"scenario": load.name}
    for field in FIELDS:
        value = getattr(load, field.name)
        default = 1 if field.name == "issue_threads" else 0
        if value is not None and value != default:
            made[field.name] = f"{value / field.scale:.10g}"
    made["find"] = load.find
    made["accuracy"] = "yes" if load.accuracy else ""
    made["replay"] = "\n".join(f"{due_ns / 1e9:.9g}" for due_ns in load.replay_ns)
    return made
