"""A jitter buffer that is lied to: it holds no more than it may, and what no liar has claimed comes out right."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radiosync.listener import jitter as module
from radiosync.listener.jitter import Added, JitterBuffer
from radiosync.wire.fields import FRAME_MAX

CHUNK = 100  # frames: 200 bytes, four symbols
CHUNKS = 12
ROOM = 6  # chunks
BYTES_MAX = 1_500  # seven of them, and a half

chunks, symbols, tiers = st.integers(0, CHUNKS - 1), st.integers(0, 3), st.integers(0, 2)
places = st.integers(-CHUNK, (CHUNKS + 1) * CHUNK)
honest = st.tuples(st.just("honest"), chunks, symbols, tiers)
lie = st.tuples(
    st.just("lie"),
    chunks | st.integers(-(1 << 40), 1 << 40),
    st.integers(0, 70),
    st.fixed_dictionaries(
        {},
        optional={
            "first_frame": st.integers(0, CHUNKS * CHUNK) | st.integers(0, FRAME_MAX),
            "frames": st.integers(1, 3 * CHUNK) | st.integers(1, (1 << 32) - 1),
            "codec": st.integers(0, 5),
            "epoch": st.integers(0, 3),
            "tier": tiers,
            "symbols": st.integers(1, 8),
            "symbol_bytes": st.integers(1, 60) | st.just(1_090),
        },
    ),
)
read = st.tuples(st.just("read"), places, st.integers(0, 4 * CHUNK))
drop = st.tuples(st.just("drop"), st.integers(0, CHUNKS * CHUNK // 2))
between = st.tuples(st.just("between"), places, places)


def lied(symbol, index, changes):
    """Return a symbol that the wire codec would let pass, with other things said of its chunk."""
    chunk = replace(symbol.chunk, **changes)
    chunk = replace(chunk, coded_bytes=chunk.symbols * chunk.symbol_bytes)
    return replace(symbol, chunk=chunk, index=index, payload=b"\x55" * chunk.symbol_bytes)


class Told:
    """A buffer, and what it has been told."""

    def __init__(self, kit):
        self.kit = kit
        self.buffer = JitterBuffer(kit.MONO, ROOM)
        self.symbols = [kit.chunk_symbols(seq, seq * CHUNK, kit.counting(seq * CHUNK, CHUNK)) for seq in range(CHUNKS)]
        self.claimed = np.zeros((CHUNKS + 6) * CHUNK, np.bool_)
        """Which frames a liar has said something about."""

    def do(self, what, *values):
        getattr(self, what)(*values)
        buffer = self.buffer
        assert len(buffer) <= ROOM
        assert buffer._bytes == sum(slot.coded_bytes for slot in buffer._slots.values()) <= BYTES_MAX
        assert sorted(buffer._order) == buffer._order
        assert {seq for _, seq in buffer._order} == set(buffer._slots)
        assert max(len(buffer._decoded), len(buffer._behind)) <= module.DECODED_MAX

    def symbol(self, seq, index):
        return self.symbols[seq % CHUNKS][index]

    def honest(self, seq, index, tier):
        symbol = self.symbol(seq, index)
        assert isinstance(self.buffer.add(seq, replace(symbol, chunk=replace(symbol.chunk, tier=tier))), Added)

    def lie(self, seq, index, changes):
        symbol = lied(self.symbol(seq, 0), index, changes)
        self.claimed[symbol.chunk.first_frame : symbol.chunk.first_frame + symbol.chunk.frames] = True
        assert isinstance(self.buffer.add(seq, symbol), Added)

    def read(self, first, count):
        samples, present = self.buffer.read(first, count)
        assert samples.shape == (count, 1)
        assert not samples[~present].any()
        place = np.arange(first, first + count)
        sure = present & (place >= 0) & ~self.claimed[np.clip(place, 0, len(self.claimed) - 1)]
        assert np.array_equal(samples[sure], self.kit.counting(0, (CHUNKS + 6) * CHUNK)[place[sure]])
        assert self.buffer.contiguous_until(first) >= first
        assert self.buffer.complete_frames(first) >= 0
        self.buffer.header_at(first)
        for seq in range(-1, CHUNKS + 1):
            assert isinstance(self.buffer.reckoned_end(seq, CHUNK, (3, 3 * CHUNK)), int)

    def drop(self, frame):
        self.buffer.drop_before(frame)
        assert all(slot.header.first_frame + slot.header.frames > frame for slot in self.buffer._slots.values())

    def between(self, begin, end):
        self.buffer.drop_between(begin, end)


@pytest.mark.parametrize("liars", [False, True])
@settings(max_examples=60)
@given(data=st.data())
def test_whatever_it_is_told_it_stays_within_its_room_and_gives_out_what_is_right(kit, liars, data):
    told = Told(kit)
    steps = [honest, honest, honest, read, drop, between] + [lie, lie] * liars
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BYTES_MAX", BYTES_MAX)
        for step in data.draw(st.lists(st.one_of(steps), min_size=10, max_size=50)):
            told.do(*step)
        told.do("read", 0, CHUNKS * CHUNK)


def test_a_lie_spoils_its_own_chunk_and_no_other(kit):
    told = Told(kit)
    told.do("lie", 1, 0, {"frames": CHUNK - 1})
    for seq in range(3):
        for index in range(4):
            told.do("honest", seq, index, 0)
    present = told.buffer.read(0, 3 * CHUNK)[1]
    assert present.reshape(3, CHUNK).all(axis=1).tolist() == [True, False, True]
