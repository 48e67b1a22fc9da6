from __future__ import annotations

import gc
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

from dicom_io.errors import ImageCode, ImageError
from dicom_io.once import Once
from dicom_io.waiting import Cancellation


class Thing:
    """Something that a weak reference can watch."""


def test_threads_that_ask_at_the_same_time_get_one_value() -> None:
    asked, made = threading.Barrier(4), list[object]()

    def make() -> object:
        made.append(object())
        return made[-1]

    once = Once(make)

    def ask() -> object:
        asked.wait(10)
        return once.get()

    with ThreadPoolExecutor(4) as threads:
        found = [future.result(10) for future in [threads.submit(ask) for _ in range(4)]]
    assert found == made * 4


def test_a_failure_is_kept_without_what_failed_and_raised_to_everyone() -> None:
    thing = Thing()
    gone = weakref.ref(thing)

    def make(thing: Thing) -> None:
        raise ImageError(ImageCode.IMAGE_ERROR, f"{type(thing).__name__} is damaged.")

    once = Once(lambda thing=thing: make(thing))  # type: ignore[misc]
    del thing
    gc.disable()  # what only the collector finds stays for as long as it likes
    try:
        for _ in range(2):
            with pytest.raises(ImageError, match="Thing is damaged"):
                once.get()
        assert gone() is None
    finally:
        gc.enable()


def test_nobody_waits_for_a_maker_that_failed_unexpectedly() -> None:
    def make() -> None:
        raise ZeroDivisionError

    once = Once(make)
    with pytest.raises(ZeroDivisionError):
        once.get()
    assert once.done
    with pytest.raises(RuntimeError, match="another thread"):
        once.get()


def test_waiting_ends_when_another_thread_has_made_it_or_at_the_deadline() -> None:
    let = threading.Event()
    once = Once(lambda: let.wait(30))
    with pytest.raises(TimeoutError):
        once.wait(Cancellation(time.monotonic()))
    maker = threading.Thread(target=once.get)
    maker.start()
    assert not once.done
    let.set()
    once.wait(Cancellation(time.monotonic() + 30))
    assert once.get() is True
    maker.join()
