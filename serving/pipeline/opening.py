"""Opening the images of a request: when it is their turn, or ahead of it in threads that wait for stores."""

from __future__ import annotations

import itertools
from collections import Counter, deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial

from dicom_io.errors import ImageError
from dicom_io.geometry import Patch, require_inside
from dicom_io.reading import OpenedImage, ReadStage
from dicom_io.sources.session import ReadSession
from dicom_io.sources.shared_raster import RasterRegistry
from model.encoder import PATCH_SIDE
from serving.errors import Code, Fault, ServiceError
from serving.pipeline.faults import Faults, or_fault
from serving.pipeline.magnification import MagnificationGuard
from serving.pipeline.outcome import MagnificationWarning
from serving.pipeline.types import Instance, Item
from serving.pipeline.waits import Waits

OPENED_AHEAD = 8
"""Images of a request that are being opened at the same time, each perhaps at a store."""


OpenInstance = Callable[[Instance, ReadSession], OpenedImage]
"""Opens the image of an instance."""


@dataclass(frozen=True, slots=True)
class Opened:
    """An image that could be opened.

    Attributes
    ----------
    position:
        Of its instance in the request.
    indexes:
        Of the patches that are read, in the request.
    patches:
        They themselves: those of the instance, but for what has been refused.
    magnification:
        What the magnification guard says of it.
    """

    position: int
    indexes: Sequence[int]
    patches: Sequence[Patch]
    instance: Instance
    image: OpenedImage
    magnification: MagnificationWarning | None = None


@dataclass(frozen=True, slots=True)
class _Opening:
    """An image that is not open yet; without a future it is opened at its turn, which waits for nothing."""

    position: int
    instance: Instance
    image: Future[OpenedImage | Fault] | None


class OpenedImages:
    """The images of a request in the order in which they are read, those that share one after the other.

    What a request has brought with it is opened at its turn; only waits for a store are worth an early start.

    Parameters
    ----------
    faults:
        Gets the faults of those that cannot be opened, and those that items have already.
    patch_faults:
        Gets those of single patches, by their index in the request.
    frames:
        Frames beyond one a patch that the request may have decoded.
    guard:
        Judges their magnification, before anything of them is fetched or decoded.
    open_:
        Opens images in place of ``open_instance``; called in the threads that wait for stores, too.
    """

    def __init__(
        self,
        items: Sequence[Item],
        session: ReadSession,
        waits: Waits,
        faults: Faults,
        patch_faults: Faults,
        frames: int,
        guard: MagnificationGuard,
        open_: OpenInstance | None = None,
    ) -> None:
        self._guard, self._open = guard, open_ or open_instance
        self._session = session
        self._waits = waits
        self._faults = faults
        self._patch_faults = patch_faults
        self._frames_left = frames
        counts = (0 if isinstance(item, Fault) else len(item.patches) for item in items)
        self._firsts = [0, *itertools.accumulate(counts)]
        self._items = iter(_by_source(items))
        self._opening: deque[_Opening] = deque()
        self._head: Opened | None = None

    @property
    def is_here(self) -> bool:
        """Whether ``head`` returns at once."""
        self._open_ahead()
        while self._head is None and self._opening:
            image = self._opening[0].image
            if image is not None and not image.done():
                return False
            self._open_next()
        return True

    def head(self) -> Opened | None:
        """Wait for the next image that can be opened, and return it; ``None`` when there are no more."""
        self._open_ahead()
        while self._head is None and self._opening:
            self._open_next()
        return self._head

    def take(self) -> Opened:
        """Return what ``head`` returns, for good."""
        opened, self._head = self._head, None
        assert opened is not None  # head() has been asked
        return opened

    def close(self) -> None:
        """Let go of all images that were not taken: also those that are still being opened."""
        if self._head is not None:
            self._head.image.close()
        for opening in self._opening:
            if opening.image is not None and not opening.image.cancel():
                opening.image.add_done_callback(_close)

    def _open_next(self) -> None:
        """Open the first of the images, or wait for it; it is the head then, or has a fault."""
        opening = self._opening[0]
        if opening.image is None:
            image = or_fault(partial(self._open, opening.instance, self._session))
        else:
            with self._session.measure(ReadStage.FETCH):
                image = self._waits.result(opening.image)
        self._opening.popleft()  # not before: ``close`` must know it when the wait is given up
        if isinstance(image, Fault):
            self._faults[opening.position] = image
        else:
            with self._faults.of([opening.position]):
                self._head = self._to_read(opening, image)
        self._open_ahead()

    def _open_ahead(self) -> None:
        while len(self._opening) < OPENED_AHEAD and (entry := next(self._items, None)) is not None:
            position, item = entry
            if isinstance(item, Fault):
                self._faults[position] = item
            else:
                self._opening.append(_Opening(position, item, self._begin_to_open(item)))

    def _begin_to_open(self, instance: Instance) -> Future[OpenedImage | Fault] | None:
        if (origin := instance.source.origin) is None:
            return None
        return self._session.context.io.at(origin).submit(
            or_fault, partial(self._open, instance, self._session)
        )

    def _to_read(self, opening: _Opening, image: OpenedImage) -> Opened | None:
        """Return what is to be read of an image; ``None`` where all its patches have faults of their own."""
        instance, first = opening.instance, self._firsts[opening.position]
        indexes: Sequence[int] = range(first, first + len(instance.patches))
        patches: Sequence[Patch] = instance.patches
        if instance.extras.per_patch_errors:
            for index, patch in zip(indexes, patches, strict=True):
                with self._patch_faults.of([index]):
                    _require_size(patch)
                    _require_inside(patch, instance, image)
            indexes = [index for index in indexes if index not in self._patch_faults]
            patches = [instance.patches[index - first] for index in indexes]
            if not patches:
                image.close()
                return None
        try:
            warning = self._guard.check(image.sampling)
            if frames := image.extra_frames(len(patches)):
                self._count(frames)
        except ServiceError:
            image.close()
            raise
        return Opened(opening.position, indexes, patches, instance, image, warning)

    def _count(self, frames: int) -> None:
        """Count frames of resized levels against what the request may have decoded."""
        if frames > self._frames_left:
            raise ServiceError(
                Code.TOO_MANY_PATCHES_ERROR,
                f"Reading this level at another size takes {frames} reads more than its patches, and "
                f"{self._frames_left} are left for the request; send fewer patches, or use a smaller level.",
            )
        self._frames_left -= frames


