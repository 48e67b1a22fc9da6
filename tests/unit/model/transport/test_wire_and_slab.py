from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.encoder import EncoderFacts
from model.transport import wire
from model.transport.slab import SlotPool, create_slab, map_slab, slab_bytes

FACTS = EncoderFacts("m", False, 384, "CPU", "float32", "", "sha256:0", "TensorFlow", 16)

slot_numbers = st.lists(st.integers(0, 2**32 - 1), max_size=50).map(tuple)
request_numbers = st.integers(0, 2**64 - 1)
seconds = st.floats(0, 1e6)
messages = st.one_of(
    st.builds(wire.Hello, st.just(FACTS), st.text(max_size=400)),
    st.builds(wire.Attach, st.integers(0, 2**32 - 1)),
    st.builds(wire.Submit, request_numbers, slot_numbers),
    st.builds(wire.Cancel, request_numbers),
    st.builds(wire.Done, request_numbers, slot_numbers, slot_numbers, seconds, seconds),
    st.builds(wire.Status, seconds, st.text(max_size=400)),
)


@given(messages)
def test_a_message_survives_the_wire(message: wire.Message) -> None:
    assert wire.decode(wire.encode(message)) == message


def test_the_largest_messages_fit_in_a_packet() -> None:
    slots = tuple(range(wire.MAX_SLOTS))
    assert len(wire.encode(wire.Submit(1, slots))) <= wire.MAX_PACKET
    assert len(wire.encode(wire.Done(1, slots, (), 0.0, 0.0))) <= wire.MAX_PACKET


@given(st.binary(max_size=80))
def test_any_other_packet_is_a_wire_error(packet: bytes) -> None:
    try:
        wire.decode(packet)
    except wire.WireError:
        return
    assert packet[0] in range(1, 7)


def test_both_sides_of_a_slab_see_the_same_memory() -> None:
    ours = create_slab(5, 7)
    theirs = map_slab(ours.fd, 5, 7)
    ours.close_fd()
    ours.pixels[4] = 9
    theirs.vectors[4] = np.arange(7)
    assert (theirs.pixels[4] == 9).all()
    assert not theirs.pixels[3].any()
    assert ours.vectors[4].tolist() == list(range(7))
    assert ours.slots == 5


def test_a_slab_larger_than_its_memory_is_refused() -> None:
    slab = create_slab(2, 4)
    try:
        for slots, dimension in ((3, 4), (2, 5), (0, 4)):
            with pytest.raises(ValueError, match="too small"):
                map_slab(slab.fd, slots, dimension)
    finally:
        slab.close_fd()


def test_a_slab_cannot_be_cut_off_under_who_maps_it() -> None:
    slab = create_slab(2, 4)
    try:
        for size in (0, 1 << 30):
            with pytest.raises(PermissionError):
                os.ftruncate(slab.fd, size)
    finally:
        slab.close_fd()


def test_memory_that_could_shrink_is_not_mapped(tmp_path: Path) -> None:
    for flags in (os.MFD_CLOEXEC, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING):
        fd = os.memfd_create("unsealed", flags)
        os.ftruncate(fd, slab_bytes(2, 4))
        with pytest.raises(ValueError, match="not sealed"):
            map_slab(fd, 2, 4)
        os.close(fd)
    (tmp_path / "file").write_bytes(bytes(slab_bytes(2, 4)))
    with (tmp_path / "file").open("r+b") as file, pytest.raises(OSError, match="Invalid argument"):
        map_slab(file.fileno(), 2, 4)


def test_a_slab_takes_memory_only_where_it_is_written() -> None:
    slab = create_slab(1000, 384)
    try:
        slab.pixels[0] = 1
        assert os.fstat(slab.fd).st_blocks * 512 < 3 * 150_528
    finally:
        slab.close_fd()


@given(st.lists(st.integers(1, 5), max_size=30))
def test_a_slot_has_one_owner(wishes: list[int]) -> None:
    pool = SlotPool(8)
    owned: list[int] = []
    for wish in wishes:
        slots = pool.take(wish)
        assert len(slots) == min(wish, 8 - len(owned))
        owned += slots
        assert len(set(owned)) == len(owned)
        if len(owned) > 5:
            pool.give_back(owned[:3])
            owned = owned[3:]
    assert pool.free == 8 - len(owned)


def test_slots_are_handed_out_side_by_side_from_the_beginning() -> None:
    pool = SlotPool(8)
    assert pool.take(3) == [0, 1, 2]
    assert pool.take(2) == [3, 4]
    pool.give_back([0, 1, 2])
    assert pool.take(2) == [0, 1]
    assert sorted(pool.take(4)) == [2, 5, 6, 7]
    assert pool.take(1) == []
