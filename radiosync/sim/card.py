"""A sound card, which has a crystal of its own and knows the true time of what it emits.

It may also be unplugged for a while, stand still with its machine, change its latency, and lie about its times.
"""

from collections import deque
from dataclasses import dataclass, field
from random import Random

import numpy as np

from radiosync.audio.format import AudioFormat
from radiosync.audio.ring import FrameRing
from radiosync.clock.dac import DacClock, StampSource
from radiosync.config import Config
from radiosync.errors import ConfigError
from radiosync.listener.playout import RENDER_SHARE, DeviceFormat, DevicePlayout, render_ahead_ns
from radiosync.listener.stream import Stream
from radiosync.sim.clocks import SimClock
from radiosync.sim.scheduler import Event, Scheduler, TrueNs
from radiosync.sim.trace import Trace
from radiosync.units import NS_PER_MS, NS_PER_S, NS_PER_US, DacFrame, LocalNs

BLOCK_NS = 20 * NS_PER_MS  # rendered at a time, as the real device output does ...
FILL_NS = 20 * NS_PER_MS  # ... and between two fills
STUCK_NS = 2 * NS_PER_S  # without a callback: the card is gone ...
REOPEN_NS = NS_PER_S  # ... and is looked for so often
STAMPS = ("true", "zero", "copied", "late", "wild")
LATE_SHARE, LATE_NS = 0.05, 8 * NS_PER_MS  # of late stamps
WILD_NS = 10 * NS_PER_S


@dataclass(frozen=True, slots=True, kw_only=True)
class DacSettings:
    """A sound card: its crystal's error in ppm of true time, how long frames lie in it, how it calls and stamps."""

    rate: int = 0
    """Nominal frames per second; 0 for the stream's."""
    skew_ppm: float = 0.0
    latency_ns: int = 40 * NS_PER_MS
    block_frames: int = 0
    """Frames per callback; 0 for 10 ms of them."""
    stamps: str = "true"
    """"true", "zero", "copied" (the callback's own time), "late" (now and then by ms) or "wild"."""
    stamp_jitter_ns: int = 3 * NS_PER_US
    callback_late_ns: int = 50 * NS_PER_US

    def __post_init__(self) -> None:
        if self.stamps not in STAMPS:
            raise ConfigError(f'unknown stamps "{self.stamps}"; there are {", ".join(STAMPS)}')


@dataclass(slots=True)
class DacRecord:
    """What left the converter: for the first frame of each block its true time and its first two samples."""

    at: list[TrueNs] = field(default_factory=list)
    left: list[float] = field(default_factory=list)
    right: list[float] = field(default_factory=list)


