"""The pyramid of a series: which of its instances are levels, whole or in parts. Pure; no I/O."""

from __future__ import annotations

from collections.abc import Sequence

from dicom_io.slides.instance import SopInstance
from dicom_io.slides.level import Level
from dicom_io.slides.level_rules import (
    NAMING_RULES,
    PART_RULES,
    SERIES_RULES,
    Named,
    hold,
    images_of_pyramid,
)
from dicom_io.slides.requirements import MIN_IMAGE_TYPES, SOP_CLASSES, require_valid


def pyramid_images(instances: Sequence[SopInstance]) -> list[SopInstance]:
    """Return the images of a series' pyramid: not its labels, overviews and other objects.

    Raises
    ------
    ImageError
        DICOM_ERROR when the series mixes kinds of images, or holds more than one pyramid.
    """
    images = images_of_pyramid(instances)
    hold(SERIES_RULES, Named(images, ()))
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
    hold(NAMING_RULES, Named(images, wanted))
    parts = parts_of(images, wanted)
    for part in parts:
        require_valid(part, strict=strict)
    hold(PART_RULES, Named(images, wanted, parts))
    first = parts[0]
    rows, columns = first.rows or 0, first.columns or 0
    if first.is_whole_slide:
        return Level(first.total_columns or 0, first.total_rows or 0, columns, rows, tuple(parts))
    return Level(columns, rows, columns, rows, tuple(parts))


def parts_of(images: Sequence[SopInstance], wanted: Sequence[str]) -> list[SopInstance]:
    """Return the instances of the levels that UIDs name, by the offset of their first frame."""
    by_uid = {i.sop_uid: i for i in images}
    named = [by_uid[uid] for uid in dict.fromkeys(wanted) if uid in by_uid]
    whole = {i.concatenation_uid for i in named if i.concatenation_uid}
    parts = [i for i in named if not i.concatenation_uid]
    parts += [i for i in images if whole and i.concatenation_uid in whole]
    return sorted(parts, key=lambda i: i.frame_offset)


def _is_identifiable(instance: SopInstance) -> bool:
    """Return whether an instance is of a known class and, of a whole slide, has an Image Type to judge by."""
    if not instance.is_whole_slide:
        return instance.sop_class in SOP_CLASSES
    return len(instance.image_type) >= MIN_IMAGE_TYPES
