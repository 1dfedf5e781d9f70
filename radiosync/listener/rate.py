"""The rate controller: from the error of the playout to the resampling ratio.

Feed-forward does nearly all: the device's measured rate and the clock mapping's skew say how many media frames pass
per device frame.  What is left is closed by a slow PI loop on the playout error E (positive: late):

    u = Kp E + I,   dI/dt = Ki E,   Ki = Kp^2 / 4   (critically damped)

With Kp = 0.05 per second and up to 2 s of delay in the loop (ring, device buffer, filters) the phase margin is far
above 60 degrees: a loop with delay D stands Kp < 0.26 at D = 2 s.  While 0.5 ms < |E|, the gain is larger, so that a
rough start is mended in seconds.  u, its slope and the integral are bounded: 300 ppm are half a cent of pitch, and a
slope of 20 ppm a second can't be heard as a glide.  Beyond what that can mend a resync is due.
"""

from collections import deque
from statistics import median

from radiosync.units import NS_PER_S, NS_PER_US

GAIN_PER_S = 0.05
GAIN_COARSE_PER_S = 0.3
COARSE_NS = 500 * NS_PER_US
CORRECTION_MAX = 300e-6
SLEW_MAX_PER_S = 20e-6
SLEW_COARSE_MAX_PER_S = 100e-6
MEDIAN_NS = 2 * NS_PER_S  # a resync needs an error that stays, not one late stamp
RESYNC_PAUSE_NS = 5 * NS_PER_S  # between two resyncs, so that a broken clock does not turn music into stutter
SAMPLE_NS = NS_PER_S // 20  # between the errors that are kept for the median
ERRORS_MAX = 2 * MEDIAN_NS // SAMPLE_NS


class RateController:
    """Turns the playout error into the correction u; media frames pass at (1 + u) times the feed-forward rate."""

    def __init__(self, resync_ns: int) -> None:
        self._resync_ns = resync_ns
        self._errors: deque[tuple[int, float]] = deque(maxlen=ERRORS_MAX)
        self._integral = 0.0
        self._resynced_at: int | None = None
        self.correction = 0.0

    def update(self, error_ns: float, elapsed_ns: int) -> float:
        """Return the correction for the next stretch, `elapsed_ns` after the last call."""
        elapsed_s = elapsed_ns / NS_PER_S
        error_s = error_ns / NS_PER_S
        coarse = abs(error_ns) > COARSE_NS
        gain = GAIN_COARSE_PER_S if coarse else GAIN_PER_S
        wanted = gain * error_s + self._integral
        clipped = min(max(wanted, -CORRECTION_MAX), CORRECTION_MAX)
        if not coarse and (clipped == wanted or error_s * wanted < 0):  # no wind-up while it can't act
            self._integral += GAIN_PER_S * GAIN_PER_S / 4 * error_s * elapsed_s
        step_max = (SLEW_COARSE_MAX_PER_S if coarse else SLEW_MAX_PER_S) * elapsed_s
        # Letting go is never limited: a correction that has done its work must not carry past the goal.
        if abs(clipped) < abs(self.correction) and clipped * self.correction >= 0:
            self.correction = clipped
        else:
            self.correction += min(max(clipped - self.correction, -step_max), step_max)
        return self.correction

    def resync_due(self, error_ns: float, now: int) -> bool:
        """Say whether the error has been beyond the threshold for so long that only a jump helps."""
        if self._errors and now - self._errors[-1][0] < SAMPLE_NS:
            return False
        self._errors.append((now, error_ns))
        while self._errors[0][0] < now - MEDIAN_NS:
            self._errors.popleft()
        if self._resynced_at is not None and now - self._resynced_at < RESYNC_PAUSE_NS:
            return False
        if now - self._errors[0][0] < MEDIAN_NS // 2:
            return False
        return abs(median(e for _, e in self._errors)) > self._resync_ns

    def resynced(self, now: int) -> None:
        """Begin anew after a jump; what was learned of the rate stays."""
        self._resynced_at = now
        self._errors.clear()
        self.correction = self._integral
