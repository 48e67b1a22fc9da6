"""The pyramid of a series: which of its instances are levels, whole or in parts. Pure; no I/O."""

from __future__ import annotations

from collections.abc import Sequence

from dicom_io.errors import ImageCode, ImageError
from dicom_io.slides.instance import SopInstance
from dicom_io.slides.level import Level
from dicom_io.slides.requirements import MIN_IMAGE_TYPES, SOP_CLASSES, require_valid

MAX_FRAMES = 1 << 31


def pyramid_images(instances: Sequence[SopInstance]) -> list[SopInstance]:
    """Return the images of a series' pyramid: not its labels, overviews and other objects.

    Raises
    ------
    ImageError
        DICOM_ERROR when the series mixes kinds of images, or holds more than one pyramid.
    """
    images = [i for i in instances if i.sop_class in SOP_CLASSES and i.is_level]
    if len({i.sop_class for i in images}) > 1:
        raise ImageError(
            ImageCode.DICOM_ERROR,
            "The series mixes SOP classes of microscopy; an image must have its own series.",
        )
    if any(i.is_whole_slide for i in images):
        for name, uids in (
            ("PyramidUID (0008,0019)", {i.pyramid_uid for i in images if i.pyramid_uid}),
            (
                "FrameOfReferenceUID (0020,0052)",
                {i.frame_of_reference_uid for i in images if i.frame_of_reference_uid},
            ),
        ):
            if len(uids) > 1:
                raise ImageError(
                    ImageCode.DICOM_ERROR, f"The series holds more than one pyramid: its {name} differs."
                )
    return images


def pyramid_levels(instances: Sequence[SopInstance], *, strict: bool) -> tuple[Level, ...]:
    """Return the levels of a series' pyramid, checked, largest first; a concatenation is one level.

    Raises
    ------
    ImageError
        As ``pyramid_images`` and ``select_level``.
    """
    levels: dict[str, Level] = {}
    for image in pyramid_images(instances):
        key = image.concatenation_uid or str(image.sop_uid)
        if key not in levels:
            levels[key] = select_level(instances, [str(image.sop_uid)], strict=strict)
    return tuple(sorted(levels.values(), key=lambda level: -level.width * level.height))


def select_level(instances: Sequence[SopInstance], wanted: Sequence[str], *, strict: bool) -> Level:
    """Return the level that a request names, checked.

    Parameters
    ----------
    instances:
        The whole series.
    wanted:
        SOP instance UIDs; naming one part of a concatenation names the level.
    strict:
        See ``require_valid``.

    Raises
    ------
    ImageError
        LEVEL_NOT_FOUND_ERROR, INSTANCES_NOT_CONCATENATED_ERROR, DICOM_TILED_FULL_ERROR or DICOM_ERROR.
    """
    by_uid = {i.sop_uid: i for i in instances}
    for uid in wanted:
        if uid in by_uid and not _is_identifiable(by_uid[uid]):
            require_valid(by_uid[uid], strict=strict)
    images = pyramid_images(instances)
    found = {i.sop_uid: i for i in images}
    for uid in wanted:
        if uid not in found:
            raise ImageError(
                ImageCode.LEVEL_NOT_FOUND_ERROR,
                f"SOP instance {uid} is not a pyramid image of this series; name one of a VOLUME level.",
            )
    first = found[wanted[0]]
    if len(set(wanted)) > 1 and (
        not first.concatenation_uid or len({found[uid].concatenation_uid for uid in wanted}) > 1
    ):
        raise ImageError(
            ImageCode.INSTANCES_NOT_CONCATENATED_ERROR,
            "The instances named are not parts of one concatenation; name one level.",
        )
    parts = [first]
    if first.concatenation_uid:
        parts = [i for i in images if i.concatenation_uid == first.concatenation_uid]
    return _level(sorted(parts, key=lambda i: i.frame_offset), strict=strict)


def _is_identifiable(instance: SopInstance) -> bool:
    """Return whether an instance is of a known class and, of a whole slide, has an Image Type to judge by."""
    if not instance.is_whole_slide:
        return instance.sop_class in SOP_CLASSES
    return len(instance.image_type) >= MIN_IMAGE_TYPES


def _level(parts: list[SopInstance], *, strict: bool) -> Level:
    for part in parts:
        require_valid(part, strict=strict)
    first = parts[0]
    _require_alike(parts)
    rows, columns = first.rows or 0, first.columns or 0
    if first.is_whole_slide:
        level = Level(first.total_columns or 0, first.total_rows or 0, columns, rows, tuple(parts))
    else:
        level = Level(columns, rows, columns, rows, tuple(parts))
    _require_all_frames(level)
    return level


def _require_alike(parts: list[SopInstance]) -> None:
    descriptions = {
        (p.rows, p.columns, p.total_rows, p.total_columns, p.samples, p.photometric, p.planar) for p in parts
    }
    if len(descriptions) > 1:
        raise ImageError(ImageCode.DICOM_ERROR, "The parts of the concatenation describe different images.")
    syntaxes = [set(p.transfer_syntaxes) for p in parts if p.transfer_syntaxes]
    if syntaxes and not set.intersection(*syntaxes):
        raise ImageError(ImageCode.DICOM_ERROR, "The level has more than one transfer syntax.")


def _require_all_frames(level: Level) -> None:
    expected = 0
    for part in level.parts:
        if part.frame_offset != expected:
            raise ImageError(
                ImageCode.DICOM_ERROR,
                f"The concatenation misses frames before frame {part.frame_offset + 1}: a part is not in the "
                "store, or ConcatenationFrameOffsetNumber (0020,9228) is wrong.",
            )
        expected += part.frames
    if expected != level.frames or level.frames > MAX_FRAMES:
        raise ImageError(
            ImageCode.DICOM_ERROR,
            f"The level has {expected} frames, but {level.width}x{level.height} pixels in tiles of "
            f"{level.tile_width}x{level.tile_height} take {level.frames}; "
            f"SOP instance {level.instance.sop_uid}.",
        )
