"""The line that maps frames of a sound device to local instants, and back."""

from dataclasses import dataclass

from radiosync.units import NS_PER_S, DacFrame, LocalNs


@dataclass(frozen=True, slots=True, kw_only=True)
class DacFit:
    """Map frames of a device to local instants along a line through (`frame`, `local_at`).

    `local_at` is rounded, `local_fraction_ns` is what the rounding took.  `rate` is in frames per local second.
    `sigma_ns` is one standard deviation of the line at `frame`, `rate_sigma` of the rate, relative to it; `residual_ns`
    the scatter of single stamps, or buckets if greater.
    """

    frame: DacFrame
    local_at: LocalNs
    local_fraction_ns: float
    rate: float
    sigma_ns: float
    rate_sigma: float
    residual_ns: float

    def local_from_dac(self, frame: DacFrame) -> LocalNs:
        """Return when `frame` reaches the converter, on the local clock."""
        return LocalNs(self.local_at + round(self._since_ns(frame - self.frame)))

    def local_from_dac_exact(self, frame: DacFrame) -> tuple[LocalNs, float]:
        """Return when `frame` reaches the converter as whole ns, and the fraction of a ns within ±0.5 to add."""
        since_ns = self._since_ns(frame - self.frame)
        whole_ns = round(since_ns)
        return LocalNs(self.local_at + whole_ns), since_ns - whole_ns

    def dac_from_local(self, at: LocalNs) -> tuple[DacFrame, float]:
        """Return the frame nearest to the local instant `at`, and the fraction of a frame within ±0.5 to add."""
        frames = (at - self.local_at - self.local_fraction_ns) * self.rate / NS_PER_S
        whole = round(frames)
        return DacFrame(self.frame + whole), frames - whole

    def sigma_ns_at(self, frame: DacFrame) -> float:
        """Return one standard deviation of `local_from_dac(frame)`, in ns."""
        return self.sigma_ns + abs(frame - self.frame) / self.rate * self.rate_sigma * NS_PER_S

    def _since_ns(self, frames: int) -> float:
        return frames / self.rate * NS_PER_S + self.local_fraction_ns
