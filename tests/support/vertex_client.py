"""A user of google-cloud-aiplatform, as it is, with this service as its endpoint's address.

Run as a process of its own: ``python -m tests.support.vertex_client ADDRESS < REQUEST.json > ANSWERS.json``.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import requests
from google.api.httpbody_pb2 import HttpBody
from google.auth.credentials import AnonymousCredentials
from google.auth.transport.requests import AuthorizedSession
from google.cloud import aiplatform
from google.cloud.aiplatform_v1 import PredictionServiceClient
from google.protobuf import json_format, struct_pb2

ENDPOINT = "projects/1/locations/us-central1/endpoints/7"


class ToThisService(requests.adapters.HTTPAdapter):
    """Leads requests to another address: the library has Google's written in where it sends raw bodies."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self._address = address

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        request.url = self._address + str(request.path_url)
        return super().send(request, *args, **kwargs)


def main() -> None:
    address, asked = sys.argv[1], json.load(sys.stdin)
    instances, parameters = asked["instances"], asked["parameters"]
    aiplatform.init(
        project="1",
        location="us-central1",
        api_endpoint=address,
        api_transport="rest",
        credentials=AnonymousCredentials(),
    )
    endpoint = aiplatform.Endpoint(ENDPOINT)
    predicted = endpoint.predict(instances, parameters=parameters)
    client = PredictionServiceClient(
        transport="rest", client_options={"api_endpoint": address}, credentials=AnonymousCredentials()
    )
    values = [json_format.ParseDict(i, struct_pb2.Value()) for i in instances]
    answer = client.predict(
        endpoint=ENDPOINT, instances=values, parameters=json_format.ParseDict(parameters, struct_pb2.Value())
    )
    told = client.raw_predict(endpoint=ENDPOINT, http_body=HttpBody(data=json.dumps(asked).encode()))
    endpoint.authorized_session = AuthorizedSession(AnonymousCredentials())
    endpoint.authorized_session.mount("https://", ToThisService(address))
    raw = endpoint.raw_predict(body=json.dumps(asked).encode(), headers={"Content-Type": "application/json"})
    by_raw = endpoint.predict(instances, parameters=parameters, use_raw_predict=True)
    answers: dict[str, Any] = {
        "endpoint": _fields(predicted),
        "endpoint, raw": _fields(by_raw),
        "service": {
            "predictions": [json_format.MessageToDict(p) for p in answer.predictions.pb],
            "deployed_model_id": answer.deployed_model_id,
            "model": answer.model,
            "version": answer.model_version_id,
            "display_name": answer.model_display_name,
            "metadata": json_format.MessageToDict(answer._pb.metadata),
        },
        "raw": raw.json(),
        "service, raw": json.loads(told.data),
    }
    json.dump(answers, sys.stdout)


def _fields(prediction: Any) -> dict[str, Any]:
    return {
        "predictions": prediction.predictions,
        "deployed_model_id": prediction.deployed_model_id,
        "model": prediction.model_resource_name,
        "version": prediction.model_version_id,
        "metadata": prediction.metadata,
    }


if __name__ == "__main__":
    main()
