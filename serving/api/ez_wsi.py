"""``extensions.ez_wsi_state``: what Google's client library (ez-wsi-dicomweb) already knows of an image.

Here its JSON becomes the values of ``dicom_io.sources.client_state``. A state of a kind that is unknown
here is ignored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dicom_io.codecs.frame_format import NATIVE
from dicom_io.colour.profiles import IccTarget
from dicom_io.geometry import Patch
from dicom_io.slides.instance import JsonDataset, SopInstance, parse_instance
from dicom_io.sources.client_state import ImageState, SlideState, decode_base64
from dicom_io.web.series_path import SeriesPath
from serving.api.fields import JsonObject, is_object
from serving.errors import Code, ServiceError

_ICC_IS_KNOWN = 1
_LEVEL_MAPS = (("level_map", "level_map"), ("untiled_microscope_image_map", "untiled_image_map"))
_PLANAR_CONFIGURATION = "00280006"


def parse_slide_state(value: object, path: SeriesPath, named: Sequence[str]) -> SlideState | None:
    """Read the state of a DICOM slide or microscope image.

    Parameters
    ----------
    path, named:
        The series and the SOP instances that the request names.

    Raises
    ------
    ServiceError
        EZ_WSI_STATE_ERROR when it is malformed or contradicts the request or itself.
    """
    if value is None:
        return None
    state = _object(value, "ez_wsi_state")
    found = next(((a, b) for a, b in _LEVEL_MAPS if a in state), None)
    if found is None:
        return None
    holder = _object(state[found[0]], found[0])
    levels = _object(holder.get(found[1]), found[1])
    _require_same_series(_object(state.get("slide_path"), "slide_path"), path)
    instances = [i for level in levels.values() for i in _instances(_object(level, "a level"), path)]
    icc = holder.get("icc_profile")
    knows_icc, profile = (False, None) if icc is None else _icc(_object(icc, "icc_profile"))
    return SlideState(tuple(i for i in instances if i.sop_uid in named), knows_icc, profile)


def parse_image_state(value: object, patches: Sequence[Patch]) -> ImageState | None:
    """Read the state of an image other than DICOM.

    Parameters
    ----------
    patches:
        The request's patches; a state with patches has one image for each, in this order.

    Raises
    ------
    ServiceError
        EZ_WSI_STATE_ERROR when it is malformed or does not fit the patches.
    """
    if value is None:
        return None
    state = _object(value, "ez_wsi_state")
    image, images = state.get("image"), state.get("patches")
    if image is None and images is None:
        return None
    if image is not None and images is not None:
        raise _bad("it has both image and patches")
    if image is not None and not isinstance(image, str):
        raise _bad("image must be a base64 string")
    size = _source_size(state)
    if images is not None and size is None:
        raise _bad("patches need source_image_width_px and source_image_height_px")
    return ImageState(image, _by_patch(images, patches), size, _normalisation(state))


def _bad(what: str) -> ServiceError:
    return ServiceError(
        Code.EZ_WSI_STATE_ERROR,
        f"extensions.ez_wsi_state cannot be used: {what}. Send what ez-wsi-dicomweb makes, or none.",
    )


def _object(value: object, name: str) -> JsonObject:
    if not is_object(value):
        raise _bad(f"{name} must be a JSON object")
    return value


def _whole(value: object, name: str) -> int:
    """Return a size; clients may send integers as doubles."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**31:
        raise _bad(f"{name} must be a positive integer")
    return value


# Slides


def _require_same_series(slide: JsonObject, path: SeriesPath) -> None:
    if (slide.get("study_uid"), slide.get("series_uid")) != (path.study_uid, path.series_uid):
        raise _bad("its slide_path is not the series of dicom_path.series_path")


def _instances(level: JsonObject, path: SeriesPath) -> Iterator[SopInstance]:
    """Yield the SOP instances of a level that the state describes fully enough."""
    for value in _object(level.get("instances"), "instances").values():
        described = _object(_object(value, "an instance").get("dicom_object"), "dicom_object")
        tags = _object(described.get("dicom_tags"), "dicom_tags")
        instance = parse_instance(tags)
        for uid, named in ((instance.study_uid, path.study_uid), (instance.series_uid, path.series_uid)):
            if uid is not None and uid != named:
                raise _bad("an instance in it is of another series")
        _require_sizes(level, instance)
        if _says_enough(instance, tags):
            yield instance


def _require_sizes(level: JsonObject, instance: SopInstance) -> None:
    """Require that the sizes a level states are those of its instances."""
    whole = instance.is_whole_slide
    for name, said in (
        ("width", instance.total_columns if whole else instance.columns),
        ("height", instance.total_rows if whole else instance.rows),
        ("frame_width", instance.columns),
        ("frame_height", instance.rows),
    ):
        if name in level and said is not None and _whole(level[name], name) != said:
            raise _bad(f"a level's {name} is not that of its instances")


def _says_enough(instance: SopInstance, tags: JsonDataset) -> bool:
    """Return whether this suffices to read pixels rightly; the client leaves some attributes out."""
    if not instance.transfer_syntaxes:
        return False
    encoded = NATIVE.isdisjoint(instance.transfer_syntaxes)
    return encoded or instance.samples == 1 or _PLANAR_CONFIGURATION in tags


def _icc(icc: JsonObject) -> tuple[bool, bytes | None]:
    text = icc.get("icc_profile_bytes_as_b64_encoded_str", "")
    if not isinstance(text, str):
        raise _bad("the ICC profile must be a base64 string")
    return icc.get("metadata_state") == _ICC_IS_KNOWN, decode_base64(text) or None


# Other images


def _source_size(state: JsonObject) -> tuple[int, int] | None:
    names = ("source_image_width_px", "source_image_height_px")
    given = [name for name in names if state.get(name) is not None]
    if not given:
        return None
    if len(given) == 1:
        raise _bad(f"it has {given[0]} alone")
    return _whole(state[names[0]], names[0]), _whole(state[names[1]], names[1])


def _by_patch(images: object, patches: Sequence[Patch]) -> dict[Patch, str]:
    if images is None:
        return {}
    if not isinstance(images, list) or not all(isinstance(image, str) for image in images):
        raise _bad("patches must be a list of base64 strings")
    if len(images) != len(patches):
        raise _bad(f"it has {len(images)} patches, patch_coordinates has {len(patches)}")
    found: dict[Patch, str] = {}
    for patch, image in zip(patches, images, strict=True):
        if found.setdefault(patch, image) != image:
            raise _bad("it has two different images for the same patch")
    return found


def _normalisation(state: JsonObject) -> IccTarget:
    try:
        return IccTarget.named(state.get("icc_profile_metadata_normalization"))
    except ValueError:
        raise _bad(f"icc_profile_metadata_normalization must be one of {', '.join(IccTarget)}") from None
