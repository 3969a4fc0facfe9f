"""The heap: garbage is freed before every run, and what lives is walked once a model."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from predictor_node.worker.heap import MOST_USES, Heap


class Ring:
    """A cycle: only the collector frees it."""

    def __init__(self) -> None:
        self.itself = self


def garbage() -> weakref.ref[Ring]:
    return weakref.ref(Ring())


@pytest.fixture
def heap() -> Iterator[Heap]:
    gc.collect()
    gc.disable()  # nobody but the heap collects here
    yield Heap()
    gc.unfreeze()
    gc.enable()


def test_garbage_is_freed_before_each_run(heap: Heap) -> None:
    for _ in range(3):
        left = garbage()
        heap.settle()
        assert left() is None


def test_what_lives_is_set_aside_and_not_walked_again(heap: Heap) -> None:
    heap.settle()
    before = gc.get_freeze_count()
    assert before > 10_000  # at least the modules of this very test
    assert len(gc.get_objects()) < before / 10


@pytest.mark.parametrize("generation", [0, 2])
def test_a_closed_model_is_freed_before_the_next_run(heap: Heap, generation: int) -> None:
    model = Ring()
    seen = weakref.ref(model)
    heap.settle()
    del model
    heap.settle()
    assert seen() is not None  # set aside while it lived
    heap.changed()
    heap.settle(generation)
    assert seen() is None


def test_what_jobs_leave_behind_is_freed_after_so_many_runs(heap: Heap) -> None:
    heap.settle()
    job = Ring()
    seen = weakref.ref(job)
    heap.settle()
    del job
    for _ in range(MOST_USES):
        heap.settle()
    assert seen() is None
