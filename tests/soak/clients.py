"""Clients that know what every answer must be."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import requests

from tests.support.models import TOLERANCE, probe
from tests.support.service import Service
from tests.support.tissue import UInt8Array, encode, instance, tissue

SIDE = 224
KINDS = 24


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """A request and the vectors that it must give."""

    body: bytes
    truth: np.ndarray
    of_store: bool = False


def samples() -> list[Sample]:
    """Return requests of one to forty patches, all of different pixels, so that no two could be exchanged."""
    image = tissue(1024, 1024)
    made = []
    for number in range(KINDS):
        count = (1, 1, 4, 40)[number % 4]
        origins = [((37 * number + 11 * i) % 800, (53 * number + 29 * i) % 800) for i in range(count)]
        patches = [_cut(image, x, y) for x, y in origins]
        if number % 3 == 0:
            items = [instance(encode(patch, compress_level=1)) for patch in patches]
        else:
            items = [instance(encode(image, compress_level=1), *origins)]
        made.append(Sample(json.dumps({"instances": items}).encode(), probe(np.stack(patches))))
    return made


def _cut(image: UInt8Array, x: int, y: int) -> UInt8Array:
    return np.ascontiguousarray(image[y : y + SIDE, x : x + SIDE])


@dataclass(slots=True)
class Tally:
    """What came back."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    outcomes: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    slowest_control_s: float = 0.0
    last_ok: float = 0.0
    longest_gap_s: float = 0.0

    def add(self, outcome: str, seconds: float) -> None:
        """Count one answer; note how long the service had given none that was right."""
        now = time.monotonic()
        with self.lock:
            self.outcomes[outcome] += 1
            if outcome == "ok":
                self.seconds.append(seconds)
                if self.last_ok:
                    self.longest_gap_s = max(self.longest_gap_s, now - self.last_ok)
                self.last_ok = now

    def take_longest_gap(self) -> float:
        """Return the longest time without a right answer since this was asked last, in seconds."""
        with self.lock:
            longest, self.longest_gap_s = self.longest_gap_s, 0.0
        return longest


class Client(threading.Thread):
    """Sends samples one after the other until told to stop.

    Parameters
    ----------
    hangs_up:
        Share of requests whose answer is not waited for.
    """

    def __init__(
        self, service: Service, made: list[Sample], tally: Tally, seed: int, hangs_up: float = 0.0
    ) -> None:
        super().__init__(daemon=True)
        self._service, self._samples, self._tally = service, made, tally
        self._chance = random.Random(seed)
        self._hangs_up = hangs_up
        self._session = requests.Session()
        self._session.trust_env = False
        self.stop = threading.Event()

    def run(self) -> None:
        """Send until ``stop``."""
        while not self.stop.is_set():
            sample = self._chance.choice(self._samples)
            hang = self._chance.random() < self._hangs_up
            started = time.monotonic()
            try:
                answer = self._session.post(
                    f"{self._service.url}/predict", data=sample.body, timeout=(5, 0.05 if hang else 120)
                )
                outcome, wait = self._judge(answer, sample)
            except requests.Timeout:
                outcome, wait = ("hung up", 0.0) if hang else ("no answer within 120 s", 0.0)
            except requests.RequestException:
                outcome, wait = "connection lost", 0.1
            self._tally.add(outcome, time.monotonic() - started)
            self.stop.wait(wait)

    def _judge(self, answer: requests.Response, sample: Sample) -> tuple[str, float]:
        if answer.status_code == 503 and "Retry-After" in answer.headers:
            return "503 with Retry-After", min(
                1.0, float(answer.headers["Retry-After"])
            ) * self._chance.random()
        if answer.status_code != 200:
            return f"HTTP {answer.status_code}", 0.0
        found = []
        for prediction in answer.json()["predictions"]:
            if "error" in prediction:
                return f"{prediction['error']['code']}{' of a lost store' if sample.of_store else ''}", 0.0
            found += [e["embedding_vector"] for e in prediction["result"]["patch_embeddings"]]
        if np.shape(found) != sample.truth.shape or np.abs(np.array(found) - sample.truth).max() > TOLERANCE:
            self._tally.wrong.append(self._described(sample, found))
            return "WRONG VECTOR", 0.0
        return "ok", 0.0

    def _described(self, sample: Sample, found: list[list[float]]) -> str:
        """Say what is wrong, and whether the vectors are those of other patches."""
        name = f"{time.strftime('%H:%M:%S')} sample {self._samples.index(sample)}"
        if np.shape(found) != sample.truth.shape:
            return f"{name}: {np.shape(found)} for {sample.truth.shape}"
        rows = np.flatnonzero(np.abs(np.array(found) - sample.truth).max(axis=1) > TOLERANCE)
        known = {
            f"patch {row} of sample {number}"
            for number, other in enumerate(self._samples)
            for row, vector in enumerate(other.truth)
            if np.abs(np.array(found)[rows] - vector).max(axis=1).min() <= TOLERANCE
        }
        first = np.round(found[rows[0]][:4], 3).tolist()
        return f"{name}: patches {rows.tolist()} of {len(found)}, {first} …, are {known or 'of no sample'}"


class Control(threading.Thread):
    """Asks for health and metrics all the time and notes the slowest answer."""

    def __init__(self, service: Service, tally: Tally) -> None:
        super().__init__(daemon=True)
        self._service, self._tally = service, tally
        self.stop = threading.Event()

    def run(self) -> None:
        """Ask until ``stop``."""
        while not self.stop.wait(0.5):
            for path in ("health", "metrics"):
                started = time.monotonic()
                try:
                    answer = requests.get(f"{self._service.url}/{path}", timeout=30)
                    outcome = f"{path} {answer.status_code}"
                except requests.RequestException as error:
                    outcome = f"{path} {type(error).__name__}"
                taken = time.monotonic() - started
                with self._tally.lock:
                    self._tally.outcomes[outcome] += 1
                    self._tally.slowest_control_s = max(self._tally.slowest_control_s, taken)
