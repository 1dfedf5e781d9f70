"""Token buckets: how much may be sent, now and on average."""

from collections.abc import Hashable
from typing import Generic, TypeVar

from radiosync.units import NS_PER_S

Key = TypeVar("Key", bound=Hashable)


class TokenBucket:
    """Grants `rate_per_s` tokens a second, saving up at most `burst`; none while the rate is 0.

    Integer arithmetic in tokens x ns, so that a long run loses nothing to rounding.
    """

    __slots__ = ("_credit", "_filled_at", "burst", "rate_per_s")

    def __init__(self, rate_per_s: int, burst: int, now: int) -> None:
        self.rate_per_s = rate_per_s
        self.burst = burst
        self._credit = burst * NS_PER_S
        self._filled_at = now

    def _fill(self, now: int) -> None:
        if now > self._filled_at:
            grown = self._credit + (now - self._filled_at) * self.rate_per_s
            self._credit = min(grown, self.burst * NS_PER_S)
            self._filled_at = now

    def take(self, now: int) -> bool:
        """Take one token if there is one."""
        if not self.available(now):
            return False
        self._credit -= NS_PER_S
        return True

    def available(self, now: int) -> bool:
        """Say whether a token could be taken."""
        self._fill(now)
        return self.rate_per_s > 0 and self._credit >= NS_PER_S

    def full(self, now: int) -> bool:
        """Say whether it has saved up all it can, as a new one has."""
        self._fill(now)
        return self._credit >= self.burst * NS_PER_S

    def next_at(self, now: int) -> int:
        """Return when a token can be taken, on the clock of `now`."""
        self._fill(now)
        lacking = NS_PER_S - self._credit
        if lacking <= 0:
            return now
        return now + -(-lacking // max(1, self.rate_per_s))


class Budgets(Generic[Key]):
    """A token bucket for each of so many; the oldest is forgotten, and begins anew."""

    def __init__(self, rate_per_s: int, burst: int, most: int) -> None:
        self._rate_per_s, self._burst, self._most = rate_per_s, burst, most
        self._buckets: dict[Key, TokenBucket] = {}

    def set_rate(self, rate_per_s: int) -> None:
        """Let each have `rate_per_s` from now on."""
        self._rate_per_s = rate_per_s
        for bucket in self._buckets.values():
            bucket.rate_per_s = rate_per_s

    def __len__(self) -> int:
        return len(self._buckets)

    def available(self, key: Key, now: int) -> bool:
        """Say whether `key` has a token left."""
        return self._bucket(key, now).available(now)

    def take(self, key: Key, now: int) -> bool:
        """Take one token of `key` if there is one."""
        return self._bucket(key, now).take(now)

    def forget(self, key: Key) -> None:
        """Forget `key`; it begins anew."""
        self._buckets.pop(key, None)

    def tidy(self, now: int) -> None:
        """Forget those that are full again: a new one is as good."""
        for key in [key for key, bucket in self._buckets.items() if bucket.full(now)]:
            del self._buckets[key]

    def _bucket(self, key: Key, now: int) -> TokenBucket:
        bucket = self._buckets.get(key)
        if bucket is None:
            while len(self._buckets) >= self._most:
                del self._buckets[next(iter(self._buckets))]
            bucket = self._buckets[key] = TokenBucket(self._rate_per_s, self._burst, now)
        return bucket
