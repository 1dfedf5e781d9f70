"""What was really heard, and when: measured from what left the outputs, by clocks that are never wrong."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from radiosync.sim.card import DacRecord
from radiosync.sim.devices import AMPLITUDES, SimSource
from radiosync.sim.nodes import HostNode
from radiosync.units import NS_PER_S

QUIET = 0.7 * AMPLITUDES[0]  # below this amplitude, silence or a fade, no position is read
FADE_BLOCKS = 7  # a fade is shorter than half of that
SURE = 0.1  # of a period: where phase and amplitude disagree by more the block lies in a fade, and says nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What a sound card emitted of one host: true times, and how late each was against its true play-at, both in ns."""

    at: NDArray[np.int64]
    late_ns: NDArray[np.float64]

    def between(self, begin_ns: int, end_ns: int) -> "Heard":
        """Return the part within these true times."""
        inside = (self.at >= begin_ns) & (self.at < end_ns)
        return Heard(at=self.at[inside], late_ns=self.late_ns[inside])


def heard(record: DacRecord, host: HostNode) -> Heard:
    """Return when each block that can be read sounded, against when `host` meant it to.

    Lateness is known within half the ramp of the source's amplitude: ±10 s.
    """
    at = np.array(record.at, dtype=np.int64)
    left, right = np.array(record.left), np.array(record.right)
    loud = np.hypot(left, right) > QUIET
    at, left, right = at[loud], left[loud], right[loud]
    session, source = host.session, host.source
    rate = session.format.rate
    readings = np.array([host.machine.clock.host(t) for t in record.at], dtype=np.int64)[loud]
    played = [record for record in host.records if record.playing] or [session.transport.newest]
    effective_at = np.array([record.effective_at for record in played])
    of = np.maximum(0, np.searchsorted(effective_at, readings, side="right") - 1)
    due = np.array([record.media_frame for record in played])[of] + (readings - effective_at[of]) * (rate / NS_PER_S)
    due -= np.array([frame - source.source_frame(frame) for frame in due.astype(np.int64).tolist()])
    period = source.period_frames
    behind = (due - source.position_modulo(left, right) + period / 2) % period - period / 2
    ramp = source.ramp_frames
    roughly = (due - source.ramp_position(left, right) + ramp / 2) % ramp - ramp / 2
    periods = (roughly - behind) / period
    sure = np.abs(periods - np.round(periods)) < SURE
    at, behind, periods = at[sure], behind[sure], np.round(periods[sure])
    late_ns: NDArray[np.float64] = (behind + _steady(periods) * period) / rate * NS_PER_S
    return Heard(at=at, late_ns=late_ns)


def positions(record: DacRecord, source: SimSource) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the true times of the blocks that can be read, and the frames of the music they are, modulo the ramp.

    Each block speaks for itself: a fade lasts no longer than one, which may then seem to be anywhere.
    """
    at = np.array(record.at, dtype=np.int64)
    left, right = np.array(record.left), np.array(record.right)
    loud = np.hypot(left, right) > QUIET
    at, left, right = at[loud], left[loud], right[loud]
    phase, roughly, period = (
        source.position_modulo(left, right),
        source.ramp_position(left, right),
        source.period_frames,
    )
    periods = (roughly - phase) / period
    sure = np.abs(periods - np.round(periods)) < SURE
    found: NDArray[np.float64] = (phase + np.round(periods) * period)[sure] % source.ramp_frames
    return at[sure], found


def _steady(periods: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the median of each with its neighbours: in a fade the amplitude says nothing of the place."""
    if len(periods) < FADE_BLOCKS:
        return np.zeros(len(periods))
    steady = np.median(np.lib.stride_tricks.sliding_window_view(periods, FADE_BLOCKS), axis=1)
    # A record begins and ends in a fade: there it is the neighbours' alone.
    ends: NDArray[np.float64] = np.pad(steady, FADE_BLOCKS // 2, mode="edge")
    return ends


def apart_ns(one: Heard, other: Heard) -> NDArray[np.float64]:
    """Return how much later `one` was than `other` with the same music, at the times of `one` that both cover."""
    if not len(one.at) or not len(other.at):
        return np.zeros(0)
    both = (one.at >= other.at[0]) & (one.at <= other.at[-1])
    # Differences first: 1e9 s in ns don't fit a float64 to the ns.
    zero = other.at[0]
    apart: NDArray[np.float64] = one.late_ns[both] - np.interp(one.at[both] - zero, other.at - zero, other.late_ns)
    return apart


def percentile(values_ns: NDArray[np.float64], share: float) -> int:
    """Return the magnitude that `share` percent of `values_ns` stay within; 0 of nothing."""
    return round(float(np.percentile(np.abs(values_ns), share))) if len(values_ns) else 0
