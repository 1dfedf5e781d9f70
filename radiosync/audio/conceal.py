"""Make gaps silent instead of clicking.

Where frames are missing, silence takes their place; what clicks is the step from music to silence and back.  So the
gain falls to 0 along a raised cosine before a gap and rises likewise after it.  With d the distance of a frame to the
nearest missing one, before or behind, the gain is

    g(d) = (1 - cos(pi * min(d / D, 1))) / 2,    D = the ramp's length

The end of a block is remembered as the d that gives its gain.  From there the next block goes on: up, if a gap that
was ahead has been filled meanwhile; down more steeply, if one has turned up nearer than the ramp is long.
"""

import numpy as np
from numpy.typing import NDArray

from radiosync.audio.pcm import Frames

RAMP_MS = 5.0  # short enough to lose little, long enough that the splatter stays within the music's own spectrum


class GainFollower:
    """The gain of a stream with gaps.

    `ramp_frames` is the lookahead it needs to fall at leisure.  `concealed_frames` counts the missing frames,
    `concealed_events` the gaps; a gap across several blocks is one.  `gap_frames` is how long the gap is, so far, that
    the last frame given out lies in.
    """

    __slots__ = ("_distance", "concealed_events", "concealed_frames", "gap_frames", "ramp_frames")

    def __init__(self, rate: int, *, start_gain: float, ramp_ms: float = RAMP_MS) -> None:
        self.ramp_frames = max(1, round(rate * ramp_ms / 1000))
        self.concealed_frames = 0
        self.concealed_events = 0
        self.restart(start_gain)

    @property
    def gain(self) -> float:
        """The gain of the last frame given out."""
        return float(self._gain_at(np.array([self._distance]))[0])

    def restart(self, start_gain: float) -> None:
        """Go on from another gain: 1.0 before a stream's first frame, 0.0 where it is joined or jumped within."""
        self._distance = float(np.arccos(1 - 2 * start_gain) / np.pi * self.ramp_frames)
        self.gap_frames = 0

    def apply(self, block: Frames, present: NDArray[np.bool_], silent: NDArray[np.bool_] | None = None) -> Frames:
        """Return the block with the gain applied; the block itself where the gain is 1 throughout.

        `present` says of the block's frames, and of as many behind it as are known of, whether they are there; what
        lies beyond it counts as there.  Missing frames come out as silence; so do those of `silent`, which is as long
        and means them to be: they are not counted.
        """
        there = present if silent is None else present | silent
        if silent is not None:
            present = present & ~silent
        frames = len(block)
        if not frames:
            return block
        missing = np.flatnonzero(~present)
        if not len(missing) and self._distance >= self.ramp_frames:
            self.gap_frames = 0
            return block
        self._count(there[:frames])
        distance = self._distances(frames, missing)
        self._distance = float(min(distance[-1], self.ramp_frames))
        out: Frames = block * self._gain_at(distance)[:, np.newaxis]
        # 0 times NaN is no silence.
        out[missing[missing < frames]] = 0.0
        return out

    def _distances(self, frames: int, missing: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return each frame's distance to the nearest missing frame, as the remembered gain bends it."""
        index = np.arange(frames)
        behind = index.astype(np.float64) + (self._distance + 1.0)
        if not len(missing):
            return behind
        following = np.searchsorted(missing, index)
        after = following < len(missing)
        ahead: NDArray[np.float64] = np.full(frames, np.inf)
        ahead[after] = missing[following[after]] - index[after]
        # Frames up to the first gap have to come down from where the last block ended, however near it is.
        until_first = float(missing[0]) + 1.0
        if until_first < self._distance:
            ahead[: missing[0]] *= self._distance / until_first
        before = following > 0
        behind[before] = index[before] - missing[following[before] - 1]
        nearest: NDArray[np.float64] = np.minimum(ahead, behind)
        return nearest

    def _gain_at(self, distance: NDArray[np.float64]) -> NDArray[np.float32]:
        turn = np.minimum(distance / self.ramp_frames, 1.0)
        gain: NDArray[np.float32] = ((1.0 - np.cos(np.pi * turn)) / 2).astype(np.float32)
        return gain

    def _count(self, present: NDArray[np.bool_]) -> None:
        gap = ~present
        self.concealed_frames += int(np.count_nonzero(gap))
        self.concealed_events += int(np.count_nonzero(gap[1:] & present[:-1])) + int(gap[0] and not self.gap_frames)
        self.gap_frames = gap_at_end(present, self.gap_frames)


def gap_at_end(present: NDArray[np.bool_], before: int) -> int:
    """Return how many frames up to the end of `present` are missing in a row, `before` of them before it."""
    there = np.flatnonzero(present)
    return len(present) - 1 - int(there[-1]) if len(there) else before + len(present)
