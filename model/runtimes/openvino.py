"""OpenVINO: the same SavedModel on a CPU, without TensorFlow in the process.

OpenVINO reads the SavedModel itself. Whatever it runs must first agree with TensorFlow's float32 vectors.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import openvino as ov
import openvino.preprocess

from model.batching import bucket_sizes
from model.encoder import PATCH_SHAPE, EncoderFacts, Mend, ModelError, PixelBatch, Vectors, reason_of
from model.runtimes.alone import Embed, cores, require_same_again
from model.runtimes.parity import PARITY_PATCHES, finding, parity_patches
from model.runtimes.reference import Reference
from model.runtimes.warming import warm

MAX_BATCH = 16
"""Default largest batch, in patches: a CPU gains nothing from more."""

_DEVICE = "CPU"
_VERSION = ov.__version__.partition("-")[0]
_INT8 = "int8.xml"
_GROUP = "384"
"""Numbers of an activation that share a scale in int8: a whole token of ViT-S."""

_CONFIGURATIONS = {
    "float32": {"INFERENCE_PRECISION_HINT": "f32"},
    "bfloat16": {"INFERENCE_PRECISION_HINT": "bf16"},
    "int8": {"INFERENCE_PRECISION_HINT": "bf16", "DYNAMIC_QUANTIZATION_GROUP_SIZE": _GROUP},
}

log = logging.getLogger(__name__)


class OpenVinoEncoder:
    """Runs a model in OpenVINO: pixels are cast and scaled in the graph.

    Parameters
    ----------
    precision:
        ``float32``, ``bfloat16`` or ``int8`` (weights, and activations as they come). A lower one is kept
        only if its vectors agree with TensorFlow's float32.
    reproducible:
        Whether each patch is embedded alone, in one thread.

    Raises
    ------
    ModelError
        When OpenVINO cannot read or run the model, or not even its float32 vectors agree.
    """

    def __init__(
        self,
        reference: Reference,
        precision: str,
        max_batch: int | None = None,
        *,
        reproducible: bool = False,
    ) -> None:
        self._core = ov.Core()
        self._reference = reference
        self._reproducible = reproducible
        max_batch = max_batch or (max(MAX_BATCH, cores()) if reproducible else MAX_BATCH)
        self._sizes = (PARITY_PATCHES, *bucket_sizes(max_batch))
        precision, parity = self._prepare(precision)
        if reproducible:
            require_same_again(self.embed, reference.name)
        self.facts = EncoderFacts(
            model=reference.name,
            untrained=reference.untrained,
            dimension=reference.vectors.shape[1],
            device=_DEVICE,
            precision=precision,
            parity=parity,
            digest=reference.digest,
            runtime=f"OpenVINO {_VERSION}",
            max_batch=max_batch,
            reproducible=reproducible,
        )

    def embed(self, patches: PixelBatch) -> Vectors:
        """Map uint8 ``[n, 224, 224, 3]`` to float32 ``[n, dimension]``."""
        return self._embed(patches)

    def _prepare(self, precision: str) -> tuple[str, str]:
        refused = ""
        for candidate in dict.fromkeys((precision, "float32")):
            if not self._compile(candidate):
                refused = f"{candidate} refused: this CPU has no {candidate}"
                log.warning("%s; OpenVINO", refused)
                continue
            warm(self.embed, self._sizes, self._reference.name, self._reference.vectors.shape[1])
            kept, found = finding(candidate, self._reference.vectors, self.embed(parity_patches()))
            if kept:
                return candidate, refused or found
            refused = found
            log.warning("%s; OpenVINO", found)
        raise ModelError(f"OpenVINO's vectors of {self._reference.name} are not TensorFlow's: {refused}.")

    def _compile(self, precision: str) -> bool:
        """Make the model ready to run; return whether it runs in this precision."""
        model = self._int8() if precision == "int8" else _read(self._core, self._reference.folder)
        configuration = {"PERFORMANCE_HINT": "LATENCY", **_CONFIGURATIONS[precision]}
        if self._reproducible:
            model.reshape([1, *PATCH_SHAPE])
            configuration |= {"NUM_STREAMS": str(cores()), "INFERENCE_NUM_THREADS": str(cores())}
        steps = openvino.preprocess.PrePostProcessor(model)
        steps.input().tensor().set_element_type(ov.Type.u8)
        steps.input().preprocess().convert_element_type(ov.Type.f32).scale(255.0)
        try:
            compiled = self._core.compile_model(steps.build(), _DEVICE, configuration)
        except RuntimeError as error:
            name = self._reference.name
            raise ModelError(f"The model {name} does not run in OpenVINO: {reason_of(error)}.") from error
        self._embed = self._ways(compiled)
        # OpenVINO takes bfloat16 for a hint, and computes in float32 on a CPU without it.
        lower = precision == "bfloat16"
        return not lower or compiled.get_property("INFERENCE_PRECISION_HINT") == ov.Type.bf16

    def _ways(self, compiled: ov.CompiledModel) -> Embed:
        """Return how a batch is embedded: by one request, or its patches by one for each stream."""
        if not self._reproducible:
            return _by(compiled.create_infer_request())
        streams, threads = (
            compiled.get_property("NUM_STREAMS"),
            compiled.get_property("INFERENCE_NUM_THREADS"),
        )
        if streams != threads:
            raise ModelError(
                f"OpenVINO computes with {threads} threads in {streams} streams here, so its vectors are not "
                "reproducible; TensorFlow's may be.",
                Mend.REPRODUCIBLE,
            )
        return _each_alone([compiled.create_infer_request() for _ in range(streams)])

    def _int8(self) -> ov.Model:
        """Return the model with weights of 8 bits, which are made once and cached."""
        cache, entry = self._reference.cache, f"{self._reference.entry}-int8-openvino-{_VERSION}"
        folder = cache.find_or_make(
            entry, lambda made: _compress(_read(self._core, self._reference.folder), made / _INT8)
        )
        return self._core.read_model(folder / _INT8)


def _by(request: ov.InferRequest) -> Embed:
    # Shared, the pixels are not copied into OpenVINO's memory; nobody writes to them before this returns.
    return lambda patches: np.array(request.infer({0: patches}, share_inputs=True)[0], np.float32)


def _each_alone(requests: Sequence[ov.InferRequest]) -> Embed:
    """Return a function that embeds a batch patch by patch, as many at once as there are requests.

    All from one thread: where two threads are the first to call OpenVINO's bindings, each may wait for the
    other for good.
    """

    def embed(patches: PixelBatch) -> Vectors:
        running: deque[ov.InferRequest] = deque()
        vectors = []
        try:
            for row in range(len(patches)):
                if len(running) == len(requests):
                    vectors.append(_vector(running.popleft()))
                request = requests[row % len(requests)]
                request.start_async({0: patches[row : row + 1]}, share_inputs=True)
                running.append(request)
            return np.concatenate([*vectors, *map(_vector, running)])
        finally:
            for request in running:  # behind one that fails: they read what the caller writes to next
                with contextlib.suppress(RuntimeError):
                    request.wait()

    return embed


def _vector(request: ov.InferRequest) -> Vectors:
    request.wait()
    return np.array(request.get_output_tensor(0).data, np.float32)


def _read(core: ov.Core, folder: Path) -> ov.Model:
    try:
        return core.read_model(folder)
    except RuntimeError as error:
        raise ModelError(f"OpenVINO cannot read the SavedModel in {folder}: {reason_of(error)}.") from error


def _compress(model: ov.Model, file: Path) -> None:
    os.environ["NNCF_CI"] = "1"  # else it reports over the network that it is used
    try:
        import nncf
    except ModuleNotFoundError as error:
        raise ModelError("int8 needs nncf: pip install 'pathserve[openvino]'.") from error
    nncf.set_log_level(logging.ERROR)
    compressed = nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_SYM)
    ov.save_model(compressed, file)
