"""The frame ring between the thread that renders and the audio callback.

One thread writes, one reads, neither waits.  Each owns one counter that the other only looks at; a counter is moved
after the samples it speaks of have been copied, and Python publishes the assignment of an int as a whole.  Counters
run on without end, so that "ring frame n" names one frame for the whole session: with the reader's `read_frame` and
`underrun_frames`, the sink's frame count says which frame sounds when.
"""

import numpy as np
from numpy.typing import NDArray

from radiosync.audio.pcm import Frames


class FrameRing:
    """A ring of `capacity` float32 frames.

    `written_frame` and `read_frame` count the frames ever written and read.  `underruns` counts the reads that found
    too little, `underrun_frames` the frames of silence they gave instead; those do not advance `read_frame`, so that
    output frame d since the start is ring frame d - `underrun_frames`.
    """

    __slots__ = ("_data", "capacity", "channels", "read_frame", "underrun_frames", "underruns", "written_frame")

    def __init__(self, capacity: int, channels: int) -> None:
        if capacity < 1:
            raise ValueError(f"a ring of {capacity} frames")
        self.capacity = capacity
        self.channels = channels
        self._data: Frames = np.zeros((capacity, channels), np.float32)
        self.written_frame = 0
        self.read_frame = 0
        self.underruns = 0
        self.underrun_frames = 0

    def readable(self) -> int:
        """Return how many frames wait to be read."""
        return self.written_frame - self.read_frame

    def writable(self) -> int:
        """Return how many frames fit in."""
        return self.capacity - self.readable()

    def write(self, block: Frames) -> None:
        """Append a block of shape (frames, channels); for the writing thread.

        Raises ValueError where it doesn't fit: nothing that was not read yet is ever overwritten.
        """
        frames = len(block)
        if frames > self.writable():
            raise ValueError(f"{frames} frames do not fit into the {self.writable()} free ones of the ring")
        at = self.written_frame % self.capacity
        first = min(frames, self.capacity - at)
        self._data[at : at + first] = block[:first]
        if first < frames:
            self._data[: frames - first] = block[first:]
        self.written_frame += frames

    def read_into(self, out: NDArray[np.float32]) -> int:
        """Fill `out`, shape (frames, channels), with silence after the last frame there is; for the reading thread.

        Returns how many frames were read.
        """
        wanted = len(out)
        frames = min(wanted, self.written_frame - self.read_frame)
        at = self.read_frame % self.capacity
        first = min(frames, self.capacity - at)
        out[:first] = self._data[at : at + first]
        if first < frames:
            out[first:frames] = self._data[: frames - first]
        if frames < wanted:
            out[frames:] = 0.0
            self.underruns += 1
            self.underrun_frames += wanted - frames
        self.read_frame += frames
        return frames
