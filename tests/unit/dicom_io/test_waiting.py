from __future__ import annotations

import threading
import time
from concurrent.futures import Future

import pytest

from dicom_io.waiting import Cancellation, Cancelled


def test_a_wait_ends_with_its_result_its_deadline_or_its_request() -> None:
    done: Future[int] = Future()
    done.set_result(7)
    assert Cancellation(0.0).result(done) == 7, "what is there needs no time"
    with pytest.raises(TimeoutError):
        Cancellation(time.monotonic() + 0.01).result(Future[int]())
    waits = Cancellation(time.monotonic() + 30)
    threading.Timer(0.05, waits.cancel).start()
    with pytest.raises(Cancelled):
        waits.result(Future[int]())
    waits.cancel()
    with pytest.raises(Cancelled):
        waits.result(Future[int]())


def test_work_that_waits_for_nothing_can_ask_whether_it_may_go_on() -> None:
    waits = Cancellation(time.monotonic() + 30)
    waits.require_time()
    waits.cancel()
    with pytest.raises(Cancelled):
        waits.require_time()
    with pytest.raises(TimeoutError):
        Cancellation(time.monotonic() - 1).require_time()
