"""KServe's SDK and boto3 as they are: ``python -m tests.support.serving_clients WHAT …``.

A process of its own, with their environment first on its path. It reads a request, or manifests, as JSON from
standard input and prints what the client got.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Awaitable
from typing import Any


async def _kserve(url: str, name: str, asked: dict[str, Any]) -> dict[str, Any]:
    import httpx
    from kserve import InferenceRESTClient, RESTConfig

    async def outcome(answer: Awaitable[object]) -> object:
        try:
            return await answer
        except httpx.HTTPStatusError as error:
            return str(error)

    async with InferenceRESTClient(RESTConfig(protocol="v1", timeout=60)) as client:
        return {
            "alive": await outcome(client.is_server_live(url)),
            "ready": await outcome(client.is_model_ready(url, name)),
            "predicted": await outcome(client.infer(url, asked, model_name=name)),
            "bad": await outcome(client.infer(url, {"instances": []}, model_name=name)),
            "other ready": await outcome(client.is_model_ready(url, "other")),
            "other": await outcome(client.infer(url, asked, model_name="other")),
        }


def _sagemaker(url: str, endpoint: str, asked: dict[str, Any]) -> dict[str, Any]:
    import boto3
    from botocore.config import Config

    client = boto3.client(
        "sagemaker-runtime",
        region_name="eu-central-1",
        endpoint_url=url,
        aws_access_key_id="key",
        aws_secret_access_key="secret",
        config=Config(retries={"total_max_attempts": 1}),
    )
    answer = client.invoke_endpoint(
        EndpointName=endpoint,
        ContentType="application/json",
        CustomAttributes="scan-7",
        Body=json.dumps(asked).encode(),
    )
    try:
        client.invoke_endpoint(EndpointName=endpoint, ContentType="application/json", Body=b"{")
    except client.exceptions.ModelError as error:
        failed = error.response
    return {
        "predicted": json.loads(answer["Body"].read()),
        "attributes": answer["CustomAttributes"],
        "type": answer["ContentType"],
        "failed": {name: failed[name] for name in ("OriginalStatusCode", "OriginalMessage")},
    }


def _unknown(kind: str, value: object, where: str) -> list[str]:
    """Return the fields of a manifest that the SDKs of KServe and Kubernetes do not know."""
    import kserve
    import kubernetes.client

    if isinstance(value, list):
        return [found for item in value for found in _unknown(kind, item, where)]
    name = re.findall(r"\w+", kind)[-1]  # of List[V1Container], V1Container
    model = getattr(kserve, name, None) or getattr(kubernetes.client, name, None)
    if model is None or not isinstance(value, dict):
        return []
    kinds = {model.attribute_map[field]: kind for field, kind in model.openapi_types.items()}
    return [f"{where}.{field}" for field in value if field not in kinds] + [
        found
        for field, inner in value.items()
        if field in kinds
        for found in _unknown(kinds[field], inner, f"{where}.{field}")
    ]


def _check(documents: dict[str, Any]) -> dict[str, Any]:
    """Return what is wrong with an InferenceService, and with what operations of SageMaker are given."""
    import botocore.session
    from botocore.validate import ParamValidator

    kind = "InferenceService"
    model = botocore.session.get_session().get_service_model("sagemaker")
    return {
        kind: _unknown(f"V1beta1{kind}", documents.pop(kind), kind),
        **{
            name: ParamValidator().validate(given, model.operation_model(name).input_shape).generate_report()
            for name, given in documents.items()
        },
    }


def main() -> None:
    what, *arguments = sys.argv[1:]
    asked = json.load(sys.stdin)
    if what == "kserve":
        found = asyncio.run(_kserve(arguments[0], arguments[1], asked))
    elif what == "sagemaker":
        found = _sagemaker(arguments[0], arguments[1], asked)
    else:
        found = {name: _check(documents) for name, documents in asked.items()}
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
