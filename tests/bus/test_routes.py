"""Every message has a way to travel, and every subject of a request stands in the routes."""

from __future__ import annotations

import pytest

from bus import subjects
from bus.messages import MESSAGES
from bus.routes import ROUTES, Route

BY_NAME = {kind.__name__: kind for kind in MESSAGES}
ANSWERS_TO_ANYTHING = {"Undecodable", "Failed"}


def test_every_message_travels() -> None:
    said = {kind.__name__ for route in ROUTES for kind in route.says}
    answered = {name for route in ROUTES for name in route.answers}
    assert said | answered | ANSWERS_TO_ANYTHING == set(BY_NAME)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.says[0].__name__)
def test_a_request_names_its_subject_and_its_answers(route: Route) -> None:
    assert set(route.answers) <= set(BY_NAME)
    if route.carrier.startswith("NATS request/reply"):
        (kind,) = route.says
        text = kind.__doc__ or ""
        assert route.answers
        assert all(answer in text for answer in route.answers) or "Answered by" not in text
    else:
        assert not route.answers


def test_every_request_has_a_route() -> None:
    asked = {
        f"{value}.<user>"
        for value in vars(subjects).values()
        if isinstance(value, str) and value.startswith("mlms.v1.request.") and value[-1] != "."
    }
    assert asked <= {route.subject for route in ROUTES}


@pytest.mark.parametrize(
    ("subject", "wanted"),
    [
        (subjects.PUBLISH, "mlms.v1.request.publish"),
        (subjects.UNPUBLISH, "mlms.v1.request.unpublish"),
        (subjects.OPEN, "mlms.v1.request.open"),
        (subjects.open_on("n-1"), "mlms.v1.node.n-1.open"),
        (subjects.predict_on("n-1"), "mlms.v1.node.n-1.predict"),
        (subjects.close_on("n-1"), "mlms.v1.node.n-1.close"),
    ],
)
def test_the_subjects_of_open_models(subject: str, wanted: str) -> None:
    assert subject == wanted
