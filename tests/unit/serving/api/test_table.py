from __future__ import annotations

import subprocess
import sys

import numpy as np
import pyarrow as pa

from dicom_io.geometry import Patch
from dicom_io.reading import ReadOptions
from dicom_io.sources.encoded import EncodedSource
from serving.api.encodings import Encoding
from serving.api.request import PredictRequest
from serving.api.response import holdable
from serving.api.table import prediction_table
from serving.errors import Code, Fault
from serving.pipeline.outcome import Embeddings
from serving.pipeline.types import Extras, Instance, Predictions
from tests.support.encoders import facts

FAULT = Fault(Code.IMAGE_ERROR, "The frame is cut off.")
PATCHES = (Patch(-(2**63), 0, 224, 224), Patch(5, 2**63 - 1, 224, 224), Patch(1, 1, 224, 224))
ROWS = np.array([[1, 2, 3, 4], [np.nan] * 4, [0, 1e6, 0, 0]], np.float32)


def request(encoding: Encoding) -> PredictRequest:
    instance = Instance(EncodedSource(bytes), PATCHES, ReadOptions(), Extras(per_patch_errors=True))
    return PredictRequest((instance,), encoding)


def test_a_patch_with_an_error_has_a_row_without_a_vector_and_one_that_float16_cannot_hold_is_one() -> None:
    asked = request(Encoding.BASE64_FLOAT16)
    predictions = holdable(asked, Predictions([Embeddings(ROWS, {1: FAULT})], facts()))
    found = pa.ipc.open_stream(prediction_table(asked, predictions, "seven")).read_all()
    found.validate(full=True)
    good, failed, large = found.to_pylist()
    assert good["embedding_vector"] == [1, 2, 3, 4]
    assert (good["x_origin"], failed["y_origin"]) == (-(2**63), 2**63 - 1)
    assert (failed["patch"], failed["embedding_vector"], failed["error_code"]) == (1, None, "IMAGE_ERROR")
    assert large["embedding_vector"] is None
    assert large["error_code"] == "INVALID_REQUEST_FIELD_ERROR"
    assert np.isfinite(ROWS[2]).all(), "what others may hold is not changed"


def test_what_writes_tables_is_imported_when_one_is_asked_for() -> None:
    code = "import sys, serving.http.app; print('nanoarrow' in sys.modules, 'pyarrow' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "False"]
