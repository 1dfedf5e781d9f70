"""A source whose samples say where they belong, and a sink that compares with them what it is given.

Integer formats carry the frame's number, so that one look at the samples says whether they are the right ones.  Floats
survive resampling, numbers don't: there the frame's place is the phase of a slow tone in two channels, cosine and sine,
and atan2 of what comes out of a sound card gives the position back, to a few ns, modulo the tone's period.  Which
period it is, the amplitude says: it rises along a ramp of many periods, and is known to some 2 ms of that.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from radiosync.audio.codec import ChunkCodec, Codec
from radiosync.audio.format import AudioFormat, SampleFormat, Samples
from radiosync.audio.song import Song
from radiosync.host.packetizer import CodedAudio
from radiosync.listener.exact import Block
from radiosync.sim.scheduler import TrueNs
from radiosync.sim.told import cuts
from radiosync.timeline import Timeline

TONE_HZ = 10
RAMP_S = 20  # of the amplitude: a multiple of the tone's period, and longer than any error
AMPLITUDES = (0.35, 0.65)
STRETCH_S = 4  # of the true music at a time, for sinks to compare with ...
STRETCHES_MAX = 4  # ... and so many, since listeners are not all at the same place
_MODULUS = {SampleFormat.S16: (1 << 15) - 1, SampleFormat.S24: (1 << 23) - 1, SampleFormat.S32: (1 << 31) - 1}


class SimSource:
    """Songs one after the other, `song_frames` long; frame n of the music is marked as n + `salt`.

    Two hosts with different salts can be told apart by what is heard.  `dense` music can't be coded smaller: its marks
    are scattered like noise.  Media frames are the music's frames until the
    host leaves a gap or jumps; from then on it says by `placed` where in the stream it has put what it read.
    """

    def __init__(self, audio: AudioFormat, song_frames: tuple[int, ...], salt: int = 0, *, dense: bool = False) -> None:
        self.format = audio
        self._dense = dense
        self.frames = sum(song_frames)
        self.generation = 0
        self.cuts: dict[int, int] = {}
        """The media frames before which the timeline ends playing, and with which it goes on."""
        self.records: dict[int, Timeline] = {}
        """The timeline's records by their versions."""
        self._salt = salt
        self._lengths = song_frames
        self._index = 0
        self._next_id = 1
        self._index_of: dict[int, int] = {}
        self._song = self._begin_song()
        self._song_frame = 0
        self._frame = 0
        self._last_frame = 0
        self._codec = ChunkCodec()
        self._stretch_frames = STRETCH_S * audio.rate
        self._stretches: dict[int, Samples] = {}
        self._pieces: list[tuple[int, int, int]] = []  # media frames from, until, and the music's frame at the first

    @property
    def read_frames(self) -> int:
        """How far the music has been read."""
        return self._frame

    @property
    def end_frame(self) -> int:
        """The media frame after the last one."""
        if not self._pieces:
            return self.frames
        begin, _, music = self._pieces[-1]
        return begin + self.frames - music

    def placed(self, frame: int) -> None:
        """Note that what was read last begins at media frame `frame`; what had been put there is not sent."""
        end = frame + self._frame - self._last_frame
        pieces = [(b, min(e, frame), m) for b, e, m in self._pieces if b < frame]
        if pieces:
            begin, until, music = pieces[-1]
            if (until, music + until - begin) == (frame, self._last_frame):
                self._pieces = [*pieces[:-1], (begin, end, music)]
                return
        self._pieces = [*pieces, (frame, end, self._last_frame)]

    def source_frame(self, frame: int) -> int:
        """Return which frame of the music media frame `frame` is; within a gap, the first one after it."""
        for begin, end, music in reversed(self._pieces):
            if begin <= frame:
                last = end == self._pieces[-1][1]
                return music + (frame if last else min(frame, end)) - begin
        return frame

    def samples(self, frame: int, count: int) -> Samples:
        """Return the true samples of `count` media frames from `frame` on."""
        pieces = self._pieces or [(0, 0, 0)]
        begin, _, music = pieces[-1]
        if begin <= frame:
            return self._known_music(music + frame - begin, count)
        whole = self.format.silence(count)
        for begin, end, music in pieces:
            at = max(frame, begin)
            until = frame + count if end == pieces[-1][1] else min(frame + count, end)
            if at < until:
                whole[at - frame : until - frame] = self._music(music + at - begin, until - at)
        return whole

    def jump(self, song_id: int, step: int, position_s: float) -> None:
        """Go on at `position_s` of the song `step` after song `song_id`; what is read is of a new generation."""
        self.generation += 1
        self._index = min(max(0, self._index_of[song_id] + step), len(self._lengths))
        self._song = self._begin_song()
        self._song_frame = 0
        if self._song is not None:
            self._song_frame = min(round(position_s * self.format.rate), self._lengths[self._index])
        self._frame = sum(self._lengths[: self._index]) + self._song_frame

    def resume(self, song_id: int, song_frame: int) -> None:
        """Go on at a frame of a song, under the number that it had, as a program does that has been started anew."""
        self.generation = 0
        self._next_id = song_id
        self._index = self._index_of[song_id]
        self._song = self._begin_song()
        self._song_frame = song_frame
        self._frame = sum(self._lengths[: self._index]) + song_frame

    def _begin_song(self) -> Song | None:
        """Return the song at the present place in the list, under a number of its own each time it is played."""
        if self._index >= len(self._lengths):
            return None
        number, self._next_id = self._next_id, self._next_id + 1
        self._index_of[number] = self._index
        return Song(song_id=number, title=f"Song {self._index + 1}", frames=self._lengths[self._index])

    def _known_music(self, frame: int, count: int) -> Samples:
        """Return what `_music` does, from stretches that are kept: every listener is compared with the same ones."""
        stretch, offset = divmod(frame, self._stretch_frames)
        if offset + count > self._stretch_frames:
            return self._music(frame, count)
        known = self._stretches.get(stretch)
        if known is None:
            while len(self._stretches) >= STRETCHES_MAX:
                del self._stretches[next(iter(self._stretches))]
            known = self._stretches[stretch] = self._music(stretch * self._stretch_frames, self._stretch_frames)
            known.flags.writeable = False
        return known[offset : offset + count]

    def _music(self, frame: int, count: int) -> Samples:
        marks = np.arange(frame + self._salt, frame + self._salt + count, dtype=np.int64)
        audio = self.format
        if audio.sample is SampleFormat.F32:
            phase = marks * (2 * math.pi * TONE_HZ / audio.rate)
            low, high = AMPLITUDES
            amplitude = low + (high - low) * (marks / (RAMP_S * audio.rate) % 1.0)
            pair = np.column_stack((np.cos(phase) * amplitude, np.sin(phase) * amplitude))
            tones: Samples = np.resize(np.arange(audio.channels) % 2, audio.channels)
            return np.ascontiguousarray(pair[:, tones], np.float32)
        # Never 0, which is silence.
        if self._dense:  # the upper bits of a product with an odd number (Knuth, vol. 3, section 6.4)
            marks = marks * 2_654_435_761 % (1 << 32) >> 1
        values = marks % _MODULUS[audio.sample] + 1
        if audio.sample is SampleFormat.S24:
            values <<= 8  # S24 lives left-justified
        signs = 1 - 2 * (np.arange(audio.channels) % 2)
        numbered: Samples = np.ascontiguousarray(values[:, None] * signs, audio.sample.dtype)
        return numbered

    def next(self, frames_max: int, codec: Codec) -> CodedAudio | None:
        """Return the next stretch of at most `frames_max` frames, never of two songs; None at the end."""
        while self._song is not None and self._song_frame >= self._lengths[self._index]:
            self._index += 1
            self._song_frame = 0
            self._song = self._begin_song()
        if self._song is None:
            return None
        frames = min(frames_max, self._lengths[self._index] - self._song_frame)
        used, data = self._codec.encode(self._music(self._frame, frames), self.format, codec)
        coded = CodedAudio(
            song=self._song,
            song_frame=self._song_frame,
            frames=frames,
            codec=used,
            data=data,
            generation=self.generation,
        )
        self._song_frame += frames
        self._last_frame = self._frame
        self._frame += frames
        return coded

    def position_modulo(self, left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the source's frames that pairs of float samples stand for, modulo `period_frames`."""
        phase: NDArray[np.float64] = np.arctan2(right, left) / (2 * math.pi) * self.period_frames - self._salt
        return phase

    def ramp_position(self, left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the same roughly, modulo `RAMP_S`: to a few ms."""
        low, high = AMPLITUDES
        share: NDArray[np.float64] = (np.hypot(left, right) - low) / (high - low)
        return share * RAMP_S * self.format.rate - self._salt

    def gap_frames(self, begin: int, end: int) -> int:
        """Return how many media frames from `begin` on and before `end` the source has left out."""
        placed = sum(max(0, min(end, until) - max(begin, first)) for first, until, _ in self._pieces)
        ends = min(end, self._pieces[-1][1]) if self._pieces else begin
        return max(0, ends - begin - placed)

    @property
    def period_frames(self) -> float:
        """The frames after which positions repeat, in a float format."""
        return self.format.rate / TONE_HZ

    @property
    def ramp_frames(self) -> int:
        """The same, with the amplitude taken into account."""
        return RAMP_S * self.format.rate


@dataclass(slots=True)
class ExactSink:
    """Takes the blocks of an exact playout, and compares each with the truth as it comes."""

    source: SimSource
    versions: Sequence[int] | None = None
    """The records that the listener has been told, growing as it is; None for all."""
    first_frame: int | None = None
    first_at: TrueNs | None = None
    next_frame: int = 0
    wrong_frames: int = 0
    silent_frames: int = 0
    """Frames that were missing when they were due."""
    repeated_frames: int = 0
    skipped_frames: int = 0
    overrun_frames: int = 0
    """Frames that the timeline leaves out, as far as the listener has been told; silence is none."""
    rejoined: bool = False
    """Whether the listener has just found the session again after it had lost it: it may then go on later on.

    Or earlier, where it has missed a pause.
    """
    emitted: list[tuple[int, TrueNs]] = field(default_factory=list)
    """First frame and true time of each block."""
    _known: tuple[int, dict[int, int]] = field(default_factory=lambda: (0, {}))
    """Of how many versions the cuts are kept, and these."""

    def write(self, block: Block, at: TrueNs) -> None:
        """Take `block` at the true instant `at`."""
        count = len(block.samples)
        if self.first_frame is None:
            self.first_frame, self.first_at, self.next_frame = block.frame, at, block.frame
        known = self._known_cuts()
        for end, begin in known.items():
            if end <= self.next_frame < begin <= block.frame:  # who is told late is beyond the end by then
                self.next_frame = begin
        if not self.rejoined:
            self.repeated_frames += max(0, self.next_frame - block.frame)
            self.skipped_frames += max(0, block.frame - self.next_frame)
        self.rejoined = False
        samples = block.samples
        right = samples == self.source.samples(block.frame, count)
        everything = samples.size
        if known or np.count_nonzero(right) < everything or np.count_nonzero(samples) < everything:
            heard = (samples != 0).any(axis=1)
            for end, begin in known.items():
                left_out = slice(max(end - block.frame, 0), max(begin - block.frame, 0))
                self.overrun_frames += int(np.count_nonzero(heard[left_out]))
            self.silent_frames += count - int(np.count_nonzero(heard))
            self.wrong_frames += int(np.count_nonzero(heard & ~right.all(axis=1)))
        self.next_frame = block.frame + count
        self.emitted.append((block.frame, at))

    def _known_cuts(self) -> dict[int, int]:
        if self.versions is None:
            return self.source.cuts
        if len(self.versions) != self._known[0]:
            records = [self.source.records[version] for version in self.versions if version in self.source.records]
            self._known = len(self.versions), cuts(records, self.source.format.rate)
        return self._known[1]
