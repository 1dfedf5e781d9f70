"""Which quality to listen to: down a tier when the network can't keep up, up again when it might.

Loss alone is no reason: with seconds in hand it is repaired, and at a third of all datagrams the music is still whole.
What can't be repaired is a link that carries less than the stream.  Then what is new arrives more slowly than it is
played, however much of it is repairs:

    short = something is lacking, datagrams do arrive, and  new < LEAST x min(sent, played)   over the last two seconds

with `sent` what the host has gone on by, in bytes of this tier.  An outage is not short: nothing arrives, and less of
it would not either.  Filling up after one is not: it brings more than is played.  A link that stays short for
`PATIENCE_NS`, less where the buffer is short, or `URGENT_NS` when the first hole is near or has been heard, is left for
the best tier that fits into what the link brought.

After a while a better tier is tried, with the worse one kept at hand: its group is not left before the trial is over.
If the link is short again the trial has failed, and the next one waits twice as long.

A chunk is whole when it is whole in any tier, so nothing is heard of a change but the quality itself.
"""

from collections import deque
from dataclasses import dataclass, field

from radiosync.units import NS_PER_MS, NS_PER_S, LocalNs
from radiosync.wire.codec import WIRE_OVERHEAD
from radiosync.wire.messages import Announce, Audio, TierOffer

SLOT_NS = 250 * NS_PER_MS
SLOTS = 8
LEAST = 0.85  # of what is played; less can't be the edges of the window
PATIENCE_NS = 5 * NS_PER_S
PATIENCE_SHARE = 6  # of a short buffer, a sixth: longer than a round of asking, in which repairs are yet to come
URGENT_NS = NS_PER_S
LOW_NS = 10 * NS_PER_S  # the first hole is near: a step down takes effect within three seconds
LOW_SHARE = 3  # of a short buffer, a third
FIT = 0.75  # of what the link brought; the rest is for repairs, and for what was missed meanwhile
PROBE_NS = 8 * NS_PER_S  # less than a host goes on sending a tier that nobody asks for
CLIMB_NS = 20 * NS_PER_S  # from a step down to the first trial of a better tier
CLIMB_NS_MAX = 600 * NS_PER_S
NEXT_NS = 10 * NS_PER_S  # from one trial that went well to the next
PROVEN_NS = 60 * NS_PER_S  # a tier that was left sooner after it was climbed to had not been worth it


@dataclass(slots=True)
class _Slot:
    new_bytes: int = 0
    """Of coded audio that had not been here."""
    wire_bytes: int = 0
    frames_sent: int = 0
    lacking: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Supply:
    """How a stream stands."""

    lacking: bool
    """Whether anything that was sent is missing."""
    ahead_ns: int
    """The music from the play position to the first hole; looked for up to `LOW_NS`."""
    buffer_ns: int
    concealed: int
    """Frames that were missing when they were due, since the start."""


