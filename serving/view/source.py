"""A slide of the page's folder as a source of predictions: ``view_slide`` in an instance."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from dicom_io.errors import ImageCode, ImageError
from dicom_io.geometry import Patch
from dicom_io.made_of import Reading
from dicom_io.reading import Needs, OpenedImage, PatchTask, ReadOptions
from dicom_io.sources.session import ReadSession, Source
from serving.api.fields import JsonObject, bad, integer, is_object, kind
from serving.api.json_schema import Schema, a_string, an_object
from serving.api.sources.kind import SourceKind
from serving.errors import ServiceError
from serving.view.folder import SlideFolder
from serving.view.handles import FolderHandle, parse_handle

VIEW_FIELD = "view_slide"


@dataclass(frozen=True, slots=True)
class FolderSource:
    """A level of a slide in the folder; a ``Source``."""

    folder: SlideFolder = field(repr=False)
    handle: FolderHandle
    level: int
    shared_key = None

    @property
    def origin(self) -> tuple[str, str]:
        """Opening a slide takes a helper process: nobody else's should wait behind it."""
        return "view", self.handle.text

    def open(self, options: ReadOptions, session: ReadSession) -> OpenedImage:
        """Open the level; see ``Source.open``."""
        try:
            slide, give_back = self.folder.take(self.handle)
        except ServiceError as error:
            raise ImageError(ImageCode.IMAGE_ERROR, error.description) from error
        try:
            if self.level >= len(slide.slide.levels):
                raise ImageError(
                    ImageCode.LEVEL_NOT_FOUND_ERROR, f"The slide has {len(slide.slide.levels)} levels."
                )
            return _Lent(slide.source(self.level).open(options, session), give_back)
        except BaseException:
            give_back()
            raise


class _Lent(OpenedImage):
    """An image whose slide is given back when it is closed."""

    def __init__(self, image: OpenedImage, give_back: Callable[[], None]) -> None:
        self._image, self._give_back = image, give_back
        self.width, self.height, self.memory_bytes = image.width, image.height, image.memory_bytes
        self.decodes_elsewhere, self.fetches = image.decodes_elsewhere, image.fetches
        self.sampling = image.sampling

    def extra_frames(self, patches: int) -> int:
        return self._image.extra_frames(patches)

    def needs(self, patches: Sequence[Patch]) -> Needs:
        return self._image.needs(patches)

    def read(self, patches: Sequence[Patch]) -> Iterator[PatchTask]:
        return self._image.read(patches)

    def reading(self) -> Reading:
        return self._image.reading()

    def close(self) -> None:
        self._image.close()
        self._give_back()


def view_kind(folder: SlideFolder) -> SourceKind:
    """Return the kind of source that names a slide of the folder by its handle."""

    def parse(instance: JsonObject, _patches: tuple[Patch, ...], _state: object) -> Source:
        value = instance[VIEW_FIELD]
        if not is_object(value):
            raise bad(f"{VIEW_FIELD} must be a JSON object, not {kind(value)}.")
        text, level = value.get("slide"), integer(value, "level", VIEW_FIELD)
        if not isinstance(text, str):
            raise bad(f"{VIEW_FIELD}.slide must be a string.")
        handle = parse_handle(text)
        if not isinstance(handle, FolderHandle) or level < 0:
            raise bad(f"{VIEW_FIELD} must be what /view/open answers.")
        return FolderSource(folder, handle, level)

    def write(source: Source) -> JsonObject | None:
        if not isinstance(source, FolderSource):
            return None
        return {VIEW_FIELD: {"slide": source.handle.text, "level": source.level}}

    def schema() -> Schema:
        fields: dict[str, Schema] = {"slide": a_string("Handle of a slide."), "level": {"type": "integer"}}
        return an_object(fields, ["slide", "level"], "A slide of the page's folder.")

    return SourceKind(VIEW_FIELD, parse, write, schema)
