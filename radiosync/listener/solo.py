"""Keeping silent while another listener plays alone.

A host may give stretches of the stream to one listener each, to measure it.  All play on, so that they stay in sync;
whose stretch it is not renders silence for it, from its first frame to its last, with a fade in the 5 ms before and
after.  The gain is a function of the frame alone: it comes out the same however a playout cuts its blocks, and whether
it resamples or not.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from radiosync.audio.conceal import RAMP_MS
from radiosync.units import MediaFrame
from radiosync.wire.messages import SoloEntry

KEPT_MAX = 256  # stretches: more than five datagrams of them; of more, those furthest ahead are left for later
PAST_S = 2  # how long one is kept that has passed: a playout that enters anew runs in on frames before


class Solos:
    """The stretches that others have to themselves."""

    def __init__(self, rate: int) -> None:
        self._past_frames = PAST_S * rate
        self._ramp_frames = max(1, round(rate * RAMP_MS / 1000))
        self._silent: set[tuple[int, int]] = set()
        self.refused = 0

    def add(self, entries: Iterable[SoloEntry], listener_id: int) -> None:
        """Take what the host says; `listener_id` is this listener's own."""
        others = {(e.first_frame, e.first_frame + e.frames) for e in entries if e.listener_id != listener_id}
        kept = sorted(self._silent | others)
        self.refused += len(kept[KEPT_MAX:])
        self._silent = set(kept[:KEPT_MAX])

    def gain(self, first: MediaFrame, count: int) -> NDArray[np.float32] | None:
        """Return the gain of the `count` frames from `first` on, or None where it is 1 throughout."""
        if not self._silent:
            return None
        self._silent = {(begin, end) for begin, end in self._silent if end > first - self._past_frames}
        ramp = self._ramp_frames
        near = [(begin, end) for begin, end in self._silent if begin - ramp < first + count and first < end + ramp]
        if not near:
            return None
        frames = np.arange(first, first + count)
        distance = np.full(count, ramp)
        for begin, end in near:
            distance = np.minimum(distance, np.maximum(np.maximum(begin - frames, frames - end + 1), 0))
        gain: NDArray[np.float32] = ((1 - np.cos(np.pi * distance / ramp)) / 2).astype(np.float32)
        return gain
