"""Time and position types, and the exact conversions between them.

Time is integer nanoseconds everywhere.  Every clock has its own type, so that mypy refuses to mix
the readings of two clocks; only `radiosync.clock` turns one into another.

    HostNs      the media clock: the host's raw monotonic clock, offset once so that it reads as nanoseconds since the
                Unix epoch.  It never steps.
    LocalNs     a listener's own raw monotonic clock.  Its zero means nothing.
    MediaFrame  a frame of the stream, counted from the first frame of the session.  Never used twice in a session.
    DacFrame    a frame of a sound device, counted from when the device was opened.

Durations and differences are plain `int` and end in `_ns`; instants end in `_at`.
"""

from typing import NewType

HostNs = NewType("HostNs", int)
LocalNs = NewType("LocalNs", int)
MediaFrame = NewType("MediaFrame", int)
DacFrame = NewType("DacFrame", int)

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
NS_PER_US = 1_000


def ns_from_frames(frames: int, rate: int) -> int:
    """Return how long `frames` last at `rate` frames per second, in ns, rounded half up."""
    return (2 * frames * NS_PER_S + rate) // (2 * rate)


def frames_from_ns(duration_ns: int, rate: int) -> int:
    """Return the number of frames nearest to `duration_ns` at `rate` frames per second, rounded half up.

    The inverse of `ns_from_frames` at every rate below 500 MHz.
    """
    return (2 * duration_ns * rate + NS_PER_S) // (2 * NS_PER_S)


def ns_from_s(seconds: float) -> int:
    """Return `seconds` in ns; for configuration and display, never for arithmetic on instants."""
    return round(seconds * NS_PER_S)
