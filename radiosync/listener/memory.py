"""What a listener remembers from one run to the next, so that the second start is better than the first.

Crystals keep their rates to a few ppm from week to week.  Who knows how fast the host's clock runs against its own, and
a sound device against that, has from the first second what else takes a minute to learn.  What is remembered is only
ever a prior, as wide as crystals wander: where it is wrong, measuring takes it back within seconds.
"""

import math
from dataclasses import dataclass
from typing import Protocol

WANDER = 2e-6  # of a crystal's rate from one day, and one temperature, to another
KNOWN_SIGMA_MAX = 1e-6  # what is known less well is not worth remembering


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownRate:
    """A rate relative to nominal, minus 1, and one standard deviation of it as it was measured."""

    rate: float
    sigma: float

    @property
    def prior_sigma(self) -> float:
        """How well it is known another day."""
        return math.hypot(self.sigma, WANDER)


class Memory(Protocol):
    """Where things are remembered."""

    def host_skew(self, host: str) -> KnownRate | None:
        """Return how fast a host's clock runs against this machine's."""

    def device_rate(self, device: str) -> KnownRate | None:
        """Return how fast a sound device runs against this machine's clock."""


class NoMemory:
    """Remembers nothing."""

    def host_skew(self, host: str) -> KnownRate | None:  # noqa: ARG002  # Memory.host_skew
        """Return None."""
        return None

    def device_rate(self, device: str) -> KnownRate | None:  # noqa: ARG002  # Memory.device_rate
        """Return None."""
        return None


def host_key(name: str, ip: str) -> str:
    """Return what a host's machine is remembered by."""
    return f"{name}@{ip}"
