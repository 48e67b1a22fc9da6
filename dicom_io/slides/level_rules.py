"""The rules that concern several instances of a series, as data: one row a rule; see ``requirements``.

A rule is held by raising, so that a level that is opened and a level that is only reported on meet the same
code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from dicom_io.errors import ImageCode, ImageError
from dicom_io.slides.instance import SopInstance
from dicom_io.slides.requirements import SOP_CLASSES

MAX_FRAMES = 1 << 31


@dataclass(frozen=True, slots=True)
class Named:
    """What a request names of a series.

    Attributes
    ----------
    images:
        All images of the series' pyramid.
    wanted:
        UIDs of SOP instances.
    parts:
        The instances of the level that they name, by the offset of their first frame.
    """

    images: Sequence[SopInstance]
    wanted: Sequence[str]
    parts: Sequence[SopInstance] = ()


@dataclass(frozen=True, slots=True)
class LevelRule:
    """One rule.

    Attributes
    ----------
    keyword, tag:
        The attribute, as PS3.6 names it.
    clause:
        Where the rule comes from.
    sentence:
        What the rule asks for, after the name of the attribute.
    require:
        Raises ImageError where the rule is broken. Rules about parts have at least one, and sizes.
    applies:
        Whether there is anything for the rule to be about.
    """

    keyword: str
    tag: str
    clause: str
    sentence: str
    require: Callable[[Named], None]
    applies: Callable[[Named], bool] = lambda _: True


def images_of_pyramid(instances: Iterable[SopInstance]) -> list[SopInstance]:
    """Return the images of a series' pyramid, not its labels and overviews, whatever is wrong with them."""
    return [i for i in instances if i.sop_class in SOP_CLASSES and i.is_level]


def _require_one_class(named: Named) -> None:
    if len({i.sop_class for i in named.images}) > 1:
        raise ImageError(
            ImageCode.DICOM_ERROR,
            "The series mixes SOP classes of microscopy; an image must have its own series.",
        )


def _require_one(name: str, value: Callable[[SopInstance], str | None]) -> Callable[[Named], None]:
    def require(named: Named) -> None:
        if len(set(filter(None, map(value, named.images)))) > 1:
            raise ImageError(
                ImageCode.DICOM_ERROR, f"The series holds more than one pyramid: its {name} differs."
            )

    return require


def _has_whole_slide(named: Named) -> bool:
    return any(i.is_whole_slide for i in named.images)


def _require_in_pyramid(named: Named) -> None:
    found = {i.sop_uid for i in named.images}
    for uid in named.wanted:
        if uid not in found:
            raise ImageError(
                ImageCode.LEVEL_NOT_FOUND_ERROR,
                f"SOP instance {uid} is not a pyramid image of this series; name one of a VOLUME level.",
            )


def _require_one_level(named: Named) -> None:
    wanted = set(named.wanted)
    concatenations = {i.concatenation_uid for i in named.images if i.sop_uid in wanted}
    if len(wanted) > 1 and (len(concatenations) > 1 or None in concatenations):
        raise ImageError(
            ImageCode.INSTANCES_NOT_CONCATENATED_ERROR,
            "The instances named are not parts of one concatenation; name one level.",
        )


def _require_alike(named: Named) -> None:
    descriptions = {
        (p.rows, p.columns, p.total_rows, p.total_columns, p.samples, p.photometric, p.planar)
        for p in named.parts
    }
    if len(descriptions) > 1:
        raise ImageError(ImageCode.DICOM_ERROR, "The parts of the concatenation describe different images.")


def _require_common_syntax(named: Named) -> None:
    syntaxes = [set(p.transfer_syntaxes) for p in named.parts if p.transfer_syntaxes]
    if syntaxes and not set.intersection(*syntaxes):
        raise ImageError(ImageCode.DICOM_ERROR, "The level has more than one transfer syntax.")


def _require_no_gap(named: Named) -> None:
    expected = 0
    for part in named.parts:
        if part.frame_offset != expected:
            raise ImageError(
                ImageCode.DICOM_ERROR,
                f"The concatenation misses frames before frame {part.frame_offset + 1}: a part is not in the "
                "store, or ConcatenationFrameOffsetNumber (0020,9228) is wrong.",
            )
        expected += part.frames


def _require_all_frames(named: Named) -> None:
    first, frames = named.parts[0], sum(part.frames for part in named.parts)
    rows, columns = first.rows or 0, first.columns or 0
    width, height = (
        (first.total_columns or 0, first.total_rows or 0) if first.is_whole_slide else (columns, rows)
    )
    tiles = -(-width // columns) * -(-height // rows)
    if frames != tiles or tiles > MAX_FRAMES:
        raise ImageError(
            ImageCode.DICOM_ERROR,
            f"The level has {frames} frames, but {width}x{height} pixels in tiles of {columns}x{rows} take "
            f"{tiles}; SOP instance {first.sop_uid}.",
        )


def _is_concatenated(named: Named) -> bool:
    return any(part.concatenation_uid for part in named.parts)


SERIES_RULES: Sequence[LevelRule] = (
    LevelRule("SOPClassUID", "0008,0016", "Path Foundation API, DICOM requirements",
              "must be the same in all images of the series' pyramid", _require_one_class),
    LevelRule("PyramidUID", "0008,0019", "PS3.3, C.7.11.1",
              "must be the same in all images of the series' pyramid that have one",
              _require_one("PyramidUID (0008,0019)", lambda i: i.pyramid_uid), _has_whole_slide),
    LevelRule("FrameOfReferenceUID", "0020,0052", "PS3.3, C.7.4.1",
              "must be the same in all images of the series' pyramid that have one",
              _require_one("FrameOfReferenceUID (0020,0052)", lambda i: i.frame_of_reference_uid),
              _has_whole_slide),
)  # fmt: skip
"""About all images of the pyramid."""

NAMING_RULES: Sequence[LevelRule] = (
    LevelRule("ImageType", "0008,0008", "PS3.3, C.8.12.4.1.1",
              "must say that each instance named is of the pyramid: VOLUME, or a resampled THUMBNAIL",
              _require_in_pyramid),
    LevelRule("ConcatenationUID", "0020,9161", "PS3.3, C.7.6.16",
              "must be the same in all instances named", _require_one_level,
              lambda named: len(set(named.wanted)) > 1),
)  # fmt: skip
"""About which instances are named."""

PART_RULES: Sequence[LevelRule] = (
    LevelRule("ConcatenationUID", "0020,9161", "PS3.3, C.7.6.16",
              "joins parts that must describe their pixels alike", _require_alike, _is_concatenated),
    LevelRule("AvailableTransferSyntaxUID", "0008,3002", "PS3.18, 10.6.3.3",
              "must have a value that all parts of the level share", _require_common_syntax,
              lambda named: any(part.transfer_syntaxes for part in named.parts)),
    LevelRule("ConcatenationFrameOffsetNumber", "0020,9228", "PS3.3, C.7.6.16",
              "must leave no gap between the parts of the level", _require_no_gap),
    LevelRule("NumberOfFrames", "0028,0008", "PS3.3, C.7.6.17.3",
              "must come to one frame for each tile of the total pixel matrix", _require_all_frames),
)  # fmt: skip
"""About the parts of a level, each of which meets the requirements."""


def hold(rules: Iterable[LevelRule], named: Named) -> None:
    """Raise ImageError for the first of the rules that is broken."""
    for rule in rules:
        if rule.applies(named):
            rule.require(named)
