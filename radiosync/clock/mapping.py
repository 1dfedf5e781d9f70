"""The relation between a listener's clock and the host's, for everyone outside `radiosync.clock`.

A mapping is a straight line through a reference point.  Instants are 19-digit integers and a float holds 16 digits, so
the line is only ever evaluated on the distance from the reference point, and floats only ever multiply that distance
with the skew: an hour away, at 100 ppm, the float part is 3.6e8 ns and its error is below 1e-7 ns.
"""

import math
from dataclasses import dataclass
from typing import Self

from radiosync.units import NS_PER_S, HostNs, LocalNs

AGEING_PER_S = 5e-9
"""How fast the relative rate of two crystals may change, per second.

A room that swings a crystal by ±0.3 ppm in 15 minutes moves it by 2e-9 per second at the steepest.
"""

WANDER_PER_SQRT_S = 1e-8
"""Random walk of the relative rate of two crystals: one sigma after one second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockMapping:
    """Map local instants to host instants and back along a line through (`local_at`, `host_at`).

    `skew` is host seconds per local second minus 1.  `bound_ns` and `sigma_ns` say how wrong the line can be at
    `local_at`: the hard bound, and one standard deviation; `skew_bound` and `skew_sigma` the same of the skew.
    """

    local_at: LocalNs
    host_at: HostNs
    skew: float
    bound_ns: float
    sigma_ns: float
    skew_bound: float
    skew_sigma: float

    @classmethod
    def rough(cls, host_at: HostNs, local_at: LocalNs, bound_ns: float) -> Self:
        """Return the mapping that one send stamp gives, heard at `local_at`: off by the network's delay."""
        return cls(
            local_at=local_at,
            host_at=host_at,
            skew=0.0,
            bound_ns=bound_ns,
            sigma_ns=bound_ns,
            skew_bound=0.0,
            skew_sigma=0.0,
        )

    def host_from_local(self, at: LocalNs) -> HostNs:
        """Return what the host's clock shows at the local instant `at`."""
        since_ns = at - self.local_at
        return HostNs(self.host_at + since_ns + round(since_ns * self.skew))

    def local_from_host(self, at: HostNs) -> LocalNs:
        """Return what the local clock shows at the host instant `at`; inverts `host_from_local` to 1 ns."""
        since_ns = at - self.host_at
        return LocalNs(self.local_at + since_ns - round(since_ns * (self.skew / (1.0 + self.skew))))

    @property
    def offset_ns(self) -> int:
        """Return host minus local clock at `local_at`, in ns."""
        return self.host_at - self.local_at

    def bound_ns_at(self, at: LocalNs) -> float:
        """Return how far `host_from_local(at)` can be from the truth, in ns, whatever the network's asymmetry.

        It grows with the age of the reference point, and holds for crystals that age no faster than `AGEING_PER_S`.
        """
        age_s = abs(at - self.local_at) / NS_PER_S
        return self.bound_ns + (self.skew_bound * age_s + AGEING_PER_S / 2 * age_s * age_s) * NS_PER_S

    def sigma_ns_at(self, at: LocalNs) -> float:
        """Return one standard deviation of `host_from_local(at)`, in ns; a constant asymmetry is not in it.

        It is never more than the bound: what has a limit deviates by that at most.
        """
        age_s = abs(at - self.local_at) / NS_PER_S
        wander_s = WANDER_PER_SQRT_S * age_s**1.5 / math.sqrt(3.0)
        sigma_ns = math.hypot(self.sigma_ns + self.skew_sigma * age_s * NS_PER_S, wander_s * NS_PER_S)
        return min(sigma_ns, self.bound_ns_at(at))
