"""A live source from a sound device: a line input, a microphone, what another program plays.

PortAudio calls `_callback` in a thread of its own.  It notes one stamp, copies into a ring and returns; everything
else happens in the reader's thread: `read` takes the stamps to the rate matcher (`host/capture.py`), which turns the
device's frames into frames of the media clock's nominal rate.

Delay.  The device hands over a quarter of its buffer at a time, or two where its periods and PortAudio's do not meet
(10 to 20 ms), the ring is looked into every 5 ms, the matcher holds up to 31 ms: together 30 to 60 ms from the plug to
the reader.  What would only add to that is dropped: the callback leaves out what the ring has no room for, and the
reader throws away what has stood in the ring for a second, as after a process that stood still, so that the sound goes
on from now.

Samples.  Sixteen bits, unless `--format` says otherwise: a line input's own noise lies above theirs, and 24 bits of
it, which FLAC can't make smaller, are more than twice the traffic.  Sixteen are dithered (TPDF), since the resampler
leaves fractions.

A device that vanishes or stands still is opened again, with growing pauses.  What was not captured is not made up:
the session leaves a hole where that matters, and the timeline goes on.
"""

import contextlib
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from radiosync.audio.format import AudioFormat, SampleFormat, Samples
from radiosync.audio.pcm import clean_floats, map_channels, samples_from_float
from radiosync.audio.ring import FrameRing
from radiosync.audio.song import Song, SourceBlock
from radiosync.drivers.clocks import local_now
from radiosync.drivers.portaudio import Device, Direction, find_device, load_portaudio, open_stream, refresh_devices
from radiosync.drivers.stamps import Stamps
from radiosync.errors import DeviceError
from radiosync.host.capture import RateMatcher
from radiosync.units import NS_PER_MS, NS_PER_S, DacFrame, LocalNs, frames_from_ns

Warn = Callable[[str], None]

DEVICE = "device"
LATENCY_S = 0.04  # of the device's own buffer: it hands over a quarter at a time, the rest outlasts a busy interpreter
CHANNELS_MAX = 2  # where no number is given: a card with 18 inputs has sound on two of them
RING_S = 2  # twice what may come before what stands there is thrown away
STANDING_NS = NS_PER_S  # what has not got less for so long is no burst that the session has yet to catch up with
STANDING_FRAMES_NS = 40 * NS_PER_MS  # the device's whole buffer may come at once
POLL_S = 0.005
STUCK_NS = 2 * NS_PER_S  # without a callback: the device is gone
RETRY_S = (1.0, 2.0, 4.0, 8.0, 15.0)  # between attempts to have it back


def is_capture(source: str) -> bool:
    """Say whether a `--source` names a sound device."""
    return source == DEVICE or source.startswith(DEVICE + ":")


