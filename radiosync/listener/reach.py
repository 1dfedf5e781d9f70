"""Whether what goes to the group reaches this listener, and what to do where it does not.

A host is heard in two ways: through the group (an announcement a second at the least, and music) and by unicast (the
clock's replies, answers).  Where the second goes on and the first does not, multicast does not pass: Wi-Fi that filters
it, a VPN, a container, a switch that forgot its members.  Then

- the group is left and joined again, at growing intervals, which mends a switch that forgot; and the host is asked
  whether it lives, whatever the clock's interval is;
- the host is asked, in every report, for a copy by unicast of what goes to the group; until the group has brought as
  much as the copy for a while.  Both run beside each other for so long, so that nothing is missing between them.

A switch that snoops on IGMP drops a member that has not reported for 260 s (RFC 3376 section 8.4), and nobody reports
unasked.  Most networks have a router that asks; for those that don't the group is left and joined in any case now and
then, which makes every system report: twice in that time, so that one lost report does no harm.
"""

from random import Random

from radiosync.units import NS_PER_MS, NS_PER_S, LocalNs

REJOIN_NS = 1250 * NS_PER_MS  # an announcement is due every second
REJOIN_NS_MAX = 30 * NS_PER_S  # leaving and joining costs a switch a few packets
SILENT_NS = 1750 * NS_PER_MS  # without the group, until a copy is asked for: a lost announcement's gap at the most
GIVEN_SILENT_NS = 500 * NS_PER_MS  # the same, of a host that was named: a reason to is that multicast does not pass
LOOK_NS = 100 * NS_PER_MS  # between two looks whether a host lives that is not heard
REFRESH_NS = 100 * NS_PER_S  # between two joins in any case
BACK_NS = 2 * NS_PER_S  # for so long the group must be as good as the copy
BACK_NS_MAX = 60 * NS_PER_S  # where it fails again and again: a minute, doubled from the least
BACK_PERCENT = 90  # of what the copy brought; what the group still loses is repaired


class Reach:
    """Decides when to join anew and whether to ask for a copy."""

    def __init__(self, rng: Random, now: LocalNs) -> None:
        self._rng = rng
        self.wants_copy = False
        self.rejoins = 0
        self._group_at: LocalNs | None = None
        """When the host was heard through the group last; None without a host."""
        self._silent_ns = SILENT_NS
        self._rejoin_ns = REJOIN_NS
        self._refresh_at = self._refreshed(now)
        self._rejoin_at = LocalNs(now + REJOIN_NS_MAX)
        self._by_group = self._by_copy = 0
        self._back_ns = BACK_NS
        self._back_at = self._went_back_at = now

    def begin(self, now: LocalNs, *, given: bool) -> None:
        """Take up a host; `given` says that a person named it."""
        self.wants_copy = False
        self._group_at = now
        self._silent_ns = GIVEN_SILENT_NS if given else SILENT_NS
        self._back_ns = BACK_NS
        self._went_back_at = LocalNs(now - BACK_NS_MAX)
        self._calm(now)

    def end(self) -> None:
        """There is no host any more."""
        self.wants_copy = False
        self._group_at = None

    def heard(self, now: LocalNs, *, through_group: bool, asked_for: bool = False) -> None:
        """Note a datagram of the host: through the group or by unicast, as a copy or because it was asked for."""
        if not asked_for:
            self._by_group += through_group
            self._by_copy += not through_group
        if not through_group:
            return
        self._silent_ns = SILENT_NS
        self._group_at = now
        if not self.wants_copy:
            self._calm(now)

    def rejoin_due(self, now: LocalNs) -> bool:
        """Say whether to leave the group and join it again now, and schedule the next time."""
        if now < self._rejoin_at and now < self._refresh_at:
            return False
        self.rejoins += 1
        self._refresh_at = self._refreshed(now)
        self._rejoin_ns = REJOIN_NS_MAX if self._group_at is None else min(2 * self._rejoin_ns, REJOIN_NS_MAX)
        self._rejoin_at = LocalNs(now + self._rejoin_ns)
        return True

    def silent(self, now: LocalNs) -> bool:
        """Say whether nothing comes through the group just now."""
        return self._group_at is not None and now - self._group_at >= REJOIN_NS

    def update(self, heard_at: LocalNs, now: LocalNs) -> bool:
        """Decide anew, the host having been heard in whichever way at `heard_at`; say whether the wish has changed."""
        if self._group_at is None:
            return False
        if not self.wants_copy:
            if now - self._group_at < self._silent_ns:
                return False
            # It must have been heard since the group fell silent, or it is the host or the whole network that fails.
            self.wants_copy = heard_at - self._group_at >= self._silent_ns // 2
            if self.wants_copy:
                again = now - self._went_back_at < BACK_NS_MAX
                self._back_ns = min(2 * self._back_ns, BACK_NS_MAX) if again else BACK_NS
                self._count_from(now)
            return self.wants_copy
        if now < self._back_at:
            return False
        if self._by_group and 100 * self._by_group >= BACK_PERCENT * self._by_copy:
            self.wants_copy = False
            self._went_back_at = now
            self._calm(now)
            return True
        self._count_from(now)
        return False

    def next_timeout(self, now: LocalNs) -> LocalNs:
        """Return when to come back at the latest."""
        if self.wants_copy:
            return min(self._rejoin_at, self._refresh_at, self._back_at)
        if self._group_at is None:
            return min(self._rejoin_at, self._refresh_at)
        look_at = LocalNs(max(self._group_at + self._silent_ns, now + LOOK_NS))
        return min(self._rejoin_at, self._refresh_at, look_at)

    def _calm(self, now: LocalNs) -> None:
        self._rejoin_ns = REJOIN_NS
        self._rejoin_at = LocalNs(now + REJOIN_NS)

    def _count_from(self, now: LocalNs) -> None:
        self._by_group = self._by_copy = 0
        self._back_at = LocalNs(now + self._back_ns)

    def _refreshed(self, now: LocalNs) -> LocalNs:
        # A hundred listeners must not report in the same instant.
        return LocalNs(now + round(REFRESH_NS * self._rng.uniform(0.8, 1.2)))