class SimDac:
    """A sound card and what drives it: a ring, stamps, a fill every 20 ms, as the real device output has them.

    The card's own thread goes on while its process is stalled, and plays silence when the ring is empty.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        trace: Trace,
        clock: SimClock,
        settings: DacSettings,
        config: Config,
        rng: Random,
    ) -> None:
        self._scheduler = scheduler
        self._trace = trace
        self._clock = clock
        self._settings = settings
        self._render_ahead_ns = config.listener.render_ahead_ns
        self._resync_ns = config.radio_sync.resync_ns
        self._rng = rng
        self._event: Event | None = None
        self._opened_at = TrueNs(0)
        self._gone_until = TrueNs(0)
        self._callback_at = LocalNs(0)
        self._stream: Stream | None = None
        self._frames = 0
        self._rate = 0
        self._block = 0
        self._stamps: deque[tuple[DacFrame, LocalNs, LocalNs]] = deque(maxlen=1024)
        self._underrun_seen = 0
        self._fill_at = LocalNs(0)
        self._ring = FrameRing(1, 1)
        self._out = np.zeros((1, 1), np.float32)
        self._dac: DacClock | None = None
        self.playout: DevicePlayout | None = None
        self.record = DacRecord()
        self.delays = 0
        """How often what it plays has come later from one sample to the next."""

    def begin(self, audio: AudioFormat, stream: Stream) -> None:
        """Play `stream`; the card is opened the first time, and again for another rate."""
        rate = self._settings.rate or audio.rate
        self._stream = stream
        if self._dac is None or rate != self._rate:
            self._open(rate)
        self._attach(stream)

    def fill(self, now: LocalNs) -> None:
        """Take the stamps, and render until the ring holds what `render_ahead` asks for."""
        dac = self._dac
        if dac is None or now < self._fill_at:
            return
        if now - self._fill_at > STUCK_NS // 2:  # it is we who stood still
            self._callback_at = now
        self._fill_at = LocalNs(now + FILL_NS)
        if self._stamps:
            self._callback_at = now
        if now - self._callback_at > STUCK_NS:
            self._lost(now)
            return
        while self._stamps:
            dac.stamp(*self._stamps.popleft(), self._settings.latency_ns)
        ring, playout = self._ring, self.playout
        if ring.underrun_frames != self._underrun_seen:
            self._underrun_seen = ring.underrun_frames
            if playout is not None and playout.cursor is not None:
                playout.note_underrun()
        block_frames = max(1, self._rate * BLOCK_NS // NS_PER_S)
        while ring.readable() + block_frames <= self._ahead_frames():
            first = DacFrame(ring.written_frame + ring.underrun_frames)
            silence = np.zeros((block_frames, 2), np.float32)
            ring.write(silence if playout is None else playout.render(first, block_frames))
        if playout is not None and dac.fit() is not None:
            first = DacFrame(ring.written_frame + ring.underrun_frames)
            playout.lead_ns = max(0, dac.local_from_dac(first) - now)

    def next_timeout(self, now: LocalNs) -> LocalNs:
        """Return when to fill again."""
        return LocalNs(now + FILL_NS) if self._dac is None else self._fill_at

    def close(self) -> None:
        """Stop the card."""
        if self._event is not None:
            self._event.cancel()

    @property
    def believed(self) -> bool:
        """Whether its stamps are what its clock is known by."""
        return self._dac is not None and self._dac.source is StampSource.DEVICE

    @property
    def discontinuities(self) -> int:
        """How often its listener has seen that it lost or repeated time."""
        return 0 if self._dac is None else self._dac.counters.discontinuities

    @property
    def reach_ns(self) -> int:
        """How long it takes at most from rendering to sounding: through the ring and the card."""
        return self._render_ahead_ns + self._settings.latency_ns

    def unplug(self, until: TrueNs) -> None:
        """Take the card away until the true instant `until`."""
        self.close()
        self._gone_until = until

    def suspend(self, until: TrueNs) -> None:
        """Let the card stand still, and count nothing, until the true instant `until`."""
        if self._dac is not None and self._scheduler.now >= self._gone_until:
            self.close()
            self._opened_at = TrueNs(self._opened_at + until - self._scheduler.now)
            self._schedule_callback()

    def delay(self, by_ns: int) -> None:
        """Let what comes sound later by so much than it would have, in mid-stream; the stamps say so."""
        self._opened_at = TrueNs(self._opened_at + by_ns)
        self.delays += 1

    def _attach(self, stream: Stream) -> None:
        assert self._dac is not None
        old = stream.playout
        self.playout = DevicePlayout(
            stream.buffer,
            stream.schedule,
            self._dac,
            DeviceFormat(rate=self._rate, channels=2),
            resync_ns=self._resync_ns,
            gain=1.0,
        )
        if isinstance(old, DevicePlayout) and old.cursor is not None and old.record is not None:
            self.playout.start(old.cursor, old.record)
        stream.attach(self.playout)

    def _lost(self, now: LocalNs) -> None:
        """Have the card back, or try again later."""
        self._fill_at = LocalNs(now + REOPEN_NS)
        if self._scheduler.now < self._gone_until:
            return
        rate, sigma = (1.0, None) if self._dac is None else (self._dac.rate, self._dac.rate_sigma)
        self._open(self._rate)
        self._dac = DacClock(self._rate) if sigma is None else DacClock(self._rate, rate=rate, rate_sigma=sigma)
        self._callback_at = now
        if self._stream is not None:
            self._attach(self._stream)

    def _open(self, rate: int) -> None:
        self.close()
        self._rate = rate
        self._block = self._settings.block_frames or max(1, rate // 100)
        self._dac = DacClock(rate)
        self._ring = FrameRing(rate * 2, 2)
        self._ring.write(np.zeros((self._ahead_frames(), 2), np.float32))
        self._out = np.zeros((self._block, 2), np.float32)
        self._frames = 0
        self._underrun_seen = 0
        self._callback_at = self._clock.local(self._scheduler.now)
        self._stamps.clear()
        self._opened_at = TrueNs(self._scheduler.now + self._settings.latency_ns)
        self._schedule_callback()

    def _ahead_frames(self) -> int:
        begun = self.playout is not None and self.playout.begun
        wanted_ns = self._render_ahead_ns
        buffer_ns = RENDER_SHARE * wanted_ns if self._stream is None else self._stream.buffer_ns
        return self._rate * render_ahead_ns(wanted_ns, buffer_ns, begun=begun) // NS_PER_S

    def _sounds_at(self, frame: int) -> TrueNs:
        rate = self._rate * (1 + self._settings.skew_ppm * 1e-6)
        return TrueNs(self._opened_at + round(frame * NS_PER_S / rate))

    def _schedule_callback(self) -> None:
        late_ns = round(self._rng.expovariate(1.0) * self._settings.callback_late_ns)
        at = TrueNs(self._sounds_at(self._frames) - self._settings.latency_ns + late_ns)
        self._event = self._scheduler.at(at, self._callback)

    def _callback(self) -> None:
        sounds_at = self._sounds_at(self._frames)
        entered_at = self._clock.local(self._scheduler.now)
        self._stamps.append((DacFrame(self._frames), self._stamp(sounds_at, entered_at), entered_at))
        self._ring.read_into(self._out)
        self._trace.note(sounds_at, "sounds", self._out.tobytes())
        self._frames += self._block
        self.record.at.append(sounds_at)
        self.record.left.append(float(self._out[0, 0]))
        self.record.right.append(float(self._out[0, 1]))
        self._schedule_callback()

    def _stamp(self, sounds_at: TrueNs, entered_at: LocalNs) -> LocalNs:
        """Return what the card says of when its frame will sound."""
        rng, stamps = self._rng, self._settings.stamps
        if stamps in {"zero", "copied"}:
            return LocalNs(0) if stamps == "zero" else entered_at
        if stamps == "wild":
            return LocalNs(entered_at + rng.randrange(-WILD_NS, WILD_NS))
        jitter_ns = round(rng.gauss(0.0, self._settings.stamp_jitter_ns))
        if stamps == "late" and rng.random() < LATE_SHARE:
            jitter_ns += rng.randrange(LATE_NS)
        return LocalNs(self._clock.local(sounds_at) + jitter_ns)
