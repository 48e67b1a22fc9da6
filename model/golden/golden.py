"""What a golden file holds."""

from __future__ import annotations

from dataclasses import dataclass

from model.encoder import EncoderFacts, PixelBatch, Vectors


class GoldenError(Exception):
    """A golden file cannot be read, written or used; the text is one sentence, with its full stop."""


@dataclass(frozen=True, slots=True)
class Golden:
    """Patches, and the vectors that an encoder gave for them.

    Attributes
    ----------
    names:
        Of the patches, for people.
    patches:
        uint8 RGB ``[n, 224, 224, 3]``.
    vectors:
        float32 ``[n, dimension]``, finite, none of them zero.
    model, model_digest, untrained, runtime, device, precision:
        Of the encoder, as in ``EncoderFacts``.
    made:
        When, as ISO 8601 in UTC.
    made_by:
        By which version of what.
    """

    names: tuple[str, ...]
    patches: PixelBatch
    vectors: Vectors
    model: str
    model_digest: str
    untrained: bool
    runtime: str
    device: str
    precision: str
    made: str
    made_by: str

    @classmethod
    def of(
        cls,
        facts: EncoderFacts,
        names: tuple[str, ...],
        patches: PixelBatch,
        vectors: Vectors,
        *,
        made: str,
        made_by: str,
    ) -> Golden:
        """Return vectors with the facts of the encoder that gave them."""
        return cls(
            names=names,
            patches=patches,
            vectors=vectors,
            model=facts.model,
            model_digest=facts.digest,
            untrained=facts.untrained,
            runtime=facts.runtime,
            device=facts.device,
            precision=facts.precision,
            made=made,
            made_by=made_by,
        )

    def require_model(self, facts: EncoderFacts) -> None:
        """Raise GoldenError unless an encoder runs the weights that the vectors are of."""
        if facts.digest != self.model_digest:
            raise GoldenError(
                f"its vectors are of the model {self.model} ({_short(self.model_digest)}), and {facts.model} "
                f"({_short(facts.digest)}) was loaded: other weights. Load the right ones, or make a golden "
                "file of these (pathserve golden make)."
            )
        if facts.dimension != self.vectors.shape[1]:
            raise GoldenError(
                f"its vectors have {self.vectors.shape[1]} numbers, and the model's have {facts.dimension}."
            )


def _short(digest: str) -> str:
    return digest[: len("sha256:") + 16]
