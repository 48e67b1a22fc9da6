"""The seam of images: the interface of every kind of image, wherever its bytes come from.

>>> with closing(source.open(ReadOptions(), session)) as image:
...     for task in image.read(patches):
...         task.wait()
...         for index, pixels in zip(task.indexes, task.pixels(), strict=True):
...             use(patches[index], pixels)

or ``task.write(places)`` where there is memory for them already.

``wait`` belongs in the thread that serves a request, the pixels in a pool of threads: stores and files differ
in the first alone, and several small tasks may share one turn of a pool.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from dicom_io.colour.profiles import IccTarget
from dicom_io.errors import ImageError, ImageFault
from dicom_io.geometry import Patch, Sampling, Spacing, UInt8Array
from dicom_io.made_of import Reading

PATCHES_AT_ONCE = 16
"""Patches of one task, unless there is a reason for fewer: a batch of the encoder on a CPU."""

SLOW_PATCHES_AT_ONCE = 8
"""Patches of one task where each may take long, as in a decoding helper."""


class ReadStage(StrEnum):
    """What time is spent on between naming an image and having its pixels.

    A caller that times more than reading has stages of its own beside these.
    """

    FETCH = "fetch"
    DECODE = "decode"
    COLOUR = "colour"


Measure = Callable[[ReadStage], AbstractContextManager[None]]


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How an instance's pixels are to be read (the API's ``extensions``).

    Attributes
    ----------
    image_dimensions:
        (width, height) in pixels to resize the whole image to before patches are cut.
    icc_target:
        Colour space that the image's own ICC profile is transformed to.
    require_inside:
        Whether a patch that is partly outside of the image is an error (else it is black there).
    stored_spacing:
        Size of a pixel as stored, which the caller gives in place of what the image says. It changes no
        pixel: it is what is told of the image, and what its magnification is judged by.
    """

    image_dimensions: tuple[int, int] | None = None
    icc_target: IccTarget = IccTarget.NONE
    require_inside: bool = True
    stored_spacing: Spacing | None = None


def _nothing_to_wait_for() -> None:
    pass


@dataclass(frozen=True, slots=True)
class PatchTask:
    """A few patches of an image that are read together.

    Attributes
    ----------
    indexes:
        Which they are, as indexes of the patches that ``OpenedImage.read`` was given.
    pixels:
        Returns uint8 RGB ``[height, width, 3]`` for each of them; computes, and may be called in any thread
        once ``wait`` has returned. Raises ImageError.
    wait:
        Waits until everything that ``pixels`` needs has arrived, or the image's waits end. Raises
        ImageError, Cancelled, TimeoutError.
    ready:
        Returns whether ``wait`` is known to return at once.
    into:
        Does as ``pixels``, but writes them where they are wanted, a contiguous uint8 ``[height, width, 3]``
        for each; ``None`` where nothing is saved by it.
    split:
        Returns tasks of one patch each, in the order of ``indexes``, that are used in place of this one: what
        one of them raises concerns its patch alone. ``None`` where patches fail with their whole image.
    """

    indexes: Sequence[int]
    pixels: Callable[[], list[UInt8Array]]
    wait: Callable[[], None] = _nothing_to_wait_for
    ready: Callable[[], bool] = lambda: True
    into: Callable[[Sequence[UInt8Array]], None] | None = None
    split: Callable[[], Sequence[PatchTask]] | None = None

    def write(self, places: Sequence[UInt8Array]) -> None:
        """Write the pixels of each patch to its place, a contiguous uint8 ``[height, width, 3]``.

        After an error the places hold anything.

        Raises
        ------
        ImageError
        """
        if self.into is not None:
            self.into(places)
            return
        for place, pixels in zip(places, self.pixels(), strict=True):
            place[...] = pixels


