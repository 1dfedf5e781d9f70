"""A jitter buffer that is lied to: it holds no more than it may, and what no liar has claimed comes out right."""

from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radiosync.listener import jitter as module
from radiosync.listener.jitter import JitterBuffer
from radiosync.listener.slot import Added
from radiosync.wire.fields import FRAME_MAX

CHUNK = 100  # frames: 200 bytes, four symbols
CHUNKS = 8
ROOM = 6  # chunks
BYTES_MAX = 2_500  # twelve, and a half


def honest(rng):
    return "honest", rng.randrange(CHUNKS), rng.randrange(4), rng.choices((0, 1, 2), (20, 1, 1))[0]


def lie(rng):
    """Say something else of one or several things."""
    said = {
        "first_frame": rng.choice((rng.randrange(CHUNKS * CHUNK), rng.randrange(CHUNKS) * CHUNK, FRAME_MAX)),
        "frames": rng.choice((rng.randrange(1, 3 * CHUNK), (1 << 32) - 1)),
        "codec": rng.randrange(6),
        "epoch": rng.randrange(4),
        "tier": rng.randrange(3),
        "symbols": rng.randrange(1, 9),
        "symbol_bytes": rng.choice((rng.randrange(1, 61), 1_090)),
    }
    changes = {key: said[key] for key in rng.sample(sorted(said), rng.choice((1, 1, 2, 7)))}
    seq = rng.choice((rng.randrange(CHUNKS), rng.randrange(CHUNKS), rng.randrange(-(1 << 40), 1 << 40)))
    return "lie", seq, rng.choice((rng.randrange(4), rng.randrange(70))), changes


def read(rng):
    return "read", rng.randrange(-CHUNK, (CHUNKS + 1) * CHUNK), rng.randrange(4 * CHUNK)


def drop(rng):
    return "drop", rng.randrange(CHUNKS * CHUNK // 2)


def between(rng):
    return "between", *(rng.randrange(CHUNKS * CHUNK) for _ in range(2))


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
        self.lies = {}
        """What a liar has claimed of chunks: number to first frame and end."""
        self.compared = 0
        """How many frames were read that nobody has lied about."""

    def do(self, what, *values):
        getattr(self, what)(*values)
        buffer = self.buffer
        assert len(buffer) <= ROOM
        assert buffer._bytes == sum(slot.coded_bytes for slot in buffer._slots.values()) <= BYTES_MAX
        assert sorted(buffer._order) == buffer._order
        assert all(slot.header.first_frame + slot.header.frames > buffer.floor_frame for slot in buffer._slots.values())
        assert {seq for _, seq in buffer._order} == set(buffer._slots)
        assert max(len(buffer._decoded), len(buffer._behind)) <= module.DECODED_MAX

    def symbol(self, seq, index):
        return self.symbols[seq % CHUNKS][index]

    def honest(self, seq, index, tier):
        symbol = self.symbol(seq, index)
        assert isinstance(self.buffer.add(seq, replace(symbol, chunk=replace(symbol.chunk, tier=tier))), Added)

    def lie(self, seq, index, changes):
        symbol = lied(self.symbol(seq, 0), index, changes)
        added, chunk = self.buffer.add(seq, symbol), symbol.chunk
        if added not in (Added.REFUSED, Added.LATE):
            self.lies.setdefault(seq, []).append((chunk.first_frame, chunk.first_frame + chunk.frames))

    def read(self, first, count):
        samples, present = self.buffer.read(first, count)
        assert samples.shape == (count, 1)
        assert not samples[~present].any()
        self.lies = {seq: claims for seq, claims in self.lies.items() if seq in self.buffer._slots}
        place = np.arange(first, first + count)
        sure = present & (place >= 0)
        for begin, end in (claim for claims in self.lies.values() for claim in claims):
            sure &= (place < begin) | (place >= end)
        assert np.array_equal(samples[sure], self.kit.counting(0, (CHUNKS + 6) * CHUNK)[place[sure]])
        self.compared += np.count_nonzero(sure)
        assert self.buffer.contiguous_until(first) >= first
        assert self.buffer.complete_frames(first) >= 0
        self.buffer.header_at(first)
        for seq in range(-1, CHUNKS + 1):
            assert isinstance(self.buffer.end_of(seq, CHUNK, (3, 3 * CHUNK)), int)

    def drop(self, frame):
        self.buffer.drop_before(frame)

    def between(self, begin, end):
        self.buffer.drop_between(begin, end)


@pytest.mark.parametrize("liars", [False, True])
@settings(max_examples=30)
@given(seed=st.integers(0, 1 << 30))
def test_whatever_it_is_told_it_stays_within_its_room_and_gives_out_what_is_right(kit, liars, seed):
    told, rng = Told(kit), Random(seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BYTES_MAX", BYTES_MAX)
        for _ in range(300):
            step = rng.choices((honest, lie, read, drop, between), (20, 4 * liars, 4, 0.3, 0.3))[0]
            told.do(*step(rng))
        told.do("read", 0, CHUNKS * CHUNK)
    assert liars or told.compared > 10 * CHUNK


def test_a_lie_spoils_its_own_chunk_and_no_other(kit):
    told = Told(kit)
    told.do("lie", 1, 0, {"frames": CHUNK - 1})
    for seq in range(3):
        for index in range(4):
            told.do("honest", seq, index, 0)
    present = told.buffer.read(0, 3 * CHUNK)[1]
    assert present.reshape(3, CHUNK).all(axis=1).tolist() == [True, False, True]


def test_a_chunk_that_claims_to_last_long_keeps_nothing_that_was_played(kit):
    """Or the buffer would be full of that, and take in no more."""
    told = Told(kit)
    told.do("lie", 99, 0, {"first_frame": 10, "frames": 1_000_000})
    for seq in range(CHUNKS):
        for index in range(4):
            told.do("honest", seq, index, 0)
        told.do("read", seq * CHUNK, CHUNK)
        told.do("drop", (seq + 1) * CHUNK)
        assert len(told.buffer) == 1
    assert told.buffer.overflows == 0
