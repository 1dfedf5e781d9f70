"""The rate controller: from the error of the playout to the resampling ratio.

Feed-forward does nearly all: the device's measured rate and the clock mapping's skew say how many media frames pass
per device frame.  So an error changes only when one of the two estimates does, and the loop's work is to follow them:

    u = Kp E + I,   dI/dt = Ki E,   Ki = Kp^2 / 16

Kp = 0.25 per second follows a better estimate within a few seconds, and turns its noise of some µs into less than
1 ppm.  With 0.65 s of delay in the loop (ring, device buffer, filters) the phase margin is above 75 degrees.
The integral is there for a rate that neither estimate knows; at a damping of 2 it does not overshoot.  It begins once
the first frames' error, which is of the placement and not of the rate, has been worked off.

u and its slope are bounded: 500 ppm are a cent of pitch, and a slope of 100 ppm a second, or 200 on the way back, can't
be heard as a glide.  These are for the first 20 seconds, and for an error that is caught up with: one beyond 1 ms, or
beyond four sigmas of the two clocks that it is reckoned from.  Otherwise what E adds stays within 10 ppm: behind 20 ms
of jitter the clock's estimate improves in jumps of some 0.1 ms, and each of them would pull the pitch by 100 ppm for a
while, for a step nobody hears.  An error that is caught up with was left by a clock that knows better now.  It is no
rate, and teaches the integral nothing, unless it stays for 20 seconds.
Beyond what that can mend a resync is due.
"""

import math
from collections import deque

from radiosync.units import NS_PER_S

GAIN_PER_S = 0.25
INTEGRAL_GAIN_PER_S2 = GAIN_PER_S * GAIN_PER_S / 16
CORRECTION_MAX = 500e-6
INTEGRAL_MAX = 100e-6  # beyond what any two estimates leave: more is an error that was mistaken for a rate
CALM_MAX = 10e-6  # 1 ms in 100 s: faster than good crystals age, slower than anybody hears
CALM_LESSON_S = CALM_MAX / GAIN_PER_S / 4  # 0.04 ppm a second: hardly anything for a jump, enough for a drift
LESSON_MAX_S = CORRECTION_MAX / GAIN_PER_S  # what the pull answers in full; of more nothing is known but its sign
SETTLED_NS = 20 * NS_PER_S
AWAY_NS, BACK_NS = NS_PER_S // 1000, 50_000  # a greater error is caught up with, until it is less than the other
SURE_SIGMAS, SURE_NS = 4.0, 100_000  # and one beyond so many sigmas, unless it is so small that nobody could tell
SLEW_MAX_PER_S = 100e-6
RELEASE_MAX_PER_S = 200e-6  # or a correction that has done its work would carry past the goal
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
        self._age_ns = 0
        self._far_ns = 0
        """For how long an error has been caught up with; 0 where none is."""
        self._resynced_at: int | None = None
        self.correction = 0.0

    def update(self, error_ns: float, elapsed_ns: int, sigma_ns: float = math.inf) -> float:
        """Return the correction for the next stretch, `elapsed_ns` after the last call.

        `sigma_ns` is one standard deviation of what the clocks leave uncertain of the error.
        """
        elapsed_s = elapsed_ns / NS_PER_S
        error_s = error_ns / NS_PER_S
        self._age_ns += elapsed_ns
        calm = not self._catches_up(abs(error_ns), sigma_ns, elapsed_ns)
        pull_max = CALM_MAX if calm else CORRECTION_MAX
        pull = min(max(GAIN_PER_S * error_s, -pull_max), pull_max)
        clipped = min(max(pull + self._integral, -CORRECTION_MAX), CORRECTION_MAX)
        # Before, the error is the clocks': they are young, or have just found out how wrong they were.
        if self._age_ns > SETTLED_NS and not 0 < self._far_ns <= SETTLED_NS:
            self._learn(error_s, elapsed_s, calm=calm, stopped=clipped != GAIN_PER_S * error_s + self._integral)
        releasing = abs(clipped) < abs(self.correction)
        step_max = (RELEASE_MAX_PER_S if releasing else SLEW_MAX_PER_S) * elapsed_s
        self.correction += min(max(clipped - self.correction, -step_max), step_max)
        return self.correction

    def _learn(self, error_s: float, elapsed_s: float, *, calm: bool, stopped: bool) -> None:
        """Let the integral follow the error; while the correction is stopped, slowly or not at all: no wind-up."""
        lesson_s = min(max(error_s, -LESSON_MAX_S), LESSON_MAX_S)
        if stopped and error_s * self._integral >= 0:
            lesson_s = math.copysign(CALM_LESSON_S, error_s) if calm else 0.0
        learnt = self._integral + INTEGRAL_GAIN_PER_S2 * lesson_s * elapsed_s
        self._integral = min(max(learnt, -INTEGRAL_MAX), INTEGRAL_MAX)

    def _catches_up(self, size_ns: float, sigma_ns: float, elapsed_ns: int) -> bool:
        away_ns = min(max(SURE_SIGMAS * sigma_ns, SURE_NS), AWAY_NS)
        far = size_ns > (BACK_NS if self._far_ns else away_ns)
        self._far_ns = self._far_ns + max(elapsed_ns, 1) if far else 0
        return far or self._age_ns < SETTLED_NS

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
        return abs(sorted(e for _, e in self._errors)[len(self._errors) // 2]) > self._resync_ns

    def resynced(self, now: int) -> None:
        """Note a jump to the right place because of an error: the next one waits."""
        self._resynced_at = now
        self.entered()

    def entered(self) -> None:
        """Begin anew in the right place; what was learned of the rate stays."""
        self._errors.clear()
        self.correction = self._integral
