"""A sound device through PortAudio: opened ahead, silent, and timed by its own stamps.

PortAudio calls `_callback` in a thread of its own.  It copies from the ring, notes one stamp and returns; everything
else happens in the loop's thread: `fill` takes the stamps to the DAC clock and renders the ring full again.
"""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from radiosync.audio.format import AudioFormat, SampleFormat
from radiosync.audio.pcm import Frames
from radiosync.audio.ring import FrameRing
from radiosync.clock.dac import DacClock
from radiosync.config import ListenerConfig
from radiosync.drivers.background import Background
from radiosync.drivers.clocks import local_now
from radiosync.drivers.file_sinks import WavSink
from radiosync.drivers.output_search import FoundOutput
from radiosync.drivers.portaudio import Device, find_device, open_stream, refresh_devices
from radiosync.drivers.stamps import Stamps
from radiosync.errors import DeviceError
from radiosync.listener.memory import KnownRate, Memory
from radiosync.listener.playout import DeviceFormat, DevicePlayout, render_ahead_ns
from radiosync.listener.stream import Stream
from radiosync.units import NS_PER_MS, NS_PER_S, DacFrame, LocalNs

LATENCY_S = 0.2  # of the device's own buffer: pauses of the interpreter (15 ms) and of a busy machine are nothing
LATENCY_SHARE = 6  # of a short buffer: what lies in the device must have come before
TURN_NS, TURN_NS_MAX = 20 * NS_PER_MS, 200 * NS_PER_MS  # between two fills: a wake-up costs more than a block of music
LEFT_NS = 150 * NS_PER_MS  # has to be left in the ring when it is filled again, for a loop that is late ...
TURN_SHARE = 4  # ... or, of a short one, all but this part
AFTER_CALLBACK_NS = 5 * NS_PER_MS  # is when to fill: then the device has taken as much each time
STUCK_NS = 2 * NS_PER_S  # without a callback: the device is gone
REOPEN_NS = NS_PER_S
OPENING_S_MAX = 2.0  # that closing waits for a driver which is still opening
VOLUME_POWER = 3  # loudness goes about with the cube root of amplitude: 50 % sounds half as loud


