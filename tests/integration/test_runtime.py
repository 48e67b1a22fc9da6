"""The service on OpenVINO."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import psutil

from tests.conftest import ModelFolders
from tests.support.models import TOLERANCE, probe
from tests.support.service import Service
from tests.support.tissue import encode, instance, tissue


def test_the_service_runs_openvino_says_so_and_its_encoder_has_no_tensorflow(
    model_folders: ModelFolders, tmp_path: Path
) -> None:
    environment = {
        "PATHSERVE_MODEL": model_folders["probe"],
        "PATHSERVE_RUNTIME": "auto",
        "PATHSERVE_CACHE_DIR": str(tmp_path),
    }
    with Service(environment) as service:
        service.wait_healthy()
        answer = service.predict(instance(encode(tissue()), (5, 6), (100, 200))).json()
        found = [e["embedding_vector"] for e in answer["predictions"][0]["result"]["patch_embeddings"]]
        truth = probe(np.stack([tissue()[6:230, 5:229], tissue()[200:424, 100:324]]))
        np.testing.assert_allclose(found, truth, atol=TOLERANCE)
        assert answer["metadata"]["runtime"].startswith("OpenVINO")
        assert answer["metadata"]["precision"] == "float32"
        maps = psutil.Process(service.encoder().pid).memory_maps()
        assert not any("libtensorflow" in mapped.path for mapped in maps)
