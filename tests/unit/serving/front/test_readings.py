"""Requests that read images: they have turns of their own, and nobody else waits for them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from flask import Flask

from serving.front.application import HttpApplication
from serving.http.access import ApiKeys, secured
from serving.http.answers import answer_error, refusal
from serving.http.gate import Gate
from tests.support.front import Front, post

READS = 12
"""More than are read at once."""


def test_while_readings_wait_health_and_predictions_are_answered() -> None:
    may_end, begun = threading.Event(), threading.Semaphore(0)
    app = Flask("readings", static_folder=None)

    def read() -> str:
        begun.release()
        assert may_end.wait(60)
        return "read"

    app.add_url_rule("/read", "read", read)
    app.add_url_rule("/health", "health", lambda: "well")
    app.add_url_rule("/predict", "predict", lambda: "predicted", methods=["POST"])
    app.register_error_handler(Exception, answer_error)
    app.after_request(secured)
    gate = Gate(app.url_map, ["predict"], ApiKeys(None), 1000, ["read"])
    get = "GET {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with Front(application=HttpApplication(app, gate, refusal)) as front, ThreadPoolExecutor(READS) as pool:
        reads = [pool.submit(front.ask, get.format("/read").encode()) for _ in range(READS)]
        for _ in range(8):
            assert begun.acquire(timeout=60)
        try:
            assert front.ask(get.format("/health").encode()).endswith(b"well")
            assert front.ask(post(b"{}")).endswith(b"predicted")
            assert not any(read.done() for read in reads)
        finally:
            may_end.set()
        assert all(read.result(60).endswith(b"read") for read in reads)
