"""What a serialised job's settings and variables become, for each framework as it names them."""

from __future__ import annotations

import pytest

from bus.errors import InputError
from predictor_node.launching import Needs
from predictor_node.process import Environment, Worker
from predictor_node.serialised import settings_for, variables_for


@pytest.mark.parametrize(
    ("asked", "known", "became"),
    [
        ({"threads": 4}, ["threads"], {"threads": 4}),
        ({"threads": 4, "serialize": 0}, ["threads"], {"threads": 4}),
        ({"threads": 4, "serialize": 1}, ["threads"], {"threads": 1}),
        (
            {"device": "cpu", "inter_op_threads": 8, "serialize": "1"},
            ["threads", "inter_op_threads", "execution", "precision"],
            {"device": "cpu", "threads": 1, "inter_op_threads": 1, "execution": "sequential"},
        ),
    ],
)
def test_settings(asked, known, became) -> None:  # type: ignore[no-untyped-def]
    assert settings_for("f", asked, known) == became


def test_what_cannot_be_serialised_says_so() -> None:
    with pytest.raises(InputError, match="framework f knows none of the settings threads"):
        settings_for("f", {"serialize": 1}, ["precision"])


@pytest.mark.parametrize(
    ("asked", "variables"),
    [
        ({"serialize": 1, "device": "gpu"}, {"CUDA_LAUNCH_BLOCKING": "1"}),
        ({"serialize": 1, "device": "cpu"}, {}),
        ({"device": "gpu"}, {}),
    ],
)
def test_variables(asked, variables) -> None:  # type: ignore[no-untyped-def]
    assert variables_for(asked) == variables


async def test_a_worker_begins_anew_with_other_variables() -> None:
    """CUDA reads CUDA_LAUNCH_BLOCKING when it starts: a running worker cannot take it."""
    worker = Worker(Environment())
    await worker.start()
    first = worker.pid
    await worker.needing(Needs())
    assert worker.alive and worker.pid == first
    await worker.needing(Needs({"CUDA_LAUNCH_BLOCKING": "1"}))
    assert not worker.alive
    await worker.start()
    try:
        with open(f"/proc/{worker.pid}/environ", "rb") as file:
            assert b"CUDA_LAUNCH_BLOCKING=1" in file.read().split(b"\0")
    finally:
        await worker.stop()
