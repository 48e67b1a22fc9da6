"""What compact answers lose, how long they are, and what gzip and zstd cost and save.

``python -m tests.benchmarks.encodings`` prints the tables of docs/benchmarks.md. Its vectors are those of the
built-in ViT over patches of tissue, all different, and Gaussian ones of the same number and length. Times are
of CPU, the least of several: of coding, and of decoding as a client in Python does.
"""

from __future__ import annotations

import gzip
import os
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial

import imagecodecs
import numpy as np
import numpy.typing as npt
from flask import Response

from dicom_io.geometry import Patch
from dicom_io.reading import ReadOptions
from dicom_io.sources.encoded import EncodedSource
from model.encoder import EncoderFacts, Vectors
from model.runtimes.load import BUILTIN, load_encoder
from serving.api.encodings import Encoding, coded, decoded
from serving.api.request import PredictRequest
from serving.api.response import prediction_body
from serving.api.table import prediction_table
from serving.http.compression import Coding, compress
from serving.pipeline.outcome import Embeddings
from serving.pipeline.types import Instance, Predictions
from tests.support.encodings import cosine_error, error_bound, unit
from tests.support.slides import stained
from tests.support.tissue import UInt8Array, tissue

NEIGHBOURS = 50
ANSWER = 1000
"""Patches of the answer that is compressed."""

_TIMES = 5


def main() -> None:
    """Print the tables."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    encoder = load_encoder(BUILTIN, "float32", runtime="auto")
    patches = np.stack([*windows(tissue(512, 512), 8), *windows(stained(1024, 1024), 16)])
    assert len({patch.tobytes() for patch in patches}) == len(patches)
    embedded = np.concatenate([encoder.embed(patches[i : i + 16]) for i in range(0, len(patches), 16)])
    vectors = {
        "ViT-S/16, tissue": embedded,
        "Gaussian": np.random.default_rng(0).standard_normal(embedded.shape).astype(np.float32),
    }
    print(f"{len(embedded)} vectors of {embedded.shape[1]} numbers; {encoder.facts.runtime}\n")
    print(*errors(vectors), sep="\n", end="\n\n")
    for name, some in vectors.items():
        print(name, *sizes(some, encoder.facts), "", sep="\n")


def windows(image: UInt8Array, step: int) -> Iterator[UInt8Array]:
    """Yield the patches of an image whose origins are on a lattice."""
    height, width = image.shape[:2]
    for y in range(0, height - 223, step):
        for x in range(0, width - 223, step):
            yield image[y : y + 224, x : x + 224]


def errors(vectors: Mapping[str, Vectors]) -> Iterator[str]:
    """Yield the table of what is lost."""
    yield "| vectors | encoding | cosine error, largest | bound | top-50 that stay, mean | least |"
    yield "|---|---|---|---|---|---|"
    for name, exact in vectors.items():
        near = neighbours(exact)
        for encoding in (Encoding.BASE64_FLOAT16, Encoding.BASE64_INT8):
            found = decoded(coded(exact, encoding))
            stay = overlap(near, neighbours(found))
            yield (
                f"| {name} | {encoding} | {cosine_error(exact, found).max():.1e} "
                f"| {error_bound(exact, encoding).max():.1e} | {stay.mean():.2%} | {stay.min():.0%} |"
            )


def neighbours(vectors: Vectors) -> npt.NDArray[np.intp]:
    """Return the nearest others of each vector by cosine, ``[n, NEIGHBOURS]``."""
    rows = unit(vectors)
    nearest = []
    for start in range(0, len(rows), 500):
        alike = rows[start : start + 500] @ rows.T
        alike[np.arange(len(alike)), start + np.arange(len(alike))] = -2
        nearest.append(np.argpartition(-alike, NEIGHBOURS, axis=1)[:, :NEIGHBOURS])
    return np.concatenate(nearest)


def overlap(before: npt.NDArray[np.intp], after: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    """Return the share of each row's neighbours that it still has."""
    both = (len(np.intersect1d(a, b)) for a, b in zip(before, after, strict=True))
    return np.asarray(np.fromiter(both, np.float64, len(before)) / before.shape[1])


def sizes(vectors: Vectors, facts: EncoderFacts) -> Iterator[str]:
    """Yield the table of lengths and of what compression costs."""
    yield "| answer | bytes a patch | gzip | ms a MB | pays below | zstd | ms a MB | pays below |"
    yield "|---|---|---|---|---|---|---|---|"
    for encoding in Encoding:
        yield _line(encoding, _answer(prediction_body, encoding, vectors, facts))
    for encoding in Encoding:
        if encoding is not Encoding.JSON:
            body = _answer(prediction_table, encoding, vectors, facts)
            yield _line(f"Arrow, {encoding.removeprefix('base64-')}", body)


def _answer(
    write: Callable[[PredictRequest, Predictions, str], bytes],
    encoding: Encoding,
    vectors: Vectors,
    facts: EncoderFacts,
) -> bytes:
    patches = tuple(Patch(224 * (i % 200), 224 * (i // 200), 224, 224) for i in range(ANSWER))
    request = PredictRequest((Instance(EncodedSource(bytes), patches, ReadOptions()),), encoding)
    return write(request, Predictions([Embeddings(vectors[-ANSWER:])], facts), "local")


def _line(name: str, body: bytes) -> str:
    cells = [name, f"{len(body) / ANSWER:,.0f}"]
    for coding, unfold in ((Coding.GZIP, gzip.decompress), (Coding.ZSTD, imagecodecs.zstd_decode)):
        packed = _compressed(body, coding)
        assert unfold(packed) == body
        there, back = _cpu_s(partial(_compressed, body, coding)), _cpu_s(partial(unfold, packed))
        saved = len(body) - len(packed)
        cells += [
            f"{len(packed) / len(body):.0%}",
            f"{there * 1e9 / len(body):.1f} + {back * 1e9 / len(body):.1f}",
            f"{8e-6 * saved / (there + back):,.0f} Mbit/s",
        ]
    return f"| {' | '.join(cells)} |"


def _compressed(body: bytes, coding: Coding) -> bytes:
    response = Response(body)
    compress(response, coding)
    return response.get_data()


def _cpu_s(work: Callable[[], object]) -> float:
    least = float("inf")
    for _ in range(_TIMES):
        began = time.process_time()
        work()
        least = min(least, time.process_time() - began)
    return least


if __name__ == "__main__":
    main()