class CaptureSource:
    """One sound device as a stream of one song.

    `rate` and `channels` are the device's own where they are None.  Raises DeviceError where it can't be opened.
    """

    live = True

    def __init__(self, source: str, rate: int | None, channels: int | None, sample: SampleFormat, warn: Warn) -> None:
        self._source = source
        self._wanted = source.partition(":")[2]
        self._warn = warn
        self._stop = threading.Event()
        self._portaudio = load_portaudio(Direction.INPUT)
        device = find_device(self._portaudio, self._wanted, Direction.INPUT)
        try:
            self.format = AudioFormat(
                rate or device.default_rate, channels or min(device.channels_max, CHANNELS_MAX), sample
            )
        except ValueError as error:
            raise DeviceError(f"{source}: can't be captured: {error}; say another with --rate or --channels") from None
        self._dither = np.random.default_rng() if sample is SampleFormat.S16 else None
        self._song = Song(song_id=1, title=device.name)
        self._given = 0
        self._stream: Any = None
        self._failures = 0
        self._pause_s = RETRY_S[0]
        self._callback_at = self._drained_at = self._read_at = LocalNs(0)
        self._prepare(device.opened_for(self._portaudio, self.format))
        self._rest: Samples = self.format.silence(0)
        self._xruns = self._overflow_frames = self._stale_frames = 0
        self._lost_seen = 0, 0
        self._reopened = 0
        self._open()

    # --- the callback --------------------------------------------------------------------------------------------

    def _callback(self, block: Any, frames: int, time: Any, status: Any) -> None:
        entered_at = local_now()
        ring = self._ring
        if status:
            self._xruns += 1
        if frames > ring.writable():
            self._overflow_frames += frames
            return
        self._stamps.note(ring.written_frame, frames, time.inputBufferAdcTime, time.currentTime, entered_at)
        ring.write(block)

    # --- the reader's side ---------------------------------------------------------------------------------------

    def read(self, frames_max: int) -> SourceBlock | None:
        """Return what has been captured, once there is something, `frames_max` frames at most; None if interrupted."""
        while not len(self._rest):
            if self._stop.wait(POLL_S):
                return None
            if self._stream is None:
                self._try_again()
            else:
                self._rest = self._take(local_now())
        samples, self._rest = self._rest[:frames_max], self._rest[frames_max:]
        block = SourceBlock(song=self._song, song_frame=self._given, samples=samples)
        self._given += len(samples)
        return block

    def jump(self, song_id: int, step: int, position_s: float) -> None:  # Source.jump
        """Do nothing: there is no way to go elsewhere in something live."""

    def queue(self, song_id: int) -> tuple[list[str], int | None]:  # noqa: ARG002  # Source.queue
        """Return the one name there is."""
        return [self._song.title], 0

    def stats(self) -> dict[str, Any]:
        """Return what the device does, for the statistics file."""
        matcher = self._matcher
        return {
            "source_rate_ppm": round((matcher.clock.rate / matcher.clock.nominal_rate - 1) * 1e6, 3),
            "source_error_ns": round(matcher.error_ns),
            "source_stamps": matcher.clock.source.value,
            "source_clock": self._stamps.clock_name,
            "source_anchored": matcher.counters.anchored,
            "source_xruns": self._xruns,
            "source_overflow_frames": self._overflow_frames,
            "source_stale_frames": self._stale_frames,
            "source_reopened": self._reopened,
        }

    def interrupt(self) -> None:
        """Make a read that waits come back; for another thread."""
        self._stop.set()

    def close(self) -> None:
        """Stop and close the device."""
        self._stop.set()
        self._close_stream()

    def _take(self, now: LocalNs) -> Samples:
        """Return what the frames in the ring become."""
        matcher, ring = self._matcher, self._ring
        lost = self._xruns, self._overflow_frames
        if lost != self._lost_seen:
            self._lost_seen = lost
            matcher.restart()
        for stamp in self._stamps.take():
            matcher.clock.stamp_block(stamp.frame, stamp.frames, stamp.at, stamp.entered_at)
            self._callback_at = max(self._callback_at, stamp.entered_at)
            self._failures = 0
        waiting = ring.readable()
        if not waiting:
            self._drained_at = now
            if now - self._read_at > STUCK_NS // 2:  # it is we who stood still, and the callback with us
                self._callback_at = now
            elif not self._stream.active or now - self._callback_at > STUCK_NS:
                self._gone(f"nothing has come from it for {(now - self._callback_at) / NS_PER_S:.0f} s")
            self._read_at = now
            return self.format.silence(0)
        self._read_at = now
        self._skip_what_stands(now)
        first = DacFrame(ring.read_frame)
        block = np.empty((ring.readable(), ring.channels), np.float32)
        ring.read_into(block)
        out = map_channels(matcher.push(clean_floats(block), first), self.format.channels)
        return samples_from_float(out, self.format.sample, self._dither)

    def _skip_what_stands(self, now: LocalNs) -> None:
        """Throw away what has stood in the ring for so long that it is nothing but delay."""
        ring = self._ring
        if ring.readable() <= self._standing_frames:
            self._drained_at = now
        elif now - self._drained_at > STANDING_NS:
            stale = np.empty((ring.readable() - self._standing_frames // 2, ring.channels), np.float32)
            self._stale_frames += ring.read_into(stale)
            self._drained_at = now

    def _open(self) -> None:
        device = find_device(self._portaudio, self._wanted, Direction.INPUT).opened_for(self._portaudio, self.format)
        self._prepare(device, self._matcher.clock.rate if device == self._device else None)
        self._stream = open_stream(self._portaudio, device, LATENCY_S, self._callback)

    def _prepare(self, device: Device, known_rate: float | None = None) -> None:
        self._device = device
        self._ring = FrameRing(device.rate * RING_S, device.channels)
        self._standing_frames = frames_from_ns(STANDING_FRAMES_NS, device.rate)
        self._stamps = Stamps()
        self._matcher = RateMatcher(device.rate, self.format.rate, device.channels, known_rate=known_rate)
        self._callback_at = self._drained_at = self._read_at = local_now()

    def _close_stream(self) -> None:
        if self._stream is not None:
            with contextlib.suppress(self._portaudio.PortAudioError):
                self._stream.abort(ignore_errors=True)
            self._stream.close(ignore_errors=True)
            self._stream = None

    def _gone(self, reason: str) -> None:
        self._close_stream()
        self._pause_s = RETRY_S[min(self._failures, len(RETRY_S) - 1)]
        self._failures += 1
        self._warn(f"{self._source}: {reason}; opened again in {self._pause_s:g} s")

    def _try_again(self) -> None:
        """Open the device again after the pause."""
        if self._stop.wait(self._pause_s):
            return
        refresh_devices(self._portaudio)
        try:
            self._open()
        except DeviceError as error:
            self._gone(str(error))
        else:
            self._reopened += 1
