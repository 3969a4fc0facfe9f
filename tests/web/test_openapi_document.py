"""The OpenAPI document against the server that runs: what schemathesis makes of it."""

from __future__ import annotations

import functools
import json
import urllib.request
from typing import Any

import pytest

schemathesis = pytest.importorskip("schemathesis")
hypothesis = pytest.importorskip("hypothesis")


BY_RULES = tuple(
    f"/api/v1/{name}"
    for name in ("evaluations", "models", "datasets", "comparisons", "reports", "warm")
)
"""Where what is as its schema says may still be no range of versions, or ask for what cannot be."""
RUN = {"Authorization": f"Bearer run{'x' * 20}"}


def test_it_holds_what_the_server_answers(guarded_url: str) -> None:
    """Every operation, called as the document allows and as it does not.

    By one who may run and not publish: what is published would stay for the tests after this.
    """
    where = f"{guarded_url}/api/v1/openapi.json"
    schema = schemathesis.openapi.from_url(where, headers=RUN)
    tried = set()
    for found in schema.get_all_operations():
        operation = found.ok()
        tried.add(operation.label)
        _try(operation)
    assert len(tried) >= 32


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
        rules = case.operation.path.startswith(BY_RULES)
        without = [schemathesis.checks.positive_data_acceptance] if rules else []
        # Whoever asks without a token is tried in test_web_access.py.
        without.append(schemathesis.checks.ignored_auth)
        case.call_and_validate(headers=RUN, timeout=30, excluded_checks=without)

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