class DeviceSink:
    """Plays through one device, and opens it again when it vanishes."""

    def __init__(
        self,
        config: ListenerConfig,
        resync_ns: int,
        memory: Memory,
        found: FoundOutput,
        record: Path | None = None,
        wake: Callable[[], None] | None = None,
    ) -> None:
        """With `wake`, which is called from there, the device is opened in a thread of its own."""
        self._config = config
        self._resync_ns = resync_ns
        self._memory = memory
        self._portaudio = found.portaudio
        self._found: Device | None = found.device
        self._wanted = config.output.partition(":")[2]
        self._wake = wake
        self._opening: Background[Any] | None = None
        self._stream: Any = None
        self._device: Device | None = None
        self._audio: AudioFormat | None = None
        self._listening: Stream | None = None
        self._playout: DevicePlayout | None = None
        self._dac: DacClock | None = None
        self._ring = FrameRing(1, 1)
        self._buffer_ns = 0
        self._counts_frames = False
        self._frames = 0
        self._xruns = 0
        self._xruns_seen = 0
        self._underrun_seen = 0
        self._callback_at = LocalNs(0)
        self._fill_at = LocalNs(0)
        self._reopen_at: LocalNs | None = None
        self._stamps = Stamps()
        self._recording = None if record is None else WavSink(record)
        self._recorded = 0
        self._was_open = False
        self.reopened = 0

    # --- the callback --------------------------------------------------------------------------------------------

    def _callback(self, out: Any, frames: int, time: Any, status: Any) -> None:
        entered_at = local_now()
        self._stamps.note(self._frames, frames, time.outputBufferDacTime, time.currentTime, entered_at)
        self._frames += frames
        self._ring.read_into(out)
        if status:
            self._xruns += 1

    # --- the loop's side -----------------------------------------------------------------------------------------

    def begin(self, audio: AudioFormat, stream: Stream) -> None:
        """Play `stream`, on the device as it is where it is open with the right rate already."""
        self._audio, self._listening, self._buffer_ns = audio, stream, stream.buffer_ns
        if self._stream is None or self._device is None or not self._device.suits(audio):
            self._open()
        else:
            self._attach()

    def release(self) -> None:
        """Stop playing the stream, with a fade; the device goes on with silence, ready for the next."""
        self._listening = None

    def fill(self, now: LocalNs) -> None:
        """Take the stamps, and render until the ring holds what `render_ahead` asks for.

        Raises DeviceError where the device can't be opened the first time.
        """
        if self._opening is not None:
            if self._opening.done:
                self._opened(self._opening)
            return
        if self._reopen_at is not None:
            if now >= self._reopen_at:
                self._open()
            return
        if self._stream is None or self._dac is None or self._device is None or now < self._fill_at:
            return
        if now - self._fill_at > STUCK_NS // 2:  # it is we who stood still, and the callback with us
            self._callback_at = now
        rate, ahead = self._device.rate, self._render_ahead(self._device)
        ahead_ns = ahead * NS_PER_S // rate
        turn_ns = min(max(ahead_ns - LEFT_NS, ahead_ns // TURN_SHARE, TURN_NS), TURN_NS_MAX)
        self._take_stamps(self._dac)
        late_ns = now - self._callback_at - AFTER_CALLBACK_NS
        self._fill_at = LocalNs(now + turn_ns - min(max(late_ns, 0), turn_ns // 4))
        if not self._stream.active or now - self._callback_at > STUCK_NS:
            self._lost(now)
            return
        self._watch_underruns()
        longest, least = (max(1, rate * ns // NS_PER_S) for ns in (turn_ns, TURN_NS))
        while (lacking := ahead - self._ring.readable()) >= least:
            first = DacFrame(self._ring.written_frame + self._ring.underrun_frames)
            block = self._render(self._device, first, min(lacking, longest))
            self._ring.write(block)
            if self._recording is not None:
                self._recording.write(block)
                self._recorded += len(block)
        if self._playout is not None and self._dac.fit() is not None:
            first = DacFrame(self._ring.written_frame + self._ring.underrun_frames)
            self._playout.lead_ns = max(0, self._dac.local_from_dac(first) - now)

    def _render(self, device: Device, first: DacFrame, frames: int) -> Frames:
        if self._playout is None:
            return np.zeros((frames, device.channels), np.float32)
        block = self._playout.render(first, frames)
        if self._listening is None:  # released: this is the last of it
            block *= np.linspace(1, 0, frames, dtype=np.float32)[:, None]
            self._playout = None
        return block

    @property
    def opened(self) -> bool:
        """Whether the device is open."""
        return self._stream is not None

    @property
    def usable(self) -> bool:
        """Whether it is known when the device's frames are heard."""
        return self._dac is not None and self._dac.usable

    def next_timeout(self, now: LocalNs) -> LocalNs:
        """Return when to fill again."""
        if self._opening is not None:
            return LocalNs(now + TURN_NS)
        if self._reopen_at is not None:
            return self._reopen_at
        return max(now, self._fill_at) if self._stream is not None else LocalNs(now + TURN_NS)

    def stats(self) -> dict[str, Any]:
        """Return what the device does, for the statistics file."""
        if self._device is None or self._dac is None:
            return {"device": None, "device_reopened": self.reopened}
        fit = self._dac.fit()
        recorded: dict[str, Any] = {}
        if self._recording is not None and fit is not None:
            next_frame = DacFrame(self._ring.written_frame + self._ring.underrun_frames)
            recorded = {
                "emitted_frame": self._recorded,
                "emitted_at": fit.local_from_dac(next_frame),
                "emitted_rate": fit.rate,
            }
        return recorded | {
            "device": self._device.name,
            "device_rate": self._device.rate,
            "device_clock": self._stamps.clock_name,
            "device_stamps": self._dac.source.value,
            "device_rate_ppm": round((self._dac.rate / self._device.rate - 1) * 1e6, 3),
            "device_residual_ns": round(fit.residual_ns) if fit is not None else None,
            "device_xruns": self._xruns,
            "device_reopened": self.reopened,
            "device_discontinuities": self._dac.counters.discontinuities,
        }

    def learnt(self) -> tuple[str, KnownRate] | None:
        """Return what is known by now of the device's rate, with the device's key."""
        if self._device is None or self._dac is None or self._dac.fit() is None:
            return None
        return self._device.key, KnownRate(rate=self._dac.rate / self._device.rate - 1, sigma=self._dac.rate_sigma)

    def close(self) -> None:
        """Stop and close the device."""
        opening, self._opening = self._opening, None
        if opening is not None:
            with contextlib.suppress(DeviceError, TimeoutError):
                self._stream = opening.result(OPENING_S_MAX)
        if self._stream is not None:
            with contextlib.suppress(self._portaudio.PortAudioError):
                self._stream.abort(ignore_errors=True)
            self._stream.close(ignore_errors=True)
            self._stream = None

    def _open(self) -> None:
        """Begin to open the device for the current stream."""
        self.close()
        audio = self._audio
        if audio is None:
            return
        self._opening = Background(lambda: self._open_stream(audio), self._wake)
        if self._wake is None:
            self._opened(self._opening)

    def _open_stream(self, audio: AudioFormat) -> Any:
        """Open the device; in a thread that has what `_prepare` sets for itself, as `fill` keeps off meanwhile."""
        found, self._found = self._found, None  # what was found at the start may have gone by the next time
        found = find_device(self._portaudio, self._wanted) if found is None else found
        device = found.opened_for(self._portaudio, audio)
        self._prepare(device)
        return open_stream(self._portaudio, device, self._latency_s(), self._callback)

    def _opened(self, opening: Background[Any]) -> None:
        """Play on the device that has been opened; try again later where it can't be had, but for the first time."""
        self._opening = None
        try:
            self._stream = opening.result()
        except DeviceError:
            if self._reopen_at is None and not self._was_open:
                raise
            self._reopen_at = LocalNs(local_now() + REOPEN_NS)
            return
        self._was_open = True
        self.reopened += self._reopen_at is not None
        self._reopen_at = None
        self._callback_at = self._fill_at = local_now()
        self._attach()

    def _prepare(self, device: Device) -> None:
        known = self._memory.device_rate(device.key)
        if self._dac is not None and self._device == device:
            known = KnownRate(rate=self._dac.rate / device.rate - 1, sigma=self._dac.rate_sigma)
        self._device = device
        self._counts_frames = "ALSA" in device.host_api
        self._dac = DacClock(device.rate)
        if known is not None:
            self._dac = DacClock(device.rate, rate=device.rate * (1 + known.rate), rate_sigma=known.prior_sigma)
        self._ring = FrameRing(device.rate * 2, device.channels)  # two seconds: the most that can be rendered ahead
        self._ring.write(np.zeros((self._render_ahead(device), device.channels), np.float32))  # until the first fill
        self._frames = 0
        self._xruns_seen = self._xruns
        self._underrun_seen = 0
        self._stamps = Stamps()
        if self._recording is not None:
            self._recording.begin(AudioFormat(device.rate, device.channels, SampleFormat.F32))

    def _latency_s(self) -> float:
        return min(LATENCY_S, self._buffer_ns / NS_PER_S / LATENCY_SHARE)

    def _render_ahead(self, device: Device) -> int:
        begun = self._playout is not None and self._playout.begun
        return device.rate * render_ahead_ns(self._config.render_ahead_ns, self._buffer_ns, begun=begun) // NS_PER_S

    def _attach(self) -> None:
        stream, device, dac = self._listening, self._device, self._dac
        if stream is None or device is None or dac is None:
            return
        gain = (self._config.volume / 100) ** VOLUME_POWER
        old = stream.playout
        self._playout = DevicePlayout(
            stream.buffer,
            stream.schedule,
            dac,
            DeviceFormat(rate=device.rate, channels=device.channels),
            resync_ns=self._resync_ns,
            gain=gain,
        )
        if isinstance(old, DevicePlayout) and old.cursor is not None and old.record is not None:
            self._playout.start(old.cursor, old.record)
        stream.attach(self._playout)

    def _lost(self, now: LocalNs) -> None:
        """The device has vanished: try to have it back."""
        self.close()
        refresh_devices(self._portaudio)
        self._reopen_at = LocalNs(now + REOPEN_NS)

    def _take_stamps(self, dac: DacClock) -> None:
        latency_ns = round(self._stream.latency * NS_PER_S)
        # PortAudio reckons a delay in frames as time by the nominal rate: with ALSA's 0.2 s and 50 ppm that is 10 µs.
        slow_ns_per_s = (dac.rate / dac.nominal_rate - 1) * NS_PER_S if self._counts_frames else 0.0
        for stamp in self._stamps.take():
            dac_at = LocalNs(stamp.at - round(stamp.ahead_s * slow_ns_per_s))
            dac.stamp(stamp.frame, dac_at, stamp.entered_at, latency_ns)
            self._callback_at = max(self._callback_at, stamp.entered_at)

    def _watch_underruns(self) -> None:
        ring, playout, dac = self._ring, self._playout, self._dac
        if ring.underrun_frames != self._underrun_seen:
            self._underrun_seen = ring.underrun_frames
            if playout is not None and playout.cursor is not None:
                playout.note_underrun()
        if self._xruns != self._xruns_seen:
            self._xruns_seen = self._xruns
            if dac is not None:
                dac.restart()
            if playout is not None and playout.cursor is not None:
                playout.note_underrun()
