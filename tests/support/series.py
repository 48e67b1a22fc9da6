"""A series in memory: all that a store must do for its slides to be read."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field

from dicom_io.codecs.frame_format import FrameFormat
from dicom_io.slides.frame_cache import EncodedFrame
from dicom_io.slides.instance import SopInstance, parse_instance
from dicom_io.slides.series import most_encoded_bytes
from dicom_io.waiting import Cancellation, Stop
from tests.support.slides import Slide, StoredInstance


@dataclass
class MemorySeries:
    """A ``Series`` over the frames of a built slide.

    Attributes
    ----------
    asked:
        The frames of each request: the instance's UID and the numbers.
    profiles:
        ICC profiles by their address.
    before_frame:
        Called before each frame is sent, with its number.
    """

    slide: Slide
    io: Executor
    waits: Cancellation
    key: Hashable = "a caller"
    asked: list[tuple[str, list[int]]] = field(default_factory=list)
    profiles: dict[str, bytes] = field(default_factory=dict)
    before_frame: Callable[[int], None] = lambda _: None

    def instances(self, uids: Sequence[str] | None = None) -> tuple[SopInstance, ...]:
        return tuple(map(parsed, self.slide.instances))

    def frames(
        self, instance: SopInstance, numbers: Sequence[int], form: FrameFormat, stop: Stop
    ) -> Iterator[tuple[int, EncodedFrame]]:
        stored = next(i for i in self.slide.instances if i.uid == instance.sop_uid)
        self.asked.append((stored.uid, list(numbers)))
        for number in numbers:
            self.before_frame(number)
            if stop.is_set():
                return
            frame = EncodedFrame(stored.frames[number - 1], stored.syntax)
            assert len(frame.data) <= most_encoded_bytes(form)
            yield number, frame

    def icc_profile(self, uri: str) -> bytes:
        return self.profiles[uri]


def parsed(instance: StoredInstance) -> SopInstance:
    """Return an instance's record, made of pydicom's own DICOM JSON."""
    document = instance.dataset.to_json_dict()
    return parse_instance(document | {"00020010": {"vr": "UI", "Value": [instance.syntax]}})
