"""dicomweb-client and wsidicom as they are, as a lab's scripts use them; a process of its own.

``python -m tests.support.dicomweb_readers URL TOKEN STUDY SERIES OUT.npz``: the packages are in a folder that
is put first on the path.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import requests
from dicomweb_client.api import DICOMwebClient
from pydicom.dataset import Dataset
from wsidicom import WsiDicom, WsiDicomWebClient


def main(url: str, token: str, study: str, series: str, out: str) -> None:
    session = requests.Session()
    session.trust_env = False
    session.headers["Authorization"] = f"Bearer {token}"
    client = DICOMwebClient(url, session=session)
    found: dict[str, Any] = {}
    found["studies"] = np.array([row["0020000D"]["Value"][0] for row in client.search_for_studies()])
    (one,) = client.search_for_series(study, search_filters={"Modality": "SM"})
    assert Dataset.from_json(one).SeriesInstanceUID == series
    instances = client.search_for_instances(study, series, fields=["AvailableTransferSyntaxUID"], limit=50)
    metadata = client.retrieve_series_metadata(study, series)
    assert len(instances) == len(metadata)
    uid = metadata[0]["00080018"]["Value"][0]
    whole = client.retrieve_instance(study, series, uid)
    found["uid"] = np.array([whole.SOPInstanceUID, uid])
    frames = client.retrieve_instance_frames(study, series, uid, frame_numbers=[2, 1])
    found["frame 2"], found["frame 1"] = (np.frombuffer(frame, np.uint8) for frame in frames)
    # This client's Host header names no port, so the addresses that it is given have none either.
    uri = metadata[0]["00480105"]["Value"][0]["00282000"]["BulkDataURI"]
    answer = session.get(url + uri[uri.index("/studies/") :], timeout=60)
    found["profile"] = np.frombuffer(answer.content, np.uint8)
    rendered = client.retrieve_instance_frames_rendered(
        study, series, uid, frame_numbers=[1], media_types=("image/jpeg",)
    )
    found["rendered"] = np.frombuffer(rendered, np.uint8)
    study_of = [each.SOPInstanceUID for each in client.retrieve_study(study)]
    found["study"] = np.array(study_of)
    with WsiDicom.open_web(WsiDicomWebClient(client), study, series) as slide:
        found["levels"] = np.array([(level.size.width, level.size.height) for level in slide.levels])
        found["region"] = np.asarray(slide.read_region((100, 50), 0, (400, 300)).convert("RGB"))
    np.savez(out, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