@dataclass(frozen=True, slots=True)
class Needs:
    """What reading patches of an image takes.

    Attributes
    ----------
    frames:
        Frames, or tiles, that the patches are put together from, each once; ``None`` of an image that is
        decoded as a whole.
    bytes:
        Encoded bytes of these, or of the image; ``None`` where nothing tells.
    basis:
        How ``bytes`` is known, or why it is not: a clause.
    """

    frames: int | None
    bytes: int | None
    basis: str


class OpenedImage(Protocol):
    """An image whose header or metadata have been read; kinds of images inherit from it.

    Attributes
    ----------
    width, height:
        Size in pixels of the frame that patches are given in (after any resize).
    memory_bytes:
        What reading it holds at its peak; the caller keeps the sum within a budget.
    decodes_elsewhere:
        Whether ``PatchTask.pixels`` waits for a decoding helper, and a thread meant for computing should not.
    fetches:
        Whether ``PatchTask.wait`` waits for a store: then nobody else's patches should wait behind it.
    sampling:
        The size at which it is read, beside that in which it is stored, with the size of a pixel of each.
    """

    width: int
    height: int
    memory_bytes: int
    decodes_elsewhere: bool
    fetches: bool = False
    sampling: Sampling

    def extra_frames(self, patches: int) -> int:
        """Return how many frames are decoded for so many patches, beyond one for each of them."""
        return 0

    def needs(self, patches: Sequence[Patch]) -> Needs:
        """Return what reading these patches takes; nothing is fetched, and nothing decoded.

        Raises
        ------
        ImageError
            When these patches cannot be read together: what ``read`` raises at once.
        """
        return Needs(None, None, "nothing tells")

    def read(self, patches: Sequence[Patch]) -> Iterator[PatchTask]:
        """Start fetching for these patches, and return tasks that cover them, in the best order to read them.

        Called once. Tasks are to be waited for in their order.

        Raises
        ------
        ImageError
            When these patches cannot be read together.
        """
        ...

    def reading(self) -> Reading:
        """Return what its patches have been made of; called once they have been read, before ``close``.

        It may ask the store for the image's colour profile, and computes what nobody else has a use for.

        Raises
        ------
        Cancelled
        """
        ...

    def close(self) -> None:
        """Stop fetching and free everything; called once, when no task is running."""
        return


def in_chunks(order: Sequence[int], size: int = PATCHES_AT_ONCE) -> Iterator[Sequence[int]]:
    """Yield a sequence of indexes, a few at a time."""
    return (order[first : first + size] for first in range(0, len(order), size))


def read_here(image: OpenedImage, patches: Sequence[Patch]) -> list[UInt8Array]:
    """Read patches in the calling thread, one task after the other, and close the image.

    Returns
    -------
    uint8 RGB ``[height, width, 3]`` for each patch, in their order.

    Raises
    ------
    ImageError, Cancelled, TimeoutError
    """
    with contextlib.closing(image):
        return read_open(image, patches)


def read_open(image: OpenedImage, patches: Sequence[Patch]) -> list[UInt8Array]:
    """Read patches as ``read_here`` does, and leave the image open."""
    found: dict[int, UInt8Array] = {}
    for task in image.read(patches):
        task.wait()
        found |= zip(task.indexes, task.pixels(), strict=True)
    return [found[index] for index in range(len(patches))]


def read_each(image: OpenedImage, patches: Sequence[Patch]) -> list[UInt8Array | ImageFault]:
    """Read patches as ``read_open`` does, with a fault in place of one that fails alone.

    Raises
    ------
    ImageError
        What concerns the whole image.
    Cancelled, TimeoutError
    """
    found: dict[int, UInt8Array | ImageFault] = {}
    for task in image.read(patches):
        if task.split is None:
            task.wait()
            found |= zip(task.indexes, task.pixels(), strict=True)
            continue
        for one in task.split():
            try:
                one.wait()
                found |= zip(one.indexes, one.pixels(), strict=True)
            except ImageError as error:
                found[one.indexes[0]] = error.fault
    return [found[index] for index in range(len(patches))]