def open_instance(instance: Instance, session: ReadSession) -> OpenedImage:
    """Open the image of an instance, and hold its patches to it, unless they may have faults of their own.

    Raises
    ------
    ServiceError, ImageError
    """
    if instance.extras.per_patch_errors:
        return instance.source.open(instance.options, session)
    for patch in instance.patches:
        _require_size(patch)
    image = instance.source.open(instance.options, session)
    try:
        for patch in instance.patches:
            _require_inside(patch, instance, image)
    except ImageError:
        image.close()
        raise
    return image


def _require_size(patch: Patch) -> None:
    if (patch.width, patch.height) != (PATCH_SIDE, PATCH_SIDE):
        raise ServiceError(
            Code.INCOMPATIBLE_PATCH_DIMENSIONS_ERROR,
            f"A patch is {patch.width}x{patch.height} pixels; the model takes {PATCH_SIDE}x{PATCH_SIDE}.",
        )


def _require_inside(patch: Patch, instance: Instance, image: OpenedImage) -> None:
    if instance.options.require_inside:
        require_inside(patch, image.width, image.height)


def _close(future: Future[OpenedImage | Fault]) -> None:
    if not isinstance(image := future.result(), Fault):
        image.close()


def _shared_key(item: Item) -> Hashable | None:
    return None if isinstance(item, Fault) else item.source.shared_key


def shared_images(items: Sequence[Item]) -> RasterRegistry:
    """Return a registry of the images that several of a request's instances name."""
    return RasterRegistry(Counter(key for item in items if (key := _shared_key(item)) is not None))


def _by_source(items: Sequence[Item]) -> list[tuple[int, Item]]:
    """Return the items with their positions, those that share an image one after the other."""
    first: dict[Hashable, int] = {}
    order = [first.setdefault(_shared_key(item) or ("own", index), index) for index, item in enumerate(items)]
    return [(index, items[index]) for index in sorted(range(len(items)), key=order.__getitem__)]
