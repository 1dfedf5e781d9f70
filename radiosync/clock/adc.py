"""Fit a capturing device's frame counter to the local clock.

It is the line of `clock/dac.py`, seen from the other side: at every callback the device says at which local instant the
first frame of the block it hands over reached its converter.  So what makes a stamp plausible differs.  All frames of a
block were captured before the callback was entered, and not long before.  Where stamps keep failing that, the entry
stands for the block's end: it can be late but never early, as `DacClock` expects of its second source.
"""

from radiosync.clock.dac import STAMP_EARLY_NS_MAX, DacClock, StampSource
from radiosync.units import NS_PER_S, DacFrame, LocalNs

STAMP_AGE_NS_MAX = NS_PER_S  # more than any device holds back


class AdcClock(DacClock):
    """Maps a capturing device's frames to local time; its `local_from_dac` says when a frame reached the converter."""

    def stamp_block(self, first: DacFrame, frames: int, adc_at: LocalNs, entered_at: LocalNs) -> None:
        """Note that a callback, entered at `entered_at`, brought `frames` frames, the first captured at `adc_at`."""
        self.counters.stamps += 1
        end_at = adc_at + frames * NS_PER_S // self.nominal_rate
        plausible = -STAMP_EARLY_NS_MAX < entered_at - end_at < STAMP_AGE_NS_MAX
        self._choose_source(plausible)
        if self.source is StampSource.ENTRY:
            self._take(DacFrame(first + frames), entered_at)
        elif plausible:
            self._take(first, adc_at)
