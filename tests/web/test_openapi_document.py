"""The OpenAPI document against the server that runs: what schemathesis makes of it."""

from __future__ import annotations

import functools
import json
import urllib.request
from typing import Any

import pytest

schemathesis = pytest.importorskip("schemathesis")
hypothesis = pytest.importorskip("hypothesis")


def test_it_holds_what_the_server_answers(web_url: str) -> None:
    """Every operation, called as the document allows and as it does not."""
    schema = schemathesis.openapi.from_url(f"{web_url}/api/v1/openapi.json")
    tried = set()
    for found in schema.get_all_operations():
        operation = found.ok()
        tried.add(operation.label)
        _try(operation)
    assert len(tried) >= 20


def _try(operation: Any) -> None:
    @hypothesis.given(case=operation.as_strategy())
    @hypothesis.settings(
        max_examples=5,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    def answers(case: Any) -> None:
        case.call_and_validate(timeout=30)

    answers()


@functools.cache
def document(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{url}/api/v1/openapi.json") as answer:
        return dict(json.load(answer))


def test_every_operation_says_its_role_and_its_problems(web_url: str) -> None:
    found = document(web_url)
    assert found["openapi"] == "3.1.0"
    names = [one["operationId"] for path in found["paths"].values() for one in path.values()]
    assert len(names) == len(set(names))
    for path in found["paths"].values():
        for one in path.values():
            assert "role `" in one["description"] and "401" in one["responses"]
