"""A notebook of Path Foundation's users: ez-wsi-dicomweb as it is, with another endpoint address.

Run as a process of its own, so that any version of the package can be put first on its path:
``python -m tests.support.ez_wsi_client JOBS.json OUT.npz``.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import traceback
from pathlib import Path
from typing import Any

import google.auth.credentials
import numpy as np
from ez_wsi_dicomweb import (
    credential_factory,
    dicom_slide,
    dicom_web_interface,
    gcs_image,
    local_image,
    patch_embedding,
    patch_embedding_endpoints,
    patch_embedding_ensemble_methods,
)
from ez_wsi_dicomweb.ml_toolkit import dicom_path


@dataclasses.dataclass(frozen=True)
class Job:
    """What to embed.

    Attributes
    ----------
    kind:
        slide, microscope, gcs, array or file.
    where:
        A series' address, a gs:// address, or the path of an image or a ``.npy`` file.
    resize:
        (width, height) to resize the image or the level to.
    all_patches:
        Ask for the whole image by the library's own patch generator.
    """

    name: str
    kind: str
    where: str
    origins: list[tuple[int, int]] = dataclasses.field(default_factory=lambda: [(0, 0)])
    side: int = 224
    icc: str = "NONE"
    resize: tuple[int, int] | None = None
    send_bytes: bool = False
    token: str | None = None
    expired_first: bool = False
    max_patches: int = 100
    all_patches: bool = False


class FadingCredentials(google.auth.credentials.Credentials):  # type: ignore[misc]
    """A token that is used once as an expired one, where that is asked for."""

    def __init__(self, token: str) -> None:
        super().__init__()
        self.token = token
        self.expired_once = False

    valid = True
    expired = False

    def refresh(self, _: object) -> None:
        pass

    def apply(self, headers: dict[str, str], token: str | None = None) -> None:
        headers["authorization"] = f"Bearer {'expired-token' if self.expired_once else self.token}"
        self.expired_once = False


class Factory(credential_factory.AbstractCredentialFactory):  # type: ignore[misc]
    def __init__(self, credentials: FadingCredentials) -> None:
        self.credentials = credentials

    def get_credentials(self) -> FadingCredentials:
        return self.credentials


def run(job: Job, endpoint_address: str) -> dict[str, Any]:
    """Return a job's vectors, the origins of their patches and, of a file, the client's own pixels."""
    credentials = FadingCredentials(job.token or "")
    factory = Factory(credentials) if job.token else credential_factory.NoAuthCredentialsFactory()
    endpoint = patch_embedding_endpoints.V2PatchEmbeddingEndpoint(
        icc_profile_normalization=patch_embedding_endpoints.IccProfileNormalization(job.icc),
        send_gcs_patch_bytes_from_client_to_server=job.send_bytes,
        max_patches_per_request=job.max_patches,
        credential_factory=credential_factory.NoAuthCredentialsFactory(),
    )
    endpoint._end_point_url = endpoint_address  # the one line that a notebook's user changes
    source = _source(job, factory)
    credentials.expired_once = job.expired_first
    patches, sequence = _patches(job, source, endpoint)
    ensemble = None if job.side == 224 else patch_embedding_ensemble_methods.FivePatchMeanEnsemble()
    if sequence is not None:
        found = list(sequence)
    elif job.kind == "slide" and len(patches) == 1 and ensemble is None:
        vector = patch_embedding.get_patch_embedding(endpoint, patches[0])
        return {"vectors": vector[np.newaxis], "origins": np.array(job.origins)}
    else:
        found = list(patch_embedding.generate_patch_embeddings(endpoint, patches, ensemble))
    result = {
        "vectors": np.stack([f.embedding for f in found]),
        "origins": np.array([(f.patch.x, f.patch.y) for f in found]),
    }
    if job.kind == "file":
        transform = source.create_icc_profile_transformation(endpoint.icc_profile_bytes())
        result["pixels"] = np.stack([f.patch.image_bytes(transform) for f in found])
    return result


def _source(job: Job, factory: Any) -> Any:
    size = None if job.resize is None else gcs_image.ImageDimensions(*job.resize)
    if job.kind in ("slide", "microscope"):
        kind = dicom_slide.DicomSlide if job.kind == "slide" else dicom_slide.DicomMicroscopeImage
        return kind(dicom_web_interface.DicomWebInterface(factory), dicom_path.FromString(job.where))
    if job.kind == "gcs":
        return gcs_image.GcsImage(job.where, credential_factory=factory, image_dimensions=size)
    if job.kind == "array":
        return local_image.LocalImage(np.load(job.where), image_dimensions=size)
    return local_image.LocalImage(job.where, image_dimensions=size)


def _patches(job: Job, source: Any, endpoint: Any) -> tuple[list[Any], Any]:
    if job.kind in ("slide", "microscope"):
        level = source.native_level if job.kind == "slide" else next(iter(source.levels))
        if job.resize is not None:
            level = level.resize(dicom_slide.ImageDimensions(*job.resize))
        if job.all_patches:
            mask = np.ones((level.height // 224, level.width // 224), bool)
            return [], patch_embedding.get_dicom_image_embeddings(endpoint, source, level, mask=mask)
        return [source.get_patch(level, x, y, job.side, job.side) for x, y in job.origins], None
    if job.all_patches:
        mask = np.ones((source.height // 224, source.width // 224), bool)
        return [], patch_embedding.get_gcs_image_embeddings(endpoint, source, mask=mask)
    return [source.get_patch(x, y, job.side, job.side) for x, y in job.origins], None


def main() -> None:
    task = json.loads(Path(sys.argv[1]).read_text())
    results: dict[str, Any] = {}
    for fields in task["jobs"]:
        job = Job(**fields)
        try:
            for key, value in run(job, task["endpoint"]).items():
                results[f"{job.name}/{key}"] = value
        except Exception:
            results[f"{job.name}/error"] = traceback.format_exc()
    np.savez(sys.argv[2], **results)


if __name__ == "__main__":
    main()
