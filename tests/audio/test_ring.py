"""The ring gives back every frame once, in order, and silence where there is none."""

import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radiosync.audio.pcm import Frames
from radiosync.audio.ring import FrameRing


def frames_from(start: int, count: int) -> Frames:
    """Return frames that bear their own number, exact in float32 up to 2**24."""
    return np.repeat(np.arange(start, start + count, dtype=np.float32)[:, None], 2, axis=1)


@given(st.integers(1, 50), st.lists(st.tuples(st.booleans(), st.integers(0, 70)), max_size=60))
@settings(max_examples=150, deadline=None)
def test_any_order_of_writes_and_reads(capacity: int, steps: list[tuple[bool, int]]) -> None:
    ring = FrameRing(capacity, 2)
    written = read = underruns = silent = 0
    for is_write, count in steps:
        if is_write:
            if count > ring.writable():
                with pytest.raises(ValueError, match="do not fit"):
                    ring.write(frames_from(written, count))
                continue
            ring.write(frames_from(written, count))
            written += count
        else:
            out = np.full((count, 2), np.nan, np.float32)
            got = ring.read_into(out)
            assert got == min(count, written - read)
            np.testing.assert_array_equal(out[:got], frames_from(read, got))
            assert not out[got:].any()
            read += got
            underruns += got < count
            silent += count - got
        assert (ring.written_frame, ring.read_frame) == (written, read)
        assert ring.readable() == written - read
        assert ring.readable() + ring.writable() == capacity
        assert (ring.underruns, ring.underrun_frames) == (underruns, silent)


def test_counters_outlive_any_session() -> None:
    ring = FrameRing(480, 2)
    ring.written_frame = ring.read_frame = 2**40 + 7
    ring.write(frames_from(0, 480))
    out = np.empty((480, 2), np.float32)
    assert ring.read_into(out) == 480
    np.testing.assert_array_equal(out, frames_from(0, 480))
    assert ring.read_frame == 2**40 + 487


def test_a_ring_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="0 frames"):
        FrameRing(0, 2)


def test_two_threads() -> None:
    ring, total = FrameRing(257, 2), 20_000
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)

    def render() -> None:
        while ring.written_frame < total:
            count = min(ring.writable(), 100, total - ring.written_frame)
            ring.write(frames_from(ring.written_frame, count))

    writer = threading.Thread(target=render)
    try:
        writer.start()
        out, read = np.empty((64, 2), np.float32), 0
        while read < total:
            got = ring.read_into(out)
            np.testing.assert_array_equal(out[:got], frames_from(read, got))
            read += got
    finally:
        writer.join()
        sys.setswitchinterval(interval)
    assert ring.readable() == 0
