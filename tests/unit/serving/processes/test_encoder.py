"""What the encoder process keeps of loading a model."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from serving.processes.encoder import collecting_once


class Graph:
    """Something large that holds itself, as TensorFlow's graphs do."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def _thaw() -> Iterator[None]:
    yield
    gc.unfreeze()


def test_a_graph_that_was_tried_and_dropped_is_not_kept_for_good() -> None:
    def load() -> tuple[Graph, weakref.ref[Graph]]:
        assert not gc.isenabled()
        return Graph(), weakref.ref(Graph())

    kept, dropped = collecting_once(load)
    assert dropped() is None
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0
    assert all(found is not kept for found in gc.get_objects())


def test_garbage_is_collected_again_after_a_model_that_does_not_load() -> None:
    with pytest.raises(ZeroDivisionError):
        collecting_once(lambda: 1 / 0)
    assert gc.isenabled()
