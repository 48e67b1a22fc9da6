"""Fetching the frames of a level that a request needs: each once, in large requests, ahead of their use."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Hashable, Iterable, Sequence
from concurrent.futures import Future
from functools import partial

from dicom_io.codecs.frame_format import NATIVE, FrameError
from dicom_io.errors import ImageCode, ImageError, ImageFault
from dicom_io.geometry import UInt8Array
from dicom_io.reading import Needs
from dicom_io.slides.frame_cache import EncodedFrame, FrameCache, SharedFrame
from dicom_io.slides.level import TiledLevel
from dicom_io.slides.series import FRAME_SLACK, FRAMES_PER_GET, FrameStore
from dicom_io.waiting import Stop

_Entry = tuple[int, int, SharedFrame]
"""A frame of the level from 0, its number in its SOP instance from 1, and where it is awaited."""

_GIVEN_UP = ImageFault(ImageCode.HTTP_ERROR, "A frame was not fetched: who asked for it gave up.")
"""Of frames whose request has ended: who shares one asks anew."""

_FAILED_IN_A_ROW = 20
"""Frames that are asked for alone, and do not come, before it is the store that fails, not a frame."""

_BYTES_PER_GET = 16 << 20
_GETS_AHEAD = 4


class FrameFetcher:
    """The frames of one level for one instance of a request.

    One thread plans and waits; frames arrive in the store's own threads, and pixels are asked for by those
    that compute. Frames that several requests need are in the cache while they are still on their way: who
    claims one first fetches it, and the others wait for that. A request that ends takes down only what it
    asked of the store itself; who waited for that asks anew, in its own name.
    """

    def __init__(self, store: FrameStore, cache: FrameCache[Hashable], level: TiledLevel) -> None:
        self._store = store
        self._cache = cache
        self._level = level
        self._form = level.form
        # Metadata may come from a caller, so a frame is shared only by those who read it in the same way.
        self._shared_by = (store.key, self._form, level.transfer_syntaxes)
        # Guards _uses, _frames and _arrived, which the threads that compute change, too (``done_with``). Who
        # only looks a frame up does so without it: one is put in before its patches are read, and goes after.
        self._lock = threading.Lock()
        self._queue: list[int] = []
        self._next = 0
        self._uses: Counter[int] = Counter()
        self._frames: dict[int, SharedFrame] = {}
        self._mine: set[int] = set()
        self._alone: set[int] = set()
        self._failed_in_a_row = 0
        self._arrived: set[int] = set()
        self._came_in: set[str | None] = set()
        self._coming: deque[SharedFrame] = deque()
        self._asking: list[Future[ImageFault]] = []
        self._stop = Stop()

    @property
    def bytes_ahead(self) -> int:
        """Bytes of frames that are held at once: decoded, and what small ones may come in before that."""
        frames = min(self._level.frames, self._most_ahead)
        return (self._form.decoded_bytes + FRAME_SLACK) * frames

    @property
    def came_in(self) -> frozenset[str | None]:
        """Transfer syntaxes in which frames came that were waited for; ``None`` for pixels as such."""
        return frozenset(self._came_in)

    @property
    def _per_get(self) -> int:
        return min(self._store.frames_per_get, self._most_ahead // _GETS_AHEAD)

    @property
    def _most_ahead(self) -> int:
        return _GETS_AHEAD * max(1, min(FRAMES_PER_GET, _BYTES_PER_GET // self._form.native_bytes))

    def needs(self, frames: int) -> Needs:
        """Return what it takes to fetch so many frames, each once; fetches none."""
        syntax = next(iter(self._level.transfer_syntaxes), None)
        if syntax is None:
            return Needs(frames, None, "the store does not say how its frames are compressed")
        if syntax in NATIVE:
            return Needs(frames, frames * self._form.native_bytes, "frames as they are stored, uncompressed")
        rate = self._cache.sizes.bytes_a_pixel(syntax)
        if rate is None:
            return Needs(frames, None, "no frame in this transfer syntax has been fetched lately")
        size = round(frames * rate * self._form.width * self._form.height)
        return Needs(frames, size, "estimated from frames in this transfer syntax that were fetched lately")

    def plan(self, needs: Sequence[Sequence[int]]) -> None:
        """Start fetching the frames that patches need, in the order in which these are read.

        Parameters
        ----------
        needs:
            For each patch the frames (from 0) that it touches.
        """
        self._uses = Counter(frame for frames in needs for frame in frames)
        self._queue = list(dict.fromkeys(frame for frames in needs for frame in frames))
        self._fetch_ahead()

    def wait(self, frames: Iterable[int]) -> None:
        """Wait until frames have been fetched, and keep the next ones coming.

        Raises
        ------
        ImageError
            What fetching them raised; HTTP_ERROR when the deadline passes.
        Cancelled
        """
        for frame in frames:
            if frame in self._arrived:
                continue  # most frames are waited for by several patches
            while frame not in self._frames and self._next < len(self._queue):
                self._fetch_more()
            if frame not in self._frames:
                self._claim([frame])
            self._wait_for(frame)
            self._arrived.add(frame)
        self._fetch_ahead()

    def wait_for_each(self, frames: Iterable[int]) -> None:
        """Wait as ``wait`` does, for all of the frames whatever becomes of one.

        One that failed in a request for several is asked for alone: it may not have been the reason. Where
        that comes to nothing for many in a row, the store is down, and is not asked so any more.

        Raises
        ------
        ImageError
            Of the first frame that did not come.
        Cancelled
        """
        fault: ImageFault | None = None
        for frame in frames:
            if frame in self._arrived:
                continue
            try:
                self.wait([frame])
                self._failed_in_a_row = 0
            except ImageError as error:
                fault = fault or self._fault_alone(frame, error.fault)
        if fault is not None:
            raise ImageError.of(fault)

    def _fault_alone(self, frame: int, fault: ImageFault) -> ImageFault | None:
        """Return why a frame that has failed does not come alone, either."""
        if frame in self._alone or self._failed_in_a_row >= _FAILED_IN_A_ROW:
            return fault
        self._alone.add(frame)
        self._claim([frame])
        try:
            self._wait_for(frame)
        except ImageError as error:
            self._failed_in_a_row += 1
            return error.fault
        self._arrived.add(frame)
        self._failed_in_a_row = 0
        return None

    def pixels(self, frame: int) -> UInt8Array:
        """Return a decoded frame.

        Raises
        ------
        ImageError
            The level's ``fault_code`` when it does not decode.
        """
        shared = self._frames[frame]
        try:
            return shared.pixels(self._form)
        except FrameError as error:
            self._cache.forget(self._key(frame), shared)
            raise ImageError(
                self._level.fault_code, f"A frame cannot be decoded: {error}; {self._level.describe(frame)}."
            ) from error

    def done_with(self, frames: Iterable[int]) -> None:
        """Let go of frames after the last patch that needs them."""
        with self._lock:
            for frame in frames:
                self._uses[frame] -= 1
                if self._uses[frame] <= 0:
                    self._frames.pop(frame, None)
                    self._arrived.discard(frame)

    def close(self) -> None:
        """Stop fetching, what is on its way included: others who share it ask in their own name."""
        self._stop.set()
        for asked in self._asking:
            asked.cancel()
        self._asking.clear()  # each refers to this object, to report to it when it ends
        self._frames.clear()

    def _key(self, frame: int) -> Hashable:
        """Return what names a frame of the level (from 0) in the cache."""
        return (*self._shared_by, self._level.address(frame))

    def _wait_for(self, frame: int) -> None:
        while True:
            shared = self._frames[frame]
            try:
                came = self._store.waits.result(shared.fetched)
            except TimeoutError as error:
                raise ImageError(ImageCode.HTTP_ERROR, "The store did not send a frame in time.") from error
            if not isinstance(came, ImageFault):
                # Once it has been decoded, for somebody else perhaps, only the frame itself knows.
                self._came_in.add(came.syntax if isinstance(came, EncodedFrame) else shared.syntax)
                return
            self._cache.forget(self._key(frame), shared)
            if frame in self._mine:
                raise ImageError.of(came)
            # Another request's failure is not ours: ask in our own name, for all that failed with it.
            self._claim([frame, *self._failed_elsewhere(frame)])

    def _failed_elsewhere(self, but: int) -> list[int]:
        failed = [
            (frame, shared)
            for frame, shared in list(self._frames.items())
            if frame != but and frame not in self._mine and shared.failed
        ]
        for frame, shared in failed:
            self._cache.forget(self._key(frame), shared)
        return [frame for frame, _ in failed]

    def _fetch_ahead(self) -> None:
        """Keep a few requests' worth of frames on their way."""
        while self._coming and self._coming[0].fetched.done():
            self._coming.popleft()
        while self._next < len(self._queue):
            # What has come behind a frame that has not counts as coming: this is asked for every patch, and
            # to look at all of them would take longer than decoding.
            coming, held, most = len(self._coming), len(self._frames), self._most_ahead
            if coming > most - self._per_get or held > most:
                return
            self._fetch_more()

    def _fetch_more(self) -> None:
        batch = self._queue[self._next : self._next + self._per_get]
        self._next += len(batch)
        self._claim(batch)

    def _claim(self, batch: Sequence[int]) -> None:
        """Take frames from the cache and ask the store for the others, a request for each SOP instance."""
        keys = [self._key(frame) for frame in batch]
        shared, mine = self._cache.claim(keys, self._form.decoded_bytes)
        with self._lock:
            self._frames.update(zip(batch, shared, strict=True))
            self._mine.update(batch[position] for position in mine)
        self._coming.extend(shared)
        by_part: dict[str, list[_Entry]] = {}
        for position in mine:
            where = self._level.address(batch[position])
            entry = (batch[position], where.number, shared[position])
            by_part.setdefault(where.part, []).append(entry)
        self._asking = [asked for asked in self._asking if not asked.done()]
        for part, entries in by_part.items():
            asked = self._store.io.submit(self._get, part, sorted(entries, key=lambda e: e[1]))
            asked.add_done_callback(partial(self._end, entries))
            self._asking.append(asked)

    def _get(self, part: str, entries: list[_Entry]) -> ImageFault:
        """Send one request, in an I/O thread, and hand its frames on; return why the others do not come."""
        if self._stop.is_set():
            return _GIVEN_UP
        waiting = {number: shared for _, number, shared in entries}
        try:
            for number, encoded in self._store.frames_of(part, list(waiting), self._form, self._stop):
                if isinstance(encoded, EncodedFrame):
                    self._cache.sizes.add(
                        encoded.syntax, len(encoded.data), self._form.width * self._form.height
                    )
                waiting[number].fetched.set_result(encoded)
        except ImageError as error:
            return error.fault
        return _GIVEN_UP

    def _end(self, entries: list[_Entry], asked: Future[ImageFault]) -> None:
        """Pass the reason on to those who wait for frames that did not come."""
        unexpected = None if asked.cancelled() else asked.exception()
        # In this order: who wakes for the first one then sees that all have failed.
        for frame, _, shared in reversed(entries):
            if not shared.fetched.done():
                self._cache.forget(self._key(frame), shared)
                if unexpected is not None:
                    shared.fetched.set_exception(unexpected)
                else:
                    shared.fetched.set_result(_GIVEN_UP if asked.cancelled() else asked.result())
