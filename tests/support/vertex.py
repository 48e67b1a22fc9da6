"""What is asked of Vertex AI's ways to predict, and what the answers are held to."""

from __future__ import annotations

from typing import Any

import jsonschema
import numpy as np

from scripts.schemata import plain
from serving.api.json_schema import Schema
from tests.support.models import probe
from tests.support.tissue import encode, instance, tissue

TRUTH = probe(np.stack([tissue()[9:233, 7:231], tissue()[:224, :224]]))
GOOD = instance(encode(tissue()), (7, 9), (0, 0))
CUT_OFF = instance(encode(tissue())[:9999])


def vectors(prediction: dict[str, Any]) -> np.ndarray:
    return np.array([e["embedding_vector"] for e in prediction["result"]["patch_embeddings"]])


def validate(value: object, schema: Schema) -> None:
    jsonschema.validate(value, plain(schema), cls=jsonschema.Draft202012Validator)