@dataclass(slots=True)
class QualityControl:
    """Chooses the tier: `tier` is wanted, `fallback` is kept at hand while a better one is tried."""

    enabled: bool
    rate: int
    tier: int = 0
    fallback: int | None = None
    changes: int = 0
    offers: tuple[TierOffer, ...] = ()
    _slots: deque[_Slot] = field(default_factory=lambda: deque(maxlen=SLOTS))
    _slot: _Slot = field(default_factory=_Slot)
    _slot_at: LocalNs | None = None
    _bytes_per_frame: dict[int, float] = field(default_factory=dict)
    _wire_kbps: float = 0.0
    _sent_frame: int = 0
    _concealed: int = 0
    _short_since: LocalNs | None = None
    _climbed_at: LocalNs | None = None
    _climb_at: LocalNs | None = None
    _climb_ns: int = CLIMB_NS
    _probe_until: LocalNs | None = None

    @property
    def tiers(self) -> tuple[int, ...]:
        """The tiers whose groups to be in."""
        return (self.tier,) if self.fallback is None else (self.tier, self.fallback)

    def sent_before(self, announce: Announce) -> int:
        """Take in what is offered; return the chunk before which everything has been sent in the present tier."""
        self.offers = announce.tiers
        offer = next((each for each in announce.tiers if each.tier == self.tier and each.active), None)
        return announce.next_seq if offer is None else offer.next_seq

    def note(self, audio: Audio, *, new: bool) -> None:
        """Take in a symbol that has arrived; `new` if it had not been here."""
        chunk, payload_bytes = audio.chunk, len(audio.payload)
        self._slot.wire_bytes += payload_bytes + WIRE_OVERHEAD
        if new and chunk.tier == self.tier:
            self._slot.new_bytes += payload_bytes
        known = self._bytes_per_frame.get(chunk.tier)
        here = chunk.coded_bytes / chunk.frames
        self._bytes_per_frame[chunk.tier] = here if known is None else known + (here - known) / 64
        if chunk.tier == self.tier:
            wire_bytes = chunk.coded_bytes + chunk.symbols * WIRE_OVERHEAD
            self._wire_kbps = wire_bytes * 8 * self.rate / chunk.frames / 1000
        end = chunk.first_frame + chunk.frames
        if not audio.repair and end > self._sent_frame:
            self._slot.frames_sent += end - self._sent_frame if self._sent_frame else 0
            self._sent_frame = end

    def slot_over(self, now: LocalNs) -> bool:
        """Say whether it is time to decide again."""
        return self.enabled and bool(self.offers) and (self._slot_at is None or now - self._slot_at >= SLOT_NS)

    def decide(self, supply: Supply, now: LocalNs) -> str | None:
        """Change the tier if that is due, and say why; None for no change."""
        overslept = self._slot_at is None or now - self._slot_at > 2 * SLOT_NS
        self._slot_at = now
        slot, self._slot = self._slot, _Slot()
        concealing, self._concealed = supply.concealed > self._concealed, supply.concealed
        slot.lacking = supply.lacking or concealing
        if overslept:  # what came meanwhile says nothing of the link
            self._slots.clear()
            return None
        self._slots.append(slot)
        if len(self._slots) < SLOTS:
            return None
        urgent = concealing or supply.ahead_ns < min(LOW_NS, supply.buffer_ns // LOW_SHARE)
        if self._is_short():
            self._short_since = self._short_since or now
            patient = not urgent and self.fallback is None
            patience_ns = max(URGENT_NS, min(PATIENCE_NS, supply.buffer_ns // PATIENCE_SHARE)) if patient else URGENT_NS
            return self._down(now) if now - self._short_since >= patience_ns else None
        self._short_since = None
        if self._probe_until is not None and now >= self._probe_until:
            self.fallback, self._probe_until = None, None
            self._climb_at = LocalNs(now + NEXT_NS)
        lacked = any(each.lacking for each in self._slots)
        if self.tier and not lacked and self.fallback is None and self._climb_at is not None and now >= self._climb_at:
            return self._up(now)
        return None

    def _is_short(self) -> bool:
        slots = self._slots
        played = self.rate * SLOT_NS * SLOTS // NS_PER_S
        frames = min(sum(slot.frames_sent for slot in slots), played)
        arriving = any(slot.wire_bytes for slot in list(slots)[-4:])
        needed = frames * self._bytes_per_frame.get(self.tier, 0.0)
        lacking = any(slot.lacking for slot in slots)
        return lacking and arriving and sum(slot.new_bytes for slot in slots) < LEAST * needed

    def _brought_kbps(self) -> float:
        return sum(slot.wire_bytes for slot in self._slots) * 8 * NS_PER_S / (SLOTS * SLOT_NS) / 1000

    def _down(self, now: LocalNs) -> str | None:
        brought = self._brought_kbps()
        if self.fallback is not None:
            lower: int | None = self.fallback
        else:
            below = [offer for offer in self.offers if offer.tier > self.tier]
            fitting = [offer for offer in below if offer.kbps <= FIT * brought] or below[-1:]
            lower = fitting[0].tier if fitting else None
        if lower is None:
            return None
        proven = self._climbed_at is None or now - self._climbed_at >= PROVEN_NS
        self._climb_ns = CLIMB_NS if proven else min(2 * self._climb_ns, CLIMB_NS_MAX)
        self._climb_at = LocalNs(now + self._climb_ns)
        self._change(lower, None)
        return f"the network brings {brought:.0f} kbit/s, {self._wire_kbps:.0f} are needed"

    def _up(self, now: LocalNs) -> str:
        better = max((offer.tier for offer in self.offers if offer.tier < self.tier), default=0)
        self._climbed_at = now
        self._probe_until = LocalNs(now + PROBE_NS)
        self._change(better, self.tier)
        return "trying whether the network brings more again"

    def _change(self, tier: int, fallback: int | None) -> None:
        self.tier, self.fallback = tier, fallback
        if fallback is None:
            self._probe_until = None
        self.changes += 1
        self._short_since = None
        self._slots.clear()
