"""Requests to one service: split to its limits, sent again when it is overloaded or a connection is lost."""

from __future__ import annotations

import base64
import io
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import requests
from PIL import Image as PillowImage
from requests.auth import AuthBase

from dicom_io.quality.measures import Measure
from dicom_io.web.sessions import plain_session
from model.encoder import PATCH_SIDE, Vectors
from serving.api.encodings import NUMBERS, Coded, Encoding, decoded
from serving.client.image import Image
from serving.client.splitting import Limits, split
from serving.errors import Fault
from serving.pipeline.outcome import Embeddings, MagnificationWarning, Outcome, joined

MAX_REQUEST_BYTES = 8_000_000
MAX_PATCHES = 1000

_LONGEST_WAIT_S = 30.0
_LOST = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
"""What requests raises when a connection is lost before the answer, or in the middle of it."""


class ServiceFault(Exception):
    """The service refused a whole request, or could not be reached in time."""

    def __init__(self, status: int, fault: Fault) -> None:
        super().__init__(f"HTTP {status}, {fault.code}: {fault.description}")
        self.status = status
        self.fault = fault


class PathserveClient:
    """Talks to one service; not for several threads at once.

    Parameters
    ----------
    url:
        The service's address, or the whole address of a predict route.
    api_key:
        Bearer key of the service itself, where it requires one.
    max_request_bytes, max_patches:
        What one request may hold. Shared Vertex AI endpoints take about 1,500,000 bytes, both ways.
    retry_for_s:
        How long to keep trying when the service is overloaded, draining or unreachable, or a connection is
        lost, as when a worker was killed: asking again gives the same vectors.
    encoding:
        How vectors come: exact by default; rounded as ``base64-float16`` in half of the bytes, or as
        ``base64-int8`` in a quarter, for lines that are slow or endpoints that bound an answer.
    use_proxy:
        Whether to go through HTTPS_PROXY or HTTP_PROXY, but for the hosts in NO_PROXY.
    auth:
        Authorises each request instead of a key, where credentials change, as Google's do.

    Raises
    ------
    ValueError
        When the address or the key is malformed, or there is no such encoding.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        max_request_bytes: int = MAX_REQUEST_BYTES,
        max_patches: int = MAX_PATCHES,
        timeout_s: float = 300.0,
        retry_for_s: float = 120.0,
        use_proxy: bool = False,
        auth: AuthBase | None = None,
        encoding: Encoding | str = Encoding.BASE64_FLOAT32,
    ) -> None:
        _require_address(url)
        self._url = url if url.endswith(("predict", "Predict")) else url.rstrip("/") + "/predict"
        self._limits = Limits(max_request_bytes, max_patches)
        self._timeout_s = timeout_s
        self._retry_for_s = retry_for_s
        self._encoding = Encoding(encoding)
        self._session = plain_session(follows_proxies=use_proxy)
        self._session.auth = auth
        if api_key is not None:
            if not api_key.isascii() or not api_key.isprintable():
                raise ValueError("the key must be printable ASCII")
            self._session.headers["Authorization"] = f"Bearer {api_key}"
        self.metadata: dict[str, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def embed(self, images: Sequence[Image]) -> list[Vectors | Fault]:
        """Embed the patches of images.

        Returns
        -------
        For each image float32 ``[patches, dimension]`` in the order of its origins, or its fault.

        Raises
        ------
        ServiceFault
            When a request fails whole, or the service stays unavailable.
        """
        outcomes = self.outcomes(images)
        return [outcome if isinstance(outcome, Fault) else outcome.vectors for outcome in outcomes]

    def outcomes(self, images: Sequence[Image]) -> list[Outcome]:
        """Embed the patches of images; see ``embed``.

        Returns
        -------
        For each image its vectors and what its extensions ask for besides, or its fault. With the extension
        ``per_patch_errors`` a patch may have a fault of its own, and NaN for a vector.

        Raises
        ------
        ServiceFault
            When a request fails whole, or the service stays unavailable.
        """
        found: list[list[Embeddings] | Fault] = [[] for _ in images]
        warned: dict[int, MagnificationWarning] = {}
        for parts in split(images, self._limits):
            answer = self._post([part.instance for part in parts])
            predictions = answer["predictions"]
            for warning in answer["metadata"].get("warnings", ()):
                if (said := _magnification(warning)) is not None:
                    warned.setdefault(parts[warning["instance"]].image, said)
            for part, prediction in zip(parts, predictions, strict=True):
                some = found[part.image]
                if "error" in prediction:
                    found[part.image] = _fault_in(prediction)
                elif isinstance(some, list):
                    some.append(_embeddings(prediction, self._encoding, self._dimension))
        return [
            parts if isinstance(parts, Fault) else replace(joined(parts), magnification=warned.get(number))
            for number, parts in enumerate(found)
        ]

    @property
    def _dimension(self) -> int:
        """How long vectors are, as far as the service has said."""
        return int(self.metadata.get("dimension", 0))

    def embed_patches(self, patches: npt.NDArray[np.uint8]) -> Vectors:
        """Embed pixels.

        Parameters
        ----------
        patches:
            uint8 RGB ``[n, 224, 224, 3]`` or gray ``[n, 224, 224]``.

        Returns
        -------
        float32 ``[n, dimension]``
        """
        return self.patches(patches).vectors

    def patches(self, patches: npt.NDArray[np.uint8], **extensions: object) -> Embeddings:
        """Embed pixels, and return what extensions ask for besides; see ``embed_patches``."""
        if patches.dtype != np.uint8 or patches.shape[1:3] != (PATCH_SIDE, PATCH_SIDE):
            raise ValueError(
                f"patches must be uint8 [n, {PATCH_SIDE}, {PATCH_SIDE}, 3]; "
                f"these are {patches.dtype} {patches.shape}"
            )
        whole = []
        images = [Image.of_bytes(_png(patch), [(0, 0)], **extensions) for patch in patches]
        for outcome in self.outcomes(images):
            if isinstance(outcome, Fault):
                raise ServiceFault(HTTPStatus.OK, outcome)
            whole.append(outcome)
        return joined(whole)

    def _post(self, instances: list[dict[str, object]]) -> dict[str, Any]:
        body = json.dumps({"instances": instances, "parameters": {"encoding": self._encoding}}).encode()
        deadline = time.monotonic() + self._retry_for_s
        pause = 0.5
        while True:
            try:
                response = self._session.post(
                    self._url,
                    data=body,
                    headers={"Content-Type": "application/json"},
                    timeout=self._timeout_s,
                )
            except requests.RequestException as error:
                fault, status = Fault("CONNECTION_ERROR", f"{type(error).__name__} at {self._url}"), 0
                wait = pause
                if not isinstance(error, _LOST):
                    raise ServiceFault(status, fault) from error
            else:
                if response.status_code == HTTPStatus.OK:
                    answer = _answer(response)
                    self.metadata = answer["metadata"]
                    return answer
                fault, status = _fault(response), response.status_code
                wait = max(pause, _retry_after(response))
            if status not in (0, HTTPStatus.SERVICE_UNAVAILABLE) or time.monotonic() + wait > deadline:
                raise ServiceFault(status, fault)
            time.sleep(wait)
            pause = min(2 * pause, _LONGEST_WAIT_S)


def _require_address(url: str) -> None:
    try:
        requests.Request("POST", url).prepare()
        known = url.lower().startswith(("http://", "https://"))
    except ValueError:  # what requests raises for an address is a ValueError, too
        known = False
    if not known:
        raise ValueError(
            f"{url} is not the address of a service; it must be http://HOST:PORT or https://HOST"
        )


def _png(patch: npt.NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    PillowImage.fromarray(patch).save(file, "PNG", compress_level=1)
    return file.getvalue()


def _fault_in(answer: dict[str, Any]) -> Fault:
    return Fault(answer["error"]["code"], answer["error"]["description"])


def _embeddings(prediction: dict[str, Any], encoding: Encoding, dimension: int) -> Embeddings:
    """Return what a prediction says of its patches; vectors of ``dimension`` NaN where there is none."""
    rows = prediction["result"]["patch_embeddings"]
    faults = {index: _fault_in(row) for index, row in enumerate(rows) if "error" in row}
    good = [index for index in range(len(rows)) if index not in faults]
    found = _vectors([rows[index] for index in good], encoding) if good else np.empty((0, dimension))
    vectors = np.full((len(rows), found.shape[1]), np.nan, np.float32)
    vectors[good] = found
    quality = [[row.get("quality", {}).get(one, np.nan) for one in Measure] for row in rows]
    measured = any("quality" in row for row in rows)
    return Embeddings(
        vectors,
        faults,
        np.array(quality, np.float32) if measured else None,
        prediction["result"].get("provenance"),
    )


def _vectors(rows: list[dict[str, Any]], encoding: Encoding) -> Vectors:
    numbers, written = NUMBERS[encoding], [row["embedding_vector"] for row in rows]
    if encoding is Encoding.JSON:
        return np.array(written, np.float32)
    scales = None
    if encoding is Encoding.BASE64_INT8:
        scales = np.array([row["embedding_scale"] for row in rows], np.float32)
    coded = np.stack([np.frombuffer(base64.b64decode(text), numbers) for text in written])
    return decoded(Coded(coded, scales))


def _magnification(warning: dict[str, Any]) -> MagnificationWarning | None:
    if warning.get("kind") != "magnification":
        return None
    um = warning["um_per_px"]
    return MagnificationWarning(
        warning["verdict"], None if um is None else (um[0], um[1]), warning["description"]
    )


def _answer(response: requests.Response) -> dict[str, Any]:
    try:
        answer = response.json()
        if isinstance(answer["metadata"], dict) and isinstance(answer["predictions"], list):
            return dict(answer)
    except (ValueError, KeyError, TypeError):
        pass
    raise ServiceFault(
        response.status_code,
        Fault("HTTP_ERROR", "the answer is not JSON of this API; is the service's address right?"),
    )


def _fault(response: requests.Response) -> Fault:
    try:
        error = response.json()["error"]
        return Fault(str(error["code"]), str(error["description"]))
    except (ValueError, KeyError, TypeError):
        return Fault("HTTP_ERROR", f"the answer is not JSON of this API: {response.reason}")


def _retry_after(response: requests.Response) -> float:
    try:
        return min(max(0.0, float(response.headers.get("Retry-After", "0"))), _LONGEST_WAIT_S)
    except ValueError:
        return 0.0
